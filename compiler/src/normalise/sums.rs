//! A `Sum` of many operands becomes additions of two.

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{is_standard, operand, result};
use tract_onnx::pb::NodeProto;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        replace_nodes(graph, |node, parts| {
            if is_standard(&node) && node.op_type == "Sum" && node.input.len() > 2 {
                parts.sum(&node);
                return Ok(None);
            }
            Ok(Some(node))
        })
    })
}

impl Parts {
    fn sum(&mut self, node: &NodeProto) {
        let result = result(node);
        let mut sum = operand(node, 0);
        for (i, term) in node.input.iter().enumerate().skip(1) {
            let last = i + 1 == node.input.len();
            let to = if last {
                result.clone()
            } else {
                format!("{result}.{i}")
            };
            sum = self.node("Add", vec![sum, term.clone()], to, &[]);
        }
    }
}
