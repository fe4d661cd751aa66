//! A `Softplus` becomes `max(x, 0) - ln(sigmoid |x|)`: the same as `ln(1 + exp x)`, whose exponential is infinite above 88,
//! where tract's is too.

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{is_standard, operand, result};
use tract_onnx::pb::NodeProto;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        replace_nodes(graph, |node, parts| {
            if is_standard(&node) && node.op_type == "Softplus" {
                parts.softplus(&node);
                return Ok(None);
            }
            Ok(Some(node))
        })
    })
}

impl Parts {
    fn softplus(&mut self, node: &NodeProto) {
        let result = result(node);
        let part = |name: &str| format!("{result}.{name}");
        let x = vec![operand(node, 0)];
        let above = self.node("Relu", x.clone(), part("above"), &[]);
        let magnitude = self.node("Abs", x, part("magnitude"), &[]);
        let share = self.node("Sigmoid", vec![magnitude], part("share"), &[]);
        let logarithm = self.node("Log", vec![share], part("logarithm"), &[]);
        self.node("Sub", vec![above, logarithm], result, &[]);
    }
}
