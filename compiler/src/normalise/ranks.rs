//! Ranks of tensors, as far as a file tells them without any computation: by declarations, constants, and operators whose
//! result has a rank that follows from those of the operands. What is not known here is not wrong.

use super::proto::{attribute, has_operand, int_of, ints_of, is_standard, tensor_type};
use std::collections::BTreeMap;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

/// Ranks by tensor name, and extents of constants.
#[derive(Default)]
pub(super) struct Ranks {
    ranks: BTreeMap<String, usize>,
    constants: BTreeMap<String, Vec<i64>>,
}

#[rustfmt::skip] // Names, as many as fit a line.
/// Operators whose results have the rank of the first operand.
const SAME: &[&str] = &[
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "AveragePool", "BatchNormalization", "BitwiseNot", "Cast",
    "CastLike", "Ceil", "Celu", "Clip", "Concat", "Conv", "ConvInteger", "ConvTranspose", "Cos", "Cosh", "CumSum",
    "DepthToSpace", "DequantizeLinear", "Dropout", "Elu", "Erf", "Exp", "Floor", "GatherElements", "Gelu", "GlobalAveragePool",
    "GlobalLpPool", "GlobalMaxPool", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity",
    "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax",
    "LpNormalization", "LpPool", "MaxPool", "MeanVarianceNormalization", "Mish", "Neg", "Not", "PRelu", "Pad", "QLinearConv",
    "QuantizeLinear", "Reciprocal", "Relu", "Resize", "ReverseSequence", "Round", "Scatter", "ScatterElements", "ScatterND",
    "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split",
    "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu", "Upsample",
];

#[rustfmt::skip] // Names, as many as fit a line.
/// Operators whose operands are broadcast to each other.
const BROADCAST: &[&str] = &[
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual", "Less",
    "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
];

impl Ranks {
    /// The ranks in a graph of operator set `version`.
    pub(super) fn of(graph: &GraphProto, version: i64) -> Self {
        let mut ranks = Self::default();
        for input in &graph.input {
            if let Some(shape) = tensor_type(input).and_then(|tensor| tensor.shape.as_ref()) {
                ranks.ranks.insert(input.name.clone(), shape.dim.len());
            }
        }
        for tensor in &graph.initializer {
            ranks.constant(&tensor.name, tensor);
        }
        for node in graph.node.iter().filter(|node| is_standard(node)) {
            if node.op_type == "Constant" {
                ranks.constant_node(node);
                continue;
            }
            for (index, name) in node.output.iter().enumerate() {
                if let Some(rank) = ranks.of_result(node, index, version) {
                    ranks.ranks.insert(name.clone(), rank);
                }
            }
        }
        ranks
    }

    /// The rank of a tensor.
    pub(super) fn get(&self, name: &str) -> Option<usize> {
        self.ranks.get(name).copied()
    }

    fn constant(&mut self, name: &str, tensor: &TensorProto) {
        self.ranks.insert(name.to_owned(), tensor.dims.len());
        self.constants.insert(name.to_owned(), tensor.dims.clone());
    }

    fn constant_node(&mut self, node: &NodeProto) {
        let Some(name) = node.output.first() else {
            return;
        };
        if let Some(tensor) = attribute(node, "value").and_then(|a| a.t.as_ref()) {
            self.constant(name, tensor);
            return;
        }
        let single = ["value_float", "value_int", "value_string"];
        let scalar = single.iter().any(|value| attribute(node, value).is_some());
        self.ranks.insert(name.clone(), usize::from(!scalar));
    }

    /// How many numbers a list has that stands in an attribute, or in the operand at `index`.
    fn count(&self, node: &NodeProto, name: &str, index: usize) -> Option<usize> {
        if let Some(list) = ints_of(node, name) {
            return Some(list.len());
        }
        match self.constants.get(node.input.get(index)?)?.as_slice() {
            [count] => usize::try_from(*count).ok(),
            _ => None,
        }
    }

    fn of_result(&self, node: &NodeProto, index: usize, version: i64) -> Option<usize> {
        let operand = |index: usize| self.get(node.input.get(index)?);
        let operator = node.op_type.as_str();
        if SAME.contains(&operator) {
            return operand(0);
        }
        if BROADCAST.contains(&operator) {
            // Operator set 6 broadcasts the second operand to the first.
            let first = usize::from(version < 7);
            let ranks = node.input.iter().map(|name| self.get(name));
            let all: Option<Vec<usize>> = ranks
                .take(if first == 1 { 1 } else { usize::MAX })
                .collect();
            return all?.into_iter().max();
        }
        match operator {
            "Gemm" | "Flatten" | "NonZero" => Some(2),
            "Shape" | "Range" => Some(1),
            "Size" => Some(0),
            "ConstantOfShape" => self.count(node, "shape", 0),
            "Reshape" => self.count(node, "shape", 1),
            "OneHot" => Some(operand(0)? + 1),
            "Unsqueeze" => Some(operand(0)? + self.count(node, "axes", 1)?),
            "Squeeze" => operand(0)?.checked_sub(self.count(node, "axes", 1)?),
            "Gather" => (operand(0)? + operand(1)?).checked_sub(1),
            "MatMul" => product(operand(0)?, operand(1)?),
            "LSTM" | "GRU" | "RNN" => Some(if index == 0 { 4 } else { 3 }),
            "ArgMax" | "ArgMin" => reduced(node, operand(0)?, Some(1)),
            _ if operator.starts_with("Reduce") => {
                let given = has_operand(node, 1) || ints_of(node, "axes").is_some();
                let count = if given {
                    self.count(node, "axes", 1)
                } else {
                    operand(0)
                };
                reduced(node, operand(0)?, count)
            }
            _ => None,
        }
    }
}

fn product(a: usize, b: usize) -> Option<usize> {
    match (a, b) {
        (0, _) | (_, 0) => None,
        (1, b) => Some(b - 1),
        (a, 1) => Some(a - 1),
        (a, b) => Some(a.max(b)),
    }
}

/// The rank of a reduction over `count` axes.
fn reduced(node: &NodeProto, rank: usize, count: Option<usize>) -> Option<usize> {
    if int_of(node, "keepdims").unwrap_or(1) != 0 {
        return Some(rank);
    }
    // An empty list means all axes, or none, as another attribute says.
    count
        .filter(|&count| count > 0)
        .and_then(|count| rank.checked_sub(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_of_vectors_and_matrices_has_the_rank_of_numpy() {
        let ranks = [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (2, 2), (2, 4)];
        let products = ranks.map(|(a, b)| product(a, b));
        assert_eq!(products, [0, 1, 2, 1, 2, 2, 4].map(Some));
    }
}
