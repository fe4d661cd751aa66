//! Operands that are not there have one form: trailing ones are left out, others have an empty name.
//!
//! Some exporters write an empty tensor where an operand of `Resize` is not there, and a region of interest where nothing
//! reads it.

use super::Draft;
use super::error::ImportError;
use super::proto::{attribute, is_standard, text_of};
use std::collections::BTreeSet;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        let empty = empty_constants(graph);
        for node in &mut graph.node {
            if is_standard(node) && node.op_type == "Resize" {
                resize(node, &empty);
            }
            trim(&mut node.input);
            trim(&mut node.output);
        }
        Ok(())
    })
}

/// Removes the empty names at the end.
fn trim(names: &mut Vec<String>) {
    let given = names.iter().rposition(|name| !name.is_empty());
    names.truncate(given.map_or(0, |last| last + 1));
}

fn resize(node: &mut NodeProto, empty: &BTreeSet<String>) {
    let coordinates = text_of(node, "coordinate_transformation_mode");
    if coordinates != Some("tf_crop_and_resize") && node.input.len() > 2 {
        node.input[1].clear();
    }
    for name in node
        .input
        .iter_mut()
        .skip(1)
        .filter(|name| empty.contains(*name))
    {
        name.clear();
    }
}

/// Names of the constants without elements.
fn empty_constants(graph: &GraphProto) -> BTreeSet<String> {
    let empty = |tensor: &TensorProto| tensor.dims.contains(&0);
    let initializers = graph.initializer.iter().filter(|tensor| empty(tensor));
    let named = initializers.map(|tensor| tensor.name.clone());
    let constants = graph.node.iter().filter(|node| {
        let value = attribute(node, "value").and_then(|a| a.t.as_ref());
        node.op_type == "Constant" && value.is_some_and(empty)
    });
    named
        .chain(constants.flat_map(|node| node.output.clone()))
        .collect()
}
