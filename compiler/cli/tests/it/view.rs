//! `run --view` and `report --view`: the report's numbers, for other viewers.

use crate::binary::{command, json, refused};
use serde_json::Value;
use std::path::Path;

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

/// Networks of the zoo whose views are summed, made on the way: `SCNN_VIEWS="squeezenet m5"`, or `all`.
fn zoo() -> Vec<String> {
    let wanted = std::env::var("SCNN_VIEWS").unwrap_or_default();
    let all = scnn_models::zoo::NETWORKS
        .iter()
        .map(|network| network.name.to_owned());
    if wanted == "all" {
        return all.collect();
    }
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    all.filter(|name| wanted.contains(&name.as_str())).collect()
}

/// The sums of every view of a network's run are the report's: what no node computes stands at the model.
fn assert_sums(folder: &Path, model: &str) {
    let views = ["netron", "model-explorer", "folded"];
    let mut options = views.map(|view| format!("--view={view}={view}")).to_vec();
    // The image that a network of the zoo has its densities on: of noise, layers see zeros alone.
    let image = Path::new(model).with_extension("npy");
    if folder.join(&image).is_file() {
        options.push(format!("--input={}", image.display()));
    }
    command(folder)
        .args([
            "run",
            model,
            "--quiet",
            "--samples",
            "1",
            "--report",
            "r.json",
        ])
        .args(["--timing", "fast", "--mapping", "paper"])
        .args(&options)
        .assert()
        .success();
    let report = json(&folder.join("r.json"));
    let layers = report["layers"].as_array().unwrap();
    let elsewhere = layers
        .iter()
        .filter(|layer| layer["onnx_nodes"] == serde_json::json!([]));
    let [mut cycles, mut energy, mut bytes] = [0.0; 3];
    let dram = |costs: &Value| {
        let parts = costs["dram_bytes"].as_object().unwrap().values();
        parts.map(|bytes| bytes.as_f64().unwrap()).sum::<f64>()
    };
    for layer in elsewhere {
        cycles += layer["cycles"]["total"].as_f64().unwrap();
        energy += layer["energy_pj"]["total"].as_f64().unwrap();
        bytes += dram(layer);
    }
    let no_node = cycles;
    let netron = json(&folder.join("netron"));
    for metric in netron["metrics"].as_array().unwrap() {
        let value = metric["value"].as_f64().unwrap();
        match (metric["kind"].as_str(), metric["name"].as_str()) {
            (Some("node"), Some("scnnc.cycles")) => cycles += value,
            (Some("node"), Some("scnnc.energy_pj")) => energy += value,
            (Some("node"), Some("scnnc.dram_bytes")) => bytes += value,
            _ => {}
        }
    }
    let totals = &report["totals"];
    let all = totals["cycles"]["total"].as_f64().unwrap();
    assert_eq!(cycles, all, "{model}");
    let expected = totals["energy_pj"]["total"].as_f64().unwrap();
    assert!(
        (energy / expected - 1.0).abs() < 1e-9,
        "{model}: {energy} {expected}"
    );
    assert_eq!(bytes, dram(totals), "{model}");

    let explorer = json(&folder.join("model-explorer"));
    let (_, graph) = explorer.as_object().unwrap().iter().next().unwrap();
    let values = graph["results"].as_object().unwrap().values();
    let sum: f64 = values.map(|result| result["value"].as_f64().unwrap()).sum();
    assert_eq!(sum + no_node, all, "{model}");

    let folded = std::fs::read_to_string(folder.join("folded")).unwrap();
    let weights = folded.lines().map(|line| line.rsplit_once(' ').unwrap().1);
    let slots: u64 = weights.map(|weight| weight.parse::<u64>().unwrap()).sum();
    let multipliers = report["multipliers"].as_f64().unwrap();
    assert_eq!(slots as f64, all * multipliers, "{model}");
}

/// `models/viewers.py` does the same with the programs that the views are for.
#[test]
fn the_sums_of_every_view_are_the_reports() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = scnn_models::tiny().display().to_string();
    for model in [LENET, &tiny] {
        assert_sums(folder.path(), model);
    }
    for network in zoo() {
        command(folder.path())
            .args(["zoo", "make", &network, "-o", "."])
            .assert()
            .success();
        assert_sums(folder.path(), &format!("{network}.onnx"));
        std::fs::remove_file(folder.path().join(format!("{network}.onnx"))).unwrap();
    }
}
