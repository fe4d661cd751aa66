//! Takes elementwise operators to the machine: straight lines and bounds become affine stages and clamps, other functions
//! of one operand slopes or tables, sums and products of two tensors operands of the PPU. What has no such form is work
//! for the host, with the reason; and so is what stands between operators of the host, where it costs no transfer and no
//! rounding, and what would lose too much by rounding (`enlarged.rs`).

use super::enlarged::enlarged;
use crate::graph::expression::line::{self, Line};
use crate::graph::expression::{Binary, Expression};
use crate::graph::placement::{self, Factor, Slot};
use crate::graph::{Affine, Curve, Function, Graph, HostOp, Layer, Map, Node, NodeId, Op, Operand};
use crate::import::nodes::activation::MAX_SLOPE;
use crate::import::reason_of;
use scnn_isa::layer::{OperandKind, OperandShape};
use scnn_isa::legal;
use scnn_isa::machine::Machine;
use scnn_isa::program::Dtype;
use std::collections::BTreeSet;

/// Runs the pass.
pub fn run(graph: &mut Graph, machine: &Machine) -> usize {
    let mut changes = 0;
    let enlarged = enlarged(graph);
    // Readers first, as where they run has a say.
    for id in graph.order().into_iter().rev() {
        let Op::Map(map) = &graph.dag[id].op else {
            continue;
        };
        let layer = if enlarged.contains(&id) {
            Err("it is part of a root, a logarithm or a quotient of products, whose small values 16 bits would lose".into())
        } else if between_hosts(graph, id) {
            Err("what it reads or what reads it runs on the host too".to_owned())
        } else {
            lower(graph, id, map, machine)
        };
        match layer {
            Ok((layer, operands)) => {
                let lies = graph.dag[id].placement.clone().unwrap_or_default();
                let over = match layer.operand.as_ref().map(|operand| operand.shape) {
                    Some(OperandShape::PerChannel) => placement::without_plane(&lies),
                    Some(OperandShape::Same) | None => lies.clone(),
                };
                graph.disconnect(id);
                for (slot, (operand, lies)) in operands.into_iter().zip([lies, over]).enumerate() {
                    let operand = graph.placed(operand, lies);
                    graph.dag.add_edge(operand, id, slot as u32);
                }
                graph.dag[id].op = Op::Layer(Box::new(layer));
            }
            Err(reason) => {
                let map = (**map).clone();
                to_host(graph, id, map, &reason);
            }
        }
        changes += 1;
    }
    changes
}

/// Whether all that reads a map runs on the host, and the map itself gains nothing on the machine: an operand comes from
/// there too, or it has one operand, as large as its result, and no layer that it could be a stage of. A mask of -10000 that
/// the host makes and that is added before its softmax would take all the bits of the sum.
fn between_hosts(graph: &Graph, id: NodeId) -> bool {
    if graph.is_output(id) || !read_by_host_alone(graph, id) {
        return false;
    }
    let operands = graph.operands(id);
    if operands.iter().any(|&operand| is_from_host(graph, operand)) {
        return true;
    }
    let [operand] = operands[..] else {
        return false;
    };
    match &graph.dag[operand].op {
        Op::Layer(layer) => layer.pool.is_some() || graph.consumers(operand).len() > 1,
        _ => true,
    }
}

/// Whether there are readers, and the host runs all of them, directly or under other names.
fn read_by_host_alone(graph: &Graph, id: NodeId) -> bool {
    let readers = graph.consumers(id);
    let on_host = |&(reader, _): &(NodeId, u32)| match graph.dag[reader].op {
        Op::Host(_) => true,
        Op::Rename(_) => !graph.is_output(reader) && read_by_host_alone(graph, reader),
        _ => false,
    };
    !readers.is_empty() && readers.iter().all(on_host)
}

/// Whether a value is the host's before it is the machine's.
fn is_from_host(graph: &Graph, id: NodeId) -> bool {
    match graph.dag[id].op {
        Op::Input | Op::HostOutput(_) => true,
        Op::Rename(_) => is_from_host(graph, graph.operands(id)[0]),
        _ => false,
    }
}

/// The layer of a map, and its operands.
fn lower(
    graph: &Graph,
    id: NodeId,
    map: &Map,
    machine: &Machine,
) -> Result<(Layer, Vec<NodeId>), String> {
    let node = &graph.dag[id];
    if node.dtype != Dtype::F32 {
        let dtype = node.dtype;
        return Err(format!(
            "its result is of type {dtype:?}; the array takes 32-bit floats"
        ));
    }
    let operands = graph.operands(id);
    if let Some(&other) = operands.iter().find(|&&o| graph.dag[o].dtype != Dtype::F32) {
        let Node { tensor, dtype, .. } = &graph.dag[other];
        return Err(format!(
            "`{tensor}` is of type {dtype:?}; the array takes 32-bit floats"
        ));
    }
    match *operands.as_slice() {
        [operand] if graph.dag[operand].dims == node.dims => {
            Ok((of_one(graph, operand, &map.expression)?, operands))
        }
        [a, b] => of_two(graph, id, [a, b], &map.expression, machine),
        _ => Err(format!("the PPU has no function `{}`", map.expression)),
    }
}

/// A function of one operand: without a table if that is possible.
fn of_one(graph: &Graph, operand: NodeId, expression: &Expression) -> Result<Layer, String> {
    let [_, channels, ..] = graph.dag[operand]
        .shape()
        .ok_or("it has no form [N, C, H, W]")?;
    let mut layer = Layer::default();
    if let Some(line) = line::line(expression) {
        layer.affine = affine(line, channels);
        if !line.is_unbounded() {
            layer.clamp = Some((line.low as f32, line.high as f32));
        }
        return Ok(layer);
    }
    if let Some((line, slope)) = line::leaky(expression)
        && slope.abs() <= f64::from(MAX_SLOPE)
    {
        layer.affine = affine(line, channels);
        layer.function = Some(Function::Leaky(vec![slope as f32; channels as usize]));
        return Ok(layer);
    }
    layer.function = Some(Function::Curve(Curve {
        expression: expression.clone(),
        argument: observed_name(graph, operand),
    }));
    Ok(layer)
}

fn affine(line: Line, channels: u32) -> Option<Affine> {
    let of = |value: f64| vec![value as f32; channels as usize];
    ([line.scale, line.offset] != [1.0, 0.0]).then(|| Affine {
        scale: of(line.scale),
        offset: of(line.offset),
    })
}

/// The name under which calibration knows the values of a node: a range of channels has those of the whole.
fn observed_name(graph: &Graph, mut id: NodeId) -> String {
    while matches!(graph.dag[id].op, Op::Slice(_)) {
        id = graph.operands(id)[0];
    }
    graph.dag[id].observed_name().clone()
}

/// A sum or product of two tensors.
fn of_two(
    graph: &Graph,
    id: NodeId,
    operands: [NodeId; 2],
    expression: &Expression,
    machine: &Machine,
) -> Result<(Layer, Vec<NodeId>), String> {
    let plain = [Expression::Operand(0), Expression::Operand(1)];
    let kind = match expression {
        Expression::Binary(Binary::Add, of) if **of == plain => OperandKind::Add,
        Expression::Binary(Binary::Mul, of) if **of == plain => OperandKind::Multiply,
        _ => {
            return Err(format!(
                "the PPU has no function `{expression}` of two tensors"
            ));
        }
    };
    let shape = |id: NodeId| graph.dag[id].shape().ok_or("it has no form [N, C, H, W]");
    let [n, c, h, w] = shape(id)?;
    let whole = |operand: NodeId| graph.dag[operand].dims == graph.dag[id].dims;
    let node = &graph.dag[id];
    let axes = node
        .placement
        .as_ref()
        .and_then(|lies| placement::axes(lies, &node.dims));
    let axes = axes.ok_or("it has no form [N, C, H, W]")?;
    // One value where an axis lies on rows and columns, all of them where it lies on images and channels.
    let over_plane = |operand: NodeId| {
        let dims = &graph.dag[operand].dims;
        let over = |axis: usize| {
            let of_plane = |f: &Factor| matches!(f.slot, Slot::Row | Slot::Column);
            let extent = if axes[axis].iter().any(of_plane) {
                1
            } else {
                node.dims[axis]
            };
            dims[axis] == extent && (extent != 1 || axes[axis].iter().all(of_plane))
        };
        dims.len() == node.dims.len() && (0..dims.len()).all(over)
    };
    let [a, b] = operands;
    let (values, other, lies) = if whole(a) && whole(b) {
        (a, b, OperandShape::Same)
    } else if whole(a) && over_plane(b) {
        (a, b, OperandShape::PerChannel)
    } else if whole(b) && over_plane(a) {
        (b, a, OperandShape::PerChannel)
    } else {
        let [a, b] = operands.map(|operand| &graph.dag[operand].dims);
        return Err(format!(
            "its operands are {a:?} and {b:?}; the PPU takes a second one of the same shape, or with one value for each \
             image and channel: [{n}, {c}, 1, 1] of [{n}, {c}, {h}, {w}]"
        ));
    };
    legal::operand(machine.ppu.multiply, kind, lies)?;
    let layer = Layer {
        operand: Some(Operand {
            kind,
            shape: lies,
            value: observed_name(graph, values),
        }),
        ..Layer::default()
    };
    Ok((layer, vec![values, other]))
}

/// Gives what is computed on the way to `result` names of its own: another map may compute the same.
fn own_names(host: &mut HostOp, result: &str) {
    let computed = host.nodes.iter().flat_map(|node| &node.output);
    let inner: BTreeSet<String> = computed.filter(|name| *name != result).cloned().collect();
    let names = host.nodes.iter_mut();
    for name in names.flat_map(|node| node.input.iter_mut().chain(&mut node.output)) {
        if inner.contains(name) {
            *name = format!("{name}:{result}");
        }
    }
}

/// Makes a map a node of the host; `id` stays the node of its result.
pub(crate) fn to_host(graph: &mut Graph, id: NodeId, map: Map, reason: &str) {
    let node = &graph.dag[id];
    let operands = graph.operands(id);
    let mut host = map.host;
    own_names(&mut host, &node.tensor);
    // A function of one operand may know it by several names.
    let operands = match *operands.as_slice() {
        [operand] => vec![operand; host.inputs.len()],
        _ => operands,
    };
    host.outputs = vec![(node.tensor.clone(), node.dtype, node.dims.clone())];
    let reasons = host.nodes.iter();
    host.reasons = reasons.map(|of| reason_of(of, reason.into())).collect();
    let host_node = Node {
        op: Op::Host(Box::new(host)),
        grid: None,
        ..node.clone()
    };
    graph.disconnect(id);
    let from = graph.add(host_node, &operands);
    graph.dag.add_edge(from, id, 0);
    graph.dag[id].op = Op::HostOutput(0);
    graph.dag[id].onnx_nodes = Vec::new();
}
