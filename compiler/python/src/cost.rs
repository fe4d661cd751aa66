//! Costs of a network while its weights are pruned.

use crate::machine::Machine;
use crate::program::{self, ModelSource};
use crate::{call, error, tensor};
use numpy::{PyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use scnnc::pruning_cost::{CostError, Elements, GivenWeights, Next, Part, PruningCost};
use scnnc_cli::library::{self, Model};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The costs of a network for any zeros of its weights; calls of several threads take turns.
#[pyclass(frozen, module = "scnnc._native")]
pub struct Cost(Mutex<PruningCost>);

/// Compiles a model to ask for costs; `options` are words of the command line.
#[pyfunction]
pub fn cost(
    py: Python<'_>,
    model: ModelSource,
    options: Vec<OsString>,
    machine: Option<PyRef<'_, Machine>>,
    inputs: Option<&Bound<'_, PyDict>>,
    listener: &Bound<'_, PyAny>,
) -> PyResult<Cost> {
    let options = program::parsed(py, options, machine)?;
    let inputs = inputs.map(tensor::of_arrays).transpose()?;
    let costs = call::long(py, listener, move |listener| {
        library::pruning_cost(&Model::from(model), &options, inputs, listener)
    })?;
    Ok(Cost(Mutex::new(costs)))
}

/// An array that is read where it lies.
enum Borrowed<'py> {
    Mask(PyReadonlyArrayDyn<'py, bool>),
    Values(PyReadonlyArrayDyn<'py, f32>),
}

impl<'py> Borrowed<'py> {
    fn of(array: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(mask) = array.extract() {
            return Ok(Self::Mask(mask));
        }
        let values = array.extract();
        values.map(Self::Values).map_err(|_| {
            PyTypeError::new_err("masks are arrays of bool, weights of float32, in row-major order")
        })
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Mask(mask) => mask.shape(),
            Self::Values(values) => values.shape(),
        }
    }

    fn elements(&self) -> PyResult<Elements<'_>> {
        Ok(match self {
            Self::Mask(mask) => Elements::Mask(mask.as_slice()?),
            Self::Values(values) => Elements::Values(values.as_slice()?),
        })
    }
}

/// Calls `work` with the arrays of a dictionary, without the interpreter's lock.
fn with_arrays<T: Send>(
    py: Python<'_>,
    arrays: &Bound<'_, PyDict>,
    work: impl FnOnce(&[GivenWeights<'_>]) -> Result<T, CostError> + Send,
) -> PyResult<T> {
    let arrays = arrays.iter();
    let arrays: Vec<(String, Borrowed<'_>)> = arrays
        .map(|(name, array)| Ok((name.extract()?, Borrowed::of(&array)?)))
        .collect::<PyResult<_>>()?;
    let given = arrays.iter().map(|(name, array)| {
        Ok(GivenWeights {
            name,
            shape: array.shape(),
            elements: array.elements()?,
        })
    });
    let given: Vec<GivenWeights<'_>> = given.collect::<PyResult<_>>()?;
    let result = py.detach(|| work(&given));
    result.map_err(|error| error::raised(py, &library::cost_failure(&error)))
}

impl Cost {
    fn locked(&self) -> MutexGuard<'_, PruningCost> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Cost {
    /// The tensors of weights, and the nodes whose weights cannot be given, as JSON.
    fn layers(&self) -> String {
        let costs = self.locked();
        let tensors = costs.tensors().map(|tensor| {
            json!({
                "name": tensor.name, "tensor": tensor.tensor, "shape": tensor.shape,
                "density": tensor.density, "layers": tensor.layers,
            })
        });
        let tensors: Vec<Value> = tensors.collect();
        json!({
            "layers": tensors, "left_out": costs.left_out(), "activations": costs.activations(),
        })
        .to_string()
    }

    /// Counts the zeros of activations anew, arrays of float32 by their tensors' names.
    fn observe(&self, py: Python<'_>, arrays: &Bound<'_, PyDict>) -> PyResult<()> {
        let values = tensor::of_arrays(arrays)?.into_iter().collect();
        let observed = py.detach(|| self.locked().observe(&values));
        observed.map_err(|error| error::raised(py, &library::cost_failure(&error)))
    }

    /// By layer of the program: name, cycles, energy in pJ, products that land.
    fn cost(
        &self,
        py: Python<'_>,
        arrays: &Bound<'_, PyDict>,
    ) -> PyResult<Vec<(String, u64, f64, u64)>> {
        let costs = with_arrays(py, arrays, |given| self.locked().cost(given))?;
        let costs = costs.into_iter();
        let costs = costs.map(|(name, cost)| (name, cost.cycles, cost.energy_pj, cost.products));
        Ok(costs.collect())
    }

    /// The shape of a tensor, and by weight, in row-major order, the products that it takes part in and that land.
    fn products<'py>(
        &self,
        py: Python<'py>,
        name: &str,
    ) -> PyResult<(Vec<usize>, Bound<'py, PyArray1<u64>>)> {
        let found = py.detach(|| {
            let costs = self.locked();
            let (tensor, products) = costs.products(name)?;
            Ok((tensor.shape.clone(), products))
        });
        let found =
            found.map_err(|error: CostError| error::raised(py, &library::cost_failure(&error)));
        let (shape, products) = found?;
        Ok((shape, PyArray1::from_vec(py, products)))
    }

    /// What the next zeros of each tensor save, as JSON; those of the smallest weights without a seed.
    fn marginal(
        &self,
        py: Python<'_>,
        arrays: &Bound<'_, PyDict>,
        share: f64,
        seed: Option<u64>,
    ) -> PyResult<String> {
        let next = seed.map_or(Next::Smallest, Next::Random);
        let found = with_arrays(py, arrays, |given| {
            self.locked().marginal(given, Part { share, next })
        })?;
        let found = found.into_iter().map(|of| {
            json!({
                "name": of.name, "zeros": of.zeros, "cycles_per_zero": of.cycles_per_zero,
                "pj_per_zero": of.pj_per_zero, "products_per_zero": of.products_per_zero,
            })
        });
        Ok(Value::Array(found.collect()).to_string())
    }
}
