//! What cannot be on the array runs on the host: the rest stays, the values are right, and it is said.

use crate::agreement::{Sample, compiled, decibels, run_checked};
use crate::onnx::{Model, int, ints, noise};
use scnn_isa::machine::Machine;
use scnnc::compile::Compiled;
use scnnc::graph::Op;
use scnnc::import::{ImportOptions, Imported, import_bytes};
use std::collections::BTreeMap;
use std::path::Path;
use tract_onnx::prelude::Tensor;

fn reasons(compiled: &Compiled) -> Vec<String> {
    let nodes = compiled.graph.dag.node_weights();
    let reasons = nodes.filter_map(|node| match &node.op {
        Op::Host(host) => Some(host.reasons.clone()),
        _ => None,
    });
    reasons.flatten().map(|reason| reason.to_string()).collect()
}

/// Compiles a model and runs it on noise as `x`; every tensor equals the interpreter's, every output is right.
fn run(model: Model, dims: &[usize], machine: Machine) -> Compiled {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.bytes()).unwrap();
    let x = Tensor::from_shape(dims, &noise(dims.iter().product(), 5, 0.8)).unwrap();
    let sample: Sample = BTreeMap::from([("x".to_owned(), x)]);
    let compiled = compiled(&path, machine, &sample);
    let execution = run_checked(&compiled, &sample);
    assert!(decibels(&compiled, &sample, &execution) > 55.0);
    compiled
}

fn scnn() -> Machine {
    Machine::preset("scnn").unwrap()
}

/// A product of 8 by 8 channels between two operators of the host, its values sent there and back, would wait for the link;
/// the convolutions around it, which the program's border has on one side, stay.
#[test]
fn a_product_between_host_segments_runs_there_where_the_link_takes_longer_than_its_products() {
    let model = Model::new("island")
        .input("x", &[1, 8, 6, 6])
        .floats("a", &[8, 8, 3, 3], &noise(576, 1, 0.4))
        .floats("b", &[8, 8, 1, 1], &noise(64, 2, 0.9))
        .floats("c", &[8, 8, 3, 3], &noise(576, 3, 0.9))
        .node("Conv", &["x", "a"], "first", vec![])
        .node("Softmax", &["first"], "s", vec![int("axis", 1)])
        .node("Conv", &["s", "b"], "island", vec![])
        .node("Softmax", &["island"], "t", vec![int("axis", 1)])
        .node("Conv", &["t", "c"], "y", vec![])
        .output("y");
    let compiled = run(model, &[1, 8, 6, 6], scnn());
    let [fallback] = &compiled.fallbacks[..] else {
        panic!("{:?}", compiled.fallbacks)
    };
    assert_eq!(fallback.nodes, ["/island/Conv"]);
    assert!(
        fallback.reason.contains("cycles over the host link"),
        "{}",
        fallback.reason
    );
    let segments = compiled.program.segments.len();
    assert_eq!(segments, 1, "both softmaxes and what is between them");
}

/// A maximum of the whole plane is made from all sums of a channel at once.
#[test]
fn a_layer_that_exceeds_the_accumulators_runs_on_the_host_and_says_why() {
    let mut machine = scnn();
    (machine.array.rows, machine.array.cols) = (1, 1);
    (machine.pe.banks, machine.pe.entries_per_bank) = (16, 1);
    let model = Model::new("large")
        .input("x", &[1, 2, 9, 9])
        .floats("w", &[3, 2, 1, 1], &noise(6, 1, 1.0))
        .floats("v", &[3, 3, 1, 1], &noise(9, 2, 1.0))
        .node("Conv", &["x", "w"], "c", vec![])
        .node("GlobalMaxPool", &["c"], "p", vec![])
        .node("Conv", &["p", "v"], "y", vec![])
        .output("y");
    let compiled = run(model, &[1, 2, 9, 9], machine);
    let [fallback] = &compiled.fallbacks[..] else {
        panic!("{:?}", compiled.fallbacks)
    };
    assert!(!fallback.is_fault && fallback.nodes.contains(&"/c/Conv".to_owned()));
    assert!(
        reasons(&compiled)[0].contains("entries of the accumulators"),
        "{:?}",
        reasons(&compiled)
    );
    let layers = compiled.graph.dag.node_weights();
    assert_eq!(
        layers
            .filter(|node| matches!(node.op, Op::Layer(_)))
            .count(),
        1
    );
}

#[test]
fn a_node_that_is_kept_on_the_host_carries_the_reason() {
    let model = Model::new("kept")
        .input("x", &[1, 2, 4, 4])
        .node("Relu", &["x"], "a", vec![])
        .node("Neg", &["a"], "y", vec![])
        .output("y");
    let bytes = model.bytes();
    let imported = import_bytes("kept", &bytes, Path::new("."), &ImportOptions::default()).unwrap();
    let nodes = BTreeMap::from([("/a/Relu".to_owned(), "it is kept".to_owned())]);
    let kept = Imported::with_on_host(&imported.source, &imported.hash, nodes).unwrap();
    let hosts = kept.graph.dag.node_weights();
    let reasons: Vec<String> = hosts
        .filter_map(|node| match &node.op {
            Op::Host(host) => host.reasons.first().map(ToString::to_string),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, ["/a/Relu (Relu): it is kept"]);
}

/// The channels of a slice lie inside a larger tensor; what reads them under another shape gets a copy.
#[test]
fn a_slice_under_another_shape_is_an_output_and_an_operand_of_the_host() {
    let model = Model::new("views")
        .input("x", &[2, 4, 3, 3])
        .floats("w", &[8, 4, 1, 1], &noise(32, 1, 1.0))
        .integers("shape", &[2, 2, 2, 9])
        .integers("flat", &[2, 36])
        .node("Conv", &["x", "w"], "c", vec![])
        .node_of("Split", &["c"], &["a", "b"], vec![int("axis", 1)])
        .node("Reshape", &["a", "shape"], "r", vec![])
        .node("Reshape", &["b", "flat"], "z", vec![])
        .node("Softmax", &["r"], "y", vec![int("axis", 1)])
        .output("y")
        .output("z")
        .output("r");
    run(model, &[2, 4, 3, 3], scnn());
}

#[test]
fn an_output_that_is_an_input_is_handed_over_by_the_host() {
    let model = Model::new("handed")
        .input("x", &[1, 2, 3, 3])
        .node("Identity", &["x"], "same", vec![])
        .node("Flatten", &["x"], "flat", vec![int("axis", 1)])
        .node("Relu", &["x"], "y", vec![])
        .output("same")
        .output("flat")
        .output("y");
    run(model, &[1, 2, 3, 3], scnn());
}

/// Residues are at most 256; a wider stride is a convolution all the same.
#[test]
fn a_stride_beyond_the_residues_is_taken() {
    let strides = || {
        vec![
            ints("kernel_shape", &[1, 3]),
            ints("strides", &[1, 300]),
            ints("pads", &[0, 1, 0, 1]),
        ]
    };
    let model = Model::new("wide")
        .input("x", &[1, 2, 1, 700])
        .floats("w", &[3, 2, 1, 3], &noise(18, 1, 1.0))
        .node("Conv", &["x", "w"], "y", strides())
        .output("y");
    let compiled = run(model, &[1, 2, 1, 700], scnn());
    assert!(reasons(&compiled).is_empty() && compiled.fallbacks.is_empty());
}
