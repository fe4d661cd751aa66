//! Removes nodes from which no graph output is reached. Graph inputs stay: they are part of the signature.

use crate::graph::{Graph, NodeId, Op};
use std::collections::BTreeSet;

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut alive: BTreeSet<NodeId> = BTreeSet::new();
    let mut open: Vec<NodeId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    while let Some(id) = open.pop() {
        if alive.insert(id) {
            open.extend(graph.operands(id));
        }
    }
    let before = graph.dag.node_count();
    graph
        .dag
        .retain_nodes(|dag, id| alive.contains(&id) || matches!(dag[id].op, Op::Input));
    before - graph.dag.node_count()
}
