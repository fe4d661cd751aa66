//! Sweeps: one question asked of many machines. From the text of a specification to points, from points to measures,
//! from measures to tables.
//!
//! ```text
//! text --Spec::read--> Spec --Spec::settings--> [Settings] --(machines and files are looked up)--> [Task]
//! [Task] --compute--> (position, Outcome) each --tables::points, tables::layers--> CSV
//! ```
//!
//! What points share is computed once: a model is imported and pruned once, and calibrated and quantised once for all
//! machines that agree in what these depend on ([`scnnc::compile::Front`]). An outcome depends on its point alone, not on
//! the others, their order or the number of threads. Nothing here reads or writes files.

mod compute;
mod constraint;
mod expand;
mod outcome;
mod sampling;
mod spec;
pub mod tables;

pub(crate) use compute::guarded;
pub use compute::{Fidelity, Session, Subject, Task, compute};
pub use constraint::{Constraint, ConstraintError};
pub use outcome::{Failed, LayerRow, Measures, Outcome};
pub use sampling::{Method, Sampling};
pub use spec::{DIMENSION, ModelSpec, OPTIONS, Ordered, Range, Settings, Spec, Value, Values};
