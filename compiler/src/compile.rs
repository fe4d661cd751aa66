//! The whole compiler as one function: ONNX file in, program out, with every intermediate result kept.
//!
//! A layer that cannot be compiled runs on the host, and the model is compiled anew ([`fallback`]).

mod attempts;
mod borders;
mod error;
pub mod fallback;
mod front;
mod integers;
mod islands;
mod moves;
mod observed;
mod observer;
mod options;
mod powers;
mod ranges;
mod sums;
mod unfit;

pub use error::CompileError;
pub use front::Front;
pub use integers::{Integers, integers, mapping};
pub use observer::{Observer, Stage};
pub use options::{Options, Sample, Samples};
pub use ranges::{interpret_samples, samples};

use crate::calibrate::{self, Calibration};
use crate::graph::{Graph, Op};
use crate::import::{ImportOptions, Imported, import};
use crate::map::occupancy::{Filling, Occupancy};
use crate::map::{Mapped, Strategy};
use crate::quantise::Quantised;
use crate::reference::float::FloatModel;
use crate::transform;
use attempts::{Before, with_fallbacks};
use fallback::{Failed, Fallback};
use integers::integers_or_culprits;
use observed::calibrated;
use observer::Graphs;
use scnn_host::Host;
use scnn_isa::program::Program;
use std::collections::BTreeMap;
use std::path::Path;

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
        before.send(powers::summed(&imported.graph, &options.machine))?;
        let graph = transformed(imported.graph, &options, observer);
        before.send(moves::for_host(&graph))?;
        before.send_unpaid(&graph, &options.machine)?;
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
    before.send(powers::summed(&graph, &options.machine))?;
    if let Some(calibration) = &options.calibration {
        let known = before.borders.known(&calibration.on_host);
        before.send(known)?;
    }
    let graph = transformed(graph, options, observer);
    before.send(moves::for_host(&graph))?;
    before.send_unpaid(&graph, &options.machine)?;
    refuse_host(&graph, options)?;
    observer.stage(Stage::Calibrate);
    before.wanted.extend(calibrate::wanted(&graph));
    let wanted: Vec<String> = before.wanted.iter().cloned().collect();
    let kept = before.observed.take();
    let (mut observed, mut calibration) =
        calibrated(&graph, typed, wanted, options, kept, observer.layers())
            .map_err(|error| fallback::of_float(error, &options.host))?;
    calibration.on_host.clone_from(before.borders.nodes());
    let integers = integers_or_culprits(
        &graph,
        &calibration,
        &hash,
        options,
        // All activations of a sample are let go as soon as it is known where they are not zero.
        |network| {
            let mut occupancy = Filling::of(network);
            let asked = borders::values_asked(&graph, network);
            let values = observed.values(&asked, &mut |n, v| occupancy.fill(n, v))?;
            before.judge(&graph, network, (&calibration, &values), options)?;
            drop(values);
            observed.release();
            Ok(occupancy.finish())
        },
        observer,
    );
    let Integers {
        network,
        occupancy,
        mapped,
        program,
    } = match integers {
        Ok(integers) => integers,
        Err(failed) => {
            before.observed = Some(observed);
            return Err(failed);
        }
    };
    Ok(Compiled {
        graph,
        float: observed.float,
        calibration,
        network,
        occupancy,
        mapped,
        program,
        fallbacks: Vec::new(),
        host: options.host.clone(),
    })
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

/// Refuses what the options do not let the host do.
fn refuse_host(graph: &Graph, options: &Options) -> Result<(), CompileError> {
    let order = graph.order().into_iter();
    let hosts = order.filter_map(|id| match &graph.dag[id].op {
        Op::Host(host) => Some(host.reasons.clone()),
        _ => None,
    });
    let reasons: Vec<String> = hosts.flatten().map(|on_host| on_host.to_string()).collect();
    if options.no_host && !reasons.is_empty() {
        return Err(CompileError::HostRefused { reasons });
    }
    if graph.has_layers() || options.allow_host_only {
        return Ok(());
    }
    Err(CompileError::HostOnly { reasons })
}
