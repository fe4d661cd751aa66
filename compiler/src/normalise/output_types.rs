//! The type of a `QuantizeLinear`'s result goes from an attribute to a zero point of that type, where it has none.

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{has_operand, int_of, is_standard, operand, result};
use std::collections::BTreeMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{NodeProto, TensorProto};

/// Extents of constants.
type Extents = BTreeMap<String, Vec<i64>>;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        let constants = graph.initializer.iter();
        let extents = constants.map(|tensor| (tensor.name.clone(), tensor.dims.clone()));
        let extents: Extents = extents.collect();
        replace_nodes(graph, |mut node, parts| {
            if is_standard(&node) && node.op_type == "QuantizeLinear" {
                parts.zero_point(&mut node, &extents);
            }
            Ok(Some(node))
        })
    })
}

/// How many bytes a number of an element type has; none of types that are packed.
fn width(data_type: i32) -> Option<usize> {
    match DataType::try_from(data_type).ok()? {
        DataType::Int8 | DataType::Uint8 => Some(1),
        DataType::Int16 | DataType::Uint16 => Some(2),
        _ => None,
    }
}

impl Parts {
    /// A zero point has the extents of the scale.
    fn zero_point(&mut self, node: &mut NodeProto, extents: &Extents) {
        let kind = int_of(node, "output_dtype").and_then(|kind| i32::try_from(kind).ok());
        let dims = extents
            .get(&operand(node, 1))
            .filter(|_| !has_operand(node, 2));
        let width = kind.and_then(width);
        let (Some(kind), Some(dims), Some(width)) = (kind, dims, width) else {
            return;
        };
        let name = format!("{}.zero", result(node));
        let count: i64 = dims.iter().product();
        self.initializers.push(TensorProto {
            name: name.clone(),
            dims: dims.clone(),
            data_type: kind,
            raw_data: vec![0; count as usize * width],
            ..TensorProto::default()
        });
        node.input.truncate(2);
        node.input.push(name);
        node.attribute.retain(|a| a.name != "output_dtype");
    }
}
