//! `replay`: a report runs again, and says that it holds or what differs first.

use crate::binary::{command, json, printed, refused, said};
use prost::Message;
use serde_json::Value;
use std::path::Path;
use tract_onnx::pb::ModelProto;

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");

/// A folder with a model, its inputs and the report of a run.
fn published() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["lenet5.onnx", "lenet5-digits.npz"] {
        std::fs::copy(Path::new(MODELS).join(file), folder.path().join(file)).unwrap();
    }
    let run = [
        "run",
        "lenet5.onnx",
        "--input",
        "lenet5-digits.npz",
        "--samples",
        "2",
        "--report",
        "r.json",
        "--check",
    ];
    printed(folder.path(), &run);
    folder
}

fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut report = json(file);
    change(&mut report);
    std::fs::write(file, report.to_string()).unwrap();
}

#[test]
fn a_report_holds_in_another_folder_with_other_threads() {
    let folder = published();
    let elsewhere = tempfile::tempdir().unwrap();
    let report = folder.path().join("r.json");
    let said = printed(
        elsewhere.path(),
        &["replay", report.to_str().unwrap(), "--threads", "3"],
    );
    assert!(said.contains("equal     4 layers"), "{said}");
    assert!(!said.contains("changed"), "{said}");
}

#[test]
fn a_changed_weight_is_named_by_its_layer() {
    let folder = published();
    let file = folder.path().join("lenet5.onnx");
    let mut model = ModelProto::decode(std::fs::read(&file).unwrap().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let weights = graph
        .node
        .iter()
        .find(|node| node.name == "/conv2/Conv")
        .unwrap()
        .input[1]
        .clone();
    let weights = graph
        .initializer
        .iter_mut()
        .find(|tensor| tensor.name == weights)
        .unwrap();
    let last = weights.raw_data.len() - 4;
    let [a, b, c, d] = weights.raw_data[last..] else {
        unreachable!("four bytes are a float")
    };
    let value = f32::from_le_bytes([a, b, c, d]) + 0.01;
    weights.raw_data[last..].copy_from_slice(&value.to_le_bytes());
    std::fs::write(folder.path().join("other.onnx"), model.encode_to_vec()).unwrap();
    let said = said(
        folder.path(),
        ["replay", "r.json", "--model", "other.onnx", "-q"],
    );
    assert_eq!(said.status, 3, "{}", said.error);
    assert!(said.out.contains("changed   model is "), "{}", said.out);
    assert!(
        said.out
            .contains("differs   layer /conv2/Conv: constants_blake3 is "),
        "{}",
        said.out
    );
    assert!(said.error.contains("E0808"), "{}", said.error);
}

#[test]
fn other_inputs_and_a_changed_machine_are_named() {
    let folder = published();
    std::fs::write(folder.path().join("m.yaml"), "extends: scnn\n").unwrap();
    let run = [
        "run",
        "lenet5.onnx",
        "--machine",
        "m.yaml",
        "--report",
        "n.json",
    ];
    printed(folder.path(), &run);
    std::fs::write(
        folder.path().join("m.yaml"),
        "extends: scnn\npe: {banks: 16}\n",
    )
    .unwrap();
    let found = said(folder.path(), ["replay", "n.json", "--json"]);
    assert_eq!(found.status, 3, "{}", found.error);
    let found: Value = serde_json::from_str(&found.out).unwrap();
    let names: Vec<&str> = found["changed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["field"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"machine") && names.contains(&"pe.banks"),
        "{names:?}"
    );
    assert!(
        !names.contains(&"inputs") && !names.contains(&"model"),
        "{names:?}"
    );
    let other = format!("{MODELS}/lenet5-digits.npz");
    let found = said(folder.path(), ["replay", "r.json", "--input", &other]);
    assert_eq!(found.status, 0, "{}", found.error);
}

#[test]
fn a_changed_rule_is_named() {
    let folder = published();
    edit(&folder.path().join("r.json"), |report| {
        let rules = report["provenance"]["rules"].as_u64().unwrap();
        assert!(rules > 3);
        // A tool that counted the writing of concatenations otherwise.
        report["provenance"]["rules"] = 1.into();
        report["tool"] = "scnnc 0.0.9".into();
        report["layers"][0]["counters"]["oaram_writes"] = 1.into();
    });
    let said = said(folder.path(), ["replay", "r.json"]);
    assert_eq!(said.status, 3, "{}", said.error);
    assert!(
        said.out
            .contains("differs   layer /conv1/Conv: counters.oaram_writes is"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("changed   tool is `scnnc "),
        "{}",
        said.out
    );
    let rules: Vec<&str> = said
        .out
        .lines()
        .filter(|line| line.starts_with("rule "))
        .collect();
    // Those that move the field stand first.
    assert!(
        rules[0].starts_with("rule 4 ") || rules[0].starts_with("rule 3 "),
        "{rules:?}"
    );
    assert!(
        rules[..3].iter().any(|rule| rule.starts_with("rule 2 ")),
        "{rules:?}"
    );
    assert!(
        !rules.iter().any(|rule| rule.starts_with("rule 1 ")),
        "{rules:?}"
    );
}

#[test]
fn what_cannot_be_repeated_is_refused() {
    let folder = published();
    let report = folder.path().join("r.json");
    edit(&report, |report| {
        report["provenance"]["command"] = Value::Array(Vec::new());
    });
    let said = refused(folder.path(), &["replay", "r.json"], 1);
    assert!(
        said.contains("E0117") && said.contains("no words to repeat"),
        "{said}"
    );
    edit(&report, |report| {
        report["provenance"]["command"] = serde_json::json!(["man", "--output=x"]);
    });
    let said = refused(folder.path(), &["replay", "r.json"], 1);
    assert!(said.contains("only `run` is repeated"), "{said}");
    assert!(!folder.path().join("x").exists());
    command(folder.path())
        .args(["replay", "lenet5.onnx"])
        .assert()
        .code(1);
}

#[test]
fn times_of_stages_are_in_a_verbose_report_alone() {
    let folder = published();
    let read = |file: &str| json(&folder.path().join(file));
    assert_eq!(read("r.json")["stage_times"], Value::Array(Vec::new()));
    printed(
        folder.path(),
        &["run", "lenet5.onnx", "-v", "--report", "v.json"],
    );
    let times = read("v.json");
    let stages: Vec<&str> = times["stage_times"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["stage"].as_str().unwrap())
        .collect();
    assert!(
        stages.contains(&"map") && stages.contains(&"simulate"),
        "{stages:?}"
    );
}
