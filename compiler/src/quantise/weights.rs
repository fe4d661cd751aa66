//! Weights in integers, and the product shift that keeps their sums in the accumulator.

use super::ppu::BIAS_LIMIT;
use crate::graph::Layer;
use multiversion::multiversion;
use rayon::prelude::*;
use scnn_isa::arith::{self, MAX_PRODUCT_SHIFT};
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
    /// The copy that there is of such weights, or these.
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

/// Values, about, by which weights are told apart before they are compared.
const SAMPLED: usize = 64;

/// Weights per output channel in integers, and the real value of one unit in each: 0 where all are zero. `given` are
/// the units of weights that are integers in the file: those they stay, if they have no more bits.
pub(super) fn quantise_weights(
    weights: &[f32],
    per_output: usize,
    limit: f32,
    given: Option<&[f32]>,
    smallest_unit: impl Fn(usize) -> f32 + Sync,
) -> (Vec<i16>, Vec<f32>) {
    let mut integers = vec![0i16; weights.len()];
    let scales = integers
        .par_chunks_mut(per_output.max(1))
        .zip(weights.par_chunks(per_output.max(1)))
        .enumerate()
        .map(|(k, (integers, weights))| {
            let magnitude = weights.iter().fold(0f32, |m, w| m.max(w.abs()));
            let least = smallest_unit(k);
            let given = given.and_then(|units| units.get(k).copied());
            if let Some(unit) = given.filter(|&unit| unit >= least)
                && are_multiples(weights, unit, limit)
            {
                round_weights(integers, weights, unit, limit);
                return unit;
            }
            let scale = (magnitude / limit).max(least);
            if magnitude == 0.0 || scale == f32::INFINITY {
                return 0.0;
            }
            round_weights(integers, weights, scale, limit);
            scale
        })
        .collect();
    (integers, scales)
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

/// The least and the greatest sum of any output channel that products rounded to 2^`shift` can reach, in any order of
/// additions, with activations in `range`.
pub fn sum_bounds(weights: &[i16], per_output: usize, range: [i16; 2], shift: u8) -> (i64, i64) {
    let shift = u32::from(shift);
    let bounds = weights.par_chunks(per_output.max(1)).map(|weights| {
        let mut sums = [0i64; 2];
        for weights in weights.chunks(EXACT) {
            let [least, most] = sums_of(weights, range, shift);
            sums[0] += least as i64;
            sums[1] += most as i64;
        }
        (sums[0], sums[1])
    });
    bounds.reduce(|| (0, 0), |a, b| (a.0.min(b.0), a.1.max(b.1)))
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

/// The least shift for which the share `share` of the [`sum_bounds`] stays in an accumulator of `bits`, if there is
/// one. With all of them, no order of additions can leave it; with less, all of them stay in
/// [`arith::SUM_BITS`], where an overflow is seen.
pub fn product_shift(
    weights: &[i16],
    per_output: usize,
    range: [i16; 2],
    bits: u32,
    share: f64,
) -> Option<u8> {
    let (low, high) = arith::signed_range(bits);
    let (least, most) = arith::signed_range(arith::SUM_BITS);
    let fits = |negative: f64, positive: f64| {
        low as f64 <= negative * share && positive * share <= high as f64
    };
    let (negative, positive) = sum_bounds(weights, per_output, range, 0);
    // Rounding moves a product by at most half a unit: where the sums would not fit with all of them moved inwards,
    // they need not be added up.
    let rounding = per_output as f64 / 2.0;
    let possible = |shift: &u8| {
        let unit = 2f64.powi(i32::from(*shift));
        fits(
            negative as f64 / unit + rounding,
            positive as f64 / unit - rounding,
        )
    };
    (0..=MAX_PRODUCT_SHIFT).filter(possible).find(|&shift| {
        let (negative, positive) = sum_bounds(weights, per_output, range, shift);
        let seen = least <= negative && positive <= most;
        seen && fits(negative as f64, positive as f64)
    })
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

    #[test]
    fn the_product_shift_is_the_least_that_cannot_overflow() {
        // 512 products of the largest operands: 2^30 * 2^9 = 2^39, into 2^23.
        let weights = vec![i16::MAX; 512];
        let shift = product_shift(&weights, 512, [-i16::MAX, i16::MAX], 24, 1.0).unwrap();
        assert_eq!(shift, 16);
        // Sums that reach a sixteenth of that need four bits less.
        let calibrated = product_shift(&weights, 512, [-i16::MAX, i16::MAX], 24, 1.0 / 16.0);
        assert_eq!(calibrated, Some(12));
        // However small the observed sums, the largest possible ones fit 32 bits.
        let traceable = product_shift(&weights, 512, [-i16::MAX, i16::MAX], 24, 0.0);
        assert_eq!(traceable, Some(8));
        assert_eq!(product_shift(&[1, -1, 2], 3, [0, 100], 24, 1.0), Some(0));
    }

    proptest! {
        #[test]
        fn the_least_shift_is_found_without_trying_all(
            weights in collection::vec(-3000i16..3000, 1..60), low in -32767i16..=0, high in 0i16..=32767,
            bits in 16u32..28, share in 0.01f64..=1.0,
        ) {
            let per_output = weights.len().div_ceil(2);
            let least = (0..=MAX_PRODUCT_SHIFT).find(|&shift| {
                let (negative, positive) = sum_bounds(&weights, per_output, [low, high], shift);
                let (least, most) = arith::signed_range(bits);
                least as f64 <= negative as f64 * share && positive as f64 * share <= most as f64
            });
            prop_assert_eq!(product_shift(&weights, per_output, [low, high], bits, share), least);
        }

        #[test]
        fn the_nearest_integer_is_what_rounding_says(value in -40000f32..40000.0) {
            prop_assert_eq!(nearest(value, 32767.0), value.round().clamp(-32767.0, 32767.0) as i16);
        }
    }

    #[test]
    fn weights_keep_their_zeros_and_their_largest_value() {
        let (integers, scales) =
            quantise_weights(&[0.0, 0.5, -1.0, 0.0, 0.0, 0.0], 3, 32767.0, None, |_| 0.0);
        assert_eq!(integers, [0, 16384, -32767, 0, 0, 0]);
        assert_eq!(scales[1], 0.0);
    }

    #[test]
    fn integers_of_the_file_stay_what_they_are_where_they_fit() {
        let unit = 0.037f32;
        let weights = [-128.0, 3.0, 0.0, 127.0, 5.5, 1.0].map(|q| q * unit);
        let of = |weights: &[f32], limit, least: f32| {
            quantise_weights(weights, 3, limit, Some(&[unit; 2]), move |_| least)
        };
        let (integers, scales) = of(&weights, 32767.0, 0.0);
        assert_eq!(integers[..3], [-128, 3, 0]);
        // The second channel has a weight between two integers.
        assert_eq!((integers[3], scales[0]), (32767, unit));
        let finer = |(_, scales): (Vec<i16>, Vec<f32>)| scales[0] != unit;
        assert!(finer(of(&weights, 127.0, 0.0)));
        assert!(finer(of(&weights, 32767.0, 2.0 * unit)));
    }

    #[test]
    fn a_channel_of_zeros_and_one_without_a_finite_unit_have_no_scale() {
        let unit = |k| [0.5, f32::INFINITY, 0.0][k];
        let (integers, scales) = quantise_weights(&[0.0, 1.0, 1.0], 1, 127.0, None, unit);
        assert_eq!(
            (integers, scales),
            (vec![0, 0, 127], vec![0.0, 0.0, 1.0 / 127.0])
        );
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
