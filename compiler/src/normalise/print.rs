//! The text form of an ONNX model, a line for each input, constant and node, small enough for snapshots.

use super::proto::{subgraphs, tensor_type};
use std::fmt::{self, Write};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};

/// Most values of a constant that are shown.
const MOST_VALUES: usize = 8;

/// The text form of a model.
pub(super) fn text(model: &ModelProto) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_model(&mut text, model);
    text
}

fn write_model(to: &mut String, model: &ModelProto) -> fmt::Result {
    for import in &model.opset_import {
        let domain = Some(import.domain.as_str()).filter(|d| !d.is_empty());
        writeln!(
            to,
            "opset {} {}",
            domain.unwrap_or("ai.onnx"),
            import.version
        )?;
    }
    for function in &model.functions {
        let inputs = function.input.join(", ");
        writeln!(
            to,
            "function {}.{}({inputs})",
            function.domain(),
            function.name()
        )?;
        for node in &function.node {
            write_node(to, node, 1)?;
        }
        writeln!(to, "  return {}", function.output.join(", "))?;
    }
    match &model.graph {
        Some(graph) => write_graph(to, graph, 0),
        None => Ok(()),
    }
}

fn write_graph(to: &mut String, graph: &GraphProto, depth: usize) -> fmt::Result {
    let indent = "  ".repeat(depth);
    for input in &graph.input {
        writeln!(to, "{indent}input {}", declaration(input))?;
    }
    for tensor in &graph.initializer {
        writeln!(to, "{indent}constant {}", constant(tensor))?;
    }
    for sparse in &graph.sparse_initializer {
        if let Some(values) = &sparse.values {
            writeln!(
                to,
                "{indent}sparse {} of {:?}",
                constant(values),
                sparse.dims
            )?;
        }
    }
    for node in &graph.node {
        write_node(to, node, depth)?;
    }
    for output in &graph.output {
        writeln!(to, "{indent}output {}", declaration(output))?;
    }
    Ok(())
}

fn write_node(to: &mut String, node: &NodeProto, depth: usize) -> fmt::Result {
    write!(to, "{}{} = ", "  ".repeat(depth), names(&node.output))?;
    if !node.domain.is_empty() {
        write!(to, "{}.", node.domain)?;
    }
    write!(to, "{}({})", node.op_type, names(&node.input))?;
    for attribute in node.attribute.iter().filter(|a| a.g.is_none()) {
        write!(to, " {}={}", attribute.name, value(attribute))?;
    }
    writeln!(to)?;
    for graph in subgraphs(node) {
        writeln!(to, "{}{}:", "  ".repeat(depth + 1), graph.name)?;
        write_graph(to, graph, depth + 2)?;
    }
    Ok(())
}

/// Names of operands or results; `_` is one that is left out.
fn names(names: &[String]) -> String {
    let shown = names
        .iter()
        .map(|name| if name.is_empty() { "_" } else { name });
    shown.collect::<Vec<_>>().join(", ")
}

fn declaration(info: &ValueInfoProto) -> String {
    let Some(tensor) = tensor_type(info) else {
        return info.name.clone();
    };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    let dims = dims.map(|dim| match &dim.value {
        Some(Value::DimValue(value)) => value.to_string(),
        Some(Value::DimParam(name)) => name.clone(),
        None => "?".to_owned(),
    });
    let shape = match &tensor.shape {
        Some(_) => format!(" [{}]", dims.collect::<Vec<_>>().join(", ")),
        None => String::new(),
    };
    format!("{} {}{shape}", info.name, type_name(tensor.elem_type))
}

fn type_name(number: i32) -> &'static str {
    DataType::try_from(number).map_or("UNKNOWN", |data_type| data_type.as_str_name())
}

fn constant(tensor: &TensorProto) -> String {
    let kind = type_name(tensor.data_type);
    let mut text = format!("{} {kind} {:?}", tensor.name, tensor.dims);
    if let Some(values) = values(tensor) {
        let _ = write!(text, " = {values}");
    }
    text
}

/// The values of a short tensor.
fn values(tensor: &TensorProto) -> Option<String> {
    let count: i64 = tensor
        .dims
        .iter()
        .try_fold(1i64, |all, &d| all.checked_mul(d))?;
    if !(0..=MOST_VALUES as i64).contains(&count) || !tensor.external_data.is_empty() {
        return None;
    }
    let raw = &tensor.raw_data;
    let (fours, eights) = (raw.as_chunks::<4>().0, raw.as_chunks::<8>().0);
    Some(match DataType::try_from(tensor.data_type).ok()? {
        DataType::Float => {
            let from_raw = fours.iter().map(|&bytes| f32::from_le_bytes(bytes));
            let all: Vec<f32> = from_raw.chain(tensor.float_data.iter().copied()).collect();
            format!("{all:?}")
        }
        DataType::Double => {
            let from_raw = eights.iter().map(|&bytes| f64::from_le_bytes(bytes));
            let all: Vec<f64> = from_raw.chain(tensor.double_data.iter().copied()).collect();
            format!("{all:?}")
        }
        DataType::Int64 => {
            let from_raw = eights.iter().map(|&bytes| i64::from_le_bytes(bytes));
            let all: Vec<i64> = from_raw.chain(tensor.int64_data.iter().copied()).collect();
            format!("{all:?}")
        }
        DataType::Int32 => {
            let from_raw = fours.iter().map(|&bytes| i32::from_le_bytes(bytes));
            let all: Vec<i32> = from_raw.chain(tensor.int32_data.iter().copied()).collect();
            format!("{all:?}")
        }
        _ => return None,
    })
}

fn value(attribute: &AttributeProto) -> String {
    if !attribute.ref_attr_name.is_empty() {
        return format!("@{}", attribute.ref_attr_name);
    }
    match attribute.r#type() {
        AttributeType::Float => format!("{:?}", attribute.f),
        AttributeType::Int => attribute.i.to_string(),
        AttributeType::String => String::from_utf8_lossy(&attribute.s).into_owned(),
        AttributeType::Floats => format!("{:?}", attribute.floats),
        AttributeType::Ints => format!("{:?}", attribute.ints),
        AttributeType::Strings => {
            let words = attribute.strings.iter().map(|s| String::from_utf8_lossy(s));
            format!("[{}]", words.collect::<Vec<_>>().join(", "))
        }
        AttributeType::Tensor => {
            format!(
                "({})",
                attribute.t.as_ref().map_or_else(String::new, constant)
            )
        }
        other => other.as_str_name().to_lowercase(),
    }
}
