//! The binary `scnnc`: the command line of [`scnnc_cli`] with an allocator that keeps its limit of memory.

use scnnc_cli::{Counting, Invocation};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    ExitCode::from(scnnc_cli::run(&Invocation::of_this_process()))
}
