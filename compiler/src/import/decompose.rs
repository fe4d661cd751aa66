//! Spells out operators that hide others: quantised operators (`QLinearConv` and its kin, those of `com.microsoft`
//! too) become dequantise, compute, quantise. The importer then finds the convolution and its scales, and tract has
//! nothing to read that it does not know. Each part says of which node it is one, so every report still speaks of that.

use super::{ImportError, node_name};
use crate::codes::Code;
use std::collections::BTreeMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// Spells out what hides others.
///
/// # Errors
/// Operands that are broadcast in the way of operator set 6, and whose place cannot be told.
pub(super) fn decompose(model: &mut ModelProto) -> Result<(), Vec<ImportError>> {
    let mut sets = model.opset_import.iter_mut();
    let version = sets
        .find(|set| set.domain.is_empty() || set.domain == "ai.onnx")
        .map(|set| &mut set.version);
    let old = version.as_ref().is_some_and(|version| **version < 7);
    let Some(graph) = &mut model.graph else {
        return Ok(());
    };
    let ranks = ranks(graph);
    let (mut parts, mut errors) = (Parts::default(), Vec::new());
    // `Upsample` became the `Resize` of operator set 10, whose `Slice` takes its bounds from operands.
    let upsamples = graph.node.iter().any(|node| node.op_type == "Upsample");
    let (mut raised, mut tenth) = (false, false);
    if let Some(version) = version {
        raised = upsamples && *version < 10;
        *version = if raised { 10 } else { *version };
        tenth = *version == 10;
    }
    for node in std::mem::take(&mut graph.node) {
        let standard = node.domain.is_empty() || node.domain == "ai.onnx";
        let known = standard || node.domain == "com.microsoft";
        let operands = node.input.len();
        parts.origin = node_name(&node);
        match node.op_type.as_str() {
            "QLinearConv" if standard && operands >= 8 => parts.convolution(&node),
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
            "QLinearLeakyRelu" if known && operands == 5 => parts.one_operand(&node, "LeakyRelu"),
            "QLinearSigmoid" if known && operands == 5 => parts.one_operand(&node, "Sigmoid"),
            "QLinearConcat" if known && operands >= 5 && operands % 3 == 2 => parts.concat(&node),
            "QuantizeLinear" | "DequantizeLinear" if known => parts.nodes.push(NodeProto {
                domain: String::new(),
                ..node
            }),
            "Sum" if standard && operands > 2 => parts.sum(&node),
            "MatMul" if standard && vectors(&node, &ranks) => parts.dot_product(&node),
            "Upsample" if standard && raised => parts.upsample(&node),
            "Resize" if standard && tenth => parts.resize(node),
            "Slice" if standard && raised && operands == 1 => parts.slice(&node),
            _ if standard && old => match aligned_from(&node, &ranks) {
                Some(Ok((axis, rank))) => parts.aligned(node, axis, rank),
                Some(Err(error)) => errors.push(error),
                None => parts.nodes.push(node),
            },
            _ => parts.nodes.push(node),
        }
    }
    graph.node = parts.nodes;
    graph.initializer.append(&mut parts.initializers);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Operators of two operands, of which operator set 6 broadcasts the second from an axis on.
const FROM_AXIS: &[&str] = &[
    "Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor",
];

/// From which axis on the second operand of a node of operator set 6 is broadcast, and its rank; none where that is what
/// later operator sets do, which align the last axes.
fn aligned_from(
    node: &NodeProto,
    ranks: &BTreeMap<String, usize>,
) -> Option<Result<(i64, usize), ImportError>> {
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.i);
    let second = node.input.get(1)?;
    let rank = ranks.get(second).copied();
    let axis = if node.op_type == "PRelu" {
        // One slope for each channel.
        return rank.filter(|&rank| rank == 1).map(|rank| Ok((1, rank)));
    } else if FROM_AXIS.contains(&node.op_type.as_str()) && attribute("broadcast") == Some(1) {
        attribute("axis")?
    } else {
        return None;
    };
    Some(match rank {
        // A number has no axis.
        Some(0) => return None,
        Some(rank) if axis >= 0 => Ok((axis, rank)),
        _ => Err(ImportError::node(
            Code::Opset,
            node,
            format!(
                "its operand `{second}` is broadcast from axis {axis} on, in the way of operator set 6; \
                 an axis from 0 and an operand with a declared shape (an initializer or input) are possible"
            ),
            "convert the model to operator set 7 or later with onnx.version_converter",
        )),
    })
}

/// Ranks of the tensors that declare one.
fn ranks(graph: &GraphProto) -> BTreeMap<String, usize> {
    use tract_onnx::pb::type_proto::Value;
    let mut ranks = BTreeMap::new();
    for input in &graph.input {
        if let Some(Value::TensorType(tensor)) =
            input.r#type.as_ref().and_then(|t| t.value.as_ref())
            && let Some(shape) = &tensor.shape
        {
            ranks.insert(input.name.clone(), shape.dim.len());
        }
    }
    for tensor in &graph.initializer {
        ranks.insert(tensor.name.clone(), tensor.dims.len());
    }
    ranks
}

/// Whether both operands are known to have one dimension; tract multiplies no two vectors.
fn vectors(node: &NodeProto, ranks: &BTreeMap<String, usize>) -> bool {
    node.input.iter().all(|name| ranks.get(name) == Some(&1))
}

fn channels_last(node: &NodeProto) -> bool {
    let attribute = node.attribute.iter().find(|a| a.name == "channels_last");
    attribute.is_some_and(|a| a.i != 0)
}

/// What the documentation of a part says in front of the name of the node that it is a part of.
const PART_OF: &str = "part of ";

/// The node that `node` is a part of, if it is one.
pub(super) fn origin_name(node: &NodeProto) -> Option<&str> {
    node.doc_string.strip_prefix(PART_OF)
}

/// The nodes so far, and the name of the one that is being spelled out.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) nodes: Vec<NodeProto>,
    /// Constants that the parts need.
    pub(super) initializers: Vec<TensorProto>,
    pub(super) origin: String,
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
        let value = self.node("Conv", inputs, format!("{result}.value"), &node.attribute);
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

    /// Additions of two.
    fn sum(&mut self, node: &NodeProto) {
        let result = result(node);
        let mut sum = operand(node, 0);
        for (i, term) in node.input.iter().enumerate().skip(1) {
            let last = i + 1 == node.input.len();
            let to = if last {
                result.clone()
            } else {
                format!("{result}.{i}")
            };
            sum = self.node("Add", vec![sum, term.clone()], to, &[]);
        }
    }

    /// Sum of the products of two vectors.
    fn dot_product(&mut self, node: &NodeProto) {
        let result = result(node);
        let products = self.node("Mul", node.input.clone(), format!("{result}.products"), &[]);
        self.node(
            "ReduceSum",
            vec![products],
            result,
            &[integer("keepdims", 0)],
        );
    }

    /// The same as a `Resize` of operator set 10; operator set 7 has the scales as an attribute.
    fn upsample(&mut self, node: &NodeProto) {
        let result = result(node);
        let mut scales = operand(node, 1);
        if let Some(given) = node.attribute.iter().find(|a| a.name == "scales") {
            scales = format!("{result}.scales");
            self.initializers.push(TensorProto {
                name: scales.clone(),
                dims: vec![given.floats.len() as i64],
                data_type: DataType::Float as i32,
                float_data: given.floats.clone(),
                ..TensorProto::default()
            });
        }
        let mut attributes = node.attribute.clone();
        attributes.retain(|a| a.name == "mode");
        attributes.push(floor());
        self.node(
            "Resize",
            vec![operand(node, 0), scales],
            result,
            &attributes,
        );
    }

    /// Operator set 10 rounds downward, for which there was no attribute yet.
    fn resize(&mut self, mut node: NodeProto) {
        if node.attribute.iter().all(|a| a.name != "nearest_mode") {
            node.attribute.push(floor());
        }
        self.nodes.push(node);
    }

    /// A `Slice` whose bounds are attributes as one whose bounds are operands.
    fn slice(&mut self, node: &NodeProto) {
        let result = result(node);
        let mut operands = vec![operand(node, 0)];
        for bound in ["starts", "ends", "axes"] {
            if let Some(given) = node.attribute.iter().find(|a| a.name == bound) {
                let name = format!("{result}.{bound}");
                operands.push(name.clone());
                self.initializers.push(TensorProto {
                    name,
                    dims: vec![given.ints.len() as i64],
                    data_type: DataType::Int64 as i32,
                    int64_data: given.ints.clone(),
                    ..TensorProto::default()
                });
            }
        }
        self.node("Slice", operands, result, &[]);
    }

    /// The second operand, of rank `rank`, gets as many axes of extent 1 behind its own as the first has behind them.
    fn aligned(&mut self, mut node: NodeProto, axis: i64, rank: usize) {
        let result = result(&node);
        let part = |name: &str| format!("{result}.{name}");
        let shape = self.node("Shape", vec![operand(&node, 0)], part("shape"), &[]);
        let behind = [
            integers("axes", &[0]),
            integers("starts", &[axis + rank as i64]),
            integers("ends", &[i64::from(i32::MAX)]),
        ];
        let behind = self.node("Slice", vec![shape], part("behind"), &behind);
        let ones = vec![behind.clone(), behind];
        let ones = self.node("Div", ones, part("ones"), &[]);
        let own = self.node("Shape", vec![operand(&node, 1)], part("own"), &[]);
        let axis = [integer("axis", 0)];
        let whole = self.node("Concat", vec![own, ones], part("aligned.shape"), &axis);
        let operands = vec![operand(&node, 1), whole];
        node.input[1] = self.node("Reshape", operands, part("aligned"), &[]);
        node.attribute
            .retain(|a| a.name != "axis" && a.name != "broadcast");
        self.nodes.push(node);
    }

    /// A bias in units of the product of two scales.
    fn bias(&mut self, bias: &str, scales: [&String; 2], result: &str) -> String {
        let float = [integer("to", 1)];
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
        let axis = axis.map(|axis| integer("axis", axis));
        self.node("DequantizeLinear", inputs, to, axis.as_slice())
    }

    fn quantise(&mut self, value: String, scale: &str, zero: &str, to: String) {
        let mut inputs = vec![value, scale.to_owned()];
        inputs.extend((!zero.is_empty()).then(|| zero.to_owned()));
        self.node("QuantizeLinear", inputs, to, &[]);
    }

    pub(super) fn node(
        &mut self,
        operator: &str,
        input: Vec<String>,
        to: String,
        attributes: &[AttributeProto],
    ) -> String {
        self.nodes.push(NodeProto {
            // tract asks for names of which no two are alike.
            name: format!("{to}:{operator}"),
            doc_string: format!("{PART_OF}{}", self.origin),
            op_type: operator.to_owned(),
            input,
            output: vec![to.clone()],
            attribute: attributes.to_vec(),
            ..NodeProto::default()
        });
        to
    }
}

fn operand(node: &NodeProto, index: usize) -> String {
    node.input.get(index).cloned().unwrap_or_default()
}

pub(super) fn result(node: &NodeProto) -> String {
    node.output.first().cloned().unwrap_or_default()
}

fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: tract_onnx::pb::attribute_proto::AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    }
}

fn integers(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: tract_onnx::pb::attribute_proto::AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

fn floor() -> AttributeProto {
    AttributeProto {
        name: "nearest_mode".to_owned(),
        r#type: tract_onnx::pb::attribute_proto::AttributeType::String as i32,
        s: b"floor".to_vec(),
        ..AttributeProto::default()
    }
}
