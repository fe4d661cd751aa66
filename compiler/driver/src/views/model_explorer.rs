//! Node data of Model Explorer: a number for every node, drawn as a heat map over the graph.
//!
//! The form is `ModelNodeData` of its Python package (`node_data_builder.py`): by graph, `results` from the name of a
//! node's result to a value, and a `gradient`.

use super::wire::{NotOnnx, graph_name, nodes_of};
use super::{Nodes, wire::FileNode};
use scnn_simulator::report::Report;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The node data of a report: the cycles of the nodes of `model`, the bytes of the ONNX file that has run.
///
/// # Errors
/// Bytes that are not an ONNX model.
pub fn model_explorer(report: &Report, model: &[u8]) -> Result<Value, NotOnnx> {
    let nodes = Nodes::of(report);
    let cycles: BTreeMap<&str, u64> = nodes
        .nodes
        .iter()
        .map(|node| (node.name, node.cycles()))
        .collect();
    let mut results = Map::new();
    for FileNode { name, results: of } in nodes_of(model)? {
        if let (Some(&cycles), Some(result)) = (cycles.get(name.as_str()), of.first()) {
            results.insert(result.clone(), json!({ "value": cycles }));
        }
    }
    Ok(json!({
        graph_name(model)?: {
            "name": "scnnc cycles",
            "results": results,
            "gradient": [
                { "stop": 0, "bgColor": "#ffffff" },
                { "stop": 1, "bgColor": "#d7301f" },
            ],
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::{lenet, report};

    #[test]
    fn values_sum_to_the_cycles() {
        let model = std::fs::read(lenet()).unwrap();
        let report = report();
        let data = model_explorer(&report, &model).unwrap();
        let (_, graph) = data.as_object().unwrap().iter().next().unwrap();
        let values = graph["results"].as_object().unwrap().values();
        let sum: u64 = values.map(|v| v["value"].as_u64().unwrap()).sum();
        assert_eq!(sum, report.totals.cycles.total);
        assert!(model_explorer(&report, b"not a model").is_err());
    }
}
