//! What a compiled network costs while its weights are pruned: cycles and energy of every layer, in a training loop.
//!
//! [`PruningCost`] holds what does not change, the machine, the mapping and where activations are not zero; a call of
//! [`PruningCost::cost`] has a mask or weights for each layer, in the shape of the model's own tensor, and predicts the layers
//! whose non-zeros changed. It does not compile: ranges, scales and the mapping stay those of the weights that the
//! network was compiled with, and so do the zeros of activations until others are observed ([`PruningCost::observe`]). What a
//! deep pruning costs under a mapping of its own takes a compilation.

mod correspondence;
mod marginal;

pub use crate::map::fixed::LayerCost;
pub use marginal::{Marginal, Next, Part};

use crate::compile::Compiled;
use crate::import::Imported;
use crate::map::fixed::FixedMapping;
use crate::names::{NameError, resolve};
use crate::prune::sites::{Site, sites};
use crate::quantise::nonzeros::NonzeroWeights;
use crate::quantise::nonzeros::bits::Bits;
use crate::quantise::{IntConv, IntLayer, Operation, Quantised};
use correspondence::{KernelExtents, Order};
use rayon::prelude::*;
use scnn_isa::ids::TensorId;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;
use tract_onnx::prelude::{DatumType, Tensor};

/// The costs of a network by layer, for any zeros of its weights.
#[derive(Debug)]
pub struct PruningCost {
    fixed: FixedMapping,
    tensors: Vec<Weighted>,
    left_out: Vec<String>,
}

/// The weights of a model before it is compiled.
#[derive(Clone, Debug)]
pub struct Originals(Vec<(Site, Vec<usize>, Vec<f32>)>);

/// A tensor of weights that may be pruned.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightTensor {
    /// ONNX node; the first of those that share the weights.
    pub name: String,
    /// Name of the tensor.
    pub tensor: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Share of non-zeros in the model.
    pub density: f64,
    /// The layers of the program that multiply with it.
    pub layers: Vec<String>,
}

/// What is said of a tensor of weights, in row-major order.
#[derive(Clone, Copy, Debug)]
pub enum Elements<'a> {
    /// Which of the weights stay.
    Mask(&'a [bool]),
    /// The weights.
    Values(&'a [f32]),
}

/// A mask or weights for a tensor.
#[derive(Clone, Copy, Debug)]
pub struct GivenWeights<'a> {
    /// An ONNX node or its tensor of weights, or a part of that name between slashes.
    pub name: &'a str,
    /// The shape.
    pub shape: &'a [usize],
    /// The elements.
    pub elements: Elements<'a>,
}

/// Why there is no cost.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CostError {
    /// The network has no weights that could be pruned.
    #[error("the model has no constant weights that the array multiplies with")]
    NoWeights,
    /// There is no such layer.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An array of another shape.
    #[error("the array for `{name}` has the shape {given:?}; its weights have {wanted:?}")]
    Shape {
        /// The layer.
        name: String,
        /// The array's.
        given: Vec<usize>,
        /// The tensor's.
        wanted: Vec<usize>,
    },
    /// Activations of another number.
    #[error(
        "the activations for `{name}` have the shape {given:?}; there are {elements} floats of them"
    )]
    Activations {
        /// The tensor.
        name: String,
        /// The array's shape.
        given: Vec<usize>,
        /// The tensor's elements.
        elements: usize,
    },
    /// Two arrays for one tensor.
    #[error("there are two arrays for the weights of `{0}`")]
    Twice(String),
    /// A part of the weights that is none.
    #[error("the part of the weights is {0}; it is more than 0 and at most 1")]
    Part(f64),
}

/// A tensor of weights and the operations that multiply with it.
#[derive(Debug)]
struct Weighted {
    about: WeightTensor,
    /// Names it may be called by.
    names: Vec<String>,
    /// The model's own.
    values: Vec<f32>,
    operations: Vec<Multiplied>,
}

/// An operation that multiplies with a tensor of weights.
#[derive(Debug)]
struct Multiplied {
    operation: usize,
    order: Order,
    extents: KernelExtents,
    /// Its integers as compiled, and the largest of them.
    compiled: Arc<Vec<i16>>,
    limit: f32,
    /// Those of them that are not zero, and those that rounding made so.
    own: Bits,
    rounded_away: Bits,
    /// Those that are not zero now.
    present: Bits,
}

impl Originals {
    /// The weights of `imported`.
    pub fn of(imported: &Imported) -> Self {
        let source = &imported.source;
        let found = sites(source, &|_| true).into_iter().filter_map(|site| {
            let shape = source.tensor(&site.tensor)?.shape().to_vec();
            let values = site.weights(source)?;
            Some((site, shape, values))
        });
        Self(found.collect())
    }
}

impl PruningCost {
    /// The costs of a network that was compiled from a model with the weights `originals`.
    ///
    /// # Errors
    /// A network without weights.
    pub fn new(originals: Originals, compiled: Compiled) -> Result<Self, CostError> {
        let Compiled {
            network,
            occupancy,
            mapped,
            program,
            ..
        } = compiled;
        let (mut tensors, mut left_out) = (Vec::new(), Vec::new());
        for (site, shape, values) in originals.0 {
            let operations = steps_of(&network, &site);
            if operations.is_empty() {
                continue;
            }
            match Weighted::of(&network, &site, shape, values, &operations) {
                Some(tensor) => tensors.push(tensor),
                None => left_out.push(site.name().to_owned()),
            }
        }
        if tensors.is_empty() {
            return Err(CostError::NoWeights);
        }
        Ok(Self {
            fixed: FixedMapping::new(network, program.machine, occupancy, mapped),
            tensors,
            left_out,
        })
    }

    /// The tensors of weights, in the model's order.
    pub fn tensors(&self) -> impl Iterator<Item = &WeightTensor> {
        self.tensors.iter().map(|tensor| &tensor.about)
    }

    /// Nodes whose weights a transform has permuted or combined; their layers keep the cost that they were compiled with.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The tensors of activations whose zeros decide the cost, by ONNX name: inputs and results of layers, with the number of
    /// their elements.
    pub fn activations(&self) -> BTreeMap<&str, usize> {
        let network = self.fixed.network();
        let elements = |tensor: TensorId, channels: usize| {
            let [n, _, h, w] = network.tensor(tensor).shape;
            [n, h, w]
                .map(|extent| extent as usize)
                .iter()
                .product::<usize>()
                * channels
        };
        let inputs = network.values.iter().filter_map(|value| {
            let channels = network.tensor(value.tensor?).shape[1] as usize;
            Some((value.name.as_str(), elements(value.tensor?, channels)))
        });
        let results = network
            .operations
            .iter()
            .filter_map(|operation| match operation {
                Operation::Layer(layer) => {
                    let of = layer.destination;
                    Some((
                        layer.tensor.as_str(),
                        elements(of.tensor, of.channels.len() as usize),
                    ))
                }
                Operation::Host(_) => None,
            });
        inputs.chain(results).collect()
    }

    /// Counts the zeros of activations anew: those of the tensors (by ONNX name) in `values`, floats of the sample that they
    /// are to be counted on. Others stay as they are.
    ///
    /// # Errors
    /// A name that is not one of [`PruningCost::activations`], or another number of elements.
    pub fn observe(&mut self, values: &BTreeMap<String, Tensor>) -> Result<(), CostError> {
        let known = self.activations();
        for (name, given) in values {
            let entries: Vec<(&str, usize)> = known.iter().map(|(&of, &size)| (of, size)).collect();
            let Some(&elements) = known.get(name.as_str()) else {
                return Err(CostError::Name(NameError::unknown(name, &entries)));
            };
            if given.len() != elements || given.datum_type() != DatumType::F32 {
                return Err(CostError::Activations {
                    name: name.clone(),
                    given: given.shape().to_vec(),
                    elements,
                });
            }
        }
        self.fixed.observe(values);
        Ok(())
    }

    /// The cost of every layer on the array, in the program's order, where the tensors have the zeros of `given` and all
    /// others those of the model.
    ///
    /// A mask says which weights stay. Of weights those are zero that are zero or that rounding makes so: in the units that
    /// the network was compiled with where they are the model's own, else in units of their output channel's largest.
    ///
    /// # Errors
    /// A name or a shape that does not fit; the costs remain as before.
    pub fn cost(
        &mut self,
        given: &[GivenWeights<'_>],
    ) -> Result<Vec<(String, LayerCost)>, CostError> {
        let elements = self.resolved(given)?;
        self.apply(&elements);
        let operations = self
            .fixed
            .network()
            .operations
            .iter()
            .zip(self.fixed.costs());
        let costs = operations.filter_map(|(operation, cost)| match operation {
            Operation::Layer(layer) => Some((layer.name.clone(), (*cost)?)),
            Operation::Host(_) => None,
        });
        Ok(costs.collect())
    }

    /// The names of tensors and of the nodes that use them, with the tensors' places.
    fn names(&self) -> Vec<(&str, usize)> {
        let named = self.tensors.iter().enumerate();
        let entries = named.flat_map(|(index, tensor)| {
            tensor.names.iter().map(move |name| (name.as_str(), index))
        });
        entries.collect()
    }

    /// By tensor, what is said of it.
    fn resolved<'a>(
        &self,
        given: &[GivenWeights<'a>],
    ) -> Result<Vec<Option<Elements<'a>>>, CostError> {
        let entries = self.names();
        let mut elements = vec![None; self.tensors.len()];
        for given in given {
            let index = resolve(given.name, &entries)?;
            let about = &self.tensors[index].about;
            let length = match given.elements {
                Elements::Mask(mask) => mask.len(),
                Elements::Values(values) => values.len(),
            };
            if given.shape != about.shape || length != self.tensors[index].values.len() {
                return Err(CostError::Shape {
                    name: given.name.to_owned(),
                    given: given.shape.to_vec(),
                    wanted: about.shape.clone(),
                });
            }
            if elements[index].replace(given.elements).is_some() {
                return Err(CostError::Twice(about.name.clone()));
            }
        }
        Ok(elements)
    }

    /// Takes over the non-zeros of all tensors, and predicts the operations for which they changed.
    fn apply(&mut self, elements: &[Option<Elements<'_>>]) {
        let tensors = self.tensors.par_iter_mut().zip(elements);
        let changed: Vec<(usize, Arc<NonzeroWeights>)> = tensors
            .flat_map_iter(|(tensor, elements)| tensor.apply(*elements))
            .collect();
        self.fixed.set(changed);
    }
}

/// The operations that compute a node of a site by convolution.
fn steps_of(network: &Quantised, site: &Site) -> Vec<usize> {
    let is_of = |operation: &Operation| match operation {
        Operation::Layer(layer) if layer.conv.is_some() => layer
            .onnx_nodes
            .iter()
            .any(|node| site.nodes.contains(node)),
        Operation::Layer(_) | Operation::Host(_) => false,
    };
    let operations = network.operations.iter().enumerate();
    let operations = operations.filter(|(_, operation)| is_of(operation));
    operations.map(|(operation, _)| operation).collect()
}

/// An operation's layer and convolution.
fn layer_of(network: &Quantised, operation: usize) -> Option<(&IntLayer, &IntConv)> {
    let layer = network.operations[operation].layer()?;
    Some((layer, layer.conv.as_ref()?))
}

impl Weighted {
    /// A tensor and the operations that multiply with it; none where one of them has other weights.
    fn of(
        network: &Quantised,
        site: &Site,
        shape: Vec<usize>,
        values: Vec<f32>,
        operations: &[usize],
    ) -> Option<Self> {
        let multiplied = operations.iter().map(|&operation| {
            let (layer, conv) = layer_of(network, operation)?;
            let source = network.tensor(layer.source.tensor);
            let order = Order::find(&values, &site.layout, (layer, conv), source)?;
            let largest = conv
                .weights
                .iter()
                .map(|weight| weight.unsigned_abs())
                .max();
            let extents = KernelExtents::of(layer, conv);
            let own = Bits::pack(&conv.weights, |weight| weight != 0);
            let nonzero = |at| values[order.index(at, &extents)] != 0.0;
            Some(Multiplied {
                operation,
                order,
                extents,
                compiled: Arc::clone(&conv.weights),
                limit: f32::from(largest.unwrap_or(0)),
                rounded_away: Bits::from_fn(conv.weights.len(), nonzero).without(&own),
                present: own.clone(),
                own,
            })
        });
        let multiplied: Vec<Multiplied> = multiplied.collect::<Option<_>>()?;
        let layers = operations
            .iter()
            .filter_map(|&operation| layer_of(network, operation));
        let mut names = site.nodes.clone();
        if !names.contains(&site.tensor) {
            names.push(site.tensor.clone());
        }
        Some(Self {
            about: WeightTensor {
                name: site.name().to_owned(),
                tensor: site.tensor.clone(),
                shape,
                density: crate::prune::pattern::density(&values),
                layers: layers.map(|(layer, _)| layer.name.clone()).collect(),
            },
            names,
            values,
            operations: multiplied,
        })
    }

    /// Takes over what is said of the tensor, its own weights without; returns the operations that it changed.
    fn apply(&mut self, elements: Option<Elements<'_>>) -> Vec<(usize, Arc<NonzeroWeights>)> {
        let own = &self.values;
        let changed = self.operations.iter_mut().filter_map(|of| {
            let present = match elements {
                None => of.own.clone(),
                Some(Elements::Mask(mask)) => of.masked(mask),
                Some(Elements::Values(values)) => of.rounded(own, values),
            };
            if present == of.present {
                return None;
            }
            of.present = present;
            Some((of.operation, of.gathered(&of.present)))
        });
        changed.collect()
    }
}

impl Multiplied {
    /// Its weights that are not zero where some are masked. What is zero in the model comes to life; what rounding made
    /// zero does not.
    fn masked(&self, mask: &[bool]) -> Bits {
        let stay = if self.order == Order::Direct {
            Bits::pack(mask, |stays| stays)
        } else {
            Bits::from_fn(mask.len(), |at| mask[self.order.index(at, &self.extents)])
        };
        stay.without(&self.rounded_away)
    }

    /// Its weights that are not zero where all have other values.
    fn rounded(&self, own: &[f32], values: &[f32]) -> Bits {
        let per_output = self.extents.per_output().max(1);
        let mut nonzero = Vec::with_capacity(self.compiled.len());
        for (k, compiled) in self.compiled.chunks(per_output).enumerate() {
            let index = |at: usize| self.order.index(k * per_output + at, &self.extents);
            let magnitudes = (0..compiled.len()).map(|at| values[index(at)].abs());
            let unit = magnitudes.fold(0f32, f32::max) / self.limit.max(1.0);
            nonzero.extend(compiled.iter().enumerate().map(|(at, &integer)| {
                let at = index(at);
                if values[at].to_bits() == own[at].to_bits() {
                    integer != 0
                } else {
                    values[at] != 0.0 && values[at].abs() >= unit / 2.0
                }
            }));
        }
        Bits::pack(&nonzero, |nonzero| nonzero)
    }

    /// The non-zeros of its weights by input channel.
    fn gathered(&self, nonzero: &Bits) -> Arc<NonzeroWeights> {
        Arc::new(NonzeroWeights::of_bits(
            nonzero,
            self.extents.groups as u32,
            [self.extents.per_in, self.extents.per_out, self.extents.taps].map(|of| of as u32),
        ))
    }
}
