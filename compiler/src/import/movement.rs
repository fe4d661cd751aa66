//! Operators that only move values: concatenations, ranges, changes of shape, padding, enlargement.
//!
//! Channels are moved by addressing, or by a 1 x 1 convolution by ones ([`channels`]). Inside the plane the array moves
//! values with a depthwise convolution whose weights are ones: padding and cropping are its padding, an enlargement is
//! transposed. A [`padding`](is_padding) in front of a convolution becomes a part of it later.

pub(crate) mod blocks;
mod channels;

use super::attributes::{Attributes, outside};
use super::nodes::constants::{along, bounds, integers};
use super::nodes::{finish, finish_placed, or_host, output_dims, output_shape, shape};
use super::{Importer, Translated, node_name};
use crate::graph::placement::{self, Placement, Slot};
use crate::graph::weights::Weights;
use crate::graph::{Conv, Layer, NodeId, Op, Transposition};
use channels::{ChannelSource, of_channels};
use scnn_isa::legal;
use scnn_isa::plane::{Axis, Span};
use tract_onnx::pb::NodeProto;

pub(crate) fn concat(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let has_constants = (0..node.input.len()).any(|index| importer.constant(node, index).is_some());
    let indices = 0..node.input.len();
    let activations = indices.filter(|&index| importer.constant(node, index).is_none());
    let operands: Vec<NodeId> = or_host!(
        activations
            .map(|index| importer.activation(node, index))
            .collect::<Result<_, _>>()
    );
    let Some(&first) = operands.first() else {
        return Translated::Host("it has no operands that are computed".into());
    };
    let out = or_host!(output_dims(importer, node)).clone();
    let given = attributes.int("axis", 1);
    let Some(axis) = axis_of(given, out.len()) else {
        return Translated::Host(format!("it has no axis {given}").into());
    };
    let total = or_host!(u32::try_from(out[axis]).map_err(|_| "its result is too large"));
    // How the result lies when it lies as one operand does; the first for which the axis is all of the channels.
    let mut lies = None;
    for &operand in &operands {
        let axes = or_host!(importer.axes(operand));
        if placement::is_all_of(&axes, axis, Slot::Channel) {
            lies = Some(axes);
            break;
        }
    }
    let axes = match (lies, placement::with_channels(&out, axis)) {
        (Some(axes), _) => axes,
        (None, Some(_)) if given != 1 && axis != 1 => {
            let remedy = "elsewhere the values would have to move in the activation RAMs";
            return Translated::Host(outside("axis", given, "1, along channels", remedy));
        }
        (None, _) => {
            let dims = &importer.graph.dag[first].dims;
            let lies = placement::positional(dims).and_then(|lies| placement::axes(&lies, dims));
            or_host!(lies.ok_or("its operands have no form [N, C, H, W]"))
        }
    };
    let with = |extent| {
        let axes = placement::with_extent(&axes, axis, extent, Slot::Channel);
        placement::of_axes(&axes)
    };
    let mut placed = Vec::new();
    for operand in operands {
        let extent = importer.graph.dag[operand].dims[axis] as u32;
        placed.push(importer.graph.placed(operand, with(extent)));
    }
    let lies = with(total);
    or_host!(legal::tensor(lies.shape().unwrap_or_default()));
    if has_constants {
        return with_constants(importer, node, axis, &placed, lies);
    }
    Translated::Node(importer.add_placed(
        &node.output[0],
        &placed,
        Op::Concat,
        vec![node_name(node)],
        Some(lies),
    ))
}

/// The concatenation of activations, which lie ready in `placed`, and of constants along the channels, axis `axis`.
fn with_constants(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    axis: usize,
    placed: &[NodeId],
    lies: Placement,
) -> Translated {
    let mut sources = Vec::new();
    let mut computed = 0;
    let mut activations = placed.iter();
    for index in 0..node.input.len() {
        if let Some(constant) = importer.constant(node, index) {
            let values = or_host!(along(constant, axis));
            sources.extend(values.into_iter().map(ChannelSource::Constant));
        } else if let Some(&activation) = activations.next() {
            let channels = or_host!(shape(importer, activation))[1];
            sources.extend((computed..computed + channels).map(ChannelSource::Channel));
            computed += channels;
        }
    }
    let joined = match placed {
        [alone] => *alone,
        _ => part_of_concat(importer, node, axis, placed, computed),
    };
    let [images, _, h, w] = or_host!(shape(importer, joined));
    let planes = [h, w].map(Axis::identity);
    let layer = or_host!(of_channels([images, computed], &sources, planes));
    finish_placed(importer, node, &[joined], layer, lies)
}

/// The concatenation of activations alone, under a name of its own, as a part of what `node` computes.
fn part_of_concat(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    axis: usize,
    placed: &[NodeId],
    channels: u32,
) -> NodeId {
    let name = importer.part_name(&node.output[0], "computed");
    let axes = importer.axes(placed[0]).unwrap_or_default();
    let lies = placement::with_extent(&axes, axis, channels, Slot::Channel);
    let lies = Some(placement::of_axes(&lies));
    let mut dims = importer.graph.dag[placed[0]].dims.clone();
    dims[axis] = channels.into();
    let names = vec![node_name(node)];
    let id = importer.add_placed(&node.output[0], placed, Op::Concat, names, lies);
    let part = &mut importer.graph.dag[id];
    (part.tensor, part.dims) = (name, dims);
    id
}

/// An axis that may be counted from the end.
pub(crate) fn axis_of(given: i64, rank: usize) -> Option<usize> {
    let axis = if given < 0 {
        given + rank as i64
    } else {
        given
    };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

/// A position that counts from the end where it is negative.
pub(crate) fn from_begin(position: i64, extent: i64) -> i64 {
    if position < 0 {
        position + extent
    } else {
        position
    }
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
        let begin = from_begin(starts[i], extent);
        cuts[axis as usize] = (begin.clamp(0, extent) as u32, step);
    }
    let out = or_host!(output_dims(importer, node)).clone();
    let cut: Vec<usize> = (0..rank)
        .filter(|&axis| out[axis] != dims[axis] || cuts[axis].1 != 1)
        .collect();
    let mut factors = or_host!(importer.axes(input));
    let [_, _, h, w] = or_host!(shape(importer, input));
    let mut plane = [(h, h, (0, 1)), (w, w, (0, 1))];
    let mut channels = None;
    for axis in cut {
        let extent = out[axis] as u32;
        let is = |slot| placement::is_all_of(&factors, axis, slot);
        let slot = if is(Slot::Channel) {
            if cuts[axis].1 != 1 {
                let remedy = "a range of channels is addressing, every n-th one is not";
                return Translated::Host(outside("steps", steps, "1 for channels", remedy));
            }
            channels = Some(Span::new(cuts[axis].0, cuts[axis].0 + extent));
            Slot::Channel
        } else if is(Slot::Row) {
            (plane[0].1, plane[0].2) = (extent, cuts[axis]);
            Slot::Row
        } else if is(Slot::Column) {
            (plane[1].1, plane[1].2) = (extent, cuts[axis]);
            Slot::Column
        } else {
            return Translated::Host(outside(
                "axes",
                axes,
                "channels, rows and columns",
                "a program computes all images; choose among them afterwards",
            ));
        };
        factors = placement::with_extent(&factors, axis, extent, slot);
    }
    let lies = placement::of_axes(&factors);
    let cropped = plane.iter().any(|(from, to, _)| from != to);
    if !cropped || channels.is_some() {
        let all = or_host!(shape(importer, input))[1];
        let range = channels.unwrap_or(Span::new(0, all));
        let op = Op::Slice(range);
        let names = vec![node_name(node)];
        if !cropped {
            let id = importer.add_placed(&node.output[0], &[input], op, names, Some(lies));
            return Translated::Node(id);
        }
        // The channels of the operand before they are cropped: a result that the model has no name for.
        input = part_of_channels(importer, node, input, range);
    }
    let axis = |(input, output, (begin, step)): (u32, u32, (u32, u32))| Axis {
        output,
        stride: step,
        pad: [-(begin as i32), 0],
        ..Axis::identity(input)
    };
    let count = or_host!(shape(importer, input))[1];
    let layer = ones(count, plane.map(axis));
    finish_placed(importer, node, &[input], layer, lies)
}

/// A range of the channels of `input`, under a name of its own, as a part of what `node` computes.
fn part_of_channels(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    input: NodeId,
    range: Span,
) -> NodeId {
    let name = importer.part_name(&node.output[0], "channels");
    let source = &importer.graph.dag[input];
    let axes = importer.axes(input).unwrap_or_default();
    let whole = (0..axes.len())
        .find(|&axis| placement::is_all_of(&axes, axis, Slot::Channel) && !axes[axis].is_empty());
    let mut dims = source.dims.clone();
    let mut lies = source.placement.clone();
    if let Some(axis) = whole {
        dims[axis] = range.len().into();
        let axes = placement::with_extent(&axes, axis, range.len(), Slot::Channel);
        lies = Some(placement::of_axes(&axes));
    }
    let names = vec![node_name(node)];
    let id = importer.add_placed(&node.output[0], &[input], Op::Slice(range), names, lies);
    let part = &mut importer.graph.dag[id];
    (part.tensor, part.dims) = (name, dims);
    id
}

pub(crate) fn split(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let given = attributes.int("axis", 0);
    let factors = or_host!(importer.axes(input));
    let axis = axis_of(given, factors.len());
    let Some(axis) = axis.filter(|&axis| placement::is_all_of(&factors, axis, Slot::Channel))
    else {
        let remedy = "cut rows and columns with Slice";
        return Translated::Host(outside("axis", given, "1, along channels", remedy));
    };
    let mut begin = 0;
    let mut parts = Vec::new();
    for output in node.output.iter().filter(|output| !output.is_empty()) {
        let Some(fact) = importer.facts.get(output) else {
            return Translated::Host("a part has no shape".into());
        };
        let extent = fact.dims[axis] as u32;
        let op = Op::Slice(Span::new(begin, begin + extent));
        begin += extent;
        let lies = placement::with_extent(&factors, axis, extent, Slot::Channel);
        let lies = Some(placement::of_axes(&lies));
        parts.push(importer.add_placed(output, &[input], op, vec![node_name(node)], lies));
    }
    Translated::Nodes(parts)
}

/// A change of shape: every value stays in its place.
pub(crate) fn rename(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.value(node, 0));
    let id = importer.add(
        &node.output[0],
        &[input],
        Op::Rename(None),
        vec![node_name(node)],
    );
    Translated::Node(importer.as_wished(id))
}

/// Another order of the axes: they are read as they lie.
pub(crate) fn transpose(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.value(node, 0));
    // Whether they can be read so is known here: an axis may cut through another.
    or_host!(importer.axes(input));
    let dims = importer.graph.dag[input].dims.clone();
    let order: Vec<usize> = match attributes.ints("perm") {
        Some(order) => order.iter().map(|&axis| axis as usize).collect(),
        None => (0..dims.len()).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..dims.len()) {
        return Translated::Host(format!("its `perm` is no order of {} axes", dims.len()).into());
    }
    let op = Op::Rename(Some(Transposition { dims, order }));
    let id = importer.add(&node.output[0], &[input], op, vec![node_name(node)]);
    Translated::Node(importer.as_wished(id))
}

pub(crate) fn identity(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    if node.output.get(1).is_some_and(|o| !o.is_empty()) {
        return Translated::Host(
            "its second result, the mask, is used: export the model for inference".into(),
        );
    }
    rename(importer, node, attributes)
}

/// Zeros around the plane, channels of one value around the channels, or a part of either cut away.
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
    let out = or_host!(output_dims(importer, node)).clone();
    let [images, channels, h, w] = or_host!(shape(importer, input));
    let mut factors = or_host!(importer.axes(input));
    // Rows, columns, channels.
    let slots = [Slot::Row, Slot::Column, Slot::Channel];
    let mut padded = [h, w, channels].map(|extent| (extent, extent, [0, 0]));
    for axis in (0..rank).filter(|&axis| pads[axis] != [0, 0]) {
        let extent = or_host!(u32::try_from(out[axis]).map_err(|_| "its result is too large"));
        let at = slots
            .iter()
            .position(|&slot| placement::is_all_of(&factors, axis, slot));
        let Some(at) = at else {
            let remedy = "only channels, rows and columns are padded";
            return Translated::Host(outside("pads", given, "0 for images", remedy));
        };
        (padded[at].1, padded[at].2) = (extent, pads[axis]);
        factors = placement::with_extent(&factors, axis, extent, slots[at]);
    }
    let [rows, columns, (_, outputs, [before, _])] = padded;
    let in_plane = [rows, columns].iter().any(|(.., pads)| *pads != [0, 0]);
    if value != 0.0 && in_plane {
        let taken = "0 around rows and columns";
        let remedy = "the array's own padding is with zeros";
        return Translated::Host(outside("constant_value", value, taken, remedy));
    }
    let axis = |(input, output, pad): (u32, u32, [i32; 2])| Axis {
        output,
        pad,
        ..Axis::identity(input)
    };
    let planes = [rows, columns].map(axis);
    let layer = if padded[2].2 == [0, 0] {
        ones(channels, planes)
    } else {
        let source = |output: u32| {
            let channel = i64::from(output) - i64::from(before);
            let inside = u32::try_from(channel).ok().filter(|&c| c < channels);
            inside.map_or(ChannelSource::Constant(value), ChannelSource::Channel)
        };
        let sources: Vec<ChannelSource> = (0..outputs).map(source).collect();
        or_host!(of_channels([images, channels], &sources, planes))
    };
    finish_placed(
        importer,
        node,
        &[input],
        layer,
        placement::of_axes(&factors),
    )
}

/// `Resize` and `Upsample` to the nearest value by whole factors: every value is repeated.
pub(crate) fn resize(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.plane(node, 0));
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
    finish(importer, node, &[input], ones(channels, [y, x]))
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
fn ones(channels: u32, [y, x]: [Axis; 2]) -> Layer {
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
