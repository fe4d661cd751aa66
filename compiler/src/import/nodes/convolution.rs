//! Convolutions and transposed convolutions.

use super::constants::floats;
use super::{finish, or_host, output_shape, shape, weight_units, weights_of};
use crate::graph::reason::Reason;
use crate::graph::weights::Weights;
use crate::graph::{Affine, Conv, Layer};
use crate::import::attributes::{Attributes, outside};
use crate::import::window::Window;
use crate::import::{Importer, Translated};
use scnn_isa::plane::Axis;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::Tensor;

/// The remedy for an attribute that contradicts the tensors.
const EXPORT_AGAIN: &str = "export the model again";

pub(crate) fn conv(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.plane(node, 0));
    let weights = or_host!(weights_of(importer, (node, 1)));
    let [_, c, h, w] = or_host!(shape(importer, input));
    let [k, per_group, r, s] = or_host!(kernel_shape(weights));
    let groups = attributes.int("group", 1);
    if groups < 1 || i64::from(per_group) * groups != i64::from(c) || i64::from(k) % groups != 0 {
        return Translated::Host(unfit_groups(groups, c, weights));
    }
    let window = or_host!(Window::of(attributes, weights.rank() - 2, [r, s]));
    let [y, x] = or_host!(window.axes([h, w], false));
    let conv = Conv {
        weights: or_host!(Weights::of(weights)).in_units(weight_units(importer, (node, 1), k, 0)),
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

/// Why a number of groups is none of these tensors'.
fn unfit_groups(groups: i64, channels: u32, weights: &Tensor) -> Reason {
    let taken = format!(
        "a number of groups that fits {channels} channels and the weights {:?}",
        weights.shape()
    );
    outside("group", groups, &taken, EXPORT_AGAIN)
}

pub(crate) fn conv_transpose(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.plane(node, 0));
    let weights = or_host!(weights_of(importer, (node, 1)));
    let [_, c, h, w] = or_host!(shape(importer, input));
    // ConvTranspose has [C, K / groups, R, S].
    let [rows, per_group, r, s] = or_host!(kernel_shape(weights));
    let groups = attributes.int("group", 1);
    if groups < 1 || rows != c || i64::from(c) % groups != 0 {
        return Translated::Host(unfit_groups(groups, c, weights));
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
            _ => Err(outside(
                "output_padding",
                given,
                "one number for each of one or two axes",
                EXPORT_AGAIN,
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
    // Along axis 1 lie the output channels of one group alone.
    let units = weight_units(importer, (node, 1), per_group * groups, 1);
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
        weights: Weights::from(flipped).in_units(units),
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

/// `[K, C / groups, R, S]`; a 1-D kernel has one row.
fn kernel_shape(weights: &Tensor) -> Result<[u32; 4], String> {
    let dims: Vec<u32> = weights.shape().iter().map(|&d| d as u32).collect();
    match *dims.as_slice() {
        [k, c, s] => Ok([k, c, 1, s]),
        [k, c, r, s] => Ok([k, c, r, s]),
        _ => Err(format!(
            "its weights are {dims:?}, the array takes [K, C, S] and [K, C, R, S]: take a 3-D convolution apart into 2-D ones"
        )),
    }
}

fn bias(importer: &Importer<'_>, node: &NodeProto, k: u32) -> Result<Option<Affine>, String> {
    if !Importer::has_operand(node, 2) {
        return Ok(None);
    }
    let offset = floats(
        importer
            .constant(node, 2)
            .ok_or("its bias is computed: export it as an initializer")?,
    )?;
    if offset.len() != k as usize {
        return Err(format!(
            "its bias has {} values, the array takes {k}, one for each output channel: {EXPORT_AGAIN}",
            offset.len()
        ));
    }
    Ok(Some(Affine {
        scale: vec![1.0; k as usize],
        offset,
    }))
}
