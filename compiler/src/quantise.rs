//! From the float graph to integers: storage of every tensor, scales, fixed-point weights and requantisation.
//!
//! Symmetric, zero point 0, so that zeros stay zeros. Activations have one scale per tensor, from calibrated ranges
//! with [`Options::headroom`]; weights one per output channel. A 32-bit product does not fit a 24-bit sum, so every
//! layer has a **product shift**: the least for which no sum can overflow, proven from the sum of the weights'
//! magnitudes and the range of the activations (a `ReLU`'s output has only one sign, which halves it).
//!
//! The result, [`Quantised`], is what the interpreter executes and what mapping distributes. Concatenations and
//! channel slices are gone: producers write into, and consumers read from, channel ranges of one tensor.

pub mod storage;

use crate::calibrate::Calibration;
use crate::graph::{Function, Graph, Layer, NodeId, Op};
use rayon::prelude::*;
use scnn_isa::arith::{self, MAX_PRODUCT_SHIFT, Requantise, TABLE_SEGMENTS};
use scnn_isa::ids::TensorId;
use scnn_isa::layer::{PoolKind, View};
use scnn_isa::machine::Machine;
use scnn_isa::plane::Axis;
use scnn_isa::program::Dtype;
use std::collections::BTreeMap;
use storage::Storage;
use thiserror::Error;
use tract_onnx::pb::ModelProto;

/// Choices of quantisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Bits of activations and weights, 2..=16.
    pub bits: u32,
    /// Factor on the calibrated range of every activation tensor: room for inputs that were not calibrated.
    pub headroom: f32,
}

impl Default for Options {
    fn default() -> Self {
        // Half a bit of the sixteen; a value above 1.5 times the largest calibrated one saturates.
        Self {
            bits: 16,
            headroom: 1.5,
        }
    }
}

/// Why a graph cannot be quantised.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum QuantiseError {
    /// The calibration has no range for a tensor.
    #[error("the calibration has no range for tensor `{tensor}` (node `{node}`)")]
    MissingRange {
        /// The tensor.
        tensor: String,
        /// The node that computes it.
        node: String,
    },
    /// No product shift keeps the sums in the accumulator.
    #[error(
        "layer `{layer}` adds {products} products per output; no product shift keeps them in {bits} bits"
    )]
    Accumulator {
        /// The layer.
        layer: String,
        /// Products per output.
        products: u64,
        /// Bits of the accumulator.
        bits: u32,
    },
    /// An operator in a place that the machine has no storage for.
    #[error("node `{node}`: {reason}")]
    Unstorable {
        /// The node.
        node: String,
        /// Why.
        reason: String,
    },
}

/// The integer network.
#[derive(Clone, Debug)]
pub struct Quantised {
    /// Model name.
    pub name: String,
    /// Activation tensors.
    pub tensors: Vec<Tensor>,
    /// What is executed, in order.
    pub steps: Vec<Step>,
    /// Tensors that cross the host's border or stay on the host.
    pub values: Vec<Value>,
    /// Indices into `values` of the program's inputs.
    pub inputs: Vec<usize>,
    /// Indices into `values` of the program's outputs.
    pub outputs: Vec<usize>,
}

/// An activation tensor.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// ONNX name.
    pub name: String,
    /// N, C, H, W.
    pub shape: [u32; 4],
    /// Real value of one unit.
    pub scale: f32,
    /// Smallest and largest value.
    pub range: [i16; 2],
    /// Share of non-zeros in calibration, 0..=1.
    pub density: f64,
}

/// A host-visible tensor.
#[derive(Clone, Debug)]
pub struct Value {
    /// ONNX name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Extents.
    pub dims: Vec<u64>,
    /// The machine tensor that carries it.
    pub tensor: Option<TensorId>,
}

/// One step of the network.
#[derive(Clone, Debug)]
pub enum Step {
    /// A layer of the machine.
    Layer(Box<IntLayer>),
    /// A host segment.
    Host(Box<HostStep>),
}

/// A host segment: a sub-model and the values it reads and writes.
#[derive(Clone, Debug)]
pub struct HostStep {
    /// Name.
    pub name: String,
    /// ONNX nodes it runs.
    pub onnx_nodes: Vec<String>,
    /// The sub-model.
    pub model: ModelProto,
    /// Indices into [`Quantised::values`].
    pub inputs: Vec<usize>,
    /// Likewise.
    pub outputs: Vec<usize>,
}

/// A layer in integers.
#[derive(Clone, Debug)]
pub struct IntLayer {
    /// Unique name.
    pub name: String,
    /// ONNX nodes it computes.
    pub onnx_nodes: Vec<String>,
    /// ONNX tensor that it computes.
    pub tensor: String,
    /// What is read.
    pub source: View,
    /// What is written.
    pub destination: View,
    /// The convolution.
    pub conv: Option<IntConv>,
    /// Bias, multiplier, shift of every output channel.
    pub requantise: Vec<Requantise>,
    /// The operand and its factor.
    pub operand: Option<(View, i16, u8)>,
    /// Activation function.
    pub function: Option<IntFunction>,
    /// Bounds of the result.
    pub clamp: [i16; 2],
    /// Pooling.
    pub pool: Option<IntPool>,
}

/// A convolution in integers.
#[derive(Clone, Debug)]
pub struct IntConv {
    /// `[K, C / groups, R, S]`, row-major.
    pub weights: Vec<i16>,
    /// Groups.
    pub groups: u32,
    /// Rows.
    pub y: Axis,
    /// Columns.
    pub x: Axis,
    /// Rounding of every product.
    pub product_shift: u8,
}

/// An activation function in integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntFunction {
    /// Factor (2^-15) of negative values, per channel.
    Leaky(Vec<i16>),
    /// Knots.
    Table(Vec<i16>),
}

/// Pooling in integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntPool {
    /// Kind.
    pub kind: PoolKind,
    /// Rows.
    pub y: Axis,
    /// Columns.
    pub x: Axis,
    /// Factor.
    pub multiplier: i16,
    /// Shift.
    pub shift: u8,
}

impl Quantised {
    /// The tensor of that id.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }
}

/// Quantises `graph`.
///
/// # Errors
/// A tensor without a calibrated range, or a layer whose sums fit no accumulator.
pub fn quantise(
    graph: &Graph,
    calibration: &Calibration,
    machine: &Machine,
    options: &Options,
) -> Result<Quantised, QuantiseError> {
    let storage = Storage::assign(graph)?;
    let tensors = scale_tensors(graph, &storage, calibration, *options)?;
    let mut builder = Builder {
        graph,
        storage: &storage,
        machine,
        options,
        network: Quantised {
            name: graph.name.clone(),
            tensors,
            steps: Vec::new(),
            values: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        },
        values: BTreeMap::new(),
        names: BTreeMap::new(),
    };
    for &input in &graph.inputs {
        let value = builder.value(input);
        builder.network.inputs.push(value);
    }
    for id in graph.order() {
        builder.step(id)?;
    }
    for (name, node) in &graph.outputs {
        let value = builder.named_value(name, *node);
        builder.network.outputs.push(value);
    }
    Ok(builder.network)
}

/// Scale and range of every stored tensor: the widest of everything that is written into it.
fn scale_tensors(
    graph: &Graph,
    storage: &Storage,
    calibration: &Calibration,
    options: Options,
) -> Result<Vec<Tensor>, QuantiseError> {
    let limit = ((1i32 << (options.bits - 1)) - 1) as f32;
    let mut tensors = Vec::with_capacity(storage.tensors.len());
    for stored in &storage.tensors {
        let mut magnitude = 0f32;
        let (mut low, mut nonzero, mut total) = (0f32, 0f64, 0f64);
        for &node in &stored.writers {
            let name = &graph.dag[node].tensor;
            let range =
                calibration
                    .ranges
                    .get(name)
                    .ok_or_else(|| QuantiseError::MissingRange {
                        tensor: name.clone(),
                        node: graph.dag[node]
                            .onnx_nodes
                            .first()
                            .cloned()
                            .unwrap_or_default(),
                    })?;
            magnitude = magnitude.max(range.max.abs()).max(range.min.abs());
            low = low.min(lower_bound(graph, node));
            let elements = graph.dag[node].dims.iter().product::<u64>() as f64;
            nonzero += range.density * elements;
            total += elements;
        }
        let magnitude = if magnitude > 0.0 && magnitude.is_finite() {
            magnitude * options.headroom
        } else {
            1.0
        };
        let high = limit as i16;
        tensors.push(Tensor {
            name: stored.name.clone(),
            shape: stored.shape,
            scale: magnitude / limit,
            range: [if low >= 0.0 { 0 } else { -high }, high],
            density: if total > 0.0 { nonzero / total } else { 1.0 },
        });
    }
    Ok(tensors)
}

/// Zero when a node cannot produce negative values by construction, else minus infinity.
fn lower_bound(graph: &Graph, node: NodeId) -> f32 {
    match &graph.dag[node].op {
        Op::Layer(layer) => match layer.clamp {
            Some((low, _)) => low,
            None if layer.is_pool_only() => graph
                .operands(node)
                .first()
                .map_or(f32::NEG_INFINITY, |&o| lower_bound(graph, o)),
            None => f32::NEG_INFINITY,
        },
        Op::Concat => graph
            .operands(node)
            .iter()
            .map(|&o| lower_bound(graph, o))
            .fold(0.0, f32::min),
        Op::Slice(_) | Op::Rename => graph
            .operands(node)
            .first()
            .map_or(f32::NEG_INFINITY, |&o| lower_bound(graph, o)),
        Op::Input | Op::Host(_) | Op::HostOutput(_) => f32::NEG_INFINITY,
    }
}

impl Layer {
    fn is_pool_only(&self) -> bool {
        self.conv.is_none() && self.affine.is_none() && !self.operand && self.function.is_none()
    }
}

struct Builder<'a> {
    graph: &'a Graph,
    storage: &'a Storage,
    machine: &'a Machine,
    options: &'a Options,
    network: Quantised,
    values: BTreeMap<String, usize>,
    names: BTreeMap<String, u32>,
}

impl Builder<'_> {
    fn step(&mut self, id: NodeId) -> Result<(), QuantiseError> {
        let graph = self.graph;
        match &graph.dag[id].op {
            Op::Layer(layer) => {
                let operands = graph.operands(id);
                let source = self.storage.view(operands[0]);
                let operand = layer.operand.then(|| self.storage.view(operands[1]));
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
                    model,
                    inputs,
                    outputs,
                })));
            }
            Op::Input | Op::Concat | Op::Slice(_) | Op::Rename | Op::HostOutput(_) => {}
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
        let (multiplier, shift) =
            arith::multiplier_for(f64::from(from.scale) / f64::from(to.scale));
        let clamp = to.range;
        let name = self.unique(&format!("{}.copy", self.graph.dag[id].tensor));
        let requantise = vec![
            Requantise {
                bias: 0,
                multiplier,
                shift
            };
            destination.channels.len() as usize
        ];
        IntLayer {
            name,
            onnx_nodes: self.graph.dag[copy.on_behalf_of].onnx_nodes.clone(),
            tensor: self.graph.dag[id].tensor.clone(),
            source,
            destination,
            conv: None,
            requantise,
            operand: None,
            function: None,
            clamp,
            pool: None,
        }
    }

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
                let limit = ((1i32 << (self.options.bits - 1)) - 1) as f32;
                let (weights, scales) =
                    quantise_weights(&conv.weights, conv.weights_per_output(), limit, |k| {
                        smallest_weight_unit(layer, k, from.scale)
                    });
                let bits = self.machine.pe.accumulator_bits;
                let product_shift =
                    product_shift(&weights, conv.weights_per_output(), from.range, bits)
                        .ok_or_else(|| QuantiseError::Accumulator {
                            layer: name.clone(),
                            products: conv.weights_per_output() as u64,
                            bits,
                        })?;
                let conv = IntConv {
                    weights,
                    groups: conv.groups,
                    y: conv.y,
                    x: conv.x,
                    product_shift,
                };
                (Some(conv), scales)
            }
        };

        // Units before the activation function: the output's, or the table's input.
        let (function, inner_scale) = function_stage(layer, &to);
        let product_scale = conv
            .as_ref()
            .map_or(1.0, |conv| 2f64.powi(i32::from(conv.product_shift)));
        let requantise = (0..channels)
            .map(|k| {
                let unit = f64::from(from.scale) * f64::from(weight_scales[k]) * product_scale;
                let (scale, offset) = layer.affine.as_ref().map_or((1.0, 0.0), |a| {
                    (f64::from(a.scale[k]), f64::from(a.offset[k]))
                });
                requantise_channel(unit, scale, offset, inner_scale)
            })
            .collect();

        let operand = operand.map(|view| {
            let scale = f64::from(self.network.tensor(view.tensor).scale);
            let (multiplier, shift) = arith::multiplier_for(scale / inner_scale);
            (view, multiplier, shift)
        });
        let clamp = clamp_bounds(layer.clamp, &to);
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
            source,
            destination,
            conv,
            requantise,
            operand,
            function,
            clamp,
            pool,
        };
        widen_average(&mut layer, &from, &to);
        Ok(layer)
    }

    fn value(&mut self, node: NodeId) -> usize {
        let name = self.graph.dag[node].tensor.clone();
        self.named_value(&name, node)
    }

    fn named_value(&mut self, name: &str, node: NodeId) -> usize {
        if let Some(&index) = self.values.get(name) {
            return index;
        }
        let data = &self.graph.dag[node];
        let index = self.network.values.len();
        self.network.values.push(Value {
            name: name.to_owned(),
            dtype: data.dtype,
            dims: data.dims.clone(),
            tensor: self.storage.whole(node),
        });
        self.values.insert(name.to_owned(), index);
        index
    }

    fn unique(&mut self, name: &str) -> String {
        let count = self.names.entry(name.to_owned()).or_insert(0);
        *count += 1;
        if *count == 1 {
            name.to_owned()
        } else {
            format!("{name}#{count}")
        }
    }
}

/// Largest magnitude of a bias: leaves room for the sum of 24 or more bits that it is added to.
const BIAS_LIMIT: f64 = (1u32 << 30) as f64;

/// The least real value that one unit of channel `k`'s weights may stand for, so that the bias fits its field.
///
/// A channel whose weights are tiny beside its bias needs few bits of them; one that is scaled by zero needs none.
fn smallest_weight_unit(layer: &Layer, k: usize, input_scale: f32) -> f32 {
    let Some(affine) = &layer.affine else {
        return 0.0;
    };
    let (scale, offset) = (f64::from(affine.scale[k]), f64::from(affine.offset[k]));
    if scale == 0.0 {
        return f32::INFINITY;
    }
    ((offset / scale).abs() / (f64::from(input_scale) * BIAS_LIMIT)) as f32
}

/// Weights per output channel in integers, and the real value of one unit in each: 0 where all are zero.
fn quantise_weights(
    weights: &[f32],
    per_output: usize,
    limit: f32,
    smallest_unit: impl Fn(usize) -> f32 + Sync,
) -> (Vec<i16>, Vec<f32>) {
    let mut integers = vec![0i16; weights.len()];
    let scales = integers
        .par_chunks_mut(per_output.max(1))
        .zip(weights.par_chunks(per_output.max(1)))
        .enumerate()
        .map(|(k, (integers, weights))| {
            let magnitude = weights.iter().fold(0f32, |m, w| m.max(w.abs()));
            let scale = (magnitude / limit).max(smallest_unit(k));
            if magnitude == 0.0 || scale == f32::INFINITY {
                return 0.0;
            }
            for (integer, weight) in integers.iter_mut().zip(weights) {
                // A weight that is not zero stays so only if it rounds to something: half a unit and less is zero.
                *integer = (weight / scale).round().clamp(-limit, limit) as i16;
            }
            scale
        })
        .collect();
    (integers, scales)
}

/// The least shift for which no order of additions can leave the accumulator, if there is one.
pub fn product_shift(weights: &[i16], per_output: usize, range: [i16; 2], bits: u32) -> Option<u8> {
    let (low, high) = arith::signed_range(bits);
    let fits = |shift: u32| {
        weights.par_chunks(per_output.max(1)).all(|weights| {
            let (mut negative, mut positive) = (0i64, 0i64);
            for &weight in weights {
                let (a, b) = (
                    arith::product(weight, range[0], shift),
                    arith::product(weight, range[1], shift),
                );
                negative += i64::from(a.min(b).min(0));
                positive += i64::from(a.max(b).max(0));
            }
            low <= negative && positive <= high
        })
    };
    (0..=u32::from(MAX_PRODUCT_SHIFT))
        .find(|&shift| fits(shift))
        .map(|shift| shift as u8)
}

/// Bias, multiplier and shift that take a sum in units of `unit` to `sum * scale + offset` in units of `target`.
fn requantise_channel(unit: f64, scale: f64, offset: f64, target: f64) -> Requantise {
    let factor = unit * scale / target;
    // A constant, or nearly one: the smallest factor that still carries the offset as a bias.
    let smallest = (offset / target).abs() / BIAS_LIMIT;
    let factor = factor.abs().max(smallest).copysign(factor);
    let (multiplier, shift) = arith::multiplier_for(factor);
    let realised = f64::from(multiplier) / 2f64.powi(i32::from(shift));
    let bias = if realised == 0.0 {
        0.0
    } else {
        (offset / target / realised).round()
    };
    Requantise {
        bias: bias.clamp(-f64::from(i32::MAX), f64::from(i32::MAX)) as i32,
        multiplier,
        shift,
    }
}

/// The activation function in integers and the real value of one unit of its input.
fn function_stage(layer: &Layer, to: &Tensor) -> (Option<IntFunction>, f64) {
    let scale = f64::from(to.scale);
    let Some(function) = &layer.function else {
        return (None, scale);
    };
    if let Function::Leaky(slopes) = function {
        let slopes = slopes
            .iter()
            .map(|s| (s * 32768.0).round().clamp(-32768.0, 32767.0) as i16)
            .collect();
        return (Some(IntFunction::Leaky(slopes)), scale);
    }
    let reach = function_reach(function, scale * 32767.0);
    let unit = reach / 32768.0;
    let knots = (0..=TABLE_SEGMENTS)
        .map(|i| {
            let x = (i as f64 * 256.0 - 32768.0) * unit;
            (evaluate(function, x) / scale)
                .round()
                .clamp(-32767.0, 32767.0) as i16
        })
        .collect();
    (Some(IntFunction::Table(knots)), unit)
}

/// Bounds in the units of `to`, inside its range.
fn clamp_bounds(clamp: Option<(f32, f32)>, to: &Tensor) -> [i16; 2] {
    let bound = |value: f32| {
        let units = (f64::from(value) / f64::from(to.scale)).round();
        units.clamp(f64::from(to.range[0]), f64::from(to.range[1])) as i16
    };
    clamp.map_or(to.range, |(low, high)| [bound(low), bound(high)])
}

/// A stand-alone average may gain bits: it pools in its source's units and requantises the mean, not the operands.
fn widen_average(layer: &mut IntLayer, from: &Tensor, to: &Tensor) {
    let alone = layer.conv.is_none() && layer.operand.is_none() && layer.function.is_none();
    let Some(pool) = &mut layer.pool else { return };
    let identity = layer.requantise.iter().all(|r| r.bias == 0);
    if pool.kind == PoolKind::Max || !alone || !identity || layer.clamp != to.range {
        return;
    }
    let (multiplier, shift) = arith::multiplier_for(f64::from(from.scale) / f64::from(to.scale));
    if shift <= 30 {
        (pool.multiplier, pool.shift) = (multiplier, shift);
        layer.requantise.fill(Requantise::IDENTITY);
    }
}

/// Largest magnitude of the input at which the function still changes, given the output's largest magnitude.
fn function_reach(function: &Function, output: f64) -> f64 {
    match function {
        Function::Sigmoid => 12.0,
        Function::Tanh => 6.0,
        Function::HardSigmoid { alpha, beta } => {
            (1.0 + f64::from(beta.abs())) / f64::from(alpha.abs()).max(1e-6)
        }
        Function::HardSwish | Function::Leaky(_) => output.max(4.0),
    }
}

fn evaluate(function: &Function, x: f64) -> f64 {
    match function {
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::Tanh => x.tanh(),
        Function::HardSigmoid { alpha, beta } => {
            (f64::from(*alpha) * x + f64::from(*beta)).clamp(0.0, 1.0)
        }
        Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Function::Leaky(_) => x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_shift_is_the_least_that_cannot_overflow() {
        // 512 products of the largest operands: 2^30 * 2^9 = 2^39, into 2^23.
        let weights = vec![i16::MAX; 512];
        let shift = product_shift(&weights, 512, [-i16::MAX, i16::MAX], 24).unwrap();
        assert_eq!(shift, 16);
        assert_eq!(product_shift(&[1, -1, 2], 3, [0, 100], 24), Some(0));
    }

    #[test]
    fn a_channel_scaled_by_zero_keeps_its_offset() {
        let channel = requantise_channel(1e-4, 0.0, 2.0, 1e-3);
        assert!(
            (channel.apply(1000) - 2000).abs() <= 1,
            "{}",
            channel.apply(1000)
        );
    }

    #[test]
    fn weights_keep_their_zeros_and_their_largest_value() {
        let (integers, scales) =
            quantise_weights(&[0.0, 0.5, -1.0, 0.0, 0.0, 0.0], 3, 32767.0, |_| 0.0);
        assert_eq!(integers, [0, 16384, -32767, 0, 0, 0]);
        assert_eq!(scales[1], 0.0);
    }
}
