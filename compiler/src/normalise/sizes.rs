//! Refuses constants whose size stands in a constant of a few bytes and that no memory holds: tract computes them while it
//! reads the model.

use super::Draft;
use super::error::ImportError;
use super::limits::elements;
use crate::codes::Code;
use std::collections::BTreeMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, TensorProto};

/// Runs the pass, which changes nothing.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        let mut errors = Vec::new();
        sizes(graph, &mut errors);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    })
}

fn sizes(graph: &GraphProto, errors: &mut Vec<ImportError>) {
    let mut values: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for tensor in &graph.initializer {
        values.extend(integers(tensor).map(|value| (tensor.name.as_str(), value)));
    }
    for node in graph.node.iter().filter(|node| node.op_type == "Constant") {
        if let (Some(name), Some(value)) = (
            node.output.first(),
            node.attribute.iter().find_map(|a| integers(a.t.as_ref()?)),
        ) {
            values.insert(name, value);
        }
    }
    for node in &graph.node {
        let of = |index: usize| values.get(node.input.get(index)?.as_str());
        let size = match node.op_type.as_str() {
            "ConstantOfShape" => of(0).cloned(),
            "Expand" | "Tile" => of(1).cloned(),
            "Range" => match (of(0), of(1), of(2)) {
                (Some(from), Some(to), Some(step)) => Some(vec![
                    to[0].saturating_sub(from[0]).saturating_div(step[0].max(1)),
                ]),
                _ => None,
            },
            _ => None,
        };
        let dims: Option<Vec<u64>> =
            size.map(|size| size.into_iter().map(|d| d.max(0) as u64).collect());
        if let Some(dims) = dims.filter(|dims| elements(dims).is_none()) {
            errors.push(ImportError::node(
                Code::TooLarge,
                node,
                format!("it makes a tensor of {dims:?}, more than 2^31 elements"),
                "the file is damaged, or the model was exported with other dimensions",
            ));
        }
    }
}

/// The values of a short tensor of 64-bit integers, if it has any.
fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    if tensor.data_type != DataType::Int64 as i32 || tensor.raw_data.len() > 64 {
        return None;
    }
    let (words, _) = tensor.raw_data.as_chunks::<8>();
    let raw = words.iter().map(|&word| i64::from_le_bytes(word));
    let values: Vec<i64> = raw
        .chain(tensor.int64_data.iter().copied().take(8))
        .collect();
    (!values.is_empty()).then_some(values)
}
