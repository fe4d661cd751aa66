//! A product of two vectors becomes the sum of the products of their values; tract multiplies no two vectors.

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{int, is_standard, result};
use super::ranks::Ranks;
use tract_onnx::pb::NodeProto;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let version = draft.operator_set();
    draft.each_graph(|graph| {
        let ranks = Ranks::of(graph, version);
        replace_nodes(graph, |node, parts| {
            let vectors = || node.input.iter().all(|name| ranks.get(name) == Some(1));
            if is_standard(&node) && node.op_type == "MatMul" && vectors() {
                parts.dot_product(&node);
                return Ok(None);
            }
            Ok(Some(node))
        })
    })
}

impl Parts {
    fn dot_product(&mut self, node: &NodeProto) {
        let result = result(node);
        let products = self.node("Mul", node.input.clone(), format!("{result}.products"), &[]);
        self.node("ReduceSum", vec![products], result, &[int("keepdims", 0)]);
    }
}
