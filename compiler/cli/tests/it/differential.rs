//! Random networks, compiled and simulated, against the integer interpreter to the bit and the float model in decibels;
//! and both against ONNX Runtime, which shares no code with us.

use crate::agreement::{compiled, compiled_as, decibels, decibels_between, floats, run_checked};
use crate::network::{Network, networks};
use crate::python;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use scnn_isa::asm;
use scnn_isa::machine::Machine;
use scnn_isa::program::Ranges;
use scnnc::quantise;
use scnnc::widths::{OperandBits, Widths};
use std::collections::BTreeMap;
use std::path::Path;
use tract_onnx::prelude::Tensor;

/// Writes the model into `folder`; gives its path and its one sample.
fn written(network: &Network, folder: &Path) -> (std::path::PathBuf, BTreeMap<String, Tensor>) {
    let path = folder.join("model.onnx");
    std::fs::write(&path, network.bytes()).unwrap();
    (path, BTreeMap::from([("x".to_owned(), network.input())]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compiled_network_computes_what_the_interpreter_and_the_float_model_compute(
        network in networks(1..7, 3..20, 1..3), small: bool,
    ) {
        let mut machine = Machine::preset("scnn").unwrap();
        if small {
            // Little room: temporal tiles, spills, split blocks.
            (machine.activation_ram.a_bytes, machine.activation_ram.b_bytes) = (192, 192);
            (machine.array.rows, machine.array.cols) = (2, 2);
            machine.weights.fifo_vectors = 2;
        }
        let folder = tempfile::tempdir().unwrap();
        let (path, sample) = written(&network, folder.path());
        let compiled = compiled(&path, machine, &sample);

        let bytes = compiled.program.to_bytes();
        let text = asm::disassemble(&compiled.program, &asm::Options::default());
        prop_assert_eq!(asm::assemble(&text).unwrap().to_bytes(), bytes);

        let execution = run_checked(&compiled, &sample);
        let float = floats(&compiled.float.run(&sample).unwrap()[&network.output()]);
        prop_assert!(float.iter().all(|v| v.is_finite()));
        let ratio = decibels(&compiled, &sample, &execution);
        prop_assert!(is_next_to_nothing(&float) || ratio > 40.0, "{ratio} dB");
    }

    /// Narrow operands, and sums that were seen instead of proven: what was calibrated on never overflows.
    #[test]
    fn any_widths_and_calibrated_sums_agree_to_the_bit(
        network in networks(1..5, 3..12, 1..2), weights in 2u32..=16, activations in 2u32..=16,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, sample) = written(&network, folder.path());
        let options = quantise::Options {
            widths: Widths { network: Some(OperandBits { weights, activations }), ..Widths::default() },
            ranges: Ranges::Calibrated,
            ..quantise::Options::default()
        };
        let compiled = compiled_as(&path, Machine::preset("scnn").unwrap(), &sample, options);
        for (tensor, contents) in compiled.network.tensors.iter().zip(&run_checked(&compiled, &sample).tensors) {
            let bits = tensor.range[1].ilog2() + 2;
            prop_assert!(bits <= activations, "{} has {bits} bits", tensor.name);
            prop_assert!(contents.iter().all(|v| (tensor.range[0]..=tensor.range[1]).contains(v)));
        }
    }
}

/// An output of almost nothing has no meaningful ratio of signal to noise.
fn is_next_to_nothing(values: &[f32]) -> bool {
    values.iter().all(|value| value.abs() < 1e-3)
}

/// Networks that are run in ONNX Runtime.
const IN_ONNX_RUNTIME: usize = 40;

#[test]
fn onnx_runtime_computes_what_the_simulator_and_the_float_model_compute() {
    if !python::has("onnxruntime") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::default();
    let drawn: Vec<Network> = (0..IN_ONNX_RUNTIME)
        .map(|_| {
            networks(1..7, 3..20, 1..3)
                .new_tree(&mut runner)
                .unwrap()
                .current()
        })
        .collect();
    let folders: Vec<_> = (0..drawn.len())
        .map(|n| folder.path().join(n.to_string()))
        .collect();
    for (network, folder) in drawn.iter().zip(&folders) {
        std::fs::create_dir(folder).unwrap();
        written(network, folder);
        let input = ndarray::ArrayD::from_shape_vec(network.dims().to_vec(), network.values());
        ndarray_npy::write_npy(folder.join("input.npy"), &input.unwrap()).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/onnx_runtime.py");
    let output = python::run([script, folder.path().to_str().unwrap()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for (network, folder) in drawn.iter().zip(&folders) {
        let theirs: ndarray::ArrayD<f32> =
            ndarray_npy::read_npy(folder.join("output.npy")).unwrap();
        let theirs: Vec<f32> = theirs.iter().copied().collect();
        let (path, sample) = written(network, folder);
        let compiled = compiled(&path, Machine::preset("scnn").unwrap(), &sample);
        let name = network.output();
        let float = floats(&compiled.float.run(&sample).unwrap()[&name]);
        let ours = floats(&run_checked(&compiled, &sample).outputs[&name]);
        if !is_next_to_nothing(&theirs) {
            let (float, ours) = (
                decibels_between(&float, &theirs),
                decibels_between(&ours, &theirs),
            );
            assert!(
                float > 90.0,
                "the float model: {float} dB from ONNX Runtime for {network:?}"
            );
            assert!(
                ours > 40.0,
                "the simulator: {ours} dB from ONNX Runtime for {network:?}"
            );
        }
    }
}
