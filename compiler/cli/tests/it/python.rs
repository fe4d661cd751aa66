//! Python, for tests that compare with its packages or run scripts of ours.

use assert_cmd::cargo::CommandCargoExt;
use std::ffi::OsStr;
use std::path::Path;
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

/// Runs `m.onnx` of a folder on an input, with ONNX Runtime on the file itself to compare with.
pub fn check_on_the_file_itself(folder: &Path, input: &str) {
    if !has("onnxruntime") {
        return;
    }
    let mut command = Command::cargo_bin("scnnc").unwrap();
    command.args(["run", "m.onnx", "--check", "--reference", "onnxruntime"]);
    command.args(["--input", input]).current_dir(folder);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("on the file itself"), "{text}");
}
