//! Nodes stand behind those whose results they read, as ONNX asks for and not every exporter does.
//!
//! Nodes that are in order stay where they are; of those that are not, each moves up or down no further than it must. Nodes
//! of a cycle stay at the end, for the validation to name.

use super::closure::reads;
use super::proto::visit_graphs;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use tract_onnx::pb::{ModelProto, NodeProto};

/// Puts the nodes of all graphs and functions of a model in order.
pub(super) fn sort(model: &mut ModelProto) {
    if let Some(graph) = &mut model.graph {
        visit_graphs(graph, &mut |graph| sort_nodes(&mut graph.node));
    }
    for function in &mut model.functions {
        sort_nodes(&mut function.node);
    }
}

fn sort_nodes(nodes: &mut Vec<NodeProto>) {
    let order = order(nodes);
    if order.is_sorted() {
        return;
    }
    let mut taken: Vec<Option<NodeProto>> = nodes.drain(..).map(Some).collect();
    nodes.extend(order.into_iter().filter_map(|index| taken[index].take()));
}

/// The numbers of the nodes in an order in which results come before what reads them, the first one first wherever there is
/// a choice.
fn order(nodes: &[NodeProto]) -> Vec<usize> {
    let mut producers: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for result in node.output.iter().filter(|result| !result.is_empty()) {
            producers.entry(result).or_insert(index);
        }
    }
    // By node, those that read its results, and how many results it waits for.
    let mut readers = vec![Vec::new(); nodes.len()];
    let mut awaited = vec![0; nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        for producer in reads(node)
            .into_iter()
            .filter_map(|name| producers.get(name))
        {
            readers[*producer].push(index);
            awaited[index] += 1;
        }
    }
    let free = (0..nodes.len()).filter(|&index| awaited[index] == 0);
    let mut ready: BinaryHeap<Reverse<usize>> = free.map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for &reader in &readers[index] {
            awaited[reader] -= 1;
            if awaited[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    order.extend((0..nodes.len()).filter(|&index| awaited[index] > 0));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::proto::node_of as node;
    use tract_onnx::pb::{AttributeProto, GraphProto, ValueInfoProto};

    fn sorted(mut nodes: Vec<NodeProto>) -> Vec<String> {
        sort_nodes(&mut nodes);
        nodes.iter().map(|node| node.output[0].clone()).collect()
    }

    #[test]
    fn what_is_read_comes_first_and_the_rest_stays() {
        let given = vec![
            node(&["b", "x"], "c"),
            node(&["x"], "a"),
            node(&["a", ""], "b"),
            node(&["x"], "d"),
        ];
        assert_eq!(sorted(given), ["a", "b", "c", "d"]);
        let in_order = vec![node(&["x"], "d"), node(&["x"], "a"), node(&["a"], "b")];
        assert_eq!(sorted(in_order), ["d", "a", "b"]);
    }

    #[test]
    fn a_node_waits_for_what_its_branches_read() {
        let branch = GraphProto {
            output: vec![ValueInfoProto {
                name: "late".to_owned(),
                ..ValueInfoProto::default()
            }],
            ..GraphProto::default()
        };
        let choice = NodeProto {
            attribute: vec![AttributeProto {
                g: Some(branch),
                ..AttributeProto::default()
            }],
            ..node(&["x"], "y")
        };
        assert_eq!(sorted(vec![choice, node(&["x"], "late")]), ["late", "y"]);
    }

    #[test]
    fn a_cycle_stays_for_the_validation() {
        let cycle = vec![node(&["b"], "a"), node(&["a"], "b"), node(&["x"], "c")];
        assert_eq!(sorted(cycle), ["c", "a", "b"]);
        assert_eq!(sorted(vec![node(&["a"], "a")]), ["a"]);
    }
}
