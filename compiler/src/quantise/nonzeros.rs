//! Positions of the non-zero weights of a layer, by input channel, as the machine streams them.

pub mod bits;

use super::{IntConv, Operation};
use bits::{Bits, WORD};
use rayon::prelude::*;
use scnn_isa::plane::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A bit for every weight of a convolution, set where it is not zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonzeroWeights {
    groups: u32,
    per_in: u32,
    per_out: u32,
    taps: u32,
    /// By channel of the source view, in words of its own: by output channel of its group and tap.
    channels: Vec<u64>,
}

impl NonzeroWeights {
    /// The non-zeros of `conv`, which reads `inputs` and makes `outputs` channels.
    pub fn gather(conv: &IntConv, inputs: u32, outputs: u32) -> Self {
        let taps = conv.y.kernel * conv.x.kernel;
        let extents = [inputs / conv.groups, outputs / conv.groups, taps];
        let bits = Bits::pack(&conv.weights, |weight| weight != 0);
        Self::of_bits(&bits, conv.groups, extents)
    }

    /// The non-zeros of weights `[K, C / groups, taps]`, a bit each; `extents` are the input channels of a group, its output
    /// channels, and the taps.
    pub fn of_bits(bits: &Bits, groups: u32, extents: [u32; 3]) -> Self {
        let [per_in, per_out, taps] = extents;
        let chunks: Vec<(u32, Span)> = (0..groups)
            .flat_map(|group| {
                let begins = (0..per_in).step_by(WORD);
                begins.map(move |c| (group, Span::new(c, (c + WORD as u32).min(per_in))))
            })
            .collect();
        let words = Self::words(per_out, taps);
        let channels: Vec<Vec<u64>> = chunks
            .into_par_iter()
            .map(|(group, chunk)| {
                let mut found = vec![0; chunk.len() as usize * words];
                let first = (group * per_out) as usize * per_in as usize + chunk.begin as usize;
                let row = |k: usize| (first + k * per_in as usize) * taps as usize;
                let shape = [per_out, chunk.len(), taps].map(|extent| extent as usize);
                if taps == 1 {
                    by_squares(bits, row, shape, &mut found);
                } else {
                    by_kernels(bits, row, shape, &mut found);
                }
                found
            })
            .collect();
        Self {
            groups,
            per_in,
            per_out,
            taps,
            channels: channels.concat(),
        }
    }

    /// Words of a channel.
    const fn words(per_out: u32, taps: u32) -> usize {
        (per_out as usize * taps as usize).div_ceil(WORD)
    }

    /// Whether these are the non-zeros of `conv`.
    fn is_of(&self, conv: &IntConv, inputs: u32, outputs: u32) -> bool {
        let taps = conv.y.kernel * conv.x.kernel;
        let shape = (inputs / conv.groups, outputs / conv.groups);
        (self.groups, self.taps) == (conv.groups, taps) && (self.per_in, self.per_out) == shape
    }

    /// Non-zero weights of every output channel.
    pub fn per_output(&self) -> Vec<u64> {
        let mut counts = vec![0; (self.groups * self.per_out) as usize];
        for channel in 0..self.groups * self.per_in {
            for (output, _) in self.of_channel(channel) {
                counts[output as usize] += 1;
            }
        }
        counts
    }

    /// Non-zero weights of an input channel by tap, over all output channels.
    pub fn per_tap(&self, channel: u32) -> Vec<u64> {
        let mut counts = vec![0; self.taps as usize];
        match &mut counts[..] {
            [count] => *count = bits::count_ones(self.channel(channel)),
            counts => bits::count_ones_by_period(self.channel(channel), counts),
        }
        counts
    }

    /// Weights of a kernel.
    pub const fn taps(&self) -> u32 {
        self.taps
    }

    /// Input channels of a group.
    pub const fn per_in(&self) -> u32 {
        self.per_in
    }

    /// The bits of an input channel: by output channel of its group and tap.
    pub fn channel(&self, channel: u32) -> &[u64] {
        let words = Self::words(self.per_out, self.taps);
        &self.channels[channel as usize * words..][..words]
    }

    /// The places in the bits of an input channel from the first weight of the output channels `k` to the last.
    pub fn places(&self, channel: u32, k: Span) -> Span {
        let first = channel / self.per_in.max(1) * self.per_out;
        let place = |k: u32| (k.max(first) - first).min(self.per_out) * self.taps;
        Span::new(place(k.begin), place(k.end))
    }

    /// The non-zero weights of an input channel for the output channels `k`: output channel and tap, ascending.
    pub fn of(&self, channel: u32, k: Span) -> impl Iterator<Item = (u32, u32)> {
        let first = channel / self.per_in.max(1) * self.per_out;
        let places = self.places(channel, k);
        let (begin, end) = (places.begin as usize, places.end as usize);
        let places = bits::ones(self.channel(channel), begin, end);
        places.map(move |place| {
            let place = place as u32;
            (first + place / self.taps, place % self.taps)
        })
    }

    /// All of an input channel.
    pub fn of_channel(&self, channel: u32) -> impl Iterator<Item = (u32, u32)> {
        self.of(channel, Span::new(0, self.groups * self.per_out))
    }

    /// The input channels that reach the output channels `k`.
    pub fn inputs(&self, k: Span) -> Span {
        if k.is_empty() {
            return Span::default();
        }
        let group = k.begin / self.per_out.max(1);
        Span::new(group * self.per_in, (group + 1) * self.per_in)
    }
}

/// Fills the bits of some channels, at most a word of them, from kernels of one weight. The kernels of output channel `k`
/// begin at `row(k)`; 64 of them are the rows of a square, whose columns are the channels'.
fn by_squares(
    bits: &Bits,
    row: impl Fn(usize) -> usize,
    [outputs, channels, _]: [usize; 3],
    found: &mut [u64],
) {
    let words = outputs.div_ceil(WORD);
    let mut square = [0; WORD];
    for word in 0..words {
        let first = word * WORD;
        for (k, of_output) in (first..).zip(&mut square) {
            *of_output = if k < outputs {
                bits.read(row(k), channels)
            } else {
                0
            };
        }
        bits::transpose(&mut square);
        let of_channels = found.chunks_exact_mut(words).zip(&square);
        of_channels.for_each(|(channel, &bits)| channel[word] = bits);
    }
}

/// As [`by_squares`], from kernels of several weights, each of which stays together.
fn by_kernels(
    bits: &Bits,
    row: impl Fn(usize) -> usize,
    [outputs, _, taps]: [usize; 3],
    found: &mut [u64],
) {
    let words = (outputs * taps).div_ceil(WORD);
    for k in 0..outputs {
        let of_output = row(k);
        for (c, channel) in found.chunks_exact_mut(words.max(1)).enumerate() {
            for tap in (0..taps).step_by(WORD) {
                let count = (taps - tap).min(WORD);
                let kernel = bits.read(of_output + c * taps + tap, count);
                bits::write(channel, k * taps + tap, kernel, count);
            }
        }
    }
}

/// The non-zero weights of some operations; none where there are no weights.
pub fn of_operations(operations: &[Operation]) -> Vec<Option<Arc<NonzeroWeights>>> {
    let mut known: BTreeMap<*const Vec<i16>, Vec<Arc<NonzeroWeights>>> = BTreeMap::new();
    let mut gathered = |conv: &IntConv, inputs: u32, outputs: u32| {
        let of_weights = known.entry(Arc::as_ptr(&conv.weights)).or_default();
        let same = of_weights
            .iter()
            .find(|other| other.is_of(conv, inputs, outputs));
        if let Some(same) = same {
            return Arc::clone(same);
        }
        let weights = Arc::new(NonzeroWeights::gather(conv, inputs, outputs));
        of_weights.push(Arc::clone(&weights));
        weights
    };
    let of_operation = |operation: &Operation| match operation {
        Operation::Layer(layer) => layer.conv.as_ref().map(|conv| {
            let (inputs, outputs) = (layer.source.channels, layer.destination.channels);
            gathered(conv, inputs.len(), outputs.len())
        }),
        Operation::Host(_) => None,
    };
    operations.iter().map(of_operation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scnn_isa::plane::Axis;

    /// A convolution of noise, its weights by (output channel, input channel of the group, tap).
    fn convolution(
        (groups, per_in, per_out): (u32, u32, u32),
        (rows, cols): (u32, u32),
        mut state: u64,
        sparse: u64,
    ) -> IntConv {
        let axis = |kernel| Axis {
            kernel,
            ..Axis::identity(kernel)
        };
        let count = groups * per_out * per_in * rows * cols;
        let weight = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let value = (state >> 40) as i16;
            if (state >> 60) < sparse { 0 } else { value }
        };
        IntConv {
            weights: Arc::new((0..count).map(weight).collect()),
            groups,
            y: axis(rows),
            x: axis(cols),
            product_shift: 0,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// More input channels than one sweep takes, too.
        #[test]
        fn what_is_gathered_is_what_stands_in_the_weights(
            shape in (1u32..4, prop_oneof![1u32..5, 60u32..140], 1u32..6), kernel in (1u32..4, 1u32..4),
            seed: u64, sparse in 0u64..17, cut in (0u32..20, 0u32..20),
        ) {
            let (groups, per_in, per_out) = shape;
            let conv = convolution(shape, kernel, seed, sparse);
            let found = NonzeroWeights::gather(&conv, groups * per_in, groups * per_out);
            let taps = kernel.0 * kernel.1;
            prop_assert_eq!((found.taps(), found.per_in()), (taps, per_in));
            let weight = |k: u32, c: u32, tap: u32| conv.weights[((k * per_in + c) * taps + tap) as usize];
            let mut per_output = vec![0; (groups * per_out) as usize];
            let k = Span::new(cut.0.min(cut.1), cut.0.max(cut.1));
            for channel in 0..groups * per_in {
                let (group, c) = (channel / per_in, channel % per_in);
                let all: Vec<(u32, u32)> = (group * per_out..(group + 1) * per_out)
                    .flat_map(|k| (0..taps).map(move |tap| (k, tap)))
                    .filter(|&(k, tap)| weight(k, c, tap) != 0)
                    .collect();
                prop_assert_eq!(found.of_channel(channel).collect::<Vec<_>>(), &all[..]);
                let count = |tap| all.iter().filter(|weight| weight.1 == tap).count() as u64;
                prop_assert_eq!(found.per_tap(channel), (0..taps).map(count).collect::<Vec<_>>());
                let some: Vec<_> = all.iter().copied().filter(|&(of, _)| k.contains(of)).collect();
                prop_assert_eq!(found.of(channel, k).collect::<Vec<_>>(), some);
                for (k, _) in all {
                    per_output[k as usize] += 1;
                }
            }
            prop_assert_eq!(found.per_output(), per_output);
            for k in 0..groups * per_out {
                let group = k / per_out;
                prop_assert_eq!(found.inputs(Span::new(k, k + 1)), Span::new(group * per_in, (group + 1) * per_in));
            }
            prop_assert!(found.inputs(Span::new(1, 1)).is_empty());
        }
    }
}
