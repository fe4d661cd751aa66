//! Normalisations over channels: layers of the array where it holds their tensor, and the values that ONNX defines.

use crate::agreement::{Sample, compiled, decibels_between, floats, run_checked};
use crate::onnx::{Model, float, ints, noise};
use scnn_isa::machine::Machine;
use scnnc::graph::Op;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

const ROWS: usize = 21;
const CHANNELS: usize = 24;

/// Noise of a standard deviation of its own at every position, around a mean of its own.
fn positions(spread: impl Fn(usize) -> f32) -> Vec<f32> {
    let values = noise(ROWS * CHANNELS, 5, 0.8);
    let rows = values.chunks(CHANNELS).enumerate();
    rows.flat_map(|(row, values)| {
        let (factor, mean) = (spread(row), row as f32 * 0.1 - 1.0);
        let values: Vec<f32> = values.iter().map(|v| factor * (v + mean)).collect();
        values
    })
    .collect()
}

fn scale() -> Vec<f32> {
    (0..CHANNELS).map(|c| 0.5 + c as f32 * 0.05).collect()
}

/// `(x - mean) / sqrt(variance + epsilon)` of each row, times the scale and plus an offset.
fn normalised(values: &[f32], epsilon: f64, offset: &[f32]) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> {
        let count = row.len() as f64;
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let centred = row.iter().map(|&v| f64::from(v) - mean);
        let variance = centred.clone().map(|v| v * v).sum::<f64>() / count;
        let stages = centred.zip(scale()).zip(offset);
        let value = |((v, s), &o): ((f64, f32), &f32)| {
            (v / (variance + epsilon).sqrt() * f64::from(s) + f64::from(o)) as f32
        };
        stages.map(value).collect()
    };
    values.chunks(CHANNELS).flat_map(row).collect()
}

/// Weights of the layer before the normalisation: the identity, so that the array computes the normalised tensor.
fn identity() -> Vec<f32> {
    let at = |i: usize| {
        if i.is_multiple_of(CHANNELS + 1) {
            1.0
        } else {
            0.0
        }
    };
    (0..CHANNELS * CHANNELS).map(at).collect()
}

/// The operators of the host, the result `y`, and why nodes fell back; the bits are the interpreter's.
fn run(model: Model, machine: Machine, x: Tensor) -> (Vec<String>, Vec<f32>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.bytes()).unwrap();
    let sample: Sample = BTreeMap::from([("x".to_owned(), x)]);
    let compiled = compiled(&path, machine, &sample);
    let execution = run_checked(&compiled, &sample);
    let nodes = compiled.graph.dag.node_weights();
    let hosted = nodes.filter_map(|node| match &node.op {
        Op::Host(host) => Some(host.nodes.iter().map(|node| node.op_type.clone())),
        _ => None,
    });
    let hosted = hosted.flatten().collect();
    let reasons = compiled.fallbacks.iter();
    let reasons = reasons.map(|fallback| fallback.reason.clone()).collect();
    (hosted, floats(&execution.outputs["y"]), reasons)
}

fn scnn() -> Machine {
    Machine::preset("scnn").unwrap()
}

fn tokens(values: &[f32]) -> Tensor {
    Tensor::from_shape(&[1, ROWS, CHANNELS], values).unwrap()
}

/// A `LayerNormalization` behind a matrix product.
fn operator() -> Model {
    let channels = CHANNELS as i64;
    Model::new("operator")
        .input("x", &[1, ROWS as i64, channels])
        .floats("w", &[channels, channels], &identity())
        .floats("scale", &[channels], &scale())
        .floats("bias", &[channels], &noise(CHANNELS, 3, 0.5))
        .node("MatMul", &["x", "w"], "m", vec![])
        .node(
            "LayerNormalization",
            &["m", "scale", "bias"],
            "y",
            vec![float("epsilon", 0.01)],
        )
        .output("y")
}

#[test]
fn a_layer_normalisation_of_what_the_array_made_stays_there() {
    let values = positions(|row| 1.0 + row as f32 * 0.2);
    let (hosted, y, _) = run(operator(), scnn(), tokens(&values));
    assert_eq!(hosted, Vec::<String>::new());
    let wanted = normalised(&values, 0.01, &noise(CHANNELS, 3, 0.5));
    let near = decibels_between(&y, &wanted);
    assert!(near > 60.0, "{near} dB");
}

/// As exporters before opset 17 write it, over the last axis behind a product and over channels behind a convolution.
#[test]
fn a_normalisation_by_parts_is_found_over_either_axis() {
    let channels = CHANNELS as i64;
    for axis in [-1, 1] {
        let model = if axis == 1 {
            Model::new("planes")
                .input("x", &[1, channels, 3, 7])
                .floats("w", &[channels, channels, 1, 1], &identity())
                .floats("scale", &[1, channels, 1, 1], &scale())
                .node("Conv", &["x", "w"], "m", vec![])
        } else {
            Model::new("rows")
                .input("x", &[1, ROWS as i64, channels])
                .floats("w", &[channels, channels], &identity())
                .floats("scale", &[channels], &scale())
                .node("MatMul", &["x", "w"], "m", vec![])
        };
        let over = || vec![ints("axes", &[axis])];
        let model = model
            .floats("two", &[], &[2.0])
            .floats("epsilon", &[], &[1e-3])
            .node("ReduceMean", &["m"], "mean", over())
            .node("Sub", &["m", "mean"], "d", vec![])
            .node("Pow", &["d", "two"], "p", vec![])
            .node("ReduceMean", &["p"], "v", over())
            .node("Add", &["v", "epsilon"], "e", vec![])
            .node("Sqrt", &["e"], "s", vec![])
            .node("Div", &["d", "s"], "q", vec![])
            .node("Mul", &["q", "scale"], "y", vec![])
            .output("y");
        let values = positions(|row| 1.0 + row as f32 * 0.2);
        // Rows of channels, and the same as planes.
        let plane = |values: &[f32]| -> Vec<f32> {
            let place = |i: usize| i % ROWS * CHANNELS + i / ROWS;
            (0..values.len()).map(|i| values[place(i)]).collect()
        };
        let wanted = normalised(&values, 1e-3, &[0.0; CHANNELS]);
        let (x, wanted) = if axis == 1 {
            let x = Tensor::from_shape(&[1, CHANNELS, 3, 7], &plane(&values));
            (x.unwrap(), plane(&wanted))
        } else {
            (tokens(&values), wanted)
        };
        let (hosted, y, _) = run(model, scnn(), x);
        assert_eq!(hosted, Vec::<String>::new(), "over axis {axis}");
        let near = decibels_between(&y, &wanted);
        assert!(near > 60.0, "over axis {axis}: {near} dB");
    }
}

/// As TensorFlow writes it: a factor and an offset of every value, of which the offset is a sum or a difference.
fn by_factor(offset_is_sum: bool) -> Model {
    let channels = CHANNELS as i64;
    let over = || vec![ints("axes", &[1])];
    let model = Model::new("factor")
        .input("x", &[1, channels, 3, 7])
        .floats("w", &[channels, channels, 1, 1], &identity())
        .floats("scale", &[1, channels, 1, 1], &scale())
        .floats("bias", &[1, channels, 1, 1], &noise(CHANNELS, 3, 0.5))
        .floats("epsilon", &[1, 1, 1, 1], &[1e-3])
        .integers("same", &[1, 1, 3, 7])
        .node("Conv", &["x", "w"], "m", vec![])
        .node("ReduceMean", &["m"], "mean", over())
        .node("Reshape", &["mean", "same"], "stopped", vec![])
        .node("Sub", &["m", "stopped"], "d", vec![])
        .node("Mul", &["d", "d"], "p", vec![])
        .node("ReduceMean", &["p"], "v", over())
        .node("Add", &["v", "epsilon"], "e", vec![])
        .node("Sqrt", &["e"], "s", vec![])
        .node("Reciprocal", &["s"], "r", vec![])
        .node("Mul", &["r", "scale"], "factor", vec![])
        .node("Mul", &["m", "factor"], "scaled", vec![]);
    let model = if offset_is_sum {
        model
            .node("Neg", &["mean"], "n", vec![])
            .node("Mul", &["n", "factor"], "o", vec![])
            .node("Add", &["o", "bias"], "offset", vec![])
    } else {
        model.node("Mul", &["mean", "factor"], "o", vec![]).node(
            "Sub",
            &["bias", "o"],
            "offset",
            vec![],
        )
    };
    model
        .node("Add", &["scaled", "offset"], "y", vec![])
        .output("y")
}

#[test]
fn a_normalisation_by_factor_and_offset_is_one_of_the_array_or_one_of_the_host() {
    let values = positions(|row| 1.0 + row as f32 * 0.2);
    let plane = |values: &[f32]| -> Vec<f32> {
        let place = |i: usize| i % ROWS * CHANNELS + i / ROWS;
        (0..values.len()).map(|i| values[place(i)]).collect()
    };
    let wanted = plane(&normalised(&values, 1e-3, &noise(CHANNELS, 3, 0.5)));
    let x = Tensor::from_shape(&[1, CHANNELS, 3, 7], &plane(&values)).unwrap();
    for offset_is_sum in [true, false] {
        let (hosted, y, _) = run(by_factor(offset_is_sum), scnn(), x.clone());
        assert_eq!(hosted, Vec::<String>::new());
        let near = decibels_between(&y, &wanted);
        assert!(near > 60.0, "{near} dB");
    }
    let mut small = scnn();
    (small.activation_ram.a_bytes, small.activation_ram.b_bytes) = (64, 64);
    (small.array.rows, small.array.cols) = (2, 2);
    let (hosted, y, _) = run(by_factor(true), small, x);
    assert!(hosted.contains(&"Div".to_owned()), "{hosted:?}");
    assert!(!hosted.contains(&"Reciprocal".to_owned()), "{hosted:?}");
    let near = decibels_between(&y, &wanted);
    assert!(near > 60.0, "{near} dB");
}

/// One position two hundred times as large as the others leaves their variances no bits.
#[test]
fn a_normalisation_whose_variances_16_bits_do_not_hold_runs_on_the_host() {
    let values = positions(|row| if row == 4 { 200.0 } else { 1.0 });
    let (hosted, y, reasons) = run(operator(), scnn(), tokens(&values));
    assert!(!hosted.is_empty());
    let reason = reasons.iter().find(|reason| reason.contains("leaves"));
    assert!(reason.is_some(), "{reasons:?}");
    let wanted = normalised(&values, 0.01, &noise(CHANNELS, 3, 0.5));
    // The product itself has 16 bits for all positions.
    let near = decibels_between(&y, &wanted);
    assert!(near > 40.0, "{near} dB");
}

/// A normalisation passes over its tensor seven times, which is no gain where every pass is one over DRAM.
#[test]
fn a_normalisation_of_what_the_rams_do_not_hold_runs_on_the_host() {
    let mut machine = scnn();
    machine.activation_ram.a_bytes = 64;
    machine.activation_ram.b_bytes = 64;
    machine.array.rows = 2;
    machine.array.cols = 2;
    let values = positions(|_| 1.0);
    let (hosted, y, reasons) = run(operator(), machine, tokens(&values));
    assert_eq!(hosted, ["LayerNormalization"]);
    let reason = reasons.iter().find(|reason| reason.contains("do not hold"));
    assert!(reason.is_some(), "{reasons:?}");
    let wanted = normalised(&values, 0.01, &noise(CHANNELS, 3, 0.5));
    let near = decibels_between(&y, &wanted);
    assert!(near > 60.0, "{near} dB");
}
