//! What needs no array between host nodes stays with the host.
//!
//! One such node would have its operands sent to the machine and its result sent back, each rounded to the machine's
//! integers, for a few operations a value. A node is one of an island if what it reads and what reads it are the host's or
//! of the island; a convolution never is, and what the model begins or ends with is left where it is.

use crate::graph::{Graph, NodeId, Op};
use std::collections::{BTreeMap, BTreeSet};

/// Why they are on the host.
const REASON: &str = "what it reads and what reads it are on the host";

/// The ONNX nodes of all islands, and the reason.
pub(super) fn islands(graph: &Graph) -> BTreeMap<String, String> {
    let mut members: BTreeSet<NodeId> = graph
        .dag
        .node_indices()
        .filter(|&id| needs_no_array(&graph.dag[id].op))
        .collect();
    loop {
        let leaves: Vec<NodeId> = members
            .iter()
            .copied()
            .filter(|&id| !is_surrounded(graph, &members, id))
            .collect();
        if leaves.is_empty() {
            break;
        }
        for id in leaves {
            members.remove(&id);
        }
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

fn needs_no_array(op: &Op) -> bool {
    match op {
        Op::Layer(layer) => layer.conv.is_none(),
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
    let read = !consumers.is_empty() && !graph.is_output(id);
    read && operands.iter().all(gives) && consumers.iter().all(takes)
}
