//! Logarithms of sums of exponentials stay finite on the host, however far the values are apart.

use crate::agreement::{compiled, floats, run_checked};
use crate::onnx::{Model, int, ints};
use scnn_isa::machine::Machine;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// What a model computes of `x` in floats and on the simulator.
fn results(model: Model, x: &[f32]) -> [Vec<f32>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.bytes()).unwrap();
    let x = Tensor::from_shape(&[1, x.len(), 1, 1], x).unwrap();
    let sample = BTreeMap::from([("x".to_owned(), x)]);
    let compiled = compiled(&path, Machine::preset("scnn").unwrap(), &sample);
    let float = floats(&compiled.float.run(&sample).unwrap()["y"]);
    let execution = run_checked(&compiled, &sample);
    [float, floats(&execution.outputs["y"])]
}

/// A convolution that hands its operand on.
fn behind_a_layer(name: &str) -> Model {
    let mut diagonal = vec![0.0; 9];
    diagonal.iter_mut().step_by(4).for_each(|one| *one = 1.0);
    Model::new(name)
        .input("x", &[1, 3, 1, 1])
        .floats("w", &[3, 3, 1, 1], &diagonal)
        .node("Conv", &["x", "w"], "c", vec![])
}

fn near(got: &[f32], wanted: &[f32]) {
    assert_eq!(got.len(), wanted.len());
    for (got, wanted) in got.iter().zip(wanted) {
        assert!((got - wanted).abs() < 0.1, "{got}, not {wanted}");
    }
}

#[test]
fn logarithms_of_shares_are_the_distances_from_the_largest_value() {
    let model = behind_a_layer("log-softmax")
        .node("LogSoftmax", &["c"], "y", vec![int("axis", 1)])
        .output("y");
    for results in results(model, &[-500.0, 300.0, 120.0]) {
        near(&results, &[-800.0, 0.0, -180.0]);
    }
}

#[test]
fn the_logarithm_of_a_sum_of_exponentials_is_near_the_largest_value() {
    let axes = || vec![ints("axes", &[1]), int("keepdims", 0)];
    let model = behind_a_layer("log-sum-exp")
        .node("ReduceLogSumExp", &["c"], "y", axes())
        .output("y");
    for results in results(model, &[-500.0, 300.0, 299.0]) {
        near(&results, &[300.0 + (1.0 + f32::exp(-1.0)).ln()]);
    }
}
