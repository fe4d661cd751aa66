//! `scnnc snapshot`: the same text for a model and its program, a diff and exit 3 when it does not hold.

use crate::onnx::{Model, ints, noise};
use assert_cmd::Command;
use std::path::Path;
use tempfile::TempDir;

fn scnnc(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::cargo_bin("scnnc")
        .unwrap()
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A folder with the same convolution twice: `a.onnx`, and `b.onnx` with weights of another density.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, density) in [("a", 0.5), ("b", 0.3)] {
        let model = Model::new("net")
            .input("x", &[1, 2, 6, 6])
            .floats("w", &[3, 2, 3, 3], &noise(54, 1, density))
            .node("Conv", &["x", "w"], "y", vec![ints("pads", &[1, 1, 1, 1])])
            .output("y");
        std::fs::write(folder.path().join(format!("{name}.onnx")), model.bytes()).unwrap();
    }
    folder
}

#[test]
fn a_model_and_its_program_have_the_same_snapshot_for_any_number_of_threads() {
    let folder = folder();
    let at = folder.path();
    scnnc(at, &["compile", "a.onnx", "-o", "a.scnn"]);
    let (status, model, _) = scnnc(at, &["snapshot", "a.onnx", "-q"]);
    assert_eq!(status, Some(0));
    assert!(model.starts_with("scnnc-snapshot 1\n"), "{model}");
    let (_, program, _) = scnnc(at, &["snapshot", "a.scnn", "--threads", "1"]);
    assert_eq!(model, program);
}

#[test]
fn a_snapshot_holds_until_the_model_changes_and_again_after_it_is_accepted() {
    let folder = folder();
    let at = folder.path();
    scnnc(at, &["snapshot", "a.onnx", "-q", "-o", "net.snap"]);
    assert_eq!(
        scnnc(at, &["snapshot", "a.onnx", "-q", "--check", "net.snap"]).0,
        Some(0)
    );

    let before = std::fs::read(at.join("net.snap")).unwrap();
    let (status, diff, error) = scnnc(at, &["snapshot", "b.onnx", "-q", "--check", "net.snap"]);
    assert_eq!(status, Some(3), "{error}");
    assert!(
        diff.starts_with("--- net.snap\n+++ net.snap (now)\n@@ "),
        "{diff}"
    );
    assert!(
        diff.contains("\n-  weights ") && diff.contains("\n+  weights "),
        "{diff}"
    );
    assert!(
        error.contains("E0803") && error.contains("--update net.snap"),
        "{error}"
    );
    assert_eq!(
        std::fs::read(at.join("net.snap")).unwrap(),
        before,
        "a check writes nothing"
    );

    let (status, diff, _) = scnnc(at, &["snapshot", "b.onnx", "-q", "--update", "net.snap"]);
    assert_eq!(status, Some(0));
    assert!(diff.contains("\n+  weights "), "{diff}");
    assert_eq!(
        scnnc(at, &["snapshot", "b.onnx", "-q", "--check", "net.snap"]).0,
        Some(0)
    );
}

#[test]
fn a_snapshot_of_another_form_is_refused_and_brought_up_to_date() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("old.snap"), "scnnc-snapshot 0\nmodel net\n").unwrap();
    std::fs::write(at.join("other.snap"), "something of mine\n").unwrap();
    for (file, flag) in [
        ("old.snap", "--check"),
        ("other.snap", "--check"),
        ("other.snap", "--update"),
    ] {
        let (status, _, error) = scnnc(at, &["snapshot", "a.onnx", "-q", flag, file]);
        assert_eq!(status, Some(1));
        assert!(error.contains("E0804") && error.contains(file), "{error}");
    }
    assert_eq!(
        std::fs::read_to_string(at.join("other.snap")).unwrap(),
        "something of mine\n"
    );
    assert_eq!(
        scnnc(at, &["snapshot", "a.onnx", "-q", "--update", "old.snap"]).0,
        Some(0)
    );
    assert_eq!(
        scnnc(at, &["snapshot", "a.onnx", "-q", "--check", "old.snap"]).0,
        Some(0)
    );
}
