//! Scale, width and range of every stored tensor.

use super::storage::{Storage, Stored};
use super::{QuantiseError, Tensor};
use crate::calibrate::{Calibration, Range};
use crate::graph::{Curve, FixedScale, Function, Graph, Layer, NodeId, Op};
use crate::widths::{self, Resolved};
use scnn_isa::arith::{LARGEST_MULTIPLIER, Rounding};
use scnn_isa::layer::OperandKind;
use scnn_isa::verify::holds_range;
use scnn_isa::yaml::nearest;

/// Values below are zeros: a unit of theirs would be no normal float.
pub(super) const SMALLEST: f32 = f32::MIN_POSITIVE * 65536.0;

/// Headroom ends here: the integers of no tensor stand for more than the largest float.
const LARGEST: f32 = f32::MAX * (32766.0 / 32767.0);

/// The network, ranges and settings on which scales depend.
#[derive(Clone, Copy)]
pub(super) struct Scales<'a> {
    pub(super) graph: &'a Graph,
    pub(super) calibration: &'a Calibration,
    pub(super) widths: &'a Resolved,
    pub(super) operand_bits: u32,
    /// Factor on observed ranges.
    pub(super) headroom: f32,
}

impl Scales<'_> {
    /// Scale and range of every stored tensor: the widest of everything that is written into it.
    pub(super) fn tensors(self, storage: &Storage) -> Result<Vec<Tensor>, QuantiseError> {
        let tensors = storage.tensors.iter().map(|stored| {
            let on_grid = self.on_grid(stored);
            on_grid.map_or_else(|| self.of_ranges(stored), Ok)
        });
        tensors.collect()
    }

    /// A tensor whose values reach as far as calibration observed, with headroom.
    fn of_ranges(self, stored: &Stored) -> Result<Tensor, QuantiseError> {
        let graph = self.graph;
        let writers = stored.writers.iter();
        let bits = writers
            .map(|&node| self.widths.activations(graph, node))
            .max();
        let limit = widths::magnitude(bits.unwrap_or(self.widths.of_network()));
        let (mut magnitude, mut low) = (0f32, 0f32);
        let (mut nonzero, mut total) = (0f64, 0f64);
        for &node in &stored.writers {
            if let Some(FixedScale {
                scale,
                range: [least, most],
            }) = graph.dag[node].grid
            {
                // Of several grids the widest is held.
                let reach = scale * f32::from(least.saturating_neg().max(most));
                magnitude = magnitude.max(reach);
                low = low.min(scale * f32::from(least));
                continue;
            }
            let name = graph.dag[node].observed_name();
            let range = observed(graph, self.calibration, node, name)?;
            let [least, most] = self.bounds(node);
            let reach = range.max.abs().max(range.min.abs());
            let reach = (reach * self.headroom).min(LARGEST);
            magnitude = magnitude.max(reach.min(most.max(-least)));
            low = low.min(least);
            let elements = graph.dag[node].dims.iter().product::<u64>() as f64;
            nonzero += range.density * elements;
            total += elements;
        }
        if magnitude < SMALLEST * self.headroom {
            magnitude = 1.0;
        }
        if !magnitude.is_finite() {
            return Err(self.beyond_floats(stored));
        }
        let (scale, high) = (self.unit(stored, magnitude, limit), limit as i16);
        Ok(Tensor {
            name: stored.name.clone(),
            shape: stored.shape,
            scale,
            channel_shifts: Vec::new(),
            range: [((low / scale).floor() as i16).clamp(-high, 0), high],
            rounding: Rounding::Away,
            density: if total > 0.0 { nonzero / total } else { 1.0 },
        })
    }

    /// The unit of which `limit` reach to `magnitude`; larger, by less than an octave, where values that are multiples of a
    /// spacing stay exact with it.
    fn unit(self, stored: &Stored, magnitude: f32, limit: i32) -> f32 {
        let smallest = magnitude / limit as f32;
        let spacing = self.calibration.spacings.get(&stored.name);
        // As doubles, whose range holds every quotient of two floats.
        let octaves =
            spacing.map(|&spacing| (f64::from(spacing) / f64::from(smallest)).log2().floor());
        match (spacing, octaves) {
            (Some(&spacing), Some(octaves)) if octaves >= 0.0 && magnitude < LARGEST / 2.0 => {
                (f64::from(spacing) * (-octaves).exp2()) as f32
            }
            _ => smallest,
        }
    }

    fn beyond_floats(self, stored: &Stored) -> QuantiseError {
        let writer = stored.writers.first();
        let names = writer.map(|&node| &self.graph.dag[node].onnx_nodes);
        QuantiseError::Unstorable {
            node: names
                .and_then(|names| names.first().cloned())
                .unwrap_or_default(),
            reason: format!(
                "the values of tensor `{}` reach beyond the largest float",
                stored.name
            ),
        }
    }

    /// A tensor whose writers all round to one grid, which is the model's own quantisation.
    fn on_grid(self, stored: &Stored) -> Option<Tensor> {
        let first = *stored.writers.first()?;
        let grid = self.graph.dag[first].grid?;
        let same = |&node: &NodeId| self.graph.dag[node].grid == Some(grid);
        let mut held = grid;
        let positive = |&node: &NodeId| self.bounds(node)[0] >= 0.0;
        if stored.writers.iter().all(positive) {
            // Without negative values, the sums that read the tensor have half the bound.
            held.range[0] = held.range[0].max(0);
        }
        // Units of twice the size for an operand of too few bits.
        while !holds_range(self.operand_bits, held.range) {
            held.scale *= 2.0;
            held.range = held.range.map(|bound| bound / 2);
        }
        stored.writers.iter().all(same).then(|| Tensor {
            name: stored.name.clone(),
            shape: stored.shape,
            scale: held.scale,
            channel_shifts: Vec::new(),
            range: held.range,
            rounding: Rounding::Even,
            density: self
                .calibration
                .ranges
                .get(self.graph.dag[first].observed_name())
                .map_or(1.0, |range| range.density),
        })
    }

    /// The values that a node can have by construction: what its clamp and its function leave, of what calibration observed
    /// of the function's argument, with headroom.
    fn bounds(self, node: NodeId) -> [f32; 2] {
        let graph = self.graph;
        let of = |operand: NodeId| self.bounds(operand);
        let of_first = || graph.operands(node).first().copied().map_or(UNBOUNDED, of);
        match &graph.dag[node].op {
            Op::Layer(layer) => {
                let [low, high] = match &layer.function {
                    Some(Function::Curve(curve)) => {
                        let observed = self.calibration.ranges.get(&curve.argument);
                        observed.map_or(UNBOUNDED, |range| extremes(curve, range, self.headroom))
                    }
                    _ if layer.is_pool_only() && layer.clamp.is_none() => of_first(),
                    _ => UNBOUNDED,
                };
                let (least, most) = layer.clamp.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
                [low.max(least), high.min(most)]
            }
            Op::Concat => {
                let operands = graph.operands(node).into_iter().map(of);
                operands.fold([0.0, 0.0], |[low, high], [least, most]| {
                    [low.min(least), high.max(most)]
                })
            }
            Op::Slice(_) | Op::Rename(_) => of_first(),
            Op::Input | Op::Map(_) | Op::Host(_) | Op::HostOutput(_) => UNBOUNDED,
        }
    }
}

/// Keeps the units of what a layer of the PPU alone adds up at least as large as a multiplier can take its operands' to: a
/// difference of nearly equal values may be so small that no multiplier enlarges them as far. They carry no more than that.
pub(super) fn bound_units(graph: &Graph, storage: &Storage, tensors: &mut [Tensor]) {
    for id in graph.order() {
        let Op::Layer(layer) = &graph.dag[id].op else {
            continue;
        };
        let adds = layer
            .operand
            .as_ref()
            .is_none_or(|operand| operand.kind == OperandKind::Add);
        let result = storage.view(id).tensor.index();
        let own_grid = tensors[result].rounding == Rounding::Even;
        if layer.conv.is_some() || layer.function.is_some() || !adds || own_grid {
            continue;
        }
        let scales = layer.affine.iter().flat_map(|affine| &affine.scale);
        let largest = scales.fold(1.0, |most: f32, scale| most.max(scale.abs()));
        let factors = std::iter::once(largest).chain(std::iter::repeat(1.0));
        for (operand, factor) in graph.operands(id).into_iter().zip(factors) {
            let unit = tensors[storage.view(operand).tensor.index()].scale * factor;
            let smallest = unit / LARGEST_MULTIPLIER as f32;
            tensors[result].scale = tensors[result].scale.max(smallest);
        }
    }
}

/// The observed range of the tensor `name`, which `node` computes or has inside.
pub(super) fn observed<'a>(
    graph: &Graph,
    calibration: &'a Calibration,
    node: NodeId,
    name: &str,
) -> Result<&'a Range, QuantiseError> {
    let range = calibration.ranges.get(name);
    range.ok_or_else(|| QuantiseError::MissingRange {
        tensor: name.to_owned(),
        misnamed: misnamed(graph, calibration, name),
        node: graph.dag[node]
            .onnx_nodes
            .first()
            .cloned()
            .unwrap_or_default(),
    })
}

/// The name in the calibration that is most like `name` and that the graph does not have.
fn misnamed(graph: &Graph, calibration: &Calibration, name: &str) -> Option<String> {
    let known: Vec<&str> = graph
        .dag
        .node_weights()
        .map(|n| n.tensor.as_str())
        .collect();
    let strangers = calibration.ranges.keys().map(String::as_str);
    nearest(name, strangers.filter(|name| !known.contains(name))).map(str::to_owned)
}

/// Bounds where none are known by construction.
const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// Arguments at which a curve is sampled.
const LOOKED_AT: u32 = 1024;

/// The least and the greatest sampled value of a curve, widened a little for the arguments between samples.
fn extremes(curve: &Curve, argument: &Range, headroom: f32) -> [f32; 2] {
    let [low, high] = [argument.min, argument.max].map(|bound| f64::from(bound * headroom));
    let [low, high] = [low.min(0.0), high.max(0.0)];
    let apart = (high - low) / f64::from(LOOKED_AT);
    let values = (0..=LOOKED_AT).map(|n| curve.expression.at(&[low + apart * f64::from(n)]));
    let [least, most] = values.fold([0f64; 2], |[least, most], value| {
        [least.min(value), most.max(value)]
    });
    [least, most].map(|bound| (bound * (1.0 + 1.0 / 64.0)) as f32)
}

impl Layer {
    fn is_pool_only(&self) -> bool {
        self.conv.is_none()
            && self.affine.is_none()
            && self.operand.is_none()
            && self.function.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::expression::{Binary, Expression};
    use crate::graph::{Affine, Operand};
    use crate::quantise::observed::{Observed, layer, rectifier};
    use scnn_isa::layer::{OperandKind, OperandShape};

    /// The scale of an input whose values reach `max`.
    fn scale_of(max: f32) -> Result<f32, QuantiseError> {
        let mut observed = Observed::default();
        let x = observed.add(("x", 1), (max, 1.0), Op::Input, &[]);
        let y = observed.add(("y", 1), (max, 1.0), rectifier(), &[x]);
        observed.tensor("y", y).map(|tensor| tensor.scale)
    }

    #[test]
    fn headroom_ends_at_the_largest_float_and_a_vanishing_range_is_zero() {
        let scale = scale_of(f32::MAX).unwrap();
        assert!((scale * 32767.0).is_finite() && scale * 32766.0 > 0.999 * f32::MAX);
        assert_eq!(scale_of(1e-42).unwrap(), 1.0 / 32767.0);
        assert!(scale_of(1e30).unwrap().is_normal());
    }

    #[test]
    fn a_concatenation_is_as_wide_and_as_dense_as_its_parts_together() {
        let mut observed = Observed::default();
        let x = observed.add(("x", 1), (1.0, 1.0), Op::Input, &[]);
        let y = observed.add(("y", 3), (1.0, 1.0), Op::Input, &[]);
        let p = observed.add(("p", 1), (5.0, 0.2), rectifier(), &[x]);
        let q = observed.add(("q", 3), (2.0, 0.6), rectifier(), &[y]);
        let all = observed.add(("all", 4), (5.0, 1.0), Op::Concat, &[p, q]);
        let headroom = observed.calibration.method.headroom();
        let tensor = observed.tensor("all", all).unwrap();
        assert_eq!(tensor.scale, 5.0 * headroom / 32767.0);
        assert!((tensor.density - 0.5).abs() < 1e-9, "{}", tensor.density);
    }

    /// One grid is kept as it is; of two, every value of either is held.
    #[test]
    fn a_tensor_of_several_grids_holds_the_widest() {
        let of_grids = |grids: [FixedScale; 2]| {
            let mut observed = Observed::default();
            let x = observed.add(("x", 1), (1.0, 1.0), Op::Input, &[]);
            let p = observed.add(("p", 1), (1.0, 1.0), rectifier(), &[x]);
            let q = observed.add(("q", 1), (1.0, 1.0), rectifier(), &[x]);
            for (id, grid) in [p, q].into_iter().zip(grids) {
                observed.graph.dag[id].grid = Some(grid);
            }
            let all = observed.add(("all", 2), (1.0, 1.0), Op::Concat, &[p, q]);
            observed.tensor("all", all).unwrap()
        };
        let (signed, unsigned) = (
            FixedScale {
                scale: 0.5,
                range: [-128, 127],
            },
            FixedScale {
                scale: 0.125,
                range: [0, 255],
            },
        );
        // A rectifier has no negative values.
        let kept = of_grids([signed; 2]);
        assert_eq!((kept.scale, kept.range), (0.5, [0, 127]));
        assert_eq!(kept.rounding, Rounding::Even);
        let mixed = of_grids([unsigned, signed]);
        assert!(
            (mixed.scale * 32767.0 / 64.0 - 1.0).abs() < 1e-6,
            "{}",
            mixed.scale
        );
        assert_eq!(mixed.range, [-32767, 32767]);
    }

    #[test]
    fn a_tensor_reaches_as_far_below_zero_as_its_values_can_by_construction() {
        let least = |op: Op, of_rectified: bool| {
            let mut observed = Observed::default();
            let mut x = observed.add(("x", 1), (1.0, 1.0), Op::Input, &[]);
            if of_rectified {
                x = observed.add(("r", 1), (1.0, 1.0), rectifier(), &[x]);
            }
            let joins = matches!(&op, Op::Layer(layer) if layer.operand.is_some());
            let operands = if joins { vec![x, x] } else { vec![x] };
            let y = observed.add(("y", 1), (1.0, 1.0), op, &operands);
            observed.tensor("y", y).unwrap().range[0]
        };
        let signed = -32767;
        let sum = || Operand {
            kind: OperandKind::Add,
            shape: OperandShape::Same,
            value: "x".to_owned(),
        };
        // A layer of no stage, or of pooling alone, has the signs of what it reads.
        assert_eq!(least(layer(|_| {}), false), signed);
        assert_eq!(least(layer(|_| {}), true), 0);
        // As far as a bound says, of values up to 1 with headroom.
        assert_eq!(least(layer(|l| l.clamp = Some((-1.0, 6.0))), true), -21845);
        assert_eq!(least(layer(|l| l.operand = Some(sum())), true), signed);
        let slopes = || Some(Function::Leaky(vec![0.1]));
        assert_eq!(least(layer(|l| l.function = slopes()), true), signed);
        // From 0 to 1.5, which is 1 with headroom, x (x - 1) is from -.25 to .75.
        let below = Expression::binary(Binary::Sub, Expression::X, Expression::Constant(1.0));
        let product = Expression::binary(Binary::Mul, Expression::X, below);
        let curve = || {
            let (expression, argument) = (product.clone(), "x".to_owned());
            Some(Function::Curve(Curve {
                expression,
                argument,
            }))
        };
        let found = least(layer(|l| l.function = curve()), false);
        assert!((-10_924..=-10_922).contains(&found), "{found}");
        let negative = || {
            let (scale, offset) = (vec![-1.0], vec![0.0]);
            Some(Affine { scale, offset })
        };
        assert_eq!(least(layer(|l| l.affine = negative()), true), signed);
    }
}
