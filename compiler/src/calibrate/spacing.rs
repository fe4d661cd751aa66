//! The spacing of a tensor: every value is a multiple of it. Pictures of bytes have one, and so has what slices, moves or scales
//! them.
//!
//! A unit that divides the spacing keeps such values exactly, where one that spans their range rounds each of them. The spacing
//! is the greatest common divisor of the values seen, found by Euclid's algorithm in floating point: a small
//! remainder ([`NEGLIGIBLE`], [`ROUNDING`]) counts as none, because values such as 3 / 255 are themselves rounded.

/// Shares of a spacing and of the largest magnitude up to which a remainder is rounding.
const NEGLIGIBLE: f64 = 0.05;
const ROUNDING: f64 = 1e-4;

/// Multiples of the spacing up to the largest magnitude: of more, rounding hides the remainders.
const MOST: f64 = 4096.0;

/// Values other than zero from which their common divisor says something: any one value is a multiple of itself.
const ENOUGH_VALUES: u64 = 256;

/// The spacing of the values seen so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spacing {
    /// Values other than zero.
    seen: u64,
    /// 0 before the first value other than zero, none once there is no spacing.
    divisor: Option<f64>,
    largest: f64,
}

impl Default for Spacing {
    fn default() -> Self {
        Self {
            seen: 0,
            divisor: Some(0.0),
            largest: 0.0,
        }
    }
}

impl Spacing {
    /// Looks at further values; those that are not finite say nothing.
    pub fn see(&mut self, values: &[f32]) {
        let telling = values.iter().filter(|v| **v != 0.0 && v.is_finite());
        for &value in telling {
            let Some(spacing) = self.divisor else { return };
            self.seen += 1;
            self.include(spacing, f64::from(value.abs()));
        }
    }

    /// The spacing of these values and of those that another one has seen.
    pub fn join(&mut self, other: &Self) {
        self.seen += other.seen;
        match (self.divisor, other.divisor) {
            (Some(spacing), Some(others)) if others > 0.0 => {
                self.largest = self.largest.max(other.largest);
                self.include(spacing, others);
            }
            (_, None) => self.divisor = None,
            _ => {}
        }
    }

    /// The spacing; none where there is none, or few values but zero were seen.
    pub fn get(self) -> Option<f32> {
        let spacing = self.divisor.filter(|_| self.seen >= ENOUGH_VALUES)?;
        Some(spacing as f32)
    }

    /// Makes the spacing one of `value`, a magnitude, as well.
    fn include(&mut self, spacing: f64, value: f64) {
        self.largest = self.largest.max(value);
        let (mut larger, mut smaller) = (spacing.max(value), spacing.min(value));
        if smaller == 0.0 {
            self.divisor = Some(larger);
            return;
        }
        loop {
            if smaller * MOST < self.largest {
                self.divisor = None;
                return;
            }
            let rest = (larger - smaller * (larger / smaller).round()).abs();
            if rest <= (smaller * NEGLIGIBLE).min(self.largest * ROUNDING) {
                break;
            }
            (larger, smaller) = (smaller, rest);
        }
        // The largest value has the smallest relative error.
        self.divisor = Some(self.largest / (self.largest / smaller).round());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The spacing after many repetitions of some values.
    fn seen(values: &[f32]) -> Spacing {
        let mut spacing = Spacing::default();
        spacing.see(&values.repeat(ENOUGH_VALUES as usize));
        spacing
    }

    fn spacing(values: &[f32]) -> Option<f32> {
        seen(values).get()
    }

    #[test]
    fn few_values_say_nothing() {
        let mut spacing = Spacing::default();
        spacing.see(&[0.7; ENOUGH_VALUES as usize - 1]);
        assert_eq!(spacing.get(), None);
        spacing.see(&[1.4]);
        assert_eq!(spacing.get(), Some(0.7));
    }

    #[test]
    fn bytes_have_a_spacing_however_they_are_scaled() {
        let bytes = [255u8, 3, 0, 77, 128, 254, 1, 9, 200];
        let scaled = |of: &dyn Fn(f32) -> f32| spacing(&bytes.map(|byte| of(f32::from(byte))));
        assert_eq!(scaled(&|b| b), Some(1.0));
        assert_eq!(scaled(&|b| b / 255.0), Some(1.0 / 255.0));
        assert_eq!(scaled(&|b| b / 256.0), Some(1.0 / 256.0));
        // From -1 to 1: odd multiples of half a byte's spacing.
        assert_eq!(scaled(&|b| (b - 127.5) / 127.5), Some(1.0 / 255.0));
        assert_eq!(scaled(&|b| b - 127.5), Some(0.5));
    }

    #[test]
    fn the_spacing_of_even_and_of_distant_values_is_their_greatest_common_divisor() {
        assert_eq!(spacing(&[4.0, 10.0, -16.0]), Some(2.0));
        assert_eq!(spacing(&[21.0, 35.0, 15.0]), Some(1.0));
        assert_eq!(
            spacing(&[f32::NAN, 3000.0, f32::INFINITY, 2999.0]),
            Some(1.0)
        );
    }

    #[test]
    fn measured_values_have_none() {
        let values: Vec<f32> = (1..64).map(|n| (n as f32 * 0.7).sin()).collect();
        assert_eq!(spacing(&values), None);
        assert_eq!(spacing(&[0.0, 0.0]), None);
        assert_eq!(spacing(&[1e9, 1.0]), None);
    }

    #[test]
    fn several_samples_have_the_spacing_of_all() {
        let joined = |a: &[f32], b: &[f32]| {
            let mut spacing = seen(a);
            spacing.join(&seen(b));
            spacing.get()
        };
        assert_eq!(joined(&[4.0, 8.0], &[6.0]), Some(2.0));
        assert_eq!(joined(&[], &[0.25]), Some(0.25));
        assert_eq!(joined(&[0.25], &[0.0]), Some(0.25));
        assert_eq!(joined(&[1.0], &[0.123, 0.456_7, 0.789_12]), None);
    }
}
