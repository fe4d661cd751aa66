//! An ONNX model: in a file, or in memory as bindings hand it over.

use super::failure::Failure;
use super::output;
use scnnc::import::survey::{Survey, survey, survey_bytes};
use scnnc::import::{ImportOptions, Imported, import_bytes, import_observed};
use scnnc::normalise::{ImportErrors, Observer};
use std::path::{Path, PathBuf};

/// An ONNX model.
#[derive(Clone, Debug)]
pub enum Model {
    /// In a file; external data lie beside it.
    File(PathBuf),
    /// In memory.
    Bytes {
        /// What stands for the file's name in diagnostics and, where the model has no name of its own, in reports.
        name: PathBuf,
        /// The protobuf.
        bytes: Vec<u8>,
    },
}

impl Model {
    /// The model at a path; standard input and pipes are read here.
    ///
    /// # Errors
    /// A stream that cannot be read.
    pub(crate) fn at(path: &Path) -> Result<Self, Failure> {
        if !output::is_stream(path) {
            return Ok(Self::File(path.to_owned()));
        }
        Ok(Self::Bytes {
            name: path.to_owned(),
            bytes: output::read(path)?,
        })
    }

    /// The file, or what stands for it.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Bytes { name, .. } => name,
        }
    }

    /// Imports it; `observe` receives the text of a file's model after every pass of normalisation.
    pub(crate) fn import(
        &self,
        options: &ImportOptions,
        observe: Option<&mut Observer<'_>>,
    ) -> Result<Imported, ImportErrors> {
        match self {
            Self::File(path) => import_observed(path, options, observe),
            Self::Bytes { name, bytes } => {
                let stem = if output::is_standard(name) {
                    "model".into()
                } else {
                    name.file_stem().unwrap_or_default().to_string_lossy()
                };
                import_bytes(&stem, bytes, Path::new("."), options)
            }
        }
    }

    /// Judges its nodes by their operators alone; `None` if it is no model at all.
    pub(crate) fn survey(&self) -> Option<Survey> {
        match self {
            Self::File(path) => survey(path),
            Self::Bytes { bytes, .. } => survey_bytes(bytes),
        }
    }
}
