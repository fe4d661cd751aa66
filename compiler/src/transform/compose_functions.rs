//! Composes elementwise operators into functions of one operand.
//!
//! Exporters write activations in parts: `x * clip(x + 3, 0, 6) / 6`, `x * tanh(softplus(x))`, a dozen nodes for GELU. Two
//! rules join the parts, applied in topological order:
//!
//! - **A diamond closes.** All operands of a map are functions of one tensor, perhaps through several maps: it becomes a
//!   function of that tensor, the nearest there is. Maps in between that others read too stay for these.
//! - **A chain shortens.** The only operand of a map is a map that nothing else reads: the two become one.
//!
//! So a value that is used several times is computed once and stored, and never again only because it could be. Another
//! name for the same values, which some exporters give to every result, is a map that changes nothing.

use crate::graph::expression::{Expression, MAX_PARTS};
use crate::graph::{Graph, HostOp, Map, NodeId, Op};
use std::borrow::Cow;
use std::collections::BTreeSet;
use tract_onnx::pb::NodeProto;

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for id in graph.order() {
        if !matches!(graph.dag.node_weight(id), Some(node) if matches!(node.op, Op::Map(_))) {
            continue;
        }
        while let Some(joined) = diamond(graph, id).or_else(|| chain(graph, id)) {
            replace(graph, id, joined);
            changes += 1;
        }
    }
    changes
}

fn map(graph: &Graph, id: NodeId) -> Option<Cow<'_, Map>> {
    match &graph.dag.node_weight(id)?.op {
        Op::Map(map) => Some(Cow::Borrowed(map)),
        Op::Rename(None) => identity(graph, id).map(Cow::Owned),
        _ => None,
    }
}

/// A rename that changes neither the shape of its operand nor where that lies, as a map.
fn identity(graph: &Graph, id: NodeId) -> Option<Map> {
    let node = &graph.dag[id];
    let operand = &graph.dag[*graph.operands(id).first()?];
    let same = node.dims == operand.dims && node.dtype == operand.dtype && graph.is_free(id);
    let host = HostOp {
        nodes: vec![NodeProto {
            op_type: "Identity".to_owned(),
            input: vec![operand.tensor.clone()],
            output: vec![node.tensor.clone()],
            ..NodeProto::default()
        }],
        inputs: vec![operand.tensor.clone()],
        outputs: vec![(node.tensor.clone(), node.dtype, node.dims.clone())],
        ..HostOp::default()
    };
    let expression = Expression::X;
    same.then_some(Map { expression, host })
}

/// A map that takes the place of another.
struct ComposedMap {
    map: Map,
    operand: NodeId,
    /// The maps that it takes in, in topological order.
    taken: Vec<NodeId>,
}

/// A tensor as a function of one that is nearer to the inputs.
struct Ancestor {
    node: NodeId,
    expression: Expression,
    /// The maps from `node` to the tensor, the last one first.
    through: Vec<NodeId>,
}

/// What `id` is a function of, itself first.
fn ancestors(graph: &Graph, id: NodeId) -> Vec<Ancestor> {
    let mut found = vec![Ancestor {
        node: id,
        expression: Expression::X,
        through: Vec::new(),
    }];
    while let Some(last) = found.last() {
        let (node, operands) = (last.node, graph.operands(last.node));
        let (Some(map), &[operand]) = (map(graph, node), operands.as_slice()) else {
            break;
        };
        let same_shape = graph.dag[operand].dims == graph.dag[node].dims;
        if !same_shape || graph.dag[node].grid.is_some() {
            break;
        }
        let expression = last
            .expression
            .compose(std::slice::from_ref(&map.expression));
        if expression.parts() > MAX_PARTS {
            break;
        }
        let mut through = last.through.clone();
        through.push(node);
        found.push(Ancestor {
            node: operand,
            expression,
            through,
        });
    }
    found
}

/// The map of several operands as one of the nearest tensor that all of them are functions of.
fn diamond(graph: &Graph, id: NodeId) -> Option<ComposedMap> {
    let operands = graph.operands(id);
    let same_shape = |&operand: &NodeId| graph.dag[operand].dims == graph.dag[id].dims;
    if operands.len() < 2 || !operands.iter().all(same_shape) {
        return None;
    }
    let chains: Vec<Vec<Ancestor>> = operands.iter().map(|&o| ancestors(graph, o)).collect();
    let find = |chain: &[Ancestor], node| chain.iter().position(|ancestor| ancestor.node == node);
    let (root, places) = chains[0].iter().find_map(|ancestor| {
        let places = chains.iter().map(|chain| find(chain, ancestor.node));
        Some((ancestor.node, places.collect::<Option<Vec<_>>>()?))
    })?;
    let paths: Vec<&Ancestor> = chains
        .iter()
        .zip(places)
        .map(|(chain, at)| &chain[at])
        .collect();
    let arguments: Vec<Expression> = paths.iter().map(|path| path.expression.clone()).collect();
    let taken: BTreeSet<NodeId> = paths
        .iter()
        .flat_map(|path| &path.through)
        .copied()
        .collect();
    let order = graph.order();
    let taken = order
        .into_iter()
        .filter(|node| taken.contains(node))
        .collect();
    join(graph, id, &arguments, root, taken)
}

/// The map of one operand together with the map that computes it for nothing else.
fn chain(graph: &Graph, id: NodeId) -> Option<ComposedMap> {
    let &[before] = graph.operands(id).as_slice() else {
        return None;
    };
    let inner = map(graph, before)?;
    let &[operand] = graph.operands(before).as_slice() else {
        return None;
    };
    let same_shape = [operand, id].map(|other| graph.dag[other].dims == graph.dag[before].dims);
    let alone = graph.consumers(before).len() == 1 && !graph.is_output(before);
    if !alone || same_shape != [true; 2] || graph.dag[before].grid.is_some() {
        return None;
    }
    let argument = std::slice::from_ref(&inner.expression);
    join(graph, id, argument, operand, vec![before])
}

/// The map `id` of `arguments`, which are functions of `operand`.
fn join(
    graph: &Graph,
    id: NodeId,
    arguments: &[Expression],
    operand: NodeId,
    taken: Vec<NodeId>,
) -> Option<ComposedMap> {
    let own = map(graph, id)?;
    let expression = own.expression.compose(arguments);
    if expression.parts() > MAX_PARTS {
        return None;
    }
    let maps = taken.iter().filter_map(|&node| map(graph, node));
    let maps: Vec<Cow<'_, Map>> = maps.chain([own]).collect();
    let host = join_hosts(maps.iter().map(|map| &map.host));
    Some(ComposedMap {
        map: Map { expression, host },
        operand,
        taken,
    })
}

/// The nodes of several maps, in their order, of which the last computes the result.
fn join_hosts<'a>(parts: impl Iterator<Item = &'a HostOp>) -> HostOp {
    let mut joined = HostOp::default();
    let mut computed: BTreeSet<&str> = BTreeSet::new();
    for part in parts {
        for name in &part.inputs {
            if !computed.contains(name.as_str()) && !joined.inputs.contains(name) {
                joined.inputs.push(name.clone());
            }
        }
        for tensor in &part.initializers {
            if joined
                .initializers
                .iter()
                .all(|known| known.name != tensor.name)
            {
                joined.initializers.push(tensor.clone());
            }
        }
        for node in &part.nodes {
            let known = computed.len();
            computed.extend(node.output.iter().map(String::as_str));
            if computed.len() > known {
                joined.nodes.push(node.clone());
            }
        }
        joined.outputs.clone_from(&part.outputs);
        joined.runtime = joined.runtime.max(part.runtime);
    }
    joined
}

/// Puts the joined map in the place of `id`, and removes the maps that nothing reads any more.
fn replace(graph: &mut Graph, id: NodeId, joined: ComposedMap) {
    graph.disconnect(id);
    graph.dag.add_edge(joined.operand, id, 0);
    graph.dag[id].op = Op::Map(Box::new(joined.map));
    let mut names = Vec::new();
    for &node in joined.taken.iter().rev() {
        if graph.consumers(node).is_empty() && !graph.is_output(node) {
            let removed = graph.dag.remove_node(node);
            names.extend(removed.map(|removed| removed.onnx_nodes));
        }
    }
    let own = std::mem::take(&mut graph.dag[id].onnx_nodes);
    let before = names.into_iter().rev().flatten();
    graph.dag[id].onnx_nodes = before.chain(own).collect();
}
