//! Shapes that depend on data: inside of a network, where ONNX Runtime computes what lies between them; and at its end,
//! where it is said how the model is cut.

use crate::onnx::{Model, ints, noise};
use crate::python;
use crate::refusals::folder;
use assert_cmd::Command;
use ndarray::{Array4, ArrayD};
use ndarray_npy::{NpzReader, write_npy};

/// The binary with ONNX Runtime, if this machine has it.
fn with_onnx_runtime() -> Option<Command> {
    python::has("onnxruntime").then(|| Command::cargo_bin("scnnc").unwrap())
}

/// The negative results of a convolution become 0.5, as `PyTorch` writes `y[y < 0] = 0.5`.
fn scattered() -> Model {
    Model::new("scattered")
        .input("x", &[1, 1, 4, 4])
        .floats("w", &[1, 1, 1, 1], &[2.0])
        .floats("zero", &[], &[0.0])
        .floats("half", &[1], &[0.5])
        .integers("first", &[0])
        .node("Conv", &["x", "w"], "c", vec![])
        .node("Less", &["c", "zero"], "less", vec![])
        .node("NonZero", &["less"], "found", vec![])
        .node(
            "Transpose",
            &["found"],
            "positions",
            vec![ints("perm", &[1, 0])],
        )
        .node("Shape", &["positions"], "shape", vec![])
        .node("Gather", &["shape", "first"], "count", vec![])
        .node("Expand", &["half", "count"], "values", vec![])
        .node("ScatterND", &["c", "positions", "values"], "s", vec![])
}

#[test]
fn positions_inside_of_a_network_stay_with_the_runtime_that_finds_them() {
    let Some(mut command) = with_onnx_runtime() else {
        return;
    };
    let model = scattered()
        .node("Conv", &["s", "w"], "y", vec![])
        .output("y");
    let folder = folder(&[("m.onnx", model.bytes())]);
    let x = noise(16, 3, 1.0);
    let array = Array4::from_shape_vec((1, 1, 4, 4), x.clone()).unwrap();
    write_npy(folder.path().join("x.npy"), &array).unwrap();
    let words = "run m.onnx --input x.npy --check --output y.npz -q".split(' ');
    command.current_dir(folder.path()).args(words);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let file = std::fs::File::open(folder.path().join("y.npz")).unwrap();
    let y: ArrayD<f32> = NpzReader::new(file).unwrap().by_name("y").unwrap();
    for (x, y) in x.iter().zip(&y) {
        let wanted = if *x < 0.0 { 1.0 } else { 4.0 * x };
        assert!((y - wanted).abs() < 2e-3, "{x}: {y}, not {wanted}");
    }
}

#[test]
fn an_output_whose_shape_depends_on_data_is_refused_with_the_cut() {
    let Some(mut command) = with_onnx_runtime() else {
        return;
    };
    let model = scattered().output("positions").output("c");
    let folder = folder(&[("m.onnx", model.bytes())]);
    command.current_dir(folder.path()).args(["check", "m.onnx"]);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let cut = r#"`onnx.utils.extract_model(MODEL, CUT, ["x"], ["less"])`"#;
    assert!(
        error.contains("depends on data") && error.contains(cut),
        "{error}"
    );
}
