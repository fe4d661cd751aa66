//! The cost model: cycles and energy of one layer under one mapping, from exact block sizes. Pure functions.
//!
//! It is the machine's time line, part by part of the weight stream: in a part of `w` vectors a PE
//! that holds `a` activation vectors of the channel is busy `w * a` cycles. As the machine does, it keeps
//!
//! - the **FIFO**: a part is requested when the slowest PE has room for it, and arrives as bus and DRAM allow;
//! - the **barrier**: a round fills the accumulator half that the round before the last has left, once that is drained;
//! - the **drain**: halo links and PPU lanes, one round after the other in every PE group;
//! - the **loads** of a source that lives in DRAM, tile by tile, behind each other or beside the array, which begins with
//!   the columns that have arrived;
//! - the **channel**: all bytes to and from DRAM at its rate, weights first.
//!
//! Bank queues lengthen steps by cycles that are fitted to a short run of some of the layer's own blocks (`banks`).
//!
//! Steps, bytes and drains are counted first (`counts`), which bounds the cost from below; then comes the time line, of one
//! addition for each (part, PE). With [`Depth::Sampled`] only some rounds of some passes are counted and the rest
//! extrapolated, which is enough to rank candidates.

mod banks;
mod counts;
mod ppu;
mod sampled_rounds;
mod stream;
mod timeline;

pub use sampled_rounds::Depth;

use super::LayerMapping;
use super::contents::{Contents, Excess, TileByTile, TileContents};
use super::occupancy::Occupancy;
use super::weights::BlockSizes;
use crate::quantise::IntLayer;
use crate::quantise::nonzeros::NonzeroWeights;
use banks::{StepCost, step_costs};
use counts::Counts;
use sampled_rounds::SampledRounds;
use scnn_isa::layer::{Pass, WeightOrder, completing_passes};
use scnn_isa::layout::{Grid, Layout};
use scnn_isa::machine::{BankMap, Machine};
use scnn_isa::plane::Span;
use std::sync::{Arc, OnceLock};
use timeline::TimeLine;

/// Predicted cost of a layer under a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Cycles from the layer's begin to its end.
    pub cycles: u64,
    /// Energy of the events that depend on the mapping, pJ.
    pub energy_pj: f64,
    /// Cycles that DRAM needs for everything the layer moves.
    pub dram_cycles: u64,
    /// DRAM cycles of a byte, and its energy in pJ, for those who add traffic.
    pub cycles_per_byte: f64,
    /// See `cycles_per_byte`.
    pub pj_per_byte: f64,
    /// Cycles before its end from which on DRAM could carry weights of the next layer.
    pub head_start: u64,
}

/// Traffic of a layer between RAMs and DRAM, as its residency decides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Traffic {
    /// The source is loaded from DRAM, tile by tile.
    pub loads: bool,
    /// A tile is loaded while the one before is read.
    pub overlapped: bool,
    /// Bytes of a loaded source that only later layers write.
    pub unwritten_bytes: u64,
    /// Bytes of results to DRAM.
    pub result_bytes: u64,
    /// Bytes of results that fit their region in a RAM; they are written before those that spill.
    pub kept_bytes: u64,
    /// Bytes of the complete result that are stored to DRAM at the end.
    pub stored_bytes: u64,
    /// Bytes of the residual operand from DRAM.
    pub operand_bytes: u64,
    /// Elements per PE of the source's region in a RAM, if anything exceeds it; each round reads the spilled elements of its tile and
    /// channels.
    pub home_room: Option<u64>,
    /// The writers that have filled that region tile by tile.
    pub tile_by_tile: TileByTile,
    /// Elements per PE of the slot into which the tiles of a source are loaded one by one, if anything exceeds it.
    pub tile_room: Option<u64>,
}

/// Positions of the non-zeros of a layer, which decide the banks of its products.
#[derive(Clone, Copy, Debug)]
pub struct Positions<'a> {
    /// Non-zero weights.
    pub weights: &'a NonzeroWeights,
    /// Non-zero activations.
    pub occupancy: &'a Occupancy,
}

/// A pass's part in the results of a PE, as shares of the whole result.
#[derive(Clone, Copy, Debug)]
struct ResultPart {
    /// Share that earlier passes have completed in this PE.
    before: f64,
    /// Share that this pass completes.
    own: f64,
}

/// A layer and its mapping.
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
    /// Contents of the source's tiles.
    pub contents: &'a Contents,
    /// The channels of the source that have been written, in the order in which they were.
    pub written: &'a [Span],
    /// Its output-channel groups.
    pub channel_groups: &'a [Span],
    /// Order of the weights in a block.
    pub order: WeightOrder,
    /// Its traffic.
    pub traffic: Traffic,
    /// Storage of its result, where that is known.
    pub result_layout: Option<&'a Layout>,
    /// Where its non-zeros are; none where it has no weights.
    pub positions: Option<Positions<'a>>,
}

/// Counts of the array's work in a candidate, made once: they do not depend on the traffic.
#[derive(Debug)]
pub struct Measured {
    sizes: Arc<BlockSizes>,
    sampled: Arc<SampledRounds>,
    counts: Counts,
    queues: QueueKey,
    /// By counted pass: cycles of steps and products.
    step_costs: Arc<OnceLock<Vec<StepCost>>>,
}

/// The machine parameters on which bank stalls depend: banks, depth of their queues, bank map.
type QueueKey = (u32, u32, BankMap);

/// A candidate with its counts and lower bound, before any time line.
pub struct Bounded<'a> {
    candidate: &'a Candidate<'a>,
    /// Counts of the array's work; none where the layer does not use the array.
    array: Option<&'a Measured>,
    /// Lower bound of its cost: no unit waits for another.
    pub least: Cost,
}

impl Bounded<'_> {
    /// Its cost.
    pub fn cost(&self) -> Cost {
        self.cost_after(0)
    }

    /// Its cost if weights may be requested `head_start` cycles before it begins.
    pub fn cost_after(&self, head_start: u64) -> Cost {
        let mut cost = self.least;
        if let Some(measured) = self.array {
            let stored = self
                .candidate
                .dram_cycles(self.candidate.traffic.stored_bytes);
            let time = TimeLine::new(self.candidate, measured, head_start).run();
            let least = cost.cycles.saturating_sub(head_start);
            cost.cycles = least.max(time.cycles + stored);
            cost.head_start = if stored == 0 { time.idle } else { 0 };
        }
        cost
    }
}

impl Measured {
    fn step_costs(&self, candidate: &Candidate<'_>) -> &[StepCost] {
        self.step_costs
            .get_or_init(|| step_costs(candidate, &self.sampled))
    }
}

impl Candidate<'_> {
    /// Counts the array's work on weight blocks of `sizes`, for the rounds that `depth` selects.
    pub fn measure(&self, sizes: Arc<BlockSizes>, depth: Depth) -> Measured {
        let sampled = SampledRounds::of(self, &sizes, depth);
        Measured {
            counts: Counts::of(self, &sizes, &sampled),
            sampled: Arc::new(sampled),
            sizes,
            queues: self.queues(),
            step_costs: Arc::default(),
        }
    }

    /// The counts of a layer that was measured on a machine of the same blocks and vectors.
    pub(super) fn measure_anew(&self, measured: &Measured) -> Measured {
        let (sizes, sampled) = (Arc::clone(&measured.sizes), Arc::clone(&measured.sampled));
        let queues = self.queues();
        Measured {
            counts: Counts::of(self, &sizes, &sampled),
            sampled,
            sizes,
            queues,
            step_costs: if queues == measured.queues {
                Arc::clone(&measured.step_costs)
            } else {
                Arc::default()
            },
        }
    }

    fn queues(&self) -> QueueKey {
        let pe = &self.machine.pe;
        (pe.banks, pe.queue_depth, pe.bank_map)
    }

    /// Its lower bound, which is computed in a fraction of the time of the cost.
    pub fn bounded<'a>(&'a self, array: Option<&'a Measured>) -> Bounded<'a> {
        let mut least = match array {
            Some(measured) => measured.counts.least(self),
            None => self.ppu_cost(),
        };
        let stored = self.traffic.stored_bytes;
        least.cycles += self.dram_cycles(stored);
        least.dram_cycles += self.dram_cycles(stored);
        least.energy_pj += self.dram_energy(stored);
        least.cycles_per_byte = 1.0 / self.machine.dram_bytes_per_cycle();
        least.pj_per_byte = self.dram_energy(1);
        Bounded {
            candidate: self,
            array,
            least,
        }
    }

    /// Contents of the tile of a pass.
    fn tile(&self, pass: Pass) -> &TileContents {
        &self.contents.tiles[pass.source_tile as usize]
    }

    /// Cycles and bytes of loading the tile of a pass: those of DRAM, and not less than the fullest PE takes at a vector
    /// a cycle.
    fn load(&self, pass: usize) -> (u64, u64) {
        if !self.traffic.loads {
            return (0, 0);
        }
        let (bytes, fullest) = self.loaded(self.passes[pass]);
        (self.dram_cycles(bytes).max(fullest), bytes)
    }

    /// Bytes of the tile of a pass, and vectors of the fullest PE, as far as they are written and fit the slot.
    fn loaded(&self, pass: Pass) -> (u64, u64) {
        let tile = self.tile(pass);
        let (unwritten, exceeds) = (self.traffic.unwritten_bytes, self.exceeds(pass));
        if unwritten == 0 && exceeds == 0 {
            return (tile.bytes, tile.fullest);
        }
        let written = self.written(unwritten);
        let bytes = (tile.bytes as f64 * written - exceeds as f64).max(0.0);
        let share = bytes / tile.bytes.max(1) as f64;
        let part = |of: u64| (of as f64 * share).round() as u64;
        (part(tile.bytes), part(tile.fullest))
    }

    /// The share of the source that is written, where `unwritten` bytes of it are not.
    fn written(&self, unwritten: u64) -> f64 {
        let all: u64 = self.contents.tiles.iter().map(|tile| tile.bytes).sum();
        1.0 - unwritten as f64 / all.max(1) as f64
    }

    /// Bytes by which the tile of a pass exceeds the slot into which it is loaded.
    fn exceeds(&self, pass: Pass) -> u64 {
        self.traffic.tile_room.map_or(0, |room| {
            let excess = self.contents.excess_alone(self.written, room);
            let channels = Span::new(0, self.tile(pass).channels);
            self.element_bytes(excess.of(pass.source_tile as usize, channels))
        })
    }

    /// Elements of the source beyond its region, which every round reads from DRAM.
    fn excess(&self) -> Option<Arc<Excess>> {
        let traffic = &self.traffic;
        match (traffic.home_room, traffic.tile_room) {
            (Some(room), _) => {
                let written = (self.written, traffic.tile_by_tile);
                Some(self.contents.excess_together(written, room))
            }
            (None, Some(room)) => Some(self.contents.excess_alone(self.written, room)),
            (None, None) => None,
        }
    }

    /// By pass: spilled bytes of the channels of its tile that the layer reads.
    fn spilled(&self, passes: &[Pass]) -> Vec<u64> {
        let excess = self.excess();
        let of_pass = |pass: &Pass| {
            let read = |excess: &Arc<Excess>| {
                excess.of(pass.source_tile as usize, self.layer.source.channels)
            };
            self.element_bytes(excess.as_ref().map_or(0, read))
        };
        passes.iter().map(of_pass).collect()
    }

    /// The share of `spilled` bytes of a pass that a round reads: a region is filled channel after channel, so it is the last
    /// that the last rounds of a depthwise layer read.
    fn share_spilled(&self, pass: Pass, round: usize, excess: Option<&Excess>) -> f64 {
        let conv_groups = self.layer.conv.as_ref().map_or(1, |conv| conv.groups);
        let Some(excess) = excess.filter(|_| conv_groups > 1) else {
            return self.share_read(round);
        };
        let source = self.layer.source.channels;
        let at = |group: u32| source.begin + source.len() * group / conv_groups;
        let of = |channels| excess.of(pass.source_tile as usize, channels);
        let read = read_groups(self.layer, self.of_round(round)).into_iter();
        let read: u64 = read
            .map(|group| of(Span::new(at(group), at(group + 1))))
            .sum();
        read as f64 / of(source).max(1) as f64
    }

    /// Bytes of elements without a block.
    fn element_bytes(&self, elements: u64) -> u64 {
        elements * u64::from(self.machine.activation_format().element_bits()) / 8
    }

    /// By pass: the share of the result whose blocks it completes, by positions.
    fn result_shares(&self) -> Vec<f64> {
        let parts = self.result_parts().into_iter();
        parts
            .map(|parts| parts.iter().map(|part| part.own).sum())
            .collect()
    }

    /// By pass: its share of the result in each PE that holds some of it; all PEs as one where a layer has a single
    /// pass, or results do not go to DRAM.
    fn result_parts(&self) -> Vec<Vec<ResultPart>> {
        let passes = self.passes;
        let mut parts = vec![Vec::new(); passes.len()];
        let mut add = |filled: &mut f64, pass: usize, positions: u64| {
            let (before, own) = (*filled, positions as f64);
            *filled += own;
            parts[pass].push(ResultPart { before, own });
        };
        match self.result_layout {
            Some(layout) if passes.len() > 1 && self.traffic.result_bytes > 0 => {
                let mut filled = vec![0.0; self.machine.pe_count() as usize];
                let completing = completing_passes(layout, passes);
                for (tile, completing) in layout.tiles.iter().zip(completing) {
                    let cols = tile.pes().cols;
                    for (pe, pass) in (0..).zip(completing) {
                        if let Some(pass) = pass {
                            let held = tile.pe_rect(pe / cols, pe % cols);
                            add(&mut filled[pe as usize], pass, held.positions());
                        }
                    }
                }
            }
            _ => {
                let mut filled = 0.0;
                for (number, pass) in passes.iter().enumerate() {
                    add(&mut filled, number, pass.output.positions());
                }
            }
        }
        let all: f64 = parts.iter().flatten().map(|part| part.own).sum();
        for part in parts.iter_mut().flatten() {
            part.before /= all.max(1.0);
            part.own /= all.max(1.0);
        }
        parts
    }

    /// The share of the channels that a round reads: those of its convolution groups.
    fn share_read(&self, round: usize) -> f64 {
        share_read(self.layer, self.of_round(round))
    }

    /// The output-channel groups of a round.
    fn of_round(&self, round: usize) -> &[Span] {
        let groups = self.layout.groups.count() as usize;
        &self.channel_groups[round * groups..(round + 1) * groups]
    }

    fn dram_cycles(&self, bytes: u64) -> u64 {
        (bytes as f64 / self.machine.dram_bytes_per_cycle()).ceil() as u64
    }

    fn dram_energy(&self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 * self.machine.energy.dram_bit.pj
    }
}

/// The share of a layer's input channels that a round of some output-channel groups reads.
fn share_read(layer: &IntLayer, of_round: &[Span]) -> f64 {
    let conv_groups = layer.conv.as_ref().map_or(1, |conv| conv.groups);
    read_groups(layer, of_round).len() as f64 / f64::from(conv_groups)
}

/// The convolution groups whose channels a round of some output-channel groups reads.
fn read_groups(layer: &IntLayer, of_round: &[Span]) -> Vec<u32> {
    let conv_groups = layer.conv.as_ref().map_or(1, |conv| conv.groups);
    let per_group = (layer.destination.channels.len() / conv_groups).max(1);
    let mut read: Vec<u32> = of_round
        .iter()
        .filter(|k| !k.is_empty())
        .map(|k| k.begin / per_group)
        .collect();
    read.dedup();
    read
}

/// How often a pass of a layer reads each of its input channels under a mapping: in every round of its convolution
/// group.
pub fn readings(layer: &IntLayer, mapping: &LayerMapping) -> f64 {
    if mapping.channel_groups.is_empty() {
        return 1.0;
    }
    let groups = mapping.pe_groups.count().max(1) as usize;
    let rounds = mapping.channel_groups.chunks(groups);
    rounds.map(|of_round| share_read(layer, of_round)).sum()
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
