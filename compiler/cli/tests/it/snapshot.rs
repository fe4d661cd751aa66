//! `scnnc snapshot`: the same text for a model and its program, a diff and exit 3 when it does not hold.

use crate::binary::{Said, said};
use crate::onnx::{Model, ints, noise};
use tempfile::TempDir;

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
    said(at, ["compile", "a.onnx", "-o", "a.scnn"]);
    let Said {
        status, out: model, ..
    } = said(at, ["snapshot", "a.onnx", "-q"]);
    assert_eq!(status, 0);
    assert!(model.starts_with("scnnc-snapshot 2\n"), "{model}");
    let Said { out: program, .. } = said(at, ["snapshot", "a.scnn", "--threads", "1"]);
    assert_eq!(model, program);
}

#[test]
fn a_snapshot_holds_until_the_model_changes_and_again_after_it_is_accepted() {
    let folder = folder();
    let at = folder.path();
    said(at, ["snapshot", "a.onnx", "-q", "-o", "net.snap"]);
    assert_eq!(
        said(at, ["snapshot", "a.onnx", "-q", "--check", "net.snap"]).status,
        0
    );

    let before = std::fs::read(at.join("net.snap")).unwrap();
    let Said {
        status,
        out: diff,
        error,
    } = said(at, ["snapshot", "b.onnx", "-q", "--check", "net.snap"]);
    assert_eq!(status, 3, "{error}");
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

    let Said {
        status, out: diff, ..
    } = said(at, ["snapshot", "b.onnx", "-q", "--update", "net.snap"]);
    assert_eq!(status, 0);
    assert!(diff.contains("\n+  weights "), "{diff}");
    assert_eq!(
        said(at, ["snapshot", "b.onnx", "-q", "--check", "net.snap"]).status,
        0
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
        let Said { status, error, .. } = said(at, ["snapshot", "a.onnx", "-q", flag, file]);
        assert_eq!(status, 1);
        assert!(error.contains("E0804") && error.contains(file), "{error}");
    }
    assert_eq!(
        std::fs::read_to_string(at.join("other.snap")).unwrap(),
        "something of mine\n"
    );
    assert_eq!(
        said(at, ["snapshot", "a.onnx", "-q", "--update", "old.snap"]).status,
        0
    );
    assert_eq!(
        said(at, ["snapshot", "a.onnx", "-q", "--check", "old.snap"]).status,
        0
    );
}
