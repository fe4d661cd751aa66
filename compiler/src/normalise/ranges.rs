//! The bounds and the step of a `Range` are numbers: lists of one, which runtimes take too, lose their axis.

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{is_standard, result};
use super::ranks::Ranks;
use tract_onnx::pb::NodeProto;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let version = draft.operator_set();
    draft.each_graph(|graph| {
        let ranks = Ranks::of(graph, version);
        replace_nodes(graph, |mut node, parts| {
            if is_standard(&node) && node.op_type == "Range" {
                parts.numbers(&mut node, &ranks);
            }
            Ok(Some(node))
        })
    })
}

impl Parts {
    fn numbers(&mut self, node: &mut NodeProto, ranks: &Ranks) {
        let y = result(node);
        for (name, place) in node.input.iter_mut().zip(["start", "limit", "delta"]) {
            if ranks.get(name) != Some(1) {
                continue;
            }
            let shape = self.integers(format!("{y}.{place}.shape"), &[]);
            let operands = vec![name.clone(), shape];
            *name = self.node("Reshape", operands, format!("{y}.{place}"), &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::proto::{node_of, value_info};
    use super::*;
    use scnn_isa::program::Dtype;
    use tract_onnx::pb::GraphProto;

    #[test]
    fn a_bound_that_is_a_list_of_one_becomes_a_number() {
        let mut range = node_of(&["from", "to", "by"], "y");
        "Range".clone_into(&mut range.op_type);
        let graph = GraphProto {
            input: vec![
                value_info("from", Dtype::I64, &[]),
                value_info("to", Dtype::I64, &[1]),
            ],
            ..GraphProto::default()
        };
        let mut parts = Parts::default();
        parts.numbers(&mut range, &Ranks::of(&graph, 17));
        assert_eq!(range.input, ["from", "y.limit", "by"]);
        assert_eq!(parts.nodes.len(), 1);
        assert_eq!(parts.nodes[0].input, ["to", "y.limit.shape"]);
    }
}
