//! Constraints on points: comparisons of sums and products of settings, such as `pe.banks * pe.entries_per_bank <= 1024`.
//!
//! ```text
//! constraint = sum ("==" | "!=" | "<=" | "<" | ">=" | ">") sum
//! sum        = product (("+" | "-") product)*
//! product    = atom (("*" | "/" | "%") atom)*
//! atom       = number | name | word | "(" sum ")"
//! ```
//!
//! A name is a setting or a parameter of the machine; `==` and `!=` compare words, too (`mapping == paper`).

use super::spec::Value;
use thiserror::Error;

/// A constraint.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint {
    text: String,
    left: Term,
    comparison: &'static str,
    right: Term,
}

/// Why a text is no constraint, or one that cannot be decided.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}`: {reason}")]
pub struct ConstraintError {
    /// The constraint.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Number(f64),
    Name(String),
    Operation(char, Box<[Term; 2]>),
}

/// Longest first, so that `<=` is not read as `<`.
const COMPARISONS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

/// Parentheses in each other, which bounds the depth of the recursion.
const MOST_NESTED: usize = 64;

impl Constraint {
    /// Reads a constraint.
    ///
    /// # Errors
    /// A text that is not of the form above.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        let failed = |reason: String| ConstraintError {
            text: text.to_owned(),
            reason,
        };
        let mut parser = Parser {
            rest: text,
            nested: 0,
        };
        let left = parser.sum().map_err(failed)?;
        let comparison = COMPARISONS.into_iter().find(|sign| parser.takes(sign));
        let Some(comparison) = comparison else {
            return Err(failed(format!(
                "a comparison (==, !=, <=, <, >=, >) is expected {}",
                parser.place()
            )));
        };
        let right = parser.sum().map_err(failed)?;
        if !parser.rest.trim().is_empty() {
            return Err(failed(format!(
                "nothing more is expected {}",
                parser.place()
            )));
        }
        Ok(Self {
            text: text.to_owned(),
            left,
            comparison,
            right,
        })
    }

    /// The names in it.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.left.names(&mut names);
        self.right.names(&mut names);
        names
    }

    /// Whether it holds; `value` looks a name up. A name that has no value stands for itself, as a word.
    ///
    /// # Errors
    /// Words where numbers are expected.
    pub fn holds(&self, value: &dyn Fn(&str) -> Option<Value>) -> Result<bool, ConstraintError> {
        let failed = |reason: String| ConstraintError {
            text: self.text.clone(),
            reason,
        };
        let [left, right] = [&self.left, &self.right].map(|term| term.value(value));
        match (left.map_err(failed)?, right.map_err(failed)?) {
            (Found::Number(a), Found::Number(b)) => Ok(match self.comparison {
                "==" => a == b,
                "!=" => a != b,
                "<=" => a <= b,
                "<" => a < b,
                ">=" => a >= b,
                _ => a > b,
            }),
            (Found::Word(a), Found::Word(b)) if self.comparison == "==" => Ok(a == b),
            (Found::Word(a), Found::Word(b)) if self.comparison == "!=" => Ok(a != b),
            (Found::Word(word), _) | (_, Found::Word(word)) => {
                Err(failed(format!("`{word}` is no number and no setting")))
            }
        }
    }
}

enum Found {
    Number(f64),
    Word(String),
}

impl Term {
    fn names<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Number(_) => {}
            Self::Name(name) => names.push(name),
            Self::Operation(_, operands) => operands.iter().for_each(|term| term.names(names)),
        }
    }

    fn value(&self, value: &dyn Fn(&str) -> Option<Value>) -> Result<Found, String> {
        match self {
            Self::Number(number) => Ok(Found::Number(*number)),
            Self::Name(name) => Ok(match value(name) {
                Some(Value::Whole(number)) => Found::Number(number as f64),
                Some(Value::Real(number)) => Found::Number(number),
                Some(other) => Found::Word(other.to_string()),
                None => Found::Word(name.clone()),
            }),
            Self::Operation(sign, operands) => {
                let [a, b] = [&operands[0], &operands[1]].map(|term| term.value(value));
                match (a?, b?) {
                    (Found::Number(a), Found::Number(b)) => Ok(Found::Number(match sign {
                        '+' => a + b,
                        '-' => a - b,
                        '*' => a * b,
                        '/' => a / b,
                        _ => a % b,
                    })),
                    (Found::Word(word), _) | (_, Found::Word(word)) => {
                        Err(format!("`{word}` is no number and no setting"))
                    }
                }
            }
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    nested: usize,
}

impl Parser<'_> {
    fn takes(&mut self, sign: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Where the parser is, in words.
    fn place(&self) -> String {
        match self.rest.trim() {
            "" => "at the end".to_owned(),
            rest => format!("at `{rest}`"),
        }
    }

    fn sum(&mut self) -> Result<Term, String> {
        self.chain(&['+', '-'], Self::product)
    }

    fn product(&mut self) -> Result<Term, String> {
        self.chain(&['*', '/', '%'], Self::atom)
    }

    fn chain(
        &mut self,
        signs: &[char],
        operand: fn(&mut Self) -> Result<Term, String>,
    ) -> Result<Term, String> {
        let mut term = operand(self)?;
        while let Some(&sign) = signs.iter().find(|sign| self.takes(&sign.to_string())) {
            term = Term::Operation(sign, Box::new([term, operand(self)?]));
        }
        Ok(term)
    }

    fn atom(&mut self) -> Result<Term, String> {
        if self.takes("(") {
            self.nested += 1;
            if self.nested > MOST_NESTED {
                return Err("the parentheses are nested too deeply".to_owned());
            }
            let inner = self.sum()?;
            self.nested -= 1;
            return if self.takes(")") {
                Ok(inner)
            } else {
                Err(format!("`)` is expected {}", self.place()))
            };
        }
        self.rest = self.rest.trim_start();
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(format!(
                "a number or a setting is expected {}",
                self.place()
            ));
        }
        self.rest = rest;
        if word.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            let number = word.parse().map_err(|_| format!("`{word}` is no number"))?;
            return Ok(Term::Number(number));
        }
        Ok(Term::Name(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> Result<bool, ConstraintError> {
        let value = |name: &str| match name {
            "pe.banks" => Some(Value::Whole(32)),
            "clock.gigahertz" => Some(Value::Real(0.5)),
            "mapping" => Some(Value::Word("paper".to_owned())),
            _ => None,
        };
        Constraint::parse(text)?.holds(&value)
    }

    #[test]
    fn products_bind_tighter_than_sums_and_sums_than_comparisons() {
        for text in [
            "pe.banks*2 == 64",
            "1 + 2 * pe.banks - 1 <= 64",
            "(1 + 2) * pe.banks > 95",
            "pe.banks / 4 / 2 == 4",
            "pe.banks % 3 == 2",
            "clock.gigahertz < 1",
            "mapping == paper",
            "mapping != search",
        ] {
            assert_eq!(holds(text), Ok(true), "{text}");
        }
        for text in [
            "pe.banks == 31",
            "pe.banks != 32",
            "32 < pe.banks",
            "pe.banks < 32",
            "mapping == search",
        ] {
            assert_eq!(holds(text), Ok(false), "{text}");
        }
    }

    #[test]
    fn what_is_no_constraint_says_where() {
        let reason = |text: &str| holds(text).unwrap_err().reason;
        assert_eq!(
            reason("pe.banks"),
            "a comparison (==, !=, <=, <, >=, >) is expected at the end"
        );
        assert_eq!(
            reason("pe.banks < "),
            "a number or a setting is expected at the end"
        );
        assert_eq!(reason("(1 + 2 < 3"), "`)` is expected at `< 3`");
        assert_eq!(reason("1 < 2 3"), "nothing more is expected at `3`");
        assert_eq!(reason("mapping < 3"), "`paper` is no number and no setting");
        assert_eq!(
            reason("pe.bank + 1 < 3"),
            "`pe.bank` is no number and no setting"
        );
        assert!(reason(&"(".repeat(100_000)).contains("nested"));
    }
}
