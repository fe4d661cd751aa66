//! Layers that only move values for the host: it takes them from the whole tensor, and nothing is rounded once more.
//!
//! A crop is a layer of the array, a convolution by ones, where the array goes on with its result. Where only the host reads
//! it, the layer costs cycles, a rounding and a transfer of its own, and the host cuts the same out of what it is given.
//! That is so unless most of the tensor is cut away, which would cross the host link for nothing ([`LEAST_READ`]).

use super::fallback::Fallback;
use crate::graph::{Graph, Layer, NodeId, Op};

/// Share of the tensor that is read, at least.
const LEAST_READ: f64 = 0.5;

/// What runs on the host because it only moves values there. `graph` is a transformed one.
pub(super) fn for_host(graph: &Graph) -> Vec<Fallback> {
    let layers = graph.order().into_iter();
    let layers = layers.filter(|&id| moves(graph, id) && read_by_host_alone(graph, id));
    layers
        .filter(|&id| {
            let elements = |id: NodeId| graph.dag[id].dims.iter().product::<u64>() as f64;
            let source = graph.operands(id).into_iter().map(elements);
            source.sum::<f64>() * LEAST_READ <= elements(id)
        })
        .map(|id| Fallback {
            nodes: graph.dag[id].onnx_nodes.clone(),
            reason: "it moves values that only the host reads, which needs no layer there"
                .to_owned(),
            is_fault: false,
        })
        .collect()
}

/// Whether a node is a convolution by ones alone, each value of whose result is one of its operand.
fn moves(graph: &Graph, id: NodeId) -> bool {
    let Op::Layer(layer) = &graph.dag[id].op else {
        return false;
    };
    let Layer {
        conv: Some(conv),
        affine: None,
        operand: None,
        function: None,
        clamp: None,
        pool: None,
    } = &**layer
    else {
        return false;
    };
    conv.moves_only() && graph.dag[id].grid.is_none()
}

fn read_by_host_alone(graph: &Graph, id: NodeId) -> bool {
    let readers = graph.consumers(id);
    let on_host = |(reader, _): &(NodeId, u32)| matches!(graph.dag[*reader].op, Op::Host(_));
    !readers.is_empty() && readers.iter().all(on_host) && !graph.is_output(id)
}
