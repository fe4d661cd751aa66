//! Excess: the elements of a tensor beyond a region of an activation RAM, which spill.
//!
//! A region takes the elements of every PE in the order in which they come, until it is full: writer after writer, of each pass
//! after pass, of a pass channel after channel. A writer of several passes is taken to complete a tile with each.

use super::{Contents, TileContents};
use scnn_isa::plane::Span;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Excess elements of all PEs.
#[derive(Debug)]
pub struct Excess {
    /// By tile: excess of the channels before a channel, for every channel and the end.
    before: Vec<Vec<u64>>,
}

impl Excess {
    /// Excess of some channels of a tile.
    pub fn of(&self, tile: usize, channels: Span) -> u64 {
        let before = &self.before[tile];
        before[channels.end as usize] - before[channels.begin as usize]
    }

    /// Excess of some channels over all tiles.
    pub fn of_all(&self, channels: Span) -> u64 {
        let tiles = 0..self.before.len();
        tiles.map(|tile| self.of(tile, channels)).sum()
    }
}

/// Size of a region in elements of a PE, number of writers that have filled it, and which of them did so tile by tile; none where each
/// tile is loaded alone.
type ExcessKey = (u64, usize, Option<TileByTile>);

/// The writers that have filled a region tile by tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TileByTile(u64);

impl TileByTile {
    /// From a flag for each writer, in order: whether it fills tile by tile; from the 64th on, one flag stands for all.
    pub fn of(writers: impl Iterator<Item = bool>) -> Self {
        let bits = writers
            .enumerate()
            .map(|(writer, by_tile)| u64::from(by_tile) << writer.min(63));
        Self(bits.fold(0, |all, bit| all | bit))
    }

    const fn holds(self, writer: usize) -> bool {
        let bit = if writer < 63 { writer } else { 63 };
        self.0 >> bit & 1 == 1
    }
}

/// Excess of one tensor by region, as far as it was computed; the writers of a tensor are always the same.
#[derive(Debug, Default)]
pub(super) struct ExcessCache(Mutex<BTreeMap<ExcessKey, Arc<Excess>>>);

impl ExcessCache {
    fn get(&self, key: ExcessKey, find: impl FnOnce() -> Excess) -> Arc<Excess> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(key).or_insert_with(|| Arc::new(find())))
    }
}

impl Contents {
    /// Excess over a region of `room` elements of a PE that all tiles share, after the channels of `written` were written one after the
    /// other.
    pub fn excess_together(
        &self,
        (written, by_tile): (&[Span], TileByTile),
        room: u64,
    ) -> Arc<Excess> {
        self.known.get((room, written.len(), Some(by_tile)), || {
            let mut excess = self.none();
            let mut free = vec![room; self.whole.elements.len()];
            for (writer, &channels) in written.iter().enumerate() {
                let single = channels
                    .iter()
                    .map(|channel| Span::new(channel, channel + 1));
                let together: Vec<Span> = if by_tile.holds(writer) {
                    vec![channels]
                } else {
                    single.collect()
                };
                for channels in together {
                    for (tile, excess) in self.tiles.iter().zip(&mut excess) {
                        tile.fill(channels, &mut free, excess);
                    }
                }
            }
            Excess::summed(excess)
        })
    }

    /// Excess over a region of `room` elements of a PE into which each tile is loaded, when the channels of `written` have been
    /// written.
    pub fn excess_alone(&self, written: &[Span], room: u64) -> Arc<Excess> {
        self.known.get((room, written.len(), None), || {
            let mut in_order = written.to_vec();
            in_order.sort_unstable_by_key(|channels| channels.begin);
            let mut excess = self.none();
            for (tile, excess) in self.tiles.iter().zip(&mut excess) {
                let mut free = vec![room; tile.held.elements.len()];
                for channels in &in_order {
                    tile.fill(*channels, &mut free, excess);
                }
            }
            Excess::summed(excess)
        })
    }

    /// No excess, by tile and channel.
    fn none(&self) -> Vec<Vec<u64>> {
        let tiles = self.tiles.iter();
        tiles.map(|tile| vec![0; tile.channels as usize]).collect()
    }
}

impl TileContents {
    /// Fills the free elements of every PE with some channels, and adds the rest to their excess.
    fn fill(&self, channels: Span, free: &mut [u64], excess: &mut [u64]) {
        let residues = self.columns.sums().len() / (self.channels as usize).max(1);
        let some = channels.begin as usize..channels.end as usize;
        let first = some.start;
        for (channel, excess) in (first..).zip(&mut excess[some]) {
            for residue in 0..residues {
                let held = self.columns.elements_by_pe(channel * residues + residue);
                for (free, &held) in free.iter_mut().zip(held.as_flattened()) {
                    let kept = (held as u64).min(*free);
                    *free -= kept;
                    *excess += held as u64 - kept;
                }
            }
        }
    }
}

impl Excess {
    fn summed(by_channel: Vec<Vec<u64>>) -> Self {
        let before = |by_channel: Vec<u64>| {
            let mut before = vec![0];
            let mut sum = 0;
            for excess in by_channel {
                sum += excess;
                before.push(sum);
            }
            before
        };
        Self {
            before: by_channel.into_iter().map(before).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TileCount;
    use super::*;

    const ALIKE: TileByTile = TileByTile(0);

    /// Tiles of two PEs and three channels of one residue.
    fn contents(tiles: &[[[u32; 2]; 3]]) -> Contents {
        let count = |elements: &[[u32; 2]; 3]| TileCount {
            residues: 1,
            pes: 2,
            without_blocks: vec![0],
            elements: elements.concat(),
        };
        let counts: Vec<TileCount> = tiles.iter().map(count).collect();
        let machine = scnn_isa::machine::Machine::preset("scnn").unwrap();
        Contents::of(&counts, machine.activation_format(), 4)
    }

    fn by_channel(excess: &Excess, tile: usize) -> [u64; 3] {
        [0, 1, 2].map(|channel| excess.of(tile, Span::new(channel, channel + 1)))
    }

    #[test]
    fn the_last_channels_have_no_place() {
        let all = [Span::new(0, 3)];
        // Of 24 elements in each PE, 16 have a place.
        let excess = contents(&[[[8, 8]; 3]]).excess_together((&all, ALIKE), 16);
        assert_eq!(by_channel(&excess, 0), [0, 0, 16]);
        // The first PE is full after the first channel, the other never.
        let excess = contents(&[[[16, 0], [9, 8], [7, 0]]]).excess_together((&all, ALIKE), 16);
        assert_eq!(by_channel(&excess, 0), [0, 9, 7]);
        assert_eq!(excess.of_all(all[0]), 16);
    }

    #[test]
    fn a_later_writer_finds_what_those_before_have_left() {
        // The last channel comes first.
        let contents = contents(&[[[8, 8]; 3]]);
        let written = [Span::new(2, 3), Span::new(0, 2)];
        assert_eq!(
            by_channel(&contents.excess_together((&written, ALIKE), 12), 0),
            [8, 16, 0]
        );
        assert_eq!(
            by_channel(&contents.excess_together((&written[..1], ALIKE), 12), 0),
            [0; 3]
        );
        // A load brings channels in their own order, and those that are not written yet are empty.
        assert_eq!(
            by_channel(&contents.excess_alone(&written, 12), 0),
            [0, 8, 16]
        );
        assert_eq!(
            by_channel(&contents.excess_alone(&written[..1], 4), 0),
            [0, 0, 8]
        );
    }

    #[test]
    fn tiles_share_a_region_or_have_one_each() {
        let contents = contents(&[[[4, 2]; 3], [[2, 2]; 3]]);
        let all = [Span::new(0, 3)];
        let by_tile = TileByTile::of([true].into_iter());
        let together = contents.excess_together((&all, by_tile), 12);
        assert_eq!(by_channel(&together, 0), [0; 3]);
        assert_eq!(by_channel(&together, 1), [2; 3]);
        // The first PE is full after two channels of both tiles.
        let together = contents.excess_together((&all, ALIKE), 12);
        assert_eq!(by_channel(&together, 0), [0, 0, 4]);
        assert_eq!(by_channel(&together, 1), [0, 0, 2]);
        let alone = contents.excess_alone(&all, 6);
        assert_eq!(by_channel(&alone, 0), [0, 2, 4]);
        assert_eq!(by_channel(&alone, 1), [0; 3]);
    }
}
