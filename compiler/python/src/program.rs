//! Programs: compiled from a model, loaded, run.

use crate::machine::Machine;
use crate::report::Report;
use crate::{call, error, tensor};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use scnn_host::Host;
use scnn_isa::asm;
use scnn_isa::ids::ValueId;
use scnnc::compile::Compiled;
use scnnc_cli::library::{self, Model, Options, RunOptions};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// A model: a path, or a name and bytes.
#[derive(FromPyObject)]
pub enum ModelSource {
    Bytes(PathBuf, Vec<u8>),
    File(PathBuf),
}

impl From<ModelSource> for Model {
    fn from(source: ModelSource) -> Self {
        match source {
            ModelSource::File(path) => Self::File(path),
            ModelSource::Bytes(name, bytes) => Self::Bytes { name, bytes },
        }
    }
}

/// A program, and what it was compiled from where that is known.
struct Inner {
    program: scnn_isa::program::Program,
    compiled: Option<Compiled>,
    host: Host,
    seed: u64,
}

/// A program for the machine.
#[pyclass(frozen, module = "scnnc._native")]
pub struct Program(Arc<Inner>);

/// The options of words of the command line, with the machine of an object where there is one.
pub fn parsed(
    py: Python<'_>,
    words: Vec<OsString>,
    machine: Option<PyRef<'_, Machine>>,
) -> PyResult<Options> {
    let machine = machine.map(|machine| machine.machine.clone());
    Options::parse(words, machine).map_err(|failure| error::raised(py, &failure))
}

/// Compiles a model; `options` are words of the command line.
#[pyfunction]
pub fn compile(
    py: Python<'_>,
    model: ModelSource,
    options: Vec<OsString>,
    machine: Option<PyRef<'_, Machine>>,
    inputs: Option<&Bound<'_, PyDict>>,
    listener: &Bound<'_, PyAny>,
) -> PyResult<Program> {
    let options = parsed(py, options, machine)?;
    let inputs = inputs.map(tensor::of_arrays).transpose()?;
    let inner = call::long(py, listener, move |listener| {
        let model = Model::from(model);
        let compiled = library::compile(&model, &options, inputs, listener)?;
        // What runs is the file: whatever it does not hold, the simulator cannot know.
        let program = library::load(model.path(), &compiled.program.to_bytes())?;
        Ok(Inner {
            program,
            compiled: Some(compiled),
            host: library::host(&options),
            seed: library::seed(&options),
        })
    })?;
    Ok(Program(Arc::new(inner)))
}

/// Reads a program and verifies it; `name` is what errors name.
#[pyfunction]
pub fn load(
    py: Python<'_>,
    name: PathBuf,
    bytes: Option<Vec<u8>>,
    options: Vec<OsString>,
    listener: &Bound<'_, PyAny>,
) -> PyResult<Program> {
    let options = parsed(py, options, None)?;
    let inner = call::long(py, listener, move |_| {
        let program = match bytes {
            Some(bytes) => library::load(&name, &bytes)?,
            None => library::load_file(&name)?,
        };
        Ok(Inner {
            program,
            compiled: None,
            host: library::host(&options),
            seed: library::seed(&options),
        })
    })?;
    Ok(Program(Arc::new(inner)))
}

/// Name, element type and extents of a value.
type Described = (String, String, Vec<u64>);

/// Outputs, report, and what was compared: as `Program.run` of the Python half takes them apart.
type Ran<'py> = (Bound<'py, PyDict>, Report, Bound<'py, PyDict>);

#[pymethods]
impl Program {
    /// The program file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.program.to_bytes())
    }

    /// Runs it.
    #[allow(clippy::too_many_arguments)] // Keywords of Python.
    fn run<'py>(
        &self,
        py: Python<'py>,
        inputs: Option<&Bound<'_, PyDict>>,
        timing: String,
        check: bool,
        labels: Option<Vec<usize>>,
        samples: Option<usize>,
        listener: &Bound<'_, PyAny>,
    ) -> PyResult<Ran<'py>> {
        let inputs = inputs.map(tensor::of_arrays).transpose()?;
        let inner = Arc::clone(&self.0);
        let options = RunOptions {
            timing,
            check,
            labels,
            samples,
            seed: inner.seed,
        };
        let (run, outputs) = call::long(py, listener, move |listener| {
            let (program, compiled) = (&inner.program, inner.compiled.as_ref());
            let host = inner.host.clone();
            let run = library::run(program, compiled, inputs, &options, host, listener)?;
            let outputs = library::outputs(program, &run)?;
            Ok((run, outputs))
        })?;
        let arrays = PyDict::new(py);
        for (name, tensor) in outputs {
            arrays.set_item(name, tensor::to_array(py, tensor)?)?;
        }
        let compared = compared(py, &run)?;
        Ok((arrays, Report { report: run.report }, compared))
    }

    /// The assembly text: of one layer, or of the program, with or without its constants.
    fn disassemble(&self, py: Python<'_>, layer: Option<&str>, data: bool) -> PyResult<String> {
        let program = &self.0.program;
        match layer {
            None => Ok(asm::disassemble(program, &asm::Options { data })),
            Some(layer) => library::disassemble_layer(program, layer)
                .map_err(|failure| error::raised(py, &failure)),
        }
    }

    /// The inputs.
    fn inputs(&self) -> Vec<Described> {
        self.described(&self.0.program.inputs)
    }

    /// The outputs.
    fn outputs(&self) -> Vec<Described> {
        self.described(&self.0.program.outputs)
    }

    /// The names of the layers on the array, in their order.
    fn layers(&self) -> Vec<&str> {
        let layers = self.0.program.layers.iter();
        layers.map(|layer| layer.name.as_str()).collect()
    }

    /// Numbers of instructions and of host segments.
    fn counts(&self) -> (usize, usize) {
        (self.0.program.code.len(), self.0.program.segments.len())
    }

    /// The name of the model.
    #[getter]
    fn model(&self) -> &str {
        &self.0.program.provenance.model
    }

    /// The machine that it was compiled for.
    fn machine(&self) -> Machine {
        Machine {
            machine: self.0.program.machine.clone(),
        }
    }
}

impl Program {
    fn described(&self, ids: &[ValueId]) -> Vec<Described> {
        let values = ids.iter().map(|&id| self.0.program.value(id));
        values
            .map(|value| {
                let dtype = format!("{:?}", value.dtype).to_lowercase();
                (value.name.clone(), dtype, value.shape.clone())
            })
            .collect()
    }
}

/// What was compared in a run.
fn compared<'py>(py: Python<'py>, run: &scnnc_driver::Run) -> PyResult<Bound<'py, PyDict>> {
    let compared = PyDict::new(py);
    compared.set_item("images", run.images)?;
    if let Some(accuracy) = &run.accuracy {
        compared.set_item("correct", accuracy.correct)?;
        compared.set_item("float_correct", accuracy.float_correct)?;
    }
    if let Some(check) = &run.check {
        compared.set_item("tensors", check.tensors)?;
        if check.reference.is_some() {
            compared.set_item("sqnr_db", check.outputs.sqnr_db())?;
            compared.set_item("agreeing", check.outputs.agreement().0)?;
        }
    }
    Ok(compared)
}
