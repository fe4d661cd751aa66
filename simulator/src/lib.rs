//! The simulator: a program and its inputs in, outputs and counts out.
//!
//! Values and time come from different loops. Sums do not depend on the order of additions, so the module `convolve` computes
//! them in the order that suits the host's processor; [`timing`] counts what the machine would do in which cycle from
//! the compressed blocks alone. [`report`] puts both together for people.
//!
//! ```text
//! Program, inputs  --Simulator::run-------> Execution --report::Report::of--> Report
//! Program, samples --Simulator::measure---> Report, summed over the samples
//! ```

pub mod area;
pub mod baseline;
mod convolve;
pub mod counters;
pub mod energy;
mod execute;
mod host;
pub mod observe;
mod planes;
mod ppu;
pub mod report;
mod samples;
mod schema;
pub mod snapshot;
mod tensor;
pub mod timing;

pub use execute::{Execution, Options, SimulateError, Simulator, StepCounts, StepId};
pub use samples::Inputs;
