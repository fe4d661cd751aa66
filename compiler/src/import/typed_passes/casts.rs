//! A `Cast` to the type that a tensor has already becomes an `Identity`: with all floats computed as float32, those among
//! float types.

use crate::import::Facts;
use crate::normalise::proto::{int_of, is_standard, onnx_type};
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let mut changed = false;
    for node in graph.node.iter_mut().filter(|node| is_idle(node, facts)) {
        "Identity".clone_into(&mut node.op_type);
        node.attribute.clear();
        node.input.truncate(1);
        changed = true;
    }
    changed
}

fn is_idle(node: &NodeProto, facts: &Facts) -> bool {
    let dtype = |index: usize| Some(facts.get(node.input.get(index)?)?.dtype);
    let to = match node.op_type.as_str() {
        "Cast" => int_of(node, "to"),
        "CastLike" => dtype(1).map(|dtype| onnx_type(dtype) as i64),
        _ => None,
    };
    is_standard(node) && to.is_some() && to == dtype(0).map(|dtype| onnx_type(dtype) as i64)
}
