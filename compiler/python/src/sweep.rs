//! Sweeps.

use crate::call;
use crate::report::fields;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use scnnc_cli::library::{self, Outcomes};
use scnnc_driver::sweep::tables;
use std::path::PathBuf;

/// The points of a sweep and their outcomes.
#[pyclass(frozen, module = "scnnc._native")]
pub struct Sweep(Outcomes);

/// Measures the points of the specification at `path`, or in `text`, whose files are beside `path`. `code` is this library's
/// file.
#[pyfunction]
pub fn sweep(
    py: Python<'_>,
    path: PathBuf,
    text: Option<String>,
    folder: Option<PathBuf>,
    shard: Option<String>,
    code: Option<PathBuf>,
    listener: &Bound<'_, PyAny>,
) -> PyResult<Sweep> {
    let asked = library::Sweep {
        path,
        text,
        folder,
        shard,
        code,
    };
    let outcomes = call::long(py, listener, move |listener| {
        library::sweep(&asked, listener)
    })?;
    Ok(Sweep(outcomes))
}

#[pymethods]
impl Sweep {
    /// The rows of `points.csv`.
    fn points<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let points = self.0.iter();
        points
            .map(|(row, outcome)| fields(py, tables::point(row, outcome)))
            .collect()
    }

    /// The rows of `layers.csv`.
    fn layers<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let layers = self.0.iter();
        layers
            .flat_map(|(row, outcome)| tables::layers_of(row, outcome))
            .map(|row| fields(py, row))
            .collect()
    }

    /// The page of `scnnc sweep report -o`.
    fn page(&self) -> String {
        library::sweep_page(&self.0)
    }
}
