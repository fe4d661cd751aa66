//! `report --density-model`: how far a model that knows densities alone is off, layer by layer.

use crate::{grid, table};
use scnn_simulator::report::Report;
use scnn_simulator::timing::DensityModel;
use std::fmt::Write;

/// The errors of each report's layers; of several reports, a line each.
pub fn text(reports: &[Report]) -> String {
    match reports {
        [report] => layers(report),
        several => networks(several),
    }
}

/// Predicted over counted, less one: products, fullest PE, cycles.
fn errors(model: &DensityModel) -> [f64; 3] {
    let error = |predicted: f64, counted: u64| predicted / counted.max(1) as f64 - 1.0;
    [
        error(model.predicted_products, model.products),
        error(model.predicted_fullest_pe_steps, model.fullest_pe_steps),
        error(model.predicted_cycles, model.cycles),
    ]
}

fn percent(error: f64) -> String {
    format!("{:+.1} %", 100.0 * error)
}

fn layers(report: &Report) -> String {
    let mut rows = grid::plain(&[
        "layer",
        "products",
        "predicted",
        "fullest PE",
        "predicted",
        "cycles",
        "predicted",
    ]);
    let (sum, models) = report.density_models();
    let mut add = |name: &str, model: &DensityModel| {
        let [products, fullest, cycles] = errors(model).map(percent);
        let count = |count: u64| table::si(count as f64, "");
        rows.add_row([
            name.to_owned(),
            count(model.products),
            products,
            count(model.fullest_pe_steps),
            fullest,
            count(model.cycles),
            cycles,
        ]);
    };
    for (name, model) in &models {
        add(name, model);
    }
    add("all", &sum);
    grid::right(&mut rows, 1..7);
    format!(
        "{} on {}: uniform-random zeros of the same densities, beside the real ones; cycles are steps and barriers\n\n{}\n\n{}",
        report.model,
        report.machine,
        rows.trim_fmt(),
        summary(&models)
    )
}

/// Mean and worst error of the layers.
fn summary(models: &[(&str, &DensityModel)]) -> String {
    let mut text = String::new();
    for (of, name) in ["products", "fullest PE", "cycles"].into_iter().enumerate() {
        if let Some((mean, worst, layer)) = spread(models, of) {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{name:<11} off by {:.1} % a layer (mean), {} at worst ({layer})",
                100.0 * mean,
                percent(worst)
            );
        }
    }
    text
}

/// Mean size of the errors of layers, and the largest with its layer.
fn spread<'a>(models: &[(&'a str, &DensityModel)], of: usize) -> Option<(f64, f64, &'a str)> {
    let errors = models
        .iter()
        .filter(|(_, model)| model.products > 0)
        .map(|(name, model)| (errors(model)[of], *name));
    let errors: Vec<(f64, &str)> = errors.collect();
    let mean =
        errors.iter().map(|(error, _)| error.abs()).sum::<f64>() / errors.len().max(1) as f64;
    let worst = errors
        .into_iter()
        .max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))?;
    Some((mean, worst.0, worst.1))
}

fn networks(reports: &[Report]) -> String {
    let head = [
        "network",
        "machine",
        "layers",
        "products",
        "a layer",
        "worst",
        "fullest PE",
        "a layer",
        "worst",
        "cycles",
        "a layer",
        "worst",
    ];
    let mut rows = grid::plain(&head);
    for report in reports {
        let (sum, models) = report.density_models();
        let mut row = vec![
            report.model.clone(),
            report.machine.clone(),
            models.len().to_string(),
        ];
        for (of, error) in errors(&sum).into_iter().enumerate() {
            let (mean, worst) =
                spread(&models, of).map_or((0.0, 0.0), |(mean, worst, _)| (mean, worst));
            row.extend([
                percent(error),
                format!("{:.1} %", 100.0 * mean),
                percent(worst),
            ]);
        }
        rows.add_row(row);
    }
    grid::right(&mut rows, 2..12);
    format!("{}\n", rows.trim_fmt())
}
