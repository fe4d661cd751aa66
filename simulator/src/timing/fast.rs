//! Timing `fast`: steps, barriers and the two accumulator halves.
//!
//! In round r, PE p takes `steps(p, r)` cycles: over all blocks, activation vectors times weight vectors. With drift
//! `group`, every round ends with a barrier. With drift `fifo`, a PE goes on to the next round at once, but a round
//! can begin only when all PEs of its group have finished the round before the last, whose accumulator half it fills:
//!
//! ```text
//! finish(p, r) = max(finish(p, r - 1), max over q of the group of finish(q, r - 2)) + steps(p, r)
//! ```
//!
//! FIFO capacity, bank conflicts, drains and DRAM can only add to this, so it is a lower bound of the exact time.

use super::blocks::{ActivationBlocks, Block, Columns, WeightSizes};
use super::work::{LayerWork, rounds};
use super::{Slots, Timed};
use crate::counters::Counters;
use rayon::prelude::*;
use scnn_isa::layer::ArrayStage;
use scnn_isa::layout::Grid;
use scnn_isa::machine::{Drift, Machine};
use scnn_isa::plane::Span;

/// Counts the cycles of a layer.
pub fn time(machine: &Machine, work: &LayerWork) -> Timed {
    let groups = work.layer.array.as_ref().map(|array| array.pe_groups);
    let mut line = TimeLine::new(machine, groups.unwrap_or(Grid::ONE));
    let mut steps = vec![0; work.has_tile.len()];
    for round in rounds(&work.tasks) {
        let multiply = round.multiply;
        let vectors_in_pe = &multiply.steps[(round.number - multiply.rounds.begin) as usize];
        line.round(round.ordinal, vectors_in_pe);
        for (sum, steps) in steps.iter_mut().zip(vectors_in_pe) {
            *sum += steps;
        }
    }
    let cycles = line.cycles();
    let waits = work.has_tile.iter().zip(steps).map(|(&has_tile, steps)| {
        let mut waits = Slots::default();
        if has_tile {
            waits.barrier = cycles - steps;
        } else {
            waits.no_tile = cycles;
        }
        waits
    });
    Timed {
        cycles,
        waits: waits.collect(),
        head_start: 0,
    }
}

/// The time line of a layer, round by round.
#[derive(Clone, Debug)]
struct TimeLine {
    drift: Drift,
    /// By PE: cycle in which it has finished all rounds so far.
    finish: Vec<u64>,
    /// Cycle in which all PEs have.
    last: u64,
    /// PE group of each PE, and how many there are.
    groups: Vec<usize>,
    group_count: usize,
    /// When all PEs of each group had finished each round, by ordinal.
    rounds: Vec<Vec<u64>>,
}

impl TimeLine {
    fn new(machine: &Machine, groups: Grid) -> Self {
        Self {
            drift: machine.sync.drift,
            finish: vec![0; machine.pe_count() as usize],
            last: 0,
            groups: group_of_pe(machine, groups),
            group_count: groups.count() as usize,
            rounds: Vec::new(),
        }
    }

    /// Adds (a range of the channels of) a round of `steps` by PE.
    fn round(&mut self, ordinal: usize, steps: &[u64]) {
        let mut finished = vec![0; self.group_count];
        let rounds = self.rounds.len().max(ordinal + 1);
        self.rounds.resize(rounds, finished.clone());
        for ((finish, steps), &group) in self.finish.iter_mut().zip(steps).zip(&self.groups) {
            let half = ordinal
                .checked_sub(2)
                .map_or(0, |before| self.rounds[before][group]);
            let earliest = match self.drift {
                Drift::Group => self.last,
                Drift::Fifo => half,
            };
            *finish = (*finish).max(earliest) + steps;
            finished[group] = (*finish).max(finished[group]);
        }
        self.last = finished.iter().copied().max().unwrap_or(0);
        self.rounds[ordinal] = finished;
    }

    fn cycles(&self) -> u64 {
        self.last
    }
}

/// The PE group of each PE of the array.
pub fn group_of_pe(machine: &Machine, groups: Grid) -> Vec<usize> {
    let array = &machine.array;
    let pes = Grid::new(array.rows / groups.rows, array.cols / groups.cols);
    let mut group_of_pe = vec![0; machine.pe_count() as usize];
    for group in 0..groups.count() {
        for pe in 0..pes.count() {
            group_of_pe[pe_index(machine, pes, groups, group, pe)] = group as usize;
        }
    }
    group_of_pe
}

/// Work of the array in some rounds of one pass.
#[derive(Clone, Debug, Default)]
pub struct ArrayWork {
    /// Steps by (round, PE).
    pub steps: Vec<Vec<u64>>,
    /// Slots of the steps; barrier and idle PEs are not known yet.
    pub slots: Slots,
    /// Events.
    pub counters: Counters,
}

/// The products of a pass: the blocks of weights of its rounds with those of the activations.
#[derive(Clone, Copy)]
pub struct Products<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The layer's stage on the array.
    pub array: &'a ArrayStage,
    /// Activations of the pass's tile.
    pub activations: &'a ActivationBlocks,
    /// Weights of the layer.
    pub weights: &'a WeightSizes,
    /// Channels of the source view that are multiplied.
    pub channels: Span,
}

impl<'a> Products<'a> {
    /// Counts the rounds `rounds`, in which `useful` products fall into the plane and are of two non-zeros.
    pub fn count(self, rounds: Span, useful: u64) -> ArrayWork {
        let columns = (self.activations).columns(self.machine.pe.activations_per_vector);
        let rounds: Vec<u32> = rounds.iter().collect();
        let rounds = rounds.into_par_iter();
        let rounds: Vec<_> = rounds.map(|round| self.round(round, &columns)).collect();
        let mut work = ArrayWork::default();
        for (steps, slots, counters) in rounds {
            work.steps.push(steps);
            work.slots += slots;
            work.counters += counters;
        }
        // Counted so far: all pairs of non-zeros; those that are not useful fell outside the plane.
        work.slots.out_of_plane -= useful;
        work.slots.useful = useful;
        work.counters.accumulations = useful;
        work.counters.crossbar_transfers = useful;
        work
    }

    /// Steps by PE, slots and events of a round.
    fn round(self, round: u32, columns: &Columns) -> (Vec<u64>, Slots, Counters) {
        let (machine, pe_groups, pes) = (self.machine, self.array.pe_groups, self.activations.pes);
        let mut steps = vec![0u64; machine.pe_count() as usize];
        let (mut slots, mut counters) = (Slots::default(), Counters::default());
        let mut steps_in_group = vec![0u64; pes.count() as usize];
        for group in 0..pe_groups.count() {
            let (first, blocks) = self.blocks(round, group);
            steps_in_group.fill(0);
            self.group(
                blocks,
                (columns, first),
                &mut steps_in_group,
                (&mut slots, &mut counters),
            );
            for (pe, steps_of_pe) in steps_in_group.iter().enumerate() {
                steps[pe_index(machine, pes, pe_groups, group, pe as u32)] = *steps_of_pe;
            }
        }
        (steps, slots, counters)
    }

    /// The blocks of weights of a PE group's round by (channel, residue), and the column of the first.
    fn blocks(self, round: u32, group: u32) -> (usize, &'a [Block]) {
        let residues = self.activations.residues;
        let (first, all) =
            &self.weights.groups[(round * self.array.pe_groups.count() + group) as usize];
        let held = Span::new(*first, *first + all.len() as u32 / residues);
        let span = self.channels.intersect(held);
        if span.is_empty() {
            return (0, &[]);
        }
        let from = ((span.begin - first) * residues) as usize;
        let blocks = &all[from..from + (span.len() * residues) as usize];
        ((span.begin * residues) as usize, blocks)
    }

    /// Multiplies the blocks of one PE group with the columns from `first` on.
    #[inline]
    fn group(
        self,
        blocks: &[Block],
        (columns, first): (&Columns, usize),
        steps: &mut [u64],
        (slots, counters): (&mut Slots, &mut Counters),
    ) {
        let machine = self.machine;
        let (width, fifo) = (machine.pe.weights_per_vector, machine.fifo_elements());
        let (format, receivers) = (machine.weight_format(), self.activations.pes_with_tile());
        let bytes = |block: &Block| format.block_bytes(block.elements.into());
        counters.dram_weight_bytes += blocks.iter().map(bytes).sum::<u64>();
        let (mut steps_of_all, mut pairs, mut nonzero) = (0, 0, 0);
        for (index, weights) in blocks.iter().enumerate() {
            if weights.elements == 0 {
                continue;
            }
            let vectors = u64::from(parts(weights.elements, width));
            counters.fifo_writes += vectors * receivers;
            let column = columns.column(first + index);
            if column.vectors == 0 {
                continue;
            }
            for &(pe, vectors_in_pe) in column.pes {
                steps[pe as usize] += vectors * u64::from(vectors_in_pe);
            }
            steps_of_all += vectors * column.vectors;
            pairs += u64::from(weights.elements) * column.elements;
            nonzero += u64::from(weights.nonzeros) * column.nonzeros;
            // A block that exceeds the FIFO comes in parts, and the activations are read once for each.
            counters.iaram_reads += column.vectors * u64::from(parts(weights.elements, fifo));
        }
        counters.fifo_reads += steps_of_all;
        counters.multiplies += pairs;
        counters.coordinates += pairs;
        let lanes = u64::from(width) * u64::from(machine.pe.activations_per_vector);
        slots.fragmentation += steps_of_all * lanes - pairs;
        slots.placeholder += pairs - nonzero;
        slots.out_of_plane += nonzero;
    }
}

/// Number of parts of at most `size` elements that `elements` (at least one) make. Most make one, and a division is slow.
#[inline]
fn parts(elements: u32, size: u32) -> u32 {
    if elements <= size {
        1
    } else {
        elements.div_ceil(size)
    }
}

/// Index in the array of PE `pe` of PE group `group`.
pub fn pe_index(machine: &Machine, group_pes: Grid, pe_groups: Grid, group: u32, pe: u32) -> usize {
    let row = group / pe_groups.cols * group_pes.rows + pe / group_pes.cols;
    let col = group % pe_groups.cols * group_pes.cols + pe % group_pes.cols;
    (row * machine.array.cols + col) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(drift: Drift) -> Machine {
        let mut machine = Machine::preset("scnn").unwrap();
        (machine.array.rows, machine.array.cols, machine.sync.drift) = (1, 2, drift);
        machine
    }

    #[test]
    fn a_barrier_costs_the_slowest_pe_of_every_round() {
        let mut line = TimeLine::new(&machine(Drift::Group), Grid::ONE);
        for (round, steps) in [[5, 1], [1, 5], [5, 1]].iter().enumerate() {
            line.round(round, steps);
        }
        assert_eq!(line.cycles(), 15);
    }

    #[test]
    fn a_pe_runs_ahead_by_one_round_and_no_further() {
        let mut line = TimeLine::new(&machine(Drift::Fifo), Grid::ONE);
        for (round, steps) in [[5, 1], [1, 5], [5, 1]].iter().enumerate() {
            line.round(round, steps);
        }
        // PE 0: 5, 6, max(6, 5) + 5 = 11. PE 1: 1, 6, 7.
        assert_eq!(line.cycles(), 11);
        let mut line = TimeLine::new(&machine(Drift::Fifo), Grid::ONE);
        for (round, steps) in [[9, 1], [1, 1], [1, 9]].iter().enumerate() {
            line.round(round, steps);
        }
        // PE 1 may not begin round 2 before PE 0 has finished round 0.
        assert_eq!(line.cycles(), 18);
        let mut line = TimeLine::new(&machine(Drift::Fifo), Grid::new(1, 2));
        for (round, steps) in [[9, 1], [1, 1], [1, 9]].iter().enumerate() {
            line.round(round, steps);
        }
        // In another PE group it may.
        assert_eq!(line.cycles(), 11);
    }
}
