//! The walk over the graph: every node as operations of the integer network.

use super::stages::Stages;
use super::storage::{self, Storage};
use super::weights::Interned;
use super::{HostOperation, IntLayer, Operation, Options, QuantiseError, Quantised, Value};
use crate::calibrate::Calibration;
use crate::graph::{Graph, NodeId, Op};
use crate::widths::Resolved;
use scnn_isa::arith::{self, Requantise, Rounding};
use scnn_isa::machine::Machine;
use std::collections::{BTreeMap, BTreeSet};

/// The network under construction.
pub(super) struct Builder<'a> {
    pub(super) graph: &'a Graph,
    pub(super) storage: &'a Storage,
    pub(super) machine: &'a Machine,
    pub(super) options: &'a Options,
    pub(super) calibration: &'a Calibration,
    pub(super) widths: &'a Resolved,
    pub(super) headroom: f32,
    pub(super) network: Quantised,
    pub(super) values: BTreeMap<String, usize>,
    /// By name, the number of operations that asked for it.
    pub(super) names: BTreeMap<String, u32>,
    pub(super) taken: BTreeSet<String>,
    pub(super) weights: Interned,
}

impl Builder<'_> {
    pub(super) fn operation(&mut self, id: NodeId) -> Result<(), QuantiseError> {
        let graph = self.graph;
        match &graph.dag[id].op {
            Op::Layer(layer) => {
                let operands = graph.operands(id);
                let source = self.storage.view(operands[0]);
                let other = layer.operand.as_ref().map(|_| operands[1]);
                let operand = other.map(|id| self.storage.view(id));
                let destination = self.storage.own_view(id);
                let operation = self.layer(&Stages {
                    id,
                    layer,
                    source,
                    operand,
                    destination,
                })?;
                self.network
                    .operations
                    .push(Operation::Layer(Box::new(operation)));
            }
            Op::Host(host) => {
                let operands = graph.operands(id);
                let inputs = operands
                    .iter()
                    .zip(&host.inputs)
                    .map(|(&o, name)| self.named_value(name, o))
                    .collect();
                let mut results: Vec<(u32, NodeId)> = graph
                    .consumers(id)
                    .into_iter()
                    .filter_map(|(consumer, _)| match graph.dag[consumer].op {
                        Op::HostOutput(index) => Some((index, consumer)),
                        _ => None,
                    })
                    .collect();
                results.sort_unstable();
                let outputs = results
                    .into_iter()
                    .map(|(_, node)| self.value(node))
                    .collect();
                let model =
                    crate::transform::partition_host::host_model(graph, id).unwrap_or_default();
                let name = self.unique(&format!(
                    "host.{}",
                    graph.dag[id].onnx_nodes.first().map_or("segment", |n| n)
                ));
                let onnx_nodes = graph.dag[id].onnx_nodes.clone();
                self.network
                    .operations
                    .push(Operation::Host(Box::new(HostOperation {
                        name,
                        onnx_nodes,
                        runtime: host.runtime,
                        model,
                        inputs,
                        outputs,
                    })));
            }
            Op::Input
            | Op::Map(_)
            | Op::Concat
            | Op::Slice(_)
            | Op::Rename(_)
            | Op::HostOutput(_) => {}
        }
        // A result that must also stand alone (host operand, second concatenation, copied input) is copied by the PPU.
        for copy in self.storage.copies(id) {
            let operation = self.copy(id, copy);
            self.network
                .operations
                .push(Operation::Layer(Box::new(operation)));
        }
        Ok(())
    }

    fn copy(&mut self, id: NodeId, copy: storage::Copy) -> IntLayer {
        let (source, destination) = (copy.source, copy.destination);
        let (from, to) = (
            self.network.tensor(source.tensor),
            self.network.tensor(destination.tensor),
        );
        let rounding = to.rounding;
        let channel = |(read, written)| {
            let (from, to) = (from.unit(read), to.unit(written));
            let (multiplier, shift) = match rounding {
                Rounding::Away => arith::multiplier_for(f64::from(from) / f64::from(to)),
                Rounding::Even => arith::multiplier_of(from),
            };
            Requantise {
                bias: 0,
                multiplier,
                shift,
                offset: 0.0,
            }
        };
        let pairs = source.channels.iter().zip(destination.channels.iter());
        let requantise = pairs.map(channel).collect();
        let divisor = match rounding {
            Rounding::Away => 1.0,
            Rounding::Even => to.scale,
        };
        let clamp = to.range;
        let name = self.unique(&format!("{}.copy", self.graph.dag[id].tensor));
        IntLayer {
            name,
            onnx_nodes: self.graph.dag[copy.on_behalf_of].onnx_nodes.clone(),
            tensor: self.graph.dag[id].tensor.clone(),
            placement: self.graph.dag[id].permuted(),
            source,
            destination,
            conv: None,
            source_shift: 0,
            requantise,
            rounding,
            divisor,
            operand: None,
            function: None,
            clamp,
            pool: None,
        }
    }

    pub(super) fn value(&mut self, node: NodeId) -> usize {
        let name = self.graph.dag[node].tensor.clone();
        self.named_value(&name, node)
    }

    pub(super) fn named_value(&mut self, name: &str, node: NodeId) -> usize {
        if let Some(&index) = self.values.get(name) {
            return index;
        }
        let data = &self.graph.dag[node];
        let index = self.network.values.len();
        let tensor = self.storage.whole(node);
        self.network.values.push(Value {
            name: name.to_owned(),
            dtype: data.dtype,
            declared: self.graph.declared.get(name).copied(),
            dims: data.dims.clone(),
            tensor,
            placement: tensor.and_then(|_| data.permuted()),
        });
        self.values.insert(name.to_owned(), index);
        index
    }

    /// A name that no operation has yet: `name`, or it and a number.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        while !self.taken.insert(unique.clone()) {
            let count = self.names.entry(name.to_owned()).or_insert(1);
            *count += 1;
            unique = format!("{name}#{count}");
        }
        unique
    }
}

#[cfg(test)]
mod tests {
    use super::super::observed::{Observed, assert_near, factor, layers, rectifier};
    use super::*;
    use scnn_isa::layer::View;

    /// An input that is concatenated is copied into the whole, and what the host reads of the whole out of it.
    #[test]
    fn a_copy_takes_values_to_units_of_where_they_go() {
        let mut observed = Observed::default();
        let x = observed.add(("x", 1), (2.0, 1.0), Op::Input, &[]);
        let z = observed.add(("z", 3), (7.0, 1.0), Op::Input, &[]);
        let p = observed.add(("p", 3), (5.0, 1.0), rectifier(), &[z]);
        let all = observed.add(("all", 4), (5.0, 1.0), Op::Concat, &[x, p]);
        let y = observed.add(("y", 4), (5.0, 1.0), rectifier(), &[all]);
        observed.output("y", y);
        observed.output("p", p);
        let network = observed.network().unwrap();
        let names = |layer: &IntLayer| {
            let of = |view: View| {
                (
                    network.tensor(view.tensor).name.clone(),
                    view.channels.begin,
                )
            };
            (layer.name.clone(), of(layer.source), of(layer.destination))
        };
        let at = |name: &str, channel| (name.to_owned(), channel);
        let found: Vec<_> = layers(&network)
            .into_iter()
            .filter(|l| l.name.contains("copy"))
            .collect();
        assert_eq!(
            found.iter().map(|layer| names(layer)).collect::<Vec<_>>(),
            [
                ("x.copy".to_owned(), at("x", 0), at("all", 0)),
                ("p.copy".to_owned(), at("all", 1), at("p", 0)),
            ]
        );
        for (layer, wanted) in found.iter().zip([2.0 / 5.0, 5.0 / 5.0]) {
            assert_eq!(
                layer.requantise.len(),
                layer.destination.channels.len() as usize
            );
            for channel in &layer.requantise {
                assert_eq!(channel.bias, 0);
                assert_near(factor((channel.multiplier, channel.shift)), wanted);
            }
        }
        let value = |&index: &usize| network.values[index].name.as_str();
        assert_eq!(
            network.inputs.iter().map(value).collect::<Vec<_>>(),
            ["x", "z"]
        );
        assert_eq!(
            network.outputs.iter().map(value).collect::<Vec<_>>(),
            ["y", "p"]
        );
        for value in &network.values {
            assert_eq!(network.tensor(value.tensor.unwrap()).name, value.name);
        }
    }
}
