//! Why a run, or a comparison of its results, did not come to its end, and how that is told.

use crate::codes::Code;
use scnn_host::HostError;
use scnn_isa::diagnostic::{Code as IsaCode, CodeEntry, Diagnostic};
use scnn_simulator::SimulateError;
use scnnc::codes::Code as CompilerCode;
use scnnc::reference::difference::Difference;
use scnnc::reference::float::FloatError;
use scnnc::reference::interpret::InterpretError;
use scnnc::reference::of_program::OfProgramError;
use thiserror::Error;

/// Why a run did not come to its end.
#[derive(Debug, Error)]
pub enum RunError {
    /// The program does not run.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    /// The integer interpreter, with which results are compared, does not run.
    #[error("the integer interpreter: {0}")]
    Interpret(#[from] InterpretError),
    /// The program has no network to interpret.
    #[error("the program cannot be interpreted: {0}")]
    OfProgram(#[from] OfProgramError),
    /// The float model, with which results are compared, does not run.
    #[error("the float model: {0}")]
    Float(#[from] FloatError),
    /// The file itself, with which results are compared, does not run on ONNX Runtime.
    #[error("ONNX Runtime on the file itself: {0}")]
    Original(HostError),
    /// The simulator and the integer interpreter disagree: a bug of ours.
    #[error("the simulator departs from the interpreter at {0}")]
    NotBitExact(Box<Difference>),
    /// There are more labels than images, or fewer.
    #[error("the labels are {labels}, the images of the samples {images}")]
    Labels {
        /// Labels given.
        labels: usize,
        /// Images of all samples.
        images: usize,
    },
    /// No noise can be made for an input.
    #[error("there is no noise of the type of input `{0}`")]
    NoNoise(String),
    /// A result is expected that the program does not have.
    #[error("there is no output `{name}`")]
    UnknownOutput {
        /// The name.
        name: String,
        /// The outputs that there are.
        outputs: Vec<String>,
    },
    /// A result is expected of another size.
    #[error("output `{name}` has {ours} values, {expected} are expected")]
    OutputSize {
        /// The output.
        name: String,
        /// Its values, of all samples.
        ours: usize,
        /// Those expected.
        expected: usize,
    },
    /// Samples of an output cannot be stacked.
    #[error("output `{name}` of the samples cannot be stacked: {reason}")]
    Stack {
        /// The output.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl RunError {
    /// Its code.
    pub fn code(&self) -> CodeEntry {
        match self {
            Self::Simulate(error) => error.code(),
            Self::Interpret(InterpretError::Host {
                source: HostError::NoOnnxRuntime(_),
                ..
            })
            | Self::Original(HostError::NoOnnxRuntime(_)) => IsaCode::RuntimeMissing.into(),
            Self::Interpret(_) => IsaCode::HostSegment.into(),
            Self::Original(_) | Self::Float(_) => CompilerCode::FloatModel.into(),
            Self::NotBitExact(_) => Code::NotBitExact.into(),
            Self::Labels { .. } => Code::LabelCount.into(),
            Self::NoNoise(_) => IsaCode::InputMissing.into(),
            Self::UnknownOutput { .. } => IsaCode::UnknownName.into(),
            Self::OutputSize { .. } => IsaCode::InputShape.into(),
            Self::Stack { .. } | Self::OfProgram(_) => IsaCode::Internal.into(),
        }
    }

    /// As a diagnostic about the program, or its model, `file`.
    pub fn diagnostic(&self, file: &str) -> Diagnostic {
        let mut diagnostic = Diagnostic::of_file(self.code(), file, self.to_string());
        match self {
            Self::NotBitExact(difference) => {
                let nodes = difference.onnx_nodes.join(", ");
                diagnostic.notes = vec![difference.extent(), format!("ONNX nodes {nodes}")];
            }
            Self::NoNoise(_) => diagnostic.help = Some("give it with `--input FILE`".to_owned()),
            Self::UnknownOutput { outputs, .. } => {
                diagnostic.help = Some(format!("the outputs are {}", outputs.join(", ")));
            }
            Self::OutputSize { .. } => {
                diagnostic.help = Some("give the expected outputs of the same samples".to_owned());
            }
            _ => {}
        }
        diagnostic
    }

    /// Whether a check that was asked for does not hold, and nothing is wrong with what was given.
    pub fn is_failed_check(&self) -> bool {
        matches!(self, Self::NotBitExact(_))
    }
}
