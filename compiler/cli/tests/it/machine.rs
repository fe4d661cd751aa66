//! Machines of one's own: operands of any width, and programs that are priced on machines other than their own.

use crate::binary::{Said, said};
use serde_json::Value;
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// The report of a run that succeeds.
fn report(folder: &Path, words: &str) -> Value {
    let Said { status, out, error } =
        said(folder, format!("run {words} --json -q").split_whitespace());
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
    let Said { status, error, .. } = said(
        folder.path(),
        format!("run {words} --check").split_whitespace(),
    );
    assert_eq!(status, 0, "{error}");
    let Said { status, error, .. } = said(
        folder.path(),
        format!("run {words} --bits 12").split_whitespace(),
    );
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
    let compiled = said(
        folder.path(),
        ("compile m.onnx --calibrate d.npz -o p.scnn").split_whitespace(),
    );
    assert_eq!(compiled.status, 0, "{}", compiled.error);
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
    let Said { status, error, .. } = said(folder.path(), words.split_whitespace());
    assert_eq!(status, 1);
    assert!(
        error.contains("array.rows: program 8, machine 4"),
        "{error}"
    );
    assert!(!error.contains("dram"), "{error}");
}
