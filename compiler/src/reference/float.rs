//! The float model: the reference for accuracy and the source of calibration.

use crate::import::{Chain, ChainError, Typed};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;
use tract_onnx::prelude::{TValue, Tensor, TractError};

/// Why the float model does not run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the float model does not run: {0}")]
pub struct FloatError(pub String);

impl From<TractError> for FloatError {
    fn from(error: TractError) -> Self {
        let chain: Vec<String> = error.chain().map(ToString::to_string).take(3).collect();
        Self(chain.join(": "))
    }
}

impl From<ChainError> for FloatError {
    fn from(error: ChainError) -> Self {
        Self(error.to_string())
    }
}

/// A model that can be run for chosen tensors.
///
/// Its parts are planned when they are first run, and the plans can be given up in between.
pub struct FloatModel {
    chain: Chain,
}

impl fmt::Debug for FloatModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FloatModel").finish_non_exhaustive()
    }
}

impl FloatModel {
    /// Prepares `model` to compute its outputs and the tensors in `wanted`; names that it does not compute are left out.
    ///
    /// # Errors
    /// tract cannot read the model.
    pub fn new(model: Typed, wanted: &[String]) -> Result<Self, FloatError> {
        Ok(Self {
            chain: model.chain(wanted)?,
        })
    }

    /// Runs it on inputs by name.
    ///
    /// # Errors
    /// A runtime cannot run a part of it; a missing input, or one that does not fit; a shape that depends on data.
    pub fn run(
        &self,
        inputs: &BTreeMap<String, Tensor>,
    ) -> Result<BTreeMap<String, Tensor>, FloatError> {
        Ok(self.chain.run(inputs)?)
    }

    /// The same; `each` receives the tensors as they are computed. What it does not keep is let go as soon as nothing else is
    /// computed of it: a network's activations together are many times what is needed at once.
    ///
    /// # Errors
    /// See [`Self::run`].
    pub fn run_each(
        &self,
        inputs: &BTreeMap<String, Tensor>,
        each: &mut dyn FnMut(&str, &TValue),
    ) -> Result<(), FloatError> {
        Ok(self.chain.run_each(inputs, each)?)
    }

    /// Gives the plans up; another run makes them anew.
    pub fn release_plan(&self) {
        self.chain.release_plans();
    }
}
