//! The program: everything that execution needs, and nothing else.
//!
//! [`Program`] is plain data; [`crate::file`] reads and writes it as bytes, [`crate::asm`] as text, and
//! [`crate::verify`] decides whether it is well formed on its machine.

#[cfg(test)]
pub(crate) mod arbitrary;

pub use crate::memory::Memory;

use crate::arith::channel_unit;
use crate::ids::{LayerId, RegionId, SectionId, SegmentId, TensorId, ValueId};
use crate::instruction::Instruction;
use crate::layer::Layer;
use crate::layout::Layout;
use crate::machine::Machine;
use crate::placement::Placement;
use crate::plane::{Rect, Span};
use serde::{Deserialize, Serialize};

/// A compiled program.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The machine it was compiled for.
    pub machine: Machine,
    /// Where it came from.
    pub provenance: Provenance,
    /// Activation tensors.
    pub tensors: Vec<Tensor>,
    /// Places of tensors in the RAMs and in DRAM.
    pub regions: Vec<Region>,
    /// Layer descriptors.
    pub layers: Vec<Layer>,
    /// Constants: weights, requantisation, tables.
    pub sections: Vec<Section>,
    /// Tensors that the host sees: inputs, outputs, operands of host segments.
    pub values: Vec<Value>,
    /// Sub-models that the host runs.
    pub segments: Vec<HostSegment>,
    /// Inputs of the program, in the model's order.
    pub inputs: Vec<ValueId>,
    /// Outputs of the program, in the model's order.
    pub outputs: Vec<ValueId>,
    /// The instructions.
    pub code: Vec<Instruction>,
    /// Which instructions came from which ONNX nodes, ascending and disjoint.
    pub source_map: Vec<SourceRange>,
}

/// Where a program came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Name and version of the compiler.
    pub tool: String,
    /// Name of the model (the ONNX graph's, or the file's stem).
    pub model: String,
    /// Hash of the ONNX file's bytes, hexadecimal.
    pub model_hash: String,
    /// The options that decide the output, in canonical order.
    pub options: Vec<String>,
    /// Whether accumulator ranges were `proven` or `calibrated`; see [`crate::verify`].
    pub ranges: Ranges,
}

/// How the compiler excluded accumulator overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ranges {
    /// By the sum of absolute weights: the verifier repeats the proof.
    #[default]
    Proven,
    /// By observed sums with a margin: the simulator traps an overflow.
    Calibrated,
}

/// An activation tensor `[N, C, H, W]` of signed integers with zero point 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// Unique name, usually the ONNX tensor's.
    pub name: String,
    /// N, C, H, W.
    pub shape: [u32; 4],
    /// Smallest and largest value; whoever writes the tensor keeps to it.
    pub range: [i16; 2],
    /// Real value of one unit, before [`Self::channel_shifts`].
    pub scale: f32,
    /// By channel, how many times its unit is halved; empty where none is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_shifts: Vec<u8>,
    /// Storage.
    pub layout: Layout,
}

impl Tensor {
    /// The plane of all positions.
    pub fn plane(&self) -> Rect {
        Rect::plane(self.shape[0], self.shape[2], self.shape[3])
    }

    /// Number of channels.
    pub fn channels(&self) -> u32 {
        self.shape[1]
    }

    /// Real value of one unit of a channel.
    pub fn unit(&self, channel: u32) -> f32 {
        channel_unit(self.scale, &self.channel_shifts, channel)
    }

    /// Number of values.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&extent| u64::from(extent)).product()
    }
}

/// A place of some temporal tiles of a tensor, all channels.
///
/// In a RAM, `base` and `size` count elements (data and index) of every PE alike; compressed blocks that exceed
/// the size **spill** into the tensor's DRAM region. In DRAM they count bytes, and the size holds the worst case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Unique name.
    pub name: String,
    /// The tensor.
    pub tensor: TensorId,
    /// Which of its layout's tiles.
    pub tiles: Span,
    /// The memory.
    pub memory: Memory,
    /// First element, or first byte in DRAM.
    pub base: u64,
    /// Elements, or bytes in DRAM.
    pub size: u64,
}

/// A blob of constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Unique name.
    pub name: String,
    /// What the bytes are.
    pub kind: SectionKind,
    /// The encoded constants.
    pub bytes: Vec<u8>,
}

/// What a section holds; see [`crate::section`] for the coding of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SectionKind {
    /// Compressed weight blocks in streaming order.
    Weights,
    /// Bias, multiplier, shift for each output channel.
    Requantise,
    /// Knots of an activation table.
    Table,
    /// Negative slopes of each channel.
    Slopes,
}

/// A tensor that the host sees, under its ONNX name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// ONNX name.
    pub name: String,
    /// Element type that host segments see.
    pub dtype: Dtype,
    /// Element type of the program's input or output, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Dtype>,
    /// Extents, any rank.
    pub shape: Vec<u64>,
    /// The DRAM region of the machine tensor that carries it; absent when it never leaves the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionId>,
    /// How its values lie in that tensor; absent when they lie in row-major order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
}

/// Element types of host values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Dtype {
    F32,
    F64,
    F16,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool,
}

/// A sub-model that the host runs on named values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSegment {
    /// Unique name.
    pub name: String,
    /// The ONNX `ModelProto`; its inputs and outputs carry the values' names.
    pub model: Vec<u8>,
    /// Operands.
    pub inputs: Vec<ValueId>,
    /// Results.
    pub outputs: Vec<ValueId>,
    /// The runtime that it needs.
    pub runtime: Runtime,
}

/// A runtime of host segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// tract, which every simulator has.
    #[default]
    Tract,
    /// ONNX Runtime: the segment has an operator that tract does not have, or not right.
    OnnxRuntime,
}

/// A range of instructions and the ONNX nodes it computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRange {
    /// Instruction indices.
    pub instructions: Span,
    /// ONNX node names, the one that gives the layer its name first.
    pub nodes: Vec<String>,
}

impl Value {
    /// Its element type at the border of the program.
    pub fn border_dtype(&self) -> Dtype {
        self.declared.unwrap_or(self.dtype)
    }
}

impl Program {
    /// The tensor of that id. Ids in a verified program are in range.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }

    /// The region of that id.
    pub fn region(&self, id: RegionId) -> &Region {
        &self.regions[id.index()]
    }

    /// The layer of that id.
    pub fn layer(&self, id: LayerId) -> &Layer {
        &self.layers[id.index()]
    }

    /// The section of that id.
    pub fn section(&self, id: SectionId) -> &Section {
        &self.sections[id.index()]
    }

    /// The value of that id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The host segment of that id.
    pub fn segment(&self, id: SegmentId) -> &HostSegment {
        &self.segments[id.index()]
    }

    /// The ONNX nodes that the instruction at `index` computes.
    pub fn nodes_of(&self, index: u32) -> &[String] {
        self.source_map
            .iter()
            .find(|range| range.instructions.contains(index))
            .map_or(&[], |range| &range.nodes)
    }
}
