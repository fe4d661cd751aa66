//! `sensitivity`: what pruning a layer costs in accuracy and saves in cycles and energy.
//!
//! For every layer and density, that layer alone is pruned, the network compiled with the ranges of the unpruned one,
//! and executed on the samples asked for. A point is on the front of its layer, or of the whole network, when no other
//! point is at least as good in accuracy, cycles and energy, and better in one. Next to prune is the point of each layer that
//! saves most cycles while all images keep their class; largest saving first.

mod text;
mod trial;

use super::args::Sensitivity;
use super::build::{self, Sample};
use super::failure::Failure;
use super::stages::Stages;
use super::{machine, output, samples};
use crate::codes::{CompilerCode, IsaCode};
use scnn_isa::machine::Machine;
use scnnc::calibrate::synthetic;
use scnnc::compile;
use scnnc::import::Imported;
use scnnc::names::resolve;
use scnnc::prune::densities::is_density;
use scnnc::prune::{self, Pattern};
use scnnc::reference::float::FloatModel;
use serde::Serialize;
use std::path::Path;
use trial::Trial;

/// The file that `-o` writes.
#[derive(Serialize)]
pub struct Study {
    model: String,
    machine: String,
    pattern: Pattern,
    timing: &'static str,
    samples: usize,
    /// The network as it is.
    unpruned: Whole,
    points: Vec<DensityPoint>,
    /// Next to prune, best first: one density of each layer.
    next: Vec<Next>,
}

/// A layer to prune next.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Next {
    layer: String,
    density: f64,
    /// Share of the network's cycles that it saves.
    cycles_saved: f64,
    /// Share of the network's energy that it saves.
    energy_saved: f64,
    sqnr_db: Option<f64>,
}

/// The network at one point, means over samples.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Whole {
    /// Of the outputs against the unpruned float model; absent when nothing differs.
    sqnr_db: Option<f64>,
    /// Share of images with the same class as by the unpruned float model; for networks that classify.
    top1_agreement: Option<f64>,
    /// Share of images that are classified as labelled, where there are labels.
    top1_accuracy: Option<f64>,
    network_cycles: f64,
    network_energy_pj: f64,
}

/// A layer at a density.
#[derive(Clone, Debug, Serialize)]
struct DensityPoint {
    layer: String,
    /// Share of non-zero weights in the file.
    density_unpruned: f64,
    /// Share of them when pruned.
    density: f64,
    layer_cycles: f64,
    layer_energy_pj: f64,
    #[serde(flatten)]
    network: Whole,
    /// Whether no other density of the layer is better.
    best_of_layer: bool,
    /// Whether no other point is better for the network.
    best_of_network: bool,
}

impl DensityPoint {
    /// Accuracy, cycles and energy of the network, less is better.
    fn network_costs(&self) -> [f64; 3] {
        let Whole {
            network_cycles,
            network_energy_pj,
            ..
        } = self.network;
        [self.noise(), network_cycles, network_energy_pj]
    }

    fn layer_costs(&self) -> [f64; 3] {
        [self.noise(), self.layer_cycles, self.layer_energy_pj]
    }

    fn noise(&self) -> f64 {
        self.network.sqnr_db.map_or(f64::NEG_INFINITY, |db| -db)
    }
}

/// `scnnc sensitivity`.
pub fn sensitivity(options: &Sensitivity) -> Result<(), Failure> {
    let stages = stages(options).with_data(options.json);
    let machine = machine::of_model(&options.compilation.machine)?;
    let path = &options.model;
    let imported = build::open(path, &options.compilation, &stages)?;
    let study = study(path, imported, options, machine, &[], &stages)?;
    if options.json {
        output::print_json(&study);
    } else {
        output::print(&text::text(&study));
    }
    match &options.output {
        Some(path) => text::write(path, &study),
        None => Ok(()),
    }
}

/// The stages of a study.
pub fn stages(options: &Sensitivity) -> Stages {
    build::stages(&options.compilation, 1)
}

/// Measures every layer of a model at every density. Without calibration data of the options' own, `given` samples are
/// calibrated on and executed.
pub fn study(
    path: &Path,
    mut imported: Imported,
    options: &Sensitivity,
    machine: Machine,
    given: &[Sample],
    stages: &Stages,
) -> Result<Study, Failure> {
    let densities = densities(&options.densities)?;
    let pattern = options
        .compilation
        .pruning
        .prune_pattern
        .unwrap_or_default();
    let compilation = &options.compilation;
    let mut pruning = None;
    if compilation.pruning.says_how_much() {
        (imported, pruning) = build::pruned(path, imported, compilation, given, &machine, stages)?;
    }
    let (mut choices, _) = build::options(&imported, compilation, given, machine)?;
    choices.pruning = pruning;
    let base = compile::compile_imported(imported.clone(), &choices, &mut build::Told(stages))
        .map_err(|e| Failure::compile(path, &e))?;
    build::warn_of_noise(&choices, stages);
    let (samples, labels) = executed(&imported, options, &choices)?;
    let trial = Trial {
        path,
        imported: &imported,
        choices: &choices,
        base: &base,
        pattern,
        reference: outputs(&base.float, &samples)?,
        samples: &samples,
        labels: labels.as_deref(),
        timing: options.timing.into(),
        progress: stages,
    };
    let (unpruned, _) = trial.measure(&base.program)?;
    let layers = chosen(&imported, &options.layers)?;
    stages.begin("prune and measure each layer");
    stages.length(layers.len() * densities.len());
    let mut points = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let reached = |step| stages.reached(number * densities.len() + step);
        points.extend(trial.points(layer, &densities, reached)?);
    }
    stages.finish();
    mark(&mut points);
    let next = next(&unpruned, &points);
    Ok(Study {
        model: base.program.provenance.model.clone(),
        machine: base.program.machine.name.clone(),
        pattern,
        timing: trial.timing.name(),
        samples: samples.len(),
        unpruned,
        points,
        next,
    })
}

/// The samples to execute, `--samples` of them: from the calibration data, with their classes if these are known, or from
/// the samples that the caller calibrates on; else seeded noise.
fn executed(
    imported: &Imported,
    options: &Sensitivity,
    choices: &compile::Options,
) -> Result<(Vec<Sample>, Option<Vec<usize>>), Failure> {
    if let Some(file) = &options.compilation.calibrate {
        let (inputs, pruning) = (build::inputs_of(imported), &options.compilation.pruning);
        let read = samples::labelled(file, pruning, &inputs, options.samples)?;
        return Ok((read.samples, read.labels));
    }
    let mut given = choices.samples.inputs.clone();
    given.truncate(options.samples);
    if given.is_empty() {
        let seeds = (0..options.samples as u64).map(|number| choices.seed.wrapping_add(number));
        given = seeds.map(|seed| synthetic(&imported.graph, seed)).collect();
    }
    Ok((given, None))
}

/// What the float model computes, the outputs of the model alone.
fn outputs(float: &FloatModel, samples: &[Sample]) -> Result<Vec<Sample>, Failure> {
    let run = |sample: &Sample| {
        float.run(sample).map_err(|e| {
            Failure::input(CompilerCode::FloatModel, &e.to_string(), "check the model")
        })
    };
    samples.iter().map(run).collect()
}

fn densities(words: &[f64]) -> Result<Vec<f64>, Failure> {
    match words.iter().find(|density| !is_density(**density)) {
        Some(density) => Err(Failure::usage(&format!(
            "`--densities {density}`: a density is above 0 and at most 1"
        ))),
        None => Ok(words.to_vec()),
    }
}

/// The layers that are named, or all.
fn chosen(imported: &Imported, names: &[String]) -> Result<Vec<String>, Failure> {
    let all = prune::prunable(imported);
    if all.is_empty() {
        return Err(Failure::input(
            CompilerCode::NothingToPrune,
            &prune::PruneError::NoWeights.to_string(),
            "`scnnc check` tells what of the model runs on the array",
        ));
    }
    if names.is_empty() {
        return Ok(all);
    }
    let entries: Vec<(&str, usize)> = all.iter().map(String::as_str).zip(0..).collect();
    names
        .iter()
        .map(|name| {
            resolve(name, &entries)
                .map(|index| all[index].clone())
                .map_err(|e| Failure::input(IsaCode::UnknownName, &e.to_string(), &e.help()))
        })
        .collect()
}

/// Marks the points that no other is better than.
fn mark(points: &mut [DensityPoint]) {
    let network: Vec<[f64; 3]> = points.iter().map(DensityPoint::network_costs).collect();
    let layer: Vec<[f64; 3]> = points.iter().map(DensityPoint::layer_costs).collect();
    let names: Vec<String> = points.iter().map(|point| point.layer.clone()).collect();
    for (index, point) in points.iter_mut().enumerate() {
        point.best_of_network = !network.iter().any(|other| better(other, &network[index]));
        let mut others = layer.iter().zip(&names);
        point.best_of_layer =
            !others.any(|(other, name)| *name == point.layer && better(other, &layer[index]));
    }
}

/// Next to prune: the density of each layer that saves most cycles while all images keep their class; largest saving first.
fn next(unpruned: &Whole, points: &[DensityPoint]) -> Vec<Next> {
    let keeps = |network: &Whole| {
        let kept = |after: Option<f64>, before: Option<f64>| after >= before;
        kept(network.top1_accuracy, unpruned.top1_accuracy)
            && kept(network.top1_agreement, unpruned.top1_agreement)
    };
    let saved = |after: f64, before: f64| 1.0 - after / before;
    let mut next: Vec<Next> = Vec::new();
    for point in points.iter().filter(|point| keeps(&point.network)) {
        let network = &point.network;
        let found = Next {
            layer: point.layer.clone(),
            density: point.density,
            cycles_saved: saved(network.network_cycles, unpruned.network_cycles),
            energy_saved: saved(network.network_energy_pj, unpruned.network_energy_pj),
            sqnr_db: network.sqnr_db,
        };
        if found.cycles_saved <= 0.0 {
            continue;
        }
        match next.iter_mut().find(|known| known.layer == found.layer) {
            Some(known) if known.cycles_saved < found.cycles_saved => *known = found,
            Some(_) => {}
            None => next.push(found),
        }
    }
    next.sort_by(|a, b| b.cycles_saved.total_cmp(&a.cycles_saved));
    next
}

/// At least as good in all, and better in one.
fn better(a: &[f64; 3], b: &[f64; 3]) -> bool {
    a.iter().zip(b).all(|(a, b)| a <= b) && a.iter().zip(b).any(|(a, b)| a < b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(layer: &str, density: f64, cycles: f64, top1: f64) -> DensityPoint {
        DensityPoint {
            layer: layer.to_owned(),
            density_unpruned: 1.0,
            density,
            layer_cycles: cycles,
            layer_energy_pj: 1.0,
            network: whole(cycles, top1),
            best_of_layer: false,
            best_of_network: false,
        }
    }

    fn whole(cycles: f64, top1: f64) -> Whole {
        Whole {
            sqnr_db: Some(50.0),
            top1_agreement: Some(top1),
            top1_accuracy: None,
            network_cycles: cycles,
            network_energy_pj: cycles,
        }
    }

    #[test]
    fn next_is_what_saves_most_of_each_layer_with_all_images_classified_alike() {
        let points = [
            point("a", 0.5, 90.0, 1.0),
            point("a", 0.3, 80.0, 1.0),
            point("a", 0.1, 50.0, 0.9),
            point("b", 0.5, 60.0, 1.0),
            point("c", 0.5, 101.0, 1.0),
        ];
        let next = next(&whole(100.0, 1.0), &points);
        let found: Vec<(&str, f64)> = next.iter().map(|n| (n.layer.as_str(), n.density)).collect();
        assert_eq!(found, [("b", 0.5), ("a", 0.3)]);
        assert!((next[0].cycles_saved - 0.4).abs() < 1e-12);
    }

    #[test]
    fn better_is_at_least_as_good_in_all_and_better_in_one() {
        assert!(better(&[1.0, 2.0, 3.0], &[1.0, 2.0, 4.0]));
        assert!(!better(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]));
        assert!(!better(&[0.0, 3.0, 3.0], &[1.0, 2.0, 3.0]));
    }
}
