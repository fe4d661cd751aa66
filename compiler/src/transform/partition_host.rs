//! Joins host nodes that feed each other into segments, as large as they can be without the segment waiting for
//! something that waits for it; and the ONNX sub-model of a segment.

use crate::graph::{Graph, HostOp, Node, NodeId, Op};
use crate::import::value_info;
use petgraph::algo::has_path_connecting;
use tract_onnx::pb::{GraphProto, ModelProto, OperatorSetIdProto};

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    while let Some((first, second)) = joinable(graph) {
        join(graph, first, second);
        changes += 1;
    }
    changes
}

/// Two host nodes, the second reading a result of the first, with no other way from the first to the second.
fn joinable(graph: &Graph) -> Option<(NodeId, NodeId)> {
    for second in graph.order() {
        if !matches!(graph.dag[second].op, Op::Host(_)) {
            continue;
        }
        for result in graph.operands(second) {
            let Op::HostOutput(_) = graph.dag[result].op else {
                continue;
            };
            let first = graph.operands(result)[0];
            let detour = graph.consumers(first).into_iter().any(|(output, _)| {
                graph.consumers(output).into_iter().any(|(consumer, _)| {
                    consumer != second && has_path_connecting(&graph.dag, consumer, second, None)
                })
            });
            if !detour {
                return Some((first, second));
            }
        }
    }
    None
}

fn join(graph: &mut Graph, first: NodeId, second: NodeId) {
    let (Op::Host(a), Op::Host(b)) = (graph.dag[first].op.clone(), graph.dag[second].op.clone())
    else {
        return;
    };
    let results = |graph: &Graph, id: NodeId| -> Vec<NodeId> {
        graph
            .consumers(id)
            .into_iter()
            .map(|(output, _)| output)
            .collect()
    };
    let (first_results, second_results) = (results(graph, first), results(graph, second));

    let mut joined = HostOp {
        nodes: a.nodes.iter().chain(&b.nodes).cloned().collect(),
        initializers: a.initializers.clone(),
        inputs: Vec::new(),
        outputs: a.outputs.iter().chain(&b.outputs).cloned().collect(),
        reasons: a.reasons.iter().chain(&b.reasons).cloned().collect(),
    };
    for tensor in &b.initializers {
        if !joined.initializers.iter().any(|t| t.name == tensor.name) {
            joined.initializers.push(tensor.clone());
        }
    }
    let mut operands = Vec::new();
    let all = graph
        .operands(first)
        .into_iter()
        .zip(a.inputs)
        .chain(graph.operands(second).into_iter().zip(b.inputs));
    for (operand, name) in all {
        if !first_results.contains(&operand) && !joined.inputs.contains(&name) {
            joined.inputs.push(name);
            operands.push(operand);
        }
    }

    let onnx_nodes = [
        graph.dag[first].onnx_nodes.clone(),
        graph.dag[second].onnx_nodes.clone(),
    ]
    .concat();
    let node = Node {
        onnx_nodes,
        op: Op::Host(Box::new(joined)),
        ..graph.dag[second].clone()
    };
    graph.disconnect(first);
    graph.disconnect(second);
    let id = graph.add(node, &operands);
    for (results, offset) in [(first_results, 0), (second_results, a.outputs.len() as u32)] {
        for result in results {
            graph.disconnect(result);
            graph.dag.add_edge(id, result, 0);
            if let Op::HostOutput(index) = &mut graph.dag[result].op {
                *index += offset;
            }
        }
    }
    graph.dag.remove_node(first);
    graph.dag.remove_node(second);
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
    let read: Vec<u32> = graph
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
    Some(ModelProto {
        ir_version: 8,
        producer_name: "scnnc".to_owned(),
        opset_import: opsets.collect(),
        graph: Some(GraphProto {
            name: "host segment".to_owned(),
            node: host.nodes.clone(),
            initializer: host.initializers.clone(),
            input: host.inputs.iter().zip(&operands).map(input).collect(),
            output: outputs
                .map(|(_, (name, dtype, dims))| value_info(name, *dtype, dims))
                .collect(),
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    })
}
