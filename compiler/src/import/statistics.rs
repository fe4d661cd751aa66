//! Normalisations that an exporter has decomposed: mean and mean square distance are the host's, which divides by them.
//!
//! ```text
//! mean -> distance = value - mean -> its square -> variance -> root -> distance / root
//! mean -> its square -> variance = mean of squares - that square -> ..
//! ```
//!
//! The distance of a channel with small values has few bits left of a tensor's sixteen, its square has none, and the
//! quotient enlarges that loss to the size of any other value. On the host all of it is one segment, in floats, that reads
//! the normalised tensor: as if the model had the operator.

use super::quantised::scalar;
use crate::import::Facts;
use crate::normalise::parts::node_name;
use crate::normalise::proto::{is_standard, operand, result};
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::{GraphProto, NodeProto};

/// Why they are on the host.
const REASON: &str =
    "it is a statistic of a normalisation, which 16 bits hold badly where channels differ";

/// The nodes that compute such statistics, and the reason.
pub(super) fn statistics(graph: &GraphProto, facts: &Facts) -> BTreeMap<String, String> {
    let producers: BTreeMap<String, &NodeProto> = graph
        .node
        .iter()
        .filter(|node| is_standard(node))
        .map(|node| (result(node), node))
        .collect();
    let mut found: BTreeSet<String> = BTreeSet::new();
    for node in producers.values().filter(|node| is_mean(node)) {
        let square = producers.get(&operand(node, 0));
        let Some(square) = square.filter(|square| is_square(square, facts)) else {
            continue;
        };
        let distance = producers.get(&operand(square, 0));
        let Some(distance) = distance.filter(|distance| distance.op_type == "Sub") else {
            continue;
        };
        let mean = producers.get(&operand(distance, 1));
        if let Some(mean) = mean.filter(|mean| is_mean_of(mean, &operand(distance, 0))) {
            found.extend([mean, distance, square, node].map(|node| node_name(node)));
        }
    }
    for square in producers.values().filter(|node| is_square(node, facts)) {
        if let Some(mean) = mean_of_something(&producers, facts, &operand(square, 0)) {
            found.extend(mean.into_iter().chain([*square]).map(node_name));
        }
    }
    let found = found.into_iter();
    found.map(|name| (name, REASON.to_owned())).collect()
}

/// The tensors whose square is taken.
pub(super) fn squared(graph: &GraphProto, facts: &Facts) -> BTreeSet<String> {
    let nodes = graph.node.iter().filter(|node| is_standard(node));
    let squares = nodes.filter(|node| is_square(node, facts));
    squares.map(|node| operand(node, 0)).collect()
}

/// The nodes that compute a mean: one operator, or a sum and a factor behind it.
fn mean_of_something<'a>(
    producers: &BTreeMap<String, &'a NodeProto>,
    facts: &Facts,
    name: &str,
) -> Option<Vec<&'a NodeProto>> {
    let last = *producers.get(name)?;
    if is_mean(last) {
        return Some(vec![last]);
    }
    let scales = matches!(last.op_type.as_str(), "Div" | "Mul")
        && facts.constant(&operand(last, 1)).is_some();
    let sum = *producers.get(&operand(last, 0)).filter(|_| scales)?;
    is_mean(sum).then(|| vec![sum, last])
}

fn is_mean(node: &NodeProto) -> bool {
    matches!(
        node.op_type.as_str(),
        "ReduceMean" | "ReduceSum" | "GlobalAveragePool"
    )
}

fn is_mean_of(node: &NodeProto, value: &str) -> bool {
    is_mean(node) && operand(node, 0) == value
}

/// A value times itself, or to the power of 2.
fn is_square(node: &NodeProto, facts: &Facts) -> bool {
    match node.op_type.as_str() {
        "Mul" => operand(node, 0) == operand(node, 1),
        "Pow" => {
            let power = facts.constant(&operand(node, 1)).and_then(scalar);
            power == Some(2.0)
        }
        _ => false,
    }
}
