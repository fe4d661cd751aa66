//! A way to cut one tensor, and what it costs where the tensor lives.

use super::{Search, fullest};
use crate::map::contents::Contents;
use crate::map::cost::{Cost, Measured};
use crate::map::residency::worth_spilling;
use crate::map::tiling::Cut;
use crate::map::{LayerMapping, Objective};
use scnn_isa::layout::Layout;
use std::sync::Arc;

/// Where a tensor is assumed to live while its cut is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssumedHome {
    /// In an activation RAM, if it fits one.
    Resident,
    /// In an activation RAM; the excess spills.
    Spilling,
    /// In DRAM.
    Streamed,
}

/// A cut of a tensor, and the best mapping for each layer that reads it.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The cut.
    pub cut: Cut,
    /// The layout that it makes.
    pub layout: Layout,
    /// Contents of the tiles.
    pub contents: Arc<Contents>,
    /// The layers that read the tensor.
    pub readers: Vec<Reader>,
    /// Whether all of it fits a RAM.
    pub fits: bool,
    /// Whether a tile can be loaded beside the one that is read.
    overlapped: bool,
    /// By tile: cycles to load it.
    loads: Vec<u64>,
    /// Bytes loaded and bytes stored, spilled ones included.
    bytes: u64,
    whole_bytes: u64,
    /// Bytes by which tiles exceed a RAM when they are loaded, over all tiles; every round that needs them reads them from DRAM.
    spilled_bytes: u64,
    /// Bytes by which the whole tensor exceeds a RAM, when it lives there.
    excess_bytes: u64,
    /// Energy of writing the tensor with its replicas, pJ.
    write_pj: f64,
}

/// A layer that reads the tensor.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Its operation.
    pub operation: usize,
    /// Its mapping.
    pub mapping: LayerMapping,
    /// How often a pass reads each channel of the tensor.
    pub readings: f64,
    /// Counts of the array's work, once all rounds are counted; none where the layer does not use the array.
    pub measured: Option<Arc<Measured>>,
    /// Its cost when the source is in a RAM already.
    pub cost: Cost,
}

impl Choice {
    /// A cut whose tiles hold `contents`, and the mappings of the layers that read them.
    pub fn of(
        search: &Search<'_>,
        cut: Cut,
        layout: Layout,
        contents: Arc<Contents>,
        readers: Vec<Reader>,
    ) -> Self {
        let machine = search.machine;
        let (whole, tile) = fullest(&layout, &contents);
        let per_cycle = machine.dram_bytes_per_cycle();
        let (mut loads, mut bytes, mut vectors, mut spilled) = (Vec::new(), 0, 0, 0);
        let room = search
            .ram()
            .div_ceil(machine.pe.activations_per_vector.into());
        let element_bits = u64::from(machine.activation_format().element_bits());
        for tile in &contents.tiles {
            let stays = tile.held.excess(search.ram());
            let loaded = tile.bytes.saturating_sub(stays * element_bits / 8);
            loads.push(((loaded as f64 / per_cycle).ceil() as u64).max(tile.fullest.min(room)));
            bytes += loaded;
            vectors += tile.vectors;
            spilled += stays;
        }
        let replicas = f64::from(layout.groups.count());
        Self {
            cut,
            readers,
            fits: whole <= search.ram(),
            overlapped: contents.tiles.len() > 1 && tile <= search.ram(),
            loads,
            bytes,
            whole_bytes: contents.tiles.iter().map(|tile| tile.bytes).sum(),
            spilled_bytes: spilled * element_bits / 8,
            excess_bytes: contents.whole.excess(search.ram()) * element_bits / 8,
            write_pj: vectors as f64 * replicas * machine.energy.oaram_write_vector.pj,
            layout,
            contents,
        }
    }

    /// Score of all readers together when the tensor lives in `place`; less is better.
    pub fn score(&self, objective: Objective, place: AssumedHome) -> f64 {
        let mut total = Cost {
            energy_pj: self.write_pj,
            ..Cost::default()
        };
        for (index, reader) in self.readers.iter().enumerate() {
            let cost = self.placed(reader, place, index == 0);
            total.cycles += cost.cycles;
            total.energy_pj += cost.energy_pj;
        }
        objective.score(&total)
    }

    /// Whether no reader is slower than it is under the paper's mapping, whose costs are given by operation.
    pub fn never_slower(&self, place: AssumedHome, paper: &[Option<Cost>]) -> bool {
        self.readers.iter().enumerate().all(|(index, reader)| {
            let cost = self.placed(reader, place, index == 0);
            paper[reader.operation].is_none_or(|paper| cost.cycles <= paper.cycles)
        })
    }

    /// The cost of a reader with its loads.
    pub fn placed(&self, reader: &Reader, place: AssumedHome, first: bool) -> Cost {
        let mut cost = reader.cost;
        if place != AssumedHome::Streamed && self.fits {
            return cost;
        }
        if place == AssumedHome::Spilling
            && let Some(cost) = self.spilling(reader)
        {
            return cost;
        }
        // A single tile that fits stays for the readers after the first.
        if !first && self.layout.tiles.len() == 1 && self.fits {
            return cost;
        }
        // While a tile is loaded, its first round runs; the PPUs alone wait for all of it.
        let tiles = self.loads.len() as u64;
        let rounds = reader.mapping.rounds();
        let round = cost.cycles.checked_div(rounds * tiles).unwrap_or(0);
        let all: u64 = self.loads.iter().sum();
        let mut exposed = self.loads.iter().map(|load| load.saturating_sub(round));
        cost.cycles = if self.overlapped {
            (cost.cycles + exposed.next().unwrap_or(0)).max(all)
        } else {
            cost.cycles + exposed.sum::<u64>()
        };
        cost.cycles = cost.cycles.max(cost.dram_cycles + all);
        cost.energy_pj += self.bytes as f64 * cost.pj_per_byte;
        if self.spilled_bytes > 0 {
            let bytes = self.spilled_bytes as f64 * reader.readings;
            let cycles = (bytes * cost.cycles_per_byte).ceil() as u64;
            cost.cycles = cost.cycles.max(cycles + all);
            cost.energy_pj += bytes * cost.pj_per_byte;
        }
        cost
    }

    /// The cost of a reader when the tensor lives in a RAM and the excess spills; none where that is not worth it.
    fn spilling(&self, reader: &Reader) -> Option<Cost> {
        let readings = reader.readings;
        if !worth_spilling(self.whole_bytes, self.excess_bytes, 1, readings) {
            return None;
        }
        let mut cost = reader.cost;
        let spilled = self.excess_bytes as f64 * readings;
        let cycles = (spilled * cost.cycles_per_byte).ceil() as u64;
        cost.cycles = cost.cycles.max(cost.dram_cycles + cycles);
        cost.energy_pj += spilled * cost.pj_per_byte;
        Some(cost)
    }
}
