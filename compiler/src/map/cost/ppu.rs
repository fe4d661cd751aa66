//! The time line of a layer of the PPU alone: loads, tiles, results, and the DRAM that they share.
//!
//! ```text
//! load a tile -> PPU, while spilled elements are read again -> result to DRAM
//! ```
//!
//! DRAM serves the request that was ready first, and of those ready in the same cycle loads before reads before results.

use super::{Candidate, Cost};
use crate::map::tiling::inner;
use scnn_isa::layer::Pass;

/// Kinds of DRAM requests; of those ready in the same cycle, the first in this order is served first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum DramUse {
    Load,
    Read,
    Result,
}

/// A pass: its cycles in each unit, and its progress.
struct PassWork {
    /// Cycles of DRAM for the load, and vectors of the fullest PE, which takes one a cycle.
    load: f64,
    fullest: u64,
    /// Cycles of the PPU, and of DRAM for the spilled elements that are read meanwhile.
    process: u64,
    read: f64,
    /// Cycles of DRAM for the result.
    result: f64,
    /// Cycle in which its load ended, and in which the PPU finished it.
    loaded: Option<u64>,
    ended: Option<u64>,
}

/// Progress of the layer.
struct PpuTimeLine {
    tiles: Vec<PassWork>,
    /// Slots for tiles: a tile overwrites the tile `places` before it.
    places: usize,
    /// Requests that wait for DRAM: cycle in which they became ready, kind, pass.
    requests: Vec<(u64, DramUse, usize)>,
    dram_free: f64,
    /// The next tile to be loaded, and the cycle in which the mover is free; none while it loads.
    next_load: usize,
    mover_free: Option<u64>,
    /// The next tile of the PPU, and the cycle in which the PPU is free; none while it waits for a read.
    next_tile: usize,
    ppu_free: Option<u64>,
    latest: u64,
}

impl Candidate<'_> {
    /// The PPU alone: reads the source and writes the result.
    pub(super) fn ppu_cost(&self) -> Cost {
        let passes = self.passes.len();
        let loads: u64 = (0..passes).map(|pass| self.load(pass).1).sum();
        let spilled: u64 = self.spilled(self.passes).iter().sum();
        let traffic = &self.traffic;
        let bytes = loads + spilled + traffic.result_bytes + traffic.operand_bytes;
        let tiles = self.ppu_tiles();
        let cycles = PpuTimeLine::new(tiles, if traffic.overlapped { 2 } else { 1 }).run();
        let dram_cycles = self.dram_cycles(bytes);
        Cost {
            cycles,
            dram_cycles,
            head_start: cycles.saturating_sub(dram_cycles),
            energy_pj: self.dram_energy(bytes),
            ..Cost::default()
        }
    }

    fn ppu_tiles(&self) -> Vec<PassWork> {
        let channels = u64::from(self.layer.source.channels.len());
        let per_group = channels.div_ceil(u64::from(self.layout.groups.count()));
        let outputs: u64 = self.passes.iter().map(|p| p.output.positions()).sum();
        let dram = |bytes: f64| bytes / self.machine.dram_bytes_per_cycle();
        let results = self.result_shares();
        let spilled = self.spilled(self.passes).into_iter().zip(results);
        let tile = |(pass, (spilled, result)): (&Pass, (u64, f64))| {
            let source = &self.layout.tiles[pass.source_tile as usize];
            let (pes, inner) = (source.pes(), inner(self.layer, pass.output));
            let most = (0..pes.count())
                .map(|pe| source.pe_rect(pe / pes.cols, pe % pes.cols))
                .map(|rect| rect.intersect(inner).positions())
                .max()
                .unwrap_or(0);
            let share = pass.output.positions() as f64 / outputs.max(1) as f64;
            let traffic = &self.traffic;
            let (bytes, fullest) = self.loaded(*pass);
            PassWork {
                load: dram(bytes as f64),
                fullest,
                process: (most * per_group).div_ceil(u64::from(self.machine.ppu.lanes)),
                read: dram(spilled as f64 + traffic.operand_bytes as f64 * share),
                result: dram(traffic.result_bytes as f64 * result),
                loaded: (!traffic.loads).then_some(0),
                ended: None,
            }
        };
        self.passes.iter().zip(spilled).map(tile).collect()
    }
}

impl PpuTimeLine {
    fn new(tiles: Vec<PassWork>, places: usize) -> Self {
        let loaded = tiles.iter().all(|tile| tile.loaded.is_some());
        Self {
            next_load: if loaded { tiles.len() } else { 0 },
            tiles,
            places,
            requests: Vec::new(),
            dram_free: 0.0,
            mover_free: Some(0),
            next_tile: 0,
            ppu_free: Some(0),
            latest: 0,
        }
    }

    /// Cycles from the layer's begin to its end.
    fn run(mut self) -> u64 {
        loop {
            while self.advance_mover() || self.advance_ppu() {}
            let first = (0..self.requests.len()).min_by_key(|&index| self.requests[index]);
            let Some(first) = first else {
                return self.latest;
            };
            let (ready, reason, pass) = self.requests.swap_remove(first);
            self.serve(ready, reason, pass);
        }
    }

    /// Requests the next tile, if the cycle in which its slot is free is known.
    fn advance_mover(&mut self) -> bool {
        let place_free = match self.next_load.checked_sub(self.places) {
            None => Some(0),
            Some(before) => self.tiles[before].ended,
        };
        let (Some(mover_free), Some(place_free)) = (self.mover_free, place_free) else {
            return false;
        };
        if self.next_load == self.tiles.len() {
            return false;
        }
        let ready = mover_free.max(place_free);
        self.requests.push((ready, DramUse::Load, self.next_load));
        self.mover_free = None;
        self.next_load += 1;
        true
    }

    /// Begins the next tile, if it is there.
    fn advance_ppu(&mut self) -> bool {
        let pass = self.next_tile;
        let loaded = self.tiles.get(pass).and_then(|tile| tile.loaded);
        let (Some(loaded), Some(free)) = (loaded, self.ppu_free) else {
            return false;
        };
        let begin = free.max(loaded);
        self.next_tile += 1;
        if self.tiles[pass].read > 0.0 {
            self.ppu_free = None;
            self.requests.push((begin, DramUse::Read, pass));
        } else {
            self.end(pass, begin + self.tiles[pass].process);
        }
        true
    }

    /// The PPU has ended a tile.
    fn end(&mut self, pass: usize, at: u64) {
        self.tiles[pass].ended = Some(at);
        self.ppu_free = Some(at);
        self.latest = self.latest.max(at);
        if self.tiles[pass].result > 0.0 {
            self.requests.push((at, DramUse::Result, pass));
        }
    }

    fn serve(&mut self, ready: u64, reason: DramUse, pass: usize) {
        let tile = &mut self.tiles[pass];
        let cycles = match reason {
            DramUse::Load => tile.load,
            DramUse::Read => tile.read,
            DramUse::Result => tile.result,
        };
        self.dram_free = self.dram_free.max(ready as f64) + cycles;
        let end = self.dram_free.ceil() as u64;
        self.latest = self.latest.max(end);
        match reason {
            DramUse::Load => {
                let loaded = end.max(ready + tile.fullest);
                tile.loaded = Some(loaded);
                self.mover_free = Some(loaded);
                self.latest = self.latest.max(loaded);
            }
            DramUse::Read => {
                let processed = ready + tile.process;
                self.end(pass, processed.max(end));
            }
            DramUse::Result => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three tiles: 10 cycles of loading each, 4 of the PPU, 6 for the result.
    fn cycles(places: usize, read: f64) -> u64 {
        let tile = || PassWork {
            load: 10.0,
            fullest: 3,
            process: 4,
            read,
            result: 6.0,
            loaded: None,
            ended: None,
        };
        PpuTimeLine::new(vec![tile(), tile(), tile()], places).run()
    }

    #[test]
    fn dram_idles_beside_the_first_tile_only_where_there_is_one_place() {
        assert_eq!(cycles(1, 0.0), 3 * (10 + 6) + 4);
        assert_eq!(cycles(2, 0.0), 3 * (10 + 6));
    }

    #[test]
    fn what_is_read_beside_a_tile_waits_for_the_load_of_the_next() {
        // The second load goes on until 20, the first result from 21 to 27.
        assert_eq!(cycles(2, 1.0), 3 * (10 + 6 + 1));
    }
}
