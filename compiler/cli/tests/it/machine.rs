//! Machines of one's own: operands of any width, and programs that are priced on machines other than their own.

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// Exit status, standard output and standard error of a command.
fn scnnc(folder: &Path, words: &str) -> (i32, String, String) {
    let output = Command::cargo_bin("scnnc")
        .unwrap()
        .current_dir(folder)
        .args(words.split_whitespace())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let status = output.status.code().unwrap();
    (status, text(output.stdout), text(output.stderr))
}

/// The report of a run that succeeds.
fn report(folder: &Path, words: &str) -> Value {
    let (status, out, error) = scnnc(folder, &format!("run {words} --json -q"));
    assert_eq!(status, 0, "{words}: {error}");
    serde_json::from_str(&out).unwrap()
}

/// A folder with a model `m.onnx`, its digits `d.npz`, and machines of the given names and parameters.
fn folder(machines: &[(&str, &str)]) -> TempDir {
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::copy(scnn_models::lenet5(), file("m.onnx")).unwrap();
    std::fs::copy(scnn_models::lenet5_digits(), file("d.npz")).unwrap();
    for (name, parameters) in machines {
        let text = format!("extends: scnn\nname: {name}\n{parameters}\n");
        std::fs::write(file(&format!("{name}.yaml")), text).unwrap();
    }
    folder
}

#[test]
fn operands_are_as_wide_as_the_machine_s() {
    let folder = folder(&[("eleven", "pe: {operand_bits: 11}")]);
    let words = "m.onnx --input d.npz --samples 1 --machine eleven.yaml";
    let (status, _, error) = scnnc(folder.path(), &format!("run {words} --check"));
    assert_eq!(status, 0, "{error}");
    let (status, _, error) = scnnc(folder.path(), &format!("run {words} --bits 12"));
    assert_eq!(status, 1);
    let says = "the network shall have operands of 12 bits; those of the machine have 11";
    assert!(
        error.contains(says) && error.contains("--bits 11"),
        "{error}"
    );
}

#[test]
fn a_program_runs_on_a_machine_that_differs_in_cost_alone() {
    let folder = folder(&[
        (
            "slow",
            "dram: {gigabytes_per_second: 1.0}\nweights: {fifo_vectors: 20}",
        ),
        (
            "small",
            "array: {rows: 4}\ndram: {gigabytes_per_second: 1.0}",
        ),
    ]);
    let compiled = scnnc(folder.path(), "compile m.onnx --calibrate d.npz -o p.scnn");
    assert_eq!(compiled.0, 0, "{}", compiled.2);
    let input = "--input d.npz --samples 1";
    let of = |report: &Value, path: &str| report.pointer(path).unwrap().clone();
    let own = report(folder.path(), &format!("p.scnn {input}"));
    let slow = report(
        folder.path(),
        &format!("p.scnn {input} --machine slow.yaml"),
    );
    let cycles = |report: &Value| of(report, "/totals/cycles/total").as_u64().unwrap();
    assert!(cycles(&slow) > 2 * cycles(&own));
    for same in [
        "/totals/multiplies",
        "/totals/dram_bytes",
        "/layers/0/mapping",
    ] {
        assert_eq!(of(&slow, same), of(&own, same), "{same}");
    }
    assert_eq!(of(&slow, "/machine"), "slow");

    let words = format!("run p.scnn {input} --machine small.yaml");
    let (status, _, error) = scnnc(folder.path(), &words);
    assert_eq!(status, 1);
    assert!(
        error.contains("array.rows: program 8, machine 4"),
        "{error}"
    );
    assert!(!error.contains("dram"), "{error}");
}
