//! The verbs of a sweep.

use super::at_least_one;
use crate::stages::{Loudness, Shown};
use clap::{Args, Subcommand};
use std::path::PathBuf;

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
    /// How to show progress: as a line that changes, on a terminal, or as lines for a log.
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value_t,
        conflicts_with = "quiet"
    )]
    pub progress: Shown,
    /// A verb about the results of sweeps, instead of a sweep.
    #[command(subcommand)]
    pub verb: Option<SweepVerb>,
}

impl Sweep {
    /// How much to say beside the result.
    pub fn loudness(&self) -> Loudness {
        Loudness::of(self.quiet, self.verbose)
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
    /// Measure points on request, a JSON object a line: for tuners, whose proposals depend on earlier results.
    Serve {
        /// The specification: fixed settings in `base`, the others in `grid` or `sample`.
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
        /// Number of parts.
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one())]
        shards: usize,
        /// File to write the workflow to; standard output by default.
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
    /// Title of the figures; none by default.
    #[arg(long, value_name = "TEXT", requires = "svg")]
    pub title: Option<String>,
}

/// A part of the points of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Number of the part, from 1.
    pub number: usize,
    /// Number of all parts.
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
