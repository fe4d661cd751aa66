//! Sweeps: each point is a single run, whatever is there already, whoever measures it, and on how many threads.

use crate::binary::{command, printed, refused, said};
use crate::refusals::refusal;
use prost::Message;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::{TempDir, tempdir};
use tract_onnx::pb::{ModelProto, StringStringEntryProto};

/// A folder with a model `m.onnx`, its digits `d.npz`, and a specification `s.yaml` with those as its model.
fn folder(settings: &str) -> TempDir {
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::copy(scnn_models::lenet5(), file("m.onnx")).unwrap();
    std::fs::copy(scnn_models::lenet5_digits(), file("d.npz")).unwrap();
    specify(folder.path(), settings);
    folder
}

fn specify(folder: &Path, settings: &str) {
    let text = format!("models: [{{file: m.onnx, input: d.npz}}]\n{settings}");
    std::fs::write(folder.join("s.yaml"), text).unwrap();
}

/// What `sweep WORDS` prints.
fn sweep(folder: &Path, words: &str) -> String {
    let words: Vec<&str> = ["sweep"]
        .into_iter()
        .chain(words.split_whitespace())
        .collect();
    printed(folder, &words)
}

/// The rows of a table, each by column. No cell of these tests has a comma.
fn table(folder: &Path, file: &str) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let Some(names) = lines.next() else {
        return Vec::new();
    };
    let names: Vec<String> = names.collect();
    lines
        .map(|cells| names.iter().cloned().zip(cells).collect())
        .collect()
}

/// Every file below a folder with its bytes.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let inner = bytes(&path).into_iter();
            files.extend(inner.map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
    files
}

const GRID: &str = "grid: {pe.banks: [16, 32], pe.operand_bits: [8, 16]}\nlist: [{mapping: paper}, {fidelity: fast}]\n";

#[test]
fn every_point_is_the_single_run_with_its_settings() {
    let folder = folder(GRID);
    sweep(folder.path(), "s.yaml -o out -q");
    let rows = table(folder.path(), "out/points.csv");
    assert_eq!(rows.len(), 8);
    let layers = table(folder.path(), "out/layers.csv");
    for row in &rows {
        let words = format!(
            "run m.onnx --input d.npz --samples 1 --set pe.banks={} --set pe.operand_bits={} --mapping {} --timing {} --json -q",
            row["pe.banks"], row["pe.operand_bits"], row["mapping"], row["fidelity"]
        );
        let words: Vec<&str> = words.split_whitespace().collect();
        let run: Value = serde_json::from_str(&printed(folder.path(), &words)).unwrap();
        let same = |row: &BTreeMap<String, String>, column: &str, costs: &Value, path: &str| {
            let number = costs.pointer(path).unwrap().as_f64().unwrap();
            let found: f64 = row[column].parse().unwrap();
            assert!(
                (found - number).abs() <= number.abs() * 1e-12,
                "{words:?}: {column} {found}, {number}"
            );
        };
        assert_eq!(row["machine"], run["machine"].as_str().unwrap());
        let columns = [
            ("total_cycles", "/cycles/total"),
            ("predicted_cycles", "/cycles/predicted"),
            ("total_energy_pj", "/energy_pj/total"),
            ("utilisation_ratio", "/utilisation"),
            ("host_link_bytes", "/counters/host_bytes"),
        ];
        let of_point = layers.iter().filter(|layer| layer["point"] == row["point"]);
        let of_point: Vec<_> = of_point.collect();
        assert_eq!(of_point.len(), run["layers"].as_array().unwrap().len());
        for (column, path) in columns {
            same(row, column, &run["totals"], path);
            for (at, layer) in of_point.iter().enumerate() {
                same(layer, column, &run["layers"][at], path);
            }
        }
    }
}

#[test]
fn what_is_kept_is_not_measured_again_and_the_bytes_do_not_depend_on_it_or_on_threads() {
    let folder = folder(GRID);
    let said = sweep(folder.path(), "s.yaml -o one -q --threads 1");
    assert!(
        said.contains("8 points, 8 of them measured now, 0 failed"),
        "{said}"
    );
    sweep(folder.path(), "s.yaml -o three -q --threads 3");
    let whole = bytes(&folder.path().join("one"));
    assert!(whole == bytes(&folder.path().join("three")));

    // As after a kill: some points are there, one is cut short, the tables are not.
    let points: Vec<&String> = whole
        .keys()
        .filter(|name| name.starts_with("points/"))
        .collect();
    for name in &points[..3] {
        std::fs::remove_file(folder.path().join("one").join(name)).unwrap();
    }
    let cut = folder.path().join("one").join(points[3]);
    std::fs::write(&cut, &whole[points[3]][..20]).unwrap();
    for name in ["points.csv", "layers.csv", "sweep.json"] {
        std::fs::remove_file(folder.path().join("one").join(name)).unwrap();
    }
    let said = sweep(folder.path(), "s.yaml -o one -q");
    assert!(said.contains("4 of them measured now"), "{said}");
    assert!(whole == bytes(&folder.path().join("one")));
    let said = sweep(folder.path(), "s.yaml -o one -q");
    assert!(said.contains("0 of them measured now"), "{said}");

    // Another specification measures what is new in it alone; other inputs measure all.
    specify(folder.path(), &GRID.replace("[16, 32]", "[16, 32, 64]"));
    let said = sweep(folder.path(), "s.yaml -o one -q");
    assert!(said.contains("12 points, 4 of them measured now"), "{said}");
    std::fs::copy(
        scnn_models::lenet5_digits(),
        folder.path().join("other.npz"),
    )
    .unwrap();
    let text = std::fs::read_to_string(folder.path().join("s.yaml")).unwrap();
    let write = |from: &str, to: &str| {
        std::fs::write(folder.path().join("s.yaml"), text.replace(from, to)).unwrap();
    };
    write("d.npz", "other.npz");
    let said = sweep(folder.path(), "s.yaml -o one -q");
    assert!(
        said.contains("0 of them measured now"),
        "the contents are the same: {said}"
    );
    write(", input: d.npz", "");
    let said = sweep(folder.path(), "s.yaml -o one -q");
    assert!(said.contains("12 of them measured now"), "{said}");
}

/// The LeNet-5 with its largest constant in a file of its own, `w.bin`.
fn with_external_data(folder: &Path) {
    let bytes = std::fs::read(scnn_models::lenet5()).unwrap();
    let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
    let constants = &mut model.graph.as_mut().unwrap().initializer;
    let largest = constants
        .iter_mut()
        .max_by_key(|tensor| tensor.raw_data.len());
    let largest = largest.unwrap();
    std::fs::write(folder.join("w.bin"), &largest.raw_data).unwrap();
    largest.raw_data.clear();
    largest.data_location = Some(1);
    largest.external_data.push(StringStringEntryProto {
        key: "location".to_owned(),
        value: "w.bin".to_owned(),
    });
    std::fs::write(folder.join("m.onnx"), model.encode_to_vec()).unwrap();
}

#[test]
fn data_of_a_model_in_another_file_decide_its_points_too() {
    let folder = folder("base: {fidelity: fast}\n");
    let path = folder.path();
    with_external_data(path);
    sweep(path, "s.yaml -o out -q");
    let before = table(path, "out/points.csv");
    let said = sweep(path, "s.yaml -o out -q");
    assert!(said.contains("0 of them measured now"), "{said}");
    let weights = std::fs::read(path.join("w.bin")).unwrap();
    std::fs::write(path.join("w.bin"), vec![0; weights.len()]).unwrap();
    let said = sweep(path, "s.yaml -o out -q");
    assert!(said.contains("1 of them measured now"), "{said}");
    let after = table(path, "out/points.csv");
    assert_ne!(before[0]["total_cycles"], after[0]["total_cycles"]);
}

#[test]
fn what_a_killed_process_left_half_written_goes_unless_another_writes_there() {
    let folder = folder("base: {fidelity: fast}\n");
    let path = folder.path();
    sweep(path, "s.yaml -o out -q");
    let left = [".tmpAbCdEf", "points/.tmp123456"].map(|name| path.join("out").join(name));
    let leave = || {
        for file in &left {
            std::fs::write(file, "half of").unwrap();
        }
    };
    leave();
    let other = std::fs::File::open(path.join("out/points")).unwrap();
    other.lock_shared().unwrap();
    sweep(path, "s.yaml -o out -q");
    assert!(left.iter().all(|file| file.exists()), "another is at work");
    other.unlock().unwrap();
    sweep(path, "s.yaml -o out -q");
    assert!(left.iter().all(|file| !file.exists()));
}

#[test]
fn parts_that_are_merged_are_the_whole() {
    let folder = folder(GRID);
    sweep(folder.path(), "s.yaml -o whole -q");
    for part in 1..=3 {
        sweep(
            folder.path(),
            &format!("s.yaml -o part{part} -q --shard {part}/3"),
        );
    }
    assert_eq!(table(folder.path(), "part1/points.csv").len(), 3);
    sweep(folder.path(), "merge part1 part2 part3 -o merged");
    let whole = bytes(&folder.path().join("whole"));
    assert!(whole == bytes(&folder.path().join("merged")));

    let error = refused(
        folder.path(),
        &["sweep", "merge", "part1", "part3", "-o", "less"],
        1,
    );
    assert!(
        error.contains("E0116") && error.contains("points are in none of the parts"),
        "{error}"
    );
    specify(folder.path(), "grid: {pe.banks: [16]}\n");
    sweep(folder.path(), "s.yaml -o other -q");
    let error = refused(
        folder.path(),
        &["sweep", "merge", "part1", "other", "-o", "none"],
        1,
    );
    assert!(error.contains("not of the same points"), "{error}");
}

#[test]
fn a_point_that_fails_is_a_row_and_the_others_are_measured() {
    let folder = folder(
        "base: {fidelity: fast}\nlist:\n  - {pe.bank_map: xor, pe.banks: 33}\n  - {pe.banks: 16}\n  - {machine: dcnn}\n  - {bits: 16, pe.operand_bits: 8}\n",
    );
    let said = sweep(folder.path(), "s.yaml -o out -q");
    assert!(
        said.contains("4 points, 3 of them measured now, 3 failed"),
        "{said}"
    );
    let rows = table(folder.path(), "out/points.csv");
    let errors: Vec<&str> = rows.iter().map(|row| row["error"].as_str()).collect();
    assert_eq!(errors[0], "E0205");
    assert_eq!(errors[1], "");
    assert!(
        errors[2].starts_with('E') && errors[3].starts_with('E'),
        "{errors:?}"
    );
    assert!(!rows[1]["total_cycles"].is_empty());
}

#[test]
fn constraints_choose_points_and_predictions_take_no_run() {
    let folder = folder(
        "base: {fidelity: model}\ngrid: {pe.banks: [8, 16, 32], pe.entries_per_bank: [32, 64]}\nwhere:\n  - pe.banks * pe.entries_per_bank == 1024\n  - array.rows == 8\n",
    );
    sweep(folder.path(), "s.yaml -o out -q");
    let rows = table(folder.path(), "out/points.csv");
    let pairs: Vec<[&str; 2]> = rows
        .iter()
        .map(|row| ["pe.banks", "pe.entries_per_bank"].map(|name| row[name].as_str()))
        .collect();
    assert_eq!(pairs, [["16", "64"], ["32", "32"]]);
    let words = "run m.onnx --input d.npz --samples 1 --json -q".split_whitespace();
    let run = said(folder.path(), words);
    let run: Value = serde_json::from_str(&run.out).unwrap();
    let predicted = run["totals"]["cycles"]["predicted"].as_u64().unwrap();
    assert_eq!(rows[1]["total_cycles"], predicted.to_string());
    assert_eq!(rows[1]["utilisation_ratio"], "");
}

#[test]
fn pruning_and_batches_are_settings_as_others() {
    let folder = folder("base: {fidelity: fast}\ngrid: {prune: [0.1, 0.05]}\n");
    sweep(folder.path(), "s.yaml -o out -q");
    for row in table(folder.path(), "out/points.csv") {
        let words = format!(
            "run m.onnx --input d.npz --samples 1 --timing fast --prune {} --json -q",
            row["prune"]
        );
        let words: Vec<&str> = words.split_whitespace().collect();
        let run = said(folder.path(), &words);
        let run: Value = serde_json::from_str(&run.out).unwrap();
        let cycles = run["totals"]["cycles"]["total"].as_u64().unwrap();
        assert_eq!(row["total_cycles"], cycles.to_string());
    }
}

#[test]
fn a_specification_that_cannot_be_measured_is_refused_before_any_work() {
    let folder = tempdir().unwrap();
    std::fs::copy(scnn_models::lenet5(), folder.path().join("m.onnx")).unwrap();
    let refusals = [
        ("models: []\n", "`models` is empty"),
        (
            "models: [{file: m.onnx}]\ngrid: {pe.bank: [1]}\n",
            "did you mean `pe.banks`?",
        ),
        (
            "models: [{file: m.onnx}]\ngrid: {mapping: [best]}\n",
            "`mapping` is paper or search",
        ),
        (
            "models: [{file: m.onnx}]\nwhere: [pe.banks =< 3]\n",
            "a comparison",
        ),
        (
            "models: [{file: m.onnx}]\nwhere: [pe.bank < 3]\n",
            "`pe.bank` is no number and no setting",
        ),
        (
            "models: [{file: m.onnx}]\ngrid: {pe.banks: {from: 1, to: 3}}\n",
            "`step` above 0",
        ),
        ("models: [{file: n.onnx}]\n", "n.onnx"),
        (
            "models: [{file: m.onnx}]\ngird: {}\n",
            "did you mean `grid`?",
        ),
    ];
    for (text, says) in refusals {
        std::fs::write(folder.path().join("s.yaml"), text).unwrap();
        let error = refusal(&folder, &["sweep", "s.yaml", "-o", "out"], 1);
        assert!(error.contains(says), "{text}: {error}");
    }
    for shard in ["0/3", "4/3", "1", "a/b"] {
        let mut command = command(folder.path());
        let output = command
            .args(["sweep", "s.yaml", "-o", "out", "--shard", shard])
            .output();
        assert_eq!(output.unwrap().status.code(), Some(2), "{shard}");
    }
}
