//! Machines.

use crate::error;
use pyo3::prelude::*;
use scnnc_cli::library;

/// A machine description.
#[pyclass(frozen, module = "scnnc._native")]
pub struct Machine {
    pub machine: scnn_isa::machine::Machine,
}

#[pymethods]
impl Machine {
    /// The machine of a preset's name or a file, with some parameters set, `PATH=VALUE` each.
    #[new]
    #[allow(clippy::needless_pass_by_value)] // The conversion from Python makes a value.
    fn new(py: Python<'_>, base: &str, settings: Vec<String>) -> PyResult<Self> {
        let machine = library::machine(base, &settings);
        let machine = machine.map_err(|failure| error::raised(py, &failure))?;
        Ok(Self { machine })
    }

    /// The names of the presets.
    #[staticmethod]
    fn presets() -> Vec<&'static str> {
        let presets = scnn_isa::machine::Machine::presets();
        presets.map(|(name, _)| name).collect()
    }

    /// The name.
    #[getter]
    fn name(&self) -> &str {
        &self.machine.name
    }

    /// The whole description as YAML.
    fn yaml(&self) -> String {
        self.machine.to_yaml()
    }

    /// Every parameter, as JSON.
    fn parameters(&self) -> String {
        library::parameters(&self.machine).to_string()
    }
}
