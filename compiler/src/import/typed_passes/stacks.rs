//! A reduction over an axis along which activations of extent one were joined becomes an operator of those activations:
//! the largest of a stack of three is `max(max(a, b), c)`. Nothing is stacked, which the array has no place for.

use super::broadcasts::Producers;
use super::channel_sums::reduced_axes;
use super::is_activation;
use super::rows::reshape;
use crate::import::Facts;
use crate::import::attributes::Attributes;
use crate::normalise::parts::{Parts, replace_known};
use crate::normalise::proto::{is_standard, result};
use std::collections::BTreeMap;
use tract_onnx::pb::{GraphProto, NodeProto};

/// Most activations of a stack: each takes an operator of two.
const MOST: usize = 8;

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let producers = Producers::of(graph, facts);
    let made: BTreeMap<&str, &NodeProto> = graph
        .node
        .iter()
        .filter(|node| is_standard(node))
        .flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)))
        .collect();
    let stacks: BTreeMap<String, Stack> = graph
        .node
        .iter()
        .filter_map(|node| Some((result(node), stack(node, &made, &producers, facts)?)))
        .collect();
    let known = |node: &NodeProto| stacks.get(node.output.first()?);
    replace_known(graph, known, reduce)
}

/// What is reduced, and how.
struct Stack {
    pieces: Vec<String>,
    /// The operator of two pieces.
    operator: &'static str,
    is_mean: bool,
    /// Extents of the result.
    out: Vec<u64>,
}

fn stack(
    node: &NodeProto,
    made: &BTreeMap<&str, &NodeProto>,
    producers: &Producers<'_>,
    facts: &Facts,
) -> Option<Stack> {
    let operator = match node.op_type.as_str() {
        "ReduceMax" => "Max",
        "ReduceMin" => "Min",
        "ReduceSum" | "ReduceMean" => "Add",
        _ => return None,
    };
    let [axis] = reduced_axes(node, facts)?[..] else {
        return None;
    };
    let concat = made.get(node.input.first()?.as_str())?;
    if concat.op_type != "Concat" {
        return None;
    }
    let along = Attributes::of(concat).int("axis", 0);
    let rank = facts.get(&node.input[0])?.dims.len() as i64;
    let of_one = |name: &String| {
        let fact = facts.get(name).filter(|fact| is_activation(fact));
        fact.is_some_and(|fact| fact.dims.get(axis as usize) == Some(&1))
            && producers.come_from_array(name)
    };
    let along_it = along.rem_euclid(rank.max(1)) == axis;
    let few = (2..=MOST).contains(&concat.input.len());
    (few && along_it && concat.input.iter().all(of_one)).then_some(Stack {
        pieces: concat.input.clone(),
        operator,
        is_mean: node.op_type == "ReduceMean",
        out: facts.get(node.output.first()?)?.dims.clone(),
    })
}

fn reduce(node: &NodeProto, stack: &Stack, parts: &mut Parts) {
    let y = result(node);
    let mut pieces = stack.pieces.iter().enumerate().map(|(index, piece)| {
        let name = format!("{y}.piece{index}");
        (index, piece, name)
    });
    let shaped = |parts: &mut Parts, piece: &str, name| reshape(parts, piece, name, &stack.out);
    let Some((_, first, name)) = pieces.next() else {
        return;
    };
    let mut all = shaped(parts, first, name);
    let last = stack.pieces.len() - 1;
    for (index, piece, name) in pieces {
        let piece = shaped(parts, piece, name);
        let to = if index < last || stack.is_mean {
            format!("{y}.of{}", index + 1)
        } else {
            y.clone()
        };
        all = parts.node(stack.operator, vec![all, piece], to, &[]);
    }
    if stack.is_mean {
        let share = parts.number(format!("{y}.share"), 1.0 / stack.pieces.len() as f32);
        parts.node("Mul", vec![all, share], y, &[]);
    }
}
