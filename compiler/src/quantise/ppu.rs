//! The PPU's stages in integers: requantisation, activation function, bounds, averages.

use super::table::{FitTarget, Fitted};
use super::{IntFunction, IntLayer, Tensor};
use crate::graph::{Curve, Function, Layer, Operand};
use scnn_isa::arith::table::KNOT_FRACTION;
use scnn_isa::arith::{self, MAX_SOURCE_SHIFT, Requantise, Rounding, Table, Tables};
use scnn_isa::layer::{Approximation, OperandKind, PoolKind};
use scnn_isa::plane::Span;
use std::collections::BTreeMap;

/// Values of an operand for each of which a table has a segment.
const FEW: i32 = 256;

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
        offset: 0.0,
    }
}

/// How far a layer without convolution shifts what it reads, in the `units` of its channels, so that its biases are not
/// rounded to those: as far as they fit their fields. `inner` are the units after requantisation. Where a channel
/// is a constant, its source is not enlarged: it would not be small any more beside its bias ([`requantise_channel`]).
pub(super) fn source_shift(
    layer: &Layer,
    units: impl Iterator<Item = f64>,
    inner: &ChannelUnits,
) -> u8 {
    let biases = units.enumerate().map(|(k, unit)| {
        let affine = layer.affine.as_ref();
        let (scale, offset) = affine.map_or((1.0, 0.0), |affine| {
            (f64::from(affine.scale[k]), f64::from(affine.offset[k]))
        });
        let inner = inner.of(k).offset;
        // Infinite in a channel of a constant.
        if offset == inner {
            0.0
        } else {
            ((offset - inner) / (scale * unit)).abs()
        }
    });
    let largest = biases.fold(0.0, f64::max);
    if largest == 0.0 {
        return 0;
    }
    let shift = (BIAS_LIMIT / largest).log2().floor();
    shift.clamp(0.0, f64::from(MAX_SOURCE_SHIFT)) as u8
}

/// The real value of an integer: `offset + integer * unit`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    pub(super) unit: f64,
    pub(super) offset: f64,
}

/// Real values of integers by output channel.
#[derive(Clone, Debug)]
pub(super) enum ChannelUnits {
    /// In all channels the same.
    One(Units),
    /// In each its own.
    Each(Vec<Units>),
}

impl ChannelUnits {
    pub(super) fn of(&self, channel: usize) -> Units {
        match self {
            Self::One(units) => *units,
            Self::Each(units) => units[channel],
        }
    }
}

/// The range of a curve's argument.
pub(super) struct Argument<'a> {
    /// Smallest and largest observed value, with headroom.
    pub(super) span: [f64; 2],
    /// By output channel, the octaves by which it stays below that.
    pub(super) octaves_below: &'a dyn Fn(usize) -> u8,
}

/// The function in integers, and the units of its input. `to` is written in `channels`; `argument` is a curve's;
/// `segments` are the PPU's.
pub(super) fn function_stage(
    layer: &Layer,
    from: &Tensor,
    (to, channels): (&Tensor, Span),
    argument: &Argument,
    segments: u32,
) -> (Option<IntFunction>, ChannelUnits) {
    let plain = ChannelUnits::One(Units {
        unit: f64::from(to.scale),
        offset: 0.0,
    });
    match &layer.function {
        None => (None, plain),
        Some(function)
            if layer.is_function_alone()
                && let Some((function, units)) = of_few(function, from, to, segments) =>
        {
            (Some(function), ChannelUnits::One(units))
        }
        Some(Function::Leaky(slopes)) => (Some(leaky(slopes)), plain),
        Some(Function::Curve(curve)) => {
            // The argument is the source itself where nothing is done before: the span need not exceed what it holds.
            let [mut low, mut high] = argument.span;
            if layer.is_function_alone() {
                let bounds = from.range.map(|b| f64::from(b) * f64::from(from.scale));
                (low, high) = (low.max(bounds[0]), high.min(bounds[1]).max(low));
            }
            let argument = Argument {
                span: [low, high],
                ..*argument
            };
            curve_stage(layer, curve, (to, channels), &argument, segments)
        }
    }
}

/// Tables of a curve: one for each channel shift of the result, over what the arguments of its channels span.
fn curve_stage(
    layer: &Layer,
    curve: &Curve,
    (to, channels): (&Tensor, Span),
    argument: &Argument,
    segments: u32,
) -> (Option<IntFunction>, ChannelUnits) {
    let [low, high] = argument.span;
    let shifts: Vec<u8> = channels.iter().map(|c| to.channel_shift(c)).collect();
    // By shift, the octaves that all arguments stay below.
    let mut served = BTreeMap::from([(0, u8::MAX)]);
    for (channel, &shift) in shifts.iter().enumerate() {
        let below = served.entry(shift).or_insert(u8::MAX);
        *below = (*below).min((argument.octaves_below)(channel));
    }
    let multiplies = |with: &Operand| with.kind == OperandKind::Multiply;
    let function = |x: f64| curve.expression.at(&[x]);
    let target = |(&shift, &below): (&u8, &u8)| {
        let reach = low.abs().max(high.abs()) / 2f64.powi(below.into());
        FitTarget {
            function: &function,
            scale: f64::from(to.scale) / 2f64.powi(shift.into()),
            bounds: clamp_bounds(layer.clamp, to),
            span: [low.max(-reach), high.min(reach).max(low.max(-reach))],
            centred: layer.operand.as_ref().is_some_and(multiplies),
            segments: segments as usize,
        }
    };
    let fitted: Vec<Fitted> = served
        .iter()
        .map(target)
        .map(|target| target.fit())
        .collect();
    let largest_error = fitted.iter().map(|of| of.largest_error).fold(0.0, f64::max);
    let approximates = Approximation {
        function: curve.expression.to_string(),
        // Rounded upwards: the stated error is never less than the true one.
        largest_error: (largest_error * 100.0).ceil() as f32 / 100.0,
    };
    let units = fitted.iter().map(|of| Units {
        unit: of.unit,
        offset: of.offset,
    });
    let units: BTreeMap<u8, Units> = served.keys().copied().zip(units).collect();
    let tables = served.into_keys().zip(fitted);
    let tables = tables.map(|(shift, of)| (shift, of.table)).collect();
    let function = IntFunction::Table {
        tables: Tables::new(tables).expect("a set of shifts is in order, and 0 is one of them"),
        approximates,
    };
    let units = shifts.iter().map(|shift| units[shift]).collect();
    (Some(function), ChannelUnits::Each(units))
}

/// Whether a tensor has so few different values that a table may hold a function of each.
pub(super) fn has_few_values(tensor: &Tensor) -> bool {
    let [low, high] = tensor.range.map(i32::from);
    high - low < FEW
}

/// The table with a knot for each of the few values of its argument, so that its results are exact, and the units of its input.
/// Slopes by channel have no such table.
fn of_few(
    function: &Function,
    from: &Tensor,
    to: &Tensor,
    segments: u32,
) -> Option<(IntFunction, Units)> {
    if !has_few_values(from) || segments < FEW as u32 {
        return None;
    }
    let [low, high] = from.range.map(i32::from);
    let (expression, name): (&dyn Fn(f64) -> f64, String) = match function {
        Function::Curve(curve) => (&|x| curve.expression.at(&[x]), curve.expression.to_string()),
        Function::Leaky(slopes) => {
            let slope = *slopes.first()?;
            if slopes.iter().any(|&other| other != slope) {
                return None;
            }
            let slope = f64::from(slope);
            (
                &move |x: f64| if x < 0.0 { x * slope } else { x },
                format!("leaky {slope}"),
            )
        }
    };
    let value = |knot: i32| {
        let real = arith::dequantise((low + knot).min(high) as i16, from.scale);
        let value = arith::quantise(expression(real.into()) as f32, to.scale, to.range);
        i32::from(value) << KNOT_FRACTION
    };
    let knots = (0..=FEW).map(value).collect();
    let table = Table::new(vec![8; FEW as usize], knots).ok()?;
    let unit = f64::from(from.scale) / 256.0;
    let units = Units {
        unit,
        offset: (32768.0 + 256.0 * f64::from(low)) * unit,
    };
    let approximates = Approximation {
        function: name,
        largest_error: 0.5,
    };
    let table = IntFunction::Table {
        tables: table.into(),
        approximates,
    };
    Some((table, units))
}

/// Slopes as multiples of the smallest power of two that holds them all.
fn leaky(slopes: &[f32]) -> IntFunction {
    let steepest = slopes.iter().map(|s| s.abs()).fold(0f32, f32::max);
    // A slope of 1 is as near to the largest multiple as makes no difference.
    let exponent = steepest.log2().ceil().clamp(0.0, 15.0) as u8;
    let unit = 2f64.powi(i32::from(exponent) - 15);
    let multiple = |slope: &f32| (f64::from(*slope) / unit).round().clamp(-32768.0, 32767.0) as i16;
    IntFunction::Leaky {
        slopes: slopes.iter().map(multiple).collect(),
        exponent,
    }
}

/// Bounds in the units of `to`, inside its range.
pub(super) fn clamp_bounds(clamp: Option<(f32, f32)>, to: &Tensor) -> [i16; 2] {
    let bound = |value: f32| match to.rounding {
        Rounding::Even => arith::quantise(value, to.scale, to.range),
        Rounding::Away => {
            let units = (f64::from(value) / f64::from(to.scale)).round();
            units.clamp(f64::from(to.range[0]), f64::from(to.range[1])) as i16
        }
    };
    clamp.map_or(to.range, |(low, high)| [bound(low), bound(high)])
}

/// A stand-alone average may gain bits: it pools in its source's units and requantises the mean, not the operands. A factor
/// that all channels have is taken then too, as a sum is a mean times a number.
pub(super) fn widen_average(layer: &mut IntLayer, factor: f64, from: &Tensor, to: &Tensor) {
    let alone = layer.conv.is_none() && layer.operand.is_none() && layer.function.is_none();
    let Some(pool) = &mut layer.pool else { return };
    let (read, written) = (layer.source.channels, layer.destination.channels);
    let mut channels = layer.requantise.iter();
    let same = |r: &Requantise| *r == layer.requantise[0] && r.bias == 0 && r.offset == 0.0;
    let alike = channels.all(same) && from.shifts_equal(read, to, written);
    let bounded = layer.clamp == to.range;
    if pool.kind == PoolKind::Max || !alone || !alike || !bounded {
        return;
    }
    // Runtimes add the integers of a whole plane, and the real values of a window. Where the unit stays the same, that it
    // divides what it has multiplied would only move halves off their even side.
    let whole_plane = pool.y.output == 1 && pool.x.output == 1;
    let of_integers = whole_plane || from.scale.to_bits() == to.scale.to_bits();
    let (multiplier, shift) = match layer.rounding {
        Rounding::Away => {
            let unit = f64::from(from.scale) / f64::from(to.scale);
            arith::multiplier_for(unit * factor)
        }
        // A sum, whose mean in the operand's units would be rounded before it is multiplied.
        Rounding::Even if factor != 1.0 => {
            layer.divisor = 1.0;
            let unit = f64::from(from.scale) * factor / f64::from(to.scale);
            arith::multiplier_of(unit as f32)
        }
        Rounding::Even if of_integers => {
            layer.divisor = 1.0;
            arith::multiplier_of(from.scale / to.scale)
        }
        Rounding::Even => arith::multiplier_of(from.scale),
    };
    if shift <= 30 || layer.rounding == Rounding::Even {
        (pool.multiplier, pool.shift) = (multiplier, shift);
        layer.requantise.fill(Requantise::IDENTITY);
        layer.source_shift = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::expression::{Expression, Unary};
    use crate::graph::{Affine, Curve};
    use crate::quantise::IntOperand;
    use scnn_isa::layer::{OperandKind, OperandShape};

    #[test]
    fn a_channel_scaled_by_zero_keeps_its_offset() {
        let channel = requantise_channel(1e-4, 0.0, 2.0, 1e-3);
        assert!(
            (channel.apply(1000) - 2000).abs() <= 1,
            "{}",
            channel.apply(1000)
        );
    }

    #[test]
    fn what_a_channel_of_a_constant_reads_is_not_enlarged() {
        let shift_of = |scale: f32, offset: f32| {
            let layer = Layer {
                affine: Some(Affine {
                    scale: vec![0.5, scale],
                    offset: vec![0.25, offset],
                }),
                ..Layer::default()
            };
            let inner = ChannelUnits::One(Units {
                unit: 1e-4,
                offset: 0.0,
            });
            source_shift(&layer, [1e-4, 1e-4].into_iter(), &inner)
        };
        assert_eq!(shift_of(1.0, 0.5), MAX_SOURCE_SHIFT);
        assert_eq!(shift_of(0.0, 0.5), 0);
        assert_eq!(shift_of(0.0, 0.0), MAX_SOURCE_SHIFT);
    }

    fn tensor(scale: f32, range: [i16; 2]) -> Tensor {
        Tensor {
            name: "t".to_owned(),
            shape: [1, 1, 2, 2],
            scale,
            channel_shifts: Vec::new(),
            range,
            rounding: Rounding::Away,
            density: 1.0,
        }
    }

    /// An argument all of whose channels span the same.
    fn over(span: [f64; 2]) -> Argument<'static> {
        Argument {
            span,
            octaves_below: &|_| 0,
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
    fn slopes_are_multiples_of_a_power_of_two_that_holds_the_steepest() {
        let of = |slopes: Vec<f32>| {
            let layer = Layer {
                function: Some(Function::Leaky(slopes)),
                ..Layer::default()
            };
            // More values than a table has for each.
            let (from, to) = (tensor(1.0, [-9000, 9000]), tensor(0.25, [-9, 9]));
            let (function, units) =
                function_stage(&layer, &from, (&to, Span::new(0, 1)), &over([0.0; 2]), 256);
            let units = units.of(0);
            assert_eq!((units.unit, units.offset), (0.25, 0.0));
            function.unwrap()
        };
        let leaky = |slopes: &[i16], exponent| IntFunction::Leaky {
            slopes: slopes.to_vec(),
            exponent,
        };
        let flat = of(vec![0.1, -0.5, 1.0, -1.0]);
        assert_eq!(flat, leaky(&[3277, -16384, 32767, -32768], 0));
        assert_eq!(of(vec![0.5, 1.25]), leaky(&[8192, 20480], 1));
        assert_eq!(of(vec![-300.0]), leaky(&[-19200], 9));
        assert_eq!(of(vec![0.0]), leaky(&[0], 0));
    }

    /// Where nothing stands between the source and the table, the source bounds the table.
    #[test]
    fn the_input_of_a_table_stands_for_what_was_observed() {
        let (from, to) = (tensor(0.01, [-100, 300]), tensor(3e-5, [-32767, 32767]));
        let units = |make: &dyn Fn(&mut Layer)| {
            let curve = Curve {
                expression: Expression::unary(Unary::Sigmoid, Expression::X),
                argument: "x".to_owned(),
            };
            let mut layer = Layer {
                function: Some(Function::Curve(curve)),
                ..Layer::default()
            };
            make(&mut layer);
            let argument = over([-2.0, 2.0]);
            let (function, units) =
                function_stage(&layer, &from, (&to, Span::new(0, 1)), &argument, 256);
            let units = units.of(0);
            assert!(matches!(function, Some(IntFunction::Table { .. })));
            (units.unit * 65536.0, units.offset)
        };
        let near = |found: (f64, f64), wanted: (f64, f64)| {
            let off = (found.0 - wanted.0).abs().max((found.1 - wanted.1).abs());
            assert!(off < 1e-3, "{found:?}, not {wanted:?}");
        };
        // From -1 to 2: in 256 parts of which 86 lie below 0.
        let part = 2.0 / 170.0;
        near(units(&|_| {}), (part * 256.0, (128.0 - 86.0) * part));
        let affine = |layer: &mut Layer| {
            let (scale, offset) = (vec![1.0], vec![0.0]);
            layer.affine = Some(crate::graph::Affine { scale, offset });
        };
        near(units(&affine), (4.0, 0.0));
    }

    #[test]
    fn only_an_average_alone_is_requantised_behind_its_sum() {
        let (from, to) = (tensor(0.5, [-100, 100]), tensor(0.125, [-127, 127]));
        let axis = scnn_isa::plane::Axis::identity(2);
        let view = scnn_isa::layer::View {
            tensor: scnn_isa::ids::TensorId(0),
            channels: scnn_isa::plane::Span::new(0, 1),
        };
        let widened_by = |scale: f64, make: &dyn Fn(&mut IntLayer)| {
            let requantise = requantise_channel(0.5, scale, 0.0, 0.125);
            let mut layer = IntLayer {
                name: "a".to_owned(),
                onnx_nodes: Vec::new(),
                tensor: "y".to_owned(),
                placement: None,
                source: view,
                destination: view,
                conv: None,
                source_shift: 0,
                requantise: vec![requantise],
                rounding: Rounding::Away,
                divisor: 1.0,
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
            widen_average(&mut layer, scale, &from, &to);
            let pool = layer.pool.map(|pool| (pool.multiplier, pool.shift));
            let factor = |(m, s): (i32, u8)| f64::from(m) / 2f64.powi(s.into());
            let moved = layer.requantise == [Requantise::IDENTITY];
            assert_eq!(
                moved,
                pool.is_some_and(|pool| factor(pool) == 4.0 * scale),
                "{pool:?}"
            );
            moved
        };
        let widened = |make: &dyn Fn(&mut IntLayer)| widened_by(1.0, make);
        assert!(widened(&|_| {}));
        // A sum of six is six times the mean.
        assert!(widened_by(6.0, &|_| {}));
        assert!(!widened(&|layer| layer.pool = None));
        let operand = IntOperand {
            view,
            kind: OperandKind::Add,
            shape: OperandShape::Same,
            multiplier: 1,
            shift: 0,
        };
        assert!(!widened(&|layer| layer.operand = Some(operand)));
        let slopes = || {
            Some(IntFunction::Leaky {
                slopes: vec![0],
                exponent: 0,
            })
        };
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
}
