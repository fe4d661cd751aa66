//! An operand that is broadcast along channels, rows or columns is brought to the form that the PPU takes: of the result's
//! shape, or with one value for each image and channel. A 1x1 convolution with ones repeats it for every channel, a resize
//! to the nearest along rows and columns; both are layers of the array, and tensors that stay on the machine cross no link.
//!
//! This pays where both operands are the array's: results of the host, like the scores of an attention or the statistics
//! of a normalisation, it broadcasts too.

use super::channel_sums::reduced_axes;
use super::is_activation;
use crate::import::Facts;
use crate::import::nodes::elementwise::is_elementwise;
use crate::normalise::parts::{Parts, replace_known};
use crate::normalise::proto::{float_tensor, is_standard, result, text};
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let producers = Producers::of(graph, facts);
    replace_known(
        graph,
        |node| producers.replacement(node),
        |node, replacement, parts| match replacement {
            Replacement::Unexpanded { index, source } => {
                let mut operands = node.input.clone();
                operands[index] = source;
                parts.node(&node.op_type, operands, result(node), &node.attribute);
            }
            Replacement::Repeated { index, from, to } => {
                let mut operands = node.input.clone();
                operands[index] = repeated(parts, node, &operands[index], (&from, &to));
                parts.node(&node.op_type, operands, result(node), &node.attribute);
            }
        },
    )
}

/// The replacement of an operand of a node.
enum Replacement {
    /// The operator broadcasts itself: what had been expanded for it is read as it was.
    Unexpanded { index: usize, source: String },
    /// Its values are repeated.
    Repeated {
        index: usize,
        from: Vec<u64>,
        to: Vec<u64>,
    },
}

/// Where the tensors of a graph come from.
pub(super) struct Producers<'a> {
    facts: &'a Facts,
    /// Sources of the results of `Expand`.
    expanded: BTreeMap<String, String>,
    /// Results of layers of the array, and of functions of these.
    of_array: BTreeSet<String>,
    /// These, and other orders and shapes of them.
    from_array: BTreeSet<String>,
}

impl<'a> Producers<'a> {
    pub(super) fn of(graph: &GraphProto, facts: &'a Facts) -> Self {
        let expansions = graph
            .node
            .iter()
            .filter(|node| is_standard(node) && node.op_type == "Expand");
        let begins = |node: &NodeProto| is_layer(&node.op_type);
        Self {
            facts,
            expanded: expansions
                .map(|node| (result(node), node.input[0].clone()))
                .collect(),
            of_array: reached(graph, facts, begins, is_movement),
            from_array: reached(graph, facts, begins, |operator| {
                is_movement(operator) || is_reordering(operator)
            }),
        }
    }

    /// Whether the tensor `name` is computed by the array or is a function of what is.
    pub(super) fn are_of_array(&self, name: &str) -> bool {
        self.of_array.contains(name)
    }

    /// Whether the tensor `name` comes from the array, perhaps by other orders or shapes.
    pub(super) fn come_from_array(&self, name: &str) -> bool {
        self.from_array.contains(name)
    }

    fn replacement(&self, node: &NodeProto) -> Option<Replacement> {
        let binary = matches!(node.op_type.as_str(), "Add" | "Sub" | "Mul" | "Div");
        if !is_standard(node) || !binary || node.input.len() != 2 {
            return None;
        }
        let to = &self.facts.get(&result(node))?.dims;
        (0..2).find_map(|index| {
            let [name, other] = [index, 1 - index].map(|index| &node.input[index]);
            let [fact, full] = [self.facts.get(name)?, self.facts.get(other)?];
            if full.dims != *to || !is_activation(full) || !is_activation(fact) {
                return None;
            }
            if let Some(source) = self.expanded.get(name) {
                let source = source.clone();
                return Some(Replacement::Unexpanded { index, source });
            }
            let from = fact.dims.clone();
            let of_array = [name, other].map(|name| self.are_of_array(name));
            let taken = node.op_type != "Div" && of_array == [true; 2];
            let repeats = taken && is_repeated(&from, to);
            let to = to.clone();
            repeats.then_some(Replacement::Repeated { index, from, to })
        })
    }
}

/// Whether the operator is one of those that the array and its PPUs are for.
pub(super) fn is_layer(operator: &str) -> bool {
    matches!(
        operator,
        "Conv"
            | "ConvTranspose"
            | "BatchNormalization"
            | "MaxPool"
            | "AveragePool"
            | "GlobalAveragePool"
    )
}

/// Whether the operator hands values on from the machine to the machine.
pub(super) fn is_movement(operator: &str) -> bool {
    let along = ["Concat", "Identity", "Pad", "Resize", "Slice", "Split"];
    along.contains(&operator)
}

/// Results of the nodes with which the array begins, and of what follows: elementwise operators, reductions of planes,
/// movements.
pub(super) fn reached(
    graph: &GraphProto,
    facts: &Facts,
    begins: impl Fn(&NodeProto) -> bool,
    moves: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    for node in graph.node.iter().filter(|node| is_standard(node)) {
        let is_reached = || node.input.iter().any(|name| reached.contains(name));
        let of_plane = reduced_axes(node, facts).is_some_and(|axes| axes.iter().all(|&a| a > 1));
        let follows = moves(&node.op_type) || is_elementwise(node) || of_plane;
        if begins(node) || (follows && is_reached()) {
            reached.extend(node.output.iter().cloned());
        }
    }
    reached
}

pub(super) fn is_reordering(operator: &str) -> bool {
    let orders = ["Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];
    orders.contains(&operator)
}

/// Whether planes of the extents `from` have to be repeated to meet planes of the extents `to`.
fn is_repeated(from: &[u64], to: &[u64]) -> bool {
    let planes = matches!(to.len(), 3 | 4) && from.len() == to.len() && from[0] == to[0];
    let repeats = from
        .iter()
        .zip(to)
        .all(|(&from, &to)| from == to || from == 1);
    let per_channel = from.iter().skip(2).all(|&extent| extent == 1) && from.get(1) == to.get(1);
    planes && repeats && !per_channel && from != to
}

/// The operand with its values repeated: for every channel, then along the axes of the plane that it is broadcast along,
/// unless one value for each image and channel is left.
fn repeated(
    parts: &mut Parts,
    node: &NodeProto,
    operand: &str,
    (from, to): (&[u64], &[u64]),
) -> String {
    let y = result(node);
    let mut name = operand.to_owned();
    if from[1] != to[1] {
        let mut dims = vec![1; to.len()];
        dims[0] = to[1] as i64;
        let ones = format!("{y}.ones");
        parts
            .initializers
            .push(float_tensor(&ones, &dims, &vec![1.0; to[1] as usize]));
        name = parts.node("Conv", vec![name, ones], format!("{y}.channels"), &[]);
    }
    if from[2..] == to[2..] || from[2..].iter().all(|&extent| extent == 1) {
        return name;
    }
    let factor = |(&from, &to): (&u64, &u64)| (to / from) as f32;
    let mut factors: Vec<f32> = from.iter().zip(to).map(factor).collect();
    factors[1] = 1.0;
    let scales = format!("{y}.factors");
    parts
        .initializers
        .push(float_tensor(&scales, &[factors.len() as i64], &factors));
    let nearest = [
        text("mode", "nearest"),
        text("coordinate_transformation_mode", "asymmetric"),
        text("nearest_mode", "floor"),
    ];
    let operands = vec![name, String::new(), scales];
    parts.node("Resize", operands, format!("{y}.plane"), &nearest)
}
