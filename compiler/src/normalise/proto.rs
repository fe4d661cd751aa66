//! Pieces of ONNX messages: attributes, small tensors, declarations, and reading them.

use scnn_isa::program::Dtype;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_shape_proto, type_proto,
};
use tract_onnx::prelude::{DatumType, Tensor};

/// Whether a node's operator is one of ONNX's own.
pub(crate) fn is_standard(node: &NodeProto) -> bool {
    ["", "ai.onnx"].contains(&node.domain.as_str())
}

/// A node without an operator, for what only looks at names.
#[cfg(test)]
pub(crate) fn node_of(inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// The attribute of that name.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// The integer that an attribute holds.
pub(crate) fn int_of(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(|a| a.i)
}

/// The integers that an attribute holds.
pub(crate) fn ints_of<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    attribute(node, name).map(|a| a.ints.as_slice())
}

/// The number that an attribute holds.
pub(crate) fn float_of(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name).map(|a| a.f)
}

/// The word that an attribute holds.
pub(crate) fn text_of<'a>(node: &'a NodeProto, name: &str) -> Option<&'a str> {
    std::str::from_utf8(&attribute(node, name)?.s).ok()
}

/// The name of operand `index`; empty if it is left out.
pub(crate) fn operand(node: &NodeProto, index: usize) -> String {
    node.input.get(index).cloned().unwrap_or_default()
}

/// Whether operand `index` is given.
pub(crate) fn has_operand(node: &NodeProto, index: usize) -> bool {
    node.input.get(index).is_some_and(|name| !name.is_empty())
}

/// The name of the first result.
pub(crate) fn result(node: &NodeProto) -> String {
    node.output.first().cloned().unwrap_or_default()
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    }
}

pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::String as i32,
        s: value.as_bytes().to_vec(),
        ..AttributeProto::default()
    }
}

/// A tensor of 64-bit integers; without extents it is a scalar.
pub(crate) fn int64_tensor(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: DataType::Int64 as i32,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// A tensor of 32-bit floats; without extents it is a scalar.
pub(crate) fn float_tensor(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// A scalar of an integer type.
pub(crate) fn integer_tensor(name: &str, dtype: Dtype, value: i64) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: onnx_type(dtype) as i32,
        // All narrow types lie in this field.
        int32_data: vec![value as i32],
        ..TensorProto::default()
    }
}

/// Most values of a tensor that [`int64_values`] reads: two for each of more axes than models have.
const MOST_VALUES: usize = 32;

/// The values of a short tensor of 64-bit integers, if it has any.
pub(crate) fn int64_values(tensor: &TensorProto) -> Option<Vec<i64>> {
    let (words, _) = tensor.raw_data.as_chunks::<8>();
    let count = words.len().max(tensor.int64_data.len());
    if tensor.data_type != DataType::Int64 as i32 || count == 0 || count > MOST_VALUES {
        return None;
    }
    let raw = words.iter().map(|&word| i64::from_le_bytes(word));
    Some(raw.chain(tensor.int64_data.iter().copied()).collect())
}

/// A small constant as a message; none of a type that control flow is not computed with.
pub(super) fn tensor_of(name: &str, value: &Tensor) -> Option<TensorProto> {
    let (data_type, datum) = match value.datum_type() {
        // tract computes shapes symbolically; whatever is concrete is a 64-bit integer.
        DatumType::I64 | DatumType::TDim => (DataType::Int64, DatumType::I64),
        DatumType::I32 => (DataType::Int32, DatumType::I32),
        DatumType::Bool => (DataType::Bool, DatumType::Bool),
        DatumType::F32 => (DataType::Float, DatumType::F32),
        _ => return None,
    };
    let value = value.cast_to_dt(datum).ok()?;
    Some(TensorProto {
        name: name.to_owned(),
        dims: value.shape().iter().map(|&dim| dim as i64).collect(),
        data_type: data_type as i32,
        raw_data: value.as_bytes().to_vec(),
        ..TensorProto::default()
    })
}

/// ONNX's number of an element type.
pub(crate) fn onnx_type(dtype: Dtype) -> DataType {
    match dtype {
        Dtype::F32 => DataType::Float,
        Dtype::F64 => DataType::Double,
        Dtype::F16 => DataType::Float16,
        Dtype::I8 => DataType::Int8,
        Dtype::I16 => DataType::Int16,
        Dtype::I32 => DataType::Int32,
        Dtype::I64 => DataType::Int64,
        Dtype::U8 => DataType::Uint8,
        Dtype::U16 => DataType::Uint16,
        Dtype::U32 => DataType::Uint32,
        Dtype::U64 => DataType::Uint64,
        Dtype::Bool => DataType::Bool,
    }
}

/// The declared type and extents of a tensor.
pub(crate) fn tensor_type(info: &ValueInfoProto) -> Option<&type_proto::Tensor> {
    match info.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some(tensor),
    }
}

/// The declaration of a tensor as an input or output.
pub(crate) fn value_info(name: &str, dtype: Dtype, dims: &[u64]) -> ValueInfoProto {
    let dim = |&d: &u64| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(d as i64)),
        ..tensor_shape_proto::Dimension::default()
    };
    let shape = TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    };
    let tensor = type_proto::Tensor {
        elem_type: onnx_type(dtype) as i32,
        shape: Some(shape),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// The graphs that stand in the attributes of a node: branches and bodies.
pub(super) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    let attributes = node.attribute.iter();
    attributes.flat_map(|a| a.g.iter().chain(&a.graphs))
}

/// See [`subgraphs`].
pub(super) fn subgraphs_mut(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    let attributes = node.attribute.iter_mut();
    attributes.flat_map(|a| a.g.iter_mut().chain(&mut a.graphs))
}

/// Calls `visit` for a graph and all graphs in its nodes, the outer ones last. The decoder limits how deep they are nested.
pub(super) fn visit_graphs(graph: &mut GraphProto, visit: &mut dyn FnMut(&mut GraphProto)) {
    for node in &mut graph.node {
        for inner in subgraphs_mut(node) {
            visit_graphs(inner, visit);
        }
    }
    visit(graph);
}
pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Float as i32,
        f: value,
        ..AttributeProto::default()
    }
}

pub(super) fn tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Tensor as i32,
        t: Some(value),
        ..AttributeProto::default()
    }
}

/// See [`tensor_type`].
pub(super) fn tensor_type_mut(info: &mut ValueInfoProto) -> Option<&mut type_proto::Tensor> {
    match info.r#type.as_mut()?.value.as_mut()? {
        type_proto::Value::TensorType(tensor) => Some(tensor),
    }
}
