//! What people do with a compiled model: run it on samples, and compare what it computes with what it should.
//!
//! The compiler does not know the simulator, nor the simulator the compiler; this crate stands above both. The
//! command line, the snapshots and every binding use it, so that a figure is computed in one place.
//!
//! ```text
//! Compiled, [Sample] --run--> Run { Report, Outputs, Check, Accuracy }
//! ```
//!
//! It knows tensors, and neither files nor terminals.
//!
//! # Example
//!
//! ```no_run
//! use scnn_isa::machine::Machine;
//! use scnnc::compile::{Options, compile};
//!
//! let options = Options::new(Machine::preset("scnn").unwrap());
//! let compiled = compile("model.onnx".as_ref(), &options, &mut |_, _| {})?;
//! let samples = scnnc_driver::samples_or_noise(&compiled, Vec::new(), 1);
//! let run = scnnc_driver::run(
//!     &compiled.program,
//!     &samples,
//!     scnnc_driver::Options {
//!         compiled: Some(&compiled),
//!         check: true,
//!         ..scnnc_driver::Options::default()
//!     },
//! )?;
//! println!("{} cycles", run.report.totals.cycles.total);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod advise;
mod check;
mod classes;
pub mod codes;
mod error;
pub mod formats;
pub mod latency;
mod outputs;
pub mod replay;
pub mod rules;
mod run;
mod samples;
pub mod sweep;
pub mod views;

pub use check::{Check, channel_values};
pub use classes::Classes;
pub use error::RunError;
pub use outputs::{Expected, Outputs, TOLERANCE};
pub use run::{Accuracy, Options, Run, report, run};
pub use samples::{batch_of, noise_for, samples_or_noise};
