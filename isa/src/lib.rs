//! What SCNN is and what it can be told: machine description, instruction set, program, file, text, verifier.
//!
//! SCNN (Parashar et al., ISCA 2017) multiplies compressed weights by compressed activations: each PE holds a
//! tile of the activation plane ([`layout`]), weights of a group of output channels stream past, all products of a
//! vector of weights and a vector of activations are formed at once and scattered into accumulators. This crate
//! states that machine ([`machine`]), its arithmetic ([`arith`]), the run-length code of its operands ([`codec`]),
//! and the programs it runs ([`program`]), which are tables of descriptors ([`layer`], [`layout`], [`section`])
//! and a list of [`instruction`]s.
//!
//! It does no I/O beyond bytes and strings, and knows neither the compiler nor the simulator.
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
pub mod machine;
pub mod plane;
pub mod program;
pub mod section;
pub mod verify;
mod wire;
pub mod yaml;
