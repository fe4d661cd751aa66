//! The side file that Netron attaches to an open model: `"signature": "netron:attachment"` and two lists, `metadata` and
//! `metrics`, of entries with kind, target, name, value and type (`metadata.Attachment` in its `source/view.js`).
//!
//! It holds names and numbers and no weights, so it may be shared where the model may not.

use super::Nodes;
use super::facts::{Fact, FactValue, of_model, of_node};
use scnn_simulator::report::Report;
use serde_json::{Value as Json, json};

/// The side file of a report, as JSON.
pub fn netron(report: &Report) -> Json {
    let nodes = Nodes::of(report);
    let mut entries: Vec<(Target<'_>, Fact)> = of_model(report, &nodes)
        .into_iter()
        .map(|fact| (Target::Model, fact))
        .collect();
    for node in &nodes.nodes {
        let facts = of_node(node).into_iter();
        entries.extend(facts.map(|fact| (Target::of_node(node.name), fact)));
    }
    let list = |measures: bool| -> Vec<Json> {
        let chosen = entries
            .iter()
            .filter(|(_, fact)| matches!(fact.value, FactValue::Text(_)) != measures);
        chosen.map(|(target, fact)| entry(*target, fact)).collect()
    };
    json!({
        "signature": "netron:attachment",
        "metadata": list(false),
        "metrics": list(true),
    })
}

/// What an entry is said of.
#[derive(Clone, Copy)]
enum Target<'a> {
    Model,
    Node(&'a str),
    /// The result of a node that has no name.
    Result(&'a str),
}

impl<'a> Target<'a> {
    /// Nodes without a name are `Operator:result` in reports, and Netron finds them by neither.
    fn of_node(name: &'a str) -> Self {
        let nameless = name.split_once(':').filter(|(operator, result)| {
            !result.is_empty() && operator.chars().all(|c| c.is_ascii_alphanumeric())
        });
        nameless.map_or(Self::Node(name), |(_, result)| Self::Result(result))
    }
}

fn entry(target: Target<'_>, fact: &Fact) -> Json {
    let (kind, target) = match target {
        Target::Model => ("model", ""),
        Target::Node(name) => ("node", name),
        Target::Result(name) => ("value", name),
    };
    let (value, r#type) = match &fact.value {
        FactValue::Count(count) => (json!(count), "int64"),
        FactValue::Number(number) => (json!(number), "float64"),
        FactValue::Text(text) => (json!(text), "string"),
    };
    json!({
        "kind": kind,
        "target": target,
        "name": format!("scnnc.{}", fact.name),
        "value": value,
        "type": r#type,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::report;

    #[test]
    fn cycles_and_energy_of_the_nodes_are_the_models() {
        let attachment = netron(&report());
        assert_eq!(attachment["signature"], "netron:attachment");
        let metrics = attachment["metrics"].as_array().unwrap();
        for name in ["scnnc.cycles", "scnnc.energy_pj"] {
            let of = |kind: &str| -> f64 {
                let chosen = metrics
                    .iter()
                    .filter(|m| m["name"] == name && m["kind"] == kind);
                chosen.map(|metric| metric["value"].as_f64().unwrap()).sum()
            };
            let total = of("model");
            assert!((of("node") - total).abs() < 1e-9 * total, "{name}");
            assert!(total > 0.0);
        }
    }

    #[test]
    fn nodes_without_a_name_are_found_by_their_result() {
        assert!(matches!(Target::of_node("Conv:x:0"), Target::Result("x:0")));
        assert!(matches!(Target::of_node("a/b:0"), Target::Node("a/b:0")));
        assert!(matches!(Target::of_node("conv1"), Target::Node("conv1")));
    }
}
