//! Why a model was not compiled, and how that is told.

use crate::codes::Code;
use crate::import::ImportErrors;
use crate::map::{self, MapError};
use crate::quantise::QuantiseError;
use crate::reference::float::FloatError;
use crate::reference::interpret::InterpretError;
use crate::widths::WidthError;
use scnn_host::HostError;
use scnn_isa::diagnostic::{Code as IsaCode, CodeEntry, Diagnostic};
use scnn_isa::verify::Problem;
use thiserror::Error;

/// Why a model was not compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The file is no model that can be compiled.
    #[error(transparent)]
    Import(#[from] ImportErrors),
    /// The float model does not run.
    #[error(transparent)]
    Float(#[from] FloatError),
    /// The integer network does not run on the calibration samples.
    #[error(transparent)]
    Interpret(#[from] InterpretError),
    /// Nothing runs on the array.
    #[error("nothing of this model would run on the array")]
    HostOnly {
        /// Why each node runs on the host.
        reasons: Vec<String>,
    },
    /// Some of it would run on the host, which was not to be.
    #[error("{} node{} of this model would run on the host", .reasons.len(), if .reasons.len() == 1 { "" } else { "s" })]
    HostRefused {
        /// Why each of them does.
        reasons: Vec<String>,
    },
    /// The graph has no integer form.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    /// The network has no mapping.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The mapping file is no mapping of this network.
    #[error(transparent)]
    MappingFile(#[from] map::file::ReadMappingError),
    /// The mapping file has the right form, but what it asks for is not legal.
    #[error("the mapping is not legal: {}", .0.first().map_or("unknown", |problem| &problem.message))]
    IllegalMapping(Vec<Problem>),
    /// What was emitted is not a valid program: a bug of the compiler.
    #[error("the emitted program is not valid: {}", .0.first().map_or_else(String::new, |p| format!("{}: {}", p.place, p.message)))]
    Invalid(Vec<Problem>),
}

impl CompileError {
    /// As diagnostics about the model, or the mapping file, `file`; never empty.
    pub fn diagnostics(&self, file: &str) -> Vec<Diagnostic> {
        let (code, notes, help): (CodeEntry, Vec<String>, Option<String>) = match self {
            Self::Import(errors) => return errors.diagnostics(file),
            Self::Float(_) => (Code::FloatModel.into(), Vec::new(), None),
            Self::HostOnly { reasons } => (
                Code::NothingOnArray.into(),
                reasons.iter().take(MOST_REASONS).cloned().collect(),
                Some("`scnnc ops` lists what runs on the array; `--allow-host-only` compiles it all the same".to_owned()),
            ),
            Self::HostRefused { reasons } => (
                Code::HostRefused.into(),
                reasons.clone(),
                Some("`scnnc ops` lists what runs where; without `--no-host` the host runs them".to_owned()),
            ),
            Self::Quantise(error) => {
                let (code, help) = quantise_remedy(error);
                (code, Vec::new(), help)
            }
            Self::Interpret(InterpretError::Host {
                source: HostError::NoOnnxRuntime(_),
                ..
            }) => (IsaCode::RuntimeMissing.into(), Vec::new(), None),
            Self::Interpret(_) => (IsaCode::HostSegment.into(), Vec::new(), None),
            Self::MappingFile(_) => (
                Code::BadMapping.into(),
                Vec::new(),
                Some("`--save-mapping` writes a mapping that can be edited".to_owned()),
            ),
            Self::IllegalMapping(problems) => (Code::BadMapping.into(), told(problems), None),
            Self::Map(MapError::Baseline(_)) => (
                Code::DoesNotFit.into(),
                Vec::new(),
                Some("`scnnc compare` counts it beside `--machine scnn`".to_owned()),
            ),
            Self::Map(_) => (
                Code::DoesNotFit.into(),
                Vec::new(),
                Some(
                    "take a machine that has more (`scnnc machine show` tells), or cut the layer into smaller ones"
                        .to_owned(),
                ),
            ),
            Self::Invalid(problems) => (
                IsaCode::Internal.into(),
                told(problems.get(1..).unwrap_or_default()),
                Some("this is a bug of scnnc: please report it with the model".to_owned()),
            ),
        };
        let mut diagnostic = Diagnostic::of_file(code, file, self.to_string());
        diagnostic.notes = notes;
        diagnostic.help = help;
        vec![diagnostic]
    }
}

/// Host nodes that are named where all are.
const MOST_REASONS: usize = 10;
/// Broken rules that are named below the first.
const MOST_PROBLEMS: usize = 5;

fn told(problems: &[Problem]) -> Vec<String> {
    let problems = problems.iter().take(MOST_PROBLEMS);
    problems
        .map(|p| format!("{}: {}", p.place, p.message))
        .collect()
}

/// The code of a graph that has no integer form, and what helps.
fn quantise_remedy(error: &QuantiseError) -> (CodeEntry, Option<String>) {
    match error {
        QuantiseError::MissingRange { misnamed, .. } => (
            Code::CalibrationMissing.into(),
            Some(match misnamed {
                Some(name) => {
                    format!("the calibration has `{name}`, which is no tensor of this model")
                }
                None => "calibrate again with `--calibrate`, or add it".to_owned(),
            }),
        ),
        QuantiseError::MissingSums { .. } => (
            Code::CalibrationMissing.into(),
            Some("calibrate again with `--ranges calibrated`, or use `--ranges proven`".to_owned()),
        ),
        QuantiseError::Width(WidthError::Name(error)) => {
            (IsaCode::UnknownName.into(), Some(error.help()))
        }
        QuantiseError::Width(WidthError::TooWide { machine, .. }) => (
            Code::DoesNotFit.into(),
            Some(format!(
                "give `--bits {machine}` or less, or a machine with wider operands"
            )),
        ),
        QuantiseError::Accumulator { .. } | QuantiseError::Unstorable { .. } => {
            (Code::CalibrationMissing.into(), None)
        }
    }
}
