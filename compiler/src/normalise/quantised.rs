//! Decomposes operators on integers (`QLinearConv` and its kin, those of `com.microsoft` too) into dequantise, compute,
//! quantise: the importer then finds the convolution and its scales, and tract has nothing to read that it does not know.

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{int, int_of, is_standard, operand, result};
use std::collections::BTreeMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        let scales = graph.initializer.iter();
        let scales = scales.filter_map(|tensor| Some((tensor.name.clone(), number(tensor)?)));
        let scales: FloatConstants = scales.collect();
        replace_nodes(graph, |node, parts| Ok(replace(node, &scales, parts)))
    })
}

/// Initializers of one float.
type FloatConstants = BTreeMap<String, f32>;

/// The value of a tensor of one float.
fn number(tensor: &TensorProto) -> Option<f32> {
    if tensor.data_type != DataType::Float as i32 {
        return None;
    }
    let raw: Option<[u8; 4]> = tensor.raw_data.as_slice().try_into().ok();
    match tensor.float_data.as_slice() {
        &[number] => Some(number),
        _ => raw.map(f32::from_le_bytes),
    }
}

/// The scale by which the runtime's `QLinearSoftmax` rounds: its reciprocal is a whole number.
fn softmax_scale(node: &NodeProto, scales: &FloatConstants) -> Option<f32> {
    let scale = scales.get(&operand(node, 3))?;
    let units = (1.0 / scale).floor();
    (units >= 1.0 && units.is_finite()).then_some(1.0 / units)
}

fn replace(node: NodeProto, scales: &FloatConstants, parts: &mut Parts) -> Option<NodeProto> {
    let standard = is_standard(&node);
    let known = standard || node.domain == "com.microsoft";
    let operands = node.input.len();
    match node.op_type.as_str() {
        "QLinearConv" if known && operands >= 8 && !channels_last(&node) => {
            parts.convolution(&node);
        }
        "QLinearMatMul" if standard && operands == 8 => parts.product(&node),
        "QGemm" if known && operands >= 8 => parts.gemm(&node),
        "QLinearAdd" if known && operands == 8 => parts.two_operands(&node, "Add"),
        "QLinearMul" if known && operands == 8 => parts.two_operands(&node, "Mul"),
        "QLinearGlobalAveragePool" if known && operands == 5 && !channels_last(&node) => {
            parts.one_operand(&node, "GlobalAveragePool");
        }
        "QLinearAveragePool" if known && operands == 5 && !channels_last(&node) => {
            parts.one_operand(&node, "AveragePool");
        }
        "QLinearSoftmax" if known && operands >= 4 && softmax_scale(&node, scales).is_some() => {
            parts.softmax(&node, scales);
        }
        "QLinearLeakyRelu" if known && operands == 5 => parts.one_operand(&node, "LeakyRelu"),
        "QLinearSigmoid" if known && operands == 5 => parts.one_operand(&node, "Sigmoid"),
        "QLinearConcat" if known && operands >= 5 && operands % 3 == 2 => parts.concat(&node),
        "QuantizeLinear" | "DequantizeLinear" if known => {
            return Some(NodeProto {
                domain: String::new(),
                ..node
            });
        }
        _ => return Some(node),
    }
    None
}

fn channels_last(node: &NodeProto) -> bool {
    int_of(node, "channels_last").is_some_and(|value| value != 0)
}

impl Parts {
    /// x, its scale and zero point, the weights and theirs, the result's, and a bias.
    fn convolution(&mut self, node: &NodeProto) {
        let [x, w, scales] = [[0, 1, 2], [3, 4, 5], [6, 7, 8]].map(|i| i.map(|i| operand(node, i)));
        let result = result(node);
        let activation = self.dequantise(&x, format!("{result}.x"), None);
        let weights = self.dequantise(&w, format!("{result}.w"), Some(0));
        let mut inputs = vec![activation, weights];
        if !scales[2].is_empty() {
            inputs.push(self.bias(&scales[2], [&x[1], &w[1]], &result));
        }
        let mut attributes = node.attribute.clone();
        attributes.retain(|a| a.name != "channels_last");
        let value = self.node("Conv", inputs, format!("{result}.value"), &attributes);
        self.quantise(value, &scales[0], &scales[1], result);
    }

    fn product(&mut self, node: &NodeProto) {
        let result = result(node);
        let [a, b] = [[0, 1, 2], [3, 4, 5]].map(|i| i.map(|i| operand(node, i)));
        let a = self.dequantise(&a, format!("{result}.a"), None);
        let b = self.dequantise(&b, format!("{result}.b"), Some(1));
        let value = self.node("MatMul", vec![a, b], format!("{result}.value"), &[]);
        self.quantise(value, &operand(node, 6), &operand(node, 7), result);
    }

    /// A, its scale and zero point, B and its, C, and the result's scale and zero point: without them it is a float.
    fn gemm(&mut self, node: &NodeProto) {
        let result = result(node);
        let [a, b] = [[0, 1, 2], [3, 4, 5]].map(|i| i.map(|i| operand(node, i)));
        let transposed = node
            .attribute
            .iter()
            .any(|a| a.name == "transB" && a.i != 0);
        let left = self.dequantise(&a, format!("{result}.a"), None);
        let axis = i64::from(!transposed);
        let right = self.dequantise(&b, format!("{result}.b"), Some(axis));
        let mut inputs = vec![left, right];
        let bias = operand(node, 6);
        if !bias.is_empty() {
            inputs.push(self.bias(&bias, [&a[1], &b[1]], &result));
        }
        let scale = operand(node, 7);
        if scale.is_empty() {
            self.node("Gemm", inputs, result, &node.attribute);
        } else {
            let value = self.node("Gemm", inputs, format!("{result}.value"), &node.attribute);
            self.quantise(value, &scale, &operand(node, 8), result);
        }
    }

    fn two_operands(&mut self, node: &NodeProto, operator: &str) {
        let result = result(node);
        let [a, b] = [[0, 1, 2], [3, 4, 5]].map(|i| i.map(|i| operand(node, i)));
        let a = self.dequantise(&a, format!("{result}.a"), None);
        let b = self.dequantise(&b, format!("{result}.b"), None);
        let value = self.node(operator, vec![a, b], format!("{result}.value"), &[]);
        self.quantise(value, &operand(node, 6), &operand(node, 7), result);
    }

    fn one_operand(&mut self, node: &NodeProto, operator: &str) {
        let result = result(node);
        let x = [0, 1, 2].map(|i| operand(node, i));
        let x = self.dequantise(&x, format!("{result}.x"), None);
        let kept: Vec<AttributeProto> = node
            .attribute
            .iter()
            .filter(|a| a.name != "channels_last")
            .cloned()
            .collect();
        let value = self.node(operator, vec![x], format!("{result}.value"), &kept);
        self.quantise(value, &operand(node, 3), &operand(node, 4), result);
    }

    /// A softmax along one axis, or, before operator set 13, over all axes from that on.
    fn softmax(&mut self, node: &NodeProto, scales: &FloatConstants) {
        let result = result(node);
        let x = [0, 1, 2].map(|i| operand(node, i));
        let x = self.dequantise(&x, format!("{result}.x"), None);
        let version = int_of(node, "opset").unwrap_or(13);
        let axis = int_of(node, "axis").unwrap_or(if version < 13 { 1 } else { -1 });
        let value = format!("{result}.value");
        if version < 13 {
            let shape = self.node("Shape", vec![x.clone()], format!("{result}.shape"), &[]);
            let rows = [int("axis", axis)];
            let rows = self.node("Flatten", vec![x], format!("{result}.rows"), &rows);
            let last = [int("axis", -1)];
            let rows = self.node("Softmax", vec![rows], format!("{result}.softmax"), &last);
            self.node("Reshape", vec![rows, shape], value.clone(), &[]);
        } else {
            self.node("Softmax", vec![x], value.clone(), &[int("axis", axis)]);
        }
        let scale = softmax_scale(node, scales).unwrap_or(1.0);
        let scale = self.number(format!("{result}.scale"), scale);
        self.quantise(value, &scale, &operand(node, 4), result);
    }

    /// The result's scale and zero point, then each operand and its.
    fn concat(&mut self, node: &NodeProto) {
        let result = result(node);
        let operands = (2..node.input.len()).step_by(3);
        let values = operands
            .map(|i| {
                let x = [i, i + 1, i + 2].map(|i| operand(node, i));
                self.dequantise(&x, format!("{result}.{i}"), None)
            })
            .collect();
        let value = self.node("Concat", values, format!("{result}.value"), &node.attribute);
        self.quantise(value, &operand(node, 0), &operand(node, 1), result);
    }

    /// A bias in units of the product of two scales.
    fn bias(&mut self, bias: &str, scales: [&String; 2], result: &str) -> String {
        let float = [int("to", 1)];
        let value = self.node(
            "Cast",
            vec![bias.to_owned()],
            format!("{result}.bias"),
            &float,
        );
        let scales = scales.map(String::clone).to_vec();
        let unit = self.node("Mul", scales, format!("{result}.bias.unit"), &[]);
        self.node(
            "Mul",
            vec![value, unit],
            format!("{result}.bias.value"),
            &[],
        )
    }

    fn dequantise(
        &mut self,
        [x, scale, zero]: &[String; 3],
        to: String,
        axis: Option<i64>,
    ) -> String {
        let mut inputs = vec![x.clone(), scale.clone()];
        inputs.extend((!zero.is_empty()).then(|| zero.clone()));
        let axis = axis.map(|axis| int("axis", axis));
        self.node("DequantizeLinear", inputs, to, axis.as_slice())
    }

    fn quantise(&mut self, value: String, scale: &str, zero: &str, to: String) {
        let mut inputs = vec![value, scale.to_owned()];
        inputs.extend((!zero.is_empty()).then(|| zero.to_owned()));
        self.node("QuantizeLinear", inputs, to, &[]);
    }
}
