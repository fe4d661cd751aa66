//! A rich grammar of networks: whatever exporters write, in any order and on tensors of any rank.
//!
//! A network is a list of [`Choice`]s. Each names a feature of the table [`FEATURES`] and has numbers that the feature makes
//! a valid node of, for whatever tensors there are by then; one that does not apply to any of them adds nothing. So every
//! list is a network, and a shorter list or a smaller number is a simpler one, which is how a failing network shrinks.

mod compute;
mod movement;

use crate::onnx::{Model, ints, noise};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use tract_onnx::pb::AttributeProto;
use tract_onnx::prelude::Tensor;

/// Most values of a tensor; what would make a larger one does not apply.
const MOST_VALUES: i64 = 6000;

/// What a network can have. A function adds nodes, or returns nothing where it does not apply.
pub const FEATURES: &[(&str, Feature)] = &[
    ("Conv", compute::conv),
    ("depthwise Conv", compute::depthwise),
    ("ConvTranspose", compute::conv_transpose),
    ("window pool", compute::pool),
    ("global pool", compute::global_pool),
    ("MatMul", compute::matmul),
    ("MatMul of activations", compute::matmul_of_activations),
    ("Gemm", compute::gemm),
    ("activation", compute::activation),
    ("BatchNormalization", compute::batch_norm),
    ("constant operand", compute::with_constant),
    ("two operands", compute::two_operands),
    ("gate", compute::gate),
    ("host operator", compute::on_host),
    ("reduction", compute::reduction),
    ("QDQ", compute::qdq),
    ("moved in integers", compute::moved_in_integers),
    ("QDQ around", compute::qdq_around),
    ("channels last", compute::channels_last),
    ("Concat", movement::concat),
    ("Split", movement::split),
    ("Slice", movement::slice),
    ("Transpose", movement::transpose),
    ("Reshape", movement::reshape),
    ("Flatten", movement::flatten),
    ("Squeeze", movement::squeeze),
    ("Unsqueeze", movement::unsqueeze),
    ("Identity", movement::identity),
    ("Pad", movement::pad),
    ("Resize", movement::resize),
    ("blocks", movement::blocks),
    ("Gather", movement::gather),
    ("Expand", movement::expand),
];

/// Adds nodes to a network; nothing where it does not apply.
pub type Feature = fn(&mut Builder, &Choice) -> Option<()>;

/// One decision of a network.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Index in [`FEATURES`].
    feature: usize,
    /// Which tensor it is applied to, counted from the newest; most often that.
    of: usize,
    /// Numbers for its attributes.
    numbers: [u32; 8],
    /// Seed of its weights.
    seed: u64,
}

impl Choice {
    /// Number `index`, in a range.
    fn within(&self, index: usize, range: Range<i64>) -> i64 {
        range.start + i64::from(self.numbers[index]) % (range.end - range.start).max(1)
    }

    fn flag(&self, index: usize) -> bool {
        self.numbers[index] % 2 == 1
    }
}

/// A random network of the grammar.
#[derive(Clone, Debug)]
pub struct Network {
    dims: Vec<i64>,
    choices: Vec<Choice>,
    /// Which tensors are outputs besides the newest, counted from the newest.
    outputs: Vec<usize>,
    seed: u64,
}

/// Networks of so many choices.
pub fn networks(choices: Range<usize>) -> impl Strategy<Value = Network> {
    let of = prop_oneof![3 => Just(0usize), 1 => 1usize..4, 1 => 0usize..40];
    let choice = (0..FEATURES.len(), of, any::<[u32; 8]>(), any::<u64>());
    let choice = choice.prop_map(|(feature, of, numbers, seed)| Choice {
        feature,
        of,
        numbers,
        seed,
    });
    let dims = prop_oneof![
        4 => prop::collection::vec(1i64..12, 4),
        2 => prop::collection::vec(1i64..14, 3),
        2 => prop::collection::vec(1i64..40, 2),
        2 => prop::collection::vec(1i64..7, 1..7),
    ];
    (
        dims,
        prop::collection::vec(choice, choices),
        prop::collection::vec(0usize..40, 0..3),
        any::<u64>(),
    )
        .prop_map(|(dims, choices, outputs, seed)| Network {
            dims,
            choices,
            outputs,
            seed,
        })
        .prop_filter("it is small", |network| {
            network.dims.iter().product::<i64>() <= MOST_VALUES
        })
}

impl Network {
    fn built(&self) -> Builder {
        let mut builder = Builder {
            model: Model::new("rich").input("x", &self.dims),
            tensors: vec![("x".to_owned(), self.dims.clone())],
            count: 0,
            features: BTreeMap::new(),
        };
        for choice in &self.choices {
            let (name, feature) = FEATURES[choice.feature];
            let before = builder.model.graph.node.len();
            let applies = feature(&mut builder, choice).is_some();
            // Of several nodes the first may apply alone.
            if applies || builder.model.graph.node.len() > before {
                *builder.features.entry(name).or_default() += 1;
            }
        }
        builder
    }

    /// The names of its outputs; the newest tensor is one.
    pub fn outputs(&self) -> Vec<String> {
        let tensors = self.built().tensors;
        let picks = std::iter::once(&0).chain(&self.outputs);
        let picked = picks.map(|pick| tensors[tensors.len() - 1 - pick % tensors.len()].0.clone());
        let mut names: Vec<String> = Vec::new();
        picked.for_each(|name| {
            // An input that is itself an output is no graph of ONNX's checker; `Identity` makes it one.
            if name != "x" && !names.contains(&name) {
                names.push(name);
            }
        });
        names
    }

    /// How often it has each feature.
    pub fn features(&self) -> BTreeMap<&'static str, usize> {
        self.built().features
    }

    /// The ONNX file.
    pub fn bytes(&self) -> Vec<u8> {
        let model = self.built().model;
        let outputs = self.outputs();
        outputs
            .iter()
            .fold(model, |model, name| model.output(name))
            .bytes()
    }

    /// Extents of the input.
    pub fn dims(&self) -> Vec<usize> {
        self.dims.iter().map(|&extent| extent as usize).collect()
    }

    /// What the input holds.
    pub fn values(&self) -> Vec<f32> {
        noise(self.dims().iter().product(), self.seed, 0.8)
    }

    /// The input.
    pub fn input(&self) -> Tensor {
        Tensor::from_shape(&self.dims(), &self.values()).unwrap()
    }
}

/// A network under construction.
pub struct Builder {
    model: Model,
    /// Name and extents of every tensor of floats, oldest first.
    tensors: Vec<(String, Vec<i64>)>,
    /// Tensors so far, constants and integers included.
    count: usize,
    features: BTreeMap<&'static str, usize>,
}

impl Builder {
    /// The tensor that a choice is for.
    fn operand(&self, choice: &Choice) -> (String, Vec<i64>) {
        let newest = self.tensors.len() - 1;
        self.tensors[newest - choice.of % self.tensors.len()].clone()
    }

    /// The same, the next older one that `fits`.
    fn operand_that(
        &self,
        choice: &Choice,
        fits: impl Fn(&[i64]) -> bool,
    ) -> Option<(String, Vec<i64>)> {
        let fitting = self.tensors.iter().rev().filter(|(_, dims)| fits(dims));
        let fitting: Vec<_> = fitting.collect();
        let picked = fitting.get(choice.of % fitting.len().max(1))?;
        Some((*picked).clone())
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("t{}", self.count)
    }

    /// A constant of floats: noise whose sums over `fan_in` values stay near one.
    fn weights(&mut self, dims: &[i64], fan_in: i64, choice: &Choice) -> String {
        let density = [1.0, 0.6, 0.3][choice.numbers[7] as usize % 3];
        let scale = 1.5 / (fan_in.max(1) as f32).sqrt();
        let count = dims.iter().product::<i64>() as usize;
        let values: Vec<f32> = noise(count, choice.seed ^ self.count as u64, density)
            .iter()
            .map(|value| value * scale)
            .collect();
        self.floats(dims, &values)
    }

    fn floats(&mut self, dims: &[i64], values: &[f32]) -> String {
        let name = self.name();
        self.model = std::mem::take(&mut self.model).floats(&name, dims, values);
        name
    }

    fn integers(&mut self, values: &[i64]) -> String {
        let name = self.name();
        self.model = std::mem::take(&mut self.model).integers(&name, values);
        name
    }

    /// Adds a node without a tensor of floats as its result; the result's name.
    fn node(&mut self, operator: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let name = self.name();
        self.model = std::mem::take(&mut self.model).node(operator, inputs, &name, attributes);
        name
    }

    /// Adds a node whose result is a tensor of floats of these extents, if that is not too large.
    fn push(
        &mut self,
        operator: &str,
        inputs: &[&str],
        dims: Vec<i64>,
        attributes: Vec<AttributeProto>,
    ) -> Option<String> {
        let sized = dims.iter().product::<i64>() <= MOST_VALUES;
        if !sized || dims.iter().any(|&extent| extent < 1) || dims.len() > 6 {
            return None;
        }
        let name = self.node(operator, inputs, attributes);
        self.tensors.push((name.clone(), dims));
        Some(name)
    }

    /// Adds a `Transpose`; its result is no tensor that others pick.
    fn transposed(&mut self, input: &str, order: &[i64]) -> String {
        self.node("Transpose", &[input], vec![ints("perm", order)])
    }
}
