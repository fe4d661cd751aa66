//! `compare`: a model on SCNN beside the dense machines, the oracle and the one-sided ablations; or on several machines.

use super::args::Compare;
use super::build::{self, Sample};
use super::failure::Failure;
use super::stages::Stages;
use super::{grid, machine, output, table};
use scnn_isa::machine::Machine;
use scnn_simulator::report::{Layer, Report};
use scnnc::calibrate::synthetic;
use scnnc::compile::{Compiled, Stage};
use scnnc::import::Imported;
use serde::Serialize;
use std::fmt::Write;

/// Machines that are compared by running them.
const MACHINES: usize = 3;

/// A model after pruning, and how it was pruned.
type Pruned = (Imported, Option<String>);

/// The reports of the three sparse machines; each holds the dense baselines of its layers.
#[derive(Serialize)]
struct Comparison {
    scnn: Report,
    sparse_a: Report,
    sparse_w: Report,
}

/// `scnnc compare`.
pub fn compare(options: &Compare) -> Result<(), Failure> {
    if options.compilation.machine.names.len() > 1 {
        return between(options);
    }
    let base = machine::of_model(&options.compilation.machine)?;
    let stages = stages(options, MACHINES);
    let (imported, mut samples) = open(options, &base, &stages)?;
    let sparse_a = without_weight_zeros(base.clone());
    let sparse_w = without_activation_zeros(base.clone());
    let mut on = |machine| report(options, &imported, machine, &mut samples, &stages);
    let comparison = Comparison {
        scnn: on(base)?,
        sparse_a: on(sparse_a)?,
        sparse_w: on(sparse_w)?,
    };
    stages.finish();
    if options.json {
        output::print_json(&comparison);
    } else {
        output::print(&cycles(&comparison));
        output::print(&energy(&comparison));
    }
    if let Some(path) = &options.report {
        output::write_json(path, &comparison)?;
    }
    Ok(())
}

/// The stages of running a model on a number of machines.
fn stages(options: &Compare, machines: usize) -> Stages {
    let pruning = usize::from(options.compilation.pruning.says_how_much());
    let count = 1 + pruning + machines * (Stage::ALL.len() + 1);
    let compilation = &options.compilation;
    Stages::new(count, compilation.loudness(), compilation.progress).with_data(options.json)
}

/// The model, pruned for `machine` as the options say, and its samples.
fn open(
    options: &Compare,
    machine: &Machine,
    stages: &Stages,
) -> Result<(Pruned, Vec<Sample>), Failure> {
    let (model, compilation) = (&options.model, &options.compilation);
    let (imported, mut samples) = build::open_with(model, compilation, &options.input, stages)?;
    samples.truncate(options.samples);
    let pruned = build::pruned(model, imported, compilation, &samples, machine, stages)?;
    Ok((pruned, samples))
}

/// A model on several machines, beside the first.
fn between(options: &Compare) -> Result<(), Failure> {
    let machines = machine::several(&options.compilation.machine)?;
    let stages = stages(options, machines.len());
    let (imported, mut samples) = open(options, &machines[0], &stages)?;
    let on = |machine| report(options, &imported, machine, &mut samples, &stages);
    let reports: Vec<Report> = machines.into_iter().map(on).collect::<Result<_, _>>()?;
    stages.finish();
    if options.json {
        output::print_json(&reports);
    } else {
        output::print(&beside(&reports));
    }
    if let Some(path) = &options.report {
        output::write_json(path, &reports)?;
    }
    Ok(())
}

/// Cycles, energy and area of every machine, as factors of the first's, and cycles layer by layer.
fn beside(reports: &[Report]) -> String {
    let first = &reports[0];
    let cycles = |report: &Report| report.totals.cycles.total as f64 / f64::from(report.samples);
    let energy = |report: &Report| report.totals.energy_pj.total / f64::from(report.samples);
    let area = |report: &Report| report.area_mm2.total();
    let mut machines = grid::plain(&["machine", "cycles", "", "energy", "", "area", ""]);
    for report in reports {
        let factor = |pick: &dyn Fn(&Report) -> f64| table::times(pick(report) / pick(first));
        machines.add_row([
            report.machine.clone(),
            table::si(cycles(report), ""),
            factor(&cycles),
            table::si(energy(report) * 1e-12, "J"),
            factor(&energy),
            format!("{:.3} mm2", area(report)),
            factor(&area),
        ]);
    }
    grid::right(&mut machines, 1..7);
    let names = reports.iter().map(|report| report.machine.as_str());
    let header: Vec<&str> = ["layer"].into_iter().chain(names).collect();
    let mut layers = grid::plain(&header);
    for (at, layer) in first.layers.iter().enumerate() {
        // Part of a model that falls back to the host is another layer there.
        let cycles = reports.iter().map(|report| {
            let same = report
                .layers
                .get(at)
                .filter(|other| other.name == layer.name);
            let of_layer =
                |other: &Layer| other.costs.cycles.total as f64 / f64::from(report.samples);
            same.map_or_else(String::new, |other| table::si(of_layer(other), ""))
        });
        layers.add_row([layer.name.clone()].into_iter().chain(cycles));
    }
    grid::right(&mut layers, 1..=reports.len());
    let yields: Vec<usize> = (2..=reports.len()).rev().collect();
    format!(
        "{} on {} machines (timing {}), and how many times the first's\n\n{}\n\ncycles\n\n{}\n",
        first.model,
        reports.len(),
        first.timing,
        grid::fitted(machines, &[]),
        grid::fitted(layers, &yields)
    )
}

/// SCNN-SparseA: skips zero activations only.
fn without_weight_zeros(mut machine: Machine) -> Machine {
    machine.encoding.compress_weights = false;
    machine.name.push_str(" without zero weights skipped");
    machine
}

/// SCNN-SparseW: skips zero weights only.
fn without_activation_zeros(mut machine: Machine) -> Machine {
    machine.encoding.compress_activations = false;
    machine.name.push_str(" without zero activations skipped");
    machine
}

fn report(
    options: &Compare,
    (imported, pruning): &Pruned,
    machine: Machine,
    samples: &mut Vec<Sample>,
    stages: &Stages,
) -> Result<Report, Failure> {
    let imported = imported.clone();
    let compiled: Compiled = build::build_on(
        &options.model,
        imported,
        &options.compilation,
        samples,
        machine,
        pruning.clone(),
        stages,
    )?;
    stages.begin("simulate");
    if samples.is_empty() {
        samples.push(synthetic(&compiled.graph, options.compilation.seed));
    }
    let report = scnnc_driver::report(&compiled, samples, options.timing.into(), stages);
    report.map_err(|e| Failure::run(&options.model, &e))
}

/// The columns of a table: name, and the value of a layer on the machine it concerns.
type Column<'a> = (&'static str, Box<dyn Fn(usize) -> f64 + 'a>);

fn cycles(c: &Comparison) -> String {
    let of = |report: &'static str| move |i: usize| layers(c, report)[i].costs.cycles.total as f64;
    let base = |pick: fn(&Layer) -> u64| move |i: usize| pick(layers(c, "scnn")[i]) as f64;
    let columns: Vec<Column> = vec![
        ("SCNN", Box::new(of("scnn"))),
        ("SparseA", Box::new(of("sparse_a"))),
        ("SparseW", Box::new(of("sparse_w"))),
        (
            "DCNN ideal",
            Box::new(base(|l| l.costs.baselines.dcnn_ideal)),
        ),
        (
            "DCNN lanes",
            Box::new(base(|l| l.costs.baselines.dcnn_lanes)),
        ),
        ("oracle", Box::new(base(|l| l.costs.baselines.oracle))),
    ];
    let reference: Column = ("DCNN", Box::new(base(|l| l.costs.baselines.dcnn)));
    let title = format!(
        "{} on {}: cycles of DCNN, and how many times faster the others are (timing {})",
        c.scnn.model, c.scnn.machine, c.scnn.timing
    );
    relative(c, &title, "", &reference, &columns)
}

fn energy(c: &Comparison) -> String {
    let of =
        |report: &'static str| move |i: usize| layers(c, report)[i].costs.energy_pj.total * 1e-12;
    let base = |pick: fn(&Layer) -> f64| move |i: usize| pick(layers(c, "scnn")[i]) * 1e-12;
    let columns: Vec<Column> = vec![
        ("SCNN", Box::new(of("scnn"))),
        ("SparseA", Box::new(of("sparse_a"))),
        ("SparseW", Box::new(of("sparse_w"))),
        ("DCNN-opt", Box::new(base(|l| l.costs.energy_pj.dcnn_opt))),
    ];
    let reference: Column = ("DCNN", Box::new(base(|l| l.costs.energy_pj.dcnn)));
    let title = "energy of DCNN, and how many times less the others take";
    relative(c, title, "J", &reference, &columns)
}

/// Layers of the array of one of the reports.
fn layers<'a>(comparison: &'a Comparison, report: &str) -> Vec<&'a Layer> {
    let report = match report {
        "sparse_a" => &comparison.sparse_a,
        "sparse_w" => &comparison.sparse_w,
        _ => &comparison.scnn,
    };
    report.array_layers().collect()
}

/// A table of a reference and of how many times the columns divide it, with totals over the layers of the array.
fn relative(
    comparison: &Comparison,
    title: &str,
    unit: &str,
    reference: &Column,
    columns: &[Column],
) -> String {
    let layers = layers(comparison, "scnn");
    let samples = f64::from(comparison.scnn.samples);
    let names = columns.iter().map(|(name, _)| *name);
    let header: Vec<&str> = ["layer", reference.0].into_iter().chain(names).collect();
    let mut table = grid::plain(&header);
    let mut row = |name: &str, indices: &[usize]| {
        let sum = |column: &Column| -> f64 { indices.iter().map(|&i| (column.1)(i)).sum() };
        let whole = sum(reference);
        let ratios = columns
            .iter()
            .map(|column| table::times(whole / sum(column).max(f64::MIN_POSITIVE)));
        let cells = [name.to_owned(), table::si(whole / samples, unit)];
        table.add_row(cells.into_iter().chain(ratios));
    };
    for (index, layer) in layers.iter().enumerate() {
        row(&layer.name, &[index]);
    }
    row("all", &(0..layers.len()).collect::<Vec<_>>());
    grid::right(&mut table, 1..=columns.len() + 1);
    // SCNN stays, and what it is compared with.
    let yields: Vec<usize> = (3..columns.len() + 2).rev().collect();
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{title}\n\n{}\n", grid::fitted(table, &yields));
    text
}
