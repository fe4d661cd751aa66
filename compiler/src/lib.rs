//! The compiler from ONNX models to SCNN programs.
//!
//! One value flows through it, and each arrow is one public function:
//!
//! ```text
//! ONNX file --import, prune--> Graph --transform--> Graph --calibrate, quantise--> Quantised --map--> Mapped --emit--> Program
//! ```
//!
//! [`compile::compile`] is all of them. [`interpret`] executes a [`quantise::Quantised`] network directly and is the
//! reference that every program's result equals bit for bit. The library does not know the simulator.

pub mod accuracy;
pub mod calibrate;
pub mod compile;
pub mod coverage;
pub mod difference;
pub mod emit;
pub mod evaluate;
pub mod float;
pub mod graph;
pub mod graph_check;
mod graph_print;
pub mod import;
pub mod interpret;
pub mod map;
pub mod names;
pub mod operators;
pub mod pass_check;
pub mod prune;
pub mod quantise;
pub mod transform;
pub mod weights;

/// The code of the guide runs as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../GUIDE.md")]
pub struct Guide;
