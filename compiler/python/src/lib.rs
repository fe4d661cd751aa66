//! The native half of the Python module `scnnc`: functions and classes over bytes, tensors and JSON.
//!
//! What people see is written in Python (`package/scnnc`); this half converts and calls [`scnnc_cli::library`], so that every
//! result is the command line's. It knows neither pandas nor files of models beside those that the compiler opens.

mod call;
mod cost;
mod error;
mod machine;
mod program;
mod report;
mod sweep;
mod tensor;

use machine::Machine;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use scnnc_cli::{Counting, Invocation, library};
use std::ffi::OsString;
use std::path::PathBuf;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The native half of `scnnc`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::cost::{Cost, cost};
    #[pymodule_export]
    use super::machine::Machine;
    #[pymodule_export]
    use super::program::{Program, compile, load};
    #[pymodule_export]
    use super::report::{Report, read_reports};
    #[pymodule_export]
    use super::sweep::{Sweep, sweep};
    #[pymodule_export]
    use super::{advise, check, explain, main, sensitivity, zoo_list, zoo_make};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::call::remember_panics();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// Does what a command line says; returns the exit status. `program` is the command that leads here, `code` this library's
/// file.
#[pyfunction]
fn main(py: Python<'_>, program: Vec<OsString>, words: Vec<OsString>, code: Option<PathBuf>) -> u8 {
    let invocation = Invocation {
        program,
        words,
        code,
    };
    py.detach(|| scnnc_cli::run(&invocation))
}

/// What of a model would run where, as JSON.
#[pyfunction]
fn check(
    py: Python<'_>,
    model: program::ModelSource,
    options: Vec<OsString>,
    machine: Option<PyRef<'_, Machine>>,
    listener: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let machine = machine.map(|machine| machine.machine.clone());
    let judged = call::long(py, listener, move |_| {
        library::check(&model.into(), options, machine)
    })?;
    Ok(judged.to_string())
}

/// What pruning each layer costs and saves, as JSON.
#[pyfunction]
fn sensitivity(
    py: Python<'_>,
    model: program::ModelSource,
    options: Vec<OsString>,
    machine: Option<PyRef<'_, Machine>>,
    inputs: Option<&Bound<'_, PyDict>>,
    listener: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let machine = machine.map(|machine| machine.machine.clone());
    let inputs = inputs.map(tensor::of_arrays).transpose()?;
    let study = call::long(py, listener, move |listener| {
        library::sensitivity(&model.into(), options, machine, inputs, listener)
    })?;
    Ok(study.to_string())
}

/// What one change of each parameter of a machine gains or costs, as JSON.
#[pyfunction]
fn advise(
    py: Python<'_>,
    models: Vec<program::ModelSource>,
    options: Vec<OsString>,
    machine: Option<PyRef<'_, Machine>>,
    inputs: Option<&Bound<'_, PyDict>>,
    listener: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let machine = machine.map(|machine| machine.machine.clone());
    let inputs = inputs.map(tensor::of_arrays).transpose()?;
    let models: Vec<library::Model> = models.into_iter().map(Into::into).collect();
    let advice = call::long(py, listener, move |listener| {
        library::advise(&models, options, machine, inputs.as_ref(), listener)
    })?;
    Ok(advice.to_string())
}

/// The explanation of a code, or of a term of the glossary.
#[pyfunction]
fn explain(py: Python<'_>, word: &str) -> PyResult<String> {
    library::explain(word).map_err(|failure| error::raised(py, &failure))
}

/// The networks of the zoo, as JSON.
#[pyfunction]
fn zoo_list() -> String {
    library::zoo_list().to_string()
}

/// A network of the zoo: the bytes of its ONNX file, and its image `[1, C, H, W]`, or its sound `[1, C, W]`.
#[pyfunction]
fn zoo_make<'py>(
    py: Python<'py>,
    name: String,
    seed: u64,
    density: Option<(f64, f64)>,
    listener: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyAny>)> {
    let (bytes, made) = call::long(py, listener, move |_| {
        library::zoo_make(&name, seed, density)
    })?;
    let (extents, values) = made.image;
    let image = tensor::array(py, &extents, values)?;
    Ok((PyBytes::new(py, &bytes), image))
}
