//! Powers that a linear layer sums before their logarithm: what of the network runs on the host for the sake of their precision.
//!
//! The front end of an audio network weights the power of a spectrum by bands and takes the logarithm, or roots on the way:
//!
//! ```text
//! spectrum -> square -> sum of squares -> product with a matrix of bands -> log
//! ```
//!
//! A square needs twice the bits of what is squared. In 16 bits for the whole of a tensor the power of quiet bands is zero,
//! and the logarithm shows it, as [`enlarged`](crate::transform) has it for elementwise operators. So the whole chain runs on
//! the host in floats, the linear layers in it too; what crosses is the spectrum. That is worth it where these layers are
//! a small part of the network's work ([`MOST_OF_WORK`]): a matrix of bands is, for it is nearly empty.
//!
//! A variance is a sum of squares too, but of all channels of a position alike; its root stays on the array
//! (`import::typed_passes::normalisations`) where the activation RAMs hold its tensor.

use super::fallback::Fallback;
use crate::graph::computed_for::computed_for;
use crate::graph::expression::{Expression, Unary};
use crate::graph::{Graph, Layer, NodeId, Op};
use scnn_isa::machine::Machine;
use scnn_isa::program::Memory;
use std::collections::BTreeSet;

/// Largest share of the network's multiplications by weights other than zero that moves to the host.
pub(super) const MOST_OF_WORK: f64 = 0.25;

/// What runs on the host for each root or logarithm behind a linear layer of squares, but for the roots of variances that
/// the machine's RAMs have room for. `graph` is an imported one.
pub(super) fn summed(graph: &Graph, machine: &Machine) -> Vec<Fallback> {
    let order = graph.order();
    let steep = order.iter().filter(|&&id| is_steep(graph, id));
    // The linear layers of a chain that are the host's for other reasons sum what crosses the border, in 16 bits.
    let chains = steep.filter_map(|&id| {
        let taken = computed_for(graph, id, |id| passes(graph, id));
        let reached = behind_squares(graph, &order, &taken);
        let linear = |of: &NodeId| convolution(graph, *of).is_some() || multiplies(graph, *of);
        let layers: Vec<NodeId> = reached.iter().copied().filter(linear).collect();
        let nodes: Vec<NodeId> = reached
            .into_iter()
            .filter(|&of| !graph.dag[of].op.is_of_host())
            .collect();
        let variance = |&of: &NodeId| is_mean(graph, of) && !is_logarithm(graph, id);
        let is_variance = layers.iter().all(variance);
        let stays = is_variance && layers.iter().all(|&of| fits_in_ram(graph, of, machine));
        (!layers.is_empty() && !nodes.is_empty() && !stays).then_some(PowerChain {
            nodes,
            layers,
            is_variance,
        })
    });
    let chains: Vec<PowerChain> = chains.collect();
    if chains.is_empty() {
        return Vec::new();
    }
    let work_of = |nodes: &[NodeId]| nodes.iter().map(|&id| work(graph, id)).sum::<f64>();
    let most = MOST_OF_WORK * work_of(&order);
    let small = chains
        .into_iter()
        .filter(|chain| work_of(&chain.layers) <= most);
    small.map(|chain| chain.fallback(graph)).collect()
}

/// Squares, and what is computed of them up to a root or a logarithm.
struct PowerChain {
    nodes: Vec<NodeId>,
    /// The linear layers of them.
    layers: Vec<NodeId>,
    /// Whether these are means of a position's channels.
    is_variance: bool,
}

impl PowerChain {
    fn fallback(&self, graph: &Graph) -> Fallback {
        let first = &graph.dag[self.layers[0]];
        let name = first.onnx_nodes.first().unwrap_or(&first.tensor);
        let names = self.nodes.iter();
        Fallback {
            nodes: names
                .flat_map(|&of| graph.dag[of].onnx_nodes.clone())
                .collect(),
            reason: if self.is_variance {
                format!(
                    "`{name}` passes over its tensor seven times to normalise it, and the activation RAMs do not hold that"
                )
            } else {
                format!(
                    "`{name}` sums squares before a root or a logarithm, and 16 bits would lose the small ones"
                )
            },
            is_fault: false,
        }
    }
}

/// The convolution or matrix product of a node.
pub(super) fn convolution(graph: &Graph, id: NodeId) -> Option<&Layer> {
    match &graph.dag[id].op {
        Op::Layer(layer) if layer.conv.is_some() => Some(layer),
        _ => None,
    }
}

/// Whether a layer sums all channels of a position alike, as the variance of a normalisation does. The largest squares
/// decide such a sum at every position, and what rounding loses they drown.
fn is_mean(graph: &Graph, id: NodeId) -> bool {
    let conv = convolution(graph, id).and_then(|layer| layer.conv.as_ref());
    conv.is_some_and(|conv| {
        let mut weights = conv.weights.iter();
        let first = weights.next();
        conv.k == 1 && conv.c > 1 && weights.all(|weight| Some(weight) == first)
    })
}

/// Whether the activation RAMs hold what a layer reads. Where they do not, each pass over it is one over DRAM, and several
/// cost more than the host link.
fn fits_in_ram(graph: &Graph, id: NodeId, machine: &Machine) -> bool {
    read_by(graph, id) <= held(machine)
}

/// Values that one of the activation RAMs of all PEs together holds.
pub(super) fn held(machine: &Machine) -> u64 {
    machine.ram_elements(Memory::A) * u64::from(machine.pe_count())
}

/// Values of the largest operand of a node.
fn read_by(graph: &Graph, id: NodeId) -> u64 {
    let elements = |id: NodeId| graph.dag[id].dims.iter().product::<u64>();
    let operands = graph.operands(id).into_iter();
    operands.map(elements).max().unwrap_or(0)
}

/// Values that the largest mean over channels reads: a machine that does not hold them may send it to the host.
pub(super) fn largest_mean(graph: &Graph) -> u64 {
    let order = graph.order().into_iter();
    let means = order.filter(|&id| is_mean(graph, id));
    means.map(|id| read_by(graph, id)).max().unwrap_or(0)
}

fn is_logarithm(graph: &Graph, id: NodeId) -> bool {
    match &graph.dag[id].op {
        Op::Map(map) => matches!(map.expression, Expression::Unary(Unary::Log, _)),
        Op::Host(host) => host.nodes.iter().any(|node| node.op_type == "Log"),
        _ => false,
    }
}

/// Multiplications of a node by weights other than zero.
pub(super) fn work(graph: &Graph, id: NodeId) -> f64 {
    let images = graph.dag[id].shape().map_or(1, |shape| shape[0]);
    let conv = convolution(graph, id).and_then(|layer| layer.conv.as_ref());
    conv.map_or(0.0, |conv| {
        if conv.moves_only() {
            return conv.macs(images) as f64;
        }
        let nonzero = conv.weights.iter().filter(|&&weight| weight != 0.0).count();
        conv.macs(images) as f64 * nonzero as f64 / conv.weights.len().max(1) as f64
    })
}

/// Whether a node is a root or a logarithm of one tensor.
fn is_steep(graph: &Graph, id: NodeId) -> bool {
    match &graph.dag[id].op {
        Op::Map(map) => graph.operands(id).len() == 1 && map.expression.enlarges_small_values(),
        Op::Host(host) => {
            matches!(&host.nodes[..], [node] if matches!(&*node.op_type, "Log" | "Sqrt"))
        }
        _ => false,
    }
}

/// Whether a node squares what it reads.
fn squares(graph: &Graph, id: NodeId) -> bool {
    match &graph.dag[id].op {
        Op::Map(map) => graph.operands(id).len() == 1 && map.expression.multiplies_operands(),
        Op::Host(host) => host.nodes.iter().any(|node| match &*node.op_type {
            "Mul" => matches!(&node.input[..], [a, b] if a == b),
            "Pow" | "ReduceSumSquare" => true,
            _ => false,
        }),
        _ => false,
    }
}

/// Whether a node passes on what a root or a logarithm is taken of: functions, linear layers, and whatever is on the host or
/// only moves values.
fn passes(graph: &Graph, id: NodeId) -> bool {
    let node = &graph.dag[id];
    let passes = match &node.op {
        Op::Layer(layer) => layer.pool.is_none() && layer.operand.is_none(),
        Op::Input => false,
        Op::Map(_)
        | Op::Host(_)
        | Op::HostOutput(_)
        | Op::Rename(_)
        | Op::Concat
        | Op::Slice(_) => true,
    };
    passes && node.grid.is_none()
}

/// Whether a node is a linear layer on the host.
fn multiplies(graph: &Graph, id: NodeId) -> bool {
    let Op::Host(host) = &graph.dag[id].op else {
        return false;
    };
    let linear = |operator: &str| matches!(operator, "MatMul" | "Gemm" | "Conv" | "Einsum");
    host.nodes.iter().any(|node| linear(&node.op_type))
}

/// What of `taken` squares reach, and the squares, in order.
fn behind_squares(graph: &Graph, order: &[NodeId], taken: &BTreeSet<NodeId>) -> Vec<NodeId> {
    let mut reached = BTreeSet::new();
    for &id in order.iter().filter(|id| taken.contains(id)) {
        let operands = graph.operands(id);
        if squares(graph, id) || operands.iter().any(|operand| reached.contains(operand)) {
            reached.insert(id);
        }
    }
    let in_order = order.iter().copied();
    in_order.filter(|id| reached.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::expression::Binary;
    use crate::graph::weights::Weights;
    use crate::graph::{Conv, HostOp, Map};
    use crate::quantise::observed::{Observed, layer};
    use scnn_isa::plane::Axis;
    use tract_onnx::pb::NodeProto;

    const SEEN: (f32, f64) = (1.0, 1.0);

    fn map(expression: Expression) -> Op {
        Op::Map(Box::new(Map {
            expression,
            host: HostOp::default(),
        }))
    }

    /// A linear layer of two channels, with as many results as there are pairs of weights.
    fn product(weights: &[f32]) -> Op {
        layer(|layer| {
            layer.conv = Some(Conv {
                weights: Weights::from(weights.to_vec()),
                k: weights.len() as u32 / 2,
                c: 2,
                groups: 1,
                y: Axis::identity(2),
                x: Axis::identity(2),
            });
        })
    }

    #[test]
    fn the_largest_mean_is_over_channels_and_of_equal_weights() {
        let of = |weights: [f32; 2]| {
            let mut observed = Observed::default();
            let x = observed.add(("x", 2), SEEN, Op::Input, &[]);
            let y = observed.add(("y", 1), SEEN, product(&weights), &[x]);
            observed.output("y", y);
            largest_mean(&observed.graph)
        };
        // Two channels of 2 x 2 values.
        assert_eq!(of([0.5, 0.5]), 8);
        assert_eq!(of([0.5, 0.25]), 0);
    }

    /// The nodes on the host of `last(bands(first(spectrum(x))))`.
    fn hosted(first: Expression, bands: &[f32], last: Unary) -> Vec<String> {
        moved(first, product(bands), last)
    }

    fn moved(first: Expression, bands: Op, last: Unary) -> Vec<String> {
        let mut observed = Observed::default();
        let x = observed.add(("x", 2), SEEN, Op::Input, &[]);
        let a = observed.add(("a", 2), SEEN, product(&[1.0; 4]), &[x]);
        let s = observed.add(("s", 2), SEEN, product(&[1.0; 4]), &[a]);
        let p = observed.add(("p", 2), SEEN, map(first), &[s]);
        let r = observed.add(("r", 2), SEEN, Op::Rename(None), &[p]);
        let b = observed.add(("b", 2), SEEN, bands, &[r]);
        let y = Expression::unary(last, Expression::X);
        let y = observed.add(("y", 2), SEEN, map(y), &[b]);
        observed.output("y", y);
        let found = summed(&observed.graph, &Machine::preset("scnn").unwrap()).into_iter();
        found.flat_map(|fallback| fallback.nodes).collect()
    }

    #[test]
    fn squares_that_a_small_layer_sums_before_a_logarithm_are_the_host_s_with_it() {
        let square = || Expression::binary(Binary::Mul, Expression::X, Expression::X);
        let bands = [1.0, 0.0, 0.0, 1.0];
        assert_eq!(
            hosted(square(), &bands, Unary::Log),
            ["/p", "/r", "/b", "/y"]
        );
        assert_eq!(
            hosted(square(), &bands, Unary::Sqrt),
            ["/p", "/r", "/b", "/y"]
        );
        let none: [&str; 0] = [];
        assert_eq!(hosted(square(), &[1.0; 4], Unary::Log), none);
        assert_eq!(hosted(square(), &bands, Unary::Sigmoid), none);
        let rise = Expression::unary(Unary::Exp, Expression::X);
        assert_eq!(hosted(rise, &bands, Unary::Log), none);
    }

    #[test]
    fn squares_that_the_host_sums_are_the_host_s_too() {
        let square = Expression::binary(Binary::Mul, Expression::X, Expression::X);
        let host = |operator: &str| {
            let node = NodeProto {
                op_type: operator.to_owned(),
                ..NodeProto::default()
            };
            Op::Host(Box::new(HostOp {
                nodes: vec![node],
                ..HostOp::default()
            }))
        };
        let sums = moved(square.clone(), host("Einsum"), Unary::Log);
        assert_eq!(sums, ["/p", "/r", "/y"]);
        let none: [&str; 0] = [];
        assert_eq!(moved(square, host("Softmax"), Unary::Log), none);
    }
}
