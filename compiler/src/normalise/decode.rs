//! Decoding the protobuf of a model. Large initializers go from the file into their tensors at once.
//!
//! They are most of a file, and a decoder that does not know them copies each three times: out of the file, into the
//! message, into the tensor. So the two messages above them are taken apart here, and all else is left to prost.

use super::error::ImportError;
use super::large::{LARGE, LargeData};
use crate::codes::Code;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint};
use prost::{DecodeError, Message};
use thiserror::Error;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, FunctionProto, GraphProto, ModelProto, TensorProto};
use tract_onnx::prelude::Tensor;

// Numbers of fields in onnx.proto.
const MODEL_GRAPH: u32 = 7;
const MODEL_FUNCTIONS: u32 = 25;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// A model as its file has it.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// The model without the data of its large initializers.
    pub model: ModelProto,
    /// Those data.
    pub data: LargeData,
    /// The values of its functions' attributes where a call gives none, by the function's number.
    pub defaults: Vec<Vec<AttributeProto>>,
}

/// What tract's form of a function leaves out.
#[derive(Clone, PartialEq, Message)]
struct FunctionDefaults {
    #[prost(message, repeated, tag = "11")]
    attributes: Vec<AttributeProto>,
}

/// Why bytes are no protobuf.
#[derive(Debug, Error)]
enum Malformed {
    #[error(transparent)]
    Protobuf(#[from] DecodeError),
    #[error("a field is longer than the file or the field around it")]
    TooLong,
    #[error("no tensor of {0} bytes can be made")]
    NoTensor(usize),
}

/// Decodes a model.
///
/// # Errors
/// The bytes are no ONNX model with a graph.
pub(super) fn decode(mut bytes: impl Buf) -> Result<Decoded, ImportError> {
    let remedy = remedy(bytes.chunk());
    if !bytes.has_remaining() {
        return Err(ImportError::model(
            Code::EmptyFile,
            "the file is empty",
            "export the model again",
        ));
    }
    let decoded = model(&mut bytes).map_err(|error| {
        let message = format!("this is no ONNX model, or only a part of one: {error}");
        ImportError::model(Code::NotOnnx, message, remedy)
    })?;
    let graph = decoded.model.graph.as_ref();
    if graph.is_none_or(|graph| graph.node.is_empty() && graph.output.is_empty()) {
        let message = "this is no ONNX model: it has no graph";
        return Err(ImportError::model(Code::NotOnnx, message, remedy));
    }
    Ok(decoded)
}

/// How the model in a file becomes an ONNX file, by how the bytes of other formats begin.
fn remedy(begin: &[u8]) -> &'static str {
    match begin {
        [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => {
            "this looks like a checkpoint of PyTorch or a zip archive: load the model in Python and call \
             `torch.onnx.export(model, example, \"model.onnx\")`"
        }
        [0x89, b'H', b'D', b'F', ..] => {
            "this looks like HDF5, as Keras writes it: load the model in Python and call \
             `model.export(\"model.onnx\", format=\"onnx\")`, or convert it with tf2onnx"
        }
        [_, _, _, _, b'T', b'F', b'L', ..] => {
            "this looks like TensorFlow Lite: `python -m tf2onnx.convert --tflite FILE --output model.onnx`"
        }
        [_, _, _, _, _, _, 0, 0, b'{', ..] => {
            "this looks like safetensors, weights without a graph: export the model that they belong to"
        }
        _ if begin.starts_with(b"version https://git-lfs") => {
            "this is the pointer that Git LFS keeps in place of the file: fetch the file with `git lfs pull`, or by its \
             address"
        }
        [b'<', b'!' | b'h' | b'H' | b'?', ..] => {
            "this is a page of the web, as a server sends it in place of a file: download the model again"
        }
        _ => "give an .onnx file as an exporter writes it",
    }
}

fn model(bytes: &mut impl Buf) -> Result<Decoded, Malformed> {
    let mut decoded = Decoded::default();
    while bytes.has_remaining() {
        let (tag, wire) = decode_key(bytes)?;
        if (tag, wire) == (MODEL_GRAPH, WireType::LengthDelimited) {
            let graph = decoded.model.graph.get_or_insert_default();
            fields(bytes, |tag, wire, bytes| {
                graph_field(graph, &mut decoded.data, tag, wire, bytes)
            })?;
        } else if (tag, wire) == (MODEL_FUNCTIONS, WireType::LengthDelimited) {
            let length = length(bytes)?;
            let function = bytes.copy_to_bytes(length);
            let defaults = FunctionDefaults::decode(function.clone())?;
            decoded
                .model
                .functions
                .push(FunctionProto::decode(function)?);
            decoded.defaults.push(defaults.attributes);
        } else {
            let context = DecodeContext::default();
            decoded.model.merge_field(tag, wire, bytes, context)?;
        }
    }
    Ok(decoded)
}

fn graph_field(
    graph: &mut GraphProto,
    data: &mut LargeData,
    tag: u32,
    wire: WireType,
    bytes: &mut impl Buf,
) -> Result<(), Malformed> {
    if (tag, wire) != (GRAPH_INITIALIZER, WireType::LengthDelimited) {
        return Ok(graph.merge_field(tag, wire, bytes, DecodeContext::default())?);
    }
    let (mut tensor, mut large) = (TensorProto::default(), None);
    fields(bytes, |tag, wire, bytes| {
        tensor_field(&mut tensor, &mut large, tag, wire, bytes)
    })?;
    if let Some(large) = large {
        data.insert(graph.initializer.len(), large);
    }
    graph.initializer.push(tensor);
    Ok(())
}

fn tensor_field(
    tensor: &mut TensorProto,
    large: &mut Option<Tensor>,
    tag: u32,
    wire: WireType,
    bytes: &mut impl Buf,
) -> Result<(), Malformed> {
    // Fields are written in the order of their numbers, so the type is known before the data. Should another type
    // follow, which no writer does, the number of elements will not fit it.
    let floats = tensor.data_type == DataType::Float as i32;
    if !floats || (tag, wire) != (TENSOR_RAW_DATA, WireType::LengthDelimited) {
        return Ok(tensor.merge_field(tag, wire, bytes, DecodeContext::default())?);
    }
    let length = length(bytes)?;
    // The last one of several counts.
    *large = None;
    tensor.raw_data.clear();
    if length < LARGE || !length.is_multiple_of(size_of::<f32>()) {
        tensor.raw_data.resize(length, 0);
        bytes.copy_to_slice(&mut tensor.raw_data);
        return Ok(());
    }
    let mut values = Tensor::zero::<f32>(&[length / size_of::<f32>()])
        .map_err(|_| Malformed::NoTensor(length))?;
    bytes.copy_to_slice(values.as_bytes_mut());
    *large = Some(values);
    Ok(())
}

/// Goes through the fields of a message that stands behind its length.
fn fields<B: Buf>(
    bytes: &mut B,
    mut field: impl FnMut(u32, WireType, &mut B) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let length = length(bytes)?;
    let end = bytes.remaining() - length;
    while bytes.remaining() > end {
        let (tag, wire) = decode_key(bytes)?;
        field(tag, wire, bytes)?;
    }
    if bytes.remaining() == end {
        Ok(())
    } else {
        Err(Malformed::TooLong)
    }
}

/// A length that is not beyond the end.
fn length(bytes: &mut impl Buf) -> Result<usize, Malformed> {
    let length = decode_varint(bytes)?;
    match usize::try_from(length) {
        Ok(length) if length <= bytes.remaining() => Ok(length),
        _ => Err(Malformed::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::NodeProto;

    fn model_of(initializers: Vec<TensorProto>) -> ModelProto {
        ModelProto {
            ir_version: 8,
            graph: Some(GraphProto {
                name: "g".to_owned(),
                node: vec![NodeProto::default()],
                initializer: initializers,
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }

    #[test]
    fn files_of_other_tools_are_told_how_to_become_onnx() {
        let files: [(&[u8], &str); 7] = [
            (b"PK\x03\x04\x00\x00archive/data.pkl", "torch.onnx.export"),
            (b"\x89HDF\r\n\x1a\n\x00\x00", "Keras"),
            (b"\x1c\x00\x00\x00TFL3\x14\x00", "tf2onnx"),
            (
                b"\x60\x01\x00\x00\x00\x00\x00\x00{\"w\"",
                "weights without a graph",
            ),
            (
                b"version https://git-lfs.github.com/spec/v1\n",
                "git lfs pull",
            ),
            (b"<!DOCTYPE html><html>", "a page of the web"),
            (b"\x07not this", "as an exporter writes it"),
        ];
        for (bytes, expected) in files {
            let Err(error) = decode(bytes) else {
                panic!("{bytes:?} is read")
            };
            assert_eq!(error.code, Code::NotOnnx);
            assert!(
                error.to_string().contains(expected) || format!("{error:?}").contains(expected),
                "{error:?}"
            );
        }
    }

    fn floats(name: &str, count: usize) -> TensorProto {
        TensorProto {
            name: name.to_owned(),
            dims: vec![count as i64],
            data_type: DataType::Float as i32,
            raw_data: (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect(),
            ..TensorProto::default()
        }
    }

    /// What prost alone makes of the same bytes, with large data put back.
    fn put_back(decoded: Decoded) -> ModelProto {
        let Decoded {
            mut model, data, ..
        } = decoded;
        for (index, tensor) in data {
            let initializer = &mut model.graph.as_mut().unwrap().initializer[index];
            assert!(initializer.raw_data.is_empty());
            initializer.raw_data = tensor.as_bytes().to_vec();
        }
        model
    }

    #[test]
    fn large_data_are_beside_the_model_and_all_else_is_as_prost_decodes_it() {
        let mut integers = floats("integers", LARGE / 4);
        integers.data_type = DataType::Int32 as i32;
        let model = model_of(vec![
            floats("small", 3),
            floats("large", LARGE / 4),
            integers,
            floats("larger", LARGE),
        ]);
        let decoded = decode(&*model.encode_to_vec()).unwrap();
        assert_eq!(decoded.data.keys().copied().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(put_back(decoded), model);
    }

    #[test]
    fn the_last_data_of_several_count() {
        let (mut first, mut last) = (floats("w", LARGE), floats("w", 2));
        first.raw_data[0] = 1;
        let mut twice = first.encode_to_vec();
        twice.extend(last.encode_to_vec());
        // An initializer whose fields come twice, in a graph with a node.
        let mut graph = Vec::new();
        prost::encoding::encode_key(GRAPH_INITIALIZER, WireType::LengthDelimited, &mut graph);
        prost::encoding::encode_varint(twice.len() as u64, &mut graph);
        graph.extend(&twice);
        graph.extend(model_of(Vec::new()).graph.unwrap().encode_to_vec());
        let mut bytes = Vec::new();
        prost::encoding::encode_key(MODEL_GRAPH, WireType::LengthDelimited, &mut bytes);
        prost::encoding::encode_varint(graph.len() as u64, &mut bytes);
        bytes.extend(&graph);
        let decoded = decode(&*bytes).unwrap();
        assert!(decoded.data.is_empty());
        last.dims = vec![LARGE as i64, 2];
        assert_eq!(decoded.model.graph.unwrap().initializer, [last]);
    }

    #[test]
    fn every_prefix_of_a_model_is_refused_or_decoded_without_a_panic() {
        let bytes = model_of(vec![floats("small", 3), floats("large", LARGE / 4)]).encode_to_vec();
        for end in (0..200).chain(bytes.len() - 200..bytes.len()) {
            let prefix = &bytes[..end];
            let alone = ModelProto::decode(prefix);
            let ours = decode(prefix);
            assert!(alone.is_ok() || ours.is_err(), "{end}");
        }
    }
}
