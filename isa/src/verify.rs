//! The verifier: decides whether a program is well formed on its machine.
//!
//! The contract: a verified program never makes the simulator panic, read outside a table, or allocate beyond the
//! limits stated here; and every region that it reads holds the tensor that the region is declared for.
//!
//! The module `tables` checks everything but the instructions, and, only if all of it holds, the module `code` walks these.

mod code;
mod layers;
mod limits;
mod tables;
#[cfg(test)]
pub(crate) mod tests;

use crate::diagnostic::Code;
use crate::program::Program;

pub use limits::Limits;
pub use tables::holds_range;

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its code.
    pub code: Code,
    /// What breaks it: `layer conv1`, `instruction 7 (mac)`.
    pub place: String,
    /// How.
    pub message: String,
}

pub use crate::legal::MAX_ELEMENTS;

/// Most problems that are reported.
pub const MAX_PROBLEMS: usize = 100;

/// Verifies a program, within the default [`Limits`].
///
/// # Errors
/// All broken rules, at most [`MAX_PROBLEMS`].
pub fn verify(program: &Program) -> Result<(), Vec<Problem>> {
    verify_within(program, &Limits::default())
}

/// Verifies a program that may ask for no more than `limits`.
///
/// # Errors
/// All broken rules, at most [`MAX_PROBLEMS`].
pub fn verify_within(program: &Program, limits: &Limits) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::default();
    limits::check(program, limits, &mut problems);
    if problems.0.is_empty() {
        tables::check(program, &mut problems);
    }
    if problems.0.is_empty() {
        layers::check(program, &mut problems);
    }
    if problems.0.is_empty() {
        code::check(program, &mut problems);
    }
    problems.0.truncate(MAX_PROBLEMS);
    if problems.0.is_empty() {
        Ok(())
    } else {
        Err(problems.0)
    }
}

/// Collects problems.
#[derive(Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, code: Code, place: impl Into<String>, message: impl Into<String>) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.push(Problem {
                code,
                place: place.into(),
                message: message.into(),
            });
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a problem unless `holds`; tells whether it does.
    fn require(
        &mut self,
        holds: bool,
        code: Code,
        place: &str,
        message: impl FnOnce() -> String,
    ) -> bool {
        if !holds {
            self.add(code, place, message());
        }
        holds
    }
}
