//! What a graph computes, in floating point, straight from its definition.
//!
//! Slow and plain: no tiles, no integers, one loop nest for each operator. It is how a transform is checked
//! ([`crate::reference::pass_check`]): what a graph computes before and after it must be the same. Host nodes run on the host.

use crate::graph::expression::Expression;
use crate::graph::{Conv, FixedScale, Function, Graph, Layer, Node, NodeId, Op, Pool};
use crate::transform::partition_host::host_model;
use prost::Message;
use rayon::prelude::*;
use scnn_host::Host;
use scnn_isa::arith;
use scnn_isa::layer::{OperandKind, OperandShape, PoolKind};
use scnn_isa::plane::Span;
use std::collections::BTreeMap;
use thiserror::Error;
use tract_onnx::prelude::Tensor;

/// Values by the ONNX name of their tensor.
pub type Values = BTreeMap<String, Tensor>;

/// Why a graph cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("tensor `{tensor}` cannot be evaluated: {reason}")]
pub struct EvaluateError {
    /// What was to be computed.
    pub tensor: String,
    /// What is in the way.
    pub reason: String,
}

/// Every tensor of the graph, for inputs by name.
///
/// # Errors
/// An input is missing, a host node fails, or the graph breaks its own rules.
pub fn evaluate(graph: &Graph, inputs: &Values, runtimes: &Host) -> Result<Values, EvaluateError> {
    let mut results: BTreeMap<NodeId, Vec<Tensor>> = BTreeMap::new();
    let mut named = Values::new();
    for id in graph.order() {
        let node = &graph.dag[id];
        let failed = |reason: String| EvaluateError {
            tensor: node.tensor.clone(),
            reason,
        };
        let operands: Vec<Tensor> = graph
            .operands(id)
            .iter()
            .map(|operand| results.get(operand).and_then(|r| r.first()).cloned())
            .collect::<Option<_>>()
            .ok_or_else(|| failed("an operand is missing".to_owned()))?;
        let result = match &node.op {
            Op::Input => vec![
                inputs
                    .get(&node.tensor)
                    .cloned()
                    .ok_or_else(|| failed("the input is missing".to_owned()))?,
            ],
            Op::Host(host) => {
                let model = host_model(graph, id)
                    .ok_or_else(|| failed("the host node has no model".to_owned()))?;
                let session = runtimes.load(host.runtime, &model.encode_to_vec());
                let computed = session
                    .and_then(|session| session.run(operands))
                    .map_err(|e| failed(e.to_string()))?;
                // The model leaves out what no one reads, the node still counts it.
                let names = model.graph.iter().flat_map(|graph| &graph.output);
                let by_name: BTreeMap<_, _> = names.map(|info| &info.name).zip(computed).collect();
                let find = |(name, _, _): &(String, _, _)| by_name.get(name).cloned();
                host.outputs
                    .iter()
                    .map(|output| find(output).unwrap_or_default())
                    .collect()
            }
            Op::HostOutput(number) => {
                let host = graph.operands(id)[0];
                let output = results.get(&host).and_then(|r| r.get(*number as usize));
                vec![
                    output
                        .cloned()
                        .ok_or_else(|| failed("the host has no such result".to_owned()))?,
                ]
            }
            Op::Map(map) => vec![elementwise(&map.expression, node, &operands).map_err(failed)?],
            Op::Layer(_) | Op::Concat | Op::Slice(_) | Op::Rename(_) => {
                let values = dense(graph, id, &operands).map_err(failed)?;
                let dims: Vec<usize> = node.dims.iter().map(|&d| d as usize).collect();
                vec![Tensor::from_shape(&dims, &values).map_err(|e| failed(e.to_string()))?]
            }
        };
        let mut result = result;
        let from_outside = matches!(node.op, Op::Input | Op::HostOutput(_));
        // The host has the value of such a name as it is, the machine rounds what it takes.
        if from_outside && let Some(value) = result.first() {
            named.insert(node.tensor.clone(), value.clone());
        }
        if let (Some(grid), Some(value)) = (node.grid, result.first_mut()) {
            *value = rounded(value, grid).map_err(failed)?;
        }
        if let (Some(value), Op::Layer(_) | Op::Concat | Op::Slice(_) | Op::Rename(_)) =
            (result.first(), &node.op)
        {
            named.insert(node.tensor.clone(), value.clone());
        }
        results.insert(id, result);
    }
    // An output may be called otherwise than the tensor that it is.
    for (name, id) in &graph.outputs {
        if let Some(value) = results.get(id).and_then(|r| r.first()) {
            named.insert(name.clone(), value.clone());
        }
    }
    Ok(named)
}

/// A tensor in multiples of the scale that the model itself rounds it to.
fn rounded(tensor: &Tensor, grid: FixedScale) -> Result<Tensor, String> {
    let values = floats(tensor)?
        .into_iter()
        .map(|value| arith::dequantise(arith::quantise(value, grid.scale, grid.range), grid.scale));
    Tensor::from_shape(tensor.shape(), &values.collect::<Vec<f32>>()).map_err(|e| e.to_string())
}

/// The floats of a tensor.
///
/// # Errors
/// Its type is none of numbers.
pub fn floats(tensor: &Tensor) -> Result<Vec<f32>, String> {
    let floats = tensor.cast_to::<f32>().map_err(|e| e.to_string())?;
    let view = floats
        .to_plain_array_view::<f32>()
        .map_err(|e| e.to_string())?;
    Ok(view.iter().copied().collect())
}

/// An expression of operands that are broadcast to the extents of `node`, in its type.
fn elementwise(
    expression: &Expression,
    node: &Node,
    operands: &[Tensor],
) -> Result<Tensor, String> {
    let dims: Vec<usize> = node.dims.iter().map(|&d| d as usize).collect();
    let sources = operands
        .iter()
        .map(|operand| Ok((floats(operand)?, operand.shape())))
        .collect::<Result<Vec<_>, String>>()?;
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|index| {
            let value = |(values, shape): &(Vec<f32>, &[usize])| {
                let (mut rest, mut at, mut stride) = (index, 0, 1);
                for (axis, &extent) in dims.iter().enumerate().rev() {
                    let position = rest % extent;
                    rest /= extent;
                    // Axes are aligned at the last; one of extent 1 is repeated.
                    let own = (axis + shape.len()).checked_sub(dims.len());
                    let own = own.map_or(1, |axis| shape[axis]);
                    at += stride * if own == 1 { 0 } else { position };
                    stride *= own;
                }
                f64::from(values[at])
            };
            let at: Vec<f64> = sources.iter().map(value).collect();
            expression.at(&at) as f32
        })
        .collect();
    let tensor = Tensor::from_shape(&dims, &values).map_err(|e| e.to_string())?;
    let cast = tensor.cast_to_dt(scnn_host::datum_type(node.dtype));
    Ok(cast.map_err(|e| e.to_string())?.into_owned())
}

/// A float tensor as `[N, C, positions]`.
struct Planes {
    values: Vec<f32>,
    n: usize,
    c: usize,
    plane: [usize; 2],
}

impl Planes {
    fn size(&self) -> usize {
        self.plane[0] * self.plane[1]
    }

    fn channel(&self, n: usize, c: usize) -> &[f32] {
        let size = self.size();
        &self.values[(n * self.c + c) * size..][..size]
    }
}

fn dense(graph: &Graph, id: NodeId, operands: &[Tensor]) -> Result<Vec<f32>, String> {
    let node = &graph.dag[id];
    let producers = graph.operands(id);
    if let Op::Rename(transposition) = &node.op {
        let values = floats(operands.first().ok_or("there is no operand")?)?;
        return Ok(match transposition {
            None => values,
            Some(transposition) => transposition.apply(&values),
        });
    }
    let planes: Vec<Planes> = producers
        .iter()
        .zip(operands)
        .map(|(&producer, operand)| {
            let placement = graph.dag[producer].placement.as_ref();
            let placement = placement.ok_or("an operand is no plane")?;
            let shape = placement.shape().ok_or("an operand is no plane")?;
            let [n, c, h, w] = shape.map(|d| d as usize);
            let values = floats(operand)?;
            if values.len() != n * c * h * w {
                return Err("an operand has another size than its node".to_owned());
            }
            Ok(Planes {
                values: placement.to_machine(&values),
                n,
                c,
                plane: [h, w],
            })
        })
        .collect::<Result<_, String>>()?;
    let first = planes.first().ok_or("there is no operand")?;
    let stored = match &node.op {
        Op::Layer(layer) => of_layer(layer, first, planes.get(1)),
        Op::Concat => (0..first.n)
            .flat_map(|n| planes.iter().map(move |p| (n, p)))
            .flat_map(|(n, p)| (0..p.c).flat_map(move |c| p.channel(n, c).iter().copied()))
            .collect(),
        Op::Slice(channels) => slice(first, *channels),
        Op::Rename(_) | Op::Input | Op::Map(_) | Op::Host(_) | Op::HostOutput(_) => {
            return Err("it computes nothing itself".to_owned());
        }
    };
    let placement = node.placement.as_ref().ok_or("it is no plane")?;
    Ok(placement.to_value(&stored))
}

fn slice(planes: &Planes, channels: Span) -> Vec<f32> {
    (0..planes.n)
        .flat_map(|n| channels.iter().map(move |c| (n, c as usize)))
        .flat_map(|(n, c)| planes.channel(n, c).iter().copied())
        .collect()
}

/// The stages of a layer in their order, one output channel of one image at a time.
fn of_layer(layer: &Layer, source: &Planes, operand: Option<&Planes>) -> Vec<f32> {
    let channels = layer.conv.as_ref().map_or(source.c, |conv| conv.k as usize);
    let one = |index: usize| -> Vec<f32> {
        let (n, k) = (index / channels, index % channels);
        let (mut values, width) = match &layer.conv {
            Some(conv) => (convolve(conv, source, n, k), conv.x.output as usize),
            None => (source.channel(n, k).to_vec(), source.plane[1]),
        };
        if let Some(affine) = &layer.affine {
            for value in &mut values {
                *value = *value * affine.scale[k] + affine.offset[k];
            }
        }
        if let (Some(with), Some(operand)) = (&layer.operand, operand) {
            for (index, value) in values.iter_mut().enumerate() {
                let channel = operand.channel(n, k);
                let other = match with.shape {
                    OperandShape::Same => channel[index],
                    OperandShape::PerChannel => channel[0],
                };
                match with.kind {
                    OperandKind::Add => *value += other,
                    OperandKind::Multiply => *value *= other,
                }
            }
        }
        if let Some(function) = &layer.function {
            for value in &mut values {
                *value = apply(function, k, *value);
            }
        }
        if let Some((low, high)) = layer.clamp {
            for value in &mut values {
                *value = value.max(low).min(high);
            }
        }
        match &layer.pool {
            Some(pool) => pooled(pool, &values, width),
            None => values,
        }
    };
    (0..source.n * channels)
        .into_par_iter()
        .flat_map_iter(one)
        .collect()
}

fn convolve(conv: &Conv, source: &Planes, n: usize, k: usize) -> Vec<f32> {
    let per_group = conv.c / conv.groups;
    let group = k as u32 / (conv.k / conv.groups);
    let mut sums = Vec::with_capacity((conv.y.output * conv.x.output) as usize);
    for y in 0..conv.y.output {
        for x in 0..conv.x.output {
            let mut sum = 0f64;
            for c in 0..per_group {
                let plane = source.channel(n, (group * per_group + c) as usize);
                for r in 0..conv.y.kernel {
                    let Some(row) = conv.y.input(y, r) else {
                        continue;
                    };
                    for s in 0..conv.x.kernel {
                        let Some(col) = conv.x.input(x, s) else {
                            continue;
                        };
                        let weight = conv.weights[conv.index(k as u32, c, r, s)];
                        let at = row as usize * source.plane[1] + col as usize;
                        sum += f64::from(weight) * f64::from(plane[at]);
                    }
                }
            }
            sums.push(sum as f32);
        }
    }
    sums
}

fn apply(function: &Function, channel: usize, value: f32) -> f32 {
    match function {
        Function::Leaky(slopes) if value < 0.0 => value * slopes[channel],
        Function::Leaky(_) => value,
        Function::Curve(curve) => curve.expression.at(&[f64::from(value)]) as f32,
    }
}

fn pooled(pool: &Pool, values: &[f32], width: usize) -> Vec<f32> {
    // The divisor is the machine's own rule.
    let counted = scnn_isa::layer::Pool {
        kind: pool.kind,
        y: pool.y,
        x: pool.x,
        multiplier: 1,
        shift: 0,
    };
    let window = |y: u32, x: u32| {
        (0..pool.y.kernel)
            .filter_map(move |r| pool.y.input(y, r))
            .flat_map(move |row| {
                (0..pool.x.kernel)
                    .filter_map(move |s| pool.x.input(x, s))
                    .map(move |col| (row, col))
            })
            .map(|(row, col)| values[row as usize * width + col as usize])
    };
    (0..pool.y.output)
        .flat_map(|y| (0..pool.x.output).map(move |x| (y, x)))
        .map(|(y, x)| match pool.kind {
            PoolKind::Max => window(y, x).fold(f32::NEG_INFINITY, f32::max),
            PoolKind::Average | PoolKind::AverageWithPadding => {
                let sum: f64 = window(y, x).map(f64::from).sum();
                (sum / f64::from(counted.count(y, x).max(1))) as f32
            }
        })
        .collect()
}
