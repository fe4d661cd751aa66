//! Refuses constants whose size stands in a constant of a few bytes and that no memory holds: tract computes them while it
//! reads the model.

use super::Draft;
use super::error::ImportError;
use super::limits::elements;
use super::proto::int64_values;
use crate::codes::Code;
use std::collections::BTreeMap;
use tract_onnx::pb::GraphProto;

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
        values.extend(int64_values(tensor).map(|value| (tensor.name.as_str(), value)));
    }
    for node in graph.node.iter().filter(|node| node.op_type == "Constant") {
        if let (Some(name), Some(value)) = (
            node.output.first(),
            node.attribute
                .iter()
                .find_map(|a| int64_values(a.t.as_ref()?)),
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
