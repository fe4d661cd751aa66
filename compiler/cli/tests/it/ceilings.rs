//! Ceilings: no input makes a layer take longer than its weights and its mapping allow, whatever is tried.

use crate::onnx::{Model, ints, noise};
use proptest::prelude::*;
use scnn_isa::machine::Machine;
use scnn_simulator::timing::Timing;
use scnn_simulator::{Options, Simulator, Tensor};
use scnnc::compile::{self, Sample, Samples};
use scnnc_driver::Options as RunOptions;
use std::collections::BTreeMap;

/// A small network: a convolution, a pool or none, another convolution or none.
#[derive(Clone, Debug)]
struct Network {
    shape: [i64; 4],
    outputs: i64,
    kernel: i64,
    stride: i64,
    pool: bool,
    second: bool,
    density: f64,
    seed: u64,
}

fn networks() -> impl Strategy<Value = Network> {
    (
        (1i64..3, 1i64..9, 5i64..20, 5i64..20),
        (1i64..20, prop_oneof![Just(1i64), Just(3), Just(5)], 1i64..3),
        any::<bool>(),
        any::<bool>(),
        prop_oneof![Just(0.1), Just(0.4), Just(1.0)],
        any::<u64>(),
    )
        .prop_map(
            |((n, c, h, w), (outputs, kernel, stride), pool, second, density, seed)| Network {
                shape: [n, c, h, w],
                outputs,
                kernel,
                stride,
                pool,
                second,
                density,
                seed,
            },
        )
}

impl Network {
    fn bytes(&self) -> Vec<u8> {
        let [_, c, ..] = self.shape;
        let (k, r) = (self.outputs, self.kernel);
        let weights = noise((k * c * r * r) as usize, self.seed, self.density);
        let attributes = vec![
            ints("strides", &[self.stride, self.stride]),
            ints("pads", &[r / 2, r / 2, r / 2, r / 2]),
        ];
        let mut model = Model::new("net")
            .input("x", &self.shape)
            .floats("w", &[k, c, r, r], &weights)
            .node("Conv", &["x", "w"], "c", attributes)
            .node("Relu", &["c"], "a", vec![]);
        let mut last = "a";
        if self.pool {
            let pool = vec![ints("kernel_shape", &[2, 2])];
            model = model.node("MaxPool", &[last], "p", pool);
            last = "p";
        }
        if self.second {
            let weights = noise((k * k) as usize, self.seed ^ 1, self.density);
            model =
                model
                    .floats("v", &[k, k, 1, 1], &weights)
                    .node("Conv", &[last, "v"], "d", vec![]);
            last = "d";
        }
        model.output(last).bytes()
    }
}

/// Inputs made to be slow: dense, sparse, stripes that meet the same banks, single rows and columns, blocks of zeros.
fn attacks(shape: [i64; 4], seed: u64) -> Vec<Tensor> {
    let extents = shape.map(|extent| extent as usize);
    let count = extents.iter().product::<usize>();
    let random = noise(count, seed, 1.0);
    let picture = |keep: &dyn Fn(usize, usize, usize) -> bool| {
        let [_, _, h, w] = extents;
        let value = |at: usize| {
            let (x, y, rest) = (at % w, at / w % h, at / (w * h));
            let value = if random[at] == 0.0 { 1.0 } else { random[at] };
            if keep(rest, y, x) { value } else { 0.0 }
        };
        let values: Vec<f32> = (0..count).map(value).collect();
        Tensor::from_shape(&extents, &values).unwrap()
    };
    let mut attacks = vec![
        picture(&|_, _, _| true),
        picture(&|_, _, _| false),
        picture(&|_, y, _| y == 0),
        picture(&|_, _, x| x == 0),
        picture(&|c, _, _| c == 0),
        picture(&|_, y, x| (x + y) % 2 == 0),
    ];
    for period in [2, 4, 8, 16, 32] {
        let [_, _, _, w] = extents;
        attacks.push(picture(&|_, y, x| (y * w + x) % period == 0));
        attacks.push(picture(&|_, y, x| (y * w + x) % period < 2));
        attacks.push(picture(&|_, _, x| x % period == seed as usize % period));
    }
    for density in [0.02, 0.2, 0.5, 0.8] {
        let some = noise(count, seed ^ 7, density);
        attacks.push(Tensor::from_shape(&extents, &some).unwrap());
    }
    attacks
}

fn holds(network: &Network, machine: &str, settings: &[&str]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.onnx");
    std::fs::write(&file, network.bytes()).unwrap();
    let read = scnn_isa::machine::Read::of(Machine::preset(machine).unwrap());
    let machine = read.with_settings(settings).unwrap().machine;
    let mut options = compile::Options::new(machine);
    let inputs = attacks(network.shape, network.seed);
    let sample = |input: &Tensor| -> Sample { BTreeMap::from([("x".to_owned(), input.clone())]) };
    options.samples = Samples::new("noise", vec![sample(&inputs[0])]);
    let compiled = compile::compile(&file, &options, &mut |_, _| {}).unwrap();
    let simulator = Simulator::new(&compiled.program, &compiled.host).unwrap();
    for timing in [Timing::Exact, Timing::Fast] {
        let ceilings = simulator.ceilings(timing).unwrap();
        for (number, input) in inputs.iter().enumerate() {
            let run = simulator.run(&sample(input), &Options { timing }).unwrap();
            prop_assert_eq!(run.operations.len(), ceilings.len());
            for (operation, ceiling) in run.operations.iter().zip(&ceilings) {
                prop_assert!(
                    operation.cycles <= *ceiling,
                    "input {}, {:?}, {:?}: {} cycles, ceiling {}",
                    number,
                    operation.id,
                    timing,
                    operation.cycles,
                    ceiling
                );
            }
        }
    }
    Ok(())
}

proptest! {
    // `PROPTEST_CASES` attacks longer; each case has 25 inputs with both timings.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_input_exceeds_the_ceiling(network in networks(), which in 0usize..6) {
        let (machine, settings): (&str, &[&str]) = [
            ("scnn", &[] as &[&str]),
            ("scnn-multicast", &[]),
            ("scnn-4pe", &[]),
            // Banks that conflict, queues that hold little, memories that spill.
            ("scnn", &["pe.banks=4", "pe.entries_per_bank=512", "pe.queue_depth=1"]),
            ("scnn-multicast", &["activation_ram.a_bytes=64", "activation_ram.b_bytes=64", "dram.gigabytes_per_second=1"]),
            ("scnn", &["pe.bank_map=xor", "weights.fifo_vectors=2", "weights.bus_vectors_per_cycle=1", "sync.drift=group"]),
        ][which];
        holds(&network, machine, settings)?;
    }
}

#[test]
fn a_fast_ceiling_is_reached_by_an_input_without_zeros() {
    let network = Network {
        shape: [1, 4, 12, 12],
        outputs: 8,
        kernel: 3,
        stride: 1,
        pool: false,
        second: false,
        density: 0.5,
        seed: 3,
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.onnx");
    std::fs::write(&file, network.bytes()).unwrap();
    let mut options = compile::Options::new(Machine::preset("scnn").unwrap());
    let dense = attacks(network.shape, 3).swap_remove(0);
    let sample: Sample = BTreeMap::from([("x".to_owned(), dense)]);
    options.samples = Samples::new("noise", vec![sample.clone()]);
    let compiled = compile::compile(&file, &options, &mut |_, _| {}).unwrap();
    let choices = RunOptions {
        timing: Timing::Fast,
        ceilings: true,
        ..RunOptions::default()
    };
    let run = scnnc_driver::run(&compiled.program, &[sample], choices).unwrap();
    let network = run.latency.distributions(&run.report).network;
    assert_eq!(Some(network.most), network.ceiling);
}
