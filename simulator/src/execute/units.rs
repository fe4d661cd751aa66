//! Work of the array and the PPUs for `mac`, `drn` and `ppu`, and the events that it counts as.

use super::state::State;
use crate::error::SimulateError;
use crate::timing::blocks::WeightSizes;
use crate::timing::fast::Products;
use crate::timing::{Drain, Multiply, Place, Process, RoundDrain, Task, fast};
use scnn_isa::halo::Exchange;
use scnn_isa::ids::RegionId;
use scnn_isa::layer::{ArrayStage, Layer};
use scnn_isa::layout::Tile;
use scnn_isa::machine::Machine;
use scnn_isa::plane::Span;
use scnn_isa::program::Memory;
use scnn_isa::section::group_channels;

impl State<'_> {
    /// A `mac`: counts the products of some rounds of a pass over a range of the source view's channels.
    pub(super) fn multiply(&mut self, pass: u32, rounds: Span, channels: Span, from: RegionId) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        let layer = self.program.layer(current.id);
        let data = &self.simulator.layers[current.id.index()];
        let (Some(array), Some(data)) = (&layer.array, &data.weights) else {
            return;
        };
        let sizes = &data.sizes;
        let pass = layer.passes[pass as usize];
        let source_tile = pass.source_tile;
        let source = self.program.tensor(layer.source.tensor);
        let tile = &source.layout.tiles[pass.source_tile as usize];
        let blocks = self.blocks(layer.source.tensor, pass.source_tile, layer.source.channels);

        let nonzeros = self.nonzeros(layer.source.tensor);
        let inner = layer.inner_rect(pass.output);
        let weights = sizes.nonzeros(array, rounds, &data.by_output);
        let view = (layer.source.channels.begin, channels);
        let counts = (&*nonzeros, &*weights);
        let useful = WeightSizes::useful(array, counts, view, tile.rect(), inner);
        let products = Products {
            machine: self.machine,
            array,
            activations: &blocks,
            weights: sizes,
            channels,
        };
        let work = products.count(rounds, useful);
        for of_round in &work.steps {
            for (sum, steps) in current.pe_steps.iter_mut().zip(of_round) {
                *sum += steps;
            }
        }
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
        mark_tiles(&mut current.has_tile, self.machine, array, tile);
        self.current = Some(current);
        let spilled_bytes: Vec<u64> = if self.spills(from) {
            let of_round = |round| {
                let read = read_channels(layer, array, round, channels);
                self.spilled_bytes(from, source_tile, &read)
            };
            rounds.iter().map(of_round).collect()
        } else {
            vec![0; rounds.len() as usize]
        };
        if let Some(counters) = self.counters() {
            counters.dram_spill_bytes += spilled_bytes.iter().sum::<u64>();
        }
        let tile_in_region = source_tile - self.program.region(from).tiles.begin;
        let columns_of_tile = source.channels() * source.layout.residues.count();
        self.push(Task::Multiply(Multiply {
            source: nonzeros,
            pass,
            rounds,
            channels,
            opens: channels.begin == 0,
            closes: channels.end == layer.source.channels.len(),
            from: Place::of(self.program.region(from)),
            first_column: tile_in_region * columns_of_tile,
            spilled_bytes,
            steps: work.steps,
        }));
    }

    /// The drain of a pass's last round computes the values of the whole pass.
    pub(super) fn drain(
        &mut self,
        number: u32,
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
            self.post_process(number, to, operand)?
        };
        let pass = layer.passes[number as usize];
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
                result_bytes: 0,
            }
        };
        let groups = 0..array.pe_groups.count();
        let of_round = |round| groups.clone().map(|group| drain(round, group)).collect();
        self.push(Task::Drain(Drain {
            pass: number,
            first_round: rounds.begin,
            rounds: rounds.iter().map(of_round).collect(),
            operand: operand.map(|id| Place::of(self.program.region(id))),
            operand_bytes,
        }));
        Ok(())
    }

    /// The PPUs alone: reads a source tile and computes the values of a pass.
    pub(super) fn process(
        &mut self,
        number: u32,
        from: RegionId,
        to: RegionId,
        operand: Option<RegionId>,
    ) -> Result<(), SimulateError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        let layer = self.program.layer(current.id);
        let pass = layer.passes[number as usize];
        let spilled_bytes = self.spilled_bytes(from, pass.source_tile, &[layer.source.channels]);
        if let Some(counters) = self.counters() {
            counters.dram_spill_bytes += spilled_bytes;
        }
        let operand_bytes = self.post_process(number, to, operand)?;
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
            pass: number,
            from: Place::of(self.program.region(from)),
            operand: operand.map(|id| Place::of(self.program.region(id))),
            cycles: (most * per_group).div_ceil(u64::from(self.machine.ppu.lanes)),
            read_bytes: spilled_bytes + operand_bytes + source_bytes,
            result_bytes: 0,
        }));
        Ok(())
    }
}

/// Sets the flags of the PEs, in all PE groups, that hold a part of `tile`.
fn mark_tiles(has_tile: &mut [bool], machine: &Machine, array: &ArrayStage, tile: &Tile) {
    let pes = tile.pes();
    for group in 0..array.pe_groups.count() {
        for pe in 0..pes.count() {
            if !tile.pe_rect(pe / pes.cols, pe % pes.cols).is_empty() {
                has_tile[fast::pe_index(machine, pes, array.pe_groups, group, pe)] = true;
            }
        }
    }
}

/// The channels of the source tensor, of some of the layer's, that the weights of a round meet.
fn read_channels(layer: &Layer, array: &ArrayStage, round: u32, channels: Span) -> Vec<Span> {
    let (inputs, outputs) = (
        layer.source.channels.len(),
        layer.destination.channels.len(),
    );
    let mut read: Vec<Span> = (0..array.pe_groups.count())
        .map(|group| array.channel_group(round, group))
        .filter(|k| !k.is_empty())
        .map(|k| group_channels(array, k, inputs, outputs).intersect(channels))
        .collect();
    // PE groups whose output channels are of one convolution group read the same.
    read.sort_unstable_by_key(|span| span.begin);
    read.dedup();
    let first = layer.source.channels.begin;
    for span in &mut read {
        *span = Span::new(first + span.begin, first + span.end);
    }
    read
}
