//! Everything that ends a command early, as diagnostics with codes.

mod drawing;

pub use drawing::drawn;

use super::messages;
use scnn_isa::diagnostic::{CodeEntry, Diagnostic, Location, Place};
use scnn_isa::machine::MachineError;
use scnn_isa::verify::Problem;
use scnn_isa::yaml::YamlError;
use scnn_simulator::SimulateError;
use scnnc::compile::CompileError;
use scnnc_driver::RunError;
use std::path::Path;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The input was refused; exit status 1.
    Refused(Vec<Diagnostic>),
    /// The command line was wrong; exit status 2.
    Usage(String),
    /// A check did not hold; exit status 3.
    Check(Box<Diagnostic>),
    /// Nothing of a model that is checked would run on the machine; exit status 4.
    Nothing(Box<Diagnostic>),
}

impl Failure {
    /// Exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Check(_) => 3,
            Self::Nothing(_) => 4,
        }
    }

    /// Prints the diagnostics to standard error.
    pub fn report(&self) {
        match self {
            Self::Refused(diagnostics) => {
                for diagnostic in diagnostics {
                    messages::tell(&drawn(diagnostic));
                }
                if diagnostics.len() > 1 {
                    messages::tell(&format!("{} errors", diagnostics.len()));
                }
                if let Some(first) = diagnostics.first() {
                    messages::tell(&format!("`scnnc --explain {}` tells more", first.code.code));
                }
            }
            Self::Usage(message) => messages::tell(&format!("error: {message}")),
            Self::Check(diagnostic) | Self::Nothing(diagnostic) => {
                messages::tell(&drawn(diagnostic));
            }
        }
    }

    /// The diagnostics; a wrong command line has none.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Refused(diagnostics) => diagnostics,
            Self::Usage(_) => &[],
            Self::Check(diagnostic) | Self::Nothing(diagnostic) => std::slice::from_ref(diagnostic),
        }
    }

    /// The whole as plain text, as a log has it.
    pub fn text(&self) -> String {
        if let Self::Usage(message) = self {
            return message.clone();
        }
        let lines = self.diagnostics().iter().map(ToString::to_string);
        lines.collect::<Vec<_>>().join("\n")
    }

    /// A wrong command line.
    pub fn usage(message: &str) -> Self {
        Self::Usage(message.to_owned())
    }

    /// A file that is not what it should be.
    pub fn file(code: impl Into<CodeEntry>, path: &Path, reason: &str) -> Self {
        let file = path.display().to_string();
        Self::Refused(vec![Diagnostic::of_file(code, &file, reason)])
    }

    /// An input that does not fit.
    pub fn input(code: impl Into<CodeEntry>, message: &str, help: &str) -> Self {
        Self::Refused(vec![Diagnostic {
            code: code.into(),
            message: message.to_owned(),
            location: None,
            attribute: None,
            allowed: None,
            notes: Vec::new(),
            help: Some(help.to_owned()),
        }])
    }

    /// A check that does not hold.
    pub fn check(code: impl Into<CodeEntry>, message: String, notes: Vec<String>) -> Self {
        Self::Check(Box::new(Diagnostic {
            code: code.into(),
            message,
            location: None,
            attribute: None,
            allowed: None,
            notes,
            help: None,
        }))
    }

    /// A machine file that describes no machine.
    pub fn machine(path: &str, text: &str, error: &MachineError) -> Self {
        Self::Refused(vec![error.diagnostic(path, text)])
    }

    /// A YAML file that is not of the form it should have.
    pub fn yaml(code: impl Into<CodeEntry>, path: &Path, text: &str, error: &YamlError) -> Self {
        Self::Refused(vec![error.diagnostic(
            code,
            &path.display().to_string(),
            text,
        )])
    }

    /// A program that breaks rules.
    pub fn problems(path: &Path, problems: &[Problem]) -> Self {
        Self::Refused(
            problems
                .iter()
                .map(|problem| Diagnostic {
                    code: problem.code.into(),
                    message: problem.message.clone(),
                    location: Some(Location {
                        file: Some(path.display().to_string()),
                        place: Place::Entry(problem.place.clone()),
                    }),
                    attribute: None,
                    allowed: None,
                    notes: Vec::new(),
                    help: Some(
                        "mend that entry of the assembly, or compile the model again".to_owned(),
                    ),
                })
                .collect(),
        )
    }

    /// A run that did not come to its end.
    pub fn run(path: &Path, error: &RunError) -> Self {
        let diagnostic = error.diagnostic(&path.display().to_string());
        if error.is_failed_check() {
            Self::Check(Box::new(diagnostic))
        } else {
            Self::Refused(vec![diagnostic])
        }
    }

    /// An execution that failed.
    pub fn simulate(path: &Path, error: &SimulateError) -> Self {
        Self::Refused(vec![error.diagnostic(&path.display().to_string())])
    }

    /// A model that was not compiled.
    pub fn compile(path: &Path, error: &CompileError) -> Self {
        Self::Refused(error.diagnostics(&path.display().to_string()))
    }
}
