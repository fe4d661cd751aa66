//! What a density alone would have predicted: each value non-zero with the same probability, as analytical tools assume.
//!
//! A block of n positions at density d has X non-zeros, X binomial, and V = ceil(X / F) vectors. The steps of a PE in a round
//! are the sum over channels of V(weights) x V(activations); their mean is the product of means, and PEs differ by what
//! their activations happen to be:
//!
//! ```text
//! mean          sum over channels of E[W] E[A]
//! variance      sum over channels of Var(A) E[W]^2, the same in every round of a tile, and Var(A) Var(W), anew in each;
//!               Var(W) E[A]^2 is of all PEs of a group alike, and differs between groups
//! fullest PE    expected maximum of normal variables with these means and variances, by integration
//! cycles        maxima of rounds, each before the next; with drift `fifo`, of two rounds at a time
//! ```
//!
//! Beside it stands what the real zeros gave: the difference is the error of a density model, and nothing else, as the same
//! mapping, packing and barriers are in both. Drains, banks, FIFOs and DRAM are in neither.

use super::work::{LayerWork, Multiply, Round, rounds};
use super::{Timed, fast};
use crate::schema::{add_fields, described};
use scnn_isa::layer::ArrayStage;
use scnn_isa::layout::{Grid, count_residue};
use scnn_isa::machine::{Drift, Machine};
use scnn_isa::plane::{Axis, Span};
use scnn_isa::section::{group_channels, residue_taps};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest block whose distribution is summed, in positions; that of larger ones is taken for normal.
const SUMMED_POSITIONS: u64 = 4096;
/// Steps of the integration of a maximum, over twelve standard deviations.
const INTEGRATION_STEPS: u32 = 240;
/// Sums of rounds whose maximum is remembered.
const KNOWN_SUMS: usize = 8;

described! {
    /// Products, steps and cycles of a layer by its densities alone, beside those of its real zeros. Steps and cycles are those of
    /// the array with its barriers, without drains, banks, FIFOs and DRAM.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct DensityModel {
        /// Useful multiplications that uniform-random zeros of the same densities are expected to leave.
        pub predicted_products: f64,
        /// Useful multiplications.
        pub products: u64,
        /// Steps that the fullest PE is expected to have.
        pub predicted_fullest_pe_steps: f64,
        /// Steps of the fullest PE.
        pub fullest_pe_steps: u64,
        /// Cycles that the array is expected to take.
        pub predicted_cycles: f64,
        /// Cycles of the real zeros.
        pub cycles: u64,
    }
}

impl DensityModel {
    /// Adds that of another sample.
    pub fn add(&mut self, other: &Self) {
        add_fields!(
            self,
            *other,
            Self {
                predicted_products,
                products,
                predicted_fullest_pe_steps,
                fullest_pe_steps,
                predicted_cycles,
                cycles,
            }
        );
    }
}

/// The model of a layer that the array computes.
pub fn model(machine: &Machine, work: &LayerWork) -> Option<DensityModel> {
    let array = work.layer.array.as_ref()?;
    let Timed { cycles, .. } = fast::time(machine, work);
    let mut steps = vec![0u64; machine.pe_count() as usize];
    for round in rounds(&work.tasks) {
        let index = (round.number - round.multiply.rounds.begin) as usize;
        for (sum, more) in steps.iter_mut().zip(&round.multiply.steps[index]) {
            *sum += more;
        }
    }
    let mut predictor = Predictor::new(machine, work, array);
    let (predicted_fullest_pe_steps, predicted_cycles) = predictor.predict();
    Some(DensityModel {
        predicted_products: pairs(work, array) * work.densities[0] * work.densities[1],
        products: work.useful,
        predicted_fullest_pe_steps,
        fullest_pe_steps: steps.iter().copied().max().unwrap_or(0),
        predicted_cycles,
        cycles,
    })
}

/// Pairs of a weight and an activation whose output lies in the plane; padding is no activation.
fn pairs(work: &LayerWork, array: &ArrayStage) -> f64 {
    let along = |axis: &Axis| -> f64 {
        let meets = |tap| {
            (0..axis.input)
                .filter(|&i| axis.output(i, tap).is_some())
                .count()
        };
        (0..axis.kernel).map(meets).sum::<usize>() as f64
    };
    let channels = f64::from(work.layer.source.channels.len()) / f64::from(array.groups);
    let images = work
        .source_layout
        .tiles
        .iter()
        .map(|tile| tile.rect().n.end)
        .max()
        .unwrap_or(1);
    let outputs = f64::from(work.layer.destination.channels.len());
    f64::from(images) * channels * outputs * along(&array.y) * along(&array.x)
}

/// Mean and variance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Moments {
    mean: f64,
    variance: f64,
}

/// The steps of a PE in a round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct StepMoments {
    mean: f64,
    /// Deviation by the activations, the same in all rounds that read them.
    lasting: f64,
    /// Of weights and activations together, anew in each round.
    fresh: f64,
    /// Of the weights, which all PEs of a group share: they make one group slower than another.
    shared: f64,
}

/// Rounds of one key have the same steps: source tile, channels, number of output channels of each PE group.
type Key = (u32, [u32; 2], Vec<u32>);

/// Activations that a round reads: the number of its `mac`, and the first channel of the convolution group.
type Read = (usize, u32);

struct Predictor<'a> {
    machine: &'a Machine,
    work: &'a LayerWork<'a>,
    array: &'a ArrayStage,
    taps: Vec<u64>,
    vectors: BTreeMap<(u64, bool), Moments>,
    rounds: BTreeMap<Key, Vec<StepMoments>>,
}

impl<'a> Predictor<'a> {
    fn new(machine: &'a Machine, work: &'a LayerWork<'a>, array: &'a ArrayStage) -> Self {
        let taps = residue_taps(array, work.source_layout.residues);
        Self {
            machine,
            work,
            array,
            taps: taps.iter().map(|taps| taps.len() as u64).collect(),
            vectors: BTreeMap::new(),
            rounds: BTreeMap::new(),
        }
    }

    /// Steps of the fullest PE, and cycles.
    fn predict(&mut self) -> (f64, f64) {
        let pes = self.machine.pe_count() as usize;
        // Rounds that several `mac`s share are one.
        let mut by_ordinal: Vec<(Read, Vec<StepMoments>)> = Vec::new();
        let mut fullest = Sum::new(pes);
        let work = self.work;
        for round in rounds(&work.tasks) {
            let steps = self.round(round.multiply, round.number);
            let read = self.read(&round);
            fullest.add(read, &steps);
            if by_ordinal.len() <= round.ordinal {
                by_ordinal.resize(round.ordinal + 1, (read, vec![StepMoments::default(); pes]));
            }
            let (of_sum, sum) = &mut by_ordinal[round.ordinal];
            *of_sum = read;
            for (sum, more) in sum.iter_mut().zip(&steps) {
                sum.mean += more.mean;
                sum.lasting = sum.lasting.hypot(more.lasting);
                sum.fresh += more.fresh;
                sum.shared += more.shared;
            }
        }
        (fullest.maximum(&|_| true), self.cycles(&by_ordinal))
    }

    fn read(&self, round: &Round) -> Read {
        let groups = self.array.pe_groups.count();
        let k = self.array.channel_groups[(round.number * groups) as usize];
        let layer = self.work.layer;
        let [inputs, outputs] = [layer.source, layer.destination].map(|view| view.channels.len());
        (
            round.task,
            group_channels(self.array, k, inputs, outputs).begin,
        )
    }

    fn cycles(&self, by_ordinal: &[(Read, Vec<StepMoments>)]) -> f64 {
        let groups = self.array.pe_groups;
        let group_of_pe = fast::group_of_pe(self.machine, groups);
        let of_group = |group: usize| {
            let cycles = cycles_of(by_ordinal, 2, &|pe| group_of_pe[pe] == group);
            (cycles, 1.0)
        };
        match self.machine.sync.drift {
            Drift::Group => cycles_of(by_ordinal, 1, &|_| true).mean,
            Drift::Fifo if groups == Grid::ONE => of_group(0).0.mean,
            Drift::Fifo => {
                let of_groups: Vec<_> = (0..groups.count() as usize).map(of_group).collect();
                expected_maximum(&of_groups)
            }
        }
    }

    /// The steps of all PEs of the array in a round.
    fn round(&mut self, multiply: &Multiply, number: u32) -> Vec<StepMoments> {
        let groups = self.array.pe_groups.count();
        let first = (number * groups) as usize;
        let channel_groups = &self.array.channel_groups[first..first + groups as usize];
        let lengths = channel_groups.iter().map(|k| k.len()).collect();
        let channels = multiply.channels;
        let key = (
            multiply.pass.source_tile,
            [channels.begin, channels.end],
            lengths,
        );
        if self.array.groups == 1
            && let Some(steps) = self.rounds.get(&key)
        {
            return steps.clone();
        }
        let channel_groups = channel_groups.to_vec();
        let mut steps = vec![StepMoments::default(); self.machine.pe_count() as usize];
        let tile = &self.work.source_layout.tiles[multiply.pass.source_tile as usize];
        let pes = tile.pes();
        let inputs = self.work.layer.source.channels.len();
        let outputs = self.work.layer.destination.channels.len();
        for (group, &k) in (0..).zip(&channel_groups) {
            let read = group_channels(self.array, k, inputs, outputs).intersect(channels);
            for pe in 0..pes.count() {
                let rect = tile.pe_rect(pe / pes.cols, pe % pes.cols);
                let sum = self.steps(k, f64::from(read.len()), [rect.n, rect.y, rect.x]);
                let at = fast::pe_index(self.machine, pes, self.array.pe_groups, group, pe);
                steps[at] = sum;
            }
        }
        self.rounds.insert(key, steps.clone());
        steps
    }

    /// The steps of a PE that holds the positions `[images, rows, columns]`, over `channels` alike.
    fn steps(&mut self, k: Span, channels: f64, [n, y, x]: [Span; 3]) -> StepMoments {
        let residues = self.work.source_layout.residues;
        let mut steps = StepMoments::default();
        let mut lasting = 0.0;
        for residue in 0..residues.count() {
            let (ry, rx) = (residue / residues.cols, residue % residues.cols);
            let positions = [
                n.len(),
                count_residue(y, ry, residues.rows),
                count_residue(x, rx, residues.cols),
            ];
            let positions = positions.into_iter().map(u64::from).product();
            let weights = self.block(u64::from(k.len()) * self.taps[residue as usize], true);
            let activations = self.block(positions, false);
            steps.mean += channels * weights.mean * activations.mean;
            lasting += channels * activations.variance * weights.mean.powi(2);
            steps.fresh += channels * activations.variance * weights.variance;
            steps.shared += channels * weights.variance * activations.mean.powi(2);
        }
        steps.lasting = lasting.sqrt();
        steps
    }

    /// Vectors of a block.
    fn block(&mut self, positions: u64, is_weights: bool) -> Moments {
        let (machine, [weights, activations]) = (self.machine, self.work.densities);
        let (format, width, density) = if is_weights {
            (
                machine.weight_format(),
                machine.pe.weights_per_vector,
                weights,
            )
        } else {
            (
                machine.activation_format(),
                machine.pe.activations_per_vector,
                activations,
            )
        };
        *self
            .vectors
            .entry((positions, is_weights))
            .or_insert_with(|| {
                let stored = if format.compressed {
                    with_placeholders(positions, density, machine.encoding.index_bits)
                } else {
                    1.0
                };
                vectors(positions, stored, u64::from(width))
            })
    }
}

/// Cycles of the PEs of `is_mine`, which wait for each other after every `together` rounds.
fn cycles_of(
    by_ordinal: &[(Read, Vec<StepMoments>)],
    together: usize,
    is_mine: &dyn Fn(usize) -> bool,
) -> Moments {
    // Many rounds are alike, and a maximum takes an integration.
    let mut known: Vec<(Sum, f64)> = Vec::new();
    let mut cycles = Moments::default();
    for rounds in by_ordinal.chunks(together) {
        let mut sum = Sum::new(rounds[0].1.len());
        let mut variance = 0.0;
        for (read, steps) in rounds {
            sum.add(*read, steps);
            let mine = steps.iter().enumerate().filter(|(pe, _)| is_mine(*pe));
            variance += mine.map(|(_, steps)| steps.shared).fold(0.0, f64::max);
        }
        sum.forget_read();
        cycles.variance += variance;
        let same = known.iter().rev().find(|(other, _)| *other == sum);
        cycles.mean += if let Some((_, maximum)) = same {
            *maximum
        } else {
            let maximum = sum.maximum(is_mine);
            if known.len() < KNOWN_SUMS {
                known.push((sum, maximum));
            }
            maximum
        };
    }
    cycles
}

/// Sums over rounds, by PE: what lasts adds up over rounds that read the same, and is independent between others.
#[derive(Clone, Debug, PartialEq)]
struct Sum {
    read: Option<Read>,
    lasting: Vec<f64>,
    done: Vec<Moments>,
}

impl Sum {
    fn new(pes: usize) -> Self {
        Self {
            read: None,
            lasting: vec![0.0; pes],
            done: vec![Moments::default(); pes],
        }
    }

    fn add(&mut self, read: Read, steps: &[StepMoments]) {
        if self.read != Some(read) {
            self.forget_read();
            self.read = Some(read);
        }
        for ((lasting, done), steps) in self.lasting.iter_mut().zip(&mut self.done).zip(steps) {
            *lasting += steps.lasting;
            done.mean += steps.mean;
            done.variance += steps.fresh;
        }
    }

    fn forget_read(&mut self) {
        for (lasting, done) in self.lasting.iter_mut().zip(&mut self.done) {
            done.variance += std::mem::take(lasting).powi(2);
        }
        self.read = None;
    }

    /// The expected maximum over some PEs.
    fn maximum(&self, of: &dyn Fn(usize) -> bool) -> f64 {
        let mut whole = self.clone();
        whole.forget_read();
        let mut classes: Vec<(Moments, f64)> = Vec::new();
        for (_, &moments) in whole.done.iter().enumerate().filter(|(pe, _)| of(*pe)) {
            match classes.iter_mut().find(|(known, _)| *known == moments) {
                Some((_, count)) => *count += 1.0,
                None => classes.push((moments, 1.0)),
            }
        }
        expected_maximum(&classes)
    }
}

/// The share of positions that hold an element, placeholders included: a run of more than the index can say has one.
fn with_placeholders(positions: u64, density: f64, index_bits: u32) -> f64 {
    let run = f64::from(1u32 << index_bits.min(31));
    let long = (1.0 - density).powf(run);
    // A run of that length has to find room between two elements.
    let room = (1.0 - run / positions.max(1) as f64).max(0.0);
    if density <= 0.0 {
        return 0.0;
    }
    (density * (1.0 + room * long / (1.0 - long))).min(1.0)
}

/// Vectors of `width` of a block: ceil(X / width), X binomial.
fn vectors(positions: u64, density: f64, width: u64) -> Moments {
    let (n, w) = (positions as f64, width as f64);
    if positions == 0 || density <= 0.0 {
        return Moments::default();
    }
    if density >= 1.0 {
        return Moments {
            mean: positions.div_ceil(width) as f64,
            variance: 0.0,
        };
    }
    if positions > SUMMED_POSITIONS {
        return Moments {
            mean: (n * density + (w - 1.0) / 2.0) / w,
            variance: n * density * (1.0 - density) / (w * w) + (w * w - 1.0) / (12.0 * w * w),
        };
    }
    // Probabilities relative to the likeliest count's, outwards from there.
    let odds = density / (1.0 - density);
    let mode = (((n + 1.0) * density) as u64).min(positions);
    let (mut weight, mut first, mut second) = (0.0, 0.0, 0.0);
    let mut take = |count: u64, probability: f64| {
        let vectors = count.div_ceil(width) as f64;
        weight += probability;
        first += probability * vectors;
        second += probability * vectors * vectors;
    };
    let mut probability = 1.0;
    for count in mode..=positions {
        take(count, probability);
        probability *= (n - count as f64) / (count as f64 + 1.0) * odds;
    }
    probability = 1.0;
    for count in (1..=mode).rev() {
        probability *= count as f64 / (n - count as f64 + 1.0) / odds;
        take(count - 1, probability);
    }
    let mean = first / weight;
    Moments {
        mean,
        variance: (second / weight - mean * mean).max(0.0),
    }
}

/// The expected maximum of independent normal variables, `(moments, how many)`.
fn expected_maximum(classes: &[(Moments, f64)]) -> f64 {
    let largest =
        |of: &dyn Fn(&Moments) -> f64| classes.iter().map(|(m, _)| of(m)).fold(0.0, f64::max);
    let (mean, deviation) = (largest(&|m| m.mean), largest(&|m| m.variance.sqrt()));
    if deviation <= 0.0 {
        return mean;
    }
    // E[M] = low + integral of P(M > x) from there, where all but nothing lies above.
    let (low, high) = (mean - 6.0 * deviation, mean + 6.0 * deviation);
    let step = (high - low) / f64::from(INTEGRATION_STEPS);
    let exceeds = |x: f64| {
        let below = classes.iter().map(|(moments, count)| {
            let deviation = moments.variance.sqrt();
            if deviation > 0.0 {
                normal_below((x - moments.mean) / deviation).powf(*count)
            } else {
                f64::from(u8::from(x >= moments.mean))
            }
        });
        1.0 - below.product::<f64>()
    };
    let middle = |index| low + (f64::from(index) + 0.5) * step;
    low + (0..INTEGRATION_STEPS)
        .map(|index| exceeds(middle(index)) * step)
        .sum::<f64>()
}

/// The standard normal distribution function, to 1e-7 (Abramowitz and Stegun 26.2.17).
fn normal_below(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let sum = series.iter().rev().fold(0.0, |sum, c| (sum + c) * t);
    let tail = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum;
    if x >= 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_small_blocks_are_enumerated_and_large_ones_agree() {
        // Of three positions at one half: 0, 1, 1, 1, 2, 2, 2, 3 non-zeros, in vectors of two.
        let found = vectors(3, 0.5, 2);
        assert!((found.mean - 1.0).abs() < 1e-12, "{found:?}");
        // One vector six times, none once, two once.
        assert!(
            (found.variance - (6.0 + 4.0) / 8.0 + 1.0).abs() < 1e-12,
            "{found:?}"
        );
        let (summed, normal) = (vectors(4096, 0.3, 4), vectors(4097, 0.3, 4));
        assert!(
            (summed.mean / normal.mean - 1.0).abs() < 1e-3,
            "{summed:?} {normal:?}"
        );
        assert!(
            (summed.variance / normal.variance - 1.0).abs() < 1e-2,
            "{summed:?} {normal:?}"
        );
        assert_eq!(vectors(10, 1.0, 4).mean, 3.0);
        assert_eq!(vectors(10, 0.0, 4), Moments::default());
    }

    #[test]
    fn the_maximum_of_sixty_four_is_2_34_deviations_up() {
        let one = Moments {
            mean: 100.0,
            variance: 25.0,
        };
        let found = expected_maximum(&[(one, 64.0)]);
        assert!((found - (100.0 + 5.0 * 2.344)).abs() < 0.05, "{found}");
        let far = Moments {
            mean: 10.0,
            variance: 25.0,
        };
        assert!((expected_maximum(&[(one, 64.0), (far, 9.0)]) - found).abs() < 1e-3);
        assert_eq!(
            expected_maximum(&[(
                Moments {
                    mean: 7.0,
                    variance: 0.0
                },
                3.0
            )]),
            7.0
        );
    }

    #[test]
    fn placeholders_are_as_many_as_runs_are_long() {
        assert!((with_placeholders(100_000, 0.10, 4) / 0.10 - 1.23).abs() < 0.01);
        assert!((with_placeholders(100_000, 0.35, 4) / 0.35 - 1.001).abs() < 0.001);
        assert_eq!(with_placeholders(16, 0.05, 4), 0.05);
    }
}
