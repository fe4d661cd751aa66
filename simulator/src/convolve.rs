//! The hot loop: sums of rounded products.
//!
//! For one output channel, every non-zero weight adds a scaled run of a padded plane ([`crate::planes`]) to the sums.
//! Cost of a product: one 16-bit load, multiply, add, shift, one 32-bit load and store, vectorised; the sums of a
//! strip of rows stay in the first-level cache while all weights of the channel pass over them. Zero activations are
//! multiplied too: their products are exactly zero, and finding them would cost more than adding them.

use crate::planes::{AxisPlan, Planes};
use scnn_isa::plane::Axis;

/// A non-zero weight of one output channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Input channel, of the source view.
    pub channel: u32,
    /// Row tap.
    pub r: u16,
    /// Column tap.
    pub s: u16,
    /// Value.
    pub value: i16,
}

/// Sums in a strip, so that they stay in the first-level cache together with what is added.
const STRIP: usize = 4096;

/// The sums of one output channel over `rows x cols` outputs, row-major.
pub fn convolve(
    weights: &[Weight],
    planes: &Planes,
    y: &AxisPlan,
    x: &AxisPlan,
    rows: usize,
    cols: usize,
    product_shift: u32,
) -> Vec<i32> {
    let pitch = planes.pitch;
    let per_strip = (STRIP / pitch.max(1)).clamp(1, rows.max(1));
    let mut sums = vec![0i32; rows * cols];
    let mut strip = vec![0i32; per_strip * pitch];
    for first in (0..rows).step_by(per_strip) {
        let count = per_strip.min(rows - first);
        // The last row of a strip is not wider than its outputs.
        let length = (count - 1) * pitch + cols;
        let strip = &mut strip[..length];
        strip.fill(0);
        for weight in weights {
            let (phase_y, row) = y.tap(u32::from(weight.r));
            let (phase_x, col) = x.tap(u32::from(weight.s));
            let plane = planes.plane(weight.channel as usize, phase_y, phase_x);
            let begin = (first + row) * pitch + col;
            add_products(
                strip,
                &plane[begin..begin + length],
                weight.value,
                product_shift,
            );
        }
        for (row, sums) in sums[first * cols..]
            .chunks_mut(cols)
            .take(count)
            .enumerate()
        {
            sums.copy_from_slice(&strip[row * pitch..][..cols]);
        }
    }
    sums
}

/// `sums[i] += round(weight * inputs[i] / 2^shift)`, halves upward; the vector form of [`scnn_isa::arith::product`].
fn add_products(sums: &mut [i32], inputs: &[i16], weight: i16, shift: u32) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was just asked.
        unsafe { add_products_avx2(sums, inputs, weight, shift) };
        return;
    }
    add_products_portable(sums, inputs, weight, shift);
}

/// The portable loop, compiled once more for processors with AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_products_avx2(sums: &mut [i32], inputs: &[i16], weight: i16, shift: u32) {
    add_products_portable(sums, inputs, weight, shift);
}

#[allow(clippy::inline_always)] // It must take the instruction set of its caller.
#[inline(always)]
fn add_products_portable(sums: &mut [i32], inputs: &[i16], weight: i16, shift: u32) {
    let weight = i32::from(weight);
    let half = if shift == 0 { 0 } else { 1i32 << (shift - 1) };
    for (sum, &input) in sums.iter_mut().zip(inputs) {
        *sum = sum.wrapping_add((weight * i32::from(input) + half) >> shift);
    }
}

/// Plans both axes of a convolution for a box of outputs.
pub fn plan(
    y: Axis,
    x: Axis,
    rows: scnn_isa::plane::Span,
    cols: scnn_isa::plane::Span,
) -> (AxisPlan, AxisPlan) {
    (AxisPlan::new(y, rows), AxisPlan::new(x, cols))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scnn_isa::arith;
    use scnn_isa::plane::Span;

    proptest! {
        #[test]
        fn the_sums_are_those_of_the_definition(
            input in 1u32..12, kernel in 1u32..5, stride in 1u32..4, upsample in 1u32..3, dilation in 1u32..3,
            pad in 0i32..4, output in 1u32..12, begin in 0u32..6, shift in 0u32..12, seed: u64,
        ) {
            let axis = Axis { input, output, kernel, stride, upsample, dilation, pad: [pad, pad] };
            let span = Span::new(begin.min(output - 1), output);
            let random = |i: u32| {
                let hash = (u64::from(i) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
                if hash % 4 == 0 { 0 } else { (hash >> 24) as i16 }
            };
            let source: Vec<i16> = (0..2 * input * input).map(random).collect();
            let mut weights = Vec::new();
            for channel in 0..2 {
                for r in 0..kernel {
                    for s in 0..kernel {
                        let value = random(10_000 + channel * 100 + r * 10 + s);
                        weights.push(Weight { channel, r: r as u16, s: s as u16, value });
                    }
                }
            }
            let (y, x) = plan(axis, axis, span, span);
            let planes = Planes::new(&source, 2, &y, &x);
            let extent = span.len() as usize;
            let sums = convolve(&weights, &planes, &y, &x, extent, extent, shift);
            for (i, oy) in span.iter().enumerate() {
                for (j, ox) in span.iter().enumerate() {
                    let expected: i32 = weights
                        .iter()
                        .filter_map(|w| {
                            let iy = axis.input(oy, u32::from(w.r))?;
                            let ix = axis.input(ox, u32::from(w.s))?;
                            let value = source[((w.channel * input + iy) * input + ix) as usize];
                            Some(arith::product(w.value, value, shift))
                        })
                        .fold(0i32, i32::wrapping_add);
                    prop_assert_eq!(sums[i * extent + j], expected);
                }
            }
        }
    }
}
