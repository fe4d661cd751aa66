//! Progress names the stage and the layer: on a terminal in a line that changes, in a log in lines, and never on standard
//! output.

use crate::binary::{Said, command, said};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// What a command says whose standard error is a terminal; none where there is no Python.
fn on_a_terminal(folder: &Path, words: &[&str]) -> Option<Said> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/progress.py");
    let mut python = Command::new("python3");
    python.arg(script).arg(command(folder).get_program());
    let Ok(output) = python.args(words).current_dir(folder).output() else {
        eprintln!("skipped: there is no python3");
        return None;
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |key: &str| said[key].as_str().unwrap().to_owned();
    Some(Said {
        status: i32::try_from(said["status"].as_i64().unwrap()).unwrap(),
        out: text("out"),
        error: text("terminal"),
    })
}

/// A folder with LeNet-5 and its digits.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = |name| folder.path().join(name);
    std::fs::copy(scnn_models::lenet5(), file("m.onnx")).unwrap();
    std::fs::copy(scnn_models::lenet5_digits(), file("d.npz")).unwrap();
    folder
}

/// A run that takes a second or so.
const RUN: &[&str] = &[
    "run",
    "m.onnx",
    "--input",
    "d.npz",
    // As long as it takes to draw some of their layers.
    "--samples",
    "200",
    "--check",
];

/// Whether a text says that a stage is at a layer: `n/m NAME`, after the stage.
fn names_a_layer(text: &str, stage: &str) -> bool {
    let mut lines = text.split(['\r', '\n']);
    let layer = |line: &str| {
        let after = &line[line.find(stage)? + stage.len()..];
        let name = after.find("/conv").or(after.find("/fc"))?;
        let (count, digit) = (after[..name].trim_end(), |c: char| c.is_ascii_digit());
        let (number, of) = count.rsplit_once('/')?;
        (number.ends_with(digit) && of.ends_with(digit)).then_some(())
    };
    lines.find_map(layer).is_some()
}

#[test]
fn a_terminal_shows_the_stage_and_the_layer_and_is_left_clean() {
    let folder = folder();
    let Some(shown) = on_a_terminal(folder.path(), RUN) else {
        return;
    };
    assert_eq!(shown.status, 0, "{}", shown.error);
    assert!(
        names_a_layer(&shown.error, "[7/7] simulate and check"),
        "{}",
        shown.error
    );
    // The last line drawn is cleared, and what stays is nothing.
    let last = shown.error.rsplit(['\r', '\n']).next().unwrap();
    assert_eq!(last.replace("\u{1b}[2K", ""), "", "{:?}", shown.error);
    let piped = said(folder.path(), RUN);
    assert_eq!(shown.out, piped.out);
    assert!(!piped.out.contains('\u{1b}') && piped.out.starts_with("lenet5 on scnn"));
    assert_eq!(piped.error, "");
}

#[test]
fn every_verb_that_simulates_names_the_layer() {
    let folder = folder();
    let given = ["m.onnx", "--calibrate", "d.npz"];
    let verbs: [(&[&str], &str); 2] = [
        (
            &["compare", "--input", "d.npz", "--samples", "10"],
            "simulate",
        ),
        (
            &["sensitivity", "--densities", "0.5", "--samples", "10"],
            "prune and measure each layer",
        ),
    ];
    for (verb, stage) in verbs {
        let words = [verb, &given].concat();
        let Some(shown) = on_a_terminal(folder.path(), &words) else {
            return;
        };
        assert_eq!(shown.status, 0, "{}", shown.error);
        assert!(names_a_layer(&shown.error, stage), "{}", shown.error);
    }
}

#[test]
fn a_terminal_shows_nothing_when_quiet() {
    let folder = folder();
    let words = [RUN, &["-q"]].concat();
    if let Some(shown) = on_a_terminal(folder.path(), &words) {
        assert_eq!((shown.status, shown.error.as_str()), (0, ""));
    }
}

#[test]
fn a_log_has_a_line_for_each_stage() {
    let folder = folder();
    let words = [RUN, &["--progress", "lines"]].concat();
    let logged = said(folder.path(), &words);
    let stages: Vec<&str> = logged
        .error
        .lines()
        .filter(|line| line.split_whitespace().count() == 2)
        .collect();
    assert_eq!(
        stages,
        [
            "[1/7] import",
            "[2/7] transform",
            "[3/7] calibrate",
            "[4/7] quantise",
            "[5/7] map",
            "[6/7] emit"
        ]
    );
    assert!(logged.error.contains("[7/7] simulate and check\n"));
    assert!(!logged.error.contains(['\u{1b}', '\r']), "{}", logged.error);
    assert_eq!(logged.out, said(folder.path(), RUN).out);
    let both = said(folder.path(), [&words[..], &["-q"]].concat());
    assert_eq!(both.status, 2, "{}", both.error);
}
