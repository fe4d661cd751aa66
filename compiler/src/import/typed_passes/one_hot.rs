//! A product of one-hot rows and constant weights becomes a choice of the weights' rows, where a row is shorter.
//!
//! ```text
//! OneHot [N, L] -> [N, L, 257] -> MatMul by [257, 128] -> [N, L, 128]        Gather of 128 values instead of a row of 257
//! ```
//!
//! The host computes `OneHot`, whose result has mostly zeros that would all cross the link, and chooses a row as easily. An index
//! below zero counts from the end, and one outside has a row of zeros: the table has such a row at both ends.

use super::rows::reshape;
use crate::import::Facts;
use crate::import::attributes::Attributes;
use crate::import::nodes::constants::{bounds, floats, integers};
use crate::normalise::parts::{Parts, replace_known};
use crate::normalise::proto::{float_tensor, int, int64_tensor, is_standard, onnx_type, result};
use scnn_isa::program::Dtype;
use std::collections::BTreeMap;
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let passed = |node: &&NodeProto| is_standard(node) && is_passed(&node.op_type);
    let nodes = graph.node.iter().filter(passed);
    let producers: BTreeMap<String, NodeProto> =
        nodes.map(|node| (result(node), node.clone())).collect();
    replace_known(
        graph,
        |node| choice(node, facts, &producers),
        |node, choice, parts| replace(node, &choice, parts),
    )
}

/// Whether rows of an operator may be one-hot: it makes them, or leaves them as they are.
fn is_passed(operator: &str) -> bool {
    operator == "OneHot" || KEEPING.contains(&operator)
}

/// Operators that keep values, and rows where they keep the last extent.
const KEEPING: [&str; 5] = ["Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"];

/// Rows of a table that indices choose.
struct ChosenRows {
    indices: String,
    dtype: Dtype,
    /// Rows of the weights.
    depth: usize,
    columns: usize,
    weights: Vec<f32>,
    out: Vec<u64>,
}

fn choice(
    node: &NodeProto,
    facts: &Facts,
    producers: &BTreeMap<String, NodeProto>,
) -> Option<ChosenRows> {
    if !is_standard(node) || node.op_type != "MatMul" || node.input.len() != 2 {
        return None;
    }
    let weights = facts.constant(&node.input[1])?;
    let &[depth, columns] = weights.shape() else {
        return None;
    };
    if columns >= depth {
        return None;
    }
    let one_hot = one_hot(&node.input[0], depth as u64, facts, producers)?;
    let indices = one_hot.input.first()?.clone();
    Some(ChosenRows {
        dtype: facts.get(&indices)?.dtype,
        indices,
        depth,
        columns,
        weights: floats(weights).ok()?,
        out: facts.get(&result(node))?.dims.clone(),
    })
}

/// The `OneHot` of zeros and ones whose rows, of `depth` values, are those of the tensor `name`.
fn one_hot<'a>(
    name: &str,
    depth: u64,
    facts: &Facts,
    producers: &'a BTreeMap<String, NodeProto>,
) -> Option<&'a NodeProto> {
    let mut name = name;
    loop {
        let dims = &facts.get(name)?.dims;
        if dims.last() != Some(&depth) {
            return None;
        }
        let node = producers.get(name)?;
        match node.op_type.as_str() {
            operator if KEEPING.contains(&operator) => name = node.input.first()?,
            "OneHot" => {
                let axis = Attributes::of(node).int("axis", -1);
                let last = axis == -1 || axis == dims.len() as i64 - 1;
                let given = integers(facts.constant(node.input.get(1)?)?).ok()?;
                let values = bounds(facts.constant(node.input.get(2)?)?).ok()?;
                let plain = given == [depth as i64] && values == [0.0, 1.0];
                return (last && plain).then_some(node);
            }
            _ => return None,
        }
    }
}

fn replace(node: &NodeProto, choice: &ChosenRows, parts: &mut Parts) {
    let y = result(node);
    let to = |part: &str| format!("{y}.{part}");
    let (depth, columns) = (choice.depth, choice.columns);
    let zeros = vec![0.0; columns];
    let rows = [&zeros[..], &choice.weights, &zeros].concat();
    let dims = [depth as i64 + 2, columns as i64];
    parts
        .initializers
        .push(float_tensor(&to("table"), &dims, &rows));
    let mut number = |part: &str, value: usize| {
        parts
            .initializers
            .push(int64_tensor(&to(part), &[], &[value as i64]));
        to(part)
    };
    let [zero, one, last] =
        [("zero", 0), ("one", 1), ("last", depth + 1)].map(|(part, value)| number(part, value));
    let indices = if choice.dtype == Dtype::I64 {
        choice.indices.clone()
    } else {
        let whole = int("to", i64::from(onnx_type(Dtype::I64) as i32));
        parts.node(
            "Cast",
            vec![choice.indices.clone()],
            to("indices"),
            &[whole],
        )
    };
    let mut node_of = |operator: &str, operands: &[&String], part: &str| {
        let operands = operands.iter().copied().cloned().collect();
        parts.node(operator, operands, to(part), &[])
    };
    // The first row of the weights is row 1 of the table.
    let below = node_of("Less", &[&indices, &zero], "below");
    let shift = node_of("Where", &[&below, &last, &one], "shift");
    let place = node_of("Add", &[&indices, &shift], "place");
    let early = node_of("Less", &[&place, &zero], "early");
    let place = node_of("Where", &[&early, &zero, &place], "from-zero");
    let late = node_of("Greater", &[&place, &last], "late");
    let place = node_of("Where", &[&late, &last, &place], "row");
    let rows = vec![to("table"), place];
    let chosen = parts.node("Gather", rows, to("chosen"), &[int("axis", 0)]);
    reshape(parts, &chosen, y, &choice.out);
}
