//! Verbs and options.

use super::stages::Loudness;
use super::view::{VIEW, View};
use clap::builder::{PossibleValue, PossibleValuesParser, RangedU64ValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use scnn_host::{Host, Library, Policy};
use scnnc::calibrate::Method;
use scnnc::prune::Pattern;
use scnnc::prune::budget::Budget;
use std::path::PathBuf;

/// Reads a count that must not be none.
fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// Compile ONNX models to programs for SCNN, the accelerator for compressed-sparse convolutional networks, inspect
/// the programs, and run them in a simulator that is exact to the bit.
#[derive(Debug, Parser)]
#[command(name = "scnnc", version, max_term_width = 110)]
pub struct Arguments {
    /// Explain a diagnostic's code, or a term of the glossary, and stop.
    #[arg(long, value_name = "WORD")]
    pub explain: Option<String>,
    /// Threads to use; the results do not depend on it.
    #[arg(help_heading = "Process", long, global = true, value_name = "N", value_parser = at_least_one())]
    pub threads: Option<usize>,
    /// Most memory to use, as in `4GB`; three quarters of the machine's otherwise.
    #[arg(help_heading = "Process", long, global = true, value_name = "SIZE", value_parser = super::memory::parse)]
    pub limit_memory: Option<u64>,
    /// Repeat a failing command: write no files, and of an internal error only its place.
    #[arg(long, global = true, hide = true)]
    pub reducing: bool,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

impl Arguments {
    /// The model, program or text that the command is about.
    pub fn subject(&self) -> Option<PathBuf> {
        let path = match self.verb.as_ref()? {
            Verb::Compile(options) => &options.model,
            Verb::Run(options) => &options.model,
            Verb::Compare(options) => &options.model,
            Verb::Snapshot(options) => &options.model,
            Verb::Sensitivity(options) => &options.model,
            Verb::Advise(options) => options.models.first()?,
            Verb::Check(options) => &options.model,
            Verb::Disasm(options) => &options.program,
            Verb::Verify(options) => &options.program,
            Verb::Inspect(options) => &options.program,
            Verb::Asm(options) => &options.text,
            Verb::Machine(Machine::Check { file }) => file,
            _ => return None,
        };
        Some(path.clone())
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Compile a model to a program file.
    Compile(Compile),
    /// Run a model or a program in the simulator.
    Run(Run),
    /// Compare a model's cycles and energy with dense machines, the oracle and one-sided sparsity, or between machines.
    Compare(Compare),
    /// Study what pruning each layer (further) costs in accuracy and saves in cycles and energy.
    Sensitivity(Sensitivity),
    /// Measure the points of a specification: many machines, mappings, widths and models.
    Sweep(Sweep),
    /// Tell what one step up and one step down of every parameter of the machine would gain or cost.
    Advise(Advise),
    /// Tell why each layer is mapped as it is, what bounds it, and what else there was.
    Explain(Explain),
    /// Print a program as assembly text.
    Disasm(Disasm),
    /// Assemble a text to a program file.
    Asm(Asm),
    /// Decide whether a program is well formed.
    Verify(Verify),
    /// Show what a program file holds.
    Inspect(Inspect),
    /// Show what differs between two programs, layer by layer.
    Diff(Diff),
    /// Make a page, CSV, figures or a table of reports.
    Report(Report),
    /// Run the command of a report again, and say whether the report still holds.
    Replay(Replay),
    /// List, show or check machine descriptions.
    #[command(subcommand)]
    Machine(Machine),
    /// List every ONNX operator that is known, and where it runs.
    Ops(Ops),
    /// Tell what of a model would run where; nothing is run or written.
    Check(Check),
    /// List or make the networks of the zoo.
    #[command(subcommand)]
    Zoo(Zoo),
    /// Run the paper's evaluation again and print every published figure beside ours.
    Paper(Paper),
    /// Summarise a compiled model and a run of it as a short, stable text, to keep and to compare.
    Snapshot(Snapshot),
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages.
    Man {
        /// Folder to write `scnnc.1` and a page for each verb to.
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        output: PathBuf,
    },
}

/// What a file leaves open of its inputs.
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
    /// How mappings are found.
    #[arg(help_heading = "Mapping", long, value_enum, default_value_t = Mapping::Search)]
    pub mapping: Mapping,
    /// Objective of the mapping search.
    #[arg(help_heading = "Mapping", long, value_enum, default_value_t = Objective::Cycles)]
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
    /// How ranges are made of what is observed: min-max, percentile=99.99, entropy.
    #[arg(help_heading = "Quantisation", long, value_name = "METHOD", default_value_t = Method::MinMax)]
    pub calibration_method: Method,
    /// Read activation ranges from a YAML file instead of observing them.
    #[arg(help_heading = "Quantisation", long, value_name = "FILE", conflicts_with_all = ["calibrate", "calibration_method"])]
    pub calibration: Option<PathBuf>,
    /// Write the observed activation ranges as YAML.
    #[arg(help_heading = "Quantisation", long, value_name = "FILE")]
    pub save_calibration: Option<PathBuf>,
    /// Bits of operands, weights and activations: 16, w8a16; of one layer: conv1=8; or a YAML file with `network` and
    /// `layers`. May be repeated. Those of the machine unless given.
    #[arg(help_heading = "Quantisation", long, value_name = "[LAYER=]N|FILE")]
    pub bits: Vec<String>,
    /// Factor on calibrated activation ranges; 1.5 for min-max, 1 for the other methods.
    #[arg(help_heading = "Quantisation", long, value_name = "X")]
    pub headroom: Option<f32>,
    /// Sums in the accumulators: proven never to overflow, or as observed in calibration times a margin, which keeps
    /// more bits and stops the simulator should one overflow.
    #[arg(help_heading = "Quantisation", long, value_enum, default_value_t = Ranges::Proven)]
    pub ranges: Ranges,
    /// Factor on the observed sums with --ranges calibrated
    #[arg(
        help_heading = "Quantisation",
        long,
        value_name = "X",
        default_value_t = 2.0
    )]
    pub sum_margin: f32,
    #[command(flatten)]
    pub pruning: Pruning,
    /// Seed of the noise that is calibrated on when there is no data.
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
    /// Leave out a transform that no other needs, for who looks for the one at fault. May be given several times.
    #[arg(help_heading = "Transforms", long, value_name = "NAME", value_parser = optional_transforms())]
    pub skip_pass: Vec<String>,
    /// Say less: neither progress nor warnings.
    #[arg(help_heading = "Messages", short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: how long each stage took.
    #[arg(help_heading = "Messages", short, long)]
    pub verbose: bool,
    /// Fail with an internal error if a transform's result holds this ONNX node: tries the report of such errors.
    #[arg(long, value_name = "NODE", hide = true)]
    pub provoke: Option<String>,
}

/// What runs the host segments.
#[derive(Debug, Args)]
#[command(next_help_heading = "Host")]
pub struct HostChoice {
    /// Runtime of what the array cannot do: tract, which is built in; onnxruntime, where its library is found; auto: tract
    /// what it computes right, ONNX Runtime the rest.
    #[arg(long = "host", value_enum, value_name = "RUNTIME", default_value_t = Runtime::Auto)]
    pub runtime: Runtime,
    /// The library of ONNX Runtime; else what `ORT_DYLIB_PATH` says, what lies in the active virtual environment, what the
    /// system has.
    #[arg(long, value_name = "FILE")]
    pub host_library: Option<PathBuf>,
}

/// Float references of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum FloatReference {
    Model,
    Onnxruntime,
}

/// Runtimes of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
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
        match (self.quiet, self.verbose) {
            (true, _) => Loudness::Quiet,
            (false, true) => Loudness::Verbose,
            (false, false) => Loudness::Usual,
        }
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

/// How sums are kept in the accumulators.
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

/// Objective of the mapping search.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Objective {
    /// Cycles.
    Cycles,
    /// Energy.
    Energy,
    /// Energy times cycles.
    Edp,
}

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
    /// Compare every tensor with the integer interpreter bit for bit, and the outputs with the float model.
    #[arg(help_heading = "Checks", long)]
    pub check: bool,
    /// What --check compares the outputs and layers with, beside the integer interpreter: the float model, or ONNX Runtime
    /// on the file itself.
    #[arg(help_heading = "Checks", long, value_enum, default_value_t = FloatReference::Model, requires = "check")]
    pub reference: FloatReference,
    /// Use at most this many samples.
    #[arg(help_heading = "Inputs", long, value_name = "N", value_parser = at_least_one())]
    pub samples: Option<usize>,
    /// What is counted in cycles.
    #[arg(long, value_enum, default_value_t = Timing::Exact)]
    pub timing: Timing,
    /// Write how the cycles of the network and of each layer are distributed over the samples, as CSV or JSON.
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
    /// Print the report as JSON instead of a table; what follows the table otherwise goes to standard error.
    #[arg(help_heading = "Results", long)]
    pub json: bool,
    /// Write every layer's integer input, weights, output and a layer.json into a folder.
    #[arg(help_heading = "Results", long, value_name = "DIR")]
    pub dump: Option<PathBuf>,
    /// Write what the units did in the first sample, cycle by cycle, for ui.perfetto.dev: as its own protobuf, or as a Chrome
    /// trace in JSON where the file ends in `.json`.
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
    /// What is counted in cycles.
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
    /// Bring a snapshot up to date, and show what changed.
    #[arg(long, value_name = "F.snap")]
    pub update: Option<PathBuf>,
    /// Inputs, as for `run`. Without them: seeded noise.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    /// Use at most this many samples.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    pub samples: usize,
    /// What is counted in cycles.
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
    /// What is counted in cycles.
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
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Sweep {
    /// The specification: a YAML file with `models` and settings in `base`, `grid`, `list`, `sample` and `where`.
    #[arg(required = true, value_name = "SPEC.yaml")]
    pub spec: Option<PathBuf>,
    /// Folder of the results: `points.csv`, `layers.csv`, and the finished points, which are not measured again.
    #[arg(short, long, value_name = "DIR", required = true)]
    pub output: Option<PathBuf>,
    /// Measure only the I-th of N parts of the points, as in `2/8`; `sweep merge` joins them.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Print the points that there are, and measure none.
    #[arg(long, conflicts_with = "shard")]
    pub list: bool,
    /// Say less: no progress.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: how long each stage took.
    #[arg(short, long)]
    pub verbose: bool,
    /// A verb about the results of sweeps, instead of a sweep.
    #[command(subcommand)]
    pub verb: Option<SweepVerb>,
}

impl Sweep {
    /// How much to say beside the result.
    pub fn loudness(&self) -> Loudness {
        match (self.quiet, self.verbose) {
            (true, _) => Loudness::Quiet,
            (false, true) => Loudness::Verbose,
            (false, false) => Loudness::Usual,
        }
    }
}

/// Verbs of the results of a sweep.
#[derive(Debug, Subcommand)]
pub enum SweepVerb {
    /// Join the parts that `--shard` measured: the same bytes as of one run.
    Merge {
        /// Folders of the parts.
        #[arg(required = true, value_name = "DIR")]
        parts: Vec<PathBuf>,
        /// Folder of the whole.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Measure points as they are asked for, a JSON object a line: for tuners, whose proposals depend on what was measured.
    Serve {
        /// The specification: what does not vary is in `base`, what may in `grid` or `sample`.
        #[arg(value_name = "SPEC.yaml")]
        spec: PathBuf,
        /// Folder to keep measured points in, which are not measured again.
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
    /// Write a workflow of jobs for an engine that runs them on a cluster.
    Export {
        /// The specification.
        #[arg(value_name = "SPEC.yaml")]
        spec: PathBuf,
        /// A Snakefile: a job for each part, and one that joins them.
        #[arg(long, required = true)]
        snakemake: bool,
        /// Parts.
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one())]
        shards: usize,
        /// Where to write it; standard output otherwise.
        #[arg(short, long, value_name = "Snakefile")]
        output: Option<PathBuf>,
    },
    /// Show a sweep: fronts, main effects, parallel coordinates and a table on one page; figures for papers.
    Report(SweepReport),
}

#[derive(Debug, Args)]
pub struct SweepReport {
    /// Folder of the sweep.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Write a page: one file of HTML that needs no network.
    #[arg(short, long, value_name = "S.html", required_unless_present = "svg")]
    pub output: Option<PathBuf>,
    /// Write figures for papers as SVG: the fronts, and the machines beside each other for every network.
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// Title of the figures; none otherwise.
    #[arg(long, value_name = "TEXT", requires = "svg")]
    pub title: Option<String>,
}

/// A part of the points of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1.
    pub number: usize,
    /// Of how many.
    pub count: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let parts = parts.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((number, count)) if (1..=count).contains(&number) => Ok(Self { number, count }),
            _ => Err("give I/N with I from 1 to N, as in 2/8".to_owned()),
        }
    }
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
    /// Run every step, and show how far the predictions are off: minutes instead of seconds. Small networks are run in any
    /// case.
    #[arg(long)]
    pub measure: bool,
    /// Only parameters whose path begins so, as in `pe.`; may be repeated.
    #[arg(long, value_name = "PATH")]
    pub only: Vec<String>,
    /// Print as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compilation: Compilation,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// The ONNX file.
    pub model: PathBuf,
    /// Only this layer (or the layer of this ONNX node), with its tiles drawn.
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,
    /// Inputs to count activations on, as for `run`. Without them: seeded noise.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compilation: Compilation,
}

#[derive(Debug, Args)]
pub struct Disasm {
    /// The program file.
    pub program: PathBuf,
    /// Where to write the text; standard output otherwise.
    #[arg(short, long, value_name = "P.s")]
    pub output: Option<PathBuf>,
    /// Leave the constants out: shorter, but it cannot be assembled again.
    #[arg(long)]
    pub code: bool,
    /// Only this layer: what it is, and its instructions.
    #[arg(long, value_name = "NAME", conflicts_with = "output")]
    pub layer: Option<String>,
    /// Only these instructions.
    #[arg(long, value_name = "FROM..TO", conflicts_with_all = ["layer", "output"])]
    pub range: Option<String>,
}

#[derive(Debug, Args)]
pub struct Asm {
    /// The assembly text; `-` for standard input.
    pub text: PathBuf,
    /// The program file to write.
    #[arg(short, long, value_name = "P.scnn")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// The program file.
    pub program: PathBuf,
    #[command(flatten)]
    pub machine: MachineChoice,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// The program file.
    pub program: PathBuf,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Only what came from this ONNX node.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Write a host segment as an ONNX file.
    #[arg(long, value_name = "N", conflicts_with_all = ["json", "node"])]
    pub extract_host: Option<usize>,
    /// Where to write it; `host-N.onnx` otherwise.
    #[arg(short, long, value_name = "F.onnx", requires = "extract_host")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// A program file.
    pub before: PathBuf,
    /// The program to compare with
    pub after: PathBuf,
    /// Run both on these inputs, as for `run`, and compare what they cost.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    #[command(flatten)]
    pub host: HostChoice,
    /// What is counted in cycles.
    #[arg(long, value_enum, default_value_t = Timing::Exact)]
    pub timing: Timing,
    /// Leave the instructions out.
    #[arg(long)]
    pub brief: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Report {
    /// Reports of `run --report` or `compare --report`; several are shown side by side.
    #[arg(required_unless_present = "schema", value_name = "R.json")]
    pub reports: Vec<PathBuf>,
    /// Write a page: one file of HTML that needs no network.
    #[arg(short, long, value_name = "R.html")]
    pub output: Option<PathBuf>,
    /// Write the layers as CSV.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write figures for papers: cycles by cause, energy by component, speed-up, as SVG.
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// Put the report's numbers on the nodes of the graph, as `run --view` does; may be repeated.
    #[arg(long, value_name = VIEW)]
    pub view: Vec<View>,
    /// The ONNX file that the report is about, for views that are made of it (`onnx`, `model-explorer`).
    #[arg(long, value_name = "M.onnx", requires = "view")]
    pub model: Option<PathBuf>,
    /// Print what uniform-random zeros of the same densities would have given, beside what the real ones gave.
    #[arg(long)]
    pub density_model: bool,
    /// Print the JSON schema of a report and stop.
    #[arg(long, exclusive = true)]
    pub schema: bool,
}

#[derive(Debug, Args)]
pub struct Replay {
    /// A report of `run --report`.
    #[arg(value_name = "R.json")]
    pub report: PathBuf,
    /// The ONNX file or program, if it is not where it was: from here, or from the report's folder.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Other inputs than the command of the report names, as for `run`.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    /// Write the report of the new run.
    #[arg(short, long, value_name = "NEW.json")]
    pub output: Option<PathBuf>,
    /// Print everything that differs as JSON.
    #[arg(long)]
    pub json: bool,
    /// Say less: no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Verbs of machines.
#[derive(Debug, Subcommand)]
pub enum Machine {
    /// List the presets.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show every parameter, where it comes from and what it means.
    Show {
        /// Name of a preset, or a YAML file.
        machine: String,
        /// Set a parameter of it, as in `pe.banks=64`. May be repeated.
        #[arg(long = "set", value_name = "PARAMETER=VALUE")]
        settings: Vec<String>,
        /// Print a complete machine file instead.
        #[arg(long)]
        yaml: bool,
        /// Print its energies and areas as Accelergy's tables (ERT, ART) instead.
        #[arg(long, conflicts_with = "yaml")]
        accelergy: bool,
        /// As JSON.
        #[arg(long, conflicts_with_all = ["yaml", "accelergy"])]
        json: bool,
    },
    /// Make a machine file of Accelergy's tables of energies (ERT) and areas (ART).
    Import(MachineImport),
    /// Show the parameters in which two machines differ.
    Diff {
        /// Name of a preset, or a YAML file.
        before: String,
        /// The machine to compare with.
        after: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check a machine file.
    Check {
        /// The YAML file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct MachineImport {
    /// YAML files with `ERT:`, `ART:` or both.
    #[arg(required = true, value_name = "ERT.yaml")]
    pub tables: Vec<PathBuf>,
    /// Which entry is which parameter, where names are not ours, as in `energy.multiply=LMAC.mac` or `area.multipliers=LMAC`;
    /// `machine show` lists the parameters. May be repeated.
    #[arg(long = "map", value_name = "PARAMETER=ENTRY")]
    pub map: Vec<String>,
    /// The preset that has all other parameters.
    #[arg(long, value_name = "PRESET", default_value = "scnn")]
    pub extends: String,
    /// Where to write the machine file; standard output otherwise.
    #[arg(short, long, value_name = "M.yaml")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Ops {
    /// As JSON.
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
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// The zoo: real architectures with synthetic weights of published densities.
#[derive(Debug, Subcommand)]
pub enum Zoo {
    /// List the networks.
    List {
        /// As JSON.
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
    /// Only this section: sweep, ablation, speed, utilisation, energy, sensitivity, granularity, memory, area or
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

/// The names that `--skip-pass` takes.
fn optional_transforms() -> PossibleValuesParser {
    let optional = scnnc::transform::PASSES.iter().filter(|pass| pass.optional);
    let value = |pass: &scnnc::transform::Pass| PossibleValue::new(pass.name).help(pass.about);
    optional.map(value).collect::<Vec<_>>().into()
}
