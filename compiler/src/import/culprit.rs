//! Finds the node that tract cannot type, where tract does not name it, as in panics.

use super::Large;
use super::facts::{result_names, typed};
use scnn_host::contained;
use tract_onnx::pb::ModelProto;

/// The position of the last node of the shortest beginning of the model that tract cannot type; none if it can type all nodes.
pub(super) fn culprit(model: &ModelProto, large: &Large) -> Option<usize> {
    let nodes = &model.graph.as_ref()?.node;
    let lengths: Vec<usize> = (1..=nodes.len()).collect();
    // If a beginning of the model cannot be typed, no longer one can.
    let longest = lengths.partition_point(|&length| is_typed(model, large, length));
    (longest < nodes.len()).then_some(longest)
}

/// Whether tract can type the first `length` nodes.
fn is_typed(model: &ModelProto, large: &Large, length: usize) -> bool {
    let mut beginning = model.clone();
    if let Some(graph) = &mut beginning.graph {
        graph.node.truncate(length);
        // Its outputs may be computed later; every result is asked for by name.
        graph.output.clear();
    }
    let names = result_names(&beginning);
    contained(|| typed(&beginning, large, &names)).is_ok()
}
