//! Transforms keep what a graph computes, and `--verify-passes` names the one that does not.

use crate::binary::command;
use crate::onnx::{Model, int, ints, noise};
use scnn_host::Host;
use scnn_isa::machine::Machine;
use scnnc::calibrate::synthetic;
use scnnc::graph::{Graph, Op};
use scnnc::import::{ImportOptions, import_bytes};
use scnnc::reference::evaluate::{evaluate, floats};
use scnnc::reference::float::FloatModel;
use scnnc::reference::pass_check::{PassCheck, PassError};
use scnnc::transform;
use std::path::Path;

/// A convolution, batch-norm, `ReLU`, grouped convolution, pooling: what fusing has to get right.
fn bytes() -> Vec<u8> {
    Model::new("net")
        .input("x", &[1, 4, 9, 9])
        .floats("w", &[6, 4, 3, 3], &noise(216, 1, 0.6))
        .floats("g", &[6], &noise(6, 2, 1.0))
        .floats("v", &[6], &[0.5, 0.7, 1.0, 1.5, 2.0, 3.0])
        .floats("d", &[6, 3, 3, 3], &noise(162, 3, 0.6))
        .node("Conv", &["x", "w"], "c", vec![ints("pads", &[1, 1, 1, 1])])
        .node(
            "BatchNormalization",
            &["c", "g", "g", "g", "v"],
            "n",
            vec![],
        )
        .node("Relu", &["n"], "r", vec![])
        .node(
            "Conv",
            &["r", "d"],
            "e",
            vec![int("group", 2), ints("strides", &[2, 2])],
        )
        .node(
            "AveragePool",
            &["e"],
            "y",
            vec![ints("kernel_shape", &[2, 2])],
        )
        .output("y")
        .bytes()
}

fn graph() -> Graph {
    let options = ImportOptions::default();
    import_bytes("net", &bytes(), Path::new("."), &options)
        .unwrap()
        .graph
}

#[test]
fn evaluation_agrees_with_tract() {
    for bytes in [bytes(), std::fs::read(scnn_models::tiny()).unwrap()] {
        let options = ImportOptions::default();
        let imported = import_bytes("net", &bytes, Path::new("."), &options).unwrap();
        let graph = imported.graph;
        let inputs = synthetic(&graph, 3);
        let ours = evaluate(&graph, &inputs, &Host::default()).unwrap();
        let theirs = FloatModel::new(imported.typed, &[])
            .unwrap()
            .run(&inputs)
            .unwrap();
        for (name, theirs) in &theirs {
            let (ours, theirs) = (floats(&ours[name]).unwrap(), floats(theirs).unwrap());
            let largest = theirs.iter().fold(0f32, |m, v| m.max(v.abs()));
            for (a, b) in ours.iter().zip(&theirs) {
                assert!((a - b).abs() <= 1e-4 * largest, "{name}: {a} and {b}");
            }
        }
    }
}

/// What the check says when `spoil` has been at the graph after the pass `after`.
fn spoiled(after: &str, spoil: impl Fn(&mut Graph)) -> Result<usize, PassError> {
    let mut graph = graph();
    let mut check = PassCheck::new(synthetic(&graph, 1), Host::default());
    check.observe("import", &graph);
    let machine = Machine::preset("scnn").unwrap();
    for pass in transform::PASSES {
        (pass.run)(&mut graph, &machine);
        if pass.name == after {
            spoil(&mut graph);
        }
        check.observe(pass.name, &graph);
    }
    check.finish()
}

#[test]
fn sound_passes_pass() {
    assert_eq!(spoiled("none", |_| {}), Ok(transform::PASSES.len()));
}

#[test]
fn the_pass_that_changes_a_value_is_named_with_the_tensor() {
    let spoil = |change: fn(&mut scnnc::graph::Layer)| {
        move |graph: &mut Graph| {
            for id in graph.order() {
                if let Op::Layer(layer) = &mut graph.dag[id].op {
                    change(layer);
                }
            }
        }
    };
    let clamp = spoiled(
        "fuse-layers",
        spoil(|layer| layer.clamp = layer.clamp.map(|_| (-1.0, 1.0))),
    );
    let padding = spoiled(
        "fold-affine",
        spoil(|layer| {
            if let Some(conv) = &mut layer.conv {
                conv.y.pad[0] += 1;
            }
        }),
    );
    for (result, expected) in [(clamp, "fuse-layers"), (padding, "fold-affine")] {
        let Err(PassError::Changed { pass, tensor, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(pass, expected);
        assert!(["r", "e", "y"].contains(&tensor.as_str()), "{tensor}");
    }
}

#[test]
fn the_command_line_verifies_passes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("net.onnx"), bytes()).unwrap();
    let output = command(folder.path())
        .args([
            "compile",
            "net.onnx",
            "-q",
            "-o",
            "net.scnn",
            "--verify-passes",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).unwrap();
    let count = transform::PASSES.len();
    assert!(
        said.contains(&format!("verified  {count} passes")),
        "{said}"
    );
}

#[test]
fn any_optional_pass_may_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("net.onnx"), bytes()).unwrap();
    let run = |more: &[&str]| {
        let arguments = ["run", "net.onnx", "--check", "--json"];
        let mut command = command(folder.path());
        command.args(arguments).args(more).output().unwrap()
    };
    for pass in transform::PASSES.iter().filter(|pass| pass.optional) {
        let output = run(&["--skip-pass", pass.name]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let options = report["options"].to_string();
        assert!(
            output.status.success() && options.contains(&format!("skip-pass={}", pass.name)),
            "{options} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let layers = |more: &[&str]| {
        let report: serde_json::Value = serde_json::from_slice(&run(more).stdout).unwrap();
        report["layers"].as_array().unwrap().len()
    };
    assert!(layers(&["--skip-pass", "fuse-layers"]) > layers(&[]));
    let refused = run(&["--skip-pass", "partition-host"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(2) && said.contains("fuse-layers"),
        "{said}"
    );
}
