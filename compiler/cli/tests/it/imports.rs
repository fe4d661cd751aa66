//! Whole models in the forms that exporters write: quantised by their authors, with named dimensions, very long.

use crate::agreement::{Sample, compiled, decibels, decibels_between, floats, run_checked};
use crate::onnx::{Model, ints, name_dims, noise};
use scnn_isa::machine::Machine;
use scnnc::compile::{Compiled, Options, Samples, compile};
use scnnc::graph::Op;
use scnnc::import::ImportOptions;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

fn machine() -> Machine {
    Machine::preset("scnn").unwrap()
}

fn compile_model(bytes: &[u8], sample: &Sample) -> Compiled {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    compiled(&path, machine(), sample)
}

fn image(dims: &[usize], seed: u64) -> Tensor {
    Tensor::from_shape(dims, &noise(dims.iter().product(), seed, 0.8)).unwrap()
}

fn on_host(compiled: &Compiled) -> Vec<String> {
    let nodes = compiled.graph.dag.node_weights();
    let hosts = nodes.filter(|node| matches!(node.op, Op::Host(_)));
    hosts.flat_map(|node| node.onnx_nodes.clone()).collect()
}

/// x -> quantise -> dequantise -> convolution, `Relu` -> quantise -> dequantise -> pool -> flatten -> linear.
fn quantised(operator_form: bool) -> Model {
    let weights: Vec<i8> = noise(4 * 2 * 9, 3, 0.6)
        .iter()
        .map(|v| (v * 127.0) as i8)
        .collect();
    let linear: Vec<i8> = noise(36 * 5, 4, 0.6)
        .iter()
        .map(|v| (v * 127.0) as i8)
        .collect();
    let model = Model::new("quantised")
        .input("x", &[1, 2, 6, 6])
        .floats("xs", &[], &[1.0 / 127.0])
        .bytes_of("xz", &[], &[3])
        .bytes_of("w", &[4, 2, 3, 3], &weights)
        .floats("ws", &[4], &[0.01, 0.02, 0.005, 0.03])
        .bytes_of("wz", &[4], &[0; 4])
        .floats("rs", &[], &[0.04])
        .bytes_of("rz", &[], &[-128])
        .bytes_of("l", &[36, 5], &linear)
        .floats("ls", &[], &[0.01])
        .bytes_of("lz", &[], &[0])
        .node("QuantizeLinear", &["x", "xs", "xz"], "xq", vec![]);
    let pads = ints("pads", &[1, 1, 1, 1]);
    let model = if operator_form {
        let operands = ["xq", "xs", "xz", "w", "ws", "wz", "rs", "rz"];
        model.node("QLinearConv", &operands, "rq", vec![pads])
    } else {
        model
            .node("DequantizeLinear", &["xq", "xs", "xz"], "xd", vec![])
            .node(
                "DequantizeLinear",
                &["w", "ws", "wz"],
                "wd",
                vec![crate::onnx::int("axis", 0)],
            )
            .node("Conv", &["xd", "wd"], "c", vec![pads])
            .node("Relu", &["c"], "r", vec![])
            .node("QuantizeLinear", &["r", "rs", "rz"], "rq", vec![])
    };
    model
        .node("DequantizeLinear", &["rq", "rs", "rz"], "rd", vec![])
        .node(
            "MaxPool",
            &["rd"],
            "p",
            vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])],
        )
        .node("Flatten", &["p"], "f", vec![])
        .node("DequantizeLinear", &["l", "ls", "lz"], "ld", vec![])
        .node("Gemm", &["f", "ld"], "y", vec![])
        .output("y")
}

#[test]
fn a_quantised_model_keeps_its_scales_and_stays_on_the_machine() {
    for operator_form in [false, true] {
        let sample = BTreeMap::from([("x".to_owned(), image(&[1, 2, 6, 6], 9))]);
        let compiled = compile_model(&quantised(operator_form).bytes(), &sample);
        assert_eq!(on_host(&compiled), [""; 0], "{}", compiled.graph);
        let scale = |wanted: f32| compiled.program.tensors.iter().any(|t| t.scale == wanted);
        assert!(
            scale(1.0 / 127.0) && scale(0.04),
            "{:?}",
            compiled.program.tensors
        );
        // Zero point 3 of signed bytes: -131 to 124 units.
        assert_eq!(compiled.program.tensors[0].range, [-131, 124]);
        let execution = run_checked(&compiled, &sample);
        let ratio = decibels(&compiled, &sample, &execution);
        assert!(ratio > 45.0, "{ratio} dB");
    }
}

#[test]
fn several_images_at_once_are_what_they_are_one_by_one() {
    // Convolution, pooling, a host segment in the middle, a linear layer.
    let model = |batch: Option<&str>| {
        let mut model = Model::new("batch")
            .input("x", &[1, 2, 8, 8])
            .floats("w", &[4, 2, 3, 3], &noise(72, 1, 0.5))
            .floats("v", &[64, 5], &noise(320, 2, 0.5))
            .node("Conv", &["x", "w"], "c", vec![ints("pads", &[1, 1, 1, 1])])
            .node("Softmax", &["c"], "s", vec![crate::onnx::int("axis", 1)])
            .node(
                "MaxPool",
                &["s"],
                "p",
                vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])],
            )
            .node("Flatten", &["p"], "f", vec![])
            .node("Gemm", &["f", "v"], "y", vec![])
            .output("y");
        if let Some(batch) = batch {
            name_dims(&mut model.graph.input[0], &[(0, batch)]);
        }
        model.bytes()
    };
    let whole = image(&[3, 2, 8, 8], 5);
    let sample = BTreeMap::from([("x".to_owned(), whole.clone())]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model(Some("images"))).unwrap();
    let options = Options {
        import: ImportOptions {
            dims: BTreeMap::from([("images".to_owned(), 3)]),
            ..ImportOptions::default()
        },
        samples: Samples::new("test", vec![sample.clone()]),
        ..Options::new(machine())
    };
    let together = compile(&path, &options, &mut |_, _| {}).unwrap();
    let all = floats(&run_checked(&together, &sample).outputs["y"]);
    assert_eq!(all.len(), 15);
    for n in 0..3 {
        let one = whole.slice(0, n, n + 1).unwrap();
        let sample = BTreeMap::from([("x".to_owned(), one)]);
        let alone = compile_model(&model(None), &sample);
        let one = floats(&run_checked(&alone, &sample).outputs["y"]);
        let range = one.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (a, b) in one.iter().zip(&all[5 * n..]) {
            assert!((a - b).abs() <= range / 1000.0, "image {n}: {a} and {b}");
        }
    }
}

/// tract leaves constants of more than four megabytes as they are; weights that are computed of them are weights all the same.
#[test]
fn weights_computed_of_large_constants_are_on_the_array() {
    let (columns, rows) = (1_050, 1_010);
    let weights = noise(rows * columns, 8, 0.1);
    let model = Model::new("large")
        .input("x", &[1, columns as i64])
        .floats("w", &[rows as i64, columns as i64], &weights)
        .floats("half", &[], &[0.5])
        .node("Transpose", &["w"], "t", vec![ints("perm", &[1, 0])])
        .node("Mul", &["t", "half"], "h", vec![])
        .node("MatMul", &["x", "h"], "y", vec![])
        .output("y");
    let x = image(&[1, columns], 9);
    let sample = BTreeMap::from([("x".to_owned(), x.clone())]);
    let compiled = compile_model(&model.bytes(), &sample);
    assert_eq!(on_host(&compiled), Vec::<String>::new());
    let x = floats(&x);
    let products = weights
        .chunks(columns)
        .map(|row| row.iter().zip(&x).map(|(w, x)| 0.5 * w * x).sum());
    let expected: Vec<f32> = products.collect();
    let got = floats(&run_checked(&compiled, &sample).outputs["y"]);
    assert!(decibels_between(&got, &expected) > 50.0);
}

/// Passes that look at all of a graph for each of its nodes would not end.
#[test]
fn chains_of_ten_thousand_nodes_compile() {
    for operator in ["Relu", "Identity", "Softmax"] {
        let mut model = Model::new("chain").input("t0", &[1, 2, 3, 3]);
        for i in 0..10_000 {
            model = model.node(
                operator,
                &[&format!("t{i}")],
                &format!("t{}", i + 1),
                vec![],
            );
        }
        let sample = BTreeMap::from([("t0".to_owned(), image(&[1, 2, 3, 3], 1))]);
        let compiled = compile_model(&model.output("t10000").bytes(), &sample);
        assert!(compiled.program.segments.len() <= 1, "{operator}");
    }
}
