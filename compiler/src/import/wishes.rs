//! How inputs and results of the host should lie, so that their readers take them as they are.
//!
//! Everything else has its placement from what computes it ([`crate::graph::placement`]). An operator that asks for a
//! placement is followed backwards, through changes of shape, orders of axes and operators of one value, to where its
//! operand comes from. If that is an input or a result of the host, the operator has a vote: for the placement that the
//! tensor has by the position of its axes if that suits it, else for that of the operand from which the host made it, else
//! for the one that it asks for. Most votes win; by position where they are even. So what a normalisation of channels-last
//! values gives lies where they lay, and meets them again in a sum without being moved.

use super::attributes::Attributes;
use super::facts::Facts;
use super::operators::{self, Place};
use crate::graph::placement::{self, Placement, Slot};
use std::collections::BTreeMap;
use tract_onnx::pb::{ModelProto, NodeProto};

/// Operators whose result lies as the operand of the same extents does.
const OF_ONE_VALUE: &[&str] = &[
    "Add",
    "BatchNormalization",
    "Clip",
    "DequantizeLinear",
    "Div",
    "Elu",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Mish",
    "Mul",
    "Neg",
    "PRelu",
    "QuantizeLinear",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Sub",
    "Sum",
    "Swish",
    "Tanh",
];

/// Changes of shape.
const SHAPES: &[&str] = &[
    "Dropout",
    "Flatten",
    "Identity",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
];

/// Operators of planes.
const PLANES: &[&str] = &[
    "AveragePool",
    "Conv",
    "ConvTranspose",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "MaxPool",
    "Resize",
    "Upsample",
];

/// The placements of inputs and host results that are not by position, by tensor.
pub(super) fn of(model: &ModelProto, facts: &Facts) -> BTreeMap<String, Placement> {
    let Some(graph) = &model.graph else {
        return BTreeMap::new();
    };
    let results = |node: &'_ NodeProto| node.output.clone();
    let producers = graph
        .node
        .iter()
        .flat_map(|node| results(node).into_iter().map(move |name| (name, node)))
        .collect();
    let mut votes = Votes {
        facts,
        producers,
        counts: BTreeMap::new(),
    };
    for node in &graph.node {
        // A node without a vote has none.
        let _ = votes.node(node);
    }
    votes.elected()
}

/// Whether a placement of a tensor of these extents suits an operator.
type Suits<'a> = &'a dyn Fn(&Placement, &[u64]) -> bool;

struct Votes<'a> {
    facts: &'a Facts,
    producers: BTreeMap<String, &'a NodeProto>,
    /// By tensor, how many ask for each placement.
    counts: BTreeMap<String, BTreeMap<Placement, usize>>,
}

impl Votes<'_> {
    fn dims(&self, name: &str) -> Option<&Vec<u64>> {
        Some(&self.facts.get(name)?.dims)
    }

    fn is_constant(&self, name: &str) -> bool {
        name.is_empty() || self.facts.constant(name).is_some()
    }

    fn node(&mut self, node: &NodeProto) -> Option<()> {
        let operand = node.input.iter().find(|name| !self.is_constant(name))?;
        let dims = self.dims(operand)?.clone();
        match node.op_type.as_str() {
            operator if PLANES.contains(&operator) && dims.len() > 2 => {
                let wanted = placement::positional(&dims)?;
                self.vote(operand, &wanted, &|lies, _| *lies == wanted)
            }
            "MatMul" | "Gemm" if self.is_constant(node.input.get(1)?) => {
                let wanted = placement::of_product(&dims, false)?;
                self.vote(operand, &wanted, &|lies, dims| {
                    let axes = placement::axes(lies, dims);
                    axes.is_some_and(|axes| placement::product_kernel(&axes).is_some())
                })
            }
            "MatMul" if self.is_constant(node.input.first()?) => {
                let wanted = placement::of_product(&dims, true)?;
                self.vote(operand, &wanted, &|lies, dims| {
                    placement::axes(lies, dims).is_some_and(|mut axes| {
                        let last = axes.len() - 1;
                        axes.swap(last - 1, last);
                        placement::product_kernel(&axes).is_some()
                    })
                })
            }
            _ => {
                let axis = self.varies_along(node, dims.len())?;
                let wanted = placement::with_channels(&dims, axis)?;
                self.vote(operand, &wanted, &|lies, dims| {
                    placement::axes(lies, dims).is_some_and(|axes| {
                        axes[axis].iter().all(|factor| factor.slot == Slot::Channel)
                    })
                })
            }
        }
    }

    /// The one axis of the operand along which the constant of an operator of one value varies.
    fn varies_along(&self, node: &NodeProto, rank: usize) -> Option<usize> {
        if node.op_type == "BatchNormalization" {
            return (rank > 1).then_some(1);
        }
        if !["Add", "Sub", "Mul", "Div", "PRelu"].contains(&node.op_type.as_str()) {
            return None;
        }
        let constant = node
            .input
            .iter()
            .find_map(|name| self.facts.constant(name))?;
        let missing = rank.checked_sub(constant.rank())?;
        let mut axes = (0..constant.rank()).filter(|&axis| constant.shape()[axis] != 1);
        let axis = axes.next()?;
        axes.next().is_none().then_some(axis + missing)
    }

    /// A vote for where `tensor` comes from, of an operator that asks for `wanted`.
    fn vote(&mut self, tensor: &str, wanted: &Placement, suits: Suits<'_>) -> Option<()> {
        let mut name = tensor.to_owned();
        let mut wanted = wanted.clone();
        // The orders of axes on the way, the last first: extents before, and the order.
        let mut orders: Vec<(Vec<u64>, Vec<usize>)> = Vec::new();
        while let Some(&node) = self.producers.get(&name) {
            let operator = node.op_type.as_str();
            let before = if operator == "Transpose" {
                let source = node.input.first()?;
                let dims = self.dims(source)?.clone();
                let order = order(node, dims.len())?;
                let mut back = vec![0; order.len()];
                order
                    .iter()
                    .enumerate()
                    .for_each(|(to, &from)| back[from] = to);
                wanted = placement::transposed(&wanted, self.dims(&name)?, &back)?;
                orders.push((dims, order));
                source
            } else if SHAPES.contains(&operator) {
                node.input.first()?
            } else if OF_ONE_VALUE.contains(&operator) {
                let dims = self.dims(&name)?;
                let same =
                    |input: &&String| !self.is_constant(input) && self.dims(input) == Some(dims);
                node.input.iter().find(same)?
            } else if operators::find(node).is_none_or(|o| matches!(o.place, Place::Host(_))) {
                break;
            } else {
                // A layer of the machine decides how its result lies.
                return None;
            };
            name.clone_from(before);
        }
        if self.is_constant(&name) {
            return None;
        }
        let dims = self.dims(&name)?;
        let target = self.dims(tensor)?;
        let suits_readers = |lies: &Placement| {
            let mut orders = orders.iter().rev();
            let seen = orders.try_fold(lies.clone(), |lies, (dims, order)| {
                placement::transposed(&lies, dims, order)
            });
            seen.is_some_and(|seen| suits(&seen, target))
        };
        let own = [placement::positional(dims), self.kept(&name)];
        let own = own.into_iter().flatten().find(suits_readers);
        let chosen = own.unwrap_or(wanted);
        *self
            .counts
            .entry(name)
            .or_default()
            .entry(chosen)
            .or_default() += 1;
        Some(())
    }

    /// How the operand lies from which the host makes `result` of the same extents.
    fn kept(&self, result: &str) -> Option<Placement> {
        let node = self.producers.get(result)?;
        let dims = self.dims(result)?;
        let same = |name: &&String| !self.is_constant(name) && self.dims(name) == Some(dims);
        self.lies(node.input.iter().find(same)?)
    }

    /// How a tensor lies that an operator of planes made, and others only reordered since.
    fn lies(&self, tensor: &str) -> Option<Placement> {
        // Orders of axes on the way, the last first.
        let mut orders: Vec<(Vec<u64>, Vec<usize>)> = Vec::new();
        let mut name = tensor;
        loop {
            let node = *self.producers.get(name)?;
            let dims = self.dims(name)?;
            let operator = node.op_type.as_str();
            if PLANES.contains(&operator) {
                let planes = placement::positional(dims)?;
                return orders.iter().rev().try_fold(planes, |lies, (dims, order)| {
                    placement::transposed(&lies, dims, order)
                });
            }
            name = if operator == "Transpose" {
                let source = node.input.first()?;
                let before = self.dims(source)?.clone();
                orders.push((before, order(node, dims.len())?));
                source
            } else if SHAPES.contains(&operator) {
                node.input.first()?
            } else if OF_ONE_VALUE.contains(&operator) {
                let same =
                    |input: &&String| !self.is_constant(input) && self.dims(input) == Some(dims);
                node.input.iter().find(same)?
            } else {
                return None;
            };
        }
    }

    /// What most ask for, where that is not by position.
    fn elected(self) -> BTreeMap<String, Placement> {
        let facts = self.facts;
        let elected = self.counts.into_iter().filter_map(|(name, counts)| {
            let natural = placement::positional(&facts.get(&name)?.dims);
            let rank =
                |(lies, count): &(Placement, usize)| (*count, Some(lies) == natural.as_ref());
            let (lies, _) = counts.into_iter().max_by_key(rank)?;
            (Some(&lies) != natural.as_ref()).then_some((name, lies))
        });
        elected.collect()
    }
}

/// The order that a `Transpose` gives to the axes.
fn order(node: &NodeProto, rank: usize) -> Option<Vec<usize>> {
    let Some(order) = Attributes::of(node).ints("perm").map(<[i64]>::to_vec) else {
        return Some((0..rank).rev().collect());
    };
    let order: Option<Vec<usize>> = order
        .iter()
        .map(|&axis| usize::try_from(axis).ok())
        .collect();
    order.filter(|order| order.len() == rank && order.iter().all(|&axis| axis < rank))
}
