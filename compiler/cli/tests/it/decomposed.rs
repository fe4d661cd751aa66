//! Operators that are spelled out in others, and what only the host has room for: right values, on the right side.

use crate::agreement::{Sample, compiled, decibels, decibels_between, floats, run_checked};
use crate::onnx::{Model, float, int, ints, noise};
use prost::Message;
use scnn_isa::machine::Machine;
use scnn_simulator::Execution;
use scnnc::compile::Compiled;
use scnnc::graph::Op;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::prelude::Tensor;

/// Compiles and runs a model on noise of the shape `[dims]` as `x`.
fn run(bytes: &[u8], dims: &[usize]) -> (Compiled, Sample, Execution) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    let values = noise(dims.iter().product(), 5, 0.8);
    let x = Tensor::from_shape(dims, &values).unwrap();
    let sample = BTreeMap::from([("x".to_owned(), x)]);
    let compiled = compiled(&path, Machine::preset("scnn").unwrap(), &sample);
    let execution = run_checked(&compiled, &sample);
    (compiled, sample, execution)
}

fn hosted(compiled: &Compiled) -> Vec<String> {
    let nodes = compiled.graph.dag.node_weights();
    let reasons = nodes.filter_map(|node| match &node.op {
        Op::Host(host) => Some(host.reasons.clone()),
        _ => None,
    });
    reasons.flatten().map(|reason| reason.to_string()).collect()
}

fn tensors(compiled: &Compiled) -> BTreeSet<String> {
    let nodes = compiled.graph.dag.node_weights();
    nodes.map(|node| node.tensor.clone()).collect()
}

#[test]
fn the_difference_of_two_activations_runs_on_the_machine() {
    let model = Model::new("difference")
        .input("x", &[1, 3, 4, 5])
        .floats("w", &[3, 3, 1, 1], &noise(9, 1, 1.0))
        .node("Conv", &["x", "w"], "c", vec![])
        .node("Relu", &["c"], "r", vec![])
        .node("Sub", &["x", "r"], "d", vec![])
        .node("Neg", &["d"], "y", vec![])
        .output("y");
    let (compiled, sample, execution) = run(&model.bytes(), &[1, 3, 4, 5]);
    assert_eq!(hosted(&compiled), Vec::<String>::new());
    assert!(decibels(&compiled, &sample, &execution) > 60.0);
    let nodes = compiled.graph.dag.node_weights();
    let names: BTreeSet<&String> = nodes.flat_map(|node| &node.onnx_nodes).collect();
    assert!(names.contains(&"/d/Sub".to_owned()), "{names:?}");
}

/// What a model wraps it takes out again: nothing is computed.
#[test]
fn an_optional_that_holds_something_is_that() {
    let model = Model::new("optional")
        .input("x", &[1, 3, 4, 5])
        .floats("w", &[3, 3, 1, 1], &noise(9, 1, 1.0))
        .node("Conv", &["x", "w"], "c", vec![])
        .node("Optional", &["c"], "o", vec![])
        .node("OptionalGetElement", &["o"], "e", vec![])
        .node("Relu", &["e"], "y", vec![])
        .output("y");
    let (compiled, sample, execution) = run(&model.bytes(), &[1, 3, 4, 5]);
    assert_eq!(hosted(&compiled), Vec::<String>::new());
    assert!(decibels(&compiled, &sample, &execution) > 60.0);
}

#[test]
fn the_difference_of_other_shapes_stays_on_the_host() {
    let model = Model::new("broadcast")
        .input("x", &[1, 3, 4, 5])
        .node("ReduceMean", &["x"], "g", vec![ints("axes", &[1])])
        .node("Sub", &["x", "g"], "y", vec![])
        .output("y");
    let (compiled, sample, execution) = run(&model.bytes(), &[1, 3, 4, 5]);
    assert_eq!(hosted(&compiled).len(), 2);
    assert!(decibels(&compiled, &sample, &execution) > 60.0);
}

/// tract would move a slice with steps in front of the Softmax, although both are along one axis.
#[test]
fn a_slice_with_steps_takes_places_of_what_it_reads() {
    let model = Model::new("places")
        .input("x", &[1, 3, 6, 5])
        .floats("w", &[4, 3, 1, 1], &noise(12, 1, 1.0))
        .node("Conv", &["x", "w"], "c", vec![])
        .node("Softmax", &["c"], "s", vec![int("axis", 2)])
        .integers("from", &[1, -1])
        .integers("to", &[6, i64::MIN])
        .integers("axes", &[-1, 2])
        .integers("steps", &[1, -2])
        .node("Slice", &["s", "from", "to", "axes", "steps"], "y", vec![])
        .output("s")
        .output("y");
    let (compiled, sample, execution) = run(&model.bytes(), &[1, 3, 6, 5]);
    assert!(decibels(&compiled, &sample, &execution) > 60.0);
    let [all, taken] = ["s", "y"].map(|name| floats(&execution.outputs[name]));
    let all = ndarray::Array::from_shape_vec((4, 6, 5), all).unwrap();
    let places = all.slice(ndarray::s![.., 1..;-2, 1..]);
    assert_eq!(taken, places.iter().copied().collect::<Vec<_>>());
    let float = compiled.float.run(&sample).unwrap();
    let wanted = floats(&float["y"]);
    assert!(decibels_between(&taken, &wanted) > 60.0);
}

#[test]
fn a_product_of_more_dimensions_is_one_of_rows() {
    let model = Model::new("rows")
        .input("x", &[2, 7, 12])
        .floats("w", &[12, 9], &noise(108, 2, 0.6))
        .node("MatMul", &["x", "w"], "p", vec![])
        .node("Softmax", &["p"], "y", vec![int("axis", 2)])
        .output("p")
        .output("y");
    let (compiled, sample, execution) = run(&model.bytes(), &[2, 7, 12]);
    let convolutions = compiled.network.operations.iter().filter(|operation| {
        matches!(operation, scnnc::quantise::Operation::Layer(layer) if layer.conv.is_some() && layer.name == "/p/MatMul")
    });
    assert_eq!(convolutions.count(), 1);
    assert_eq!(execution.outputs["p"].shape(), &[2, 7, 9]);
    assert!(decibels(&compiled, &sample, &execution) > 60.0);
}

#[test]
fn channels_and_plane_are_cut_in_one_slice() {
    let model = Model::new("cut")
        .input("x", &[1, 6, 5, 5])
        .integers("from", &[2, 1])
        .integers("to", &[5, 4])
        .integers("axes", &[1, 3])
        .node("Slice", &["x", "from", "to", "axes"], "s", vec![])
        .node("Relu", &["s"], "y", vec![])
        .output("y");
    let (compiled, sample, execution) = run(&model.bytes(), &[1, 6, 5, 5]);
    let names = tensors(&compiled);
    assert_eq!(
        names.len(),
        compiled.graph.dag.node_count(),
        "each result has a name of its own: {names:?}"
    );
    assert!(decibels(&compiled, &sample, &execution) > 60.0);
}

/// Operator set 6 says from which axis on the second operand is broadcast; later ones align the last axes.
#[test]
fn operator_set_six_broadcasts_from_an_axis() {
    let attributes = || vec![int("broadcast", 1), int("axis", 1)];
    let model = Model::new("old")
        .input("x", &[1, 4, 4, 4])
        .floats("b", &[4], &[10.0, 20.0, 30.0, 40.0])
        .floats("f", &[4], &[1.0, -1.0, 2.0, 0.5])
        .floats("s", &[4], &[0.5, 0.25, 0.125, 0.75])
        .node("Add", &["x", "b"], "a", attributes())
        .node("Mul", &["a", "f"], "m", attributes())
        .node("PRelu", &["m", "s"], "y", vec![])
        .output("y");
    let mut proto = model.proto();
    proto.opset_import[0].version = 6;
    let (compiled, sample, execution) = run(&proto.encode_to_vec(), &[1, 4, 4, 4]);
    assert_eq!(hosted(&compiled), Vec::<String>::new());
    let (x, y) = (floats(&sample["x"]), floats(&execution.outputs["y"]));
    for (i, (x, y)) in x.iter().zip(&y).enumerate() {
        let channel = i / 16;
        let (bias, factor) = ([10.0, 20.0, 30.0, 40.0], [1.0, -1.0, 2.0, 0.5]);
        let product = (x + bias[channel]) * factor[channel];
        let slope = [0.5, 0.25, 0.125, 0.75][channel];
        let wanted = if product < 0.0 {
            product * slope
        } else {
            product
        };
        assert!((wanted - y).abs() < 0.02, "{i}: {wanted} and {y}");
    }
}

/// tract knows no `Upsample`, and rounds otherwise than operator set 10 asks for from a factor of three on.
#[test]
fn upsample_repeats_every_value() {
    let by = [1.0, 1.0, 3.0, 4.0];
    let scales = tract_onnx::pb::AttributeProto {
        floats: by.to_vec(),
        r#type: tract_onnx::pb::attribute_proto::AttributeType::Floats as i32,
        ..ints("scales", &[])
    };
    let model = |version: i64| {
        let model = Model::new("upsample")
            .input("x", &[1, 3, 3, 2])
            .floats("by", &[4], &by);
        let model = match version {
            7 => model.node("Upsample", &["x"], "u", vec![scales.clone()]),
            9 => model.node("Upsample", &["x", "by"], "u", vec![]),
            _ => model.node("Resize", &["x", "by"], "u", vec![]),
        };
        let [from, to, axes] = [("starts", 1), ("ends", 3), ("axes", 1)];
        let model = if version < 10 {
            let bounds = [from, to, axes].map(|(name, value)| ints(name, &[value]));
            model.node("Slice", &["u"], "y", bounds.to_vec())
        } else {
            [from, to, axes]
                .into_iter()
                .fold(model, |model, (name, value)| model.integers(name, &[value]))
                .node("Slice", &["u", "starts", "ends", "axes"], "y", vec![])
        };
        let mut proto = model.output("y").proto();
        proto.opset_import[0].version = version;
        proto.encode_to_vec()
    };
    for version in [7, 9, 10] {
        let (compiled, sample, execution) = run(&model(version), &[1, 3, 3, 2]);
        assert_eq!(hosted(&compiled), Vec::<String>::new());
        let (x, y) = (floats(&sample["x"]), floats(&execution.outputs["y"]));
        assert_eq!(y.len(), 2 * 9 * 8);
        for (i, y) in y.iter().enumerate() {
            let (channel, row, column) = (1 + i / 72, i % 72 / 8 / 3, i % 8 / 4);
            let wanted = x[channel * 6 + row * 2 + column];
            assert!((wanted - y).abs() < 0.001, "{version}: {i}");
        }
    }
}

#[test]
fn a_row_longer_than_the_machine_has_goes_to_the_host() {
    let model = Model::new("long")
        .input("x", &[1, 2, 70_000])
        .node(
            "MaxPool",
            &["x"],
            "p",
            vec![ints("kernel_shape", &[10]), ints("strides", &[10])],
        )
        .node("LeakyRelu", &["p"], "y", vec![float("alpha", 0.1)])
        .output("y");
    let (compiled, sample, execution) = run(&model.bytes(), &[1, 2, 70_000]);
    let reasons = hosted(&compiled);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains("70000 columns"), "{reasons:?}");
    assert!(decibels(&compiled, &sample, &execution) > 60.0);
}

/// 33 x 48 x 48 flattened are more channels than the machine has; as a convolution of the plane they are 33.
#[test]
fn a_linear_layer_of_a_large_flattened_plane_is_a_convolution() {
    let model = |channels: i64, side: i64| {
        let inputs = channels * side * side;
        Model::new("flat")
            .input("x", &[1, channels, side, side])
            .floats("w", &[2, inputs], &noise(2 * inputs as usize, 3, 0.05))
            .node("Relu", &["x"], "r", vec![])
            .node("Flatten", &["r"], "f", vec![])
            .node("Gemm", &["f", "w"], "y", vec![int("transB", 1)])
            .output("y")
            .bytes()
    };
    let (compiled, sample, execution) = run(&model(33, 48), &[1, 33, 48, 48]);
    assert_eq!(hosted(&compiled), Vec::<String>::new());
    assert!(decibels(&compiled, &sample, &execution) > 50.0);
    // A plane of too many positions is not taken so.
    let (compiled, sample, execution) = run(&model(2, 200), &[1, 2, 200, 200]);
    let reasons = hosted(&compiled);
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("80000 channels")),
        "{reasons:?}"
    );
    assert!(decibels(&compiled, &sample, &execution) > 50.0);
}

/// `[N, L, C]` by two matrices, with biases along the last axis, GELU in parts between them, and a second reader of the
/// hidden values if `read`.
fn perceptron(read: bool) -> Model {
    let gelu = [
        ("Div", ["hidden", "root"], "a"),
        ("Add", ["e", "one"], "b"),
        ("Mul", ["hidden", "b"], "c"),
        ("Mul", ["c", "half"], "g"),
    ];
    let [div, rest @ ..] = gelu;
    let node = |model: Model, (operator, inputs, to): (&str, [&str; 2], &str)| {
        model.node(operator, &inputs, to, vec![])
    };
    let model = Model::new("perceptron")
        .input("x", &[2, 9, 6])
        .floats("w1", &[6, 8], &noise(48, 1, 0.4))
        .floats("b1", &[8], &noise(8, 2, 0.4))
        .floats("w2", &[8, 5], &noise(40, 3, 0.4))
        .floats("b2", &[1, 1, 5], &noise(5, 4, 0.4))
        .floats("root", &[], &[std::f32::consts::SQRT_2])
        .floats("one", &[1], &[1.0])
        .floats("half", &[1, 1, 1], &[0.5])
        .node("MatMul", &["x", "w1"], "m", vec![])
        .node("Add", &["b1", "m"], "hidden", vec![]);
    let model = node(model, div).node("Erf", &["a"], "e", vec![]);
    let model = rest
        .into_iter()
        .fold(model, node)
        .node("MatMul", &["g", "w2"], "n", vec![])
        .node("Add", &["n", "b2"], "y", vec![])
        .output("y");
    if read {
        model.node("Softmax", &["hidden"], "s", vec![]).output("s")
    } else {
        model
    }
}

/// The rows of three dimensions lie as those of two: nothing is on the host.
#[test]
fn functions_between_products_of_rows_are_on_the_machine() {
    let (compiled, sample, execution) = run(&perceptron(false).bytes(), &[2, 9, 6]);
    assert_eq!(hosted(&compiled), Vec::<String>::new());
    assert!(decibels(&compiled, &sample, &execution) > 60.0);
    let nodes = compiled.graph.dag.node_weights();
    let names: BTreeSet<&String> = nodes.flat_map(|node| &node.onnx_nodes).collect();
    assert!(names.contains(&"/e/Erf".to_owned()), "{names:?}");
}

/// Who reads the hidden values in their own shape has them.
#[test]
fn functions_of_rows_have_readers_of_the_other_shape() {
    let (compiled, sample, execution) = run(&perceptron(true).bytes(), &[2, 9, 6]);
    assert!(decibels(&compiled, &sample, &execution) > 60.0);
    let sums = floats(&execution.outputs["s"]);
    assert_eq!(sums.len(), 2 * 9 * 8);
    for row in sums.chunks(8) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-3, "{row:?}");
    }
}

/// Some exporters give every result another name by Identity: what is between a convolution and the next is one function.
#[test]
fn names_for_parts_of_a_function_do_not_part_it() {
    let model = Model::new("names")
        .input("x", &[1, 3, 6, 6])
        .floats("w", &[4, 3, 3, 3], &noise(108, 1, 1.0))
        .floats("v", &[2, 4, 3, 3], &noise(72, 2, 1.0))
        .floats("scale", &[1], &[0.2])
        .floats("offset", &[1], &[-0.1])
        .node("Conv", &["x", "w"], "c", vec![])
        .node("Identity", &["c"], "c.name", vec![])
        .node("HardSigmoid", &["c.name"], "s", vec![])
        .node("Mul", &["s", "c.name"], "h", vec![])
        .node("Identity", &["h"], "h.name", vec![])
        .node("Mul", &["scale", "h.name"], "m", vec![])
        .node("Identity", &["m"], "m.name", vec![])
        .node("Add", &["m.name", "offset"], "a", vec![])
        .node("Identity", &["a"], "a.name", vec![])
        .node("Conv", &["a.name", "v"], "y", vec![])
        .output("y");
    let (compiled, sample, execution) = run(&model.bytes(), &[1, 3, 6, 6]);
    assert_eq!(compiled.network.operations.len(), 2, "{}", compiled.graph);
    assert!(decibels(&compiled, &sample, &execution) > 65.0);
}

/// The host cuts what it reads out of the whole tensor, where that is most of it; the array does where it is little.
#[test]
fn a_crop_for_the_host_alone_is_the_host_s_unless_it_leaves_little() {
    let steps = |begin: i64| {
        let model = Model::new("crop")
            .input("x", &[1, 3, 8, 8])
            .floats("w", &[4, 3, 1, 1], &noise(12, 1, 1.0))
            .integers("begin", &[begin])
            .integers("end", &[8])
            .integers("axes", &[3])
            .node("Conv", &["x", "w"], "c", vec![])
            .node("Slice", &["c", "begin", "end", "axes"], "s", vec![])
            .node("Softmax", &["s"], "y", vec![int("axis", 3)])
            .output("y");
        let (compiled, sample, execution) = run(&model.bytes(), &[1, 3, 8, 8]);
        assert!(decibels(&compiled, &sample, &execution) > 60.0);
        compiled.network.operations.len()
    };
    assert_eq!(steps(1), 2);
    assert_eq!(steps(6), 3);
}
