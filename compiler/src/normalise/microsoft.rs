//! Operators of `com.microsoft` that only say something shorter become operators of ONNX.

mod attention;
mod narrow;

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{
    attribute, float, float_of, has_operand, int, int_of, ints, operand, result, text, text_of,
};
use super::ranks::Ranks;
use attention::{Sizes, sizes};
use tract_onnx::pb::{AttributeProto, NodeProto};

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let version = draft.operator_set();
    draft.each_graph(|graph| {
        if !graph.node.iter().any(is_microsoft) {
            return Ok(());
        }
        let ranks = Ranks::of(graph, version);
        let sizes = sizes(graph);
        replace_nodes(graph, |node, parts| {
            Ok(if is_microsoft(&node) {
                replace(node, &ranks, &sizes, parts)
            } else {
                Some(node)
            })
        })
    })
}

fn is_microsoft(node: &NodeProto) -> bool {
    node.domain == "com.microsoft"
}

fn replace(
    mut node: NodeProto,
    ranks: &Ranks,
    sizes: &Sizes,
    parts: &mut Parts,
) -> Option<NodeProto> {
    let operands = node.input.len();
    let written = match node.op_type.as_str() {
        "Attention" | "QAttention" => parts.attention(&node, ranks, sizes),
        "MultiHeadAttention" => parts.heads_attention(&node, ranks),
        "MatMulNBits" => parts.product_of_narrow(&node, sizes),
        _ => false,
    };
    if written {
        return None;
    }
    match node.op_type.as_str() {
        "Gelu" => node.domain.clear(),
        "BiasGelu" if operands == 2 => parts.gelu(&node, "none"),
        "FastGelu" => parts.gelu(&node, "tanh"),
        "QuickGelu" => parts.quick_gelu(&node),
        "FusedConv" => parts.fused(&node, "Conv"),
        "FusedGemm" => parts.fused(&node, "Gemm"),
        "FusedMatMul" if parts.fused_product(&node, ranks) => {}
        "SkipLayerNormalization" if operands >= 3 => parts.skip_normalisation(&node),
        "NhwcMaxPool" => parts.channels_last(&node, "MaxPool"),
        "DynamicQuantizeMatMul" if operands >= 3 => parts.dynamic_product(&node),
        "MatMulIntegerToFloat" if operands >= 4 => parts.integer_product(&node),
        _ => return Some(node),
    }
    node.domain.is_empty().then_some(node)
}

/// Attributes that say which function follows, and with which numbers.
const ACTIVATION: &[&str] = &[
    "activation",
    "activation_alpha",
    "activation_beta",
    "activation_gamma",
    "activation_params",
];

impl Parts {
    /// The error function or its approximation, of a sum where there is a second operand.
    fn gelu(&mut self, node: &NodeProto, approximate: &str) {
        let y = result(node);
        let mut x = operand(node, 0);
        if has_operand(node, 1) {
            x = self.node("Add", vec![x, operand(node, 1)], format!("{y}.sum"), &[]);
        }
        self.node("Gelu", vec![x], y, &[text("approximate", approximate)]);
    }

    /// `x Sigmoid(alpha x)`.
    fn quick_gelu(&mut self, node: &NodeProto) {
        let y = result(node);
        let x = operand(node, 0);
        let alpha = float_of(node, "alpha").unwrap_or(1.702);
        let alpha = self.number(format!("{y}.alpha"), alpha);
        let scaled = self.node("Mul", vec![x.clone(), alpha], format!("{y}.scaled"), &[]);
        let gate = self.node("Sigmoid", vec![scaled], format!("{y}.gate"), &[]);
        self.node("Mul", vec![x, gate], y, &[]);
    }

    /// An operator, a sum with the fourth operand if there is one, and a function.
    fn fused(&mut self, node: &NodeProto, operator: &str) {
        let y = result(node);
        let mut attributes = node.attribute.clone();
        attributes.retain(|a| !ACTIVATION.contains(&a.name.as_str()));
        let operands: Vec<String> = node.input.iter().take(3).cloned().collect();
        let summand = has_operand(node, 3).then(|| operand(node, 3));
        let function = text_of(node, "activation").filter(|f| !f.is_empty());
        let to = |last: bool, part: &str| {
            if last {
                y.clone()
            } else {
                format!("{y}.{part}")
            }
        };
        let last = summand.is_none() && function.is_none();
        let mut value = self.node(operator, operands, to(last, "value"), &attributes);
        if let Some(summand) = summand {
            let to = to(function.is_none(), "sum");
            value = self.node("Add", vec![value, summand], to, &[]);
        }
        if let Some(function) = function {
            self.activation(node, function, value, y.clone());
        }
    }

    fn activation(&mut self, node: &NodeProto, function: &str, value: String, to: String) {
        let list = attribute(node, "activation_params").map_or(&[][..], |a| &a.floats);
        let parameter = |index: usize, name: &str| {
            let single = float_of(node, &format!("activation_{name}"));
            list.get(index).copied().or(single)
        };
        if function == "Clip" {
            let mut operands = vec![value];
            for (index, name) in ["alpha", "beta"].into_iter().enumerate() {
                let bound = parameter(index, name).map(|v| self.number(format!("{to}.{name}"), v));
                operands.push(bound.unwrap_or_default());
            }
            self.node("Clip", operands, to, &[]);
            return;
        }
        let names = ["alpha", "beta", "gamma"].into_iter().enumerate();
        let attributes: Vec<AttributeProto> = names
            .filter_map(|(index, name)| Some(float(name, parameter(index, name)?)))
            .collect();
        self.node(function, vec![value], to, &attributes);
    }

    /// A product of transposed matrices, times a number. Whether it could be told in which order the axes come to stand.
    fn fused_product(&mut self, node: &NodeProto, ranks: &Ranks) -> bool {
        let flag = |name: &str| int_of(node, name).is_some_and(|value| value != 0);
        if flag("transBatchA") || flag("transBatchB") {
            return false;
        }
        let transposed = ["transA", "transB"].map(flag);
        let operands = [0, 1].map(|index| operand(node, index));
        let known = [0, 1].map(|i| ranks.get(&operands[i]).filter(|&rank| rank >= 2));
        if (0..2).any(|i| transposed[i] && known[i].is_none()) {
            return false;
        }
        let y = result(node);
        let mut inputs = operands.to_vec();
        for (i, input) in inputs.iter_mut().enumerate() {
            if let (true, Some(rank)) = (transposed[i], known[i]) {
                let mut order: Vec<i64> = (0..rank as i64).collect();
                order.swap(rank - 2, rank - 1);
                let to = format!("{y}.{}", ["a", "b"][i]);
                *input = self.node(
                    "Transpose",
                    vec![input.clone()],
                    to,
                    &[ints("perm", &order)],
                );
            }
        }
        match float_of(node, "alpha").filter(|&alpha| alpha != 1.0) {
            None => self.node("MatMul", inputs, y, &[]),
            Some(alpha) => {
                let product = self.node("MatMul", inputs, format!("{y}.product"), &[]);
                let alpha = self.number(format!("{y}.alpha"), alpha);
                self.node("Mul", vec![product, alpha], y, &[])
            }
        };
        true
    }

    /// A sum of two and a bias, normalised along the last axis.
    fn skip_normalisation(&mut self, node: &NodeProto) {
        let y = result(node);
        let given = node.output.get(3).filter(|name| !name.is_empty());
        let sum = given.cloned().unwrap_or_else(|| format!("{y}.sum"));
        let terms = vec![operand(node, 0), operand(node, 1)];
        if has_operand(node, 4) {
            let first = self.node("Add", terms, format!("{y}.skip"), &[]);
            self.node("Add", vec![first, operand(node, 4)], sum.clone(), &[]);
        } else {
            self.node("Add", terms, sum.clone(), &[]);
        }
        let mut operands = vec![sum, operand(node, 2)];
        operands.extend(has_operand(node, 3).then(|| operand(node, 3)));
        // ONNX Runtime's own default is another than ONNX's.
        let epsilon = float_of(node, "epsilon").unwrap_or(1e-12);
        let attributes = [int("axis", -1), float("epsilon", epsilon)];
        self.node("LayerNormalization", operands, y, &attributes);
    }

    /// An operator on images whose channels stand last.
    fn channels_last(&mut self, node: &NodeProto, operator: &str) {
        let y = result(node);
        let first = ints("perm", &[0, 3, 1, 2]);
        let x = self.node(
            "Transpose",
            vec![operand(node, 0)],
            format!("{y}.x"),
            &[first],
        );
        let value = self.node(operator, vec![x], format!("{y}.value"), &node.attribute);
        self.node("Transpose", vec![value], y, &[ints("perm", &[0, 2, 3, 1])]);
    }

    /// A, B, the scale of B, its zero point and a bias: A is quantised by what it holds.
    fn dynamic_product(&mut self, node: &NodeProto) {
        let y = result(node);
        let parts = ["quantised", "scale", "zero"].map(|part| format!("{y}.a.{part}"));
        let [quantised, scale, zero] = parts;
        self.node(
            "DynamicQuantizeLinear",
            vec![operand(node, 0)],
            quantised.clone(),
            &[],
        );
        if let Some(node) = self.nodes.last_mut() {
            node.output.extend([scale.clone(), zero.clone()]);
        }
        let b = [operand(node, 1), operand(node, 3)];
        let scales = [scale, operand(node, 2)];
        self.scaled_product([quantised, zero], b, scales, operand(node, 4), y);
    }

    /// A and B, their scales, their zero points, and a bias.
    fn integer_product(&mut self, node: &NodeProto) {
        let pair = |i: usize, j: usize| [operand(node, i), operand(node, j)];
        let (a, b, scales) = (pair(0, 4), pair(1, 5), pair(2, 3));
        self.scaled_product(a, b, scales, operand(node, 6), result(node));
    }

    /// A product of integers and their zero points, times both scales, and a bias.
    #[expect(clippy::needless_pass_by_value)] // All of its operands become those of nodes.
    fn scaled_product(
        &mut self,
        [a, a_zero]: [String; 2],
        [b, b_zero]: [String; 2],
        scales: [String; 2],
        bias: String,
        to: String,
    ) {
        let integers = vec![a, b, a_zero, b_zero];
        let product = self.node("MatMulInteger", integers, format!("{to}.product"), &[]);
        let real = self.node("Cast", vec![product], format!("{to}.real"), &[int("to", 1)]);
        let scale = self.node("Mul", scales.to_vec(), format!("{to}.scale"), &[]);
        if bias.is_empty() {
            self.node("Mul", vec![real, scale], to, &[]);
        } else {
            let value = self.node("Mul", vec![real, scale], format!("{to}.value"), &[]);
            self.node("Add", vec![value, bias], to, &[]);
        }
    }
}
