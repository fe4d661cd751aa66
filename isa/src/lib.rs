//! The machine SCNN and its programs: machine description, instruction set, program, file, text, verifier.
//!
//! SCNN (Parashar et al., ISCA 2017) multiplies compressed weights by compressed activations. Each PE holds a tile of the
//! activation plane; weights of a group of output channels stream past; all products of a vector of weights and a vector of
//! activations are formed at once and scattered into accumulators. This crate states that machine and the programs it runs:
//!
//! | module | what it defines |
//! |---|---|
//! | [`machine`] | the machine description: one table of parameters; presets |
//! | [`arith`] | the arithmetic to the bit: products, sums, requantisation, tables |
//! | [`codec`] | the run-length code of weights and activations |
//! | [`placement`] | where the axes of a model's tensor lie on the machine |
//! | [`plane`], [`layout`], [`halo`] | positions, how a tensor is cut over the PEs, who owns which output |
//! | [`layer`], [`section`] | descriptors: what a layer computes, and its packed constants |
//! | [`instruction`] | the instruction set: one table; encoder, decoder, text and reference page follow from it |
//! | [`program`], [`file`](mod@file) | a program, and its bytes |
//! | [`asm`] | a program as text |
//! | [`legal`] | what may be on the machine at all: one set of rules for compiler and verifier |
//! | [`verify`](mod@verify) | when a program is well formed |
//! | [`diagnostic`], [`yaml`], [`glossary`], [`progress`] | problems told to people; strict YAML; the terms; the layer under way |
//!
//! It does no I/O beyond bytes and strings, and knows neither the compiler nor the simulator.
//!
//! # Example
//!
//! A machine that differs from the paper's, and what is wrong with one that cannot be:
//!
//! ```
//! use scnn_isa::machine::Machine;
//!
//! let narrow = Machine::from_yaml("extends: scnn\nname: narrow\narray: {rows: 4, cols: 4}\n")?;
//! assert_eq!(narrow.pe_count(), 16);
//!
//! let error = Machine::from_yaml("extends: scnn\nname: slip\narray: {rosw: 4}\n").unwrap_err();
//! assert!(error.to_string().contains("rosw"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/assemble.rs` assembles and verifies a text.
//!
//! # Versions
//!
//! ```toml
//! [dependencies]
//! scnn-isa = { path = "isa" }
//! ```
//!
//! Semantic versioning holds for the public items and, by the format version in its head, for the program file: a program
//! of another format version is refused by name ([`file::FileError`]).
//!
#![doc = include_str!("../GLOSSARY.md")]

pub mod arith;
pub mod asm;
pub mod codec;
pub mod diagnostic;
pub mod file;
pub mod glossary;
pub mod halo;
pub mod ids;
pub mod instruction;
pub mod layer;
pub mod layout;
pub mod legal;
pub mod machine;
pub mod memory;
pub mod operation;
pub mod placement;
pub mod plane;
pub mod program;
pub mod progress;
pub mod section;
pub mod verify;
mod wire;
pub mod yaml;
