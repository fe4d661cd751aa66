//! Snapshots of compiled models, for anyone's repository: [`of_model`] gives the text that `scnnc snapshot` writes.
//!
//! With [insta](https://insta.rs), a test of one line guards what a model costs and how it is compiled:
//!
//! ```no_run
//! use scnnc_snapshots::{Options, of_model};
//! use scnn_isa::machine::Machine;
//!
//! #[test]
//! fn my_network() {
//!     let options = Options::new(Machine::preset("scnn").unwrap());
//!     let text = of_model("my-network.onnx".as_ref(), &options).unwrap();
//!     insta::assert_snapshot!(text);
//! }
//! ```
//!
//! `examples/guard.rs` is a whole program that keeps its snapshots without insta. The project's own suite, over
//! everything that people read, is in `tests/`, and what it expects beside it, one folder for each model.

use scnn_simulator::report::Report;
use scnn_simulator::snapshot;
use scnn_simulator::timing::Timing;
use scnnc::compile::{CompileError, Compiled, compile};
use scnnc_driver::RunError;
use std::path::Path;
use thiserror::Error;

pub use scnnc::compile::Options;

/// Why there is no snapshot of a model.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// It does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It does not run.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Compiles the model at `path` and runs it, with exact timing, on the samples of `options`, or on seeded noise.
///
/// Give `options` a calibration, as `scnnc compile --save-calibration` writes it, when the text is to be the same on
/// processors that differ: ranges measured anew may differ in the last bit of a float.
///
/// # Errors
/// The model is refused, or an input does not fit.
pub fn of_model(path: &Path, options: &Options) -> Result<String, SnapshotError> {
    let compiled = compile(path, options, &mut |_, _| {})?;
    let report = run(&compiled, options)?;
    Ok(snapshot::text(&compiled.program, &report))
}

/// The report of running a compiled model as [`of_model`] does.
///
/// # Errors
/// An input does not fit.
pub fn run(compiled: &Compiled, options: &Options) -> Result<Report, RunError> {
    let samples = options.samples.inputs.clone();
    let samples = scnnc_driver::samples_or_noise(compiled, samples, options.seed);
    scnnc_driver::report(compiled, &samples, Timing::Exact, &())
}
