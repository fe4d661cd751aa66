//! Why a program did not run to its end: the errors, and their diagnostics.

use crate::codes::Code;
use scnn_host::HostError;
use scnn_isa::diagnostic::{Code as IsaCode, CodeEntry, Diagnostic};
use scnn_isa::section::SectionError;
use thiserror::Error;

/// Why a program did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SimulateError {
    /// A section is malformed; the verifier finds that first.
    #[error("section of layer `{layer}`: {source}")]
    Section {
        /// The layer.
        layer: String,
        /// What is wrong.
        source: SectionError,
    },
    /// An input is missing.
    #[error("the input `{0}` is missing")]
    MissingInput(String),
    /// Nothing was given to run.
    #[error("there are no samples")]
    NoSamples,
    /// A value at the host's border does not fit.
    #[error("value `{name}`: {reason}")]
    Value {
        /// ONNX name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A host segment failed.
    #[error("host segment `{segment}`: {source}")]
    Host {
        /// Its name.
        segment: String,
        /// Why.
        source: HostError,
    },
    /// An accumulator overflowed.
    #[error(
        "layer `{layer}`, PE row {} column {}: the sum {sum} of output channel {channel} does not fit {bits} bits", .pe.0, .pe.1
    )]
    Overflow {
        /// The layer.
        layer: String,
        /// Row and column of the PE whose output it is.
        pe: (u32, u32),
        /// Output channel of the destination view.
        channel: u32,
        /// The sum.
        sum: i32,
        /// Bits of an accumulator.
        bits: u32,
    },
}

impl SimulateError {
    /// Its code.
    pub fn code(&self) -> CodeEntry {
        match self {
            Self::Section { .. } => IsaCode::BadSection.into(),
            Self::MissingInput(_) | Self::NoSamples => IsaCode::InputMissing.into(),
            Self::Value { .. } => IsaCode::InputShape.into(),
            Self::Host {
                source: HostError::NoOnnxRuntime(_),
                ..
            } => IsaCode::RuntimeMissing.into(),
            Self::Host { .. } => IsaCode::HostSegment.into(),
            Self::Overflow { .. } => Code::Overflow.into(),
        }
    }

    /// As a diagnostic about the program, or its model, `file`.
    pub fn diagnostic(&self, file: &str) -> Diagnostic {
        Diagnostic::of_file(self.code(), file, self.to_string())
    }
}
