//! Assembly text: the same program, for people.
//!
//! [`assemble`] of [`disassemble`] gives back every valid program exactly, and disassembling an assembled text gives
//! its canonical form. A text is a list of declarations and instructions, one to a line; `;` begins a comment.
//!
//! ```text
//! .tensor pool1.out {shape: 1x20x12x12, range: [-32767, 32767], scale: 0.0021, layout: {…}}
//! .code
//! .nodes conv2 relu2
//!   cfg  layer=conv2
//!   ldw  rounds=0..7
//! ```
//!
//! ```text
//! text        = { declaration | instruction }
//! declaration = "." kind [ name ] [ value ]              kinds: those of `Kind` in the module `parse`
//! instruction = mnemonic { operand "=" value }           the table of `crate::instruction`
//! value       = number | name | object | list | span | cuts | extents | "#" index
//! object      = "{" { key ":" value [ "," ] } "}"
//! list        = "[" { value [ "," ] } "]"
//! span        = begin ".." end                           the same as [begin, end]
//! cuts        = begin ".." end "by" step [ "in" parts ]  [begin, begin + step, …, end], parts + 1 positions
//! extents     = number "x" number { "x" number }         the same as [number, number, …]
//! name        = a bare word, or any text in double quotes with the escapes of JSON
//! ```
//!
//! In a list, `cuts` stand for the spans between them: `[0..20 by 8]` is `[0..8, 8..16, 16..20]`. The tables of a
//! program refer to each other by name; `#7` is the entry at position 7. What bytes have no text for, constants
//! and host models, follows behind the code as base64, the machine as YAML.

mod describe;
mod parse;
mod print;
#[cfg(test)]
mod tests;
mod token;
mod value;

pub use parse::assemble;
pub use print::{Options, disassemble, disassemble_layer, disassemble_range, instruction};

use thiserror::Error;

/// Why a text is not a program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {message}")]
pub struct AsmError {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}
