//! Random layers on random machines: the simulator equals the dense integer interpreter bit for bit.
//!
//! `SCNN_LAYERS=10000 cargo test -p scnnc layers` is the long form.

use crate::agreement::{compiled, run_checked};
use crate::onnx::{Model, int, ints, noise};
use proptest::prelude::*;
use scnn_isa::machine::Machine;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// Layers of a usual run.
const LAYERS: u32 = 250;

fn layers() -> u32 {
    let wanted = std::env::var("SCNN_LAYERS").ok();
    wanted.map_or(LAYERS, |n| n.parse().expect("SCNN_LAYERS is a number"))
}

/// What happens along one axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    input: i64,
    kernel: i64,
    stride: i64,
    dilation: i64,
    pads: [i64; 2],
}

impl Axis {
    /// Whether the window fits the padded input.
    fn fits(&self) -> bool {
        self.input + self.pads[0] + self.pads[1] > self.dilation * (self.kernel - 1)
    }
}

fn axis() -> impl Strategy<Value = Axis> {
    let shape = (1i64..24, 1i64..6, 1i64..4, 1i64..4);
    (shape, 0i64..3, 0i64..3).prop_map(|((input, kernel, stride, dilation), before, after)| Axis {
        input,
        kernel,
        stride,
        dilation,
        pads: [before, after],
    })
}

fn machine() -> impl Strategy<Value = Machine> {
    let presets = vec![
        "scnn",
        "scnn",
        "scnn-multicast",
        "scnn-4pe",
        "scnn-16pe",
        "scnn-sparse-a",
        "scnn-sparse-w",
    ];
    let sizes = (1u32..9, 1u32..9, 1u32..60, 192u32..4096);
    (prop::sample::select(presets), any::<bool>(), sizes).prop_map(
        |(preset, whole, (rows, cols, fifo, ram))| {
            let mut machine = Machine::preset(preset).unwrap();
            if !whole {
                (machine.array.rows, machine.array.cols) = (rows, cols);
                machine.weights.fifo_vectors = fifo;
                (
                    machine.activation_ram.a_bytes,
                    machine.activation_ram.b_bytes,
                ) = (ram, ram);
            }
            machine
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: layers(), max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_layer_computes_what_the_dense_interpreter_computes(
        (y, x) in (axis(), axis()),
        (groups, per_in, per_out, batch) in (1i64..4, 1i64..6, 1i64..7, 1i64..4),
        (weight_density, input_density) in (0.0f64..=1.0, 0.0f64..=1.0),
        relu: bool,
        machine in machine(),
        seed: u64,
    ) {
        prop_assume!(y.fits() && x.fits());
        let (inputs, outputs) = (groups * per_in, groups * per_out);
        let weights = [outputs, per_in, y.kernel, x.kernel];
        let count = |dims: &[i64]| dims.iter().product::<i64>() as usize;
        let attributes = vec![
            ints("kernel_shape", &[y.kernel, x.kernel]),
            ints("strides", &[y.stride, x.stride]),
            ints("dilations", &[y.dilation, x.dilation]),
            ints("pads", &[y.pads[0], x.pads[0], y.pads[1], x.pads[1]]),
            int("group", groups),
        ];
        let shape = [batch, inputs, y.input, x.input];
        let mut model = Model::new("layer")
            .input("x", &shape)
            .floats("w", &weights, &noise(count(&weights), seed, weight_density))
            .floats("b", &[outputs], &noise(outputs as usize, seed ^ 1, 1.0))
            .node("Conv", &["x", "w", "b"], "c", attributes);
        if relu {
            model = model.node("Relu", &["c"], "r", vec![]);
        }
        let dims = shape.map(|extent| extent as usize);
        let input = Tensor::from_shape(&dims, &noise(count(&shape), seed ^ 2, input_density)).unwrap();
        let sample = BTreeMap::from([("x".to_owned(), input)]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, model.output(if relu { "r" } else { "c" }).bytes()).unwrap();
        run_checked(&compiled(&path, machine, &sample), &sample);
    }
}
