//! Translation of each operator that has a place on the machine.
//!
//! A function returns [`Translated::Host`] with the reason where the machine's form does not cover the node.

use super::attributes::Attributes;
use super::window::{Window, axes_fit, fits, pair};
use super::{Importer, Translated, node_name};
use crate::graph::{Affine, Conv, Function, Layer, NodeId, Op, Pool};
use crate::transform::absorb_flatten::MOST_POSITIONS;
use crate::weights::Weights;
use scnn_isa::layer::PoolKind;
use scnn_isa::plane::Axis;
use std::sync::Arc;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::Tensor;

/// A translation of one operator.
pub(crate) type Translate = fn(&mut Importer<'_>, &NodeProto, &Attributes<'_>) -> Translated;

/// Leaves with the host for a reason, or goes on with the value.
macro_rules! or_host {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(reason) => return Translated::Host(reason.into()),
        }
    };
}
pub(crate) use or_host;

pub(crate) fn conv(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let weights = or_host!(weights_of(importer, node));
    let [_, c, h, w] = or_host!(shape(importer, input));
    let [k, per_group, r, s] = or_host!(kernel_shape(weights));
    let groups = attributes.int("group", 1);
    if groups < 1 || i64::from(per_group) * groups != i64::from(c) || i64::from(k) % groups != 0 {
        return Translated::Host(format!(
            "its weights {:?} do not fit {c} channels in {groups} groups",
            weights.shape()
        ));
    }
    let window = or_host!(Window::of(attributes, weights.rank() - 2, [r, s]));
    let [y, x] = or_host!(window.axes([h, w], false));
    let conv = Conv {
        weights: or_host!(Weights::of(weights)),
        k,
        c,
        groups: groups as u32,
        y,
        x,
    };
    let affine = or_host!(bias(importer, node, k));
    finish(
        importer,
        node,
        &[input],
        Layer {
            conv: Some(conv),
            affine,
            ..Layer::default()
        },
    )
}

pub(crate) fn conv_transpose(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let weights = or_host!(weights_of(importer, node));
    let [_, c, h, w] = or_host!(shape(importer, input));
    // ConvTranspose has [C, K / groups, R, S].
    let [rows, per_group, r, s] = or_host!(kernel_shape(weights));
    let groups = attributes.int("group", 1);
    if groups < 1 || rows != c || i64::from(c) % groups != 0 {
        return Translated::Host(format!(
            "its weights {:?} do not fit {c} channels in {groups} groups",
            weights.shape()
        ));
    }
    let groups = groups as u32;
    let window = or_host!(Window::of(attributes, weights.rank() - 2, [r, s]));
    let out = or_host!(output_shape(importer, node));
    let upper = attributes
        .text("auto_pad")
        .is_some_and(|mode| mode == "SAME_UPPER");
    let by_output = attributes.ints("output_shape").is_some()
        || attributes
            .text("auto_pad")
            .is_some_and(|mode| mode.starts_with("SAME"));
    let extra = or_host!(attributes.ints("output_padding").map_or(
        Ok([0, 0]),
        |given| match *given {
            [x] => Ok([0, x]),
            [y, x] => Ok([y, x]),
            _ => Err(format!(
                "its output_padding {given:?} is not for one or two axes"
            )),
        }
    ));
    let axis = |i: usize, input: u32, output: u32| {
        // output = input * stride + r * dilation - pad; with the kernel flipped this is our axis.
        let reach = (window.kernel[i] as i32 - 1) * window.dilation[i] as i32;
        let begin = if by_output {
            let whole = i64::from(window.stride[i]) * i64::from(input - 1)
                + extra[i]
                + i64::from(reach)
                + 1;
            let total = (whole - i64::from(output)).max(0) as i32;
            if upper { total / 2 } else { total - total / 2 }
        } else {
            window.pads[i][0]
        };
        Axis {
            input,
            output,
            kernel: window.kernel[i],
            stride: 1,
            upsample: window.stride[i],
            dilation: window.dilation[i],
            pad: [reach - begin, reach - window.pads[i][1]],
        }
    };
    let (y, x) = (axis(0, h, out[2]), axis(1, w, out[3]));
    let (k, taps) = (per_group * groups, (r * s) as usize);
    let source = or_host!(floats(weights));
    let per_in = c / groups;
    let mut flipped = vec![0f32; source.len()];
    for ko in 0..k {
        let (group, inner) = (ko / per_group, ko % per_group);
        for ci in 0..per_in {
            let from = ((group * per_in + ci) * per_group + inner) as usize * taps;
            let to = (ko * per_in + ci) as usize * taps;
            for tap in 0..taps {
                flipped[to + tap] = source[from + taps - 1 - tap];
            }
        }
    }
    let conv = Conv {
        weights: Weights::from(flipped),
        k,
        c,
        groups,
        y,
        x,
    };
    let affine = or_host!(bias(importer, node, k));
    finish(
        importer,
        node,
        &[input],
        Layer {
            conv: Some(conv),
            affine,
            ..Layer::default()
        },
    )
}

pub(crate) fn gemm(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    if attributes.int("transA", 0) != 0 {
        return Translated::Host("its first operand is transposed".into());
    }
    let (alpha, beta) = (
        attributes.float("alpha", 1.0),
        attributes.float("beta", 1.0),
    );
    let offset = match (importer.constant(node, 2), Importer::has_operand(node, 2)) {
        (Some(tensor), _) => Some(tensor.clone()),
        (None, true) => return Translated::Host("its bias is not constant".into()),
        (None, false) => None,
    };
    linear(
        importer,
        node,
        attributes.int("transB", 0) != 0,
        alpha,
        offset.map(|tensor| (tensor, beta)),
    )
}

pub(crate) fn matmul(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    linear(importer, node, false, 1.0, None)
}

/// A linear layer: a 1 x 1 convolution of a 1 x 1 plane.
fn linear(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    transposed: bool,
    alpha: f32,
    offset: Option<(Tensor, f32)>,
) -> Translated {
    let input = or_host!(flattened(importer, node));
    let dims = importer.graph.dag[input].dims.clone();
    if dims.len() != 2 {
        return Translated::Host(format!("its first operand {dims:?} is no matrix"));
    }
    let weights = or_host!(weights_of(importer, node));
    if weights.rank() != 2 {
        return Translated::Host(format!("its weights {:?} are no matrix", weights.shape()));
    }
    let values = or_host!(Weights::of(weights));
    let (rows, cols) = (weights.shape()[0], weights.shape()[1]);
    let (k, c) = if transposed {
        (rows, cols)
    } else {
        (cols, rows)
    };
    if c as u64 != dims[1] {
        return Translated::Host(format!(
            "its weights {:?} do not fit {} channels",
            weights.shape(),
            dims[1]
        ));
    }
    let kc = if transposed && alpha == 1.0 {
        values
    } else {
        let value = |ko, ci| values[if transposed { ko * c + ci } else { ci * k + ko }];
        let rows = (0..k).flat_map(|ko| (0..c).map(move |ci| (ko, ci)));
        Weights::from(
            rows.map(|(ko, ci)| alpha * value(ko, ci))
                .collect::<Vec<_>>(),
        )
    };
    let axis = Axis::identity(1);
    let conv = Conv {
        weights: kc,
        k: k as u32,
        c: c as u32,
        groups: 1,
        y: axis,
        x: axis,
    };
    let affine = match offset {
        None => None,
        Some((tensor, beta)) => {
            let Some(values) = spread(&tensor, &[dims[0], k as u64], k as u32) else {
                return Translated::Host(format!(
                    "its bias {:?} is not one value per output",
                    tensor.shape()
                ));
            };
            Some(Affine {
                scale: vec![1.0; k],
                offset: values.iter().map(|v| beta * v).collect(),
            })
        }
    };
    finish(
        importer,
        node,
        &[input],
        Layer {
            conv: Some(conv),
            affine,
            ..Layer::default()
        },
    )
}

/// The first operand of a linear layer: it may be a plane that was flattened into more channels than the machine has,
/// because the layer becomes a convolution of the plane (`absorb_flatten`).
fn flattened(importer: &Importer<'_>, node: &NodeProto) -> Result<NodeId, String> {
    let id = importer.value(node, 0)?;
    let mut plane = id;
    while matches!(importer.graph.dag[plane].op, Op::Rename) {
        plane = importer.graph.operands(plane)[0];
    }
    let absorbed = importer.graph.dag[plane].shape().is_some_and(|shape| {
        let positions = shape[2].saturating_mul(shape[3]);
        plane != id && fits(shape).is_ok() && (2..=MOST_POSITIONS).contains(&positions)
    });
    if absorbed {
        Ok(id)
    } else {
        importer.activation(node, 0)
    }
}

pub(crate) fn relu(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    finish(
        importer,
        node,
        &[input],
        Layer {
            clamp: Some((0.0, f32::INFINITY)),
            ..Layer::default()
        },
    )
}

pub(crate) fn clip(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let bound = |index: usize, name: &str, default: f32| -> Result<f32, String> {
        if let Some(value) = attributes.optional_float(name) {
            return Ok(value);
        }
        match importer.constant(node, index) {
            Some(tensor) => floats(tensor)?
                .first()
                .copied()
                .ok_or_else(|| "a bound is empty".into()),
            None if Importer::has_operand(node, index) => Err("its bounds are not constant".into()),
            None => Ok(default),
        }
    };
    let low = or_host!(bound(1, "min", f32::NEG_INFINITY));
    let high = or_host!(bound(2, "max", f32::INFINITY));
    if low.is_nan() || high.is_nan() || low > high {
        return Translated::Host(format!("its bounds {low} and {high} are inverted"));
    }
    finish(
        importer,
        node,
        &[input],
        Layer {
            clamp: Some((low, high)),
            ..Layer::default()
        },
    )
}

pub(crate) fn leaky_relu(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let [_, channels, ..] = or_host!(shape(importer, input));
    leaky(
        importer,
        node,
        input,
        vec![attributes.float("alpha", 0.01); channels as usize],
    )
}

pub(crate) fn prelu(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let Some(slope) = importer.constant(node, 1) else {
        return Translated::Host("its slope is not constant".into());
    };
    let slopes = or_host!(per_channel(importer, input, slope));
    leaky(importer, node, input, slopes)
}

fn leaky(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    input: NodeId,
    slopes: Vec<f32>,
) -> Translated {
    if let Some(slope) = slopes.iter().find(|s| !(-1.0..=1.0).contains(*s)) {
        return Translated::Host(format!("its slope {slope} is outside -1..=1"));
    }
    finish(
        importer,
        node,
        &[input],
        Layer {
            function: Some(Function::Leaky(slopes)),
            ..Layer::default()
        },
    )
}

pub(crate) fn function(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let function = match node.op_type.as_str() {
        "Sigmoid" => Function::Sigmoid,
        "Tanh" => Function::Tanh,
        "HardSwish" => Function::HardSwish,
        "Elu" => Function::Elu {
            alpha: attributes.float("alpha", 1.0),
            gamma: 1.0,
        },
        "Selu" => Function::Elu {
            alpha: attributes.float("alpha", 1.673_263_2),
            gamma: attributes.float("gamma", 1.050_701),
        },
        "Gelu" => Function::Gelu {
            tanh: attributes
                .text("approximate")
                .is_some_and(|way| way == "tanh"),
        },
        "Mish" => Function::Mish,
        "Softplus" => Function::Softplus,
        "Softsign" => Function::Softsign,
        "Swish" => Function::Swish {
            alpha: attributes.float("alpha", 1.0),
        },
        "HardSigmoid" => Function::HardSigmoid {
            alpha: attributes.float("alpha", 0.2),
            beta: attributes.float("beta", 0.5),
        },
        other => return Translated::Host(format!("the PPU has no table for {other}")),
    };
    finish(
        importer,
        node,
        &[input],
        Layer {
            function: Some(function),
            ..Layer::default()
        },
    )
}

pub(crate) fn pool(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    if node.output.get(1).is_some_and(|o| !o.is_empty()) {
        return Translated::Host("its indices are used".into());
    }
    let input = or_host!(importer.activation(node, 0));
    let [_, _, h, w] = or_host!(shape(importer, input));
    let rank = importer.graph.dag[input].dims.len();
    let Some(kernel) = attributes.ints("kernel_shape") else {
        return Translated::Host("it has no kernel_shape".into());
    };
    if rank < 3 || kernel.len() != rank - 2 {
        return Translated::Host(format!(
            "its kernel {kernel:?} does not fit an operand of rank {rank}"
        ));
    }
    let kernel = or_host!(pair(kernel, 1));
    let window = or_host!(Window::of(attributes, rank - 2, kernel));
    let [y, x] = or_host!(window.axes([h, w], attributes.int("ceil_mode", 0) != 0));
    let kind = match (
        node.op_type.as_str(),
        attributes.int("count_include_pad", 0),
    ) {
        ("MaxPool", _) => PoolKind::Max,
        (_, 0) => PoolKind::Average,
        _ => PoolKind::AverageWithPadding,
    };
    let out = or_host!(output_shape(importer, node));
    let (y, x) = (
        Axis {
            output: out[2],
            ..y
        },
        Axis {
            output: out[3],
            ..x
        },
    );
    if y.pad[0] >= y.kernel as i32 * y.dilation as i32
        || x.pad[0] >= x.kernel as i32 * x.dilation as i32
    {
        return Translated::Host("a window lies in the padding altogether".into());
    }
    finish(
        importer,
        node,
        &[input],
        Layer {
            pool: Some(Pool { kind, y, x }),
            ..Layer::default()
        },
    )
}

pub(crate) fn global_pool(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let kind = if node.op_type == "GlobalMaxPool" {
        PoolKind::Max
    } else {
        PoolKind::Average
    };
    whole_plane(importer, node, input, kind)
}

pub(crate) fn reduce_mean(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let rank = importer.graph.dag[input].dims.len() as i64;
    let axes: Vec<i64> = match (attributes.ints("axes"), importer.constant(node, 1)) {
        (Some(axes), _) => axes.to_vec(),
        (None, Some(tensor)) => or_host!(integers(tensor)),
        (None, None) => return Translated::Host("it has no constant axes".into()),
    };
    let mut axes: Vec<i64> = axes
        .into_iter()
        .map(|a| if a < 0 { a + rank } else { a })
        .collect();
    axes.sort_unstable();
    if rank < 3 || axes != (2..rank).collect::<Vec<_>>() {
        return Translated::Host(format!(
            "it averages over axes {axes:?}, not over the plane"
        ));
    }
    whole_plane(importer, node, input, PoolKind::Average)
}

fn whole_plane(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    input: NodeId,
    kind: PoolKind,
) -> Translated {
    let [_, _, h, w] = or_host!(shape(importer, input));
    let axis = |extent| Axis {
        kernel: extent,
        output: 1,
        ..Axis::identity(extent)
    };
    finish(
        importer,
        node,
        &[input],
        Layer {
            pool: Some(Pool {
                kind,
                y: axis(h),
                x: axis(w),
            }),
            ..Layer::default()
        },
    )
}

pub(crate) fn add(importer: &mut Importer<'_>, node: &NodeProto, _: &Attributes<'_>) -> Translated {
    match (importer.constant(node, 0), importer.constant(node, 1)) {
        (None, None) => residual(importer, node),
        (None, Some(constant)) => affine_with(importer, node, 0, constant, |v| (1.0, v)),
        (Some(constant), _) => affine_with(importer, node, 1, constant, |v| (1.0, v)),
    }
}

pub(crate) fn sum(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    // More operands have been spelled out as additions of two.
    match node.input.len() {
        1 => super::movement::identity(importer, node, attributes),
        2 => add(importer, node, attributes),
        more => Translated::Host(format!("it adds {more} tensors")),
    }
}

pub(crate) fn sub(importer: &mut Importer<'_>, node: &NodeProto, _: &Attributes<'_>) -> Translated {
    match (importer.constant(node, 0), importer.constant(node, 1)) {
        (None, Some(constant)) => affine_with(importer, node, 0, constant, |v| (1.0, -v)),
        (Some(constant), None) => affine_with(importer, node, 1, constant, |v| (-1.0, v)),
        _ => Translated::Host(
            "it subtracts two activations of different shapes, or in more than four dimensions"
                .into(),
        ),
    }
}

pub(crate) fn neg(importer: &mut Importer<'_>, node: &NodeProto, _: &Attributes<'_>) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let [_, channels, ..] = or_host!(shape(importer, input));
    let affine = Affine {
        scale: vec![-1.0; channels as usize],
        offset: vec![0.0; channels as usize],
    };
    let layer = Layer {
        affine: Some(affine),
        ..Layer::default()
    };
    finish(importer, node, &[input], layer)
}

pub(crate) fn mul(importer: &mut Importer<'_>, node: &NodeProto, _: &Attributes<'_>) -> Translated {
    match (importer.constant(node, 0), importer.constant(node, 1)) {
        (None, Some(constant)) => affine_with(importer, node, 0, constant, |v| (v, 0.0)),
        (Some(constant), None) => affine_with(importer, node, 1, constant, |v| (v, 0.0)),
        (None, None) => gated(importer, node),
        _ => Translated::Host("it multiplies two constants".into()),
    }
}

/// `x * sigmoid(x)` and `x * hard_sigmoid(x)` are one function of the PPU; any other product of two activations is none.
fn gated(importer: &mut Importer<'_>, node: &NodeProto) -> Translated {
    for (x, gate) in [(0, 1), (1, 0)] {
        let Some(&producer) = importer.producers.get(node.input[gate].as_str()) else {
            continue;
        };
        if producer.input.first() != Some(&node.input[x]) {
            continue;
        }
        let attributes = Attributes::of(producer);
        let sixth = (attributes.float("alpha", 0.2) - 1.0 / 6.0).abs() < 1e-6;
        let function = match producer.op_type.as_str() {
            "Sigmoid" => Function::Swish { alpha: 1.0 },
            "HardSigmoid" if sixth && attributes.float("beta", 0.5) == 0.5 => Function::HardSwish,
            _ => continue,
        };
        let input = or_host!(importer.activation(node, x));
        let layer = Layer {
            function: Some(function),
            ..Layer::default()
        };
        let result = finish(importer, node, &[input], layer);
        if let Translated::Node(id) = result
            && importer.readers(&node.input[gate]) == 1
        {
            importer.graph.dag[id]
                .onnx_nodes
                .insert(0, node_name(producer));
        }
        return result;
    }
    Translated::Host("it multiplies two activations".into())
}

pub(crate) fn div(importer: &mut Importer<'_>, node: &NodeProto, _: &Attributes<'_>) -> Translated {
    match importer.constant(node, 1) {
        Some(constant) => affine_with(importer, node, 0, constant, |v| (1.0 / v, 0.0)),
        None => Translated::Host("it divides by an activation".into()),
    }
}

fn residual(importer: &mut Importer<'_>, node: &NodeProto) -> Translated {
    let (a, b) = (
        or_host!(importer.activation(node, 0)),
        or_host!(importer.activation(node, 1)),
    );
    let (left, right) = (&importer.graph.dag[a].dims, &importer.graph.dag[b].dims);
    if left != right {
        return Translated::Host(format!("its operands {left:?} and {right:?} are broadcast"));
    }
    finish(
        importer,
        node,
        &[a, b],
        Layer {
            operand: true,
            ..Layer::default()
        },
    )
}

fn affine_with(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    operand: usize,
    constant: &Tensor,
    of: impl Fn(f32) -> (f32, f32),
) -> Translated {
    let input = or_host!(importer.activation(node, operand));
    let values = or_host!(per_channel(importer, input, constant));
    let (scale, offset): (Vec<f32>, Vec<f32>) = values.into_iter().map(of).unzip();
    if scale.iter().chain(&offset).any(|v| !v.is_finite()) {
        return Translated::Host("its constant is not finite".into());
    }
    finish(
        importer,
        node,
        &[input],
        Layer {
            affine: Some(Affine { scale, offset }),
            ..Layer::default()
        },
    )
}

pub(crate) fn batch_normalization(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    if attributes.int("training_mode", 0) != 0 {
        return Translated::Host("it is in training mode".into());
    }
    let input = or_host!(importer.activation(node, 0));
    let epsilon = attributes.float("epsilon", 1e-5);
    let parameter = |index: usize| -> Result<Vec<f32>, String> {
        floats(
            importer
                .constant(node, index)
                .ok_or("its parameters are not constant")?,
        )
    };
    let (gamma, beta) = (or_host!(parameter(1)), or_host!(parameter(2)));
    let (mean, variance) = (or_host!(parameter(3)), or_host!(parameter(4)));
    let [_, channels, ..] = or_host!(shape(importer, input));
    if [&gamma, &beta, &mean, &variance]
        .iter()
        .any(|p| p.len() != channels as usize)
    {
        return Translated::Host("its parameters are not one per channel".into());
    }
    let scale: Vec<f32> = gamma
        .iter()
        .zip(&variance)
        .map(|(g, v)| g / (v + epsilon).sqrt())
        .collect();
    let offset: Vec<f32> = beta
        .iter()
        .zip(&mean)
        .zip(&scale)
        .map(|((b, m), s)| b - m * s)
        .collect();
    if scale.iter().chain(&offset).any(|v| !v.is_finite()) {
        return Translated::Host("its parameters give no finite factors".into());
    }
    finish(
        importer,
        node,
        &[input],
        Layer {
            affine: Some(Affine { scale, offset }),
            ..Layer::default()
        },
    )
}

/// Adds the layer as the node's result; its pooling and convolution extents must be the result's.
pub(super) fn finish(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    operands: &[NodeId],
    layer: Layer,
) -> Translated {
    let out = or_host!(output_shape(importer, node));
    or_host!(fits(out));
    or_host!(axes_fit(&layer));
    let spatial = layer
        .pool
        .as_ref()
        .map(|p| (p.y, p.x))
        .or_else(|| layer.conv.as_ref().map(|c| (c.y, c.x)));
    if let Some((y, x)) = spatial
        && (y.output, x.output) != (out[2], out[3])
    {
        return Translated::Host(format!(
            "its result is {} x {} where its attributes say {} x {}",
            out[2], out[3], y.output, x.output
        ));
    }
    Translated::Node(importer.add(
        &node.output[0],
        operands,
        Op::Layer(Box::new(layer)),
        vec![node_name(node)],
    ))
}

pub(super) fn output_shape(importer: &Importer<'_>, node: &NodeProto) -> Result<[u32; 4], String> {
    let name = node.output.first().ok_or("it has no result")?;
    let fact = importer
        .facts
        .get(name)
        .ok_or("the shape of its result is not known")?;
    let dim =
        |i: usize| u32::try_from(fact.dims[i]).map_err(|_| "its result is too large".to_owned());
    match fact.dims.len() {
        2 => Ok([dim(0)?, dim(1)?, 1, 1]),
        3 => Ok([dim(0)?, dim(1)?, 1, dim(2)?]),
        4 => Ok([dim(0)?, dim(1)?, dim(2)?, dim(3)?]),
        _ => Err(format!(
            "its result {:?} has no form [N, C, H, W]",
            fact.dims
        )),
    }
}

pub(super) fn shape(importer: &Importer<'_>, id: NodeId) -> Result<[u32; 4], String> {
    importer.graph.dag[id]
        .shape()
        .ok_or_else(|| "its operand has no form [N, C, H, W]".to_owned())
}

fn weights_of<'a>(importer: &Importer<'a>, node: &NodeProto) -> Result<&'a Arc<Tensor>, String> {
    let name = node.input.get(1);
    name.and_then(|name| importer.facts.shared(name))
        .ok_or_else(|| "its weights are not constant".to_owned())
}

/// `[K, C / groups, R, S]`; a 1-D kernel has one row.
fn kernel_shape(weights: &Tensor) -> Result<[u32; 4], String> {
    let dims: Vec<u32> = weights.shape().iter().map(|&d| d as u32).collect();
    match *dims.as_slice() {
        [k, c, s] => Ok([k, c, 1, s]),
        [k, c, r, s] => Ok([k, c, r, s]),
        _ => Err(format!("its weights {dims:?} are not 1-D or 2-D kernels")),
    }
}

fn bias(importer: &Importer<'_>, node: &NodeProto, k: u32) -> Result<Option<Affine>, String> {
    if !Importer::has_operand(node, 2) {
        return Ok(None);
    }
    let offset = floats(
        importer
            .constant(node, 2)
            .ok_or("its bias is not constant")?,
    )?;
    if offset.len() != k as usize {
        return Err(format!(
            "its bias has {} values for {k} output channels",
            offset.len()
        ));
    }
    Ok(Some(Affine {
        scale: vec![1.0; k as usize],
        offset,
    }))
}

/// A constant that is broadcast along everything but channels, one value per channel.
fn per_channel(
    importer: &Importer<'_>,
    activation: NodeId,
    constant: &Tensor,
) -> Result<Vec<f32>, String> {
    let node = &importer.graph.dag[activation];
    let [_, channels, ..] = shape(importer, activation)?;
    if constant.rank() > node.dims.len() {
        return Err(format!(
            "its constant {:?} has more dimensions than its operand",
            constant.shape()
        ));
    }
    spread(constant, &node.dims, channels).ok_or_else(|| {
        format!(
            "its constant {:?} is not one value per channel",
            constant.shape()
        )
    })
}

fn spread(constant: &Tensor, dims: &[u64], channels: u32) -> Option<Vec<f32>> {
    let values = floats(constant).ok()?;
    if values.len() == 1 {
        return Some(vec![values[0]; channels as usize]);
    }
    let missing = dims.len().checked_sub(constant.rank())?;
    let only_channels = constant.shape().iter().enumerate().all(|(i, &d)| {
        if i + missing == 1 {
            d == channels as usize
        } else {
            d == 1
        }
    });
    (only_channels && values.len() == channels as usize).then_some(values)
}

pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f32>, String> {
    let cast = tensor.cast_to::<f32>().map_err(|e| e.to_string())?;
    let view = cast
        .to_plain_array_view::<f32>()
        .map_err(|e| e.to_string())?;
    Ok(view.iter().copied().collect())
}

pub(super) fn integers(tensor: &Tensor) -> Result<Vec<i64>, String> {
    let cast = tensor.cast_to::<i64>().map_err(|e| e.to_string())?;
    let view = cast
        .to_plain_array_view::<i64>()
        .map_err(|e| e.to_string())?;
    Ok(view.iter().copied().collect())
}
