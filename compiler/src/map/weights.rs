//! The weight blocks of any grouping of a layer's output channels, counted exactly from its non-zeros.

mod count;

use crate::quantise::IntConv;
use crate::quantise::nonzeros::NonzeroWeights;
use count::Counter;
pub use count::TapPositions;
use rayon::prelude::*;
use scnn_isa::codec::Format;
use scnn_isa::layer::WeightOrder;
use scnn_isa::layout::Grid;
use scnn_isa::plane::Span;

/// Channels whose blocks are counted in one task.
const CHUNK: u32 = 64;

/// Sizes of the weight blocks of a layer under one grouping of its output channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSizes {
    /// By output-channel group: the first input channel, and elements by (channel, residue).
    pub groups: Vec<(u32, Vec<u32>)>,
}

impl BlockSizes {
    /// Counts the blocks of `channel_groups`, ascending and contiguous, in `order`, where `residue_taps` are the taps
    /// that meet each residue. Groups for which `wanted` is false get an empty list.
    pub fn of(
        weights: &NonzeroWeights,
        channel_groups: &[Span],
        order: WeightOrder,
        residue_taps: &[Vec<u32>],
        format: Format,
        wanted: impl Fn(usize) -> bool,
    ) -> Self {
        let residues = residue_taps.len();
        let mut groups: Vec<(u32, Vec<u32>)> = channel_groups
            .iter()
            .enumerate()
            .map(|(group, &k)| {
                let inputs = weights.inputs(k);
                let blocks = if wanted(group) {
                    inputs.len() as usize * residues
                } else {
                    0
                };
                (inputs.begin, vec![0; blocks])
            })
            .collect();
        if !format.compressed {
            for ((_, sizes), k) in groups.iter_mut().zip(channel_groups) {
                for (index, size) in sizes.iter_mut().enumerate() {
                    *size = k.len() * residue_taps[index % residues].len() as u32;
                }
            }
            return Self { groups };
        }
        let counter = Counter::new(weights.taps(), residue_taps, order, format);
        // A channel's weights are gone through once for all groups, which lie in them one behind the other.
        let runs = runs(weights, channel_groups, wanted);
        let counted: Vec<Vec<u32>> = runs
            .par_iter()
            .map(|run| run.count(weights, channel_groups, residues, &counter))
            .collect();
        for (run, counted) in runs.iter().zip(counted) {
            let length = run.channels.len() as usize * residues;
            for (&group, counted) in run.groups.iter().zip(counted.chunks_exact(length.max(1))) {
                let (first, sizes) = &mut groups[group];
                let at = (run.channels.begin - *first) as usize * residues;
                sizes[at..at + length].copy_from_slice(counted);
            }
        }
        Self { groups }
    }
}

/// Output-channel groups that read the same input channels.
struct GroupRun {
    channels: Span,
    groups: Vec<usize>,
}

impl GroupRun {
    /// Blocks by (group, channel, residue).
    fn count(
        &self,
        weights: &NonzeroWeights,
        channel_groups: &[Span],
        residues: usize,
        counter: &Counter<'_>,
    ) -> Vec<u32> {
        let per_group = self.channels.len() as usize * residues;
        let mut sizes = vec![0; self.groups.len() * per_group];
        let groups: Vec<Span> = self.groups.iter().map(|&of| channel_groups[of]).collect();
        let mut counting = counter.begin(weights, self.channels.begin, &groups);
        for (c, channel) in self.channels.iter().enumerate() {
            counting.count(weights, channel);
            let of_groups = sizes.chunks_exact_mut(per_group.max(1));
            for (sizes, counted) in of_groups.zip(counting.sizes()) {
                sizes[c * residues..][..residues].copy_from_slice(counted);
            }
        }
        sizes
    }
}

/// The wanted groups by the input channels that they read, in chunks of channels.
fn runs(
    weights: &NonzeroWeights,
    channel_groups: &[Span],
    wanted: impl Fn(usize) -> bool,
) -> Vec<GroupRun> {
    let mut runs: Vec<GroupRun> = Vec::new();
    for (group, &k) in channel_groups.iter().enumerate() {
        let channels = weights.inputs(k);
        if channels.is_empty() || !wanted(group) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.channels == channels => run.groups.push(group),
            _ => runs.push(GroupRun {
                channels,
                groups: vec![group],
            }),
        }
    }
    runs.iter()
        .flat_map(|run| {
            let begins = run.channels.iter().step_by(CHUNK as usize);
            begins.map(|begin| GroupRun {
                channels: Span::new(begin, (begin + CHUNK).min(run.channels.end)),
                groups: run.groups.clone(),
            })
        })
        .collect()
}

/// The taps (`r * S + s`) that meet each residue, in ascending order.
pub fn taps_of_residues(conv: &IntConv, residues: Grid) -> Vec<Vec<u32>> {
    let (y, x) = (&conv.y, &conv.x);
    (0..residues.count())
        .map(|residue| {
            let (ry, rx) = (residue / residues.cols, residue % residues.cols);
            (0..y.kernel)
                .filter(|&r| y.pairs(ry, residues.rows, r))
                .flat_map(|r| {
                    (0..x.kernel)
                        .filter(|&s| x.pairs(rx, residues.cols, s))
                        .map(move |s| r * x.kernel + s)
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scnn_isa::ids::SectionId;
    use scnn_isa::layer::ArrayStage;
    use scnn_isa::plane::Axis;
    use scnn_isa::section::{WeightBlocks, encode_weights};
    use std::sync::Arc;

    proptest! {
        /// Searches rely on it.
        #[test]
        fn taps_of_a_residue_ascend(height in 1u32..9, width in 1u32..60, stride in 1u32..4, residues in 1u32..4) {
            let axis = |kernel: u32| Axis { kernel, stride, ..Axis::identity(8) };
            let (y, x) = (axis(height), axis(width));
            let conv = IntConv { weights: Arc::new(Vec::new()), groups: 1, y, x, product_shift: 0 };
            for taps in taps_of_residues(&conv, Grid::new(residues, residues)) {
                prop_assert!(taps.is_sorted_by(|a, b| a < b));
            }
        }

        /// Against the section that emission writes.
        #[test]
        fn blocks_are_counted_as_they_are_coded(
            groups in 1u32..3, per_in in 1u32..4, per_out in 1u32..7, kernel in 1u32..4, stride in 1u32..3,
            kc in 1u32..5, residues in 1u32..3, rsk in any::<bool>(), seed in any::<u64>(), compressed in any::<bool>(),
        ) {
            let axis = Axis { kernel, stride, ..Axis::identity(8) };
            let count = (groups * per_out * per_in * kernel * kernel) as usize;
            let value = |i: usize| {
                let hash = (seed ^ i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                if hash % 10 < 8 { 0 } else { (hash % 99 + 1) as i16 }
            };
            let conv = IntConv {
                weights: Arc::new((0..count).map(value).collect()), groups, y: axis, x: axis, product_shift: 0,
            };
            let channel_groups: Vec<Span> = (0..groups)
                .flat_map(|g| (g * per_out..(g + 1) * per_out).step_by(kc as usize)
                    .map(move |k| Span::new(k, (k + kc).min((g + 1) * per_out))))
                .collect();
            let order = if rsk { WeightOrder::Rsk } else { WeightOrder::Krs };
            let format = Format { data_bits: 16, index_bits: 4, compressed };
            let residues = Grid::new(residues, residues);
            let (inputs, outputs) = (groups * per_in, groups * per_out);
            let array = ArrayStage {
                groups, y: axis, x: axis, pe_groups: Grid::ONE, channel_groups: channel_groups.clone(), order,
                weights: SectionId(0), product_shift: 0,
            };
            let bytes = encode_weights(format, &array, inputs, outputs, residues, |k, c, r, s| {
                let row = k * per_in + c % per_in;
                conv.weights[((row * kernel + r) * kernel + s) as usize]
            });
            let blocks = WeightBlocks::decode(&bytes, format, &array, inputs, outputs, residues).unwrap();
            let weights = NonzeroWeights::gather(&conv, inputs, outputs);
            let taps = taps_of_residues(&conv, residues);
            let sizes = BlockSizes::of(&weights, &channel_groups, order, &taps, format, |_| true);
            for (group, (first, sizes)) in sizes.groups.iter().enumerate() {
                for (index, &size) in sizes.iter().enumerate() {
                    let (c, residue) = (index as u32 / residues.count(), index as u32 % residues.count());
                    prop_assert_eq!(blocks.block(group, first + c, residue).len() as u32, size);
                }
            }
        }
    }
}
