//! Options of a compilation: the model's inputs, the machine, number formats, pruning, mapping, host.

use super::at_least_one;
use crate::stages::{Loudness, Shown};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use scnn_host::{Host, Library, Policy};
use scnnc::calibrate::Method;
use scnnc::map::Objective;
use scnnc::prune::Pattern;
use scnnc::prune::budget::Budget;
use std::path::PathBuf;

/// Values and extents that a file leaves open.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct Bindings {
    /// Value of an open dimension, by its name or as INPUT[INDEX]; may be repeated.
    #[arg(long = "dim", value_name = "NAME=VALUE")]
    pub dims: Vec<String>,
    /// All extents of an input, as in `x=1,3,48,192`; may be repeated.
    #[arg(long = "shape", value_name = "INPUT=N,N,…")]
    pub shapes: Vec<String>,
    /// Make an input a constant, as in `sr=16000`, with commas between several values; may be repeated.
    #[arg(long = "input-value", value_name = "INPUT=VALUE")]
    pub input_values: Vec<String>,
}

/// The machine of a command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub struct MachineChoice {
    /// Machine: the name of a preset or a YAML file; `scnn` for a model, a program's own for a program. `compare` takes
    /// several.
    #[arg(long = "machine", value_name = "PRESET|FILE")]
    pub names: Vec<String>,
    /// Set a parameter of that machine, as in `pe.banks=64`; `machine show` lists them. May be repeated.
    #[arg(long = "set", value_name = "PARAMETER=VALUE")]
    pub settings: Vec<String>,
}

/// How a model is compiled.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Flags of a command line.
pub struct Compilation {
    #[command(flatten)]
    pub machine: MachineChoice,
    /// Strategy of the mapping.
    #[arg(help_heading = "Mapping", long, value_enum, default_value_t = Mapping::Search)]
    pub mapping: Mapping,
    /// Objective of the mapping search.
    #[arg(help_heading = "Mapping", long, value_parser = objectives(), default_value = Objective::default().name())]
    pub objective: Objective,
    /// Take the mapping from a file that `--save-mapping` wrote, edited or not.
    #[arg(help_heading = "Mapping", long, value_name = "M.yaml", conflicts_with_all = ["mapping", "objective"])]
    pub mapping_file: Option<PathBuf>,
    /// Write the mapping as YAML.
    #[arg(help_heading = "Mapping", long, value_name = "M.yaml")]
    pub save_mapping: Option<PathBuf>,
    #[command(flatten)]
    pub bindings: Bindings,
    /// Inputs to calibrate activation ranges on: .npz, .npy, .pb, .csv, .raw (32-bit floats), or a folder of them.
    #[arg(help_heading = "Quantisation", long, value_name = "FILE|DIR")]
    pub calibrate: Option<PathBuf>,
    /// How many samples to calibrate on at most, evenly spread; 16, or all for a budget of top-1 accuracy.
    #[arg(help_heading = "Quantisation", long, value_name = "N", value_parser = at_least_one())]
    pub calibration_samples: Option<usize>,
    /// Method that chooses ranges from observed activations: min-max, percentile=99.99, entropy.
    #[arg(help_heading = "Quantisation", long, value_name = "METHOD", default_value_t = Method::MinMax)]
    pub calibration_method: Method,
    /// Read activation ranges from a YAML file instead of observing them.
    #[arg(help_heading = "Quantisation", long, value_name = "FILE", conflicts_with_all = ["calibrate", "calibration_method"])]
    pub calibration: Option<PathBuf>,
    /// Write the observed activation ranges as YAML.
    #[arg(help_heading = "Quantisation", long, value_name = "FILE")]
    pub save_calibration: Option<PathBuf>,
    /// Bits of weights and activations: 16, w8a16; of one layer: conv1=8; or a YAML file with `network` and `layers`. May be
    /// repeated. By default the machine's operand width.
    #[arg(help_heading = "Quantisation", long, value_name = "[LAYER=]N|FILE")]
    pub bits: Vec<String>,
    /// Factor on calibrated activation ranges; 1.5 for min-max, 1 for the other methods.
    #[arg(help_heading = "Quantisation", long, value_name = "X")]
    pub headroom: Option<f32>,
    /// Sums in the accumulators: proven never to overflow, or as observed in calibration times a margin, which keeps
    /// more bits and stops the simulator should one overflow.
    #[arg(help_heading = "Quantisation", long, value_enum, default_value_t = Ranges::Proven)]
    pub ranges: Ranges,
    /// Factor on the observed sums with `--ranges calibrated`.
    #[arg(
        help_heading = "Quantisation",
        long,
        value_name = "X",
        default_value_t = 2.0
    )]
    pub sum_margin: f32,
    #[command(flatten)]
    pub pruning: Pruning,
    /// Seed of the noise that stands in for calibration data.
    #[arg(
        help_heading = "Quantisation",
        long,
        value_name = "N",
        default_value_t = 1
    )]
    pub seed: u64,
    /// Compile even when nothing would run on the array.
    #[arg(help_heading = "Host", long)]
    pub allow_host_only: bool,
    /// Refuse a model of which anything would run on the host, and name each such node.
    #[arg(help_heading = "Host", long, conflicts_with = "allow_host_only")]
    pub no_host: bool,
    #[command(flatten)]
    pub host: HostChoice,
    /// Write the graph after import and after every transform into a folder, numbered.
    #[arg(help_heading = "Transforms", long, value_name = "DIR")]
    pub dump_ir: Option<PathBuf>,
    /// Compute the network before and after every transform, and fail at the first that changes a value.
    #[arg(help_heading = "Transforms", long)]
    pub verify_passes: bool,
    /// Skip a transform that no other needs, to find the one at fault. May be repeated.
    #[arg(help_heading = "Transforms", long, value_name = "NAME", value_parser = optional_transforms())]
    pub skip_pass: Vec<String>,
    /// Say less: neither progress nor warnings.
    #[arg(help_heading = "Messages", short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: how long each stage took.
    #[arg(help_heading = "Messages", short, long)]
    pub verbose: bool,
    /// How to show progress: as a line that changes, on a terminal, or as lines for a log.
    #[arg(
        help_heading = "Messages",
        long,
        value_enum,
        value_name = "HOW",
        default_value_t,
        conflicts_with = "quiet"
    )]
    pub progress: Shown,
    /// Fail with an internal error if a transform's result holds this ONNX node: tries the report of such errors.
    #[arg(long, value_name = "NODE", hide = true)]
    pub provoke: Option<String>,
}

/// Runtime of the host segments.
#[derive(Debug, Args)]
#[command(next_help_heading = "Host")]
pub struct HostChoice {
    /// Runtime of host segments: tract, which is built in; onnxruntime, where its library is found; auto: tract for
    /// operators that it computes right, ONNX Runtime for the rest.
    #[arg(long = "host", value_enum, value_name = "RUNTIME", default_value_t = Runtime::Auto)]
    pub runtime: Runtime,
    /// The library of ONNX Runtime; by default from `ORT_DYLIB_PATH`, the active virtual environment, or the system, in
    /// this order.
    #[arg(long, value_name = "FILE")]
    pub host_library: Option<PathBuf>,
}

/// Float references of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FloatReference {
    Model,
    Onnxruntime,
}

/// Runtimes of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    Tract,
    Onnxruntime,
    Auto,
}

impl HostChoice {
    /// The runtimes; ONNX Runtime is looked for when it is first needed.
    pub fn runtimes(&self) -> Host {
        let policy = match self.runtime {
            Runtime::Tract => Policy::Tract,
            Runtime::Onnxruntime => Policy::OnnxRuntime,
            Runtime::Auto => Policy::Auto,
        };
        let option = self.host_library.clone();
        Host::new(
            policy,
            Library::search(option, |name| std::env::var_os(name)),
        )
    }
}

impl Compilation {
    /// How much to say beside the result.
    pub fn loudness(&self) -> Loudness {
        Loudness::of(self.quiet, self.verbose)
    }
}

/// How a model is pruned before it is calibrated.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pruning")]
pub struct Pruning {
    /// Prune every layer by magnitude to this density, the share of weights that are not zero.
    #[arg(long, value_name = "DENSITY", group = "pruned")]
    pub prune: Option<f64>,
    /// Prune every layer to its own density, from a YAML file.
    #[arg(long, value_name = "FILE", group = "pruned")]
    pub prune_file: Option<PathBuf>,
    /// Find densities for an accuracy on the calibration data: 1dB less at the outputs, sqnr=30dB at least there, or
    /// top1=0.5% less of the samples classified as labelled.
    #[arg(long, value_name = "BUDGET", group = "pruned")]
    pub prune_budget: Option<Budget>,
    /// Which weights go: unstructured, kernel (all R x S of an input and an output channel), or N:M (at most N of
    /// every M input channels; enough by itself).
    #[arg(long, value_name = "PATTERN")]
    pub prune_pattern: Option<Pattern>,
    /// Class of each calibration sample (.npy, or .npz with an array `labels`, which `--calibrate` may have too).
    #[arg(long, value_name = "FILE")]
    pub calibration_labels: Option<PathBuf>,
    /// Write the densities that were reached, for `--prune-file`.
    #[arg(long, value_name = "FILE")]
    pub save_densities: Option<PathBuf>,
    /// Write the pruned model: the ONNX file as it is, with zeros where weights went.
    #[arg(long, value_name = "FILE")]
    pub save_onnx: Option<PathBuf>,
}

impl Pruning {
    /// Whether weights are to go, and not only which if they do.
    pub fn says_how_much(&self) -> bool {
        self.prune.is_some() || self.prune_file.is_some() || self.prune_budget.is_some()
    }
}

/// Bounds of the sums in the accumulators.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Ranges {
    /// No order of additions can overflow.
    Proven,
    /// The sums of the calibration samples, with a margin.
    Calibrated,
}

impl From<Ranges> for scnn_isa::program::Ranges {
    fn from(ranges: Ranges) -> Self {
        match ranges {
            Ranges::Proven => Self::Proven,
            Ranges::Calibrated => Self::Calibrated,
        }
    }
}

/// Mapping strategies.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Mapping {
    /// The paper's fixed dataflow: Kc = 8, one PE group.
    Paper,
    /// The best that the cost model finds; no layer slower than the paper's.
    Search,
}

/// The names that `--objective` takes.
fn objectives() -> impl TypedValueParser<Value = Objective> {
    let value =
        |objective: Objective| PossibleValue::new(objective.name()).help(objective.meaning());
    PossibleValuesParser::from(Objective::ALL.map(value))
        .map(|name| Objective::named(&name).expect("only names of objectives are possible"))
}

/// The names that `--skip-pass` takes.
fn optional_transforms() -> PossibleValuesParser {
    let optional = scnnc::transform::PASSES.iter().filter(|pass| pass.optional);
    let value = |pass: &scnnc::transform::Pass| PossibleValue::new(pass.name).help(pass.about);
    optional.map(value).collect::<Vec<_>>().into()
}
