//! Results whose shapes depend on data, and the nodes that have to run together so that no program holds such a result.
//!
//! `x[x < 0] = 0` is written by `PyTorch` as the positions of what is not zero, how many they are, as many zeros, and a
//! scatter of these: only in between are there shapes that depend on data. A runtime that is given all of it computes
//! a result of one shape.

use super::typing::Typing;
use crate::normalise::closure::reads;
use std::collections::BTreeSet;
use tract_onnx::pb::{ModelProto, NodeProto};

/// Why such nodes are not given to tract.
pub(super) const REASON: &str = "the shape of a tensor depends on data there";

/// The nodes that compute or read a result without a shape, and all that lies between them.
pub(super) fn nodes<'a>(model: &'a ModelProto, typing: &Typing) -> Vec<&'a NodeProto> {
    let nodes = model.graph.as_ref().map_or(&[][..], |graph| &graph.node);
    let facts = &typing.facts;
    let known = |name: &str| facts.get(name).is_some() || facts.constant(name).is_some();
    let results = nodes.iter().flat_map(|node| &node.output);
    let results = results.map(String::as_str);
    let shapeless = results.filter(|name| !name.is_empty() && !known(name));
    between(nodes, &shapeless.collect())
}

/// The nodes that touch any of the tensors `names`, and those that depend on one of them and that one of them depends on.
pub(super) fn between<'a>(nodes: &'a [NodeProto], names: &BTreeSet<&str>) -> Vec<&'a NodeProto> {
    let of = |node: &NodeProto, names: &BTreeSet<&str>| {
        node.output.iter().any(|name| names.contains(name.as_str()))
    };
    let reads_of = |node: &NodeProto, names: &BTreeSet<&str>| {
        reads(node).iter().any(|name| names.contains(name))
    };
    let touches: Vec<bool> = nodes
        .iter()
        .map(|node| of(node, names) || reads_of(node, names))
        .collect();
    // Nodes stand in the order of their dependencies.
    let mut behind: BTreeSet<&str> = BTreeSet::new();
    for (node, &touches) in nodes.iter().zip(&touches) {
        if touches || reads_of(node, &behind) {
            behind.extend(node.output.iter().map(String::as_str));
        }
    }
    let mut before: BTreeSet<&str> = BTreeSet::new();
    let mut found = Vec::new();
    for (node, &touches) in nodes.iter().zip(&touches).rev() {
        if touches || of(node, &before) {
            before.extend(reads(node));
            if of(node, &behind) {
                found.push(node);
            }
        }
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::proto::node_of as node;

    /// As `x[x < 0] = 0` is written, between two convolutions; positions and zeros have no shape.
    #[test]
    fn what_counts_positions_runs_with_what_finds_and_uses_them() {
        let nodes = [
            node(&["x"], "conv"),
            node(&["conv"], "less"),
            node(&["less"], "positions"),
            node(&["positions"], "shape"),
            node(&["shape"], "count"),
            node(&["count"], "zeros"),
            node(&["conv", "positions", "zeros"], "scattered"),
            node(&["scattered"], "y"),
            node(&["shape"], "elsewhere"),
        ];
        let found = between(&nodes, &BTreeSet::from(["positions", "zeros"]));
        let names: Vec<&str> = found.iter().map(|node| node.output[0].as_str()).collect();
        assert_eq!(names, ["positions", "shape", "count", "zeros", "scattered"]);
        assert!(between(&nodes, &BTreeSet::new()).is_empty());
    }
}
