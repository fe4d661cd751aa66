//! Bad input: each gets a diagnostic with file, place, reason and remedy, its exit status, and writes nothing.

use crate::binary::{command, refused};
use crate::onnx::{Model, graph, ints, noise, set_type, text};
use std::path::Path;
use tempfile::TempDir;

/// What `scnnc` says on standard error, after checking its exit status and that it left no file behind.
pub fn refusal(folder: &TempDir, arguments: &[&str], status: i32) -> String {
    let before = files(folder.path());
    let output = command(folder.path()).args(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    assert_eq!(
        files(folder.path()),
        before,
        "a refused command writes nothing"
    );
    error
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name());
    let mut names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub fn folder(entries: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in entries {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

macro_rules! assert_refusal {
    ($name:literal, $error:expr) => {
        insta::with_settings!({
            snapshot_path => "../../../../snapshots/diagnostics", prepend_module_to_snapshot => false, omit_expression => true
        }, { insta::assert_snapshot!($name, $error) });
    };
}
pub(crate) use assert_refusal;

fn compile_refused(bytes: Vec<u8>) -> String {
    let folder = folder(&[("model.onnx", bytes)]);
    refusal(&folder, &["compile", "model.onnx", "-o", "out.scnn"], 1)
}

/// One convolution of 2 to 3 channels on a 6 x 6 plane.
fn convolution() -> Model {
    Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .floats("w", &[3, 2, 3, 3], &noise(54, 1, 0.5))
        .node("Conv", &["x", "w"], "y", vec![ints("pads", &[1, 1, 1, 1])])
        .output("y")
}

fn program() -> Vec<u8> {
    let folder = folder(&[("model.onnx", convolution().bytes())]);
    let out = folder.path().join("out.scnn");
    command(folder.path())
        .args(["compile", "model.onnx", "-o", "out.scnn", "-q"])
        .assert()
        .success();
    std::fs::read(out).unwrap()
}

#[test]
fn an_empty_file() {
    assert_refusal!("empty-file", compile_refused(Vec::new()));
}

/// Without its name an operator has no meaning.
#[test]
fn a_file_without_an_operator_set() {
    let mut proto = convolution().proto();
    proto.opset_import.clear();
    let bytes = prost::Message::encode_to_vec(&proto);
    assert_refusal!("no-operator-set", compile_refused(bytes));
}

/// `check` tells it, too: ONNX Runtime infers a shape for such a node and finds out when it runs.
#[test]
fn weights_of_another_number_of_channels() {
    let model = Model::new("net")
        .input("x", &[1, 4, 6, 6])
        .floats("w", &[3, 2, 3, 3], &noise(54, 1, 0.5))
        .node("Relu", &["x"], "relu", vec![])
        .node("Conv", &["relu", "w"], "y", vec![])
        .output("y");
    let folder = folder(&[("model.onnx", model.bytes())]);
    let error = refusal(&folder, &["check", "model.onnx"], 1);
    assert_refusal!("operands-misfit", error);
}

/// A candidate for a name is one that the node can read.
#[test]
fn a_name_like_that_of_a_nodes_own_result() {
    let model = Model::new("net")
        .input("x1", &[1, 2, 6, 6])
        .node("Relu", &["relu_1"], "relu_2", vec![])
        .node("Relu", &["relu_2"], "relu_3", vec![])
        .node("Relu", &["x"], "y", vec![])
        .output("relu_3");
    let error = compile_refused(model.bytes());
    assert!(!error.contains("did you mean `relu"), "{error}");
    assert!(error.contains("did you mean `x1`"), "{error}");
}

#[test]
fn a_truncated_file() {
    let mut bytes = convolution().bytes();
    bytes.truncate(bytes.len() / 2);
    assert_refusal!("truncated-file", compile_refused(bytes));
}

#[test]
fn a_file_that_is_not_onnx() {
    assert_refusal!(
        "not-onnx",
        compile_refused(b"PK\x03\x04 this is a zip".to_vec())
    );
}

#[test]
fn a_file_that_is_not_there() {
    let folder = folder(&[]);
    let error = refusal(&folder, &["compile", "model.onnx", "-o", "out.scnn"], 1);
    assert_refusal!("missing-file", error);
}

/// A convolution beside which is an input of a type, by ONNX's number, that nothing reads.
fn with_input_of(kind: i32) -> Vec<u8> {
    let mut proto = convolution().input("label", &[1]).proto();
    set_type(&mut proto.graph.as_mut().unwrap().input[1], kind);
    prost::Message::encode_to_vec(&proto)
}

#[test]
fn an_input_of_words() {
    assert_refusal!("input-of-words", compile_refused(with_input_of(8)));
}

#[test]
fn an_input_of_complex_numbers() {
    assert_refusal!(
        "input-of-complex-numbers",
        compile_refused(with_input_of(14))
    );
}

/// tract has no `Loop`, and no other runtime is found.
#[test]
fn control_flow() {
    let mut body = Model::new("body")
        .input("i", &[])
        .input("going", &[])
        .input("before", &[1, 2, 6, 6])
        .node("Relu", &["before"], "after", vec![])
        .output("going")
        .output("after");
    for (input, kind) in body.graph.input.iter_mut().zip([7, 9]) {
        set_type(input, kind);
    }
    let mut model = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .input("count", &[])
        .node(
            "Loop",
            &["count", "", "x"],
            "y",
            vec![graph("body", body.graph)],
        )
        .output("y");
    set_type(&mut model.graph.input[1], 7);
    assert_refusal!("control-flow", compile_refused(model.bytes()));
}

#[test]
fn missing_external_data() {
    let mut model = convolution().proto();
    let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
    tensor.raw_data.clear();
    tensor.data_location = Some(1);
    let entry = |key: &str, value: &str| tract_onnx::pb::StringStringEntryProto {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    tensor.external_data = vec![entry("location", "weights.bin"), entry("length", "216")];
    assert_refusal!(
        "external-data",
        compile_refused(prost::Message::encode_to_vec(&model))
    );
}

#[test]
fn external_data_outside_the_folder() {
    let mut model = convolution().proto();
    let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
    tensor.raw_data.clear();
    tensor.data_location = Some(1);
    tensor.external_data = vec![tract_onnx::pb::StringStringEntryProto {
        key: "location".to_owned(),
        value: "../../etc/passwd".to_owned(),
    }];
    assert_refusal!(
        "external-data-outside",
        compile_refused(prost::Message::encode_to_vec(&model))
    );
}

#[test]
fn an_undefined_tensor_and_an_unbound_dimension() {
    let undefined = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .node("Relu", &["z"], "y", vec![])
        .output("y");
    assert_refusal!("undefined-tensor", compile_refused(undefined.bytes()));
    let unbound = Model::new("net")
        .input("x", &[1, 2, -1, 6])
        .node("Relu", &["x"], "y", vec![])
        .output("y");
    assert_refusal!("negative-dimension", compile_refused(unbound.bytes()));
}

#[test]
fn weights_that_are_not_finite() {
    let model = Model::new("net")
        .input("x", &[1, 1, 2, 2])
        .floats("w", &[1, 1, 1, 1], &[f32::NAN])
        .node("Conv", &["x", "w"], "y", vec![])
        .output("y");
    assert_refusal!("not-finite", compile_refused(model.bytes()));
}

#[test]
fn nothing_on_the_array() {
    let model = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .node("Softmax", &["x"], "y", vec![])
        .output("y");
    assert_refusal!("nothing-on-array", compile_refused(model.bytes()));
}

#[test]
fn a_part_on_the_host_that_was_not_to_be() {
    let model = convolution();
    let model = Model { graph: model.graph }
        .node("Softmax", &["y"], "p", vec![])
        .node("Transpose", &["p"], "q", vec![])
        .output("q");
    let folder = folder(&[("model.onnx", model.bytes())]);
    let arguments = ["compile", "model.onnx", "-o", "out.scnn", "-q", "--no-host"];
    assert_refusal!("no-host", refusal(&folder, &arguments, 1));
    assert_refusal!("check-some", refusal(&folder, &["check", "model.onnx"], 3));
}

#[test]
fn tensors_beyond_any_memory() {
    let input = Model::new("net")
        .input("x", &[1, 4, 1 << 20, 1 << 20])
        .node("Relu", &["x"], "y", vec![])
        .node("Sigmoid", &["y"], "z", vec![])
        .output("z");
    assert_refusal!("too-large", compile_refused(input.bytes()));
    let constant = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .integers("shape", &[1, 1 << 30, 1 << 30])
        .node("ConstantOfShape", &["shape"], "c", vec![])
        .node("Add", &["x", "c"], "y", vec![])
        .output("y");
    assert_refusal!("too-large-constant", compile_refused(constant.bytes()));
    // Rows of a product whose number does not fit 64 bits.
    for (operator, attributes) in [
        ("MatMul", vec![]),
        ("Einsum", vec![text("equation", "bij,jk->bik")]),
    ] {
        let rows = Model::new("net")
            .input("x", &[1 << 40, 1 << 30, 4])
            .floats("w", &[4, 3], &noise(12, 1, 1.0))
            .node(operator, &["x", "w"], "y", attributes)
            .output("y");
        let error = compile_refused(rows.bytes());
        assert!(error.contains("error[E0314]"), "{operator}: {error}");
    }
}

#[test]
fn a_cycle_and_a_name_given_twice() {
    let cycle = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .node("Add", &["x", "b"], "a", vec![])
        .node("Relu", &["a"], "b", vec![])
        .node("Sigmoid", &["x"], "a", vec![])
        .output("b");
    assert_refusal!("cycle-and-duplicate", compile_refused(cycle.bytes()));
}

#[test]
fn every_unbound_dimension_in_one_line() {
    let mut model = convolution().proto();
    let graph = model.graph.as_mut().unwrap();
    graph
        .input
        .push(crate::onnx::value_info("other", &[1, 2, 6, 6]));
    for (input, names) in graph
        .input
        .iter_mut()
        .zip([["height", "width"], ["height", "depth"]])
    {
        crate::onnx::name_dims(input, &[(2, names[0]), (3, names[1])]);
    }
    assert_refusal!(
        "unbound-dimensions",
        compile_refused(prost::Message::encode_to_vec(&model))
    );
}

#[test]
fn inputs_of_the_wrong_shape_or_type() {
    let array = |array: ndarray::ArrayD<f32>| {
        let mut bytes = Vec::new();
        ndarray_npy::WriteNpyExt::write_npy(&array, &mut bytes).unwrap();
        bytes
    };
    let folder = folder(&[
        ("model.onnx", convolution().bytes()),
        ("wide.npy", array(ndarray::ArrayD::zeros(vec![1, 2, 6, 7]))),
        ("text.npy", b"this is no array".to_vec()),
        ("good.npy", array(ndarray::ArrayD::zeros(vec![1, 2, 6, 6]))),
    ]);
    let run = |input: &str| refusal(&folder, &["run", "model.onnx", "--input", input], 1);
    assert_refusal!("input-shape", run("wide.npy"));
    assert_refusal!("input-not-an-array", run("text.npy"));
    assert_refusal!("input-unknown", run("z=good.npy"));
}

#[test]
fn machines() {
    let folder = folder(&[
        ("model.onnx", convolution().bytes()),
        ("key.yaml", b"extends: scnn\narray: {rosw: 4}\n".to_vec()),
        ("range.yaml", b"extends: scnn\narray: {rows: 0}\n".to_vec()),
        (
            "impossible.yaml",
            b"extends: scnn\npe: {accumulator_bits: 8}\n".to_vec(),
        ),
        (
            "small.yaml",
            b"extends: scnn\nactivation_ram: {a_bytes: 8, b_bytes: 8}\n".to_vec(),
        ),
    ]);
    let compile = |machine: &str| {
        refusal(
            &folder,
            &[
                "compile",
                "model.onnx",
                "-o",
                "out.scnn",
                "--machine",
                machine,
                "-q",
            ],
            1,
        )
    };
    assert_refusal!("machine-unknown-key", compile("key.yaml"));
    assert_refusal!("machine-out-of-range", compile("range.yaml"));
    assert_refusal!("machine-unknown-preset", compile("scm"));
    assert_refusal!(
        "machine-impossible",
        refusal(&folder, &["machine", "check", "impossible.yaml"], 1)
    );
}

#[test]
fn a_damaged_program() {
    let good = program();
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let mut newer = good.clone();
    newer[4] = 77;
    let mut cut = good.clone();
    cut.truncate(good.len() - 3);
    let folder = folder(&[
        ("good.scnn", good),
        ("damaged.scnn", damaged),
        ("newer.scnn", newer),
        ("cut.scnn", cut),
        ("other.scnn", b"no program".to_vec()),
    ]);
    let verify = |file: &str| refusal(&folder, &["verify", file], 1);
    assert_refusal!("program-damaged", verify("damaged.scnn"));
    assert_refusal!("program-newer", verify("newer.scnn"));
    assert_refusal!("program-cut", verify("cut.scnn"));
    assert_refusal!("program-other", verify("other.scnn"));
    assert_refusal!(
        "program-for-another-machine",
        refusal(
            &folder,
            &["verify", "good.scnn", "--machine", "scnn-16pe"],
            1
        )
    );
    assert_refusal!(
        "program-without-input",
        refusal(&folder, &["run", "good.scnn"], 1)
    );
}

/// Every byte of a program is covered by a checksum: no flipped one is accepted.
#[test]
fn a_program_with_any_byte_flipped() {
    let good = program();
    let step = (good.len() / 97).max(1);
    for at in (0..good.len()).step_by(step) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        assert!(
            scnn_isa::program::Program::from_bytes(&bytes).is_err(),
            "byte {at}"
        );
    }
}

#[test]
fn assembly_with_an_error() {
    let folder = folder(&[("p.scnn", program())]);
    let text = command(folder.path())
        .args(["disasm", "p.scnn"])
        .output()
        .unwrap()
        .stdout;
    let text = String::from_utf8(text)
        .unwrap()
        .replace("  ldw rounds", "  lwd rounds");
    std::fs::write(folder.path().join("p.s"), text).unwrap();
    assert_refusal!(
        "assembly",
        refusal(&folder, &["asm", "p.s", "-o", "q.scnn"], 1)
    );
}

#[test]
fn the_command_line() {
    let folder = folder(&[]);
    assert_refusal!("usage-missing-argument", refusal(&folder, &["compile"], 2));
    assert_refusal!("usage-unknown-verb", refusal(&folder, &["complie"], 2));
    assert_refusal!(
        "usage-unknown-code",
        refusal(&folder, &["--explain", "E9999"], 2)
    );
}

#[test]
fn an_operand_of_operator_set_six_that_is_broadcast_from_an_unknown_place() {
    let old = |model: Model| {
        let mut model = model.proto();
        model.opset_import[0].version = 6;
        prost::Message::encode_to_vec(&model)
    };
    let model = convolution()
        .node("GlobalAveragePool", &["y"], "g", vec![])
        .node("Shape", &["g"], "s", vec![])
        .node("Reshape", &["g", "s"], "r", vec![])
        .node(
            "Mul",
            &["y", "r"],
            "z",
            vec![
                crate::onnx::int("broadcast", 1),
                crate::onnx::int("axis", 0),
            ],
        )
        .output("z");
    assert_refusal!("old-broadcast", compile_refused(old(model)));
}

#[test]
fn a_file_in_the_place_of_a_verb() {
    let folder = folder(&[("net.onnx", Vec::new())]);
    let said = refused(folder.path(), &["net.onnx"], 2);
    assert!(said.contains("scnnc run net.onnx"), "{said}");
    let said = refused(folder.path(), &["rum"], 2);
    assert!(said.contains("subcommand"), "{said}");
}
