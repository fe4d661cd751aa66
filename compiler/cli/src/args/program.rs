//! The verbs of a program, its text and its reports.

use super::{Compilation, HostChoice, MachineChoice, Timing};
use crate::view::{VIEW, View};
use clap::Args;
use std::path::PathBuf;

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
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compilation: Compilation,
}

#[derive(Debug, Args)]
pub struct Disasm {
    /// The program file.
    pub program: PathBuf,
    /// File to write the text to; standard output by default.
    #[arg(short, long, value_name = "P.s")]
    pub output: Option<PathBuf>,
    /// Leave the constants out: shorter, but it cannot be assembled again.
    #[arg(long)]
    pub code: bool,
    /// Only this layer: its description and its instructions.
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
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// The program file.
    pub program: PathBuf,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Only the layers and segments that came from this ONNX node.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Write a host segment as an ONNX file.
    #[arg(long, value_name = "N", conflicts_with_all = ["json", "node"])]
    pub extract_host: Option<usize>,
    /// File to write the segment to; `host-N.onnx` by default.
    #[arg(short, long, value_name = "F.onnx", requires = "extract_host")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// A program file.
    pub before: PathBuf,
    /// The program to compare with.
    pub after: PathBuf,
    /// Run both on these inputs, as for `run`, and compare their costs.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub input: Vec<String>,
    #[command(flatten)]
    pub host: HostChoice,
    /// Timing model.
    #[arg(long, value_enum, default_value_t = Timing::Exact)]
    pub timing: Timing,
    /// Leave the instructions out.
    #[arg(long)]
    pub brief: bool,
    /// Print as JSON.
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
    /// The ONNX file of the report, for views that need it (`onnx`, `model-explorer`).
    #[arg(long, value_name = "M.onnx", requires = "view")]
    pub model: Option<PathBuf>,
    /// Print counts as predicted for uniform-random zeros of the same densities, beside the measured ones.
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
