//! The rounding of a model that is quantised already is done where the values come from.
//!
//! ```text
//! host value -> round on the host -> machine      host value, rounded as it enters the machine
//! concatenation -> round                          concatenation of rounded parts
//! ```
//!
//! Both round once, and to the same integers: values that enter the machine are rounded there anyway, and a concatenation
//! that holds parts of several scales could hold none of them exactly.

use crate::graph::{FixedScale, Graph, Layer, Node, NodeId, Op};

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for id in graph.order() {
        changes += usize::from(round_at_border(graph, id));
    }
    // Parts may be concatenations themselves.
    while let Some(rounding) = graph
        .order()
        .into_iter()
        .find_map(|id| of_concat(graph, id))
    {
        round_parts(graph, &rounding);
        changes += 1;
    }
    changes
}

/// Lets the border round what the host node of `id` rounds, if nobody but the machine reads either.
fn round_at_border(graph: &mut Graph, id: NodeId) -> bool {
    let Some(grid) = graph.dag[id].grid else {
        return false;
    };
    if !matches!(graph.dag[id].op, Op::HostOutput(_)) || !only_machine_reads(graph, id) {
        return false;
    }
    let host = graph.operands(id)[0];
    if !is_rounding(&graph.dag[host].op) {
        return false;
    }
    let operand = graph.operands(host)[0];
    // The value, and its other shapes, which share its place.
    let mut places = vec![operand];
    let mut place = operand;
    while matches!(graph.dag[place].op, Op::Rename) {
        place = graph.operands(place)[0];
        places.push(place);
    }
    let read_once = |&place: &NodeId| graph.consumers(place).len() == 1 && !graph.is_output(place);
    if !places.iter().all(read_once) {
        return false;
    }
    for place in places {
        graph.dag[place].grid = Some(grid);
    }
    graph.replace_uses(id, operand);
    graph.dag.remove_node(id);
    graph.dag.remove_node(host);
    true
}

/// Whether a host node does nothing but round.
fn is_rounding(op: &Op) -> bool {
    let Op::Host(host) = op else { return false };
    let operators: Vec<&str> = host
        .nodes
        .iter()
        .map(|node| node.op_type.as_str())
        .collect();
    operators == ["QuantizeLinear", "DequantizeLinear"]
}

/// Whether a result is read, by nodes of the machine alone, directly or under other names.
fn only_machine_reads(graph: &Graph, id: NodeId) -> bool {
    let consumers = graph.consumers(id);
    let by_machine = |&(consumer, _): &(NodeId, u32)| match graph.dag[consumer].op {
        Op::Layer(_) | Op::Concat | Op::Slice(_) => true,
        Op::Rename => only_machine_reads(graph, consumer),
        Op::Input | Op::Map(_) | Op::Host(_) | Op::HostOutput(_) => false,
    };
    !consumers.is_empty() && !graph.is_output(id) && consumers.iter().all(by_machine)
}

/// A concatenation that is rounded.
struct RoundedConcat {
    concat: NodeId,
    /// The layer that bounds it before, if there is one, and the one that rounds it.
    layers: Vec<NodeId>,
    clamp: Option<(f32, f32)>,
    grid: FixedScale,
}

/// The concatenation that the layer `id` rounds, if that is what it does and nothing else reads what lies between.
fn of_concat(graph: &Graph, id: NodeId) -> Option<RoundedConcat> {
    let grid = graph.dag[id].grid?;
    let (mut layers, mut clamp, mut operand) = (vec![], None, id);
    while let Op::Layer(layer) = &graph.dag[operand].op {
        let bounds_alone = layer.is_clamp_alone() && clamp.is_none();
        if !layer.is_empty() && !bounds_alone || layers.len() == 2 {
            return None;
        }
        clamp = clamp.or(layer.clamp);
        layers.push(operand);
        operand = *graph.operands(operand).first()?;
        if graph.consumers(operand).len() != 1 || graph.is_output(operand) {
            return None;
        }
        // What is between is rounded to nothing else.
        if graph.dag[operand].grid.is_some() {
            return None;
        }
    }
    layers.reverse();
    let rounds = !layers.is_empty() && matches!(graph.dag[operand].op, Op::Concat);
    rounds.then_some(RoundedConcat {
        concat: operand,
        layers,
        clamp,
        grid,
    })
}

fn round_parts(graph: &mut Graph, rounding: &RoundedConcat) {
    let RoundedConcat {
        concat,
        layers,
        clamp,
        grid,
    } = rounding;
    let Some(&last) = layers.last() else { return };
    let whole = graph.dag[last].tensor.clone();
    let names: Vec<String> = layers
        .iter()
        .flat_map(|&layer| graph.dag[layer].onnx_nodes.clone())
        .collect();
    for (slot, part) in graph.operands(*concat).into_iter().enumerate() {
        let there = graph.dag[part].grid.is_some_and(|part| part.lies_on(*grid));
        if there && clamp.is_none() {
            continue;
        }
        let layer = Layer {
            clamp: *clamp,
            ..Layer::default()
        };
        let node = Node {
            tensor: unique(graph, &format!("{whole}.{slot}")),
            onnx_nodes: names.clone(),
            grid: Some(*grid),
            op: Op::Layer(Box::new(layer)),
            ..graph.dag[part].clone()
        };
        let rounded = graph.add(node, &[part]);
        graph.redirect(*concat, slot as u32, rounded);
    }
    let node = &mut graph.dag[*concat];
    node.tensor = whole;
    node.grid = Some(*grid);
    node.onnx_nodes.extend(names);
    graph.replace_uses(last, *concat);
    for &layer in layers {
        graph.dag.remove_node(layer);
    }
}

/// The name, longer where another tensor has it.
fn unique(graph: &Graph, name: &str) -> String {
    let mut name = name.to_owned();
    while graph.dag.node_weights().any(|node| node.tensor == name) {
        name.push('\'');
    }
    name
}
