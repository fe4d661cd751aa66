//! Calibration and widths through the binary: where samples come from, what is saved, what is named when it is wrong.

use crate::binary::{self, printed};
use crate::onnx::{Model, ints, noise};
use ndarray_npy::write_npy;
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// What it says when it refuses.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    binary::refused(folder, arguments, 1)
}

/// Two convolutions, `first` and `second`, and their `ReLU`s on a 2 x 8 x 8 input `x`.
fn network() -> TempDir {
    let folder = tempdir().unwrap();
    let model = Model::new("net")
        .input("x", &[1, 2, 8, 8])
        .floats("first.w", &[6, 2, 3, 3], &noise(108, 1, 1.0))
        .floats("second.w", &[4, 6, 3, 3], &noise(216, 2, 1.0))
        .node(
            "Conv",
            &["x", "first.w"],
            "first",
            vec![ints("pads", &[1; 4])],
        )
        .node("Relu", &["first"], "inner", vec![])
        .node(
            "Conv",
            &["inner", "second.w"],
            "y",
            vec![ints("pads", &[1; 4])],
        )
        .output("y");
    std::fs::write(folder.path().join("net.onnx"), model.bytes()).unwrap();
    folder
}

fn sample(seed: u64) -> ndarray::Array4<f32> {
    ndarray::Array4::from_shape_vec((1, 2, 8, 8), noise(128, seed, 0.8)).unwrap()
}

fn saved(folder: &Path, calibrate: &str, more: &[&str]) -> String {
    let mut arguments = vec![
        "compile",
        "net.onnx",
        "-o",
        "p.scnn",
        "--calibrate",
        calibrate,
    ];
    arguments.extend(["--save-calibration", "c.yaml"]);
    arguments.extend(more);
    printed(folder, &arguments);
    let text = std::fs::read_to_string(folder.join("c.yaml")).unwrap();
    // All but where it came from.
    let lines = text.lines().filter(|line| !line.starts_with("source:"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn folders_test_sets_and_raw_files_hold_the_same_samples() {
    use prost::Message;
    let folder = network();
    let path = folder.path();
    for name in ["npy", "raw", "sets"] {
        std::fs::create_dir(path.join(name)).unwrap();
    }
    let mut all = Vec::new();
    for i in 0..3u64 {
        let array = sample(i);
        write_npy(path.join(format!("npy/{i}.npy")), &array).unwrap();
        let bytes: Vec<u8> = array.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(path.join(format!("raw/{i}.raw")), &bytes).unwrap();
        let set = path.join(format!("sets/test_data_set_{i}"));
        std::fs::create_dir(&set).unwrap();
        let tensor = tract_onnx::pb::TensorProto {
            name: "x".to_owned(),
            dims: vec![1, 2, 8, 8],
            data_type: 1,
            raw_data: bytes.clone(),
            ..tract_onnx::pb::TensorProto::default()
        };
        std::fs::write(set.join("input_0.pb"), tensor.encode_to_vec()).unwrap();
        all.extend(bytes);
    }
    std::fs::write(path.join("all.bin"), &all).unwrap();
    let expected = saved(path, "npy", &[]);
    assert!(expected.contains("samples: 3"), "{expected}");
    for source in ["raw", "sets", "all.bin"] {
        assert_eq!(saved(path, source, &[]), expected, "{source}");
    }
    assert!(saved(path, "npy", &["--calibration-samples", "2"]).contains("samples: 2"));
    std::fs::create_dir(path.join("empty")).unwrap();
    let compile = ["compile", "net.onnx", "-o", "p.scnn"];
    let error = refused(path, &[&compile[..], &["--calibrate", "empty"]].concat());
    assert!(
        error.contains("neither files of arrays nor ONNX test sets"),
        "{error}"
    );
}

#[test]
fn a_calibration_read_back_gives_the_same_program_and_can_be_edited() {
    let folder = network();
    let path = folder.path();
    write_npy(path.join("x.npy"), &sample(7)).unwrap();
    let compile = |more: &[&str]| {
        // The paper's mapping asks for ranges alone; a search counts activations, which a calibration file has not.
        let mut arguments = vec!["compile", "net.onnx", "-o", "p.scnn", "--mapping", "paper"];
        arguments.extend(more);
        printed(path, &arguments);
        let code = ["disasm", "p.scnn", "--code"];
        let text = printed(path, &code);
        let begin = text.find(".inputs").unwrap();
        text[begin..].to_owned()
    };
    let observed = compile(&["--calibrate", "x.npy", "--save-calibration", "c.yaml"]);
    assert_eq!(compile(&["--calibration", "c.yaml"]), observed);

    let text = std::fs::read_to_string(path.join("c.yaml")).unwrap();
    let edit = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        std::fs::write(path.join("edited.yaml"), text.replace(from, to)).unwrap();
    };
    let error = |from, to| {
        edit(from, to);
        refused(
            path,
            &[
                "compile",
                "net.onnx",
                "-o",
                "p.scnn",
                "--calibration",
                "edited.yaml",
            ],
        )
    };
    // The slip is found by name, and with the nearest key.
    let misnamed = error("  inner:", "  iner:");
    assert!(
        misnamed.contains("no range for tensor `inner`"),
        "{misnamed}"
    );
    assert!(
        misnamed.contains("`iner`, which is no tensor"),
        "{misnamed}"
    );
    let unknown = error("density", "densty");
    assert!(unknown.contains("did you mean `density`"), "{unknown}");
    assert!(unknown.contains("edited.yaml:"), "{unknown}");
    // An edited range is taken: twice the scale.
    let range = text
        .lines()
        .skip_while(|line| *line != "  inner:")
        .nth(2)
        .unwrap();
    edit(range, "    max: 1000.0");
    assert_ne!(compile(&["--calibration", "edited.yaml"]), observed);
}

#[test]
fn cut_ranges_are_narrower_and_say_how_they_were_made() {
    let folder = network();
    let path = folder.path();
    write_npy(path.join("x.npy"), &sample(7)).unwrap();
    let width = |more: &[&str]| {
        let text = saved(path, "x.npy", more);
        let max = text
            .lines()
            .skip_while(|line| *line != "  inner:")
            .nth(2)
            .unwrap();
        let max: f64 = max.trim().strip_prefix("max: ").unwrap().parse().unwrap();
        (max, text)
    };
    let (whole, _) = width(&[]);
    let (cut, text) = width(&["--calibration-method", "percentile=90"]);
    assert!(cut < 0.9 * whole && cut > 0.1 * whole, "{cut} of {whole}");
    assert!(text.contains("method: percentile=90"), "{text}");
    let (entropy, _) = width(&["--calibration-method", "entropy", "--bits", "4"]);
    assert!(entropy < whole, "{entropy} of {whole}");
}

/// The SQNR column of a layer, dB.
fn decibels(table: &str, layer: &str) -> f64 {
    let row = table.lines().find(|line| line.contains(layer)).unwrap();
    let number = row.trim_end().strip_suffix(" dB").unwrap();
    number.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_layer_may_be_narrower_than_the_others() {
    let folder = network();
    let path = folder.path();
    write_npy(path.join("x.npy"), &sample(7)).unwrap();
    let run = |bits: &[&str]| {
        let mut arguments = vec!["run", "net.onnx", "--input", "x.npy", "--check"];
        arguments.extend(bits);
        printed(path, &arguments)
    };
    let wide = run(&[]);
    let narrow = run(&["--bits", "8"]);
    // `second` reads `inner` and has weights of 4 bits; `first` keeps its 16.
    let mixed = run(&["--bits", "16", "--bits", "/y/Conv=w4a16"]);
    let (first, second) = ("/first/Conv", "/y/Conv");
    assert!(decibels(&wide, second) > 60.0, "{wide}");
    assert!((25.0..50.0).contains(&decibels(&narrow, first)), "{narrow}");
    assert!(decibels(&mixed, first) > 60.0, "{mixed}");
    assert!((10.0..30.0).contains(&decibels(&mixed, second)), "{mixed}");

    std::fs::write(path.join("w.yaml"), "network: 16\nlayers:\n  y: w4a16\n").unwrap();
    assert_eq!(run(&["--bits", "w.yaml"]), mixed);
    let unknown = refused(
        path,
        &["run", "net.onnx", "--input", "x.npy", "--bits", "frist=8"],
    );
    assert!(unknown.contains("did you mean `first`?"), "{unknown}");
}

#[test]
fn calibrated_sums_keep_more_bits_and_an_overflow_is_trapped() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    // Differences of channels, calibrated where they are equal: the sums are zero, and the product shift is as small
    // as it may be for sums that are to be seen when they overflow. There are so many channels that it is not none.
    let channels = 64;
    let signs: Vec<f32> = (0..channels)
        .map(|c| if c % 2 == 0 { 1.0 } else { -1.0 })
        .collect();
    let model = Model::new("net")
        .input("x", &[1, channels, 1, 1])
        .floats("w", &[1, channels, 1, 1], &signs)
        .node("Conv", &["x", "w"], "y", vec![])
        .output("y");
    std::fs::write(path.join("net.onnx"), model.bytes()).unwrap();
    let write = |name: &str, values: [f32; 2]| {
        let all = values.repeat(channels as usize / 2);
        let array = ndarray::Array4::from_shape_vec((1, channels as usize, 1, 1), all).unwrap();
        write_npy(path.join(name), &array).unwrap();
    };
    write("equal.npy", [1.0, 1.0]);
    write("near.npy", [1.0, 0.999]);
    write("far.npy", [1.0, -1.0]);
    let compile = [
        "compile",
        "net.onnx",
        "-o",
        "p.scnn",
        "--calibrate",
        "equal.npy",
    ];
    printed(path, &[&compile[..], &["--ranges", "calibrated"]].concat());
    let text = printed(path, &["disasm", "p.scnn"]);
    assert!(text.contains("ranges: calibrated"), "{text}");
    assert!(printed(path, &["inspect", "p.scnn"]).contains("ranges=calibrated"));
    printed(path, &["verify", "p.scnn"]);
    printed(path, &["run", "p.scnn", "--input", "near.npy"]);
    let error = refused(path, &["run", "p.scnn", "--input", "far.npy"]);
    assert!(
        error.contains("E0701") && error.contains("`/y/Conv`"),
        "{error}"
    );
    assert!(error.contains("channel 0"), "{error}");
    printed(path, &compile);
    printed(path, &["run", "p.scnn", "--input", "far.npy"]);
}
