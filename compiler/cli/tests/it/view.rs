//! `run --view` and `report --view`: the report's numbers, for other viewers.

use crate::binary::{command, refused};
use serde_json::Value;

const LENET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/lenet5.onnx");

#[test]
fn a_run_and_its_report_give_the_same_views() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["netron", "model-explorer", "folded", "onnx"];
    let views = |prefix: &str| -> Vec<String> {
        let views = names.iter();
        views
            .flat_map(|name| ["--view".to_owned(), format!("{name}={prefix}{name}")])
            .collect()
    };
    command(folder.path())
        .args(["run", LENET, "--quiet", "--report", "report.json"])
        .args(views("run-"))
        .assert()
        .success();
    command(folder.path())
        .args(["report", "report.json", "--model", LENET])
        .args(views("report-"))
        .assert()
        .success();
    let read = |name: String| std::fs::read(folder.path().join(name)).unwrap();
    for name in names {
        let [run, report] = ["run-", "report-"].map(|prefix| read(format!("{prefix}{name}")));
        assert!(run == report, "{name}");
    }
    let report: Value = serde_json::from_slice(&read("report.json".to_owned())).unwrap();
    let netron: Value = serde_json::from_slice(&read("run-netron".to_owned())).unwrap();
    let cycles = netron["metrics"].as_array().unwrap().iter();
    let cycles = cycles.filter(|m| m["kind"] == "node" && m["name"] == "scnnc.cycles");
    let sum: u64 = cycles.map(|m| m["value"].as_u64().unwrap()).sum();
    assert_eq!(Value::from(sum), report["totals"]["cycles"]["total"]);
    // The annotated model is a model like the first.
    command(folder.path())
        .args(["check", "run-onnx"])
        .assert()
        .success();
}

#[test]
fn views_that_cannot_be_made_are_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let said = refused(folder.path(), &["run", LENET, "--view", "svg=x.svg"], 2);
    assert!(
        said.contains("netron, onnx, model-explorer, folded"),
        "{said}"
    );
    let twice = ["run", LENET, "--view", "netron=a", "--view", "folded=a"];
    let said = refused(folder.path(), &twice, 2);
    assert!(said.contains("both name a"), "{said}");
    let over = ["report", "r.json", "--view", "onnx=m.onnx"];
    let said = refused(folder.path(), &over, 2);
    assert!(said.contains("give the model"), "{said}");
}
