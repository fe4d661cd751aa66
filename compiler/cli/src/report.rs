//! `report`: reports as a page, as CSV, as figures, as a table; and their schema.

mod beside;
mod colours;
mod density;
pub mod figures;
pub mod page;
pub mod svg;

use super::failure::Failure;
use super::{args, grid, output, table, view};
use scnn_simulator::report::columns::csv;
use scnn_simulator::report::{Report, schema};
use std::path::Path;

/// `scnnc report`.
pub fn report(options: &args::Report) -> Result<(), Failure> {
    if options.schema {
        // A JSON value always has a text.
        let text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
        output::print(&format!("{text}\n"));
        return Ok(());
    }
    let model = options.model.as_deref();
    view::check(&options.view, model)?;
    let mut reports = Vec::new();
    for path in &options.reports {
        reports.extend(read(path)?);
    }
    if let Some(path) = &options.output {
        output::write(path, page::html(&reports).as_bytes())?;
    }
    if let Some(path) = &options.csv {
        output::write(path, csv(&reports).as_bytes())?;
    }
    if let Some(folder) = &options.svg {
        figures::write(folder, &reports)?;
    }
    match reports.as_slice() {
        _ if options.view.is_empty() => {}
        [report] => view::write(&options.view, report, model)?,
        _ => {
            return Err(Failure::usage(&format!(
                "`--view` shows one report and {} are given",
                reports.len()
            )));
        }
    }
    let shown = options.output.is_some() || options.csv.is_some() || options.svg.is_some();
    if options.density_model {
        output::print(&density::text(&reports));
    } else if !shown && options.view.is_empty() {
        if reports.len() > 1 {
            output::print(&format!("{}\n", beside::text(&reports)));
        }
        for (number, report) in reports.iter().enumerate() {
            if number > 0 {
                output::print("\n");
            }
            output::print(&text(report));
        }
    }
    Ok(())
}

/// A report as text: the table of its layers, its sums, and what its results were compared with.
pub fn text(report: &Report) -> String {
    let comparison = grid::hanging(&table::comparison(report));
    format!("{}{comparison}", table::report(report))
}

/// The reports in a file that `run --report` or `compare --report` wrote.
fn read(path: &Path) -> Result<Vec<Report>, Failure> {
    of_bytes(path, &output::read(path)?)
}

/// The reports in the bytes of such a file; `path` is what diagnostics name.
pub fn of_bytes(path: &Path, bytes: &[u8]) -> Result<Vec<Report>, Failure> {
    Report::read(bytes).map_err(|error| Failure::file(error.code(), path, &error.to_string()))
}
