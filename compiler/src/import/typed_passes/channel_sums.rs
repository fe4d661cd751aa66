//! A sum or mean over channels, and perhaps the plane, of a result of the array becomes a 1x1 convolution with equal
//! weights, and a reduction of the plane that it leaves.
//!
//! The statistics of a normalisation are left to the host, which divides by them: the mean that is subtracted from its own
//! operand, and sums of squares, which 16 bits hold badly where channels or positions differ.

use super::broadcasts::Producers;
use super::is_activation;
use crate::import::Facts;
use crate::import::attributes::Attributes;
use crate::import::nodes::constants::integers;
use crate::normalise::parts::replace_known;
use crate::normalise::proto::{float_tensor, int, ints, is_standard, operand, result};
use std::collections::BTreeSet;
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let producers = Producers::of(graph, facts);
    let statistics = Statistics::of(graph);
    let wanted = |node: &NodeProto| {
        let sum = sum(node, facts)?;
        let taken = producers.are_of_array(&node.input[0]) && !statistics.have(node);
        taken.then_some(sum)
    };
    replace_known(graph, wanted, |node, sum, parts| {
        let y = result(node);
        let weights = format!("{y}.weights");
        let mut dims = vec![1; sum.rank];
        dims[1] = sum.channels as i64;
        let values = vec![sum.weight; sum.channels];
        parts
            .initializers
            .push(float_tensor(&weights, &dims, &values));
        let operands = vec![node.input[0].clone(), weights];
        if sum.plane.is_empty() {
            parts.node("Conv", operands, y, &[]);
            return;
        }
        let channels = parts.node("Conv", operands, format!("{y}.channels"), &[]);
        let mut operands = vec![channels];
        let mut attributes = vec![int("keepdims", 1)];
        // As the node has them, which depends on the operator set.
        if node.input.len() > 1 {
            operands.push(parts.integers(format!("{y}.axes"), &sum.plane));
        } else {
            attributes.push(ints("axes", &sum.plane));
        }
        parts.node(&node.op_type, operands, y, &attributes);
    })
}

/// Signs in a graph that a sum belongs to a normalisation.
struct Statistics {
    squares: BTreeSet<String>,
    /// Operands of differences and quotients.
    pairs: BTreeSet<[String; 2]>,
}

impl Statistics {
    fn of(graph: &GraphProto) -> Self {
        let (mut squares, mut pairs) = (BTreeSet::new(), BTreeSet::new());
        for node in graph.node.iter().filter(|node| is_standard(node)) {
            let [a, b] = [0, 1].map(|index| operand(node, index));
            match node.op_type.as_str() {
                "Pow" => drop(squares.insert(result(node))),
                "Mul" if a == b => drop(squares.insert(result(node))),
                "Sub" | "Div" => drop(pairs.insert([a, b])),
                _ => {}
            }
        }
        Self { squares, pairs }
    }

    fn have(&self, sum: &NodeProto) -> bool {
        let pair = [sum.input[0].clone(), result(sum)];
        self.squares.contains(&pair[0]) || self.pairs.contains(&pair)
    }
}

/// A sum over channels.
struct Sum {
    rank: usize,
    channels: usize,
    /// The factor of every channel.
    weight: f32,
    /// The axes of the plane that are reduced too.
    plane: Vec<i64>,
}

fn sum(node: &NodeProto, facts: &Facts) -> Option<Sum> {
    let operator = node.op_type.as_str();
    let attributes = Attributes::of(node);
    let known = matches!(operator, "ReduceSum" | "ReduceMean");
    if !is_standard(node) || !known || attributes.int("keepdims", 1) == 0 {
        return None;
    }
    let fact = facts
        .get(&node.input[0])
        .filter(|fact| is_activation(fact))?;
    let rank = fact.dims.len();
    let axes = reduced_axes(node, facts)?;
    if !matches!(rank, 3 | 4) || !axes.contains(&1) || axes.contains(&0) {
        return None;
    }
    let channels = usize::try_from(fact.dims[1]).ok()?;
    Some(Sum {
        rank,
        channels,
        weight: if operator == "ReduceSum" {
            1.0
        } else {
            1.0 / channels as f32
        },
        plane: axes.into_iter().filter(|&axis| axis > 1).collect(),
    })
}

/// The axes that a reduction has, counted from the first, if they are constant.
pub(super) fn reduced_axes(node: &NodeProto, facts: &Facts) -> Option<Vec<i64>> {
    if !is_standard(node) || !node.op_type.starts_with("Reduce") {
        return None;
    }
    let rank = facts.get(node.input.first()?)?.dims.len() as i64;
    let given = match (Attributes::of(node).ints("axes"), node.input.get(1)) {
        (Some(axes), _) => axes.to_vec(),
        (None, Some(axes)) => integers(facts.constant(axes)?).ok()?,
        (None, None) => return None,
    };
    let from_first = |axis: i64| if axis < 0 { axis + rank } else { axis };
    Some(given.into_iter().map(from_first).collect())
}
