//! How wide the operands of every layer are: `16`, `w8a16`, and other widths for single layers.
//!
//! The width of a layer is that of its weights and of the activations it **reads**. A tensor that several layers read
//! is as wide as the widest of them asks; one that no layer reads has the width of the network.

use crate::graph::{Graph, NodeId, Op};
use crate::names::{NameError, resolve};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Widths of a layer's operands, 2..=16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bits {
    /// Bits of weights, the sign included.
    pub weights: u32,
    /// Bits of activations, the sign included.
    pub activations: u32,
}

impl Bits {
    /// Weights and activations of `bits`.
    pub const fn both(bits: u32) -> Self {
        Self {
            weights: bits,
            activations: bits,
        }
    }
}

/// Largest magnitude of a signed integer of `bits` whose range is symmetric.
pub const fn magnitude(bits: u32) -> i32 {
    (1 << (bits - 1)) - 1
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.weights == self.activations {
            write!(f, "{}", self.weights)
        } else {
            write!(f, "w{}a{}", self.weights, self.activations)
        }
    }
}

impl From<Bits> for String {
    fn from(bits: Bits) -> Self {
        bits.to_string()
    }
}

impl TryFrom<String> for Bits {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Bits {
    type Err = String;

    /// `8`, or `w8a16`.
    fn from_str(text: &str) -> Result<Self, String> {
        let bits = |word: &str| {
            let bits = word.parse().ok().filter(|bits| (2..=16).contains(bits));
            bits.ok_or_else(|| format!("`{text}` is no width: give 2 to 16, or w8a16"))
        };
        match text.strip_prefix('w').and_then(|rest| rest.split_once('a')) {
            Some((weights, activations)) => Ok(Self {
                weights: bits(weights)?,
                activations: bits(activations)?,
            }),
            None => bits(text).map(Self::both),
        }
    }
}

/// Widths of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widths {
    /// Of every layer that is not named.
    pub network: Bits,
    /// By name of a layer, or of any ONNX node in it; see [`crate::names`].
    pub layers: BTreeMap<String, Bits>,
}

impl Default for Widths {
    fn default() -> Self {
        Self {
            network: Bits::both(16),
            layers: BTreeMap::new(),
        }
    }
}

/// Widths with all names resolved.
#[derive(Clone, Debug)]
pub struct Resolved {
    network: Bits,
    layers: BTreeMap<NodeId, Bits>,
}

impl Widths {
    /// Finds the layers of `graph` that are named.
    ///
    /// # Errors
    /// The first name that is not a layer's.
    pub fn resolve(&self, graph: &Graph) -> Result<Resolved, NameError> {
        let mut entries: Vec<(&str, NodeId)> = Vec::new();
        for id in graph.order() {
            let node = &graph.dag[id];
            if matches!(&node.op, Op::Layer(layer) if layer.conv.is_some()) {
                entries.extend(node.onnx_nodes.iter().map(|name| (name.as_str(), id)));
            }
        }
        let layers = self
            .layers
            .iter()
            .map(|(name, bits)| Ok((resolve(name, &entries)?, *bits)))
            .collect::<Result<_, _>>()?;
        Ok(Resolved {
            network: self.network,
            layers,
        })
    }
}

impl Resolved {
    /// Bits of the weights of a layer.
    pub fn weights(&self, layer: NodeId) -> u32 {
        self.of(layer).weights
    }

    /// Bits of the result of a node: what its readers ask for.
    pub fn activations(&self, graph: &Graph, node: NodeId) -> u32 {
        let readers = graph.consumers(node).into_iter();
        let asked = readers.filter_map(|(reader, _)| match graph.dag[reader].op {
            Op::Layer(_) => Some(self.of(reader).activations),
            Op::Concat | Op::Slice(_) | Op::Rename => Some(self.activations(graph, reader)),
            Op::Input | Op::Host(_) | Op::HostOutput(_) => None,
        });
        asked.max().unwrap_or(self.network.activations)
    }

    fn of(&self, layer: NodeId) -> Bits {
        self.layers.get(&layer).copied().unwrap_or(self.network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_read_as_they_are_written() {
        for text in ["8", "w8a16", "w4a2"] {
            assert_eq!(text.parse::<Bits>().unwrap().to_string(), text);
        }
        for text in ["1", "17", "w8", "wa", "a8w8", ""] {
            assert!(text.parse::<Bits>().is_err(), "{text}");
        }
        assert_eq!("w8a8".parse(), Ok(Bits::both(8)));
    }
}
