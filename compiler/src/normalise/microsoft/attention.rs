//! Attention of `com.microsoft`, as ONNX Runtime's optimiser of transformers writes it, becomes the products, the softmax
//! and the moves that it is made of: the array computes the projection, whose weights are constant.

use super::super::parts::Parts;
use super::super::proto::{attribute, float_of, has_operand, int, int_of, ints, operand, result};
use super::super::ranks::Ranks;
use std::collections::BTreeMap;
use tract_onnx::pb::{GraphProto, NodeProto};

/// The extents of the initializers that are a graph's own.
pub(super) type Sizes = BTreeMap<String, Vec<i64>>;

pub(super) fn sizes(graph: &GraphProto) -> Sizes {
    let initializers = graph.initializer.iter();
    initializers
        .map(|tensor| (tensor.name.clone(), tensor.dims.clone()))
        .collect()
}

/// What is added to scores where a mask is zero, if the node does not say it.
const MASKED: f32 = -10_000.0;

/// Queries, keys and values of `[batch, place, head x value]`, and what is done with their scores.
struct Attention {
    operands: [String; 3],
    heads: i64,
    /// What scores are multiplied by; without it, the root of the values of a head divides them.
    scale: Option<f32>,
    /// A mask of ones and zeros, and its rank.
    mask: Option<(String, usize)>,
    /// What is added to scores.
    bias: Option<String>,
}

impl Parts {
    /// A projection to queries, keys and values, and their attention. Whether the node was one that can be written so.
    pub(super) fn attention(&mut self, node: &NodeProto, ranks: &Ranks, sizes: &Sizes) -> bool {
        let places = places(node);
        let weights = sizes.get(&operand(node, 1));
        let (Some(&[_, columns]), Some(heads)) = (weights.map(Vec::as_slice), heads(node)) else {
            return false;
        };
        let stated = attribute(node, "qkv_hidden_sizes").map(|a| a.ints.clone());
        let hidden = stated.unwrap_or_else(|| vec![columns / 3; 3]);
        let &[queries, keys, values] = hidden.as_slice() else {
            return false;
        };
        let keeps = places.kept.iter().any(|&index| has_operand(node, index));
        let rotary = int_of(node, "do_rotary").is_some_and(|value| value != 0);
        let Some(mask) = mask(node, places.mask, ranks) else {
            return false;
        };
        let all = queries
            .checked_add(keys)
            .and_then(|of| of.checked_add(values));
        let fits = all == Some(columns) && queries == keys && queries % heads == 0;
        if !fits || keeps || rotary || has_more(node) {
            return false;
        }
        let y = result(node);
        let all = self.projection(node);
        let operands = ["queries", "keys", "values"].map(|part| format!("{y}.{part}"));
        let extents = self.integers(format!("{y}.hidden"), &hidden);
        let first = operands[0].clone();
        self.node("Split", vec![all, extents], first, &[int("axis", -1)]);
        if let Some(split) = self.nodes.last_mut() {
            split.output = operands.to_vec();
        }
        let root = ((queries / heads) as f32).sqrt();
        let attention = Attention {
            operands,
            heads,
            scale: Some(scale(node).unwrap_or(1.0 / root)),
            mask,
            bias: places
                .bias
                .filter(|&index| has_operand(node, index))
                .map(|index| operand(node, index)),
        };
        self.attend(node, &attention);
        true
    }

    /// Queries, keys and values beside each other.
    fn projection(&mut self, node: &NodeProto) -> String {
        let to = format!("{}.projected", result(node));
        if node.op_type == "QAttention" {
            let pair = |i: usize, j: usize| [operand(node, i), operand(node, j)];
            self.scaled_product(
                pair(0, 6),
                pair(1, 7),
                pair(3, 4),
                operand(node, 2),
                to.clone(),
            );
            return to;
        }
        let product = vec![operand(node, 0), operand(node, 1)];
        if !has_operand(node, 2) {
            return self.node("MatMul", product, to, &[]);
        }
        let product = self.node("MatMul", product, format!("{to}.product"), &[]);
        self.node("Add", vec![product, operand(node, 2)], to, &[])
    }

    /// Attention of queries, keys and values that others project. Whether the node was one that can be written so.
    pub(super) fn heads_attention(&mut self, node: &NodeProto, ranks: &Ranks) -> bool {
        let flat = |index: usize| ranks.get(&operand(node, index)) == Some(3);
        let keeps = [3, 6, 7, 8, 9]
            .iter()
            .any(|&index| has_operand(node, index));
        let (Some(heads), Some(mask)) = (heads(node), mask(node, 4, ranks)) else {
            return false;
        };
        if keeps || has_more(node) || !(0..3).all(flat) {
            return false;
        }
        let attention = Attention {
            operands: [0, 1, 2].map(|index| operand(node, index)),
            heads,
            scale: scale(node),
            mask,
            bias: has_operand(node, 5).then(|| operand(node, 5)),
        };
        self.attend(node, &attention);
        true
    }

    fn attend(&mut self, node: &NodeProto, attention: &Attention) {
        let y = result(node);
        let to = |part: &str| format!("{y}.{part}");
        let by_head = self.integers(to("by_head"), &[0, 0, attention.heads, -1]);
        let orders = [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]];
        let names = ["q", "k", "v"];
        let mut split = Vec::new();
        for ((operand, order), name) in attention.operands.iter().zip(orders).zip(names) {
            let rows = vec![operand.clone(), by_head.clone()];
            let heads = self.node("Reshape", rows, to(&format!("{name}.heads")), &[]);
            split.push(self.node("Transpose", vec![heads], to(name), &[ints("perm", &order)]));
        }
        let product = vec![split[0].clone(), split[1].clone()];
        let mut scores = self.node("MatMul", product, to("products"), &[]);
        scores = if let Some(scale) = attention.scale {
            let scale = self.number(to("scale"), scale);
            self.node("Mul", vec![scores, scale], to("scores"), &[])
        } else {
            let root = self.root_of_head(&split[0], &y);
            self.node("Div", vec![scores, root], to("scores"), &[])
        };
        if let Some((mask, rank)) = &attention.mask {
            let filter = float_of(node, "mask_filter_value").unwrap_or(MASKED);
            let mask = self.added_mask(mask, *rank, filter, &y);
            scores = self.node("Add", vec![scores, mask], to("masked"), &[]);
        }
        if let Some(bias) = &attention.bias {
            scores = self.node("Add", vec![scores, bias.clone()], to("biased"), &[]);
        }
        let shares = self.node("Softmax", vec![scores], to("shares"), &[int("axis", -1)]);
        let read = vec![shares, split[2].clone()];
        let read = self.node("MatMul", read, to("read"), &[]);
        let order = [ints("perm", &[0, 2, 1, 3])];
        let rows = self.node("Transpose", vec![read], to("rows"), &order);
        let flat = self.integers(to("flat"), &[0, 0, -1]);
        self.node("Reshape", vec![rows, flat], y, &[]);
    }

    /// The root of the last extent of queries by head.
    fn root_of_head(&mut self, queries: &str, y: &str) -> String {
        let to = |part: &str| format!("{y}.{part}");
        let extents = self.node("Shape", vec![queries.to_owned()], to("extents"), &[]);
        let last = self.integers(to("last"), &[3]);
        let extent = self.node("Gather", vec![extents, last], to("extent"), &[]);
        let real = self.node("Cast", vec![extent], to("extent.real"), &[int("to", 1)]);
        self.node("Sqrt", vec![real], to("root"), &[])
    }

    /// A mask of ones and zeros as what is added to scores `[batch, head, query, key]`: nothing, or `filter`.
    fn added_mask(&mut self, mask: &str, rank: usize, filter: f32, y: &str) -> String {
        let to = |part: &str| format!("{y}.mask.{part}");
        let real = self.node("Cast", vec![mask.to_owned()], to("real"), &[int("to", 1)]);
        let one = self.number(to("one"), 1.0);
        let out = self.node("Sub", vec![one, real], to("out"), &[]);
        let filter = self.number(to("filter"), filter);
        let added = self.node("Mul", vec![out, filter], to("added"), &[]);
        let axes: &[i64] = if rank == 2 { &[1, 2] } else { &[1] };
        let axes = self.integers(to("axes"), axes);
        self.node("Unsqueeze", vec![added, axes], to("by_head"), &[])
    }
}

/// Where a projecting attention has its operands beside input, weights and bias.
struct OperandPlaces {
    mask: usize,
    /// Keys and values of steps before.
    kept: &'static [usize],
    /// What is added to scores.
    bias: Option<usize>,
}

fn places(node: &NodeProto) -> OperandPlaces {
    if node.op_type == "QAttention" {
        OperandPlaces {
            mask: 5,
            kept: &[8],
            bias: None,
        }
    } else {
        OperandPlaces {
            mask: 3,
            kept: &[4, 6],
            bias: Some(5),
        }
    }
}

fn heads(node: &NodeProto) -> Option<i64> {
    int_of(node, "num_heads").filter(|&heads| heads > 0)
}

/// What the node says that scores are multiplied by; zero says nothing.
fn scale(node: &NodeProto) -> Option<f32> {
    float_of(node, "scale").filter(|&scale| scale != 0.0)
}

/// Whether the node looks back alone, or has results beside the first.
fn has_more(node: &NodeProto) -> bool {
    let back = int_of(node, "unidirectional").is_some_and(|value| value != 0);
    back || node.output.iter().skip(1).any(|name| !name.is_empty())
}

/// The mask of a node and its rank, or that there is none; nothing where it is of a form that is not written out.
#[expect(clippy::option_option)] // A mask that is not there is no mask that is not known.
fn mask(node: &NodeProto, index: usize, ranks: &Ranks) -> Option<Option<(String, usize)>> {
    if !has_operand(node, index) {
        return Some(None);
    }
    let name = operand(node, index);
    let rank = ranks.get(&name).filter(|rank| [2, 3].contains(rank))?;
    Some(Some((name, rank)))
}
