//! Machines of one's own: operands of any width, and programs that are priced on machines other than their own.

use crate::binary::{Said, json, printed, printed_line, refused, said};
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

#[test]
fn a_setting_is_the_same_machine_as_a_file() {
    let folder = folder(&[("small", "array: {rows: 4}\npe: {banks: 16}")]);
    let show = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        printed(folder.path(), &words)
    };
    let set = show("machine show scnn --set pe.banks=16 --set array.rows=4 --yaml");
    let file = show("machine show small.yaml --yaml");
    assert!(set.contains("name: scnn+array.rows=4+pe.banks=16"), "{set}");
    let parameters = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    assert_eq!(parameters(&set), parameters(&file));

    let set = "m.onnx --input d.npz --samples 1 --set pe.banks=16 --set array.rows=4";
    let set = report(folder.path(), set);
    let file = "m.onnx --input d.npz --samples 1 --machine small.yaml";
    let file = report(folder.path(), file);
    assert_eq!(set["totals"], file["totals"]);
    assert_eq!(set["parameters"], file["parameters"]);
    let shown: Value = serde_json::from_str(&show("machine show small.yaml --json")).unwrap();
    let pairs = |list: &Value, key: &str| -> Vec<(String, String)> {
        let list = list.as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        list.map(|p| (text(&p[key]), text(&p["value"]))).collect()
    };
    assert_eq!(
        pairs(&file["parameters"], "path"),
        pairs(&shown["parameters"], "parameter")
    );
}

#[test]
fn a_program_is_priced_with_settings_that_only_cost() {
    let folder = folder(&[]);
    let compiled = "compile m.onnx --calibrate d.npz -o p.scnn";
    assert_eq!(said(folder.path(), compiled.split_whitespace()).status, 0);
    let input = "p.scnn --input d.npz --samples 1";
    let own = report(folder.path(), input);
    let words = format!("{input} --set dram.gigabytes_per_second=1");
    let slow = report(folder.path(), &words);
    assert!(slow["totals"]["cycles"]["total"].as_u64() > own["totals"]["cycles"]["total"].as_u64());
    let words = format!("run {input} --set array.rows=4");
    let words: Vec<&str> = words.split_whitespace().collect();
    let error = refused(folder.path(), &words, 1);
    assert!(
        error.contains("array.rows: program 8, machine 4")
            && error.contains("`--set array.rows=4`"),
        "{error}"
    );
}

#[test]
fn a_setting_that_no_machine_has_is_refused_with_the_nearest() {
    let folder = folder(&[]);
    for verb in [
        "check m.onnx",
        "run m.onnx",
        "compile m.onnx -o p.scnn",
        "machine show scnn",
    ] {
        let words = format!("{verb} --set pe.bank=64");
        let words: Vec<&str> = words.split_whitespace().collect();
        let error = refused(folder.path(), &words, 1);
        assert!(
            error.contains("E0202") && error.contains("did you mean `pe.banks`?"),
            "{error}"
        );
    }
    assert!(!folder.path().join("p.scnn").exists());
}

#[test]
fn a_file_extends_a_file_relative_to_itself_but_never_itself() {
    let folder = tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    };
    write("base/mine.yaml", "extends: scnn\narray: {rows: 4}\n");
    write("base/more.yaml", "extends: mine.yaml\npe: {banks: 16}\n");
    write("top.yaml", "extends: base/more.yaml\narray: {cols: 2}\n");
    write("a.yaml", "extends: b.yaml\n");
    write("b.yaml", "extends: a.yaml\n");
    write("slip.yaml", "extends: base/moer.yaml\n");
    write("deep.yaml", "extends: wrong.yaml\n");
    write("wrong.yaml", "extends: scnn\npe:\n  bank: 3\n");

    let shown = printed(folder.path(), &["machine", "show", "top.yaml", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["machine"], "top");
    let of = |path: &str| {
        let all = shown["parameters"].as_array().unwrap();
        let one = all.iter().find(|p| p["parameter"] == path).unwrap();
        let text = |key: &str| one[key].as_str().unwrap().to_owned();
        (text("value"), text("from"))
    };
    let pair = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    assert_eq!(of("array.cols"), pair("2", "top.yaml"));
    assert_eq!(of("pe.banks"), pair("16", "base/more.yaml"));
    assert_eq!(of("array.rows"), pair("4", "mine.yaml"));
    assert_eq!(of("pe.queue_depth"), pair("8", "preset scnn"));

    let refusals = [
        ("a.yaml", "leads back to"),
        ("slip.yaml", "there is no machine `base/moer.yaml`"),
        ("deep.yaml", "wrong.yaml:3"),
    ];
    for (file, says) in refusals {
        let error = refused(folder.path(), &["machine", "check", file], 1);
        assert!(error.contains(says), "{file}: {error}");
    }
}

#[test]
fn two_machines_differ_in_what_one_states() {
    let folder = folder(&[(
        "small",
        "array: {rows: 4}\ndram: {gigabytes_per_second: 1.0}",
    )]);
    let json = printed(
        folder.path(),
        &["machine", "diff", "scnn", "small.yaml", "--json"],
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    let entry = |path: &str, before: &str, after: &str, unit: &str, decides: &str| {
        serde_json::json!({
            "parameter": path, "before": before, "after": after, "unit": unit, "decides": decides,
        })
    };
    let expected = serde_json::json!([
        entry("array.rows", "8", "4", "PEs", "program"),
        entry("dram.gigabytes_per_second", "50", "1", "GB/s", "cost"),
    ]);
    // The dense machine has the same SRAM in half as many PEs, and so prices of its own.
    let (follow, stated): (Vec<Value>, Vec<Value>) = json["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .cloned()
        .partition(|it| it["parameter"].as_str().unwrap().starts_with("energy."));
    assert_eq!(Value::from(stated), expected);
    let dense = |it: &Value| {
        it["parameter"]
            .as_str()
            .unwrap()
            .starts_with("energy.dense_")
    };
    assert!(follow.len() == 3 && follow.iter().all(dense), "{follow:?}");
    let same = printed(folder.path(), &["machine", "diff", "scnn", "scnn"]);
    assert_eq!(same, "scnn and scnn have the same parameters\n");
}

#[test]
fn several_machines_are_compared_and_each_is_its_single_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::copy(scnn_models::lenet5(), path.join("m.onnx")).unwrap();
    std::fs::copy(scnn_models::lenet5_digits(), path.join("d.npz")).unwrap();
    let machines = "--machine scnn --machine scnn-multicast --set pe.banks=16";
    let words = format!("compare m.onnx --input d.npz {machines} --report r.json -q");
    let text = printed_line(path, &words);
    assert!(text.contains("on 2 machines"), "{text}");
    let reports = json(&path.join("r.json"));
    for (at, name) in ["scnn", "scnn-multicast"].into_iter().enumerate() {
        let words = format!(
            "run m.onnx --input d.npz --samples 1 --machine {name} --set pe.banks=16 --json -q"
        );
        let run = printed_line(path, &words);
        let run: serde_json::Value = serde_json::from_str(&run).unwrap();
        assert_eq!(reports[at]["machine"], format!("{name}+pe.banks=16"));
        assert_eq!(reports[at]["totals"]["cycles"], run["totals"]["cycles"]);
    }
    // The file is one of reports.
    let text = printed(path, &["report", "r.json"]);
    assert!(text.contains("scnn-multicast+pe.banks=16"), "{text}");
    let two = [
        "run",
        "m.onnx",
        "--machine",
        "scnn",
        "--machine",
        "scnn-4pe",
    ];
    let said = crate::binary::refused(path, &two, 2);
    assert!(said.contains("`scnnc compare` takes several"), "{said}");
}
