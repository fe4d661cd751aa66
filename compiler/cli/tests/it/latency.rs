//! The distribution of latencies: the numbers of single runs, one sample each.

use crate::binary::{json, printed, printed_line};
use serde_json::Value;
use std::path::Path;
use tempfile::tempdir;

/// Digits that are run.
const SAMPLES: usize = 5;

/// Cycles of the network and of each layer on one of the digits.
fn alone(folder: &Path, sample: usize) -> Vec<u64> {
    let words = format!("run m.onnx --calibration c.yaml --input {sample}.npy --json -q");
    let report: Value = serde_json::from_str(&printed_line(folder, &words)).unwrap();
    let cycles = |costs: &Value| costs["cycles"]["total"].as_u64().unwrap();
    let layers = report["layers"].as_array().unwrap().iter().map(cycles);
    std::iter::once(cycles(&report["totals"]))
        .chain(layers)
        .collect()
}

#[test]
fn percentiles_and_the_slowest_inputs_are_those_of_single_runs() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    std::fs::copy(scnn_models::lenet5(), path.join("m.onnx")).unwrap();
    std::fs::copy(scnn_models::lenet5_digits(), path.join("d.npz")).unwrap();
    let mut arrays =
        ndarray_npy::NpzReader::new(std::fs::File::open(path.join("d.npz")).unwrap()).unwrap();
    let names = arrays.names().unwrap();
    let input = names.iter().find(|name| !name.contains("label")).unwrap();
    let digits: ndarray::ArrayD<f32> = arrays.by_name(input).unwrap();
    for sample in 0..SAMPLES {
        let one = digits.slice_axis(ndarray::Axis(0), ndarray::Slice::from(sample..=sample));
        ndarray_npy::write_npy(path.join(format!("{sample}.npy")), &one.to_owned()).unwrap();
    }
    let words = "compile m.onnx -o m.scnn --calibrate d.npz --save-calibration c.yaml -q";
    printed_line(path, words);
    let words = "run m.onnx --calibration c.yaml --input d.npz --samples 5 --latency l.json -q";
    let text = printed_line(path, words);
    assert!(
        text.contains("cycles in the mean of 5 samples, p50 "),
        "{text}"
    );
    let found = json(&path.join("l.json"));
    let single: Vec<Vec<u64>> = (0..SAMPLES).map(|sample| alone(path, sample)).collect();
    let distributions =
        std::iter::once(&found["network"]).chain(found["layers"].as_array().unwrap());
    for (at, distribution) in distributions.enumerate() {
        let mut sorted: Vec<u64> = single.iter().map(|cycles| cycles[at]).collect();
        let slowest = distribution["slowest"][0].as_u64().unwrap() as usize;
        assert_eq!(
            sorted[slowest],
            *sorted.iter().max().unwrap(),
            "{distribution}"
        );
        sorted.sort_unstable();
        for (name, rank) in [("p50", 2), ("p95", 4), ("p99", 4), ("most", 4)] {
            assert_eq!(
                distribution[name].as_u64(),
                Some(sorted[rank]),
                "{name} {distribution}"
            );
        }
        let mean = sorted.iter().sum::<u64>() as f64 / SAMPLES as f64;
        assert!((distribution["mean"].as_f64().unwrap() - mean).abs() < 1e-9);
    }
    let words = "run m.scnn --input d.npz --samples 2 --latency l.csv -q";
    printed_line(path, words);
    let csv = std::fs::read_to_string(path.join("l.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + single[0].len(), "{csv}");
    let one = printed(path, &["run", "m.scnn", "--input", "0.npy", "-q"]);
    assert!(!one.contains("latency"), "{one}");
}
