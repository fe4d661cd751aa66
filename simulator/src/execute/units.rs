//! What `mac`, `drn` and `ppu` ask of the array and the PPUs, and the events that this counts as.

use super::state::State;
use crate::error::SimulateError;
use crate::timing::blocks::WeightSizes;
use crate::timing::{Drain, Multiply, Place, Process, RoundDrain, Task, fast};
use scnn_isa::halo::Exchange;
use scnn_isa::ids::RegionId;
use scnn_isa::plane::Span;
use scnn_isa::program::Memory;

impl State<'_> {
    pub(super) fn multiply(&mut self, pass: u32, rounds: Span, channels: Span, from: RegionId) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        let layer = self.program.layer(current.id);
        let data = &self.simulator.layers[current.id.index()];
        let (Some(array), Some(sizes)) = (&layer.array, &data.sizes) else {
            return;
        };
        let pass = layer.passes[pass as usize];
        let source = self.program.tensor(layer.source.tensor);
        let tile = &source.layout.tiles[pass.source_tile as usize];
        let blocks = self.blocks(layer.source.tensor, pass.source_tile, layer.source.channels);

        let nonzeros = self.nonzeros(layer.source.tensor);
        let inner = layer.inner_rect(pass.output);
        let weights = sizes.nonzeros(array, rounds, &data.weights);
        let view = (layer.source.channels.begin, channels);
        let counts = (&*nonzeros, &*weights);
        let useful = WeightSizes::useful(array, counts, view, tile.rect(), inner);
        let work = fast::count(
            self.machine,
            array,
            &blocks,
            sizes,
            rounds,
            channels,
            useful,
        );
        current.counts.steps += work.steps.iter().flatten().sum::<u64>();
        current.counts.slots += work.slots;
        current.counts.counters += work.counters;
        let exchange = Exchange::of(array, tile, inner);
        let outputs: u64 = rounds
            .iter()
            .flat_map(|round| (0..array.pe_groups.count()).map(move |g| (round, g)))
            .map(|(round, group)| u64::from(array.channel_group(round, group).len()))
            .sum();
        if channels.end == layer.source.channels.len() {
            current.counts.counters.halo_hops += exchange.hops * outputs;
        }
        let pes = tile.pes();
        for group in 0..array.pe_groups.count() {
            for pe in 0..pes.count() {
                if !tile.pe_rect(pe / pes.cols, pe % pes.cols).is_empty() {
                    let at = fast::pe_index(self.machine, pes, array.pe_groups, group, pe);
                    current.has_tile[at] = true;
                }
            }
        }
        self.current = Some(current);
        let spilled_bytes = self.read_region(from, u64::from(rounds.len()));
        self.push(Task::Multiply(Multiply {
            source: nonzeros,
            pass,
            rounds,
            channels,
            opens: channels.begin == 0,
            closes: channels.end == layer.source.channels.len(),
            from: Place::of(self.program.region(from)),
            spilled_bytes,
            steps: work.steps,
        }));
    }

    /// The drain of a pass's last round computes the values of the whole pass.
    pub(super) fn drain(
        &mut self,
        pass: u32,
        rounds: Span,
        to: RegionId,
        operand: Option<RegionId>,
    ) -> Result<(), SimulateError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        let layer = self.program.layer(current.id);
        let Some(array) = &layer.array else {
            return Ok(());
        };
        let operand_bytes = if rounds.end < array.rounds() {
            0
        } else {
            self.post_process(pass, to, operand)?
        };
        let pass = layer.passes[pass as usize];
        let tile =
            &self.program.tensor(layer.source.tensor).layout.tiles[pass.source_tile as usize];
        let exchange = Exchange::of(array, tile, layer.inner_rect(pass.output));
        let ppu = &self.machine.ppu;
        let drain = |round: u32, group: u32| {
            let channels = u64::from(array.channel_group(round, group).len());
            let link = exchange.busiest_link * channels;
            let owned = exchange.most_owned * channels;
            RoundDrain {
                cycles: link.div_ceil(u64::from(ppu.halo_sums_per_cycle))
                    + owned.div_ceil(u64::from(ppu.lanes)),
                outputs: channels * pass.output.positions(),
            }
        };
        let groups = 0..array.pe_groups.count();
        let of_round = |round| groups.clone().map(|group| drain(round, group)).collect();
        self.push(Task::Drain(Drain {
            rounds: rounds.iter().map(of_round).collect(),
            operand: operand.map(|id| Place::of(self.program.region(id))),
            operand_bytes,
        }));
        Ok(())
    }

    /// The PPUs alone: reads a source tile and computes the values of a pass.
    pub(super) fn process(
        &mut self,
        pass: u32,
        from: RegionId,
        to: RegionId,
        operand: Option<RegionId>,
    ) -> Result<(), SimulateError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        let layer = self.program.layer(current.id);
        let spilled_bytes = self.read_region(from, 1);
        let operand_bytes = self.post_process(pass, to, operand)?;
        let pass = layer.passes[pass as usize];
        let blocks = self.blocks(layer.source.tensor, pass.source_tile, layer.source.channels);
        let source_bytes = if self.program.region(from).memory == Memory::Dram {
            let bytes = blocks.bytes(self.machine.activation_format());
            if let Some(counters) = self.counters() {
                counters.dram_read_bytes += bytes;
            }
            bytes
        } else {
            let vectors = blocks.vectors(self.machine.pe.activations_per_vector);
            if let Some(counters) = self.counters() {
                counters.iaram_reads += vectors;
            }
            0
        };
        let tile =
            &self.program.tensor(layer.source.tensor).layout.tiles[pass.source_tile as usize];
        let (pes, inner) = (tile.pes(), layer.inner_rect(pass.output));
        let groups = self.program.tensor(layer.source.tensor).layout.groups;
        let mut most = 0;
        for pe in 0..pes.count() {
            let rect = tile.pe_rect(pe / pes.cols, pe % pes.cols);
            most = most.max(rect.intersect(inner).positions());
            for group in 0..groups.count() {
                let at = fast::pe_index(self.machine, pes, groups, group, pe);
                if let (false, Some(current)) = (rect.is_empty(), &mut self.current) {
                    current.has_tile[at] = true;
                }
            }
        }
        // Every PE group has a replica of the source, so each takes a share of the channels.
        let channels = u64::from(layer.source.channels.len());
        let per_group = channels.div_ceil(u64::from(groups.count()));
        self.push(Task::Process(Process {
            from: Place::of(self.program.region(from)),
            operand: operand.map(|id| Place::of(self.program.region(id))),
            cycles: (most * per_group).div_ceil(u64::from(self.machine.ppu.lanes)),
            read_bytes: spilled_bytes + operand_bytes + source_bytes,
            outputs: channels * pass.output.positions(),
        }));
        Ok(())
    }
}
