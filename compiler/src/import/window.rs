//! Windows over a plane, from the attributes of convolutions and poolings.

use super::attributes::{Attributes, outside};
use crate::graph::reason::Reason;
use scnn_isa::legal::MAX_EXTENT;
use scnn_isa::plane::Axis;

/// Kernel, stride, dilation and padding of a window, rows first.
pub(super) struct Window {
    pub(super) kernel: [u32; 2],
    pub(super) stride: [u32; 2],
    pub(super) dilation: [u32; 2],
    pub(super) pads: [[i32; 2]; 2],
    auto_pad: Option<String>,
}

impl Window {
    /// Reads the attributes of a window over `rank` axes.
    pub(super) fn of(
        attributes: &Attributes<'_>,
        rank: usize,
        kernel: [u32; 2],
    ) -> Result<Self, Reason> {
        if let Some(stated) = attributes.ints("kernel_shape")
            && pair("kernel_shape", stated)? != kernel
        {
            return Err(outside(
                "kernel_shape",
                stated,
                &format!("that of the weights, {kernel:?}"),
                "leave it out, or export the model again",
            ));
        }
        let per_axis = |name: &str| {
            attributes
                .ints(name)
                .map_or(Ok([1, 1]), |values| pair(name, values))
        };
        let pads = match attributes.ints("pads") {
            None => [[0, 0]; 2],
            Some(pads)
                if pads.len() == 2 * rank
                    && pads.iter().all(|p| (0..=i64::from(MAX_EXTENT)).contains(p)) =>
            {
                let p: Vec<i32> = pads.iter().map(|&p| p as i32).collect();
                if rank == 1 {
                    [[0, 0], [p[0], p[1]]]
                } else {
                    [[p[0], p[2]], [p[1], p[3]]]
                }
            }
            Some(pads) => {
                return Err(outside(
                    "pads",
                    pads,
                    &format!("{} numbers from 0 to {MAX_EXTENT}", 2 * rank),
                    "give the begin of every axis, then the end of every axis; a Pad node before it crops",
                ));
            }
        };
        let auto_pad = attributes
            .text("auto_pad")
            .filter(|mode| !mode.is_empty() && mode != "NOTSET");
        Ok(Self {
            kernel,
            stride: per_axis("strides")?,
            dilation: per_axis("dilations")?,
            pads,
            auto_pad,
        })
    }

    /// The axes over an input plane.
    pub(super) fn axes(&self, input: [u32; 2], ceil: bool) -> Result<[Axis; 2], Reason> {
        Ok([self.axis(0, input[0], ceil)?, self.axis(1, input[1], ceil)?])
    }

    fn axis(&self, i: usize, input: u32, ceil: bool) -> Result<Axis, Reason> {
        let (kernel, stride, dilation) = (self.kernel[i], self.stride[i], self.dilation[i]);
        let reach = i64::from(kernel - 1) * i64::from(dilation) + 1;
        let pad = match self.auto_pad.as_deref() {
            None => self.pads[i],
            Some("VALID") => [0, 0],
            Some(mode @ ("SAME_UPPER" | "SAME_LOWER")) => {
                let output = i64::from(input.div_ceil(stride));
                let total =
                    ((output - 1) * i64::from(stride) + reach - i64::from(input)).max(0) as i32;
                if mode == "SAME_UPPER" {
                    [total / 2, total - total / 2]
                } else {
                    [total - total / 2, total / 2]
                }
            }
            Some(other) => {
                return Err(outside(
                    "auto_pad",
                    other,
                    "NOTSET, VALID, SAME_UPPER and SAME_LOWER",
                    "give `pads` instead",
                ));
            }
        };
        let room = i64::from(input) + i64::from(pad[0]) + i64::from(pad[1]) - reach;
        if room < 0 {
            return Err(format!(
                "its kernel reaches over {reach} positions, the padded input has {}: give a larger input or larger `pads`",
                room + reach
            ).into());
        }
        let stride_wide = i64::from(stride);
        let mut output = room / stride_wide + 1;
        // A window that begins in the padding behind the input does not count (ONNX since opset 19, and PyTorch).
        if ceil
            && room % stride_wide != 0
            && output * stride_wide < i64::from(input) + i64::from(pad[0])
        {
            output += 1;
        }
        let output = u32::try_from(output).map_err(|_| Reason::from("its output is too large"))?;
        Ok(Axis {
            input,
            output,
            kernel,
            stride,
            upsample: 1,
            dilation,
            pad,
        })
    }
}

/// Two positive numbers from the attribute `name` of one or two axes; a missing row axis is 1.
pub(super) fn pair(name: &str, values: &[i64]) -> Result<[u32; 2], Reason> {
    let number = |v: i64| {
        u32::try_from(v)
            .ok()
            .filter(|v| (1..=MAX_EXTENT).contains(v))
    };
    let pair = match *values {
        [x] => number(x).map(|x| [1, x]),
        [y, x] => number(y).zip(number(x)).map(|(y, x)| [y, x]),
        _ => None,
    };
    pair.ok_or_else(|| {
        outside(
            name,
            values,
            &format!("one number from 1 to {MAX_EXTENT} for each of one or two axes"),
            "only 1-D and 2-D windows of that size have a place on the array",
        )
    })
}
