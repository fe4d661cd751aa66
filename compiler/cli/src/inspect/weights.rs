//! How well a layer's weights are compressed.

use scnn_isa::layer::Layer;
use scnn_isa::program::Program;
use scnn_isa::section::WeightBlocks;
use serde::Serialize;
use std::ops::AddAssign;

/// The weights of a layer, or of several, as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WeightSummary {
    /// How many there are, zeros included.
    pub count: u64,
    /// Those that are not zero.
    pub nonzeros: u64,
    /// Stored zeros that stand for long runs.
    pub placeholders: u64,
    /// Bytes without compression.
    pub dense_bytes: u64,
    /// Bytes as encoded.
    pub encoded_bytes: u64,
    /// Bytes of those that hold runs and counts, not values.
    pub index_bytes: u64,
}

impl WeightSummary {
    /// The weights of a layer of a verified program; layers of the PPU have none.
    pub fn of(program: &Program, layer: &Layer) -> Option<Self> {
        let array = layer.array.as_ref()?;
        let (inputs, outputs) = (
            layer.source.channels.len(),
            layer.destination.channels.len(),
        );
        let format = program.machine.weight_format();
        let bytes = &program.section(array.weights).bytes;
        let residues = program.tensor(layer.source.tensor).layout.residues;
        let blocks = WeightBlocks::decode(bytes, format, array, inputs, outputs, residues).ok()?;
        let elements = blocks.elements.len() as u64;
        let nonzeros = blocks.elements.iter().filter(|e| e.value != 0).count() as u64;
        let taps = u64::from(array.y.kernel) * u64::from(array.x.kernel);
        let weights = u64::from(outputs) * u64::from(inputs / array.groups.max(1)) * taps;
        let value_bytes = elements * u64::from(format.data_bits) / 8;
        Some(Self {
            count: weights,
            nonzeros,
            placeholders: elements - nonzeros,
            dense_bytes: weights * u64::from(program.machine.pe.operand_bits) / 8,
            encoded_bytes: bytes.len() as u64,
            index_bytes: (bytes.len() as u64).saturating_sub(value_bytes),
        })
    }

    /// How many times smaller the encoded weights are.
    pub fn ratio(&self) -> f64 {
        self.dense_bytes as f64 / self.encoded_bytes.max(1) as f64
    }
}

impl AddAssign for WeightSummary {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.nonzeros += other.nonzeros;
        self.placeholders += other.placeholders;
        self.dense_bytes += other.dense_bytes;
        self.encoded_bytes += other.encoded_bytes;
        self.index_bytes += other.index_bytes;
    }
}
