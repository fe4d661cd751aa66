//! The compiler from ONNX models to SCNN programs.
//!
//! One value flows through it, and each arrow is one public function:
//!
//! ```text
//! ONNX file --normalise, import, prune--> Graph --transform--> Graph --calibrate, quantise--> Quantised --map--> Mapped --emit--> Program
//! ```
//!
//! [`compile::compile`] is all of them. It does not know the simulator; `scnnc-driver` joins the two.
//!
//! | module | what it does |
//! |---|---|
//! | [`normalise`] | any valid ONNX file in one canonical form |
//! | [`import`] | that form to a graph; [`import::operators`] says which operator runs where, within which limits |
//! | [`graph`] | typed operators over float tensors, each with the ONNX nodes that it stands for |
//! | [`transform`] | passes over the graph, a file each |
//! | [`prune`] | fewer weights: by density, by pattern, to an accuracy |
//! | [`pruning_cost`] | what a compiled network costs while its weights are pruned, for training loops |
//! | [`calibrate`] | ranges of activations, observed or read |
//! | [`quantise`] | scales, integer weights, product shifts, the proof that no sum overflows |
//! | [`map`](mod@map) | tiles, output-channel groups, PE groups, places in memory; the cost model and the search |
//! | [`emit`](mod@emit) | packed weights, instructions, source map |
//! | [`compile`](mod@compile) | the whole chain, its options, progress and errors ([`codes`]) |
//! | [`names`] | a layer or node by a part of its name |
//! | [`reference`](mod@reference) | what keeps the compiler honest: float model, integer interpreter, comparisons |
//!
//! # Promises
//!
//! - What a program computes equals [`reference::interpret`] bit for bit.
//! - The same model, options and version give the same bytes, for any number of threads.
//! - A model is refused with all its problems, each with a code, a node, a reason and a remedy.
//!
//! # Example
//!
//! ```no_run
//! use scnn_isa::machine::Machine;
//! use scnnc::compile::{Options, compile};
//!
//! let machine = Machine::preset("scnn").unwrap();
//! let compiled = compile("model.onnx".as_ref(), &Options::new(machine), &mut |_, _| {})?;
//! std::fs::write("model.scnn", compiled.program.to_bytes())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Versions
//!
//! ```toml
//! [dependencies]
//! scnnc = { path = "compiler" }
//! ```
//!
//! Semantic versioning holds for the public items and for the files that people keep: calibrations, mappings, programs.

pub mod calibrate;
pub mod codes;
pub mod compile;
pub mod emit;
pub mod graph;
pub mod import;
pub mod map;
pub mod names;
pub mod normalise;
pub mod prune;
pub mod pruning_cost;
pub mod quantise;
pub mod reference;
mod text;
pub mod transform;
pub mod widths;

/// The code of the guide runs as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../GUIDE.md")]
pub struct Guide;
