//! `--prune` and its kin: what they ask for, what was done, and the pruned model as ONNX.

use super::args::Pruning;
use super::failure::Failure;
use super::stages::Stages;
use super::{grid, output};
use crate::codes::{Code, CompilerCode};
use scnnc::compile::{self, Options};
use scnnc::import::Imported;
use scnnc::prune::budget::{Budget, Judge, Score};
use scnnc::prune::densities::{Densities, is_density};
use scnnc::prune::{self, Pattern, Pruned, Target};
use std::fmt::Write;
use std::path::Path;

/// What the options ask for, if they ask for anything.
pub fn request(options: &Pruning) -> Result<Option<prune::Options>, Failure> {
    let mut pattern = options.prune_pattern.unwrap_or_default();
    let target = if let Some(density) = options.prune {
        if !is_density(density) {
            return Err(Failure::usage(&format!(
                "`--prune {density}`: a density is above 0 and at most 1"
            )));
        }
        Target::Density(density)
    } else if let Some(file) = &options.prune_file {
        let text = String::from_utf8_lossy(&output::read(file)?).into_owned();
        let densities = Densities::from_yaml(&text)
            .map_err(|e| Failure::yaml(CompilerCode::DensitiesFile, file, &text, &e))?;
        pattern = options.prune_pattern.unwrap_or(densities.pattern);
        Target::Layers(densities)
    } else if let Some(budget) = options.prune_budget {
        Target::Budget(budget)
    } else if let Some(Pattern::OfEvery { .. }) = options.prune_pattern {
        // The pattern says how much.
        Target::Density(1.0)
    } else if options.prune_pattern.is_some() {
        return Err(Failure::usage(
            "`--prune-pattern` says where weights go: say with `--prune`, `--prune-file` or `--prune-budget` how many",
        ));
    } else if options.save_onnx.is_some() || options.save_densities.is_some() {
        return Err(Failure::usage(
            "nothing is pruned that could be saved: give `--prune`, `--prune-file` or `--prune-budget`",
        ));
    } else {
        return Ok(None);
    };
    Ok(Some(prune::Options { pattern, target }))
}

/// The request in a few words, for the program's provenance.
pub fn words(request: &prune::Options, pruned: &Pruned) -> String {
    let how = match &request.target {
        Target::Density(density) => density.to_string(),
        Target::Layers(_) => "by layer".to_owned(),
        Target::Budget(budget) => budget.to_string(),
    };
    format!(
        "prune={how} pattern={} density={:.4}",
        request.pattern,
        pruned.density().1
    )
}

/// Prunes a model on the calibration samples of `options`.
pub fn prune(
    path: &Path,
    imported: &Imported,
    request: &prune::Options,
    options: &Options,
    labels: Option<&[usize]>,
    stages: &Stages,
) -> Result<(Imported, Pruned), Failure> {
    let integer = |imported: Imported| {
        compile::interpret_samples(imported, options).map_err(|e| e.to_string())
    };
    let judge = Judge {
        samples: &compile::samples(&imported.graph, options),
        labels,
        integer: &integer,
    };
    let result = prune::prune(imported, request, &judge, &mut |done, steps| {
        stages.length(steps);
        stages.reached(done);
    });
    result.map_err(|error| Failure::Refused(error.diagnostics(&path.display().to_string())))
}

/// Writes what the options want kept.
pub fn save(path: &Path, options: &Pruning, pruned: &Pruned) -> Result<(), Failure> {
    if let Some(file) = &options.save_densities {
        let text = pruned
            .densities()
            .to_yaml()
            .map_err(|e| Failure::file(Code::CannotWrite, file, &e.to_string()))?;
        output::write(file, text.as_bytes())?;
    }
    let Some(file) = &options.save_onnx else {
        return Ok(());
    };
    let original = output::read(path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let data = format!("{name}.data");
    let files = prune::write_back::write_back(original, folder, &data, &pruned.weights())
        .map_err(|e| Failure::file(Code::CannotWrite, file, &e.to_string()))?;
    if let Some(bytes) = &files.data {
        output::write(&file.with_file_name(&data), bytes)?;
    }
    output::write(file, &files.model)
}

/// What was pruned, for people.
pub fn table(pruned: &Pruned) -> String {
    let mut table = grid::plain(&["pruned", "weights", "density before", "after"]);
    for layer in &pruned.layers {
        table.add_row([
            layer.name.clone(),
            layer.weights.to_string(),
            format!("{:.4}", layer.before),
            format!("{:.4}", layer.after),
        ]);
    }
    grid::right(&mut table, 1..4);
    let (before, after) = pruned.density();
    let mut text = format!("{}\n\n", grid::fitted(table, &[1]));
    let ratio = pruned.float.sqnr_db();
    let (agreeing, images) = pruned.float.agreement();
    let beside = if ratio.is_finite() {
        format!("{ratio:.1} dB, top-1 agrees on {agreeing} of {images}")
    } else {
        "no difference".to_owned()
    };
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "pruned    {} from {before:.4} to {after:.4} of all weights; float model against the unpruned one: {beside}",
        pruned.pattern
    );
    if !pruned.left_out.is_empty() {
        let _ = writeln!(
            text,
            "left out  {}: their weights are computed, or other nodes read them otherwise",
            pruned.left_out.join(", ")
        );
    }
    if let Some(outcome) = &pruned.outcome {
        let _ = writeln!(
            text,
            "budget    {}, on {} calibration sample{}: float model {}; in integers {}; pruned {}",
            outcome.budget,
            outcome.samples,
            if outcome.samples == 1 { "" } else { "s" },
            score(&outcome.float, outcome),
            score(&outcome.unpruned, outcome),
            score(&outcome.pruned, outcome)
        );
    }
    text.push('\n');
    text
}

fn score(score: &Score, outcome: &prune::budget::Outcome) -> String {
    let mut parts = Vec::new();
    if let (Budget::Top1(_), Some(correct)) = (outcome.budget, score.correct) {
        let share = 100.0 * correct as f64 / outcome.images.max(1) as f64;
        parts.push(format!("{share:.2} %"));
    }
    if score.sqnr_db.is_finite() {
        parts.push(format!("{:.1} dB", score.sqnr_db));
    }
    if parts.is_empty() {
        parts.push("exact".to_owned());
    }
    parts.join(" at ")
}
