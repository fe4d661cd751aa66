//! The cost model: cycles and energy of one layer under one mapping, from exact block sizes. Pure functions.
//!
//! It is the machine's time line, part by part of the weight stream: in a part of `w` vectors a PE
//! that holds `a` activation vectors of the channel is busy `w * a` cycles. As the machine does, it keeps
//!
//! - the **FIFO**: a part is asked for when the slowest PE has room for it, and comes as bus and DRAM allow;
//! - the **barrier**: a round fills the accumulator half that the round before the last has left, once that is drained;
//! - the **drain**: halo links and PPU lanes, one round after the other;
//! - the **loads** of a source that lives in DRAM, tile by tile, behind each other or beside the array;
//! - the **channel**: all bytes to and from DRAM at its rate, weights first.
//!
//! Stalls of bank queues lengthen every step by a factor that a short drawn run of the queues gives (`banks`).
//!
//! Work: one addition for each (part, PE that holds something of its channel). With [`Depth::Sampled`] only some
//! rounds of some passes are counted and the rest extrapolated, which is enough to rank candidates.

mod banks;
mod timeline;

use super::occupancy::TileCount;
use super::tiling::pooled_inputs;
use super::weights::BlockSizes;
use crate::quantise::IntLayer;
use scnn_isa::layer::Pass;
use scnn_isa::layout::{Grid, Layout};
use scnn_isa::machine::Machine;
use scnn_isa::plane::{Rect, Span};
use timeline::TimeLine;

/// What a mapping costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Cycles from the layer's begin to its end.
    pub cycles: u64,
    /// Energy of what depends on the mapping, pJ.
    pub energy_pj: f64,
    /// Steps of all PEs; times the multipliers of a PE they are the occupied slots.
    pub steps: u64,
    /// Pairs of stored elements that are multiplied.
    pub pairs: u64,
    /// Cycles that DRAM needs for everything the layer moves.
    pub dram_cycles: u64,
    /// Vectors that cross the weight bus.
    pub bus_vectors: u64,
    /// Cycles that the PPUs and halo links need.
    pub drain_cycles: u64,
    /// Bytes of weights from DRAM.
    pub weight_bytes: u64,
    /// Cycles that DRAM needs for a byte, and its energy, pJ: to add traffic by.
    pub cycles_per_byte: f64,
    /// See `cycles_per_byte`.
    pub pj_per_byte: f64,
}

/// How much of the time line is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every round.
    Whole,
    /// At most so many rounds of each of at most three passes.
    Sampled(u32),
}

impl Depth {
    /// The rounds of a pass that are counted, of `all`.
    pub fn rounds(self, all: usize) -> Vec<usize> {
        match self {
            Self::Whole => (0..all).collect(),
            Self::Sampled(most) => spread(all, most as usize),
        }
    }
}

/// The activation vectors of one tile, as the array meets them.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// First entry of each column, with the end behind.
    starts: Vec<u32>,
    /// (PE, vectors) of the PEs that hold something.
    entries: Vec<(u16, u16)>,
    /// Elements of each column over all PEs.
    elements: Vec<u32>,
}

/// Traffic of a layer that its place in the memories decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Traffic {
    /// The source is loaded from DRAM, tile by tile.
    pub loads: bool,
    /// A tile is loaded while the one before is read.
    pub overlapped: bool,
    /// Bytes of results to DRAM.
    pub result_bytes: u64,
    /// Bytes of the complete result that are stored to DRAM at the end.
    pub stored_bytes: u64,
    /// Bytes of the residual operand from DRAM.
    pub operand_bytes: u64,
    /// Bytes of a tile that exceed its place and are read in every round.
    pub spilled_bytes: u64,
}

/// A layer and its mapping, with everything counted.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The layer.
    pub layer: &'a IntLayer,
    /// Storage of its source.
    pub layout: &'a Layout,
    /// Its passes.
    pub passes: &'a [Pass],
    /// What the tiles of the source hold.
    pub counts: &'a [TileCount],
    /// The same as the array meets it.
    pub columns: &'a [Columns],
    /// Its output-channel groups.
    pub channel_groups: &'a [Span],
    /// Its weight blocks.
    pub sizes: Option<&'a BlockSizes>,
    /// What it moves.
    pub traffic: Traffic,
}

impl Columns {
    /// From the counted elements, in vectors of `width`.
    pub fn of(count: &TileCount, width: u32) -> Self {
        let mut columns = Self {
            starts: vec![0],
            ..Self::default()
        };
        for index in 0..count.columns() {
            let mut sum = 0;
            for (pe, &elements) in count.column(index).iter().enumerate() {
                if elements > 0 {
                    columns
                        .entries
                        .push((pe as u16, elements.div_ceil(width).min(0xffff) as u16));
                    sum += elements;
                }
            }
            columns.starts.push(columns.entries.len() as u32);
            columns.elements.push(sum);
        }
        columns
    }

    fn of_column(&self, column: usize) -> &[(u16, u16)] {
        &self.entries[self.starts[column] as usize..self.starts[column + 1] as usize]
    }
}

impl Candidate<'_> {
    /// What it costs.
    pub fn cost(&self, depth: Depth) -> Cost {
        let mut cost = match (&self.layer.conv, self.sizes) {
            (Some(_), Some(sizes)) => TimeLine::new(self, sizes, depth).run(),
            _ => self.ppu_cost(),
        };
        let stored = self.traffic.stored_bytes;
        cost.cycles += self.dram_cycles(stored);
        cost.dram_cycles += self.dram_cycles(stored);
        cost.energy_pj += self.dram_energy(stored);
        cost.cycles_per_byte = 1.0 / self.machine.dram_bytes_per_cycle();
        cost.pj_per_byte = self.dram_energy(1);
        cost
    }

    /// The PPU alone: reads the source and writes the result.
    fn ppu_cost(&self) -> Cost {
        let machine = self.machine;
        let channels = u64::from(self.layer.source.channels.len());
        let mut cost = Cost::default();
        let (mut loaded, mut free, mut written) = (0, 0, 0);
        let outputs: u64 = self.passes.iter().map(|p| p.output.positions()).sum();
        for (index, pass) in self.passes.iter().enumerate() {
            let tile = &self.layout.tiles[pass.source_tile as usize];
            let pes = tile.pes();
            let inner = self.inner(pass.output);
            let most = (0..pes.count())
                .map(|pe| tile.pe_rect(pe / pes.cols, pe % pes.cols))
                .map(|rect| rect.intersect(inner).positions())
                .max()
                .unwrap_or(0);
            let per_group = channels.div_ceil(u64::from(self.layout.groups.count()));
            let cycles = (most * per_group).div_ceil(u64::from(machine.ppu.lanes));
            let begin = if self.traffic.overlapped {
                loaded
            } else {
                loaded.max(free)
            };
            let (load, bytes) = self.load(index);
            loaded = begin + load;
            let begin = free.max(loaded);
            // What had spilled is read again.
            let spilled = self.traffic.spilled_bytes;
            free = begin + cycles.max(self.dram_cycles(spilled));
            cost.dram_cycles += self.dram_cycles(spilled);
            cost.energy_pj += self.dram_energy(spilled);
            let share = pass.output.positions() as f64 / outputs.max(1) as f64;
            let result = (self.traffic.result_bytes as f64 * share) as u64;
            written = free.max(written) + self.dram_cycles(result);
            cost.drain_cycles += cycles;
            cost.dram_cycles += self.dram_cycles(bytes);
            cost.energy_pj += self.dram_energy(bytes);
        }
        let bytes = self.traffic.result_bytes + self.traffic.operand_bytes;
        cost.dram_cycles += self.dram_cycles(bytes);
        cost.energy_pj += self.dram_energy(bytes);
        cost.cycles = free.max(written).max(cost.dram_cycles);
        cost
    }

    /// Cycles of DRAM for the tile of a pass, and the vectors of the fullest PE, which takes one a cycle.
    fn load_cycles(&self, pass: usize) -> (f64, u64) {
        let count = &self.counts[self.passes[pass].source_tile as usize];
        let bytes = count.bytes(self.machine.activation_format());
        let vectors = count.vectors_per_pe(self.machine.pe.activations_per_vector);
        (
            bytes as f64 / self.machine.dram_bytes_per_cycle(),
            vectors.into_iter().max().unwrap_or(0),
        )
    }

    /// Cycles and bytes of loading the tile of a pass.
    fn load(&self, pass: usize) -> (u64, u64) {
        if !self.traffic.loads {
            return (0, 0);
        }
        let count = &self.counts[self.passes[pass].source_tile as usize];
        let bytes = count.bytes(self.machine.activation_format());
        let vectors = count.vectors_per_pe(self.machine.pe.activations_per_vector);
        let fullest = vectors.into_iter().max().unwrap_or(0);
        (self.dram_cycles(bytes).max(fullest), bytes)
    }

    fn dram_cycles(&self, bytes: u64) -> u64 {
        (bytes as f64 / self.machine.dram_bytes_per_cycle()).ceil() as u64
    }

    fn dram_energy(&self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 * self.machine.energy.dram_bit.pj
    }

    /// The positions between array and pooling that `output` is made from.
    fn inner(&self, output: Rect) -> Rect {
        let pool = self.layer.pool;
        Rect {
            n: output.n,
            y: pooled_inputs(pool.map(|p| p.y).as_ref(), output.y),
            x: pooled_inputs(pool.map(|p| p.x).as_ref(), output.x),
        }
    }
}

/// At most `most` of `count` indices, evenly spread.
fn spread(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    (0..most).map(|i| i * count / most).collect()
}

/// PE groups of an array, coarse to fine: every grid that divides it, or one where weights are broadcast.
pub fn group_grids(pes: Grid, multicast: bool) -> Vec<Grid> {
    if !multicast {
        return vec![Grid::ONE];
    }
    let divisors = |n: u32| (1..=n).filter(move |d| n.is_multiple_of(*d));
    divisors(pes.rows)
        .flat_map(|rows| divisors(pes.cols).map(move |cols| Grid::new(rows, cols)))
        .collect()
}
