//! Python, for tests that compare with its packages or run scripts of ours.

use std::ffi::OsStr;
use std::process::{Command, Output};

/// Whether `python3` can import some modules; a test without them is skipped, which is said.
pub fn has(modules: &str) -> bool {
    let import = format!("import {modules}");
    let output = Command::new("python3").args(["-c", &import]).output();
    let found = output.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: python3 has no {modules}");
    }
    found
}

/// Runs `python3`.
pub fn run(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    Command::new("python3").args(arguments).output().unwrap()
}
