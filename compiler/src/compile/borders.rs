//! What is lost where functions make a small difference large: on the host's side of the border, and in tables.
//!
//! A tensor that the machine stores has 16 bits for all of its values. What is computed of it is mostly as precise, but the
//! logarithm or the root of a value that is far below the largest is not, nor is a quotient by one. Whether that matters
//! depends on the values, so it is tried on the first calibration sample:
//!
//! - A segment of the host with such an operator runs on floats and on the same rounded as the machine stores them. Where
//!   less than [`FLOOR_DB`] of a result is left, what computes the tensor for the host alone runs there as well, back to the
//!   nearest convolution and with it.
//! - A table of such a function is evaluated beside its argument, at the distance by which rounding moves that. Where less is
//!   left, its layer runs on the host.
//!
//! Then the same is asked again. Most of the network's work stays on the array all the same ([`MOST_OF_WORK`]).

use super::Sample;
use super::fallback::Fallback;
use super::powers::{MOST_OF_WORK, convolution, work};
use crate::calibrate::Calibration;
use crate::graph::{Curve, Function, Graph, Layer, NodeId, Op};
use crate::quantise::{HostOperation, Quantised};
use crate::reference::accuracy::{Comparison, floats};
use crate::reference::interpret::rounded;
use prost::Message;
use scnn_host::datum_type;
use scnn_host::{Host, Session};
use scnn_isa::ids::TensorId;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::prelude::Tensor;

/// Decibels of a segment's result that its operands' rounding leaves, at least.
const FLOOR_DB: f64 = 55.0;

/// Decibels above the floor from which an operand by itself is not the one.
const OF_ONE_DB: f64 = 3.0;

/// Most times that the network is compiled anew for this.
const MOST_ROUNDS: u32 = 6;

/// Values on which a table is tried.
const MOST_VALUES: usize = 4096;

/// Operators that make small differences large.
const STEEP: &[&str] = &[
    "Div",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "Pow",
    "Reciprocal",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "Sqrt",
];

/// What has moved to the host so far.
#[derive(Debug, Default)]
pub(super) struct Moved {
    nodes: BTreeSet<String>,
    /// Multiplications.
    work: f64,
    rounds: u32,
}

impl Moved {
    /// The nodes.
    pub(super) fn nodes(&self) -> &BTreeSet<String> {
        &self.nodes
    }

    /// Moves what an earlier compilation found, once.
    pub(super) fn known(&mut self, nodes: &BTreeSet<String>) -> Vec<Fallback> {
        let new: Vec<String> = nodes.difference(&self.nodes).cloned().collect();
        if new.is_empty() {
            return Vec::new();
        }
        self.nodes.extend(new.iter().cloned());
        vec![Fallback {
            nodes: new,
            reason: "rounding its result to 16 bits loses too much of what the host computes of it, by the calibration"
                .to_owned(),
            is_fault: false,
        }]
    }

    /// What has to move because of the segments of a network as it is.
    pub(super) fn more(&mut self, segments: &SegmentedNetwork<'_>) -> Vec<Fallback> {
        if self.rounds == MOST_ROUNDS {
            return Vec::new();
        }
        self.rounds += 1;
        let graph = segments.graph;
        let operands = segments.lossy().into_iter();
        let operands = operands.map(|(tensor, decibels)| HostCandidate {
            decibels,
            nodes: segments.computed_for_host(&tensor),
            reason: format!(
                "rounding `{tensor}` to 16 bits leaves {decibels:.1} dB of what the host computes of it"
            ),
        });
        let mut candidates: Vec<HostCandidate> = operands.chain(segments.blunt()).collect();
        if candidates.is_empty() {
            return Vec::new();
        }
        let left: f64 = graph.dag.node_indices().map(|id| work(graph, id)).sum();
        let most = MOST_OF_WORK * (self.work + left);
        let mut found = Vec::new();
        // What loses most comes first.
        candidates.sort_by(|a, b| a.decibels.total_cmp(&b.decibels));
        for HostCandidate {
            nodes: moved,
            reason,
            ..
        } in candidates
        {
            let nodes = moved
                .iter()
                .flat_map(|&id| graph.dag[id].onnx_nodes.clone());
            let nodes: Vec<String> = nodes.filter(|node| !self.nodes.contains(node)).collect();
            let work: f64 = moved.iter().map(|&id| work(graph, id)).sum();
            if nodes.is_empty() || self.work + work > most {
                continue;
            }
            self.work += work;
            self.nodes.extend(nodes.iter().cloned());
            found.push(Fallback {
                nodes,
                reason,
                is_fault: false,
            });
        }
        found
    }
}

/// The tensors whose float values are asked for.
pub(super) fn values_asked<'a>(graph: &'a Graph, network: &'a Quantised) -> BTreeSet<&'a str> {
    let segments = network.segments().filter(|segment| is_steep(segment));
    let operands = segments.flat_map(|segment| &segment.inputs);
    let operands = operands.map(|&value| network.values[value].name.as_str());
    let arguments = graph.dag.node_weights().filter_map(|node| match &node.op {
        Op::Layer(layer) => match &layer.function {
            Some(Function::Curve(curve)) => Some(curve.argument.as_str()),
            _ => None,
        },
        _ => None,
    });
    operands.chain(arguments).collect()
}

/// What would move to the host.
struct HostCandidate {
    /// What is left of what is computed of its result.
    decibels: f64,
    nodes: BTreeSet<NodeId>,
    reason: String,
}

/// A network with its host segments, and what is known of its values.
pub(super) struct SegmentedNetwork<'a> {
    pub graph: &'a Graph,
    pub network: &'a Quantised,
    /// Float values on a sample.
    pub observed: &'a Sample,
    pub calibration: &'a Calibration,
    pub host: &'a Host,
}

impl SegmentedNetwork<'_> {
    /// The machine's tensors whose rounding loses too much of what the host computes of them, and what it leaves.
    fn lossy(&self) -> Vec<(String, f64)> {
        let segments = self.network.segments();
        let segments = segments.filter(|segment| is_steep(segment));
        segments
            .filter_map(|segment| self.lossy_operands(segment))
            .flatten()
            .collect()
    }

    /// Those of one segment; none where it cannot be tried.
    fn lossy_operands(&self, segment: &HostOperation) -> Option<Vec<(String, f64)>> {
        let values = || segment.inputs.iter().map(|&v| &self.network.values[v]);
        let exact = values().map(|value| {
            let tensor = self.observed.get(&value.name)?;
            let cast = tensor.cast_to_dt(datum_type(value.dtype)).ok()?;
            Some(cast.into_owned())
        });
        let exact: Vec<Tensor> = exact.collect::<Option<_>>()?;
        let stored = values().zip(&exact);
        let stored = stored.map(|(value, tensor)| rounded(self.network, value, tensor).ok());
        let stored: Vec<Tensor> = stored.collect::<Option<_>>()?;
        let model = segment.model.encode_to_vec();
        let session = self.host.load(segment.runtime, &model).ok()?;
        let wanted = session.run(exact.clone()).ok()?;
        if kept(&*session, stored.clone(), &wanted)? >= FLOOR_DB {
            return Some(Vec::new());
        }
        let mut found = Vec::new();
        for (index, value) in values().enumerate() {
            let mut operands = exact.clone();
            operands[index].clone_from(&stored[index]);
            let decibels = kept(&*session, operands, &wanted)?;
            if value.tensor.is_some() && decibels < FLOOR_DB + OF_ONE_DB {
                found.push((value.name.clone(), decibels));
            }
        }
        Some(found)
    }

    /// The layers whose function is too steep for how its argument is rounded, and why.
    fn blunt(&self) -> Vec<HostCandidate> {
        let layers = self.network.layers();
        let sources: BTreeMap<&str, TensorId> = layers
            .map(|layer| (layer.tensor.as_str(), layer.source.tensor))
            .collect();
        let of = |id: NodeId| {
            let node = &self.graph.dag[id];
            let Op::Layer(layer) = &node.op else {
                return None;
            };
            let Some(Function::Curve(curve)) = &layer.function else {
                return None;
            };
            let source = self.network.tensor(*sources.get(node.tensor.as_str())?);
            let decibels = self.left_by(layer, curve, f64::from(source.scale))?;
            let reason = format!(
                "the rounding of its argument leaves {decibels:.1} dB of `{}`",
                curve.expression
            );
            (decibels < FLOOR_DB).then(|| HostCandidate {
                decibels,
                nodes: BTreeSet::from([id]),
                reason,
            })
        };
        self.graph.dag.node_indices().filter_map(of).collect()
    }

    /// Decibels that are left of a steep function of what a layer reads in units of `unit`.
    fn left_by(&self, layer: &Layer, curve: &Curve, unit: f64) -> Option<f64> {
        if !curve.expression.enlarges_small_values() {
            return None;
        }
        let argument = floats(self.observed.get(&curve.argument)?);
        let range = self.calibration.ranges.get(&curve.argument)?;
        // Of a sum of rounded values, on average over the channels; and its own.
        let passed = layer.conv.as_ref().map_or(1.0, |conv| {
            let squares = conv.weights.iter().map(|&w| f64::from(w) * f64::from(w));
            squares.sum::<f64>() / f64::from(conv.k)
        });
        let own = (f64::from(range.max) - f64::from(range.min)) / 65535.0;
        let spread = ((passed * unit * unit + own * own) / 12.0).sqrt();
        let (mut signal, mut noise) = (0.0, 0.0);
        let step = argument.len().div_ceil(MOST_VALUES).max(1);
        for &x in argument.iter().step_by(step) {
            let at = |x: f64| curve.expression.at(&[x]);
            let (x, y) = (f64::from(x), at(f64::from(x)));
            let off = (at(x + spread) - y).abs();
            if y.is_finite() && off.is_finite() {
                signal += y * y;
                noise += off * off;
            }
        }
        (noise > 0.0).then(|| 10.0 * (signal / noise).log10())
    }

    /// What computes a tensor that only the host reads, back to the nearest convolutions.
    fn computed_for_host(&self, tensor: &str) -> BTreeSet<NodeId> {
        let graph = self.graph;
        let mut nodes = graph.dag.node_indices();
        let computes =
            |id: &NodeId| graph.dag[*id].tensor == tensor && graph.dag[*id].op.is_of_machine();
        let mut taken = BTreeSet::new();
        let mut open: Vec<NodeId> = nodes.find(computes).into_iter().collect();
        while let Some(id) = open.pop() {
            let readers = graph.consumers(id);
            let for_host = |&(reader, _): &(NodeId, u32)| {
                taken.contains(&reader) || matches!(graph.dag[reader].op, Op::Host(_))
            };
            let alone = readers.iter().all(for_host) && graph.dag[id].grid.is_none();
            if alone
                && graph.dag[id].op.is_of_machine()
                && taken.insert(id)
                && convolution(graph, id).is_none()
            {
                open.extend(graph.operands(id));
            }
        }
        taken
    }
}

fn is_steep(segment: &HostOperation) -> bool {
    let graph = segment.model.graph.as_ref();
    graph.is_some_and(|graph| {
        graph
            .node
            .iter()
            .any(|node| STEEP.contains(&&*node.op_type))
    })
}

/// Decibels that a segment keeps of its results, of the one of which it keeps least.
fn kept(session: &dyn Session, operands: Vec<Tensor>, wanted: &[Tensor]) -> Option<f64> {
    let results = session.run(operands).ok()?;
    let mut least = f64::INFINITY;
    for (result, wanted) in results.iter().zip(wanted) {
        let (result, wanted) = (floats(result), floats(wanted));
        // What the floats have no number for the integers need not have either.
        if wanted.iter().all(|value| value.is_finite()) {
            let mut comparison = Comparison::default();
            comparison.add(&result, &wanted);
            let decibels = comparison.sqnr_db();
            least = least.min(if decibels.is_nan() {
                f64::NEG_INFINITY
            } else {
                decibels
            });
        }
    }
    Some(least)
}
