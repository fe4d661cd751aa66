//! A linear layer of a flattened `[C, H, W]` plane becomes an H x W convolution of the plane itself.
//!
//! Its stride is the kernel: the residues then split the plane into single positions, each of which meets exactly the
//! one tap that it needs. Without this, the values would have to be reordered between the PEs.

use crate::graph::{Graph, Op};
use scnn_isa::plane::Axis;

/// Positions of the largest plane that is taken so. Each is a residue of its own, and what mapping and simulation do grows
/// with the square of their number.
pub const MOST_POSITIONS: u32 = 1 << 12;

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for id in graph.order() {
        let Op::Layer(layer) = &graph.dag[id].op else {
            continue;
        };
        let Some(conv) = &layer.conv else { continue };
        let rename = graph.operands(id)[0];
        let flat = conv.groups == 1 && conv.y == Axis::identity(1) && conv.x == Axis::identity(1);
        if !flat || !matches!(graph.dag[rename].op, Op::Rename) {
            continue;
        }
        let operand = graph.operands(rename)[0];
        let Some([_, c, h, w]) = graph.dag[operand].shape() else {
            continue;
        };
        let positions = h.saturating_mul(w);
        if !(2..=MOST_POSITIONS).contains(&positions)
            || u64::from(c) * u64::from(positions) != u64::from(conv.c)
        {
            continue;
        }
        let axis = |extent| Axis {
            input: extent,
            output: 1,
            kernel: extent,
            stride: extent,
            ..Axis::identity(extent)
        };
        graph.redirect(id, 0, operand);
        let names = graph.dag[rename].onnx_nodes.clone();
        let node = &mut graph.dag[id];
        // The layer keeps the name of its own node.
        node.onnx_nodes.extend(names);
        if let Op::Layer(layer) = &mut node.op
            && let Some(conv) = &mut layer.conv
        {
            (conv.c, conv.y, conv.x) = (c, axis(h), axis(w));
        }
        changes += 1;
    }
    changes
}
