//! Means, sums, maxima and minima over parts of a plane: on the PPU, with the values that ONNX defines.

use crate::agreement::{Sample, compiled, decibels, decibels_between, floats, run_checked};
use crate::onnx::{Model, int, ints, noise};
use scnn_isa::machine::Machine;
use scnnc::graph::Op;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// Of the input of every test: images, channels, rows, columns.
const DIMS: [usize; 4] = [2, 3, 4, 5];

/// The names of the layers, the operators that the host runs and the result `y` of a model on noise as `x`; the bits are
/// the interpreter's, and the real values near those of the model in floating point.
fn run(model: Model, dims: &[usize]) -> (Vec<String>, Vec<String>, Vec<f32>, Vec<f32>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.bytes()).unwrap();
    let values = noise(dims.iter().product(), 5, 1.0);
    let x = Tensor::from_shape(dims, &values).unwrap();
    let sample: Sample = BTreeMap::from([("x".to_owned(), x)]);
    let compiled = compiled(&path, Machine::preset("scnn").unwrap(), &sample);
    let execution = run_checked(&compiled, &sample);
    assert!(decibels(&compiled, &sample, &execution) > 70.0);
    let (mut layers, mut hosted) = (Vec::new(), Vec::new());
    for node in compiled.graph.dag.node_weights() {
        match &node.op {
            Op::Layer(_) => layers.push(node.tensor.clone()),
            Op::Host(host) => hosted.extend(host.nodes.iter().map(|node| node.op_type.clone())),
            _ => {}
        }
    }
    (layers, hosted, values, floats(&execution.outputs["y"]))
}

/// What `operator` makes of the values over the axes, by the operator's definition.
fn reduced(operator: &str, values: &[f32], dims: [usize; 4], axes: &[usize]) -> Vec<f32> {
    let mut of: BTreeMap<[usize; 4], Vec<f32>> = BTreeMap::new();
    for (index, &value) in values.iter().enumerate() {
        let mut place = [0; 4];
        let mut rest = index;
        for axis in (0..4).rev() {
            place[axis] = if axes.contains(&axis) {
                0
            } else {
                rest % dims[axis]
            };
            rest /= dims[axis];
        }
        of.entry(place).or_default().push(value);
    }
    let result = |values: Vec<f32>| match operator {
        "ReduceMax" => values.into_iter().fold(f32::NEG_INFINITY, f32::max),
        "ReduceMin" => values.into_iter().fold(f32::INFINITY, f32::min),
        "ReduceSum" => values.iter().sum(),
        _ => values.iter().sum::<f32>() / values.len() as f32,
    };
    of.into_values().map(result).collect()
}

/// One reduction of `x`; the sum has its axes as an operand.
fn reduction(operator: &str, dims: &[i64], axes: &[i64], keeps: bool) -> Model {
    let model = Model::new("reduction").input("x", dims);
    let keeps = int("keepdims", keeps.into());
    let model = if operator == "ReduceSum" {
        let model = model.integers("axes", axes);
        model.node(operator, &["x", "axes"], "y", vec![keeps])
    } else {
        model.node(operator, &["x"], "y", vec![ints("axes", axes), keeps])
    };
    model.output("y")
}

const OPERATORS: [&str; 4] = ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"];

#[test]
fn rows_and_columns_are_reduced_on_the_machine() {
    let dims = DIMS.map(|extent| extent as i64);
    for operator in OPERATORS {
        for (axes, places) in [
            (&[2i64][..], &[2usize][..]),
            (&[-1], &[3]),
            (&[2, 3], &[2, 3]),
            (&[-1, 2], &[2, 3]),
        ] {
            let model = reduction(operator, &dims, axes, true);
            let (_, hosted, values, found) = run(model, &DIMS);
            assert_eq!(hosted, Vec::<String>::new(), "{operator} over {axes:?}");
            let wanted = reduced(operator, &values, DIMS, places);
            let near = decibels_between(&found, &wanted);
            assert!(near > 70.0, "{operator} over {axes:?}: {near} dB");
        }
    }
}

#[test]
fn a_plane_of_one_row_is_reduced_along_it() {
    for operator in OPERATORS {
        for keeps in [false, true] {
            let model = reduction(operator, &[2, 3, 20], &[2], keeps);
            let (_, hosted, values, found) = run(model, &[2, 3, 20]);
            assert_eq!(hosted, Vec::<String>::new(), "{operator}");
            let wanted = reduced(operator, &values, [2, 3, 1, 20], &[3]);
            let near = decibels_between(&found, &wanted);
            assert!(near > 70.0, "{operator}: {near} dB");
        }
    }
}

/// Behind a convolution the PPU takes the maximum of what it drains. A mean has a layer of its own, as it gains bits.
#[test]
fn a_maximum_is_a_stage_of_the_convolution_before_it() {
    let model = Model::new("behind")
        .input("x", &DIMS.map(|extent| extent as i64))
        .floats("w", &[4, 3, 1, 1], &noise(12, 1, 1.0))
        .node("Conv", &["x", "w"], "c", vec![])
        .node("ReduceMax", &["c"], "y", vec![ints("axes", &[2, 3])])
        .output("y");
    let (layers, hosted, ..) = run(model, &DIMS);
    assert_eq!((layers, hosted), (vec!["y".to_owned()], vec![]));
}

/// As a maximum over filters of several widths is exported: the results are stacked on a new last axis, and reduced.
#[test]
fn a_stack_of_activations_is_reduced_by_operators_of_those() {
    for operator in OPERATORS {
        for keeps in [false, true] {
            let mut model = Model::new("stack").input("x", &[1, 3, 9]);
            let mut pieces = Vec::new();
            for (index, width) in [1, 3, 5].into_iter().enumerate() {
                let [w, c, t, u] = ["w", "c", "t", "u"].map(|name| format!("{name}{index}"));
                let pad = width as i64 / 2;
                model = model
                    .floats(
                        &w,
                        &[4, 3, width as i64],
                        &noise(12 * width, 7 + index as u64, 0.5),
                    )
                    .integers(&format!("{u}.axes"), &[3])
                    .node("Conv", &["x", &w], &c, vec![ints("pads", &[pad, pad])])
                    .node("Transpose", &[&c], &t, vec![ints("perm", &[0, 2, 1])])
                    .node("Unsqueeze", &[&t, &format!("{u}.axes")], &u, vec![]);
                pieces.push(u);
            }
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            model = model.node("Concat", &pieces, "s", vec![int("axis", -1)]);
            let kept = int("keepdims", keeps.into());
            let model = if operator == "ReduceSum" {
                let model = model.integers("axes", &[-1]);
                model.node(operator, &["s", "axes"], "y", vec![kept])
            } else {
                model.node(operator, &["s"], "y", vec![ints("axes", &[-1]), kept])
            };
            let (_, hosted, _, _) = run(model.output("y"), &[1, 3, 9]);
            assert_eq!(hosted, Vec::<String>::new(), "{operator}, keepdims {keeps}");
        }
    }
}
