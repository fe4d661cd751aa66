//! `scnnc`: compiles ONNX models to SCNN programs, shows them, and runs them.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
