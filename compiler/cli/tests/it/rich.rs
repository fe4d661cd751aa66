//! Networks of the rich grammar: each compiles, runs, equals the interpreter to the bit, and is near the float model and
//! ONNX Runtime. A few are drawn here; `SCNN_RICH_NETWORKS` says how many instead, `SCNN_RICH_SEED` which, and
//! `SCNN_RICH_KEEP` a folder for those that fail.

use crate::agreement::{Sample, floats};
use crate::grammar::{FEATURES, Network, networks};
use crate::python;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rayon::prelude::*;
use scnn_isa::machine::Machine;
use scnn_isa::program::Program;
use scnn_simulator::{Options as RunOptions, Simulator};
use scnnc::compile::{CompileError, Compiled, Options, Samples, compile};
use scnnc::map::Strategy as Mapping;
use scnnc::reference::difference;
use scnnc::reference::interpret::interpret;
use scnnc::reference::segments::Segments;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Networks that are compared with ONNX Runtime unless the environment says how many.
const USUAL: usize = 120;

/// What became of a network.
enum Outcome {
    /// Its outputs by name, and the largest magnitude of any of its tensors.
    Ran(BTreeMap<String, Vec<f32>>, f32),
    /// It was refused before anything was compiled: tract cannot type it.
    Refused,
}

/// Compiles and runs a network.
///
/// # Errors
/// What must not be: a panic, a layer that could not be compiled, a difference, an error behind import.
fn outcome(network: &Network, path: &Path) -> Result<Outcome, String> {
    std::fs::write(path, network.bytes()).map_err(|error| error.to_string())?;
    let sample: Sample = BTreeMap::from([("x".to_owned(), network.input())]);
    let run = || {
        let mut options = Options::new(Machine::preset("scnn").unwrap());
        options.allow_host_only = true;
        options.samples = Samples {
            source: "test".to_owned(),
            inputs: vec![sample.clone()],
        };
        // The search takes longer; every fourth network is enough of it.
        if !network.values().len().is_multiple_of(4) {
            options.mapping.strategy = Mapping::Paper;
        }
        match compile(path, &options, &mut |_, _| {}) {
            Ok(compiled) => ran(&compiled, &sample),
            Err(CompileError::Import(_)) => Ok(Outcome::Refused),
            Err(error) => Err(error.to_string()),
        }
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn ran(compiled: &Compiled, sample: &Sample) -> Result<Outcome, String> {
    if let Some(fault) = compiled.fallbacks.iter().find(|fallback| fallback.is_fault) {
        return Err(format!("fell back: {fault:?}"));
    }
    let program = Program::from_bytes(&compiled.program.to_bytes()).map_err(|e| e.to_string())?;
    let simulator = Simulator::new(&program, &compiled.host).map_err(|e| e.to_string())?;
    let execution = simulator
        .run(sample, &RunOptions::default())
        .map_err(|e| e.to_string())?;
    let segments = Segments::load(&compiled.network, &compiled.host).map_err(|e| e.to_string())?;
    let reference =
        interpret(&compiled.network, sample, &segments).map_err(|error| error.to_string())?;
    let (ours, theirs) = (&execution.tensors, &reference.tensors);
    if let Some(found) = difference::first(&compiled.network, &program, ours, theirs) {
        return Err(format!("{found}; {}", found.extent()));
    }
    let ranges = compiled.calibration.ranges.values();
    let largest = ranges
        .map(|range| range.max.abs().max(range.min.abs()))
        .fold(0.0, f32::max);
    let outputs = execution.outputs.iter();
    let outputs = outputs.map(|(name, tensor)| (name.clone(), floats(tensor)));
    Ok(Outcome::Ran(outputs.collect(), largest))
}

/// Features whose values are not compared with ONNX Runtime's: means of few integers lie in the middle of two, and which
/// way they go is decided there by the last bit of a float.
const KNOWN: [&str; 3] = ["QDQ", "QDQ around", "moved in integers"];

/// Whether values are those that are wanted, as far as 16 bits hold them. The scale of a tensor is that of what lies beside
/// it in a concatenation, so the largest magnitude in the network counts.
fn are_near(ours: &[f32], wanted: &[f32], largest: f32) -> Result<(), String> {
    if ours.len() != wanted.len() {
        return Err(format!("{} values for {}", ours.len(), wanted.len()));
    }
    let power = |values: &mut dyn Iterator<Item = f32>| {
        let sum: f64 = values.map(|value| f64::from(value).powi(2)).sum();
        (sum / wanted.len().max(1) as f64).sqrt()
    };
    let noise = power(&mut ours.iter().zip(wanted).map(|(a, b)| a - b));
    let signal = power(&mut wanted.iter().copied());
    if noise <= (signal * 1e-2).max(f64::from(largest) * 1e-3) {
        Ok(())
    } else {
        Err(format!("noise {noise} on a signal of {signal}"))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Shrinks to the smallest network that fails.
    #[test]
    fn a_network_of_the_grammar_compiles_and_equals_the_interpreter(network in networks(1..10)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        prop_assume!(!network.outputs().is_empty());
        let outcome = outcome(&network, &path);
        prop_assert!(outcome.is_ok(), "{}", outcome.err().unwrap_or_default());
    }
}

/// Draws networks, the same ones each time for a seed.
fn drawn(count: usize, seed: u8) -> Vec<Network> {
    let mut runner = match seed {
        0 => TestRunner::deterministic(),
        seed => {
            let generator = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
            TestRunner::new_with_rng(Config::default(), generator)
        }
    };
    let networks = networks(1..14);
    let draws = std::iter::repeat_with(|| networks.new_tree(&mut runner).unwrap().current());
    draws
        .filter(|network| !network.outputs().is_empty())
        .take(count)
        .collect()
}

/// What ONNX Runtime makes of the networks in `folder`, if there is one.
fn in_onnx_runtime(networks: &[Network], folder: &Path) -> bool {
    if !python::has("onnxruntime") {
        return false;
    }
    for (number, network) in networks.iter().enumerate() {
        let folder = folder.join(number.to_string());
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("model.onnx"), network.bytes()).unwrap();
        let input = ndarray::ArrayD::from_shape_vec(network.dims(), network.values());
        ndarray_npy::write_npy(folder.join("input.npy"), &input.unwrap()).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/onnx_runtime.py");
    let output = python::run([script, folder.to_str().unwrap()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

/// What is wrong with network `number`, if anything; whether it was refused.
fn judged(network: &Network, folder: &Path, with_theirs: bool) -> Result<bool, String> {
    let (values, largest) = match outcome(network, &folder.with_extension("onnx"))? {
        Outcome::Refused => return Ok(true),
        Outcome::Ran(values, largest) => (values, largest),
    };
    for (index, name) in network.outputs().iter().enumerate() {
        let ours = values.get(name).ok_or(format!("{name} is missing"))?;
        let features = network.features();
        let known = KNOWN.iter().any(|name| features.contains_key(name));
        if with_theirs && !known {
            let file = folder.join(format!("output{index}.npy"));
            let theirs: ndarray::ArrayD<f32> =
                ndarray_npy::read_npy(file).map_err(|e| e.to_string())?;
            let theirs: Vec<f32> = theirs.iter().copied().collect();
            are_near(ours, &theirs, largest)
                .map_err(|error| format!("{name}: {error} in ONNX Runtime"))?;
        }
    }
    Ok(false)
}

#[test]
fn networks_of_the_grammar_compute_what_onnx_runtime_computes() {
    let count = std::env::var("SCNN_RICH_NETWORKS").map_or(USUAL, |text| text.parse().unwrap());
    let seed = std::env::var("SCNN_RICH_SEED").map_or(0, |text| text.parse().unwrap());
    let networks = drawn(count, seed);
    let folder = tempfile::tempdir().unwrap();
    let with_theirs = in_onnx_runtime(&networks, folder.path());
    let verdicts: Vec<Result<bool, String>> = networks
        .par_iter()
        .enumerate()
        .map(|(number, network)| {
            judged(
                network,
                &folder.path().join(number.to_string()),
                with_theirs,
            )
        })
        .collect();
    let mut features: BTreeMap<&str, usize> = FEATURES.iter().map(|(name, _)| (*name, 0)).collect();
    for (name, times) in networks.iter().flat_map(Network::features) {
        *features.entry(name).or_default() += times;
    }
    println!("{count} networks");
    for (name, times) in &features {
        println!("{times:8} {name}");
    }
    let refused = verdicts.iter().filter(|v| **v == Ok(true)).count();
    println!("{refused:8} networks that tract cannot type");
    assert!(features.values().all(|&times| times > 0), "{features:?}");
    let faults = verdicts.iter().enumerate();
    let faults: Vec<String> = faults
        .filter_map(|(number, verdict)| Some(format!("{number}: {}", verdict.as_ref().err()?)))
        .collect();
    if let Ok(kept) = std::env::var("SCNN_RICH_KEEP") {
        for fault in &faults {
            let number = fault.split(':').next().unwrap_or_default();
            let file = folder.path().join(number).with_extension("onnx");
            let _ = std::fs::copy(file, Path::new(&kept).join(format!("{number}.onnx")));
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}
