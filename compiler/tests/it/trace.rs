//! The trace of a run adds up to its report.

use assert_cmd::Command;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const LENET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/lenet5.onnx");
const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/lenet5-digits.npz");

fn traced(folder: &Path, more: &[&str]) -> (Vec<Value>, Value) {
    let run = ["run", LENET, "--input", DIGITS, "--samples", "1", "--quiet"];
    let files = ["--trace", "trace.json", "--report", "report.json"];
    Command::cargo_bin("scnnc")
        .unwrap()
        .current_dir(folder)
        .args(run.iter().chain(&files).chain(more))
        .assert()
        .success();
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let trace = read("trace.json")["traceEvents"]
        .as_array()
        .unwrap()
        .clone();
    (trace, read("report.json"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

/// Slices by track name.
fn tracks(trace: &[Value]) -> BTreeMap<String, Vec<&Value>> {
    let names: BTreeMap<u64, String> = trace
        .iter()
        .filter(|event| event["name"] == "thread_name")
        .map(|event| {
            (
                number(&event["tid"]),
                event["args"]["name"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let mut tracks: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for slice in trace.iter().filter(|event| event["ph"] == "X") {
        tracks
            .entry(names[&number(&slice["tid"])].clone())
            .or_default()
            .push(slice);
    }
    tracks
}

#[test]
fn slices_of_a_trace_add_up_to_the_reports_cycles_and_steps() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, report) = traced(folder.path(), &[]);
    let tracks = tracks(&trace);
    let layers = &tracks["layers"];
    let cycles: u64 = layers.iter().map(|slice| number(&slice["dur"])).sum();
    assert_eq!(cycles, number(&report["totals"]["cycles"]["total"]));
    let reported = report["layers"].as_array().unwrap();
    assert_eq!(layers.len(), reported.len());
    let mut begin = 0;
    for (slice, layer) in layers.iter().zip(reported) {
        assert_eq!(
            (&slice["name"], &slice["ts"]),
            (&layer["name"], &begin.into())
        );
        assert_eq!(slice["dur"], layer["cycles"]["total"]);
        begin += number(&slice["dur"]);
    }
    let (mut steps, mut stalls) = (0, 0);
    for (_, slices) in tracks.iter().filter(|(name, _)| name.starts_with("PE ")) {
        let mut free = 0;
        for slice in slices {
            let (at, long) = (number(&slice["ts"]), number(&slice["dur"]));
            assert!(at >= free, "a PE does one thing at a time: {slice}");
            free = at + long;
            let args = &slice["args"];
            steps += number(&args["steps"]);
            stalls += number(&args["bank_stalls"]);
            let parts = ["steps", "bank_stalls", "waits"].map(|part| number(&args[part]));
            assert_eq!(parts.iter().sum::<u64>(), long);
        }
        assert!(free <= cycles);
    }
    assert_eq!(steps, number(&report["totals"]["counters"]["fifo_reads"]));
    assert_eq!(
        stalls * 16,
        number(&report["totals"]["cycles"]["slots"]["bank_stall"])
    );
    for slice in &tracks["array"] {
        assert_eq!(slice["name"], "mac");
        assert!(!slice["args"]["nodes"].as_array().unwrap().is_empty());
    }
    for counter in [
        "DRAM, GB/s",
        "array, busy PEs %",
        "RAM elements of the fullest PE",
    ] {
        assert!(
            trace
                .iter()
                .any(|event| event["ph"] == "C" && event["name"] == counter)
        );
    }
}

#[test]
fn a_trace_of_one_layer_shows_its_units_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, report) = traced(folder.path(), &["--trace-layer", "/conv2/Conv"]);
    let tracks = tracks(&trace);
    assert_eq!(tracks["array"].len(), 1);
    let nodes = &tracks["array"][0]["args"]["nodes"];
    assert!(nodes.as_array().unwrap().contains(&"/conv2/Conv".into()));
    let cycles: u64 = tracks["layers"]
        .iter()
        .map(|slice| number(&slice["dur"]))
        .sum();
    assert_eq!(cycles, number(&report["totals"]["cycles"]["total"]));
}
