//! Operands of a `Concat` that have no elements go: they add nothing, and exporters write them where a list begins empty.

use crate::import::Facts;
use crate::normalise::proto::is_standard;
use tract_onnx::pb::GraphProto;

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let empty = |name: &String| facts.get(name).is_some_and(|fact| fact.dims.contains(&0));
    let mut changed = false;
    for node in &mut graph.node {
        let concat = is_standard(node) && node.op_type == "Concat";
        let all = node.input.iter().all(empty);
        if !concat || all || !node.input.iter().any(empty) {
            continue;
        }
        node.input.retain(|name| !empty(name));
        if node.input.len() == 1 {
            "Identity".clone_into(&mut node.op_type);
            node.attribute.clear();
        }
        changed = true;
    }
    changed
}
