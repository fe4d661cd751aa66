//! One layer in integers, stage by stage: weights and product shift, requantisation, operand, function, bounds, average.

use super::equalise::{octaves_below, of_units};
use super::exact::Exact;
use super::layers::Builder;
use super::ppu::{
    Argument, ChannelUnits, Units, clamp_bounds, function_stage, requantise_channel, source_shift,
    widen_average,
};
use super::scales::observed;
use super::weights::{Limits, smallest_weight_unit};
use super::{IntConv, IntFunction, IntLayer, IntOperand, IntPool, QuantiseError, Tensor};
use crate::graph::{Conv, Curve, Function, Layer, NodeId, Operand};
use crate::widths;
use scnn_isa::arith::{self, LARGEST_MULTIPLIER, Requantise, Rounding};
use scnn_isa::layer::{OperandKind, View};
use scnn_isa::plane::TapPhases;
use scnn_isa::program::Ranges;

/// A layer of the graph, the channels that it reads and writes, and their tensors with scales.
pub(super) struct Stages<'a> {
    pub(super) id: NodeId,
    pub(super) layer: &'a Layer,
    pub(super) source: View,
    pub(super) operand: Option<View>,
    pub(super) destination: View,
}

impl Builder<'_> {
    /// The layer in integers.
    pub(super) fn layer(&mut self, stages: &Stages) -> Result<IntLayer, QuantiseError> {
        let Stages {
            id,
            layer,
            source,
            destination,
            ..
        } = *stages;
        let node = &self.graph.dag[id];
        let from = self.network.tensor(source.tensor).clone();
        let to = self.network.tensor(destination.tensor).clone();
        let name = self.unique(node.onnx_nodes.first().unwrap_or(&node.tensor));
        let (conv, weight_units) = match &layer.conv {
            None => (None, vec![1.0; destination.channels.len() as usize]),
            Some(conv) => {
                let (conv, units) = self.convolution(stages, conv, &from, &name)?;
                (Some(conv), units)
            }
        };
        let (function, inner) = self.function(stages, &from, &to)?;
        // A function's input has units of its own, not the model's.
        let rounding = match function {
            None => to.rounding,
            Some(_) => Rounding::Away,
        };
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
        let sums = match &conv {
            Some(conv) => Sums::OfProducts {
                units: &weight_units,
                shift: conv.product_shift,
            },
            None => Sums::Read {
                shift: source_shift,
            },
        };
        let behind = Behind {
            function: function.as_ref(),
            inner: &inner,
            met: &met,
        };
        let Exact {
            requantise,
            divisor,
        } = match rounding {
            Rounding::Even => Exact::of(layer, &from, &to, &weight_units, sums.product_unit()),
            Rounding::Away => Exact {
                requantise: self.requantise(stages, (&from, &to), sums, behind)?,
                divisor: 1.0,
            },
        };
        let operand = layer.operand.as_ref().zip(stages.operand);
        let operand = operand.map(|(with, view)| self.operand(id, (with, view), rounding, behind));
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
            operand: operand.transpose()?,
            clamp: clamp_bounds(layer.clamp, &to),
            pool: layer.pool.as_ref().map(|pool| IntPool {
                kind: pool.kind,
                y: pool.y,
                x: pool.x,
                multiplier: 1,
                shift: 0,
            }),
            function,
        };
        let affine = stages.layer.affine.as_ref();
        let factor = affine.map_or(1.0, |affine| f64::from(affine.scale[0]));
        widen_average(&mut layer, factor, &from, &to);
        Ok(layer)
    }

    /// The activation function in integers, and what stands before it: units of the output, or of the table's input.
    fn function(
        &self,
        stages: &Stages,
        from: &Tensor,
        to: &Tensor,
    ) -> Result<(Option<IntFunction>, ChannelUnits), QuantiseError> {
        let curve = match &stages.layer.function {
            Some(Function::Curve(curve)) => Some(curve),
            _ => None,
        };
        let span = curve.map(|curve| self.observed(stages.id, &curve.argument));
        let octaves_below = |channel| {
            let known = |curve: &Curve| octaves_below(self.calibration, &curve.argument, channel);
            curve.map_or(0.0, known).max(0.0) as u8
        };
        let argument = Argument {
            span: span.transpose()?.unwrap_or_default(),
            octaves_below: &octaves_below,
        };
        let written = (to, stages.destination.channels);
        let segments = self.machine.ppu.table_segments;
        Ok(function_stage(
            stages.layer,
            from,
            written,
            &argument,
            segments,
        ))
    }

    /// The convolution of the layer `name`, which reads `from`, and by output channel the real value of a weight's unit.
    fn convolution(
        &mut self,
        stages: &Stages,
        conv: &Conv,
        from: &Tensor,
        name: &str,
    ) -> Result<(IntConv, Vec<f32>), QuantiseError> {
        let per_output = conv.weights_per_output();
        let weights = of_units(conv, from, stages.source.channels);
        let phases = TapPhases::of(&conv.y, &conv.x);
        let limits = Limits {
            phases: &phases,
            weight: widths::magnitude(self.widths.weights(stages.id)) as f32,
            range: from.range,
            accumulator_bits: self.machine.pe.accumulator_bits,
            share: self.sum_share(name)?,
        };
        let least = |k| smallest_weight_unit(stages.layer, k, from.scale);
        let weights = limits.quantise(&weights, per_output, conv.weights.units(), least);
        let weights = weights.ok_or_else(|| QuantiseError::Accumulator {
            layer: name.to_owned(),
            products: per_output as u64,
            bits: limits.accumulator_bits,
        })?;
        let conv = IntConv {
            weights: self.weights.intern(weights.integers),
            groups: conv.groups,
            y: conv.y,
            x: conv.x,
            product_shift: weights.product_shift,
        };
        Ok((conv, weights.units))
    }

    /// Bias and factor of every output channel.
    fn requantise(
        &self,
        stages: &Stages,
        (from, to): (&Tensor, &Tensor),
        sums: Sums,
        behind: Behind,
    ) -> Result<Vec<Requantise>, QuantiseError> {
        let layer = stages.layer;
        let channel = |k: u32| {
            let read = stages.source.channels.begin + k;
            let written = stages.destination.channels.begin + k;
            let k = k as usize;
            let unit = match sums {
                // The weights contain the channel shifts of the source.
                Sums::OfProducts { units, .. } => f64::from(from.scale) * f64::from(units[k]),
                Sums::Read { shift } => f64::from(from.unit(read)) / f64::from(1u32 << shift),
            };
            let unit = unit * f64::from(sums.product_unit());
            let (scale, offset) = layer.affine.as_ref().map_or((1.0, 0.0), |affine| {
                (f64::from(affine.scale[k]), f64::from(affine.offset[k]))
            });
            let unit_behind = match (&layer.operand, behind.function) {
                // A product takes its source's values as they are, or in units of its own.
                (Some(with), _) if with.kind == OperandKind::Multiply => {
                    if layer.conv.is_none() && layer.affine.is_none() {
                        f64::from(from.unit(read))
                    } else {
                        behind.met.of(k).unit
                    }
                }
                // The units of a table's argument are its own.
                (_, Some(IntFunction::Table { .. })) => behind.inner.of(k).unit,
                _ => f64::from(to.unit(written)),
            };
            self.within_reach(stages.id, unit * scale / unit_behind)?;
            let offset = offset - behind.met.of(k).offset;
            Ok(requantise_channel(unit, scale, offset, unit_behind))
        };
        (0..stages.destination.channels.len())
            .map(channel)
            .collect()
    }

    /// The second tensor of the layer `id`.
    fn operand(
        &self,
        id: NodeId,
        (with, view): (&Operand, View),
        rounding: Rounding,
        behind: Behind,
    ) -> Result<IntOperand, QuantiseError> {
        let tensor = self.network.tensor(view.tensor);
        let scale = tensor.scale;
        // Between units that are not halved: values that meet an operand before a table have one unit in all channels.
        let met = match with.kind {
            OperandKind::Add => 1.0,
            OperandKind::Multiply => behind.met.of(0).unit,
        };
        let (multiplier, shift) = match rounding {
            Rounding::Even => arith::multiplier_of(scale),
            Rounding::Away => {
                let factor = met * f64::from(scale) / behind.inner.of(0).unit;
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
    }

    /// Fails where a layer would enlarge its source further than a multiplier can.
    fn within_reach(&self, id: NodeId, factor: f64) -> Result<(), QuantiseError> {
        // A factor of up to one more still rounds to the largest multiplier.
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

    /// Units of the values that meet the operand. A sum meets it in the units of the function's input, `inner`; a product in
    /// 16 bits of its own: the source's units where no stage stands before, else those of the observed range.
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

    /// The observed range of the tensor `name`, which is inside the layer `id`, with headroom.
    fn observed(&self, id: NodeId, name: &str) -> Result<[f64; 2], QuantiseError> {
        let range = observed(self.graph, self.calibration, id, name)?;
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

    /// Share of the proven bound of its sums for which a layer has to provide, 0..=1.
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
}

/// Input of requantisation.
#[derive(Clone, Copy)]
enum Sums<'a> {
    /// Sums of products of weights, which have a unit by output channel, rounded to 2^`shift`.
    OfProducts { units: &'a [f32], shift: u8 },
    /// Values of the source, shifted to the left.
    Read { shift: u8 },
}

impl Sums<'_> {
    /// Unit to which products are rounded.
    fn product_unit(self) -> f32 {
        match self {
            Self::OfProducts { shift, .. } => 2f32.powi(shift.into()),
            Self::Read { .. } => 1.0,
        }
    }
}

/// Units of the values after requantisation.
#[derive(Clone, Copy)]
struct Behind<'a> {
    /// The function.
    function: Option<&'a IntFunction>,
    /// Its input, or the result where there is none.
    inner: &'a ChannelUnits,
    /// Where the operand is met.
    met: &'a ChannelUnits,
}

#[cfg(test)]
mod tests {
    use super::super::observed::{Observed, assert_near, factor, layer, layers, rectifier, unit};
    use super::*;
    use crate::graph::expression::{Expression, Unary};
    use crate::graph::weights::Weights;
    use crate::graph::{Affine, Curve, Op};
    use scnn_isa::layer::OperandShape;
    use scnn_isa::plane::Axis;

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
}
