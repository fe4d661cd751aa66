//! The larger or smaller of two activations becomes a sum: `max(a, b) = b + max(a - b, 0)`, `min(a, b) = a - max(a - b, 0)`.
//! Both are the array's: on the host, which compares, a difference of numbers far apart would lose the smaller one.

use super::broadcasts::Producers;
use super::is_activation;
use crate::import::Facts;
use crate::normalise::parts::replace_known;
use crate::normalise::proto::{is_standard, result};
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let producers = Producers::of(graph, facts);
    let wanted = |node: &NodeProto| {
        let of_array = node
            .input
            .iter()
            .all(|name| producers.come_from_array(name));
        (of_array && is_extremum(node, facts)).then_some(())
    };
    replace_known(graph, wanted, |node, (), parts| {
        let y = result(node);
        let [a, b] = [0, 1].map(|index| node.input[index].clone());
        let negative = parts.node("Neg", vec![b.clone()], format!("{y}.negative"), &[]);
        let operands = vec![a.clone(), negative];
        let difference = parts.node("Add", operands, format!("{y}.difference"), &[]);
        let excess = parts.node("Relu", vec![difference], format!("{y}.excess"), &[]);
        if node.op_type == "Max" {
            parts.node("Add", vec![excess, b], y, &[]);
        } else {
            let less = parts.node("Neg", vec![excess], format!("{y}.less"), &[]);
            parts.node("Add", vec![a, less], y, &[]);
        }
    })
}

fn is_extremum(node: &NodeProto, facts: &Facts) -> bool {
    let two = matches!(node.op_type.as_str(), "Max" | "Min") && node.input.len() == 2;
    if !is_standard(node) || !two || node.input[0] == node.input[1] {
        return false;
    }
    let operands = [0, 1].map(|index| facts.get(&node.input[index]));
    let [Some(a), Some(b)] = operands else {
        return false;
    };
    let planes = (2..=4).contains(&a.dims.len());
    is_activation(a) && is_activation(b) && a.dims == b.dims && planes
}
