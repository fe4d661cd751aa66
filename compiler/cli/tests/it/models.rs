//! Trained models through the binary, as a user runs them: bit-exact, accurate, and the same after the text form.

use crate::binary::{command, printed};
use ndarray_npy::write_npy;
use scnn_isa::machine::Machine;
use std::path::Path;
use tempfile::tempdir;

/// What `scnnc` prints on standard output; it must succeed.
fn scnnc(arguments: &[&str]) -> String {
    printed(Path::new("."), arguments)
}

/// The number before `unit` in the line of `text` that begins with `label`, after `before`.
fn number(text: &str, label: &str, before: &str, unit: &str) -> f64 {
    let line = text
        .lines()
        .find(|line| line.starts_with(label))
        .unwrap_or_else(|| panic!("no line `{label}` in\n{text}"));
    let rest = &line[line.find(before).unwrap() + before.len()..];
    rest[..rest.find(unit).unwrap()].trim().parse().unwrap()
}

fn assert_faithful(text: &str, least_decibels: f64) {
    assert!(text.contains("bit-exact"), "{text}");
    let ratio = number(text, "check", "float model", " dB");
    assert!(ratio >= least_decibels, "{ratio} dB");
}

/// `disasm | asm` gives the same bytes.
fn assert_round_trip(model: &Path, calibrate: &Path) {
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (program, text, again) = (file("p.scnn"), file("p.s"), file("again.scnn"));
    let (model, calibrate) = (model.display().to_string(), calibrate.display().to_string());
    scnnc(&["compile", &model, "--calibrate", &calibrate, "-o", &program]);
    scnnc(&["disasm", &program, "-o", &text]);
    scnnc(&["asm", &text, "-o", &again]);
    assert!(std::fs::read(&program).unwrap() == std::fs::read(&again).unwrap());
    scnnc(&["verify", &program]);
}

/// Both exporters of `PyTorch`: batch normalisation left as it is, named batch, external data.
#[test]
fn what_pytorch_exports_answers_as_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/torch");
    let file = |name: &str| folder.join(name).display().to_string();
    let (image, scores) = (file("image.npy"), file("scores.npz"));
    for exporter in ["legacy", "dynamo"] {
        for batch in ["batch=1", "batch=2"] {
            let model = file(&format!("residual-{exporter}.onnx"));
            let inputs = ["--input", &image, "--expect", &scores, "--dim", batch];
            let text =
                scnnc(&[&["run", &model, "--check", "--no-host", "-q"], &inputs[..]].concat());
            assert_faithful(&text, 60.0);
            assert!(text.contains("expected  scores"), "{text}");
        }
    }
}

#[test]
fn lenet5_reads_digits_as_the_float_model_does() {
    let digits = scnn_models::lenet5_digits().display().to_string();
    let model = scnn_models::lenet5().display().to_string();
    let text = scnnc(&[
        "run", &model, "--input", &digits, "--labels", &digits, "--check",
    ]);
    assert_faithful(&text, 55.0);
    let ours = number(&text, "accuracy", "accuracy", "%");
    let float = number(&text, "accuracy", "float model", "%");
    assert!(ours >= 97.0, "{text}");
    assert!((ours - float).abs() <= 0.2, "{text}");
    assert_round_trip(&scnn_models::lenet5(), &scnn_models::lenet5_digits());
}

#[test]
fn every_preset_runs_lenet5_or_says_that_it_is_dense() {
    let folder = tempdir().unwrap();
    let input = folder.path().join("digit.npy");
    let digit = ndarray::Array4::from_shape_fn((1, 1, 28, 28), |(_, _, y, x)| {
        f32::from(u8::from((9..19).contains(&x) && (4..24).contains(&y)))
    });
    write_npy(&input, &digit).unwrap();
    for (preset, _) in Machine::presets() {
        let arguments = ["run", "--check", "--machine", preset];
        let output = command(Path::new("."))
            .args(arguments)
            .arg(scnn_models::lenet5())
            .arg("--input")
            .arg(&input)
            .output()
            .unwrap();
        if preset.starts_with("dcnn") {
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{preset}");
            assert!(error.contains("error[E0402]"), "{error}");
        } else {
            assert!(output.status.success(), "{preset}");
            // Eight bits less are 48 dB less.
            let bits = Machine::preset(preset).unwrap().pe.operand_bits;
            let least = if bits < 16 { 30.0 } else { 55.0 };
            assert_faithful(&String::from_utf8(output.stdout).unwrap(), least);
        }
    }
}

#[test]
fn the_tiny_network_agrees() {
    let model = scnn_models::tiny().display().to_string();
    assert_faithful(&scnnc(&["run", &model, "--check"]), 55.0);
}

#[test]
fn the_pruned_squeezenet_recognises_both_photographs() {
    let folder = tempdir().unwrap();
    for (photograph, class) in [("bald_eagle", 22i64), ("pelican", 144)] {
        let shared = |file: &str| scnn_models::shared(&format!("squeezenet-pruned/{file}"));
        let (Some(model), Some(input)) = (
            shared("squeezenet1.0-pruned.onnx"),
            shared(&format!("{photograph}_227_bgr.npy")),
        ) else {
            return;
        };
        let labels = folder.path().join(format!("{photograph}.npy"));
        write_npy(&labels, &ndarray::arr1(&[class])).unwrap();
        let text = scnnc(&[
            "run",
            &model.display().to_string(),
            "--input",
            &input.display().to_string(),
            "--labels",
            &labels.display().to_string(),
            "--check",
        ]);
        assert_faithful(&text, 55.0);
        assert_eq!(number(&text, "accuracy", "accuracy", "%"), 100.0, "{text}");
        if photograph == "pelican" {
            assert_round_trip(&model, &input);
        }
    }
}

#[test]
fn mnist_8_agrees_with_its_test_sets() {
    for set in 0..3 {
        let shared = |file: &str| scnn_models::shared(&format!("mnist-8/{file}"));
        let (Some(model), Some(input)) = (
            shared("model.onnx"),
            shared(&format!("test_data_set_{set}/input_0.pb")),
        ) else {
            return;
        };
        let expected = input.with_file_name("output_0.pb");
        let text = scnnc(&[
            "run",
            &model.display().to_string(),
            "--input",
            &input.display().to_string(),
            "--expect",
            &expected.display().to_string(),
            "--check",
        ]);
        assert_faithful(&text, 55.0);
        assert!(text.contains("top-1 agrees on 1 of 1"), "{text}");
    }
}
