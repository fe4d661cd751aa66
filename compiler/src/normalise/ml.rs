//! Operators of `ai.onnx.ml` that are arithmetic become that.

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{attribute, float_tensor, int, operand, result};
use tract_onnx::pb::NodeProto;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        replace_nodes(graph, |node, parts| {
            if node.domain == "ai.onnx.ml" && node.op_type == "Scaler" {
                parts.scaler(&node);
                return Ok(None);
            }
            Ok(Some(node))
        })
    })
}

impl Parts {
    /// `(x - offset) scale`, with a number for each value of the last axis, or one for all.
    fn scaler(&mut self, node: &NodeProto) {
        let y = result(node);
        let mut value = self.node(
            "Cast",
            vec![operand(node, 0)],
            format!("{y}.x"),
            &[int("to", 1)],
        );
        let steps = [("Sub", "offset"), ("Mul", "scale")];
        for (operator, name) in steps {
            let numbers = attribute(node, name).map_or(&[][..], |a| &a.floats);
            if numbers.is_empty() {
                continue;
            }
            let constant = format!("{y}.{name}");
            let tensor = float_tensor(&constant, &[numbers.len() as i64], numbers);
            self.initializers.push(tensor);
            let to = format!("{y}.{}", operator.to_lowercase());
            value = self.node(operator, vec![value, constant], to, &[]);
        }
        self.node("Identity", vec![value], y, &[]);
    }
}
