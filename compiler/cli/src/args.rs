//! Verbs and options.

mod compilation;
mod machine;
mod model;
mod program;
mod sweep;

pub use compilation::*;
pub use machine::*;
pub use model::*;
pub use program::*;
pub use sweep::*;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand};
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
    /// Tell what a larger and a smaller value of every parameter of the machine would gain or cost.
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
    /// List, show, compare, check or import machine descriptions.
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
