//! `diff`: two programs side by side, aligned by layer: what changed in contents, mapping and cost first, instructions
//! after.
//!
//! The exit status is 3 where anything differs but the provenance: what compiled the program, from what, with which options.

mod contents;

use super::args::{self, Timing};
use super::build;
use super::failure::Failure;
use super::inspect::{self, LayerSummary};
use super::stages::{Loudness, Shown, Stages};
use super::{grid, highlight, output, program, table};
use crate::codes::Code;
use scnn_host::Host;
use scnn_isa::asm;
use scnn_isa::plane::Span;
use scnn_isa::program::Program;
use scnn_simulator::report::Report;
use scnnc_driver::Options as RunOptions;
use serde_json::{Value, json};
use similar::TextDiff;
use std::fmt::Write;
use std::path::Path;

/// `scnnc diff`.
pub fn diff(options: &args::Diff) -> Result<(), Failure> {
    let count = if options.input.is_empty() { 2 } else { 4 };
    let stages = Stages::new(count, Loudness::Usual, Shown::Auto);
    let before = Side::read(&options.before, options, &stages)?;
    let after = Side::read(&options.after, options, &stages)?;
    stages.finish();
    let pairs = align(&before.layers, &after.layers);
    if options.json {
        output::print_json(&as_json(&before, &after, &pairs, options.brief));
    } else {
        let mut text = head(&before, &after);
        text.push_str(&layers(&before, &after, &pairs));
        if !options.brief {
            text.push_str(&instructions(&before, &after, &pairs));
        }
        output::print_styled(&highlight::difference(&text));
    }
    if contents::same(&before.program, &after.program) {
        return Ok(());
    }
    Err(Failure::check(
        Code::ProgramsDiffer,
        format!(
            "{} and {} differ",
            options.before.display(),
            options.after.display()
        ),
        Vec::new(),
    ))
}

/// What differs between the layers of a pair, kind by kind; instructions last. Empty where nothing does, or one side is
/// missing.
fn kinds(before: &Side, after: &Side, (old, new): Pair) -> Vec<&'static str> {
    let (Some(old), Some(new)) = (old, new) else {
        return Vec::new();
    };
    let mut kinds = match (before.descriptor(old), after.descriptor(new)) {
        (Some(old), Some(new)) => contents::of_layers(old, new),
        _ => Vec::new(),
    };
    if code(before, Some(old)) != code(after, Some(new)) {
        kinds.push("instructions");
    }
    kinds
}

/// One of the two programs.
struct Side {
    program: Program,
    layers: Vec<LayerSummary>,
    /// What it cost, if inputs were given.
    report: Option<Report>,
}

impl Side {
    fn read(path: &Path, options: &args::Diff, stages: &Stages) -> Result<Self, Failure> {
        stages.begin(&format!("read {}", path.display()));
        let program = program::read(path)?;
        let layers = inspect::layers(&program, None);
        let report = if options.input.is_empty() {
            None
        } else {
            stages.begin(&format!("simulate {}", path.display()));
            let host = options.host.runtimes();
            Some(simulate(
                path,
                &program,
                &options.input,
                options.timing,
                host,
            )?)
        };
        Ok(Self {
            program,
            layers,
            report,
        })
    }

    /// What the program says of a layer.
    fn descriptor(&self, layer: &LayerSummary) -> Option<contents::In<'_>> {
        let program = &self.program;
        let mut layers = program.layers.iter();
        let layer = layers.find(|known| known.name == layer.name)?;
        Some(contents::In { program, layer })
    }

    fn cost(&self, layer: &LayerSummary) -> Option<&scnn_simulator::report::Costs> {
        let layers = &self.report.as_ref()?.layers;
        layers
            .iter()
            .find(|entry| entry.instructions[0] == layer.instructions[0])
            .map(|entry| &entry.costs)
    }

    fn weight_bytes(&self) -> u64 {
        let weights = self.layers.iter().filter_map(|layer| layer.weights);
        weights.map(|weights| weights.encoded_bytes).sum()
    }
}

/// The report of the first sample.
fn simulate(
    path: &Path,
    program: &Program,
    words: &[String],
    timing: Timing,
    host: Host,
) -> Result<Report, Failure> {
    let inputs = build::inputs_of_program(program);
    let samples = build::read_samples(words, &inputs)?;
    let options = RunOptions {
        timing: timing.into(),
        host,
        ..RunOptions::default()
    };
    let first = samples.get(..1).unwrap_or_default();
    let run = scnnc_driver::run(program, first, options);
    Ok(run.map_err(|e| Failure::run(path, &e))?.report)
}

/// A layer of the program before, and the layer of the same name after.
type Pair<'a> = (Option<&'a LayerSummary>, Option<&'a LayerSummary>);

/// Layers of the same name belong together; those that only one program has stand where that program has them.
fn align<'a>(before: &'a [LayerSummary], after: &'a [LayerSummary]) -> Vec<Pair<'a>> {
    let names = |layers: &'a [LayerSummary]| -> Vec<&'a str> {
        layers.iter().map(|layer| layer.name.as_str()).collect()
    };
    let mut pairs = Vec::new();
    for operation in
        similar::capture_diff_slices(similar::Algorithm::Myers, &names(before), &names(after))
    {
        let (old, new) = (operation.old_range(), operation.new_range());
        if operation.tag() == similar::DiffTag::Equal {
            let both = old.zip(new);
            pairs.extend(both.map(|(a, b)| (Some(&before[a]), Some(&after[b]))));
        } else {
            pairs.extend(old.map(|a| (Some(&before[a]), None)));
            pairs.extend(new.map(|b| (None, Some(&after[b]))));
        }
    }
    pairs
}

/// Both programs, and both sides of each layer.
fn as_json(before: &Side, after: &Side, pairs: &[Pair], brief: bool) -> Value {
    let program = |side: &Side| {
        let totals = side.report.as_ref().map(|report| &report.totals);
        json!({
            "model": side.program.provenance.model,
            "tool": side.program.provenance.tool,
            "options": side.program.provenance.options,
            "machine": side.program.machine.name,
            "instructions": side.program.code.len(),
            "weight_bytes": side.weight_bytes(),
            "cycles": totals.map(|totals| totals.cycles.total),
            "energy_pj": totals.map(|totals| totals.energy_pj.total),
        })
    };
    let one = |side: &Side, layer: Option<&LayerSummary>| {
        let layer = layer?;
        let cost = side.cost(layer);
        let code = (!brief).then(|| {
            code(side, Some(layer))
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        Some(json!({
            "layer": layer,
            "cycles": cost.map(|cost| cost.cycles.total),
            "energy_pj": cost.map(|cost| cost.energy_pj.total),
            "code": code,
        }))
    };
    let layers = pairs.iter().map(|&(old, new)| {
        let name = old.or(new).map(|layer| &layer.name);
        let same_code = code(before, old) == code(after, new);
        let kinds = kinds(before, after, (old, new));
        json!({"name": name, "differs_in": kinds, "same_code": same_code, "before": one(before, old), "after": one(after, new)})
    });
    let machines = before
        .program
        .machine
        .fingerprint_differences(&after.program.machine);
    json!({
        "same": contents::same(&before.program, &after.program),
        "differs_in": contents::of_programs(&before.program, &after.program),
        "before": program(before),
        "after": program(after),
        "machine_differences": machines.iter().map(|d| json!({
            "parameter": d.path, "before": d.program, "after": d.machine,
        })).collect::<Vec<_>>(),
        "layers": layers.collect::<Vec<_>>(),
    })
}

/// Provenance and sums.
fn head(before: &Side, after: &Side) -> String {
    let (a, b) = (&before.program, &after.program);
    let mut text = String::new();
    let mut say = |what: &str, old: &str, new: &str| {
        // Writing to a string does not fail.
        let _ = if old == new {
            writeln!(text, "  {what:<13} {old}")
        } else {
            writeln!(text, "- {what:<13} {old}\n+ {what:<13} {new}")
        };
    };
    say("model", &a.provenance.model, &b.provenance.model);
    say("machine", &a.machine.name, &b.machine.name);
    say("tool", &a.provenance.tool, &b.provenance.tool);
    say(
        "options",
        &a.provenance.options.join(", "),
        &b.provenance.options.join(", "),
    );
    for difference in a.machine.fingerprint_differences(&b.machine) {
        say(&difference.path, &difference.program, &difference.machine);
    }
    let instructions = |side: &Side| side.program.code.len().to_string();
    say("instructions", &instructions(before), &instructions(after));
    let bytes = |side: &Side| format!("{} bytes", side.weight_bytes());
    say("weights", &bytes(before), &bytes(after));
    let kinds = contents::of_programs(a, b);
    if !kinds.is_empty() {
        say("differs in", &kinds.join(", "), &kinds.join(", "));
    }
    if let (Some(old), Some(new)) = (&before.report, &after.report) {
        let cycles = |report: &Report| table::si(report.totals.cycles.total as f64, "cycles");
        let energy = |report: &Report| table::si(report.totals.energy_pj.total * 1e-12, "J");
        say("time", &cycles(old), &cycles(new));
        say("energy", &energy(old), &energy(new));
    }
    text
}

/// A row for each layer that changed, and how many did not.
fn layers(before: &Side, after: &Side, pairs: &[Pair]) -> String {
    let mut rows = grid::plain(&[
        "layer",
        "differs in",
        "mapping",
        "instructions",
        "weights, B",
        "cycles",
        "energy",
    ]);
    let (mut same, mut changed) = (0, 0);
    for &(old, new) in pairs {
        let cells = [
            change(old.map(mapping), new.map(mapping)),
            change(old.map(length), new.map(length)),
            change(old.map(weights), new.map(weights)),
            change(cycles(before, old), cycles(after, new)),
            change(energy(before, old), energy(after, new)),
        ];
        let kinds = kinds(before, after, (old, new));
        if cells.iter().all(|(_, differs)| !differs) && kinds.is_empty() {
            same += 1;
            continue;
        }
        changed += 1;
        let name = match (old, new) {
            (None, Some(new)) => format!("+ {}", new.name),
            (Some(old), None) => format!("- {}", old.name),
            (Some(old), _) => format!("  {}", old.name),
            (None, None) => String::new(),
        };
        let first = [name, kinds.join(", ")].into_iter();
        rows.add_row(first.chain(cells.map(|(text, _)| text)));
    }
    if before.report.is_none() || after.report.is_none() {
        grid::hide(&mut rows, 5);
        grid::hide(&mut rows, 6);
    }
    grid::right(&mut rows, 3..=6);
    if changed == 0 {
        return format!("\n  no layer differs ({same} are the same)\n");
    }
    format!(
        "\n{}\n\n  {changed} layers differ, {same} are the same\n",
        grid::fitted(rows, &[3, 4, 2])
    )
}

/// `old -> new`, or the one value that there is; and whether they differ.
fn change(old: Option<String>, new: Option<String>) -> (String, bool) {
    match (old, new) {
        (Some(old), Some(new)) if old == new => (old, false),
        (Some(old), Some(new)) => (format!("{old} -> {new}"), true),
        (Some(only), None) | (None, Some(only)) => (only, true),
        (None, None) => (String::new(), false),
    }
}

fn mapping(layer: &LayerSummary) -> String {
    let mut text = String::new();
    if layer.weights.is_some() {
        let _ = write!(
            text,
            "Kc {} in {}",
            layer.kc,
            table::counted(layer.channel_groups, "group")
        );
    }
    if layer.pe_groups > 1 {
        let _ = write!(text, ", {} PE groups", layer.pe_groups);
    }
    if layer.passes > 1 {
        let _ = write!(text, ", {} tiles", layer.passes);
    }
    text.trim_start_matches(", ").to_owned()
}

fn length(layer: &LayerSummary) -> String {
    (layer.instructions[1] - layer.instructions[0]).to_string()
}

fn weights(layer: &LayerSummary) -> String {
    layer
        .weights
        .map_or_else(String::new, |w| w.encoded_bytes.to_string())
}

fn cycles(side: &Side, layer: Option<&LayerSummary>) -> Option<String> {
    let cost = side.cost(layer?)?;
    Some(table::si(cost.cycles.total as f64, ""))
}

fn energy(side: &Side, layer: Option<&LayerSummary>) -> Option<String> {
    let cost = side.cost(layer?)?;
    Some(table::si(cost.energy_pj.total * 1e-12, "J"))
}

/// The instructions of the layers that differ, as a unified difference each.
fn instructions(before: &Side, after: &Side, pairs: &[Pair]) -> String {
    let mut text = String::new();
    for &(old, new) in pairs {
        let (a, b) = (code(before, old), code(after, new));
        if a == b {
            continue;
        }
        let name = old.or(new).map_or("", |layer| layer.name.as_str());
        let _ = writeln!(text, "\n  {name}");
        for change in TextDiff::from_lines(&a, &b).iter_all_changes() {
            let sign = match change.tag() {
                similar::ChangeTag::Delete => '-',
                similar::ChangeTag::Insert => '+',
                similar::ChangeTag::Equal => ' ',
            };
            let _ = writeln!(text, "{sign}   {}", change.value().trim_end());
        }
    }
    text
}

/// The instructions of a layer as text; empty where there is no layer.
fn code(side: &Side, layer: Option<&LayerSummary>) -> String {
    let Some(layer) = layer else {
        return String::new();
    };
    let [begin, end] = layer.instructions;
    let span = Span::new(begin, end);
    span.iter()
        .filter_map(|index| side.program.code.get(index as usize))
        .map(|instruction| asm::instruction(&side.program, instruction) + "\n")
        .collect()
}
