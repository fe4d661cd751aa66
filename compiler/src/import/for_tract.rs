//! Nodes that tract computes otherwise than ONNX says, as nodes that it has right.
//!
//! Models are rewritten on their way to tract: parts of the float model and host segments alike. The model itself keeps
//! the node, which the array may run, or ONNX Runtime. [`super::host_operators`] names what cannot be rewritten.

use crate::normalise::parts::{Parts, node_name};
use crate::normalise::proto::{
    float_of, has_operand, int, int_of, int64_values, ints_of, is_standard, operand, result,
    text_of,
};
use std::collections::BTreeMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto};

/// Whether anything of a graph is rewritten for tract.
pub(crate) fn is_rewritten(graph: &GraphProto) -> bool {
    let constants = constants(graph);
    let nodes = &graph.node;
    nodes
        .iter()
        .any(|node| rewriting(node, &constants).is_some())
}

/// Whether a node is rewritten whatever the constants of its graph are.
pub(super) fn is_always_rewritten(node: &NodeProto) -> bool {
    rewriting(node, &Constants::new()).is_some()
}

/// Rewrites the nodes of a graph for tract; returns, for every node that there is now, the position of the one that it
/// comes from.
pub(crate) fn rewrite(graph: &mut GraphProto) -> Vec<usize> {
    let constants = constants(graph);
    let (mut parts, mut origins) = (Parts::default(), Vec::new());
    for (position, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        parts.origin = node_name(&node);
        match rewriting(&node, &constants) {
            Some(rewrite) => rewrite(&mut parts, &node, &constants),
            None => parts.nodes.push(node),
        }
        origins.resize(parts.nodes.len(), position);
    }
    graph.node = parts.nodes;
    graph.initializer.append(&mut parts.initializers);
    origins
}

/// What a rewriting needs of a constant.
struct Constant {
    data_type: i32,
    elements: i64,
    /// The values, if they are few and 64-bit integers: pads, axes.
    integers: Option<Vec<i64>>,
}

/// Constants by name.
type Constants = BTreeMap<String, Constant>;

fn constants(graph: &GraphProto) -> Constants {
    let constants = graph.initializer.iter().map(|tensor| {
        let constant = Constant {
            data_type: tensor.data_type,
            elements: tensor.dims.iter().product(),
            integers: int64_values(tensor),
        };
        (tensor.name.clone(), constant)
    });
    constants.collect()
}

/// A function that adds the parts of a node.
type Rewrite = fn(&mut Parts, &NodeProto, &Constants);

/// How a node is rewritten, if it is.
fn rewriting(node: &NodeProto, constants: &Constants) -> Option<Rewrite> {
    if !is_standard(node) {
        return None;
    }
    match node.op_type.as_str() {
        "Celu" => Some(|parts, node, _| parts.celu(node)),
        "LogSoftmax" => Some(|parts, node, _| parts.log_softmax(node)),
        "ReduceLogSumExp" => Some(|parts, node, _| parts.log_sum_exp(node)),
        "Mod" => Some(|parts, node, _| parts.modulo(node)),
        "GatherND" => Some(|parts, node, _| parts.gather_nd(node)),
        "MeanVarianceNormalization" => Some(|parts, node, _| parts.mean_variance(node)),
        "LSTM" | "GRU" | "RNN" if is_reversed(node) => Some(|parts, node, _| parts.reversed(node)),
        "Pad" if cropping(node, constants).is_some() => Some(Parts::cropped),
        "Slice" if strides(node, constants).is_some() => Some(Parts::strided),
        "QuantizeLinear" if quantised_to(node, constants).is_some() => Some(Parts::quantised),
        _ => None,
    }
}

/// The pads of a node that takes values away.
fn cropping<'a>(node: &NodeProto, constants: &'a Constants) -> Option<&'a [i64]> {
    let pads = constants.get(&operand(node, 1))?.integers.as_deref()?;
    pads.iter().any(|&pad| pad < 0).then_some(pads)
}

/// Begin, end, axis and step of a slice.
type Bounds = [i64; 4];

/// The bounds of the axes of which a node takes values that are not neighbours, and of all others.
fn strides(node: &NodeProto, constants: &Constants) -> Option<(Vec<Bounds>, Vec<Bounds>)> {
    const AXES: usize = 3;
    const STEPS: usize = 4;
    let integers = |index: usize| constants.get(&operand(node, index))?.integers.clone();
    let (begins, ends, steps) = (integers(1)?, integers(2)?, integers(STEPS)?);
    let axes = if has_operand(node, AXES) {
        integers(AXES)?
    } else {
        (0..begins.len() as i64).collect()
    };
    let bounds = begins
        .into_iter()
        .zip(ends)
        .zip(axes.into_iter().zip(steps));
    let all = bounds.map(|((begin, end), (axis, step))| [begin, end, axis, step]);
    let (strided, plain): (Vec<_>, Vec<_>) = all.partition(|&[.., step]| step != 1);
    (!strided.is_empty()).then_some((strided, plain))
}

/// The integers of 8 bits to which a node quantises with one scale: their type, the lowest and the highest.
fn quantised_to(node: &NodeProto, constants: &Constants) -> Option<(DataType, f32, f32)> {
    const ZERO_POINT: usize = 2;
    let single = |index: usize| {
        let constant = constants.get(&operand(node, index));
        constant.filter(|constant| constant.elements == 1)
    };
    single(1)?;
    let data_type = if has_operand(node, ZERO_POINT) {
        DataType::try_from(single(ZERO_POINT)?.data_type).ok()?
    } else {
        DataType::Uint8
    };
    match data_type {
        DataType::Uint8 => Some((data_type, 0.0, 255.0)),
        DataType::Int8 => Some((data_type, -128.0, 127.0)),
        _ => None,
    }
}

/// Whether a recurrence runs backwards over sequences of one length.
fn is_reversed(node: &NodeProto) -> bool {
    text_of(node, "direction") == Some("reverse")
        && int_of(node, "layout").unwrap_or(0) == 0
        && !has_operand(node, SEQUENCE_LENGTHS)
}

/// The operand of a recurrence that says how long each sequence is.
pub(super) const SEQUENCE_LENGTHS: usize = 4;

impl Parts {
    /// `alpha Elu(x / alpha)`; tract leaves the factor alpha out.
    fn celu(&mut self, node: &NodeProto) {
        let y = result(node);
        let alpha = self.number(format!("{y}.alpha"), float_of(node, "alpha").unwrap_or(1.0));
        let operands = vec![operand(node, 0), alpha.clone()];
        let scaled = self.node("Div", operands, format!("{y}.scaled"), &[]);
        let value = self.node("Elu", vec![scaled], format!("{y}.elu"), &[]);
        self.node("Mul", vec![value, alpha], y, &[]);
    }

    /// `x - max - log(sum(exp(x - max)))`; tract takes the logarithm of the shares, which are zero where a value is 104 below
    /// the largest. The largest is taken by its place, in a way that is the same in every operator set.
    fn log_softmax(&mut self, node: &NodeProto) {
        let y = result(node);
        let part = |name: &str| format!("{y}.{name}");
        let axis = int_of(node, "axis").unwrap_or(-1);
        let along = [int("axis", axis)];
        let first = [int("axis", axis), int("keepdims", 1)];
        let x = operand(node, 0);
        let place = self.node("ArgMax", vec![x.clone()], part("place"), &first);
        let operands = vec![x.clone(), place];
        let largest = self.node("GatherElements", operands, part("largest"), &along);
        let below = self.node("Sub", vec![x, largest], part("below"), &[]);
        let powers = self.node("Exp", vec![below.clone()], part("powers"), &[]);
        let axes = self.integers(part("axes"), &[axis]);
        let kept = [int("keepdims", 1)];
        let sum = self.node("ReduceSum", vec![powers, axes], part("sum"), &kept);
        let logarithm = self.node("Log", vec![sum], part("logarithm"), &[]);
        self.node("Sub", vec![below, logarithm], y, &[]);
    }

    /// `max + log(sum(exp(x - max)))`; tract's powers are infinite from 89 on. Reductions have the axes of the node, wherever
    /// its operator set keeps them. An infinite maximum is taken as the largest finite one.
    fn log_sum_exp(&mut self, node: &NodeProto) {
        let y = result(node);
        let part = |name: &str| format!("{y}.{name}");
        let operands = |first: String| {
            let rest = node.input.iter().skip(1).cloned();
            [first].into_iter().chain(rest).collect::<Vec<_>>()
        };
        let bounds = [("lowest", f32::MIN), ("highest", f32::MAX)];
        let bounds = bounds.map(|(name, bound)| self.number(part(name), bound));
        let largest = |parts: &mut Self, name: &str, attributes: &[AttributeProto]| {
            let all = operands(operand(node, 0));
            let any = parts.node("ReduceMax", all, part(&format!("{name}.any")), attributes);
            let bounded = [any].into_iter().chain(bounds.clone()).collect();
            parts.node("Clip", bounded, part(name), &[])
        };
        let others = node.attribute.iter().filter(|a| a.name != "keepdims");
        let kept: Vec<AttributeProto> = others.cloned().chain([int("keepdims", 1)]).collect();
        let beside = largest(self, "beside", &kept);
        let of_result = largest(self, "largest", &node.attribute);
        let below = vec![operand(node, 0), beside];
        let below = self.node("Sub", below, part("below"), &[]);
        let powers = self.node("Exp", vec![below], part("powers"), &[]);
        let powers = operands(powers);
        let logarithm = part("logarithm");
        let logarithm = self.node("ReduceLogSum", powers, logarithm, &node.attribute);
        self.node("Add", vec![logarithm, of_result], y, &[]);
    }

    /// `saturate(round(x / scale) + zero point)`; tract multiplies by the reciprocal of the scale, whose rounding decides
    /// where a value is between two integers.
    fn quantised(&mut self, node: &NodeProto, constants: &Constants) {
        let Some((data_type, low, high)) = quantised_to(node, constants) else {
            return self.nodes.push(node.clone());
        };
        let y = result(node);
        // Zero points of earlier passes are called `.zero`.
        let part = |name: &str| format!("{y}:{name}");
        let operands = vec![operand(node, 0), operand(node, 1)];
        let units = self.node("Div", operands, part("units"), &[]);
        let mut value = self.node("Round", vec![units], part("rounded"), &[]);
        if has_operand(node, 2) {
            let to_float = [int("to", DataType::Float as i64)];
            let zero = vec![operand(node, 2)];
            let zero = self.node("Cast", zero, part("zero"), &to_float);
            value = self.node("Add", vec![value, zero], part("shifted"), &[]);
        }
        let bounds = [
            self.number(part("low"), low),
            self.number(part("high"), high),
        ];
        let operands = [value].into_iter().chain(bounds).collect();
        let saturated = self.node("Clip", operands, part("saturated"), &[]);
        let to = [int("to", data_type as i64)];
        self.node("Cast", vec![saturated], y, &to);
    }

    /// What is taken away goes first, then the rest is padded; tract pads by nothing where a pad is negative.
    fn cropped(&mut self, node: &NodeProto, constants: &Constants) {
        const AXES: usize = 3;
        let y = result(node);
        let part = |name: &str| format!("{y}.{name}");
        let pads = cropping(node, constants).unwrap_or_default();
        let (begins, ends) = pads.split_at(pads.len() / 2);
        let from: Vec<i64> = begins.iter().map(|&begin| (-begin).max(0)).collect();
        let to: Vec<i64> = ends
            .iter()
            .map(|&end| if end < 0 { end } else { i64::MAX })
            .collect();
        let axes = if has_operand(node, AXES) {
            operand(node, AXES)
        } else {
            let all: Vec<i64> = (0..begins.len() as i64).collect();
            self.integers(part("axes"), &all)
        };
        let bounds = [
            self.integers(part("from"), &from),
            self.integers(part("to"), &to),
        ];
        let operands = [operand(node, 0)].into_iter().chain(bounds).chain([axes]);
        let kept = self.node("Slice", operands.collect(), part("kept"), &[]);
        let added: Vec<i64> = pads.iter().map(|&pad| pad.max(0)).collect();
        let mut operands = node.input.clone();
        operands[0] = kept;
        operands[1] = self.integers(part("pads"), &added);
        self.node("Pad", operands, y, &node.attribute);
    }

    /// The places of an axis are gathered; of a slice with steps, tract exchanges it with what it reads, a Softmax over the
    /// sliced axis, too.
    fn strided(&mut self, node: &NodeProto, constants: &Constants) {
        let y = result(node);
        let (strided, plain) = strides(node, constants).unwrap_or_default();
        let mut x = operand(node, 0);
        if !plain.is_empty() {
            x = self.slice(x, &plain, format!("{y}.plain"));
        }
        let last = strided.len().saturating_sub(1);
        for (index, bounds) in strided.into_iter().enumerate() {
            let part = |name: &str| format!("{y}.{name}.{index}");
            let all = self.places(&x, bounds[2], part("all"));
            let [begin, end, axis, step] = bounds;
            let taken = self.slice(all, &[[begin, end, 0, step]], part("places"));
            let to = if index == last {
                y.clone()
            } else {
                part("taken")
            };
            x = self.node("Gather", vec![x, taken], to, &[int("axis", axis)]);
        }
    }

    /// The numbers of the places of an axis, from 0 on.
    fn places(&mut self, x: &str, axis: i64, to: String) -> String {
        let part = |name: &str| format!("{to}.{name}");
        let flat = [int("keepdims", 0)];
        let [zero, one, axis] = [("zero", 0), ("one", 1), ("axis", axis)]
            .map(|(name, value)| self.integers(part(name), &[value]));
        let shape = self.node("Shape", vec![x.to_owned()], part("shape"), &[]);
        let extent = self.node("Gather", vec![shape, axis], part("extent"), &[]);
        let scalars = [("from", zero), ("to", extent), ("by", one)];
        let scalars = scalars.map(|(name, of)| {
            let product = self.node("ReduceProd", vec![of], part(&format!("{name}.flat")), &flat);
            let integers = [int("to", DataType::Int64 as i64)];
            self.node("Cast", vec![product], part(name), &integers)
        });
        self.node("Range", scalars.to_vec(), to, &[])
    }

    /// A slice by begin, end, axis and step of some axes.
    fn slice(&mut self, x: String, bounds: &[Bounds], to: String) -> String {
        let mut operands = vec![x];
        for (index, name) in ["from", "to", "axes", "steps"].into_iter().enumerate() {
            let values: Vec<i64> = bounds.iter().map(|of| of[index]).collect();
            operands.push(self.integers(format!("{to}.{name}"), &values));
        }
        self.node("Slice", operands, to, &[])
    }

    /// With operands of one shape; tract exchanges them where the first is broadcast.
    fn modulo(&mut self, node: &NodeProto) {
        let y = result(node);
        let (a, b) = (operand(node, 0), operand(node, 1));
        let shape = self.node("Shape", vec![b.clone()], format!("{y}.shape"), &[]);
        let wide = self.node("Expand", vec![a, shape], format!("{y}.wide"), &[]);
        self.node("Mod", vec![wide, b], y, &node.attribute);
    }

    /// With indices from zero; tract counts none from the end.
    fn gather_nd(&mut self, node: &NodeProto) {
        let y = result(node);
        let part = |name: &str| format!("{y}.{name}");
        let (data, indices) = (operand(node, 0), operand(node, 1));
        let shape = self.node("Shape", vec![data.clone()], part("shape"), &[]);
        let of_indices = self.node("Shape", vec![indices.clone()], part("of-indices"), &[]);
        let (last, end) = (
            self.integers(part("last"), &[-1]),
            self.integers(part("end"), &[i64::MAX]),
        );
        let depth = self.node("Slice", vec![of_indices, last, end], part("depth"), &[]);
        let first = int_of(node, "batch_dims").unwrap_or(0);
        let first = self.integers(part("first"), &[first]);
        let beyond = self.node("Add", vec![depth, first.clone()], part("beyond"), &[]);
        let extents = self.node("Slice", vec![shape, first, beyond], part("extents"), &[]);
        let zero = self.integers(part("zero"), &[0]);
        let negative = self.node("Less", vec![indices.clone(), zero], part("negative"), &[]);
        let from_end = self.node("Add", vec![indices.clone(), extents], part("from-end"), &[]);
        let operands = vec![negative, from_end, indices];
        let counted = self.node("Where", operands, part("counted"), &[]);
        self.node("GatherND", vec![data, counted], y, &node.attribute);
    }

    /// `(x - mean) / (deviation + 1e-9)`, the deviation from the centred values; tract's is from the mean of squares less the
    /// square of the mean, which cancels digits.
    fn mean_variance(&mut self, node: &NodeProto) {
        let y = result(node);
        let part = |name: &str| format!("{y}.{name}");
        let axes = ints_of(node, "axes").unwrap_or(&[0, 2, 3]).to_vec();
        let mean = self.mean(operand(node, 0), &axes, part("mean"));
        let centred = self.node("Sub", vec![operand(node, 0), mean], part("centred"), &[]);
        let both = vec![centred.clone(), centred.clone()];
        let squares = self.node("Mul", both, part("squares"), &[]);
        let variance = self.mean(squares, &axes, part("variance"));
        let deviation = self.node("Sqrt", vec![variance], part("deviation"), &[]);
        let least = self.number(part("least"), 1e-9);
        let divisor = self.node("Add", vec![deviation, least], part("divisor"), &[]);
        self.node("Div", vec![centred, divisor], y, &[]);
    }

    /// The mean over some axes, in a way that is the same in every operator set: `ReduceMean` has them as an attribute
    /// before 18, and as an operand from there on.
    fn mean(&mut self, x: String, axes: &[i64], to: String) -> String {
        let list = self.integers(format!("{to}.axes"), axes);
        let operands = vec![x.clone(), list.clone()];
        let sum = self.node(
            "ReduceSum",
            operands,
            format!("{to}.sum"),
            &[int("keepdims", 1)],
        );
        let shape = self.node("Shape", vec![x], format!("{to}.shape"), &[]);
        let extents = self.node("Gather", vec![shape, list], format!("{to}.extents"), &[]);
        let flat = [int("keepdims", 0)];
        let product = self.node("ReduceProd", vec![extents], format!("{to}.product"), &flat);
        let count = self.node(
            "Cast",
            vec![product],
            format!("{to}.count"),
            &[int("to", 1)],
        );
        self.node("Div", vec![sum, count], to, &[])
    }

    /// Forwards over the reversed sequence; tract takes no notice of the direction.
    fn reversed(&mut self, node: &NodeProto) {
        let mut forward = node.clone();
        forward
            .attribute
            .retain(|attribute| attribute.name != "direction");
        let first = node.output.iter().find(|name| !name.is_empty());
        let stem = first.cloned().unwrap_or_default();
        forward.input[0] = self.reverse(operand(node, 0), format!("{stem}.reversed"));
        forward.name = format!("{stem}:forward");
        let sequence = result(node);
        if !sequence.is_empty() {
            forward.output[0] = format!("{sequence}.forward");
        }
        let backwards = forward.output[0].clone();
        self.nodes.push(forward);
        if !sequence.is_empty() {
            self.reverse(backwards, sequence);
        }
    }

    /// The first axis from its end to its beginning.
    fn reverse(&mut self, x: String, to: String) -> String {
        self.slice(x, &[[-1, i64::MIN, 0, -1]], to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_that_tract_lacks_is_given_to_it_where_its_parts_need_no_constant() {
        let node = |operator: &str| NodeProto {
            op_type: operator.to_owned(),
            input: vec!["x".to_owned()],
            output: vec!["y".to_owned()],
            ..NodeProto::default()
        };
        assert!(is_always_rewritten(&node("Celu")));
        assert!(!is_always_rewritten(&node("Pad")), "only one that crops");
        assert!(!is_always_rewritten(&node("Relu")));
    }
}
