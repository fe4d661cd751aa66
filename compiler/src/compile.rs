//! The whole compiler as one function: ONNX file in, program out, with every intermediate result kept.

use crate::calibrate::{self, Calibration};
use crate::emit::emit;
use crate::float::{FloatError, FloatModel};
use crate::graph::{Graph, Op};
use crate::import::{ImportErrors, ImportOptions, Imported, import};
use crate::map::{self, MapError, Mapped, Strategy};
use crate::quantise::{self, QuantiseError, Quantised};
use crate::transform;
use scnn_isa::machine::Machine;
use scnn_isa::program::{Program, Provenance, Ranges};
use scnn_isa::verify::{Problem, verify};
use std::collections::BTreeMap;
use std::path::Path;
use thiserror::Error;
use tract_onnx::prelude::Tensor;

/// Choices of a compilation.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine.
    pub machine: Machine,
    /// How mappings are found.
    pub strategy: Strategy,
    /// Number formats.
    pub quantise: quantise::Options,
    /// Values of symbolic dimensions.
    pub dims: BTreeMap<String, u64>,
    /// Inputs to calibrate on: where they come from, and maps from input name to tensor. Empty: seeded noise.
    pub samples: (String, Vec<BTreeMap<String, Tensor>>),
    /// Ranges to use instead of observing them.
    pub calibration: Option<Calibration>,
    /// Seed of that noise.
    pub seed: u64,
    /// Whether a model of which nothing runs on the array is compiled all the same.
    pub allow_host_only: bool,
}

impl Options {
    /// What `scnnc compile` does without options, for `machine`.
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            strategy: Strategy::default(),
            quantise: quantise::Options::default(),
            dims: BTreeMap::new(),
            samples: (String::new(), Vec::new()),
            calibration: None,
            seed: 1,
            allow_host_only: false,
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
    /// Its mapping.
    pub mapped: Mapped,
    /// The program.
    pub program: Program,
}

/// Why a model was not compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The file is no model that can be compiled.
    #[error(transparent)]
    Import(#[from] ImportErrors),
    /// The float model does not run.
    #[error(transparent)]
    Float(#[from] FloatError),
    /// Nothing runs on the array.
    #[error("nothing of this model would run on the array")]
    HostOnly {
        /// Why each node runs on the host.
        reasons: Vec<String>,
    },
    /// The graph has no integer form.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    /// The network has no mapping.
    #[error(transparent)]
    Map(#[from] MapError),
    /// What was emitted is not a valid program: a bug of the compiler.
    #[error("the emitted program is not valid: {}", .0.first().map_or("unknown", |problem| &problem.message))]
    Invalid(Vec<Problem>),
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
        dims: options.dims.clone(),
    };
    compile_imported(import(path, &import_options)?, options, observe)
}

/// Compiles an imported model; `observe` is shown the graph after import and after every transform.
///
/// # Errors
/// See [`CompileError`].
pub fn compile_imported(
    imported: Imported,
    options: &Options,
    observe: &mut dyn FnMut(&str, &Graph),
) -> Result<Compiled, CompileError> {
    let mut graph = imported.graph;
    observe("import", &graph);
    transform::run_all(&mut graph, observe);
    refuse_host_only(&graph, options)?;

    let float = FloatModel::new(imported.typed, &calibrate::wanted(&graph))?;
    let (source, samples) = &options.samples;
    let calibration = if let Some(calibration) = &options.calibration {
        calibration.clone()
    } else if samples.is_empty() {
        let noise = (0..2).map(|i| calibrate::synthetic(&graph, options.seed.wrapping_add(i)));
        calibrate::calibrate(&graph, &float, "seeded noise", noise)?
    } else {
        calibrate::calibrate(&graph, &float, source, samples.iter().cloned())?
    };

    let network = quantise::quantise(&graph, &calibration, &options.machine, &options.quantise)?;
    let mapped = map::map(&network, &options.machine, options.strategy)?;
    let provenance = Provenance {
        tool: concat!("scnnc ", env!("CARGO_PKG_VERSION")).to_owned(),
        model: graph.name.clone(),
        model_hash: imported.hash,
        options: describe(options, &calibration),
        ranges: Ranges::Proven,
    };
    let program = emit(&network, &mapped, &options.machine, provenance);
    verify(&program).map_err(CompileError::Invalid)?;
    Ok(Compiled {
        graph,
        float,
        calibration,
        network,
        mapped,
        program,
    })
}

fn refuse_host_only(graph: &Graph, options: &Options) -> Result<(), CompileError> {
    let on_machine = graph
        .dag
        .node_weights()
        .any(|node| matches!(node.op, Op::Layer(_)));
    if on_machine || options.allow_host_only {
        return Ok(());
    }
    let reasons = graph.dag.node_weights().filter_map(|node| match &node.op {
        Op::Host(host) => Some(host.reasons.clone()),
        _ => None,
    });
    Err(CompileError::HostOnly {
        reasons: reasons.flatten().collect(),
    })
}

/// The options that decide the program, in canonical order.
fn describe(options: &Options, calibration: &Calibration) -> Vec<String> {
    let mut words = vec![
        format!("machine={}", options.machine.name),
        format!("mapping={}", options.strategy.name()),
        format!("bits={}", options.quantise.bits),
        format!("headroom={}", options.quantise.headroom),
        format!(
            "calibration={} ({} samples)",
            calibration.source, calibration.samples
        ),
    ];
    if options.samples.1.is_empty() {
        words.push(format!("seed={}", options.seed));
    }
    words.extend(
        options
            .dims
            .iter()
            .map(|(name, value)| format!("dim {name}={value}")),
    );
    words
}
