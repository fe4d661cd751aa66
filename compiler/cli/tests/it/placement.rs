//! Where axes lie: other orders and other shapes cost nothing where a placement absorbs them, values are right where none does.

use crate::agreement::{Sample, compiled, decibels, run_checked};
use crate::onnx::{Model, int, ints, noise, text};
use scnn_isa::machine::Machine;
use scnnc::compile::Compiled;
use scnnc::graph::Op;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// The operators that the host runs, and the compiled network: it equals the interpreter's to the bit, and the float model.
pub fn hosted(model: Model, dims: &[usize]) -> (Vec<String>, Compiled) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.bytes()).unwrap();
    let x = Tensor::from_shape(dims, &noise(dims.iter().product(), 5, 0.8)).unwrap();
    let sample: Sample = BTreeMap::from([("x".to_owned(), x)]);
    let compiled = compiled(&path, Machine::preset("scnn").unwrap(), &sample);
    let execution = run_checked(&compiled, &sample);
    let decibels = decibels(&compiled, &sample, &execution);
    assert!(decibels > 55.0, "{decibels} dB");
    assert!(compiled.fallbacks.is_empty(), "{:?}", compiled.fallbacks);
    let operators = compiled.graph.dag.node_weights().flat_map(|node| {
        let Op::Host(host) = &node.op else {
            return Vec::new();
        };
        let operators = host.nodes.iter().map(|node| node.op_type.clone());
        operators.collect()
    });
    (operators.collect(), compiled)
}

/// As Keras and TensorFlow are exported: the tensors have their channels last, and every convolution is between transposes.
#[test]
fn a_network_with_channels_last_moves_no_value() {
    let to_planes = || vec![ints("perm", &[0, 3, 1, 2])];
    let to_channels_last = || vec![ints("perm", &[0, 2, 3, 1])];
    let model = Model::new("channels-last")
        .input("x", &[2, 7, 9, 3])
        .floats("w", &[6, 3, 3, 3], &noise(162, 1, 0.6))
        .floats("v", &[5, 6, 3, 3], &noise(270, 2, 0.6))
        .floats("scale", &[6], &[0.5, 1.5, 0.7, 1.2, 0.9, 1.1])
        .floats("bias", &[6], &noise(6, 3, 0.5))
        .integers("flat", &[2, -1])
        .floats("dense", &[75, 4], &noise(300, 4, 0.6))
        .node("Transpose", &["x"], "x.planes", to_planes())
        .node("Conv", &["x.planes", "w"], "c.planes", vec![])
        .node("Transpose", &["c.planes"], "c", to_channels_last())
        .node("Mul", &["c", "scale"], "m", vec![])
        .node("Add", &["m", "bias"], "a", vec![])
        .node("Relu", &["a"], "r", vec![])
        .node("Transpose", &["r"], "r.planes", to_planes())
        .node("Conv", &["r.planes", "v"], "d.planes", vec![])
        .node("Transpose", &["d.planes"], "d", to_channels_last())
        .node("Reshape", &["d", "flat"], "f", vec![])
        .node("MatMul", &["f", "dense"], "y", vec![])
        .output("y");
    let (hosted, compiled) = hosted(model, &[2, 7, 9, 3]);
    assert_eq!(hosted, Vec::<String>::new());
    assert_eq!(compiled.network.operations.len(), 3, "{}", compiled.graph);
}

/// `[batch, time, channels]`: the last axis of a matrix product is channels, also of a tensor of rank 3 and 4.
#[test]
fn matrix_products_of_a_sequence_move_no_value() {
    let model = Model::new("sequence")
        .input("x", &[2, 11, 12])
        .floats("w", &[12, 20], &noise(240, 1, 0.6))
        .floats("bias", &[20], &noise(20, 2, 0.6))
        .floats("v", &[10, 7], &noise(70, 3, 0.6))
        .integers("heads", &[2, 11, 2, 10])
        .node("MatMul", &["x", "w"], "p", vec![])
        .node("Add", &["p", "bias"], "a", vec![])
        .node("Relu", &["a"], "r", vec![])
        .node("Reshape", &["r", "heads"], "h", vec![])
        .node("Relu", &["h"], "y", vec![])
        .output("y");
    let (hosted, _) = hosted(model, &[2, 11, 12]);
    assert_eq!(hosted, Vec::<String>::new());
}

/// `[K, C] x [batch, C, time]`: weights multiply channels from the left, as a filter bank does.
#[test]
fn weights_on_the_left_of_activations_are_a_convolution_of_channels() {
    let model = Model::new("bands")
        .input("x", &[2, 12, 11])
        .floats("w", &[20, 12], &noise(240, 1, 0.6))
        .floats("bias", &[20, 1], &noise(20, 2, 0.6))
        .node("MatMul", &["w", "x"], "p", vec![])
        .node("Add", &["p", "bias"], "a", vec![])
        .node("Relu", &["a"], "y", vec![])
        .output("y");
    let (hosted, compiled) = hosted(model, &[2, 12, 11]);
    assert_eq!(hosted, Vec::<String>::new());
    assert_eq!(compiled.network.operations.len(), 1, "{}", compiled.graph);
}

/// A shuffle of channels is another order of parts of an axis: nothing reads it as it lies, so a layer moves it.
#[test]
fn a_shuffle_of_channels_that_a_convolution_reads_is_moved_on_the_array() {
    let model = Model::new("shuffle")
        .input("x", &[1, 6, 5, 7])
        .floats("w", &[6, 6, 1, 1], &noise(36, 1, 0.6))
        .floats("v", &[6, 6, 1, 1], &noise(36, 2, 0.6))
        .integers("split", &[1, 2, 3, 5, 7])
        .integers("whole", &[1, 6, 5, 7])
        .node("Conv", &["x", "w"], "c", vec![])
        .node("Reshape", &["c", "split"], "s", vec![])
        .node(
            "Transpose",
            &["s"],
            "t",
            vec![ints("perm", &[0, 2, 1, 3, 4])],
        )
        .node("Reshape", &["t", "whole"], "u", vec![])
        .node("Conv", &["u", "v"], "y", vec![])
        .output("y");
    let (hosted, compiled) = hosted(model, &[1, 6, 5, 7]);
    assert_eq!(hosted, Vec::<String>::new());
    assert_eq!(compiled.program.layers.len(), 3);
}

/// As `PyTorch` exports `pixel_unshuffle` and `pixel_shuffle` of open extents: a change of shape, an order, a change of shape.
#[test]
fn blocks_in_parts_are_moved_on_the_array() {
    let model = Model::new("unshuffle")
        .input("x", &[1, 3, 12, 16])
        .floats("w", &[4, 3, 3, 3], &noise(108, 1, 0.6))
        .floats("v", &[8, 16, 1, 1], &noise(128, 2, 0.6))
        .floats("u", &[2, 2, 3, 3], &noise(36, 3, 0.6))
        .integers("split", &[1, 4, 6, 2, 8, 2])
        .integers("joined", &[1, 16, 6, 8])
        .integers("parts", &[1, 2, 2, 2, 6, 8])
        .integers("plane", &[1, 2, 12, 16])
        .node("Conv", &["x", "w"], "c", vec![ints("pads", &[1; 4])])
        .node("Reshape", &["c", "split"], "s", vec![])
        .node(
            "Transpose",
            &["s"],
            "t",
            vec![ints("perm", &[0, 1, 3, 5, 2, 4])],
        )
        .node("Reshape", &["t", "joined"], "j", vec![])
        .node("Conv", &["j", "v"], "d", vec![])
        .node("Reshape", &["d", "parts"], "p", vec![])
        .node(
            "Transpose",
            &["p"],
            "q",
            vec![ints("perm", &[0, 1, 4, 2, 5, 3])],
        )
        .node("Reshape", &["q", "plane"], "o", vec![])
        .node("Conv", &["o", "u"], "y", vec![])
        .output("y");
    let (hosted, compiled) = hosted(model, &[1, 3, 12, 16]);
    assert_eq!(hosted, Vec::<String>::new(), "{}", compiled.graph);
    assert_eq!(compiled.program.layers.len(), 5, "{}", compiled.graph);
}

/// Blocks of the plane on channels and back are convolutions that move values: none crosses the link.
#[test]
fn blocks_of_the_plane_become_channels_and_channels_blocks_on_the_array() {
    for (mode, size) in [("DCR", 2), ("CRD", 3)] {
        let (block, channels) = (size * size, 4);
        let inner = channels * block;
        let weights = noise((inner * 3) as usize, 1, 0.6);
        let back = noise((channels * 9) as usize, 2, 0.6);
        let model = Model::new("blocks")
            .input("x", &[2, 3, 5, 7])
            .floats("w", &[inner, 3, 1, 1], &weights)
            .floats("v", &[1, channels, 3, 3], &back)
            .floats("u", &[3, block, 1, 1], &noise((3 * block) as usize, 3, 0.6))
            .node("Conv", &["x", "w"], "c", vec![])
            .node(
                "DepthToSpace",
                &["c"],
                "d",
                vec![int("blocksize", size), text("mode", mode)],
            )
            .node("Conv", &["d", "v"], "e", vec![ints("pads", &[1; 4])])
            .node("SpaceToDepth", &["e"], "s", vec![int("blocksize", size)])
            .node("Conv", &["s", "u"], "y", vec![])
            .output("y");
        let (hosted, compiled) = hosted(model, &[2, 3, 5, 7]);
        assert!(hosted.is_empty(), "{mode}: {hosted:?}");
        // Moved values are rounded to what they were.
        let layers = compiled.program.layers.len();
        assert_eq!(layers, 5, "{mode}");
    }
}

/// The transpose would be free, but the convolution reads it moved: it has no place of its own on the machine.
#[test]
fn another_order_of_a_host_result_that_is_moved_stays_on_the_host() {
    let model = Model::new("moved")
        .input("x", &[1, 5, 2, 5])
        .floats("w", &[3, 2, 3, 3], &noise(54, 1, 0.6))
        .node("Transpose", &["x"], "t", vec![ints("perm", &[0, 1, 3, 2])])
        .node("MatMul", &["x", "t"], "m", vec![])
        .node("Transpose", &["m"], "u", vec![ints("perm", &[0, 3, 1, 2])])
        .node("Conv", &["u", "w"], "y", vec![ints("pads", &[1, 1, 1, 1])])
        .output("m")
        .output("y");
    let (hosted, _) = hosted(model, &[1, 5, 2, 5]);
    assert!(hosted.contains(&"MatMul".to_owned()), "{hosted:?}");
}

/// Values are flattened, rounded by the model and read by the host: it gets them flattened.
#[test]
fn what_is_rounded_on_the_host_has_the_shape_that_it_had() {
    let model = Model::new("rounded")
        .input("x", &[2, 3, 4, 5])
        .integers("flat", &[24, 5])
        .floats("scale", &[], &[0.007_812_5])
        .bytes_of("zero", &[], &[0])
        .floats("bounds", &[5], &[-0.5, -0.25, 0.0, 0.25, 0.5])
        .node("Reshape", &["x", "flat"], "f", vec![])
        .node("QuantizeLinear", &["f", "scale", "zero"], "q", vec![])
        .node("DequantizeLinear", &["q", "scale", "zero"], "d", vec![])
        .node("Max", &["d", "bounds"], "m", vec![])
        .node("Mul", &["m", "d"], "y", vec![])
        .output("y");
    let (hosted, _) = hosted(model, &[2, 3, 4, 5]);
    assert!(hosted.contains(&"Max".to_owned()), "{hosted:?}");
}

/// A concatenation is rounded under another shape: its parts are, each once, and the shape stays.
#[test]
fn a_concatenation_is_rounded_before_it_is_seen_otherwise() {
    let model = Model::new("concatenation")
        .input("x", &[1, 3, 4, 5])
        .integers("flat", &[1, 9, 20])
        .floats("scale", &[], &[0.015_625])
        .bytes_of("zero", &[], &[0])
        .floats("w", &[6, 3, 1, 1], &noise(18, 1, 0.6))
        .node("Conv", &["x", "w"], "c", vec![])
        .node("Relu", &["x"], "r", vec![])
        .node("Concat", &["c", "r"], "j", vec![int("axis", 1)])
        .node("Reshape", &["j", "flat"], "f", vec![])
        .node("QuantizeLinear", &["f", "scale", "zero"], "q", vec![])
        .node("DequantizeLinear", &["q", "scale", "zero"], "d", vec![])
        .node("Relu", &["d"], "y", vec![])
        .output("y");
    let (hosted, compiled) = hosted(model, &[1, 3, 4, 5]);
    assert_eq!(hosted, Vec::<String>::new());
    let concatenation = compiled.graph.dag.node_weights();
    let mut concatenation = concatenation.filter(|node| matches!(node.op, Op::Concat));
    assert!(concatenation.next().unwrap().grid.is_some());
}

/// As `ConvNeXt`'s blocks: what is normalised lies as the plane lay, and meets the residual where it lies.
#[test]
fn a_normalisation_with_channels_last_goes_back_to_its_plane() {
    let model = Model::new("block")
        .input("x", &[1, 6, 9, 10])
        .floats("w", &[6, 1, 3, 3], &noise(54, 1, 0.6))
        .floats("scale", &[6], &[0.5, 1.5, 0.7, 1.2, 0.9, 1.1])
        .floats("bias", &[6], &noise(6, 3, 0.5))
        .floats("dense", &[6, 6], &noise(36, 4, 0.6))
        .node(
            "Conv",
            &["x", "w"],
            "c",
            vec![int("group", 6), ints("pads", &[1, 1, 1, 1])],
        )
        .node("Transpose", &["c"], "l", vec![ints("perm", &[0, 2, 3, 1])])
        .node("LayerNormalization", &["l", "scale", "bias"], "n", vec![])
        .node("MatMul", &["n", "dense"], "m", vec![])
        .node("Transpose", &["m"], "p", vec![ints("perm", &[0, 3, 1, 2])])
        .node("Add", &["p", "x"], "y", vec![])
        .output("y");
    let (hosted, _) = hosted(model, &[1, 6, 9, 10]);
    assert_eq!(hosted, Vec::<String>::new());
}

/// As the boxes of a detector: the expectation of a distribution, and what the model ends with, stay with the host.
#[test]
fn what_multiplies_less_than_it_moves_stays_between_the_host() {
    let model = Model::new("boxes")
        .input("x", &[1, 8, 5, 5])
        .floats("w", &[32, 8, 3, 3], &noise(2304, 1, 0.4))
        .floats("distances", &[1, 16, 1, 1], &noise(16, 2, 0.9))
        .integers("sides", &[1, 2, 16, 9])
        .integers("boxes", &[1, 2, 9])
        .node("Conv", &["x", "w"], "c", vec![])
        .node("Reshape", &["c", "sides"], "s", vec![])
        .node("Transpose", &["s"], "t", vec![ints("perm", &[0, 2, 1, 3])])
        .node("Softmax", &["t"], "p", vec![int("axis", 1)])
        .node("Conv", &["p", "distances"], "e", vec![])
        .node("Reshape", &["e", "boxes"], "y", vec![])
        .output("y");
    let (hosted, compiled) = hosted(model, &[1, 8, 5, 5]);
    assert!(hosted.contains(&"Conv".to_owned()), "{hosted:?}");
    assert_eq!(compiled.network.operations.len(), 2, "{}", compiled.graph);
}
