//! The float model, run by tract: the reference for accuracy and the source of calibration.

use crate::import::{Large, Typed, typed};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{
    IntoRunnable, IntoTValue, OutletId, TVec, Tensor, TractError, TypedSimplePlan,
};

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

/// A model that can be run for chosen tensors.
pub struct FloatModel {
    plan: Arc<TypedSimplePlan>,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl fmt::Debug for FloatModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FloatModel")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl FloatModel {
    /// Prepares `model` to compute its outputs and the tensors in `wanted`; names that it does not compute are left out.
    ///
    /// # Errors
    /// tract cannot read or plan the model.
    pub fn new(model: Typed, wanted: &[String]) -> Result<Self, FloatError> {
        let Typed {
            model: mut typed,
            outlets: computed,
            mut outputs,
        } = model;
        let inputs: Vec<String> = typed
            .input_outlets()?
            .iter()
            .map(|o| typed.node(o.node).name.clone())
            .collect();
        let mut outlets: Vec<OutletId> = typed.output_outlets()?.to_vec();
        for name in wanted {
            if let Some(&outlet) = computed.get(name)
                && !outlets.contains(&outlet)
            {
                outputs.push(name.clone());
                outlets.push(outlet);
            }
        }
        typed.select_output_outlets(&outlets)?;
        let plan = typed.into_optimized()?.into_runnable()?;
        Ok(Self {
            plan,
            inputs,
            outputs,
        })
    }

    /// Runs it on inputs by name.
    ///
    /// # Errors
    /// A missing input, or one that does not fit.
    pub fn run(
        &self,
        inputs: &BTreeMap<String, Tensor>,
    ) -> Result<BTreeMap<String, Tensor>, FloatError> {
        let operands: TVec<_> = self
            .inputs
            .iter()
            .map(|name| inputs.get(name).cloned().map(IntoTValue::into_tvalue))
            .collect::<Option<_>>()
            .ok_or_else(|| FloatError("an input is missing".to_owned()))?;
        let results = self.plan.run(operands)?;
        Ok(self
            .outputs
            .iter()
            .cloned()
            .zip(
                results
                    .into_iter()
                    .map(tract_onnx::prelude::IntoTensor::into_tensor),
            )
            .collect())
    }
}

/// Runs a sub-model once on operands in the order of its inputs.
///
/// # Errors
/// tract cannot run it.
pub fn run_once(model: &ModelProto, operands: &[Tensor]) -> Result<Vec<Tensor>, FloatError> {
    let model = FloatModel::new(typed(model, &Large::new(), &[])?, &[])?;
    let inputs: BTreeMap<String, Tensor> = model
        .inputs
        .iter()
        .cloned()
        .zip(operands.iter().cloned())
        .collect();
    let mut results = model.run(&inputs)?;
    model
        .outputs
        .iter()
        .map(|name| {
            results
                .remove(name)
                .ok_or_else(|| FloatError(format!("`{name}` is missing")))
        })
        .collect()
}
