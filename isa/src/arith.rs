//! The fixed-point arithmetic of the machine, bit for bit.
//!
//! Everything that turns integers into other integers on SCNN is a function here: the simulator, the compiler's
//! reference interpreter and the verifier's overflow bound call these and nothing else.
//!
//! ```text
//! product      p   = (w * a + 2^(s-1)) >> s                         rounded before it is added
//! accumulate   sum += p                                             24 bits, in any order
//! source       sum = a << source shift                              of the PPU alone, without the array
//! requantise   v   = round((sum + bias) * multiplier / 2^shift)     round half away from zero
//! operand      v  += round(b * multiplier / 2^aligned shift)        residual add ([`aligned_shift`]), or
//!              v   = round(v16 * b * multiplier / 2^shift)          gate: v16 is v saturated to 16 bits
//! activation   v   = leaky or table                                 optional
//! clamp        v   = min(max(v, lo), hi)                            ReLU is lo = 0
//! pool         v   = max of those, or round(sum * multiplier / (count * 2^shift)), then clamped
//! ```
//!
//! These formulas are [`Rounding::Away`], for tensors whose scale the compiler chose. A tensor that the model itself has quantised
//! is rounded as ONNX says, [`Rounding::Even`]: the PPU then computes in single precision, and rounds once.
//!
//! ```text
//! factor       f   = multiplier / 2^shift                           at most 25 bits, so f is exact
//! requantise   r   = (sum + bias) * f + offset
//! operand      r  += b * f_operand, or r *= b * f_operand
//!              v   = to even(r / divisor)
//! pool         v   = max, or an average, then clamped
//! average          = to even(sum * f / count) of integers, where divisor = 1
//!                    to even(sum of (value * f) / count / divisor) of real values, added in the order of the window
//! ```
//!
//! ONNX's runtimes round two forms of one factor differently in the last place, which decides where a value lies in
//! the middle of two integers: a convolution of integers is multiplied by the one factor `scale_x scale_w / scale_y`,
//! anything else is made real, by `scale_x`, computed with, and divided by `scale_y`.

use serde::{Deserialize, Serialize};

pub mod table;

pub use table::{Table, Tables};

/// Rounds `value / 2^shift` to the nearest integer, halves away from zero.
#[inline]
pub const fn round_shift(value: i64, shift: u32) -> i64 {
    if shift == 0 {
        return value;
    }
    let half = 1i64 << (shift - 1);
    if value >= 0 {
        (value + half) >> shift
    } else {
        -((-value + half) >> shift)
    }
}

/// Rounds `numerator / denominator` to the nearest integer, halves away from zero. `denominator > 0`.
#[inline]
pub const fn round_div(numerator: i64, denominator: i64) -> i64 {
    let half = denominator / 2;
    if numerator >= 0 {
        (numerator + half) / denominator
    } else {
        -((-numerator + half) / denominator)
    }
}

/// The product of a weight and an activation as it enters the accumulator: rounded to 2^`shift`, halves upward.
///
/// A zero operand gives zero for every shift, which is what makes skipping zeros exact. Nothing can overflow up to
/// [`MAX_PRODUCT_SHIFT`], so nothing is checked, which would keep loops from taking several products at a time.
#[inline]
pub const fn product(weight: i16, activation: i16, shift: u32) -> i32 {
    let exact = (weight as i32).wrapping_mul(activation as i32);
    let half = 1i32.wrapping_shl(shift) >> 1;
    exact.wrapping_add(half).wrapping_shr(shift)
}

/// Bits in which sums are formed before they are compared with the accumulator's range: none may go beyond, so that
/// one that goes beyond the accumulator is seen.
pub const SUM_BITS: u32 = 32;

/// Smallest and largest value of a signed two's-complement number of `bits` (1..=32).
#[inline]
pub const fn signed_range(bits: u32) -> (i64, i64) {
    (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1)
}

/// How a layer's PPU stage rounds to units of its destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// In fixed point with 16-bit multipliers, halves away from zero.
    #[default]
    Away,
    /// In single precision, halves to the even integer, as ONNX and its runtimes quantise.
    Even,
}

impl Rounding {
    /// Whether halves go away from zero, which the text of a layer does not mention.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away)
    }

    /// Largest right shift: in fixed point it keeps every intermediate inside 64 bits.
    pub const fn largest_shift(self) -> u8 {
        match self {
            Self::Away => MAX_SHIFT,
            Self::Even => 126,
        }
    }

    /// Largest magnitude of a multiplier.
    pub const fn largest_multiplier(self) -> i32 {
        match self {
            Self::Away => 1 << 15,
            Self::Even => 1 << 24,
        }
    }
}

/// Bias, factor and offset of one output channel: the step from accumulator units to the output's units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requantise {
    /// Added to the sum, in accumulator units.
    pub bias: i32,
    /// Factor, see [`Rounding::largest_multiplier`].
    pub multiplier: i32,
    /// Right shift that follows, see [`Rounding::largest_shift`].
    pub shift: u8,
    /// Added behind the factor; 0 with [`Rounding::Away`].
    pub offset: f32,
}

/// Largest requantisation shift in fixed point.
pub const MAX_SHIFT: u8 = 60;

/// Largest source shift: a value and a bias above it stay inside 32 bits.
pub const MAX_SOURCE_SHIFT: u8 = 14;

/// A value of the source as the PPU reads it without the array.
#[inline]
pub const fn source(value: i16, shift: u8) -> i32 {
    (value as i32) << shift
}

/// Largest product shift: a 16 x 16 bit product has no bits above it.
pub const MAX_PRODUCT_SHIFT: u8 = 30;

impl Requantise {
    /// Passes a value through unchanged.
    pub const IDENTITY: Self = Self {
        bias: 0,
        multiplier: 1,
        shift: 0,
        offset: 0.0,
    };

    /// `round((sum + bias) * multiplier / 2^shift)`, saturated to 32 bits.
    #[inline]
    pub const fn apply(self, sum: i32) -> i32 {
        saturate(round_shift(
            (sum as i64 + self.bias as i64) * self.multiplier as i64,
            self.shift as u32,
        ))
    }

    /// `(sum + bias) * factor + offset` in single precision.
    #[inline]
    pub const fn real(self, sum: i32) -> f32 {
        let factor = factor(self.multiplier, self.shift);
        sum.saturating_add(self.bias) as f32 * factor + self.offset
    }
}

/// `multiplier / 2^shift` in single precision: exact for multipliers of at most 25 bits.
#[inline]
pub const fn factor(multiplier: i32, shift: u8) -> f32 {
    // The reciprocal of a power of two, by its exponent.
    multiplier as f32 * f32::from_bits((127 - shift as u32) << 23)
}

/// To the nearest integer, halves to even, saturated to 2^22.
#[inline]
pub const fn round_even(value: f32) -> i32 {
    const LIMIT: f32 = (1 << 22) as f32;
    // A number whose last bit is 1: adding it rounds, and needs no function as `round_ties_even` does.
    const ONES: f32 = (3 << 22) as f32;
    (value.clamp(-LIMIT, LIMIT) + ONES - ONES) as i32
}

/// The right shift of an added operand in a channel: the operand's `shift` holds between units that are not halved, and
/// the channel shifts of the operand's tensor and of the result's say how often each is. Negative for a left shift.
#[inline]
pub const fn aligned_shift(shift: u8, of_operand: u8, of_result: u8) -> i32 {
    shift as i32 + of_operand as i32 - of_result as i32
}

/// Scales the residual operand to output units: `round(value * multiplier / 2^shift)`, with an [`aligned_shift`].
#[inline]
pub const fn scale_operand(value: i16, multiplier: i32, shift: i32) -> i32 {
    // At most 2^30, of which a further shift to the right leaves nothing and one to the left saturates.
    let product = value as i64 * multiplier as i64;
    let scaled = match shift {
        0..=31 => round_shift(product, shift as u32),
        32.. => 0,
        -32..=-1 => product << -shift,
        _ => product << 32,
    };
    saturate(scaled)
}

/// The product with an operand, in output units: `round(value * operand * multiplier / 2^shift)`, the value saturated to
/// 16 bits first.
#[inline]
pub const fn scale_product(value: i32, operand: i16, multiplier: i32, shift: u8) -> i32 {
    let value = if value > i16::MAX as i32 {
        i16::MAX
    } else if value < i16::MIN as i32 {
        i16::MIN
    } else {
        value as i16
    };
    let product = value as i64 * operand as i64;
    saturate(round_shift(product * multiplier as i64, shift as u32))
}

/// A real value as an integer of a tensor, as ONNX's `QuantizeLinear` makes it: the quotient by `scale` in single
/// precision, to the nearest integer, halves to even, saturated to `range`. Not a number is zero.
#[inline]
pub fn quantise(value: f32, scale: f32, range: [i16; 2]) -> i16 {
    let units = value / scale;
    if units.is_nan() {
        0
    } else {
        round_even(units.clamp(f32::from(range[0]), f32::from(range[1]))) as i16
    }
}

/// The real value of an integer of a tensor.
#[inline]
pub fn dequantise(value: i16, scale: f32) -> f32 {
    f32::from(value) * scale
}

/// Largest channel shift: parts of a concatenation may differ by twelve powers of ten, and a reader's weights bring them
/// together again.
pub const MAX_CHANNEL_SHIFT: u8 = 40;

/// Real value of one unit of a channel, in a tensor whose units of `scale` are halved `shifts[channel]` times; empty
/// `shifts` are all zero.
#[inline]
pub fn channel_unit(scale: f32, shifts: &[u8], channel: u32) -> f32 {
    scale / (1u64 << channel_shift(shifts, channel).min(63)) as f32
}

/// How many times the unit of a channel is halved; empty `shifts` are all zero.
#[inline]
pub fn channel_shift(shifts: &[u8], channel: u32) -> u8 {
    shifts.get(channel as usize).copied().unwrap_or(0)
}

/// One step of a pooled average: `round(sum * multiplier / (count * 2^shift))`.
#[inline]
pub const fn average(sum: i64, count: u32, multiplier: i32, shift: u8) -> i32 {
    saturate(round_div(sum * multiplier as i64, (count as i64) << shift))
}

/// One step of a pooled average in single precision, halves to even; see the head for its two forms.
#[inline]
pub fn average_even(
    window: impl Iterator<Item = i16>,
    count: u32,
    factor: f32,
    divisor: f32,
) -> i32 {
    let sum = if divisor == 1.0 {
        window.map(i64::from).sum::<i64>() as f32 * factor
    } else {
        window.fold(0.0, |sum, value| sum + f32::from(value) * factor)
    };
    round_even(sum / count as f32 / divisor)
}

/// Largest exponent of slopes: a slope is then a whole number.
pub const MAX_SLOPE_EXPONENT: u8 = 15;

/// Multiplies negative values by `multiplier * 2^(exponent - 15)` (leaky and parametric `ReLU`).
#[inline]
pub const fn leaky(value: i32, multiplier: i16, exponent: u8) -> i32 {
    if value >= 0 {
        value
    } else {
        let shift = MAX_SLOPE_EXPONENT.saturating_sub(exponent) as u32;
        saturate(round_shift(value as i64 * multiplier as i64, shift))
    }
}

#[inline]
const fn saturate(value: i64) -> i32 {
    if value > i32::MAX as i64 {
        i32::MAX
    } else if value < i32::MIN as i64 {
        i32::MIN
    } else {
        value as i32
    }
}

/// The largest multiplier of a requantisation or an operand that is rounded away from zero.
pub const LARGEST_MULTIPLIER: i32 = 32767;

/// The multiplier and shift that come nearest to `factor`: 15 significant bits, relative error below 2^-15.
///
/// Factors too small for [`MAX_SHIFT`] lose bits and end at zero; factors above 2^15 saturate.
pub fn multiplier_for(factor: f64) -> (i32, u8) {
    if factor == 0.0 || !factor.is_finite() {
        return (0, 0);
    }
    let exponent = factor.abs().log2().floor() as i32 + 1;
    let mut shift = (15 - exponent).clamp(0, i32::from(MAX_SHIFT));
    let mut mantissa = (factor * 2f64.powi(shift)).round();
    let largest = f64::from(LARGEST_MULTIPLIER);
    if mantissa.abs() > largest && shift > 0 {
        shift -= 1;
        mantissa = (factor * 2f64.powi(shift)).round();
    }
    shortened(mantissa.clamp(-largest, largest) as i32, shift as u8)
}

/// The multiplier and shift that are `factor`, where it is within reach: one below 2^-103 loses bits and ends at zero,
/// one above 2^24 saturates.
pub fn multiplier_of(factor: f32) -> (i32, u8) {
    if factor == 0.0 || !factor.is_finite() {
        return (0, 0);
    }
    let exponent = factor.abs().log2().floor() as i32;
    let shift = (23 - exponent).clamp(0, i32::from(Rounding::Even.largest_shift()));
    let mantissa = (f64::from(factor) * 2f64.powi(shift)).round();
    let limit = f64::from(Rounding::Even.largest_multiplier());
    shortened(mantissa.clamp(-limit, limit) as i32, shift as u8)
}

/// The same number with the least shift.
const fn shortened(mut multiplier: i32, mut shift: u8) -> (i32, u8) {
    while shift > 0 && multiplier != 0 && multiplier % 2 == 0 {
        multiplier /= 2;
        shift -= 1;
    }
    (multiplier, shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `numerator / denominator` to the nearest integer, halves away from zero, as one learns it at school.
    fn rounded(numerator: i128, denominator: i128) -> i128 {
        let whole = (2 * numerator.abs() + denominator) / (2 * denominator);
        whole * numerator.signum()
    }

    /// The same in the 32 bits that results are saturated to.
    fn saturated(numerator: i128, denominator: i128) -> i32 {
        rounded(numerator, denominator).clamp(i32::MIN.into(), i32::MAX.into()) as i32
    }

    #[test]
    fn halves_round_away_from_zero() {
        for (value, expected) in [(3, 2), (5, 3), (-3, -2), (-5, -3), (6, 3), (-6, -3)] {
            assert_eq!(round_shift(value, 1), expected, "round_shift({value}, 1)");
        }
        for (value, expected) in [(1, 1), (3, 2), (-1, -1), (-3, -2)] {
            assert_eq!(round_div(value, 2), expected, "round_div({value}, 2)");
        }
    }

    #[test]
    fn a_zero_operand_adds_nothing_at_any_shift() {
        for shift in 0..=u32::from(MAX_PRODUCT_SHIFT) {
            assert_eq!(product(0, i16::MIN, shift), 0);
            assert_eq!(product(i16::MIN, 0, shift), 0);
        }
    }

    #[test]
    fn products_round_halves_upward() {
        for (weight, expected) in [(1, 1), (-1, 0), (3, 2), (-3, -1)] {
            assert_eq!(product(weight, 1, 1), expected, "product({weight}, 1, 1)");
        }
    }

    #[test]
    fn numbers_of_some_bits_have_twos_complements_range() {
        assert_eq!(signed_range(1), (-1, 0));
        assert_eq!(signed_range(24), (-8_388_608, 8_388_607));
        assert_eq!(signed_range(32), (i32::MIN.into(), i32::MAX.into()));
    }

    #[test]
    fn identity_changes_nothing() {
        for sum in [i32::MIN, -1, 0, 1, i32::MAX] {
            assert_eq!(Requantise::IDENTITY.apply(sum), sum);
        }
    }

    #[test]
    fn real_values_round_halves_to_even_and_saturate() {
        let range = [-100, 90];
        let cases = [
            (0.75, 2),
            (1.25, 2),
            (-0.75, -2),
            (-0.25, 0),
            (0.7, 1),
            (1e9, 90),
            (-1e9, -100),
            (f32::NAN, 0),
            (f32::INFINITY, 90),
        ];
        for (value, expected) in cases {
            assert_eq!(quantise(value, 0.5, range), expected, "quantise({value})");
        }
        assert_eq!(dequantise(-3, 0.5), -1.5);
    }

    #[test]
    fn an_average_is_of_integers_or_of_real_values() {
        let window = [1i16, 4].into_iter();
        assert_eq!(average_even(window.clone(), 2, 1.0, 1.0), 2);
        assert_eq!(average_even(window.clone(), 5, 0.5, 1.0), 0);
        let real = f32::midpoint(0.1f32, 4.0 * 0.1) / 0.1;
        assert_eq!(
            average_even(window, 2, 0.1, 0.1),
            real.round_ties_even() as i32
        );
    }

    #[test]
    fn factors_out_of_reach_have_the_nearest_multiplier() {
        for nothing in [0.0, f64::NAN, f64::INFINITY, 1e-30] {
            assert_eq!(multiplier_for(nothing).0, 0, "multiplier_for({nothing})");
        }
        assert_eq!(multiplier_for(1e9), (32767, 0));
        assert_eq!(multiplier_for(-1e9), (-32767, 0));
        assert_eq!(multiplier_for(1.0), (1, 0));
        assert_eq!(multiplier_for(2.0), (2, 0));
        assert_eq!(multiplier_for(-0.375), (-3, 3));
        assert_eq!(multiplier_for(32767.0 / 32768.0), (32767, 15));
        // Its mantissa rounds up to a power of two.
        assert_eq!(multiplier_for(0.999_999), (1, 0));
    }

    proptest! {
        #[test]
        fn rounding_agrees_with_real_numbers(value in -1_000_000_000i64..1_000_000_000, shift in 0u32..40) {
            let expected = (value as f64 / 2f64.powi(shift as i32)).round();
            prop_assert_eq!(round_shift(value, shift) as f64, expected, "round_shift({}, {})", value, shift);
        }

        #[test]
        fn division_rounds_as_defined(numerator in -1i64 << 40..1 << 40, denominator in 1i64..1 << 20) {
            let expected = rounded(numerator.into(), denominator.into());
            prop_assert_eq!(i128::from(round_div(numerator, denominator)), expected);
        }

        #[test]
        fn a_product_is_rounded_upward_as_defined(weight: i16, activation: i16, shift in 0u32..=30) {
            let exact = f64::from(weight) * f64::from(activation);
            let expected = (exact / 2f64.powi(shift as i32) + 0.5).floor();
            prop_assert_eq!(f64::from(product(weight, activation, shift)), expected);
        }

        #[test]
        fn requantisation_is_as_defined(sum: i32, bias: i32, multiplier: i16, shift in 0u8..=MAX_SHIFT) {
            let expected = saturated((i128::from(sum) + i128::from(bias)) * i128::from(multiplier), 1 << shift);
            let channel = Requantise { bias, multiplier: multiplier.into(), shift, offset: 0.0 };
            prop_assert_eq!(channel.apply(sum), expected);
        }

        /// ONNX's order of operations, in the language's own floats.
        #[test]
        fn a_quantised_models_sum_is_rounded_once_and_to_even(
            sum in -1i32 << 24..1 << 24, bias in -1i32 << 20..1 << 20, scale in 1e-6f32..2.0,
            offset in -9f32..9.0, divisor in 0.01f32..2.0,
        ) {
            let (multiplier, shift) = multiplier_of(scale);
            prop_assert_eq!(factor(multiplier, shift), scale);
            let value = (sum + bias) as f32 * scale + offset;
            let expected = (value / divisor).round_ties_even().clamp(-4_194_304.0, 4_194_304.0) as i32;
            let channel = Requantise { bias, multiplier, shift, offset };
            prop_assert_eq!(round_even(channel.real(sum) / divisor), expected);
        }

        #[test]
        fn halves_go_to_even(value in -4_000_000i32..4_000_000) {
            let half = value as f32 + 0.5;
            prop_assert_eq!(round_even(half), half.round_ties_even() as i32);
            prop_assert_eq!(round_even(value as f32), value);
            let (multiplier, shift) = multiplier_of(0.5);
            let expected = (f64::from(value) / 2.0).round_ties_even() as i32;
            let channel = Requantise { multiplier, shift, ..Requantise::IDENTITY };
            prop_assert_eq!(round_even(channel.real(value)), expected);
        }

        #[test]
        fn an_operand_is_scaled_as_defined(value: i16, multiplier: i16, shift in -40i32..=100) {
            let product = i128::from(value) * i128::from(multiplier);
            let expected = saturated(product << (-shift).max(0), 1 << shift.max(0));
            prop_assert_eq!(scale_operand(value, multiplier.into(), shift), expected);
        }

        #[test]
        fn a_product_is_scaled_as_defined(value: i32, operand: i16, multiplier: i16, shift in 0u8..=MAX_SHIFT) {
            let narrow = i128::from(value.clamp(-32768, 32767));
            let expected = saturated(narrow * i128::from(operand) * i128::from(multiplier), 1 << shift);
            prop_assert_eq!(scale_product(value, operand, multiplier.into(), shift), expected);
        }

        #[test]
        fn an_average_is_as_defined(sum in -1i64 << 38..1 << 38, count in 1u32..4096, multiplier: i16, shift in 0u8..40) {
            let expected = saturated(i128::from(sum) * i128::from(multiplier), i128::from(count) << shift);
            prop_assert_eq!(average(sum, count, multiplier.into(), shift), expected);
        }

        #[test]
        fn leaky_is_as_defined(value: i32, multiplier: i16, exponent in 0u8..=MAX_SLOPE_EXPONENT) {
            let expected = saturated(i128::from(value) * i128::from(multiplier), 1 << (15 - exponent));
            prop_assert_eq!(leaky(value, multiplier, exponent), if value < 0 { expected } else { value });
        }

        #[test]
        fn a_multiplier_is_within_its_stated_error(mantissa in 0.5f64..1.0, exponent in -30i32..14, negative: bool) {
            let factor = mantissa * 2f64.powi(exponent) * if negative { -1.0 } else { 1.0 };
            let (multiplier, shift) = multiplier_for(factor);
            let got = f64::from(multiplier) / 2f64.powi(i32::from(shift));
            prop_assert!((got - factor).abs() <= factor.abs() * 2f64.powi(-15), "{factor} -> {got}");
            prop_assert!(shift == 0 || multiplier % 2 != 0, "{multiplier} / 2^{shift} could be shorter");
        }
    }
}
