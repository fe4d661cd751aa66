//! Constants are written in one way: a `Constant` has its value as a tensor, and a `ConstantOfShape` says which value.

use super::Draft;
use super::error::ImportError;
use super::proto::{attribute, float_tensor, int64_tensor, is_standard, tensor};
use tract_onnx::pb::{NodeProto, TensorProto};

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        for node in graph.node.iter_mut().filter(|node| is_standard(node)) {
            let value = match node.op_type.as_str() {
                "Constant" => value_of(node),
                // tract takes a double where the standard has a float.
                "ConstantOfShape" if attribute(node, "value").is_none() => {
                    Some(float_tensor("", &[1], &[0.0]))
                }
                _ => None,
            };
            if let Some(value) = value {
                node.attribute = vec![tensor("value", value)];
            }
        }
        Ok(())
    })
}

/// The value of a `Constant` that is a number or a list of numbers, as a tensor.
fn value_of(node: &NodeProto) -> Option<TensorProto> {
    let given = node.attribute.first()?;
    Some(match given.name.as_str() {
        "value_float" => float_tensor("", &[], &[given.f]),
        "value_floats" => float_tensor("", &[given.floats.len() as i64], &given.floats),
        "value_int" => int64_tensor("", &[], &[given.i]),
        "value_ints" => int64_tensor("", &[given.ints.len() as i64], &given.ints),
        _ => return None,
    })
}
