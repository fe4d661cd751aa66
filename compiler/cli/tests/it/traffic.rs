//! What layers move to and from DRAM, and what of their tensors the RAMs keep.
//!
//! Layers without much arithmetic move a fixed number of bytes for every value of their tensors, however many these are:
//! traffic grows at most linearly with the size. `SCNN_TRAFFIC=100000000 cargo test -p scnnc-cli traffic` goes on to
//! tensors of 100 MB, in a few minutes; a usual run ends earlier.

use crate::agreement::{Sample, compiled_as, compiled_with, run_checked};
use crate::onnx::{Model, int, ints, noise};
use scnn_isa::machine::Machine;
use scnnc::compile::Options;
use scnnc::map;
use scnnc::quantise;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// Bytes of the largest tensor in a usual run.
const LARGEST: u64 = 400_000;

/// Bytes that a value of any tensor may move: it is written and read, by two layers where a tensor is an operand, each
/// time with its index, and a channel has its blocks' counts and its weights.
const BYTES_PER_VALUE: f64 = 8.0;

/// Bytes of the smallest.
const SMALLEST: u64 = 1000;

fn largest() -> u64 {
    let wanted = std::env::var("SCNN_TRAFFIC").ok();
    wanted.map_or(LARGEST, |n| n.parse().expect("SCNN_TRAFFIC is a number"))
}

/// A network of one kind of layer on an input `[1, C, H, W]`.
struct Kind {
    name: &'static str,
    /// The shape of an input of about so many values.
    shape: fn(i64) -> [i64; 4],
    model: fn([i64; 4]) -> Model,
}

fn relu(model: Model, from: &str, to: &str) -> Model {
    model.node("Relu", &[from], to, vec![])
}

/// Slices of the last axis, each an output.
fn slices([n, c, h, w]: [i64; 4]) -> Model {
    let model = Model::new("slices").input("x", &[n, c, h, w]);
    let mut model = relu(model, "x", "r").integers("axes", &[3]);
    for at in 0..w {
        let [begin, end, to] = ["s", "e", "y"].map(|name| format!("{name}{at}"));
        model = model
            .integers(&begin, &[at])
            .integers(&end, &[at + 1])
            .node("Slice", &["r", &begin, &end, "axes"], &to, vec![])
            .output(&to);
    }
    model
}

/// Two tensors one behind the other in the channels.
fn concatenation([n, c, h, w]: [i64; 4]) -> Model {
    let model = Model::new("concatenation")
        .input("x", &[n, c, h, w])
        .input("z", &[n, c, h, w]);
    let model = relu(relu(model, "x", "a"), "z", "b");
    let model = model.node("Concat", &["a", "b"], "k", vec![int("axis", 1)]);
    relu(model, "k", "y").output("y")
}

fn depthwise([n, c, h, w]: [i64; 4]) -> Model {
    let kernel = [3.min(h), 3.min(w)];
    let weights = noise((c * kernel[0] * kernel[1]) as usize, 7, 1.0);
    Model::new("depthwise")
        .input("x", &[n, c, h, w])
        .floats("w", &[c, 1, kernel[0], kernel[1]], &weights)
        .node(
            "Conv",
            &["x", "w"],
            "y",
            vec![int("group", c), ints("kernel_shape", &kernel)],
        )
        .output("y")
}

fn elementwise([n, c, h, w]: [i64; 4]) -> Model {
    let model = Model::new("elementwise").input("x", &[n, c, h, w]);
    let model = relu(model, "x", "a").node("Sigmoid", &["a"], "s", vec![]);
    model.node("Add", &["a", "s"], "y", vec![]).output("y")
}

/// A plane that grows, a row that grows, channels that grow.
const SHAPES: [fn(i64) -> [i64; 4]; 3] = [
    |values| {
        let side = (values as f64 / 8.0).sqrt().ceil() as i64;
        [1, 8, side, side]
    },
    |values| [1, 16, 1, (values / 16).max(1)],
    |values| [1, (values / 4).max(1), 1, 4],
];

const KINDS: [Kind; 7] = [
    Kind {
        name: "slices of channels with four values",
        shape: SHAPES[2],
        model: slices,
    },
    Kind {
        name: "concatenation of planes",
        shape: SHAPES[0],
        model: concatenation,
    },
    Kind {
        name: "concatenation of channels",
        shape: SHAPES[2],
        model: concatenation,
    },
    Kind {
        name: "depthwise on planes",
        shape: SHAPES[0],
        model: depthwise,
    },
    Kind {
        name: "depthwise on rows",
        shape: SHAPES[1],
        model: depthwise,
    },
    Kind {
        name: "elementwise on planes",
        shape: SHAPES[0],
        model: elementwise,
    },
    Kind {
        name: "elementwise on channels",
        shape: SHAPES[2],
        model: elementwise,
    },
];

/// An input for every one of the model's.
fn inputs(model: &Model, shape: [i64; 4]) -> Sample {
    let dims = shape.map(|extent| extent as usize);
    let of_input = |(number, input): (usize, &str)| {
        let values = noise(dims.iter().product(), 3 + number as u64, 1.0);
        (
            input.to_owned(),
            Tensor::from_shape(&dims, &values).unwrap(),
        )
    };
    let names = model.graph.input.iter().map(|input| input.name.as_str());
    names.enumerate().map(of_input).collect::<BTreeMap<_, _>>()
}

/// Values of all tensors, and bytes to and from DRAM of all layers.
fn measured(kind: &Kind, bytes: u64) -> (u64, u64) {
    let shape = (kind.shape)(bytes as i64 / 2);
    let model = (kind.model)(shape);
    let sample = inputs(&model, shape);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, model.bytes()).unwrap();
    let machine = Machine::preset("scnn").unwrap();
    let compiled = compiled_as(&path, machine, &sample, quantise::Options::default());
    let execution = run_checked(&compiled, &sample);
    let values = compiled.network.tensors.iter().map(|tensor| {
        let extents = tensor.shape.iter().map(|&extent| u64::from(extent));
        extents.product::<u64>()
    });
    let moved = execution.operations.iter().map(|operation| {
        let counters = &operation.counters;
        counters.dram_weight_bytes
            + counters.dram_read_bytes
            + counters.dram_write_bytes
            + counters.dram_spill_bytes
    });
    (values.sum(), moved.sum())
}

#[test]
fn traffic_grows_no_faster_than_tensors() {
    for kind in &KINDS {
        let mut bytes = SMALLEST;
        while bytes <= largest() {
            let (values, moved) = measured(kind, bytes);
            let per_value = moved as f64 / values as f64;
            assert!(
                per_value <= BYTES_PER_VALUE,
                "{}: {per_value:.1} bytes a value for an input of {bytes} bytes",
                kind.name
            );
            bytes *= 4;
        }
    }
}

/// The network of the repository, calibrated on the input that it runs.
fn own_spill(machine: &str) -> u64 {
    let path = scnn_models::lenet5();
    let dims = [1, 1, 28, 28];
    let values = noise(28 * 28, 5, 1.0);
    let sample = BTreeMap::from([(
        "image".to_owned(),
        Tensor::from_shape(&dims, &values).unwrap(),
    )]);
    let options = Options {
        mapping: map::Options {
            strategy: map::Strategy::Paper,
            ..map::Options::default()
        },
        ..Options::new(Machine::preset(machine).unwrap())
    };
    let compiled = compiled_with(&path, options, &sample);
    let execution = run_checked(&compiled, &sample);
    execution
        .operations
        .iter()
        .map(|operation| operation.counters.dram_spill_bytes)
        .sum()
}

#[test]
fn nothing_spills_beside_free_room() {
    assert_eq!(own_spill("scnn"), 0);
}

#[test]
fn a_machine_that_stores_zeros_reserves_room_for_them() {
    assert_eq!(own_spill("scnn-sparse-w"), 0);
}

/// A place is reserved for the sample that was calibrated on; another input that is fuller takes what is free.
#[test]
fn a_fuller_input_than_the_sample_does_not_spill_where_there_is_room() {
    let path = scnn_models::lenet5();
    let dims = [1, 1, 28, 28];
    let thin: Vec<f32> = (0..28 * 28)
        .map(|at| if at % 9 == 0 { 1.0 } else { 0.0 })
        .collect();
    let image = |values: &[f32]| {
        BTreeMap::from([(
            "image".to_owned(),
            Tensor::from_shape(&dims, values).unwrap(),
        )])
    };
    let machine = Machine::preset("scnn").unwrap();
    let compiled = compiled_with(&path, Options::new(machine), &image(&thin));
    let execution = run_checked(&compiled, &image(&noise(28 * 28, 5, 1.0)));
    for operation in &execution.operations {
        assert_eq!(operation.counters.dram_spill_bytes, 0);
    }
}
