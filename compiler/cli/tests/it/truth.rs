//! What is printed is true: shares are of images, what would be lost or meaningless is refused before any work, standard
//! output has the data that were asked for and nothing else, and every difference is named.

use crate::binary::{printed, refused, said};
use crate::onnx::{Model, int, ints, name_dims, noise, set_type};
use crate::refusals::{folder, refusal};
use ndarray::{Array1, Array4, ArrayD};
use ndarray_npy::{NpzReader, NpzWriter};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Cursor;
use tempfile::TempDir;

/// A convolution `c`, `[n, 2, 6, 6]` to `[n, 3, 4, 4]`; its weights depend on `seed`.
fn convolution(n: i64, seed: u64) -> Model {
    Model::new("net")
        .input("x", &[n, 2, 6, 6])
        .floats("w", &[3, 2, 3, 3], &noise(54, seed, 1.0))
        .node("Conv", &["x", "w"], "c", vec![])
}

/// A classifier of `n` images: the channel with the largest mean.
fn classifier(n: i64) -> Vec<u8> {
    convolution(n, 1)
        .node("GlobalAveragePool", &["c"], "p", vec![])
        .node("Flatten", &["p"], "y", vec![])
        .output("y")
        .bytes()
}

fn network(seed: u64) -> Vec<u8> {
    convolution(1, seed)
        .node("Relu", &["c"], "y", vec![])
        .output("y")
        .bytes()
}

/// An `.npz` with an array.
fn npz(name: &str, array: &ArrayD<f32>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut archive = NpzWriter::new(&mut bytes);
    archive.add_array(name, array).unwrap();
    archive.finish().unwrap();
    bytes.into_inner()
}

/// `count` images of noise.
fn images(count: usize) -> ArrayD<f32> {
    let values = noise(count * 72, 7, 1.0);
    Array4::from_shape_vec((count, 2, 6, 6), values)
        .unwrap()
        .into_dyn()
}

fn outputs(folder: &TempDir, file: &str) -> NpzReader<std::fs::File> {
    NpzReader::new(std::fs::File::open(folder.path().join(file)).unwrap()).unwrap()
}

fn line<'a>(text: &'a str, label: &str) -> &'a str {
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with(label));
    line.unwrap_or_else(|| panic!("no `{label}` in {text}"))
}

#[test]
fn accuracy_and_agreement_are_those_of_the_images_of_a_batch() {
    let folder = folder(&[
        ("one.onnx", classifier(1)),
        ("four.onnx", classifier(4)),
        ("x.npz", npz("x", &images(8))),
    ]);
    let at = folder.path();
    let calibrated = ["--calibrate", "x.npz", "--save-calibration", "ranges.yaml"];
    let run = [
        "run", "one.onnx", "-q", "--input", "x.npz", "--output", "y.npz",
    ];
    printed(at, &[&run[..], &calibrated].concat());
    let scores: ArrayD<f32> = outputs(&folder, "y.npz").by_name("y").unwrap();
    assert_eq!(scores.shape(), [8, 3]);
    let classes = scores.outer_iter().map(|row| {
        let largest = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        largest.unwrap().0 as f32
    });
    // Two of eight are wrong on purpose.
    let mut labels: Vec<f32> = classes.collect();
    for label in &mut labels[..2] {
        *label = (*label + 1.0) % 3.0;
    }
    let labels = Array1::from(labels).into_dyn();
    std::fs::write(at.join("labels.npz"), npz("labels", &labels)).unwrap();
    for model in ["one.onnx", "four.onnx"] {
        let run = [
            "run",
            model,
            "-q",
            "--input",
            "x.npz",
            "--check",
            "--labels",
            "labels.npz",
        ];
        let text = printed(at, &[&run[..], &["--calibration", "ranges.yaml"]].concat());
        assert!(line(&text, "check").contains("agrees on 8 of 8"), "{text}");
        let accuracy = "75.0 % of 8 samples (float model 75.0 %)";
        assert!(
            line(&text, "accuracy").contains(accuracy),
            "{model}: {text}"
        );
    }
    // A budget prunes by the same count.
    let budget = [
        "--prune-budget",
        "top1=0%",
        "--calibration-labels",
        "labels.npz",
    ];
    let compile = [
        "compile",
        "four.onnx",
        "-q",
        "--calibrate",
        "x.npz",
        "-o",
        "p.scnn",
    ];
    let text = printed(at, &[&compile[..], &budget].concat());
    assert!(
        line(&text, "budget").contains("float model 75.00 %"),
        "{text}"
    );
    // Labels of samples, where there are four images in each, are too few.
    let few = Array1::from(vec![0.0; 2]).into_dyn();
    std::fs::write(at.join("few.npz"), npz("labels", &few)).unwrap();
    let run = [
        "run",
        "four.onnx",
        "-q",
        "--input",
        "x.npz",
        "--labels",
        "few.npz",
    ];
    let error = refusal(&folder, &run, 1);
    assert!(
        error.contains("E0113") && error.contains("images of the samples 8"),
        "{error}"
    );
}

#[test]
fn what_would_be_lost_or_meaningless_is_refused_before_any_work() {
    let not_a_number = images(1).mapv(|_| f32::NAN);
    let folder = folder(&[
        ("m.onnx", network(1)),
        ("x.npz", npz("x", &images(1))),
        ("none.npz", npz("x", &images(0))),
        ("nan.npz", npz("x", &not_a_number)),
        ("image.npz", npz("image", &images(1))),
    ]);
    let cases: [(&str, i32, &str); 12] = [
        ("run m.onnx --input x.npz --samples 0", 2, "0 is not in 1.."),
        ("run m.onnx --input none.npz", 1, "holds no samples"),
        ("run m.onnx --input nan.npz", 1, "72 of 72 values"),
        (
            "run m.onnx --input image.npz",
            1,
            "the arrays are called image",
        ),
        ("run m.onnx --input x.npz --dim zzz=4", 1, "zzz"),
        (
            "run m.onnx --output o --report o",
            2,
            "`--output` and `--report` both name o",
        ),
        ("compile m.onnx -o m.onnx", 2, "is the model itself"),
        (
            "run m.onnx --input x.npz --report ./x.npz",
            2,
            "is an input itself",
        ),
        (
            "run m.onnx --output nowhere/o.npz",
            1,
            "its folder does not exist",
        ),
        (
            "run m.onnx --dump x.npz",
            1,
            "a file is in the place of the folder",
        ),
        (
            "compile m.onnx -o a.scnn --save-mapping a.scnn",
            2,
            "both name a.scnn",
        ),
        ("compile m.onnx -o .", 1, "it is a folder"),
    ];
    for (words, status, reason) in cases {
        let words: Vec<&str> = words.split(' ').collect();
        let error = refusal(&folder, &words, status);
        assert!(error.contains(reason), "{words:?}: {error}");
    }
    // Under its name, one array of a file is whatever the name says.
    printed(
        folder.path(),
        &["run", "m.onnx", "-q", "--input", "x=image.npz"],
    );
}

/// Every verb that has `--json`, with every option that prints something of its own beside the result.
#[test]
fn json_is_all_that_standard_output_has() {
    let folder = folder(&[
        ("m.onnx", network(1)),
        ("w.onnx", network(2)),
        (
            "bad.onnx",
            convolution(1, 1)
                .node("Conv", &["c"], "y", vec![])
                .output("y")
                .bytes(),
        ),
        ("x.npz", npz("x", &images(2))),
    ]);
    let at = folder.path();
    let quiet = ["-q", "--calibrate", "x.npz"];
    for (model, program) in [("m.onnx", "a.scnn"), ("w.onnx", "b.scnn")] {
        printed(
            at,
            &[&["compile", model, "-o", program], &quiet[..]].concat(),
        );
    }
    printed(
        at,
        &[
            "run", "m.onnx", "-q", "--input", "x.npz", "--output", "y.npz",
        ],
    );
    let cases = [
        (
            "run m.onnx --input x.npz --check --expect y.npz --prune 0.5 --verify-passes -v",
            3,
        ),
        (
            "run m.onnx --input x.npz --expect y.npz --report r.json --trace t.json --dump d",
            0,
        ),
        ("run a.scnn --input x.npz -q", 0),
        (
            "compile m.onnx -o c.scnn --prune 0.5 --verify-passes --dump-ir ir -v",
            0,
        ),
        (
            "compare m.onnx --input x.npz --prune 0.5 --verify-passes --timing fast",
            0,
        ),
        (
            "sensitivity m.onnx --calibrate x.npz --densities 0.5 --prune 0.9 -o s.csv",
            0,
        ),
        (
            "explain m.onnx --input x.npz --prune 0.5 --verify-passes",
            0,
        ),
        ("replay r.json", 0),
        ("advise m.onnx --input x.npz --only pe.banks", 0),
        ("verify a.scnn", 0),
        ("inspect a.scnn", 0),
        ("diff a.scnn b.scnn", 3),
        ("check m.onnx", 0),
        ("check bad.onnx", 1),
        ("ops", 0),
        ("machine list", 0),
        ("machine show scnn", 0),
        ("zoo list", 0),
    ];
    for (words, status) in cases {
        let words = format!("{words} --json");
        let said = said(at, words.split(' '));
        assert_eq!(said.status, status, "{words}: {}", said.error);
        let value: Result<Value, _> = serde_json::from_str(&said.out);
        assert!(value.is_ok(), "{words}: {}", said.out);
    }
    let covered: BTreeSet<&str> = cases.iter().map(|(words, _)| first(words)).collect();
    assert_eq!(covered, verbs_with_json(at));
}

fn first(words: &str) -> &str {
    words.split(' ').next().unwrap()
}

/// The verbs whose help, or that of a verb of theirs, names `--json`.
fn verbs_with_json(at: &std::path::Path) -> BTreeSet<&'static str> {
    let verbs = |words: &[&str]| -> Vec<&'static str> {
        let help = printed(at, &[words, &["--help"]].concat());
        let rest = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
        let lines = rest.lines().take_while(|line| !line.is_empty());
        let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names = names.map(|line| line.split_whitespace().next().unwrap());
        let names = names.filter(|name| *name != "help");
        names.map(|name| &*name.to_owned().leak()).collect()
    };
    let has_json = |words: &[&str]| printed(at, &[words, &["--help"]].concat()).contains("--json");
    let all = verbs(&[]).into_iter();
    all.filter(|verb| {
        let inner = verbs(&[verb]);
        has_json(&[verb]) || inner.iter().any(|inner| has_json(&[verb, inner]))
    })
    .collect()
}

#[test]
fn outputs_keep_their_type_and_stack_along_the_first_dimension() {
    let model = convolution(1, 1)
        .node("ArgMax", &["c"], "k", vec![int("axis", 1)])
        .output("c")
        .output("k");
    let mut proto = model.proto();
    let graph = proto.graph.as_mut().unwrap();
    set_type(&mut graph.output[1], 7);
    let folder = folder(&[
        ("m.onnx", prost::Message::encode_to_vec(&proto)),
        ("x.npz", npz("x", &images(3))),
    ]);
    let run = [
        "run", "m.onnx", "-q", "--input", "x.npz", "--output", "y.npz",
    ];
    printed(folder.path(), &run);
    let mut arrays = outputs(&folder, "y.npz");
    let classes: ArrayD<i64> = arrays.by_name("k").unwrap();
    assert_eq!(classes.shape(), [3, 1, 4, 4]);
    let values: ArrayD<f32> = arrays.by_name("c").unwrap();
    for ((n, y, x), class) in classes
        .into_shape_with_order((3, 4, 4))
        .unwrap()
        .indexed_iter()
    {
        let of = |k: usize| values[[n, k, y, x]];
        let largest = (0..3).max_by(|&a, &b| of(a).total_cmp(&of(b)).then(b.cmp(&a)));
        assert_eq!(largest, Some(*class as usize));
    }
}

#[test]
fn check_tells_every_problem_in_fields_and_what_came_out_by_its_status() {
    let softmax = |model: Model| model.node("Softmax", &["c"], "y", vec![]).output("y");
    let nothing = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .node("Softmax", &["x"], "y", vec![])
        .output("y");
    let views = Model::new("net")
        .input("x", &[1, 2, 6, 6])
        .input("w", &[1, 2, 6, 6])
        .node("Concat", &["x", "w"], "y", vec![int("axis", 1)])
        .output("y");
    let bad = convolution(1, 1)
        .floats("v", &[3, 3, 1, 1], &noise(9, 2, 1.0))
        .node("Conv", &["c", "v"], "d", vec![ints("strides", &[0, 1])])
        .node("Softmax", &["d"], "y", vec![])
        .output("y");
    let grouped = convolution(1, 1)
        .floats("v", &[3, 3, 1, 1], &noise(9, 2, 1.0))
        .node(
            "Conv",
            &["c", "v"],
            "d",
            vec![ints("pads", &[70_000, 0, 0, 0])],
        )
        .output("d");
    let folder = folder(&[
        ("all.onnx", network(1)),
        ("some.onnx", softmax(convolution(1, 1)).bytes()),
        ("nothing.onnx", nothing.bytes()),
        ("views.onnx", views.bytes()),
        ("bad.onnx", bad.bytes()),
        ("beyond.onnx", grouped.bytes()),
    ]);
    let check = |model: &str| {
        let said = said(folder.path(), ["check", model, "--json"]);
        let value: Value = serde_json::from_str(&said.out).unwrap();
        (said.status, value)
    };
    for (model, status, verdict) in [
        ("all.onnx", 0, "machine"),
        ("some.onnx", 3, "partly"),
        ("nothing.onnx", 4, "host"),
        ("views.onnx", 4, "host"),
        ("bad.onnx", 1, "refused"),
    ] {
        let (found, value) = check(model);
        assert_eq!(
            (found, value["verdict"].as_str()),
            (status, Some(verdict)),
            "{model}"
        );
    }

    let (_, value) = check("beyond.onnx");
    let problem = &value["problems"][0];
    assert_eq!(problem["code"], "E0404");
    assert_eq!(problem["node"], "/d/Conv");
    assert_eq!(problem["operator"], "Conv");
    assert_eq!(problem["attribute"], "pads");
    assert!(
        problem["allowed"].as_str().unwrap().contains("65535"),
        "{problem}"
    );
    assert!(problem["remedy"].is_string());

    // A node that is refused does not hide what the others are.
    let (_, value) = check("bad.onnx");
    let problems = value["problems"].as_array().unwrap();
    let effects: Vec<&str> = problems
        .iter()
        .map(|p| p["effect"].as_str().unwrap())
        .collect();
    assert_eq!(effects, ["refused", "host"], "{value}");
    assert_eq!(problems[0]["attribute"], "strides");
    assert_eq!(
        problems[0]["allowed"],
        "a list of whole numbers from 1, one for each axis of the plane"
    );
    assert_eq!(problems[1]["operator"], "Softmax");
    assert_eq!(
        (&value["nodes"]["machine"], &value["nodes"]["host"]),
        (&2.into(), &1.into())
    );
    let text = said(folder.path(), ["check", "bad.onnx"]).out;
    assert!(line(&text, "coverage").contains("2 of 3 nodes"), "{text}");
}

#[test]
fn a_difference_of_two_programs_is_named_by_its_kind() {
    let other_scale = convolution(1, 1)
        .node("Relu", &["c"], "y", vec![])
        .output("y");
    let folder = folder(&[
        ("a.onnx", network(1)),
        ("w.onnx", network(2)),
        ("s.onnx", other_scale.bytes()),
        ("x.npz", npz("x", &images(1))),
        ("twice.npz", npz("x", &images(1).mapv(|v| 2.0 * v))),
    ]);
    let at = folder.path();
    for (model, samples, program, more) in [
        ("a.onnx", "x.npz", "a.scnn", &[][..]),
        ("a.onnx", "x.npz", "seed.scnn", &["--seed", "5"]),
        ("s.onnx", "twice.npz", "s.scnn", &[]),
        ("w.onnx", "x.npz", "w.scnn", &[]),
        ("a.onnx", "x.npz", "m.scnn", &["--mapping", "paper"]),
    ] {
        let compile = [
            "compile",
            model,
            "-q",
            "--calibrate",
            samples,
            "-o",
            program,
        ];
        printed(at, &[&compile[..], more].concat());
    }
    // Only the provenance differs.
    let same = printed(at, &["diff", "a.scnn", "seed.scnn"]);
    assert!(same.contains("no layer differs"), "{same}");
    let kinds = |other: &str| -> Vec<String> {
        let said = said(at, ["diff", "a.scnn", other, "--json", "--brief"]);
        assert_eq!(said.status, 3, "{other}: {}", said.error);
        assert!(said.error.contains("E0807"), "{}", said.error);
        let value: Value = serde_json::from_str(&said.out).unwrap();
        let kinds = value["layers"][0]["differs_in"].as_array().unwrap().clone();
        kinds
            .iter()
            .map(|kind| kind.as_str().unwrap().to_owned())
            .collect()
    };
    assert!(kinds("w.scnn").contains(&"weights".to_owned()));
    let scales = kinds("s.scnn");
    assert!(scales.contains(&"scales".to_owned()), "{scales:?}");
    assert!(!scales.contains(&"weights".to_owned()), "{scales:?}");
    let text = refused(at, &["diff", "a.scnn", "w.scnn", "--brief"], 3);
    assert!(text.contains("a.scnn and w.scnn differ"), "{text}");
}

#[test]
fn coverage_counts_products_of_activations_and_of_recurrences() {
    let lstm = Model::new("net")
        .input("x", &[1, 100, 64])
        .floats("c", &[100, 100, 1], &noise(10_000, 1, 1.0))
        .floats("W", &[1, 400, 100], &noise(40_000, 2, 1.0))
        .floats("R", &[1, 400, 100], &noise(40_000, 3, 1.0))
        .node("Conv", &["x", "c"], "a", vec![])
        .node("Transpose", &["a"], "t", vec![ints("perm", &[2, 0, 1])])
        .node("LSTM", &["t", "W", "R"], "y", vec![int("hidden_size", 100)])
        .output("y");
    let product = Model::new("net")
        .input("x", &[1, 8, 256])
        .floats("c", &[64, 8, 1], &noise(512, 1, 1.0))
        .node("Conv", &["x", "c"], "a", vec![])
        .node("Transpose", &["a"], "t", vec![ints("perm", &[0, 2, 1])])
        .node("MatMul", &["t", "a"], "y", vec![])
        .output("y");
    for (model, host) in [(lstm, 64 * 400 * 200), (product, 256 * 64 * 256)] {
        let folder = folder(&[("m.onnx", model.bytes())]);
        let said = said(folder.path(), ["check", "m.onnx", "--json"]);
        let value: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(value["multiplications"]["host"], host, "{value}");
    }
}

#[test]
fn a_dense_machine_multiplies_each_input_of_a_transposed_convolution_with_each_tap() {
    let mut cases = Vec::new();
    for (dilation, kernel, stride, dense) in [(1, 2, 4, 5880), (2, 3, 2, 13_230)] {
        let weights = noise(30 * kernel as usize * kernel as usize, 1, 1.0);
        let attributes = vec![
            ints("strides", &[stride, stride]),
            ints("dilations", &[dilation, dilation]),
        ];
        let model = Model::new("net")
            .input("x", &[1, 6, 7, 7])
            .floats("w", &[6, 5, kernel, kernel], &weights)
            .node("ConvTranspose", &["x", "w"], "y", attributes)
            .output("y");
        cases.push((model.bytes(), dense));
    }
    for (model, dense) in cases {
        let folder = folder(&[("m.onnx", model)]);
        let report = printed(folder.path(), &["run", "m.onnx", "-q", "--json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        let multiplies = &report["totals"]["multiplies"];
        assert_eq!(multiplies["dense"], dense, "{multiplies}");
        assert!(multiplies["useful"].as_u64() <= multiplies["dense"].as_u64());
    }
}

#[test]
fn what_a_file_leaves_open_is_as_in_the_arrays() {
    let model = |names: &[(usize, &str)]| {
        let mut model = Model::new("open")
            .input("x", &[1, 2, 8, 8])
            .floats("w", &[3, 2, 3, 3], &noise(54, 1, 0.5))
            .node("Conv", &["x", "w"], "y", vec![ints("pads", &[1, 1, 1, 1])])
            .output("y");
        name_dims(&mut model.graph.input[0], names);
        model.bytes()
    };
    let named = model(&[(0, "images"), (2, "height"), (3, "width")]);
    let twice = model(&[(0, "images"), (2, "?"), (3, "?")]);
    let folder = folder(&[("net.onnx", named), ("twice.onnx", twice)]);
    let path = folder.path();
    let write = |name: &str, shape: (usize, usize, usize, usize)| {
        let values = noise(shape.0 * shape.1 * shape.2 * shape.3, 2, 1.0);
        let array = Array4::from_shape_vec(shape, values).unwrap();
        ndarray_npy::write_npy(path.join(name), &array).unwrap();
    };
    // The first extent counts samples.
    write("x.npy", (2, 2, 5, 7));
    write("channels.npy", (1, 3, 5, 7));
    let said = printed(
        path,
        &[
            "run", "net.onnx", "--input", "x.npy", "--output", "y.npz", "--check", "-q",
        ],
    );
    assert!(said.contains("bit-exact"), "{said}");
    let bytes = std::fs::read(path.join("y.npz")).unwrap();
    let mut arrays = NpzReader::new(Cursor::new(bytes)).unwrap();
    let y: ArrayD<f32> = arrays.by_name("y").unwrap();
    assert_eq!(y.shape(), [2, 3, 5, 7]);
    // A name for two sizes: the array says which is where.
    for more in [&[][..], &["--dim", "?=5"]] {
        let run = ["run", "twice.onnx", "--input", "x.npy", "-q"];
        printed(path, &[&run, more].concat());
    }
    // Said beats seen, and what is seen may still not fit.
    let dims = [
        "run", "net.onnx", "--input", "x.npy", "--dim", "height=6", "-q",
    ];
    assert!(refused(path, &dims, 1).contains("[1, 2, 6, 7]"));
    let other = ["run", "net.onnx", "--input", "channels.npy", "-q"];
    assert!(refused(path, &other, 1).contains("[1, 2, 5, 7]"));
    let none = refused(path, &["run", "net.onnx", "-q"], 1);
    assert!(none.contains("`--input` with arrays"), "{none}");
}
