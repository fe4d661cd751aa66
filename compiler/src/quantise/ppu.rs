//! What the PPU does with a sum, in integers: requantisation, activation function, bounds, averages.

use super::table::Table;
use super::{IntFunction, IntLayer, Tensor};
use crate::graph::{Function, Layer};
use scnn_isa::arith::{self, Requantise};
use scnn_isa::layer::PoolKind;

/// Largest magnitude of a bias: leaves room for the sum of 24 or more bits that it is added to.
pub(super) const BIAS_LIMIT: f64 = (1u32 << 30) as f64;

/// Bias, multiplier and shift that take a sum in units of `unit` to `sum * scale + offset` in units of `target`.
pub(super) fn requantise_channel(unit: f64, scale: f64, offset: f64, target: f64) -> Requantise {
    let factor = unit * scale / target;
    // A constant, or nearly one: the smallest factor that still carries the offset as a bias.
    let smallest = (offset / target).abs() / BIAS_LIMIT;
    let factor = factor.abs().max(smallest).copysign(factor);
    let (multiplier, shift) = arith::multiplier_for(factor);
    let realised = f64::from(multiplier) / 2f64.powi(i32::from(shift));
    let bias = if realised == 0.0 {
        0.0
    } else {
        (offset / target / realised).round()
    };
    Requantise {
        bias: bias.clamp(-f64::from(i32::MAX), f64::from(i32::MAX)) as i32,
        multiplier,
        shift,
    }
}

/// What integers stand for: `offset + integer * unit`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    pub(super) unit: f64,
    pub(super) offset: f64,
}

/// The activation function in integers, and what its input stands for.
pub(super) fn function_stage(
    layer: &Layer,
    from: &Tensor,
    to: &Tensor,
) -> (Option<IntFunction>, Units) {
    let scale = f64::from(to.scale);
    let plain = Units {
        unit: scale,
        offset: 0.0,
    };
    let Some(function) = &layer.function else {
        return (None, plain);
    };
    if let Function::Leaky(slopes) = function {
        let slopes = slopes
            .iter()
            .map(|s| (s * 32768.0).round().clamp(-32768.0, 32767.0) as i16)
            .collect();
        return (Some(IntFunction::Leaky(slopes)), plain);
    }
    // The table's input is the source itself where nothing is done before: no need to reach further than it does.
    let alone = layer.conv.is_none() && layer.affine.is_none() && !layer.operand;
    let source = alone.then(|| {
        from.range
            .map(|bound| f64::from(bound) * f64::from(from.scale))
    });
    let most = to.range.map(i16::unsigned_abs).into_iter().max();
    let table = Table::of(function, scale, most.unwrap_or(0).into(), source);
    let units = Units {
        unit: table.unit,
        offset: -f64::from(table.zero) * table.unit,
    };
    (Some(IntFunction::Table(table.knots)), units)
}

/// Bounds in the units of `to`, inside its range.
pub(super) fn clamp_bounds(clamp: Option<(f32, f32)>, to: &Tensor) -> [i16; 2] {
    let bound = |value: f32| {
        let units = (f64::from(value) / f64::from(to.scale)).round();
        units.clamp(f64::from(to.range[0]), f64::from(to.range[1])) as i16
    };
    clamp.map_or(to.range, |(low, high)| [bound(low), bound(high)])
}

/// A stand-alone average may gain bits: it pools in its source's units and requantises the mean, not the operands.
pub(super) fn widen_average(layer: &mut IntLayer, from: &Tensor, to: &Tensor) {
    let alone = layer.conv.is_none() && layer.operand.is_none() && layer.function.is_none();
    let Some(pool) = &mut layer.pool else { return };
    let identity = layer.requantise.iter().all(|r| r.bias == 0);
    if pool.kind == PoolKind::Max || !alone || !identity || layer.clamp != to.range {
        return;
    }
    let (multiplier, shift) = arith::multiplier_for(f64::from(from.scale) / f64::from(to.scale));
    if shift <= 30 {
        (pool.multiplier, pool.shift) = (multiplier, shift);
        layer.requantise.fill(Requantise::IDENTITY);
    }
}

/// The value of a function at `x`; that of a leaky one is its positive side's.
pub(crate) fn evaluate(function: &Function, x: f64) -> f64 {
    match function {
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::Tanh => x.tanh(),
        Function::HardSigmoid { alpha, beta } => {
            (f64::from(*alpha) * x + f64::from(*beta)).clamp(0.0, 1.0)
        }
        Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Function::Elu { alpha, gamma } => {
            let negative = f64::from(*alpha) * x.min(0.0).exp_m1();
            f64::from(*gamma) * (x.max(0.0) + negative)
        }
        Function::Gelu { tanh: true } => {
            let bent = x + 0.044_715 * x * x * x;
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * bent).tanh())
        }
        Function::Gelu { tanh: false } => x * normal_below(x),
        Function::Mish => x * softplus(x).tanh(),
        Function::Softplus => softplus(x),
        Function::Softsign => x / (1.0 + x.abs()),
        Function::Swish { alpha } => x / (1.0 + (-f64::from(*alpha) * x).exp()),
        Function::Leaky(_) => x,
    }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Share of a standard normal distribution below `x`, by Simpson's rule: exact to 1e-9, far below a table's unit.
fn normal_below(x: f64) -> f64 {
    const STEPS: i32 = 200;
    let end = x.abs().min(9.0);
    let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let step = end / f64::from(STEPS);
    let sum: f64 = (1..STEPS)
        .map(|i| density(f64::from(i) * step) * if i % 2 == 1 { 4.0 } else { 2.0 })
        .sum();
    let half = (density(0.0) + sum + density(end)) * step / 3.0;
    0.5 + half.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_scaled_by_zero_keeps_its_offset() {
        let channel = requantise_channel(1e-4, 0.0, 2.0, 1e-3);
        assert!(
            (channel.apply(1000) - 2000).abs() <= 1,
            "{}",
            channel.apply(1000)
        );
    }

    fn tensor(scale: f32, range: [i16; 2]) -> Tensor {
        Tensor {
            name: "t".to_owned(),
            shape: [1, 1, 2, 2],
            scale,
            range,
            density: 1.0,
        }
    }

    #[test]
    fn bounds_are_in_units_of_the_result_and_inside_its_range() {
        let to = tensor(0.5, [-100, 127]);
        assert_eq!(clamp_bounds(None, &to), [-100, 127]);
        assert_eq!(clamp_bounds(Some((-3.0, 6.2)), &to), [-6, 12]);
        assert_eq!(clamp_bounds(Some((0.0, f32::INFINITY)), &to), [0, 127]);
        assert_eq!(clamp_bounds(Some((-1e9, -1.0)), &to), [-100, -2]);
    }

    #[test]
    fn a_channel_is_what_its_scale_and_offset_make_of_it() {
        // 3 of 0.01 are .03; times -2 plus .5 are .44: 44 units of .01.
        let channel = requantise_channel(0.01, -2.0, 0.5, 0.01);
        assert_eq!(channel.apply(3), 44);
        assert_eq!(channel.apply(-300), 650);
        let small = requantise_channel(1e-3, 4.0, -0.02, 0.125);
        assert_eq!(small.apply(1000), 32);
        // An offset that no bias holds in units of so small a factor makes the factor larger.
        let far = requantise_channel(1e-12, -1.0, 10.0, 1e-3);
        assert!(
            far.multiplier < 0 && (far.apply(0) - 10_000).abs() <= 1,
            "{far:?}"
        );
        assert!(f64::from(far.bias).abs() <= BIAS_LIMIT * 1.001, "{far:?}");
        let nothing = requantise_channel(0.0, 1.0, 0.0, 1e-3);
        assert_eq!(nothing.apply(30_000), 0);
    }

    #[test]
    fn slopes_are_in_parts_of_two_to_the_fifteenth() {
        let layer = Layer {
            function: Some(Function::Leaky(vec![0.1, -0.5, 1.0, -1.0])),
            ..Layer::default()
        };
        let (from, to) = (tensor(1.0, [-9, 9]), tensor(0.25, [-9, 9]));
        let (function, units) = function_stage(&layer, &from, &to);
        let slopes = IntFunction::Leaky(vec![3277, -16384, 32767, -32768]);
        assert_eq!(function, Some(slopes));
        assert_eq!((units.unit, units.offset), (0.25, 0.0));
        let (none, units) = function_stage(&Layer::default(), &from, &to);
        assert_eq!((none, units.unit, units.offset), (None, 0.25, 0.0));
    }

    /// Only where nothing stands between the source and the table does the one bound the other.
    #[test]
    fn the_input_of_a_table_stands_for_what_its_source_reaches() {
        let (from, to) = (tensor(0.01, [-100, 300]), tensor(1.0 / 127.0, [-127, 127]));
        let units = |make: &dyn Fn(&mut Layer)| {
            let mut layer = Layer {
                function: Some(Function::Sigmoid),
                ..Layer::default()
            };
            make(&mut layer);
            let (function, units) = function_stage(&layer, &from, &to);
            assert!(matches!(function, Some(IntFunction::Table(_))));
            (units.unit * 65536.0, units.offset)
        };
        let near = |found: (f64, f64), wanted: (f64, f64)| {
            let off = (found.0 - wanted.0).abs().max((found.1 - wanted.1).abs());
            assert!(off < 1e-6, "{found:?}, not {wanted:?}");
        };
        // From -1 to 3, so that 0 lies a quarter behind the beginning, and the middle 1 above it.
        near(units(&|_| {}), (4.0, 1.0));
        near(units(&|layer| layer.operand = true), (24.0, 0.0));
        let affine = |layer: &mut Layer| {
            let (scale, offset) = (vec![1.0], vec![0.0]);
            layer.affine = Some(crate::graph::Affine { scale, offset });
        };
        near(units(&affine), (24.0, 0.0));
    }

    #[test]
    fn only_an_average_alone_is_requantised_behind_its_sum() {
        let (from, to) = (tensor(0.5, [-100, 100]), tensor(0.125, [-127, 127]));
        let axis = scnn_isa::plane::Axis::identity(2);
        let view = scnn_isa::layer::View {
            tensor: scnn_isa::ids::TensorId(0),
            channels: scnn_isa::plane::Span::new(0, 1),
        };
        let requantise = requantise_channel(0.5, 1.0, 0.0, 0.125);
        let widened = |make: &dyn Fn(&mut IntLayer)| {
            let mut layer = IntLayer {
                name: "a".to_owned(),
                onnx_nodes: Vec::new(),
                tensor: "y".to_owned(),
                source: view,
                destination: view,
                conv: None,
                requantise: vec![requantise],
                operand: None,
                function: None,
                clamp: to.range,
                pool: Some(crate::quantise::IntPool {
                    kind: PoolKind::Average,
                    y: axis,
                    x: axis,
                    multiplier: 1,
                    shift: 0,
                }),
            };
            make(&mut layer);
            widen_average(&mut layer, &from, &to);
            let pool = layer.pool.map(|pool| (pool.multiplier, pool.shift));
            let factor = |(m, s): (i16, u8)| f64::from(m) / 2f64.powi(s.into());
            let moved = layer.requantise == [Requantise::IDENTITY];
            assert_eq!(
                moved,
                pool.is_some_and(|pool| factor(pool) == 4.0),
                "{pool:?}"
            );
            moved
        };
        assert!(widened(&|_| {}));
        assert!(!widened(&|layer| layer.pool = None));
        assert!(!widened(&|layer| layer.operand = Some((view, 1, 0))));
        let slopes = || Some(IntFunction::Leaky(vec![0]));
        assert!(!widened(&|layer| layer.function = slopes()));
        assert!(!widened(&|layer| layer.clamp = [0, 127]));
        assert!(!widened(&|layer| layer.requantise[0].bias = 7));
        let largest = |layer: &mut IntLayer| {
            layer
                .pool
                .iter_mut()
                .for_each(|pool| pool.kind = PoolKind::Max);
        };
        assert!(!widened(&largest));
    }

    /// Values worked out from the definitions by other means.
    #[test]
    fn functions_are_what_onnx_defines() {
        let swish = Function::Swish { alpha: 2.0 };
        let elu = Function::Elu {
            alpha: 1.5,
            gamma: 2.0,
        };
        let hard = Function::HardSigmoid {
            alpha: 0.25,
            beta: 0.5,
        };
        let known: [(Function, &[(f64, f64)]); 12] = [
            (
                Function::Sigmoid,
                &[(1.0, 0.731_058_578_6), (-2.0, 0.119_202_922_0)],
            ),
            (
                Function::Tanh,
                &[(1.0, 0.761_594_156_0), (-1.0, -0.761_594_156_0)],
            ),
            (hard, &[(1.0, 0.75), (-3.0, 0.0), (3.0, 1.0)]),
            (
                Function::HardSwish,
                &[(1.0, 2.0 / 3.0), (-1.0, -1.0 / 3.0), (4.0, 4.0)],
            ),
            (elu, &[(1.0, 2.0), (-1.0, -1.896_361_676_5)]),
            (
                Function::Gelu { tanh: false },
                &[(1.0, 0.841_344_746_1), (-2.5, -0.015_524_163_3)],
            ),
            (
                Function::Gelu { tanh: true },
                &[(1.0, 0.841_191_990_6), (-2.5, -0.015_084_266_1)],
            ),
            (
                Function::Mish,
                &[(1.0, 0.865_098_388_3), (-1.0, -0.303_401_461_4)],
            ),
            (
                Function::Softplus,
                &[(1.0, 1.313_261_687_5), (-3.0, 0.048_587_351_6)],
            ),
            (Function::Softsign, &[(1.0, 0.5), (-3.0, -0.75)]),
            (swish, &[(1.0, 0.880_797_078_0), (-1.0, -0.119_202_922_0)]),
            (Function::Leaky(vec![0.1]), &[(3.0, 3.0)]),
        ];
        for (function, values) in known {
            for &(x, wanted) in values {
                let found = evaluate(&function, x);
                assert!(
                    (found - wanted).abs() < 1e-9,
                    "{function:?} of {x} is {found}"
                );
            }
        }
    }
}
