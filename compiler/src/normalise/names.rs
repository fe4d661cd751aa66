//! Every node gets a name of its own: tract asks for that, files need not have it. Reports still speak of the names in the
//! file.

use super::Draft;
use super::error::ImportError;
use super::parts::{node_name, set_origin};
use std::collections::BTreeSet;
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        make_unique(graph);
        Ok(())
    })
}

/// Gives nodes whose names are taken others.
pub(crate) fn make_unique(graph: &mut GraphProto) {
    let inputs = graph.input.iter().map(|input| input.name.clone());
    let constants = graph.initializer.iter().map(|tensor| tensor.name.clone());
    // tract names sources and constants after their tensors.
    let mut taken: BTreeSet<String> = inputs.chain(constants).collect();
    // Names that the file has go before those that are made.
    let mut clashing = Vec::new();
    for (index, node) in graph.node.iter().enumerate() {
        if !taken.insert(tract_name(node).to_owned()) {
            clashing.push(index);
        }
    }
    for index in clashing {
        let node = &mut graph.node[index];
        let origin = node_name(node);
        let base = tract_name(node).to_owned();
        let mut number = 2;
        while !taken.insert(format!("{base}.{number}")) {
            number += 1;
        }
        node.name = format!("{base}.{number}");
        set_origin(node, &origin);
    }
}

/// The name that tract gives to a node.
fn tract_name(node: &NodeProto) -> &str {
    if node.name.is_empty() {
        node.output.first().map_or("", |output| output)
    } else {
        &node.name
    }
}
