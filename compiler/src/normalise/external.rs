//! External data: read into the model, so that nothing later depends on the folder.

use super::error::ImportError;
use crate::codes::Code;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use tract_onnx::pb::ModelProto;

/// Replaces external data by the data themselves, so that nothing later depends on the folder.
pub(super) fn load(model: &mut ModelProto, folder: &Path) -> Result<(), ImportError> {
    let Some(graph) = &mut model.graph else {
        return Ok(());
    };
    for tensor in graph
        .initializer
        .iter_mut()
        .filter(|t| !t.external_data.is_empty())
    {
        let entry = |key: &str| {
            tensor
                .external_data
                .iter()
                .find(|e| e.key == key)
                .map(|e| e.value.clone())
        };
        let location = entry("location").unwrap_or_default();
        let bad = |reason: String| {
            ImportError::model(
                Code::ExternalData,
                format!(
                    "the data of the initializer `{}` in `{location}`: {reason}",
                    tensor.name
                ),
                "put the file that the exporter wrote beside the model",
            )
        };
        let inside = Path::new(&location).components().all(|c| {
            matches!(
                c,
                std::path::Component::Normal(_) | std::path::Component::CurDir
            )
        });
        if !inside {
            return Err(bad("the path leaves the model's folder".to_owned()));
        }
        let number = |key: &str| {
            entry(key)
                .map(|v| v.parse::<u64>())
                .transpose()
                .map_err(|e| bad(e.to_string()))
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        tensor.raw_data = read_range(&folder.join(&location), offset, length).map_err(bad)?;
        tensor.external_data.clear();
        tensor.data_location = None;
    }
    Ok(())
}

/// The bytes of a file from `offset` on, `length` of them or all.
fn read_range(path: &Path, offset: u64, length: Option<u64>) -> Result<Vec<u8>, String> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let all = file.metadata().map_err(|e| e.to_string())?.len();
    let there = all.checked_sub(offset).ok_or("the file is too short")?;
    let length = length.unwrap_or(there);
    if length > there {
        return Err("the file is too short".to_owned());
    }
    let mut data = vec![0; length as usize];
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.read_exact(&mut data))
        .map_err(|e| e.to_string())?;
    Ok(data)
}
