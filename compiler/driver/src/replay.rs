//! Comparison of two reports of the same command: differences by layer and field.
//!
//! Fields are compared in the order from causes to effects, so that the first difference is the one to look at: a weight
//! that changed shows as the constants of its layer, and not as the cycles of the next.

use scnn_simulator::report::Report;
use serde_json::Value;
use std::fmt;

/// Fields of a layer from causes to effects; others follow as the report has them.
const ORDER: [&str; 12] = [
    "name",
    "onnx_nodes",
    "engine",
    "runtime",
    "kind",
    "shape",
    "constants_blake3",
    "mapping",
    "code",
    "density",
    "multiplies",
    "cycles",
];

/// A field that is not the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The layer; none for a field of the whole report.
    pub layer: Option<String>,
    /// Path of the field, such as `cycles.slots.barrier`.
    pub field: String,
    /// Value in the report that was kept.
    pub was: Value,
    /// Value now.
    pub now: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(layer) = &self.layer {
            write!(f, "layer {layer}: ")?;
        }
        write!(
            f,
            "{} is {}, was {}",
            self.field,
            short(&self.now),
            short(&self.was)
        )
    }
}

/// A value for people: hashes by their beginning.
fn short(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) if is_hash(text) => text[..16].to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Inputs of the run that have changed: the tool, the model, the inputs, the calibration, the machine.
pub fn causes(was: &Report, now: &Report) -> Vec<Difference> {
    let (old, new) = (&was.provenance, &now.provenance);
    let parts = [
        ("tool", Some(&was.tool), Some(&now.tool)),
        ("model", Some(&old.model_blake3), Some(&new.model_blake3)),
        ("inputs", Some(&old.inputs_blake3), Some(&new.inputs_blake3)),
        (
            "machine",
            Some(&old.machine_blake3),
            Some(&new.machine_blake3),
        ),
        (
            "calibration",
            old.calibration_blake3.as_ref(),
            new.calibration_blake3.as_ref(),
        ),
    ];
    let mut causes = Vec::new();
    for (name, was, now) in parts {
        if was != now {
            causes.push(difference(None, name, &value(&was), &value(&now)));
        }
    }
    for parameter in &now.parameters {
        let mut before = was.parameters.iter();
        let before = before
            .find(|old| old.path == parameter.path)
            .map(|old| &old.value);
        if before != Some(&parameter.value) {
            causes.push(difference(
                None,
                &parameter.path,
                &value(&before),
                &value(&parameter.value),
            ));
        }
    }
    causes
}

/// Results that differ, layer by layer, then in the whole report.
pub fn differences(was: &Report, now: &Report) -> Vec<Difference> {
    let mut found = Vec::new();
    for (old, new) in was.layers.iter().zip(&now.layers) {
        let (mut old_fields, mut new_fields) = (value(old), value(new));
        let mut compare = |field: &str, was: &Value, now: &Value| {
            compare(&mut found, Some(&old.name), field, was, now);
        };
        for field in ORDER {
            compare(
                field,
                &take(&mut old_fields, field),
                &take(&mut new_fields, field),
            );
        }
        compare("", &old_fields, &new_fields);
    }
    let counts = (value(&was.layers.len()), value(&now.layers.len()));
    compare(&mut found, None, "layers", &counts.0, &counts.1);
    let whole = [
        (
            "outputs_blake3",
            value(&was.provenance.outputs_blake3),
            value(&now.provenance.outputs_blake3),
        ),
        ("samples", value(&was.samples), value(&now.samples)),
        ("timing", value(&was.timing), value(&now.timing)),
        ("totals", value(&was.totals), value(&now.totals)),
        ("area_mm2", value(&was.area_mm2), value(&now.area_mm2)),
        ("occupancy", value(&was.occupancy), value(&now.occupancy)),
    ];
    for (field, was, now) in &whole {
        compare(&mut found, None, field, was, now);
    }
    found
}

/// Number of values in the layers and totals of a report.
pub fn fields(report: &Report) -> usize {
    fn leaves(value: &Value) -> usize {
        match value {
            Value::Array(items) => items.iter().map(leaves).sum(),
            Value::Object(fields) => fields.values().map(leaves).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        }
    }
    leaves(&value(&report.layers)) + leaves(&value(&report.totals))
}

fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).expect("the keys of a report's maps are texts")
}

fn take(fields: &mut Value, name: &str) -> Value {
    let object = fields.as_object_mut();
    object
        .and_then(|fields| fields.shift_remove(name))
        .unwrap_or_default()
}

fn difference(layer: Option<&str>, field: &str, was: &Value, now: &Value) -> Difference {
    Difference {
        layer: layer.map(str::to_owned),
        field: field.to_owned(),
        was: was.clone(),
        now: now.clone(),
    }
}

/// Puts the leaves in which two values differ into `found`.
fn compare(found: &mut Vec<Difference>, layer: Option<&str>, path: &str, was: &Value, now: &Value) {
    if was == now {
        return;
    }
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match (was, now) {
        (Value::Object(old), Value::Object(new)) => {
            let names = old
                .keys()
                .chain(new.keys().filter(|name| !old.contains_key(*name)));
            for name in names {
                let [was, now] = [old, new].map(|fields| fields.get(name).unwrap_or(&Value::Null));
                compare(found, layer, &below(name), was, now);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (was, now)) in old.iter().zip(new).enumerate() {
                compare(found, layer, &below(&index.to_string()), was, now);
            }
        }
        _ => found.push(difference(layer, path, was, now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::report;

    #[test]
    fn a_report_equals_itself() {
        let report = report();
        assert_eq!(causes(&report, &report), []);
        assert_eq!(differences(&report, &report), []);
        assert!(fields(&report) > 100);
    }

    #[test]
    fn causes_come_before_effects() {
        let was = report();
        let mut now = was.clone();
        now.layers[1].costs.cycles.total += 1;
        now.layers[1].constants_blake3 = "0".repeat(64);
        now.layers[2].costs.cycles.slots.barrier += 1;
        now.provenance.model_blake3 = "1".repeat(64);
        now.parameters[0].value.push('1');
        let found = differences(&was, &now);
        let names: Vec<(Option<&str>, &str)> = found
            .iter()
            .map(|d| (d.layer.as_deref(), d.field.as_str()))
            .collect();
        let layers: Vec<&str> = was.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(
            names,
            [
                (Some(layers[1]), "constants_blake3"),
                (Some(layers[1]), "cycles.total"),
                (Some(layers[2]), "cycles.slots.barrier"),
            ]
        );
        let said = found[0].to_string();
        assert!(
            said.starts_with(&format!(
                "layer {}: constants_blake3 is 0000000000000000, was ",
                layers[1]
            )),
            "{said}"
        );
        let fields: Vec<String> = causes(&was, &now).into_iter().map(|d| d.field).collect();
        assert_eq!(fields, ["model".to_owned(), was.parameters[0].path.clone()]);
    }
}
