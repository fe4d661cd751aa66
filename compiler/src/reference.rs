//! What keeps the compiler honest: the references that its results are compared with, and the comparisons.
//!
//! [`float`] runs the ONNX model in floating point, [`interpret`] the quantised network in integers, dense and in program
//! order, or the one that a program says it computes ([`of_program`]); [`evaluate`] runs a graph between two passes, so that [`pass_check`] names the first pass that changes a value.
//! [`difference`] locates the first value that departs from a reference, [`accuracy`] measures how far values are apart.

pub mod accuracy;
pub mod difference;
pub mod evaluate;
pub mod float;
pub mod interpret;
pub mod of_program;
pub mod original;
pub mod pass_check;
pub mod segments;
