//! Node data of Model Explorer: a number for every node, drawn as a heat map over the graph.
//!
//! The form is `ModelNodeData` of its Python package (`node_data_builder.py`): by graph, `results` from a node's key to a
//! value, and a `gradient`. A key is the node's id as the adapter for ONNX gives it (`model-explorer-onnx`): its name, made
//! unique where it has none of its own. That adapter does not say which results a node has in the form that keys by result need.

use super::wire::{NotOnnx, graph_name, nodes_of};
use super::{Nodes, wire::FileNode};
use scnn_simulator::report::Report;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

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
    let file = nodes_of(model)?;
    let mut results = Map::new();
    for (node, id) in file.iter().zip(ids(&file)) {
        if let Some(&cycles) = cycles.get(node.name.as_str()) {
            results.insert(id, json!({ "value": cycles }));
        }
    }
    Ok(json!({
        graph_name(model)?.unwrap_or_else(|| NAMELESS_GRAPH.to_owned()): {
            "name": "scnnc cycles",
            "results": results,
            "gradient": [
                { "stop": 0, "bgColor": "#ffffff" },
                { "stop": 1, "bgColor": "#d7301f" },
            ],
        }
    }))
}

/// The id of a graph without a name.
const NAMELESS_GRAPH: &str = "<main>";

/// What a node without a name is called.
const NAMELESS_NODE: &str = "node";

/// The ids of nodes: the first of a name keeps it, others have numbers behind it.
fn ids(nodes: &[FileNode]) -> Vec<String> {
    let mut used: BTreeSet<String> = BTreeSet::new();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut ids = Vec::new();
    for node in nodes {
        let own = Some(node.own_name.as_str()).filter(|name| !name.is_empty());
        let wanted = own.unwrap_or(NAMELESS_NODE);
        let mut id = wanted.to_owned();
        while !used.insert(id.clone()) {
            let count = counts.entry(wanted).or_default();
            *count += 1;
            id = format!("{wanted}_{count}");
        }
        ids.push(id);
    }
    ids
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
        // Keys are ids of the page's nodes.
        assert!(graph["results"]["/conv1/Conv"]["value"].as_u64() > Some(0));
    }

    #[test]
    fn nodes_without_a_name_of_their_own_are_numbered() {
        let node = |name: &str| FileNode {
            name: String::new(),
            own_name: name.to_owned(),
            results: Vec::new(),
        };
        let nodes = ["", "a", "", "node_1", "a", ""].map(node);
        assert_eq!(
            ids(&nodes),
            ["node", "a", "node_1", "node_1_1", "a_1", "node_2"]
        );
    }
}
