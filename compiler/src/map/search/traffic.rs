//! Traffic of a layer to and from DRAM in a draft: it depends on where its tensors live, and on how far they are written.

use super::{Drafted, Search};
use crate::map::contents::{Contents, TileByTile, TileContents};
use crate::map::cost::Traffic;
use crate::map::residency::Staging;
use crate::quantise::{IntLayer, Operation, Quantised, Tensor};
use scnn_isa::ids::TensorId;
use scnn_isa::plane::Span;

/// Writers of a tensor, first to last: a concatenation has several, and readers between them.
#[derive(Clone, Debug, Default)]
pub(super) struct Writers {
    /// The operations; none for channels that are there from the beginning, as no layer writes them.
    operations: Vec<Option<usize>>,
    /// The channels that each writes.
    channels: Vec<Span>,
}

impl Writers {
    /// The channels that are written before an operation.
    pub(super) fn before(&self, operation: usize) -> &[Span] {
        let before = |writer: &Option<usize>| writer.is_none_or(|writer| writer < operation);
        &self.channels[..self.operations.partition_point(before)]
    }

    /// The channels that an operation and later ones write.
    fn from(&self, operation: usize) -> &[Span] {
        &self.channels[self.before(operation).len()..]
    }
}

/// By tensor of a network, its writers.
pub(super) fn writers(network: &Quantised) -> Vec<Writers> {
    let mut by_layers: Vec<Vec<(usize, Span)>> = vec![Vec::new(); network.tensors.len()];
    for (operation, described) in network.operations.iter().enumerate() {
        if let Operation::Layer(layer) = described {
            let of_tensor = &mut by_layers[layer.destination.tensor.index()];
            of_tensor.push((operation, layer.destination.channels));
        }
    }
    let with_rest = |(of_tensor, tensor): (Vec<(usize, Span)>, &Tensor)| {
        let mut writers = Writers::default();
        let mut spans: Vec<Span> = of_tensor.iter().map(|(_, channels)| *channels).collect();
        spans.sort_unstable_by_key(|channels| channels.begin);
        let mut end = 0;
        for channels in spans
            .into_iter()
            .chain([Span::new(tensor.shape[1], tensor.shape[1])])
        {
            if end < channels.begin {
                writers.operations.push(None);
                writers.channels.push(Span::new(end, channels.begin));
            }
            end = end.max(channels.end);
        }
        for (operation, channels) in of_tensor {
            writers.operations.push(Some(operation));
            writers.channels.push(channels);
        }
        writers
    };
    by_layers
        .into_iter()
        .zip(&network.tensors)
        .map(with_rest)
        .collect()
}

/// The fields of [`Traffic`] that say how far a source exceeds its region or slot.
#[derive(Default)]
struct SourceRoom {
    home_room: Option<u64>,
    tile_by_tile: TileByTile,
    tile_room: Option<u64>,
}

impl Search<'_> {
    /// Traffic of a layer in a draft.
    pub(super) fn traffic(
        &self,
        draft: &Drafted<'_>,
        operation: usize,
        layer: &IntLayer,
    ) -> Traffic {
        let stage = draft.residency.stages[operation];
        let destination = layer.destination;
        let format = self.machine.activation_format();
        let bytes = |tensor: TensorId, channels| draft.contents[tensor.index()].bytes_of(channels);
        let home = draft.residency.homes[destination.tensor.index()];
        let wanted = self.visible[destination.tensor.index()];
        let source = layer.source.tensor;
        let contents = &draft.contents[source.index()];
        let SourceRoom {
            home_room,
            tile_by_tile,
            tile_room,
        } = self.source_room(draft, source, operation);
        let operand_bytes = layer.operand.map_or(0, |operand| {
            let view = operand.view;
            if draft.residency.homes[view.tensor.index()].is_none() {
                bytes(view.tensor, view.channels)
            } else {
                0
            }
        });
        let all = Span::new(0, self.network.tensor(destination.tensor).shape[1]);
        // The excess over a slot is written to DRAM, by each writer its own part.
        let (result, channels) = (destination.tensor, destination.channels);
        let overflow = home.map_or(0, |slot| {
            self.excess(draft, result, operation + 1, slot.size, channels)
        });
        let overflow = overflow * u64::from(format.element_bits()) / 8;
        let loads = matches!(
            stage,
            Some(Staging::PerTile(_) | Staging::Once(_) | Staging::Alternate(_))
        );
        Traffic {
            loads,
            overlapped: matches!(stage, Some(Staging::Alternate(_))),
            unwritten_bytes: if loads {
                self.unwritten(contents, source, operation)
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
            home_room,
            tile_by_tile,
            tile_room,
        }
    }

    /// The room of the source of an operation, as far as the source exceeds it.
    fn source_room(&self, draft: &Drafted<'_>, source: TensorId, operation: usize) -> SourceRoom {
        let mut room = SourceRoom::default();
        match draft.residency.stages[operation] {
            Some(Staging::PerTile(slot) | Staging::Alternate([slot, _])) => {
                let exceeds = |tile: &TileContents| tile.held.most > slot.size;
                let tiles = &draft.contents[source.index()].tiles;
                room.tile_room = tiles.iter().any(exceeds).then_some(slot.size);
            }
            Some(Staging::Once(_) | Staging::Kept(_)) => {}
            None => {
                let all = Span::new(0, self.network.tensor(source).shape[1]);
                if let Some(slot) = draft.residency.homes[source.index()]
                    && self.excess(draft, source, operation, slot.size, all) > 0
                {
                    room.home_room = Some(slot.size);
                    room.tile_by_tile = self.tile_by_tile(draft, source, operation);
                }
            }
        }
        room
    }

    /// Bytes of a tensor that are not there before `operation`: its blocks are, but empty.
    fn unwritten(&self, contents: &Contents, tensor: TensorId, operation: usize) -> u64 {
        let later = self.writers[tensor.index()].from(operation).iter();
        let bytes = later.map(|channels| {
            contents.bytes_of(*channels) - u64::from(channels.len()) * contents.empty_channel
        });
        bytes.sum()
    }

    /// Elements of some channels of a tensor that exceed a slot of `size` elements of a PE when the operations before `operation` have
    /// written it.
    fn excess(
        &self,
        draft: &Drafted<'_>,
        tensor: TensorId,
        operation: usize,
        size: u64,
        channels: Span,
    ) -> u64 {
        let contents = &draft.contents[tensor.index()];
        if contents.whole.most <= size {
            return 0;
        }
        let written = self.writers[tensor.index()].before(operation);
        let by_tile = self.tile_by_tile(draft, tensor, operation);
        contents
            .excess_together((written, by_tile), size)
            .of_all(channels)
    }

    /// The writers of a tensor before `operation` that fill it tile by tile: those of several passes, and loads.
    fn tile_by_tile(&self, draft: &Drafted<'_>, tensor: TensorId, operation: usize) -> TileByTile {
        if draft.contents[tensor.index()].tiles.len() == 1 {
            return TileByTile::default();
        }
        let writers = &self.writers[tensor.index()];
        let passes = |writer: usize| {
            draft.layers[writer]
                .as_ref()
                .map_or(1, |it| it.passes.len())
        };
        let writers = writers
            .operations
            .iter()
            .take(writers.before(operation).len());
        TileByTile::of(writers.map(|writer| writer.is_none_or(|writer| passes(writer) > 1)))
    }
}
