//! What of a model runs where: the numbers behind `scnnc check`.

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
    /// Multiplications of convolutions and matrix products that stay on the host, as far as shapes tell.
    pub host_macs: u64,
    /// Why each host node is there.
    pub reasons: Vec<String>,
}

impl Coverage {
    /// Counts a transformed graph.
    pub fn of(graph: &Graph) -> Self {
        let mut coverage = Self::default();
        // A node of which any part runs on the host is one of the host's.
        let (mut machine, mut host_nodes) = (BTreeSet::new(), BTreeSet::new());
        for id in graph.order() {
            let node = &graph.dag[id];
            match &node.op {
                Op::Layer(layer) => {
                    machine.extend(&node.onnx_nodes);
                    let images = node.shape().map_or(1, |shape| shape[0]);
                    coverage.machine_macs +=
                        layer.conv.as_ref().map_or(0, |conv| conv.macs(images));
                }
                Op::Concat | Op::Slice(_) | Op::Rename => machine.extend(&node.onnx_nodes),
                Op::Host(host) => {
                    host_nodes.extend(&node.onnx_nodes);
                    coverage.reasons.extend(host.reasons.iter().cloned());
                    coverage.host_macs += host_macs(host);
                }
                Op::Input | Op::Map(_) | Op::HostOutput(_) => {}
            }
        }
        coverage.host_nodes = host_nodes.len();
        coverage.machine_nodes = machine.difference(&host_nodes).count();
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

/// Each output of a convolution or product takes as many multiplications as its weights have per output channel.
fn host_macs(host: &crate::graph::HostOp) -> u64 {
    host.nodes
        .iter()
        .filter(|node| ["Conv", "ConvTranspose", "Gemm", "MatMul"].contains(&node.op_type.as_str()))
        .filter_map(|node| {
            let weights = host
                .initializers
                .iter()
                .find(|t| node.input.get(1) == Some(&t.name))?;
            let result = host
                .outputs
                .iter()
                .find(|(name, ..)| node.output.first() == Some(name))?;
            let per_output: i64 = weights.dims.iter().skip(1).product();
            Some(result.2.iter().product::<u64>() * per_output.max(1) as u64)
        })
        .sum()
}
