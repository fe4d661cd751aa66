//! What the PPU computes without a table: straight lines between two bounds, and lines that are flatter below zero.

use super::{Binary, Expression, Unary};

/// `min(max(scale x + offset, low), high)`, with `low <= high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Factor.
    pub scale: f64,
    /// Summand.
    pub offset: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Line {
    const X: Self = Self {
        scale: 1.0,
        offset: 0.0,
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
    };

    /// Whether nothing is cut off.
    pub fn is_unbounded(&self) -> bool {
        self.low == f64::NEG_INFINITY && self.high == f64::INFINITY
    }

    fn constant(&self) -> Option<f64> {
        (self.scale == 0.0).then(|| self.offset.clamp(self.low, self.high))
    }

    fn times(self, factor: f64) -> Self {
        if factor == 0.0 {
            return Self {
                scale: 0.0,
                offset: 0.0,
                ..Self::X
            };
        }
        let (a, b) = (self.low * factor, self.high * factor);
        Self {
            scale: self.scale * factor,
            offset: self.offset * factor,
            low: a.min(b),
            high: a.max(b),
        }
    }

    fn plus(self, summand: f64) -> Self {
        Self {
            scale: self.scale,
            offset: self.offset + summand,
            low: self.low + summand,
            high: self.high + summand,
        }
    }

    fn within(self, low: f64, high: f64) -> Self {
        Self {
            low: self.low.clamp(low, high),
            high: self.high.clamp(low, high),
            ..self
        }
    }
}

/// The line that an expression of one operand is, if it is one.
pub fn line(expression: &Expression) -> Option<Line> {
    let found = match expression {
        Expression::Operand(0) => Line::X,
        Expression::Constant(value) => Line {
            scale: 0.0,
            offset: *value,
            ..Line::X
        },
        Expression::Unary(Unary::Neg, of) => line(of)?.times(-1.0),
        Expression::Operand(_) | Expression::Select(_) | Expression::Unary(..) => return None,
        Expression::Binary(binary, of) => of_two(*binary, line(&of[0])?, line(&of[1])?)?,
    };
    let finite = found.scale.is_finite() && found.offset.is_finite();
    (finite && !found.low.is_nan() && !found.high.is_nan()).then_some(found)
}

fn of_two(binary: Binary, a: Line, b: Line) -> Option<Line> {
    let (left, right) = (a.constant(), b.constant());
    match (binary, left, right) {
        (Binary::Add, _, Some(summand)) => Some(a.plus(summand)),
        (Binary::Add, Some(summand), _) => Some(b.plus(summand)),
        (Binary::Sub, _, Some(summand)) => Some(a.plus(-summand)),
        (Binary::Sub, Some(summand), _) => Some(b.times(-1.0).plus(summand)),
        (Binary::Mul, _, Some(factor)) => Some(a.times(factor)),
        (Binary::Mul, Some(factor), _) => Some(b.times(factor)),
        (Binary::Div, _, Some(divisor)) if divisor != 0.0 => Some(a.times(1.0 / divisor)),
        (Binary::Max, _, Some(bound)) => Some(a.within(bound, f64::INFINITY)),
        (Binary::Max, Some(bound), _) => Some(b.within(bound, f64::INFINITY)),
        (Binary::Min, _, Some(bound)) => Some(a.within(f64::NEG_INFINITY, bound)),
        (Binary::Min, Some(bound), _) => Some(b.within(f64::NEG_INFINITY, bound)),
        (Binary::Add | Binary::Sub, None, None) if a.is_unbounded() && b.is_unbounded() => {
            let sign = if binary == Binary::Add { 1.0 } else { -1.0 };
            let (scale, offset) = (a.scale + sign * b.scale, a.offset + sign * b.offset);
            Some(Line {
                scale,
                offset,
                ..Line::X
            })
        }
        _ => None,
    }
}

/// The unbounded line and the slope that an expression multiplies its negative values by, if it is that.
pub fn leaky(expression: &Expression) -> Option<(Line, f64)> {
    let Expression::Select(of) = expression else {
        return None;
    };
    let [condition, below, above] = &**of;
    let Expression::Binary(Binary::Less, compared) = condition else {
        return None;
    };
    let [value, zero] = &**compared;
    if *zero != Expression::Constant(0.0) || value != above {
        return None;
    }
    let (line_above, line_below) = (line(above)?, line(below)?);
    let slope = line_below.scale / line_above.scale;
    let proportional = line_above.times(slope) == line_below;
    let unbounded = line_above.is_unbounded() && line_below.is_unbounded();
    (slope.is_finite() && unbounded && proportional).then_some((line_above, slope))
}

#[cfg(test)]
mod tests {
    use super::super::library::{clip, hard_sigmoid, hard_swish, leaky as leaky_relu};
    use super::*;
    use proptest::prelude::*;

    fn constant(value: f64) -> Expression {
        Expression::Constant(value)
    }

    /// Expressions of lines and bounds, of which not all are lines.
    fn lines() -> impl Strategy<Value = Expression> {
        let leaf = prop_oneof![
            Just(Expression::X),
            (-8i32..8).prop_map(|c| constant(f64::from(c) / 2.0))
        ];
        let binary = proptest::sample::select(vec![
            Binary::Add,
            Binary::Sub,
            Binary::Mul,
            Binary::Div,
            Binary::Max,
            Binary::Min,
        ]);
        leaf.prop_recursive(5, 24, 2, move |inner| {
            let two = (binary.clone(), inner.clone(), inner.clone())
                .prop_map(|(binary, a, b)| Expression::binary(binary, a, b));
            prop_oneof![two, inner.prop_map(|of| Expression::unary(Unary::Neg, of))]
        })
    }

    proptest! {
        #[test]
        fn a_line_computes_what_its_expression_does(expression in lines(), x in -100i32..100) {
            if let Some(line) = line(&expression) {
                let x = f64::from(x) / 4.0;
                let (found, wanted) = ((line.scale * x + line.offset).clamp(line.low, line.high), expression.at(&[x]));
                prop_assert!((found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{expression} at {x}: {found}, not {wanted}");
            }
        }
    }

    #[test]
    fn bounds_of_lines_are_lines() {
        let six = clip(Expression::X, 0.0, 6.0);
        let scaled = Expression::binary(Binary::Mul, six, constant(-0.5));
        let found = line(&scaled).unwrap();
        assert_eq!((found.scale, found.low, found.high), (-0.5, -3.0, 0.0));
        assert!(line(&hard_sigmoid(0.25, 0.5)).is_some());
        assert_eq!(line(&hard_swish()), None);
        let infinite = Expression::binary(Binary::Div, Expression::X, constant(0.0));
        assert_eq!(line(&infinite), None);
    }

    #[test]
    fn a_leaky_function_has_a_line_and_a_slope() {
        let (found, slope) = leaky(&leaky_relu(1.25)).unwrap();
        assert_eq!((found, slope), (Line::X, 1.25));
        let twice = Expression::binary(Binary::Mul, constant(2.0), Expression::X);
        let (found, slope) = leaky(&leaky_relu(0.5).compose(&[twice])).unwrap();
        assert_eq!((found.scale, slope), (2.0, 0.5));
        assert_eq!(leaky(&super::super::library::elu(1.0)), None);
        let shifted = Expression::binary(Binary::Add, Expression::X, constant(1.0));
        let bent = Expression::select(
            Expression::binary(Binary::Less, Expression::X, constant(0.0)),
            shifted,
            Expression::X,
        );
        assert_eq!(leaky(&bent), None);
    }
}
