//! The constants of a layer, decoded once: weights for the sums and for the stream, sizes of blocks, the PPU's tables.

use crate::convolve::Weight;
use crate::ppu::{Function, Stage};
use crate::timing::WeightStream;
use crate::timing::blocks::WeightSizes;
use scnn_isa::codec::positions;
use scnn_isa::layer::{self, ArrayStage, Layer};
use scnn_isa::layout::Grid;
use scnn_isa::program::Program;
use scnn_isa::section::{
    SectionError, WeightBlocks, decode_requantise, decode_slopes, decode_table, group_channels,
    residue_taps,
};

/// The decoded constants of a layer.
pub(super) struct LayerConstants {
    /// Non-zero weights of every output channel; empty for layers of the PPU alone.
    pub weights: Vec<Vec<Weight>>,
    pub sizes: Option<WeightSizes>,
    pub stream: Option<WeightStream>,
    pub stage: Stage,
    /// Share of non-zero weights; 1 for layers without weights.
    pub weight_density: f64,
}

impl LayerConstants {
    /// Decodes the sections of a layer.
    pub(super) fn decode(program: &Program, layer: &Layer) -> Result<Self, SectionError> {
        let outputs = layer.destination.channels.len();
        let bytes = |id: scnn_isa::ids::SectionId| program.section(id).bytes.as_slice();
        let function = match layer.ppu.function {
            None => None,
            Some(layer::Function::Leaky(id)) => {
                let slopes = decode_slopes(bytes(id), outputs)?;
                Some(Function::Leaky(slopes, layer.ppu.slope_exponent))
            }
            Some(layer::Function::Table(id)) => Some(Function::Table(decode_table(bytes(id))?)),
        };
        let stage = Stage {
            requantise: decode_requantise(bytes(layer.ppu.requantise), outputs)?,
            function,
            operand: layer.ppu.operand,
            clamp: layer.ppu.clamp,
        };
        let Some(array) = &layer.array else {
            return Ok(Self {
                weights: Vec::new(),
                sizes: None,
                stream: None,
                stage,
                weight_density: 1.0,
            });
        };
        let inputs = layer.source.channels.len();
        let residues = program.tensor(layer.source.tensor).layout.residues;
        let format = program.machine.weight_format();
        let blocks = WeightBlocks::decode(
            bytes(array.weights),
            format,
            array,
            inputs,
            outputs,
            residues,
        )?;
        let weights = weights_by_channel(&blocks, array, residues, inputs, outputs);
        let sizes =
            WeightSizes::measure(&blocks, array, inputs, outputs, residues.count(), &weights);
        let all = u64::from(outputs)
            * u64::from(inputs / array.groups.max(1))
            * u64::from(array.y.kernel * array.x.kernel);
        let nonzeros: usize = weights.iter().map(Vec::len).sum();
        Ok(Self {
            weights,
            sizes: Some(sizes),
            stream: Some(WeightStream::new(&blocks, array, inputs, outputs, residues)),
            stage,
            weight_density: nonzeros as f64 / all.max(1) as f64,
        })
    }
}

/// The non-zero weights of every output channel, from the blocks. A tap that meets several residues is stored in the
/// block of each and taken once.
fn weights_by_channel(
    blocks: &WeightBlocks,
    array: &ArrayStage,
    residues: Grid,
    inputs: u32,
    outputs: u32,
) -> Vec<Vec<Weight>> {
    let mut weights = vec![Vec::new(); outputs as usize];
    let taps = residue_taps(array, residues);
    // By (residue, its tap): whether it is the first residue that the tap meets.
    let owned: Vec<Vec<bool>> = taps
        .iter()
        .enumerate()
        .map(|(residue, of_residue)| {
            let before = |tap| taps[..residue].iter().any(|other| other.contains(tap));
            of_residue.iter().map(|tap| !before(tap)).collect()
        })
        .collect();
    for (group, &k) in array.channel_groups.iter().enumerate() {
        for channel in group_channels(array, k, inputs, outputs).iter() {
            for (residue, taps) in taps.iter().enumerate() {
                for (position, value) in positions(blocks.block(group, channel, residue as u32)) {
                    let (ko, tap) = array
                        .order
                        .split(position as u32, k.len(), taps.len() as u32);
                    if value != 0 && owned[residue][tap as usize] {
                        let (r, s) = taps[tap as usize];
                        weights[(k.begin + ko) as usize].push(Weight {
                            channel,
                            tap: r * array.x.kernel + s,
                            value,
                        });
                    }
                }
            }
        }
    }
    weights
}
