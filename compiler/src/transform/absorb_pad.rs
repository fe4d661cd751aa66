//! Zeros that a layer of its own puts around a plane become the padding of the convolutions that read it.

use crate::graph::{Graph, Op};
use crate::import::movement::is_padding;

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for id in graph.order() {
        let Op::Layer(layer) = &graph.dag[id].op else {
            continue;
        };
        let operand = graph.operands(id)[0];
        let Op::Layer(before) = &graph.dag[operand].op else {
            continue;
        };
        let (Some(_), Some(padding)) = (&layer.conv, &before.conv) else {
            continue;
        };
        if !is_padding(before) || graph.dag[operand].grid.is_some() {
            continue;
        }
        let axes = [padding.y, padding.x];
        let source = graph.operands(operand)[0];
        let names = graph.dag[operand].onnx_nodes.clone();
        graph.redirect(id, 0, source);
        let node = &mut graph.dag[id];
        // The layer keeps the name of its own node.
        node.onnx_nodes.extend(names);
        if let Op::Layer(layer) = &mut node.op
            && let Some(conv) = &mut layer.conv
        {
            for (axis, padding) in [&mut conv.y, &mut conv.x].into_iter().zip(axes) {
                axis.input = padding.input;
                for (pad, more) in axis.pad.iter_mut().zip(padding.pad) {
                    *pad += more * axis.upsample as i32;
                }
            }
        }
        changes += 1;
    }
    changes
}
