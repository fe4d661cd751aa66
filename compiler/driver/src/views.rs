//! Reports for the viewers that people have open already: the numbers of a run on the nodes of the ONNX graph.
//!
//! A layer computes one or several ONNX nodes: a convolution, the normalisation after it, the activation. Its costs stand
//! at the first of them, which names the layer; the others say where theirs are. So the numbers of all nodes sum to the
//! report's totals, and none is a guess at how a fused layer's cycles divide. What a layer costs that computes no node of
//! the file stands at the model ([`Nodes::elsewhere`]).
//!
//! | view | for | made from |
//! | --- | --- | --- |
//! | [`netron`] | Netron, a side file that it attaches to a model | the report |
//! | [`folded`] | flame graphs, speedscope | the report |
//! | [`annotate`] | any reader of ONNX: the model, with `metadata_props` | the report and the model |
//! | [`model_explorer`] | Model Explorer's node data, a heat map | the report and the model |

mod annotate;
mod facts;
mod folded;
mod model_explorer;
mod netron;
mod wire;

pub use annotate::annotate;
pub use folded::folded;
pub use model_explorer::model_explorer;
pub use netron::netron;
pub use wire::NotOnnx;

use scnn_simulator::report::{Layer, Report};
use std::collections::BTreeMap;

/// The nodes that a report speaks of, and the layers that computed them.
#[derive(Debug)]
pub struct Nodes<'a> {
    /// In the order of execution; each node once.
    pub nodes: Vec<Node<'a>>,
    /// Layers that compute no node of the file.
    pub elsewhere: Vec<&'a Layer>,
}

/// An ONNX node, and the layers that computed it.
#[derive(Debug)]
pub struct Node<'a> {
    /// Its name in the file; nodes without one are called `Operator:result`.
    pub name: &'a str,
    /// Layers whose costs stand at this node.
    pub layers: Vec<&'a Layer>,
    /// Layers that compute it too, whose costs stand at their first node.
    pub part_of: Vec<&'a Layer>,
}

impl<'a> Nodes<'a> {
    /// The nodes of a report.
    pub fn of(report: &'a Report) -> Self {
        let mut index: BTreeMap<&str, usize> = BTreeMap::new();
        let mut this = Self {
            nodes: Vec::new(),
            elsewhere: Vec::new(),
        };
        for layer in &report.layers {
            if layer.onnx_nodes.is_empty() {
                this.elsewhere.push(layer);
            }
            for (position, name) in layer.onnx_nodes.iter().enumerate() {
                let at = *index.entry(name).or_insert(this.nodes.len());
                if at == this.nodes.len() {
                    this.nodes.push(Node {
                        name,
                        layers: Vec::new(),
                        part_of: Vec::new(),
                    });
                }
                let node = &mut this.nodes[at];
                if position == 0 {
                    node.layers.push(layer);
                } else {
                    node.part_of.push(layer);
                }
            }
        }
        this
    }
}

impl Node<'_> {
    /// Cycles of the layers whose costs stand here.
    pub fn cycles(&self) -> u64 {
        self.layers.iter().map(|l| l.costs.cycles.total).sum()
    }

    /// Energy of the layers whose costs stand here, pJ.
    pub fn energy_pj(&self) -> f64 {
        self.layers.iter().map(|l| l.costs.energy_pj.total).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use scnn_isa::machine::Machine;
    use scnnc::compile::{Options, compile};
    use std::path::{Path, PathBuf};

    pub(crate) fn lenet() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/lenet5.onnx")
    }

    pub(crate) fn report() -> Report {
        let options = Options::new(Machine::preset("scnn").unwrap());
        let compiled = compile(&lenet(), &options, &mut |_, _| {}).unwrap();
        let samples = crate::samples_or_noise(&compiled, Vec::new(), 1);
        crate::run(&compiled.program, &samples, crate::Options::default())
            .unwrap()
            .report
    }

    #[test]
    fn the_numbers_of_the_nodes_are_the_reports() {
        let mut report = report();
        report.layers[1].onnx_nodes.clear();
        let nodes = Nodes::of(&report);
        assert_eq!(nodes.elsewhere.len(), 1);
        let elsewhere = nodes.elsewhere[0].costs.cycles.total;
        let cycles: u64 = nodes.nodes.iter().map(Node::cycles).sum();
        assert_eq!(cycles + elsewhere, report.totals.cycles.total);
        assert!(
            nodes
                .nodes
                .iter()
                .any(|node| node.layers.is_empty() && !node.part_of.is_empty())
        );
    }
}
