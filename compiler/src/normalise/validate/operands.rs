//! How many operands and results the standard gives to each operator, checked before tract sees a model: it reads those
//! that must be there without looking whether they are.

use super::ImportError;
use crate::codes::Code;
use crate::normalise::standard::{definition, version_of};
use std::ops::RangeInclusive;
use tract_onnx::pb::{NodeProto, OperatorSetIdProto};

/// All nodes that have too few or too many.
pub(super) fn check(
    nodes: &[NodeProto],
    imports: &[OperatorSetIdProto],
    errors: &mut Vec<ImportError>,
) {
    for (position, node) in nodes.iter().enumerate() {
        let version = version_of(imports, &node.domain).unwrap_or(1);
        let Some(operator) = definition(node, version) else {
            continue;
        };
        let problems = [
            problem("operand", &node.input, &operator.operands, &operator.gaps),
            problem("result", &node.output, &operator.results, &[]),
        ];
        for (message, wanted) in problems.into_iter().flatten() {
            errors.push(refusal(position, node, message, &wanted));
        }
    }
}

/// What is wrong with the tensors that a node names, and what it should have.
fn problem(
    kind: &str,
    names: &[String],
    allowed: &RangeInclusive<usize>,
    gaps: &[usize],
) -> Option<(String, String)> {
    // The last ones may be left out, or stand there without a name.
    let given = names.iter().rposition(|name| !name.is_empty());
    let given = given.map_or(0, |last| last + 1);
    let needed = names.iter().take(*allowed.start()).enumerate();
    let mut left_out = needed.filter(|(index, name)| name.is_empty() && !gaps.contains(index));
    let left_out = left_out.next().map(|(index, _)| index);
    let message = if !allowed.contains(&given) {
        format!("it has {}", counted(given, kind))
    } else if let Some(index) = left_out {
        format!("its {kind} {index} has no name")
    } else {
        return None;
    };
    Some((message, words(kind, allowed)))
}

/// The problem of a node; unnamed nodes are identified by their first output, else by position.
fn refusal(position: usize, node: &NodeProto, message: String, wanted: &str) -> ImportError {
    let remedy = format!(
        "{} has {wanted}; export the model again, or check it with onnx.checker",
        node.op_type
    );
    let mut error = ImportError::node(Code::OperandCount, node, message, remedy);
    let nameless = node.name.is_empty() && node.output.first().is_none_or(String::is_empty);
    if let (true, Some((name, _))) = (nameless, &mut error.node) {
        *name = format!("#{position}");
    }
    error
}

fn words(kind: &str, allowed: &RangeInclusive<usize>) -> String {
    match (*allowed.start(), *allowed.end()) {
        (least, most) if least == most => counted(least, kind),
        (least, usize::MAX) => format!("{} or more", counted(least, kind)),
        (least, most) => format!("{least} to {}", counted(most, kind)),
    }
}

fn counted(count: usize, kind: &str) -> String {
    match count {
        0 => format!("no {kind}s"),
        1 => format!("1 {kind}"),
        _ => format!("{count} {kind}s"),
    }
}
