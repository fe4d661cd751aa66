//! Attention that ONNX Runtime's optimiser has fused: the values of the definition, and the projection on the array.

use crate::agreement::{Sample, compiled, decibels_between, floats, run_checked};
use crate::onnx::{Model, int, noise};
use prost::Message;
use scnn_isa::machine::Machine;
use scnn_simulator::Execution;
use scnnc::compile::Compiled;
use scnnc::graph::Op;
use std::collections::BTreeMap;
use tract_onnx::pb::OperatorSetIdProto;
use tract_onnx::prelude::Tensor;

const PLACES: usize = 5;
const WIDTH: usize = 8;
const HEADS: usize = 2;

/// The model with `operator` moved to `com.microsoft`, and what it makes of a sample.
fn run(model: Model, operator: &str, sample: &Sample) -> (Compiled, Execution) {
    let mut model = model.proto();
    let microsoft = "com.microsoft".to_owned();
    for node in &mut model.graph.as_mut().unwrap().node {
        if node.op_type == operator {
            node.domain.clone_from(&microsoft);
        }
    }
    model.opset_import.push(OperatorSetIdProto {
        domain: microsoft,
        version: 1,
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let compiled = compiled(&path, Machine::preset("scnn").unwrap(), sample);
    let execution = run_checked(&compiled, sample);
    (compiled, execution)
}

fn rows(seed: u64) -> Vec<f32> {
    noise(PLACES * WIDTH, seed, 1.0)
}

fn tensor(values: &[f32]) -> Tensor {
    Tensor::from_shape(&[1, PLACES, WIDTH], values).unwrap()
}

/// Rows of `left` times the columns `from..from + WIDTH` of a matrix that is three times as wide, and a bias.
fn projected(left: &[f32], weights: &[f32], bias: &[f32], from: usize) -> Vec<f32> {
    let value = |row: usize, column: usize| {
        let products = (0..WIDTH).map(|i| left[row * WIDTH + i] * weights[i * 3 * WIDTH + column]);
        products.sum::<f32>() + bias[column]
    };
    let columns = from..from + WIDTH;
    let rows = 0..PLACES;
    rows.flat_map(|row| columns.clone().map(move |column| (row, column)))
        .map(|(row, column)| value(row, column))
        .collect()
}

/// The definition: each head of each place reads the places whose keys are like its query, of those that are not masked.
fn attended([queries, keys, values]: [&[f32]; 3], open: [bool; PLACES]) -> Vec<f32> {
    let part = WIDTH / HEADS;
    let mut read = vec![0.0; PLACES * WIDTH];
    for place in 0..PLACES {
        for head in 0..HEADS {
            let at = |row: usize, value: usize| row * WIDTH + head * part + value;
            let score = |other: usize| {
                let products = (0..part).map(|v| queries[at(place, v)] * keys[at(other, v)]);
                (products.sum::<f32>() / (part as f32).sqrt()).exp()
                    * f32::from(u8::from(open[other]))
            };
            let all: f32 = (0..PLACES).map(score).sum();
            for value in 0..part {
                let of = |other: usize| score(other) / all * values[at(other, value)];
                read[at(place, value)] = (0..PLACES).map(of).sum();
            }
        }
    }
    read
}

/// Tensors that layers of the array compute.
fn layers(compiled: &Compiled) -> Vec<&str> {
    let nodes = compiled.graph.dag.node_weights();
    let layers = nodes.filter(|node| matches!(node.op, Op::Layer(_)));
    layers.map(|node| node.tensor.as_str()).collect()
}

#[test]
fn a_fused_attention_projects_on_the_array() {
    let (weights, bias) = (noise(WIDTH * 3 * WIDTH, 3, 1.0), noise(3 * WIDTH, 4, 1.0));
    let operands = ["x", "w", "b", "mask"];
    let model = Model::new("attention")
        .input("x", &[1, PLACES as i64, WIDTH as i64])
        .floats("w", &[WIDTH as i64, 3 * WIDTH as i64], &weights)
        .floats("b", &[3 * WIDTH as i64], &bias)
        .floats("mask", &[1, PLACES as i64], &[1.0, 1.0, 1.0, 0.0, 1.0])
        .node(
            "Attention",
            &operands,
            "y",
            vec![int("num_heads", HEADS as i64)],
        )
        .output("y");
    let x = rows(5);
    let sample = BTreeMap::from([("x".to_owned(), tensor(&x))]);
    let (compiled, execution) = run(model, "Attention", &sample);

    let parts = [0, WIDTH, 2 * WIDTH].map(|from| projected(&x, &weights, &bias, from));
    let wanted = attended(
        parts.each_ref().map(Vec::as_slice),
        [true, true, true, false, true],
    );
    assert!(decibels_between(&floats(&execution.outputs["y"]), &wanted) > 60.0);
    let layers = layers(&compiled);
    assert!(layers.contains(&"y.projected.rows"), "{layers:?}");
}

/// Without a scale the extent of a head gives it. Several of its parts change places on the host, in one segment.
#[test]
fn attention_of_projected_rows_has_the_values_of_its_definition() {
    let names = ["q", "k", "v"];
    let mut model = Model::new("attention");
    for name in names {
        model = model.input(name, &[1, PLACES as i64, WIDTH as i64]);
    }
    let weights = noise(WIDTH * WIDTH, 9, 1.0);
    let model = model
        .node(
            "MultiHeadAttention",
            &names,
            "read",
            vec![int("num_heads", HEADS as i64)],
        )
        .floats("w", &[WIDTH as i64, WIDTH as i64], &weights)
        .node("MatMul", &["read", "w"], "y", vec![])
        .output("read")
        .output("y");
    let parts = [6, 7, 8].map(rows);
    let given = names.iter().zip(&parts);
    let sample = given.map(|(name, rows)| ((*name).to_owned(), tensor(rows)));
    let (_, execution) = run(model, "MultiHeadAttention", &sample.collect());

    let wanted = attended(parts.each_ref().map(Vec::as_slice), [true; PLACES]);
    assert!(decibels_between(&floats(&execution.outputs["read"]), &wanted) > 60.0);
}
