//! Fits the PPU's table to a function of one value: the span of its inputs, its segments, its knots,
//! and its error.
//!
//! The table spans the values that calibration observed, with headroom, less what the function holds constant at either
//! end. Starting with one segment, the segment that is furthest from the function is halved until all are within a 64th of
//! a unit or the PPU has no more segments. Knots on the curve would leave the whole error of a bend on one side of it, so they are
//! moved by the mean of it, two thirds of an arc's height; where the function is straight they stay, and so does the knot at
//! input 0, which there is whenever the table spans 0: zeros stay zeros.
//!
//! The error is measured at every input and half a unit to either side of it: no real argument inside the span is further
//! off, but by what the function does between two of these.

use rayon::prelude::*;
use scnn_isa::arith::Table;
use scnn_isa::arith::table::{KNOT_FRACTION, MAX_WIDTH, TABLE_INPUTS};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A distance from the function that is left as it is, in units of the output.
const FINE: f64 = 1.0 / 64.0;

/// A distance from an end's value that counts as none where the function is constant.
const CONSTANT: f64 = 0.25;

/// Knots in a unit of the output.
const KNOT_UNIT: f64 = (1u32 << KNOT_FRACTION) as f64;

/// The function to which a table is fitted, and the units of its results.
pub(super) struct FitTarget<'a> {
    /// The function.
    pub(super) function: &'a (dyn Fn(f64) -> f64 + Sync),
    /// Real value of one unit of the output.
    pub(super) scale: f64,
    /// Smallest and largest output.
    pub(super) bounds: [i16; 2],
    /// Smallest and largest argument.
    pub(super) span: [f64; 2],
    /// Whether input 0 stands for 0, as for a product, to which no offset is added.
    pub(super) centred: bool,
    /// Segments that the PPU has.
    pub(super) segments: usize,
}

/// A fitted table.
pub(super) struct Fitted {
    /// The table.
    pub(super) table: Table,
    /// Real value of one unit of its input.
    pub(super) unit: f64,
    /// Real value of its input 0.
    pub(super) offset: f64,
    /// Largest distance from the function, in units of the output.
    pub(super) largest_error: f64,
}

impl FitTarget<'_> {
    /// Fits a table to the function.
    pub(super) fn fit(&self) -> Fitted {
        let scale = self.input();
        let curve = CurveSamples::of(self, &scale);
        let zero = scale.zero.filter(|_| (self.function)(0.0) == 0.0);
        let table = curve.table(self.segments, zero);
        let largest_error = curve.largest_error(&table, self.bounds);
        let largest_error = largest_error.max(self.error_beyond(&table, scale.span));
        Fitted {
            table,
            unit: scale.unit,
            offset: scale.offset,
            largest_error,
        }
    }

    /// The largest distance, at sampled arguments, of the function from the table's ends where the span exceeds the table.
    fn error_beyond(&self, table: &Table, covered: [f64; 2]) -> f64 {
        let [least, most] = self.bounds.map(f64::from);
        let ends = [-32768, 32767].map(|end| f64::from(table.at(end)).clamp(least, most));
        let points = points(self.span[0], self.span[1]).into_iter();
        let error = |x: f64| {
            let end = ends[usize::from(x > covered[1])];
            (self.bounded(x) - end).abs()
        };
        let beyond = points.filter(|&x| x < covered[0] || x > covered[1]);
        beyond.map(error).fold(0.0, f64::max)
    }

    /// The function in units of the output, as far as 16 bits hold it; 0 where it is none.
    fn units(&self, x: f64) -> f64 {
        let units = (self.function)(x) / self.scale;
        if units.is_nan() {
            0.0
        } else {
            units.clamp(-32767.0, 32767.0)
        }
    }

    /// The input's unit, such that 0 is the boundary of two of 256 equal parts where the span holds it.
    fn input(&self) -> Input {
        let [mut low, mut high] = self.bent();
        // A span that ends just before 0 may as well end there.
        let near = (high - low) / 256.0;
        let [least, most] = self.span;
        if high < 0.0 && -high < near && most >= 0.0 {
            high = 0.0;
        }
        if low > 0.0 && low < near && least <= 0.0 {
            low = 0.0;
        }
        if self.centred {
            let reach = low.abs().max(high.abs());
            let zero = TABLE_INPUTS / 2;
            return Input {
                unit: reach / f64::from(zero),
                offset: 0.0,
                zero: Some(zero),
                span: [-reach, reach],
            };
        }
        if low > 0.0 || high < 0.0 {
            let unit = (high - low) / f64::from(TABLE_INPUTS - 1);
            return Input {
                unit,
                offset: low + 32768.0 * unit,
                zero: None,
                span: [low, high],
            };
        }
        let least = if low < 0.0 { 1.0 } else { 0.0 };
        let below = (256.0 * low / (low - high)).ceil().clamp(least, 255.0);
        let of_low = if below > 0.0 { -low / below } else { 0.0 };
        let unit = of_low.max(high / (256.0 - below)) / 256.0;
        let zero = below as u32 * 256;
        Input {
            unit,
            offset: (32768.0 - f64::from(zero)) * unit,
            zero: Some(zero),
            span: [low, high],
        }
    }

    /// The span without the parts at either end on which the function is constant.
    fn bent(&self) -> [f64; 2] {
        let [mut low, mut high] = self.span;
        let ends = self.span.map(|x| self.bounded(x));
        let constant = |x: f64, end: usize| (self.bounded(x) - ends[end]).abs() <= CONSTANT;
        // Each round samples more finely; so a bend near 0 is found however wide the span is.
        for _ in 0..64 {
            let points = points(low, high);
            let first = points.iter().position(|&x| !constant(x, 0));
            let last = points.iter().rposition(|&x| !constant(x, 1));
            let (Some(first), Some(last)) = (first, last) else {
                break;
            };
            let narrowed = [
                points[first.saturating_sub(1)],
                points[(last + 1).min(points.len() - 1)],
            ];
            let still = narrowed[1] - narrowed[0] > 0.9 * (high - low);
            [low, high] = narrowed;
            if still {
                break;
            }
        }
        if low < high && high - low > f64::MIN_POSITIVE * 1e10 {
            [low, high]
        } else {
            // One value: any width will do.
            let reach = low.abs().max(f64::from(f32::MIN_POSITIVE));
            [low - reach, low + reach]
        }
    }

    fn bounded(&self, x: f64) -> f64 {
        let [least, most] = self.bounds.map(f64::from);
        self.units(x).clamp(least, most)
    }
}

/// Points at which a span is sampled: equal steps, and steps that halve towards 0.
fn points(low: f64, high: f64) -> Vec<f64> {
    let mut points: Vec<f64> = (0..=512)
        .map(|i| low + (high - low) * f64::from(i) / 512.0)
        .collect();
    let reach = low.abs().max(high.abs());
    let halves = (0..80).map(|i| reach * 0.5f64.powi(i / 2) * if i % 2 == 0 { 1.0 } else { 0.75 });
    points.extend(
        halves
            .flat_map(|x| [-x, x])
            .filter(|x| low < *x && *x < high),
    );
    points.sort_by(f64::total_cmp);
    points
}

/// Real values of the inputs of a table.
struct Input {
    unit: f64,
    /// Real value of input 0.
    offset: f64,
    /// Number of inputs below the one with the real value 0, if there is one.
    zero: Option<u32>,
    /// Smallest and largest argument; inputs beyond are taken for these.
    span: [f64; 2],
}

/// A function at every input of a table and between two of them, in units of the output.
struct CurveSamples(Vec<f64>);

impl CurveSamples {
    fn of(target: &FitTarget<'_>, input: &Input) -> Self {
        let value = |half: u32| {
            let x = input.offset + (f64::from(half) / 2.0 - 32768.0) * input.unit;
            target.units(x.clamp(input.span[0], input.span[1]))
        };
        Self((0..=2 * TABLE_INPUTS).into_par_iter().map(value).collect())
    }

    fn at(&self, input: u32) -> f64 {
        self.0[2 * input as usize]
    }

    /// A table of at most `most` segments, of which one begins at `zero`.
    fn table(&self, most: usize, zero: Option<u32>) -> Table {
        let mut open = BinaryHeap::from([self.segment(0, MAX_WIDTH, zero)]);
        while open.len() < most.max(1) {
            let Some(worst) = open.peek().filter(|worst| worst.is_coarse()) else {
                break;
            };
            let (begin, width) = (worst.begin, worst.width - 1);
            open.pop();
            open.push(self.segment(begin, width, zero));
            open.push(self.segment(begin + (1 << width), width, zero));
        }
        let mut segments = open.into_vec();
        segments.sort_by_key(|segment| segment.begin);
        let mut knots = Vec::with_capacity(segments.len() + 1);
        for index in 0..=segments.len() {
            let before = index.checked_sub(1).map(|index| &segments[index]);
            knots.push(self.knot(before, segments.get(index), zero));
        }
        let widths = segments.iter().map(|segment| segment.width).collect();
        Table::new(widths, knots).expect("halves of the range fill it")
    }

    /// The value between two segments: on the curve, or moved towards it where it bends on both sides.
    fn knot(&self, before: Option<&Segment>, after: Option<&Segment>, zero: Option<u32>) -> i32 {
        let at = after.map_or(TABLE_INPUTS, |after| after.begin);
        let [before, after] = [before, after].map(|segment| segment.map_or(0.0, |of| of.bend));
        // By the bend of the straighter of the two.
        let moved = if zero == Some(at) || before * after <= 0.0 {
            0.0
        } else {
            before.signum() * before.abs().min(after.abs()) * 2.0 / 3.0
        };
        let units = (self.at(at) + moved).clamp(-32767.0, 32767.0);
        (units * KNOT_UNIT).round() as i32
    }

    fn segment(&self, begin: u32, width: u8, zero: Option<u32>) -> Segment {
        let end = begin + (1 << width);
        let (low, high) = (self.at(begin), self.at(end));
        let slope = (high - low) / f64::from(end - begin);
        let off = |input: u32| self.at(input) - low - slope * f64::from(input - begin);
        let furthest = (begin + 1..end).map(off);
        let bend = furthest.fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
        Segment {
            begin,
            width,
            bend,
            split: zero.is_some_and(|zero| begin < zero && zero < end),
        }
    }

    /// The largest distance of the table's values, inside `bounds`, from the curve's.
    fn largest_error(&self, table: &Table, bounds: [i16; 2]) -> f64 {
        let [least, most] = bounds.map(f64::from);
        let errors = (0..TABLE_INPUTS).into_par_iter().map(|input| {
            let found = f64::from(table.at(input as i32 - 32768)).clamp(least, most);
            // The last input stands for all up to the end.
            let beyond = if input + 1 == TABLE_INPUTS { 2 } else { 1 };
            let near = (2 * input).saturating_sub(1) as usize..=2 * input as usize + beyond;
            let distances = self.0[near].iter();
            distances
                .map(|wanted| (found - wanted.clamp(least, most)).abs())
                .fold(0.0, f64::max)
        });
        errors.reduce(|| 0.0, f64::max)
    }
}

/// A part of the range with a straight line over it.
struct Segment {
    begin: u32,
    /// Logarithm of its width.
    width: u8,
    /// The largest distance of the curve from the line between its ends, with its sign.
    bend: f64,
    /// Whether it must be halved, as 0 lies inside.
    split: bool,
}

impl Segment {
    fn is_coarse(&self) -> bool {
        self.split || self.bend.abs() > FINE
    }
}

impl Ord for Segment {
    /// By how much it is worth halving; of two that are equal the first.
    fn cmp(&self, other: &Self) -> Ordering {
        let bends = self.bend.abs().total_cmp(&other.bend.abs());
        let splits = self.split.cmp(&other.split);
        splits.then(bends).then(other.begin.cmp(&self.begin))
    }
}

impl PartialOrd for Segment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Segment {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Segment {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::expression::library::*;
    use crate::graph::expression::{Expression, Unary};
    use proptest::prelude::*;

    fn unary(unary: Unary) -> Expression {
        Expression::unary(unary, Expression::X)
    }

    /// Every kind of function that is defined everywhere.
    fn functions() -> Vec<Expression> {
        let mut functions = vec![
            hard_sigmoid(0.2, 0.5),
            hard_swish(),
            swish(1.0),
            swish(1.7),
            mish(),
            gelu(),
            gelu_tanh(),
            elu(1.0),
            selu(1.673_263_2, 1.050_701),
            celu(0.7),
            softplus(),
            softsign(),
            leaky(0.1),
            x_times(Expression::X),
        ];
        let plain = [
            Unary::Sigmoid,
            Unary::Tanh,
            Unary::Erf,
            Unary::Abs,
            Unary::Atan,
        ];
        functions.extend(plain.map(unary));
        functions
    }

    /// A table of `expression` between two arguments, whose output is as wide as it gets there.
    fn fit(expression: &Expression, span: [f64; 2], units: i16) -> (Fitted, f64) {
        fitted(expression, span, units, false)
    }

    fn fitted(expression: &Expression, span: [f64; 2], units: i16, centred: bool) -> (Fitted, f64) {
        let function = |x: f64| expression.at(&[x]);
        let values = points(span[0], span[1]).into_iter().map(function);
        let scale = values.map(f64::abs).fold(1e-30, f64::max) / f64::from(units);
        let target = FitTarget {
            function: &function,
            scale,
            bounds: [-units, units],
            span,
            centred,
            segments: 256,
        };
        (target.fit(), scale)
    }

    fn at(fitted: &Fitted, x: f64) -> f64 {
        let input = ((x - fitted.offset) / fitted.unit).round();
        f64::from(fitted.table.at(input.clamp(-40000.0, 40000.0) as i32))
    }

    /// What rounding the argument to an input costs, and little more than half a unit for the rest.
    #[test]
    fn the_error_is_that_of_rounding_for_every_function_and_span() {
        for expression in functions() {
            for span in [
                [-1e-3, 1e-3],
                [-1.0, 3.0],
                [-100.0, 60.0],
                [0.0, 9.0],
                [5.0, 10.0],
            ] {
                let (fitted, scale) = fit(&expression, span, 32767);
                let moves = |x: f64| {
                    let [a, b] = [-0.5, 0.5].map(|half| expression.at(&[x + half * fitted.unit]));
                    (b - a).abs() / 2.0
                };
                let steepest = points(span[0], span[1]).into_iter().map(moves);
                let rounding = steepest.fold(0.0, f64::max) / scale;
                let error = fitted.largest_error;
                assert!(
                    error < 1.7 + 1.1 * rounding,
                    "{expression} on {span:?}: {error}, {rounding} of it the input's"
                );
            }
        }
    }

    /// Rounding the argument and the result is all: nothing shifts the values of a straight part to one side.
    #[test]
    fn errors_of_a_straight_part_cancel() {
        for expression in [
            swish(1.0),
            gelu(),
            mish(),
            hard_swish(),
            softplus(),
            elu(1.0),
        ] {
            for [low, high] in [[-4000.0, 6000.0], [-90.0, 71.3], [-17.0, 33.0]] {
                let (fitted, scale) = fit(&expression, [low, high], 32767);
                let errors = (1..4000u32).map(|n| {
                    // Fractions of a unit without a period.
                    let x = 16.0 + (high - 16.0) * (f64::from(n) * 0.618_033_988_749).fract();
                    at(&fitted, x) - expression.at(&[x]) / scale
                });
                let mean = errors.sum::<f64>() / 3999.0;
                assert!(mean.abs() < 0.03, "{expression} to {high}: {mean}");
            }
        }
    }

    #[test]
    fn zero_stays_zero() {
        for expression in functions() {
            if expression.at(&[0.0]) != 0.0 {
                continue;
            }
            for span in [[-3.0, 5.0], [-1e-4, 100.0], [0.0, 7.0], [-7.0, 0.0]] {
                let (fitted, _) = fit(&expression, span, 32767);
                assert_eq!(at(&fitted, 0.0), 0.0, "{expression} on {span:?}");
            }
        }
    }

    /// A thousandth of the range holds all that bends; the rest of it takes no segment and no resolution.
    #[test]
    fn what_is_constant_takes_no_room() {
        let (fitted, _) = fit(&unary(Unary::Tanh), [-1e6, 1e6], 32767);
        assert!(fitted.unit * 65536.0 < 20.0, "{}", fitted.unit);
        assert!(fitted.largest_error < 5.0, "{}", fitted.largest_error);
        let bounded = clip(Expression::X, 0.0, 1.0);
        let (fitted, _) = fit(&bounded, [-50.0, 80.0], 127);
        assert!(fitted.unit * 65536.0 < 2.0, "{}", fitted.unit);
    }

    #[test]
    fn a_constant_has_a_table() {
        let constant = Expression::Constant(2.0);
        for span in [[-1.0, 4.0], [3.0, 3.0], [0.0, 0.0]] {
            let (fitted, scale) = fit(&constant, span, 32767);
            assert!((at(&fitted, 1.0) * scale - 2.0).abs() < 1e-3);
            assert!(fitted.unit > 0.0 && fitted.largest_error < 1.0);
        }
    }

    /// Where a function is steeper than its input is fine, the number says so.
    #[test]
    fn what_no_table_holds_has_a_large_error() {
        let (fitted, _) = fit(&unary(Unary::Log), [1e-6, 10.0], 32767);
        assert!(fitted.largest_error > 1000.0, "{}", fitted.largest_error);
        let (fitted, _) = fit(&unary(Unary::Log), [0.5, 10.0], 32767);
        assert!(fitted.largest_error < 4.0, "{}", fitted.largest_error);
        let (fitted, _) = fit(&unary(Unary::Floor), [-4.0, 4.0], 32767);
        assert!(fitted.largest_error > 8000.0, "{}", fitted.largest_error);
    }

    #[test]
    fn the_table_of_a_product_has_no_offset() {
        for expression in functions() {
            for span in [[-1.0, 3.0], [0.0, 9.0], [5.0, 10.0], [-7.0, -2.0]] {
                let (fitted, scale) = fitted(&expression, span, 32767, true);
                assert_eq!(fitted.offset, 0.0);
                for x in points(span[0], span[1]) {
                    let error = (at(&fitted, x) - expression.at(&[x]) / scale).abs();
                    // Rounding to the output's units comes on top.
                    assert!(
                        error <= fitted.largest_error + 0.5,
                        "{expression} at {x}: {error}"
                    );
                }
            }
        }
    }

    /// A hard swish of channels that reach a 64th as far as the others: near 0 its table is as fine as the other's is.
    #[test]
    fn a_table_of_a_smaller_span_and_output_is_finer() {
        let expression = hard_swish();
        for reach in [8.0, 0.125] {
            let (fitted, unit) = fit(&expression, [-reach, reach], 32767);
            assert!(fitted.largest_error < 3.0, "{}", fitted.largest_error);
            for x in [-0.125, -0.05, 1e-4, 0.11] {
                let off = at(&fitted, x) - expression.at(&[x]) / unit;
                assert!(off.abs() < 3.0, "{off} units of {unit} at {x}");
            }
        }
    }

    #[test]
    fn few_segments_are_kept_to() {
        let function = |x: f64| x.tanh();
        for segments in [1, 2, 7, 64] {
            let target = FitTarget {
                function: &function,
                scale: 1.0 / 32767.0,
                bounds: [-32767, 32767],
                span: [-4.0, 4.0],
                centred: false,
                segments,
            };
            assert_eq!(target.fit().table.segments(), segments);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// On a grid that has nothing to do with the table's inputs.
        #[test]
        fn the_printed_error_is_never_exceeded(
            index in 0usize..19, low in -20.0f64..4.0, width in 0.001f64..30.0, narrow: bool,
        ) {
            let expression = &functions()[index];
            let span = [low, low + width];
            let units = if narrow { 127 } else { 32767 };
            let (fitted, scale) = fit(expression, span, units);
            // Between two looks the function moves by less than a hundredth of a unit more.
            let most = fitted.largest_error + 0.01;
            for i in 0..=50_000 {
                let x = span[0] + width * f64::from(i) / 50_000.0;
                let wanted = (expression.at(&[x]) / scale).clamp(-f64::from(units), f64::from(units));
                let found = at(&fitted, x).clamp(-f64::from(units), f64::from(units));
                prop_assert!((found - wanted).abs() <= most, "{expression} at {x}: {found} for {wanted}, {most} stated");
            }
        }
    }
}
