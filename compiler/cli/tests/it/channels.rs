//! Channels that are joined with constants, or of which some are chosen, stay on the array: a convolution by ones.

use crate::onnx::{Model, int, noise};
use crate::placement::hosted;

/// A block of `BlazeFace`: its shortcut has fewer channels than its result, and is padded with channels of one value.
#[test]
fn channels_are_padded_on_the_array() {
    for (value, pads) in [
        (0.0, [0, 0, 0, 0, 0, 3, 0, 0]),
        (0.0, [0, 1, 1, 0, 0, 2, 0, 2]),
        (-0.4, [0, 2, 0, 0, 0, 1, 0, 0]),
        (0.3, [0, 4, 0, 0, 0, -1, 0, 0]),
    ] {
        let channels: i64 = 5 + pads[1] + pads[5];
        let weights = noise((channels * 5) as usize, 1, 0.6);
        let mut model = Model::new("shortcut")
            .input("x", &[1, 5, 6, 7])
            .floats("w", &[channels, 5, 1, 1], &weights)
            .integers("pads", &pads)
            .floats("value", &[], &[value])
            .node("Relu", &["x"], "r", vec![])
            .node("Pad", &["r", "pads", "value"], "shortcut", vec![]);
        if pads[2] == 0 {
            model = model
                .node("Conv", &["r", "w"], "c", vec![])
                .node("Add", &["c", "shortcut"], "a", vec![])
                .node("Relu", &["a"], "y", vec![]);
        } else {
            model = model.node("Relu", &["shortcut"], "y", vec![]);
        }
        let (hosted, compiled) = hosted(model.output("y"), &[1, 5, 6, 7]);
        assert_eq!(hosted, Vec::<String>::new(), "{}", compiled.graph);
    }
}

/// Constants before, between and behind activations, of one value for each channel.
#[test]
fn constants_are_concatenated_on_the_array() {
    let plane = 6 * 7;
    let steps: Vec<f32> = [0.5, -0.25].iter().flat_map(|&v| vec![v; plane]).collect();
    for order in [&["r", "zeros"][..], &["steps", "r", "zeros", "c"]] {
        let channels = order.iter().map(|&name| match name {
            "r" | "c" => 5,
            "zeros" => 3,
            _ => 2,
        });
        let channels: i64 = channels.sum();
        let model = Model::new("constants")
            .input("x", &[2, 5, 6, 7])
            .floats("w", &[5, 5, 1, 1], &noise(25, 1, 0.6))
            .floats(
                "v",
                &[4, channels, 3, 3],
                &noise(36 * channels as usize, 2, 0.6),
            )
            .floats("zeros", &[2, 3, 6, 7], &vec![0.0; 2 * 3 * plane])
            .floats(
                "steps",
                &[2, 2, 6, 7],
                &[steps.clone(), steps.clone()].concat(),
            )
            .node("Relu", &["x"], "r", vec![])
            .node("Conv", &["r", "w"], "c", vec![])
            .node("Concat", order, "joined", vec![int("axis", 1)])
            .node("Conv", &["joined", "v"], "d", vec![])
            .node("Add", &["d", "d"], "y", vec![])
            .output("y");
        let (hosted, compiled) = hosted(model, &[2, 5, 6, 7]);
        assert_eq!(hosted, Vec::<String>::new(), "{}", compiled.graph);
    }
}

/// A constant that varies over the plane has no place on the array.
#[test]
fn a_constant_plane_is_concatenated_by_the_host() {
    let model = Model::new("coordinates")
        .input("x", &[1, 5, 6, 7])
        .floats("ramp", &[1, 1, 6, 7], &noise(42, 3, 0.6))
        .floats("w", &[4, 6, 3, 3], &noise(216, 2, 0.6))
        .node("Relu", &["x"], "r", vec![])
        .node("Concat", &["r", "ramp"], "joined", vec![int("axis", 1)])
        .node("Conv", &["joined", "w"], "y", vec![])
        .output("y");
    let (hosted, _) = hosted(model, &[1, 5, 6, 7]);
    assert!(hosted.contains(&"Concat".to_owned()), "{hosted:?}");
}
