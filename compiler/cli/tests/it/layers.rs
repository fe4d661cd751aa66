//! Random layers on random machines: the simulator equals the dense integer interpreter bit for bit, and no layer takes
//! fewer cycles than any mapping must.
//!
//! `SCNN_LAYERS=10000 cargo test -p scnnc layers` is the long form. Every generated layer is a valid one on a machine
//! that can hold it, so a layer that is refused is a failure too.

use crate::agreement::{Sample, compiled_with, run_checked};
use crate::onnx::{Model, int, ints, noise};
use proptest::prelude::*;
use scnn_host::Host;
use scnn_isa::machine::{BankMap, Delivery, Drift, Machine};
use scnn_simulator::timing::Timing;
use scnn_simulator::{Execution, Options as RunOptions, Simulator};
use scnnc::compile::{Compiled, Options};
use scnnc::map::bound::Bound;
use scnnc::map::explain::Explainer;
use scnnc::map::{self, Objective, Strategy as Mapping};
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

prop_compose! {
    /// The window fits the padded input, which is longer by up to 22.
    fn axis()(
        (kernel, stride, dilation) in (1i64..6, 1i64..4, 1i64..4),
        (before, after, more) in (0i64..3, 0i64..3, 0i64..23),
    ) -> Axis {
        let window = dilation * (kernel - 1) + 1;
        let input = (window - before - after).max(1) + more;
        Axis { input, kernel, stride, dilation, pads: [before, after] }
    }
}

prop_compose! {
    /// A preset, or one with other buffers, vectors, banks, code and bus.
    fn machine()(
        preset in prop::sample::select(vec![
            "scnn", "scnn", "scnn-multicast", "scnn-4pe", "scnn-16pe", "scnn-sparse-a", "scnn-sparse-w",
        ]),
        whole: bool,
        (rows, cols, fifo, bus, ram) in (1u32..9, 1u32..9, 1u32..60, 1u32..9, 192u32..4096),
        vectors in prop::option::of((1u32..9, 1u32..9)),
        (banks, entries) in (prop::sample::select(vec![7u32, 16, 32, 64]), 4u32..64),
        (depth, index_bits, accumulator_bits) in (0u32..9, 1u32..9, 20u32..=32),
        (xor, group_drift, multicast) in any::<(bool, bool, bool)>(),
    ) -> Machine {
        let mut machine = Machine::preset(preset).unwrap();
        if whole {
            return machine;
        }
        (machine.array.rows, machine.array.cols) = (rows, cols);
        (machine.weights.fifo_vectors, machine.weights.bus_vectors_per_cycle) = (fifo, bus);
        machine.weights.delivery = if multicast { Delivery::Multicast } else { Delivery::Broadcast };
        (machine.activation_ram.a_bytes, machine.activation_ram.b_bytes) = (ram, ram);
        if let Some((f, i)) = vectors {
            let pe = &mut machine.pe;
            (pe.weights_per_vector, pe.activations_per_vector) = (f, i);
            (pe.banks, pe.entries_per_bank, pe.queue_depth) = (banks, entries, depth);
            pe.bank_map = if xor && banks.is_power_of_two() { BankMap::Xor } else { BankMap::Modulo };
            pe.accumulator_bits = accumulator_bits;
            machine.encoding.index_bits = index_bits;
            machine.sync.drift = if group_drift { Drift::Group } else { Drift::Fifo };
        }
        machine
    }
}

/// A density: nothing, everything, or a share.
fn density() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 1 => Just(1.0), 6 => 0.0f64..=1.0]
}

fn compiled(model: Model, machine: Machine, mapping: Mapping, sample: &Sample) -> Compiled {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.bytes()).unwrap();
    let options = Options {
        mapping: map::Options {
            strategy: mapping,
            ..map::Options::default()
        },
        ..Options::new(machine)
    };
    compiled_with(&path, options, sample)
}

/// What no mapping can go below is not above the steps of fast timing, nor those above the cycles of exact timing.
fn assert_bounds(compiled: &Compiled, sample: &Sample, exact: &Execution) {
    let Compiled {
        network,
        program,
        occupancy,
        mapped,
        ..
    } = compiled;
    let simulator = Simulator::new(program, &Host::default()).unwrap();
    let timing = Timing::Fast;
    let fast = simulator.run(sample, &RunOptions { timing }).unwrap();
    let explainer = Explainer::new(
        network,
        &program.machine,
        occupancy,
        mapped,
        Objective::Cycles,
    );
    for (operation, (fast, exact)) in fast.operations.iter().zip(&exact.operations).enumerate() {
        let (fast, exact) = (fast.cycles, exact.cycles);
        assert!(fast <= exact, "fast {fast}, exact {exact}");
        if let Some(explained) = explainer.explain(operation) {
            let Bound {
                useful,
                vectors,
                bus,
                dram,
            } = explained.bound;
            let of_operations = useful.max(vectors);
            assert!(of_operations <= fast, "{:?}, fast {fast}", explained.bound);
            let of_all = of_operations.max(bus).max(dram);
            assert!(of_all <= exact, "{:?}, exact {exact}", explained.bound);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: layers(), max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_layer_computes_what_the_dense_interpreter_computes(
        (y, x) in (axis(), axis()),
        (groups, per_in, per_out, batch) in (1i64..4, 1i64..6, 1i64..7, 1i64..4),
        (weight_density, input_density) in (density(), density()),
        relu: bool,
        machine in machine(),
        mapping in prop::sample::select(vec![Mapping::Paper, Mapping::Search]),
        seed: u64,
    ) {
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
        let sample = Sample::from([("x".to_owned(), input)]);
        let model = model.output(if relu { "r" } else { "c" });
        let compiled = compiled(model, machine, mapping, &sample);
        let exact = run_checked(&compiled, &sample);
        assert_bounds(&compiled, &sample, &exact);
    }
}
