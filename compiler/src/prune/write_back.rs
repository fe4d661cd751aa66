//! The pruned model as ONNX: the bytes of the original, with zeros where weights went.
//!
//! The protobuf is not decoded and encoded again, which would lose what our schema does not know. Weights inside the
//! file are cleared in place, so the result has the length of the original and differs in the cleared weights alone.
//! Weights in external files go to one new file, and only the entries that say where are written anew. Of integers behind
//! a `DequantizeLinear` the zero point is written; where they are varints, their tensor is packed.

mod wire;

use super::quantised::IntegerWeights;
use prost::Message;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use thiserror::Error;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{StringStringEntryProto, TensorProto};
use wire::{MORE, embed, fields, rewrite, varint};

/// Why a model cannot be written back.
#[derive(Debug, Error)]
pub enum WriteBackError {
    /// The bytes are not the model that was pruned.
    #[error("the model file is malformed, or has changed since it was read")]
    Malformed,
    /// A pruned tensor is not in it.
    #[error("the weights `{0}` are not in the model file")]
    Missing(String),
    /// A file of external data.
    #[error("the external data in `{location}`: {reason}")]
    External {
        /// The file, as the model names it.
        location: String,
        /// What is wrong.
        reason: String,
    },
}

/// Files to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The model.
    pub model: Vec<u8>,
    /// The external data, if the original had any.
    pub data: Option<Vec<u8>>,
}

/// Weights after pruning, in the order of their tensor, and how the tensor stands for them.
#[derive(Clone, Debug)]
pub struct PrunedWeights {
    /// Zero where a weight went.
    pub values: Vec<f32>,
    /// How integers stand for weights; none where the tensor is of floats.
    pub quantised: Option<IntegerWeights>,
}

impl PrunedWeights {
    /// What is written where a weight went, by its index.
    fn zero(&self, index: usize) -> i64 {
        self.quantised.as_ref().map_or(0, |q| q.zero(index))
    }

    /// Clears elements that lie densely in `bytes`, little-endian.
    fn clear(&self, bytes: &mut [u8]) {
        let size = (bytes.len() / self.values.len().max(1)).clamp(1, 8);
        let elements = bytes.chunks_exact_mut(size).zip(&self.values);
        for (index, (element, weight)) in elements.enumerate() {
            if *weight == 0.0 {
                element.copy_from_slice(&self.zero(index).to_le_bytes()[..size]);
            }
        }
    }
}

/// The model `original` with the elements cleared that are zero in `pruned`, by tensor name.
///
/// External data is read from `folder`; the result names `data_file` instead.
///
/// # Errors
/// See [`WriteBackError`].
pub fn write_back(
    mut original: Vec<u8>,
    folder: &Path,
    data_file: &str,
    pruned: &BTreeMap<&str, PrunedWeights>,
) -> Result<Files, WriteBackError> {
    let tensors = tensors(&original)?;
    let mut data = Vec::new();
    // Messages that get another length, by where they begin.
    let mut bodies: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut missing: Vec<&str> = pruned.keys().copied().collect();
    for found in &tensors {
        let weights = pruned.get(found.name.as_str());
        missing.retain(|name| *name != found.name);
        if let Some(external) = external(&original, found)? {
            let mut bytes = external.read(folder)?;
            if let Some(weights) = weights {
                weights.clear(&mut bytes);
            }
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
            let body = relocated(&original, found, data_file, data.len(), bytes.len())?;
            bodies.insert(found.body.start, body);
            data.extend(bytes);
        } else if let Some(weights) = weights
            && let Some(body) = clear_inside(&mut original, found, weights)?
        {
            bodies.insert(found.body.start, body);
        }
    }
    if let Some(name) = missing.first() {
        return Err(WriteBackError::Missing((*name).to_owned()));
    }
    if !bodies.is_empty() {
        original = rewrite(&original, 0..original.len(), &bodies)?;
    }
    Ok(Files {
        model: original,
        data: (!data.is_empty()).then_some(data),
    })
}

/// Tensors in the external file begin at multiples of this, so that it can be mapped into memory.
const ALIGNMENT: usize = 64;

/// Fields of the messages that are walked, as onnx.proto numbers them.
mod field {
    pub const MODEL_GRAPH: u32 = 7;
    pub const GRAPH_NODE: u32 = 1;
    pub const GRAPH_INITIALIZER: u32 = 5;
    pub const NODE_OUTPUT: u32 = 2;
    pub const NODE_ATTRIBUTE: u32 = 5;
    pub const ATTRIBUTE_TENSOR: u32 = 5;
    pub const TENSOR_TYPE: u32 = 2;
    pub const TENSOR_FLOATS: u32 = 4;
    pub const TENSOR_INTS: u32 = 5;
    pub const TENSOR_NAME: u32 = 8;
    pub const TENSOR_RAW: u32 = 9;
    pub const TENSOR_DOUBLES: u32 = 10;
    pub const TENSOR_EXTERNAL: u32 = 13;
}

/// A tensor of a model: an initializer, or the value of a constant node, under the name of its result.
struct FoundTensor {
    name: String,
    body: Range<usize>,
}

fn tensors(model: &[u8]) -> Result<Vec<FoundTensor>, WriteBackError> {
    let text = |range: &Range<usize>| String::from_utf8_lossy(&model[range.clone()]).into_owned();
    let mut found = Vec::new();
    let top = fields(model, 0..model.len())?;
    for graph in top.iter().filter(|f| f.number == field::MODEL_GRAPH) {
        for part in fields(model, graph.body.clone())? {
            let inner = || fields(model, part.body.clone());
            match part.number {
                field::GRAPH_INITIALIZER => {
                    let name = inner()?
                        .iter()
                        .find(|f| f.number == field::TENSOR_NAME)
                        .map_or_else(String::new, |f| text(&f.body));
                    let body = part.body.clone();
                    found.push(FoundTensor { name, body });
                }
                field::GRAPH_NODE => {
                    let inner = inner()?;
                    let output = inner.iter().find(|f| f.number == field::NODE_OUTPUT);
                    let name = output.map_or_else(String::new, |f| text(&f.body));
                    for attribute in inner.iter().filter(|f| f.number == field::NODE_ATTRIBUTE) {
                        let values = fields(model, attribute.body.clone())?;
                        let values = values.into_iter();
                        found.extend(
                            values
                                .filter(|f| f.number == field::ATTRIBUTE_TENSOR && f.wire == 2)
                                .map(|f| FoundTensor {
                                    name: name.clone(),
                                    body: f.body,
                                }),
                        );
                    }
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Clears elements of a tensor inside the model; gives the tensor's message where it has to be written anew.
fn clear_inside(
    model: &mut [u8],
    found: &FoundTensor,
    weights: &PrunedWeights,
) -> Result<Option<Vec<u8>>, WriteBackError> {
    let mut elements: Vec<Range<usize>> = Vec::new();
    let mut varints = false;
    for data in fields(model, found.body.clone())? {
        let body = data.body;
        match (data.number, data.wire) {
            (field::TENSOR_RAW, 2) if !body.is_empty() => {
                weights.clear(&mut model[body]);
                return Ok(None);
            }
            (field::TENSOR_FLOATS, 2) => elements.extend(body.step_by(4).map(|at| at..at + 4)),
            (field::TENSOR_DOUBLES, 2) => elements.extend(body.step_by(8).map(|at| at..at + 8)),
            (field::TENSOR_FLOATS, 5) | (field::TENSOR_DOUBLES, 1) => elements.push(body),
            (field::TENSOR_INTS, 0) => {
                varints = true;
                elements.push(body);
            }
            (field::TENSOR_INTS, 2) => {
                varints = true;
                let mut at = body.start;
                while at < body.end {
                    let begin = at;
                    varint(model, &mut at)?;
                    elements.push(begin..at);
                }
            }
            _ => {}
        }
    }
    if elements.len() != weights.values.len() {
        return Err(WriteBackError::Malformed);
    }
    if weights.quantised.is_some() {
        return packed(model, found, &elements, weights).map(Some);
    }
    for (element, weight) in elements.into_iter().zip(&weights.values) {
        if *weight == 0.0 {
            let kept = if varints { MORE } else { 0 };
            model[element].iter_mut().for_each(|byte| *byte &= kept);
        }
    }
    Ok(None)
}

/// The message of a tensor whose integers are varints, with the weights cleared and the integers packed: a zero point
/// may need more bytes than the number in its place had.
fn packed(
    model: &[u8],
    found: &FoundTensor,
    elements: &[Range<usize>],
    weights: &PrunedWeights,
) -> Result<Vec<u8>, WriteBackError> {
    let (mut bytes, mut size) = (Vec::new(), 4);
    for part in fields(model, found.body.clone())? {
        if part.number == field::TENSOR_TYPE {
            size = match DataType::try_from(varint(model, &mut part.body.start.clone())? as i32) {
                Ok(DataType::Int8 | DataType::Uint8) => 1,
                Ok(DataType::Int16 | DataType::Uint16) => 2,
                _ => 4,
            };
        }
        if part.number != field::TENSOR_INTS {
            bytes.extend(&model[part.whole]);
        }
    }
    let mut integers = Vec::with_capacity(elements.len() * size);
    for element in elements {
        let value = varint(model, &mut element.start.clone())?;
        integers.extend(&value.to_le_bytes()[..size]);
    }
    weights.clear(&mut integers);
    embed(field::TENSOR_RAW, &integers, &mut bytes);
    Ok(bytes)
}

/// Where the data of a tensor lies in another file.
struct External {
    location: String,
    offset: u64,
    length: Option<u64>,
}

impl External {
    fn read(&self, folder: &Path) -> Result<Vec<u8>, WriteBackError> {
        use std::io::{Read, Seek, SeekFrom};
        let failed = |error: std::io::Error| WriteBackError::External {
            location: self.location.clone(),
            reason: error.to_string(),
        };
        let mut file = std::fs::File::open(folder.join(&self.location)).map_err(failed)?;
        file.seek(SeekFrom::Start(self.offset)).map_err(failed)?;
        let mut bytes = Vec::new();
        let length = self.length.unwrap_or(u64::MAX);
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}

fn external(model: &[u8], found: &FoundTensor) -> Result<Option<External>, WriteBackError> {
    let parts = fields(model, found.body.clone())?;
    let entries = parts.iter().filter(|f| f.number == field::TENSOR_EXTERNAL);
    let entries: BTreeMap<String, String> = entries
        .map(|entry| {
            StringStringEntryProto::decode(&model[entry.body.clone()])
                .map(|entry| (entry.key, entry.value))
                .map_err(|_| WriteBackError::Malformed)
        })
        .collect::<Result<_, _>>()?;
    let Some(location) = entries.get("location") else {
        return Ok(None);
    };
    let number = |key: &str| {
        let value = entries.get(key).map(|value| value.parse::<u64>());
        value.transpose().map_err(|_| WriteBackError::Malformed)
    };
    Ok(Some(External {
        location: location.clone(),
        offset: number("offset")?.unwrap_or(0),
        length: number("length")?,
    }))
}

/// The message of a tensor whose data lies in `data_file` from now on.
fn relocated(
    model: &[u8],
    found: &FoundTensor,
    data_file: &str,
    offset: usize,
    length: usize,
) -> Result<Vec<u8>, WriteBackError> {
    let mut bytes = Vec::new();
    for part in fields(model, found.body.clone())? {
        if part.number != field::TENSOR_EXTERNAL {
            bytes.extend(&model[part.whole]);
        }
    }
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: key.to_owned(),
        value,
    };
    let entries = TensorProto {
        external_data: vec![
            entry("location", data_file.to_owned()),
            entry("offset", offset.to_string()),
            entry("length", length.to_string()),
        ],
        ..TensorProto::default()
    };
    bytes.extend(entries.encode_to_vec());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tract_onnx::pb::tensor_proto::DataType;
    use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto};

    fn floats(values: &[f32]) -> PrunedWeights {
        PrunedWeights {
            values: values.to_vec(),
            quantised: None,
        }
    }

    /// Ways in which a tensor holds its elements.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Form {
        Raw,
        Floats,
        Doubles,
        HalvesAsInts,
        Constant,
        External,
    }

    const FORMS: [Form; 6] = [
        Form::Raw,
        Form::Floats,
        Form::Doubles,
        Form::HalvesAsInts,
        Form::Constant,
        Form::External,
    ];

    /// A tensor with the weights in such a form, and what of it lies in another file.
    fn tensor(name: &str, form: Form, weights: &[f32]) -> (TensorProto, Vec<u8>) {
        let mut tensor = TensorProto {
            name: name.to_owned(),
            dims: vec![weights.len() as i64],
            data_type: DataType::Float as i32,
            ..TensorProto::default()
        };
        let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
        let mut outside = Vec::new();
        match form {
            Form::Raw | Form::Constant => tensor.raw_data = bytes,
            Form::Floats => tensor.float_data = weights.to_vec(),
            Form::Doubles => {
                tensor.data_type = DataType::Double as i32;
                tensor.double_data = weights.iter().map(|&w| f64::from(w)).collect();
            }
            Form::HalvesAsInts => {
                tensor.data_type = DataType::Float16 as i32;
                // Any bits will do: they are not looked into.
                tensor.int32_data = weights.iter().map(|&w| (w * 9000.0) as i32).collect();
            }
            Form::External => outside = bytes,
        }
        (tensor, outside)
    }

    fn entry(key: &str, value: String) -> StringStringEntryProto {
        StringStringEntryProto {
            key: key.to_owned(),
            value,
        }
    }

    /// A model with one tensor of each form, and the file beside it. What our schema does not know is in it too.
    fn model(weights: &[f32]) -> (Vec<u8>, Vec<u8>) {
        let mut graph = GraphProto::default();
        let mut file = vec![7u8; 3];
        for form in FORMS {
            let name = format!("{form:?}");
            let (mut tensor, outside) = tensor(&name, form, weights);
            match form {
                Form::External => {
                    tensor.data_location = Some(1);
                    tensor.external_data = vec![
                        entry("location", "old.bin".to_owned()),
                        entry("offset", file.len().to_string()),
                        entry("length", outside.len().to_string()),
                    ];
                    file.extend(outside);
                    graph.initializer.push(tensor);
                }
                Form::Constant => graph.node.push(NodeProto {
                    op_type: "Constant".to_owned(),
                    output: vec![name],
                    attribute: vec![AttributeProto {
                        name: "value".to_owned(),
                        t: Some(tensor),
                        ..AttributeProto::default()
                    }],
                    ..NodeProto::default()
                }),
                _ => graph.initializer.push(tensor),
            }
        }
        let model = ModelProto {
            ir_version: 8,
            graph: Some(graph),
            ..ModelProto::default()
        };
        let mut bytes = model.encode_to_vec();
        // Field 999 of the model, four bytes: from a version of ONNX that is yet to come.
        prost::encoding::encode_key(999, prost::encoding::WireType::LengthDelimited, &mut bytes);
        bytes.extend([4, 1, 2, 3, 4]);
        (bytes, file)
    }

    proptest! {
        #[test]
        fn only_what_was_pruned_changes(weights in prop::collection::vec(0.5f32..3.0, 1..40), mask in prop::collection::vec(any::<bool>(), 40)) {
            let pruned: Vec<f32> = weights.iter().zip(&mask).map(|(&w, &gone)| if gone { 0.0 } else { w }).collect();
            let names = FORMS.map(|form| format!("{form:?}"));
            let asked = names.iter().map(|name| (name.as_str(), floats(&pruned))).collect();
            let (bytes, file) = model(&weights);
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("old.bin"), &file).unwrap();
            let files = write_back(bytes.clone(), folder.path(), "new.data", &asked).unwrap();

            // As if the model had been made with those weights, but for the place of the external data.
            let mut written = ModelProto::decode(files.model.as_slice()).unwrap();
            let (expected, expected_file) = model(&pruned);
            let mut expected = ModelProto::decode(expected.as_slice()).unwrap();
            let place = |model: &mut ModelProto| {
                let tensors = &mut model.graph.as_mut().unwrap().initializer;
                std::mem::take(&mut tensors.last_mut().unwrap().external_data)
            };
            let moved = place(&mut written);
            place(&mut expected);
            prop_assert_eq!(written, expected);
            let (offset, length) = (moved[1].value.parse::<usize>().unwrap(), moved[2].value.parse::<usize>().unwrap());
            prop_assert_eq!(&moved[0].value, "new.data");
            prop_assert_eq!(&files.data.unwrap()[offset..offset + length], &expected_file[3..]);
            prop_assert!(files.model.ends_with(&[4, 1, 2, 3, 4]));
        }

        #[test]
        fn bytes_that_are_no_model_are_refused_or_unchanged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let none = BTreeMap::new();
            if let Ok(files) = write_back(bytes.clone(), Path::new("."), "data", &none) {
                prop_assert_eq!(files.model, bytes);
            }
        }
    }

    #[test]
    fn a_model_without_external_data_keeps_its_length() {
        let graph = GraphProto {
            initializer: vec![tensor("w", Form::Raw, &[1.0, 2.0]).0],
            ..GraphProto::default()
        };
        let model = ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        };
        let bytes = model.encode_to_vec();
        let pruned = BTreeMap::from([("w", floats(&[0.0, 2.0]))]);
        let files = write_back(bytes.clone(), Path::new("."), "data", &pruned).unwrap();
        let changed = bytes.iter().zip(&files.model).filter(|(a, b)| a != b);
        assert_eq!(files.model.len(), bytes.len());
        // 1.0 has two bytes that are not zero.
        assert_eq!(changed.count(), 2);
        let missing = BTreeMap::from([("v", floats(&[0.0]))]);
        assert!(write_back(bytes, Path::new("."), "data", &missing).is_err());
    }
}
