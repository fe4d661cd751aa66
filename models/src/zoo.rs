//! Real architectures with synthetic weights, as ordinary ONNX files: the networks of the paper's evaluation and a
//! few that came later.
//!
//! Weights are random and pruned by magnitude to the densities of `zoo.yaml`. Biases (or batch normalisations) are set
//! such that, on one seeded and spatially correlated image, each layer reads activations of the density that is
//! published for it. The networks recognise nothing; their cost is that of trained ones.

mod architectures;
mod composites;
mod generate;
mod onnx;
mod plan;
mod random;
pub mod table;

pub use generate::{Layer, Made, MakeError, Options, make};
pub use onnx::Sink;

use serde::Deserialize;
use std::collections::BTreeMap;

/// The text of `zoo.yaml`: densities, each with its source.
pub const DENSITIES: &str = include_str!("../zoo.yaml");

/// Shares of non-zeros of one layer, 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Density {
    /// Of the weights.
    pub weights: f64,
    /// Of the activations that the layer reads.
    pub input: f64,
}

/// Densities by network and layer; `default` for all others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Densities {
    /// For layers that no table names.
    pub default: Density,
    /// By network, then by layer.
    #[serde(flatten)]
    pub networks: BTreeMap<String, BTreeMap<String, Density>>,
}

/// A network of the zoo.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Name, as on the command line and of the file.
    pub name: &'static str,
    /// Where the architecture comes from.
    pub source: &'static str,
    pub(crate) plan: fn() -> plan::Plan,
}

/// All networks.
pub const NETWORKS: &[Network] = architectures::NETWORKS;

impl Network {
    /// The network of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        NETWORKS.iter().find(|network| network.name == name)
    }

    /// Number of convolutions and fully connected layers, weights, and multiplications of a dense machine.
    pub fn size(&self) -> Size {
        (self.plan)().size()
    }
}

/// The size of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Convolutions and fully connected layers.
    pub layers: usize,
    /// Weights.
    pub weights: u64,
    /// Multiplications for one image.
    pub multiplies: u64,
}
