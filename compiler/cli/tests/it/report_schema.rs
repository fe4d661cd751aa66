//! Reports have the form of the published schema, and the schema names each of their fields.

use crate::binary::{command, json};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn published() -> Value {
    let file = Path::new(ROOT).join("simulator/report.schema.json");
    json(&file)
}

/// What in a value is not as a schema says, with its place. Knows the words that ours uses, and refuses others.
fn problems(root: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let inside = |rule: &Value, value: &Value, name: &str| {
        problems(root, rule, value, &format!("{place}/{name}"))
    };
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "$schema" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                let referred = root.pointer(pointer).expect("what is referred to is there");
                found.extend(problems(root, referred, value, place));
            }
            "anyOf" => {
                let ways = rule.as_array().unwrap().iter();
                let best = ways.map(|way| problems(root, way, value, place));
                found.extend(best.min_by_key(Vec::len).unwrap());
            }
            "items" => {
                for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(inside(rule, item, &at.to_string()));
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    let field = value.get(name).into_iter();
                    found.extend(field.flat_map(|field| inside(rule, field, name)));
                }
            }
            _ if !holds(word, rule, value, &schema["properties"]) => {
                found.push(format!("{place}: {word} {rule}"));
            }
            _ => {}
        }
    }
    found
}

/// Whether a rule that does not look inside holds; what concerns other types holds.
fn holds(word: &str, rule: &Value, value: &Value, properties: &Value) -> bool {
    let mut names = rule.as_array().into_iter().flatten();
    let (items, record) = (value.as_array(), value.as_object());
    let limit = || rule.as_u64().unwrap() as usize;
    match word {
        "type" => match rule.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            "null" => value.is_null(),
            other => panic!("a type {other}"),
        },
        "minimum" => value.as_f64().is_none_or(|v| v >= rule.as_f64().unwrap()),
        "const" => rule == value,
        "enum" => names.any(|one| one == value),
        "minItems" => items.is_none_or(|items| items.len() >= limit()),
        "maxItems" => items.is_none_or(|items| items.len() <= limit()),
        "required" => names.all(|name| value.get(name.as_str().unwrap()).is_some()),
        "additionalProperties" => {
            assert_eq!(*rule, false);
            record.is_none_or(|record| record.keys().all(|name| properties.get(name).is_some()))
        }
        other => panic!("the schema says `{other}`, which this test does not know"),
    }
}

/// The report that a command writes.
fn report(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    command(Path::new("."))
        .args(arguments)
        .args(["--quiet", "--report"])
        .arg(&file)
        .assert()
        .success();
    json(&file)
}

fn assert_valid(schema: &Value, report: &Value, what: &str) {
    let problems = problems(schema, schema, report, "");
    assert!(problems.is_empty(), "{what}: {problems:#?}");
}

/// Models of a folder in the repository.
fn models(folder: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
    let mut models: Vec<PathBuf> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    models.sort();
    models
}

#[test]
fn the_report_of_every_small_model_is_as_the_schema_says() {
    let schema = published();
    let mut models = [models("models"), models("compiler/fuzz/corpus/onnx")].concat();
    // What the fuzzer found is kept to be refused.
    models.retain(|path| !path.ends_with("rank-1-batch-norm.onnx"));
    assert!(models.len() >= 5, "{models:?}");
    for model in models {
        let model = model.display().to_string();
        assert_valid(&schema, &report(&["run", &model, "--check"]), &model);
        let comparison = report(&["compare", &model, "--timing", "fast"]);
        for (machine, report) in comparison.as_object().unwrap() {
            assert_valid(&schema, report, &format!("{model}, {machine}"));
        }
    }
}

/// Else the fuzzer begins with texts that the first check of the reader refuses.
#[test]
fn the_reports_of_the_corpus_are_of_this_schema() {
    let schema = published();
    for file in std::fs::read_dir(Path::new(ROOT).join("compiler/fuzz/corpus/report")).unwrap() {
        let file = file.unwrap().path();
        let report = json(&file);
        assert_valid(&schema, &report, &file.display().to_string());
    }
}

/// Every field of a real report is asked for; nothing else may be there; and every type is checked.
#[test]
fn a_report_with_any_field_changed_is_not_valid() {
    let schema = published();
    let tiny = models("models").pop().unwrap();
    let whole = report(&["run", &tiny.display().to_string(), "--check"]);
    let mut places = Vec::new();
    fields(&whole, "", &mut places);
    assert!(places.len() > 200, "{}", places.len());
    let fails = |report: &Value, place: &str, what: &str| {
        assert!(
            !problems(&schema, &schema, report, "").is_empty(),
            "{place} {what}"
        );
    };
    for (record, name) in &places {
        let change = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut report = whole.clone();
            change(report.pointer_mut(record).unwrap().as_object_mut().unwrap());
            report
        };
        let place = format!("{record}/{name}");
        fails(
            &change(&|fields| drop(fields.remove(name))),
            &place,
            "is left out",
        );
        fails(
            &change(&|fields| fields[name] = json!(true)),
            &place,
            "is true",
        );
        fails(
            &change(&|fields| drop(fields.insert(format!("{name}_"), json!(0)))),
            &place,
            "twice",
        );
    }
}

/// The fields of every record: of a list, of its first.
fn fields(value: &Value, place: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(record) => {
            for (name, value) in record {
                found.push((place.to_owned(), name.clone()));
                fields(value, &format!("{place}/{name}"), found);
            }
        }
        Value::Array(items) => {
            let first = items.iter().take(1).enumerate();
            first.for_each(|(at, item)| fields(item, &format!("{place}/{at}"), found));
        }
        _ => {}
    }
}
