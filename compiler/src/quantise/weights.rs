//! Weights in integers, and the product shift that keeps their sums in the accumulator.

use super::ppu::BIAS_LIMIT;
use crate::graph::Layer;
use multiversion::multiversion;
use rayon::prelude::*;
use scnn_isa::arith::{self, MAX_PRODUCT_SHIFT};
use scnn_isa::plane::TapPhases;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The least real value that one unit of channel `k`'s weights may stand for, so that the bias fits its field.
///
/// A channel whose weights are tiny beside its bias needs few bits of them; one that is scaled by zero needs none.
pub(super) fn smallest_weight_unit(layer: &Layer, k: usize, input_scale: f32) -> f32 {
    let Some(affine) = &layer.affine else {
        return 0.0;
    };
    let (scale, offset) = (f64::from(affine.scale[k]), f64::from(affine.offset[k]));
    if scale == 0.0 {
        return f32::INFINITY;
    }
    ((offset / scale).abs() / (f64::from(input_scale) * BIAS_LIMIT)) as f32
}

/// Weights that several layers may hold.
type Shared = Arc<Vec<i16>>;

/// Weights that layers have in common: the steps of an unrolled recurrence, or a head that several branches pass, refer
/// to one copy.
#[derive(Default)]
pub(super) struct Interned {
    /// By length and a sample of the values.
    known: BTreeMap<(usize, Vec<i16>), Vec<Shared>>,
}

impl Interned {
    /// The copy of equal weights if there is one, else these.
    pub(super) fn intern(&mut self, weights: Vec<i16>) -> Shared {
        let step = (weights.len() / SAMPLED).max(1);
        let sample = weights.iter().step_by(step).copied().collect();
        let alike = self.known.entry((weights.len(), sample)).or_default();
        if let Some(same) = alike.iter().find(|other| ***other == weights) {
            return Arc::clone(same);
        }
        let weights = Arc::new(weights);
        alike.push(Arc::clone(&weights));
        weights
    }
}

/// About how many values are sampled to tell weights apart before they are compared.
const SAMPLED: usize = 64;

/// Bounds on integer weights and on their sums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits<'a> {
    /// Which weights have products in one sum.
    pub phases: &'a TapPhases,
    /// Largest magnitude of a weight.
    pub weight: f32,
    /// Smallest and largest value that they are multiplied by.
    pub range: [i16; 2],
    /// Bits of an accumulator.
    pub accumulator_bits: u32,
    /// Share of the largest possible sums that the accumulator has to hold, 0..=1; 1 where sums are proven to fit.
    pub share: f64,
}

/// The weights of a convolution in integers.
#[derive(Debug, PartialEq)]
pub(super) struct IntWeights {
    /// In the order of the real ones.
    pub integers: Vec<i16>,
    /// By output channel, the real value of one unit: 0 where all are zero.
    pub units: Vec<f32>,
    /// Products are rounded to 2^`product_shift` before they are added.
    pub product_shift: u8,
}

/// Decibels by which coarser weights must lessen the noise.
const LEAST_GAIN_DB: f64 = 1.0;

/// The share of its range that a value has in the root mean square.
const TYPICAL: f64 = 1.0 / 4.0;

impl Limits<'_> {
    /// Weights per output channel in integers. `given` are the units of weights that are integers in the file: those they stay,
    /// if they have no more bits.
    ///
    /// A weight of all bits has products that have to be rounded until the sums of the channel that comes nearest to the
    /// end of an accumulator fit. Other channels then leave much of it empty, while every product adds the same noise to each.
    /// So the unit of a channel may be larger, by which the shift is smaller and all sums fill the accumulator: of all shifts
    /// the one is taken with the least noise of weights and products, in the mean of the channels. `None` if not even the largest
    /// shift keeps the sums of weights of all bits.
    pub(super) fn quantise(
        self,
        weights: &[f32],
        per_output: usize,
        given: Option<&[f32]>,
        smallest_unit: impl Fn(usize) -> f32 + Sync,
    ) -> Option<IntWeights> {
        let per_output = per_output.max(1);
        let channels = weights.par_chunks(per_output).enumerate();
        let channels: Vec<Channel> = channels
            .map(|(k, weights)| {
                let given = given.and_then(|units| units.get(k).copied());
                Channel::of(weights, self, given, smallest_unit(k))
            })
            .collect();
        let product_shift = self.best_shift(&channels)?;
        let mut integers = vec![0i16; weights.len()];
        let units = integers
            .par_chunks_mut(per_output)
            .zip(weights.par_chunks(per_output))
            .zip(&channels)
            .map(|((integers, weights), channel)| {
                self.round_channel(integers, weights, channel, product_shift)
            })
            .collect();
        Some(IntWeights {
            integers,
            units,
            product_shift,
        })
    }

    /// The shift with the least noise, of those that no weight has to be coarser for and the smaller ones.
    fn best_shift(self, channels: &[Channel]) -> Option<u8> {
        let fits = |channel: &Channel, shift| self.unit(channel, shift) <= channel.unit;
        let whole = |&shift: &u8| channels.iter().all(|channel| fits(channel, shift));
        let largest = (0..=MAX_PRODUCT_SHIFT).find(whole)?;
        let of_largest = self.noise(channels, largest);
        let kept = |&shift: &u8| {
            channels
                .iter()
                .all(|channel| !channel.given || fits(channel, shift))
        };
        let smaller = (0..largest).filter(kept);
        let best = smaller
            .map(|shift| (shift, self.noise(channels, shift)))
            .min_by(|(_, a), (_, b)| a.total_cmp(b));
        let enough = LEAST_GAIN_DB * channels.len() as f64;
        let paying = best.filter(|(_, noise)| noise + enough <= of_largest);
        Some(paying.map_or(largest, |(shift, _)| shift))
    }

    /// Noise of weights and of products rounded to 2^`shift`, in decibels: the sum over the channels.
    fn noise(self, channels: &[Channel], shift: u8) -> f64 {
        let typical = f64::from(self.range[1].max(self.range[0].saturating_neg())) * TYPICAL;
        let of_product = if shift == 0 {
            0.0
        } else {
            4f64.powi(i32::from(shift))
        };
        let noise = of_product + typical * typical;
        let channels = channels.iter().filter(|channel| channel.unit > 0.0);
        let units = channels.map(|channel| self.unit(channel, shift).max(channel.unit));
        units.map(|unit| 10.0 * (unit * unit * noise).log10()).sum()
    }

    /// The least unit with which a channel's sums of products rounded to 2^`shift` fit, by the most that rounding adds.
    fn unit(self, channel: &Channel, shift: u8) -> f64 {
        let (low, high) = (
            -f64::from(self.range[0].min(0)),
            f64::from(self.range[1].max(0)),
        );
        let step = 2f64.powi(shift.into());
        // Half a unit each of a weight that is no integer yet, and of a product.
        let of_weight = if channel.given {
            0.0
        } else {
            low.max(high) / step
        };
        let of_product = if shift == 0 { 0.0 } else { 1.0 };
        let needed = |sums: &WeightSums| {
            let [positive, negative] = sums.by_sign;
            let reach = (positive * high + negative * low).max(positive * low + negative * high);
            let rounded = sums.nonzero * (of_weight + of_product) / 2.0;
            let room = self.largest_sum() - rounded;
            if reach == 0.0 {
                0.0
            } else if room > 0.0 {
                reach / step / room
            } else {
                f64::INFINITY
            }
        };
        channel.sums.iter().map(needed).fold(0.0, f64::max)
    }

    /// The largest of all possible sums, so that the share of it fits an accumulator and itself [`arith::SUM_BITS`], where an
    /// overflow is seen.
    fn largest_sum(self) -> f64 {
        let largest = |bits| arith::signed_range(bits).1 as f64;
        (largest(self.accumulator_bits) / self.share).min(largest(arith::SUM_BITS))
    }

    /// Rounds the weights of a channel; the unit that they have.
    fn round_channel(
        self,
        integers: &mut [i16],
        weights: &[f32],
        channel: &Channel,
        shift: u8,
    ) -> f32 {
        if channel.unit == 0.0 {
            return 0.0;
        }
        let mut unit = channel.unit.max(self.unit(channel, shift)) as f32;
        loop {
            round_weights(integers, weights, unit, self.weight);
            let (low, high) = sum_bounds(integers, integers.len(), self.phases, self.range, shift);
            let excess = high.max(-low) as f64 / self.largest_sum();
            if excess <= 1.0 {
                return unit;
            }
            unit = (f64::from(unit) * excess.max(1.0 + TIGHTENED)) as f32;
        }
    }
}

/// By how much a unit is enlarged at least whose weights were rounded upwards.
const TIGHTENED: f64 = 1.0 / 1024.0;

/// An output channel, as far as its unit depends on it.
#[derive(Default)]
struct Channel {
    /// The least unit, with which weights have all their bits: 0 where all are zero.
    unit: f64,
    /// Whether the unit is given by the model's file.
    given: bool,
    /// By phase of the taps.
    sums: Vec<WeightSums>,
}

/// Weights whose products meet in one sum.
#[derive(Clone, Default)]
struct WeightSums {
    /// The sums of those above and of those below zero, both positive.
    by_sign: [f64; 2],
    /// Those that are not zero.
    nonzero: f64,
}

impl WeightSums {
    fn add(&mut self, weight: f32) {
        let weight = f64::from(weight);
        self.by_sign[0] += weight.max(0.0);
        self.by_sign[1] += (-weight).max(0.0);
        self.nonzero += f64::from(u8::from(weight != 0.0));
    }
}

impl Channel {
    fn of(weights: &[f32], limits: Limits, given: Option<f32>, least: f32) -> Self {
        let limit = limits.weight;
        let magnitude = weights.iter().fold(0f32, |m, w| m.max(w.abs()));
        let given = given.filter(|&unit| unit >= least && unit.is_normal());
        let given = given.filter(|&unit| are_multiples(weights, unit, limit));
        // Units are normal floats, so that a little more is another float; smaller units count as zero.
        let finest = least.max(f32::MIN_POSITIVE);
        let unit = given.unwrap_or((magnitude / limit).max(finest));
        let none = magnitude == 0.0 || unit == f32::INFINITY;
        if none {
            return Self::default();
        }
        let mut sums = vec![WeightSums::default(); limits.phases.count()];
        for (phase, weight) in by_phase(weights, limits.phases) {
            sums[phase].add(weight);
        }
        Self {
            unit: unit.into(),
            given: given.is_some(),
            sums,
        }
    }
}

/// Weights in units of `scale`, of at most `limit`.
#[multiversion(targets("x86_64+avx2"))]
fn round_weights(integers: &mut [i16], weights: &[f32], scale: f32, limit: f32) {
    for (integer, weight) in integers.iter_mut().zip(weights) {
        // A weight that is not zero stays so only if it rounds to something: half a unit and less is zero.
        *integer = nearest(weight / scale, limit);
    }
}

/// Whether weights are integers of at most `limit` in that unit, but for the rounding of single precision.
fn are_multiples(weights: &[f32], unit: f32, limit: f32) -> bool {
    unit > 0.0
        && weights.iter().all(|weight| {
            let units = weight / unit;
            units.abs() <= limit && (units - units.round()).abs() < 1e-2
        })
}

/// Products, of up to 2^30 each, whose sum an `f64` holds exactly.
const EXACT: usize = 1 << 22;

/// Sums that are kept apart.
const LANES: usize = 4;

/// Weights of output channels, each with the phase of its tap; those whose products are in no sum are left out.
fn by_phase<T: Copy>(weights: &[T], phases: &TapPhases) -> impl Iterator<Item = (usize, T)> {
    let of_taps = phases.of_taps();
    let kernels = weights.chunks(of_taps.len().max(1));
    let weights = kernels.flat_map(|kernel| of_taps.iter().zip(kernel));
    weights.filter_map(|(phase, &weight)| Some(((*phase)?, weight)))
}

/// The least and the greatest sum of any output channel that products rounded to 2^`shift` can reach, in any order of
/// additions, with activations in `range`.
pub fn sum_bounds(
    weights: &[i16],
    per_output: usize,
    phases: &TapPhases,
    range: [i16; 2],
    shift: u8,
) -> (i64, i64) {
    let shift = u32::from(shift);
    let bounds = weights.par_chunks(per_output.max(1)).map(|weights| {
        if phases.is_one() {
            return bounds_of(weights, range, shift);
        }
        let mut of_phases = vec![Vec::new(); phases.count()];
        for (phase, weight) in by_phase(weights, phases) {
            of_phases[phase].push(weight);
        }
        let bounds = of_phases
            .iter()
            .map(|weights| bounds_of(weights, range, shift));
        bounds.fold((0, 0), widest)
    });
    bounds.reduce(|| (0, 0), widest)
}

fn widest(a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
    (a.0.min(b.0), a.1.max(b.1))
}

/// The least and the greatest sum of weights whose products all meet.
fn bounds_of(weights: &[i16], range: [i16; 2], shift: u32) -> (i64, i64) {
    let mut sums = (0, 0);
    for weights in weights.chunks(EXACT) {
        let [least, most] = sums_of(weights, range, shift);
        sums.0 += least as i64;
        sums.1 += most as i64;
    }
    sums
}

/// The least and the greatest sum of at most [`EXACT`] weights' products. Floats hold these sums exactly, and are added
/// several at a time where wide integers are not.
#[multiversion(targets("x86_64+avx2"))]
fn sums_of(weights: &[i16], range: [i16; 2], shift: u32) -> [f64; 2] {
    let mut lanes = [[0f64; LANES]; 2];
    let (whole, rest) = weights.as_chunks::<LANES>();
    let rest = std::array::from_fn(|lane| rest.get(lane).copied().unwrap_or(0));
    for weights in whole.iter().chain([&rest]) {
        for (lane, &weight) in weights.iter().enumerate() {
            let (a, b) = (
                arith::product(weight, range[0], shift),
                arith::product(weight, range[1], shift),
            );
            lanes[0][lane] += f64::from(a.min(b).min(0));
            lanes[1][lane] += f64::from(a.max(b).max(0));
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}

/// A real number as an integer of at most `limit`, halves away from zero.
fn nearest(value: f32, limit: f32) -> i16 {
    // Adding a half and cutting off is exact in the wider type, and needs no call as `round` does.
    let value = f64::from(value.clamp(-limit, limit));
    (value + 0.5f64.copysign(value)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Affine;
    use proptest::{collection, prelude::*};
    use scnn_isa::plane::Axis;

    /// Weights of 16 bits for operands of 16 bits.
    const LIMITS: Limits = Limits {
        phases: &TapPhases::ONE,
        weight: 32767.0,
        range: [-32767, 32767],
        accumulator_bits: 24,
        share: 1.0,
    };

    /// Of values so small that no product needs a shift.
    const OF_UNITS: Limits = Limits {
        range: [0, 1],
        ..LIMITS
    };

    impl Limits<'_> {
        fn free(self, weights: &[f32], per_output: usize) -> Option<IntWeights> {
            self.quantise(weights, per_output, None, |_| 0.0)
        }
    }

    #[test]
    fn the_product_shift_of_equal_weights_is_the_least_that_cannot_overflow() {
        // 512 products of the largest operands: 2^30 * 2^9 = 2^39, into 2^23.
        let weights = vec![1.0; 512];
        let shift = |share| {
            let limits = Limits { share, ..LIMITS };
            limits
                .free(&weights, 512)
                .map(|weights| weights.product_shift)
        };
        assert_eq!(shift(1.0), Some(16));
        // Sums that reach a sixteenth of that need four bits less.
        assert_eq!(shift(1.0 / 16.0), Some(12));
        // However small the observed sums, the largest possible ones fit 32 bits.
        assert_eq!(shift(1e-9), Some(8));
        assert_eq!(
            OF_UNITS.free(&weights[..200], 200).map(|w| w.product_shift),
            Some(0)
        );
    }

    /// Every second tap of a transposed convolution meets the same output.
    #[test]
    fn taps_that_share_no_output_share_no_accumulator() {
        let axis = |upsample| Axis {
            input: 8,
            output: 8 * upsample,
            kernel: 4,
            upsample,
            ..Axis::identity(8)
        };
        let weights = vec![1.0; 512 * 16];
        let shift = |upsample| {
            let phases = &TapPhases::of(&axis(upsample), &axis(upsample));
            let limits = Limits { phases, ..LIMITS };
            limits.free(&weights, weights.len()).unwrap().product_shift
        };
        assert_eq!((shift(1), shift(2), shift(4)), (20, 18, 16));
    }

    /// A channel of equal weights decides little about one with a large weight of many.
    #[test]
    fn a_channel_whose_sums_reach_less_far_fills_more_of_the_accumulator() {
        let (mut alike, mut peaked) = (vec![1.0; 1024], vec![0.01; 1024]);
        (alike[0], peaked[0]) = (-1.0, 1.0);
        let alone = LIMITS.free(&alike, 1024).unwrap();
        let together = LIMITS.free(&[alike, peaked].concat(), 1024).unwrap();
        assert!(together.product_shift < alone.product_shift);
        let reach = |weights: &IntWeights| {
            let (low, high) = sum_bounds(
                &weights.integers[..1024],
                1024,
                LIMITS.phases,
                LIMITS.range,
                weights.product_shift,
            );
            high.max(-low) as f64 / f64::from(1 << 23)
        };
        assert!((0.9..=1.0).contains(&reach(&together)));
        // Units are larger only where sums have no room.
        assert!(together.units[0] > alone.units[0]);
        assert!((together.units[1] / alone.units[0] - 1.0).abs() < 1e-3);
    }

    proptest! {
        #[test]
        fn no_sum_leaves_the_accumulator(
            weights in collection::vec(-1f32..1.0, 1..200), parts in 1usize..4, large in 0usize..200,
            low in -32767i16..=0, high in 0i16..=32767, bits in 20u32..28, share in 0.01f64..=1.0,
        ) {
            let mut weights = weights;
            let large = large % weights.len();
            weights[large] *= 50.0;
            let per_output = weights.len().div_ceil(parts);
            let limits = Limits { range: [low, high], accumulator_bits: bits, share, ..LIMITS };
            let found = limits.free(&weights, per_output).expect("a shift that is enough");
            let (negative, positive) = sum_bounds(&found.integers, per_output, LIMITS.phases, [low, high], found.product_shift);
            let (least, most) = arith::signed_range(bits);
            prop_assert!(least as f64 <= negative as f64 * share && positive as f64 * share <= most as f64);
            for (weights, (integers, unit)) in
                weights.chunks(per_output).zip(found.integers.chunks(per_output).zip(&found.units))
            {
                for (weight, &integer) in weights.iter().zip(integers) {
                    prop_assert!((weight - f32::from(integer) * unit).abs() <= unit * 0.51);
                }
            }
        }

        #[test]
        fn the_nearest_integer_is_what_rounding_says(value in -40000f32..40000.0) {
            prop_assert_eq!(nearest(value, 32767.0), value.round().clamp(-32767.0, 32767.0) as i16);
        }
    }

    #[test]
    fn weights_keep_their_zeros_and_their_largest_value() {
        let weights = OF_UNITS.free(&[0.0, 0.5, -1.0, 0.0, 0.0, 0.0], 3).unwrap();
        assert_eq!(weights.integers, [0, 16384, -32767, 0, 0, 0]);
        assert_eq!(weights.units[1], 0.0);
    }

    #[test]
    fn integers_of_the_file_stay_what_they_are_where_they_fit() {
        let unit = 0.037f32;
        let weights = [-128.0, 3.0, 0.0, 127.0, 5.5, 1.0].map(|q| q * unit);
        let of = |limits: Limits, least: f32| {
            limits
                .quantise(&weights, 3, Some(&[unit; 2]), move |_| least)
                .unwrap()
        };
        let kept = of(OF_UNITS, 0.0);
        assert_eq!(kept.integers[..3], [-128, 3, 0]);
        // The second channel has a weight between two integers.
        assert_eq!((kept.integers[3], kept.units[0]), (32767, unit));
        let narrow = Limits {
            weight: 127.0,
            ..OF_UNITS
        };
        assert_ne!(of(narrow, 0.0).units[0], unit);
        assert_ne!(of(OF_UNITS, 2.0 * unit).units[0], unit);
        // Sums that just fit are exact.
        let just = Limits {
            range: [-127, 127],
            accumulator_bits: 18,
            ..LIMITS
        };
        let fitting = [[127.0 * unit; 8].as_slice(), &[46.0 * unit]].concat();
        let exact = |weights: &[f32]| {
            let found = just.quantise(weights, weights.len(), Some(&[unit]), |_| 0.0);
            found.map(|found| (found.integers[0], found.product_shift))
        };
        // 8 x 127 x 127 + 127 x 16 is 2^17 - 8.
        assert_eq!(
            exact(&[&fitting[..8], &[16.0 * unit]].concat()),
            Some((127, 0))
        );
        assert_eq!(exact(&fitting), Some((127, 1)));
        // However few of the sums another channel allows.
        let crowded = [weights.to_vec(), vec![-1.0; 3]].concat();
        let beside = Limits {
            accumulator_bits: 27,
            ..LIMITS
        };
        let beside = beside
            .quantise(&crowded, 3, Some(&[unit; 3]), |_| 0.0)
            .unwrap();
        assert_eq!(beside.units[0], unit);
    }

    #[test]
    fn a_channel_of_zeros_and_one_without_a_finite_unit_have_no_scale() {
        let unit = |k| [0.5, f32::INFINITY, 0.0][k];
        let limits = Limits {
            weight: 127.0,
            ..OF_UNITS
        };
        let found = limits.quantise(&[0.0, 1.0, 1.0], 1, None, unit).unwrap();
        assert_eq!(found.integers, [0, 0, 127]);
        assert_eq!(found.units, [0.0, 0.0, 1.0 / 127.0]);
    }

    /// Weights of a channel that training has left to die.
    #[test]
    fn weights_that_are_no_normal_floats_are_zeros() {
        let dying: Vec<f32> = (0..480).map(|n| n as f32 * 1e-43).collect();
        let found = LIMITS.free(&[dying, vec![1.0; 480]].concat(), 480).unwrap();
        assert!(found.integers[..480].iter().all(|&weight| weight == 0));
        assert!(found.integers[480] > 0 && found.units[0].is_normal());
    }

    #[test]
    fn the_smallest_unit_is_the_one_with_which_the_bias_just_fits() {
        let affine = |scale| Affine {
            scale: vec![1.0, scale],
            offset: vec![0.0, -3.0],
        };
        let unit = |scale, input_scale| {
            let layer = Layer {
                affine: Some(affine(scale)),
                ..Layer::default()
            };
            smallest_weight_unit(&layer, 1, input_scale)
        };
        let (scale, input_scale) = (0.25, 0.125f32);
        let sums_of_bias = 3.0 / f64::from(scale * input_scale * unit(scale, input_scale));
        assert!(
            (sums_of_bias / BIAS_LIMIT - 1.0).abs() < 1e-6,
            "{sums_of_bias}"
        );
        assert_eq!(unit(0.0, input_scale), f32::INFINITY);
        assert_eq!(smallest_weight_unit(&Layer::default(), 1, input_scale), 0.0);
    }
}
