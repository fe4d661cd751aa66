//! The verbs that take a model: compile, run, compare, snapshot, sensitivity, advise, check, zoo, paper.

use super::{Bindings, Compilation, FloatReference, HostChoice, MachineChoice, at_least_one};
use crate::view::{VIEW, View};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Compile {
    /// The ONNX file.
    pub model: PathBuf,
    /// The program file to write.
    #[arg(short, long, value_name = "OUT.scnn")]
    pub output: PathBuf,
    /// Print a summary as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compilation: Compilation,
}

#[derive(Debug, Args)]
pub struct Run {
    /// An ONNX file, or a program file.
    pub model: PathBuf,
    /// Inputs: .npz with arrays named as the inputs, .npy, .pb, .csv, .raw, a folder; NAME=FILE for one of several. The
    /// first dimension may hold any number of samples. Without it: seeded noise.
    #[arg(help_heading = "Inputs", long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    /// Write the outputs.
    #[arg(help_heading = "Results", long, value_name = "FILE.npz")]
    pub output: Option<PathBuf>,
    /// Class of each sample (.npy, or .npz with an array `labels`): prints the accuracy.
    #[arg(help_heading = "Checks", long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Expected outputs (.npz, .npy, .pb): prints the largest difference and fails when it exceeds 2^-11 of the range.
    #[arg(help_heading = "Checks", long, value_name = "FILE")]
    pub expect: Option<PathBuf>,
    /// Compare every tensor with the integer interpreter bit for bit, and the outputs with the float model; of a program,
    /// whose model is not at hand, the tensors alone.
    #[arg(help_heading = "Checks", long)]
    pub check: bool,
    /// Float reference of `--check` for outputs and layers, beside the integer interpreter: the float model, or ONNX Runtime
    /// on the file itself.
    #[arg(help_heading = "Checks", long, value_enum, default_value_t = FloatReference::Model, requires = "check")]
    pub reference: FloatReference,
    /// Use at most this many samples.
    #[arg(help_heading = "Inputs", long, value_name = "N", value_parser = at_least_one())]
    pub samples: Option<usize>,
    /// Timing model.
    #[arg(long, value_enum, default_value_t = Timing::Exact)]
    pub timing: Timing,
    /// Write the distribution of cycles over the samples, of the network and of each layer, as CSV or JSON.
    #[arg(long, value_name = "L.csv|L.json")]
    pub latency: Option<PathBuf>,
    /// Write the report as JSON.
    #[arg(help_heading = "Results", long, value_name = "R.json")]
    pub report: Option<PathBuf>,
    /// The run's numbers for other viewers: `netron` (a side file to drop on the open model), `onnx` (the model with
    /// `metadata_props`), `model-explorer` (node data), `folded` (stacks of a flame graph); and for other tools: `accelergy`
    /// (ERT, ART and action counts), `timeloop` (a folder of problems), `scale-sim` (a topology), `line` (a flat JSON record
    /// for experiment trackers). May be repeated.
    #[arg(help_heading = "Results", long, value_name = VIEW)]
    pub view: Vec<View>,
    /// Print the report as JSON instead of a table; the lines below the table then go to standard error.
    #[arg(help_heading = "Results", long)]
    pub json: bool,
    /// Write every layer's integer input, weights, output and a layer.json into a folder.
    #[arg(help_heading = "Results", long, value_name = "DIR")]
    pub dump: Option<PathBuf>,
    /// Write a trace of the units in the first sample, cycle by cycle, for ui.perfetto.dev: Perfetto's protobuf, or a Chrome
    /// trace in JSON if the file ends in `.json`.
    #[arg(help_heading = "Results", long, value_name = "T.pftrace")]
    pub trace: Option<PathBuf>,
    /// Show only this layer's units in the trace; may be repeated.
    #[arg(
        help_heading = "Results",
        long,
        value_name = "NAME",
        requires = "trace"
    )]
    pub trace_layer: Vec<String>,
    #[command(flatten)]
    pub compilation: Compilation,
}

/// Timing settings.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Timing {
    /// Everything: bank queues, weight FIFOs, drains, halos, DRAM.
    Exact,
    /// Steps and barriers, a lower bound.
    Fast,
}

impl From<Timing> for scnn_simulator::timing::Timing {
    fn from(timing: Timing) -> Self {
        match timing {
            Timing::Exact => Self::Exact,
            Timing::Fast => Self::Fast,
        }
    }
}

#[derive(Debug, Args)]
pub struct Compare {
    /// The ONNX file.
    pub model: PathBuf,
    /// Inputs, as for `run`. Without them: seeded noise.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    /// Use at most this many samples.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    pub samples: usize,
    /// Timing model.
    #[arg(long, value_enum, default_value_t = Timing::Exact)]
    pub timing: Timing,
    /// Write the machines' reports as JSON.
    #[arg(long, value_name = "R.json")]
    pub report: Option<PathBuf>,
    /// Print them as JSON instead of tables.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compilation: Compilation,
}

#[derive(Debug, Args)]
pub struct Snapshot {
    /// An ONNX file, or a program file.
    pub model: PathBuf,
    /// Write the snapshot; without it, `--check` or `--update`, it goes to standard output.
    #[arg(short, long, value_name = "F.snap", conflicts_with_all = ["check", "update"])]
    pub output: Option<PathBuf>,
    /// Compare with a snapshot: a difference is shown as a unified diff, and the exit status is 3.
    #[arg(long, value_name = "F.snap", conflicts_with = "update")]
    pub check: Option<PathBuf>,
    /// Bring a snapshot up to date, and show the differences.
    #[arg(long, value_name = "F.snap")]
    pub update: Option<PathBuf>,
    /// Inputs, as for `run`. Without them: seeded noise.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    /// Use at most this many samples.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    pub samples: usize,
    /// Timing model.
    #[arg(long, value_enum, default_value_t = Timing::Exact)]
    pub timing: Timing,
    #[command(flatten)]
    pub compilation: Compilation,
}

#[derive(Debug, Args)]
pub struct Sensitivity {
    /// The ONNX file.
    pub model: PathBuf,
    /// Densities to prune each layer to.
    #[arg(
        long,
        value_name = "D,D,...",
        value_delimiter = ',',
        default_values_t = [0.8, 0.6, 0.4, 0.3, 0.2, 0.1]
    )]
    pub densities: Vec<f64>,
    /// Only this layer; may be repeated.
    #[arg(long = "layer", value_name = "NAME")]
    pub layers: Vec<String>,
    /// How many of the calibration samples to execute at every point, evenly spread; noise without any.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    pub samples: usize,
    /// Timing model.
    #[arg(long, value_enum, default_value_t = Timing::Exact)]
    pub timing: Timing,
    /// Write the points as CSV or JSON.
    #[arg(short, long, value_name = "S.csv|S.json")]
    pub output: Option<PathBuf>,
    /// Print them as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compilation: Compilation,
}

#[derive(Debug, Args)]
pub struct Advise {
    /// The ONNX files; several are judged together, each with the same weight.
    #[arg(required = true, value_name = "MODEL.onnx")]
    pub models: Vec<PathBuf>,
    /// Inputs, as for `run`, of a single model. Without them: seeded noise.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    /// Use at most this many samples.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    pub samples: usize,
    /// Run every change, and show how far the predictions are off: minutes instead of seconds. Small networks are run in any
    /// case.
    #[arg(long)]
    pub measure: bool,
    /// Only parameters with this beginning of their path, as in `pe.`; may be repeated.
    #[arg(long, value_name = "PATH")]
    pub only: Vec<String>,
    /// Print as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compilation: Compilation,
}

#[derive(Debug, Args)]
pub struct Ops {
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The ONNX file.
    pub model: PathBuf,
    #[command(flatten)]
    pub machine: MachineChoice,
    #[command(flatten)]
    pub bindings: Bindings,
    #[command(flatten)]
    pub host: HostChoice,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The zoo: real architectures with synthetic weights of published densities.
#[derive(Debug, Subcommand)]
pub enum Zoo {
    /// List the networks.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a network as ONNX, with the image that its densities are set on.
    Make(ZooMake),
}

#[derive(Debug, Args)]
pub struct ZooMake {
    /// Names from `zoo list`; none for all.
    pub names: Vec<String>,
    /// Make a network of a table of layers instead: a SCALE-Sim topology (.csv), or Timeloop problems (.yaml), which are one
    /// network; weights and inputs are drawn from the seed. May be repeated.
    #[arg(long = "table", value_name = "T.csv|P.yaml", conflicts_with = "names")]
    pub tables: Vec<PathBuf>,
    /// Folder to write `NAME.onnx` and `NAME.npy` to.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// Seed of the weights and the image.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Densities of weights and activations of every layer, 0 to 1, instead of the published ones.
    #[arg(long, value_name = "W,A")]
    pub density: Option<String>,
    /// Nothing pruned, no activation zero: `--density 1,1`.
    #[arg(long, conflicts_with = "density")]
    pub dense: bool,
    /// Say less: no table.
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Paper {
    /// Fail when a headline is outside its bar.
    #[arg(long)]
    pub check: bool,
    /// Write tables as CSV and JSON, and the charts that correspond to the paper's figures as SVG.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Only this section: sweep, ablation, speed, utilisation, energy, accounting, sensitivity, granularity, memory, area or
    /// today; may be repeated.
    #[arg(long, value_name = "SECTION")]
    pub only: Vec<String>,
    /// Without VGG-16, and fewer points: a few minutes less, and fewer headlines.
    #[arg(long)]
    pub quick: bool,
    /// Seed of the zoo's weights and image.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Say less: no progress.
    #[arg(short, long)]
    pub quiet: bool,
}
