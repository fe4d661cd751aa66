//! Every code is told at least once as people see it: the refusals of files other than models, and of programs.

use crate::binary::command;
use crate::onnx::{Model, float, int, ints, noise, text};
use crate::refusals::{assert_refusal, folder, refusal};
use scnn_isa::program::{Program, Runtime};
use scnnc_cli::codes::{self, Code, CodeEntry, CompilerCode, DriverCode, IsaCode, SimulatorCode};
use std::collections::BTreeSet;
use std::path::Path;
use tempfile::TempDir;

/// Codes without a file in `snapshots/diagnostics`, and why.
const ELSEWHERE: [(CodeEntry, &str); 18] = [
    (
        Code::CannotWrite.entry(),
        "names a temporary file; faults.rs",
    ),
    (CompilerCode::FloatModel.entry(), "tract's own words"),
    (
        CompilerCode::ZeroSize.entry(),
        "facts of typing; imports.rs",
    ),
    (IsaCode::ProgramTooLarge.entry(), "isa/src/verify/tests.rs"),
    (SimulatorCode::Overflow.entry(), "calibration.rs"),
    (IsaCode::HostSegment.entry(), "tract's own words"),
    (DriverCode::NotBitExact.entry(), "a bug"),
    (Code::SweepSpec.entry(), "sweep.rs"),
    (Code::SweepParts.entry(), "sweep.rs"),
    (Code::LayerTable.entry(), "formats.rs"),
    (Code::NotReplayable.entry(), "replay.rs"),
    (Code::ReportDiffers.entry(), "replay.rs"),
    (Code::SnapshotDiffers.entry(), "snapshot.rs"),
    (Code::ProgramsDiffer.entry(), "terminal.rs"),
    (SimulatorCode::SnapshotForm.entry(), "snapshot.rs"),
    (Code::MemoryLimit.entry(), "faults.rs"),
    (CompilerCode::PassChanged.entry(), "a bug; passes.rs"),
    (IsaCode::Internal.entry(), "a bug; faults.rs"),
];

#[test]
fn every_code_has_a_snapshot_or_a_reason() {
    let snapshots = concat!(env!("CARGO_MANIFEST_DIR"), "/../../snapshots/diagnostics");
    let mut told = BTreeSet::new();
    for entry in std::fs::read_dir(snapshots).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let codes = text.split("error[").skip(1);
        told.extend(codes.map(|rest| rest[..5].to_owned()));
    }
    for entry in codes::all() {
        let excused = ELSEWHERE.iter().any(|(other, _)| *other == entry);
        let told = told.contains(entry.code);
        assert!(
            told != excused,
            "{}: told {told}, in the list {excused}",
            entry.code
        );
    }
}

/// A strided convolution with `ReLU` and pooling, and files that are wrong in one way each.
fn files() -> TempDir {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/onnx/conv.onnx");
    let array = |shape: [usize; 4], value: f32| {
        let mut bytes = Vec::new();
        let array = ndarray::Array4::from_elem(shape, value);
        ndarray_npy::WriteNpyExt::write_npy(&array, &mut bytes).unwrap();
        bytes
    };
    folder(&[
        ("net.onnx", std::fs::read(path).unwrap()),
        ("ones.npy", array([1, 2, 6, 6], 1.0)),
        ("nan.npy", array([1, 2, 6, 6], f32::NAN)),
        ("other.npy", array([1, 3, 2, 2], 77.0)),
        ("calibration.yaml", b"source: x\n".to_vec()),
        (
            "ranges.yaml",
            b"source: x\nsamples: 1\nmethod: min-max\nranges:\n  x: {min: 0.0, max: 1.0}\n"
                .to_vec(),
        ),
        ("widths.yaml", b"network: 99\n".to_vec()),
        ("densities.yaml", b"defualt: 0.5\n".to_vec()),
        ("mapping.yaml", b"layers: 7\n".to_vec()),
        ("machine.yaml", b"extends: [scnn\n".to_vec()),
        ("text.json", b"hello\n".to_vec()),
        ("old.json", b"{\"schema\": 1}\n".to_vec()),
    ])
}

#[test]
fn an_input_that_is_not_a_number() {
    let run = ["run", "net.onnx", "--input", "nan.npy", "-q"];
    assert_refusal!("not-a-number", refusal(&files(), &run, 1));
}

/// A segment that needs ONNX Runtime, which is not wanted.
#[test]
fn a_missing_runtime() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/program/host.scnn");
    let mut program = Program::from_bytes(&std::fs::read(corpus).unwrap()).unwrap();
    program.segments[0].runtime = Runtime::OnnxRuntime;
    let folder = files();
    std::fs::write(folder.path().join("host.scnn"), program.to_bytes()).unwrap();
    let shape = program.value(program.inputs[0]).shape.iter();
    let shape: Vec<usize> = shape.map(|&dim| dim as usize).collect();
    let zeros = ndarray::ArrayD::<f32>::zeros(shape);
    ndarray_npy::write_npy(folder.path().join("zeros.npy"), &zeros).unwrap();
    let run = [
        "run",
        "host.scnn",
        "--input",
        "zeros.npy",
        "--host",
        "tract",
        "-q",
    ];
    assert_refusal!("runtime-missing", refusal(&folder, &run, 1));
}

#[test]
fn files_of_options() {
    let folder = files();
    let compile = |options: &[&str]| {
        let words = ["compile", "net.onnx", "-q", "-o", "out.scnn"];
        refusal(&folder, &[&words, options].concat(), 1)
    };
    assert_refusal!(
        "calibration-file",
        compile(&["--calibration", "calibration.yaml"])
    );
    assert_refusal!(
        "calibration-missing",
        compile(&["--calibration", "ranges.yaml"])
    );
    assert_refusal!("widths-file", compile(&["--bits", "widths.yaml"]));
    assert_refusal!(
        "densities-file",
        compile(&["--prune-file", "densities.yaml"])
    );
    assert_refusal!("mapping-file", compile(&["--mapping-file", "mapping.yaml"]));
    assert_refusal!("machine-dense", compile(&["--machine", "dcnn"]));
    let machine = ["machine", "check", "machine.yaml"];
    assert_refusal!("machine-syntax", refusal(&folder, &machine, 1));
    assert_refusal!(
        "report-not-json",
        refusal(&folder, &["report", "text.json"], 1)
    );
    assert_refusal!(
        "report-schema",
        refusal(&folder, &["report", "old.json"], 1)
    );
    let layer = ["explain", "net.onnx", "-q", "--layer", "nope"];
    assert_refusal!("unknown-layer", refusal(&folder, &layer, 1));
    let expect = [
        "run",
        "net.onnx",
        "-q",
        "--input",
        "ones.npy",
        "--expect",
        "other.npy",
    ];
    assert_refusal!("not-as-expected", refusal(&folder, &expect, 3));
    let labels = [
        &["run", "net.onnx", "-q", "--input", "ones.npy"],
        &["--labels", "ones.npy"][..],
    ];
    assert_refusal!("label-count", refusal(&folder, &labels.concat(), 1));
}

#[test]
fn models_that_cannot_be() {
    let model = || Model::new("net").input("x", &[1, 2, 6, 6]);
    let pool = model()
        .node("MaxPool", &["x"], "y", vec![ints("kernel_shape", &[2, 2])])
        .output("y");
    let by_data = model().node("NonZero", &["x"], "y", vec![]).output("y");
    let unequal = model()
        .integers("extents", &[1, 5, -1])
        .node("Reshape", &["x", "extents"], "y", vec![])
        .output("y");
    let mut short = model()
        .floats("w", &[3, 2, 3, 3], &noise(54, 1, 1.0))
        .node("Conv", &["x", "w"], "y", vec![])
        .output("y");
    short.graph.initializer[0].raw_data.truncate(200);
    let compile = |model: Model, options: &[&str]| {
        let folder = folder(&[("model.onnx", model.bytes())]);
        let words = ["compile", "model.onnx", "-q", "-o", "out.scnn"];
        refusal(&folder, &[&words, options].concat(), 1)
    };
    assert_refusal!("nothing-to-prune", compile(pool, &["--prune", "0.5"]));
    assert_refusal!("dynamic-shape", compile(by_data, &[]));
    assert_refusal!("shape-inference", compile(unequal, &[]));
    assert_refusal!("short-initializer", compile(short, &[]));
}

/// tract reads the operands that must be there without a look, so the numbers are checked before it sees a node.
#[test]
fn nodes_with_too_few_or_too_many_operands() {
    let model = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .node("Flatten", &[], "f", vec![])
        .node("Resize", &[], "r", vec![])
        .node("Transpose", &["", ""], "t", vec![])
        .node("Split", &["x"], "", vec![])
        .node("QLinearConv", &["x", "x"], "q", vec![])
        .node("Conv", &["x", "", "x"], "c", vec![])
        .node("Concat", &[], "k", vec![])
        .node("Relu", &["x", "x"], "a", vec![])
        .node("Relu", &["x", ""], "y", vec![])
        .output("y");
    let mut model = model.proto();
    let nodes = &mut model.graph.as_mut().unwrap().node;
    nodes[0].name.clear();
    nodes[3].name.clear();
    let folder = folder(&[("model.onnx", prost::Message::encode_to_vec(&model))]);
    let compile = ["compile", "model.onnx", "-q", "-o", "out.scnn"];
    assert_refusal!("operand-counts", refusal(&folder, &compile, 1));
}

/// tract does not say which node it was that it could not type when it panics, or when the node has no name.
#[test]
fn a_node_that_tract_cannot_type_is_named() {
    let refused = |model: &tract_onnx::pb::ModelProto| {
        let folder = folder(&[("model.onnx", prost::Message::encode_to_vec(model))]);
        refusal(&folder, &["check", "model.onnx"], 1)
    };
    let mut nameless = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .integers("extents", &[1, 5, -1])
        .node("Relu", &["x"], "a", vec![])
        .node("Reshape", &["a", "extents"], "b", vec![])
        .node("Relu", &["b"], "y", vec![])
        .output("y")
        .proto();
    for node in &mut nameless.graph.as_mut().unwrap().node {
        node.name.clear();
    }
    assert_refusal!("shape-inference-nameless", refused(&nameless));
    // The rank of an Einsum's result is tract's to find.
    let panics = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .node("Einsum", &["x"], "a", vec![text("equation", "abcd->abcd")])
        .node("Flatten", &["a"], "f", vec![int("axis", 9)])
        .node("Relu", &["f"], "y", vec![])
        .output("y")
        .proto();
    assert_refusal!("shape-inference-panic", refused(&panics));
}

/// What the standard forbids is refused, all of it at once; what is more than the array takes runs on the host, and
/// `--no-host` names each attribute with what the array takes.
#[test]
fn attributes_out_of_range() {
    let weights = noise(36, 1, 1.0);
    let forbidden = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .floats("w", &[2, 2, 3, 3], &weights)
        .node(
            "Conv",
            &["x", "w"],
            "c",
            vec![
                ints("strides", &[0, 1]),
                int("group", -1),
                text("auto_pad", "SAME"),
            ],
        )
        .node("LeakyRelu", &["c"], "l", vec![float("alpha", f32::NAN)])
        .node(
            "MaxPool",
            &["l"],
            "y",
            vec![int("kernel_shape", 2), int("ceil_mode", 7)],
        )
        .output("y");
    let beyond = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .floats("w", &[2, 2, 3, 3], &weights)
        .node(
            "Conv",
            &["x", "w"],
            "c",
            vec![ints("pads", &[70_000, 0, 0, 0])],
        )
        .node(
            "Conv",
            &["x", "w"],
            "d",
            vec![ints("strides", &[70_000, 1])],
        )
        .node("LeakyRelu", &["x"], "l", vec![float("alpha", 2.0)])
        .node("Pad", &["x"], "p", vec![])
        .node("ReduceMean", &["x"], "m", vec![ints("axes", &[1])])
        .node("Concat", &["x", "x"], "k", vec![int("axis", 2)])
        .integers("pads", &[0, 1, 0, 0, 0, 0, 0, 0]);
    let mut beyond = ["c", "d", "l", "p", "m", "k"]
        .into_iter()
        .fold(beyond, Model::output);
    beyond.graph.node[3].input.push("pads".to_owned());
    let refused = |model: Model, options: &[&str]| {
        let folder = folder(&[("model.onnx", model.bytes())]);
        let words = ["compile", "model.onnx", "-q", "-o", "out.scnn"];
        refusal(&folder, &[&words, options].concat(), 1)
    };
    assert_refusal!("attributes-forbidden", refused(forbidden, &[]));
    assert_refusal!("attributes-beyond", refused(beyond, &["--no-host"]));
}

/// The text of a program with one thing changed is refused, with the entry that breaks the rule.
#[test]
fn programs_that_break_a_rule() {
    let folder = files();
    let scnnc = |arguments: &[&str]| {
        let mut command = command(Path::new("."));
        command
            .current_dir(folder.path())
            .args(arguments)
            .assert()
            .success();
    };
    let compile = [
        "compile",
        "net.onnx",
        "-q",
        "-o",
        "p.scnn",
        "--mapping",
        "paper",
    ];
    scnnc(&compile);
    scnnc(&["disasm", "p.scnn", "-o", "p.s"]);
    let text = std::fs::read_to_string(folder.path().join("p.s")).unwrap();
    let told = |changes: &[(&str, &str)]| {
        let mut changed = text.clone();
        for (from, to) in changes {
            assert!(changed.contains(from), "{from}");
            changed = changed.replacen(from, to, 1);
        }
        std::fs::write(folder.path().join("p.s"), changed).unwrap();
        refusal(&folder, &["asm", "p.s", "-o", "q.scnn"], 1)
    };
    assert_refusal!(
        "rule-table",
        told(&[("range: [0, 32767]", "range: [5, 3]")])
    );
    assert_refusal!(
        "rule-layout",
        told(&[("y: 0..6 by 1 in 8", "y: 0..5 by 1 in 8")])
    );
    assert_refusal!(
        "rule-region",
        told(&[("memory: a, base: 0", "memory: a, base: 99999")])
    );
    assert_refusal!("rule-layer", told(&[("kernel: 3", "kernel: 0")]));
    let small = [
        ("entries_per_bank: 32", "entries_per_bank: 1"),
        ("banks: 32", "banks: 1"),
    ];
    assert_refusal!("rule-accumulators", told(&small));
    assert_refusal!("rule-section", told(&[("kind: requantise", "kind: table")]));
    assert_refusal!(
        "rule-overflow",
        told(&[("product_shift: 10", "product_shift: 1")])
    );
    assert_refusal!(
        "rule-code",
        told(&[
            ("  ldw rounds", "  bar\n  ldw rounds"),
            ("half=0", "half=1")
        ])
    );
    assert_refusal!(
        "rule-value",
        told(&[("shape: 1x2x6x6, region", "shape: 1x2x6x7, region")])
    );
    assert_refusal!(
        "rule-source-map",
        told(&[(".nodes /conv", ".nodes a\n.nodes /conv")])
    );
}
