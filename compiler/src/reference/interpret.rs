//! The reference: a dense interpreter of the quantised network.
//!
//! It knows nothing of tiles, blocks, PEs or instructions, only [`scnn_isa::arith`]. The simulator's result of any
//! program compiled from the same [`Quantised`] network equals its result bit for bit.

mod convolution;

use crate::quantise::{IntFunction, IntLayer, IntOperand, IntPool, Operation, Quantised, Value};
use crate::reference::segments::Segments;
use convolution::Convolution;
use rayon::prelude::*;
use scnn_host::HostError;
use scnn_isa::arith::{self, Rounding};
use scnn_isa::ids::TensorId;
use scnn_isa::layer::{OperandKind, OperandShape, Pool, View};
use scnn_isa::program::Dtype;
use std::collections::BTreeMap;
use thiserror::Error;
use tract_onnx::prelude::Tensor;

/// Everything that was computed.
#[derive(Clone, Debug)]
pub struct Interpretation {
    /// Contents of every machine tensor `[N, C, H, W]`, row-major, by [`scnn_isa::ids::TensorId`].
    pub tensors: Vec<Vec<i16>>,
    /// Program outputs by ONNX name.
    pub outputs: BTreeMap<String, Tensor>,
    /// Largest magnitude of a sum in the accumulators, by operation; 0 where there are none.
    pub peaks: Vec<u32>,
}

/// Why an interpretation failed.
#[derive(Debug, Error)]
pub enum InterpretError {
    /// An input is missing.
    #[error("the input `{0}` is missing")]
    MissingInput(String),
    /// A tensor at the host's border is not what the program declares.
    #[error("value `{name}`: {reason}")]
    Border {
        /// ONNX name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A host segment failed.
    #[error("host segment `{segment}`: {source}")]
    Host {
        /// The segment.
        segment: String,
        /// Why.
        source: HostError,
    },
}

/// Runs `network` on `inputs` (by ONNX name), its host segments by `segments`.
///
/// # Errors
/// Inputs that are missing or of the wrong type, or a failing host segment.
pub fn interpret(
    network: &Quantised,
    inputs: &BTreeMap<String, Tensor>,
    segments: &Segments,
) -> Result<Interpretation, InterpretError> {
    let mut tensors = vec![Vec::new(); network.tensors.len()];
    let finished = &mut |id: TensorId, values| tensors[id.index()] = values;
    let (outputs, peaks) = interpret_each(network, inputs, segments, finished)?;
    Ok(Interpretation {
        tensors,
        outputs,
        peaks,
    })
}

/// The same; `finished` receives the contents of every machine tensor when nothing more is computed of it. Returns the
/// outputs and the peaks of an [`Interpretation`].
///
/// # Errors
/// See [`interpret`].
pub fn interpret_each(
    network: &Quantised,
    inputs: &BTreeMap<String, Tensor>,
    segments: &Segments,
    finished: &mut dyn FnMut(TensorId, Vec<i16>),
) -> Result<(BTreeMap<String, Tensor>, Vec<u32>), InterpretError> {
    let mut state = State {
        network,
        tensors: vec![Vec::new(); network.tensors.len()],
        host_values: vec![None; network.values.len()],
        readings: readings(network),
    };
    let lives = Lives::of(network);
    state.begin(&lives, 0);
    for &value in &network.inputs {
        let data = &network.values[value];
        let tensor = inputs
            .get(&data.name)
            .ok_or_else(|| InterpretError::MissingInput(data.name.clone()))?;
        state.accept(value, cast(data, tensor, data.dtype)?)?;
    }
    state.end(&lives, 0, finished);
    let mut peaks = Vec::with_capacity(network.operations.len());
    for (index, operation) in network.operations.iter().enumerate() {
        state.begin(&lives, index + 1);
        match operation {
            Operation::Layer(layer) => peaks.push(state.layer(layer)),
            Operation::Host(segment) => {
                peaks.push(0);
                let operands = segment
                    .inputs
                    .iter()
                    .map(|&v| state.offer(v))
                    .collect::<Result<Vec<_>, _>>()?;
                let results = segments.run(index, segment, operands)?;
                for (&value, result) in segment.outputs.iter().zip(results) {
                    state.accept(value, result)?;
                }
            }
        }
        state.end(&lives, index + 1, finished);
    }
    let last = network.operations.len() + 1;
    state.begin(&lives, last);
    let mut outputs = BTreeMap::new();
    for &value in &network.outputs {
        let data = &network.values[value];
        let border = data.declared.unwrap_or(data.dtype);
        let output = cast(data, &state.offer(value)?, border)?;
        outputs.insert(data.name.clone(), output);
    }
    state.end(&lives, last, finished);
    Ok((outputs, peaks))
}

/// When machine tensors are first and last written or read. Time 0 is when the inputs are taken, then come the operations, then
/// the outputs.
struct Lives {
    /// By time.
    first: Vec<Vec<TensorId>>,
    last: Vec<Vec<TensorId>>,
}

impl Lives {
    fn of(network: &Quantised) -> Self {
        let of_values = |values: &[usize]| -> Vec<TensorId> {
            let tensors = values.iter().map(|&value| network.values[value].tensor);
            tensors.flatten().collect()
        };
        let of_operation = |operation: &Operation| match operation {
            Operation::Layer(layer) => {
                let operand = layer.operand.map(|operand| operand.view.tensor);
                let own = [layer.source.tensor, layer.destination.tensor];
                own.into_iter().chain(operand).collect()
            }
            Operation::Host(segment) => {
                [of_values(&segment.inputs), of_values(&segment.outputs)].concat()
            }
        };
        let mut touched = vec![of_values(&network.inputs)];
        touched.extend(network.operations.iter().map(of_operation));
        touched.push(of_values(&network.outputs));
        // A tensor that nothing touches has its zeros from the beginning to the end.
        let times = touched.len();
        let mut lives = vec![(times - 1, 0); network.tensors.len()];
        for (time, tensors) in touched.iter().enumerate() {
            for id in tensors {
                let (first, last) = &mut lives[id.index()];
                (*first, *last) = ((*first).min(time), (*last).max(time));
            }
        }
        let mut sorted = Self {
            first: vec![Vec::new(); times],
            last: vec![Vec::new(); times],
        };
        for (index, (first, last)) in lives.into_iter().enumerate() {
            let id = TensorId(index as u32);
            sorted.first[first].push(id);
            sorted.last[last.max(first)].push(id);
        }
        sorted
    }
}

/// By value, how many times a network reads it on the host: as an operand of a segment or as an output.
fn readings(network: &Quantised) -> Vec<u32> {
    let operands = network.segments().map(|segment| &segment.inputs);
    let mut readings = vec![0; network.values.len()];
    for &value in operands.chain([&network.outputs]).flatten() {
        readings[value] += 1;
    }
    readings
}

/// A value in the type that it has on the other side of the model's border.
fn cast(value: &Value, data: &Tensor, dtype: Dtype) -> Result<Tensor, InterpretError> {
    let cast = data.cast_to_dt(scnn_host::datum_type(dtype));
    let cast = cast.map_err(|error| InterpretError::Border {
        name: value.name.clone(),
        reason: error.to_string(),
    })?;
    Ok(cast.into_owned())
}

fn border(value: &Value, reason: String) -> InterpretError {
    InterpretError::Border {
        name: value.name.clone(),
        reason,
    }
}

/// What the host knows of a value once the machine has stored it. Values that stay on the host are as they were.
pub(crate) fn rounded(
    network: &Quantised,
    value: &Value,
    tensor: &Tensor,
) -> Result<Tensor, InterpretError> {
    let Some(id) = value.tensor else {
        return Ok(tensor.clone());
    };
    let target = network.tensor(id);
    let stored = stored(value, target, tensor);
    let offered = stored.and_then(|stored| offered(value, target, &stored));
    offered.map_err(|reason| border(value, reason))
}

/// The integers of a value, in the order in which the machine stores them.
fn stored(
    value: &Value,
    target: &crate::quantise::Tensor,
    tensor: &Tensor,
) -> Result<Vec<i16>, String> {
    let floats = tensor.cast_to::<f32>().map_err(|e| e.to_string())?;
    let view = floats
        .to_plain_array_view::<f32>()
        .map_err(|e| e.to_string())?;
    let declared = target.shape.iter().map(|&d| d as usize).product::<usize>();
    if view.len() != declared {
        let given = view.len();
        return Err(format!("{given} values where {declared} are declared"));
    }
    let given: Vec<f32> = view.iter().copied().collect();
    let placed = match &value.placement {
        None => given,
        Some(placement) => placement.to_machine(&given),
    };
    let [_, channels, rows, cols] = target.shape;
    let integers = placed.into_iter().enumerate().map(|(index, value)| {
        let channel = index as u32 / (rows * cols) % channels;
        arith::quantise(value, target.unit(channel), target.range)
    });
    Ok(integers.collect())
}

/// The value that stored integers stand for.
fn offered(
    value: &Value,
    source: &crate::quantise::Tensor,
    integers: &[i16],
) -> Result<Tensor, String> {
    let [_, channels, rows, cols] = source.shape;
    let integers = integers.iter().enumerate();
    let floats: Vec<f32> = integers
        .map(|(index, &integer)| {
            let channel = index as u32 / (rows * cols) % channels;
            arith::dequantise(integer, source.unit(channel))
        })
        .collect();
    let floats = match &value.placement {
        None => floats,
        Some(placement) => placement.to_value(&floats),
    };
    let dims: Vec<usize> = value.dims.iter().map(|&d| d as usize).collect();
    let tensor = Tensor::from_shape(&dims, &floats).map_err(|e| e.to_string())?;
    let cast = tensor
        .cast_to_dt(scnn_host::datum_type(value.dtype))
        .map_err(|e| e.to_string())?;
    Ok(cast.into_owned())
}

struct State<'a> {
    network: &'a Quantised,
    tensors: Vec<Vec<i16>>,
    host_values: Vec<Option<Tensor>>,
    /// By value, how many times it will still be read.
    readings: Vec<u32>,
}

impl State<'_> {
    /// Makes the tensors that are first used at a time.
    fn begin(&mut self, lives: &Lives, time: usize) {
        for &id in &lives.first[time] {
            let shape = self.network.tensor(id).shape;
            let elements = shape.iter().map(|&extent| extent as usize).product();
            self.tensors[id.index()] = vec![0; elements];
        }
    }

    /// Hands on those that are not used after it.
    fn end(&mut self, lives: &Lives, time: usize, finished: &mut dyn FnMut(TensorId, Vec<i16>)) {
        for &id in &lives.last[time] {
            finished(id, std::mem::take(&mut self.tensors[id.index()]));
        }
    }

    /// Takes a value from the host, quantising it if the machine holds it.
    fn accept(&mut self, value: usize, tensor: Tensor) -> Result<(), InterpretError> {
        let data = &self.network.values[value];
        let Some(id) = data.tensor else {
            self.host_values[value] = Some(tensor);
            return Ok(());
        };
        let stored = stored(data, self.network.tensor(id), &tensor);
        self.tensors[id.index()] = stored.map_err(|reason| border(data, reason))?;
        Ok(())
    }

    /// Gives a value to the host. One that stays there is let go when it is read for the last time.
    fn offer(&mut self, value: usize) -> Result<Tensor, InterpretError> {
        let data = &self.network.values[value];
        let Some(id) = data.tensor else {
            self.readings[value] -= 1;
            let kept = &mut self.host_values[value];
            let read = if self.readings[value] == 0 {
                kept.take()
            } else {
                kept.clone()
            };
            return read.ok_or_else(|| border(data, "it was never computed".into()));
        };
        let offered = offered(data, self.network.tensor(id), &self.tensors[id.index()]);
        offered.map_err(|reason| border(data, reason))
    }

    /// Executes a layer; the largest magnitude of its sums.
    fn layer(&mut self, layer: &IntLayer) -> u32 {
        let network = self.network;
        let from = network.tensor(layer.source.tensor).shape;
        let to = network.tensor(layer.destination.tensor).shape;
        let (k, images) = (layer.destination.channels.len() as usize, to[0] as usize);
        let plane = (to[2] * to[3]) as usize;
        let inputs = layer.source.channels.len() as usize;
        let convolution = layer.conv.as_ref();
        let convolution =
            convolution.map(|conv| (conv, Convolution::new(conv, inputs, layer.requantise.len())));
        let (planes, peaks): (Vec<Vec<i16>>, Vec<u32>) = (0..images * k)
            .into_par_iter()
            .map(|index| {
                let (n, k) = (index / k, index % k);
                let mut peak = 0;
                let (inner, height, width) = if let Some((conv, convolution)) = &convolution {
                    let sums = convolution.sums(self.channels(layer.source, n), k);
                    peak = sums.iter().map(|sum| sum.unsigned_abs()).max().unwrap_or(0);
                    (sums, conv.y.output, conv.x.output)
                } else {
                    let values = self
                        .channel(layer.source, n, k)
                        .iter()
                        .map(|&v| arith::source(v, layer.source_shift))
                        .collect();
                    (values, from[2], from[3])
                };
                let values = self.post_process(layer, inner, n, k);
                let values = match &layer.pool {
                    Some(pool) => pooled(pool, &values, height, width, layer),
                    None => values,
                };
                (values, peak)
            })
            .unzip();
        let channels = to[1] as usize;
        let target = &mut self.tensors[layer.destination.tensor.index()];
        for (index, values) in planes.into_iter().enumerate() {
            let (n, k) = (
                index / k,
                index % k + layer.destination.channels.begin as usize,
            );
            let start = (n * channels + k) * plane;
            target[start..start + plane].copy_from_slice(&values);
        }
        peaks.into_iter().max().unwrap_or(0)
    }

    /// Image `n`, channel `c` of a view.
    fn channel(&self, view: View, n: usize, c: usize) -> &[i16] {
        let [_, _, h, w] = self.network.tensor(view.tensor).shape;
        let plane = (h * w) as usize;
        &self.channels(view, n)[c * plane..][..plane]
    }

    /// Image `n` of a view.
    fn channels(&self, view: View, n: usize) -> &[i16] {
        let [_, channels, h, w] = self.network.tensor(view.tensor).shape;
        let plane = (h * w) as usize;
        let start = (n * channels as usize + view.channels.begin as usize) * plane;
        let values = view.channels.len() as usize * plane;
        &self.tensors[view.tensor.index()][start..start + values]
    }

    /// Bias, requantisation, operand, function, clamp.
    fn post_process(&self, layer: &IntLayer, sums: Vec<i32>, n: usize, k: usize) -> Vec<i16> {
        let operand = layer
            .operand
            .map(|operand| (self.channel(operand.view, n, k), operand));
        // An average is divided and bounded behind its sum.
        let averages = layer.pool.is_some_and(|pool| pool.kind.averages());
        let (clamp, divisor) = if averages {
            ([i16::MIN, i16::MAX], 1.0)
        } else {
            (layer.clamp, layer.divisor)
        };
        let [low, high] = clamp.map(i32::from);
        let requantise = layer.requantise[k];
        let written = self.network.tensor(layer.destination.tensor);
        let shift = written.channel_shift(layer.destination.channels.begin + k as u32);
        let table = match &layer.function {
            Some(IntFunction::Table { tables, .. }) => Some(tables.of(shift)),
            _ => None,
        };
        let aligned = layer.operand.map_or(0, |operand| {
            let read = self.network.tensor(operand.view.tensor);
            let of_operand = read.channel_shift(operand.view.channels.begin + k as u32);
            arith::aligned_shift(operand.shift, of_operand, shift)
        });
        sums.into_iter()
            .enumerate()
            .map(|(i, sum)| {
                let operand = operand.map(|(channel, operand)| match operand.shape {
                    OperandShape::Same => (operand, channel[i]),
                    OperandShape::PerChannel => (operand, channel[0]),
                });
                let value = match layer.rounding {
                    Rounding::Away => meet(requantise.apply(sum), operand, aligned),
                    Rounding::Even => {
                        arith::round_even(meet_real(requantise.real(sum), operand) / divisor)
                    }
                };
                let value = match (&layer.function, table) {
                    (Some(IntFunction::Leaky { slopes, exponent }), _) => {
                        arith::leaky(value, slopes[k], *exponent)
                    }
                    (_, Some(table)) => table.at(value),
                    _ => value,
                };
                value.clamp(low, high) as i16
            })
            .collect()
    }
}

/// What becomes of a value and the operand there, which is added with its `aligned` shift.
fn meet(value: i32, operand: Option<(IntOperand, i16)>, aligned: i32) -> i32 {
    let Some((with, other)) = operand else {
        return value;
    };
    match with.kind {
        OperandKind::Add => {
            value.saturating_add(arith::scale_operand(other, with.multiplier, aligned))
        }
        OperandKind::Multiply => arith::scale_product(value, other, with.multiplier, with.shift),
    }
}

/// The same in single precision.
fn meet_real(value: f32, operand: Option<(IntOperand, i16)>) -> f32 {
    let Some((with, other)) = operand else {
        return value;
    };
    let other = f32::from(other) * arith::factor(with.multiplier, with.shift);
    match with.kind {
        OperandKind::Add => value + other,
        OperandKind::Multiply => value * other,
    }
}

fn pooled(pool: &IntPool, values: &[i16], height: u32, width: u32, layer: &IntLayer) -> Vec<i16> {
    let [low, high] = layer.clamp.map(i32::from);
    let shape = Pool {
        kind: pool.kind,
        y: pool.y,
        x: pool.x,
        multiplier: pool.multiplier,
        shift: pool.shift,
    };
    let mut result = Vec::with_capacity((pool.y.output * pool.x.output) as usize);
    for oy in 0..pool.y.output {
        for ox in 0..pool.x.output {
            let window = (0..pool.y.kernel)
                .filter_map(|r| pool.y.input(oy, r))
                .flat_map(|y| {
                    (0..pool.x.kernel)
                        .filter_map(move |s| pool.x.input(ox, s))
                        .map(move |x| (y, x))
                });
            debug_assert!(pool.y.input <= height && pool.x.input <= width);
            let inside = window.map(|(y, x)| values[(y * width + x) as usize]);
            let value = shape.value(inside, shape.count(oy, ox), (layer.rounding, layer.divisor));
            result.push(value.clamp(low, high) as i16);
        }
    }
    result
}
