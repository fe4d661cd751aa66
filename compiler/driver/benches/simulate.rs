//! Speed of the simulator on networks of the zoo at their published densities: useful products in a second of the
//! host, with values, for both timings. `cargo bench -p scnnc-driver --bench simulate`.

use divan::Bencher;
use divan::counter::ItemsCount;
use scnn_isa::machine::Machine;
use scnn_isa::program::Program;
use scnn_models::zoo::{DENSITIES, Network, make};
use scnn_simulator::timing::Timing;
use scnn_simulator::{Options as RunOptions, Simulator};
use scnnc::compile::{Options, Samples, compile};
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

fn main() {
    divan::main();
}

fn program(network: &str) -> (Program, BTreeMap<String, Tensor>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.onnx");
    let choices = scnn_models::zoo::Options {
        seed: 1,
        densities: scnn_isa::yaml::from_str(DENSITIES).unwrap(),
        weights: None,
        inputs: None,
    };
    let mut file = std::fs::File::create(&path).unwrap();
    let network = Network::find(network).unwrap();
    let made = make(network, &choices, &mut file, &mut |_| ()).unwrap();
    let (extents, values) = made.image;
    let image = Tensor::from_shape(&extents, &values).unwrap();
    let sample = BTreeMap::from([("data".to_owned(), image)]);
    let options = Options {
        samples: Samples::new("image", vec![sample.clone()]),
        ..Options::new(Machine::preset("scnn").unwrap())
    };
    let compiled = compile(&path, &options, &mut |_, _| ()).unwrap();
    (compiled.program, sample)
}

#[divan::bench(args = ["alexnet", "googlenet", "vgg16"], sample_count = 5, sample_size = 1)]
fn exact(bencher: Bencher, network: &str) {
    simulate(bencher, network, Timing::Exact);
}

#[divan::bench(args = ["alexnet", "googlenet", "vgg16"], sample_count = 5, sample_size = 1)]
fn fast(bencher: Bencher, network: &str) {
    simulate(bencher, network, Timing::Fast);
}

fn simulate(bencher: Bencher, network: &str, timing: Timing) {
    let (program, sample) = program(network);
    let simulator = Simulator::new(&program, &scnn_host::Host::default()).unwrap();
    let options = RunOptions { timing };
    let operations = simulator.run(&sample, &options).unwrap().operations;
    let useful: u64 = operations
        .iter()
        .map(|operation| operation.slots.useful)
        .sum();
    bencher
        .counter(ItemsCount::new(useful))
        .bench_local(|| simulator.run(&sample, &options).unwrap());
}
