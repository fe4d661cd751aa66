//! A past that is empty when a decoder begins: an input without values is a constant of the program.

use crate::binary::{printed, refused};
use crate::onnx::{Model, int, name_dims, noise};
use crate::python;
use crate::refusals::folder;
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{NpzReader, NpzWriter};
use prost::Message;
use std::io::Cursor;
use std::path::Path;
use tempfile::TempDir;

const WIDTH: usize = 8;

/// A decoder that appends the keys of new tokens to its past keys.
fn model() -> Vec<u8> {
    let width = WIDTH as i64;
    let model = Model::new("decoder")
        .input("x", &[1, 3, width])
        .input("past", &[1, 1, width])
        .floats("w", &[width, width], &noise(WIDTH * WIDTH, 1, 1.0))
        .node("MatMul", &["x", "w"], "new", vec![])
        .node("Concat", &["past", "new"], "keys", vec![int("axis", 1)])
        .output("keys");
    let mut proto = model.proto();
    name_dims(
        &mut proto.graph.as_mut().unwrap().input[1],
        &[(1, "length")],
    );
    proto.encode_to_vec()
}

/// An `.npz` with a past of some length.
fn inputs(length: usize) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut npz = NpzWriter::new(&mut file);
    for (name, places) in [("x", 3), ("past", length)] {
        let values = noise(places * WIDTH, 2, 1.0);
        let array = ArrayD::from_shape_vec(IxDyn(&[1, places, WIDTH]), values).unwrap();
        npz.add_array(name, &array).unwrap();
    }
    npz.finish().unwrap();
    file.into_inner()
}

fn files() -> TempDir {
    folder(&[
        ("m.onnx", model()),
        ("0.npz", inputs(0)),
        ("2.npz", inputs(2)),
    ])
}

/// What the command computes as `keys`.
fn keys(at: &Path, arguments: &[&str]) -> ArrayD<f32> {
    printed(at, &[arguments, &["--output", "y.npz", "-q"]].concat());
    let file = std::fs::File::open(at.join("y.npz")).unwrap();
    NpzReader::new(file).unwrap().by_name("keys").unwrap()
}

#[test]
fn an_empty_past_is_a_constant_of_the_program() {
    let folder = files();
    let at = folder.path();
    let begun = keys(at, &["run", "m.onnx", "--input", "0.npz"]);
    assert_eq!(begun.shape(), [1, 3, WIDTH]);
    // The same by a dimension, through a program, and as the end of what has a past.
    let compile = ["compile", "m.onnx", "-o", "p.scnn", "--calibrate", "0.npz"];
    printed(at, &[&compile[..], &["--dim", "length=0"]].concat());
    let program = keys(at, &["run", "p.scnn", "--input", "0.npz"]);
    assert_eq!(program, begun);
    let later = keys(at, &["run", "m.onnx", "--input", "2.npz"]);
    assert_eq!(later.shape(), [1, 5, WIDTH]);
    let error = refused(at, &["run", "p.scnn", "--input", "2.npz"], 1);
    assert!(
        error.contains("the input `past` is empty in this program"),
        "{error}"
    );
}

/// ONNX Runtime is given the empty input that the file has.
#[test]
fn the_file_itself_has_an_empty_past_too() {
    python::check_on_the_file_itself(files().path(), "0.npz");
}

#[test]
fn a_model_whose_inputs_are_all_empty_has_nothing_to_compute() {
    let folder = files();
    let shapes = ["--shape", "past=1,0,8", "--shape", "x=1,0,8"];
    let error = refused(
        folder.path(),
        &[&["check", "m.onnx"][..], &shapes].concat(),
        1,
    );
    assert!(
        error.contains("dimension 1 of the input `x` is 3, not 0"),
        "{error}"
    );
    let mut open = tract_onnx::pb::ModelProto::decode(model().as_slice()).unwrap();
    name_dims(&mut open.graph.as_mut().unwrap().input[0], &[(1, "new")]);
    std::fs::write(folder.path().join("open.onnx"), open.encode_to_vec()).unwrap();
    let error = refused(
        folder.path(),
        &[&["check", "open.onnx"][..], &shapes].concat(),
        1,
    );
    assert!(
        error.contains("all inputs are empty: `x`, `past`"),
        "{error}"
    );
}
