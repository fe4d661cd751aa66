//! Operators that only move values: concatenations, ranges, changes of shape, padding, enlargement.
//!
//! Channels are moved by addressing. Inside the plane the array moves values with a depthwise convolution whose weights
//! are ones: padding and cropping are its padding, an enlargement is transposed. A [`padding`](is_padding) in front of
//! a convolution becomes a part of it later.

use super::attributes::{Attributes, outside};
use super::nodes::constants::{bounds, integers};
use super::nodes::{finish, or_host, output_shape, shape};
use super::{Importer, Translated, node_name};
use crate::graph::weights::Weights;
use crate::graph::{Conv, Layer, NodeId, Op};
use scnn_isa::legal;
use scnn_isa::plane::{Axis, Span};
use tract_onnx::pb::NodeProto;

pub(crate) fn concat(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let operands: Vec<NodeId> = or_host!(
        (0..node.input.len())
            .map(|index| importer.activation(node, index))
            .collect::<Result<_, _>>()
    );
    let Some(&first) = operands.first() else {
        return Translated::Host("it has no operands".into());
    };
    let rank = importer.graph.dag[first].dims.len() as i64;
    let axis = attributes.int("axis", 1);
    if axis != 1 && axis + rank != 1 {
        let remedy = "elsewhere the values would have to move in the activation RAMs";
        return Translated::Host(outside("axis", axis, "1, along channels", remedy));
    }
    let out = or_host!(output_shape(importer, node));
    or_host!(legal::tensor(out));
    let total: u32 = operands
        .iter()
        .filter_map(|&o| importer.graph.dag[o].shape())
        .map(|s| s[1])
        .sum();
    if total != out[1] {
        return Translated::Host("its operands do not add up".into());
    }
    let id = importer.add(
        &node.output[0],
        &operands,
        Op::Concat,
        vec![node_name(node)],
    );
    Translated::Node(id)
}

/// A range of one or more axes: of channels by addressing, of rows and columns by a convolution that crops.
pub(crate) fn slice(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let mut input = or_host!(importer.activation(node, 0));
    let list = |index: usize, name: &str| -> Result<Option<Vec<i64>>, String> {
        match (attributes.ints(name), importer.constant(node, index)) {
            (Some(values), _) => Ok(Some(values.to_vec())),
            (None, Some(tensor)) => integers(tensor).map(Some),
            (None, None) if Importer::has_operand(node, index) => Err(format!(
                "its `{name}` are computed: export them as an initializer"
            )),
            (None, None) => Ok(None),
        }
    };
    let (starts, ends) = (or_host!(list(1, "starts")), or_host!(list(2, "ends")));
    let (axes, steps) = (or_host!(list(3, "axes")), or_host!(list(4, "steps")));
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return Translated::Host("it has no `starts` or no `ends`: export the model again".into());
    };
    let dims = importer.graph.dag[input].dims.clone();
    let rank = dims.len();
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        let taken = format!("as many as `starts`, {}", starts.len());
        return Translated::Host(outside("axes", axes, &taken, "export the model again"));
    }
    // Begin and step of every axis.
    let mut cuts = vec![(0u32, 1u32); rank];
    for (i, &axis) in axes.iter().enumerate() {
        let axis = if axis < 0 { axis + rank as i64 } else { axis };
        let Some(extent) = usize::try_from(axis).ok().and_then(|axis| dims.get(axis)) else {
            return Translated::Host(format!("it has no axis {axis}").into());
        };
        let Some(step) = u32::try_from(steps[i])
            .ok()
            .filter(|step| (1..=65535).contains(step))
        else {
            let remedy = "values are not reversed on the array";
            return Translated::Host(outside("steps", steps, "1 to 65535", remedy));
        };
        let extent = *extent as i64;
        let begin = if starts[i] < 0 {
            starts[i] + extent
        } else {
            starts[i]
        };
        cuts[axis as usize] = (begin.clamp(0, extent) as u32, step);
    }
    let out = or_host!(output_shape(importer, node));
    let from = or_host!(shape(importer, input));
    if out[0] != from[0] || cuts[0].1 != 1 {
        return Translated::Host(outside(
            "axes",
            axes,
            "channels, rows and columns",
            "a program computes all images; choose among them afterwards",
        ));
    }
    if cuts[1].1 != 1 {
        let remedy = "a range of channels is addressing, every n-th one is not";
        return Translated::Host(outside("steps", steps, "1 for channels", remedy));
    }
    let plane = |axis: usize| cuts.get(axis).copied().unwrap_or((0, 1));
    let (rows, columns) = if rank == 3 {
        ((0, 1), plane(2))
    } else {
        (plane(2), plane(3))
    };
    let cropped = [out[2], out[3]] != [from[2], from[3]];
    if !cropped || out[1] != from[1] {
        let range = Span::new(cuts[1].0, cuts[1].0 + out[1]);
        let name = importer.part_name(&node.output[0], "channels");
        let id = importer.add(
            &node.output[0],
            &[input],
            Op::Slice(range),
            vec![node_name(node)],
        );
        if !cropped {
            return Translated::Node(id);
        }
        // The channels of the operand before they are cropped: a result that the model has no name for.
        let part = &mut importer.graph.dag[id];
        part.tensor = name;
        part.dims = [&[dims[0], u64::from(out[1])], &dims[2..]].concat();
        input = id;
    }
    let axis = |input: u32, output: u32, (begin, step): (u32, u32)| Axis {
        output,
        stride: step,
        pad: [-(begin as i32), 0],
        ..Axis::identity(input)
    };
    let (y, x) = (axis(from[2], out[2], rows), axis(from[3], out[3], columns));
    finish(importer, node, &[input], ones(out[1], y, x))
}

pub(crate) fn split(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let rank = importer.graph.dag[input].dims.len() as i64;
    let axis = attributes.int("axis", 0);
    if axis != 1 && axis + rank != 1 {
        let remedy = "cut rows and columns with Slice";
        return Translated::Host(outside("axis", axis, "1, along channels", remedy));
    }
    let mut begin = 0;
    let mut parts = Vec::new();
    for output in &node.output {
        let Some(fact) = importer.facts.get(output) else {
            return Translated::Host("a part has no shape".into());
        };
        let channels = fact.dims[1] as u32;
        let op = Op::Slice(Span::new(begin, begin + channels));
        begin += channels;
        parts.push(importer.add(output, &[input], op, vec![node_name(node)]));
    }
    Translated::Nodes(parts)
}

/// A change of shape that leaves every value in its place.
pub(crate) fn rename(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.value(node, 0));
    let out = or_host!(output_shape(importer, node));
    let shape = or_host!(shape(importer, input));
    if shape[0] != out[0] {
        return Translated::Host(
            format!("it changes the batch from {} to {}", shape[0], out[0]).into(),
        );
    }
    let id = importer.add(&node.output[0], &[input], Op::Rename, vec![node_name(node)]);
    Translated::Node(id)
}

pub(crate) fn identity(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    if node.output.get(1).is_some_and(|o| !o.is_empty()) {
        return Translated::Host(
            "its second result, the mask, is used: export the model for inference".into(),
        );
    }
    let input = or_host!(importer.value(node, 0));
    let id = importer.add(&node.output[0], &[input], Op::Rename, vec![node_name(node)]);
    Translated::Node(id)
}

/// Zeros around the plane, or a part of it cut away.
pub(crate) fn pad(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    if let Some(mode) = attributes.text("mode").filter(|mode| mode != "constant") {
        return Translated::Host(outside(
            "mode",
            mode,
            "constant",
            "it pads with zeros; other values would have to be copied in the activation RAMs",
        ));
    }
    let value = match importer.constant(node, 2) {
        Some(tensor) => or_host!(bounds(tensor)).first().copied().unwrap_or(0.0),
        None if Importer::has_operand(node, 2) => {
            return Translated::Host(
                "its `constant_value` is computed: export it as an initializer".into(),
            );
        }
        None => attributes.float("value", 0.0),
    };
    if value != 0.0 {
        return Translated::Host(outside("constant_value", value, "0", "it pads with zeros"));
    }
    let given = match (attributes.ints("pads"), importer.constant(node, 1)) {
        (Some(pads), _) => pads.to_vec(),
        (None, Some(tensor)) => or_host!(integers(tensor)),
        (None, None) => {
            return Translated::Host(
                "its `pads` are computed: export them as an initializer".into(),
            );
        }
    };
    let rank = importer.graph.dag[input].dims.len();
    let axes: Vec<i64> = match importer.constant(node, 3) {
        Some(tensor) => or_host!(integers(tensor)),
        None => (0..rank as i64).collect(),
    };
    if given.len() != 2 * axes.len() || given.iter().any(|p| p.abs() > 65535) {
        let taken = "two numbers from -65535 to 65535 for each axis";
        return Translated::Host(outside("pads", given, taken, "give begins, then ends"));
    }
    let mut pads = vec![[0i32; 2]; rank];
    for (i, axis) in axes.iter().enumerate() {
        let axis = if *axis < 0 { axis + rank as i64 } else { *axis };
        let Some(pad) = usize::try_from(axis)
            .ok()
            .and_then(|axis| pads.get_mut(axis))
        else {
            return Translated::Host(format!("it has no axis {axis}").into());
        };
        *pad = [given[i] as i32, given[i + axes.len()] as i32];
    }
    if pads[..2] != [[0, 0]; 2] {
        let remedy = "only rows and columns are padded";
        return Translated::Host(outside("pads", given, "0 for images and channels", remedy));
    }
    let [_, channels, h, w] = or_host!(shape(importer, input));
    let out = or_host!(output_shape(importer, node));
    let plane = |axis: usize| pads.get(axis).copied().unwrap_or([0, 0]);
    let (rows, columns) = if rank == 3 {
        ([0, 0], plane(2))
    } else {
        (plane(2), plane(3))
    };
    let axis = |input: u32, output: u32, pad: [i32; 2]| Axis {
        output,
        pad,
        ..Axis::identity(input)
    };
    let (y, x) = (axis(h, out[2], rows), axis(w, out[3], columns));
    finish(importer, node, &[input], ones(channels, y, x))
}

/// `Resize` and `Upsample` to the nearest value by whole factors: every value is repeated.
pub(crate) fn resize(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let mode = attributes.text("mode").unwrap_or_else(|| "nearest".into());
    if mode != "nearest" {
        let remedy = "to interpolate, follow a nearest one with a depthwise convolution";
        return Translated::Host(outside("mode", mode, "nearest", remedy));
    }
    let [n, channels, h, w] = or_host!(shape(importer, input));
    let out = or_host!(output_shape(importer, node));
    if [out[0], out[1]] != [n, channels] {
        return Translated::Host("it changes the batch or the channels".into());
    }
    // Before operator set 11 there was one way to count: from the corner, downward.
    let oldest = node.op_type == "Upsample" || node.input.len() == 2;
    let way = |name: &str, now: &str, before: &str| {
        attributes
            .text(name)
            .unwrap_or_else(|| if oldest { before } else { now }.to_owned())
    };
    let coordinates = way("coordinate_transformation_mode", "half_pixel", "asymmetric");
    let rounding = way("nearest_mode", "round_prefer_floor", "floor");
    let axis = |input: u32, output: u32| -> Result<Axis, String> {
        let factor = output / input.max(1);
        let source = |o: u32| nearest(o, input, output, &coordinates, &rounding);
        if !output.is_multiple_of(input) || (0..output).any(|o| source(o) != Some(o / factor)) {
            return Err(format!(
                "with `coordinate_transformation_mode` {coordinates} and `nearest_mode` {rounding} it does not repeat every \
                 value alike from {input} to {output}, as the array does: a whole factor with asymmetric and floor is possible"
            ));
        }
        Ok(Axis {
            input,
            output,
            kernel: factor,
            upsample: factor,
            pad: [factor as i32 - 1; 2],
            ..Axis::identity(input)
        })
    };
    let (y, x) = (or_host!(axis(h, out[2])), or_host!(axis(w, out[3])));
    finish(importer, node, &[input], ones(channels, y, x))
}

/// Which input position the output position `o` takes, as the standard defines it for a whole factor.
fn nearest(o: u32, input: u32, output: u32, coordinates: &str, rounding: &str) -> Option<u32> {
    let (at, scale) = (f64::from(o), f64::from(output) / f64::from(input));
    let position = match coordinates {
        "half_pixel" | "half_pixel_symmetric" => (at + 0.5) / scale - 0.5,
        "pytorch_half_pixel" if output > 1 => (at + 0.5) / scale - 0.5,
        "asymmetric" => at / scale,
        "align_corners" if output > 1 => at * f64::from(input - 1) / f64::from(output - 1),
        "pytorch_half_pixel" | "align_corners" => 0.0,
        _ => return None,
    };
    let rounded = match rounding {
        "floor" => position.floor(),
        "ceil" => position.ceil(),
        "round_prefer_floor" => (position - 0.5).ceil(),
        "round_prefer_ceil" => (position + 0.5).floor(),
        _ => return None,
    };
    Some(rounded.clamp(0.0, f64::from(input - 1)) as u32)
}

/// A depthwise convolution that moves values: all its weights are 1.
fn ones(channels: u32, y: Axis, x: Axis) -> Layer {
    let weights = vec![1.0; (channels * y.kernel * x.kernel) as usize];
    Layer {
        conv: Some(Conv {
            weights: Weights::from(weights),
            k: channels,
            c: channels,
            groups: channels,
            y,
            x,
        }),
        ..Layer::default()
    }
}

/// Whether a layer does nothing but put zeros around the plane.
pub(crate) fn is_padding(layer: &Layer) -> bool {
    let Some(conv) = &layer.conv else {
        return false;
    };
    let pads_only = |axis: &Axis| {
        let pad = axis.pad;
        axis.input as i32 + pad[0] + pad[1] == axis.output as i32
            && pad.iter().all(|&p| p >= 0)
            && [axis.kernel, axis.stride, axis.upsample] == [1; 3]
    };
    let alone = layer.affine.is_none()
        && layer.operand.is_none()
        && layer.function.is_none()
        && layer.clamp.is_none()
        && layer.pool.is_none();
    alone
        && [conv.c, conv.groups] == [conv.k; 2]
        && pads_only(&conv.y)
        && pads_only(&conv.x)
        && conv.weights.iter().all(|&weight| weight == 1.0)
}
