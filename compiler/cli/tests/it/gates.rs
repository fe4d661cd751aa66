//! Two tensors that meet: gates of channels, rows, columns and positions, extrema and differences, all on the machine.

use crate::agreement::{Sample, compiled, decibels, run_checked};
use crate::onnx::{Model, int, ints, noise};
use scnn_isa::machine::Machine;
use scnnc::graph::Op;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// Of the input: images, channels, rows, columns.
const DIMS: [i64; 4] = [2, 4, 6, 5];

/// A model of two convolutions of `x`, `c` and `d`, and one to a single channel, `p`.
fn convolutions() -> Model {
    let pads = || vec![ints("pads", &[1; 4])];
    Model::new("gates")
        .input("x", &DIMS)
        .floats("w", &[4, 4, 3, 3], &noise(144, 1, 0.4))
        .floats("v", &[4, 4, 3, 3], &noise(144, 2, 0.4))
        .floats("u", &[1, 4, 1, 1], &noise(4, 3, 0.4))
        .node("Conv", &["x", "w"], "c", pads())
        .node("Conv", &["x", "v"], "d", pads())
        .node("Conv", &["x", "u"], "p", vec![])
}

/// The operators that the host runs of the model with result `y`. The bits are the interpreter's, the values near those of
/// the model in floating point.
fn hosted(model: Model) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.output("y").bytes()).unwrap();
    let dims = DIMS.map(|extent| extent as usize);
    let values = noise(dims.iter().product(), 5, 1.0);
    let x = Tensor::from_shape(&dims, &values).unwrap();
    let sample: Sample = BTreeMap::from([("x".to_owned(), x)]);
    let compiled = compiled(&path, Machine::preset("scnn").unwrap(), &sample);
    let execution = run_checked(&compiled, &sample);
    let near = decibels(&compiled, &sample, &execution);
    assert!(near > 65.0, "{near} dB");
    let mut hosted = Vec::new();
    for node in compiled.graph.dag.node_weights() {
        if let Op::Host(host) = &node.op {
            hosted.extend(host.nodes.iter().map(|node| node.op_type.clone()));
        }
    }
    hosted
}

const NONE: [String; 0] = [];

/// `[N, 1, H, W]`, `[N, C, 1, W]`, `[N, C, H, 1]` and `[N, 1, 1, 1]` times, plus and from `[N, C, H, W]`.
#[test]
fn a_gate_is_repeated_along_the_axes_that_it_lacks() {
    for operator in ["Mul", "Add", "Sub"] {
        for axes in [&[1][..], &[2], &[3], &[1, 2, 3]] {
            let model = convolutions()
                .node("ReduceMean", &["d"], "m", vec![ints("axes", axes)])
                .node("Sigmoid", &["m"], "s", vec![])
                .node(operator, &["c", "s"], "y", vec![]);
            assert_eq!(hosted(model), NONE, "{operator} {axes:?}");
        }
    }
}

#[test]
fn a_gate_may_stand_first_and_in_one_channel() {
    let model =
        convolutions()
            .node("Sigmoid", &["p"], "s", vec![])
            .node("Mul", &["s", "c"], "y", vec![]);
    assert_eq!(hosted(model), NONE);
}

#[test]
fn a_gate_that_was_expanded_is_read_as_it_was() {
    let model = convolutions()
        .integers("shape", &DIMS)
        .node("GlobalAveragePool", &["d"], "m", vec![])
        .node("Expand", &["m", "shape"], "e", vec![])
        .node("Mul", &["c", "e"], "y", vec![]);
    assert_eq!(hosted(model), NONE);
}

#[test]
fn the_mean_of_each_channel_is_subtracted_on_the_machine() {
    let model = convolutions()
        .node("GlobalAveragePool", &["c"], "m", vec![])
        .node("Sub", &["c", "m"], "y", vec![]);
    assert_eq!(hosted(model), NONE);
}

#[test]
fn the_larger_and_the_smaller_of_two_are_sums() {
    for operator in ["Max", "Min"] {
        let model = convolutions().node(operator, &["c", "d"], "y", vec![]);
        assert_eq!(hosted(model), NONE, "{operator}");
    }
}

/// Sums over channels that are no statistics are convolutions; those of a normalisation are the host's, which divides.
#[test]
fn channels_are_summed_by_the_array_unless_a_division_follows() {
    let keeps = || vec![int("keepdims", 1)];
    let model = convolutions()
        .integers("axes", &[1, 2])
        .node("ReduceSum", &["c", "axes"], "s", keeps())
        .node("Tanh", &["s"], "y", vec![]);
    assert_eq!(hosted(model), NONE);
    let model = convolutions()
        .node("ReduceMean", &["c"], "m", vec![ints("axes", &[1])])
        .node("Sub", &["c", "m"], "e", vec![])
        .node("Mul", &["e", "e"], "q", vec![])
        .node("ReduceMean", &["q"], "variance", vec![ints("axes", &[1])])
        .node("Sqrt", &["variance"], "r", vec![])
        .node("Div", &["e", "r"], "y", vec![]);
    let operators = hosted(model);
    for operator in ["ReduceMean", "Sqrt", "Div"] {
        assert!(operators.contains(&operator.to_owned()), "{operators:?}");
    }
}

/// Values that the host has need no layer of the array to be repeated.
#[test]
fn what_the_host_computes_is_broadcast_by_the_host() {
    let model = convolutions()
        .node("Softmax", &["c"], "t", vec![int("axis", 2)])
        .node("Softmax", &["p"], "s", vec![int("axis", 2)])
        .node("Mul", &["t", "s"], "y", vec![]);
    assert_eq!(hosted(model), ["Softmax", "Softmax", "Mul"]);
}

/// What a product is multiplied into has no offset: the table of the function behind it begins where its argument does not.
#[test]
fn a_function_behind_a_gate_is_of_the_product() {
    for gate in ["Sigmoid", "Relu"] {
        for function in ["Sigmoid", "Tanh", "Erf", "HardSwish"] {
            let model = convolutions()
                .node("GlobalAveragePool", &["d"], "m", vec![])
                .node(gate, &["m"], "g", vec![])
                .node("Mul", &["c", "g"], "a", vec![])
                .node(function, &["a"], "y", vec![]);
            assert_eq!(hosted(model), NONE, "{gate} {function}");
        }
    }
}
