//! How wide the operands of every layer are: `16`, `w8a16`, and other widths for single layers.
//!
//! The width of a layer is that of its weights and of the activations it **reads**. A tensor that several layers read
//! is as wide as the widest of them asks; one that no layer reads has the width of the network. Where no width is given,
//! operands are as wide as the machine's; a wider one is refused.

use crate::graph::{Graph, NodeId, Op};
use crate::names::{NameError, resolve};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Widths of a layer's operands, 2..=16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperandBits {
    /// Bits of weights, the sign included.
    pub weights: u32,
    /// Bits of activations, the sign included.
    pub activations: u32,
}

impl OperandBits {
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

impl fmt::Display for OperandBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.weights == self.activations {
            write!(f, "{}", self.weights)
        } else {
            write!(f, "w{}a{}", self.weights, self.activations)
        }
    }
}

crate::text::kept_as_text!(OperandBits);

impl FromStr for OperandBits {
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Widths {
    /// Of every layer that is not named; none for the width of the machine's operands.
    pub network: Option<OperandBits>,
    /// By name of a layer, or of any ONNX node in it; see [`crate::names`].
    pub layers: BTreeMap<String, OperandBits>,
}

/// Why widths do not fit a graph or a machine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WidthError {
    /// A width is given for a layer that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A width exceeds that of the machine's operands.
    #[error("{subject} shall have operands of {wanted} bits; those of the machine have {machine}")]
    TooWide {
        /// The network, or the layer as it was named.
        subject: String,
        /// The width asked for.
        wanted: OperandBits,
        /// Bits of the machine's operands.
        machine: u32,
    },
}

/// Widths with all names resolved.
#[derive(Clone, Debug)]
pub struct Resolved {
    network: OperandBits,
    layers: BTreeMap<NodeId, OperandBits>,
}

impl Widths {
    /// Width of every layer that is not named, on a machine with operands of `machine` bits.
    pub fn of_network(&self, machine: u32) -> OperandBits {
        self.network.unwrap_or(OperandBits::both(machine))
    }

    /// Finds the layers of `graph` that are named, for a machine with operands of `machine` bits.
    ///
    /// # Errors
    /// The first width that exceeds the machine's, or the first name that is not a layer's.
    pub fn resolve(&self, graph: &Graph, machine: u32) -> Result<Resolved, WidthError> {
        let network = self
            .network
            .iter()
            .map(|&bits| ("the network".to_owned(), bits));
        let layers = self
            .layers
            .iter()
            .map(|(name, &bits)| (format!("layer `{name}`"), bits));
        for (subject, wanted) in network.chain(layers) {
            if wanted.weights.max(wanted.activations) > machine {
                return Err(WidthError::TooWide {
                    subject,
                    wanted,
                    machine,
                });
            }
        }
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
            .collect::<Result<_, NameError>>()?;
        Ok(Resolved {
            network: self.of_network(machine),
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
            Op::Concat | Op::Slice(_) | Op::Rename(_) => Some(self.activations(graph, reader)),
            Op::Input | Op::Map(_) | Op::Host(_) | Op::HostOutput(_) => None,
        });
        asked.max().unwrap_or(self.network.activations)
    }

    /// Bits of activations where no layer asks for others.
    pub fn of_network(&self) -> u32 {
        self.network.activations
    }

    fn of(&self, layer: NodeId) -> OperandBits {
        self.layers.get(&layer).copied().unwrap_or(self.network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::graph::weights::Weights;
    use crate::graph::{Conv, Layer};
    use crate::quantise::observed::{Observed, layer, rectifier};
    use scnn_isa::plane::Axis;

    #[test]
    fn a_width_is_as_wide_as_its_largest_magnitude() {
        assert_eq!([2, 8, 16].map(magnitude), [1, 127, 32767]);
    }

    #[test]
    fn a_width_is_text_in_a_file() {
        let bits = OperandBits {
            weights: 8,
            activations: 16,
        };
        assert_eq!(String::from(bits), "w8a16");
        assert_eq!(OperandBits::try_from("w8a16".to_owned()), Ok(bits));
    }

    fn pointwise() -> Op {
        layer(|layer: &mut Layer| {
            layer.conv = Some(Conv {
                weights: Weights::from(vec![1.0]),
                k: 1,
                c: 1,
                groups: 1,
                y: Axis::identity(2),
                x: Axis::identity(2),
            });
        })
    }

    /// `x` is read by `a`, and by `b` by way of a concatenation; `c` is read by nobody.
    #[test]
    fn a_tensor_is_as_wide_as_the_widest_of_its_readers_asks() {
        let mut observed = Observed::default();
        let seen = (1.0, 1.0);
        let x = observed.add(("x", 1), seen, Op::Input, &[]);
        let p = observed.add(("p", 1), seen, rectifier(), &[x]);
        let a = observed.add(("a", 1), seen, pointwise(), &[p]);
        let k = observed.add(("k", 2), seen, Op::Concat, &[p]);
        let b = observed.add(("b", 1), seen, pointwise(), &[k]);
        let widths = |a: &str, b: &str| {
            let layers = [("/a", a), ("/b", b)];
            let layers = layers.map(|(name, bits)| (name.to_owned(), bits.parse().unwrap()));
            let network = Some(OperandBits::both(5));
            let widths = Widths {
                network,
                layers: layers.into_iter().collect(),
            };
            widths.resolve(&observed.graph, 16).unwrap()
        };
        let asked = widths("w3a8", "w4a6");
        assert_eq!((asked.weights(a), asked.weights(b)), (3, 4));
        let of = |widths: &Resolved, node| widths.activations(&observed.graph, node);
        assert_eq!((of(&asked, p), of(&asked, k)), (8, 6));
        assert_eq!((of(&asked, x), of(&asked, b)), (5, 5));
        assert_eq!(of(&widths("w3a8", "w4a12"), p), 12);
        let unknown = Widths {
            layers: [("/p".to_owned(), OperandBits::both(8))]
                .into_iter()
                .collect(),
            ..Widths::default()
        };
        assert!(
            unknown.resolve(&observed.graph, 16).is_err(),
            "it has no weights"
        );
    }

    #[test]
    fn operands_are_as_wide_as_the_machine_s_unless_narrower_ones_are_asked_for() {
        let observed = Observed::default();
        let resolved = |widths: &Widths| widths.resolve(&observed.graph, 11);
        assert_eq!(resolved(&Widths::default()).unwrap().of_network(), 11);
        let asked = |bits| Widths {
            network: Some(OperandBits::both(bits)),
            ..Widths::default()
        };
        assert_eq!(resolved(&asked(8)).unwrap().of_network(), 8);
        let refused = resolved(&asked(12)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "the network shall have operands of 12 bits; those of the machine have 11"
        );
    }

    #[test]
    fn widths_are_read_as_they_are_written() {
        for text in ["8", "w8a16", "w4a2"] {
            assert_eq!(text.parse::<OperandBits>().unwrap().to_string(), text);
        }
        for text in ["1", "17", "w8", "wa", "a8w8", ""] {
            assert!(text.parse::<OperandBits>().is_err(), "{text}");
        }
        assert_eq!("w8a8".parse(), Ok(OperandBits::both(8)));
    }
}
