//! Contents of the RAM regions: the elements that each keeps, and its excess, which lies in DRAM.
//!
//! A region takes the elements of every PE in the order in which they come, until it is full; the excess spills to DRAM.
//! A load brings tile after tile and in each column after column; the results of a layer come pass after pass and in each
//! channel after channel, a block with the last pass that has outputs in it. Whatever reads some channels of a tile reads
//! their excess from DRAM, and no other.

use crate::timing::blocks::ActivationBlocks;
use scnn_isa::plane::Span;
use std::sync::Arc;

/// Blocks of one tile that arrive at the same time, and the PEs in which they do.
pub(super) struct Coming {
    /// The tile, counted from the region's first.
    pub tile: usize,
    /// Blocks of the channels that are written.
    pub blocks: Arc<ActivationBlocks>,
    /// PEs of a group.
    pub pes: Vec<u32>,
}

/// Contents of a RAM region.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// By range of channels; ranges do not meet.
    written: Vec<Written>,
}

/// A written range of channels.
#[derive(Clone, Debug)]
struct Written {
    channels: Span,
    /// Elements that are kept, by PE.
    kept: Vec<u64>,
    /// By tile: excess elements of all PEs by channel, summed up to it. Empty if there is none.
    excess: Vec<Vec<u64>>,
}

impl Written {
    /// Fills the free room of the region, block by block.
    fn fill(
        &mut self,
        room: &mut [u64],
        tiles: usize,
        stages: &[Vec<Coming>],
        by_stage: &mut [Vec<u64>],
    ) {
        let count = self.channels.len() as usize;
        self.kept.fill(0);
        self.excess = vec![vec![0; count + 1]; tiles];
        for (stage, excess_of_stage) in stages.iter().zip(by_stage) {
            for (channel, excess_of_channel) in excess_of_stage.iter_mut().enumerate() {
                for coming in stage {
                    for &pe in &coming.pes {
                        let (room, kept) = (&mut room[pe as usize], &mut self.kept[pe as usize]);
                        let elements = coming.blocks.elements_of_channel(pe, channel as u32);
                        let fits = elements.min(*room);
                        *room -= fits;
                        *kept += fits;
                        self.excess[coming.tile][channel + 1] += elements - fits;
                        *excess_of_channel += elements - fits;
                    }
                }
            }
        }
        for of_tile in &mut self.excess {
            for channel in 0..count {
                of_tile[channel + 1] += of_tile[channel];
            }
        }
    }
}

impl Content {
    /// Writes `channels` into a region of `size` elements and `tiles` tiles, in stages. Former contents of these channels are
    /// gone. Returns the excess elements by stage and channel.
    pub(super) fn write(
        &mut self,
        (size, tiles): (u64, usize),
        channels: Span,
        stages: &[Vec<Coming>],
    ) -> Vec<Vec<u64>> {
        self.written
            .retain(|old| old.channels.intersect(channels).is_empty());
        let mut room = self.kept();
        let coming = || stages.iter().flatten();
        let pes = coming().flat_map(|coming| &coming.pes).max();
        let pes = pes.map_or(0, |&last| last as usize + 1).max(room.len());
        room.resize(pes, 0);
        for room in &mut room {
            *room = size.saturating_sub(*room);
        }
        let mut written = Written {
            channels,
            kept: vec![0; pes],
            excess: Vec::new(),
        };
        let count = channels.len() as usize;
        let mut by_stage = vec![vec![0; count]; stages.len()];
        for coming in coming() {
            for &pe in &coming.pes {
                written.kept[pe as usize] += coming.blocks.elements_of_pe(pe);
            }
        }
        if written.kept.iter().zip(&room).any(|(all, room)| all > room) {
            written.fill(&mut room, tiles, stages, &mut by_stage);
        }
        self.written.push(written);
        by_stage
    }

    /// Elements that every PE keeps.
    pub(super) fn kept(&self) -> Vec<u64> {
        let mut kept = Vec::new();
        for written in &self.written {
            add_by_pe(&mut kept, &written.kept);
        }
        kept
    }

    /// Excess elements of some channels of a tile, counted from the region's first.
    pub(super) fn excess(&self, tile: usize, channels: Span) -> u64 {
        let of_range = |written: &Written| {
            let Some(of_tile) = written.excess.get(tile) else {
                return 0;
            };
            let some = written.channels.intersect(channels);
            if some.is_empty() {
                return 0;
            }
            let up_to = |channel: u32| of_tile[(channel - written.channels.begin) as usize];
            up_to(some.end) - up_to(some.begin)
        };
        self.written.iter().map(of_range).sum()
    }

    /// Whether anything exceeds the region.
    pub(super) fn spills(&self) -> bool {
        self.written
            .iter()
            .any(|written| !written.excess.is_empty())
    }
}

pub(super) fn add_by_pe(held: &mut Vec<u64>, more: &[u64]) {
    if held.len() < more.len() {
        held.resize(more.len(), 0);
    }
    for (held, more) in held.iter_mut().zip(more) {
        *held += more;
    }
}
