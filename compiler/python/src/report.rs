//! Reports.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use scnn_simulator::report::columns::{Cell, Entry, costs, row};
use scnnc_cli::library;

/// What a run cost.
#[pyclass(frozen, module = "scnnc._native")]
pub struct Report {
    pub report: scnn_simulator::report::Report,
}

/// The reports in the bytes of a file that `scnnc run --report` or `scnnc compare --report` wrote.
#[pyfunction]
pub fn read_reports(py: Python<'_>, path: &str, bytes: &[u8]) -> PyResult<Vec<Report>> {
    let reports = library::reports(path.as_ref(), bytes);
    let reports = reports.map_err(|failure| crate::error::raised(py, &failure))?;
    Ok(reports
        .into_iter()
        .map(|report| Report { report })
        .collect())
}

#[pymethods]
impl Report {
    /// The report as `scnnc run --report` writes it.
    fn json(&self) -> PyResult<String> {
        serde_json::to_string_pretty(&self.report)
            .map_err(|e| pyo3::exceptions::PyValueError::new_err(e.to_string()))
    }

    /// The layers in the columns of the CSV.
    fn layers<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let layers = self.report.layers.iter();
        layers.map(|layer| fields(py, row(layer))).collect()
    }

    /// The totals in the columns that are summed.
    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        fields(py, costs(&self.report.totals))
    }

    /// The table of `scnnc run`.
    fn table(&self) -> String {
        library::report_table(&self.report)
    }

    /// The page of `scnnc report -o`.
    fn page(&self) -> String {
        library::report_page(std::slice::from_ref(&self.report))
    }

    /// The figures of `scnnc report --svg`, by name.
    fn figures(&self) -> Vec<(&'static str, String)> {
        library::report_figures(&self.report).into()
    }
}

/// A row of a table as a dictionary.
pub fn fields(py: Python<'_>, row: Vec<Entry>) -> PyResult<Bound<'_, PyDict>> {
    let fields = PyDict::new(py);
    for (name, cell) in row {
        match cell {
            Cell::Text(text) => fields.set_item(name, text),
            Cell::Count(count) => fields.set_item(name, count),
            Cell::Number(number) => fields.set_item(name, number),
            Cell::Empty => fields.set_item(name, py.None()),
        }?;
    }
    Ok(fields)
}
