//! Files of other tools: Accelergy, Timeloop, SCALE-Sim, experiment trackers.

use crate::binary::{json, printed, refused};
use serde_json::Value;

const LENET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/lenet5.onnx");

#[test]
fn a_run_is_written_for_other_tools() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let views = [
        "accelergy=a.yaml",
        "timeloop=problems",
        "scale-sim=t.csv",
        "line=l.json",
    ];
    let views = views.iter().flat_map(|view| ["--view", view]);
    let run = ["run", LENET, "-q", "--report", "r.json"]
        .into_iter()
        .chain(views);
    printed(at, &run.collect::<Vec<_>>());
    let report = json(&at.join("r.json"));
    let line = json(&at.join("l.json"));
    assert_eq!(
        line["total_cycles"].as_f64(),
        report["totals"]["cycles"]["total"].as_f64()
    );
    assert_eq!(std::fs::read_dir(at.join("problems")).unwrap().count(), 4);
    let counts = std::fs::read_to_string(at.join("a.yaml")).unwrap();
    let multiplies = &report["totals"]["counters"]["multiplies"];
    assert!(
        counts.contains(&format!("{{name: multiply, counts: {multiplies}}}")),
        "{counts}"
    );

    // The tables make networks of the same multiplications.
    printed(at, &["zoo", "make", "--table", "t.csv", "-o", "csv", "-q"]);
    let mut make = vec![
        "zoo".to_owned(),
        "make".to_owned(),
        "-o".to_owned(),
        "yaml".to_owned(),
        "-q".to_owned(),
    ];
    let problems = std::fs::read_dir(at.join("problems")).unwrap();
    let mut problems: Vec<String> = problems
        .map(|entry| format!("problems/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    problems.sort();
    make.extend(
        problems
            .iter()
            .flat_map(|path| ["--table".to_owned(), path.clone()]),
    );
    printed(at, &make.iter().map(String::as_str).collect::<Vec<_>>());
    for (model, densities) in [("csv/t", false), ("yaml/01-conv1_Conv", true)] {
        let (onnx, npz) = (format!("{model}.onnx"), format!("{model}.npz"));
        let run = [
            "run", &onnx, "--input", &npz, "-q", "--check", "--report", "n.json",
        ];
        printed(at, &run);
        let network = json(&at.join("n.json"));
        assert_eq!(
            network["totals"]["multiplies"]["dense"],
            report["totals"]["multiplies"]["dense"]
        );
        let layers = network["layers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|layer| layer["engine"] == "scnn");
        for (layer, original) in layers
            .filter(|layer| layer["multiplies"]["dense"] != 0)
            .zip(report["layers"].as_array().unwrap())
        {
            for part in ["weights", "input"] {
                let wanted = if densities {
                    original["density"][part].as_f64().unwrap()
                } else {
                    1.0
                };
                let found = layer["density"][part].as_f64().unwrap();
                assert!(
                    (found - wanted).abs() < 0.03,
                    "{}: {part} {found}, {wanted}",
                    layer["name"]
                );
            }
        }
    }
}

#[test]
fn a_machine_goes_to_accelergy_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let set = [
        "machine",
        "show",
        "scnn",
        "--set",
        "energy.multiply=0.5",
        "--set",
        "area.crossbar=0.05",
        "--accelergy",
    ];
    std::fs::write(at.join("t.yaml"), printed(at, &set)).unwrap();
    printed(at, &["machine", "import", "t.yaml", "-o", "m.yaml"]);
    let diff = printed(at, &["machine", "diff", "scnn", "m.yaml", "--json"]);
    let diff: Value = serde_json::from_str(&diff).unwrap();
    let differing: Vec<&str> = diff["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["parameter"].as_str().unwrap())
        .collect();
    // A larger crossbar makes the wires over a PE longer.
    let by_law = ["energy.fifo_write_vector", "energy.halo_sum"];
    let stated = ["energy.multiply", "area.crossbar"];
    assert_eq!(differing, [stated[0], by_law[0], by_law[1], stated[1]]);
}

#[test]
fn tables_of_other_machines_are_assigned_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let ert = "ERT:\n  version: 0.4\n  tables:\n  - name: system.PE[1..64].mac\n    actions:\n    - {name: compute, arguments: {}, energy: 2.2}\n";
    let art = "ART:\n  version: 0.4\n  tables:\n  - name: system.PE[1..64].mac\n    area: 332.25\n";
    std::fs::write(at.join("ert.yaml"), ert).unwrap();
    std::fs::write(at.join("art.yaml"), art).unwrap();
    let said = refused(at, &["machine", "import", "ert.yaml"], 1);
    assert!(
        said.contains("no entry has a name of ours") && said.contains("system.PE.mac.compute"),
        "{said}"
    );
    let slip = [
        "machine",
        "import",
        "ert.yaml",
        "--map",
        "energy.multply=mac.compute",
    ];
    let said = refused(at, &slip, 2);
    assert!(said.contains("did you mean `energy.multiply`"), "{said}");
    let both = [
        "machine",
        "import",
        "ert.yaml",
        "art.yaml",
        "--map",
        "energy.multiply=mac.compute",
        "--map",
        "area.multipliers=mac",
    ];
    let machine = printed(at, &both);
    assert!(
        machine.contains(
            "multiply: {pj: 2.2, source: \"Accelergy, ert.yaml: system.PE.mac.compute\"}"
        ),
        "{machine}"
    );
    assert!(
        machine.contains("multipliers: {mm2: 0.00033225,"),
        "{machine}"
    );
    std::fs::write(at.join("m.yaml"), &machine).unwrap();
    printed(at, &["machine", "check", "m.yaml"]);
}

/// Lines as SCALE-Sim's repository has them (`topologies/conv_nets/Resnet18.csv`): no padding, another column behind.
#[test]
fn a_topology_as_people_write_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let text = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,, Target\n\
                Conv4_1b,14,14,3,3,16,32,1, NPU\nConv5_1a,14,14,3,3,16,32,2, GPU\nFC,1,1,1,1,64,10,1, NPU\n";
    std::fs::write(at.join("net.csv"), text).unwrap();
    let said = printed(
        at,
        &["zoo", "make", "--table", "net.csv", "--density", "0.4,0.5"],
    );
    let products = 12 * 12 * 9 * 16 * 32 + 6 * 6 * 9 * 16 * 32 + 640;
    assert!(
        said.contains(&format!("3 layers, {products} multiplications")),
        "{said}"
    );
    let run = [
        "run", "net.onnx", "--input", "net.npz", "-q", "--check", "--report", "r.json",
    ];
    printed(at, &run);
    let report = json(&at.join("r.json"));
    assert_eq!(report["totals"]["multiplies"]["dense"], products);
    let density = &report["layers"][0]["density"];
    assert!(
        (density["weights"].as_f64().unwrap() - 0.4).abs() < 0.01,
        "{density}"
    );
    assert!(
        (density["input"].as_f64().unwrap() - 0.5).abs() < 0.01,
        "{density}"
    );
    std::fs::write(at.join("bad.csv"), "layer\n").unwrap();
    let said = refused(at, &["zoo", "make", "--table", "bad.csv"], 1);
    assert!(
        said.contains("E0118") && said.contains("the head is neither"),
        "{said}"
    );
}
