//! The compiler from ONNX models to SCNN programs.
//!
//! One value flows through it, and each arrow is one public function:
//!
//! ```text
//! ONNX file --import, prune--> Graph --transform--> Graph --calibrate, quantise--> Quantised --map--> Mapped --emit--> Program
//! ```
//!
//! [`compile::compile`] is all of them. [`reference::interpret`] executes a [`quantise::Quantised`] network directly and is the
//! reference that every program's result equals bit for bit. It does not know the simulator.

pub mod calibrate;
pub mod compile;
pub mod emit;
pub mod graph;
pub mod import;
pub mod map;
pub mod names;
pub mod prune;
pub mod quantise;
pub mod reference;
pub mod transform;

/// The code of the guide runs as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../GUIDE.md")]
pub struct Guide;
