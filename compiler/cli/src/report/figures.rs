//! Figures for papers: each report's layers as SVG, one file a figure.

use super::super::failure::Failure;
use super::super::{output, table};
use super::colours;
use super::svg::{Series, Stack, stacked};
use scnn_simulator::report::{Layer, Report};
use std::path::Path;

/// Writes `cycles.svg`, `energy.svg` and `speedup.svg`; with several reports, numbered.
pub fn write(folder: &Path, reports: &[Report]) -> Result<(), Failure> {
    output::folder(folder)?;
    for (index, report) in reports.iter().enumerate() {
        let number = if reports.len() > 1 {
            format!("{}-", index + 1)
        } else {
            String::new()
        };
        for (name, svg) in of(report) {
            output::write(&folder.join(format!("{number}{name}.svg")), svg.as_bytes())?;
        }
    }
    Ok(())
}

/// The figures of a report, by name.
pub fn of(report: &Report) -> [(&'static str, String); 3] {
    [
        ("cycles", cycles(report)),
        ("energy", energy(report)),
        ("speedup", speedup(report)),
    ]
}

/// A cause or component as people write it, as in the page.
fn words(name: &str) -> String {
    let word = |word: &str| match word {
        "fifo" | "dram" | "ppu" => word.to_uppercase(),
        "rams" => "RAMs".to_owned(),
        word => word.to_owned(),
    };
    name.split('_').map(word).collect::<Vec<_>>().join(" ")
}

fn series<T>(entries: &[(&'static str, T)]) -> Vec<Series> {
    let series = entries.iter().map(|(name, _)| Series {
        name: words(name),
        colour: colours::on_light(name),
    });
    series.collect()
}

/// Cycles of each layer by cause.
fn cycles(report: &Report) -> String {
    let samples = f64::from(report.samples);
    let slots = |layer: &Layer| layer.costs.cycles.slots.entries();
    let stacks = report
        .layers
        .iter()
        .filter(|layer| layer.costs.cycles.total > 0)
        .map(|layer| {
            let per_cycle = layer.costs.cycles.slots.total().max(1) as f64
                / (layer.costs.cycles.total as f64 / samples);
            Stack {
                name: layer.name.clone(),
                parts: slots(layer)
                    .iter()
                    .map(|(_, slots)| *slots as f64 / per_cycle)
                    .collect(),
            }
        });
    let names = series(&report.totals.cycles.slots.entries());
    stacked(
        &caption(report, "cycles by cause"),
        &names,
        &stacks.collect::<Vec<_>>(),
        |v| table::si(v, ""),
    )
}

/// Energy of each layer by component.
fn energy(report: &Report) -> String {
    let samples = f64::from(report.samples);
    let stacks = report
        .layers
        .iter()
        .filter(|layer| layer.costs.energy_pj.total > 0.0)
        .map(|layer| Stack {
            name: layer.name.clone(),
            parts: layer
                .costs
                .energy_pj
                .components
                .components()
                .iter()
                .map(|(_, pj)| pj / samples)
                .collect(),
        });
    let names = series(&report.totals.energy_pj.components.components());
    stacked(
        &caption(report, "energy by component"),
        &names,
        &stacks.collect::<Vec<_>>(),
        |pj| table::si(pj * 1e-12, "J"),
    )
}

/// How many times faster than DCNN each layer is.
fn speedup(report: &Report) -> String {
    let stacks = report.array_layers().map(|layer| Stack {
        name: layer.name.clone(),
        parts: vec![layer.costs.baselines.dcnn as f64 / layer.costs.cycles.total.max(1) as f64],
    });
    stacked(
        &caption(report, "times faster than DCNN"),
        &series(&[("speed-up", ())]),
        &stacks.collect::<Vec<_>>(),
        |ratio| format!("{ratio:.1}x"),
    )
}

fn caption(report: &Report, what: &str) -> String {
    format!(
        "{} on {}, mapping {}: {what}",
        report.model, report.machine, report.mapping
    )
}
