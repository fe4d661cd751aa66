//! What of a graph is computed for one node alone.

use super::{Graph, NodeId};
use std::collections::BTreeSet;

/// A node, and those that `may` be taken whose results nothing else reads, directly or through one another. Outputs of the
/// model are read by somebody else.
pub fn computed_for(graph: &Graph, id: NodeId, may: impl Fn(NodeId) -> bool) -> BTreeSet<NodeId> {
    let mut taken = BTreeSet::from([id]);
    let mut open = graph.operands(id);
    while let Some(operand) = open.pop() {
        let readers = graph.consumers(operand);
        let alone = readers.iter().all(|(reader, _)| taken.contains(reader));
        if alone && !graph.is_output(operand) && may(operand) && taken.insert(operand) {
            open.extend(graph.operands(operand));
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Op;
    use crate::quantise::observed::{Observed, rectifier};

    const SEEN: (f32, f64) = (1.0, 1.0);

    #[test]
    fn what_others_read_is_not_computed_for_a_node_alone() {
        let mut observed = Observed::default();
        let x = observed.add(("x", 1), SEEN, Op::Input, &[]);
        let a = observed.add(("a", 1), SEEN, rectifier(), &[x]);
        let b = observed.add(("b", 1), SEEN, rectifier(), &[a]);
        let c = observed.add(("c", 1), SEEN, rectifier(), &[b]);
        let d = observed.add(("d", 1), SEEN, rectifier(), &[a]);
        observed.output("d", d);
        let graph = &observed.graph;
        assert_eq!(computed_for(graph, c, |_| true), BTreeSet::from([b, c]));
        assert_eq!(computed_for(graph, c, |id| id != b), BTreeSet::from([c]));
    }
}
