//! The non-zero weights of a layer by output channel, as the sums take them: six bytes for each, and no table is copied
//! while it grows. Decoded weights are what a large program needs most memory for.

use super::WeightStream;
use crate::pairs::Pairs;
use scnn_isa::layer::ArrayStage;
use scnn_isa::layout::Grid;
use scnn_isa::section::{WeightBlocks, residue_taps};

/// A non-zero weight of one output channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Input channel, of the source view.
    pub channel: u32,
    /// Tap, r major.
    pub tap: u32,
    /// Value.
    pub value: i16,
}

/// The non-zero weights of every output channel.
#[derive(Clone, Debug)]
pub struct OutputWeights {
    /// First weight of each output channel, with the end of the last one behind.
    starts: Vec<u32>,
    /// By weight, input channel and tap.
    places: Vec<u32>,
    pairs: Pairs,
    values: Vec<i16>,
}

impl OutputWeights {
    /// Sorts decoded blocks, whose places `stream` has, by output channel.
    pub fn new(
        blocks: &WeightBlocks,
        stream: &WeightStream,
        array: &ArrayStage,
        outputs: u32,
        residues: Grid,
    ) -> Self {
        let walk = Walk {
            blocks,
            stream,
            array,
            owned: owned_taps(array, residues),
        };
        let mut starts = vec![0; outputs as usize + 1];
        walk.each(|k, _| starts[k as usize + 1] += 1);
        for k in 1..starts.len() {
            starts[k] += starts[k - 1];
        }
        let all = starts[outputs as usize] as usize;
        let (mut places, mut values) = (vec![0; all], vec![0; all]);
        let pairs = Pairs::new(array.y.kernel * array.x.kernel);
        let mut next = starts.clone();
        walk.each(|k, weight| {
            let next = &mut next[k as usize];
            places[*next as usize] = pairs.join(weight.channel, weight.tap);
            values[*next as usize] = weight.value;
            *next += 1;
        });
        Self {
            starts,
            places,
            pairs,
            values,
        }
    }

    /// Weights of all output channels.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The weights of an output channel, by input channel.
    #[inline]
    pub fn of(&self, k: u32) -> impl Iterator<Item = Weight> + '_ {
        let [begin, end] = [k, k + 1].map(|k| self.starts[k as usize] as usize);
        let weights = self.places[begin..end].iter().zip(&self.values[begin..end]);
        weights.map(|(&place, &value)| {
            let (channel, tap) = self.pairs.split(place);
            Weight {
                channel,
                tap,
                value,
            }
        })
    }
}

/// The way over the weights of all blocks.
struct Walk<'a> {
    blocks: &'a WeightBlocks,
    stream: &'a WeightStream,
    array: &'a ArrayStage,
    /// See [`owned_taps`].
    owned: Vec<Vec<bool>>,
}

impl Walk<'_> {
    /// Calls `seen` with output channel and weight, for every non-zero weight once: a tap that meets several residues is
    /// stored in the block of each.
    fn each(&self, mut seen: impl FnMut(u32, Weight)) {
        for (group, k) in self.array.channel_groups.iter().enumerate() {
            let (first, blocks) = self.stream.blocks_of(group);
            for (at, block) in (0..).zip(blocks) {
                let residues = self.owned.len() as u32;
                let (channel, owned) =
                    (first + at / residues, &self.owned[(at % residues) as usize]);
                let range = self.stream.range(block);
                let values = &self.blocks.elements[range.start as usize..range.end as usize];
                for (stored, element) in self.stream.elements(range).each().zip(values) {
                    if let Some(stored) = stored
                        && owned[stored.tap as usize]
                    {
                        let weight = Weight {
                            channel,
                            tap: stored.tap,
                            value: element.value,
                        };
                        seen(k.begin + stored.k, weight);
                    }
                }
            }
        }
    }
}

/// By residue and tap (r major), whether it is the first residue that the tap meets.
fn owned_taps(array: &ArrayStage, residues: Grid) -> Vec<Vec<bool>> {
    let taps = (array.y.kernel * array.x.kernel) as usize;
    let mut free = vec![true; taps];
    let owned = |of_residue: &Vec<(u32, u32)>| {
        let mut owned = vec![false; taps];
        for (r, s) in of_residue {
            let tap = (r * array.x.kernel + s) as usize;
            owned[tap] = std::mem::take(&mut free[tap]);
        }
        owned
    };
    residue_taps(array, residues).iter().map(owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scnn_isa::codec::Format;
    use scnn_isa::ids::SectionId;
    use scnn_isa::layer::WeightOrder;
    use scnn_isa::plane::{Axis, Span};
    use scnn_isa::section::encode_weights;

    const FORMAT: Format = Format {
        data_bits: 16,
        index_bits: 2,
        compressed: true,
    };

    proptest! {
        #[test]
        fn every_nonzero_weight_is_there_once(
            groups in 1u32..3, per_in in 1u32..4, per_out in 1u32..6, kernel in 1u32..5, stride in 1u32..4,
            upsample in 1u32..3, kc in 1u32..4, krs: bool, residues in 1u32..4, seed: u64,
        ) {
            let axis = Axis { kernel, stride, upsample, output: 4, ..Axis::identity(8) };
            let cut = |group: u32| (0..per_out).step_by(kc as usize).map(move |k| {
                Span::new(group * per_out + k, group * per_out + (k + kc).min(per_out))
            });
            let array = ArrayStage {
                groups, y: axis, x: axis, pe_groups: Grid::ONE, channel_groups: (0..groups).flat_map(cut).collect(),
                order: if krs { WeightOrder::Krs } else { WeightOrder::Rsk }, weights: SectionId(0), product_shift: 0,
            };
            let weight = |k: u32, c: u32, r: u32, s: u32| {
                let hash = (u64::from(k * 1009 + c * 101 + r * 11 + s) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                if hash >> 62 == 0 { (hash >> 20) as i16 } else { 0 }
            };
            let (inputs, outputs, residues) = (groups * per_in, groups * per_out, Grid::new(residues, residues));
            let bytes = encode_weights(FORMAT, &array, inputs, outputs, residues, weight);
            let blocks = WeightBlocks::decode(&bytes, FORMAT, &array, inputs, outputs, residues).unwrap();
            let stream = WeightStream::new(&blocks, &array, inputs, outputs, residues);
            let sorted = OutputWeights::new(&blocks, &stream, &array, outputs, residues);
            let met = residue_taps(&array, residues).concat();
            let mut all = 0;
            for k in 0..outputs {
                let mut expected = Vec::new();
                let first = k / per_out * per_in;
                for channel in first..first + per_in {
                    for tap in 0..kernel * kernel {
                        let (r, s) = (tap / kernel, tap % kernel);
                        let value = weight(k, channel, r, s);
                        if value != 0 && met.contains(&(r, s)) {
                            expected.push(Weight { channel, tap, value });
                        }
                    }
                }
                let mut found: Vec<Weight> = sorted.of(k).collect();
                prop_assert!(found.is_sorted_by_key(|weight| weight.channel));
                found.sort_by_key(|weight| (weight.channel, weight.tap));
                all += found.len();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(sorted.len(), all);
        }
    }
}
