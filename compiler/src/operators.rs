//! The table of ONNX operators: which are known, where they run, and what limits the machine's form has.
//!
//! `scnnc ops` prints this table and the importer dispatches on it, so the two cannot disagree.

use crate::import::nodes;
pub(crate) use crate::import::nodes::Translate;
use tract_onnx::pb::NodeProto;

/// An operator.
pub struct Operator {
    /// ONNX name.
    pub name: &'static str,
    /// Where it runs when the limits are kept.
    pub unit: &'static str,
    /// Limits; outside them it runs on the host.
    pub limits: &'static str,
    /// How it is imported.
    pub(crate) place: Place,
}

/// How an operator is imported.
pub(crate) enum Place {
    /// By a function that may still refuse.
    Machine(Translate),
    /// On the host, for a reason.
    Host(&'static str),
}

macro_rules! operators {
    ($($name:literal $unit:literal $limits:literal $place:expr;)*) => {
        /// Every known operator, by name.
        pub const OPERATORS: &[Operator] = &[$(Operator { name: $name, unit: $unit, limits: $limits, place: $place },)*];
    };
}

use Place::{Host, Machine};

#[rustfmt::skip] // One operator a line reads as the table it is.
operators! {
    "Add" "PPU" "two activations of one shape, or a constant per channel" Machine(nodes::add);
    "AveragePool" "PPU" "1-D and 2-D; any stride, padding, ceil_mode, count_include_pad" Machine(nodes::pool);
    "BatchNormalization" "folded, or PPU" "inference form" Machine(nodes::batch_normalization);
    "Clip" "PPU" "constant bounds" Machine(nodes::clip);
    "Concat" "by placement" "axis 1 of activations" Machine(nodes::concat);
    "Constant" "folded" "" Host("its value is not known");
    "ConstantOfShape" "folded" "constant shape" Host("its shape is not constant");
    "Conv" "array" "1-D and 2-D, constant weights; any stride, padding, dilation, groups" Machine(nodes::conv);
    "ConvTranspose" "array" "1-D and 2-D, constant weights; any stride, padding, dilation" Machine(nodes::conv_transpose);
    "Div" "PPU" "by a constant per channel" Machine(nodes::div);
    "Dropout" "removed" "inference form, mask unused" Machine(nodes::identity);
    "Elu" "host" "" Host("the PPU has no such function");
    "Flatten" "renamed" "axis 1" Machine(nodes::rename);
    "Gemm" "array" "constant weights, constant bias" Machine(nodes::gemm);
    "GlobalAveragePool" "PPU" "" Machine(nodes::global_pool);
    "GlobalMaxPool" "PPU" "" Machine(nodes::global_pool);
    "HardSigmoid" "PPU (table)" "" Machine(nodes::function);
    "HardSwish" "PPU (table)" "" Machine(nodes::function);
    "Identity" "removed" "" Machine(nodes::identity);
    "LRN" "host" "" Host("normalisation across channels has no place on the array");
    "LeakyRelu" "PPU" "slope in -1..=1" Machine(nodes::leaky_relu);
    "LogSoftmax" "host" "" Host("exponentials across channels have no place on the array");
    "MatMul" "array" "matrix of rank 2 by constant matrix" Machine(nodes::matmul);
    "MaxPool" "PPU" "1-D and 2-D; any stride, padding, dilation, ceil_mode; indices unused" Machine(nodes::pool);
    "Mul" "PPU" "by a constant per channel" Machine(nodes::mul);
    "PRelu" "PPU" "constant slope per channel in -1..=1" Machine(nodes::prelu);
    "Pad" "host" "" Host("padding that no convolution has absorbed");
    "ReduceMean" "PPU" "over all of the plane" Machine(nodes::reduce_mean);
    "Relu" "PPU" "" Machine(nodes::relu);
    "Reshape" "renamed" "batch stays first" Machine(nodes::rename);
    "Resize" "host" "" Host("interpolation has no place on the array");
    "Shape" "folded" "static shapes" Host("its operand's shape is not static");
    "Sigmoid" "PPU (table)" "" Machine(nodes::function);
    "Slice" "by addressing" "channels, step 1" Machine(nodes::slice);
    "Softmax" "host" "" Host("exponentials across channels have no place on the array");
    "Split" "by addressing" "channels" Machine(nodes::split);
    "Squeeze" "renamed" "batch stays first" Machine(nodes::rename);
    "Sub" "PPU" "a constant per channel" Machine(nodes::sub);
    "Sum" "PPU" "one or two activations of one shape" Machine(nodes::sum);
    "Tanh" "PPU (table)" "" Machine(nodes::function);
    "Transpose" "host" "" Host("the order of values would have to change in the activation RAMs");
    "Unsqueeze" "renamed" "batch stays first" Machine(nodes::rename);
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
