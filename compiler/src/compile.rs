//! The whole compiler as one function: ONNX file in, program out, with every intermediate result kept.
//!
//! A layer that cannot be compiled runs on the host, and the model is compiled anew ([`fallback`]).

mod borders;
mod error;
pub mod fallback;
mod front;
mod moves;
mod powers;
mod unfit;

pub use error::CompileError;
pub use front::Front;

use crate::calibrate::{self, Calibration, Method, sums};
use crate::emit::emit;
use crate::graph::{Graph, Op};
use crate::import::{ImportOptions, Imported, Typed, import};
use crate::map::occupancy::Occupancy;
use crate::map::{self, Mapped, Strategy};
use crate::quantise::{self, QuantiseError, Quantised};
use crate::reference::float::FloatModel;
use crate::reference::interpret::interpret;
use crate::reference::segments::Segments;
use crate::transform;
use fallback::{Failed, Fallback};
use scnn_host::Host;
use scnn_isa::machine::Machine;
use scnn_isa::program::{Program, Provenance, Ranges};
use scnn_isa::verify::verify;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use tract_onnx::prelude::Tensor;

/// One inference's inputs by name.
pub type Sample = BTreeMap<String, Tensor>;

/// Samples to calibrate on.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Where they come from, in words for the calibration file and the program's provenance.
    pub source: String,
    /// The inputs of each inference.
    pub inputs: Vec<Sample>,
}

impl Samples {
    /// Samples from `source`.
    pub fn new(source: impl Into<String>, inputs: Vec<Sample>) -> Self {
        Self {
            source: source.into(),
            inputs,
        }
    }
}

/// Choices of a compilation.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine.
    pub machine: Machine,
    /// How mappings are found.
    pub mapping: map::Options,
    /// A mapping to take instead, as [`map::file`] writes it.
    pub mapping_file: Option<String>,
    /// Names of optional transforms to leave out.
    pub skipped: BTreeSet<String>,
    /// Number formats.
    pub quantise: quantise::Options,
    /// Sizes and values of inputs.
    pub import: ImportOptions,
    /// Inputs to calibrate on; without any, seeded noise.
    pub samples: Samples,
    /// How ranges are made of what is observed.
    pub method: Method,
    /// Ranges to use instead of observing them.
    pub calibration: Option<Calibration>,
    /// How the model was pruned before, in words for the program's provenance.
    pub pruning: Option<String>,
    /// Seed of that noise.
    pub seed: u64,
    /// Whether a model of which nothing runs on the array is compiled all the same.
    pub allow_host_only: bool,
    /// Whether a model of which anything runs on the host is refused.
    pub no_host: bool,
    /// The runtimes of the host.
    pub host: Host,
}

impl Options {
    /// What `scnnc compile` does without options, for `machine`.
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            mapping: map::Options::default(),
            mapping_file: None,
            skipped: BTreeSet::new(),
            quantise: quantise::Options::default(),
            import: ImportOptions::default(),
            samples: Samples::default(),
            method: Method::default(),
            calibration: None,
            pruning: None,
            seed: 1,
            allow_host_only: false,
            no_host: false,
            host: Host::default(),
        }
    }
}

/// A compiled model.
#[derive(Debug)]
pub struct Compiled {
    /// The graph after all transforms.
    pub graph: Graph,
    /// The float model, for comparison.
    pub float: FloatModel,
    /// What was observed of activations.
    pub calibration: Calibration,
    /// The integer network.
    pub network: Quantised,
    /// Where activations are not zero, on the first calibration sample.
    pub occupancy: Occupancy,
    /// Its mapping.
    pub mapped: Mapped,
    /// The program.
    pub program: Program,
    /// What runs on the host because it could not be compiled.
    pub fallbacks: Vec<Fallback>,
    /// The runtimes of its host segments.
    pub host: Host,
}

/// A part of a compilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The graph is brought into the machine's form.
    Transform,
    /// The float model runs on the calibration samples.
    Calibrate,
    /// Scales, integer weights, product shifts.
    Quantise,
    /// Tiles, output-channel groups, places in memory.
    Map,
    /// Weights are packed, instructions written and verified.
    Emit,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Self; 5] = [
        Self::Transform,
        Self::Calibrate,
        Self::Quantise,
        Self::Map,
        Self::Emit,
    ];

    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Calibrate => "calibrate",
            Self::Quantise => "quantise",
            Self::Map => "map",
            Self::Emit => "emit",
        }
    }
}

/// Receives the progress of a compilation.
pub trait Observer {
    /// A stage begins.
    fn stage(&mut self, _stage: Stage) {}
    /// The graph after import, and after every transform.
    fn graph(&mut self, _pass: &str, _graph: &Graph) {}
    /// The model is compiled anew, with some nodes on the host.
    fn fallback(&mut self, _fallback: &Fallback) {}
}

/// Nobody.
impl Observer for () {}

/// Who wants the graphs alone.
struct Graphs<'a>(&'a mut dyn FnMut(&str, &Graph));

impl Observer for Graphs<'_> {
    fn graph(&mut self, pass: &str, graph: &Graph) {
        (self.0)(pass, graph);
    }
}

/// Compiles the model at `path`; `observe` is shown the graph after import and after every transform.
///
/// # Errors
/// See [`CompileError`].
pub fn compile(
    path: &Path,
    options: &Options,
    observe: &mut dyn FnMut(&str, &Graph),
) -> Result<Compiled, CompileError> {
    let import_options = ImportOptions {
        host: options.host.clone(),
        ..options.import.clone()
    };
    let imported = import(path, &import_options)?;
    compile_imported(imported, options, &mut Graphs(observe))
}

/// Compiles an imported model, and tells the observer of its stages and of the graph after import and every transform.
///
/// # Errors
/// See [`CompileError`].
pub fn compile_imported(
    imported: Imported,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Compiled, CompileError> {
    let mut before = Before::default();
    let (compiled, fallbacks) = with_fallbacks(imported, observer, &mut |imported, observer| {
        attempt(imported, options, &mut before, observer)
    })?;
    Ok(Compiled {
        fallbacks,
        ..compiled
    })
}

/// What would run where: the graph after all transforms, and what fell back to the host. The model is compiled as far as a
/// program, on made-up ranges and with the paper's mapping; nothing of it is run.
///
/// # Errors
/// See [`CompileError`].
pub fn check(
    imported: Imported,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Graph, Vec<Fallback>), CompileError> {
    let mut options = options.clone();
    options.mapping.strategy = Strategy::Paper;
    let mut before = Before::default();
    with_fallbacks(imported, observer, &mut |imported, observer| {
        before.send(powers::summed(&imported.graph))?;
        let graph = transformed(imported.graph, &options, observer);
        before.send(moves::for_host(&graph))?;
        let wanted = calibrate::wanted(&graph);
        FloatModel::new(imported.typed, &wanted)?;
        let calibration = Calibration::made_up(wanted);
        let even = |network: &Quantised| Ok(Occupancy::of(network, &BTreeMap::new()));
        integers_or_culprits(
            &graph,
            &calibration,
            &imported.hash,
            &options,
            even,
            observer,
        )?;
        Ok(graph)
    })
}

/// Attempts to compile a model, again and again with more of it on the host where it fails because of some nodes.
fn with_fallbacks<T>(
    mut imported: Imported,
    observer: &mut dyn Observer,
    attempt: &mut dyn FnMut(Imported, &mut dyn Observer) -> Result<T, Failed>,
) -> Result<(T, Vec<Fallback>), CompileError> {
    let (mut source, hash) = (Arc::clone(&imported.source), imported.hash.clone());
    let mut fallbacks: Vec<Fallback> = Vec::new();
    let mut rounds = 0;
    loop {
        let failed = match attempt(imported, observer) {
            Ok(result) => return Ok((result, fallbacks)),
            Err(Failed::Tract(node, reason, error)) => {
                if !Arc::make_mut(&mut source).give_away(node, reason) {
                    return Err(error);
                }
                imported = Imported::with_on_host(&source, &hash, fallback::on_host(&fallbacks))?;
                continue;
            }
            Err(failed) => failed,
        };
        let known = fallback::on_host(&fallbacks);
        let more = failed.because().iter().filter(|more| {
            let mut nodes = more.nodes.iter();
            nodes.any(|node| !known.contains_key(node))
        });
        let more: Vec<Fallback> = more.cloned().collect();
        if more.is_empty() || rounds >= fallback::MOST_FALLBACKS {
            return Err(failed.give_up());
        }
        for fallback in &more {
            observer.fallback(fallback);
        }
        fallbacks.extend(more);
        rounds += 1;
        imported = Imported::with_on_host(&source, &hash, fallback::on_host(&fallbacks))?;
    }
}

/// The graph after all transforms.
fn transformed(mut graph: Graph, options: &Options, observer: &mut dyn Observer) -> Graph {
    observer.stage(Stage::Transform);
    observer.graph("import", &graph);
    transform::run_all(
        &mut graph,
        &options.machine,
        &options.skipped,
        &mut |pass, graph| {
            observer.graph(pass, graph);
        },
    );
    graph
}

/// What earlier attempts at compiling a model leave to the next one.
#[derive(Default)]
struct Before {
    /// Tensors whose ranges they asked for. They are kept, so that a calibration that is saved leads to the same program.
    wanted: BTreeSet<String>,
    /// Nodes that were sent to the host for the sake of their precision; they are sent once.
    sent: BTreeSet<String>,
    /// What was sent there because of what the host makes of its results.
    borders: borders::Moved,
}

impl Before {
    /// Fails if any nodes of `found` have not been sent to the host yet.
    fn send(&mut self, found: Vec<Fallback>) -> Result<(), Failed> {
        let new = |of: &Fallback| of.nodes.iter().any(|node| !self.sent.contains(node));
        let found: Vec<Fallback> = found.into_iter().filter(new).collect();
        self.sent
            .extend(found.iter().flat_map(|of| of.nodes.clone()));
        fallback::of_precision(found)
    }

    /// Fails if a part of the network should run on the host for what its values lose.
    fn judge(
        &mut self,
        graph: &Graph,
        network: &Quantised,
        (calibration, observed): (&Calibration, &Sample),
        options: &Options,
    ) -> Result<(), Failed> {
        self.send(unfit::unfit(graph, network))?;
        // With a calibration of before it has been found already.
        if options.calibration.is_some() {
            return Ok(());
        }
        let segments = borders::Segments {
            graph,
            network,
            observed,
            calibration,
            host: &options.host,
        };
        let found = self.borders.more(&segments);
        self.send(found)
    }
}

/// Compiles a model once.
fn attempt(
    imported: Imported,
    options: &Options,
    before: &mut Before,
    observer: &mut dyn Observer,
) -> Result<Compiled, Failed> {
    let Imported {
        graph, typed, hash, ..
    } = imported;
    before.send(powers::summed(&graph))?;
    if let Some(calibration) = &options.calibration {
        let known = before.borders.known(&calibration.on_host);
        before.send(known)?;
    }
    let graph = transformed(graph, options, observer);
    before.send(moves::for_host(&graph))?;
    refuse_host(&graph, options)?;
    observer.stage(Stage::Calibrate);
    before.wanted.extend(calibrate::wanted(&graph));
    let wanted: Vec<String> = before.wanted.iter().cloned().collect();
    let (float, mut calibration, observed) = calibrated(&graph, typed, &wanted, options)
        .map_err(|error| fallback::of_float(error, &options.host))?;
    float.release_plan();
    calibration.on_host.clone_from(before.borders.nodes());
    let Integers {
        network,
        occupancy,
        mapped,
        program,
    } = integers_or_culprits(
        &graph,
        &calibration,
        &hash,
        options,
        // All activations of a sample are let go as soon as it is known where they are not zero.
        |network| {
            let observed = observed;
            before.judge(&graph, network, (&calibration, &observed), options)?;
            Ok(Occupancy::of(network, &observed))
        },
        observer,
    )?;
    Ok(Compiled {
        graph,
        float,
        calibration,
        network,
        occupancy,
        mapped,
        program,
        fallbacks: Vec::new(),
        host: options.host.clone(),
    })
}

/// What follows from a graph and the ranges of its activations.
#[derive(Debug)]
pub struct Integers {
    /// The integer network.
    pub network: Quantised,
    /// Where its activations are not zero.
    pub occupancy: Occupancy,
    /// Its mapping.
    pub mapped: Mapped,
    /// The program.
    pub program: Program,
}

/// Quantises, maps and emits a transformed graph; `hash` is that of the model's file, `occupancy` tells where the
/// activations of the integer network are not zero.
///
/// # Errors
/// See [`CompileError`].
pub fn integers(
    graph: &Graph,
    calibration: &Calibration,
    hash: &str,
    options: &Options,
    occupancy: impl FnOnce(&Quantised) -> Occupancy,
    observer: &mut dyn Observer,
) -> Result<Integers, CompileError> {
    let occupancy = |network: &Quantised| Ok(occupancy(network));
    integers_or_culprits(graph, calibration, hash, options, occupancy, observer)
        .map_err(Failed::give_up)
}

/// The same; a failure says which nodes it is because of. `occupancy` is the first to see the integer network, and may refuse
/// it.
fn integers_or_culprits(
    graph: &Graph,
    calibration: &Calibration,
    hash: &str,
    options: &Options,
    occupancy: impl FnOnce(&Quantised) -> Result<Occupancy, Failed>,
    observer: &mut dyn Observer,
) -> Result<Integers, Failed> {
    observer.stage(Stage::Quantise);
    let network = quantise::quantise(graph, calibration, &options.machine, &options.quantise)
        .map_err(|error| fallback::of_quantisation(error, options))?;
    let occupancy = occupancy(&network)?;
    let found = Found {
        network: &network,
        occupancy: &occupancy,
        calibration,
        hash,
    };
    let (mapped, program) = mapped_or_culprits(&found, options, observer)?;
    Ok(Integers {
        network,
        occupancy,
        mapped,
        program,
    })
}

/// What a mapping is found for.
struct Found<'a> {
    network: &'a Quantised,
    occupancy: &'a Occupancy,
    calibration: &'a Calibration,
    /// Of the model's file.
    hash: &'a str,
}

/// Maps and emits an integer network; a failure says which nodes it is because of.
fn mapped_or_culprits(
    found: &Found<'_>,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Mapped, Program), Failed> {
    let Found {
        network,
        occupancy,
        calibration,
        hash,
    } = *found;
    observer.stage(Stage::Map);
    let provenance = Provenance {
        tool: concat!("scnnc ", env!("CARGO_PKG_VERSION")).to_owned(),
        model: network.name.clone(),
        model_hash: hash.to_owned(),
        options: Vec::new(),
        ranges: options.quantise.ranges,
    };
    let mut mapped_and_emitted = || {
        let (mapped, mapping) = map_network(network, occupancy, options)?;
        observer.stage(Stage::Emit);
        let provenance = Provenance {
            options: describe(options, calibration, &mapping),
            ..provenance.clone()
        };
        let program = emit(network, &mapped, &options.machine, provenance);
        match verify(&program) {
            Ok(()) => Ok((mapped, program)),
            Err(problems) if options.mapping_file.is_some() => {
                Err(CompileError::IllegalMapping(problems))
            }
            Err(problems) => Err(CompileError::Invalid(problems)),
        }
    };
    let done = catch_unwind(AssertUnwindSafe(&mut mapped_and_emitted));
    let culprits = || fallback::culprits(network, occupancy, options);
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(CompileError::Map(error))) => Err(fallback::of_mapping(error, network)),
        Ok(Err(error @ CompileError::Invalid(_))) => Err(Failed::Because(culprits(), error)),
        Ok(Err(error)) => Err(Failed::Error(error)),
        Err(panic) => Err(Failed::Panic(culprits(), panic)),
    }
}

/// What the integer network of a model computes for each of its calibration samples.
///
/// # Errors
/// See [`CompileError`].
pub fn interpret_samples(
    imported: Imported,
    options: &Options,
) -> Result<Vec<BTreeMap<String, Tensor>>, CompileError> {
    let mut graph = imported.graph;
    transform::run_all(
        &mut graph,
        &options.machine,
        &options.skipped,
        &mut |_, _| {},
    );
    let wanted = calibrate::wanted(&graph);
    let (_, calibration, _) = calibrated(&graph, imported.typed, &wanted, options)?;
    let network = quantise::quantise(&graph, &calibration, &options.machine, &options.quantise)?;
    let segments = Segments::load(&network, &options.host)?;
    samples(&graph, options)
        .iter()
        .map(|sample| Ok(interpret(&network, sample, &segments)?.outputs))
        .collect()
}

/// The float model, the ranges that were given or that it shows, and its values on the first sample.
fn calibrated(
    graph: &Graph,
    typed: Typed,
    wanted: &[String],
    options: &Options,
) -> Result<(FloatModel, Calibration, Sample), CompileError> {
    let float = FloatModel::new(typed, wanted)?;
    let samples = samples(graph, options);
    let (mut calibration, observed) = match (&options.calibration, samples.first()) {
        (Some(calibration), Some(sample)) => {
            (calibration.clone(), calibrate::observe_one(&float, sample)?)
        }
        _ => observe_ranges(graph, &float, wanted, &samples, options)?,
    };
    if options.quantise.ranges == Ranges::Calibrated && calibration.sums.is_empty() {
        calibration.sums = observe_sums(graph, &calibration, &samples, options)?;
    }
    Ok((float, calibration, observed))
}

/// What to calibrate on: the samples given, or seeded noise.
pub fn samples<'a>(graph: &Graph, options: &'a Options) -> Cow<'a, [Sample]> {
    if options.samples.inputs.is_empty() {
        let seeds = (0..2).map(|i| options.seed.wrapping_add(i));
        seeds
            .map(|seed| calibrate::synthetic(graph, seed))
            .collect()
    } else {
        Cow::Borrowed(&options.samples.inputs)
    }
}

fn observe_ranges(
    graph: &Graph,
    float: &FloatModel,
    wanted: &[String],
    samples: &[Sample],
    options: &Options,
) -> Result<(Calibration, Sample), CompileError> {
    let source = if options.samples.inputs.is_empty() {
        "seeded noise"
    } else {
        &options.samples.source
    };
    let operand_bits = options.machine.pe.operand_bits;
    let widths = options.quantise.widths.resolve(graph, operand_bits);
    let widths = widths.map_err(QuantiseError::from)?;
    let samples = samples.iter().cloned();
    let method = options.method;
    Ok(calibrate::calibrate(
        graph, float, wanted, source, method, &widths, samples,
    )?)
}

/// The sums in the accumulators, observed with product shifts that are safe for any.
fn observe_sums(
    graph: &Graph,
    calibration: &Calibration,
    samples: &[Sample],
    options: &Options,
) -> Result<BTreeMap<String, f64>, CompileError> {
    let safe = quantise::Options {
        ranges: Ranges::Proven,
        ..options.quantise.clone()
    };
    let network = quantise::quantise(graph, calibration, &options.machine, &safe)?;
    let segments = Segments::load(&network, &options.host)?;
    Ok(sums::observe(&network, samples, &segments)?)
}

/// The mapping of an integer network, and nothing emitted of it.
///
/// # Errors
/// A layer that does not fit the machine, or a mapping file that does not fit the network.
pub fn mapping(
    network: &Quantised,
    occupancy: &Occupancy,
    options: &Options,
) -> Result<Mapped, CompileError> {
    map_network(network, occupancy, options).map(|(mapped, _)| mapped)
}

/// The mapping, and how it was found, as the program says.
fn map_network(
    network: &Quantised,
    occupancy: &Occupancy,
    options: &Options,
) -> Result<(Mapped, String), CompileError> {
    let machine = &options.machine;
    let Some(text) = &options.mapping_file else {
        let mapped = map::map(network, machine, occupancy, options.mapping)?;
        let mut name = options.mapping.strategy.name().to_owned();
        if options.mapping.strategy == Strategy::Search {
            name = format!("{name} objective={}", options.mapping.objective.name());
        }
        return Ok((mapped, name));
    };
    let mut mapped = map::file::read(text, network, machine)?;
    let paper = map::Options {
        strategy: Strategy::Paper,
        ..options.mapping
    };
    // The paper's mapping is the paper's, wherever it was read.
    let is_paper = map::map(network, machine, occupancy, paper)
        .is_ok_and(|paper| paper.same_decisions(&mapped));
    mapped.predicted = map::predict(network, machine, occupancy, &mapped);
    Ok((mapped, if is_paper { "paper" } else { "file" }.to_owned()))
}

/// Refuses what the options do not let the host do.
fn refuse_host(graph: &Graph, options: &Options) -> Result<(), CompileError> {
    let on_machine = graph
        .dag
        .node_weights()
        .any(|node| matches!(node.op, Op::Layer(_)));
    let order = graph.order().into_iter();
    let hosts = order.filter_map(|id| match &graph.dag[id].op {
        Op::Host(host) => Some(host.reasons.clone()),
        _ => None,
    });
    let reasons: Vec<String> = hosts.flatten().map(|on_host| on_host.to_string()).collect();
    if options.no_host && !reasons.is_empty() {
        return Err(CompileError::HostRefused { reasons });
    }
    if on_machine || options.allow_host_only {
        return Ok(());
    }
    Err(CompileError::HostOnly { reasons })
}

/// The options that decide the program, in canonical order.
fn describe(options: &Options, calibration: &Calibration, mapping: &str) -> Vec<String> {
    let mut words = vec![
        format!("machine={}", options.machine.name),
        format!("mapping={mapping}"),
        format!(
            "bits={}",
            options
                .quantise
                .widths
                .of_network(options.machine.pe.operand_bits)
        ),
        format!(
            "headroom={}",
            options
                .quantise
                .headroom
                .unwrap_or_else(|| calibration.method.headroom())
        ),
        format!(
            "calibration={} ({} samples)",
            calibration.source, calibration.samples
        ),
    ];
    if calibration.method != Method::MinMax {
        words.push(format!("method={}", calibration.method));
    }
    let layers = options.quantise.widths.layers.iter();
    words.extend(layers.map(|(name, bits)| format!("bits {name}={bits}")));
    if options.quantise.ranges == Ranges::Calibrated {
        words.push(format!(
            "ranges=calibrated sum-margin={}",
            options.quantise.sum_margin
        ));
    }
    let skipped = options.skipped.iter();
    words.extend(skipped.map(|pass| format!("skip-pass={pass}")));
    words.extend(options.pruning.clone());
    if options.samples.inputs.is_empty() {
        words.push(format!("seed={}", options.seed));
    }
    let ImportOptions {
        dims,
        shapes,
        values,
        // What they say stands in the shapes of the program's inputs.
        arrays: _,
        host: _,
    } = &options.import;
    words.extend(
        dims.iter()
            .map(|(name, value)| format!("dim {name}={value}")),
    );
    words.extend(
        shapes
            .iter()
            .map(|(name, shape)| format!("shape {name}={shape:?}")),
    );
    words.extend(
        values
            .iter()
            .map(|(name, value)| format!("input-value {name}={value}")),
    );
    words
}
