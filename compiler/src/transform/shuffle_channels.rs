//! A rename that the machine reads with its channels in another order, and everything else where it was, becomes a
//! convolution by ones: a layer that multiplies once for each value, where the host would take and give all of them.
//!
//! ```text
//! [N, 2, C/2, H, W] -> transposed [N, C/2, 2, H, W] -> [N, C, H, W] for a convolution     the shuffle of ShuffleNet
//! ```

use super::lower_renames::on_machine;
use crate::graph::placement::{self, Placement, Slot};
use crate::graph::{Conv, Graph, Layer, NodeId, Op, Transposition};
use scnn_isa::plane::Axis;
use std::collections::BTreeMap;

/// Most channels that are reordered: the convolution has the square of them as weights, nearly all of them zero.
const MOST_CHANNELS: usize = 1 << 12;

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for id in graph.order() {
        if !matches!(graph.dag[id].op, Op::Rename(_)) || graph.is_free(id) {
            continue;
        }
        let operand = graph.operands(id)[0];
        if on_machine(graph, operand)
            && graph.read_by_machine(id)
            && let Some(layer) = shuffle(graph, id, operand)
        {
            graph.dag[id].op = Op::Layer(Box::new(layer));
            changes += 1;
        }
    }
    changes
}

/// The convolution that a rename is, if it reorders channels alone.
fn shuffle(graph: &Graph, id: NodeId, operand: NodeId) -> Option<Layer> {
    let node = &graph.dag[id];
    let wanted = node.placement.as_ref()?;
    let before = graph.dag[operand].placement.as_ref()?;
    let seen = match &node.op {
        Op::Rename(Some(Transposition { dims, order })) => {
            placement::transposed(before, dims, order)?
        }
        _ => before.clone(),
    };
    let sources = sources(&seen, wanted, &node.dims)?;
    let [_, channels, rows, columns] = wanted.shape()?;
    let planes = [Axis::identity(rows), Axis::identity(columns)];
    let ones = (0..).zip(sources).map(|(to, from)| ([to, from], [0, 0]));
    Some(Layer {
        conv: Some(Conv::of_ones([channels; 2], planes, ones)),
        ..Layer::default()
    })
}

/// For each channel of a tensor as it is wanted, the one that has its values as it is seen; none where more than channels
/// would change their places.
fn sources(seen: &Placement, wanted: &Placement, dims: &[u64]) -> Option<Vec<u32>> {
    let [seen, wanted] = [seen, wanted].map(|lies| placement::axes(lies, dims));
    let (seen, wanted) = (seen?, wanted?);
    let stays = |slot| placement::coordinates(&seen, slot) == placement::coordinates(&wanted, slot);
    if ![Slot::Image, Slot::Row, Slot::Column]
        .into_iter()
        .all(stays)
    {
        return None;
    }
    let channels = placement::coordinates(&seen, Slot::Channel);
    if channels.len() > MOST_CHANNELS {
        return None;
    }
    let place: BTreeMap<Vec<u64>, u32> = channels.into_iter().zip(0..).collect();
    let wanted = placement::coordinates(&wanted, Slot::Channel).into_iter();
    wanted.map(|at| place.get(&at).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(seen: &str, wanted: &str, dims: &[u64]) -> Option<Vec<u32>> {
        sources(&seen.parse().unwrap(), &wanted.parse().unwrap(), dims)
    }

    #[test]
    fn channels_alone_are_reordered() {
        // [2, 3] channels as [3, 2].
        let dims = [1, 6, 5, 7];
        let shuffled = found("3c1 2c0 5y 7x", "6c 5y 7x", &dims);
        assert_eq!(shuffled, Some(vec![0, 3, 1, 4, 2, 5]));
        assert_eq!(found("6c 7y 5x", "6c 5y 7x", &dims), None);
        assert_eq!(found("2y 3c 5x 7n", "6c 5y 7x", &dims), None);
    }
}
