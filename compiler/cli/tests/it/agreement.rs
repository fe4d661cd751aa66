//! The law of the whole project, for any model: the simulator equals the integer interpreter bit for bit.

use scnn_isa::machine::Machine;
use scnn_isa::program::Program;
use scnn_simulator::{Execution, Options as RunOptions, Simulator};
use scnnc::compile::{Compiled, Options, Samples, compile};
use scnnc::quantise;
use scnnc::reference::difference;
use scnnc::reference::interpret::interpret;
use scnnc::reference::pass_check::PassCheck;
use scnnc::reference::segments::Segments;
use std::collections::BTreeMap;
use std::path::Path;
use tract_onnx::prelude::Tensor;

pub type Sample = BTreeMap<String, Tensor>;

/// Compiles the model at `path` for `machine`, calibrated on `sample`; the graph is checked after every transform.
pub fn compiled(path: &Path, machine: Machine, sample: &Sample) -> Compiled {
    compiled_as(path, machine, sample, quantise::Options::default())
}

/// The same with other choices of quantisation.
pub fn compiled_as(
    path: &Path,
    machine: Machine,
    sample: &Sample,
    quantise: quantise::Options,
) -> Compiled {
    let options = Options {
        allow_host_only: true,
        quantise,
        ..Options::new(machine)
    };
    compiled_with(path, options, sample)
}

/// The same with other options.
pub fn compiled_with(path: &Path, options: Options, sample: &Sample) -> Compiled {
    let options = Options {
        samples: Samples::new("test", vec![sample.clone()]),
        ..options
    };
    let mut passes = PassCheck::new(sample.clone(), options.host.clone());
    let compiled = compile(path, &options, &mut |pass, graph| {
        scnnc::graph::check::check(graph).unwrap_or_else(|e| panic!("{e:?}\n{graph}"));
        passes.observe(pass, graph);
    })
    .unwrap_or_else(|e| panic!("{e}"));
    passes.finish().unwrap_or_else(|e| panic!("{e}"));
    compiled
}

/// Executes the program file's bytes, and fails unless every tensor equals the interpreter's.
pub fn run_checked(compiled: &Compiled, sample: &Sample) -> Execution {
    let program = Program::from_bytes(&compiled.program.to_bytes()).unwrap();
    let simulator = Simulator::new(&program, &compiled.host).unwrap();
    let execution = simulator.run(sample, &RunOptions::default()).unwrap();
    let segments = Segments::load(&compiled.network, &compiled.host).unwrap();
    let reference = interpret(&compiled.network, sample, &segments).unwrap();
    let found = difference::first(
        &compiled.network,
        &program,
        &execution.tensors,
        &reference.tensors,
    );
    if let Some(difference) = found {
        panic!("{difference}; {}", difference.extent());
    }
    execution
}

/// Signal over noise of every output against the float model, dB: the least.
pub fn decibels(compiled: &Compiled, sample: &Sample, execution: &Execution) -> f64 {
    let float = compiled.float.run(sample).unwrap();
    let ratios = execution.outputs.iter();
    let ratios = ratios.map(|(name, ours)| decibels_between(&floats(ours), &floats(&float[name])));
    ratios.fold(f64::INFINITY, f64::min)
}

/// Signal over noise of values against those that are wanted, dB.
pub fn decibels_between(ours: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(ours.len(), wanted.len());
    let power = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let signal = power(&mut wanted.iter().map(|&v| f64::from(v)));
    let noise = power(&mut ours.iter().zip(wanted).map(|(&a, &b)| f64::from(a - b)));
    if noise == 0.0 {
        f64::INFINITY
    } else {
        10.0 * (signal / noise).log10()
    }
}

pub fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor
        .to_plain_array_view::<f32>()
        .unwrap()
        .iter()
        .copied()
        .collect()
}
