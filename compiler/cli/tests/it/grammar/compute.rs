//! What computes: on the array, on the PPU, or on the host.

use super::{Builder, Choice};
use crate::onnx::{float, int, ints, text};

/// A window over the axes of a plane: one number each from the choice.
struct Window {
    kernel: Vec<i64>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    pads: Vec<i64>,
}

impl Window {
    fn of(choice: &Choice, axes: usize) -> Self {
        let each = |index: usize, range: std::ops::Range<i64>| {
            (0..axes)
                .map(|axis| {
                    let number = choice.numbers[index] >> (4 * axis);
                    range.start + i64::from(number) % (range.end - range.start)
                })
                .collect::<Vec<i64>>()
        };
        let begins = each(3, 0..2);
        Self {
            kernel: each(0, 1..4),
            strides: each(1, 1..3),
            dilations: each(2, 1..3),
            pads: [begins, each(4, 0..2)].concat(),
        }
    }

    /// Extents behind the window, as ONNX has them; nothing if it does not fit.
    fn outputs(&self, plane: &[i64], ceil: bool) -> Option<Vec<i64>> {
        let axes = plane.len();
        (0..axes)
            .map(|axis| {
                let reach = self.dilations[axis] * (self.kernel[axis] - 1) + 1;
                let padded = plane[axis] + self.pads[axis] + self.pads[axes + axis];
                let (room, stride) = (padded - reach, self.strides[axis]);
                let mut output = room / stride + 1;
                if ceil && room % stride != 0 && output * stride < plane[axis] + self.pads[axis] {
                    output += 1;
                }
                (room >= 0).then_some(output)
            })
            .collect()
    }

    /// Whether a window that rounding up adds would begin behind the plane: the standard leaves it out, ONNX Runtime's
    /// inference of shapes counts it.
    fn adds_behind(&self, plane: &[i64]) -> bool {
        let [down, up] = [false, true].map(|ceil| self.outputs(plane, ceil));
        let axes = plane.len();
        let ends_inside = |axis: usize| {
            let reach = self.dilations[axis] * (self.kernel[axis] - 1) + 1;
            let padded = plane[axis] + self.pads[axis] + self.pads[axes + axis];
            (padded - reach) % self.strides[axis] == 0
        };
        down.zip(up).is_some_and(|(down, up)| {
            (0..axes).any(|axis| down[axis] == up[axis] && !ends_inside(axis))
        })
    }

    fn attributes(&self) -> Vec<tract_onnx::pb::AttributeProto> {
        vec![
            ints("kernel_shape", &self.kernel),
            ints("strides", &self.strides),
            ints("dilations", &self.dilations),
            ints("pads", &self.pads),
        ]
    }
}

fn is_plane(dims: &[i64]) -> bool {
    [3, 4].contains(&dims.len())
}

pub fn conv(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, is_plane)?;
    let groups = if dims[1] % 2 == 0 && choice.numbers[5].is_multiple_of(4) {
        2
    } else {
        1
    };
    convolution(builder, choice, (&input, &dims), groups)
}

pub fn depthwise(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, is_plane)?;
    convolution(builder, choice, (&input, &dims), dims[1])
}

fn convolution(
    builder: &mut Builder,
    choice: &Choice,
    (input, dims): (&str, &[i64]),
    groups: i64,
) -> Option<()> {
    let mut window = Window::of(choice, dims.len() - 2);
    let per_group = dims[1] / groups;
    let k = choice.within(6, 1..7).div_euclid(groups).max(1) * groups;
    let mut out = vec![dims[0], k];
    let same = choice.numbers[5] % 7 == 6;
    if same {
        // ONNX Runtime takes no dilation with it.
        window.dilations.fill(1);
        let strided = |(extent, stride): (&i64, &i64)| (extent + stride - 1) / stride;
        out.extend(dims[2..].iter().zip(&window.strides).map(strided));
    } else {
        out.extend(window.outputs(&dims[2..], false)?);
    }
    let mut attributes = window.attributes();
    if same {
        attributes.pop();
        attributes.push(text("auto_pad", "SAME_UPPER"));
    }
    attributes.push(int("group", groups));
    let shape = [vec![k, per_group], window.kernel.clone()].concat();
    let fan_in = shape[1..].iter().product();
    let weights = builder.weights(&shape, fan_in, choice);
    let mut inputs = vec![input.to_owned(), weights];
    if choice.flag(7) {
        inputs.push(builder.weights(&[k], 1, choice));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    builder.push("Conv", &inputs, out, attributes).map(|_| ())
}

pub fn conv_transpose(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, is_plane)?;
    let window = Window::of(choice, dims.len() - 2);
    let axes = dims.len() - 2;
    let groups = if dims[1] % 2 == 0 && choice.flag(5) {
        2
    } else {
        1
    };
    let per_group = choice.within(6, 1..4);
    let extra: Vec<i64> = window
        .strides
        .iter()
        .map(|s| (s - 1).min(choice.within(7, 0..2)))
        .collect();
    let mut out = vec![dims[0], per_group * groups];
    for axis in 0..axes {
        let reach = window.dilations[axis] * (window.kernel[axis] - 1) + 1;
        let pads = window.pads[axis] + window.pads[axes + axis];
        out.push(window.strides[axis] * (dims[2 + axis] - 1) + reach + extra[axis] - pads);
    }
    let shape = [vec![dims[1], per_group], window.kernel.clone()].concat();
    let weights = builder.weights(&shape, dims[1] / groups, choice);
    let mut attributes = window.attributes();
    attributes.extend([int("group", groups), ints("output_padding", &extra)]);
    builder
        .push("ConvTranspose", &[&input, &weights], out, attributes)
        .map(|_| ())
}

pub fn pool(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, is_plane)?;
    let mut window = Window::of(choice, dims.len() - 2);
    let axes = dims.len() - 2;
    let average = choice.flag(5);
    for axis in 0..axes {
        // Padding is smaller than the kernel; averages are not dilated before operator set 19.
        for pad in [axis, axes + axis] {
            window.pads[pad] = window.pads[pad].min(window.kernel[axis] - 1);
        }
        if average || window.kernel[axis] == 1 {
            window.dilations[axis] = 1;
        }
    }
    // Runtimes differ on windows that begin behind the plane.
    let covers = window
        .kernel
        .iter()
        .zip(&window.strides)
        .all(|(k, s)| k >= s);
    let ceil = choice.flag(6) && covers && !window.adds_behind(&dims[2..]);
    let mut out = dims[..2].to_vec();
    out.extend(window.outputs(&dims[2..], ceil)?);
    let mut attributes = window.attributes();
    attributes.push(int("ceil_mode", ceil.into()));
    if average {
        attributes.remove(2);
        // ONNX Runtime counts the padding of windows beyond the end otherwise than the standard.
        let counts = choice.flag(7) && !ceil;
        attributes.push(int("count_include_pad", counts.into()));
    }
    let operator = if average { "AveragePool" } else { "MaxPool" };
    builder
        .push(operator, &[&input], out, attributes)
        .map(|_| ())
}

pub fn global_pool(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, is_plane)?;
    let mut out = vec![1; dims.len()];
    out[..2].copy_from_slice(&dims[..2]);
    let operator = if choice.flag(0) {
        "GlobalAveragePool"
    } else {
        "GlobalMaxPool"
    };
    builder.push(operator, &[&input], out, vec![]).map(|_| ())
}

/// By a constant matrix, of operands of rank 2 to 5.
pub fn matmul(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, mut dims) = builder.operand_that(choice, |dims| (2..6).contains(&dims.len()))?;
    let c = dims.pop()?;
    let k = choice.within(0, 1..12);
    dims.push(k);
    let weights = builder.weights(&[c, k], c, choice);
    builder
        .push("MatMul", &[&input, &weights], dims, vec![])
        .map(|_| ())
}

/// The product with its own transposed.
pub fn matmul_of_activations(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, mut dims) = builder.operand_that(choice, |dims| (2..5).contains(&dims.len()))?;
    let rank = dims.len();
    let mut order: Vec<i64> = (0..rank as i64).collect();
    order.swap(rank - 2, rank - 1);
    dims[rank - 1] = dims[rank - 2];
    let transposed = builder.transposed(&input, &order);
    builder
        .push("MatMul", &[&input, &transposed], dims, vec![])
        .map(|_| ())
}

pub fn gemm(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, |dims| dims.len() == 2)?;
    let (n, c, k) = (dims[0], dims[1], choice.within(0, 1..12));
    let transposed = choice.flag(1);
    let shape = if transposed { [k, c] } else { [c, k] };
    let mut inputs = vec![input, builder.weights(&shape, c, choice)];
    let mut attributes = vec![int("transB", transposed.into())];
    if choice.flag(2) {
        let shapes = [vec![], vec![k], vec![1, k], vec![n, k]];
        inputs.push(builder.weights(&shapes[choice.numbers[3] as usize % 4], 1, choice));
        attributes.push(float("beta", 0.5));
    }
    if choice.flag(4) {
        attributes.push(float("alpha", 0.75));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    builder
        .push("Gemm", &inputs, vec![n, k], attributes)
        .map(|_| ())
}

pub fn activation(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand(choice);
    let mut inputs = vec![input];
    let (operator, attributes) = match choice.numbers[0] % 10 {
        0 | 1 => ("Relu", vec![]),
        2 => ("LeakyRelu", vec![float("alpha", 0.1)]),
        3 => ("Sigmoid", vec![]),
        4 => ("Tanh", vec![]),
        5 => ("HardSigmoid", vec![]),
        6 => ("Elu", vec![]),
        7 => ("Softplus", vec![]),
        8 => ("Neg", vec![]),
        _ => {
            inputs.push(builder.floats(&[], &[-0.25]));
            inputs.push(builder.floats(&[], &[0.5]));
            ("Clip", vec![])
        }
    };
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    builder
        .push(operator, &inputs, dims, attributes)
        .map(|_| ())
}

pub fn batch_norm(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, |dims| dims.len() >= 2)?;
    let c = dims[1];
    let mut inputs = vec![input];
    for _ in 0..3 {
        inputs.push(builder.weights(&[c], 1, choice));
    }
    let variance: Vec<f32> = (0..c).map(|channel| 0.5 + 0.1 * channel as f32).collect();
    inputs.push(builder.floats(&[c], &variance));
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    builder
        .push("BatchNormalization", &inputs, dims, vec![])
        .map(|_| ())
}

/// A sum, product or bound with one value, with one for each channel, with one for each place of the last axis, or with
/// as many as there are.
pub fn with_constant(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand(choice);
    let rank = dims.len();
    let shape = match choice.numbers[0] % 4 {
        0 => vec![],
        1 if rank >= 2 => {
            let mut shape = vec![1; rank - 1];
            shape[0] = dims[1];
            shape
        }
        2 => vec![dims[rank - 1]],
        _ => dims.clone(),
    };
    let constant = builder.weights(&shape, 1, choice);
    let operator = ["Add", "Sub", "Mul", "Max", "PRelu"][choice.numbers[1] as usize % 5];
    let mut inputs = vec![input.as_str(), constant.as_str()];
    if choice.flag(2) && operator != "PRelu" {
        inputs.reverse();
    }
    builder.push(operator, &inputs, dims, vec![]).map(|_| ())
}

/// A sum, difference or product of two activations of one shape.
pub fn two_operands(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand(choice);
    let same: Vec<String> = builder
        .tensors
        .iter()
        .filter(|(_, other)| *other == dims)
        .map(|(name, _)| name.clone())
        .collect();
    let other = same[choice.numbers[0] as usize % same.len()].clone();
    let operator = ["Add", "Add", "Sub", "Mul"][choice.numbers[1] as usize % 4];
    builder
        .push(operator, &[&input, &other], dims, vec![])
        .map(|_| ())
}

/// Squeeze and excite: every channel times a number that is made of its mean.
pub fn gate(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, |dims| dims.len() == 4)?;
    let mean = builder.node("GlobalAveragePool", &[&input], vec![]);
    let gate = builder.node("Sigmoid", &[&mean], vec![]);
    builder
        .push("Mul", &[&input, &gate], dims, vec![])
        .map(|_| ())
}

pub fn on_host(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand(choice);
    let axis = choice.within(1, 0..dims.len() as i64);
    let (operator, attributes) = match choice.numbers[0] % 6 {
        0 => ("Softmax", vec![int("axis", axis)]),
        1 => ("Erf", vec![]),
        2 => ("Sin", vec![]),
        3 => ("Abs", vec![]),
        4 => ("Cos", vec![]),
        _ => ("LogSoftmax", vec![int("axis", axis)]),
    };
    builder
        .push(operator, &[&input], dims, attributes)
        .map(|_| ())
}

/// The mean, sum or maximum over one axis or two, which stay as 1 or go.
pub fn reduction(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, |dims| dims.len() >= 2)?;
    let rank = dims.len() as i64;
    let mut axes = vec![choice.within(0, 0..rank)];
    if choice.flag(1) && rank > 2 {
        axes = vec![rank - 2, rank - 1];
    }
    let keeps = choice.flag(2);
    let mut out = Vec::new();
    for (axis, &extent) in dims.iter().enumerate() {
        match (axes.contains(&(axis as i64)), keeps) {
            (false, _) => out.push(extent),
            (true, true) => out.push(1),
            (true, false) => {}
        }
    }
    let mut attributes = vec![int("keepdims", keeps.into())];
    let operator = ["ReduceMean", "ReduceMax", "ReduceSum"][choice.numbers[3] as usize % 3];
    let mut inputs = vec![input];
    // Of these, operator set 13 takes the axes of the sum alone as an operand.
    if operator == "ReduceSum" {
        inputs.push(builder.integers(&axes));
    } else {
        attributes.push(ints("axes", &axes));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    builder.push(operator, &inputs, out, attributes).map(|_| ())
}

/// Scale and zero point of 8-bit integers of about -1..1.
fn parameters(builder: &mut Builder, choice: &Choice) -> [String; 2] {
    let scale = builder.floats(&[], &[0.0078 * (1 + choice.numbers[6] % 3) as f32]);
    let zero = builder.name();
    let point = [0, 3, -128][choice.numbers[7] as usize % 3];
    builder.model = std::mem::take(&mut builder.model).bytes_of(&zero, &[], &[point]);
    [scale, zero]
}

/// Rounded to 8 bits and back.
pub fn qdq(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand(choice);
    let [scale, zero] = parameters(builder, choice);
    let integers = builder.node("QuantizeLinear", &[&input, &scale, &zero], vec![]);
    builder
        .push(
            "DequantizeLinear",
            &[&integers, &scale, &zero],
            dims,
            vec![],
        )
        .map(|_| ())
}

/// Integers that are moved or given another shape before they are dequantised.
pub fn moved_in_integers(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, mut dims) = builder.operand(choice);
    let [scale, zero] = parameters(builder, choice);
    let integers = builder.node("QuantizeLinear", &[&input, &scale, &zero], vec![]);
    let moved = if choice.flag(0) {
        let shape = builder.integers(&[dims[0], -1]);
        dims = vec![dims[0], dims[1..].iter().product()];
        builder.node("Reshape", &[&integers, &shape], vec![])
    } else {
        let order: Vec<i64> = (0..dims.len() as i64).rev().collect();
        dims.reverse();
        builder.transposed(&integers, &order)
    };
    builder
        .push("DequantizeLinear", &[&moved, &scale, &zero], dims, vec![])
        .map(|_| ())
}

/// An operator between two roundings, as quantisers write it.
pub fn qdq_around(builder: &mut Builder, choice: &Choice) -> Option<()> {
    qdq(builder, choice)?;
    let newest = Choice {
        of: 0,
        ..choice.clone()
    };
    match choice.numbers[5] % 4 {
        0 => conv(builder, &newest)?,
        1 => pool(builder, &newest)?,
        2 => on_host(builder, &newest)?,
        _ => activation(builder, &newest)?,
    }
    qdq(builder, &newest)
}

/// `[N, H, W, C]` as TensorFlow's exporters have it: transposed, convolved, activated and transposed back.
pub fn channels_last(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, |dims| dims.len() == 4)?;
    let (n, h, w, c) = (dims[0], dims[1], dims[2], dims[3]);
    let k = choice.within(0, 1..7);
    let planes = builder.transposed(&input, &[0, 3, 1, 2]);
    let weights = builder.weights(&[k, c, 3, 3], 9 * c, choice);
    let attributes = vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4])];
    let sums = builder.node("Conv", &[&planes, &weights], attributes);
    let active = builder.node("Relu", &[&sums], vec![]);
    builder
        .push(
            "Transpose",
            &[&active],
            vec![n, h, w, k],
            vec![ints("perm", &[0, 2, 3, 1])],
        )
        .map(|_| ())
}
