//! `explain`: why each layer is mapped as it is, what bounds it, where its time goes, and what else there was.
//!
//! Decisions come from the mapper, costs from a simulation of the first sample. Traffic over the host link and its reasons
//! follow the layers.

mod drawing;
mod host_link;
mod json;
mod memory_plan;
mod words;

use super::args::Explain;
use super::build;
use super::failure::Failure;
use super::names::{self, Known};
use super::table::si;
use super::{output, samples};
use memory_plan::MemoryPlan;
use scnn_isa::program::Memory;
use scnn_simulator::timing::Cause;
use scnn_simulator::timing::{Slots, Timing};
use scnnc::calibrate::synthetic;
use scnnc::compile::Compiled;
use scnnc::map::explain::{Explainer, Explanation};
use scnnc::quantise::IntLayer;
use std::fmt::Write;
use std::path::Path;

/// Causes of a smaller share of the slots are not told.
const LEAST_SHARE: f64 = 0.0005;

/// A layer, what the mapper says of it, and what the simulator counted.
struct Explained<'a> {
    compiled: &'a Compiled,
    layer: &'a IntLayer,
    mapper: Explanation,
    cycles: u64,
    slots: Slots,
}

/// `scnnc explain`.
pub fn explain(options: &Explain) -> Result<(), Failure> {
    if let Some(failure) = word_for_model(&options.model) {
        return Err(failure);
    }
    let stages = build::stages(&options.compilation, 2).with_data(options.json);
    let compilation = &options.compilation;
    let (imported, given) = build::open_with(&options.model, compilation, &options.input, &stages)?;
    let inputs = build::inputs_of(&imported);
    // What the mapper counts on is what is simulated.
    let counted = match &compilation.calibrate {
        Some(file) => samples::read_spread(&[file.display().to_string()], &inputs, 1)?,
        None => given.clone(),
    };
    let compiled = build::build(&options.model, imported, compilation, &given, &stages)?;
    let layers = wanted(&compiled, options.layer.as_deref())?;
    stages.begin("simulate");
    let noise = || synthetic(&compiled.graph, compilation.seed);
    let sample = counted.into_iter().next().unwrap_or_else(noise);
    let report = scnnc_driver::report(&compiled, &[sample], Timing::Exact, &stages)
        .map_err(|e| Failure::run(&options.model, &e))?;
    stages.begin("explain");
    stages.length(layers.len());
    let explainer = Explainer::new(
        &compiled.network,
        &compiled.program.machine,
        &compiled.occupancy,
        &compiled.mapped,
        build::mapping_options(compilation).objective,
    );
    let mut explained: Vec<Explained<'_>> = Vec::new();
    for (number, &(operation, layer)) in layers.iter().enumerate() {
        let counts = &report.layers[operation].costs.cycles;
        explained.extend(explainer.explain(operation).map(|mapper| Explained {
            compiled: &compiled,
            layer,
            mapper,
            cycles: counts.total,
            slots: counts.slots,
        }));
        stages.reached(number + 1);
    }
    stages.finish();
    let segments = host_link::segments(&compiled, &report);
    if options.json {
        let plan = options.layer.is_none().then(|| MemoryPlan::of(&compiled));
        output::print_json(&json::all(&compiled, &explained, &segments, plan.as_ref()));
        return Ok(());
    }
    let detailed = options.layer.is_some();
    let machine = &compiled.program.machine;
    let mut text = format!("{} on {}\n", compiled.network.name, machine.name);
    for layer in &explained {
        text.push('\n');
        text.push_str(&layer.text(detailed));
    }
    let trust = report.trust();
    // Writing to a string does not fail.
    let _ = writeln!(text, "\nHow far the figures can be trusted: {trust}");
    if !detailed {
        let crossing = host_link::text(&segments);
        if !crossing.is_empty() {
            text.push('\n');
            text.push_str(&crossing);
        }
        text.push('\n');
        text.push_str(&MemoryPlan::of(&compiled).text());
    }
    output::print(&text);
    Ok(())
}

/// What to say to a term, or the name of a layer, that stands where the model should.
fn word_for_model(model: &Path) -> Option<Failure> {
    let word = model.to_str()?;
    let is_word = model.extension().is_none() && !model.exists() && word != "-";
    is_word.then(|| {
        Failure::usage(&format!(
            "there is no file `{word}`: `scnnc --explain {word}` explains a term, `scnnc explain MODEL.onnx --layer {word}` a layer"
        ))
    })
}

/// The layers to explain, with their operations: all, or those that a name means.
fn wanted<'a>(
    compiled: &'a Compiled,
    name: Option<&str>,
) -> Result<Vec<(usize, &'a IntLayer)>, Failure> {
    let operations = compiled.network.operations.iter().enumerate();
    let layers =
        operations.filter_map(|(operation, described)| Some((operation, described.layer()?)));
    let layers: Vec<(usize, &IntLayer)> = layers.collect();
    let Some(name) = name else {
        return Ok(layers);
    };
    let known = layers.iter().map(|(_, layer)| Known {
        name: &layer.name,
        nodes: &layer.onnx_nodes,
    });
    let found = names::find(name, &known.collect::<Vec<_>>())?;
    Ok(found.into_iter().map(|index| layers[index]).collect())
}

impl Explained<'_> {
    /// The layer as text; `detailed` adds the drawing of its tiles.
    fn text(&self, detailed: bool) -> String {
        let (compiled, mapper) = (self.compiled, &self.mapper);
        let machine = &compiled.program.machine;
        let mapping = compiled.mapped.layers[mapper.operation]
            .as_ref()
            .expect("an explained layer is mapped");
        let layout = &compiled.mapped.layouts[self.layer.source.tensor.index()];
        let mut text = format!("{}\n", self.layer.name);
        // Writing to a string does not fail.
        let mut line = |what: &str, content: &str| {
            let _ = writeln!(text, "  {what:12}{content}");
        };
        line("mapping", &words::mapping(layout, mapping));
        line(
            "memory",
            &words::memory(compiled, self.layer, mapper.operation),
        );
        if self.layer.conv.is_some() {
            line(
                "uses",
                &format!(
                    "{} of {} accumulators, {} of {} elements of an activation RAM ({} in the fullest tile)",
                    mapper.accumulators,
                    machine.accumulator_entries(),
                    mapper.elements.0,
                    machine.ram_elements(Memory::A),
                    mapper.elements.1
                ),
            );
        }
        let (predicted, simulated) = (mapper.cost.cycles as f64, self.cycles as f64);
        line(
            "cycles",
            &format!(
                "{}; {} were predicted ({:+.1} %)",
                si(simulated, ""),
                si(predicted, ""),
                100.0 * (predicted / simulated.max(1.0) - 1.0)
            ),
        );
        if self.layer.conv.is_some() {
            let bound = &mapper.bound;
            line(
                "bound",
                &format!(
                    "{:.2}x of what no mapping goes below: {} useful, {} in full vectors, {} over the bus, {} from and to DRAM",
                    simulated / bound.cycles().max(1) as f64,
                    si(bound.useful as f64, ""),
                    si(bound.vectors as f64, ""),
                    si(bound.bus as f64, ""),
                    si(bound.dram as f64, ""),
                ),
            );
        }
        line("spent on", &self.spent());
        if let Some((loss, _)) = Cause::largest_loss(&self.slots) {
            line("lost to", words::loss(loss));
        }
        let mut label = "excluded";
        for other in &mapper.excluded {
            line(
                label,
                &format!(
                    "{}: {} exceeded by {} bytes",
                    other.what, other.buffer, other.bytes
                ),
            );
            label = "";
        }
        line(label, &words::cuts(mapper));
        let mut label = "runners-up";
        for other in &mapper.runners_up {
            line(label, &words::alternative(other, &mapper.cost));
            label = "";
        }
        if mapper.runners_up.is_empty() {
            line(
                label,
                "none: this is the only legal mapping that the search enumerates",
            );
        }
        if detailed {
            text.push_str(&drawing::drawing(layout, machine));
        }
        text
    }

    /// Cycles by cause, the largest first: useful ones are the oracle's, all others the distance to it.
    fn spent(&self) -> String {
        let all = self.slots.total().max(1) as f64;
        let mut causes = Cause::all(&self.slots);
        causes.sort_by_key(|(_, slots)| std::cmp::Reverse(*slots));
        let shares = causes
            .iter()
            .map(|(cause, slots)| (cause.words(), *slots as f64 / all));
        let told = shares.filter(|(_, share)| *share >= LEAST_SHARE);
        let words = told.map(|(word, share)| {
            let cycles = si(share * self.cycles as f64, "");
            format!("{word} {cycles} ({:.1} %)", 100.0 * share)
        });
        words.collect::<Vec<_>>().join(", ")
    }
}
