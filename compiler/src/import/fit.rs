//! Whether the shapes of a node's operands fit each other and its attributes, as the standard has it.
//!
//! The runtimes of the host find out in different ways: tract cannot type such a node, and ONNX Runtime infers a shape for
//! it and stops when it runs. Here it is a problem of the model, with the extents that contradict each other.

use super::{Facts, ImportError};
use crate::codes::Code;
use crate::normalise::proto::{int_of, ints_of, is_standard};
use tract_onnx::pb::{ModelProto, NodeProto};

/// The remedy for all of them.
const REMEDY: &str =
    "export the model again, or check it with onnx.checker and onnx.shape_inference";

/// Operators of any number of operands that broadcast against each other.
#[rustfmt::skip] // A list of names.
const BROADCASTING: &[&str] = &[
    "Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual", "Less",
    "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
];

/// All nodes of a model whose operands do not fit.
pub(super) fn problems(model: &ModelProto, facts: &Facts) -> Vec<ImportError> {
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    let problems = nodes.filter_map(|node| problem(node, facts));
    problems.take(crate::normalise::MOST_ERRORS).collect()
}

/// The contradiction at a node, as far as the shapes of its operands are known.
pub(super) fn problem(node: &NodeProto, facts: &Facts) -> Option<ImportError> {
    if !is_standard(node) {
        return None;
    }
    let operands = NodeOperands { node, facts };
    let message = match node.op_type.as_str() {
        "Conv" => operands.convolution(0, 1, Some(2)),
        "ConvInteger" => operands.convolution(0, 1, None),
        "QLinearConv" => operands.convolution(0, 3, Some(8)),
        "ConvTranspose" => operands.transposed_convolution(),
        "AveragePool" | "LpPool" | "MaxPool" => operands.window(0),
        "BatchNormalization" => operands.by_channel(1..=4),
        "InstanceNormalization" => operands.by_channel(1..=2),
        "Gemm" => operands.gemm(),
        "MatMul" | "MatMulInteger" => operands.product(0, 1),
        "QLinearMatMul" => operands.product(0, 3),
        "Concat" => operands.concatenation(),
        "LSTM" => operands.recurrence(4),
        "GRU" => operands.recurrence(3),
        "RNN" => operands.recurrence(1),
        name if BROADCASTING.contains(&name) => operands.broadcast(),
        _ => None,
    };
    message.map(|message| ImportError::node(Code::OperandsMisfit, node, message, REMEDY))
}

/// The operands of a node.
struct NodeOperands<'a> {
    node: &'a NodeProto,
    facts: &'a Facts,
}

impl NodeOperands<'_> {
    /// The extents of an operand; none where it is left out, or not known.
    fn dims(&self, index: usize) -> Option<&[u64]> {
        let name = self.node.input.get(index).filter(|name| !name.is_empty())?;
        Some(&self.facts.get(name)?.dims)
    }

    /// An operand with its extents, as messages name it.
    fn shown(&self, index: usize) -> String {
        let name = self.node.input.get(index).map_or("", String::as_str);
        format!("`{name}` {:?}", self.dims(index).unwrap_or(&[]))
    }

    fn group(&self) -> u64 {
        int_of(self.node, "group").map_or(1, |group| group.max(1) as u64)
    }

    /// The channels of a convolution, its bias, and the lists of its attributes.
    fn convolution(&self, input: usize, weights: usize, bias: Option<usize>) -> Option<String> {
        let (x, w) = (self.dims(input)?, self.dims(weights)?);
        if x.len() != w.len() || x.len() < 3 {
            return Some(self.other_ranks(input, weights));
        }
        let group = self.group();
        let taken = w[1].saturating_mul(group);
        if taken != x[1] {
            return Some(format!(
                "its weights {} in {group} group(s) take {taken} channels, {} has {}",
                self.shown(weights),
                self.shown(input),
                x[1]
            ));
        }
        if w[0] % group != 0 {
            return Some(format!(
                "its weights {} compute {} channels, which are no multiple of its {group} groups",
                self.shown(weights),
                w[0]
            ));
        }
        self.kernel(weights)
            .or_else(|| self.window(input))
            .or_else(|| self.bias(bias, w[0]))
    }

    fn transposed_convolution(&self) -> Option<String> {
        let (x, w) = (self.dims(0)?, self.dims(1)?);
        if x.len() != w.len() || x.len() < 3 {
            return Some(self.other_ranks(0, 1));
        }
        let group = self.group();
        if w[0] != x[1] || w[0] % group != 0 {
            return Some(format!(
                "its weights {} in {group} group(s) do not take the {} channels of {}",
                self.shown(1),
                x[1],
                self.shown(0)
            ));
        }
        self.kernel(1)
            .or_else(|| self.window(0))
            .or_else(|| self.bias(Some(2), w[1].saturating_mul(group)))
    }

    fn other_ranks(&self, input: usize, weights: usize) -> String {
        format!(
            "{} and its weights {} have not the same number of extents, three at least",
            self.shown(input),
            self.shown(weights)
        )
    }

    /// `kernel_shape`, if it is there, is that of the weights.
    fn kernel(&self, weights: usize) -> Option<String> {
        let stated = ints_of(self.node, "kernel_shape")?;
        let w = self.dims(weights)?;
        let own = w[2..].iter().map(|&extent| extent as i64);
        (!stated.iter().copied().eq(own)).then(|| {
            format!(
                "its `kernel_shape` {stated:?} is not that of its weights {}",
                self.shown(weights)
            )
        })
    }

    /// Each list of a window has a number for each axis of the plane, or two.
    fn window(&self, input: usize) -> Option<String> {
        let axes = self.dims(input)?.len().checked_sub(2)?;
        let wanted = [
            ("kernel_shape", axes),
            ("strides", axes),
            ("dilations", axes),
            ("output_padding", axes),
            ("pads", 2 * axes),
        ];
        wanted.into_iter().find_map(|(name, wanted)| {
            let list = ints_of(self.node, name)?;
            (list.len() != wanted).then(|| {
                format!(
                    "its `{name}` {list:?} has {} number(s), {} has a plane that takes {wanted}",
                    list.len(),
                    self.shown(input)
                )
            })
        })
    }

    fn bias(&self, index: Option<usize>, channels: u64) -> Option<String> {
        let index = index?;
        (self.dims(index)? != [channels]).then(|| {
            format!(
                "its bias {} does not fit the {channels} channels that it computes",
                self.shown(index)
            )
        })
    }

    /// Operands that have a value for each channel of the first one.
    fn by_channel(&self, mut operands: std::ops::RangeInclusive<usize>) -> Option<String> {
        let &channels = self.dims(0)?.get(1)?;
        operands.find_map(|index| {
            (self.dims(index)? != [channels]).then(|| {
                format!(
                    "its operand {} has no value for each of the {channels} channels of {}",
                    self.shown(index),
                    self.shown(0)
                )
            })
        })
    }

    fn gemm(&self) -> Option<String> {
        let (&[a0, a1], &[b0, b1]) = (self.dims(0)?, self.dims(1)?) else {
            return Some(format!(
                "{} and {} are not matrices, each of two extents",
                self.shown(0),
                self.shown(1)
            ));
        };
        let transposed = |name: &str| int_of(self.node, name).is_some_and(|value| value != 0);
        let (rows, left) = if transposed("transA") {
            (a1, a0)
        } else {
            (a0, a1)
        };
        let (right, columns) = if transposed("transB") {
            (b1, b0)
        } else {
            (b0, b1)
        };
        if left != right {
            return Some(format!(
                "the product of {} and {} would sum {left} products and {right}",
                self.shown(0),
                self.shown(1)
            ));
        }
        let added = self.dims(2)?;
        let fits = |(&own, wanted): (&u64, &u64)| own == 1 || own == *wanted;
        let wanted = [columns, rows];
        (added.len() > 2 || !added.iter().rev().zip(&wanted).all(fits)).then(|| {
            format!(
                "{} cannot be added to a product of extents [{rows}, {columns}]",
                self.shown(2)
            )
        })
    }

    /// A matrix product with batches.
    fn product(&self, a: usize, b: usize) -> Option<String> {
        let (left, right) = (self.dims(a)?, self.dims(b)?);
        let summed = *left.last()?;
        let over = *right.get(right.len().saturating_sub(2))?;
        if summed != over {
            return Some(format!(
                "the product of {} and {} would sum {summed} products and {over}",
                self.shown(a),
                self.shown(b)
            ));
        }
        let batches = |dims: &[u64]| dims[..dims.len().saturating_sub(2)].to_vec();
        let joined = broadcast(&batches(left), &batches(right));
        joined.is_none().then(|| self.no_broadcast(a, b))
    }

    fn concatenation(&self) -> Option<String> {
        let first = self.dims(0)?;
        let axis = int_of(self.node, "axis")?;
        let axis = if axis < 0 {
            axis + first.len() as i64
        } else {
            axis
        };
        let differ = |dims: &[u64]| {
            let mut pairs = dims.iter().zip(first).enumerate();
            dims.len() != first.len() || pairs.any(|(at, (a, b))| a != b && at as i64 != axis)
        };
        (1..self.node.input.len()).find_map(|index| {
            // Frameworks write empty lists that take no part.
            let dims = self.dims(index).filter(|dims| *dims != [0])?;
            (first != [0] && differ(dims)).then(|| {
                format!(
                    "{} and {} differ in another extent than that of axis {axis}",
                    self.shown(0),
                    self.shown(index)
                )
            })
        })
    }

    /// The weights of a recurrence with some number of gates.
    fn recurrence(&self, gates: u64) -> Option<String> {
        let (x, w, r) = (self.dims(0)?, self.dims(1)?, self.dims(2)?);
        let (&[_, rows, read], &[_, again, hidden]) = (w, r) else {
            return None;
        };
        let fits =
            x.last() == Some(&read) && rows == again && Some(rows) == gates.checked_mul(hidden);
        (!fits).then(|| {
            format!(
                "its weights {} and {} are not those of {gates} gate(s) that read {}",
                self.shown(1),
                self.shown(2),
                self.shown(0)
            )
        })
    }

    fn broadcast(&self) -> Option<String> {
        let mut joined = (0, self.dims(0)?.to_vec());
        for index in 1..self.node.input.len() {
            let dims = self.dims(index)?;
            match broadcast(&joined.1, dims) {
                Some(both) => joined = (index, both),
                None => return Some(self.no_broadcast(joined.0, index)),
            }
        }
        None
    }

    fn no_broadcast(&self, a: usize, b: usize) -> String {
        format!(
            "{} and {} do not broadcast: from the right, extents are equal or one of them is 1",
            self.shown(a),
            self.shown(b)
        )
    }
}

/// The extents of two shapes that broadcast; none if they do not.
fn broadcast(a: &[u64], b: &[u64]) -> Option<Vec<u64>> {
    let (long, short) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let lead = long.len() - short.len();
    let (front, back) = long.split_at(lead);
    let both = back.iter().zip(short).map(|(&x, &y)| match (x, y) {
        (x, y) if x == y => Some(x),
        (1, other) | (other, 1) => Some(other),
        _ => None,
    });
    front.iter().map(|&x| Some(x)).chain(both).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::facts::TensorFact;
    use crate::normalise::proto::{int, ints, node_of};
    use scnn_isa::program::Dtype;
    use tract_onnx::pb::AttributeProto;

    /// An operator, its attributes, and the extents of its operands.
    type Case<'a> = (&'a str, &'a [AttributeProto], &'a [&'a [u64]]);

    /// The message for a node whose operands are named 0, 1 and so on, and have these extents.
    fn said(operator: &str, attributes: &[AttributeProto], operands: &[&[u64]]) -> Option<String> {
        let mut facts = Facts::default();
        let names: Vec<String> = (0..operands.len()).map(|index| index.to_string()).collect();
        for (name, dims) in names.iter().zip(operands) {
            let fact = TensorFact {
                dtype: Dtype::F32,
                dims: dims.to_vec(),
                constant: None,
            };
            facts.insert(name.clone(), fact);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut node = node_of(&names, "y");
        operator.clone_into(&mut node.op_type);
        node.attribute = attributes.to_vec();
        problem(&node, &facts).map(|error| error.message)
    }

    #[test]
    fn what_fits_is_no_problem() {
        let strided = [ints("strides", &[2, 2]), ints("pads", &[1, 1, 1, 1])];
        let groups = [int("group", 2), ints("kernel_shape", &[3, 3])];
        let fit: &[Case<'_>] = &[
            ("Conv", &strided, &[&[1, 4, 8, 8], &[6, 4, 3, 3], &[6]]),
            ("Conv", &groups, &[&[1, 4, 8, 8], &[6, 2, 3, 3]]),
            ("Conv", &[], &[&[1, 4, 8], &[6, 4, 3]]),
            (
                "ConvTranspose",
                &groups,
                &[&[1, 4, 8, 8], &[4, 5, 3, 3], &[10]],
            ),
            (
                "MaxPool",
                &[ints("kernel_shape", &[2, 2, 2])],
                &[&[1, 2, 4, 4, 4]],
            ),
            (
                "BatchNormalization",
                &[],
                &[&[1, 4, 8], &[4], &[4], &[4], &[4]],
            ),
            ("Gemm", &[int("transB", 1)], &[&[2, 5], &[3, 5], &[3]]),
            ("Gemm", &[], &[&[2, 5], &[5, 3], &[2, 1]]),
            ("MatMul", &[], &[&[7, 1, 2, 5], &[4, 5, 3]]),
            ("MatMul", &[], &[&[5], &[5]]),
            ("Concat", &[int("axis", -1)], &[&[2, 3], &[2, 9], &[0]]),
            ("LSTM", &[], &[&[9, 1, 5], &[2, 12, 5], &[2, 12, 3]]),
            ("Add", &[], &[&[2, 3, 1], &[4]]),
            ("Where", &[], &[&[1], &[2, 3], &[3]]),
            ("Add", &[], &[&[], &[2]]),
        ];
        for (operator, attributes, operands) in fit {
            assert_eq!(
                said(operator, attributes, operands),
                None,
                "{operator} {operands:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_both_extents() {
        let misfit: &[(Case<'_>, &str)] = &[
            (
                ("Conv", &[], &[&[1, 4, 8, 8], &[6, 3, 3, 3]]),
                "its weights `1` [6, 3, 3, 3] in 1 group(s) take 3 channels, `0` [1, 4, 8, 8] has 4",
            ),
            (
                ("Conv", &[int("group", 2)], &[&[1, 4, 8, 8], &[7, 2, 3, 3]]),
                "its weights `1` [7, 2, 3, 3] compute 7 channels, which are no multiple of its 2 groups",
            ),
            (
                ("Conv", &[], &[&[1, 4, 8, 8], &[6, 4, 3]]),
                "`0` [1, 4, 8, 8] and its weights `1` [6, 4, 3] have not the same number of extents, three at least",
            ),
            (
                (
                    "Conv",
                    &[ints("kernel_shape", &[5, 5])],
                    &[&[1, 4, 8, 8], &[6, 4, 3, 3]],
                ),
                "its `kernel_shape` [5, 5] is not that of its weights `1` [6, 4, 3, 3]",
            ),
            (
                (
                    "Conv",
                    &[ints("pads", &[1, 1])],
                    &[&[1, 4, 8, 8], &[6, 4, 3, 3]],
                ),
                "its `pads` [1, 1] has 2 number(s), `0` [1, 4, 8, 8] has a plane that takes 4",
            ),
            (
                ("Conv", &[], &[&[1, 4, 8, 8], &[6, 4, 3, 3], &[4]]),
                "its bias `2` [4] does not fit the 6 channels that it computes",
            ),
            (
                ("ConvTranspose", &[], &[&[1, 4, 8, 8], &[3, 6, 3, 3]]),
                "its weights `1` [3, 6, 3, 3] in 1 group(s) do not take the 4 channels of `0` [1, 4, 8, 8]",
            ),
            (
                (
                    "BatchNormalization",
                    &[],
                    &[&[1, 4, 8], &[4], &[4], &[3], &[4]],
                ),
                "its operand `3` [3] has no value for each of the 4 channels of `0` [1, 4, 8]",
            ),
            (
                ("Gemm", &[], &[&[2, 5], &[3, 5]]),
                "the product of `0` [2, 5] and `1` [3, 5] would sum 5 products and 3",
            ),
            (
                ("Gemm", &[], &[&[2, 5], &[5, 3], &[2]]),
                "`2` [2] cannot be added to a product of extents [2, 3]",
            ),
            (
                ("MatMul", &[], &[&[7, 2, 5], &[4, 5, 3]]),
                "`0` [7, 2, 5] and `1` [4, 5, 3] do not broadcast: from the right, extents are equal or one of them is 1",
            ),
            (
                ("Concat", &[int("axis", 1)], &[&[2, 3], &[4, 3]]),
                "`0` [2, 3] and `1` [4, 3] differ in another extent than that of axis 1",
            ),
            (
                ("GRU", &[], &[&[9, 1, 5], &[1, 12, 5], &[1, 12, 3]]),
                "its weights `1` [1, 12, 5] and `2` [1, 12, 3] are not those of 3 gate(s) that read `0` [9, 1, 5]",
            ),
            (
                ("Mul", &[], &[&[2, 3], &[2]]),
                "`0` [2, 3] and `1` [2] do not broadcast: from the right, extents are equal or one of them is 1",
            ),
        ];
        for ((operator, attributes, operands), message) in misfit {
            let told = said(operator, attributes, operands);
            assert_eq!(told.as_deref(), Some(*message), "{operator}");
        }
    }

    /// Numbers of a file are whatever it says.
    #[test]
    fn no_number_is_too_large_to_be_told() {
        let groups = [int("group", i64::MAX)];
        let extents: &[&[u64]] = &[&[1, u64::MAX, 8, 8], &[u64::MAX, u64::MAX, 3, 3]];
        for operator in ["Conv", "ConvTranspose"] {
            assert!(said(operator, &groups, extents).is_some(), "{operator}");
        }
        let weights = [1, u64::MAX, 5];
        assert!(said("LSTM", &[], &[&[9, 1, 5], &weights, &weights]).is_some());
    }

    /// A bias that is left out, or an operand of which nothing is known, is no problem.
    #[test]
    fn what_is_not_known_fits() {
        let mut node = node_of(&["x", "w", ""], "y");
        "Conv".clone_into(&mut node.op_type);
        assert!(problem(&node, &Facts::default()).is_none());
    }
}
