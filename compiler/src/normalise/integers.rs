//! Products of integers (`ConvInteger`, `MatMulInteger`) become products of floats that hold the same integers: without
//! their zero points, so that a zero is a zero. The result is an integer in single precision, exact up to 2^24; where
//! it is made a float at once, as every quantiser does, it stays one.

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{float_tensor, has_operand, int, int_of, operand, result};
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        let known = Known::of(graph);
        replace_nodes(graph, |node, parts| Ok(replace(node, &known, parts)))
    })
}

/// What a product needs to know of the graph.
struct Known {
    /// Values of each initializer.
    lengths: BTreeMap<String, u64>,
    /// Results of products that only a `Cast` to float reads.
    made_real: BTreeSet<String>,
}

impl Known {
    fn of(graph: &GraphProto) -> Self {
        let lengths = graph.initializer.iter().map(|tensor| {
            let length = tensor.dims.iter().map(|&dim| dim.unsigned_abs()).product();
            (tensor.name.clone(), length)
        });
        let products = graph.node.iter().filter(|node| is_product(node));
        let mut made_real: BTreeSet<String> = products.map(result).collect();
        for node in &graph.node {
            // A body may read whatever is outside of it.
            let has_body = node.attribute.iter().any(|attribute| attribute.g.is_some());
            if has_body {
                made_real.clear();
            }
            if !is_cast_to_float(node) {
                for name in &node.input {
                    made_real.remove(name);
                }
            }
        }
        for output in &graph.output {
            made_real.remove(&output.name);
        }
        Self {
            lengths: lengths.collect(),
            made_real,
        }
    }

    /// Whether operand `index` is one number, as one that is computed is taken to be, or not given.
    fn is_number(&self, node: &NodeProto, index: usize) -> bool {
        let length = self.lengths.get(&operand(node, index));
        length.is_none_or(|&length| length == 1)
    }
}

fn is_product(node: &NodeProto) -> bool {
    super::proto::is_standard(node)
        && ["ConvInteger", "MatMulInteger"].contains(&node.op_type.as_str())
}

fn is_cast_to_float(node: &NodeProto) -> bool {
    node.op_type == "Cast" && int_of(node, "to") == Some(DataType::Float as i64)
}

fn replace(node: NodeProto, known: &Known, parts: &mut Parts) -> Option<NodeProto> {
    if is_cast_to_float(&node) && known.made_real.contains(&operand(&node, 0)) {
        let value = vec![operand(&node, 0)];
        parts.node("Identity", value, result(&node), &[]);
        return None;
    }
    // Zero points of single rows would have to be subtracted row by row.
    if !is_product(&node) || !known.is_number(&node, 2) {
        return Some(node);
    }
    let y = result(&node);
    let first = parts.without_zero(&node, 0, known, 1);
    let (operator, axis) = match node.op_type.as_str() {
        "ConvInteger" => ("Conv", 0),
        _ => ("MatMul", 1),
    };
    let second = parts.without_zero(&node, 1, known, axis);
    let operands = vec![first, second];
    if known.made_real.contains(&y) {
        parts.node(operator, operands, y, &node.attribute);
        return None;
    }
    let real = parts.node(operator, operands, format!("{y}.real"), &node.attribute);
    // Whatever runs it may not have been exact.
    let whole = parts.node("Round", vec![real], format!("{y}.whole"), &[]);
    let integer: [AttributeProto; 1] = [int("to", DataType::Int32 as i64)];
    parts.node("Cast", vec![whole], y, &integer);
    None
}

impl Parts {
    /// Operand `index` less its zero point, operand `index + 2`, as floats; several zero points lie along `axis`.
    fn without_zero(&mut self, node: &NodeProto, index: usize, known: &Known, axis: i64) -> String {
        let to = format!("{}.{}", result(node), ["a", "b"][index.min(1)]);
        let zeros = operand(node, index + 2);
        let scale = format!("{to}.one");
        let length = known.lengths.get(&zeros).copied().unwrap_or(1);
        let tensor = if length == 1 {
            float_tensor(&scale, &[], &[1.0])
        } else {
            float_tensor(&scale, &[length as i64], &vec![1.0; length as usize])
        };
        self.initializers.push(tensor);
        let mut operands = vec![operand(node, index), scale];
        operands.extend(has_operand(node, index + 2).then_some(zeros));
        self.node("DequantizeLinear", operands, to, &[int("axis", axis)])
    }
}
