//! Sweeps by the engines of others: a tuner that asks for points, and a workflow whose jobs are shards. What a tuner is told is
//! what a sweep measures, and a workflow of which a job was killed gives the bytes of one run. The scripts themselves run where
//! Optuna and Snakemake are; elsewhere they are skipped, and that is said.

use crate::binary::{command, printed, printed_line};
use crate::python;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::{TempDir, tempdir};

const SPEC: &str = "
models: [{file: m.onnx, input: d.npz}]
grid: {pe.banks: [16, 32], array.rows: [2, 4, 8]}
where: [pe.banks * array.rows <= 128]
";

/// Two thousand machines.
const LARGE_SPEC: &str = "
models: [{file: m.onnx, input: d.npz}]
grid:
  array.rows: [1, 2, 4, 6, 8]
  array.cols: [1, 2, 4, 6, 8]
  pe.weights_per_vector: [2, 4, 8, 16]
  pe.activations_per_vector: [1, 2, 4, 8]
  pe.banks: [8, 16, 32, 64, 128]
";

fn folder() -> TempDir {
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::copy(scnn_models::lenet5(), file("m.onnx")).unwrap();
    std::fs::copy(scnn_models::lenet5_digits(), file("d.npz")).unwrap();
    std::fs::write(file("s.yaml"), SPEC).unwrap();
    folder
}

/// What `sweep serve` answers to some lines.
fn served(folder: &Path, words: &[&str], lines: &[Value]) -> Vec<Value> {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    let asked = lines.join("\n") + "\n";
    let output = command(folder)
        .args(["sweep", "serve", "s.yaml"])
        .args(words)
        .write_stdin(asked)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let answers = text.lines().map(|line| serde_json::from_str(line).unwrap());
    answers.collect()
}

#[test]
fn what_is_asked_for_is_the_row_of_a_sweep_and_is_kept() {
    let folder = folder();
    let path = folder.path();
    printed(path, &["sweep", "s.yaml", "-o", "out", "-q"]);
    let csv = std::fs::read_to_string(path.join("out/points.csv")).unwrap();
    let names: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    let asked = |banks: u32, rows: u32| json!({"settings": {"pe.banks": banks, "array.rows": rows}, "id": rows});
    let mut lines = vec![asked(16, 2), asked(16, 4), asked(16, 8), asked(32, 2)];
    lines.push(asked(32, 8));
    let answers = served(path, &["-o", "kept"], &lines);
    assert_eq!(answers[0]["axes"]["array.rows"], json!([2, 4, 8]));
    for (row, answer) in csv.lines().skip(1).zip(&answers[1..5]) {
        for (name, cell) in names.iter().zip(row.split(',')) {
            let same = match &answer[*name] {
                Value::Null => cell.is_empty(),
                Value::String(text) => text == cell,
                number => number.as_f64() == cell.parse().ok(),
            };
            assert!(same, "{name}: {cell} {answer}");
        }
    }
    assert_eq!(answers[5], json!({"excluded": true, "id": 8}));
    // A point that is kept has the name of its content, whoever measured it.
    for entry in std::fs::read_dir(path.join("kept/points")).unwrap() {
        let name = entry.unwrap().file_name();
        let [kept, swept] =
            ["kept", "out"].map(|of| std::fs::read(path.join(of).join("points").join(&name)));
        assert_eq!(kept.unwrap(), swept.unwrap());
    }
}

#[test]
fn a_question_that_is_none_is_answered_and_others_go_on() {
    let folder = folder();
    let lines = [
        json!("nonsense"),
        json!({"settings": {"pe.bank": 16}}),
        json!({"settings": {"pe.banks": [16]}}),
        json!({"model": "other"}),
        json!({"settings": {"fidelity": "fast"}, "fidelity": "nearly"}),
        json!({"settings": {"pe.banks": 16, "array.rows": 2}, "fidelity": "model"}),
    ];
    let answers = served(folder.path(), &[], &lines);
    let message = |at: usize| answers[at]["message"].as_str().unwrap_or_default();
    for (at, said) in [
        (1, "invalid type"),
        (2, "no parameter `pe.bank`"),
        (3, "`pe.banks` is no number"),
        (4, "there is no such model, but m"),
        (5, "`fidelity: nearly` is not possible"),
    ] {
        assert!(message(at).contains(said), "{at}: {}", answers[at]);
        assert!(answers[at]["error"].is_string());
    }
    assert!(answers[6]["total_cycles"].is_number());
}

/// `PATH` with the binary's folder first.
fn path_with_binary() -> std::ffi::OsString {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_scnnc"));
    let old = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(binary.parent().unwrap().to_path_buf());
    std::env::join_paths(folders.chain(std::env::split_paths(&old))).unwrap()
}

/// Cycles, pJ and mm2 of a machine.
type Costs = [f64; 3];

/// The volume that some points dominate below a corner: slices of the third cost, each the area of a staircase.
fn hypervolume(points: &[Costs], corner: Costs) -> f64 {
    let mut points = points.to_vec();
    points.sort_by(|a, b| a[2].total_cmp(&b[2]));
    let tops = points.iter().skip(1).map(|point| point[2]);
    let tops: Vec<f64> = tops.chain([corner[2]]).collect();
    let mut below: Vec<Costs> = vec![];
    let slices = points.iter().zip(tops).map(|(point, top)| {
        below.push(*point);
        below.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let mut height = corner[1];
        let steps = below.iter().map(|point| {
            let lower = height.min(point[1]);
            let area = (corner[0] - point[0]) * (height - lower);
            height = lower;
            area
        });
        steps.sum::<f64>() * (top - point[2])
    });
    slices.sum()
}

#[test]
fn a_hypervolume_is_that_of_the_union_of_boxes() {
    let corner = [4.0, 4.0, 4.0];
    assert_eq!(hypervolume(&[[1.0, 2.0, 3.0]], corner), 6.0);
    let points = [[1.0, 2.0, 3.0], [3.0, 3.0, 0.0], [3.5, 3.5, 1.0]];
    assert_eq!(hypervolume(&points, corner), 6.0 + 4.0 - 1.0);
}

/// The costs of all points of `s.yaml`, measured exactly.
fn costs_of_all_points(folder: &Path) -> Vec<Costs> {
    printed(folder, &["sweep", "s.yaml", "-o", "out", "-q"]);
    let csv = std::fs::read_to_string(folder.join("out/points.csv")).unwrap();
    let names: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    let columns = ["total_cycles", "total_energy_pj", "area_mm2"];
    let columns = columns.map(|name| names.iter().position(|other| *other == name).unwrap());
    let points = csv.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        columns.map(|column| cells[column].parse().unwrap())
    });
    points.collect()
}

/// `SCNN_TUNER=1` takes a space of 2,000 points, of which at most one in twenty may be run.
#[test]
fn a_tuner_finds_the_best_machines_by_predictions_and_few_runs() {
    if !python::has("optuna") {
        return;
    }
    let folder = folder();
    let path = folder.path();
    let (trials, most) = if std::env::var_os("SCNN_TUNER").is_none() {
        ("30", 5)
    } else {
        std::fs::write(path.join("s.yaml"), LARGE_SPEC).unwrap();
        ("1000", 100)
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tune.py");
    let output = Command::new("python3")
        .args([script, "s.yaml", "kept", trials])
        .current_dir(path)
        .env("PATH", path_with_binary())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let found = text.lines().map(|line| {
        let point: Value = serde_json::from_str(line).unwrap();
        [0, 1, 2].map(|at| point["exact"][at].as_f64().unwrap())
    });
    let found: Vec<Costs> = found.collect();
    let all = costs_of_all_points(path);
    let corner = [0, 1, 2].map(|of| all.iter().map(|point| point[of]).fold(0.0, f64::max));
    let share = hypervolume(&found, corner) / hypervolume(&all, corner);
    println!(
        "{} of {} points run, {:.2} % of the hypervolume",
        found.len(),
        all.len(),
        100.0 * share
    );
    assert!((1..=most).contains(&found.len()), "{text}");
    assert!(share >= 0.99, "{share}");
}

/// A binary that is killed in the middle of its first run of the first part.
const KILLED_ONCE: &str = r#"#!/bin/bash
if [[ " $* " == *" 1/2 "* && ! -e killed ]]; then
  touch killed
  scnnc "$@" &
  while [ -z "$(ls parts/1/points/*.json 2>/dev/null)" ]; do sleep 0.01; done
  kill -9 $!
  exit 137
fi
exec scnnc "$@"
"#;

#[cfg(unix)]
#[test]
fn a_workflow_of_which_a_job_was_killed_gives_the_bytes_of_one_run() {
    use std::os::unix::fs::PermissionsExt;
    if !python::has("snakemake") {
        return;
    }
    let folder = folder();
    let path = folder.path();
    let export = "sweep export s.yaml --snakemake --shards 2 -o Snakefile";
    printed_line(path, export);
    let wrapper = path.join("killed-once.sh");
    std::fs::write(&wrapper, KILLED_ONCE).unwrap();
    std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new("python3")
        .args([
            "-m",
            "snakemake",
            "--cores",
            "2",
            "--config",
            "scnnc=./killed-once.sh",
        ])
        .current_dir(path)
        .env("PATH", path_with_binary())
        .env("HOME", path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(path.join("killed").exists());
    printed(path, &["sweep", "s.yaml", "-o", "one", "-q"]);
    for name in ["points.csv", "layers.csv", "sweep.json"] {
        let read = |folder: &str| std::fs::read(path.join(folder).join(name)).unwrap();
        assert!(read("sweep") == read("one"), "{name}");
    }
}

#[test]
fn a_workflow_has_a_job_for_each_part_and_no_more_than_points() {
    let folder = folder();
    let words = ["sweep", "export", "s.yaml", "--snakemake", "--shards", "64"];
    let text = printed(folder.path(), &words);
    assert!(text.contains("SHARDS = range(1, 5 + 1)"), "{text}");
    let spec = folder.path().join("s.yaml");
    assert!(
        text.contains(&format!("SPEC = \"{}\"", spec.display())),
        "{text}"
    );
}
