//! The host: the one way by which ONNX models from outside are run. Interpreter, simulator and float model all begin here,
//! so that what they compute of the same sub-model is the same to the bit.
//!
//! There are two runtimes. **tract** is part of the program and runs what it has right. **ONNX Runtime** is loaded when it
//! is first needed, if the person has its library, and runs the rest; nothing is linked with it. [`Host`] holds the
//! choice, a [`Runtime`] makes a [`Session`] of the bytes of a model, and a session runs on operands in their order.
//!
//! A model is untrusted: it reaches a runtime from memory, whole ([`self_contained`]), without custom operators or
//! plug-ins, a panic inside of tract is an error ([`contained`]), and both runtimes allocate by the allocator of this
//! process, which counts.

mod choice;
mod datum;
mod large_gemm;
mod onnx_runtime;
mod quantise;
mod reader;
mod self_contained;
mod tract;

pub use choice::{Host, Library, Policy};
pub use datum::datum_type;
pub use reader::{contained, reader};
pub use self_contained::self_contained;
pub use tract::{TRACT_VERSION, TractModel};

use std::fmt;
use thiserror::Error;
use tract_onnx::prelude::{DatumType, Tensor, TractError};

/// A runtime's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuntimeName {
    /// The one that is part of the program.
    #[default]
    Tract,
    /// The one that is loaded if the person has it.
    OnnxRuntime,
}

impl RuntimeName {
    /// In a word, as options and reports spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tract => "tract",
            Self::OnnxRuntime => "onnxruntime",
        }
    }
}

impl fmt::Display for RuntimeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tract => "tract",
            Self::OnnxRuntime => "ONNX Runtime",
        })
    }
}

/// Why a model does not run on the host.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    /// It is no model, or refers to something outside of itself.
    #[error("the model is refused: {0}")]
    Refused(String),
    /// A runtime cannot run it.
    #[error("{runtime}: {reason}")]
    Failed {
        /// The runtime.
        runtime: RuntimeName,
        /// Its words.
        reason: String,
    },
    /// It needs ONNX Runtime, which is not there.
    #[error("ONNX Runtime is needed and was not found: {0}")]
    NoOnnxRuntime(String),
}

impl HostError {
    /// Why, in the words of the runtime and without its name.
    pub fn reason(&self) -> String {
        match self {
            Self::Failed { reason, .. } => reason.clone(),
            Self::Refused(_) | Self::NoOnnxRuntime(_) => self.to_string(),
        }
    }

    /// tract's error, with its causes.
    fn tract(error: &TractError) -> Self {
        let chain: Vec<String> = error.chain().map(ToString::to_string).take(3).collect();
        Self::Failed {
            runtime: RuntimeName::Tract,
            reason: chain.join(": "),
        }
    }
}

/// What makes sessions of models.
pub trait Runtime: Send + Sync {
    /// Its name.
    fn name(&self) -> RuntimeName;

    /// Its version.
    fn version(&self) -> &str;

    /// Reads and plans a model.
    ///
    /// # Errors
    /// The bytes are no model that is whole, or the runtime does not have what is in it.
    fn load(&self, model: &[u8]) -> Result<Box<dyn Session>, HostError>;
}

/// A model ready to run.
pub trait Session: Send + Sync {
    /// Runs it on operands in the order of its inputs; results are in the order of its outputs.
    ///
    /// # Errors
    /// An operand does not fit, or the runtime gives up.
    fn run(&self, operands: Vec<Tensor>) -> Result<Vec<Tensor>, HostError>;

    /// What is known of the results before they are computed.
    fn results(&self) -> Vec<ResultType>;
}

/// What is known of a result before it is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultType {
    /// Element type; none where it is of none of ours.
    pub datum: Option<DatumType>,
    /// Extents, as far as they do not depend on data; none where not even their number is known.
    pub dims: Option<Vec<Option<usize>>>,
}
