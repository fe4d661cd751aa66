//! Tests of the compiler as a whole, and of the binary, as one program: they link tract, which takes its time.

mod agreement;
mod binary;
mod calibration;
// The binary has no library: its table of codes is compiled into the tests.
#[path = "../../src/codes.rs"]
mod codes;
mod corpus;
mod decomposed;
mod diagnostics;
mod differential;
mod explain;
mod fallback;
mod faults;
mod grammar;
mod guides;
mod help;
mod hostile;
mod imports;
mod layers;
mod machine;
mod mapping;
mod models;
mod mutator;
mod network;
mod onnx;
mod onnx_cases;
mod packages;
mod page;
mod paper;
mod passes;
mod precision;
mod prune;
mod recount;
mod reductions;
mod refusals;
mod report_schema;
mod rich;
mod snapshot;
mod terminal;
mod trace;
mod traffic;
mod truth;
mod view;
mod zoo;
