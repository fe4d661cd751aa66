//! The trace of a run adds up to its report.

use crate::binary::{command, json};
use serde_json::Value;
use std::collections::BTreeMap;

const LENET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/lenet5.onnx");
const DIGITS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../models/lenet5-digits.npz"
);

/// The events of a trace, and the report, of one sample.
fn traced(model: &str, input: &str, more: &[&str]) -> (Vec<Value>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let run = ["run", model, "--input", input, "--samples", "1", "--quiet"];
    let files = ["--trace", "trace.json", "--report", "report.json"];
    command(folder.path())
        .args(run.iter().chain(&files).chain(more))
        .assert()
        .success();
    let read = |name: &str| json(&folder.path().join(name));
    let trace = read("trace.json");
    assert_chrome_trace(&trace);
    let events = trace["traceEvents"].as_array().unwrap().clone();
    (events, read("report.json"))
}

/// The Chrome trace event format, JSON object form, as far as traces of ours use it: metadata (`M`) that names processes
/// and tracks, complete events (`X`) and counters (`C`), at whole microseconds, and nothing else.
fn assert_chrome_trace(trace: &Value) {
    assert!(trace["otherData"].is_object(), "{}", trace["otherData"]);
    let mut tracks = BTreeMap::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let fields: Vec<&str> = event
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let (name, args) = (&event["name"], &event["args"]);
        assert!(
            name.is_string() && event["pid"].is_u64() && args.is_object(),
            "{event}"
        );
        let known: &[&str] = match event["ph"].as_str().unwrap() {
            "M" => {
                let named = match name.as_str().unwrap() {
                    "process_name" => args["name"].is_string(),
                    "thread_name" => {
                        let twice = tracks.insert(number(&event["tid"]), &args["name"]);
                        args["name"].is_string() && twice.is_none()
                    }
                    "thread_sort_index" => args["sort_index"].is_u64(),
                    _ => false,
                };
                assert!(named, "{event}");
                &["ph", "pid", "tid", "name", "args"]
            }
            "X" => {
                assert!(event["ts"].is_u64() && event["dur"].is_u64(), "{event}");
                assert!(
                    tracks.contains_key(&number(&event["tid"])),
                    "a track without a name: {event}"
                );
                &["ph", "pid", "tid", "name", "ts", "dur", "args"]
            }
            "C" => {
                let values = args.as_object().unwrap().values();
                assert!(event["ts"].is_u64() && values.len() > 0, "{event}");
                assert!(values.into_iter().all(Value::is_number), "{event}");
                &["ph", "pid", "name", "ts", "args"]
            }
            other => panic!("an event {other}"),
        };
        assert!(fields.iter().all(|field| known.contains(field)), "{event}");
    }
    assert!(tracks.len() > 4, "{tracks:?}");
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

/// The slices of the layers follow one another, and are as long as the report says.
fn assert_layers(trace: &[Value], report: &Value) {
    let tracks = tracks(trace);
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
}

#[test]
fn slices_of_a_trace_add_up_to_the_reports_cycles_and_steps() {
    let (trace, report) = traced(LENET, DIGITS, &[]);
    assert_layers(&trace, &report);
    let tracks = tracks(&trace);
    let cycles = number(&report["totals"]["cycles"]["total"]);
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

/// `SCNN_SHARED_MODELS=… cargo test -p scnnc --test it trace` is the check of a trained `SqueezeNet`.
#[test]
fn the_trace_of_squeezenet_has_the_format_and_adds_up() {
    let folder = "squeezenet-pruned";
    let (Some(model), Some(image)) = (
        scnn_models::shared(&format!("{folder}/squeezenet1.0-pruned.onnx")),
        scnn_models::shared(&format!("{folder}/pelican_227_bgr.npy")),
    ) else {
        return;
    };
    let (model, image) = (model.display().to_string(), image.display().to_string());
    let (trace, report) = traced(&model, &image, &[]);
    assert_layers(&trace, &report);
}

#[test]
fn a_trace_of_one_layer_shows_its_units_alone() {
    let (trace, report) = traced(LENET, DIGITS, &["--trace-layer", "/conv2/Conv"]);
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

/// The network's layers one after the other, each with the weights that came while the one before it drained.
#[test]
fn layers_whose_weights_came_before_they_began_follow_one_another_in_a_trace() {
    let set = |layers: &'static str| ["--machine", "scnn-multicast", "--set", layers];
    let (trace, report) = traced(LENET, DIGITS, &set("sync.layers=overlap"));
    assert_layers(&trace, &report);
    assert_nests(&trace);
    let total = |report: &Value| number(&report["totals"]["cycles"]["total"]);
    let (_, barrier) = traced(LENET, DIGITS, &set("sync.layers=barrier"));
    assert!(
        total(&report) < total(&barrier),
        "{report} beside {barrier}"
    );
    // Who does not watch times layers beside their computation, in the same order.
    let folder = tempfile::tempdir().unwrap();
    let run = ["run", LENET, "--input", DIGITS, "--samples", "1", "--quiet"];
    command(folder.path())
        .args(run.iter().chain(&set("sync.layers=overlap")))
        .args(["--report", "report.json"])
        .assert()
        .success();
    let unwatched = json(&folder.path().join("report.json"));
    assert_eq!(unwatched["layers"], report["layers"]);
}

/// No two slices of a track overlap without one lying in the other.
fn assert_nests(trace: &[Value]) {
    for (track, slices) in tracks(trace) {
        let mut spans: Vec<(u64, u64)> = slices
            .iter()
            .map(|slice| (number(&slice["ts"]), number(&slice["dur"])))
            .map(|(at, long)| (at, at + long))
            .collect();
        spans.sort_by_key(|&(begin, end)| (begin, std::cmp::Reverse(end)));
        let mut open: Vec<u64> = Vec::new();
        for (begin, end) in spans {
            open.retain(|&other| other > begin);
            assert!(
                open.iter().all(|&other| end <= other),
                "{track}: {begin}..{end}"
            );
            open.push(end);
        }
    }
}

#[test]
fn slices_of_a_track_nest_on_every_machine() {
    let mut lanes = 0;
    for model in ["lenet5", "tiny"] {
        let model = format!("{}/../../models/{model}.onnx", env!("CARGO_MANIFEST_DIR"));
        for machine in ["scnn", "scnn-multicast", "scnn-16pe"] {
            let folder = tempfile::tempdir().unwrap();
            let run = [
                "run",
                &model,
                "--machine",
                machine,
                "--quiet",
                "--trace",
                "t.json",
            ];
            command(folder.path()).args(run).assert().success();
            let trace = std::fs::read(folder.path().join("t.json")).unwrap();
            let trace: Value = serde_json::from_slice(&trace).unwrap();
            let events = trace["traceEvents"].as_array().unwrap();
            assert_nests(events);
            lanes += tracks(events)
                .keys()
                .filter(|name| name.ends_with("(2)"))
                .count();
        }
    }
    // Otherwise nothing that overlaps would have been seen.
    assert!(lanes > 0, "units overlap with themselves");
}

#[test]
fn queries_of_the_trace_processor_give_the_totals_of_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let run = ["run", LENET, "--input", DIGITS, "--samples", "1", "--quiet"];
    let files = [
        "--trace",
        "t.pftrace",
        "--report",
        "r.json",
        "--machine",
        "scnn-multicast",
    ];
    command(folder.path())
        .args(run.iter().chain(&files))
        .assert()
        .success();
    let report = json(&folder.path().join("r.json"));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let queries =
        ["cycles", "slots", "energy"].map(|name| format!("{root}/simulator/queries/{name}.sql"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/trace_queries.py");
    let python = std::process::Command::new("python3")
        .arg(script)
        .arg(folder.path().join("t.pftrace"))
        .args(&queries)
        .output();
    let Ok(python) = python else {
        eprintln!("skipped: there is no python3");
        return;
    };
    assert!(
        python.status.success(),
        "{}",
        String::from_utf8_lossy(&python.stderr)
    );
    let found: Value = serde_json::from_slice(&python.stdout).unwrap();
    let rows = |query: usize| found["rows"][query].as_array().unwrap();
    let column =
        |query: usize, column: usize| rows(query).iter().map(move |row| row[column].clone());
    let totals = &report["totals"];
    let layers = report["layers"].as_array().unwrap();
    assert!(column(0, 0).eq(layers.iter().map(|layer| layer["name"].clone())));
    assert!(column(0, 1).eq(layers.iter().map(|layer| layer["cycles"]["total"].clone())));
    let slots = totals["cycles"]["slots"].as_object().unwrap();
    assert_eq!(rows(1).len(), slots.len());
    for row in rows(1) {
        assert_eq!(row[1], slots[row[0].as_str().unwrap()], "{row}");
    }
    let energy: f64 = column(2, 1).map(|pj| pj.as_f64().unwrap()).sum();
    let total = totals["energy_pj"]["total"].as_f64().unwrap();
    assert!(
        (energy / total - 1.0).abs() < 1e-12,
        "{energy} pJ, {total} pJ"
    );
    let bytes: u64 = column(2, 2).map(|bytes| number(&bytes)).sum();
    let dram = totals["dram_bytes"]
        .as_object()
        .unwrap()
        .values()
        .map(number);
    assert_eq!(bytes, dram.sum::<u64>());
}
