//! Several reports on a terminal: what differs between them, before each of them alone.

use crate::{grid, table};
use scnn_simulator::report::{Layer, Report};
use std::fmt::Write;

/// Layers that are listed, those whose cycles differ most.
const MOST_LAYERS: usize = 12;

/// Most lines about parameters and options.
const MOST_SETTINGS: usize = 16;

/// Runs by number with their sums as factors of the first's, the settings that differ, and the layers whose cycles do.
pub fn text(reports: &[Report]) -> String {
    let Some(first) = reports.first() else {
        return String::new();
    };
    let mut text = format!("{}\n", totals(reports, first));
    let settings = settings(reports);
    if settings.is_empty() {
        text.push_str("\nno setting differs\n");
    } else {
        text.push('\n');
    }
    // Writing to a string does not fail.
    for line in settings.iter().take(MOST_SETTINGS) {
        let _ = writeln!(text, "{line}");
    }
    if let Some(more) = settings.len().checked_sub(MOST_SETTINGS + 1) {
        let _ = writeln!(text, "and {} more settings", more + 1);
    }
    text.push('\n');
    text.push_str(&layers(reports, first));
    text
}

/// A mean of one inference.
fn per_sample(report: &Report, sum: f64) -> f64 {
    sum / f64::from(report.samples.max(1))
}

fn totals(reports: &[Report], first: &Report) -> String {
    let mut rows = grid::plain(&["run", "cycles", "", "energy", "", "DRAM", "", "useful"]);
    let cycles = |report: &Report| per_sample(report, report.totals.cycles.total as f64);
    let energy = |report: &Report| per_sample(report, report.totals.energy_pj.total);
    let bytes = |report: &Report| per_sample(report, report.totals.dram_bytes.total() as f64);
    for (number, report) in (1..).zip(reports) {
        let factor = |pick: &dyn Fn(&Report) -> f64| ratio(pick(report), pick(first));
        rows.add_row([
            format!("{number}: {} on {}", report.model, report.machine),
            table::si(cycles(report), ""),
            factor(&cycles),
            table::si(energy(report) * 1e-12, "J"),
            factor(&energy),
            table::si(bytes(report), "B"),
            factor(&bytes),
            format!("{:.1} %", 100.0 * report.totals.utilisation),
        ]);
    }
    grid::right(&mut rows, 1..8);
    grid::fitted(rows, &[])
}

/// A factor of the first run's; none where that is nothing.
fn ratio(value: f64, first: f64) -> String {
    if first > 0.0 {
        table::times(value / first)
    } else {
        String::new()
    }
}

/// What the runs were made of and differs, a line each, the runs' values in their order.
fn settings(reports: &[Report]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, values: Vec<String>| {
        if values.windows(2).any(|pair| pair[0] != pair[1]) {
            lines.push(format!("{what}: {}", values.join(" | ")));
        }
    };
    let each = |pick: &dyn Fn(&Report) -> String| reports.iter().map(pick).collect::<Vec<_>>();
    compare("model", each(&|report| report.model.clone()));
    compare("tool", each(&|report| report.tool.clone()));
    compare("timing", each(&|report| report.timing.clone()));
    compare("samples", each(&|report| report.samples.to_string()));
    compare(
        "inputs",
        each(&|report| short(&report.provenance.inputs_blake3)),
    );
    let options = |report: &Report| report.options.join(", ");
    compare("options", each(&options));
    for path in paths(reports) {
        let value = |report: &Report| {
            let parameter = report.parameters.iter().find(|known| known.path == path);
            parameter.map_or_else(
                || "-".to_owned(),
                |known| format!("{} {}", known.value, known.unit),
            )
        };
        compare(path, each(&|report| value(report).trim_end().to_owned()));
    }
    lines
}

/// The first letters of a hash.
fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

/// Every parameter of the machines, in the order of their first occurrence.
fn paths(reports: &[Report]) -> Vec<&str> {
    let mut paths: Vec<&str> = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for parameter in reports.iter().flat_map(|report| &report.parameters) {
        if known.insert(&parameter.path) {
            paths.push(&parameter.path);
        }
    }
    paths
}

/// The layers whose cycles differ most between the runs, by name.
fn layers(reports: &[Report], first: &Report) -> String {
    let of = |report: &Report, name: &str| -> Option<f64> {
        let layer = report.layers.iter().find(|layer| layer.name == name)?;
        Some(per_sample(report, layer.costs.cycles.total as f64))
    };
    let spread = |layer: &&Layer| {
        let cycles = reports.iter().filter_map(|report| of(report, &layer.name));
        let (least, most) = cycles.fold((f64::INFINITY, 0.0f64), |(least, most), cycles| {
            (least.min(cycles), most.max(cycles))
        });
        most - least
    };
    let mut differing: Vec<&Layer> = first.layers.iter().filter(|l| spread(l) > 0.0).collect();
    if differing.is_empty() {
        return "no layer's cycles differ\n".to_owned();
    }
    differing.sort_by(|a, b| spread(b).total_cmp(&spread(a)));
    let others = differing.len().saturating_sub(MOST_LAYERS);
    let numbers: Vec<String> = (1..=reports.len())
        .map(|n| format!("cycles of {n}"))
        .collect();
    let header = ["layers that differ most"]
        .into_iter()
        .chain(numbers.iter().map(String::as_str));
    let mut rows = grid::plain(&header.collect::<Vec<_>>());
    for layer in differing.into_iter().take(MOST_LAYERS) {
        let base = of(first, &layer.name).unwrap_or(0.0);
        let cells =
            reports
                .iter()
                .enumerate()
                .map(|(index, report)| match of(report, &layer.name) {
                    None => "-".to_owned(),
                    Some(cycles) if index == 0 => table::si(cycles, ""),
                    Some(cycles) => format!("{} {}", table::si(cycles, ""), ratio(cycles, base)),
                });
        rows.add_row([layer.name.clone()].into_iter().chain(cells));
    }
    grid::right(&mut rows, 1..=reports.len());
    let mut text = format!("{}\n", grid::fitted(rows, &[]));
    if others > 0 {
        let _ = writeln!(text, "and {}", table::counted(others, "other layer"));
    }
    text
}
