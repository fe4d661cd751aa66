//! Joins a layer with its only consumer when the stages of both together are still in the hardware's order.
//!
//! Besides stages that follow each other: two affine stages are one, two clamps are one, and a clamp behind a maximum
//! may stand before it. An average keeps a layer of its own, because the values under it need a scale of their own.

use super::keep_grids::chooses;
use crate::graph::{Affine, FixedScale, Function, Graph, Layer, NodeId, Op, Operand};
use scnn_isa::layer::{OperandShape, PoolKind};

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for id in graph.order() {
        let Some(consumer) = only_consumer(graph, id) else {
            continue;
        };
        if !keeps_grid(graph, id, consumer.0) || rounds_twice(graph, id, consumer.0) {
            continue;
        }
        let joined = layers(graph, id, consumer.0)
            .and_then(|(first, second)| join(first, second, consumer.1));
        // An operand that the second layer brings meets what the first one computes.
        let joined = joined.map(|mut joined| {
            let first = graph.operands(id).len() == 1;
            if let Some(operand) = joined.operand.as_mut().filter(|_| first) {
                operand.value.clone_from(&graph.dag[id].tensor);
            }
            joined
        });
        // The joined layer stands at the consumer, whose turn comes later in the order.
        if let Some(joined) = joined {
            replace(graph, id, consumer, joined);
            changes += 1;
        }
    }
    // Parts of one node have its name.
    for node in graph.dag.node_weights_mut() {
        node.onnx_nodes.dedup();
    }
    changes
}

/// Whether the consumer leaves values on the grid that the first layer rounds to, or the first rounds to none. A maximum
/// does, and a bound at 0.
fn keeps_grid(graph: &Graph, id: NodeId, consumer: NodeId) -> bool {
    let (Some(grid), Op::Layer(second)) = (graph.dag[id].grid, &graph.dag[consumer].op) else {
        return true;
    };
    // A narrower grid of the same scale saturates what the first would.
    chooses(second)
        && graph.dag[consumer]
            .grid
            .is_none_or(|other| other.lies_on(grid))
}

/// Whether the consumer rounds the results of a function to the model's own scale, which a table does only where it has
/// a knot for each operand: elsewhere it gives 16 bits, and those are rounded.
fn rounds_twice(graph: &Graph, id: NodeId, consumer: NodeId) -> bool {
    let Op::Layer(first) = &graph.dag[id].op else {
        return false;
    };
    let operand = graph
        .operands(id)
        .first()
        .and_then(|&operand| graph.dag[operand].grid);
    let few = operand.is_some_and(FixedScale::is_of_bytes);
    let own_slopes = matches!(&first.function, Some(Function::Leaky(slopes)) if slopes.windows(2).any(|s| s[0] != s[1]));
    let exact = first.is_function_alone() && few && !own_slopes;
    graph.dag[consumer].grid.is_some() && first.function.is_some() && !exact
}

fn only_consumer(graph: &Graph, id: NodeId) -> Option<(NodeId, u32)> {
    if graph.is_output(id) {
        return None;
    }
    match graph.consumers(id).as_slice() {
        &[consumer] => Some(consumer),
        _ => None,
    }
}

fn layers(graph: &Graph, id: NodeId, consumer: NodeId) -> Option<(&Layer, &Layer)> {
    match (&graph.dag[id].op, &graph.dag[consumer].op) {
        (Op::Layer(first), Op::Layer(second)) => Some((first, second)),
        _ => None,
    }
}

/// The stages of a layer in the hardware's order: whether each is there.
fn stages(layer: &Layer) -> [bool; 6] {
    [
        layer.conv.is_some(),
        layer.affine.is_some(),
        layer.operand.is_some(),
        layer.function.is_some(),
        layer.clamp.is_some(),
        layer.pool.is_some(),
    ]
}

const AFFINE: usize = 1;
const OPERAND: usize = 2;
const CLAMP: usize = 4;

/// One layer that does what `first` and then `second` do; `slot` is the operand of `second` that `first` computes.
fn join(first: &Layer, second: &Layer, slot: u32) -> Option<Layer> {
    let (before, after) = (stages(first), stages(second));
    let last = before.iter().rposition(|&there| there);
    let next = after.iter().position(|&there| there);
    let same_shape = |operand: &Operand| operand.shape == OperandShape::Same;
    let exchangeable = next == Some(OPERAND) && second.operand.as_ref().is_some_and(same_shape);
    if slot == 1 && !exchangeable {
        return None;
    }
    let (Some(last), Some(next)) = (last, next) else {
        // An empty layer is the identity.
        return Some(if last.is_none() {
            second.clone()
        } else {
            first.clone()
        });
    };
    if second
        .pool
        .as_ref()
        .is_some_and(|pool| pool.kind != PoolKind::Max)
    {
        return None;
    }
    let max_pooled = first
        .pool
        .as_ref()
        .is_some_and(|pool| pool.kind == PoolKind::Max);
    let only_clamps = after == [false, false, false, false, true, false];
    let affines = last == AFFINE && next == AFFINE;
    let clamps = last == CLAMP && next == CLAMP;
    let in_order = last < next || affines || clamps || (max_pooled && only_clamps);
    if !in_order {
        return None;
    }
    Some(Layer {
        conv: first.conv.clone().or_else(|| second.conv.clone()),
        affine: match (&first.affine, &second.affine) {
            (Some(first), Some(second)) => Some(compose(first, second)),
            (first, second) => first.clone().or_else(|| second.clone()),
        },
        operand: first.operand.clone().or_else(|| second.operand.clone()),
        function: first.function.clone().or_else(|| second.function.clone()),
        clamp: match (first.clamp, second.clamp) {
            (Some((low, high)), Some(bounds)) => Some((
                low.clamp(bounds.0, bounds.1),
                high.clamp(bounds.0, bounds.1),
            )),
            (first, second) => first.or(second),
        },
        pool: first.pool.clone().or_else(|| second.pool.clone()),
    })
}

fn compose(first: &Affine, second: &Affine) -> Affine {
    let scale = first
        .scale
        .iter()
        .zip(&second.scale)
        .map(|(a, b)| a * b)
        .collect();
    let offset = first
        .offset
        .iter()
        .zip(&second.scale)
        .zip(&second.offset)
        .map(|((o, s), p)| o * s + p)
        .collect();
    Affine { scale, offset }
}

/// Puts `joined` in the consumer's place; the first layer's source becomes operand 0, the other operand stays 1.
fn replace(graph: &mut Graph, id: NodeId, (consumer, slot): (NodeId, u32), joined: Layer) {
    let source = graph.operands(id)[0];
    let kept = graph.operands(id).get(1).copied();
    let other = graph
        .operands(consumer)
        .iter()
        .enumerate()
        .find(|(i, _)| *i as u32 != slot)
        .map(|(_, &o)| o);
    graph.disconnect(consumer);
    let first = graph.dag.remove_node(id);
    graph.dag.add_edge(source, consumer, 0);
    if let Some(second) = kept.or(other) {
        graph.dag.add_edge(second, consumer, 1);
    }
    let node = &mut graph.dag[consumer];
    // Appended to the first's, of which a chain makes a long list, and not put before the second's.
    let (first_grid, mut names) =
        first.map_or_else(Default::default, |first| (first.grid, first.onnx_nodes));
    names.append(&mut node.onnx_nodes);
    node.onnx_nodes = names;
    node.grid = node.grid.or(first_grid);
    node.op = Op::Layer(Box::new(joined));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Pool;
    use scnn_isa::plane::Axis;

    fn clamp(low: f32, high: f32) -> Layer {
        Layer {
            clamp: Some((low, high)),
            ..Layer::default()
        }
    }

    fn max_pool() -> Layer {
        let axis = Axis {
            kernel: 2,
            stride: 2,
            output: 2,
            ..Axis::identity(4)
        };
        Layer {
            pool: Some(Pool {
                kind: PoolKind::Max,
                y: axis,
                x: axis,
            }),
            ..Layer::default()
        }
    }

    #[test]
    fn two_clamps_are_their_composition() {
        let joined = join(&clamp(-1.0, 4.0), &clamp(0.0, 6.0), 0).unwrap();
        assert_eq!(joined.clamp, Some((0.0, 4.0)));
    }

    #[test]
    fn a_clamp_moves_before_a_maximum() {
        let joined = join(&max_pool(), &clamp(0.0, 6.0), 0).unwrap();
        assert!(joined.pool.is_some() && joined.clamp == Some((0.0, 6.0)));
    }

    #[test]
    fn an_affine_stage_does_not_move_before_a_clamp() {
        let affine = Layer {
            affine: Some(Affine {
                scale: vec![2.0],
                offset: vec![1.0],
            }),
            ..Layer::default()
        };
        assert!(join(&clamp(0.0, 6.0), &affine, 0).is_none());
        assert!(join(&affine, &clamp(0.0, 6.0), 0).is_some());
    }

    #[test]
    fn affine_stages_compose() {
        let affine = |s, o| Layer {
            affine: Some(Affine {
                scale: vec![s],
                offset: vec![o],
            }),
            ..Layer::default()
        };
        let joined = join(&affine(2.0, 1.0), &affine(3.0, 5.0), 0)
            .unwrap()
            .affine
            .unwrap();
        assert_eq!((joined.scale[0], joined.offset[0]), (6.0, 8.0));
    }
}
