//! Machine nodes that read a rename read its operand instead, where both have the same shape `[N, C, H, W]`; a rename
//! of a rename becomes one.

use crate::graph::{Graph, Op};

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for id in graph.order() {
        if !matches!(graph.dag[id].op, Op::Rename) {
            continue;
        }
        let operand = graph.operands(id)[0];
        let same = graph.dag[operand].shape() == graph.dag[id].shape();
        for (consumer, slot) in graph.consumers(id) {
            let skips = match graph.dag[consumer].op {
                Op::Layer(_) | Op::Concat | Op::Slice(_) => same,
                Op::Rename => true,
                Op::Input | Op::Map(_) | Op::Host(_) | Op::HostOutput(_) => false,
            };
            if skips {
                graph.redirect(consumer, slot, operand);
                let names = graph.dag[id].onnx_nodes.clone();
                let node = &mut graph.dag[consumer];
                node.onnx_nodes.extend(names);
                changes += 1;
            }
        }
    }
    changes
}
