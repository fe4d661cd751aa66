//! The hot loop of the values: sums of rounded products.
//!
//! A product rounded to 2^s is `(w * a + 2^(s-1)) >> s`. The planes ([`planes`]) hold every activation as the pair
//! `(a, unit)` and a weight comes as the pair `(w, half)` with `unit * half = 2^(s-1)`, so that one multiplication of
//! pairs with their sum, which processors have for 16 bits, gives the product and its rounding at once.
//!
//! A non-zero weight meets all its activations as one **run** of the planes. The sums of a strip of outputs stay in
//! registers while all weights of an output channel pass over them; a product costs a load, a multiply-add, a shift and
//! an addition, eight at a time, and 4 bytes from the second-level cache. Zero activations are multiplied too: their
//! products are exactly zero, and finding them would cost more than adding them.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod planes;

pub use planes::Planes;

use crate::weights::Weight;

/// A non-zero weight in the form that the loop reads.
#[derive(Clone, Copy, Debug)]
struct WeightRun {
    /// Index in the planes of the activation that it multiplies for the first output.
    begin: u32,
    /// Its value below, `half` above.
    pair: u32,
}

/// Sums of a vector.
const LANES: usize = 8;
/// Vectors of a strip: as many as 16 registers hold besides a weight, a product and the shift.
const STRIP: usize = 12;
/// Words that a strip may read behind the last output.
pub const OVERRUN: usize = LANES * STRIP;

/// The two factors whose product is the half that is added before a shift, as (unit, half).
pub const fn rounding(shift: u32) -> (i16, i16) {
    match shift {
        0 => (1, 0),
        1..=15 => (1, 1 << (shift - 1)),
        16..=29 => (1 << (shift - 15), 1 << 14),
        // 2^29; no two positive 16-bit numbers give it.
        _ => (i16::MIN, -(1 << 14)),
    }
}

/// Room for the work on one output channel, to be used again.
#[derive(Default)]
pub struct Scratch {
    runs: Vec<WeightRun>,
    flat: Vec<i32>,
}

impl Scratch {
    /// The sums of one output channel over the rows `first..first + rows` of `planes`, row-major, into `sums`.
    pub fn convolve(
        &mut self,
        weights: impl Iterator<Item = Weight>,
        planes: &Planes,
        product_shift: u32,
        (first, rows): (usize, usize),
        sums: &mut Vec<i32>,
    ) {
        let (pitch, cols) = (planes.pitch, planes.cols);
        let (_, half) = rounding(product_shift);
        let half = u32::from(half as u16) << 16;
        let begin = first * pitch;
        self.runs.clear();
        self.runs.extend(weights.map(|weight| WeightRun {
            begin: (planes.begin(weight.channel, weight.tap) + begin) as u32,
            pair: u32::from(weight.value as u16) | half,
        }));
        // A run crosses rows; the words between them land in columns that are left out below.
        let length = if rows == 0 {
            0
        } else {
            (rows - 1) * pitch + cols
        };
        self.flat.resize(length.next_multiple_of(LANES), 0);
        let vectors = self.flat.len() / LANES;
        let strips = vectors.div_ceil(STRIP).max(1);
        let per_strip = vectors.div_ceil(strips).max(1) * LANES;
        for (strip, sums) in self.flat.chunks_mut(per_strip).enumerate() {
            add_runs(
                &planes.words,
                strip * per_strip,
                &self.runs,
                product_shift,
                sums,
            );
        }
        sums.clear();
        for row in 0..rows {
            sums.extend_from_slice(&self.flat[row * pitch..][..cols]);
        }
    }
}

/// `sums[i]` becomes the sum over all runs of the rounded product with the word `offset + i` behind the run's begin.
/// The sums are at most a strip, in whole vectors.
fn add_runs(words: &[u32], offset: usize, runs: &[WeightRun], shift: u32, sums: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::add_runs(words, offset, runs, shift, sums) {
        return;
    }
    add_runs_portable(words, offset, runs, shift, sums);
}

fn add_runs_portable(
    words: &[u32],
    offset: usize,
    runs: &[WeightRun],
    shift: u32,
    sums: &mut [i32],
) {
    sums.fill(0);
    let pair = |word: u32| {
        (
            i32::from(word as u16 as i16),
            i32::from((word >> 16) as i16),
        )
    };
    for run in runs {
        let (weight, half) = pair(run.pair);
        for (sum, &word) in sums.iter_mut().zip(&words[run.begin as usize + offset..]) {
            let (value, unit) = pair(word);
            *sum = sum.wrapping_add((weight * value + half * unit) >> shift);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scnn_isa::arith;
    use scnn_isa::plane::{Axis, Span};

    proptest! {
        #[test]
        fn the_sums_are_those_of_the_definition(
            input in 1u32..12, kernel in 1u32..5, stride in 1u32..4, upsample in 1u32..3, dilation in 1u32..3,
            pad in 0i32..4, output in 1u32..30, begin in 0u32..6, first in 0u32..6, shift in 0u32..=30, seed: u64,
        ) {
            let axis = Axis { input, output, kernel, stride, upsample, dilation, pad: [pad, pad] };
            let span = Span::new(begin.min(output - 1), output);
            let first = first.min(span.len() - 1);
            let random = |i: u32| {
                let hash = (u64::from(i) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
                match hash % 8 { 0..=1 => 0, 2 => i16::MIN, _ => (hash >> 24) as i16 }
            };
            let source: Vec<i16> = (0..2 * input * input).map(random).collect();
            let mut weights = Vec::new();
            for channel in 0..2 {
                for tap in 0..kernel * kernel {
                    let value = random(10_000 + channel * 100 + tap);
                    weights.push(Weight { channel, tap, value });
                }
            }
            let planes = Planes::new(&source, 2, (axis, span), (axis, span), shift);
            let rows = (first as usize, (span.len() - first) as usize);
            let (mut scratch, mut sums) = (Scratch::default(), Vec::new());
            scratch.convolve(weights.iter().copied(), &planes, shift, rows, &mut sums);
            let mut expected = Vec::new();
            for oy in span.iter().skip(first as usize) {
                for ox in span.iter() {
                    let products = weights.iter().filter_map(|w| {
                        let iy = axis.input(oy, w.tap / kernel)?;
                        let ix = axis.input(ox, w.tap % kernel)?;
                        let value = source[((w.channel * input + iy) * input + ix) as usize];
                        Some(arith::product(w.value, value, shift))
                    });
                    expected.push(products.fold(0i32, i32::wrapping_add));
                }
            }
            prop_assert_eq!(sums, expected);
        }

        #[test]
        fn every_form_of_the_loop_gives_the_same_sums(
            vectors in 1usize..=STRIP, runs in 0usize..40, shift in 0u32..=30, offset in 0usize..20, seed: u64,
        ) {
            let random = |i: usize| (i as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            let (unit, half) = rounding(shift);
            let pair = |value: u64, above: i16| u32::from(value as u16) | u32::from(above as u16) << 16;
            let words: Vec<u32> = (0..400).map(|i| pair(random(i) >> 16, unit)).collect();
            let runs: Vec<WeightRun> = (0..runs)
                .map(|i| WeightRun { begin: (random(1000 + i) % 200) as u32, pair: pair(random(2000 + i), half) })
                .collect();
            let (mut ours, mut twin) = (vec![7; vectors * LANES], vec![8; vectors * LANES]);
            add_runs(&words, offset, &runs, shift, &mut ours);
            add_runs_portable(&words, offset, &runs, shift, &mut twin);
            prop_assert_eq!(ours, twin);
        }
    }
}
