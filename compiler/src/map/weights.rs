//! The non-zero weights of a layer by input channel, from which the blocks of any grouping are counted exactly.

mod count;

use crate::quantise::IntConv;
use count::{Counter, Reader};
use rayon::prelude::*;
use scnn_isa::codec::Format;
use scnn_isa::layer::WeightOrder;
use scnn_isa::layout::Grid;
use scnn_isa::plane::Span;

/// Channels whose weights are gathered in one sweep over the output channels.
const CHUNK: u32 = 64;

/// Groups of output channels that are counted one after the other.
const TOGETHER: usize = 16;

/// The non-zero weights of a convolution.
#[derive(Clone, Debug)]
pub struct SparseWeights {
    groups: u32,
    per_in: u32,
    per_out: u32,
    taps: u32,
    /// By channel of the source view: `k * taps + tap`, ascending.
    channels: Vec<Vec<u32>>,
}

/// Sizes of the weight blocks of a layer under one grouping of its output channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSizes {
    /// By output-channel group: the first input channel, and elements by (channel, residue).
    pub groups: Vec<(u32, Vec<u32>)>,
}

impl SparseWeights {
    /// Gathers the weights of `conv`, which reads `inputs` and makes `outputs` channels.
    pub fn of(conv: &IntConv, inputs: u32, outputs: u32) -> Self {
        let (per_in, per_out) = (inputs / conv.groups, outputs / conv.groups);
        let taps = conv.y.kernel * conv.x.kernel;
        let chunks: Vec<(u32, Span)> = (0..conv.groups)
            .flat_map(|group| {
                (0..per_in)
                    .step_by(CHUNK as usize)
                    .map(move |c| (group, Span::new(c, (c + CHUNK).min(per_in))))
            })
            .collect();
        let channels = chunks
            .into_par_iter()
            .flat_map_iter(|(group, chunk)| {
                let mut found = vec![Vec::new(); chunk.len() as usize];
                for k in group * per_out..(group + 1) * per_out {
                    for (at, found) in chunk.iter().zip(&mut found) {
                        let first = (k as usize * per_in as usize + at as usize) * taps as usize;
                        let weights = &conv.weights[first..first + taps as usize];
                        for (tap, &weight) in weights.iter().enumerate() {
                            if weight != 0 {
                                found.push(k * taps + tap as u32);
                            }
                        }
                    }
                }
                found
            })
            .collect();
        Self {
            groups: conv.groups,
            per_in,
            per_out,
            taps,
            channels,
        }
    }

    /// Non-zero weights of every output channel.
    pub fn per_output(&self) -> Vec<u64> {
        let mut counts = vec![0; (self.groups * self.per_out) as usize];
        for position in self.channels.iter().flatten() {
            counts[(position / self.taps) as usize] += 1;
        }
        counts
    }

    /// Non-zero weights of an input channel by tap, over all output channels.
    pub fn per_tap(&self, channel: u32) -> Vec<u64> {
        let mut counts = vec![0; self.taps as usize];
        for position in &self.channels[channel as usize] {
            counts[(position % self.taps) as usize] += 1;
        }
        counts
    }

    /// The input channels that reach the output channels `k`.
    fn inputs(&self, k: Span) -> Span {
        if k.is_empty() {
            return Span::default();
        }
        let group = k.begin / self.per_out.max(1);
        Span::new(group * self.per_in, (group + 1) * self.per_in)
    }

    /// Counts the blocks of `channel_groups`, ascending and contiguous, in `order`, where `residue_taps` are the taps
    /// that meet each residue.
    pub fn sizes(
        &self,
        channel_groups: &[Span],
        order: WeightOrder,
        residue_taps: &[Vec<u32>],
        format: Format,
    ) -> BlockSizes {
        self.sizes_of(channel_groups, order, residue_taps, format, |_| true)
    }

    /// The same for some groups; the others seem to have no blocks.
    pub fn sizes_of(
        &self,
        channel_groups: &[Span],
        order: WeightOrder,
        residue_taps: &[Vec<u32>],
        format: Format,
        wanted: impl Fn(usize) -> bool,
    ) -> BlockSizes {
        let residues = residue_taps.len();
        let mut groups: Vec<(u32, Vec<u32>)> = channel_groups
            .iter()
            .enumerate()
            .map(|(group, &k)| {
                let inputs = self.inputs(k);
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
            return BlockSizes { groups };
        }
        groups
            .par_chunks_mut(TOGETHER)
            .zip(channel_groups.par_chunks(TOGETHER))
            .for_each(|(groups, channel_groups)| {
                let mut reader = Reader::default();
                let mut counter = Counter::new(self.taps, residue_taps, order, format);
                for ((first, sizes), &k) in groups.iter_mut().zip(channel_groups) {
                    if sizes.is_empty() {
                        continue;
                    }
                    let channels = &self.channels[*first as usize..][..sizes.len() / residues];
                    let positions = Span::new(k.begin * self.taps, k.end * self.taps);
                    reader.turn_to(*first, channels, positions);
                    for (c, sizes) in sizes.chunks_exact_mut(residues).enumerate() {
                        counter.count(reader.read(c, &channels[c]), k, sizes);
                    }
                }
            });
        BlockSizes { groups }
    }
}

/// The taps (`r * S + s`) that meet each residue.
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

    proptest! {
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
                weights: (0..count).map(value).collect(), groups, y: axis, x: axis, product_shift: 0,
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
            let sizes = SparseWeights::of(&conv, inputs, outputs)
                .sizes(&channel_groups, order, &taps_of_residues(&conv, residues), format);
            for (group, (first, sizes)) in sizes.groups.iter().enumerate() {
                for (index, &size) in sizes.iter().enumerate() {
                    let (c, residue) = (index as u32 / residues.count(), index as u32 % residues.count());
                    prop_assert_eq!(blocks.block(group, first + c, residue).len() as u32, size);
                }
            }
        }
    }
}
