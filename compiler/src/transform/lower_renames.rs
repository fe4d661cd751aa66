//! A rename that the machine cannot express becomes nodes of the host: one whose operand only the host has, or whose result
//! the machine reads under another placement than it is stored with ([`crate::graph::placement`]). So does an output that
//! is an input, or the result of the host under another name: nothing else would write it. And what the host reads of the
//! host is called there as its producer calls it.

use crate::graph::reason::OnHost;
use crate::graph::{Graph, HostOp, Node, NodeId, Op, Transposition};
use crate::import::{reshape_node, transpose_node};
use scnn_host::RuntimeName;

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for id in graph.order() {
        if !matches!(graph.dag[id].op, Op::Rename(_)) {
            continue;
        }
        let operand = graph.operands(id)[0];
        let stored = on_machine(graph, operand) || graph.read_by_machine(id);
        if stored && graph.is_free(id) {
            continue;
        }
        lower(graph, id, operand);
        changes += 1;
    }
    changes + lower_outputs(graph) + rename_operands(graph)
}

/// Lets every host node read the results of the host and the inputs by the names that they have there.
fn rename_operands(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for id in graph.order() {
        for (index, operand) in graph.operands(id).into_iter().enumerate() {
            let from_host = matches!(graph.dag[operand].op, Op::Input | Op::HostOutput(_));
            let name = graph.dag[operand].tensor.clone();
            let Op::Host(host) = &mut graph.dag[id].op else {
                break;
            };
            if !from_host || host.inputs[index] == name {
                continue;
            }
            let before = std::mem::replace(&mut host.inputs[index], name.clone());
            let read = host.nodes.iter_mut().flat_map(|node| &mut node.input);
            read.filter(|input| **input == before)
                .for_each(|input| input.clone_from(&name));
            changes += 1;
        }
    }
    changes
}

/// Gives every output that is a tensor of the host, and is called otherwise, a node that computes it.
fn lower_outputs(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for index in 0..graph.outputs.len() {
        let (name, id) = graph.outputs[index].clone();
        let node = graph.dag[id].clone();
        if name == node.tensor || !matches!(node.op, Op::Input | Op::HostOutput(_)) {
            continue;
        }
        let renamed = Node {
            tensor: name,
            onnx_nodes: Vec::new(),
            op: Op::Rename(None),
            ..node
        };
        let id = graph.add(renamed, &[id]);
        graph.outputs[index].1 = id;
        let operand = graph.operands(id)[0];
        lower(graph, id, operand);
        changes += 1;
    }
    changes
}

/// Whether the machine computes a value, under whatever name.
pub(super) fn on_machine(graph: &Graph, id: NodeId) -> bool {
    match graph.dag[id].op {
        Op::Layer(_) | Op::Concat | Op::Slice(_) => true,
        Op::Rename(_) => on_machine(graph, graph.operands(id)[0]),
        Op::Input | Op::Map(_) | Op::Host(_) | Op::HostOutput(_) => false,
    }
}

fn lower(graph: &mut Graph, id: NodeId, operand: NodeId) {
    let node = graph.dag[id].clone();
    let input = graph.dag[operand].tensor.clone();
    let (name, mut initializers) = (node.onnx_nodes.first(), Vec::new());
    let onnx = if let Op::Rename(Some(Transposition { order, .. })) = &node.op {
        transpose_node(&input, &node.tensor, name, order)
    } else {
        let (reshape, shape) = reshape_node(&input, &node.tensor, &node.dims);
        initializers.push(shape);
        reshape
    };
    let host = HostOp {
        nodes: vec![onnx],
        initializers,
        inputs: vec![input],
        outputs: vec![(node.tensor.clone(), node.dtype, node.dims.clone())],
        runtime: RuntimeName::Tract,
        reasons: vec![OnHost::of_ours(
            node.onnx_nodes.last().unwrap_or(&node.tensor),
            "its values would have to change their places in the activation RAMs",
        )],
        multiplications: 0,
    };
    let host = Node {
        op: Op::Host(Box::new(host)),
        ..node.clone()
    };
    let host = graph.add(host, &[operand]);
    let result = graph.add(
        Node {
            op: Op::HostOutput(0),
            onnx_nodes: Vec::new(),
            ..node
        },
        &[host],
    );
    graph.replace_uses(id, result);
    graph.dag.remove_node(id);
}
