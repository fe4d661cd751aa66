//! Counts of a layer under a mapping that do not depend on the schedule: steps, bytes, drains.
//!
//! Rounds of all passes read the same weights, so the blocks are added up over the rounds first and then met with the
//! activations of each pass.

use super::sampled_rounds::SampledRounds;
use super::{Candidate, Cost};
use crate::map::contents::{Columns, LANES};
use crate::map::weights::BlockSizes;
use multiversion::multiversion;
use scnn_isa::halo::Exchange;
use scnn_isa::layer::Pass;

/// Counts of the whole layer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Steps of all PEs, and pairs of stored elements that they multiply.
    steps: u64,
    pairs: u64,
    /// Vectors that cross the weight bus, and bytes of weights from DRAM.
    bus_vectors: u64,
    weight_bytes: u64,
    /// Cycles of the PPUs and halo links, in the PE group with the most.
    drain_cycles: u64,
    /// Vectors written into the FIFOs of all PEs.
    fifo_writes: u64,
    /// Activation vectors that are read.
    iaram_reads: u64,
    /// Partial sums over halo links.
    halo_hops: u64,
    /// Steps of the PE with the most.
    busiest: f64,
    /// How often a pass reads each input channel.
    readings: f64,
}

/// The blocks of one PE group over all rounds.
#[derive(Clone, Default)]
struct Column {
    elements: u64,
    vectors: u64,
    parts: u64,
}

impl Counts {
    pub(super) fn of(
        candidate: &Candidate<'_>,
        sizes: &BlockSizes,
        sampled: &SampledRounds,
    ) -> Self {
        let groups = candidate.layout.groups.count() as usize;
        let pes = candidate.layout.tiles[0].pes().count() as usize;
        let tiles = &candidate.contents.tiles;
        let columns = tiles.first().map_or(0, |tile| tile.columns.sums().len());
        let mut counts = Self::default();
        let mut by_column = vec![Column::default(); columns];
        // Counts below 2^53, as floats.
        let mut steps_of_pe = vec![[0.0; LANES]; pes.div_ceil(LANES)];
        // PEs of a group that have a tile, over all passes: the receivers of a vector of weights.
        let receivers = |pass: &Pass| candidate.pes_with_tile(*pass);
        let receivers = sampled.passes.iter().map(receivers).sum::<u64>();
        for group in 0..groups {
            by_column.fill(Column::default());
            steps_of_pe.fill([0.0; LANES]);
            for round in &sampled.rounds {
                let blocks = &sizes.groups[round * groups + group];
                counts.add_blocks(candidate, blocks, &mut by_column);
            }
            for pass in &sampled.passes {
                let held = &candidate.tile(*pass).columns;
                counts.add_pass(&by_column, held, &mut steps_of_pe);
            }
            let streamed = by_column.iter().map(|c| c.vectors).sum::<u64>();
            counts.bus_vectors += streamed;
            counts.fifo_writes += streamed * receivers;
            let busiest = steps_of_pe.iter().flatten().copied();
            counts.busiest = busiest.fold(counts.busiest, f64::max);
        }
        let passes = sampled.passes.len() as u64;
        counts.weight_bytes *= passes;
        counts.bus_vectors *= passes;
        counts.count_drains(candidate, sampled);
        counts.scale(sampled.scale);
        let rounds = 0..sizes.groups.len() / groups;
        counts.readings = rounds.map(|round| candidate.share_read(round)).sum();
        counts
    }

    /// Adds the blocks of a round: the first input channel of the group, and elements by (channel, residue).
    fn add_blocks(
        &mut self,
        candidate: &Candidate<'_>,
        (first, blocks): &(u32, Vec<u32>),
        by_column: &mut [Column],
    ) {
        let machine = candidate.machine;
        let format = machine.weight_format();
        let (width, fifo) = (machine.pe.weights_per_vector, machine.fifo_elements());
        let residues = candidate.layout.residues.count() as usize;
        let offset = candidate.first_column(*first, residues);
        for (column, &elements) in by_column[offset..].iter_mut().zip(blocks) {
            self.weight_bytes += format.block_bytes(u64::from(elements));
            column.elements += u64::from(elements);
            column.vectors += u64::from(elements.div_ceil(width));
            column.parts += u64::from(elements.div_ceil(fifo));
        }
    }

    /// Adds the steps and pairs of the blocks of a PE group with the activations of its PEs in a pass.
    fn add_pass(&mut self, by_column: &[Column], held: &Columns, steps_of_pe: &mut [[f64; LANES]]) {
        let of_column = held.sums().iter().zip(held.elements());
        for (index, (column, (&vectors, &elements))) in by_column.iter().zip(of_column).enumerate()
        {
            if column.vectors == 0 {
                continue;
            }
            add_steps(steps_of_pe, column.vectors as f64, held.column(index));
            self.steps += column.vectors * u64::from(vectors);
            self.pairs += column.elements * u64::from(elements);
            self.iaram_reads += column.parts * u64::from(vectors);
        }
    }

    /// Bytes to and from DRAM, but for those that are stored at the end.
    fn dram_bytes(&self, candidate: &Candidate<'_>) -> u64 {
        let loads = (0..candidate.passes.len()).map(|pass| candidate.load(pass).1);
        let spilled: u64 = candidate.spilled(candidate.passes).iter().sum();
        let traffic = &candidate.traffic;
        self.weight_bytes
            + traffic.result_bytes
            + traffic.operand_bytes
            + (spilled as f64 * self.readings).round() as u64
            + loads.sum::<u64>()
    }

    fn count_drains(&mut self, candidate: &Candidate<'_>, sampled: &SampledRounds) {
        for group in 0..candidate.layout.groups.count() as usize {
            let mut cycles = 0;
            for exchange in &sampled.exchanges {
                for &round in &sampled.rounds {
                    let outputs = candidate.outputs_of(round, group);
                    self.halo_hops += exchange.hops * outputs;
                    cycles += candidate.drain_cycles(exchange, outputs);
                }
            }
            self.drain_cycles = self.drain_cycles.max(cycles);
        }
    }

    fn scale(&mut self, scale: f64) {
        for value in [
            &mut self.steps,
            &mut self.pairs,
            &mut self.bus_vectors,
            &mut self.weight_bytes,
            &mut self.drain_cycles,
            &mut self.fifo_writes,
            &mut self.iaram_reads,
            &mut self.halo_hops,
        ] {
            *value = (*value as f64 * scale).round() as u64;
        }
        self.busiest *= scale;
    }

    /// Lower bound of the cost: no unit of the machine ever waits for another.
    pub(super) fn least(&self, candidate: &Candidate<'_>) -> Cost {
        let machine = candidate.machine;
        let energy = &machine.energy;
        let dram_bytes = self.dram_bytes(candidate);
        let dram_cycles = candidate.dram_cycles(dram_bytes);
        let bus = u64::from(machine.weights.bus_vectors_per_cycle.max(1));
        Cost {
            cycles: (self.busiest as u64)
                .max(dram_cycles)
                .max(self.drain_cycles)
                .max(self.bus_vectors / bus),
            energy_pj: candidate.dram_energy(dram_bytes)
                + self.pairs as f64 * (energy.multiply.pj + energy.coordinate.pj)
                + self.steps as f64 * energy.fifo_read_vector.pj
                + self.fifo_writes as f64 * energy.fifo_write_vector.pj
                + self.iaram_reads as f64 * energy.iaram_read_vector.pj
                + self.halo_hops as f64 * energy.halo_sum.pj,
            dram_cycles,
            ..Cost::default()
        }
    }
}

/// Adds to every PE the steps of `streamed` weight vectors with the activation vectors that it holds.
#[multiversion(targets("x86_64+avx2"))]
fn add_steps(steps_of_pe: &mut [[f64; LANES]], streamed: f64, held: &[[f32; LANES]]) {
    for (steps, held) in steps_of_pe.iter_mut().zip(held) {
        for lane in 0..LANES {
            steps[lane] += streamed * f64::from(held[lane]);
        }
    }
}

impl Candidate<'_> {
    /// PEs of a group that have a part of the tile of a pass.
    fn pes_with_tile(&self, pass: Pass) -> u64 {
        let tile = &self.layout.tiles[pass.source_tile as usize];
        let pes = tile.pes();
        let has_tile = |&pe: &u32| !tile.pe_rect(pe / pes.cols, pe % pes.cols).is_empty();
        (0..pes.count()).filter(has_tile).count() as u64
    }

    /// The first column of the blocks of a group whose first input channel is `first` of the source view.
    pub(super) fn first_column(&self, first: u32, residues: usize) -> usize {
        (self.layer.source.channels.begin + first) as usize * residues
    }

    /// Output channels of a PE group in a round.
    pub(super) fn outputs_of(&self, round: usize, group: usize) -> u64 {
        let groups = self.layout.groups.count() as usize;
        u64::from(self.channel_groups[round * groups + group].len())
    }

    /// Cycles of the links and PPUs of a PE group to drain a round of `channels` output channels.
    pub(super) fn drain_cycles(&self, exchange: &Exchange, channels: u64) -> u64 {
        let ppu = &self.machine.ppu;
        (exchange.busiest_link * channels).div_ceil(u64::from(ppu.halo_sums_per_cycle))
            + (exchange.most_owned * channels).div_ceil(u64::from(ppu.lanes))
    }
}
