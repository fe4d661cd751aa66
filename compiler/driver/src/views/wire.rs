//! Fields of an ONNX file as they stand in it: an annotated model keeps every byte that is not added, also of fields that
//! no schema of ours knows.

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use scnnc::normalise::node_name;
use tract_onnx::pb::NodeProto;

/// Bytes are not those of an ONNX model.
#[derive(Debug, thiserror::Error)]
#[error("the file is not an ONNX model: {0}")]
pub struct NotOnnx(String);

impl From<prost::DecodeError> for NotOnnx {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

/// Numbers of fields in `onnx.proto`.
pub(super) mod tag {
    pub const MODEL_GRAPH: u32 = 7;
    pub const MODEL_METADATA: u32 = 14;
    pub const GRAPH_NODE: u32 = 1;
    pub const GRAPH_NAME: u32 = 2;
    pub const GRAPH_OUTPUT: u32 = 12;
    pub const GRAPH_VALUE_INFO: u32 = 13;
    pub const NODE_METADATA: u32 = 9;
    pub const VALUE_NAME: u32 = 1;
    pub const VALUE_METADATA: u32 = 4;
    pub const ENTRY_KEY: u32 = 1;
    pub const ENTRY_VALUE: u32 = 2;
}

/// A field: all of its bytes, and what it holds if it is of a length that it states.
pub(super) struct Field<'a> {
    pub number: u32,
    pub whole: &'a [u8],
    pub content: Option<&'a [u8]>,
}

/// The fields of a message, in their order.
pub(super) fn fields(message: &[u8]) -> Result<Vec<Field<'_>>, NotOnnx> {
    let mut rest = message;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let begin = rest;
        let (number, wire) = decode_key(&mut rest)?;
        let length = match wire {
            WireType::Varint => {
                decode_varint(&mut rest)?;
                0
            }
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::LengthDelimited => decode_varint(&mut rest)?,
            WireType::StartGroup | WireType::EndGroup => {
                return Err(NotOnnx(format!("field {number} is a group")));
            }
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|&length| length <= rest.len())
            .ok_or_else(|| NotOnnx(format!("field {number} ends beyond the file")))?;
        let content = (wire == WireType::LengthDelimited).then(|| &rest[..length]);
        rest.advance(length);
        fields.push(Field {
            number,
            whole: &begin[..begin.len() - rest.len()],
            content,
        });
    }
    Ok(fields)
}

/// Appends a field that holds bytes.
pub(super) fn put(message: &mut Vec<u8>, number: u32, content: &[u8]) {
    encode_key(number, WireType::LengthDelimited, message);
    encode_varint(content.len() as u64, message);
    message.extend_from_slice(content);
}

/// A node of the file, as reports call it, and the names of its results.
pub(super) struct FileNode {
    pub name: String,
    /// Its name in the file; empty where it has none.
    pub own_name: String,
    pub results: Vec<String>,
}

impl FileNode {
    pub fn read(bytes: &[u8]) -> Result<Self, NotOnnx> {
        let node = NodeProto::decode(bytes)?;
        Ok(Self {
            name: node_name(&node),
            own_name: node.name,
            results: node.output,
        })
    }
}

/// The graph of a model.
fn graph(model: &[u8]) -> Result<&[u8], NotOnnx> {
    let fields = fields(model)?;
    let graph = fields.iter().find(|field| field.number == tag::MODEL_GRAPH);
    graph
        .and_then(|field| field.content)
        .ok_or_else(|| NotOnnx("it has no graph".to_owned()))
}

/// The nodes of a model's graph.
pub(super) fn nodes_of(model: &[u8]) -> Result<Vec<FileNode>, NotOnnx> {
    let fields = fields(graph(model)?)?;
    let nodes = fields
        .iter()
        .filter(|field| field.number == tag::GRAPH_NODE);
    nodes
        .filter_map(|field| field.content)
        .map(FileNode::read)
        .collect()
}

/// The name of a model's graph, if it has one.
pub(super) fn graph_name(model: &[u8]) -> Result<Option<String>, NotOnnx> {
    let graph = graph(model)?;
    let mut fields = fields(graph)?.into_iter();
    let named = fields.any(|field| field.number == tag::GRAPH_NAME);
    named.then(|| text(graph, tag::GRAPH_NAME)).transpose()
}

/// The text in a field of a message; empty if it has none.
pub(super) fn text(message: &[u8], number: u32) -> Result<String, NotOnnx> {
    let fields = fields(message)?;
    let field = fields.iter().rfind(|field| field.number == number);
    let content = field.and_then(|field| field.content).unwrap_or_default();
    Ok(String::from_utf8_lossy(content).into_owned())
}
