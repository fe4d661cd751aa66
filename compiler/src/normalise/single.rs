//! A `Sum`, `Max`, `Min`, `Mean` or `Concat` of one operand becomes an `Identity`, and so do an `Optional` that holds
//! something and the operator that takes it out.

use super::Draft;
use super::error::ImportError;
use super::proto::is_standard;
use tract_onnx::pb::NodeProto;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        for node in graph.node.iter_mut().filter(|node| hands_on(node)) {
            "Identity".clone_into(&mut node.op_type);
            node.domain.clear();
            node.attribute.clear();
        }
        Ok(())
    })
}

fn hands_on(node: &NodeProto) -> bool {
    let idle = [
        "Concat",
        "Max",
        "Mean",
        "Min",
        "Optional",
        "OptionalGetElement",
        "Sum",
    ];
    let [operand] = &node.input[..] else {
        return false;
    };
    is_standard(node) && !operand.is_empty() && idle.contains(&node.op_type.as_str())
}
