//! Verification of the host's operators: the cases on which each agrees with ONNX Runtime, and those that tract computes otherwise than ONNX says.
//!
//! `models/host_operators.py` runs every operator of ONNX's own cases, and many with random attributes, on tract and on ONNX
//! Runtime. Operators that agree are kept in a table; others are rewritten for tract (`for_tract.rs`) or not given to it.

use super::for_tract::SEQUENCE_LENGTHS;
use crate::graph::{Graph, Op};
use crate::normalise::parts::node_name;
use crate::normalise::proto::{has_operand, int_of, is_standard, text_of};
use scnn_host::RuntimeName;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tract_onnx::pb::NodeProto;

/// How far an operator of the host is verified: tract's results beside those of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verified {
    /// Cases that agree; none disagrees.
    pub cases: u32,
    /// Largest difference, as a part of the largest magnitude.
    pub worst: f64,
}

/// The table, by operator.
static VERIFIED: LazyLock<BTreeMap<&str, Verified>> = LazyLock::new(|| {
    let lines = include_str!("host_operators/verified.tsv").lines();
    let rows = lines.filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| {
        let mut fields = line.split('\t');
        let operator = fields.next()?;
        let cases = fields.next()?.parse().ok()?;
        let worst = fields.next()?.parse().ok()?;
        Some((operator, Verified { cases, worst }))
    })
    .collect()
});

/// The version of ONNX Runtime that the table was made with.
pub fn verified_with() -> &'static str {
    let text = include_str!("host_operators/verified.tsv");
    let version = text.split_once("ONNX Runtime ").map(|(_, rest)| rest);
    version
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or("")
}

/// How far ONNX's own operator of that name is verified on tract; none if it is not.
pub fn verified(operator: &str) -> Option<Verified> {
    VERIFIED.get(operator).copied()
}

/// All operators that are verified on tract, by name.
pub fn all_verified() -> impl Iterator<Item = (&'static str, Verified)> {
    VERIFIED
        .iter()
        .map(|(&operator, &verified)| (operator, verified))
}

/// The nodes that a graph leaves to tract although their operators are verified against nothing: name and operator.
pub fn unverified(graph: &Graph) -> Vec<(String, String)> {
    let hosts = graph
        .order()
        .into_iter()
        .filter_map(|id| match &graph.dag[id].op {
            Op::Host(host) if host.runtime == RuntimeName::Tract => Some(&host.nodes),
            _ => None,
        });
    let unverified = hosts
        .flatten()
        .filter(|node| !(is_standard(node) && VERIFIED.contains_key(node.op_type.as_str())));
    unverified
        .map(|node| (node_name(node), node.op_type.clone()))
        .collect()
}

/// The part of a node that tract computes otherwise, if there is one and the node is not rewritten.
pub(super) fn wrong_in_tract(node: &NodeProto) -> Option<&'static str> {
    match node.op_type.as_str() {
        "LSTM" | "GRU" | "RNN" => recurrence(node),
        "SpaceToDepth" if text_of(node, "mode") == Some("CRD") => {
            Some("the order of channels is always that of mode DCR")
        }
        "Attention" => attention(node),
        "GridSample" if is_cubic_at_border(node) => Some("the border is not continued"),
        _ => None,
    }
}

/// The part of a recurrence that tract leaves out.
fn recurrence(node: &NodeProto) -> Option<&'static str> {
    let given = |name: &str| {
        node.attribute
            .iter()
            .find(|attribute| attribute.name == name)
    };
    if given("clip").is_some() {
        return Some("values are not clipped");
    }
    if int_of(node, "input_forget").unwrap_or(0) != 0 {
        return Some("input and forget gates are not coupled");
    }
    if int_of(node, "layout").unwrap_or(0) != 0 {
        return Some("the first axis is always that of time");
    }
    if text_of(node, "direction") == Some("reverse") && has_operand(node, SEQUENCE_LENGTHS) {
        return Some("sequences of their own lengths run forwards");
    }
    let usual: &[&[u8]] = match node.op_type.as_str() {
        "LSTM" => &[b"Sigmoid", b"Tanh", b"Tanh"],
        "GRU" => &[b"Sigmoid", b"Tanh"],
        _ => &[b"Tanh"],
    };
    let names = given("activations").map_or(&[][..], |attribute| &attribute.strings);
    let is_usual = |(name, usual): (&Vec<u8>, &&[u8])| name.eq_ignore_ascii_case(usual);
    let usual = usual.iter().cycle();
    (!names.iter().zip(usual).all(is_usual)).then_some("activations are always the usual ones")
}

fn is_cubic_at_border(node: &NodeProto) -> bool {
    let cubic = matches!(text_of(node, "mode"), Some("cubic" | "bicubic"));
    cubic && text_of(node, "padding_mode") == Some("border")
}

/// The part of an attention that tract leaves out.
fn attention(node: &NodeProto) -> Option<&'static str> {
    const PAST_KEY: usize = 4;
    let windows = ["left_window_size", "right_window_size"];
    if windows.iter().any(|name| int_of(node, name).is_some()) {
        return Some("windows are not kept to");
    }
    let causal = int_of(node, "is_causal").unwrap_or(0) != 0;
    (causal && has_operand(node, PAST_KEY)).then_some("the past is masked, too")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that cannot be read would be an operator less.
    #[test]
    fn the_table_is_read_whole() {
        let text = include_str!("host_operators/verified.tsv");
        let rows = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(VERIFIED.len(), rows);
        assert!(rows > 100, "{rows}");
        assert!(verified_with().starts_with("1."), "{}", verified_with());
    }
}
