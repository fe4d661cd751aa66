//! float16, bfloat16 and double become float32, in which everything is computed: constants, types in attributes, inputs and
//! outputs. The types that inputs and outputs are declared with are noted; they are those of the program's.

use super::Draft;
use super::error::ImportError;
use super::proto::{tensor_type, tensor_type_mut, visit_graphs};
use crate::codes::Code;
use scnn_isa::program::Dtype;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// Attributes that name an element type.
const TYPES: &[&str] = &["dtype", "output_datatype", "output_dtype", "to"];

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let Some(graph) = &mut draft.model.graph else {
        return Ok(());
    };
    for info in graph.input.iter().chain(&graph.output) {
        if let Some(dtype) = tensor_type(info).and_then(|t| declared(t.elem_type)) {
            draft.declared.insert(info.name.clone(), dtype);
        }
    }
    let mut errors = Vec::new();
    visit_graphs(graph, &mut |graph| errors.extend(convert(graph).err()));
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Whether numbers of that type are computed as float32.
fn is_other_float(number: i32) -> bool {
    let others = [DataType::Float16, DataType::Bfloat16, DataType::Double];
    others.iter().any(|&other| other as i32 == number)
}

/// The type of a file's inputs and outputs, where it is not float32; arrays of bfloat16 have no form in files.
fn declared(number: i32) -> Option<Dtype> {
    match DataType::try_from(number).ok()? {
        DataType::Float16 => Some(Dtype::F16),
        DataType::Double => Some(Dtype::F64),
        _ => None,
    }
}

fn convert(graph: &mut GraphProto) -> Result<(), ImportError> {
    let infos = [&mut graph.input, &mut graph.output, &mut graph.value_info];
    infos.into_iter().flatten().for_each(declare);
    graph.initializer.iter_mut().try_for_each(tensor)?;
    graph.node.iter_mut().try_for_each(node)
}

fn declare(info: &mut ValueInfoProto) {
    if let Some(tensor) = tensor_type_mut(info)
        && is_other_float(tensor.elem_type)
    {
        tensor.elem_type = DataType::Float as i32;
    }
}

fn node(node: &mut NodeProto) -> Result<(), ImportError> {
    for attribute in &mut node.attribute {
        let AttributeProto { name, i, t, .. } = attribute;
        let number = i32::try_from(*i).unwrap_or(0);
        if TYPES.contains(&name.as_str()) && is_other_float(number) {
            *i = DataType::Float as i64;
        }
        t.iter_mut()
            .chain(&mut attribute.tensors)
            .try_for_each(tensor)?;
    }
    Ok(())
}

/// Converts the values of a constant.
fn tensor(tensor: &mut TensorProto) -> Result<(), ImportError> {
    if !is_other_float(tensor.data_type) {
        return Ok(());
    }
    let mut dims = tensor.dims.iter();
    let elements = dims.try_fold(1i64, |all, &dim| all.checked_mul(dim));
    let values = values(tensor);
    if Some(values.len() as i64) != elements {
        return Err(ImportError::model(
            Code::BadTensor,
            format!(
                "the constant `{}` {:?} has the data of {} elements",
                tensor.name,
                tensor.dims,
                values.len()
            ),
            "the file is damaged; export the model again",
        ));
    }
    tensor.data_type = DataType::Float as i32;
    tensor.raw_data = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    tensor.int32_data.clear();
    tensor.double_data.clear();
    Ok(())
}

/// The values of a float16, bfloat16 or double tensor.
fn values(tensor: &TensorProto) -> Vec<f32> {
    let raw = &tensor.raw_data;
    if tensor.data_type == DataType::Double as i32 {
        let (words, _) = raw.as_chunks::<8>();
        let values = words.iter().map(|&word| f64::from_le_bytes(word));
        return values
            .chain(tensor.double_data.iter().copied())
            .map(narrow)
            .collect();
    }
    let (words, _) = raw.as_chunks::<2>();
    let words = words.iter().map(|&word| u16::from_le_bytes(word));
    // Typed data hold the bits of a value in a word each.
    let words = words.chain(tensor.int32_data.iter().map(|&word| word as u16));
    if tensor.data_type == DataType::Bfloat16 as i32 {
        words
            .map(|bits| f32::from_bits(u32::from(bits) << 16))
            .collect()
    } else {
        words.map(half).collect()
    }
}

/// The nearest float32; what is finite stays so.
fn narrow(value: f64) -> f32 {
    if value.is_finite() {
        value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
    } else {
        value as f32
    }
}

/// The value of a float16.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::{Datum, DatumType};

    #[test]
    fn every_float16_has_the_value_that_tract_gives_it() {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let proto = TensorProto {
            dims: vec![1 << 16],
            data_type: DataType::Float16 as i32,
            raw_data: all,
            ..TensorProto::default()
        };
        let tensor = tract_onnx::tensor::load_tensor(&*tract_onnx::onnx().provider, &proto, None);
        let tensor = tensor
            .unwrap()
            .cast_to_dt(DatumType::F32)
            .unwrap()
            .into_owned();
        assert_eq!(tensor.datum_type(), f32::datum_type());
        let expected = tensor.try_as_plain_ram().unwrap();
        for (ours, theirs) in values(&proto)
            .iter()
            .zip(expected.as_slice::<f32>().unwrap())
        {
            assert!(ours == theirs || ours.is_nan() && theirs.is_nan());
        }
    }

    #[test]
    fn a_double_beyond_float32_stays_finite() {
        assert_eq!(narrow(-1e300), f32::MIN);
        assert_eq!(narrow(f64::NEG_INFINITY), f32::NEG_INFINITY);
        assert_eq!(narrow(0.1), 0.1);
    }
}
