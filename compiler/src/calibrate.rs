//! Calibration: the ranges of activations, observed by running the float model on samples.
//!
//! The range of a tensor is that of its values ([`Method::MinMax`]), or cut where a [`histogram::Histogram`] of their
//! magnitudes says that the tail costs more than it tells. The shares of non-zeros and, where they are asked for, the
//! sums in the accumulators are kept beside them. [`mod@file`] is the YAML form, made to be edited.

pub mod file;
mod first;
pub mod histogram;
mod method;
mod observe;
mod observed;
mod octaves;
mod spacing;
mod synthetic;

pub use first::First;
pub use method::Method;
pub use observe::{Observations, observe};
pub use octaves::Octaves;
pub use synthetic::{synthetic, synthetic_input};

use crate::graph::{Graph, Op};
use scnn_isa::layer::OperandKind;
use scnn_isa::program::Dtype;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What was observed of every activation tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Where the samples came from.
    pub source: String,
    /// How many samples were run.
    pub samples: u32,
    /// How the ranges were made of what was observed.
    #[serde(default)]
    pub method: Method,
    /// By ONNX tensor name.
    pub ranges: BTreeMap<String, Range>,
    /// Of tensors whose channels differ much in range.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, Octaves>,
    /// By tensor name, the number of which all values are multiples, where there is one: pictures have a 255th.
    #[serde(default, alias = "steps", skip_serializing_if = "BTreeMap::is_empty")]
    pub spacings: BTreeMap<String, f32>,
    /// Largest magnitude of a sum as a share of the proven bound, by layer; compiling with [`crate::compile`] observes it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sums: BTreeMap<String, f64>,
    /// Nodes that the host runs because what it computes of their results loses too much when these are rounded.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub on_host: BTreeSet<String>,
}

impl Calibration {
    /// Ranges of -1..1 for the tensors of those names, where nobody asks for values.
    pub fn made_up(names: impl IntoIterator<Item = String>) -> Self {
        let range = Range {
            min: -1.0,
            max: 1.0,
            density: 1.0,
        };
        Self {
            source: "nothing".to_owned(),
            ranges: names.into_iter().map(|name| (name, range)).collect(),
            ..Self::default()
        }
    }
}

/// Range of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
    /// Share of non-zeros, 0..=1.
    #[serde(default = "full")]
    pub density: f64,
}

fn full() -> f64 {
    1.0
}

/// The tensors whose ranges quantisation needs.
pub fn wanted(graph: &Graph) -> Vec<String> {
    let nodes = graph.dag.node_weights();
    let nodes = nodes.filter(|node| node.dtype == Dtype::F32 && !matches!(node.op, Op::Host(_)));
    let mut names: Vec<String> = nodes
        .flat_map(|node| std::iter::once(node.observed_name()).chain(inner_tensors(&node.op)))
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The tensors inside a layer whose ranges decide how it computes: arguments of tables, factors of products.
fn inner_tensors(op: &Op) -> impl Iterator<Item = &String> {
    let layer = match op {
        Op::Layer(layer) => Some(layer),
        _ => None,
    };
    let product = layer.and_then(|layer| {
        let operand = layer.operand.as_ref();
        let operand = operand.filter(|operand| operand.kind == OperandKind::Multiply);
        operand.map(|operand| &operand.value)
    });
    op.argument().into_iter().chain(product)
}
