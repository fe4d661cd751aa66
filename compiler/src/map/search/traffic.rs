//! What a layer moves to and from DRAM in a draft: where its tensors live decides it, and how far they are written.

use super::{Drafted, Search};
use crate::map::contents::{Contents, TileContents};
use crate::map::cost::Traffic;
use crate::map::residency::Stage;
use crate::quantise::{IntLayer, Quantised, Step};
use scnn_isa::ids::TensorId;
use scnn_isa::plane::Span;

/// By tensor: the steps that write it, and their channels.
pub(super) type Writers = Vec<Vec<(usize, Span)>>;

/// The writers of a network's tensors.
pub(super) fn writers(network: &Quantised) -> Writers {
    let mut writers = vec![Vec::new(); network.tensors.len()];
    for (step, described) in network.steps.iter().enumerate() {
        if let Step::Layer(layer) = described {
            let of_tensor: &mut Vec<_> = &mut writers[layer.destination.tensor.index()];
            of_tensor.push((step, layer.destination.channels));
        }
    }
    writers
}

impl Search<'_> {
    /// What a layer moves in a draft.
    pub(super) fn traffic(&self, draft: &Drafted<'_>, step: usize, layer: &IntLayer) -> Traffic {
        let stage = draft.residency.stages[step];
        let destination = layer.destination;
        let format = self.machine.activation_format();
        let bytes = |tensor: TensorId, channels| draft.contents[tensor.index()].bytes_of(channels);
        let home = draft.residency.homes[destination.tensor.index()];
        let wanted = self.visible[destination.tensor.index()];
        let source = layer.source.tensor;
        let contents = &draft.contents[source.index()];
        let (mut spilled, mut home_room, mut tile_room) = (0, None, None);
        match stage {
            Some(Stage::PerTile(slot) | Stage::Alternate([slot, _])) => {
                let exceeds = |tile: &TileContents| tile.held.most > slot.size;
                tile_room = contents.tiles.iter().any(exceeds).then_some(slot.size);
            }
            Some(Stage::Once(_) | Stage::Kept(_)) => {}
            None => {
                if let Some(slot) = draft.residency.homes[source.index()] {
                    spilled = self.spilled(contents, source, step, slot.size);
                    home_room = (spilled > 0).then_some(slot.size);
                }
            }
        }
        let operand_bytes = layer.operand.map_or(0, |operand| {
            let view = operand.view;
            if draft.residency.homes[view.tensor.index()].is_none() {
                bytes(view.tensor, view.channels)
            } else {
                0
            }
        });
        let all = Span::new(0, self.network.tensor(destination.tensor).shape[1]);
        // What exceeds a slot is written to DRAM, by each writer what it adds to that.
        let overflow = home.map_or(0, |slot| {
            let result = &draft.contents[destination.tensor.index()];
            let before = |step| self.spilled(result, destination.tensor, step, slot.size);
            before(step + 1) - before(step)
        });
        let overflow = overflow * u64::from(format.element_bits()) / 8;
        let loads = matches!(
            stage,
            Some(Stage::PerTile(_) | Stage::Once(_) | Stage::Alternate(_))
        );
        Traffic {
            loads,
            overlapped: matches!(stage, Some(Stage::Alternate(_))),
            unwritten_bytes: if loads {
                self.unwritten(contents, source, step)
            } else {
                0
            },
            result_bytes: if home.is_none() {
                bytes(destination.tensor, destination.channels)
            } else {
                overflow
            },
            kept_bytes: match overflow {
                0 => 0,
                _ => bytes(destination.tensor, destination.channels).saturating_sub(overflow),
            },
            stored_bytes: if home.is_some() && wanted {
                bytes(destination.tensor, all)
            } else {
                0
            },
            operand_bytes,
            spilled_bytes: spilled * u64::from(format.element_bits()) / 8,
            home_room,
            tile_room,
        }
    }

    /// Elements of a tensor that exceed `size` in their PE when the steps before `step` have written it.
    fn spilled(&self, contents: &Contents, tensor: TensorId, step: usize, size: u64) -> u64 {
        let in_the_end = contents.whole.excess(size);
        if in_the_end == 0 {
            return 0;
        }
        let (written, all) = self.written(contents, tensor, step);
        if written == all {
            return in_the_end;
        }
        contents
            .whole
            .excess_of_share(written as f64 / all as f64, size)
    }

    /// Bytes of a tensor that are not there before `step`: its blocks are, but empty.
    fn unwritten(&self, contents: &Contents, tensor: TensorId, step: usize) -> u64 {
        let later = self.writers[tensor.index()]
            .iter()
            .filter(|(writer, _)| *writer >= step)
            .map(|&(_, channels)| {
                contents.bytes_of(channels) - u64::from(channels.len()) * contents.empty_channel
            });
        later.sum()
    }

    /// Bytes of a tensor that the steps before `step` write, and that all steps write: a concatenation has several
    /// writers, and readers between them.
    fn written(&self, contents: &Contents, tensor: TensorId, step: usize) -> (u64, u64) {
        let writers = &self.writers[tensor.index()];
        let bytes = |writers: &[(usize, Span)]| -> u64 {
            let bytes = writers
                .iter()
                .map(|&(_, channels)| contents.bytes_of(channels));
            bytes.sum()
        };
        let before = writers.partition_point(|&(writer, _)| writer < step);
        (bytes(&writers[..before]), bytes(writers))
    }
}
