//! tract, the runtime that is part of the program: the one way by which a typed model is planned and run.

use super::large_gemm::read_in_place;
use super::{
    HostError, ResultType, Runtime, RuntimeName, Session, contained, reader, self_contained,
};
use std::sync::{Arc, Mutex, PoisonError};
use tract_linalg::multithread::{Executor, multithread_tract_scope};
use tract_onnx::prelude::{
    DatumType, InferenceModelExt, IntoRunnable, IntoTValue, IntoTensor, OutletId, TValue, TVec,
    Tensor, TractResult, TypedFact, TypedModel, TypedSimplePlan,
};
use tract_onnx::tract_hir::internal::DimLike;
use tract_onnx::tract_hir::ops::konst::Const;
use tract_onnx::tract_hir::tract_core::ops::source::TypedSource;

/// The version of tract that is built in. A test holds it against the lock file.
pub const TRACT_VERSION: &str = "0.23.9";

/// Nodes of the largest model that tract optimises; larger ones run as they are.
const MOST_OPTIMISED: usize = 1 << 11;

/// Bytes from which a constant is large. It is handed over at each run: what copies it into the order of a kernel does
/// not keep the copy, and the products of fully connected layers do not copy it at all.
const LARGE: usize = 32 << 20;

/// A typed model that can be run.
///
/// It is planned when it is first run, and the plan, for which tract copies the weights into the order of its kernels,
/// can be given up in between.
#[derive(Debug)]
pub struct TractModel {
    typed: TypedModel,
    plan: Mutex<Option<Arc<TypedSimplePlan>>>,
    /// Constants that are handed over at each run, behind the inputs.
    handed_over: Vec<Arc<Tensor>>,
}

impl TractModel {
    /// Prepares a model.
    pub fn new(mut typed: TypedModel) -> Self {
        read_in_place(&mut typed, LARGE);
        let handed_over = hand_over(&mut typed);
        Self {
            typed,
            plan: Mutex::default(),
            handed_over,
        }
    }

    /// Runs it on operands in the order of its inputs.
    ///
    /// # Errors
    /// tract cannot plan the model; an operand is missing or does not fit.
    pub fn run(&self, operands: Vec<Tensor>) -> Result<Vec<Tensor>, HostError> {
        let run = || {
            let mut operands: TVec<TValue> =
                operands.into_iter().map(IntoTValue::into_tvalue).collect();
            operands.extend(self.handed_over.iter().cloned().map(TValue::from_const));
            let plan = self.plan()?;
            // The threads that everything else runs on too; what they compute does not depend on how many there are.
            let results = multithread_tract_scope(Executor::RayonGlobal, || plan.run(operands))?;
            results
                .into_iter()
                .map(|result| concrete(result.into_tensor()))
                .collect()
        };
        contained(run).map_err(|error| HostError::tract(&error))
    }

    /// Gives the plan up; another run makes it anew.
    pub fn release_plan(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn plan(&self) -> TractResult<Arc<TypedSimplePlan>> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = &*plan {
            return Ok(Arc::clone(plan));
        }
        // tract's optimiser goes over all of a model after each change that it makes; and where it fails (0.23 cannot
        // move every strided slice before a convolution), the model as it is computes the same. What comes before it as a
        // rule, decluttering, would multiply the scales of batch normalisations into copies of the weights, which takes
        // long and rounds otherwise than the graph says.
        let small = self.typed.nodes().len() <= MOST_OPTIMISED;
        let optimised = small.then(|| {
            contained(|| {
                let mut model = self.typed.clone();
                model.optimize()?;
                Ok(model)
            })
        });
        let model = match optimised {
            Some(Ok(model)) => model,
            Some(Err(_)) | None => self.typed.clone(),
        };
        Ok(Arc::clone(plan.insert(model.into_runnable()?)))
    }
}

/// tract computes shapes symbolically; whatever is concrete is a 64-bit integer.
fn concrete(tensor: Tensor) -> TractResult<Tensor> {
    if tensor.datum_type() == DatumType::TDim {
        Ok(tensor.cast_to_dt(DatumType::I64)?.into_owned())
    } else {
        Ok(tensor)
    }
}

/// Makes inputs of the largest constants; returns them in the order of those inputs.
fn hand_over(model: &mut TypedModel) -> Vec<Arc<Tensor>> {
    let mut handed_over = Vec::new();
    for node in &mut model.nodes {
        let Some(constant) = node.op_as::<Const>() else {
            continue;
        };
        let tensor = Arc::clone(constant.val());
        let bytes = tensor.len() * tensor.datum_type().size_of();
        if bytes < LARGE {
            continue;
        }
        let fact = TypedFact::dt_shape(tensor.datum_type(), tensor.shape());
        node.op = Box::new(TypedSource::new(fact.clone()));
        node.outputs[0].fact = fact;
        model.inputs.push(OutletId::new(node.id, 0));
        handed_over.push(tensor);
    }
    handed_over
}

/// The runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tract;

impl Runtime for Tract {
    fn name(&self) -> RuntimeName {
        RuntimeName::Tract
    }

    fn version(&self) -> &str {
        TRACT_VERSION
    }

    fn load(&self, model: &[u8]) -> Result<Box<dyn Session>, HostError> {
        let model = self_contained(model)?;
        let typed = || {
            // What the file says of results is not needed, and tract would refuse a model for it.
            let reader = reader()
                .with_ignore_output_shapes(true)
                .with_ignore_value_info(true);
            reader.parse(&model, None)?.model.into_typed()
        };
        let typed = contained(typed).map_err(|error| HostError::tract(&error))?;
        let model = TractModel::new(typed);
        // A model that cannot be planned is refused now and not in the middle of a run.
        contained(|| model.plan().map(drop)).map_err(|error| HostError::tract(&error))?;
        Ok(Box::new(model))
    }
}

impl Session for TractModel {
    fn run(&self, operands: Vec<Tensor>) -> Result<Vec<Tensor>, HostError> {
        Self::run(self, operands)
    }

    fn results(&self) -> Vec<ResultType> {
        let outlets = self.typed.outputs.iter();
        let known = |outlet: &OutletId| {
            let fact = self.typed.outlet_fact(*outlet).ok()?;
            Some(ResultType {
                datum: Some(fact.datum_type),
                dims: Some(fact.shape.iter().map(|dim| dim.to_usize().ok()).collect()),
            })
        };
        outlets
            .map(|outlet| known(outlet).unwrap_or_default())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        let lock = std::fs::read_to_string(lock).unwrap();
        let entry = format!("name = \"tract-onnx\"\nversion = \"{TRACT_VERSION}\"");
        assert!(lock.contains(&entry), "tract-onnx has another version");
    }
}
