//! Everything that ends a command early, as diagnostics with codes.

use super::output;
use scnn_isa::diagnostic::{Code, Diagnostic, Location, Place};
use scnn_isa::machine::MachineError;
use scnn_isa::verify::Problem;
use scnn_isa::yaml::YamlError;
use scnn_simulator::SimulateError;
use scnnc::compile::CompileError;
use scnnc::map::MapError;
use scnnc::quantise::QuantiseError;
use scnnc::quantise::widths::WidthError;
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
}

impl Failure {
    /// Exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Check(_) => 3,
        }
    }

    /// Prints the diagnostics to standard error.
    pub fn report(&self) {
        match self {
            Self::Refused(diagnostics) => {
                for diagnostic in diagnostics {
                    output::tell(&diagnostic.to_string());
                }
                if diagnostics.len() > 1 {
                    output::tell(&format!("{} errors", diagnostics.len()));
                }
                if let Some(first) = diagnostics.first() {
                    output::tell(&format!(
                        "`scnnc --explain {}` tells more",
                        first.code.as_str()
                    ));
                }
            }
            Self::Usage(message) => output::tell(&format!("error: {message}")),
            Self::Check(diagnostic) => output::tell(&diagnostic.to_string()),
        }
    }

    /// A wrong command line.
    pub fn usage(message: &str) -> Self {
        Self::Usage(message.to_owned())
    }

    /// A file that is not what it should be.
    pub fn file(code: Code, path: &Path, reason: &str) -> Self {
        Self::Refused(vec![Diagnostic {
            code,
            message: reason.to_owned(),
            location: Some(Location {
                file: Some(path.display().to_string()),
                place: Place::File,
            }),
            notes: Vec::new(),
            help: remedy(code).map(str::to_owned),
        }])
    }

    /// An input that does not fit.
    pub fn input(code: Code, message: &str, help: &str) -> Self {
        Self::Refused(vec![Diagnostic {
            code,
            message: message.to_owned(),
            location: None,
            notes: Vec::new(),
            help: Some(help.to_owned()),
        }])
    }

    /// A check that does not hold.
    pub fn check(code: Code, message: String, notes: Vec<String>) -> Self {
        Self::Check(Box::new(Diagnostic {
            code,
            message,
            location: None,
            notes,
            help: None,
        }))
    }

    /// A machine file that describes no machine.
    pub fn machine(path: &str, text: &str, error: &MachineError) -> Self {
        let code = match error {
            MachineError::Yaml(error) if error.message.contains("unknown field") => {
                Code::MachineUnknownKey
            }
            MachineError::Yaml(error) if error.message.contains("is expected") => {
                Code::MachineOutOfRange
            }
            MachineError::Yaml(_) => Code::MachineSyntax,
            MachineError::UnknownPreset { .. } => Code::MachineUnknownPreset,
            MachineError::Missing { .. } | MachineError::Impossible { .. } => {
                Code::MachineImpossible
            }
        };
        let message = match error {
            MachineError::Yaml(error) => error.message.clone(),
            other => other.to_string(),
        };
        let place = error
            .place()
            .map_or(Place::File, |(line, column)| Place::Line {
                line,
                column,
                text: text
                    .lines()
                    .nth(line.saturating_sub(1))
                    .unwrap_or_default()
                    .to_owned(),
            });
        Self::Refused(vec![Diagnostic {
            code,
            message,
            location: Some(Location {
                file: Some(path.to_owned()),
                place,
            }),
            notes: Vec::new(),
            help: error.help(),
        }])
    }

    /// A YAML file that is not of the form it should have.
    pub fn yaml(code: Code, path: &Path, text: &str, error: &YamlError) -> Self {
        let place = error.place.map_or(Place::File, |(line, column)| {
            let text = text.lines().nth(line.saturating_sub(1));
            Place::Line {
                line,
                column,
                text: text.unwrap_or_default().to_owned(),
            }
        });
        Self::Refused(vec![Diagnostic {
            code,
            message: error.message.clone(),
            location: Some(Location {
                file: Some(path.display().to_string()),
                place,
            }),
            notes: Vec::new(),
            help: error
                .help
                .clone()
                .or_else(|| remedy(code).map(str::to_owned)),
        }])
    }

    /// A program that breaks rules.
    pub fn problems(path: &Path, problems: &[Problem]) -> Self {
        Self::Refused(
            problems
                .iter()
                .map(|problem| Diagnostic {
                    code: problem.code,
                    message: problem.message.clone(),
                    location: Some(Location {
                        file: Some(path.display().to_string()),
                        place: Place::Entry(problem.place.clone()),
                    }),
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
        let message = error.to_string();
        match error {
            RunError::Simulate(error) => Self::simulate(path, error),
            RunError::Interpret(_) => Self::file(Code::HostSegment, path, &message),
            RunError::Float(_) => Self::file(Code::FloatModel, path, &message),
            RunError::NotBitExact(difference) => Self::check(
                Code::NotBitExact,
                message,
                vec![
                    difference.extent(),
                    format!("ONNX nodes {}", difference.onnx_nodes.join(", ")),
                ],
            ),
            RunError::Labels { .. } => Self::file(Code::LabelCount, path, &message),
            RunError::NoNoise(_) => {
                Self::input(Code::InputMissing, &message, "give it with `--input FILE`")
            }
            RunError::UnknownOutput { outputs, .. } => Self::input(
                Code::UnknownName,
                &message,
                &format!("the outputs are {}", outputs.join(", ")),
            ),
            RunError::OutputSize { .. } => Self::input(
                Code::InputShape,
                &message,
                "give the expected outputs of the same samples",
            ),
            RunError::Stack { .. } => Self::file(Code::Internal, path, &message),
        }
    }

    /// An execution that failed.
    pub fn simulate(path: &Path, error: &SimulateError) -> Self {
        let code = match error {
            SimulateError::Section { .. } => Code::BadSection,
            SimulateError::MissingInput(_) | SimulateError::NoSamples => Code::InputMissing,
            SimulateError::Value { .. } => Code::InputShape,
            SimulateError::Host { .. } => Code::HostSegment,
            SimulateError::Overflow { .. } => Code::Overflow,
        };
        Self::file(code, path, &error.to_string())
    }

    /// A model that was not compiled.
    pub fn compile(path: &Path, error: &CompileError) -> Self {
        let file = path.display().to_string();
        let one = |code: Code, place: Place, notes: Vec<String>, help: Option<&str>| {
            Self::Refused(vec![Diagnostic {
                code,
                message: error.to_string(),
                location: Some(Location {
                    file: Some(file.clone()),
                    place,
                }),
                notes,
                help: help.map(str::to_owned),
            }])
        };
        match error {
            CompileError::Import(errors) => Self::Refused(errors.diagnostics(&file)),
            CompileError::Float(_) => one(Code::FloatModel, Place::File, Vec::new(), None),
            CompileError::HostOnly { reasons } => one(
                Code::NothingOnArray,
                Place::File,
                reasons.iter().take(10).cloned().collect(),
                Some(
                    "`scnnc ops` lists what runs on the array; `--allow-host-only` compiles it all the same",
                ),
            ),
            CompileError::HostRefused { reasons } => one(
                Code::HostRefused,
                Place::File,
                reasons.clone(),
                Some("`scnnc ops` lists what runs where; without `--no-host` the host runs them"),
            ),
            CompileError::Quantise(error) => {
                let (code, help) = quantise_remedy(error);
                one(code, Place::File, Vec::new(), help.as_deref())
            }
            CompileError::Interpret(_) => one(Code::HostSegment, Place::File, Vec::new(), None),
            CompileError::MappingFile(_) => one(
                Code::BadMapping,
                Place::File,
                Vec::new(),
                Some("`--save-mapping` writes a mapping that can be edited"),
            ),
            CompileError::IllegalMapping(problems) => one(
                Code::BadMapping,
                Place::File,
                problems
                    .iter()
                    .take(5)
                    .map(|p| format!("{}: {}", p.place, p.message))
                    .collect(),
                None,
            ),
            CompileError::Map(MapError::Baseline(_)) => one(
                Code::DoesNotFit,
                Place::File,
                Vec::new(),
                Some("`scnnc compare` counts it beside `--machine scnn`"),
            ),
            CompileError::Map(_) => one(
                Code::DoesNotFit,
                Place::File,
                Vec::new(),
                Some(
                    "take a machine that has more (`scnnc machine show` tells), or cut the layer into smaller ones",
                ),
            ),
            CompileError::Invalid(problems) => one(
                Code::Internal,
                Place::File,
                problems
                    .iter()
                    .skip(1)
                    .take(5)
                    .map(|p| format!("{}: {}", p.place, p.message))
                    .collect(),
                Some("this is a bug of scnnc: please report it with the model"),
            ),
        }
    }
}

/// The code of a graph that has no integer form, and what helps.
fn quantise_remedy(error: &QuantiseError) -> (Code, Option<String>) {
    match error {
        QuantiseError::MissingRange { misnamed, .. } => (
            Code::CalibrationMissing,
            Some(match misnamed {
                Some(name) => {
                    format!("the calibration has `{name}`, which is no tensor of this model")
                }
                None => "calibrate again with `--calibrate`, or add it".to_owned(),
            }),
        ),
        QuantiseError::MissingSums { .. } => (
            Code::CalibrationMissing,
            Some("calibrate again with `--ranges calibrated`, or use `--ranges proven`".to_owned()),
        ),
        QuantiseError::Width(WidthError::Name(error)) => (Code::UnknownName, Some(error.help())),
        QuantiseError::Width(WidthError::TooWide { machine, .. }) => (
            Code::DoesNotFit,
            Some(format!(
                "give `--bits {machine}` or less, or a machine with wider operands"
            )),
        ),
        QuantiseError::ModelTooWide { .. } => (
            Code::DoesNotFit,
            Some("take a machine with wider operands (`pe.operand_bits`)".to_owned()),
        ),
        QuantiseError::Accumulator { .. } | QuantiseError::Unstorable { .. } => {
            (Code::CalibrationMissing, None)
        }
    }
}

/// What helps with any file of that fault.
fn remedy(code: Code) -> Option<&'static str> {
    match code {
        Code::CannotRead => Some("check the path and its permissions"),
        Code::BadArray => Some(
            "numpy.save and numpy.savez write arrays that are read; so are .pb, .csv, .raw and .bin",
        ),
        Code::LabelCount => Some("give one label for each image of the samples, in their order"),
        Code::CalibrationFile => Some("give the YAML that `--save-calibration` writes"),
        Code::DensitiesFile => Some("give the YAML that `--save-densities` writes"),
        Code::WidthsFile => Some("give YAML as in `network: 16`, `layers: {conv1: 8}`"),
        Code::NothingToPrune => Some("`scnnc check` tells which nodes run on the array"),
        Code::CannotWrite => Some("check the folder, its permissions and the space left"),
        Code::NotAReport => Some("give a file that `scnnc run --report R.json` wrote"),
        Code::ReportSchema => Some("run the model again with `--report`"),
        Code::NotAProgram => Some("give a .scnn file, as `scnnc compile` writes it"),
        Code::ProgramVersion | Code::ProgramChecksum | Code::ProgramMalformed => {
            Some("compile the model again")
        }
        _ => None,
    }
}
