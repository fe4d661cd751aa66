//! The binary, run as people run it.

use assert_cmd::Command;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;

/// What a command said, and its exit status.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub out: String,
    pub error: String,
}

/// The binary, to be run in `folder`.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("scnnc").unwrap();
    command.current_dir(folder);
    // What a runtime of this machine says of a model is not what another's says.
    command.env("ORT_DYLIB_PATH", "libonnxruntime-of-nobody.so");
    command
}

/// Runs the binary in `folder`.
pub fn said(folder: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Said {
    let output = command(folder).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said {
        status: output.status.code().unwrap(),
        out: text(output.stdout),
        error: text(output.stderr),
    }
}

/// What it prints on standard output; it must succeed.
pub fn printed(folder: &Path, arguments: &[&str]) -> String {
    let said = said(folder, arguments);
    assert_eq!(said.status, 0, "{arguments:?}: {}", said.error);
    said.out
}

/// What it prints for a line of words; it must succeed.
pub fn printed_line(folder: &Path, line: &str) -> String {
    printed(folder, &line.split_whitespace().collect::<Vec<_>>())
}

/// Reads a JSON file.
pub fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// What it says on standard error when it ends with `status`.
pub fn refused(folder: &Path, arguments: &[&str], status: i32) -> String {
    let said = said(folder, arguments);
    assert_eq!(said.status, status, "{arguments:?}: {}", said.error);
    said.error
}
