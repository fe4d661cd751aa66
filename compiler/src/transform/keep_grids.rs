//! What a model has rounded to a grid of its own stays on it behind layers that only choose among values: bounds at zero,
//! maxima, and nothing at all.
//!
//! ```text
//! x on 0.2 -> max(x, 0)            x on 0.2 -> max(x, 0) on 0.2
//! ```
//!
//! Such a layer that is not joined with what rounds would get a scale of calibration's, and its values would be rounded once
//! more, to integers that the file does not have.

use crate::graph::{FixedScale, Graph, Layer, NodeId, Op};
use scnn_isa::layer::PoolKind;

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for id in graph.order() {
        if let Some(grid) = kept(graph, id) {
            graph.dag[id].grid = Some(grid);
            changes += 1;
        }
    }
    changes
}

/// The grid that a node without one is on all the same.
fn kept(graph: &Graph, id: NodeId) -> Option<FixedScale> {
    let node = &graph.dag[id];
    let Op::Layer(layer) = &node.op else {
        return None;
    };
    if node.grid.is_some() || !chooses(layer) {
        return None;
    }
    let grid = graph.dag[*graph.operands(id).first()?].grid?;
    let bounded = layer.clamp.is_some_and(|(low, _)| low == 0.0);
    let [low, high] = grid.range;
    Some(FixedScale {
        range: if bounded {
            [low.max(0), high.max(0)]
        } else {
            grid.range
        },
        ..grid
    })
}

/// Whether every value that a layer computes is one that it reads, or zero.
pub(super) fn chooses(layer: &Layer) -> bool {
    let computes = layer.conv.is_some()
        || layer.affine.is_some()
        || layer.operand.is_some()
        || layer.function.is_some();
    let (low, high) = layer.clamp.unwrap_or((0.0, f32::INFINITY));
    let bounds = [low, high];
    let on_grid = bounds.iter().all(|b| *b == 0.0 || b.is_infinite());
    let pools = layer.pool.iter();
    let mut averages = pools.filter(|pool| pool.kind != PoolKind::Max);
    !computes && on_grid && averages.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantise::observed::{Observed, layer};

    /// The grid of what `op` computes of a value on -128..127 x 0.5.
    fn grid_behind(op: Op) -> Option<FixedScale> {
        let mut observed = Observed::default();
        let x = observed.add(("x", 1), (1.0, 1.0), Op::Input, &[]);
        observed.graph.dag[x].grid = Some(FixedScale {
            scale: 0.5,
            range: [-128, 127],
        });
        let y = observed.add(("y", 1), (1.0, 1.0), op, &[x]);
        run(&mut observed.graph);
        observed.graph.dag[y].grid
    }

    #[test]
    fn a_bound_at_zero_stays_on_the_grid_and_another_does_not() {
        let bound = |low, high| grid_behind(layer(|l| l.clamp = Some((low, high))));
        let range = |grid: Option<FixedScale>| grid.map(|grid| (grid.scale, grid.range));
        assert_eq!(range(bound(0.0, f32::INFINITY)), Some((0.5, [0, 127])));
        assert_eq!(
            range(bound(f32::NEG_INFINITY, 0.0)),
            Some((0.5, [-128, 127]))
        );
        assert_eq!(range(bound(0.0, 6.2)), None);
    }
}
