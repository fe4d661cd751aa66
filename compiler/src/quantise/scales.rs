//! Scale, width and range of every stored tensor.

use super::storage::{Storage, Stored};
use super::widths::{self, Resolved};
use super::{QuantiseError, Tensor};
use crate::calibrate::Calibration;
use crate::graph::{Graph, Grid, Layer, NodeId, Op};
use scnn_isa::yaml::nearest;

/// Values below are zeros: a unit of theirs would be no normal float.
const SMALLEST: f32 = f32::MIN_POSITIVE * 65536.0;

/// Scale and range of every stored tensor: the widest of everything that is written into it.
pub(super) fn scale_tensors(
    graph: &Graph,
    storage: &Storage,
    calibration: &Calibration,
    widths: &Resolved,
    headroom: f32,
) -> Result<Vec<Tensor>, QuantiseError> {
    let mut tensors = Vec::with_capacity(storage.tensors.len());
    for stored in &storage.tensors {
        if let Some(tensor) = on_grid(graph, stored, calibration) {
            tensors.push(tensor);
            continue;
        }
        let mut magnitude = 0f32;
        let writers = stored.writers.iter();
        let bits = writers.map(|&node| widths.activations(graph, node)).max();
        let limit = widths::magnitude(bits.unwrap_or(16));
        let (mut low, mut nonzero, mut total) = (0f32, 0f64, 0f64);
        for &node in &stored.writers {
            let name = &graph.dag[node].tensor;
            if let Some(Grid {
                scale,
                range: [least, most],
            }) = graph.dag[node].grid
            {
                // Of several grids the widest is held.
                let reach = scale * f32::from(least.saturating_neg().max(most));
                magnitude = magnitude.max(reach / headroom);
                low = low.min(f32::from(least));
                continue;
            }
            let range =
                calibration
                    .ranges
                    .get(name)
                    .ok_or_else(|| QuantiseError::MissingRange {
                        tensor: name.clone(),
                        misnamed: misnamed(graph, calibration, name),
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
        let magnitude = if magnitude >= SMALLEST {
            magnitude * headroom
        } else {
            1.0
        };
        if !magnitude.is_finite() {
            let writer = stored
                .writers
                .first()
                .map(|&node| &graph.dag[node].onnx_nodes);
            return Err(QuantiseError::Unstorable {
                node: writer
                    .and_then(|names| names.first().cloned())
                    .unwrap_or_default(),
                reason: format!(
                    "with headroom, the values of tensor `{}` reach beyond the largest float",
                    stored.name
                ),
            });
        }
        let high = limit as i16;
        tensors.push(Tensor {
            name: stored.name.clone(),
            shape: stored.shape,
            scale: magnitude / limit as f32,
            range: [if low >= 0.0 { 0 } else { -high }, high],
            density: if total > 0.0 { nonzero / total } else { 1.0 },
        });
    }
    Ok(tensors)
}

/// A tensor whose writers all round to one grid, which is the model's own quantisation.
fn on_grid(graph: &Graph, stored: &Stored, calibration: &Calibration) -> Option<Tensor> {
    let first = *stored.writers.first()?;
    let grid = graph.dag[first].grid?;
    let same = |&node: &NodeId| graph.dag[node].grid == Some(grid);
    stored.writers.iter().all(same).then(|| Tensor {
        name: stored.name.clone(),
        shape: stored.shape,
        scale: grid.scale,
        range: grid.range,
        density: calibration
            .ranges
            .get(&graph.dag[first].tensor)
            .map_or(1.0, |range| range.density),
    })
}

/// The name in the calibration that is none of the graph's and most like `name`.
fn misnamed(graph: &Graph, calibration: &Calibration, name: &str) -> Option<String> {
    let known: Vec<&str> = graph
        .dag
        .node_weights()
        .map(|n| n.tensor.as_str())
        .collect();
    let strangers = calibration.ranges.keys().map(String::as_str);
    nearest(name, strangers.filter(|name| !known.contains(name))).map(str::to_owned)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::Range;
    use crate::graph::Node;
    use crate::quantise::Options;
    use scnn_isa::machine::Machine;
    use scnn_isa::program::Dtype;

    /// A rectified input whose values reach `max`, quantised.
    fn quantised(max: f32) -> Result<f32, QuantiseError> {
        let node = |tensor: &str, op| Node {
            tensor: tensor.to_owned(),
            onnx_nodes: vec![format!("/{tensor}")],
            dtype: Dtype::F32,
            dims: vec![1, 1, 2, 2],
            grid: None,
            op,
        };
        let mut graph = Graph::default();
        let input = graph.add(node("x", Op::Input), &[]);
        let layer = Layer {
            clamp: Some((0.0, f32::INFINITY)),
            ..Layer::default()
        };
        let output = graph.add(node("y", Op::Layer(Box::new(layer))), &[input]);
        graph.inputs.push(input);
        graph.outputs.push(("y".to_owned(), output));
        let mut calibration = Calibration::default();
        for name in ["x", "y"] {
            let range = Range {
                min: 0.0,
                max,
                density: 1.0,
            };
            calibration.ranges.insert(name.to_owned(), range);
        }
        let machine = Machine::preset("scnn").unwrap();
        crate::quantise::quantise(&graph, &calibration, &machine, &Options::default())
            .map(|network| network.tensors[0].scale)
    }

    #[test]
    fn a_range_that_headroom_makes_infinite_is_refused_and_a_vanishing_one_is_zero() {
        let error = quantised(f32::MAX).unwrap_err();
        assert!(
            matches!(&error, QuantiseError::Unstorable { node, .. } if !node.is_empty()),
            "{error}"
        );
        assert_eq!(quantised(1e-42).unwrap(), 1.0 / 32767.0);
        assert!(quantised(1e30).unwrap().is_normal());
    }
}
