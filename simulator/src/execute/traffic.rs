//! What crosses between the RAMs and DRAM: loads, stores, spills, results and residual operands, counted from the sizes
//! of the compressed blocks.

use super::state::State;
use crate::timing::blocks::ActivationBlocks;
use crate::timing::nonzeros::Nonzeros;
use crate::timing::{Load, LoadedColumn, Place, Store, Task};
use scnn_isa::ids::{RegionId, TensorId};
use scnn_isa::layer::{Layer, OperandShape, Pass};
use scnn_isa::machine::Machine;
use scnn_isa::plane::Span;
use scnn_isa::program::Memory;
use std::sync::Arc;

impl State<'_> {
    /// The non-zeros of a tensor, found once for as long as it does not change.
    pub(super) fn nonzeros(&mut self, tensor: TensorId) -> Arc<Nonzeros> {
        let shape = self.program.tensor(tensor).shape;
        let values = &self.tensors[tensor.index()];
        let known = self.measured.nonzeros.entry(tensor);
        Arc::clone(known.or_insert_with(|| Arc::new(Nonzeros::of(values, shape))))
    }

    /// Blocks of a tile of a tensor, measured once for as long as the tensor does not change.
    pub(super) fn blocks(
        &mut self,
        tensor: TensorId,
        tile: u32,
        channels: Span,
    ) -> Arc<ActivationBlocks> {
        let key = (tensor, tile, channels.begin, channels.end);
        if let Some(blocks) = self.measured.blocks.get(&key) {
            return Arc::clone(blocks);
        }
        let layout = &self.program.tensor(tensor).layout;
        let blocks = Arc::new(ActivationBlocks::measure(
            &self.nonzeros(tensor),
            layout,
            &layout.tiles[tile as usize],
            channels,
            self.machine.activation_format(),
        ));
        self.measured.blocks.insert(key, Arc::clone(&blocks));
        blocks
    }

    /// The values of a tensor, to be changed.
    pub(super) fn values_mut(&mut self, tensor: TensorId) -> &mut Vec<i16> {
        self.measured.blocks.retain(|key, _| key.0 != tensor);
        self.measured.nonzeros.remove(&tensor);
        &mut self.tensors[tensor.index()]
    }

    pub(super) fn load(&mut self, to: RegionId) {
        self.hold(to);
        let replicas = self.replicas(to);
        let (columns, vectors) = self.loaded_columns(to);
        let bytes: u64 = columns.iter().map(|loaded| loaded.bytes).sum();
        if let Some(counters) = self.counters() {
            counters.dram_read_bytes += bytes;
            counters.oaram_writes += vectors * replicas;
        }
        self.push(Task::Load(Load {
            place: Place::of(self.program.region(to)),
            columns,
        }));
    }

    /// What a region takes of each column, over all its tiles, until it is full, and how many vectors in all. What
    /// exceeds it stays in DRAM.
    fn loaded_columns(&mut self, id: RegionId) -> (Vec<LoadedColumn>, u64) {
        let region = self.program.region(id);
        let tensor = self.program.tensor(region.tensor);
        let channels = Span::new(0, tensor.channels());
        let (width, format) = (
            u64::from(self.machine.pe.activations_per_vector),
            self.machine.activation_format(),
        );
        let tiles: Vec<Arc<ActivationBlocks>> = region
            .tiles
            .iter()
            .map(|tile| self.blocks(region.tensor, tile, channels))
            .collect();
        let mut room = vec![region.size; self.machine.pe_count() as usize];
        let mut vectors = vec![0; room.len()];
        let mut loaded = |column: u32| {
            let mut bytes = 0;
            for blocks in &tiles {
                for pe in 0..blocks.pes.count() {
                    let (room, vectors) = (&mut room[pe as usize], &mut vectors[pe as usize]);
                    let block = blocks.of_pe(pe)[column as usize];
                    let elements = u64::from(block.elements).min(*room);
                    *room -= elements;
                    *vectors += elements.div_ceil(width);
                    bytes += format.block_bytes(elements);
                }
            }
            let vectors = vectors.iter().copied().max().unwrap_or(0);
            LoadedColumn { bytes, vectors }
        };
        let columns = channels.len() * tensor.layout.residues.count();
        let columns = (0..columns).map(&mut loaded).collect();
        (columns, vectors.iter().sum())
    }

    /// PE groups that hold the same of a region.
    fn replicas(&self, id: RegionId) -> u64 {
        let tensor = self.program.region(id).tensor;
        u64::from(self.program.tensor(tensor).layout.groups.count())
    }

    pub(super) fn store(&mut self, from: RegionId) {
        let region = self.program.region(from);
        let channels = Span::new(0, self.program.tensor(region.tensor).channels());
        let format = self.machine.activation_format();
        let width = self.machine.pe.activations_per_vector;
        let (mut bytes, mut all, mut vectors) = (0, 0, Vec::new());
        for tile in region.tiles.iter() {
            let blocks = self.blocks(region.tensor, tile, channels);
            bytes += blocks.bytes(format);
            all += blocks.vectors(width);
            add_by_pe(&mut vectors, &blocks.vectors_per_pe(width));
        }
        self.read_region(from, 1);
        if let Some(counters) = self.counters() {
            counters.dram_write_bytes += bytes;
            counters.iaram_reads += all;
        }
        self.push(Task::Store(Store {
            bytes,
            vectors: vectors.into_iter().max().unwrap_or(0),
        }));
    }

    /// Counts writing the present content of a RAM region, in vectors. Returns the bytes that newly exceed it.
    fn write_region(&mut self, id: RegionId) -> u64 {
        let region = self.program.region(id);
        let channels = Span::new(0, self.program.tensor(region.tensor).channels());
        let width = self.machine.pe.activations_per_vector;
        let mut vectors = 0;
        for tile in region.tiles.iter() {
            vectors += self.blocks(region.tensor, tile, channels).vectors(width);
        }
        let replicas = self.replicas(id);
        if let Some(counters) = self.counters() {
            counters.oaram_writes += vectors * replicas;
        }
        self.hold(id)
    }

    /// A RAM region holds the present content of its tiles, as far as it has room. Returns the bytes that newly exceed it.
    fn hold(&mut self, id: RegionId) -> u64 {
        let region = self.program.region(id);
        let channels = Span::new(0, self.program.tensor(region.tensor).channels());
        let mut held = Vec::new();
        for tile in region.tiles.iter() {
            let blocks = self.blocks(region.tensor, tile, channels);
            add_by_pe(&mut held, &blocks.elements_per_pe());
        }
        let excess: Vec<u64> = held
            .iter()
            .map(|&elements| elements.saturating_sub(region.size))
            .collect();
        let place = Place::of(region);
        self.held
            .retain(|&other, _| !Place::of(self.program.region(other)).overlaps(&place));
        let kept = held.iter().map(|&elements| elements.min(region.size));
        self.held.insert(id, kept.collect());
        let before = self.spilled.insert(id, excess.clone()).unwrap_or_default();
        let new: u64 = excess
            .iter()
            .enumerate()
            .map(|(pe, e)| e.saturating_sub(before.get(pe).copied().unwrap_or(0)))
            .sum();
        // Replicas are alike: DRAM keeps one copy, which all PE groups read together.
        element_bytes(self.machine, new)
    }

    /// Counts reading what of a region had spilled, `times` times; the bytes of one time.
    pub(super) fn read_region(&mut self, id: RegionId, times: u64) -> u64 {
        let spilled: u64 = self
            .spilled
            .get(&id)
            .map_or(0, |excess| excess.iter().sum());
        let bytes = element_bytes(self.machine, spilled);
        if let Some(counters) = self.counters() {
            counters.dram_spill_bytes += bytes * times;
        }
        bytes
    }

    /// Counts the writing of a layer's complete result, and what of it goes to DRAM.
    pub(super) fn write_result(&mut self, to: RegionId, layer: &Layer) {
        let region = self.program.region(to);
        let bytes = if region.memory == Memory::Dram {
            let format = self.machine.activation_format();
            let view = layer.destination.channels;
            let bytes = region
                .tiles
                .iter()
                .map(|tile| self.blocks(region.tensor, tile, view).bytes(format))
                .sum();
            if let Some(counters) = self.counters() {
                counters.dram_write_bytes += bytes;
            }
            bytes
        } else {
            let spilled = self.write_region(to);
            if let Some(counters) = self.counters() {
                counters.dram_spill_bytes += spilled;
            }
            spilled
        };
        if let Some(current) = &mut self.current {
            current.result_bytes += bytes;
        }
    }

    /// Counts reading the operand of a pass; the bytes from DRAM. One value per image and channel is read once for the pass
    /// and reaches all PEs.
    pub(super) fn read_operand(&mut self, id: RegionId, layer: &Layer, pass: Pass) -> u64 {
        let region = self.program.region(id);
        let data = self.program.tensor(region.tensor);
        let Some(operand) = layer.ppu.operand else {
            return 0;
        };
        let (plane, inner) = (data.plane(), layer.inner_rect(pass.output));
        let share = match operand.shape {
            OperandShape::Same => inner.positions() as f64 / plane.positions().max(1) as f64,
            OperandShape::PerChannel => f64::from(inner.n.len()) / f64::from(plane.n.len().max(1)),
        };
        let channels = operand.view.channels;
        let format = self.machine.activation_format();
        let width = self.machine.pe.activations_per_vector;
        let blocks: Vec<Arc<ActivationBlocks>> = region
            .tiles
            .iter()
            .map(|tile| self.blocks(region.tensor, tile, channels))
            .collect();
        let of_pass = |all: u64| (all as f64 * share).ceil() as u64;
        let vectors = of_pass(blocks.iter().map(|b| b.vectors(width)).sum());
        let bytes = of_pass(blocks.iter().map(|b| b.bytes(format)).sum());
        let in_dram = region.memory == Memory::Dram;
        if let Some(counters) = self.counters() {
            if in_dram {
                counters.dram_read_bytes += bytes;
            } else {
                counters.iaram_reads += vectors;
            }
        }
        if in_dram { bytes } else { 0 }
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

/// Bytes of elements, data and index.
fn element_bytes(machine: &Machine, elements: u64) -> u64 {
    (elements * u64::from(machine.pe.operand_bits + machine.encoding.index_bits)).div_ceil(8)
}
