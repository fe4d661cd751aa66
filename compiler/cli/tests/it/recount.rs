//! Steps, useful products and dense baselines, counted anew from dumped layers by a script that shares no code with us.

use crate::binary::command;
use crate::onnx::{Model, int, ints, noise};
use crate::python;
use std::path::Path;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../simulator/recount.py");

/// A chain of convolutions of every kind: strided, with a fused pool, grouped, depthwise, dilated, 1x1, over the plane.
fn model() -> Model {
    // Output channels, input channels of a group, kernel, stride, padding, dilation, groups.
    let layers = [
        [8, 3, 5, 2, 2, 1, 1],
        [12, 4, 3, 1, 1, 1, 2],
        [12, 1, 3, 1, 1, 1, 12],
        [10, 12, 3, 1, 2, 2, 1],
        [24, 10, 1, 1, 0, 1, 1],
        [7, 24, 7, 1, 0, 1, 1],
    ];
    let mut model = Model::new("kinds").input("x", &[2, 3, 29, 27]);
    let mut input = "x".to_owned();
    for (number, [k, c, kernel, stride, pad, dilation, groups]) in layers.into_iter().enumerate() {
        let name = |what: &str| format!("{what}{number}");
        let (weight, sums, output) = (name("w"), name("c"), name("r"));
        let count = (k * c * kernel * kernel) as usize;
        let density = [0.9, 0.4, 0.7, 0.05, 0.3, 0.2][number];
        let attributes = vec![
            ints("kernel_shape", &[kernel, kernel]),
            ints("strides", &[stride, stride]),
            ints("pads", &[pad; 4]),
            ints("dilations", &[dilation, dilation]),
            int("group", groups),
        ];
        model = model
            .floats(
                &weight,
                &[k, c, kernel, kernel],
                &noise(count, number as u64, density),
            )
            .node("Conv", &[&input, &weight], &sums, attributes)
            .node("Relu", &[&sums], &output, vec![]);
        input = output;
        if number == 0 {
            let window = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
            model = model.node("MaxPool", &[&input], "p", window);
            "p".clone_into(&mut input);
        }
    }
    model.output(&input)
}

fn dumped(model: &Path, folder: &Path, machine: &str, more: &[&str]) {
    command(Path::new("."))
        .arg("run")
        .arg(model)
        .args(["--machine", machine, "--quiet", "--dump"])
        .arg(folder)
        .args(more)
        .assert()
        .success();
}

#[test]
fn a_recount_of_dumped_layers_agrees() {
    if !python::has("numpy") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let kinds = folder.path().join("kinds.onnx");
    std::fs::write(&kinds, model().bytes()).unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let digits = models.join("lenet5-digits.npz");
    let digits = ["--input", digits.to_str().unwrap(), "--samples", "1"];
    for machine in ["scnn", "scnn-16pe", "scnn-sparse-w"] {
        for (name, model, more) in [
            ("kinds", kinds.clone(), &[][..]),
            ("lenet5", models.join("lenet5.onnx"), &digits[..]),
        ] {
            let dump = folder.path().join(format!("{name}-{machine}"));
            dumped(&model, &dump, machine, more);
            let recount = python::run([Path::new(SCRIPT), &dump]);
            let text = String::from_utf8_lossy(&recount.stdout);
            assert!(recount.status.success(), "{name} on {machine}:\n{text}");
            assert!(
                text.lines().filter(|line| line.starts_with("ok")).count() >= 2,
                "{text}"
            );
        }
    }
}
