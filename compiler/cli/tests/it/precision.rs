//! Sixteen bits are enough for networks whose channels or intermediate values differ much in range.

use crate::onnx::{Model, ints, noise};
use assert_cmd::Command;
use ndarray_npy::NpzWriter;
use std::fs::File;
use tempfile::{TempDir, tempdir};
use tract_onnx::prelude::tract_ndarray::ArrayD;

/// A model in a folder.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new(model: Model) -> Self {
        let folder = tempdir().unwrap();
        std::fs::write(folder.path().join("m.onnx"), model.bytes()).unwrap();
        Self { folder }
    }

    /// Decibels of the integer network against the float model on one input, on which it is calibrated.
    fn decibels(&self, inputs: &[(&str, &[usize], Vec<f32>)]) -> f64 {
        let file = File::create(self.folder.path().join("x.npz")).unwrap();
        let mut npz = NpzWriter::new(file);
        for (name, dims, values) in inputs {
            let array = ArrayD::from_shape_vec(dims.to_vec(), values.clone()).unwrap();
            npz.add_array(*name, &array).unwrap();
        }
        npz.finish().unwrap();
        let arguments = "run m.onnx --input x.npz --calibrate x.npz --check --quiet";
        let output = Command::cargo_bin("scnnc")
            .unwrap()
            .current_dir(self.folder.path())
            .args(arguments.split(' '))
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with("check"));
        let before = line.and_then(|line| line.split(" dB").next());
        let ratio = before.and_then(|text| text.split(' ').next_back());
        ratio.unwrap().parse().unwrap()
    }
}

/// A convolution whose channels differ by a factor of up to 2000, and what makes them alike behind an activation.
fn channels_behind(activation: &str) -> Case {
    let gains: Vec<f32> = (0..8).map(|k| 2000f32.powf(k as f32 / 7.0)).collect();
    let mut weights = noise(8 * 27, 1, 1.0);
    for (weights, gain) in weights.chunks_mut(27).zip(&gains) {
        weights.iter_mut().for_each(|weight| *weight /= gain);
    }
    let pads = || vec![ints("pads", &[1; 4])];
    Case::new(
        Model::new("channels")
            .input("x", &[1, 3, 16, 16])
            .floats("w", &[8, 3, 3, 3], &weights)
            .floats("gain", &[1, 8, 1, 1], &gains)
            .floats("offset", &[1, 8, 1, 1], &noise(8, 2, 1.0))
            .floats("last", &[4, 8, 1, 1], &noise(32, 3, 1.0))
            .node("Conv", &["x", "w"], "c", pads())
            .node(activation, &["c"], "r", vec![])
            .node("Mul", &["r", "gain"], "m", vec![])
            .node("Add", &["m", "offset"], "a", vec![])
            .node("Conv", &["a", "last"], "y", vec![])
            .output("y"),
    )
}

#[test]
fn channels_that_an_affine_layer_makes_alike_keep_their_bits_behind_an_activation() {
    for activation in ["Relu", "LeakyRelu"] {
        let x = noise(3 * 256, 7, 1.0);
        let ratio = channels_behind(activation).decibels(&[("x", &[1, 3, 16, 16], x)]);
        assert!(ratio > 65.0, "{activation}: {ratio} dB");
    }
}

/// The bias of a layer without convolution is not rounded to units of what it reads: a channel that is always zero has an
/// enormous factor, and its offset is all that it gives.
#[test]
fn the_offset_of_a_layer_without_convolution_is_finer_than_its_source() {
    let case = Case::new(
        Model::new("offset")
            .input("x", &[1, 2, 4, 4])
            .floats("gain", &[1, 2, 1, 1], &[1.0, 5000.0])
            .floats("offset", &[1, 2, 1, 1], &[0.0, -0.3])
            .node("Relu", &["x"], "r", vec![])
            .node("Mul", &["r", "gain"], "m", vec![])
            .node("Add", &["m", "offset"], "y", vec![])
            .output("y"),
    );
    let mut values = vec![-1.0; 32];
    values[..16].copy_from_slice(&noise(16, 7, 1.0));
    let ratio = case.decibels(&[("x", &[1, 2, 4, 4], values)]);
    assert!(ratio > 70.0, "{ratio} dB");
}
