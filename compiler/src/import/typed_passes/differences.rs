//! The difference of two activations becomes a sum with the negative of one.
//!
//! What is squared is left as it is: it is the distance from a mean, which belongs to the [statistics](crate::import) of a
//! normalisation.

use super::is_activation;
use crate::import::Facts;
use crate::import::facts::TensorFact;
use crate::import::statistics::squared;
use crate::normalise::parts::replace_known;
use crate::normalise::proto::{is_standard, result};
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let squared = squared(graph, facts);
    let wanted = |node: &NodeProto| {
        let taken = is_difference(node, facts) && !squared.contains(&result(node));
        taken.then_some(())
    };
    replace_known(graph, wanted, |node, (), parts| {
        let y = result(node);
        let negative = vec![node.input[1].clone()];
        let negative = parts.node("Neg", negative, format!("{y}.negative"), &[]);
        parts.node("Add", vec![node.input[0].clone(), negative], y, &[]);
    })
}

fn is_difference(node: &NodeProto, facts: &Facts) -> bool {
    if !is_standard(node) || node.op_type != "Sub" || node.input.len() != 2 {
        return false;
    }
    let operands = [0, 1].map(|index| facts.get(&node.input[index]));
    let [Some(a), Some(b)] = operands else {
        return false;
    };
    let planes = matches!(a.dims.len(), 2..=4) && a.dims.len() == b.dims.len();
    is_activation(a) && is_activation(b) && planes && (meets(a, b) || meets(b, a))
}

/// Whether the PPU adds `other`: of the shape of the values, or with one value for each image and channel.
fn meets(values: &TensorFact, other: &TensorFact) -> bool {
    let (images, plane) = other.dims.split_at(2);
    let per_channel = values.dims.starts_with(images) && plane.iter().all(|&extent| extent == 1);
    values.dims == other.dims || per_channel
}
