//! External data: read into the model, so that nothing later depends on the folder.

use super::Draft;
use super::error::ImportError;
use crate::codes::Code;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};
use tract_onnx::pb::{GraphProto, TensorProto};

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let folder = draft.folder;
    draft.each_graph(|graph| {
        let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
        let constants = attributes.flat_map(|a| a.t.iter_mut().chain(&mut a.tensors));
        let all = graph.initializer.iter_mut().chain(constants);
        let errors = all.filter_map(|tensor| load(tensor, folder).err());
        let errors: Vec<ImportError> = errors.collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    })
}

/// The files that the constants of a graph name, relative to the model's folder; those of its subgraphs, too.
pub(super) fn locations(graph: &GraphProto) -> BTreeSet<String> {
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    let constants = attributes().flat_map(|a| a.t.iter().chain(&a.tensors));
    let external = graph.initializer.iter().chain(constants);
    let external = external.flat_map(|tensor| &tensor.external_data);
    let named = external.filter(|entry| entry.key == "location");
    let mut found: BTreeSet<String> = named.map(|entry| entry.value.clone()).collect();
    for inner in attributes().flat_map(|a| a.g.iter().chain(&a.graphs)) {
        found.extend(locations(inner));
    }
    found
}

/// Puts the data of a tensor in the place of the words that say where they are.
fn load(tensor: &mut TensorProto, folder: &Path) -> Result<(), ImportError> {
    if tensor.external_data.is_empty() {
        return Ok(());
    }
    let entry = |key: &str| {
        let entry = tensor.external_data.iter().find(|e| e.key == key);
        entry.map(|e| e.value.clone())
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
    let inside = |c| matches!(c, Component::Normal(_) | Component::CurDir);
    if !Path::new(&location).components().all(inside) {
        return Err(bad("the path leaves the model's folder".to_owned()));
    }
    let number = |key: &str| {
        let number = entry(key).map(|value| value.parse::<u64>()).transpose();
        number.map_err(|error| bad(error.to_string()))
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    tensor.raw_data = read_range(&folder.join(&location), offset, length).map_err(bad)?;
    tensor.external_data.clear();
    tensor.data_location = None;
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
