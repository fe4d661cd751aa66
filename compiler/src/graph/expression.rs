//! Elementwise expressions: what an operator computes of the values at one position of its operands.
//!
//! One enum, one evaluator in double precision, one printer. Operators that consist of others (GELU, hard swish, ELU) are
//! built of these by [`library`]; [`Expression::compose`] puts expressions in the place of operands, which is how a chain
//! of operators becomes one function; [`line`](mod@line) finds what of an expression the PPU does without a table.

pub mod library;
pub mod line;

use std::fmt;

/// A value that is computed from the operands' values at one position. Comparisons give 1 or 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// The value of an operand.
    Operand(u32),
    /// A constant.
    Constant(f64),
    /// A function of one value.
    Unary(Unary, Box<Self>),
    /// A function of two.
    Binary(Binary, Box<[Self; 2]>),
    /// The second where the first is not 0, else the third.
    Select(Box<[Self; 3]>),
}

/// A row is `Variant "ONNX operator" "name in text" |x| value`.
macro_rules! unary {
    ($($variant:ident $onnx:literal $name:literal |$x:ident| $value:expr;)*) => {
        /// Functions of one value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Unary {
            $(#[doc = concat!("`", $onnx, "` of ONNX.")] $variant,)*
        }

        impl Unary {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The function that an ONNX operator without attributes is.
            pub fn of_onnx(operator: &str) -> Option<Self> {
                match operator { $($onnx => Some(Self::$variant),)* _ => None }
            }

            /// Its name in text.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its value.
            pub fn at(self, x: f64) -> f64 {
                match self { $(Self::$variant => { let $x = x; $value })* }
            }
        }
    };
}

unary! {
    Abs "Abs" "abs" |x| x.abs();
    Acos "Acos" "acos" |x| x.acos();
    Acosh "Acosh" "acosh" |x| x.acosh();
    Asin "Asin" "asin" |x| x.asin();
    Asinh "Asinh" "asinh" |x| x.asinh();
    Atan "Atan" "atan" |x| x.atan();
    Atanh "Atanh" "atanh" |x| x.atanh();
    Ceil "Ceil" "ceil" |x| x.ceil();
    Cos "Cos" "cos" |x| x.cos();
    Cosh "Cosh" "cosh" |x| x.cosh();
    Erf "Erf" "erf" |x| libm::erf(x);
    Exp "Exp" "exp" |x| x.exp();
    Floor "Floor" "floor" |x| x.floor();
    Log "Log" "log" |x| x.ln();
    Neg "Neg" "-" |x| -x;
    Not "Not" "not" |x| truth(x == 0.0);
    Reciprocal "Reciprocal" "reciprocal" |x| 1.0 / x;
    Round "Round" "round" |x| x.round_ties_even();
    Sigmoid "Sigmoid" "sigmoid" |x| 1.0 / (1.0 + (-x).exp());
    Sign "Sign" "sign" |x| if x == 0.0 { 0.0 } else { x.signum() };
    Sin "Sin" "sin" |x| x.sin();
    Sinh "Sinh" "sinh" |x| x.sinh();
    Softplus "Softplus" "softplus" |x| x.max(0.0) + (-x.abs()).exp().ln_1p();
    Sqrt "Sqrt" "sqrt" |x| x.sqrt();
    Tan "Tan" "tan" |x| x.tan();
    Tanh "Tanh" "tanh" |x| x.tanh();
}

/// A row is `Variant "ONNX operator" "name in text" binding |a, b| value`; names of letters are written as calls.
macro_rules! binary {
    ($($variant:ident $onnx:literal $name:literal $binding:literal |$a:ident, $b:ident| $value:expr;)*) => {
        /// Functions of two values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Binary {
            $(#[doc = concat!("`", $onnx, "` of ONNX.")] $variant,)*
        }

        impl Binary {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The function that an ONNX operator of two operands is.
            pub fn of_onnx(operator: &str) -> Option<Self> {
                match operator { $($onnx => Some(Self::$variant),)* _ => None }
            }

            /// Its name in text.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How closely the sign holds its operands together.
            const fn binding(self) -> u8 {
                match self { $(Self::$variant => $binding,)* }
            }

            /// Its value.
            pub fn at(self, a: f64, b: f64) -> f64 {
                match self { $(Self::$variant => { let ($a, $b) = (a, b); $value })* }
            }
        }
    };
}

binary! {
    Add "Add" "+" 3 |a, b| a + b;
    And "And" "and" 9 |a, b| truth(a != 0.0 && b != 0.0);
    Div "Div" "/" 4 |a, b| a / b;
    Equal "Equal" "==" 2 |a, b| truth(a == b);
    Greater "Greater" ">" 2 |a, b| truth(a > b);
    GreaterOrEqual "GreaterOrEqual" ">=" 2 |a, b| truth(a >= b);
    Less "Less" "<" 2 |a, b| truth(a < b);
    LessOrEqual "LessOrEqual" "<=" 2 |a, b| truth(a <= b);
    Max "Max" "max" 9 |a, b| if a.is_nan() { a } else { b.max(a) };
    Min "Min" "min" 9 |a, b| if a.is_nan() { a } else { b.min(a) };
    Mul "Mul" "*" 4 |a, b| a * b;
    Or "Or" "or" 9 |a, b| truth(a != 0.0 || b != 0.0);
    Pow "Pow" "pow" 9 |a, b| a.powf(b);
    Sub "Sub" "-" 3 |a, b| a - b;
    Xor "Xor" "xor" 9 |a, b| truth((a != 0.0) != (b != 0.0));
}

const fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// Most parts of an expression that a composition makes: an operator's formula has at most a dozen, and a chain that
/// multiplies its operand by itself again and again would have no end.
pub const MAX_PARTS: usize = 256;

impl Expression {
    /// The only operand.
    pub const X: Self = Self::Operand(0);

    /// `unary` of an expression.
    pub fn unary(unary: Unary, of: Self) -> Self {
        Self::Unary(unary, Box::new(of))
    }

    /// `binary` of two expressions.
    pub fn binary(binary: Binary, a: Self, b: Self) -> Self {
        Self::Binary(binary, Box::new([a, b]))
    }

    /// `a` where `condition` is not 0, else `b`.
    pub fn select(condition: Self, a: Self, b: Self) -> Self {
        Self::Select(Box::new([condition, a, b]))
    }

    /// The value where the operands have these values; one that is missing is not a number.
    pub fn at(&self, operands: &[f64]) -> f64 {
        match self {
            Self::Operand(index) => operands.get(*index as usize).copied().unwrap_or(f64::NAN),
            Self::Constant(value) => *value,
            Self::Unary(unary, of) => unary.at(of.at(operands)),
            Self::Binary(binary, of) => binary.at(of[0].at(operands), of[1].at(operands)),
            Self::Select(of) if of[0].at(operands) != 0.0 => of[1].at(operands),
            Self::Select(of) => of[2].at(operands),
        }
    }

    /// The expression with `operands` in the place of its own.
    #[must_use]
    pub fn compose(&self, operands: &[Self]) -> Self {
        match self {
            Self::Operand(index) => operands.get(*index as usize).unwrap_or(self).clone(),
            Self::Constant(value) => Self::Constant(*value),
            Self::Unary(unary, of) => Self::unary(*unary, of.compose(operands)),
            Self::Binary(binary, of) => Self::Binary(
                *binary,
                Box::new([of[0].compose(operands), of[1].compose(operands)]),
            ),
            Self::Select(of) => {
                Self::Select(Box::new([0, 1, 2].map(|i: usize| of[i].compose(operands))))
            }
        }
    }

    /// How many operands, constants and functions it consists of.
    pub fn parts(&self) -> usize {
        1 + self.inner().iter().map(Self::parts).sum::<usize>()
    }

    /// How often an operand stands in it.
    pub fn uses(&self, operand: u32) -> usize {
        match self {
            Self::Operand(index) => usize::from(*index == operand),
            _ => self.inner().iter().map(|of| of.uses(operand)).sum(),
        }
    }

    /// Whether operands are multiplied by one another, or by themselves: the range of the result is the product of theirs.
    pub fn multiplies_operands(&self) -> bool {
        let here = match self {
            Self::Binary(Binary::Mul, of) => of.iter().all(Self::has_operands),
            Self::Binary(Binary::Pow, of) => {
                of[0].has_operands() && matches!(of[1], Self::Constant(power) if power > 1.0)
            }
            _ => false,
        };
        here || self.inner().iter().any(Self::multiplies_operands)
    }

    /// Whether it has a root, a logarithm or a quotient of operands, which rises ever more steeply towards 0: a small
    /// difference between small values becomes a large one.
    pub fn enlarges_small_values(&self) -> bool {
        let here = match self {
            Self::Unary(Unary::Sqrt | Unary::Log | Unary::Reciprocal, of) => of.has_operands(),
            Self::Binary(Binary::Div, of) => of[1].has_operands(),
            Self::Binary(Binary::Pow, of) => {
                of[0].has_operands() && matches!(of[1], Self::Constant(power) if power < 1.0)
            }
            _ => false,
        };
        here || self.inner().iter().any(Self::enlarges_small_values)
    }

    fn has_operands(&self) -> bool {
        matches!(self, Self::Operand(_)) || self.inner().iter().any(Self::has_operands)
    }

    fn inner(&self) -> &[Self] {
        match self {
            Self::Operand(_) | Self::Constant(_) => &[],
            Self::Unary(_, of) => std::slice::from_ref(of),
            Self::Binary(_, of) => of.as_slice(),
            Self::Select(of) => of.as_slice(),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, outside: u8) -> fmt::Result {
        match self {
            Self::Operand(0) => f.write_str("x"),
            Self::Operand(index) => write!(f, "x{index}"),
            // Constants of a model are of single precision.
            Self::Constant(value) => write!(f, "{}", *value as f32),
            Self::Unary(Unary::Neg, of) => {
                f.write_str("-")?;
                of.write(f, 5)
            }
            Self::Unary(unary, of) => call(f, unary.name(), std::slice::from_ref(of)),
            Self::Binary(binary, of) if binary.binding() == CALL => {
                call(f, binary.name(), of.as_slice())
            }
            Self::Binary(binary, of) => {
                let binding = binary.binding();
                let open = binding < outside;
                f.write_str(if open { "(" } else { "" })?;
                of[0].write(f, binding)?;
                write!(f, " {} ", binary.name())?;
                of[1].write(f, binding + 1)?;
                f.write_str(if open { ")" } else { "" })
            }
            Self::Select(of) => call(f, "where", of.as_slice()),
        }
    }
}

/// The binding of functions that are written as calls.
const CALL: u8 = 9;

fn call(f: &mut fmt::Formatter<'_>, name: &str, of: &[Expression]) -> fmt::Result {
    write!(f, "{name}(")?;
    for (i, of) in of.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { ", " })?;
        of.write(f, 0)?;
    }
    f.write_str(")")
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::library::*;
    use super::*;

    #[test]
    fn an_expression_is_written_as_a_formula() {
        let x = || Expression::X;
        let sum = Expression::binary(Binary::Add, x(), Expression::Constant(3.0));
        let product = Expression::binary(Binary::Mul, sum.clone(), Expression::Constant(0.5));
        assert_eq!(product.to_string(), "(x + 3) * 0.5");
        let difference = Expression::binary(Binary::Sub, x(), sum);
        assert_eq!(difference.to_string(), "x - (x + 3)");
        let negative = Expression::unary(Unary::Neg, difference);
        assert_eq!(negative.to_string(), "-(x - (x + 3))");
        let smaller = Expression::binary(Binary::Max, x(), Expression::Operand(1));
        let exponential = Expression::unary(Unary::Exp, smaller);
        assert_eq!(exponential.to_string(), "exp(max(x, x1))");
        assert_eq!(threshold(0.5).to_string(), "where(x > 0.5, x, 0)");
    }

    #[test]
    fn a_composition_computes_one_after_the_other() {
        let twice = x_times(Expression::unary(Unary::Tanh, Expression::X));
        let composed = twice.compose(&[softplus()]);
        for x in [-3.0, 0.0, 0.5, 7.0] {
            assert_eq!(composed.at(&[x]), twice.at(&[softplus().at(&[x])]));
        }
        assert_eq!((twice.uses(0), composed.uses(0)), (2, 2));
        assert_eq!((twice.parts(), composed.parts()), (4, 6));
    }

    #[test]
    fn products_of_operands_and_what_enlarges_small_values_are_told_from_others() {
        let x = || Expression::X;
        let of = |binary, number| Expression::binary(binary, x(), Expression::Constant(number));
        let square = Expression::binary(Binary::Mul, x(), x());
        assert!(square.multiplies_operands() && of(Binary::Pow, 2.0).multiplies_operands());
        assert!(!of(Binary::Mul, 2.0).multiplies_operands());
        assert!(!of(Binary::Pow, 0.5).multiplies_operands());
        let root = Expression::unary(Unary::Sqrt, of(Binary::Add, 1e-5));
        assert!(root.enlarges_small_values() && of(Binary::Pow, -0.5).enlarges_small_values());
        assert!(!of(Binary::Div, 3.0).enlarges_small_values());
        assert!(!square.enlarges_small_values());
        let of_constant = Expression::unary(Unary::Log, Expression::Constant(2.0));
        assert!(!of_constant.enlarges_small_values());
    }

    #[test]
    fn a_missing_operand_is_not_a_number() {
        assert!(Expression::Operand(1).at(&[0.0]).is_nan());
    }

    /// As ONNX has it, and unlike `f64::max`.
    #[test]
    fn an_extremum_with_what_is_no_number_is_none() {
        for binary in [Binary::Max, Binary::Min] {
            assert!(binary.at(f64::NAN, 1.0).is_nan());
        }
        assert_eq!(Binary::Max.at(2.0, 1.0), 2.0);
        assert_eq!(Binary::Min.at(2.0, 1.0), 1.0);
    }

    #[test]
    fn every_operator_is_found_by_its_name() {
        let unary = |operator| Unary::of_onnx(operator).map(|unary| unary.at(0.3));
        assert_eq!(unary("Softplus"), Some((1.0 + 0.3f64.exp()).ln()));
        assert_eq!(unary("Round"), Some(0.0));
        assert_eq!(unary("Conv"), None);
        assert_eq!(Binary::of_onnx("Pow").unwrap().at(3.0, 2.0), 9.0);
        assert_eq!(Binary::of_onnx("Greater").unwrap().at(3.0, 2.0), 1.0);
    }
}
