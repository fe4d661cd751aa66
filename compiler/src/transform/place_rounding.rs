//! The rounding of a model that is quantised already is done where the values come from.
//!
//! ```text
//! host value -> round -> machine        host value, rounded as it enters the machine
//! host value -> round -> host           rounded on the host
//! concatenation -> round                concatenation of rounded parts
//! ```
//!
//! All round once, and to the same integers: a value of the host would be rounded to the machine's 16 bits before, and a
//! concatenation that holds parts of several scales could hold none of them exactly. Changes of shape and orders of axes
//! in between stay where they are, so this pass comes before those that read past them.

use crate::graph::reason::OnHost;
use crate::graph::{FixedScale, Graph, HostOp, Layer, Node, NodeId, Op};
use crate::normalise::proto::{float_tensor, integer_tensor};
use scnn_isa::program::Dtype;
use tract_onnx::pb::NodeProto;

/// Runs the pass.
pub fn run(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for id in graph.order() {
        changes += usize::from(round_of_host(graph, id));
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

/// Rounds a value of the host as it enters the machine, if nobody else reads it or what is rounded, else on the host.
fn round_of_host(graph: &mut Graph, id: NodeId) -> bool {
    let (Some(grid), Op::Layer(layer)) = (graph.dag[id].grid, &graph.dag[id].op) else {
        return false;
    };
    if !layer.is_empty() {
        return false;
    }
    // The value, and its other shapes, which share its place.
    let mut places = graph.operands(id);
    while let Some(&place) = places.last() {
        match graph.dag[place].op {
            Op::Rename(_) => places.extend(graph.operands(place)),
            Op::Input | Op::HostOutput(_) => break,
            Op::Layer(_) | Op::Map(_) | Op::Concat | Op::Slice(_) | Op::Host(_) => return false,
        }
    }
    let ours = |&place: &NodeId| {
        let there = graph.dag[place].grid;
        let read_once = graph.consumers(place).len() == 1 && !graph.is_output(place);
        read_once && there.is_none_or(|there| grid.lies_on(there))
    };
    if !places.iter().all(ours) || !only_machine_reads(graph, id) {
        // The host has values as they are, and not as they were rounded on their way to the machine.
        if places.iter().any(|&place| graph.dag[place].grid.is_some()) {
            return false;
        }
        round_on_host(graph, id, grid);
        return true;
    }
    for &place in &places {
        graph.dag[place].grid = Some(grid);
    }
    graph.replace_uses(id, places[0]);
    graph.dag.remove_node(id);
    true
}

/// Makes a host node of a layer that rounds.
fn round_on_host(graph: &mut Graph, id: NodeId, grid: FixedScale) {
    let operand = graph.operands(id)[0];
    let node = graph.dag[id].clone();
    let host = rounding(&graph.dag[operand].tensor, &node, grid);
    let host = Node {
        grid: None,
        op: Op::Host(Box::new(host)),
        ..node.clone()
    };
    let host = graph.add(host, &[operand]);
    let result = Node {
        op: Op::HostOutput(0),
        onnx_nodes: Vec::new(),
        ..node
    };
    let result = graph.add(result, &[host]);
    graph.replace_uses(id, result);
    graph.dag.remove_node(id);
}

/// `QuantizeLinear`, `DequantizeLinear`, and a `Clip` to what integers of 8 or 16 bits have beyond the range.
fn rounding(input: &str, node: &Node, grid: FixedScale) -> HostOp {
    let part = |name: &str| format!("{}.{name}", node.tensor);
    let [low, high] = grid.range.map(i64::from);
    // In 8 bits if they hold the range, whose lower end is then their smallest.
    let (dtype, zero) = if (high - low) < 256 {
        (Dtype::I8, -128 - low)
    } else {
        (Dtype::I16, 0)
    };
    let bounds = grid.range.map(|bound| f32::from(bound) * grid.scale);
    let step = |operator: &str, operands: &[&str], to: &str| NodeProto {
        input: operands.iter().map(|&name| name.to_owned()).collect(),
        output: vec![to.to_owned()],
        name: format!("{to}:{operator}"),
        op_type: operator.to_owned(),
        ..NodeProto::default()
    };
    let [scale, zero_point, least, most] = ["scale", "zero", "least", "most"].map(part);
    let [integers, values] = ["integers", "unbounded"].map(part);
    HostOp {
        nodes: vec![
            step("QuantizeLinear", &[input, &scale, &zero_point], &integers),
            step(
                "DequantizeLinear",
                &[&integers, &scale, &zero_point],
                &values,
            ),
            step("Clip", &[&values, &least, &most], &node.tensor),
        ],
        initializers: vec![
            float_tensor(&scale, &[], &[grid.scale]),
            integer_tensor(&zero_point, dtype, zero),
            float_tensor(&least, &[], &bounds[..1]),
            float_tensor(&most, &[], &bounds[1..]),
        ],
        inputs: vec![input.to_owned()],
        outputs: vec![(node.tensor.clone(), Dtype::F32, node.dims.clone())],
        reasons: vec![OnHost::of_ours(
            node.onnx_nodes.first().unwrap_or(&node.tensor),
            "it rounds what the host has, and not for the machine alone",
        )],
        ..HostOp::default()
    }
}

/// Whether a result is read, by nodes of the machine alone, directly or under other names.
fn only_machine_reads(graph: &Graph, id: NodeId) -> bool {
    let consumers = graph.consumers(id);
    let by_machine = |&(consumer, _): &(NodeId, u32)| match graph.dag[consumer].op {
        Op::Layer(_) | Op::Concat | Op::Slice(_) => true,
        Op::Rename(_) => only_machine_reads(graph, consumer),
        Op::Input | Op::Map(_) | Op::Host(_) | Op::HostOutput(_) => false,
    };
    !consumers.is_empty() && !graph.is_output(id) && consumers.iter().all(by_machine)
}

/// A concatenation that is rounded.
struct RoundedConcat {
    concat: NodeId,
    /// The layer that bounds it before, if there is one, and the one that rounds it.
    layers: Vec<NodeId>,
    /// Other shapes and orders of axes in between, the last first.
    renames: Vec<NodeId>,
    clamp: Option<(f32, f32)>,
    grid: FixedScale,
}

/// The concatenation that the layer `id` rounds, if that is what it does and nothing else reads what lies between.
fn of_concat(graph: &Graph, id: NodeId) -> Option<RoundedConcat> {
    let grid = graph.dag[id].grid?;
    let (mut layers, mut renames, mut clamp, mut operand) = (vec![], vec![], None, id);
    loop {
        match &graph.dag[operand].op {
            Op::Layer(layer) => {
                let bounds_alone = layer.is_clamp_alone() && clamp.is_none();
                if !layer.is_empty() && !bounds_alone || layers.len() == 2 {
                    return None;
                }
                clamp = clamp.or(layer.clamp);
                layers.push(operand);
            }
            Op::Rename(_) if !layers.is_empty() => renames.push(operand),
            Op::Concat if !layers.is_empty() => break,
            _ => return None,
        }
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
    Some(RoundedConcat {
        concat: operand,
        layers,
        renames,
        clamp,
        grid,
    })
}

fn round_parts(graph: &mut Graph, rounding: &RoundedConcat) {
    let RoundedConcat {
        concat,
        layers,
        renames,
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
    for &layer in layers {
        let operand = graph.operands(layer)[0];
        graph.replace_uses(layer, operand);
        graph.dag.remove_node(layer);
    }
    for &place in renames.iter().chain([concat]) {
        // What it was called was not rounded.
        let name = unique(graph, &format!("{whole}.joined"));
        (graph.dag[place].grid, graph.dag[place].tensor) = (Some(*grid), name);
    }
    let result = renames.first().unwrap_or(concat);
    graph.dag[*result].tensor = whole;
    graph.dag[*concat].onnx_nodes.extend(names);
}

/// The name, longer where another tensor has it.
fn unique(graph: &Graph, name: &str) -> String {
    let mut name = name.to_owned();
    while graph.dag.node_weights().any(|node| node.tensor == name) {
        name.push('\'');
    }
    name
}
