//! Sixteen bits are enough for networks whose channels or intermediate values differ much in range.

use crate::onnx::{Model, int, ints, noise};
use crate::python;
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
        for weight in weights {
            *weight /= gain;
        }
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

/// Values that fall to a fiftieth, as those of a signal that becomes silent.
fn fading(count: usize, seed: u64) -> Vec<f32> {
    let values = noise(count, seed, 1.0).into_iter().enumerate();
    let fade = |(i, value): (usize, f32)| if i * 4 < count { value } else { value / 50.0 };
    values.map(fade).collect()
}

/// The magnitude of a spectrum, read by a convolution: the power of what is small is far below a unit of the largest.
#[test]
fn the_root_and_the_logarithm_of_a_sum_of_squares_are_as_precise_as_what_is_squared() {
    for last in ["Sqrt", "Log"] {
        let case = Case::new(
            Model::new("magnitude")
                .input("x", &[1, 1, 1, 256])
                .floats("real", &[4, 1, 1, 8], &noise(32, 1, 1.0))
                .floats("imaginary", &[4, 1, 1, 8], &noise(32, 2, 1.0))
                .floats("two", &[], &[2.0])
                .floats("least", &[], &[1e-9])
                .floats("last", &[4, 4, 1, 1], &noise(16, 3, 1.0))
                .node("Conv", &["x", "real"], "a", vec![])
                .node("Conv", &["x", "imaginary"], "b", vec![])
                .node("Pow", &["a", "two"], "a2", vec![])
                .node("Mul", &["b", "b"], "b2", vec![])
                .node("Add", &["a2", "b2"], "power", vec![])
                .node("Max", &["power", "least"], "positive", vec![])
                .node(last, &["positive"], "m", vec![])
                .node("Conv", &["m", "last"], "y", vec![])
                .output("y"),
        );
        let ratio = case.decibels(&[("x", &[1, 1, 1, 256], fading(256, 7))]);
        assert!(ratio > 50.0, "{last}: {ratio} dB");
    }
}

/// What a mask of -10000 is added to has no bits left in 16.
#[test]
fn a_mask_that_is_added_before_a_softmax_takes_no_bits() {
    let mask: Vec<f32> = (0..128).map(|i| f32::from(u8::from(i % 3 != 0))).collect();
    let case = Case::new(
        Model::new("mask")
            .input("x", &[1, 8, 4, 4])
            .input("m", &[1, 8, 4, 4])
            .floats("w", &[8, 8, 1, 1], &noise(64, 1, 1.0))
            .floats("zero", &[], &[0.0])
            .floats("low", &[], &[-1e4])
            .node("Conv", &["x", "w"], "scores", vec![])
            .node("Greater", &["m", "zero"], "seen", vec![])
            .node("Where", &["seen", "zero", "low"], "mask", vec![])
            .node("Add", &["scores", "mask"], "masked", vec![])
            .node("Softmax", &["masked"], "y", vec![])
            .output("y"),
    );
    let dims = &[1, 8, 4, 4];
    let inputs = [("x", &dims[..], noise(128, 7, 1.0)), ("m", &dims[..], mask)];
    let ratio = case.decibels(&inputs);
    assert!(ratio > 70.0, "{ratio} dB");
}

/// A detector that sees nothing: the largest result is far below the 1 that a sigmoid could give.
#[test]
fn a_function_s_result_has_the_range_that_was_observed() {
    let case = Case::new(
        Model::new("small")
            .input("x", &[1, 8, 6, 6])
            .floats("w", &[4, 8, 1, 1], &noise(32, 1, 1.0))
            .floats("b", &[4], &[-9.0; 4])
            .node("Conv", &["x", "w", "b"], "c", vec![])
            .node("Sigmoid", &["c"], "y", vec![])
            .output("y"),
    );
    let ratio = case.decibels(&[("x", &[1, 8, 6, 6], noise(288, 7, 1.0))]);
    assert!(ratio > 60.0, "{ratio} dB");
}

/// A normalisation as exporters write it, of channels whose values differ in scale.
#[test]
fn a_normalisation_in_parts_is_as_precise_as_one_operator() {
    let axes = || vec![ints("axes", &[2, 3])];
    let mut values = noise(8 * 256, 7, 1.0);
    for (channel, values) in values.chunks_mut(256).enumerate() {
        let factor = 10f32.powf(-(channel as f32) * 3.0 / 7.0);
        for value in values {
            *value *= factor;
        }
    }
    // Times ones would move the values alone, which is the host's.
    let weights = (0..64).map(|i| if i % 9 == 0 { 0.75 } else { 0.0 });
    let weights: Vec<f32> = weights.collect();
    let case = Case::new(
        Model::new("normal")
            .input("x", &[1, 8, 16, 16])
            .floats("w", &[8, 8, 1, 1], &weights)
            .floats("least", &[], &[1e-9])
            .node("Conv", &["x", "w"], "c", vec![])
            .node("ReduceMean", &["c"], "mean", axes())
            .node("Sub", &["c", "mean"], "d", vec![])
            .node("Mul", &["d", "d"], "d2", vec![])
            .node("ReduceMean", &["d2"], "variance", axes())
            .node("Add", &["variance", "least"], "positive", vec![])
            .node("Sqrt", &["positive"], "s", vec![])
            .node("Div", &["d", "s"], "y", vec![])
            .output("y"),
    );
    let ratio = case.decibels(&[("x", &[1, 8, 16, 16], values)]);
    assert!(ratio > 55.0, "{ratio} dB");
}

/// A residual sum reads its operand from a concatenation whose other part is a million times as large. The operand keeps units as
/// fine as the sum's.
#[test]
fn an_operand_beside_large_values_keeps_its_bits() {
    let scaled = |seed, scale: f32| -> Vec<f32> {
        let weights = noise(8 * 8, seed, 1.0).into_iter();
        weights.map(|weight| scale * weight).collect()
    };
    let (of_small, of_large) = (scaled(4, 1.0), scaled(5, 1e-6));
    let rows = of_small.chunks(8).zip(of_large.chunks(8));
    let both: Vec<f32> = rows
        .flat_map(|(small, large)| [small, large].concat())
        .collect();
    let case = Case::new(
        Model::new("beside")
            .input("x", &[1, 8, 12, 12])
            .floats("small", &[8, 8, 1, 1], &scaled(1, 1.0))
            .floats("large", &[8, 8, 1, 1], &scaled(2, 1e6))
            .floats("inner", &[8, 8, 1, 1], &scaled(3, 1.0))
            .floats("both", &[8, 16, 1, 1], &both)
            .node("Conv", &["x", "small"], "a", vec![])
            .node("Conv", &["x", "large"], "b", vec![])
            .node("Concat", &["a", "b"], "ab", vec![int("axis", 1)])
            .node("Conv", &["ab", "both"], "c", vec![])
            .node("Relu", &["c"], "r", vec![])
            .node("Conv", &["r", "inner"], "d", vec![])
            .node("Add", &["d", "a"], "y", vec![])
            .output("y"),
    );
    let ratio = case.decibels(&[("x", &[1, 8, 12, 12], noise(1152, 7, 1.0))]);
    assert!(ratio > 65.0, "{ratio} dB");
}

/// Rows of an embedding, which the host looks up and the machine stores channels last, beside values a hundred times as large:
/// an affine layer makes them alike.
#[test]
fn a_small_part_of_a_concatenation_of_rows_keeps_its_bits() {
    // Sums up to each row are ONNX Runtime's.
    if !python::has("onnxruntime") {
        return;
    }
    let gains: Vec<f32> = (0..9).map(|k| if k < 4 { 0.02 } else { 2.0 }).collect();
    let scaled = |count, seed, scale: f32| {
        let values = noise(count, seed, 1.0).into_iter();
        values.map(|value| scale * value).collect::<Vec<f32>>()
    };
    let case = Case::new(
        Model::new("embedding")
            .input("x", &[8, 21, 6])
            .input("e", &[8, 21, 5])
            .floats("w", &[6, 4], &scaled(24, 1, 40.0))
            .floats("gain", &[9], &gains)
            .floats("offset", &[9], &noise(9, 2, 1.0))
            .floats("last", &[189, 3], &noise(567, 3, 1.0))
            .integers("axis", &[0])
            .integers("flat", &[8, 189])
            .node("MatMul", &["x", "w"], "large", vec![])
            .node("CumSum", &["e", "axis"], "small", vec![])
            .node("Concat", &["large", "small"], "all", vec![int("axis", 2)])
            .node("Mul", &["all", "gain"], "m", vec![])
            .node("Add", &["m", "offset"], "a", vec![])
            .node("Reshape", &["a", "flat"], "f", vec![])
            .node("MatMul", &["f", "last"], "y", vec![])
            .output("y"),
    );
    let inputs = [
        ("x", &[8, 21, 6][..], noise(1008, 7, 1.0)),
        ("e", &[8, 21, 5][..], scaled(840, 8, 0.05)),
    ];
    let ratio = case.decibels(&inputs);
    assert!(ratio > 65.0, "{ratio} dB");
}

/// The bands of a spectrum's power, summed by a nearly empty matrix before their logarithm: with a transpose, a slice and
/// a root on the way, as exporters have it.
#[test]
fn the_logarithm_of_summed_powers_is_as_precise_as_the_spectrum() {
    let bands: Vec<f32> = (0..96)
        .map(|i| f32::from(u8::from(i / 4 / 8 == i % 4 && i / 4 != 23)))
        .collect();
    for root in [false, true] {
        let summed = if root { "m" } else { "part" };
        let case = Case::new(
            Model::new("mel")
                .input("x", &[1, 1, 2048])
                .floats("real", &[32, 1, 64], &noise(2048, 1, 1.0))
                .floats("imaginary", &[32, 1, 64], &noise(2048, 2, 1.0))
                .floats("two", &[], &[2.0])
                .floats("least", &[], &[1e-9])
                .floats("bands", &[24, 4], &bands)
                .integers("begin", &[4])
                .integers("end", &[28])
                .integers("axis", &[2])
                .node("Conv", &["x", "real"], "a", vec![ints("strides", &[32])])
                .node(
                    "Conv",
                    &["x", "imaginary"],
                    "b",
                    vec![ints("strides", &[32])],
                )
                .node("Pow", &["a", "two"], "a2", vec![])
                .node("Mul", &["b", "b"], "b2", vec![])
                .node("Add", &["a2", "b2"], "power", vec![])
                .node(
                    "Transpose",
                    &["power"],
                    "frames",
                    vec![ints("perm", &[0, 2, 1])],
                )
                .node("Slice", &["frames", "begin", "end", "axis"], "part", vec![])
                .node("Sqrt", &["part"], "m", vec![])
                .node("MatMul", &[summed, "bands"], "mel", vec![])
                .node("Max", &["mel", "least"], "positive", vec![])
                .node("Log", &["positive"], "y", vec![])
                .output("y"),
        );
        let ratio = case.decibels(&[("x", &[1, 1, 2048], fading(2048, 7))]);
        assert!(ratio > 55.0, "{root}: {ratio} dB");
    }
}

/// The logarithm of what a small product computes of a signal that becomes silent, in front of a network of convolutions.
fn logarithm_of_a_product() -> Case {
    let pads = || vec![ints("pads", &[1; 4])];
    Case::new(
        Model::new("silence")
            .input("x", &[64, 16])
            .floats("w", &[16, 16], &noise(256, 1, 1.0))
            .floats("least", &[], &[1e-6])
            .integers("plane", &[1, 1, 64, 16])
            .floats("first", &[16, 1, 3, 3], &noise(144, 2, 1.0))
            .floats("second", &[8, 16, 3, 3], &noise(1152, 3, 1.0))
            .node("MatMul", &["x", "w"], "p", vec![])
            .node("Abs", &["p"], "a", vec![])
            .node("Add", &["a", "least"], "positive", vec![])
            .node("Log", &["positive"], "l", vec![])
            .node("Reshape", &["l", "plane"], "r", vec![])
            .node("Conv", &["r", "first"], "c", pads())
            .node("Relu", &["c"], "d", vec![])
            .node("Conv", &["d", "second"], "y", pads())
            .output("y"),
    )
}

/// Values that fall by a factor of 3 from row to row.
fn falling(rows: usize, columns: usize) -> Vec<f32> {
    let values = noise(rows * columns, 7, 1.0).into_iter().enumerate();
    let fall = |(i, value): (usize, f32)| value * 3f32.powi(-((i / columns) as i32) % 9);
    values.map(fall).collect()
}

#[test]
fn what_the_host_enlarges_is_not_rounded_before() {
    let x = falling(64, 16);
    let ratio = logarithm_of_a_product().decibels(&[("x", &[64, 16], x)]);
    assert!(ratio > 60.0, "{ratio} dB");
}

/// What was moved to the host stands in the calibration, from which alone the same program comes.
#[test]
fn a_calibration_knows_what_runs_on_the_host_for_its_sake() {
    let case = logarithm_of_a_product();
    case.decibels(&[("x", &[64, 16], falling(64, 16))]);
    let scnnc = |arguments: &str| {
        let output = Command::cargo_bin("scnnc")
            .unwrap()
            .current_dir(case.folder.path())
            .args(arguments.split(' '))
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    };
    // All but the provenance; with a mapping that no sample decides.
    let program = |arguments: &str| {
        scnnc(&format!(
            "compile m.onnx --quiet --mapping paper --output p.scnn {arguments}"
        ));
        let text = scnnc("disasm p.scnn --code");
        text[text.find(".inputs").unwrap()..].to_owned()
    };
    let first = program("--calibrate x.npz --save-calibration c.yaml");
    let text = std::fs::read_to_string(case.folder.path().join("c.yaml")).unwrap();
    let known = text.split_once("on_host:").unwrap().1;
    assert!(known.contains("- /p/MatMul"), "{known}");
    let again = program("--calibration c.yaml");
    let mut pairs = first.lines().zip(again.lines());
    assert_eq!(pairs.find(|(one, other)| one != other), None);
}

/// The residue of a rounding is 500 times smaller than what it is the difference of, in units that are 65536 times smaller.
#[test]
fn a_small_difference_of_large_values_is_not_enlarged_further_than_a_multiplier_does() {
    let case = Case::new(
        Model::new("residue")
            .input("x", &[1, 3, 8, 8])
            .floats("w", &[3, 3, 1, 1], &[1., 0., 0., 0., 1., 0., 0., 0., 1.])
            .floats("s", &[], &[1.0 / 64.0])
            .bytes_of("z", &[], &[0])
            .floats("last", &[4, 3, 3, 3], &noise(108, 3, 1.0))
            .node("Conv", &["x", "w"], "a", vec![])
            .node("QuantizeLinear", &["a", "s", "z"], "q", vec![])
            .node("DequantizeLinear", &["q", "s", "z"], "d", vec![])
            .node("Sub", &["a", "d"], "e", vec![])
            .node("Conv", &["e", "last"], "y", vec![ints("pads", &[1; 4])])
            .output("y"),
    );
    let ratio = case.decibels(&[("x", &[1, 3, 8, 8], noise(192, 7, 1.0))]);
    assert!(ratio > 40.0, "{ratio} dB");
}
