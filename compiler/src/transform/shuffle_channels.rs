//! A rename that the machine reads with its channels in another order, or with blocks of the plane on channels or channels
//! as blocks of the plane, becomes a convolution by ones: a layer that multiplies once for each value, where the host would
//! take and give all of them.
//!
//! ```text
//! [N, 2, C/2, H, W] -> transposed [N, C/2, 2, H, W] -> [N, C, H, W] for a convolution     the shuffle of ShuffleNet
//! [N, C, H, 2, W, 2] -> transposed [N, C, 2, 2, H, W] -> [N, 4C, H, W]                    SpaceToDepth in parts
//! [N, C, 2, 2, H, W] -> transposed [N, C, H, 2, W, 2] -> [N, C, 2H, 2W]                   DepthToSpace in parts
//! ```

use super::lower_renames::on_machine;
use crate::graph::placement::{self, Placement, Slot};
use crate::graph::{Graph, Layer, NodeId, Op, Transposition};
use scnn_isa::legal;
use scnn_isa::plane::Axis;

/// Largest block of the plane that is moved, along an axis. Larger ones are a tensor's whole plane as a rule, and their
/// convolution has more zeros than the host link has values.
const LARGEST_BLOCK: u32 = 8;

/// Fewest blocks of a plane, for the same reason.
const FEWEST_BLOCKS: u64 = 16;

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
            && let Some(layer) = moving(graph, id, operand)
        {
            graph.dag[id].op = Op::Layer(Box::new(layer));
            changes += 1;
        }
    }
    changes
}

/// The convolution that a rename is, if it is one.
fn moving(graph: &Graph, id: NodeId, operand: NodeId) -> Option<Layer> {
    let node = &graph.dag[id];
    let wanted = node.placement.as_ref()?;
    let before = graph.dag[operand].placement.as_ref()?;
    let seen = match &node.op {
        Op::Rename(Some(Transposition { dims, order })) => {
            placement::transposed(before, dims, order)?
        }
        _ => before.clone(),
    };
    let layer = convolution(&seen, wanted, &node.dims)?;
    let form = layer.form(before.shape()?, None, wanted.shape()?);
    legal::layer(&form).ok().map(|()| layer)
}

/// The convolution by ones from a tensor as it is seen to the same as it is wanted.
fn convolution(seen: &Placement, wanted: &Placement, dims: &[u64]) -> Option<Layer> {
    let shapes = [seen.shape()?, wanted.shape()?];
    // No layer has others, and every place is listed below.
    let sane = |extent: &u32| (1..=legal::MAX_EXTENT).contains(extent);
    if !shapes.as_flattened().iter().all(sane) {
        return None;
    }
    let [[_, channels, h, w], [_, outputs, rows, columns]] = shapes;
    let [seen, wanted] = [seen, wanted].map(|lies| placement::axes(lies, dims));
    let (seen, wanted) = (seen?, wanted?);
    if !placement::are_nested(&seen, &wanted) {
        return None;
    }
    // Of the first value at each place of a slot of the result: image, channel, row and column where it is read.
    let sources = |slot| -> Vec<[u64; 4]> {
        let places = placement::coordinates(&wanted, slot).into_iter();
        places.map(|at| placement::position(&seen, &at)).collect()
    };
    let images = sources(Slot::Image).into_iter();
    let mut moved = (0..).zip(images).filter(|&(n, at)| at != [n, 0, 0, 0]);
    if moved.next().is_some() {
        return None;
    }
    let y = PlaneBlocks::along(2, h, rows, &sources(Slot::Row))?;
    let x = PlaneBlocks::along(3, w, columns, &sources(Slot::Column))?;
    let blocks = u64::from(h.min(rows)) * u64::from(w.min(columns));
    if [&y, &x].iter().any(|along| along.is_moved()) && blocks < FEWEST_BLOCKS {
        return None;
    }
    let mut ones = Vec::new();
    for (output, at) in (0..).zip(sources(Slot::Channel)) {
        let [0, channel, row, column] = at else {
            return None;
        };
        for (above, r) in y.taps(row)? {
            for (left, s) in x.taps(column)? {
                ones.push(([output, (channel + above + left) as u32], [r, s]));
            }
        }
    }
    Layer::of_ones([outputs, channels], [y.axis, x.axis], ones).ok()
}

/// What becomes of rows, or of columns: each block of them lies on channels of the result, or was on channels.
struct PlaneBlocks {
    axis: Axis,
    /// By place in a block that was on channels, how many channels behind the first.
    channels: Vec<u64>,
}

impl PlaneBlocks {
    /// Blocks along `slot` (2: rows, 3: columns) of `input` places, of which `output` are made, each from its source.
    fn along(slot: usize, input: u32, output: u32, sources: &[[u64; 4]]) -> Option<Self> {
        let identity = Axis::identity(input);
        let (axis, block) = if input >= output {
            let stride = input / output;
            let axis = Axis {
                output,
                kernel: stride,
                stride,
                ..identity
            };
            (axis, 1)
        } else {
            let size = output / input;
            let axis = Axis {
                output,
                kernel: size,
                upsample: size,
                pad: [size as i32 - 1; 2],
                ..identity
            };
            (axis, size)
        };
        let whole = axis.kernel <= LARGEST_BLOCK
            && u64::from(input) * u64::from(axis.upsample)
                == u64::from(output) * u64::from(axis.stride);
        let channels: Vec<u64> = sources
            .iter()
            .take(block as usize)
            .map(|at| at[1])
            .collect();
        let is_regular = |(place, source): (u32, &[u64; 4])| {
            let mut wanted = [0, channels[(place % block) as usize], 0, 0];
            wanted[slot] = u64::from(place / block * axis.stride);
            *source == wanted
        };
        let regular = (0..).zip(sources).all(is_regular);
        (whole && regular && channels[0] == 0).then_some(Self { axis, channels })
    }

    /// Whether any value leaves its row or column.
    fn is_moved(&self) -> bool {
        self.axis.kernel > 1
    }

    /// The channels behind the first from which an output channel takes values, and the tap of each; its first value is at
    /// `place` of the operand.
    fn taps(&self, place: u64) -> Option<Vec<(u64, u32)>> {
        if self.axis.upsample == 1 {
            let tap = u32::try_from(place).ok();
            let tap = tap.filter(|&tap| tap < self.axis.kernel)?;
            return Some(vec![(0, tap)]);
        }
        // The kernel of a transposed convolution is flipped.
        let taps = (0..self.axis.kernel).rev();
        let taps = self.channels.iter().copied().zip(taps).collect();
        (place == 0).then_some(taps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input channel and tap of a one.
    type One = (u32, [u32; 2]);

    /// The ones of each output channel, of a convolution between placements.
    fn found(seen: &str, wanted: &str, dims: &[u64]) -> Option<Vec<Vec<One>>> {
        let layer = convolution(&seen.parse().unwrap(), &wanted.parse().unwrap(), dims)?;
        let conv = layer.conv.unwrap();
        let taps = |k: u32| {
            let mut taps = Vec::new();
            for c in 0..conv.c {
                for r in 0..conv.y.kernel {
                    for s in 0..conv.x.kernel {
                        if conv.weights.get(conv.index(k, c, r, s)) == Some(&1.0) {
                            taps.push((c, [r, s]));
                        }
                    }
                }
            }
            taps
        };
        Some((0..conv.k).map(taps).collect())
    }

    #[test]
    fn channels_alone_are_reordered() {
        // [2, 3] channels as [3, 2].
        let dims = [1, 6, 5, 7];
        let shuffled = found("3c1 2c0 5y 7x", "6c 5y 7x", &dims).unwrap();
        let sources: Vec<u32> = shuffled.iter().map(|taps| taps[0].0).collect();
        assert_eq!(sources, [0, 3, 1, 4, 2, 5]);
        assert!(shuffled.iter().all(|taps| taps.len() == 1));
        assert!(found("6c 7y 5x", "6c 5y 7x", &dims).is_none());
        assert!(found("2y 3c 5x 7n", "6c 5y 7x", &dims).is_none());
    }

    #[test]
    fn blocks_of_the_plane_become_channels() {
        // [1, 2, 4, 2, 5, 3] -> [1, 2, 2, 3, 4, 5] -> [1, 12, 4, 5].
        let moved = found("2c 2y1 3x1 4y0 5x0", "12c 4y 5x", &[1, 12, 4, 5]).unwrap();
        let wanted: Vec<Vec<One>> = (0..12).map(|k| vec![(k / 6, [k / 3 % 2, k % 3])]).collect();
        assert_eq!(moved, wanted);
        // All of a plane on channels is no block.
        assert!(found("2c 8y 15x", "240c", &[1, 240]).is_none());
    }

    #[test]
    fn channels_become_blocks_of_the_plane() {
        // [1, 2, 2, 3, 4, 5] -> [1, 2, 4, 2, 5, 3] -> [1, 2, 8, 15].
        let moved = found("2c0 4y 2c1 5x 3c2", "2c 8y 15x", &[1, 2, 8, 15]).unwrap();
        for (k, taps) in (0..).zip(moved) {
            let mut wanted: Vec<One> = Vec::new();
            for row in 0..2 {
                for column in 0..3 {
                    wanted.push((k * 6 + row * 3 + column, [1 - row, 2 - column]));
                }
            }
            assert_eq!(taps, wanted);
        }
    }
}
