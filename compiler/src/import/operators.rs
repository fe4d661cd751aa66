//! The table of ONNX operators: which are known, where they run, and what limits the machine's form has.
//!
//! `scnnc ops` prints this table and the importer dispatches on it, so the two cannot disagree.

pub(crate) use crate::import::nodes::Translate;
use crate::import::nodes::{
    activation, arithmetic, batch_norm, convolution, elementwise, linear, pooling,
};
use crate::import::{movement, quantised};
use std::ops::RangeInclusive;
use tract_onnx::pb::NodeProto;

/// An operator.
pub struct Operator {
    /// ONNX name.
    pub name: &'static str,
    /// The newest definition that is followed, as the operator set that brought it; older ones are too.
    pub opset: u32,
    /// How many operands and results it may have, over all operator sets that are read.
    pub operands: RangeInclusive<usize>,
    /// See `operands`.
    pub results: RangeInclusive<usize>,
    /// Unit on which it runs within its limits.
    pub unit: &'static str,
    /// Limits; outside them it runs on the host.
    pub limits: &'static str,
    /// How it is imported.
    pub(crate) place: RunsOn,
}

/// How an operator is imported.
pub(crate) enum RunsOn {
    /// By a function that may still refuse.
    Machine(Translate),
    /// On the host, for a reason.
    Host(&'static str),
}

macro_rules! operators {
    ($($name:literal $opset:literal ($operands:expr => $results:expr) $unit:literal $limits:literal $place:expr;)*) => {
        /// Every known operator, by name.
        pub const OPERATORS: &[Operator] = &[$(Operator {
            name: $name, opset: $opset, operands: $operands, results: $results, unit: $unit, limits: $limits, place: $place
        },)*];
    };
}

use RunsOn::{Host, Machine};

/// No limit.
const MANY: usize = usize::MAX;

#[rustfmt::skip] // One operator a line reads as the table it is.
operators! {
    "Abs" 13 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Acos" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Acosh" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Add" 14 (2..=2 => 1..=1) "PPU" "two activations of the array that broadcast, or a constant per channel" Machine(arithmetic::add);
    "And" 7 (2..=2 => 1..=1) "PPU (table)" "constants of one value; as part of a function of one activation" Machine(elementwise::map);
    "Asin" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Asinh" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Atan" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Atanh" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "AveragePool" 22 (1..=1 => 1..=1) "PPU" "1-D and 2-D; any stride, padding, dilation, ceil_mode, count_include_pad" Machine(pooling::pool);
    "BatchNormalization" 15 (5..=5 => 1..=5) "folded, or PPU" "inference form" Machine(batch_norm::batch_normalization);
    "Ceil" 13 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Celu" 12 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Clip" 13 (1..=3 => 1..=1) "PPU" "constant bounds" Machine(elementwise::map);
    "Concat" 13 (1..=MANY => 1..=1) "by placement" "channels of activations; constants of one value per channel on the array; up to four planes along rows or columns as their sum" Machine(movement::concat);
    "Constant" 25 (0..=0 => 1..=1) "folded" "" Host("its value is not known");
    "ConstantOfShape" 25 (1..=1 => 1..=1) "folded" "constant shape" Host("its shape is not constant");
    "Conv" 22 (2..=3 => 1..=1) "array" "1-D and 2-D, constant weights; any stride, padding, dilation, groups" Machine(convolution::conv);
    "ConvTranspose" 22 (2..=3 => 1..=1) "array" "1-D and 2-D, constant weights; any stride, padding, dilation, groups, output shape" Machine(convolution::conv_transpose);
    "Cos" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Cosh" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "DepthToSpace" 13 (1..=1 => 1..=1) "array" "a transposed convolution with ones" Machine(movement::blocks::depth_to_space);
    "DequantizeLinear" 25 (2..=3 => 1..=1) "folded, or the tensor's own scale" "one constant scale; 8 bits, or 16 with zero point 0" Machine(quantised::dequantise_linear);
    "Div" 14 (2..=2 => 1..=1) "PPU" "by a constant per channel; of activations as part of a function of one" Machine(arithmetic::div);
    "Dropout" 22 (1..=3 => 1..=2) "removed" "inference form, mask unused" Machine(movement::identity);
    "Einsum" 12 (1..=MANY => 1..=1) "array" "of activations and one constant, as a matrix product" Host("its operands are more than activations and one constant, or its indices are no product's");
    "Elu" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Equal" 19 (2..=2 => 1..=1) "PPU (table)" "constants of one value; as part of a function of one activation" Machine(elementwise::map);
    "Erf" 13 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Exp" 13 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Flatten" 25 (1..=1 => 1..=1) "by placement" "where its readers take the values as they lie" Machine(movement::rename);
    "Floor" 13 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Gather" 13 (2..=2 => 1..=1) "folded, or as a slice" "of constants; of activations by constant indices evenly apart" Host("it picks values by an index");
    "Gelu" 20 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Gemm" 13 (2..=3 => 1..=1) "array" "constant weights, constant bias, transA 0" Machine(linear::gemm);
    "GlobalAveragePool" 22 (1..=1 => 1..=1) "PPU" "" Machine(pooling::global_pool);
    "GlobalMaxPool" 22 (1..=1 => 1..=1) "PPU" "" Machine(pooling::global_pool);
    "Greater" 13 (2..=2 => 1..=1) "PPU (table)" "constants of one value; as part of a function of one activation" Machine(elementwise::map);
    "GreaterOrEqual" 16 (2..=2 => 1..=1) "PPU (table)" "constants of one value; as part of a function of one activation" Machine(elementwise::map);
    "HardSigmoid" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "HardSwish" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Identity" 25 (1..=1 => 1..=1) "removed" "" Machine(movement::identity);
    "InstanceNormalization" 22 (3..=3 => 1..=1) "host" "" Host("its statistics are those of each image");
    "LRN" 13 (1..=1 => 1..=1) "host" "" Host("normalisation across channels has no place on the array");
    "LayerNormalization" 17 (2..=3 => 1..=3) "host" "" Host("its statistics are those of each input");
    "LeakyRelu" 16 (1..=1 => 1..=1) "PPU" "" Machine(elementwise::map);
    "Less" 13 (2..=2 => 1..=1) "PPU (table)" "constants of one value; as part of a function of one activation" Machine(elementwise::map);
    "LessOrEqual" 16 (2..=2 => 1..=1) "PPU (table)" "constants of one value; as part of a function of one activation" Machine(elementwise::map);
    "Log" 13 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "LogSoftmax" 13 (1..=1 => 1..=1) "host" "" Host("exponentials across channels have no place on the array");
    "MatMul" 13 (2..=2 => 1..=1) "array" "by a constant matrix; more dimensions than two become rows" Machine(linear::matmul);
    "Max" 13 (1..=MANY => 1..=1) "PPU" "with constants of one value; of two activations of the array" Machine(elementwise::map);
    "MaxPool" 22 (1..=1 => 1..=2) "PPU" "1-D and 2-D; any stride, padding, dilation, ceil_mode; indices unused" Machine(pooling::pool);
    "Min" 13 (1..=MANY => 1..=1) "PPU" "with constants of one value; of two activations of the array" Machine(elementwise::map);
    "Mish" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Mul" 14 (2..=2 => 1..=1) "PPU" "two activations of the array that broadcast (`ppu.multiply`), or a constant per channel" Machine(arithmetic::mul);
    "Neg" 13 (1..=1 => 1..=1) "PPU" "" Machine(elementwise::map);
    "Not" 1 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Or" 7 (2..=2 => 1..=1) "PPU (table)" "constants of one value; as part of a function of one activation" Machine(elementwise::map);
    "PRelu" 16 (2..=2 => 1..=1) "PPU" "constant slope per channel" Machine(activation::prelu);
    "Pad" 25 (1..=4 => 1..=1) "array, or the next convolution's" "zeros around rows and columns, one value around channels; negative pads crop" Machine(movement::pad);
    "Pow" 15 (2..=2 => 1..=1) "PPU (table)" "constants of one value; as part of a function of one activation" Machine(elementwise::map);
    "QLinearConv" 10 (8..=9 => 1..=1) "array" "as its parts: DequantizeLinear, Conv, QuantizeLinear" Host("it lacks operands");
    "QLinearMatMul" 21 (8..=8 => 1..=1) "array" "as its parts: DequantizeLinear, MatMul, QuantizeLinear" Host("it lacks operands");
    "QuantizeLinear" 25 (2..=3 => 1..=1) "the tensor's own scale" "one constant scale; 8 bits, or 16 with zero point 0" Machine(quantised::quantise_linear);
    "Reciprocal" 13 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "ReduceMax" 20 (1..=2 => 1..=1) "PPU" "over rows, columns or both" Machine(pooling::reduce);
    "ReduceMean" 18 (1..=2 => 1..=1) "PPU" "over channels, rows, columns or several of them" Machine(pooling::reduce);
    "ReduceMin" 20 (1..=2 => 1..=1) "PPU" "over rows, columns or both" Host("it lacks an operand of floats");
    "ReduceSum" 13 (1..=2 => 1..=1) "PPU" "over channels, rows, columns or several of them" Machine(pooling::reduce);
    "Relu" 14 (1..=1 => 1..=1) "PPU" "" Machine(elementwise::map);
    "Reshape" 25 (2..=2 => 1..=1) "by placement" "where its readers take the values as they lie" Machine(movement::rename);
    "Resize" 19 (1..=4 => 1..=1) "array" "nearest, by whole factors: a depthwise transposed convolution with ones" Machine(movement::resize);
    "Round" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Selu" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Shape" 25 (1..=1 => 1..=1) "folded" "static shapes" Host("its operand's shape is not static");
    "Shrink" 9 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Sigmoid" 13 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Sign" 13 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Sin" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Sinh" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Slice" 13 (1..=5 => 1..=1) "channels by addressing, plane on the array" "not the batch; steps from 1, of channels 1" Machine(movement::slice);
    "Softmax" 13 (1..=1 => 1..=1) "host" "" Host("exponentials across channels have no place on the array");
    "Softplus" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Softsign" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "SpaceToDepth" 13 (1..=1 => 1..=1) "array" "a convolution with ones" Machine(movement::blocks::space_to_depth);
    "Split" 18 (1..=2 => 1..=MANY) "by addressing" "channels; rows and columns as slices" Machine(movement::split);
    "Sqrt" 13 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Squeeze" 25 (1..=2 => 1..=1) "by placement" "where its readers take the values as they lie" Machine(movement::rename);
    "Sub" 14 (2..=2 => 1..=1) "PPU" "two activations of the array that broadcast, or a constant per channel" Machine(arithmetic::sub);
    "Sum" 13 (1..=MANY => 1..=1) "PPU" "as Add" Machine(arithmetic::sum);
    "Swish" 24 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Tan" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Tanh" 13 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "ThresholdedRelu" 22 (1..=1 => 1..=1) "PPU (table)" "" Machine(elementwise::map);
    "Transpose" 25 (1..=1 => 1..=1) "by placement" "where its readers take the values as they lie" Machine(movement::transpose);
    "Unsqueeze" 25 (1..=2 => 1..=1) "by placement" "where its readers take the values as they lie" Machine(movement::rename);
    "Upsample" 9 (1..=2 => 1..=1) "array" "nearest, by whole factors: a depthwise transposed convolution with ones" Machine(movement::resize);
    "Where" 16 (3..=3 => 1..=1) "PPU (table)" "constants of one value; as part of a function of one activation" Machine(elementwise::map);
    "Xor" 7 (2..=2 => 1..=1) "PPU (table)" "constants of one value; as part of a function of one activation" Machine(elementwise::map);
}

impl Operator {
    /// Why it is left to the host even within its limits, if it is.
    pub fn host_reason(&self) -> Option<&'static str> {
        match self.place {
            RunsOn::Host(reason) if self.unit == "host" => Some(reason),
            RunsOn::Host(_) | RunsOn::Machine(_) => None,
        }
    }
}

/// The operator of a node, if it is one of ONNX's own and known.
pub fn find(node: &NodeProto) -> Option<&'static Operator> {
    let standard = node.domain.is_empty() || node.domain == "ai.onnx";
    OPERATORS
        .iter()
        .find(|operator| standard && operator.name == node.op_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_each_operator_once() {
        assert!(OPERATORS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
