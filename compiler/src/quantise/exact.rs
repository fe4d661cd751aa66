//! Requantisation of a result that the model itself rounds, in the order of operations of ONNX's runtimes.
//!
//! ```text
//! convolution of integers, its bias too     (sum + bias) * (s_x s_w / s_y)
//! anything else                             (value * s_x + offset) / s_y
//! ```
//!
//! The first is what `QLinearConv` says, the second what `DequantizeLinear`, float arithmetic and `QuantizeLinear` say. The
//! last place of a single-precision number differs between them, and decides where a value lies between two integers.

use super::Tensor;
use super::ppu::BIAS_LIMIT;
use crate::graph::Layer;
use scnn_isa::arith::{self, Requantise};

/// Requantisation of every output channel, and the divisor of its results.
pub(super) struct Exact {
    pub(super) requantise: Vec<Requantise>,
    pub(super) divisor: f32,
}

impl Exact {
    /// Of a layer that reads `from` and writes `to`. One unit of a sum of channel `k` is a unit of the source times
    /// `weights[k]` times `products`.
    pub(super) fn of(
        layer: &Layer,
        from: &Tensor,
        to: &Tensor,
        weights: &[f32],
        products: f32,
    ) -> Self {
        let affine = |k: usize| {
            let affine = layer.affine.as_ref();
            affine.map_or((1.0, 0.0), |a| (a.scale[k], a.offset[k]))
        };
        let unit = |k: usize| from.scale * weights[k] * affine(k).0;
        let bias = |k: usize| whole(affine(k).1, unit(k) * products);
        let of_integers = layer.conv.is_some() && layer.operand.is_none();
        let biases: Option<Vec<i32>> = of_integers
            .then(|| (0..weights.len()).map(bias).collect())
            .flatten();
        let channel = |k: usize| {
            let (factor, bias, offset) = match &biases {
                Some(biases) => {
                    let factor = from.scale * weights[k] / to.scale * affine(k).0;
                    (factor, biases[k], 0.0)
                }
                None => (unit(k), 0, affine(k).1),
            };
            let (multiplier, shift) = arith::multiplier_of(factor * products);
            Requantise {
                bias,
                multiplier,
                shift,
                offset,
            }
        };
        Self {
            requantise: (0..weights.len()).map(channel).collect(),
            divisor: if biases.is_some() { 1.0 } else { to.scale },
        }
    }
}

/// An offset in units, if that is a whole number but for the rounding of single precision.
fn whole(offset: f32, unit: f32) -> Option<i32> {
    if offset == 0.0 {
        return Some(0);
    }
    let units = f64::from(offset) / f64::from(unit);
    let off = (units - units.round()).abs();
    (units.abs() <= BIAS_LIMIT && off <= (units.abs() * 3e-7).max(1e-3))
        .then_some(units.round() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::weights::Weights;
    use crate::graph::{Affine, Conv};
    use scnn_isa::arith::Rounding;
    use scnn_isa::plane::Axis;

    fn tensor(scale: f32) -> Tensor {
        Tensor {
            name: "t".to_owned(),
            shape: [1, 2, 1, 1],
            scale,
            channel_shifts: Vec::new(),
            range: [-128, 127],
            rounding: Rounding::Even,
            density: 1.0,
        }
    }

    fn layer(offset: Vec<f32>, convolution: bool) -> Layer {
        let conv = Conv {
            weights: Weights::from(vec![1.0, 1.0]),
            k: 2,
            c: 1,
            groups: 1,
            y: Axis::identity(1),
            x: Axis::identity(1),
        };
        Layer {
            conv: convolution.then_some(conv),
            affine: Some(Affine {
                scale: vec![1.0; 2],
                offset,
            }),
            ..Layer::default()
        }
    }

    #[test]
    fn a_bias_of_integers_is_added_to_the_sum() {
        let (from, to, weights) = (tensor(0.013), tensor(0.07), [0.003f32, 0.011]);
        let units = weights.map(|weight| from.scale * weight);
        let bias = vec![-7_654.0 * units[0], 31.0 * units[1]];
        let exact = Exact::of(&layer(bias, true), &from, &to, &weights, 2.0);
        // Products are rounded to 2: so is the bias, if it is a multiple.
        assert_eq!(exact.divisor, to.scale, "31 is no multiple of 2");
        let bias = vec![-7_654.0 * units[0], 32.0 * units[1]];
        let exact = Exact::of(&layer(bias, true), &from, &to, &weights, 2.0);
        assert_eq!(exact.divisor, 1.0);
        let biases: Vec<i32> = exact.requantise.iter().map(|r| r.bias).collect();
        assert_eq!(biases, [-3827, 16]);
        for (channel, weight) in exact.requantise.iter().zip(weights) {
            let factor = arith::factor(channel.multiplier, channel.shift);
            assert_eq!(factor, from.scale * weight / to.scale * 2.0);
        }
    }

    #[test]
    fn real_offsets_are_added_to_real_values() {
        let (from, to) = (tensor(0.013), tensor(0.07));
        let exact = Exact::of(&layer(vec![0.1, -0.2], false), &from, &to, &[1.0; 2], 1.0);
        assert_eq!(exact.divisor, to.scale);
        assert_eq!(exact.requantise[1].offset, -0.2);
        let value = arith::round_even(exact.requantise[1].real(55) / exact.divisor);
        assert_eq!(
            value,
            ((55.0 * 0.013f32 - 0.2) / 0.07).round_ties_even() as i32
        );
    }
}
