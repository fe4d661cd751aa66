//! The float model, run by tract: the reference for accuracy and the source of calibration.

mod large_gemm;

use crate::import::{Large, Typed, typed};
use scnn_host::contained;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tract_linalg::multithread::{Executor, multithread_tract_scope};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{
    IntoRunnable, IntoTValue, IntoTensor, OutletId, TValue, TVec, Tensor, TractError, TypedFact,
    TypedModel, TypedSimplePlan,
};
use tract_onnx::tract_hir::ops::konst::Const;
use tract_onnx::tract_hir::tract_core::ops::source::TypedSource;

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

/// Nodes of the largest model that tract optimises; larger ones run as they are.
const MOST_OPTIMISED: usize = 1 << 11;

/// A model that can be run for chosen tensors.
///
/// It is planned when it is first run, and the plan, for which tract copies the weights into the order of its kernels,
/// can be given up in between.
pub struct FloatModel {
    typed: TypedModel,
    plan: Mutex<Option<Arc<TypedSimplePlan>>>,
    inputs: Vec<String>,
    /// Constants that are handed over at each run, behind the inputs.
    handed_over: Vec<Arc<Tensor>>,
    /// Names of results, each with its place among the outlets: a tensor of tract's may have several.
    outputs: Vec<(String, usize)>,
}

impl fmt::Debug for FloatModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FloatModel")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

/// Bytes from which a constant is large. It is handed over at each run: what copies it into the order of a kernel does
/// not keep the copy, and the products of fully connected layers do not copy it at all.
const LARGE: usize = 32 << 20;

impl FloatModel {
    /// Prepares `model` to compute its outputs and the tensors in `wanted`; names that it does not compute are left out.
    ///
    /// # Errors
    /// tract cannot read the model.
    pub fn new(model: Typed, wanted: &[String]) -> Result<Self, FloatError> {
        let Typed {
            model: mut typed,
            outlets: computed,
            outputs,
        } = model;
        let inputs: Vec<String> = typed
            .input_outlets()?
            .iter()
            .map(|o| typed.node(o.node).name.clone())
            .collect();
        let mut outlets: Vec<OutletId> = typed.output_outlets()?.to_vec();
        let mut outputs: Vec<(String, usize)> = outputs.into_iter().zip(0..).collect();
        let mut places: BTreeMap<OutletId, usize> = outlets.iter().copied().zip(0..).collect();
        let known: BTreeSet<String> = outputs.iter().map(|(name, _)| name.clone()).collect();
        for name in wanted.iter().filter(|name| !known.contains(*name)) {
            let Some(&outlet) = computed.get(name) else {
                continue;
            };
            let place = *places.entry(outlet).or_insert_with(|| {
                outlets.push(outlet);
                outlets.len() - 1
            });
            outputs.push((name.clone(), place));
        }
        typed.select_output_outlets(&outlets)?;
        large_gemm::read_in_place(&mut typed, LARGE);
        let handed_over = hand_over(&mut typed);
        Ok(Self {
            typed,
            plan: Mutex::default(),
            inputs,
            handed_over,
            outputs,
        })
    }

    /// Runs it on inputs by name.
    ///
    /// # Errors
    /// tract cannot plan the model; a missing input, or one that does not fit.
    pub fn run(
        &self,
        inputs: &BTreeMap<String, Tensor>,
    ) -> Result<BTreeMap<String, Tensor>, FloatError> {
        let mut operands: TVec<TValue> = self
            .inputs
            .iter()
            .map(|name| inputs.get(name).cloned().map(IntoTValue::into_tvalue))
            .collect::<Option<_>>()
            .ok_or_else(|| FloatError("an input is missing".to_owned()))?;
        operands.extend(self.handed_over.iter().cloned().map(TValue::from_const));
        let plan = self.plan()?;
        // The threads that everything else runs on too; what they compute does not depend on how many there are.
        let threads = || multithread_tract_scope(Executor::RayonGlobal, || plan.run(operands));
        let results = contained(threads)?;
        let mut results: Vec<Option<Tensor>> = results
            .into_iter()
            .map(|result| Some(result.into_tensor()))
            .collect();
        let mut readers: BTreeMap<usize, usize> = BTreeMap::new();
        for (_, place) in &self.outputs {
            *readers.entry(*place).or_default() += 1;
        }
        // Moved to the last that asks for it.
        let take = |(name, place): &(String, usize)| {
            let left = readers.get_mut(place)?;
            *left -= 1;
            let slot = results.get_mut(*place)?;
            let tensor = if *left == 0 {
                slot.take()
            } else {
                slot.clone()
            };
            Some((name.clone(), tensor?))
        };
        Ok(self.outputs.iter().filter_map(take).collect())
    }

    /// Gives the plan up; another run makes it anew.
    pub fn release_plan(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn plan(&self) -> Result<Arc<TypedSimplePlan>, FloatError> {
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
        let made = contained(|| model.into_runnable())?;
        Ok(Arc::clone(plan.insert(made)))
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
        .map(|(name, _)| {
            results
                .remove(name)
                .ok_or_else(|| FloatError(format!("`{name}` is missing")))
        })
        .collect()
}
