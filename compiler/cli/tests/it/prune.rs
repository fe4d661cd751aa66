//! Pruning through the binary: densities, patterns, budgets, files, and the study of what each layer bears.

use crate::binary::{json, printed, printed_line, refused};
use crate::onnx::{Model, int, ints, noise};
use prost::Message;
use std::path::Path;
use tempfile::{TempDir, tempdir};
use tract_onnx::pb::{ModelProto, StringStringEntryProto};

/// A folder with LeNet-5 and its 500 digits.
fn lenet5() -> TempDir {
    let folder = tempdir().unwrap();
    std::fs::copy(scnn_models::lenet5(), folder.path().join("m.onnx")).unwrap();
    std::fs::copy(scnn_models::lenet5_digits(), folder.path().join("d.npz")).unwrap();
    folder
}

/// Density before and after of every layer in the table.
fn densities(text: &str) -> Vec<(String, f64, f64)> {
    text.lines()
        .skip_while(|line| !line.trim_start().starts_with("pruned "))
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |word: &str| word.parse().unwrap();
            (words[0].to_owned(), number(words[2]), number(words[3]))
        })
        .collect()
}

/// The weights of every initializer that has two dimensions or more.
fn weights(path: &Path) -> Vec<(String, Vec<f32>)> {
    let model = ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap();
    let floats = |bytes: &[u8]| {
        let (values, _) = bytes.as_chunks::<4>();
        values.iter().map(|&b| f32::from_le_bytes(b)).collect()
    };
    let initializers = model.graph.unwrap().initializer.into_iter();
    initializers
        .filter(|tensor| tensor.dims.len() >= 2 && tensor.data_type == 1)
        .map(|tensor| (tensor.name.clone(), floats(&tensor.raw_data)))
        .collect()
}

#[test]
fn every_layer_gets_the_density_and_the_saved_model_is_the_one_that_ran() {
    let folder = lenet5();
    let path = folder.path();
    let text = printed(
        path,
        &[
            "run",
            "m.onnx",
            "--input",
            "d.npz",
            "--samples",
            "8",
            "--check",
            "--prune",
            "0.15",
            "--save-onnx",
            "p.onnx",
            "--save-densities",
            "p.yaml",
        ],
    );
    assert!(text.contains("bit-exact"), "{text}");
    let layers = densities(&text);
    assert_eq!(layers.len(), 4, "{text}");
    for (name, before, after) in &layers {
        // At most what was asked, short of it by less than a weight of the smallest layer; sparser layers stay.
        assert!(
            *after <= 0.15 + 1e-9 && *after >= before.min(0.15 - 0.002),
            "{name}: {text}"
        );
        assert!(*before > 0.15 || before == after, "{name}: {text}");
    }
    let (before, after) = (weights(&path.join("m.onnx")), weights(&path.join("p.onnx")));
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        let kept = before.iter().zip(after).all(|(b, a)| b == a || *a == 0.0);
        assert!(kept && before.len() == after.len(), "{name}");
    }
    assert_eq!(
        std::fs::metadata(path.join("m.onnx")).unwrap().len(),
        std::fs::metadata(path.join("p.onnx")).unwrap().len()
    );
    // The saved model is the pruned one: it compiles to the same program, and so do the saved densities.
    let code = |model: &str, more: &[&str]| {
        let arguments = ["compile", model, "-o", "c.scnn", "--calibrate", "d.npz"];
        let said = printed(path, &[&arguments[..], more].concat());
        let text = printed(path, &["disasm", "c.scnn"]);
        (text[text.find(".inputs").unwrap()..].to_owned(), said)
    };
    let (saved, _) = code("p.onnx", &[]);
    let (again, said) = code("m.onnx", &["--prune-file", "p.yaml"]);
    assert!(saved == again);
    assert_eq!(densities(&said), layers);
    assert!(
        said.contains("float model against the unpruned one"),
        "{said}"
    );
    assert!(printed(path, &["inspect", "c.scnn"]).contains("prune=by layer"));
}

#[test]
fn patterns_hold_in_the_saved_model() {
    let folder = lenet5();
    let path = folder.path();
    let save = |more: &[&str]| {
        let compile = [
            "compile",
            "m.onnx",
            "-o",
            "c.scnn",
            "-q",
            "--save-onnx",
            "p.onnx",
        ];
        printed(path, &[&compile[..], more].concat());
        weights(&path.join("p.onnx"))
    };
    // conv2 is 50 x 20 x 5 x 5.
    let conv2 = |all: &[(String, Vec<f32>)]| {
        let found = all.iter().find(|(_, w)| w.len() == 50 * 20 * 25);
        found.unwrap().1.clone()
    };
    let dense = conv2(&weights(&path.join("m.onnx")));
    let kernels = conv2(&save(&["--prune-pattern", "kernel", "--prune", "0.05"]));
    for (kernel, before) in kernels.chunks(25).zip(dense.chunks(25)) {
        assert!(kernel == before || kernel.iter().all(|w| *w == 0.0));
    }
    let nonzeros = kernels.iter().filter(|w| **w != 0.0).count();
    assert!(nonzeros <= 1250 && nonzeros > 1250 - 25, "{nonzeros}");
    let one_of_four = conv2(&save(&["--prune-pattern", "1:4"]));
    for k in 0..50 {
        for tap in 0..25 {
            for block in 0..5 {
                let channels = (0..4).map(|c| one_of_four[(k * 20 + block * 4 + c) * 25 + tap]);
                assert!(channels.filter(|w| *w != 0.0).count() <= 1);
            }
        }
    }
    let error = refused(
        path,
        &[
            "compile",
            "m.onnx",
            "-o",
            "c.scnn",
            "--prune-pattern",
            "kernel",
        ],
        2,
    );
    assert!(error.contains("how many"), "{error}");
}

/// The percentages in the line `budget`: float model, in integers, pruned.
fn percentages(text: &str) -> Vec<f64> {
    let line = text
        .lines()
        .find(|line| line.starts_with("budget"))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let before = |unit: &str| {
        let pairs = words
            .windows(2)
            .filter(|pair| pair[1].trim_end_matches([';', ',']) == unit);
        pairs
            .filter_map(|pair| pair[0].parse().ok())
            .collect::<Vec<f64>>()
    };
    let found = before("%");
    if found.is_empty() {
        before("dB")
    } else {
        found
    }
}

#[test]
fn a_budget_of_accuracy_is_kept_and_used() {
    let folder = lenet5();
    let path = folder.path();
    let text = printed(
        path,
        &[
            "compile",
            "m.onnx",
            "-o",
            "c.scnn",
            "--calibrate",
            "d.npz",
            "--prune-budget",
            "top1=0.5%",
        ],
    );
    let [float, _, pruned] = percentages(&text)[..] else {
        panic!("{text}")
    };
    assert!(float - pruned <= 0.5 + 1e-9, "{text}");
    let layers = densities(&text);
    assert!(
        layers.iter().all(|(_, before, after)| after <= before),
        "{text}"
    );
    let gone: f64 = layers.iter().map(|(_, before, after)| before - after).sum();
    assert!(gone > 0.05, "{text}");
    // What the simulator makes of it is what was promised.
    let run = printed(
        path,
        &[
            "run", "c.scnn", "--input", "d.npz", "--labels", "d.npz", "--timing", "fast",
        ],
    );
    let line = run
        .lines()
        .find(|line| line.starts_with("accuracy"))
        .unwrap();
    let reached: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((reached - pruned).abs() < 0.051, "{run}{text}");

    let compile = [
        "compile",
        "m.onnx",
        "-o",
        "c.scnn",
        "--prune-budget",
        "top1=0.5%",
    ];
    let error = refused(path, &compile, 1);
    assert!(error.contains("--calibration-labels"), "{error}");
}

#[test]
fn budgets_in_decibels_are_kept() {
    let folder = lenet5();
    let path = folder.path();
    let prune = |budget: &str| {
        let compile = ["compile", "m.onnx", "-o", "c.scnn", "--calibrate", "d.npz"];
        let text = printed(path, &[&compile[..], &["--prune-budget", budget]].concat());
        let [unpruned, pruned] = percentages(&text)[..] else {
            panic!("{text}")
        };
        let left: f64 = densities(&text).iter().map(|(_, _, after)| after).sum();
        (unpruned, pruned, left)
    };
    let (before, after, little) = prune("1dB");
    assert!(after >= before - 1.0 - 0.05, "{before} {after}");
    let (_, kept, much) = prune("sqnr=25dB");
    assert!((24.95..35.0).contains(&kept), "{kept}");
    assert!(much < little);
}

#[test]
fn a_slip_in_a_file_of_densities_is_told() {
    let folder = lenet5();
    let path = folder.path();
    let compile = [
        "compile",
        "m.onnx",
        "-o",
        "c.scnn",
        "--prune-file",
        "f.yaml",
    ];
    let said = |text: &str| {
        std::fs::write(path.join("f.yaml"), text).unwrap();
        refused(path, &compile, 1)
    };
    assert!(said("layers: {covn1: 0.5}").contains("did you mean `conv1`?"));
    assert!(said("laiers: {conv1: 0.5}").contains("did you mean `layers`?"));
    assert!(said("layers: {conv1: 0}").contains("no density"));
    std::fs::write(path.join("f.yaml"), "default: 0.5\nlayers: {conv1: 0.25}").unwrap();
    let layers = densities(&printed(path, &compile));
    assert!((layers[0].2 - 0.25).abs() < 0.002, "{layers:?}");
    assert!(
        layers
            .iter()
            .all(|(_, before, after)| *after <= before.min(0.5)),
        "{layers:?}"
    );
}

#[test]
fn a_model_with_external_data_is_written_with_external_data() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    let values = noise(54, 1, 1.0);
    let mut model = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .floats("w", &[3, 2, 3, 3], &values)
        .node("Conv", &["x", "w"], "y", vec![ints("pads", &[1; 4])])
        .output("y")
        .proto();
    let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
    std::fs::write(path.join("w.bin"), std::mem::take(&mut tensor.raw_data)).unwrap();
    tensor.data_location = Some(1);
    tensor.external_data = vec![StringStringEntryProto {
        key: "location".to_owned(),
        value: "w.bin".to_owned(),
    }];
    std::fs::write(path.join("m.onnx"), model.encode_to_vec()).unwrap();
    printed(
        path,
        &[
            "compile",
            "m.onnx",
            "-o",
            "c.scnn",
            "--prune",
            "0.5",
            "--save-onnx",
            "p.onnx",
        ],
    );
    let old = std::fs::read(path.join("w.bin")).unwrap();
    let new = std::fs::read(path.join("p.onnx.data")).unwrap();
    let zeros = new.chunks(4).filter(|b| *b == [0; 4]).count();
    assert_eq!((new.len(), zeros), (old.len(), 27));
    printed(path, &["compile", "p.onnx", "-o", "again.scnn"]);
    let code = |name: &str| {
        let text = printed(path, &["disasm", name]);
        text[text.find(".inputs").unwrap()..].to_owned()
    };
    assert!(code("c.scnn") == code("again.scnn"));
}

/// A convolution behind a `DequantizeLinear`: signed bytes with a scale and a zero point for each output channel, or
/// unsigned ones, written as varints, with one for all. The integers and their zero points come with it.
fn dequantised(signed: bool) -> (Model, Vec<i64>, Vec<i64>) {
    let zeros: Vec<i64> = if signed { vec![0, 5, -7] } else { vec![128; 3] };
    let of_channel = |index: usize| zeros[index / 18];
    let weight = |i: i64| if i % 2 == 0 { 2 * i + 2 } else { -2 * i - 2 };
    let integers: Vec<i64> = (0..54)
        .map(|i| weight(i) + of_channel(i as usize))
        .collect();
    let model = Model::new("net").input("x", &[1, 2, 6, 6]);
    let mut model = if signed {
        let bytes: Vec<i8> = integers.iter().map(|&q| q as i8).collect();
        model
            .bytes_of("w", &[3, 2, 3, 3], &bytes)
            .floats("s", &[3], &[0.01, 0.02, 0.015])
            .bytes_of("z", &[3], &[0, 5, -7])
    } else {
        model
            .bytes_of("w", &[3, 2, 3, 3], &[])
            .floats("s", &[], &[0.01])
            .bytes_of("z", &[], &[-128])
    };
    if !signed {
        let [w, _, z] = &mut model.graph.initializer[..] else {
            panic!("three initializers")
        };
        (w.data_type, z.data_type) = (2, 2);
        w.int32_data = integers.iter().map(|&q| q as i32).collect();
    }
    let model = model
        .node(
            "DequantizeLinear",
            &["w", "s", "z"],
            "d",
            vec![int("axis", 0)],
        )
        .node("Conv", &["x", "d"], "y", vec![ints("pads", &[1; 4])])
        .output("y");
    let zeros = (0..54).map(of_channel).collect();
    (model, integers, zeros)
}

#[test]
fn weights_that_are_integers_are_pruned_and_written_back_as_integers() {
    for signed in [true, false] {
        let folder = tempdir().unwrap();
        let path = folder.path();
        let (model, before, zeros) = dequantised(signed);
        std::fs::write(path.join("m.onnx"), model.bytes()).unwrap();
        let compile = ["compile", "m.onnx", "-o", "c.scnn", "--prune", "0.5"];
        let said = printed(path, &[&compile[..], &["--save-onnx", "p.onnx"]].concat());
        assert_eq!(
            densities(&said),
            [("/y/Conv".to_owned(), 1.0, 0.5)],
            "{said}"
        );
        let saved = std::fs::read(path.join("p.onnx")).unwrap();
        let saved = ModelProto::decode(saved.as_slice()).unwrap();
        let graph = saved.graph.unwrap();
        let bytes = graph.initializer[0].raw_data.iter();
        let after: Vec<i64> = bytes
            .map(|&b| {
                if signed {
                    i64::from(b as i8)
                } else {
                    i64::from(b)
                }
            })
            .collect();
        let gone = (0..54).filter(|&i| after[i] == zeros[i] && before[i] != zeros[i]);
        assert_eq!(gone.count(), 27);
        let kept = (0..54).all(|i| after[i] == before[i] || after[i] == zeros[i]);
        assert!(kept, "{after:?}");
        printed(path, &["compile", "p.onnx", "-o", "again.scnn"]);
        let code = |name: &str| {
            let text = printed(path, &["disasm", name]);
            text[text.find(".inputs").unwrap()..].to_owned()
        };
        assert!(code("c.scnn") == code("again.scnn"));
    }
}

/// A study of two layers of the LeNet-5 in `path`.
fn study(path: &Path) -> serde_json::Value {
    // The search goes by the activations, which are the unpruned network's in the study.
    let arguments = "sensitivity m.onnx --calibrate d.npz --layer conv1 --layer fc1 --densities 0.5,0.05 \
                     --mapping paper --timing fast -o s.json -q";
    let text = printed_line(path, arguments);
    assert!(text.contains("best"), "{text}");
    json(&path.join("s.json"))
}

#[test]
fn the_study_of_a_layer_is_what_compiling_it_so_gives() {
    let folder = lenet5();
    let path = folder.path();
    let study = study(path);
    let points = study["points"].as_array().unwrap();
    // fc1 is sparser than 0.5 in the file.
    assert_eq!(points.len(), 3, "{study}");
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let half = &points[0];
    let few = &points[1];
    assert_eq!(half["layer"], "/conv1/Conv");
    assert!(number(&half["density"]) <= 0.5 && number(&few["density"]) <= 0.05);
    assert!(number(&half["sqnr_db"]) > number(&few["sqnr_db"]));
    assert!(number(&half["layer_cycles"]) > number(&few["layer_cycles"]));
    assert!(number(&few["network_cycles"]) < number(&study["unpruned"]["network_cycles"]));

    // The same point by hand: the densities in a file, the ranges of the unpruned network, the first sample.
    printed(
        path,
        &[
            "compile",
            "m.onnx",
            "-o",
            "c.scnn",
            "--calibrate",
            "d.npz",
            "--save-calibration",
            "c.yaml",
        ],
    );
    std::fs::write(path.join("f.yaml"), "layers: {conv1: 0.05}").unwrap();
    printed(
        path,
        &[
            "run",
            "m.onnx",
            "--input",
            "d.npz",
            "--samples",
            "1",
            "--calibration",
            "c.yaml",
            "--timing",
            "fast",
            "--mapping",
            "paper",
            "--prune-file",
            "f.yaml",
            "--report",
            "r.json",
        ],
    );
    let report = json(&path.join("r.json"));
    assert_eq!(
        number(&report["totals"]["cycles"]["total"]),
        number(&few["network_cycles"])
    );
    let energy = number(&report["totals"]["energy_pj"]["total"]);
    assert!((energy - number(&few["network_energy_pj"])).abs() <= 1e-9 * energy);
    assert_eq!(
        number(&report["layers"][0]["cycles"]["total"]),
        number(&few["layer_cycles"])
    );

    printed(
        path,
        &[
            "sensitivity",
            "m.onnx",
            "--layer",
            "conv1",
            "--densities",
            "0.3",
            "-o",
            "s.csv",
            "-q",
        ],
    );
    let csv = std::fs::read_to_string(path.join("s.csv")).unwrap();
    assert!(
        csv.starts_with("layer,density_unpruned_ratio,density_ratio,layer_cycles,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 2);
}

#[test]
fn a_study_has_the_samples_that_were_asked_for_their_classes_and_what_to_prune_next() {
    let folder = lenet5();
    let path = folder.path();
    // More samples than are calibrated on; the digits' file has their classes.
    let words = "sensitivity m.onnx --calibrate d.npz --calibration-samples 2 --layer conv2 --densities 0.5,0.02 --samples 6 -o s.json";
    let text = printed_line(path, words);
    let study = json(&path.join("s.json"));
    assert_eq!(study["samples"], 6);
    assert_eq!(study["timing"], "exact");
    let accuracy = |of: &serde_json::Value| of["top1_accuracy"].as_f64().unwrap();
    assert!(accuracy(&study["unpruned"]) > 0.8, "{study}");
    let points = study["points"].as_array().unwrap();
    let kept = |point: &&serde_json::Value| {
        let enough = |name: &str| point[name].as_f64() >= study["unpruned"][name].as_f64();
        enough("top1_accuracy") && enough("top1_agreement")
    };
    let kept: Vec<f64> = points
        .iter()
        .filter(kept)
        .map(|point| point["network_cycles"].as_f64().unwrap())
        .collect();
    let least = kept.iter().copied().fold(f64::INFINITY, f64::min);
    let before = study["unpruned"]["network_cycles"].as_f64().unwrap();
    match study["next"].as_array().unwrap().as_slice() {
        [] => assert!(least >= before),
        [next] => {
            let saved = next["cycles_saved"].as_f64().unwrap();
            assert!((saved - (1.0 - least / before)).abs() < 1e-12, "{study}");
            assert!(text.contains("next      /conv2/Conv to "), "{text}");
        }
        more => panic!("one layer was studied: {more:?}"),
    }
}

#[test]
fn the_pruned_squeezenet_can_be_pruned_further() {
    let shared = |file: &str| scnn_models::shared(&format!("squeezenet-pruned/{file}"));
    let (Some(model), Some(input)) = (
        shared("squeezenet1.0-pruned.onnx"),
        shared("pelican_227_bgr.npy"),
    ) else {
        return;
    };
    let folder = tempdir().unwrap();
    let text = printed(
        folder.path(),
        &[
            "run",
            &model.display().to_string(),
            "--input",
            &input.display().to_string(),
            "--prune",
            "0.6",
            "--check",
            "--timing",
            "fast",
        ],
    );
    assert!(
        text.contains("bit-exact") && text.contains("largest at index 144"),
        "{text}"
    );
    let layers = densities(&text);
    assert_eq!(layers.len(), 26, "{text}");
    // What was sparser in the file is untouched.
    for (name, before, after) in &layers {
        assert!((*after - before.min(0.6)).abs() < 0.001, "{name}: {text}");
    }
}
