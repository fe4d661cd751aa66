//! The walk over the graph: every node as steps of the integer network.

use super::equalise::of_units;
use super::exact::Exact;
use super::ppu::{
    ChannelUnits, Units, clamp_bounds, function_stage, requantise_channel, source_shift,
    widen_average,
};
use super::scales::misnamed;
use super::storage::{self, Storage};
use super::weights::{Interned, Limits, smallest_weight_unit};
use super::widths::{self, Resolved};
use super::{
    HostStep, IntConv, IntFunction, IntLayer, IntOperand, IntPool, Options, QuantiseError,
    Quantised, Step, Tensor, Value,
};
use crate::calibrate::Calibration;
use crate::graph::{Function, Graph, Layer, NodeId, Op, Operand};
use scnn_isa::arith::{self, LARGEST_MULTIPLIER, Requantise, Rounding};
use scnn_isa::layer::{OperandKind, View};
use scnn_isa::machine::Machine;
use scnn_isa::program::Ranges;
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
    /// By name, how many steps were called so.
    pub(super) names: BTreeMap<String, u32>,
    pub(super) taken: BTreeSet<String>,
    pub(super) weights: Interned,
}

impl Builder<'_> {
    pub(super) fn step(&mut self, id: NodeId) -> Result<(), QuantiseError> {
        let graph = self.graph;
        match &graph.dag[id].op {
            Op::Layer(layer) => {
                let operands = graph.operands(id);
                let source = self.storage.view(operands[0]);
                let other = layer.operand.as_ref().map(|_| operands[1]);
                let operand = other.map(|id| self.storage.view(id));
                let destination = self.storage.own_view(id);
                let step = self.layer(id, layer, source, operand, destination)?;
                self.network.steps.push(Step::Layer(Box::new(step)));
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
                self.network.steps.push(Step::Host(Box::new(HostStep {
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
            let step = self.copy(id, copy);
            self.network.steps.push(Step::Layer(Box::new(step)));
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

    #[expect(clippy::too_many_lines)] // One field of the layer after the other.
    fn layer(
        &mut self,
        id: NodeId,
        layer: &Layer,
        source: View,
        operand: Option<View>,
        destination: View,
    ) -> Result<IntLayer, QuantiseError> {
        let node = &self.graph.dag[id];
        let from = self.network.tensor(source.tensor).clone();
        let to = self.network.tensor(destination.tensor).clone();
        let name = self.unique(node.onnx_nodes.first().unwrap_or(&node.tensor));
        let channels = destination.channels.len() as usize;

        let (conv, weight_scales) = match &layer.conv {
            None => (None, vec![1.0; channels]),
            Some(conv) => {
                let per_output = conv.weights_per_output();
                let limit = widths::magnitude(self.widths.weights(id)) as f32;
                let weights = of_units(conv, &from, source.channels);
                let limits = Limits {
                    weight: limit,
                    range: from.range,
                    accumulator_bits: self.machine.pe.accumulator_bits,
                    share: self.sum_share(&name)?,
                };
                let weights = limits
                    .quantise(&weights, per_output, conv.weights.units(), |k| {
                        smallest_weight_unit(layer, k, from.scale)
                    })
                    .ok_or_else(|| QuantiseError::Accumulator {
                        layer: name.clone(),
                        products: per_output as u64,
                        bits: limits.accumulator_bits,
                    })?;
                let scales = weights.units;
                let conv = IntConv {
                    weights: self.weights.intern(weights.integers),
                    groups: conv.groups,
                    y: conv.y,
                    x: conv.x,
                    product_shift: weights.product_shift,
                };
                (Some(conv), scales)
            }
        };

        // Before the activation function: in units of the output, or as the table's input.
        let observed = match &layer.function {
            Some(Function::Curve(curve)) => self.observed(id, &curve.argument)?,
            _ => [0.0; 2],
        };
        let segments = self.machine.ppu.table_segments;
        let written = (&to, destination.channels);
        let (function, inner) = function_stage(layer, &from, written, observed, segments);
        // A function's input is in units of its own, which are none of the model's.
        let rounding = match function {
            None => to.rounding,
            Some(_) => Rounding::Away,
        };
        let product_scale = conv
            .as_ref()
            .map_or(1.0, |conv| 2f32.powi(i32::from(conv.product_shift)));
        let met = match rounding {
            Rounding::Away => self.met(id, layer, &from, &inner)?,
            Rounding::Even => inner.clone(),
        };
        let source_shift = match (&conv, rounding) {
            (None, Rounding::Away) => {
                let units = source.channels.iter().map(|c| f64::from(from.unit(c)));
                source_shift(layer, units, &met)
            }
            _ => 0,
        };
        let Exact {
            requantise,
            divisor,
        } = match rounding {
            Rounding::Even => Exact::of(layer, &from, &to, &weight_scales, product_scale),
            Rounding::Away => {
                let channel = |k: usize| {
                    let read = source.channels.begin + k as u32;
                    let written = destination.channels.begin + k as u32;
                    let unit = match &conv {
                        // Its weights have the shifts of what it reads in them.
                        Some(_) => f64::from(from.scale) * f64::from(weight_scales[k]),
                        None => f64::from(from.unit(read)) / f64::from(1u32 << source_shift),
                    };
                    let (scale, offset) = layer.affine.as_ref().map_or((1.0, 0.0), |a| {
                        (f64::from(a.scale[k]), f64::from(a.offset[k]))
                    });
                    let unit = unit * f64::from(product_scale);
                    let unit_behind = match (&layer.operand, &function) {
                        // A product takes its source's values as they are, or in units of its own.
                        (Some(with), _) if with.kind == OperandKind::Multiply => {
                            if layer.conv.is_none() && layer.affine.is_none() {
                                f64::from(from.unit(read))
                            } else {
                                met.of(k).unit
                            }
                        }
                        // The units of a table's argument are its own.
                        (_, Some(IntFunction::Table { .. })) => inner.of(k).unit,
                        _ => f64::from(to.unit(written)),
                    };
                    self.within_reach(id, unit * scale / unit_behind)?;
                    let offset = offset - met.of(k).offset;
                    Ok(requantise_channel(unit, scale, offset, unit_behind))
                };
                let requantise = (0..channels).map(channel);
                Exact {
                    requantise: requantise.collect::<Result<_, QuantiseError>>()?,
                    divisor: 1.0,
                }
            }
        };
        let operand = layer.operand.as_ref().zip(operand);
        let operand = operand.map(|(with, view)| -> Result<IntOperand, QuantiseError> {
            let scale = self.network.tensor(view.tensor).scale;
            // No channel of what meets an operand before a table has a unit of its own.
            let met = match with.kind {
                OperandKind::Add => 1.0,
                OperandKind::Multiply => met.of(0).unit,
            };
            let (multiplier, shift) = match rounding {
                Rounding::Even => arith::multiplier_of(scale),
                Rounding::Away => {
                    let factor = met * f64::from(scale) / inner.of(0).unit;
                    self.within_reach(id, factor)?;
                    arith::multiplier_for(factor)
                }
            };
            Ok(IntOperand {
                view,
                kind: with.kind,
                shape: with.shape,
                multiplier,
                shift,
            })
        });
        let operand = operand.transpose()?;
        let clamp = clamp_bounds(layer.clamp, &to);
        let factor = layer.affine.as_ref().map_or(1.0, |a| f64::from(a.scale[0]));
        let pool = layer.pool.as_ref().map(|pool| IntPool {
            kind: pool.kind,
            y: pool.y,
            x: pool.x,
            multiplier: 1,
            shift: 0,
        });
        let mut layer = IntLayer {
            name,
            onnx_nodes: node.onnx_nodes.clone(),
            tensor: node.tensor.clone(),
            placement: node.permuted(),
            source,
            destination,
            conv,
            source_shift,
            requantise,
            rounding,
            divisor,
            operand,
            function,
            clamp,
            pool,
        };
        widen_average(&mut layer, factor, &from, &to);
        Ok(layer)
    }

    /// Fails where a layer would enlarge what it reads further than a multiplier does.
    fn within_reach(&self, id: NodeId, factor: f64) -> Result<(), QuantiseError> {
        // The largest is reached by rounding, too.
        if factor.abs() <= f64::from(LARGEST_MULTIPLIER) + 1.0 {
            return Ok(());
        }
        let node = &self.graph.dag[id];
        Err(QuantiseError::Unstorable {
            node: node.onnx_nodes.first().unwrap_or(&node.tensor).clone(),
            reason: format!(
                "its result is so much smaller than what it is computed of that this would be enlarged {factor:.0} times, and a \
                 multiplier is {LARGEST_MULTIPLIER} at most"
            ),
        })
    }

    /// What the values stand for that meet the operand; without a product those of the function's input, `inner`. A product
    /// takes them in 16 bits of their own: the source's where nothing is done before.
    fn met(
        &self,
        id: NodeId,
        layer: &Layer,
        from: &Tensor,
        inner: &ChannelUnits,
    ) -> Result<ChannelUnits, QuantiseError> {
        let product = |with: &&Operand| with.kind == OperandKind::Multiply;
        let Some(with) = layer.operand.as_ref().filter(product) else {
            return Ok(inner.clone());
        };
        let unit = if layer.conv.is_none() && layer.affine.is_none() {
            f64::from(from.scale)
        } else {
            let [low, high] = self.observed(id, &with.value)?;
            let reach = high.max(-low);
            if reach > 0.0 { reach / 32767.0 } else { 1.0 }
        };
        Ok(ChannelUnits::One(Units { unit, offset: 0.0 }))
    }

    /// What calibration observed of the tensor `name`, which is a step of the layer `id`, with headroom.
    fn observed(&self, id: NodeId, name: &str) -> Result<[f64; 2], QuantiseError> {
        let range = self.calibration.ranges.get(name);
        let range = range.ok_or_else(|| QuantiseError::MissingRange {
            tensor: name.to_owned(),
            node: self.graph.dag[id]
                .onnx_nodes
                .first()
                .cloned()
                .unwrap_or_default(),
            misnamed: misnamed(self.graph, self.calibration, name),
        })?;
        let room = f64::from(self.headroom);
        let away = |value: f64, sign: f64| {
            if value * sign > 0.0 {
                value * room
            } else {
                value / room
            }
        };
        let (low, high) = (f64::from(range.min), f64::from(range.max));
        Ok([away(low, -1.0), away(high.max(low), 1.0)])
    }

    /// What share of the proven bound of its sums a layer has to provide for, 0..=1.
    fn sum_share(&self, layer: &str) -> Result<f64, QuantiseError> {
        match self.options.ranges {
            Ranges::Proven => Ok(1.0),
            Ranges::Calibrated => {
                let observed = self.calibration.sums.get(layer);
                let observed = observed.ok_or_else(|| QuantiseError::MissingSums {
                    layer: layer.to_owned(),
                })?;
                Ok((observed * f64::from(self.options.sum_margin)).min(1.0))
            }
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

    /// A name that no step has yet: `name`, or it and a number.
    fn unique(&mut self, name: &str) -> String {
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
    use super::super::observed::{Observed, layer, layers, rectifier};
    use super::*;
    use crate::graph::expression::{Expression, Unary};
    use crate::graph::weights::Weights;
    use crate::graph::{Affine, Conv, Curve};
    use crate::quantise::IntFunction;
    use scnn_isa::layer::OperandShape;
    use scnn_isa::plane::Axis;

    /// What one unit of a tensor of values up to `max` stands for.
    fn unit(max: f64) -> f64 {
        max * 1.5 / 32767.0
    }

    fn factor((multiplier, shift): (i32, u8)) -> f64 {
        f64::from(multiplier) / 2f64.powi(shift.into())
    }

    fn assert_near(found: f64, wanted: f64) {
        assert!((found / wanted - 1.0).abs() < 1e-4, "{found}, not {wanted}");
    }

    /// A product takes its values in 16 bits: those of the source where nothing is done before, else of what was observed.
    #[test]
    fn a_product_is_of_two_tensors_in_their_own_units() {
        let product = |scaled: bool| {
            let mut observed = Observed::default();
            let x = observed.add(("x", 1), (5.0, 1.0), Op::Input, &[]);
            let z = observed.add(("z", 1), (3.0, 1.0), Op::Input, &[]);
            observed.add(("v", 1), (10.0, 1.0), Op::Input, &[]);
            let multiply = layer(|layer| {
                let (scale, offset) = (vec![2.0], vec![0.0]);
                layer.affine = scaled.then_some(Affine { scale, offset });
                layer.operand = Some(Operand {
                    kind: OperandKind::Multiply,
                    shape: OperandShape::Same,
                    value: if scaled { "v" } else { "x" }.to_owned(),
                });
            });
            let y = observed.add(("y", 1), (20.0, 1.0), multiply, &[x, z]);
            observed.output("y", y);
            let network = observed.network().unwrap();
            let [layer] = layers(&network)[..] else {
                panic!("one layer")
            };
            let (operand, channel) = (layer.operand.unwrap(), layer.requantise[0]);
            (
                factor((channel.multiplier, channel.shift)),
                factor((operand.multiplier, operand.shift)),
            )
        };
        let (before, after) = product(false);
        assert_near(before, 1.0);
        assert_near(after, unit(5.0) * unit(3.0) / unit(20.0));
        let (before, after) = product(true);
        assert_near(before, 2.0 * unit(5.0) / unit(10.0));
        assert_near(after, unit(10.0) * unit(3.0) / unit(20.0));
    }

    #[test]
    fn a_sum_is_taken_to_units_of_the_result() {
        let mut observed = Observed::default();
        let x = observed.add(("x", 1), (5.0, 1.0), Op::Input, &[]);
        let z = observed.add(("z", 2), (3.0, 1.0), Op::Input, &[]);
        let convolution = layer(|layer| {
            layer.conv = Some(Conv {
                weights: Weights::from(vec![0.5, -4.0]),
                k: 2,
                c: 1,
                groups: 1,
                y: Axis::identity(2),
                x: Axis::identity(2),
            });
            let (scale, offset) = (vec![1.0, 0.5], vec![2.0, -1.0]);
            layer.affine = Some(Affine { scale, offset });
            layer.operand = Some(Operand {
                kind: OperandKind::Add,
                shape: OperandShape::Same,
                value: "c".to_owned(),
            });
        });
        let y = observed.add(("y", 2), (20.0, 1.0), convolution, &[x, z]);
        observed.output("y", y);
        let network = observed.network().unwrap();
        let [layer] = layers(&network)[..] else {
            panic!("one layer")
        };
        let conv = layer.conv.as_ref().unwrap();
        assert_eq!(*conv.weights, [32767, -32767]);
        assert!(conv.product_shift > 0);
        let products = unit(5.0) * 2f64.powi(conv.product_shift.into()) / unit(20.0);
        for (k, (weight, scale, offset)) in
            [(0.5, 1.0, 2.0), (4.0, 0.5, -1.0)].into_iter().enumerate()
        {
            let channel = layer.requantise[k];
            let found = factor((channel.multiplier, channel.shift));
            assert_near(found, products * weight / 32767.0 * scale);
            assert_near(found * f64::from(channel.bias), offset / unit(20.0));
        }
        let operand = layer.operand.unwrap();
        assert_eq!(network.tensor(operand.view.tensor).name, "z");
        assert_near(factor((operand.multiplier, operand.shift)), 3.0 / 20.0);
        assert_eq!(layer.clamp, [-32767, 32767]);
    }

    /// The input of a table that lies on one side of 0 begins there, so the stage before it moves it.
    #[test]
    fn a_function_is_of_what_its_input_stands_for() {
        let mut observed = Observed::default();
        let x = observed.add(("x", 1), (3.0, 1.0), Op::Input, &[]);
        let p = observed.add(("p", 1), (3.0, 1.0), rectifier(), &[x]);
        let sigmoid = layer(|layer| {
            layer.function = Some(Function::Curve(Curve {
                expression: Expression::unary(Unary::Sigmoid, Expression::X),
                argument: "p".to_owned(),
            }));
        });
        let y = observed.add(("y", 1), (1.0, 1.0), sigmoid, &[p]);
        observed.output("y", y);
        let network = observed.network().unwrap();
        let [_, layer] = layers(&network)[..] else {
            panic!("two layers")
        };
        let Some(IntFunction::Table { tables, .. }) = &layer.function else {
            panic!("a table")
        };
        for value in [0, 9_000, 32_767] {
            let read = arith::source(value, layer.source_shift);
            let found = tables.of(0).at(layer.requantise[0].apply(read));
            let real = f64::from(value) * unit(3.0);
            let wanted = 1.0 / (1.0 + (-real).exp());
            let stored = f64::from(network.tensor(layer.destination.tensor).scale);
            assert_near(f64::from(found) * stored / wanted, 1.0);
        }
    }

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
