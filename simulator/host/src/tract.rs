//! tract, the runtime that is part of the program: the one way by which a typed model is planned and run.

use super::large_gemm::read_in_place;
use super::{
    HostError, ResultType, Runtime, RuntimeName, Session, contained, reader, self_contained,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tract_linalg::multithread::{Executor, multithread_tract_scope};
use tract_onnx::prelude::{
    DatumType, InferenceModelExt, IntoRunnable, IntoTValue, IntoTensor, OutletId, TValue, TVec,
    Tensor, TractResult, TypedFact, TypedModel, TypedSimplePlan,
};
use tract_onnx::tract_hir::internal::{DimLike, format_err};
use tract_onnx::tract_hir::ops::konst::Const;
use tract_onnx::tract_hir::tract_core::ops::source::TypedSource;
use tract_onnx::tract_hir::tract_core::plan::eval;

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
    plan: Mutex<Option<Arc<Plan>>>,
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
        let mut results: Vec<Option<TValue>> = vec![None; self.typed.outputs.len()];
        self.run_each(operands, &mut |place, value| {
            results[place] = Some(value.clone());
        })?;
        let results = results.into_iter().enumerate();
        let results = results.map(|(place, result)| {
            let computed = result.map(IntoTensor::into_tensor);
            computed.ok_or_else(|| HostError::tract(&format_err!("result {place} is not computed")))
        });
        results.collect()
    }

    /// The same; `each` receives the results as they are computed, with their places in the order of the model's outputs.
    /// What `each` does not keep is let go as soon as nothing else is computed of it.
    ///
    /// # Errors
    /// See [`Self::run`].
    pub fn run_each(
        &self,
        operands: Vec<Tensor>,
        each: &mut dyn FnMut(usize, &TValue),
    ) -> Result<(), HostError> {
        let run = || {
            let mut operands: TVec<TValue> =
                operands.into_iter().map(IntoTValue::into_tvalue).collect();
            operands.extend(self.handed_over.iter().cloned().map(TValue::from_const));
            let plan = self.plan()?;
            // The threads that everything else runs on too; what they compute does not depend on how many there are.
            multithread_tract_scope(Executor::RayonGlobal, || plan.run_each(operands, each))
        };
        contained(run).map_err(|error| HostError::tract(&error))
    }

    /// Gives the plan up; another run makes it anew.
    pub fn release_plan(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn plan(&self) -> TractResult<Arc<Plan>> {
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
        Ok(Arc::clone(plan.insert(Arc::new(Plan::new(model)?))))
    }
}

/// A planned model.
///
/// The results of tract's plan are those that nothing else is computed of; the others are handed out on the way, so that
/// tract need not keep them until its end.
#[derive(Debug)]
struct Plan {
    of_tract: Arc<TypedSimplePlan>,
    /// By node that computes any: the slots of results, each with its place.
    places: BTreeMap<usize, Vec<(usize, usize)>>,
    /// Results that are constants of the model, with their places.
    constants: Vec<(usize, TValue)>,
}

impl Plan {
    fn new(mut model: TypedModel) -> TractResult<Self> {
        let outlets = model.outputs.clone();
        let mut places: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        let mut constants = Vec::new();
        for (place, outlet) in outlets.iter().enumerate() {
            match model.node(outlet.node).op_as::<Const>() {
                Some(constant) => {
                    let value = TValue::from_const(Arc::clone(constant.val()));
                    constants.push((place, concrete(value)?));
                }
                None => places
                    .entry(outlet.node)
                    .or_default()
                    .push((outlet.slot, place)),
            }
        }
        let read = ancestors(&model, outlets.iter().map(|outlet| outlet.node));
        let last = outlets.into_iter();
        let last: Vec<OutletId> = last.filter(|outlet| !read.contains(&outlet.node)).collect();
        model.select_output_outlets(&last)?;
        Ok(Self {
            of_tract: model.into_runnable()?,
            places,
            constants,
        })
    }

    /// Runs it; `each` receives the results with their places.
    fn run_each(
        &self,
        operands: TVec<TValue>,
        each: &mut dyn FnMut(usize, &TValue),
    ) -> TractResult<()> {
        for (place, value) in &self.constants {
            each(*place, value);
        }
        let mut state = self.of_tract.spawn()?;
        let results = state.run_plan_with_eval(operands, |context, state, node, operands| {
            let values = eval(context, state, node, operands)?;
            for &(slot, place) in self.places.get(&node.id).into_iter().flatten() {
                each(place, &concrete(values[slot].clone())?);
            }
            TractResult::Ok(values)
        });
        results.map(drop)
    }
}

/// The nodes that others are computed of.
fn ancestors(model: &TypedModel, nodes: impl Iterator<Item = usize>) -> BTreeSet<usize> {
    let mut open: Vec<usize> = nodes.collect();
    let mut seen: BTreeSet<usize> = open.iter().copied().collect();
    let mut read = BTreeSet::new();
    while let Some(node) = open.pop() {
        for operand in &model.node(node).inputs {
            read.insert(operand.node);
            if seen.insert(operand.node) {
                open.push(operand.node);
            }
        }
    }
    read
}

/// tract computes shapes symbolically; whatever is concrete is a 64-bit integer.
fn concrete(value: TValue) -> TractResult<TValue> {
    if value.datum_type() == DatumType::TDim {
        Ok(value.cast_to_dt(DatumType::I64)?.into_owned().into_tvalue())
    } else {
        Ok(value)
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
    use tract_onnx::prelude::tensor1;
    use tract_onnx::tract_hir::internal::{DatumExt, SpecialOps};
    use tract_onnx::tract_hir::tract_core::ops::math::{add, mul};

    /// A result that others are computed of, a constant, an input that is handed on, and the same result twice.
    #[test]
    fn every_kind_of_result_is_handed_out() {
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact([2])).unwrap();
        let two = model.add_const("two", tensor1(&[2f32, 2.0])).unwrap();
        let doubled = model.wire_node("doubled", mul(), &[x, two]).unwrap()[0];
        let sum = model.wire_node("sum", add(), &[doubled, x]).unwrap()[0];
        let outlets = [doubled, two, x, sum, doubled];
        model.select_output_outlets(&outlets).unwrap();
        let model = TractModel::new(model);
        let expected: Vec<Tensor> = [[2.0, 6.0], [2.0, 2.0], [1.0, 3.0], [3.0, 9.0], [2.0, 6.0]]
            .map(|values: [f32; 2]| tensor1(&values))
            .into();
        for _ in 0..2 {
            let results = model.run(vec![tensor1(&[1f32, 3.0])]).unwrap();
            assert_eq!(results, expected);
        }
    }

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        let lock = std::fs::read_to_string(lock).unwrap();
        let entry = format!("name = \"tract-onnx\"\nversion = \"{TRACT_VERSION}\"");
        assert!(lock.contains(&entry), "tract-onnx has another version");
    }
}
