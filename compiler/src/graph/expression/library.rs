//! Activation functions as the standard defines them, in terms of [`Expression`].

use super::{Binary, Expression, Unary};

fn constant(value: f32) -> Expression {
    Expression::Constant(value.into())
}

fn add(a: Expression, b: Expression) -> Expression {
    Expression::binary(Binary::Add, a, b)
}

fn mul(a: Expression, b: Expression) -> Expression {
    Expression::binary(Binary::Mul, a, b)
}

fn of(unary: Unary, x: Expression) -> Expression {
    Expression::unary(unary, x)
}

/// `x` times `gate`.
pub fn x_times(gate: Expression) -> Expression {
    mul(Expression::X, gate)
}

/// `min(max(x, low), high)`; a bound that is infinite is none.
pub fn clip(x: Expression, low: f32, high: f32) -> Expression {
    let x = match low {
        f32::NEG_INFINITY => x,
        _ => Expression::binary(Binary::Max, x, constant(low)),
    };
    match high {
        f32::INFINITY => x,
        _ => Expression::binary(Binary::Min, x, constant(high)),
    }
}

/// `ln(1 + exp x)`.
pub fn softplus() -> Expression {
    of(Unary::Softplus, Expression::X)
}

/// `x / (1 + |x|)`.
pub fn softsign() -> Expression {
    let below = add(constant(1.0), of(Unary::Abs, Expression::X));
    Expression::binary(Binary::Div, Expression::X, below)
}

/// `min(max(alpha x + beta, 0), 1)`.
pub fn hard_sigmoid(alpha: f32, beta: f32) -> Expression {
    let line = add(mul(constant(alpha), Expression::X), constant(beta));
    clip(line, 0.0, 1.0)
}

/// `x min(max(x / 6 + .5, 0), 1)`.
pub fn hard_swish() -> Expression {
    let sixth = Expression::binary(Binary::Div, Expression::X, constant(6.0));
    x_times(clip(add(sixth, constant(0.5)), 0.0, 1.0))
}

/// `x / (1 + exp(-alpha x))`.
pub fn swish(alpha: f32) -> Expression {
    let inner = if alpha == 1.0 {
        Expression::X
    } else {
        mul(constant(alpha), Expression::X)
    };
    x_times(of(Unary::Sigmoid, inner))
}

/// `x tanh(ln(1 + exp x))`.
pub fn mish() -> Expression {
    x_times(of(Unary::Tanh, softplus()))
}

/// `x` times the normal distribution's share below `x`.
pub fn gelu() -> Expression {
    let root = Expression::Constant(std::f64::consts::SQRT_2);
    let scaled = Expression::binary(Binary::Div, Expression::X, root);
    let share = add(constant(1.0), of(Unary::Erf, scaled));
    mul(mul(constant(0.5), Expression::X), share)
}

/// The same by the approximation with a hyperbolic tangent.
pub fn gelu_tanh() -> Expression {
    let cube = Expression::binary(Binary::Pow, Expression::X, constant(3.0));
    let bent = add(Expression::X, mul(Expression::Constant(0.044_715), cube));
    let factor = Expression::Constant((2.0 / std::f64::consts::PI).sqrt());
    let share = add(constant(1.0), of(Unary::Tanh, mul(factor, bent)));
    mul(mul(constant(0.5), Expression::X), share)
}

/// `x`, and `alpha (exp x - 1)` for negative `x`.
pub fn elu(alpha: f32) -> Expression {
    let exponential = of(Unary::Exp, Expression::X);
    let below = Expression::binary(Binary::Sub, exponential, constant(1.0));
    below_zero(mul(constant(alpha), below))
}

/// `gamma` times ELU.
pub fn selu(alpha: f32, gamma: f32) -> Expression {
    mul(constant(gamma), elu(alpha))
}

/// `max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)`.
pub fn celu(alpha: f32) -> Expression {
    let scaled = Expression::binary(Binary::Div, Expression::X, constant(alpha));
    let below = Expression::binary(Binary::Sub, of(Unary::Exp, scaled), constant(1.0));
    below_zero(mul(constant(alpha), below))
}

/// `x`, and `slope x` for negative `x`.
pub fn leaky(slope: f32) -> Expression {
    below_zero(mul(constant(slope), Expression::X))
}

/// `x` above `alpha`, else 0.
pub fn threshold(alpha: f32) -> Expression {
    let above = Expression::binary(Binary::Greater, Expression::X, constant(alpha));
    Expression::select(above, Expression::X, constant(0.0))
}

/// `x + bias` below `-lambda`, `x - bias` above `lambda`, else 0.
pub fn shrink(lambda: f32, bias: f32) -> Expression {
    let below = Expression::binary(Binary::Less, Expression::X, constant(-lambda));
    let above = Expression::binary(Binary::Greater, Expression::X, constant(lambda));
    let less = Expression::binary(Binary::Sub, Expression::X, constant(bias));
    let inner = Expression::select(above, less, constant(0.0));
    Expression::select(below, add(Expression::X, constant(bias)), inner)
}

/// `x`, and `below` for negative `x`.
fn below_zero(below: Expression) -> Expression {
    let negative = Expression::binary(Binary::Less, Expression::X, constant(0.0));
    Expression::select(negative, below, Expression::X)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values worked out from the definitions by other means.
    #[test]
    fn functions_are_what_onnx_defines() {
        let known: [(Expression, &[(f64, f64)]); 16] = [
            (
                hard_sigmoid(0.25, 0.5),
                &[(1.0, 0.75), (-3.0, 0.0), (3.0, 1.0)],
            ),
            (
                hard_swish(),
                &[(1.0, 2.0 / 3.0), (-1.0, -1.0 / 3.0), (4.0, 4.0)],
            ),
            (elu(1.5), &[(1.0, 1.0), (-1.0, -0.948_180_838_2)]),
            (selu(1.5, 2.0), &[(1.0, 2.0), (-1.0, -1.896_361_676_5)]),
            (celu(2.0), &[(1.0, 1.0), (-1.0, -0.786_938_680_6)]),
            (gelu(), &[(1.0, 0.841_344_746_1), (-2.5, -0.015_524_163_3)]),
            (
                gelu_tanh(),
                &[(1.0, 0.841_191_990_6), (-2.5, -0.015_084_266_1)],
            ),
            (mish(), &[(1.0, 0.865_098_388_3), (-1.0, -0.303_401_461_4)]),
            (
                softplus(),
                &[(1.0, 1.313_261_687_5), (-3.0, 0.048_587_351_6), (1e4, 1e4)],
            ),
            (softsign(), &[(1.0, 0.5), (-3.0, -0.75)]),
            (
                swish(2.0),
                &[(1.0, 0.880_797_078_0), (-1.0, -0.119_202_922_0)],
            ),
            (swish(1.0), &[(1.0, 0.731_058_578_6), (-1e4, 0.0)]),
            (leaky(0.25), &[(3.0, 3.0), (-2.0, -0.5)]),
            (threshold(0.5), &[(0.5, 0.0), (0.6, 0.6), (-1.0, 0.0)]),
            (shrink(0.5, 0.25), &[(1.0, 0.75), (-1.0, -0.75), (0.5, 0.0)]),
            (
                clip(Expression::X, f32::NEG_INFINITY, 6.0),
                &[(-9.0, -9.0), (7.0, 6.0)],
            ),
        ];
        for (function, values) in known {
            for &(x, wanted) in values {
                let found = function.at(&[x]);
                assert!(
                    (found - wanted).abs() < 1e-9,
                    "{function} of {x} is {found}"
                );
            }
        }
    }
}
