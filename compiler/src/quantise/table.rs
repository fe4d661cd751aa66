//! The PPU's table of an activation function: which inputs it reaches, and what its knots hold.
//!
//! The machine interpolates linearly between knots. Knots on the curve would leave the whole error of a bend on one side
//! of it, so they lie where the mean square of the error is least. Where the curve is straight they stay on it, and so
//! does the knot at input 0, which there always is: zeros stay zeros.

use super::ppu::evaluate;
use crate::graph::Function;
use scnn_isa::arith::TABLE_SEGMENTS;

/// Points of a segment at which the curve is looked at.
const POINTS: usize = 8;

/// A fitted table.
pub(super) struct Table {
    /// Values at the ends of the segments, in units of the output.
    pub(super) knots: Vec<i16>,
    /// What one unit of the input stands for.
    pub(super) unit: f64,
    /// The integer input that stands for 0.
    pub(super) zero: i32,
}

impl Table {
    /// The table of `function`, whose output has units of `scale` and up to `most` of them; `source` bounds the input
    /// where that is known.
    pub(super) fn of(function: &Function, scale: f64, most: f64, source: Option<[f64; 2]>) -> Self {
        let [mut low, mut high] = reach(function, scale * most);
        if let Some([least, most]) = source {
            (low, high) = (low.min(-least), high.min(most));
        }
        // Segments below 0; those above must do as well.
        let segments = TABLE_SEGMENTS as f64;
        let (low, high) = (low.max(f64::MIN_POSITIVE), high.max(f64::MIN_POSITIVE));
        let below = (segments * low / (low + high))
            .ceil()
            .clamp(1.0, segments - 1.0);
        let step = (low / below).max(high / (segments - below));
        let below = below as usize;
        let value = |segment: f64| {
            let x = (segment - below as f64) * step;
            (evaluate(function, x) / scale).clamp(-32767.0, 32767.0)
        };
        Self {
            knots: fit(&value, below),
            unit: step / 256.0,
            zero: below as i32 * 256 - 32768,
        }
    }
}

/// How far below and above 0 the input still matters, given the output's largest magnitude.
fn reach(function: &Function, output: f64) -> [f64; 2] {
    match function {
        Function::Sigmoid => [12.0; 2],
        Function::Tanh => [6.0; 2],
        Function::HardSigmoid { alpha, beta } => {
            [(1.0 + f64::from(beta.abs())) / f64::from(alpha.abs()).max(1e-6); 2]
        }
        // Nearly the identity for large inputs; below 0 they end.
        Function::HardSwish => [4.0, output.max(4.0)],
        Function::Gelu { .. } => [6.0, output.max(6.0)],
        Function::Mish | Function::Softplus => [12.0, output.max(12.0)],
        Function::Swish { alpha } if *alpha >= 1.0 => [12.0, output.max(12.0)],
        Function::Elu { gamma, .. } => {
            let slope = f64::from(gamma.abs()).max(1e-6);
            [12.0, (output / slope).max(12.0)]
        }
        Function::Swish { .. } => [output.max(12.0); 2],
        Function::Leaky(_) => [output.max(4.0); 2],
        // Its rise to 1 never ends: what the output's range lets through.
        Function::Softsign => [(1.0 / (1.0 - output.min(0.999))).max(4.0); 2],
    }
}

/// The knots of the continuous, piecewise linear function that is nearest to `value`, whose argument counts segments;
/// knot `fixed` is on the curve.
fn fit(value: &dyn Fn(f64) -> f64, fixed: usize) -> Vec<i16> {
    let on_curve: Vec<f64> = (0..=TABLE_SEGMENTS).map(|i| value(i as f64)).collect();
    let straight = |i: usize| match on_curve.get(i.wrapping_sub(1)..i + 2) {
        Some(&[before, at, after]) => (before - 2.0 * at + after).abs() < 0.5,
        _ => true,
    };
    // Normal equations: a row has the knots before, at and after it.
    let mut rows = vec![([0.0; 3], 0.0); TABLE_SEGMENTS + 1];
    for segment in 0..TABLE_SEGMENTS {
        for point in 0..POINTS {
            let share = (point as f64 + 0.5) / POINTS as f64;
            let (left, right, value) = (1.0 - share, share, value(segment as f64 + share));
            let (row, sum) = &mut rows[segment];
            (row[1], row[2], *sum) = (
                row[1] + left * left,
                row[2] + left * right,
                *sum + left * value,
            );
            let (row, sum) = &mut rows[segment + 1];
            (row[0], row[1], *sum) = (
                row[0] + left * right,
                row[1] + right * right,
                *sum + right * value,
            );
        }
    }
    for (i, row) in rows.iter_mut().enumerate() {
        if i == fixed || straight(i) {
            *row = ([0.0, 1.0, 0.0], on_curve[i]);
        }
    }
    // Elimination downward, substitution upward.
    for i in 1..rows.len() {
        let ([_, pivot, after], sum) = rows[i - 1];
        let (row, right) = &mut rows[i];
        let factor = row[0] / pivot;
        row[1] -= factor * after;
        *right -= factor * sum;
    }
    let mut knots = vec![0i16; rows.len()];
    let mut next = 0.0;
    for (knot, ([_, pivot, after], sum)) in knots.iter_mut().zip(&rows).rev() {
        next = (sum - after * next) / pivot;
        *knot = next.round().clamp(-32767.0, 32767.0) as i16;
    }
    knots
}

#[cfg(test)]
mod tests {
    use super::*;
    use scnn_isa::arith;

    /// The root of the mean square of a table's error where the functions bend, in units of the output.
    fn error(function: &Function, scale: f64, table: &Table, knots: &[i16]) -> f64 {
        let real = |t: i32| f64::from(t - table.zero) * table.unit;
        let inputs = (-32768..32768).step_by(7).filter(|&t| real(t).abs() < 4.0);
        let square = |t: i32| {
            let x = real(t);
            let wanted = (evaluate(function, x) / scale).clamp(-32767.0, 32767.0);
            (f64::from(arith::table(knots, t)) - wanted).powi(2)
        };
        let count = inputs.clone().count() as f64;
        (inputs.map(square).sum::<f64>() / count).sqrt()
    }

    #[test]
    fn a_table_keeps_zero_and_lies_nearer_than_knots_on_the_curve() {
        for function in [
            Function::Gelu { tanh: false },
            Function::Mish,
            Function::Swish { alpha: 1.0 },
        ] {
            let scale = 60.0 / 32767.0;
            let table = Table::of(&function, scale, 32767.0, None);
            let on_curve: Vec<i16> = (0..=TABLE_SEGMENTS as i32)
                .map(|i| f64::from(i * 256 - 32768 - table.zero) * table.unit)
                .map(|x| {
                    (evaluate(&function, x) / scale)
                        .round()
                        .clamp(-32767.0, 32767.0) as i16
                })
                .collect();
            let fitted = error(&function, scale, &table, &table.knots);
            let chords = error(&function, scale, &table, &on_curve);
            assert_eq!(arith::table(&table.knots, table.zero), 0);
            assert_eq!(arith::table(&table.knots, -32768), 0);
            assert!(
                fitted < 0.65 * chords,
                "{function:?}: {fitted} and {chords}"
            );
        }
    }

    /// A tensor of 8 bits has few units, but the input reaches no further.
    #[test]
    fn a_table_of_narrow_outputs_is_as_fine() {
        let wide = Table::of(&Function::Mish, 20.0 / 32767.0, 32767.0, None);
        let narrow = Table::of(&Function::Mish, 20.0 / 127.0, 127.0, None);
        assert!((narrow.unit / wide.unit - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_table_reaches_only_what_its_source_does() {
        let wide = Table::of(&Function::Sigmoid, 1.0 / 32767.0, 32767.0, None);
        let narrow = Table::of(
            &Function::Sigmoid,
            1.0 / 32767.0,
            32767.0,
            Some([-1.0, 3.0]),
        );
        assert_eq!(wide.zero, 0);
        assert_eq!(narrow.zero, 64 * 256 - 32768);
        assert!((narrow.unit * 65536.0 - 4.0).abs() < 1e-9);
    }

    /// However little of the input lies on one side of 0, a segment reaches it.
    #[test]
    fn a_source_of_one_sign_leaves_one_segment_to_the_other() {
        let zero = |source| {
            let table = Table::of(&Function::Sigmoid, 1.0 / 32767.0, 32767.0, Some(source));
            assert!((table.unit * 65280.0 - 3.0).abs() < 1e-9, "{}", table.unit);
            table.zero
        };
        assert_eq!(zero([-3.0, 0.0]), 255 * 256 - 32768);
        assert_eq!(zero([0.0, 3.0]), 256 - 32768);
    }

    #[test]
    fn knots_lie_on_the_curve_where_it_is_straight() {
        let function = Function::HardSigmoid {
            alpha: 0.25,
            beta: 0.5,
        };
        let scale = 1.0 / 32767.0;
        let table = Table::of(&function, scale, 32767.0, None);
        let on_curve = |i: usize| {
            let x = f64::from(i as i32 * 256 - 32768 - table.zero) * table.unit;
            evaluate(&function, x) / scale
        };
        let (mut bends, mut straight) = (0, 0);
        for i in 1..TABLE_SEGMENTS {
            let [before, at, after] = [i - 1, i, i + 1].map(on_curve);
            let off = (f64::from(table.knots[i]) - at).abs();
            if (before + after - 2.0 * at).abs() < 0.4 {
                straight += 1;
                assert!(off <= 0.5, "knot {i} is off by {off}");
            } else {
                bends += 1;
                assert!(off < 100.0, "knot {i} is off by {off}");
            }
        }
        assert!(bends > 0 && straight > 100, "{bends} and {straight}");
    }

    /// What a table does not reach it holds constant, and what it reaches in vain makes it coarser.
    #[test]
    fn a_table_reaches_what_bends_and_not_much_further() {
        let elu = |gamma| Function::Elu { alpha: 1.0, gamma };
        for (function, output) in [
            (Function::Sigmoid, 1.0),
            (Function::Tanh, 1.0),
            (Function::HardSwish, 60.0),
            (elu(1.0), 60.0),
            (elu(6.0), 60.0),
            (elu(-1.0), 60.0),
            (Function::Gelu { tanh: false }, 60.0),
            (Function::Mish, 60.0),
            (Function::Softplus, 60.0),
            (Function::Softsign, 0.9),
            (Function::Swish { alpha: 1.0 }, 60.0),
            (Function::Swish { alpha: 0.5 }, 60.0),
        ] {
            let value = |x: f64| evaluate(&function, x).clamp(-output, output);
            let [low, high] = reach(&function, output);
            for (side, reached) in [(-1.0, low), (1.0, high)] {
                // In steps of a tenth: the last that is still off the end's value by a unit.
                let off = |x: &f64| (value(side * x) - value(side * 1e4)).abs() > output / 32767.0;
                let mut steps = (0..6000).rev().map(|i| f64::from(i) / 10.0);
                let needed = steps.find(off).unwrap_or(0.0);
                assert!(
                    needed <= reached && reached <= 4.0 * needed.max(3.0),
                    "{function:?} on the side of {side}: needs {needed}, reaches {reached}"
                );
            }
        }
    }
}
