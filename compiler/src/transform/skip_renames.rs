//! Machine nodes that read a rename read its operand instead, where it leaves every stored value in its place; a change of
//! shape of a change of shape becomes one. A rename that nobody reads any more goes, so that its operand has one reader less.

use crate::graph::{Graph, Op};

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    // The last first: who reads past one reads past the one before it as well.
    for id in graph.order().into_iter().rev() {
        let Op::Rename(transposition) = &graph.dag[id].op else {
            continue;
        };
        let reshapes = transposition.is_none();
        let operand = graph.operands(id)[0];
        let is_free = graph.is_free(id);
        for (consumer, slot) in graph.consumers(id) {
            let skips = match graph.dag[consumer].op {
                Op::Layer(_) | Op::Concat | Op::Slice(_) => is_free,
                Op::Rename(None) => reshapes,
                Op::Rename(Some(_)) | Op::Input | Op::Map(_) | Op::Host(_) | Op::HostOutput(_) => {
                    false
                }
            };
            if skips {
                graph.redirect(consumer, slot, operand);
                let names = graph.dag[id].onnx_nodes.clone();
                let node = &mut graph.dag[consumer];
                node.onnx_nodes.extend(names);
                changes += 1;
            }
        }
        if graph.consumers(id).is_empty() && !graph.is_output(id) {
            graph.dag.remove_node(id);
        }
    }
    changes
}
