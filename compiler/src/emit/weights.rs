//! Weight sections: the blocks of a layer, coded from its non-zeros alone where zeros are not stored.

use crate::map::weights::{TapPositions, taps_of_residues};
use crate::quantise::IntConv;
use crate::quantise::nonzeros::NonzeroWeights;
use rayon::prelude::*;
use scnn_isa::codec::Format;
use scnn_isa::layer::ArrayStage;
use scnn_isa::layout::Grid;
use scnn_isa::plane::Span;
use scnn_isa::section::{encode_group, group_channels, residue_taps};

/// The weights of one layer and how they are to be stored.
pub(super) struct PackedWeights<'a> {
    pub conv: &'a IntConv,
    pub nonzeros: &'a NonzeroWeights,
    pub array: &'a ArrayStage,
    /// Channels of the source view and of the destination view.
    pub inputs: u32,
    pub outputs: u32,
    /// Residues of the source.
    pub residues: Grid,
    pub format: Format,
}

impl PackedWeights<'_> {
    /// The bytes of the section. Groups are coded side by side: a fully connected layer can be most of a network.
    pub(super) fn encode(&self) -> Vec<u8> {
        let groups = self.array.channel_groups.par_iter();
        let groups: Vec<Vec<u8>> = if self.format.compressed {
            let taps = taps_of_residues(self.conv, self.residues);
            let places = TapPositions::new(self.taps(), &taps, self.array.order);
            groups
                .map(|&k| self.group_of_nonzeros(k, &places))
                .collect()
        } else {
            let taps = residue_taps(self.array, self.residues);
            groups
                .map(|&k| {
                    let (format, order) = (self.format, self.array.order);
                    encode_group(format, order, k, self.channels(k), &taps, |k, c, r, s| {
                        self.weight(k, c, r * self.conv.x.kernel + s)
                    })
                })
                .collect()
        };
        groups.concat()
    }

    fn group_of_nonzeros(&self, k: Span, places: &TapPositions) -> Vec<u8> {
        let (mut bytes, mut elements) = (Vec::new(), Vec::new());
        let mut blocks: Vec<Vec<(u32, i16)>> = vec![Vec::new(); places.residues()];
        for channel in self.channels(k).iter() {
            for (output, tap) in self.nonzeros.of(channel, k) {
                let value = self.weight(output, channel, tap);
                places.each(k, output, tap, |residue, place| {
                    blocks[residue].push((place, value));
                });
            }
            for block in &mut blocks {
                if !places.ascend() {
                    block.sort_unstable();
                }
                elements.clear();
                self.format
                    .compress_nonzeros(block.drain(..), &mut elements);
                self.format.encode(&elements, &mut bytes);
            }
        }
        bytes
    }

    fn channels(&self, k: Span) -> Span {
        group_channels(self.array, k, self.inputs, self.outputs)
    }

    fn taps(&self) -> u32 {
        self.conv.y.kernel * self.conv.x.kernel
    }

    /// The weight of an output channel for a channel of the source view, at tap `r * S + s`.
    fn weight(&self, k: u32, c: u32, tap: u32) -> i16 {
        let per_in = self.inputs / self.conv.groups;
        // Most convolutions have one group, and a division for every weight is seen.
        let c = if c < per_in { c } else { c % per_in };
        let row = k as usize * per_in as usize + c as usize;
        self.conv.weights[row * self.taps() as usize + tap as usize]
    }
}
