//! An input that decides which branch of an `If` is taken: a program has one branch, and the input its value.

use crate::binary::{printed, refused, said};
use crate::onnx::{Model, graph, noise, set_type};
use crate::python;
use crate::refusals::folder;
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{NpzReader, NpzWriter};
use std::io::Cursor;
use std::path::Path;
use tempfile::TempDir;
use tract_onnx::pb::GraphProto;

/// The number of 64-bit integers among element types.
const INT64: i32 = 7;

/// A branch that computes `y` of `x` and the weights `w`.
fn branch(seed: u64) -> GraphProto {
    let model = Model::new("branch")
        .floats("w", &[3, 2, 1, 1], &noise(6, seed, 1.0))
        .node("Conv", &["x", "w"], "y", vec![])
        .output("y");
    model.proto().graph.unwrap()
}

/// One convolution where the input `rate` is 16, another where it is not.
fn model() -> Vec<u8> {
    let model = Model::new("net")
        .input("x", &[1, 2, 4, 4])
        .input("rate", &[])
        .integers("high", &[16])
        .node("Equal", &["rate", "high"], "is_high", vec![])
        .node(
            "If",
            &["is_high"],
            "y",
            vec![
                graph("then_branch", branch(1)),
                graph("else_branch", branch(2)),
            ],
        )
        .output("y");
    let mut proto = model.proto();
    set_type(&mut proto.graph.as_mut().unwrap().input[1], INT64);
    prost::Message::encode_to_vec(&proto)
}

/// An `.npz` with the inputs of the model.
fn inputs(rate: i64) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut npz = NpzWriter::new(&mut file);
    let x = ArrayD::from_shape_vec(IxDyn(&[1, 2, 4, 4]), noise(32, 3, 1.0)).unwrap();
    npz.add_array("x", &x).unwrap();
    npz.add_array("rate", &ArrayD::from_elem(IxDyn(&[1]), rate))
        .unwrap();
    npz.finish().unwrap();
    file.into_inner()
}

fn files() -> TempDir {
    folder(&[
        ("m.onnx", model()),
        ("16.npz", inputs(16)),
        ("8.npz", inputs(8)),
    ])
}

/// What the command computes as `y`.
fn output(at: &Path, arguments: &[&str]) -> Vec<f32> {
    printed(at, &[arguments, &["--output", "y.npz", "-q"]].concat());
    let file = std::fs::File::open(at.join("y.npz")).unwrap();
    let y: ArrayD<f32> = NpzReader::new(file).unwrap().by_name("y").unwrap();
    y.into_iter().collect()
}

#[test]
fn an_input_that_decides_a_branch_has_the_value_of_its_array() {
    let folder = files();
    let at = folder.path();
    let of_array = output(at, &["run", "m.onnx", "--input", "16.npz"]);
    let of_option = output(
        at,
        &[
            "run",
            "m.onnx",
            "--input",
            "16.npz",
            "--input-value",
            "rate=16",
        ],
    );
    let other = output(at, &["run", "m.onnx", "--input", "8.npz"]);
    assert_eq!(of_array, of_option);
    assert_ne!(of_array, other);
    let said = said(at, ["run", "m.onnx", "--input", "8.npz"]);
    assert!(
        said.error
            .contains("`/y/If` has a branch for each value of the input `rate`: compiled for 8"),
        "{}",
        said.error
    );
}

/// The file itself has both branches, and an input more than the program.
#[test]
fn the_file_itself_takes_the_branch_of_the_program() {
    python::check_on_the_file_itself(files().path(), "8.npz");
}

#[test]
fn a_program_of_one_branch_refuses_the_value_of_another() {
    let folder = files();
    let at = folder.path();
    printed(
        at,
        &["compile", "m.onnx", "-o", "p.scnn", "--calibrate", "16.npz"],
    );
    printed(at, &["run", "p.scnn", "--input", "16.npz"]);
    let error = refused(at, &["run", "p.scnn", "--input", "8.npz"], 1);
    assert!(
        error.contains("the input `rate` is 16 in this program"),
        "{error}"
    );
    let flags = ["--input", "8.npz", "--input-value", "rate=16"];
    let error = refused(at, &[&["run", "m.onnx"][..], &flags].concat(), 1);
    assert!(error.contains("--input-value rate=VALUE"), "{error}");
}

#[test]
fn the_value_that_a_branch_asks_for_is_named() {
    let folder = files();
    let error = refused(folder.path(), &["check", "m.onnx"], 1);
    assert!(
        error.contains("which of its branches is taken depends on the input `rate`"),
        "{error}"
    );
    assert!(
        error.contains("`--input-value rate=16` compiles the branch that is taken"),
        "{error}"
    );
}
