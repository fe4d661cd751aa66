//! Shapes that depend on data: inside of a network, where ONNX Runtime computes what lies between them; and at its end,
//! where a run hands on as much as there is.

use crate::onnx::{Model, int, ints, noise, set_type};
use crate::python;
use crate::refusals::folder;
use assert_cmd::Command;
use ndarray::{Array4, ArrayD, arr1};
use ndarray_npy::{NpzReader, NpzWriter, write_npy};
use std::fs::File;

/// The number of 64-bit integers among element types.
const INT64: i32 = 7;

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

/// Runs a model on a sample; what it says, and its outputs.
fn run(model: Model, x: &[f32]) -> Option<(String, NpzReader<File>)> {
    let mut command = with_onnx_runtime()?;
    let folder = folder(&[("m.onnx", model.bytes())]);
    let array = Array4::from_shape_vec((1, 1, 4, 4), x.to_vec()).unwrap();
    write_npy(folder.path().join("x.npy"), &array).unwrap();
    let words = "run m.onnx --input x.npy --check --output y.npz".split(' ');
    command.current_dir(folder.path()).args(words);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let file = File::open(folder.path().join("y.npz")).unwrap();
    Some((error.into_owned(), NpzReader::new(file).unwrap()))
}

/// Positions of what is negative, and of nothing at all.
#[test]
fn an_output_whose_shape_depends_on_data_has_as_many_values_as_there_are() {
    let model = || scattered().output("positions").output("c");
    let x = noise(16, 3, 1.0);
    let Some((said, mut outputs)) = run(model(), &x) else {
        return;
    };
    let warning = "the shape of the output `positions` depends on data";
    assert!(said.contains(warning), "{said}");
    let positions: ArrayD<i64> = outputs.by_name("positions").unwrap();
    let negative = x.iter().enumerate().filter(|(_, x)| **x < 0.0);
    let rows: Vec<i64> = negative
        .flat_map(|(index, _)| [0, 0, index as i64 / 4, index as i64 % 4])
        .collect();
    assert_eq!(positions.shape(), [rows.len() / 4, 4]);
    assert_eq!(positions.into_raw_vec_and_offset().0, rows);
    let (_, mut outputs) = run(model(), &[1.0; 16]).unwrap();
    let positions: ArrayD<i64> = outputs.by_name("positions").unwrap();
    assert_eq!(positions.shape(), [0, 4]);
}

/// A box and a score for each of the `places` of `x`, and the boxes `chosen` of them: at most five whose scores are above `least` and
/// which overlap by less than `overlap`.
fn detector(model: Model, places: i64, to_boxes: &[f32; 4]) -> Model {
    model
        .floats("to_boxes", &[4, 1, 1, 1], to_boxes)
        .floats("to_scores", &[1, 1, 1, 1], &[2.0])
        .integers("box_rows", &[1, 4, places])
        .integers("score_rows", &[1, 1, places])
        .integers("most", &[5])
        .node("Conv", &["x", "to_boxes"], "box_planes", vec![])
        .node("Reshape", &["box_planes", "box_rows"], "columns", vec![])
        .node(
            "Transpose",
            &["columns"],
            "boxes",
            vec![ints("perm", &[0, 2, 1])],
        )
        .node("Conv", &["x", "to_scores"], "score_planes", vec![])
        .node("Reshape", &["score_planes", "score_rows"], "scores", vec![])
        .node(
            "NonMaxSuppression",
            &["boxes", "scores", "most", "overlap", "least"],
            "chosen",
            vec![],
        )
}

/// Boxes that are left over, and their scores: what gathers them runs where they are chosen.
#[test]
fn a_detector_that_selects_its_boxes_hands_on_those_that_are_left() {
    let model = Model::new("detector")
        .input("x", &[1, 1, 4, 4])
        .integers("third", &[2])
        .floats("overlap", &[1], &[0.5])
        .floats("least", &[1], &[0.7]);
    let model = detector(model, 16, &[0.3, 0.6, 0.9, 1.2])
        .node(
            "Gather",
            &["chosen", "third"],
            "indices",
            vec![int("axis", 1)],
        )
        .node("GatherND", &["scores", "chosen"], "best", vec![])
        .node("Relu", &["best"], "y", vec![])
        .output("indices")
        .output("y");
    let x = [
        0.1, 0.9, 0.2, 0.3, 0.5, 0.1, 0.0, 0.2, 0.1, 0.4, 0.1, 0.2, 0.3, 0.1, 0.2, 0.1,
    ];
    let Some((_, mut outputs)) = run(model, &x) else {
        return;
    };
    let scores: ArrayD<f32> = outputs.by_name("y").unwrap();
    let indices: ArrayD<i64> = outputs.by_name("indices").unwrap();
    assert_eq!(indices.into_raw_vec_and_offset().0, [1, 4, 9]);
    let wanted = [1.8, 1.0, 0.8];
    assert_eq!(scores.shape(), [3]);
    for (score, wanted) in scores.iter().zip(wanted) {
        assert!((score - wanted).abs() < 1e-3, "{scores}");
    }
}

/// As many columns as an input says, which a convolution reads: the array that is given decides, not zeros.
#[test]
fn shapes_that_integers_decide_are_those_of_the_arrays_that_are_given() {
    let Some(mut command) = with_onnx_runtime() else {
        return;
    };
    let model = Model::new("cut")
        .input("x", &[1, 2, 4, 8])
        .input("length", &[1])
        .floats("v", &[2, 2, 1, 1], &noise(4, 2, 1.0))
        .floats("w", &[3, 2, 1, 1], &noise(6, 1, 1.0))
        .integers("zero", &[0])
        .integers("columns", &[3])
        .node("Conv", &["x", "v"], "c", vec![])
        .node("Slice", &["c", "zero", "length", "columns"], "s", vec![])
        .node("Conv", &["s", "w"], "y", vec![])
        .output("y");
    let mut proto = model.proto();
    set_type(&mut proto.graph.as_mut().unwrap().input[1], INT64);
    let bytes = prost::Message::encode_to_vec(&proto);
    let folder = folder(&[("m.onnx", bytes)]);
    let mut npz = NpzWriter::new(File::create(folder.path().join("x.npz")).unwrap());
    let x = Array4::from_shape_vec((1, 2, 4, 8), noise(64, 3, 1.0)).unwrap();
    npz.add_array("x", &x).unwrap();
    npz.add_array("length", &arr1(&[5i64])).unwrap();
    npz.finish().unwrap();
    let words = "run m.onnx --input x.npz --check --output y.npz".split(' ');
    command.current_dir(folder.path()).args(words);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(
        error.contains("those of the arrays that are given"),
        "{error}"
    );
    let file = File::open(folder.path().join("y.npz")).unwrap();
    let y: ArrayD<f32> = NpzReader::new(file).unwrap().by_name("y").unwrap();
    assert_eq!(y.shape(), [1, 3, 4, 5]);
}

/// Thresholds that are inputs, as detectors have them: noise may be no threshold at all. How many boxes are left depends on
/// data even where the runs that were looked at had as many.
#[test]
fn a_detector_whose_thresholds_are_inputs_takes_those_that_are_given() {
    let Some(mut command) = with_onnx_runtime() else {
        return;
    };
    let model = Model::new("detector")
        .input("x", &[1, 1, 1, 6])
        .input("overlap", &[1])
        .input("least", &[1]);
    let model = detector(model, 6, &[0.1, 0.1, 0.9, 1.2]).output("chosen");
    let folder = folder(&[("m.onnx", model.bytes())]);
    let mut npz = NpzWriter::new(File::create(folder.path().join("x.npz")).unwrap());
    let x = vec![0.9, 0.9, 0.9, 0.2, 0.9, 0.9];
    let x = Array4::from_shape_vec((1, 1, 1, 6), x).unwrap();
    npz.add_array("x", &x).unwrap();
    npz.add_array("overlap", &arr1(&[0.6f32])).unwrap();
    npz.add_array("least", &arr1(&[0.1f32])).unwrap();
    npz.finish().unwrap();
    let words = "run m.onnx --input x.npz --check --output y.npz".split(' ');
    command.current_dir(folder.path()).args(words);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let file = File::open(folder.path().join("y.npz")).unwrap();
    let chosen: ArrayD<i64> = NpzReader::new(file).unwrap().by_name("chosen").unwrap();
    assert_eq!(chosen.shape(), [2, 3]);
    assert_eq!(chosen.into_raw_vec_and_offset().0, [0, 0, 0, 0, 0, 3]);
}

/// Rows are repeated as often as an input says, which tract types only where it is a constant.
#[test]
fn a_number_that_shapes_depend_on_is_bound_to_the_array_that_is_given() {
    let model = Model::new("repeated")
        .input("x", &[1, 4])
        .input("times", &[])
        .floats("w", &[4, 4], &[0.5; 16])
        .integers("flat", &[-1])
        .integers("one", &[1])
        .node("MatMul", &["x", "w"], "a", vec![])
        .node("Reshape", &["times", "flat"], "t", vec![])
        .node("Concat", &["one", "t"], "pair", vec![int("axis", 0)])
        .node("Tile", &["a", "pair"], "y", vec![])
        .output("y");
    let mut proto = model.proto();
    set_type(&mut proto.graph.as_mut().unwrap().input[1], INT64);
    let folder = folder(&[("m.onnx", prost::Message::encode_to_vec(&proto))]);
    let mut npz = NpzWriter::new(File::create(folder.path().join("x.npz")).unwrap());
    let x = ArrayD::from_elem(vec![1, 4], 1.0f32);
    npz.add_array("x", &x).unwrap();
    npz.add_array("times", &ArrayD::from_elem(vec![], 3i64))
        .unwrap();
    npz.finish().unwrap();
    let words = "run m.onnx --input x.npz --check --host tract --output y.npz".split(' ');
    let mut command = Command::cargo_bin("scnnc").unwrap();
    let output = command
        .current_dir(folder.path())
        .args(words)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(error.contains("compiled for `times` = 3 alone"), "{error}");
    let file = File::open(folder.path().join("y.npz")).unwrap();
    let y: ArrayD<f32> = NpzReader::new(file).unwrap().by_name("y").unwrap();
    assert_eq!(y.shape(), [1, 12]);
}

/// Positions, and behind them a node that only ONNX Runtime has: it reads what has no shape, so it joins what finds it.
#[test]
fn a_node_behind_positions_that_tract_lacks_runs_with_what_finds_them() {
    let model = scattered()
        .integers("row", &[2])
        .node(
            "Gather",
            &["positions", "row"],
            "rows",
            vec![int("axis", 1)],
        )
        .node("Unique", &["rows"], "y", vec![])
        .output("y")
        .output("c");
    let x = [
        1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0,
    ];
    let Some((_, mut outputs)) = run(model, &x) else {
        return;
    };
    let rows: ArrayD<i64> = outputs.by_name("y").unwrap();
    assert_eq!(rows.into_raw_vec_and_offset().0, [1, 3]);
}
