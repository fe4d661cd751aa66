//! Tests of the compiler as a whole, and of the binary, as one program: they link tract, which takes its time.

mod agreement;
mod calibration;
mod corpus;
mod differential;
mod faults;
mod guides;
mod help;
mod hostile;
mod imports;
mod layers;
mod mapping;
mod models;
mod mutator;
mod network;
mod onnx;
mod onnx_cases;
mod page;
mod paper;
mod passes;
mod prune;
mod recount;
mod refusals;
mod report_schema;
mod snapshot;
mod trace;
mod zoo;
