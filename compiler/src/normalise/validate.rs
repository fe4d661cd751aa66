//! What must hold before tract sees a model: every name defined once and before its use, no cycles,
//! operands and attributes that the standard allows, finite weights, external data that exists.

mod attributes;
mod operands;

use super::decode::Decoded;
use super::error::ImportError;
use super::limits::{MOST_ERRORS, elements};
use crate::codes::Code;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, tensor_proto::DataType};
use tract_onnx::prelude::Tensor;

/// Oldest operator set that is read.
const OLDEST_OPSET: i64 = 6;

/// All problems of the model.
pub(super) fn validate(decoded: &Decoded, folder: &Path) -> Vec<ImportError> {
    let Some(graph) = &decoded.model.graph else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    opset(&decoded.model, &mut errors);
    operands::check(graph, &decoded.model.opset_import, &mut errors);
    attributes::check(graph, &decoded.model.opset_import, &mut errors);
    names(graph, &mut errors);
    sizes(graph, &mut errors);
    for (number, tensor) in graph.initializer.iter().enumerate() {
        initializer(tensor, decoded.data.get(&number), folder, &mut errors);
    }
    errors.truncate(MOST_ERRORS);
    errors
}

fn opset(model: &ModelProto, errors: &mut Vec<ImportError>) {
    let version = model
        .opset_import
        .iter()
        .find(|o| o.domain.is_empty() || o.domain == "ai.onnx")
        .map(|o| o.version);
    if let Some(version) = version.filter(|&version| version < OLDEST_OPSET) {
        errors.push(ImportError::model(
            Code::Opset,
            format!(
                "the model uses operator set {version}; {OLDEST_OPSET} is the oldest that is read"
            ),
            "convert it with onnx.version_converter, or export it again",
        ));
    }
}

fn names(graph: &GraphProto, errors: &mut Vec<ImportError>) {
    let mut defined: BTreeSet<&str> = BTreeSet::new();
    defined.extend(graph.input.iter().map(|i| i.name.as_str()));
    defined.extend(graph.initializer.iter().map(|i| i.name.as_str()));
    defined.extend(
        graph
            .sparse_initializer
            .iter()
            .filter_map(|s| s.values.as_ref())
            .map(|v| v.name.as_str()),
    );
    let mut producers: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if defined.contains(output.as_str()) || producers.insert(output, index).is_some() {
                errors.push(ImportError::node(
                    Code::DuplicateName,
                    node,
                    format!("the tensor `{output}` is defined twice"),
                    "every tensor must be the result of one node; rename one of them",
                ));
            }
        }
    }
    // ONNX asks for topological order, so a name that is produced later is a cycle or a disordered file.
    for (index, node) in graph.node.iter().enumerate() {
        for input in node
            .input
            .iter()
            .filter(|i| !i.is_empty() && !defined.contains(i.as_str()))
        {
            match producers.get(input.as_str()) {
                Some(&producer) if producer < index => {}
                Some(_) => errors.push(ImportError::node(
                    Code::Cycle,
                    node,
                    format!("it uses `{input}`, which is computed only later: the nodes form a cycle or are not in order"),
                    "export the model again; ONNX asks for nodes in topological order",
                )),
                None => errors.push(ImportError::node(
                    Code::MissingTensor,
                    node,
                    format!("it uses `{input}`, which nothing defines"),
                    nearest(input, defined.iter().copied().chain(producers.keys().copied())),
                )),
            }
        }
    }
    for output in &graph.output {
        if !producers.contains_key(output.name.as_str()) && !defined.contains(output.name.as_str())
        {
            errors.push(ImportError::model(
                Code::MissingTensor,
                format!(
                    "the graph's output `{}` is computed by no node",
                    output.name
                ),
                nearest(&output.name, producers.keys().copied()),
            ));
        }
    }
    if graph.output.is_empty() {
        errors.push(ImportError::model(
            Code::MissingTensor,
            "the graph has no output",
            "export the model again",
        ));
    }
}

/// Constants whose size stands in a constant of a few bytes: tract computes them while it reads the model.
fn sizes(graph: &GraphProto, errors: &mut Vec<ImportError>) {
    let mut values: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for tensor in &graph.initializer {
        values.extend(integers(tensor).map(|value| (tensor.name.as_str(), value)));
    }
    for node in graph.node.iter().filter(|node| node.op_type == "Constant") {
        if let (Some(name), Some(value)) = (
            node.output.first(),
            node.attribute.iter().find_map(|a| integers(a.t.as_ref()?)),
        ) {
            values.insert(name, value);
        }
    }
    for node in &graph.node {
        let of = |index: usize| values.get(node.input.get(index)?.as_str());
        let size = match node.op_type.as_str() {
            "ConstantOfShape" => of(0).cloned(),
            "Expand" | "Tile" => of(1).cloned(),
            "Range" => match (of(0), of(1), of(2)) {
                (Some(from), Some(to), Some(step)) => Some(vec![
                    to[0].saturating_sub(from[0]).saturating_div(step[0].max(1)),
                ]),
                _ => None,
            },
            _ => None,
        };
        let dims: Option<Vec<u64>> =
            size.map(|size| size.into_iter().map(|d| d.max(0) as u64).collect());
        if let Some(dims) = dims.filter(|dims| elements(dims).is_none()) {
            errors.push(ImportError::node(
                Code::TooLarge,
                node,
                format!("it makes a tensor of {dims:?}, more than 2^31 elements"),
                "the file is damaged, or the model was exported with other dimensions",
            ));
        }
    }
}

/// The values of a short tensor of 64-bit integers, if it has any.
fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    if tensor.data_type != DataType::Int64 as i32 || tensor.raw_data.len() > 64 {
        return None;
    }
    let (words, _) = tensor.raw_data.as_chunks::<8>();
    let raw = words.iter().map(|&word| i64::from_le_bytes(word));
    let values: Vec<i64> = raw
        .chain(tensor.int64_data.iter().copied().take(8))
        .collect();
    (!values.is_empty()).then_some(values)
}

fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    scnn_isa::yaml::nearest(name, names).map_or_else(
        || "export the model again".to_owned(),
        |nearest| format!("did you mean `{nearest}`?"),
    )
}

fn initializer(
    tensor: &TensorProto,
    data: Option<&Tensor>,
    folder: &Path,
    errors: &mut Vec<ImportError>,
) {
    if let Some(bad) = tensor.dims.iter().find(|&&d| d < 0) {
        errors.push(ImportError::model(
            Code::BadTensor,
            format!("the initializer `{}` has a dimension of {bad}", tensor.name),
            "export the model again",
        ));
        return;
    }
    let elements = tensor
        .dims
        .iter()
        .try_fold(1u64, |all, &d| all.checked_mul(d as u64));
    let location = tensor
        .external_data
        .iter()
        .find(|entry| entry.key == "location")
        .map(|entry| &entry.value);
    if let Some(location) = location {
        if !folder.join(location).is_file() {
            errors.push(ImportError::model(
                Code::ExternalData,
                format!(
                    "the data of the initializer `{}` lie in `{location}`, which is not there",
                    tensor.name
                ),
                format!(
                    "put `{location}` beside the model (it was looked for in {})",
                    folder.display()
                ),
            ));
        }
        return;
    }
    let stored = match data {
        Some(data) => Some(data.len() as u64),
        None => stored_elements(tensor),
    };
    if stored.is_some() && stored != elements {
        errors.push(ImportError::model(
            Code::BadTensor,
            format!(
                "the initializer `{}` {:?} has the data of {} elements",
                tensor.name,
                tensor.dims,
                stored.unwrap_or(0)
            ),
            "the file is damaged; export the model again",
        ));
        return;
    }
}

/// How many elements the data of a tensor are, where its type has a fixed width.
fn stored_elements(tensor: &TensorProto) -> Option<u64> {
    let data_type = DataType::try_from(tensor.data_type).ok()?;
    let width = match data_type {
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Int64 | DataType::Double | DataType::Uint64 => 8,
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 1,
        DataType::Int16 | DataType::Uint16 | DataType::Float16 => 2,
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
