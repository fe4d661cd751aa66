//! Axes that an operand has: in attributes and in constant operands, as far as the file tells ranks.

use super::ImportError;
use crate::codes::Code;
use crate::normalise::proto::{int_of, int64_values, ints_of, is_standard};
use crate::normalise::ranks::Ranks;
use std::collections::BTreeMap;
use tract_onnx::pb::{GraphProto, NodeProto};

/// How many axes there are beside those of the first operand.
#[derive(Clone, Copy)]
enum More {
    None,
    /// The end of the last one counts, too.
    End,
    /// As many as are listed.
    Listed,
}

use More::{End, Listed};

/// Where an operator says which axis it means.
#[derive(Clone, Copy)]
enum AxisSource {
    Attribute(&'static str),
    /// A constant operand, and what it is called.
    Operand(usize, &'static str),
}

use AxisSource::{Attribute, Operand};

const ALONG: &[&str] = &[
    "ArgMax",
    "ArgMin",
    "Compress",
    "Concat",
    "Gather",
    "GatherElements",
    "Hardmax",
    "LayerNormalization",
    "LogSoftmax",
    "LpNormalization",
    "Scatter",
    "ScatterElements",
    "Softmax",
    "Split",
    "TopK",
    "Unique",
];
const REDUCTIONS: &[&str] = &[
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
];

#[rustfmt::skip] // One place a line reads as the table it is.
const PLACES: &[(&[&str], AxisSource, More)] = &[
    (ALONG, Attribute("axis"), More::None),
    (REDUCTIONS, Attribute("axes"), More::None),
    (REDUCTIONS, Operand(1, "axes"), More::None),
    (&["CumSum"], Operand(1, "axis"), More::None),
    (&["Flatten"], Attribute("axis"), End),
    (&["OneHot"], Attribute("axis"), End),
    (&["Pad"], Operand(3, "axes"), More::None),
    (&["Slice", "Squeeze"], Attribute("axes"), More::None),
    (&["Slice"], Operand(3, "axes"), More::None),
    (&["Squeeze"], Operand(1, "axes"), More::None),
    (&["Transpose"], Attribute("perm"), More::None),
    (&["Unsqueeze"], Attribute("axes"), Listed),
    (&["Unsqueeze"], Operand(1, "axes"), Listed),
];

/// All axes of the graph that its operands do not have.
pub(super) fn check(graph: &GraphProto, version: i64, errors: &mut Vec<ImportError>) {
    let ranks = Ranks::of(graph, version);
    let constants: BTreeMap<&str, Vec<i64>> = graph
        .initializer
        .iter()
        .filter_map(|tensor| Some((tensor.name.as_str(), int64_values(tensor)?)))
        .collect();
    for node in graph.node.iter().filter(|node| is_standard(node)) {
        let Some(rank) = node.input.first().and_then(|name| ranks.get(name)) else {
            continue;
        };
        let places = PLACES
            .iter()
            .filter(|(of, ..)| of.contains(&node.op_type.as_str()));
        for &(_, place, more) in places {
            errors.extend(problem(node, rank as i64, place, more, &constants));
        }
    }
}

fn problem(
    node: &NodeProto,
    rank: i64,
    place: AxisSource,
    more: More,
    constants: &BTreeMap<&str, Vec<i64>>,
) -> Option<ImportError> {
    let (words, axes) = match place {
        Attribute(name) => {
            let axes = int_of(node, name)
                .filter(|_| name == "axis")
                .map(|axis| vec![axis]);
            let axes = axes.or_else(|| ints_of(node, name).map(<[i64]>::to_vec))?;
            (format!("its attribute `{name}` is"), axes)
        }
        Operand(index, name) => {
            let constant = constants.get(node.input.get(index)?.as_str())?;
            (format!("its operand `{name}` holds"), constant.clone())
        }
    };
    let rank_of_result = match more {
        More::None => rank,
        End => rank + 1,
        Listed => rank + axes.len() as i64,
    };
    // The end is not counted from the end.
    let lowest = if matches!(more, End) && node.op_type == "Flatten" {
        -rank
    } else {
        -rank_of_result
    };
    let bad = axes
        .iter()
        .find(|&&axis| axis < lowest || axis >= rank_of_result)?;
    let range = if rank_of_result == 0 {
        "a number has no axes: leave it out".to_owned()
    } else {
        format!("give axes from {lowest} to {}", rank_of_result - 1)
    };
    Some(ImportError::node(
        Code::BadAttribute,
        node,
        format!("{words} {bad}, its first operand has {rank} dimensions"),
        range,
    ))
}
