//! Islands: nodes between host nodes that need no array stay with the host.
//!
//! One such node would have its operands sent to the machine and its result sent back, each rounded to the machine's
//! integers, for a few operations a value. A node belongs to an island if all that it reads and all that read it are the host's or
//! of the island. A convolution does if it multiplies no more often than values would be sent, as the expectation of a
//! distribution over distances does; any other is the array's. An output of the model does as long as
//! anything is left to the array, and there are none where nothing would be.

use crate::graph::{Graph, NodeId, Op};
use std::collections::{BTreeMap, BTreeSet};

/// Why they are on the host.
const REASON: &str = "what it reads and what reads it are on the host";

/// The ONNX nodes of all islands, and the reason.
pub(super) fn islands(graph: &Graph) -> BTreeMap<String, String> {
    let computes = |&id: &NodeId| matches!(graph.dag[id].op, Op::Layer(_) | Op::Map(_));
    let leaves_some = |members: &BTreeSet<NodeId>| {
        let mut computing = graph.dag.node_indices().filter(computes);
        computing.any(|id| !members.contains(&id))
    };
    let mut members = surrounded(graph, |_| true);
    if !leaves_some(&members) {
        members = surrounded(graph, |id| !graph.is_output(id));
    }
    // A model that the machine has a part of keeps one, however small.
    if !leaves_some(&members) {
        return BTreeMap::new();
    }
    // A node of the file may have become several, of which one alone cannot be told to go.
    let elsewhere: BTreeSet<&String> = graph
        .dag
        .node_indices()
        .filter(|id| !members.contains(id))
        .flat_map(|id| &graph.dag[id].onnx_nodes)
        .collect();
    let names = members.iter().flat_map(|&id| &graph.dag[id].onnx_nodes);
    names
        .filter(|name| !elsewhere.contains(name))
        .map(|name| (name.clone(), REASON.to_owned()))
        .collect()
}

/// Of the nodes for which `may` holds, those with the host or others of them on all sides.
fn surrounded(graph: &Graph, may: impl Fn(NodeId) -> bool) -> BTreeSet<NodeId> {
    let mut members: BTreeSet<NodeId> = graph
        .dag
        .node_indices()
        .filter(|&id| may(id) && needs_no_array(graph, id))
        .collect();
    loop {
        let leaves: Vec<NodeId> = members
            .iter()
            .copied()
            .filter(|&id| !is_surrounded(graph, &members, id))
            .collect();
        if leaves.is_empty() {
            return members;
        }
        for id in leaves {
            members.remove(&id);
        }
    }
}

fn needs_no_array(graph: &Graph, id: NodeId) -> bool {
    let node = &graph.dag[id];
    match &node.op {
        Op::Layer(layer) => layer.conv.as_ref().is_none_or(|conv| {
            let values = |id: NodeId| graph.dag[id].dims.iter().product::<u64>();
            let results = values(id);
            let sent = graph.operands(id).into_iter().map(values).sum::<u64>();
            results.saturating_mul(conv.nonzeros_per_output()) <= sent + results
        }),
        Op::Map(_) | Op::Concat | Op::Slice(_) | Op::Rename(_) => true,
        Op::Input | Op::Host(_) | Op::HostOutput(_) => false,
    }
}

/// Whether the host or the island is on all sides.
fn is_surrounded(graph: &Graph, members: &BTreeSet<NodeId>, id: NodeId) -> bool {
    let operands = graph.operands(id);
    let consumers = graph.consumers(id);
    let gives =
        |id: &NodeId| members.contains(id) || matches!(graph.dag[*id].op, Op::HostOutput(_));
    let takes =
        |(id, _): &(NodeId, u32)| members.contains(id) || matches!(graph.dag[*id].op, Op::Host(_));
    operands.iter().all(gives) && consumers.iter().all(takes)
}
