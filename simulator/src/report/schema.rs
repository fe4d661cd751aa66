//! The schema of a report's JSON, derived from its types; `simulator/report.schema.json` is the published copy.

use super::{Report, SCHEMA};
use crate::schema::{Definitions, Described};
use serde_json::{Value, json};

/// The JSON schema (draft 2020-12) of what [`Report`] is written as. It names every field; none may be left out, and no
/// other may be there.
pub fn schema() -> Value {
    let mut definitions = Definitions::new();
    Report::schema(&mut definitions);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("Report of scnnc, schema {SCHEMA}"),
    });
    if let (Some(schema), Some(Value::Object(mut root))) = (
        schema.as_object_mut(),
        definitions.shift_remove(stringify!(Report)),
    ) {
        root["properties"]["schema"]["const"] = SCHEMA.into();
        schema.extend(root);
        schema.insert("$defs".to_owned(), definitions.into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scnnc report --schema > simulator/report.schema.json` publishes another, and then its number grows.
    #[test]
    fn the_published_schema_is_the_one_of_the_types() {
        let published = include_str!("../../report.schema.json");
        let ours = serde_json::to_string_pretty(&schema()).unwrap();
        assert!(ours == published.trim_end(), "{ours}");
    }

    #[test]
    fn every_field_says_what_it_is() {
        let schema = schema();
        let records = schema["$defs"].as_object().unwrap().values();
        let mut fields = 0;
        for record in records.chain([&schema]) {
            for (name, field) in record["properties"].as_object().unwrap() {
                let about = field["description"].as_str().unwrap_or_default();
                assert!(
                    about.len() > 4 && about.ends_with(['.', ')']),
                    "{name}: {field}"
                );
                fields += 1;
            }
        }
        assert!(fields > 100, "{fields}");
    }
}
