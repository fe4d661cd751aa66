//! A study as text, CSV and JSON.

use super::{Next, Study, Whole};
use crate::codes::Code;
use crate::failure::Failure;
use crate::{grid, output, table};
use std::fmt::Write;
use std::path::Path;

/// Layers to prune next that are printed.
const MOST_NEXT: usize = 5;

/// The study in words and a table.
pub(super) fn text(study: &Study) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{} on {}: one layer pruned at a time, {}, timing {}, {} sample{}; top-1: {}\n\n{}\n",
        study.model,
        study.machine,
        study.pattern,
        study.timing,
        study.samples,
        if study.samples == 1 { "" } else { "s" },
        match study.unpruned.top1_accuracy {
            Some(_) => "classified as labelled",
            None => "classified as by the unpruned float model",
        },
        points(study)
    );
    let _ = writeln!(
        text,
        "unpruned  {} at the outputs, top-1 {}, {} cycles, {}",
        decibels(study.unpruned.sqnr_db),
        top1(&study.unpruned),
        table::si(study.unpruned.network_cycles, ""),
        table::si(study.unpruned.network_energy_pj * 1e-12, "J")
    );
    let front = study.points.iter().filter(|p| p.best_of_network).count();
    let _ = writeln!(
        text,
        "best      {front} of {} points have no other that is at least as good in SQNR, cycles and energy of the network",
        study.points.len()
    );
    add_next(&mut text, &study.next);
    text
}

/// The table of points.
fn points(study: &Study) -> String {
    let mut table = grid::plain(&[
        "layer",
        "density, 0 to 1",
        "SQNR",
        "top-1",
        "layer cycles",
        "energy",
        "network cycles",
        "energy",
        "best",
    ]);
    for point in &study.points {
        let best = match (point.best_of_network, point.best_of_layer) {
            (true, _) => "network",
            (false, true) => "layer",
            (false, false) => "",
        };
        table.add_row([
            point.layer.clone(),
            format!("{:.3}", point.density),
            decibels(point.network.sqnr_db),
            top1(&point.network),
            table::si(point.layer_cycles, ""),
            table::si(point.layer_energy_pj * 1e-12, "J"),
            table::si(point.network.network_cycles, ""),
            table::si(point.network.network_energy_pj * 1e-12, "J"),
            best.to_owned(),
        ]);
    }
    grid::right(&mut table, 1..8);
    grid::fitted(table, &[5, 7, 4])
}

fn add_next(text: &mut String, next: &[Next]) {
    for (number, next) in next.iter().take(MOST_NEXT).enumerate() {
        let label = if number == 0 { "next" } else { "" };
        let _ = writeln!(
            text,
            "{label:<10}{} to {:.3}: {:.1} % fewer cycles, {:.1} % less energy, {}, no image classified otherwise",
            next.layer,
            next.density,
            100.0 * next.cycles_saved,
            100.0 * next.energy_saved,
            decibels(next.sqnr_db)
        );
    }
    if next.is_empty() {
        text.push_str(
            "next      nothing: every point that saves cycles classifies an image otherwise\n",
        );
    }
}

fn decibels(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "exact".to_owned(), |ratio| format!("{ratio:.1} dB"))
}

fn top1(network: &Whole) -> String {
    let share = network.top1_accuracy.or(network.top1_agreement);
    share.map_or_else(String::new, |share| format!("{:.1} %", 100.0 * share))
}

/// The column of a field, which ends in its unit.
fn column(field: &str) -> String {
    if field.starts_with("density") || field.starts_with("top1") {
        format!("{field}_ratio")
    } else {
        field.to_owned()
    }
}

/// Writes the study as CSV or JSON, by the file's extension.
pub(super) fn write(path: &Path, study: &Study) -> Result<(), Failure> {
    let failed = |e: serde_json::Error| Failure::file(Code::CannotWrite, path, &e.to_string());
    if output::is_json(path) {
        return output::write_json(path, study);
    }
    let mut csv = String::new();
    for (index, point) in study.points.iter().enumerate() {
        let serde_json::Value::Object(fields) = serde_json::to_value(point).map_err(failed)? else {
            continue;
        };
        if index == 0 {
            let names: Vec<String> = fields.keys().map(|name| column(name)).collect();
            csv.push_str(&names.join(","));
            csv.push('\n');
        }
        let cells: Vec<String> = fields
            .values()
            .map(|value| match value {
                serde_json::Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
                serde_json::Value::Null => String::new(),
                other => other.to_string(),
            })
            .collect();
        csv.push_str(&cells.join(","));
        csv.push('\n');
    }
    output::write(path, csv.as_bytes())
}
