//! Seeded weights and images; the same for the same seed, on every machine.

use rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xorshift::XorShiftRng;

/// Weights above which the threshold is computed from the normal distribution instead of the weights.
const LARGE: usize = 1 << 20;

/// `count` normal weights of which the share `density` is left, those of the largest magnitude.
pub fn pruned_weights(count: usize, density: f64, seed: u64) -> Vec<f32> {
    let mut random = XorShiftRng::seed_from_u64(seed);
    let mut normal = || -> f32 { StandardNormal.sample(&mut random) };
    let mut weights: Vec<f32> = (0..count).map(|_| normal()).collect();
    let kept = (density * count as f64).round() as usize;
    if kept >= count {
        return weights;
    }
    let sample = count.min(LARGE);
    let mut magnitudes: Vec<f32> = weights[..sample].iter().map(|w| w.abs()).collect();
    let below = ((1.0 - density) * sample as f64).round() as usize;
    let (_, threshold, _) =
        magnitudes.select_nth_unstable_by(below.min(sample - 1), f32::total_cmp);
    let threshold = *threshold;
    for weight in &mut weights {
        if weight.abs() < threshold {
            *weight = 0.0;
        }
    }
    weights
}

/// An image `[C, H, W]` with values in 0..=255 minus their mean, as the networks of the time take it: smooth noise of
/// several scales, so that neighbours are alike.
///
/// A sound, `[C, W]`, is an image of one row.
pub fn image(shape: &[usize], seed: u64) -> Vec<f32> {
    let (channels, height, width) = match *shape {
        [channels, height, width] => (channels, height, width),
        [channels, width] => (channels, 1, width),
        _ => (1, 1, shape.iter().product()),
    };
    let mut random = XorShiftRng::seed_from_u64(seed ^ 0x5eed_1a6e);
    let mut values = vec![0f32; channels * height * width];
    for scale in [4usize, 9, 23, 61] {
        let (rows, cols) = (height / scale + 2, width / scale + 2);
        for plane in values.chunks_mut(height * width) {
            let grid: Vec<f32> = (0..rows * cols)
                .map(|_| StandardNormal.sample(&mut random))
                .collect();
            for (index, value) in plane.iter_mut().enumerate() {
                let (y, x) = (index / width, index % width);
                let (fy, fx) = (
                    (y % scale) as f32 / scale as f32,
                    (x % scale) as f32 / scale as f32,
                );
                let at = |dy: usize, dx: usize| grid[(y / scale + dy) * cols + x / scale + dx];
                let top = at(0, 0) * (1.0 - fx) + at(0, 1) * fx;
                let bottom = at(1, 0) * (1.0 - fx) + at(1, 1) * fx;
                *value += top * (1.0 - fy) + bottom * fy;
            }
        }
    }
    for value in &mut values {
        *value = (*value * 32.0).round().clamp(-127.0, 127.0);
        // A mean is seldom a whole number: no pixel is exactly zero.
        *value += 0.25;
    }
    values
}
