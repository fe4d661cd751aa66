//! Joins host nodes that feed each other into segments, as large as they can be without the segment waiting for
//! something that waits for it; and the ONNX sub-model of a segment.
//!
//! Every node has a **level**: how often the way to it has changed between host and machine. Two host nodes of one
//! level cannot be on a way that leads through the machine, because that would have raised the level; so all of a
//! level that are connected become one segment. A host node whose results are used only later may wait for those
//! who use them, and be their segment's: it takes the latest level that its readers allow. Both passes are linear.

use crate::graph::{Graph, HostOp, Node, NodeId, Op};
use crate::import::{for_tract, value_info};
use crate::normalise::make_unique;
use petgraph::unionfind::UnionFind;
use scnn_host::RuntimeName;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::{GraphProto, ModelProto, OperatorSetIdProto, ValueInfoProto, type_proto};

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let order = graph.order();
    let levels = levels(graph, &order);
    let mut sets = UnionFind::new(
        graph
            .dag
            .node_indices()
            .map(|i| i.index() + 1)
            .max()
            .unwrap_or(0),
    );
    for &second in &order {
        for first in host_operands(graph, second) {
            if levels[&first] == levels[&second] {
                sets.union(first.index(), second.index());
            }
        }
    }
    let mut segments: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
    for &id in order.iter().filter(|&&id| is_host(graph, id)) {
        segments.entry(sets.find(id.index())).or_default().push(id);
    }
    let mut changes = 0;
    for members in segments.into_values().filter(|members| members.len() > 1) {
        changes += members.len() - 1;
        join(graph, &members);
    }
    changes
}

fn is_host(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.dag[id].op, Op::Host(_))
}

/// The host nodes whose results the host node `id` reads.
fn host_operands(graph: &Graph, id: NodeId) -> Vec<NodeId> {
    if !is_host(graph, id) {
        return Vec::new();
    }
    let results = graph.operands(id).into_iter();
    results
        .filter(|&result| matches!(graph.dag[result].op, Op::HostOutput(_)))
        .map(|result| graph.operands(result)[0])
        .collect()
}

/// The level of every node: even on the machine, odd on the host.
fn levels(graph: &Graph, order: &[NodeId]) -> BTreeMap<NodeId, u32> {
    let on_host = |id: NodeId| graph.dag[id].op.is_of_host();
    let mut levels: BTreeMap<NodeId, u32> = BTreeMap::new();
    for &id in order {
        let operands = graph.operands(id).into_iter();
        let earliest = operands
            .map(|o| levels[&o] + u32::from(on_host(o) != on_host(id)))
            .max();
        levels.insert(id, earliest.unwrap_or(u32::from(on_host(id))));
    }
    for &id in order.iter().rev().filter(|&&id| on_host(id)) {
        let consumers = graph.consumers(id).into_iter();
        let latest = consumers
            .map(|(c, _)| levels[&c] - u32::from(on_host(c) != on_host(id)))
            .min();
        if let Some(latest) = latest.filter(|_| !graph.is_output(id)) {
            levels.insert(id, latest);
        }
    }
    levels
}

/// Puts one host node in the place of `members`, which are in topological order.
fn join(graph: &mut Graph, members: &[NodeId]) {
    let mut joined = HostOp::default();
    let mut onnx_nodes = Vec::new();
    let mut operands = Vec::new();
    let mut results: BTreeMap<NodeId, u32> = BTreeMap::new();
    let mut known: BTreeSet<String> = BTreeSet::new();
    for &member in members {
        let sources = graph.operands(member);
        for (result, _) in graph.consumers(member) {
            if let Op::HostOutput(index) = graph.dag[result].op {
                results.insert(result, index + joined.outputs.len() as u32);
            }
        }
        let node = &mut graph.dag[member];
        onnx_nodes.append(&mut node.onnx_nodes);
        let Op::Host(host) = &mut node.op else {
            continue;
        };
        let host = std::mem::take(&mut **host);
        for (source, name) in sources.into_iter().zip(host.inputs) {
            if !results.contains_key(&source) && known.insert(name.clone()) {
                joined.inputs.push(name);
                operands.push(source);
            }
        }
        for tensor in host.initializers {
            if known.insert(tensor.name.clone()) {
                joined.initializers.push(tensor);
            }
        }
        joined.nodes.extend(host.nodes);
        joined.outputs.extend(host.outputs);
        joined.runtime = joined.runtime.max(host.runtime);
        joined.reasons.extend(host.reasons);
        joined.multiplications += host.multiplications;
    }
    let Some(&last) = members.last() else { return };
    let node = Node {
        onnx_nodes,
        // Its results have theirs.
        grid: None,
        op: Op::Host(Box::new(joined)),
        ..graph.dag[last].clone()
    };
    for &member in members {
        graph.disconnect(member);
    }
    let id = graph.add(node, &operands);
    for (result, index) in results {
        graph.disconnect(result);
        graph.dag.add_edge(id, result, 0);
        graph.dag[result].op = Op::HostOutput(index);
    }
    for &member in members {
        graph.dag.remove_node(member);
    }
}

/// Leaves open which extents a value has.
fn without_extents(value: &mut ValueInfoProto) {
    let declared = value.r#type.as_mut().and_then(|of| of.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = declared {
        tensor.shape = None;
    }
}

/// The sub-model of the host node `id`: its operands as inputs, the results that something reads as outputs.
pub fn host_model(graph: &Graph, id: NodeId) -> Option<ModelProto> {
    let Op::Host(host) = &graph.dag[id].op else {
        return None;
    };
    let operands = graph.operands(id);
    let input = |(name, &operand): (&String, &NodeId)| {
        let node = &graph.dag[operand];
        value_info(name, node.dtype, &node.dims)
    };
    let read: BTreeSet<u32> = graph
        .consumers(id)
        .into_iter()
        .filter_map(|(result, _)| match graph.dag[result].op {
            Op::HostOutput(index) => Some(index),
            _ => None,
        })
        .collect();
    let outputs = host
        .outputs
        .iter()
        .enumerate()
        .filter(|(index, _)| read.contains(&(*index as u32)));
    let opsets = graph
        .opsets
        .iter()
        .map(|(domain, version)| OperatorSetIdProto {
            domain: domain.clone(),
            version: *version,
        });
    let mut proto = GraphProto {
        name: "host segment".to_owned(),
        node: host.nodes.clone(),
        initializer: host.initializers.clone(),
        input: host.inputs.iter().zip(&operands).map(input).collect(),
        output: outputs
            .map(|(_, (name, dtype, dims))| {
                let mut value = value_info(name, *dtype, dims);
                if graph.open.contains(name) {
                    without_extents(&mut value);
                }
                value
            })
            .collect(),
        ..GraphProto::default()
    };
    if host.runtime == RuntimeName::Tract {
        for_tract::rewrite(&mut proto);
    }
    // Nodes that were lowered have the name of the one that they are a part of.
    make_unique(&mut proto);
    Some(ModelProto {
        ir_version: 8,
        producer_name: "scnnc".to_owned(),
        opset_import: opsets.collect(),
        graph: Some(proto),
        ..ModelProto::default()
    })
}
