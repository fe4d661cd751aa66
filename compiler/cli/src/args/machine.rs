//! The verbs of machines.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Verbs of machines.
#[derive(Debug, Subcommand)]
pub enum Machine {
    /// List the presets.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show every parameter with its source and meaning.
    Show {
        /// Name of a preset, or a YAML file.
        machine: String,
        /// Set a parameter of the machine, as in `pe.banks=64`. May be repeated.
        #[arg(long = "set", value_name = "PARAMETER=VALUE")]
        settings: Vec<String>,
        /// Print a complete machine file instead.
        #[arg(long)]
        yaml: bool,
        /// Print its energies and areas as Accelergy's tables (ERT, ART) instead.
        #[arg(long, conflicts_with = "yaml")]
        accelergy: bool,
        /// Print as JSON.
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
        /// Print as JSON.
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
    /// Entry of a parameter, for tables with names of their own, as in `energy.multiply=LMAC.mac` or `area.multipliers=LMAC`;
    /// `machine show` lists the parameters. May be repeated.
    #[arg(long = "map", value_name = "PARAMETER=ENTRY")]
    pub map: Vec<String>,
    /// Preset for all other parameters.
    #[arg(long, value_name = "PRESET", default_value = "scnn")]
    pub extends: String,
    /// File to write the machine to; standard output by default.
    #[arg(short, long, value_name = "M.yaml")]
    pub output: Option<PathBuf>,
}
