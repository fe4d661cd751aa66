//! What of a model runs where: the numbers behind `scnnc check`.

use crate::graph::reason::OnHost;
use crate::graph::{Graph, Op};
use std::collections::BTreeSet;

/// Where the nodes of a model run.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// ONNX nodes on the machine.
    pub machine_nodes: usize,
    /// ONNX nodes on the host.
    pub host_nodes: usize,
    /// Multiplications of a dense machine that the array takes over.
    pub machine_macs: u64,
    /// Multiplications of two tensors that stay on the host: convolutions, products, recurrences, equations.
    pub host_macs: u64,
    /// Why each host node is there.
    pub reasons: Vec<OnHost>,
}

impl Coverage {
    /// Counts a transformed graph.
    pub fn of(graph: &Graph) -> Self {
        let mut coverage = Self::default();
        // A node whose products the array computes is the machine's, though the host may round its operands or put its
        // sums together; of all others one part on the host makes them the host's.
        let (mut machine, mut multiplied) = (BTreeSet::new(), BTreeSet::new());
        let mut host_nodes = BTreeSet::new();
        let has_layers = graph.has_layers();
        for id in graph.order() {
            let node = &graph.dag[id];
            match &node.op {
                Op::Layer(layer) => {
                    machine.extend(&node.onnx_nodes);
                    if let (Some(_), Some(name)) = (&layer.conv, node.onnx_nodes.first()) {
                        multiplied.insert(name);
                    }
                    let images = node.shape().map_or(1, |shape| shape[0]);
                    coverage.machine_macs +=
                        layer.conv.as_ref().map_or(0, |conv| conv.macs(images));
                }
                Op::Concat | Op::Slice(_) | Op::Rename(_) if has_layers => {
                    machine.extend(&node.onnx_nodes);
                }
                // Views without a layer that they serve: the host's, as a model of them alone is refused.
                Op::Concat | Op::Slice(_) | Op::Rename(_) => host_nodes.extend(&node.onnx_nodes),
                Op::Host(host) => {
                    host_nodes.extend(&node.onnx_nodes);
                    coverage.reasons.extend(host.reasons.iter().cloned());
                    coverage.host_macs += host.multiplications;
                }
                Op::Input | Op::Map(_) | Op::HostOutput(_) => {}
            }
        }
        coverage.host_nodes = host_nodes.difference(&multiplied).count();
        coverage.machine_nodes = machine.union(&host_nodes).count() - coverage.host_nodes;
        coverage
    }

    /// Share of nodes on the machine, 0..=1.
    pub fn node_share(&self) -> f64 {
        share(self.machine_nodes as u64, self.host_nodes as u64)
    }

    /// Share of multiplications on the machine, 0..=1.
    pub fn mac_share(&self) -> f64 {
        share(self.machine_macs, self.host_macs)
    }
}

fn share(here: u64, there: u64) -> f64 {
    if here + there == 0 {
        0.0
    } else {
        here as f64 / (here + there) as f64
    }
}
