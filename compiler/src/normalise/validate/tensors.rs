//! Constants of a file: extents, amount of data, external files that exist.

use super::ImportError;
use crate::codes::Code;
use std::path::Path;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::Tensor;

/// The problem of a constant, whose data may lie beside it.
pub(super) fn problem(
    tensor: &TensorProto,
    data: Option<&Tensor>,
    folder: &Path,
) -> Option<ImportError> {
    let what = match tensor.name.as_str() {
        "" => "a constant".to_owned(),
        name => format!("the initializer `{name}`"),
    };
    let malformed =
        |message: String, remedy: &str| Some(ImportError::model(Code::BadTensor, message, remedy));
    if let Some(bad) = tensor.dims.iter().find(|&&d| d < 0) {
        let message = format!("{what} has a dimension of {bad}");
        return malformed(message, "export the model again");
    }
    let location = tensor
        .external_data
        .iter()
        .find(|entry| entry.key == "location");
    if let Some(location) = location.map(|entry| &entry.value) {
        let missing = !folder.join(location).is_file();
        let message = format!("the data of {what} lie in `{location}`, which is not there");
        let looked = folder.display();
        let remedy = format!("put `{location}` beside the model (it was looked for in {looked})");
        return missing.then(|| ImportError::model(Code::ExternalData, message, remedy));
    }
    let mut dims = tensor.dims.iter();
    let elements = dims.try_fold(1u64, |all, &d| all.checked_mul(d as u64));
    let stored = match data {
        Some(data) => Some(data.len() as u64),
        None => stored_elements(tensor),
    };
    let stored = stored.filter(|&stored| Some(stored) != elements)?;
    let message = format!("{what} {:?} has the data of {stored} elements", tensor.dims);
    malformed(message, "the file is damaged; export the model again")
}

/// How many elements the data of a tensor are, where its type has a fixed width.
fn stored_elements(tensor: &TensorProto) -> Option<u64> {
    let data_type = DataType::try_from(tensor.data_type).ok()?;
    let width = match data_type {
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Int64 | DataType::Double | DataType::Uint64 => 8,
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 1,
        DataType::Int16 | DataType::Uint16 | DataType::Float16 | DataType::Bfloat16 => 2,
        _ => return None,
    };
    if !tensor.raw_data.is_empty() {
        let bytes = tensor.raw_data.len() as u64;
        return Some(if bytes.is_multiple_of(width) {
            bytes / width
        } else {
            u64::MAX
        });
    }
    let typed = [
        tensor.float_data.len(),
        tensor.int32_data.len(),
        tensor.int64_data.len(),
        tensor.double_data.len(),
        tensor.uint64_data.len(),
    ];
    Some(typed.into_iter().max().unwrap_or(0) as u64)
}
