//! The non-zero weights of a layer by input channel, as the machine streams them.

use super::{IntConv, Step};
use rayon::prelude::*;
use scnn_isa::plane::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Channels whose weights are gathered in one sweep over the output channels.
const CHUNK: u32 = 64;

/// Weights that are passed over together where all of them are zero.
const ZEROS: usize = 8;

/// The non-zero weights of a convolution.
#[derive(Clone, Debug)]
pub struct SparseWeights {
    groups: u32,
    per_in: u32,
    per_out: u32,
    taps: u32,
    /// By channel of the source view.
    channels: Vec<Channel>,
}

/// The non-zero weights of an input channel.
#[derive(Clone, Debug, Default)]
struct Channel {
    /// `k * taps + tap`, ascending.
    positions: Vec<u32>,
    /// Their values.
    values: Vec<i16>,
}

impl Channel {
    /// Adds those of the kernel whose first weight has the position `first`.
    fn push(&mut self, first: u32, kernel: &[i16]) {
        for (position, &weight) in (first..).zip(kernel) {
            if weight != 0 {
                self.positions.push(position);
                self.values.push(weight);
            }
        }
    }
}

impl SparseWeights {
    /// Gathers the weights of `conv`, which reads `inputs` and makes `outputs` channels.
    pub fn gather(conv: &IntConv, inputs: u32, outputs: u32) -> Self {
        let taps = conv.y.kernel * conv.x.kernel;
        let extents = [inputs / conv.groups, outputs / conv.groups, taps];
        Self::of_weights(&conv.weights, conv.groups, extents)
    }

    /// Gathers weights `[K, C / groups, taps]`; of a group there are so many input channels, output channels and taps.
    pub fn of_weights(weights: &[i16], groups: u32, [per_in, per_out, taps]: [u32; 3]) -> Self {
        let taps = taps as usize;
        let chunks: Vec<(u32, Span)> = (0..groups)
            .flat_map(|group| {
                (0..per_in)
                    .step_by(CHUNK as usize)
                    .map(move |c| (group, Span::new(c, (c + CHUNK).min(per_in))))
            })
            .collect();
        let channels = chunks
            .into_par_iter()
            .flat_map_iter(|(group, chunk)| {
                let mut found = vec![Channel::default(); chunk.len() as usize];
                for k in group * per_out..(group + 1) * per_out {
                    let first = (k as usize * per_in as usize + chunk.begin as usize) * taps;
                    let row = &weights[first..first + chunk.len() as usize * taps];
                    if taps > 1 {
                        let kernels = found.iter_mut().zip(row.chunks_exact(taps));
                        kernels.for_each(|(found, kernel)| found.push(k * taps as u32, kernel));
                        continue;
                    }
                    let parts = found.chunks_mut(ZEROS).zip(row.chunks(ZEROS));
                    for (found, weights) in parts {
                        if weights.iter().any(|&weight| weight != 0) {
                            let kernels = found.iter_mut().zip(weights.chunks_exact(1));
                            kernels.for_each(|(found, kernel)| found.push(k, kernel));
                        }
                    }
                }
                for channel in &mut found {
                    channel.positions.shrink_to_fit();
                    channel.values.shrink_to_fit();
                }
                found
            })
            .collect();
        Self {
            groups,
            per_in,
            per_out,
            taps: taps as u32,
            channels,
        }
    }

    /// Whether the same weights make up these for a convolution.
    fn is_of(&self, conv: &IntConv, inputs: u32, outputs: u32) -> bool {
        let taps = conv.y.kernel * conv.x.kernel;
        let shape = (inputs / conv.groups, outputs / conv.groups);
        (self.groups, self.taps) == (conv.groups, taps) && (self.per_in, self.per_out) == shape
    }

    /// Non-zero weights of every output channel.
    pub fn per_output(&self) -> Vec<u64> {
        let mut counts = vec![0; (self.groups * self.per_out) as usize];
        for position in self.channels.iter().flat_map(|c| &c.positions) {
            counts[(position / self.taps) as usize] += 1;
        }
        counts
    }

    /// Non-zero weights of an input channel by tap, over all output channels.
    pub fn per_tap(&self, channel: u32) -> Vec<u64> {
        if self.taps == 1 {
            return vec![self.positions(channel).len() as u64];
        }
        let mut counts = vec![0; self.taps as usize];
        for position in self.positions(channel) {
            counts[(position % self.taps) as usize] += 1;
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

    /// The non-zero weights of an input channel: `k * taps + tap`, ascending.
    pub fn positions(&self, channel: u32) -> &[u32] {
        &self.channels[channel as usize].positions
    }

    /// The non-zero weights of an input channel for the output channels `k`: output channel, tap and value, ascending.
    pub fn of(&self, channel: u32, k: Span) -> impl Iterator<Item = (u32, u32, i16)> {
        let Channel { positions, values } = &self.channels[channel as usize];
        let of_group = after(positions, k.begin * self.taps);
        let values = &values[positions.len() - of_group.len()..];
        let end = k.end * self.taps;
        let weights = of_group.iter().zip(values);
        weights
            .take_while(move |(position, _)| **position < end)
            .map(|(position, &value)| (position / self.taps, position % self.taps, value))
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

/// The non-zero weights of some steps; none where there are no weights.
pub fn of_steps(steps: &[Step]) -> Vec<Option<Arc<SparseWeights>>> {
    let mut known: BTreeMap<*const Vec<i16>, Vec<Arc<SparseWeights>>> = BTreeMap::new();
    let mut gathered = |conv: &IntConv, inputs: u32, outputs: u32| {
        let of_weights = known.entry(Arc::as_ptr(&conv.weights)).or_default();
        let same = of_weights
            .iter()
            .find(|other| other.is_of(conv, inputs, outputs));
        if let Some(same) = same {
            return Arc::clone(same);
        }
        let weights = Arc::new(SparseWeights::gather(conv, inputs, outputs));
        of_weights.push(Arc::clone(&weights));
        weights
    };
    let of_step = |step: &Step| match step {
        Step::Layer(layer) => layer.conv.as_ref().map(|conv| {
            let (inputs, outputs) = (layer.source.channels, layer.destination.channels);
            gathered(conv, inputs.len(), outputs.len())
        }),
        Step::Host(_) => None,
    };
    steps.iter().map(of_step).collect()
}

/// What is not before `position`, of ascending positions; near the beginning as a rule.
pub fn after(positions: &[u32], position: u32) -> &[u32] {
    let mut reach = 8;
    while positions.get(reach).is_some_and(|&at| at < position) {
        reach *= 2;
    }
    let near = &positions[..positions.len().min(reach + 1)];
    &positions[near.partition_point(|&at| at < position)..]
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
            let found = SparseWeights::gather(&conv, groups * per_in, groups * per_out);
            let taps = kernel.0 * kernel.1;
            prop_assert_eq!((found.taps(), found.per_in()), (taps, per_in));
            let weight = |k: u32, c: u32, tap: u32| conv.weights[((k * per_in + c) * taps + tap) as usize];
            let mut per_output = vec![0; (groups * per_out) as usize];
            let k = Span::new(cut.0.min(cut.1), cut.0.max(cut.1));
            for channel in 0..groups * per_in {
                let (group, c) = (channel / per_in, channel % per_in);
                let all: Vec<(u32, u32, i16)> = (group * per_out..(group + 1) * per_out)
                    .flat_map(|k| (0..taps).map(move |tap| (k, tap)))
                    .map(|(k, tap)| (k, tap, weight(k, c, tap)))
                    .filter(|&(.., value)| value != 0)
                    .collect();
                let positions: Vec<u32> = all.iter().map(|(k, tap, _)| k * taps + tap).collect();
                prop_assert_eq!(found.positions(channel), positions);
                let count = |tap| all.iter().filter(|weight| weight.1 == tap).count() as u64;
                prop_assert_eq!(found.per_tap(channel), (0..taps).map(count).collect::<Vec<_>>());
                let some: Vec<_> = all.iter().copied().filter(|&(of, ..)| k.contains(of)).collect();
                prop_assert_eq!(found.of(channel, k).collect::<Vec<_>>(), some);
                for (k, ..) in all {
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

        #[test]
        fn behind_a_position_is_all_that_is_not_before_it(
            positions in prop::collection::btree_set(0u32..300, 0..120), position in 0u32..310,
        ) {
            let positions: Vec<u32> = positions.into_iter().collect();
            let wanted: Vec<u32> = positions.iter().copied().filter(|&at| at >= position).collect();
            prop_assert_eq!(after(&positions, position), wanted);
        }
    }
}
