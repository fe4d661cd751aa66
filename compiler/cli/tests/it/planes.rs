//! Planes of the array that are joined, split or chosen from along rows and columns stay on the array.

use crate::onnx::{Model, int, noise};
use crate::placement::hosted;

const DIMS: [usize; 4] = [2, 5, 6, 7];

/// `r` is a plane of the array, `c` another.
fn beginning(dims: &[usize]) -> Model {
    let dims: Vec<i64> = dims.iter().map(|&extent| extent as i64).collect();
    let mut kernel = vec![1; dims.len()];
    kernel[..2].copy_from_slice(&[5, 5]);
    Model::new("planes")
        .input("x", &dims)
        .floats("w", &kernel, &noise(25, 1, 0.6))
        .node("Conv", &["x", "w"], "c", vec![])
        .node("Relu", &["c"], "r", vec![])
}

fn assert_on_array(model: Model, dims: &[usize]) {
    let (hosted, compiled) = hosted(model, dims);
    assert_eq!(hosted, Vec::<String>::new(), "{}", compiled.graph);
}

/// A convolution reads what was made of the planes.
fn read(model: Model, from: &str, rank: usize) -> Model {
    let mut kernel = vec![1; rank];
    kernel[..2].copy_from_slice(&[4, 5]);
    let model = model.floats("v", &kernel, &noise(20, 2, 0.6));
    model.node("Conv", &[from, "v"], "y", vec![]).output("y")
}

#[test]
fn planes_are_joined_along_rows_and_columns_on_the_array() {
    for axis in [2, 3, -1] {
        for planes in [&["r", "c"][..], &["c", "s", "r"], &["r", "r"]] {
            let model = beginning(&DIMS).node("Sigmoid", &["c"], "s", vec![]);
            let model = model.node("Concat", planes, "joined", vec![int("axis", axis)]);
            assert_on_array(read(model, "joined", 4), &DIMS);
        }
    }
}

#[test]
fn rows_are_joined_on_the_host_which_is_sooner() {
    let dims = [2, 5, 20];
    let model = beginning(&dims).node("Concat", &["r", "c"], "joined", vec![int("axis", 2)]);
    let (hosted, _) = hosted(read(model, "joined", 3), &dims);
    assert!(hosted.contains(&"Concat".to_owned()), "{hosted:?}");
}

#[test]
fn a_plane_is_split_along_rows_and_columns_on_the_array() {
    for (axis, parts) in [(2, [1, 5]), (-1, [3, 4])] {
        let model = beginning(&DIMS).integers("parts", &parts);
        let along = vec![int("axis", axis)];
        let model = model.node_of("Split", &["r", "parts"], &["first", "second"], along);
        let model = model.node("Sigmoid", &["second"], "z", vec![]).output("z");
        assert_on_array(read(model, "first", 4), &DIMS);
    }
}

#[test]
fn constant_indices_that_are_evenly_apart_choose_on_the_array() {
    for (axis, indices) in [(2, &[1, 3, 5][..]), (3, &[-4, -3]), (2, &[4])] {
        let model = beginning(&DIMS).integers("indices", indices);
        let model = model.node("Gather", &["r", "indices"], "g", vec![int("axis", axis)]);
        assert_on_array(read(model, "g", 4), &DIMS);
    }
}

#[test]
fn other_indices_choose_on_the_host() {
    for indices in [[3, 1, 0], [0, 1, 3], [2, 2, 2]] {
        let model = beginning(&DIMS).integers("indices", &indices);
        let model = model.node("Gather", &["r", "indices"], "g", vec![int("axis", 2)]);
        let (hosted, _) = hosted(read(model, "g", 4), &DIMS);
        assert_eq!(hosted, ["Gather"]);
    }
}
