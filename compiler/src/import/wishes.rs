//! How inputs and results of the host should lie, so that their readers take them as they are.
//!
//! Everything else has its placement from what computes it ([`crate::graph::placement`]). An operator that asks for a
//! placement is followed backwards, through changes of shape, orders of axes and operators of one value, to where its
//! operand comes from. An operator of two tensors asks that one lie as the other, where the machine makes that. If that is an input or a result of the host, the operator has a vote: for the placement that the
//! tensor has by the position of its axes if that suits it, else for that of the operand from which the host made it, else
//! for the one that it asks for. Most votes win; by position where they are even. So what a normalisation of channels-last
//! values gives lies where they lay, and meets them again in a sum without being moved.
//!
//! A long sequence that convolutions of one row leave to matrix products is moved once, where it becomes a sequence, and its
//! products, sums and normalisations all find it on images.

use super::attributes::Attributes;
use super::facts::Facts;
use super::operators::{self, RunsOn};
use crate::graph::placement::{self, Placement, Slot};
use crate::normalise::parts::node_name;
use scnn_isa::legal;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::{ModelProto, NodeProto};
use tract_onnx::prelude::Tensor;

/// Rows of a product from which on it keeps the multipliers busy with its columns on channels. With fewer, a kernel over what
/// lies on the plane shares the work among more PEs.
const BUSY_ROWS: u64 = 128;

/// Longest sequence that loses nothing on the columns of a plane of one row, which one row of PEs has, with as many values
/// for each as it multiplies at once.
const LONGEST_ROW: u32 = 32;

/// Columns of the products over a sequence from which on they gain more than its way over the host costs.
const LEAST_COLUMNS: u64 = 256;

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
    "DepthToSpace",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "MaxPool",
    "Resize",
    "SpaceToDepth",
    "Upsample",
];

/// The placements of inputs and host results that are not by position, by tensor. `on_host` has the nodes that the host runs
/// in any case.
pub(super) fn of(
    model: &ModelProto,
    facts: &Facts,
    on_host: &BTreeMap<String, String>,
) -> BTreeMap<String, Placement> {
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
        on_host,
        producers,
        counts: BTreeMap::new(),
        lies: BTreeMap::new(),
        moves: BTreeMap::new(),
        readers: readers(&graph.node),
    };
    let of_machine = || {
        let nodes = graph.node.iter();
        nodes.filter(|node| !on_host.contains_key(&node_name(node)))
    };
    for node in of_machine() {
        if let (Some(lies), Some(result)) = (votes.made(node), node.output.first()) {
            let moved = votes.moved(node, &lies);
            if let Some(images) = &moved {
                votes.moves.insert(result.clone(), images.clone());
            }
            votes.lies.insert(result.clone(), moved.unwrap_or(lies));
        }
    }
    for node in of_machine() {
        // A node without a vote has none.
        let _ = votes.node(node);
    }
    votes.elected()
}

/// Whether a placement of a tensor of these extents suits an operator.
type Suits<'a> = &'a dyn Fn(&Placement, &[u64]) -> bool;

struct Votes<'a> {
    facts: &'a Facts,
    on_host: &'a BTreeMap<String, String>,
    producers: BTreeMap<String, &'a NodeProto>,
    /// By tensor, how many ask for each placement.
    counts: BTreeMap<String, BTreeMap<Placement, usize>>,
    /// How tensors lie that the machine makes, and others only reorder.
    lies: BTreeMap<String, Placement>,
    /// How other shapes and orders lie that are moved.
    moves: BTreeMap<String, Placement>,
    readers: BTreeMap<&'a str, Vec<&'a NodeProto>>,
}

/// By tensor, the nodes that read it.
fn readers(nodes: &[NodeProto]) -> BTreeMap<&str, Vec<&NodeProto>> {
    let mut readers: BTreeMap<&str, Vec<&NodeProto>> = BTreeMap::new();
    for node in nodes {
        for name in &node.input {
            readers.entry(name).or_default().push(node);
        }
    }
    readers
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
                let (_, leading) = dims.split_last()?;
                let fits = wanted.shape().is_some_and(|of| legal::tensor(of).is_ok());
                let busy = fits && leading.iter().product::<u64>() >= BUSY_ROWS;
                self.vote(operand, &wanted, &|lies, dims| {
                    let axes = placement::axes(lies, dims);
                    let kernel = axes.and_then(|axes| placement::product_kernel(&axes));
                    kernel.is_some_and(|kernel| kernel == [false; 2] || !busy)
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
            operator if OF_ONE_VALUE.contains(&operator) && self.is_of_two(node, &dims) => {
                let (a, b) = (&node.input[0], &node.input[1]);
                for (operand, other) in [(a, b), (b, a)] {
                    if let Some(wanted) = self.lies.get(other).cloned() {
                        // An operand that the machine makes has no vote.
                        let _ = self.vote(operand, &wanted, &|lies, _| *lies == wanted);
                    }
                }
                Some(())
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

    /// Whether a node is of two activations of the extents `dims`.
    fn is_of_two(&self, node: &NodeProto, dims: &Vec<u64>) -> bool {
        let is_operand =
            |name: &String| !self.is_constant(name) && self.dims(name).is_some_and(|of| of == dims);
        node.input.len() == 2 && node.input.iter().all(is_operand)
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
            let before = if self.on_host.contains_key(&node_name(node)) {
                break;
            } else if operator == "Transpose" {
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
            } else if self.is_of_host(node) {
                break;
            } else if OF_ONE_VALUE.contains(&operator) {
                let dims = self.dims(&name)?;
                let same =
                    |input: &&String| !self.is_constant(input) && self.dims(input) == Some(dims);
                node.input.iter().find(same)?
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

    /// Whether the host runs an operator, as far as its operands tell: also a product of two activations, a concatenation
    /// with a constant, and a sum whose constant varies along several axes, as positions of tokens do.
    fn is_of_host(&self, node: &NodeProto) -> bool {
        let mut constants = node
            .input
            .iter()
            .filter_map(|name| self.facts.constant(name));
        let varies = |constant: &Tensor| constant.shape().iter().filter(|&&of| of > 1).count() > 1;
        match node.op_type.as_str() {
            "MatMul" => constants.next().is_none(),
            "Concat" => constants.next().is_some(),
            "Add" if constants.any(varies) => true,
            _ => operators::find(node).is_none_or(|o| matches!(o.place, RunsOn::Host(_))),
        }
    }

    /// How the operand lies from which the host makes `result` of the same extents.
    fn kept(&self, result: &str) -> Option<Placement> {
        let node = self.producers.get(result)?;
        let dims = self.dims(result)?;
        let same = |name: &&String| !self.is_constant(name) && self.dims(name) == Some(dims);
        self.lies.get(node.input.iter().find(same)?).cloned()
    }

    /// How the result of a node lies if the machine makes it, or only reorders what it made.
    fn made(&self, node: &NodeProto) -> Option<Placement> {
        let source = node.input.first()?;
        let dims = self.dims(node.output.first()?)?;
        match node.op_type.as_str() {
            operator if PLANES.contains(&operator) => placement::positional(dims),
            "MatMul" | "Gemm" if self.is_constant(node.input.get(1)?) => {
                let operand = self.dims(source)?;
                let rows = || placement::of_product(operand, false);
                let lies = self.lies.get(source).cloned().or_else(rows)?;
                let axes = placement::axes(&lies, operand)?;
                placement::product_kernel(&axes)?;
                let last = dims.len().checked_sub(1)?;
                if axes.len() != dims.len() {
                    return None;
                }
                let channels = u32::try_from(dims[last]).ok()?;
                let axes = placement::with_extent(&axes, last, channels, Slot::Channel);
                Some(placement::of_axes(&axes))
            }
            "Transpose" => {
                let before = self.dims(source)?;
                let order = order(node, before.len())?;
                placement::transposed(self.lies.get(source)?, before, &order)
            }
            operator if SHAPES.contains(&operator) => self.lies.get(source).cloned(),
            operator if OF_ONE_VALUE.contains(&operator) => {
                let same = |name: &&String| self.dims(name) == Some(dims);
                let mut operands = node.input.iter().filter(same);
                operands.find_map(|name| self.lies.get(name)).cloned()
            }
            _ => None,
        }
    }

    /// How a sequence should lie that another shape or order makes of a plane of one row, if it is better moved: on images,
    /// which all PEs share, while the columns of one row are one row's of PEs.
    fn moved(&self, node: &NodeProto, lies: &Placement) -> Option<Placement> {
        let operator = node.op_type.as_str();
        if operator != "Transpose" && !SHAPES.contains(&operator) {
            return None;
        }
        let result = node.output.first()?;
        let dims = self.dims(result)?;
        let axes = placement::axes(lies, dims)?;
        let is_sequence = placement::product_kernel(&axes) == Some([false; 2]);
        let long = lies
            .shape()
            .is_some_and(|[n, _, h, w]| [n, h] == [1; 2] && w > LONGEST_ROW);
        let gains = is_sequence && long && self.columns_of_products(result) >= LEAST_COLUMNS;
        placement::of_product(dims, false).filter(|_| gains)
    }

    /// Columns of the matrix products over a sequence, up to the least that is asked for.
    fn columns_of_products(&self, sequence: &str) -> u64 {
        let (mut open, mut known) = (vec![sequence], BTreeSet::from([sequence]));
        let mut columns = 0;
        while let Some(name) = open.pop()
            && columns < LEAST_COLUMNS
        {
            for node in self.readers.get(name).into_iter().flatten() {
                let operator = node.op_type.as_str();
                let first = node.input.first().is_some_and(|input| input == name);
                let product = ["Gemm", "MatMul"].contains(&operator)
                    && first
                    && node.input.get(1).is_some_and(|of| self.is_constant(of));
                let Some(result) = node.output.first() else {
                    continue;
                };
                if product {
                    columns += self.dims(result).and_then(|dims| dims.last()).unwrap_or(&0);
                }
                let follows = product
                    || OF_ONE_VALUE.contains(&operator)
                    || SHAPES.contains(&operator)
                    || operator == "LayerNormalization";
                if follows && known.insert(result) {
                    open.push(result);
                }
            }
        }
        columns
    }

    /// What most ask for, where that is not by position, and what is moved.
    fn elected(self) -> BTreeMap<String, Placement> {
        let facts = self.facts;
        let elected = self.counts.into_iter().filter_map(|(name, counts)| {
            let natural = placement::positional(&facts.get(&name)?.dims);
            let rank =
                |(lies, count): &(Placement, usize)| (*count, Some(lies) == natural.as_ref());
            let (lies, _) = counts.into_iter().max_by_key(rank)?;
            (Some(&lies) != natural.as_ref()).then_some((name, lies))
        });
        elected.chain(self.moves).collect()
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
