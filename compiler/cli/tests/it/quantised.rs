//! Models that are quantised already: every integer is the one that ONNX's arithmetic gives, worked out here in single
//! precision, one operator after the other.

use crate::agreement::{Sample, compiled, floats, run_checked};
use crate::onnx::{Model, float, int, ints, noise};
use crate::python;
use prost::Message;
use scnn_isa::machine::Machine;
use scnnc::compile::Compiled;
use scnnc::graph::Op;
use std::collections::BTreeMap;
use tract_onnx::pb::TensorProto;
use tract_onnx::prelude::Tensor;

/// Numbers that ONNX gives to element types.
const UINT8: i32 = 2;
const INT8: i32 = 3;
const UINT16: i32 = 4;
const INT16: i32 = 5;

/// The values of a quantised tensor: a scale and a zero point, and the integers of their type.
#[derive(Clone, Copy)]
struct Grid {
    scale: f32,
    zero: i32,
    dtype: i32,
}

fn signed(scale: f32, zero: i32) -> Grid {
    Grid {
        scale,
        zero,
        dtype: INT8,
    }
}

impl Grid {
    fn bounds(self) -> [f32; 2] {
        match self.dtype {
            UINT8 => [0.0, 255.0],
            INT8 => [-128.0, 127.0],
            UINT16 => [0.0, 65535.0],
            _ => [-32768.0, 32767.0],
        }
    }

    /// A real value after `QuantizeLinear` and `DequantizeLinear`.
    fn round(self, value: f32) -> f32 {
        let [low, high] = self.bounds();
        let zero = self.zero as f32;
        let integer = ((value / self.scale).round_ties_even() + zero).clamp(low, high);
        (integer - zero) * self.scale
    }
}

/// A model under construction, of operator set 21.
struct Quantised(Model);

impl Quantised {
    fn new(dims: &[i64]) -> Self {
        Self(Model::new("quantised").input("x", dims))
    }

    fn scalar(mut self, name: &str, dtype: i32, value: i32) -> Self {
        self.0.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            data_type: dtype,
            int32_data: vec![value],
            ..TensorProto::default()
        });
        self
    }

    /// `QuantizeLinear` and `DequantizeLinear` of `value`, called `to`.
    fn round(self, value: &str, to: &str, scale: Grid) -> Self {
        let [s, z, q] = ["s", "z", "q"].map(|part| format!("{to}.{part}"));
        let mut built = self.scalar(&z, scale.dtype, scale.zero);
        built.0 = built.0.floats(&s, &[], &[scale.scale]);
        built.0 = built.0.node("QuantizeLinear", &[value, &s, &z], &q, vec![]);
        built.0 = built.0.node("DequantizeLinear", &[&q, &s, &z], to, vec![]);
        built
    }

    fn with(self, build: impl FnOnce(Model) -> Model) -> Self {
        Self(build(self.0))
    }

    fn compiled(self, x: &[f32], dims: &[usize]) -> (Compiled, Sample) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let mut proto = self.0.output("y").proto();
        proto.opset_import[0].version = 21;
        std::fs::write(&path, proto.encode_to_vec()).unwrap();
        let x = Tensor::from_shape(dims, x).unwrap();
        let sample = BTreeMap::from([("x".to_owned(), x)]);
        let compiled = compiled(&path, Machine::preset("scnn").unwrap(), &sample);
        (compiled, sample)
    }

    /// The output `y`, and how many nodes run on the host.
    fn run(self, x: &[f32], dims: &[usize]) -> (Vec<f32>, usize) {
        let (compiled, sample) = self.compiled(x, dims);
        let nodes = compiled.graph.dag.node_weights();
        let hosts = nodes.filter(|node| matches!(node.op, Op::Host(_))).count();
        let execution = run_checked(&compiled, &sample);
        (floats(&execution.outputs["y"]), hosts)
    }
}

/// All integers of a signed byte, in units of `scale`.
fn bytes(scale: f32) -> Vec<f32> {
    (-128..128).map(|q| q as f32 * scale).collect()
}

/// A scale twice, three and six times another: every second, third and sixth value lies in the middle of two.
#[test]
fn halves_go_to_even_in_the_order_of_onnx() {
    for (from, to) in [(0.02, 0.04), (0.01, 0.06), (0.03, 0.09), (0.037, 0.021)] {
        let (first, second) = (signed(from, 0), signed(to, 3));
        let model = Quantised::new(&[1, 1, 16, 16])
            .round("x", "a", first)
            .with(|m| m.node("Relu", &["a"], "r", vec![]))
            .round("r", "y", second);
        let x = bytes(from);
        let (found, hosts) = model.run(&x, &[1, 1, 16, 16]);
        let wanted = x.iter().map(|&v| second.round(first.round(v).max(0.0)));
        assert_eq!(found, wanted.collect::<Vec<f32>>(), "{from} to {to}");
        assert_eq!(hosts, 0);
    }
}

/// The second time where the first left off, though nothing else is between an input and both.
#[test]
fn what_is_rounded_twice_is_rounded_twice() {
    let (first, second) = (signed(0.03, 0), signed(0.037, 3));
    let model = Quantised::new(&[1, 1, 16, 16])
        .round("x", "a", first)
        .round("a", "y", second);
    let x: Vec<f32> = noise(256, 12, 1.0).iter().map(|v| v * 3.0).collect();
    let (found, _) = model.run(&x, &[1, 1, 16, 16]);
    let wanted = x.iter().map(|&v| second.round(first.round(v)));
    assert_eq!(found, wanted.collect::<Vec<f32>>());
    assert!(
        x.iter()
            .any(|&v| second.round(first.round(v)) != second.round(v))
    );
}

#[test]
fn a_sum_of_two_is_rounded_once() {
    let (a, b, sum) = (signed(0.02, 0), signed(0.03, -128), signed(0.05, 7));
    let model = Quantised::new(&[1, 1, 16, 16])
        .round("x", "a", a)
        .round("x", "b", b)
        .with(|m| m.node("Add", &["a", "b"], "c", vec![]))
        .round("c", "y", sum);
    let x = noise(256, 5, 1.0);
    let (found, _) = model.run(&x, &[1, 1, 16, 16]);
    let wanted = x.iter().map(|&v| sum.round(a.round(v) + b.round(v)));
    assert_eq!(found, wanted.collect::<Vec<f32>>());
}

/// The result has no negative values, the operand has.
#[test]
fn an_average_is_bounded_behind_its_division() {
    let (before, after) = (signed(0.015, 0), signed(0.02, -128));
    for whole in [false, true] {
        let (operator, attributes, extent, window) = if whole {
            ("GlobalAveragePool", vec![], 1, 8)
        } else {
            let attributes = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
            ("AveragePool", attributes, 4, 2)
        };
        let model = Quantised::new(&[1, 1, 8, 8])
            .round("x", "a", before)
            .with(|m| m.node(operator, &["a"], "p", attributes))
            .round("p", "y", after);
        let x = noise(64, 3, 1.0);
        let (found, hosts) = model.run(&x, &[1, 1, 8, 8]);
        let mut wanted = Vec::new();
        for (y, x0) in (0..extent).flat_map(|y| (0..extent).map(move |x| (y, x))) {
            let rows = (0..window).flat_map(|r| (0..window).map(move |s| (r, s)));
            let inside = rows.map(|(r, s)| x[(y * window + r) * 8 + x0 * window + s]);
            let sum = inside.fold(0.0, |sum, v| sum + before.round(v));
            wanted.push(after.round(sum / (window * window) as f32));
        }
        assert_eq!((found, hosts), (wanted, 0), "{operator}");
    }
}

#[test]
fn branches_of_a_concatenation_are_rounded_each_at_its_own_scale() {
    let (a, b, all) = (signed(0.011, 0), signed(0.05, -20), signed(0.02, 0));
    let model = Quantised::new(&[1, 1, 16, 16])
        .round("x", "a", a)
        .round("x", "b", b)
        .with(|m| m.node("Concat", &["a", "b"], "c", vec![int("axis", 1)]))
        .round("c", "y", all);
    let x = noise(256, 9, 1.0);
    let (found, _) = model.run(&x, &[1, 1, 16, 16]);
    let branch = |scale: Grid| x.iter().map(move |&v| all.round(scale.round(v)));
    assert_eq!(found, branch(a).chain(branch(b)).collect::<Vec<f32>>());
}

/// Below 8 bits Brevitas writes a `Clip` of the integers.
#[test]
fn a_clip_of_integers_narrows_what_they_are_rounded_to() {
    let scale = 0.2;
    let model = Quantised::new(&[1, 1, 16, 16])
        .scalar("z", INT8, 0)
        .scalar("low", INT8, -8)
        .scalar("high", INT8, 7)
        .with(|m| {
            m.floats("s", &[], &[scale])
                .node("QuantizeLinear", &["x", "s", "z"], "q", vec![])
                .node("Clip", &["q", "low", "high"], "c", vec![])
                .node("DequantizeLinear", &["c", "s", "z"], "d", vec![])
                .node("Relu", &["d"], "y", vec![])
        });
    let x: Vec<f32> = noise(256, 2, 1.0).iter().map(|v| v * 3.0).collect();
    let (found, hosts) = model.run(&x, &[1, 1, 16, 16]);
    let clipped = |v: f32| (v / scale).round_ties_even().clamp(-8.0, 7.0) * scale;
    let wanted: Vec<f32> = x.iter().map(|&v| clipped(v).max(0.0)).collect();
    assert_eq!((found, hosts), (wanted, 0));
}

/// -32768 is the one integer that the machine has not; of 65,536 values without negatives it holds every second.
#[test]
fn sixteen_bits_are_held_as_far_as_the_machine_does() {
    let x: Vec<f32> = noise(256, 4, 1.0).iter().map(|v| v * 2.0).collect();
    for (dtype, zero) in [(INT16, 0), (UINT16, 32768), (UINT16, 0)] {
        let scale = Grid {
            scale: 1.0 / 16384.0,
            zero,
            dtype,
        };
        let model = Quantised::new(&[1, 1, 16, 16])
            .round("x", "a", scale)
            .with(|m| m.node("Relu", &["a"], "y", vec![]));
        let (found, hosts) = model.run(&x, &[1, 1, 16, 16]);
        assert_eq!(hosts, 0);
        for (&x, &found) in x.iter().zip(&found) {
            let wanted = scale.round(x).max(0.0);
            let room = if zero == 0 && dtype == UINT16 {
                scale.scale
            } else {
                0.0
            };
            assert!((found - wanted).abs() <= room, "{x}: {found}, not {wanted}");
        }
    }
}

#[test]
fn the_type_of_integers_without_a_zero_point_is_the_attributes() {
    let model = Quantised::new(&[1, 1, 16, 16]).with(|m| {
        m.floats("s", &[], &[0.01])
            .node(
                "QuantizeLinear",
                &["x", "s"],
                "q",
                vec![int("output_dtype", INT8.into())],
            )
            .node("DequantizeLinear", &["q", "s"], "d", vec![])
            .node("Relu", &["d"], "r", vec![])
            .node("Neg", &["d"], "n", vec![])
            .node("Add", &["r", "n"], "y", vec![])
    });
    let x = noise(256, 8, 1.0);
    let (found, _) = model.run(&x, &[1, 1, 16, 16]);
    let scale = signed(0.01, 0);
    // What is left of a value's negative is the magnitude of negative ones.
    for (&x, &found) in x.iter().zip(&found) {
        let wanted = (-scale.round(x)).max(0.0);
        assert!((found - wanted).abs() < 2e-4, "{x}: {found}, not {wanted}");
    }
}

/// The output is rounded where it is: on the host, though the array is before it.
#[test]
fn what_the_host_computes_last_is_rounded_there() {
    let (before, after) = (signed(0.05, 0), signed(1.0 / 256.0, -128));
    let model = Quantised::new(&[1, 2, 1, 1])
        .round("x", "a", before)
        .with(|m| {
            m.floats("w", &[2, 2, 1, 1], &[1.0, 0.0, 0.0, 1.0])
                .node("Conv", &["a", "w"], "c", vec![])
                .node("Softmax", &["c"], "p", vec![int("axis", 1)])
        })
        .round("p", "y", after);
    let (found, hosts) = model.run(&[1.0, 0.5], &[1, 2, 1, 1]);
    let share = 1.0 / (1.0 + (-0.5f32).exp());
    assert_eq!(found, [after.round(share), after.round(1.0 - share)]);
    assert_eq!(hosts, 1);
}

/// A table has a knot for each of 256 values: nothing is interpolated.
#[test]
fn functions_of_a_byte_are_exact() {
    let (before, after) = (signed(0.05, -3), signed(0.007, -100));
    let x = bytes(0.049);
    let functions: [(&str, &dyn Fn(f64) -> f64); 3] = [
        ("Sigmoid", &|x| 1.0 / (1.0 + (-x).exp())),
        ("Tanh", &f64::tanh),
        ("LeakyRelu", &|x| if x < 0.0 { 0.125 * x } else { x }),
    ];
    for (operator, function) in functions {
        let attributes = match operator {
            "LeakyRelu" => vec![float("alpha", 0.125)],
            _ => vec![],
        };
        let model = Quantised::new(&[1, 1, 16, 16])
            .round("x", "a", before)
            .with(|m| m.node(operator, &["a"], "f", attributes))
            .round("f", "y", after);
        let (found, hosts) = model.run(&x, &[1, 1, 16, 16]);
        let wanted = x
            .iter()
            .map(|&v| after.round(function(before.round(v).into()) as f32));
        assert_eq!((found, hosts), (wanted.collect(), 0), "{operator}");
    }
}

/// Integers of weights and bias stay what they are, and the sum is multiplied by one factor.
/// A sum over rows is a mean times their number: the mean is not rounded in between.
#[test]
fn a_sum_of_rows_is_rounded_once() {
    let (from, to) = (signed(0.0005, 0), signed(0.00173, 0));
    let model = Quantised::new(&[1, 4, 8, 8])
        .round("x", "a", from)
        .with(|model| {
            let model = model.integers("axes", &[2]);
            let flat = vec![int("keepdims", 0)];
            model.node("ReduceSum", &["a", "axes"], "s", flat)
        })
        .round("s", "y", to);
    let x: Vec<f32> = (0..256)
        .map(|i| ((i * 37 % 41) - 12) as f32 * 0.0005)
        .collect();
    let (y, _) = model.run(&x, &[1, 4, 8, 8]);
    for (place, y) in y.iter().enumerate() {
        let column = |row: usize| from.round(x[place / 8 * 64 + row * 8 + place % 8]);
        let sum: f32 = (0..8).map(column).sum();
        assert!((y - to.round(sum)).abs() < 1e-6, "{y}, not {sum} rounded");
    }
}

/// A table has one function for all channels: what has a slope for each is rounded where it is computed in floats.
#[test]
fn slopes_of_each_channel_are_rounded_once() {
    let slopes: Vec<f32> = (0..16)
        .map(|channel| 0.013 + 0.0571 * channel as f32)
        .collect();
    let (from, to) = (signed(0.031, 0), signed(0.0173, 3));
    let model = Quantised::new(&[1, 16, 1, 256])
        .round("x", "a", from)
        .with(|model| {
            let model = model.floats("slope", &[16, 1, 1], &slopes);
            model.node("PRelu", &["a", "slope"], "p", vec![])
        })
        .round("p", "y", to);
    let x = bytes(from.scale).repeat(16);
    let (y, _) = model.run(&x, &[1, 16, 1, 256]);
    for (index, (&x, y)) in x.iter().zip(y).enumerate() {
        let value = if x < 0.0 { slopes[index / 256] * x } else { x };
        assert_eq!(y, to.round(value), "{x} of channel {}", index / 256);
    }
}

#[test]
fn a_convolution_of_integers_is_that_of_qlinearconv() {
    let (x_scale, y_scale, w_scale) = (signed(0.04, 5), signed(0.11, -9), 0.003f32);
    let weights: Vec<i8> = (0..3 * 2 * 9).map(|i| (i * 37 % 255 - 127) as i8).collect();
    let model = Quantised::new(&[1, 2, 6, 6])
        .round("x", "a", x_scale)
        .scalar("wz", INT8, 0)
        .with(|m| {
            m.bytes_of("w", &[3, 2, 3, 3], &weights)
                .floats("ws", &[], &[w_scale])
                .node("DequantizeLinear", &["w", "ws", "wz"], "wd", vec![])
                .node("Conv", &["a", "wd"], "c", vec![])
        })
        .round("c", "y", y_scale);
    let x: Vec<f32> = noise(72, 6, 1.0).iter().map(|v| v * 4.0).collect();
    let (found, hosts) = model.run(&x, &[1, 2, 6, 6]);
    let integers: Vec<i32> = x
        .iter()
        .map(|&v| (x_scale.round(v) / x_scale.scale).round() as i32)
        .collect();
    let factor = x_scale.scale * w_scale / y_scale.scale;
    let mut wanted = Vec::new();
    for (k, y, x0) in (0..3).flat_map(|k| (0..16).map(move |i| (k, i / 4, i % 4))) {
        let taps = (0..18).map(|t| {
            let (c, r, s) = (t / 9, t % 9 / 3, t % 3);
            i32::from(weights[k * 18 + t]) * integers[(c * 6 + y + r) * 6 + x0 + s]
        });
        let units = (taps.sum::<i32>() as f32 * factor).round_ties_even();
        let zero = y_scale.zero as f32;
        wanted.push(((units + zero).clamp(-128.0, 127.0) - zero) * y_scale.scale);
    }
    assert_eq!((found, hosts), (wanted, 0));
}

/// `DynamicQuantizeLinear` rounds by the scale of the run; the sums of the product have more than 16 bits.
#[test]
fn a_product_of_integers_gives_its_sums_to_the_last_bit() {
    let weights: Vec<i8> = (0..4 * 2 * 9).map(|i| (i * 53 % 251 - 125) as i8).collect();
    let model = Quantised::new(&[1, 2, 6, 6])
        .scalar("wz", INT8, 2)
        .with(|m| {
            m.bytes_of("w", &[4, 2, 3, 3], &weights)
                .node_of("DynamicQuantizeLinear", &["x"], &["q", "s", "z"], vec![])
                .node("ConvInteger", &["q", "w", "z", "wz"], "i", vec![])
                .node("Cast", &["i"], "f", vec![int("to", 1)])
                .node("Mul", &["f", "s"], "y", vec![])
        });
    let x: Vec<f32> = noise(72, 7, 1.0);
    let (compiled, sample) = model.compiled(&x, &[1, 2, 6, 6]);
    let found = floats(&run_checked(&compiled, &sample).outputs["y"]);
    let least = x.iter().fold(0f32, |a, &b| a.min(b));
    let most = x.iter().fold(0f32, |a, &b| a.max(b));
    let scale = (most - least) / 255.0;
    let zero = (-least / scale).round_ties_even();
    let integers: Vec<i32> = x
        .iter()
        .map(|&v| (((v / scale).round_ties_even() + zero).clamp(0.0, 255.0) - zero) as i32)
        .collect();
    let mut wanted = Vec::new();
    for (k, y, x0) in (0..4).flat_map(|k| (0..16).map(move |i| (k, i / 4, i % 4))) {
        let taps = (0..18).map(|t| {
            let (c, r, s) = (t / 9, t % 9 / 3, t % 3);
            (i32::from(weights[k * 18 + t]) - 2) * integers[(c * 6 + y + r) * 6 + x0 + s]
        });
        wanted.push(taps.sum::<i32>() as f32 * scale);
    }
    assert_eq!(found, wanted);
    let layers = compiled.network.operations.len();
    assert!(
        layers > 3,
        "sums of 16 bits would be one layer: {layers} operations"
    );
}

/// What ONNX Runtime's quantiser makes of small networks, beside ONNX Runtime: see the script.
#[test]
fn the_formats_of_onnx_runtimes_quantiser_agree_with_it() {
    if !python::has("onnxruntime.quantization, numpy") {
        return;
    }
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../models/quantised_formats.py"
    );
    let binary = env!("CARGO_BIN_EXE_scnnc");
    let output = python::run([
        script,
        "--scnnc",
        binary,
        "--only",
        "concat-softmax",
        "depthwise",
    ]);
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
