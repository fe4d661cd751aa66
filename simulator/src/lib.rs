//! The simulator: a program and its inputs in, outputs and counts out.
//!
//! It executes a verified program bit for bit, from the program alone, and counts what the machine would do: cycles, where
//! they went, events and their energy.
//!
//! ```text
//! Program, inputs  --Simulator::run-------> Execution --report::Report::of--> Report
//! Program, samples --Simulator::measure---> Report, summed over the samples
//! ```
//!
//! Values and time come from different loops. A sum does not depend on the order of its additions, so the module `convolve`
//! computes values in the order that suits the host's processor; [`timing`] counts from the compressed blocks alone what the
//! machine would do in which cycle.
//!
//! | module | what it holds |
//! |---|---|
//! | [`timing`] | cycles: `exact`, every queue and every transfer; `fast`, steps and barriers alone |
//! | [`counters`], [`energy`], [`area`] | events; events times the machine's table; mm2 |
//! | [`baseline`] | the dense machines and the oracle on the same layer |
//! | [`report`] | one structure, from which tables, CSV, JSON, pages and figures are made |
//! | [`observe`] | what every unit did in which cycle, for traces |
//! | [`snapshot`] | a short, stable text of a program and a run |
//!
//! # Promises
//!
//! - A verified program neither panics nor reads what was not written.
//! - Results and counts do not depend on the number of threads.
//! - Multiplier slots (cycles x PEs x multipliers) are divided among [`timing::Cause`]s without remainder.
//!
//! # Example
//!
//! ```no_run
//! use scnn_isa::program::Program;
//! use scnn_simulator::{Options, Simulator, Tensor, report::Report};
//! use std::collections::BTreeMap;
//!
//! let program = Program::from_bytes(&std::fs::read("conv.scnn")?)?;
//! let options = Options::default();
//! let input = Tensor::zero::<f32>(&[1, 2, 6, 6])?;
//! let inputs = BTreeMap::from([("x".to_owned(), input)]);
//! let execution = Simulator::new(&program, &scnn_host::Host::default())?.run(&inputs, &options)?;
//! let report = Report::of(&program, &execution, options.timing);
//! println!("{} cycles", report.totals.cycles.total);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/run_program.rs` runs a program file and prints what each layer cost.
//!
//! # Versions
//!
//! ```toml
//! [dependencies]
//! scnn-simulator = { path = "simulator" }
//! ```
//!
//! Semantic versioning holds for the public items and, by [`report::SCHEMA`], for reports.

pub mod area;
pub mod baseline;
mod ceiling;
pub mod codes;
mod convolve;
pub mod counters;
pub mod energy;
mod error;
mod execute;
mod host;
pub mod observe;
mod operations;
mod pairs;
mod ppu;
pub mod report;
mod samples;
mod schema;
pub mod snapshot;
mod tensor;
pub mod timing;
pub mod trust;
mod weights;

pub use error::SimulateError;
pub use execute::{Execution, Options, Simulator};
pub use operations::OperationCounts;
pub use samples::Inputs;

/// A tensor at the border between host and machine: an element type, extents and values.
///
/// It is tract's, so that values reach host segments without a copy. `Tensor::from_shape(&[1, 3, 8, 8], &values)` makes one of a
/// slice in row-major order; `tensor.shape()` and `tensor.datum_type()` describe it.
pub use tract_onnx::prelude::Tensor;
