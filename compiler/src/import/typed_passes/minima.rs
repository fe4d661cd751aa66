//! A smallest value becomes the negative of the largest of the negatives, which the PPU's pooling takes.

use super::is_activation;
use crate::import::Facts;
use crate::normalise::parts::replace_known;
use crate::normalise::proto::{is_standard, result};
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let wanted = |node: &NodeProto| is_minimum(node, facts).then_some(());
    replace_known(graph, wanted, |node, (), parts| {
        let y = result(node);
        let mut operands = node.input.clone();
        let x = vec![std::mem::take(&mut operands[0])];
        operands[0] = parts.node("Neg", x, format!("{y}.negative"), &[]);
        let largest = format!("{y}.largest");
        let largest = parts.node("ReduceMax", operands, largest, &node.attribute);
        parts.node("Neg", vec![largest], y, &[]);
    })
}

fn is_minimum(node: &NodeProto, facts: &Facts) -> bool {
    let operand = node.input.first().and_then(|name| facts.get(name));
    is_standard(node) && node.op_type == "ReduceMin" && operand.is_some_and(is_activation)
}
