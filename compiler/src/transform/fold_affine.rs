//! The factors of an affine stage behind a convolution are multiplied into its weights; what remains is a bias.

use crate::graph::{Graph, Op};

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for node in graph.dag.node_weights_mut() {
        let Op::Layer(layer) = &mut node.op else {
            continue;
        };
        let (Some(conv), Some(affine)) = (&mut layer.conv, &mut layer.affine) else {
            continue;
        };
        if affine.scale.iter().all(|&s| s == 1.0) {
            continue;
        }
        let per_output = conv.weights_per_output();
        conv.weights.scale_outputs(per_output, &affine.scale);
        affine.scale.fill(1.0);
        changes += 1;
    }
    changes
}
