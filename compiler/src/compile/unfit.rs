//! Functions that no table of the PPU comes near, and what of the network runs on the host because of that.
//!
//! A table is as fine as its 16-bit input: near 0 a logarithm falls by more from one input to the next than its output may
//! be off. Such a function runs on the host, and so does what of the PPU computes for it alone: the host then begins at
//! values that a convolution or the outside world gave, which no second rounding has coarsened. Behind a convolution a
//! function stays, as its table sees the sums finer than the host could be given them.

use super::fallback::Fallback;
use crate::graph::computed_for::computed_for;
use crate::graph::{Graph, NodeId, Op};
use crate::quantise::{IntFunction, IntLayer, Quantised};
use std::collections::BTreeMap;

/// Largest error of a table beyond rounding, as a share of the output's largest magnitude: 60 dB.
const TOLERATED: f64 = 1.0 / 1024.0;

/// What runs on the host for each function that no table comes near.
pub(super) fn unfit(graph: &Graph, network: &Quantised) -> Vec<Fallback> {
    let nodes = graph.dag.node_indices();
    let by_tensor: BTreeMap<&str, NodeId> = nodes
        .filter(|&id| is_of_ppu(graph, id))
        .map(|id| (graph.dag[id].tensor.as_str(), id))
        .collect();
    network
        .layers()
        .filter_map(|layer| {
            let reason = reason(layer, network)?;
            let &id = by_tensor.get(layer.tensor.as_str())?;
            let nodes = computed_for(graph, id, |id| is_of_ppu(graph, id))
                .into_iter()
                .flat_map(|id| graph.dag[id].onnx_nodes.clone())
                .collect();
            Some(Fallback {
                nodes,
                reason,
                is_fault: false,
            })
        })
        .collect()
}

/// Why a layer's function has no place on the PPU, if it has none.
fn reason(layer: &IntLayer, network: &Quantised) -> Option<String> {
    let Some(IntFunction::Table { approximates, .. }) = &layer.function else {
        return None;
    };
    let range = network.tensor(layer.destination.tensor).range;
    let most = f64::from(range[0].unsigned_abs().max(range[1].unsigned_abs()));
    let off = f64::from(approximates.largest_error);
    (off - 0.5 > most * TOLERATED).then(|| {
        format!(
            "a table of `{}` is off by up to {off:.1} of {most} units ({:.1} %)",
            approximates.function,
            100.0 * off / most
        )
    })
}

/// Whether a node is a layer of the PPU alone that leaves every value where it is.
fn is_of_ppu(graph: &Graph, id: NodeId) -> bool {
    match &graph.dag[id].op {
        Op::Layer(layer) => layer.conv.is_none() && layer.pool.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::expression::{Expression, Unary};
    use crate::graph::{Curve, Function};
    use crate::quantise::observed::{Observed, layer, rectifier};

    fn function(unary: Unary, argument: &str) -> Op {
        layer(|layer| {
            layer.function = Some(Function::Curve(Curve {
                expression: Expression::unary(unary, Expression::X),
                argument: argument.to_owned(),
            }));
        })
    }

    /// x -> a -> b -> log, and a second reader of a.
    #[test]
    fn a_function_goes_to_the_host_with_what_computes_for_it_alone() {
        let found = |last: Unary| {
            let mut observed = Observed::default();
            let x = observed.add(("x", 1), (3.0, 1.0), Op::Input, &[]);
            let a = observed.add(("a", 1), (3.0, 1.0), rectifier(), &[x]);
            let b = observed.add(("b", 1), (3.0, 1.0), function(Unary::Abs, "a"), &[a]);
            let y = observed.add(("y", 1), (20.0, 1.0), function(last, "b"), &[b]);
            let z = observed.add(("z", 1), (2.0, 1.0), rectifier(), &[a]);
            observed.output("y", y);
            observed.output("z", z);
            unfit(&observed.graph, &observed.network().unwrap())
        };
        let logarithm = found(Unary::Log);
        let [fallback] = &logarithm[..] else {
            panic!("{logarithm:?}")
        };
        assert_eq!(fallback.nodes, ["/b", "/y"]);
        assert!(
            fallback.reason.contains("a table of `log(x)` is off"),
            "{}",
            fallback.reason
        );
        assert_eq!(found(Unary::Tanh), []);
    }
}
