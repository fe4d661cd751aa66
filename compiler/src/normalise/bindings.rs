//! Inputs that the command line gives a value become constants.

use super::Draft;
use super::error::ImportError;
use super::proto::tensor_type;
use crate::codes::Code;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value;
use tract_onnx::pb::{GraphProto, TensorProto, ValueInfoProto, type_proto};

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let Some(graph) = &mut draft.model.graph else {
        return Ok(());
    };
    let mut errors = Vec::new();
    for (name, values) in &draft.options.values {
        errors.extend(bind(graph, name, values).err());
        draft.bound.insert(name.clone(), values.clone());
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Makes an input the constant that `values` says.
pub(super) fn bind(graph: &mut GraphProto, name: &str, values: &str) -> Result<(), ImportError> {
    let input = open_inputs(graph).find(|input| input.name == name);
    let input = input.ok_or_else(|| unknown(graph, name))?;
    let tensor = constant(input, values)?;
    graph.input.retain(|input| input.name != name);
    graph.initializer.push(tensor);
    Ok(())
}

/// The inputs of a graph that are no constants.
pub(super) fn open_inputs(graph: &GraphProto) -> impl Iterator<Item = &ValueInfoProto> {
    let constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    graph
        .input
        .iter()
        .filter(move |input| !constant(&input.name))
}

fn unknown(graph: &GraphProto, name: &str) -> ImportError {
    let names: Vec<&str> = open_inputs(graph)
        .map(|input| input.name.as_str())
        .collect();
    let nearest = scnn_isa::yaml::nearest(name, names.iter().copied());
    let remedy = match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("its inputs are {}", names.join(", ")),
    };
    ImportError::model(
        Code::MissingTensor,
        format!("the model has no input `{name}`"),
        remedy,
    )
}

/// An input as a constant.
fn constant(input: &ValueInfoProto, values: &str) -> Result<TensorProto, ImportError> {
    let name = &input.name;
    let tensor = tensor_type(input);
    let data_type = tensor.and_then(|tensor| DataType::try_from(tensor.elem_type).ok());
    if let Some(dims) = empty_extents(values) {
        return Ok(TensorProto {
            name: name.clone(),
            dims,
            data_type: data_type.unwrap_or(DataType::Float) as i32,
            ..TensorProto::default()
        });
    }
    let words: Vec<&str> = values.split(',').map(str::trim).collect();
    let bytes = data_type.map(|kind| words.iter().map(|word| encode(kind, word)).collect());
    let Some((kind, Some(bytes))) = data_type.zip(bytes) else {
        let kind = data_type.map_or("UNDEFINED", |kind| kind.as_str_name());
        return Err(ImportError::model(
            Code::BadTensor,
            format!("`{values}` is no value of the input `{name}`, whose type is {kind}"),
            "give one value, or several with commas between them",
        ));
    };
    let bytes: Vec<Vec<u8>> = bytes;
    let dims = tensor.map_or(Some(vec![words.len() as i64]), |t| extents(t, words.len()));
    let dims = dims.ok_or_else(|| {
        ImportError::model(
            Code::BadTensor,
            format!("the input `{name}` does not have {} values", words.len()),
            "give as many values as its declared shape has",
        )
    })?;
    Ok(TensorProto {
        name: name.clone(),
        dims,
        data_type: kind as i32,
        raw_data: bytes.concat(),
        ..TensorProto::default()
    })
}

/// The extents of an array without values, which stand in brackets, one of them zero.
fn empty_extents(values: &str) -> Option<Vec<i64>> {
    let list = values.strip_prefix('[')?.strip_suffix(']')?;
    let extents = list.split(',').map(|extent| extent.trim().parse().ok());
    let extents: Vec<i64> = extents.collect::<Option<_>>()?;
    let empty = extents.contains(&0) && extents.iter().all(|&extent| extent >= 0);
    empty.then_some(extents)
}

/// The extents of a tensor of `count` values, of which at most one extent is open.
fn extents(tensor: &type_proto::Tensor, count: usize) -> Option<Vec<i64>> {
    let Some(shape) = &tensor.shape else {
        return Some(if count == 1 {
            Vec::new()
        } else {
            vec![count as i64]
        });
    };
    let fixed = |value: &Option<Value>| match value {
        Some(Value::DimValue(value)) if *value > 0 => Some(*value),
        _ => None,
    };
    let mut dims: Vec<Option<i64>> = shape.dim.iter().map(|dim| fixed(&dim.value)).collect();
    let known = dims
        .iter()
        .flatten()
        .try_fold(1i64, |all, &dim| all.checked_mul(dim))?;
    let (count, mut open) = (count as i64, dims.iter_mut().filter(|dim| dim.is_none()));
    if let Some(first) = open.next() {
        *first = Some(count / known);
        open.for_each(|dim| *dim = Some(1));
    }
    let dims: Vec<i64> = dims.into_iter().flatten().collect();
    let all = dims
        .iter()
        .try_fold(1i64, |all, &dim| all.checked_mul(dim))?;
    (all == count).then_some(dims)
}

/// The bytes of a value of that type.
fn encode(kind: DataType, word: &str) -> Option<Vec<u8>> {
    fn bytes<T: std::str::FromStr, const N: usize>(
        word: &str,
        to_bytes: impl Fn(T) -> [u8; N],
    ) -> Option<Vec<u8>> {
        word.parse().ok().map(|value| to_bytes(value).to_vec())
    }
    match kind {
        DataType::Float => bytes(word, f32::to_le_bytes),
        DataType::Int8 => bytes(word, i8::to_le_bytes),
        DataType::Int16 => bytes(word, i16::to_le_bytes),
        DataType::Int32 => bytes(word, i32::to_le_bytes),
        DataType::Int64 => bytes(word, i64::to_le_bytes),
        DataType::Uint8 => bytes(word, u8::to_le_bytes),
        DataType::Uint16 => bytes(word, u16::to_le_bytes),
        DataType::Uint32 => bytes(word, u32::to_le_bytes),
        DataType::Uint64 => bytes(word, u64::to_le_bytes),
        DataType::Bool => match word {
            "1" | "true" => Some(vec![1]),
            "0" | "false" => Some(vec![0]),
            _ => None,
        },
        _ => None,
    }
}
