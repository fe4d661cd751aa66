//! Traffic between the RAMs and DRAM: loads, stores, spills, results and residual operands, counted from the sizes
//! of the compressed blocks.

use super::regions::{Coming, Content, add_by_pe};
use super::state::State;
use crate::counters::Counters;
use crate::timing::blocks::ActivationBlocks;
use crate::timing::nonzeros::Nonzeros;
use crate::timing::{Load, LoadedColumn, Place, Store, Task};
use scnn_isa::ids::{RegionId, TensorId};
use scnn_isa::layer::{Layer, OperandShape, Pass, completing_passes};
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
        let region = self.program.region(to);
        let all = Span::new(0, self.program.tensor(region.tensor).channels());
        let stages: Vec<Vec<Coming>> = region
            .tiles
            .iter()
            .enumerate()
            .map(|(tile, number)| {
                let blocks = self.blocks(region.tensor, number, all);
                let pes = (0..blocks.pes.count()).collect();
                vec![Coming { tile, blocks, pes }]
            })
            .collect();
        self.write(to, all, &stages);
        let replicas = self.replicas(to);
        let (columns, vectors) = self.loaded_columns(to, &stages);
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

    /// The part of each column that a region takes, tile after tile, until it is full, and the number of vectors in all. The excess
    /// stays in DRAM.
    fn loaded_columns(&self, id: RegionId, tiles: &[Vec<Coming>]) -> (Vec<LoadedColumn>, u64) {
        let region = self.program.region(id);
        let residues = self.program.tensor(region.tensor).layout.residues.count();
        let (width, format) = (
            u64::from(self.machine.pe.activations_per_vector),
            self.machine.activation_format(),
        );
        let mut room = vec![region.size; self.machine.pe_count() as usize];
        let mut vectors = vec![0; room.len()];
        let mut columns = Vec::new();
        for Coming { blocks, pes, .. } in tiles.iter().flatten() {
            let count = blocks.columns_per_pe() as u32;
            columns.extend((0..count).map(|column| {
                let mut bytes = 0;
                for &pe in pes {
                    let (room, vectors) = (&mut room[pe as usize], &mut vectors[pe as usize]);
                    let Some(block) = blocks.of_pe(pe).get(column as usize) else {
                        continue;
                    };
                    let elements = u64::from(block.elements).min(*room);
                    *room -= elements;
                    *vectors += elements.div_ceil(width);
                    if blocks.stores(pe, column % residues) {
                        bytes += format.block_bytes(elements);
                    }
                }
                let vectors = vectors.iter().copied().max().unwrap_or(0);
                LoadedColumn { bytes, vectors }
            }));
        }
        (columns, vectors.iter().sum())
    }

    /// PE groups that hold copies of a region.
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
        let tiles = 0..region.tiles.len() as usize;
        let spilled = tiles.map(|tile| self.excess(from, tile, channels)).sum();
        let spilled = element_bytes(self.machine, spilled);
        if let Some(counters) = self.counters() {
            counters.dram_spill_bytes += spilled;
            counters.dram_write_bytes += bytes;
            counters.iaram_reads += all;
        }
        self.push(Task::Store(Store {
            bytes: bytes + spilled,
            vectors: vectors.into_iter().max().unwrap_or(0),
        }));
    }

    /// Writes channels into a RAM region, in stages; overlapping regions lose their contents. Returns the excess elements by stage and
    /// channel; replicas are alike, so DRAM keeps one copy, which all PE groups read together.
    fn write(&mut self, id: RegionId, channels: Span, stages: &[Vec<Coming>]) -> Vec<Vec<u64>> {
        let region = self.program.region(id);
        let place = Place::of(region);
        self.contents.retain(|&other, _| {
            other == id || !Place::of(self.program.region(other)).overlaps(&place)
        });
        let content = self.contents.entry(id).or_default();
        content.write((region.size, region.tiles.len() as usize), channels, stages)
    }

    /// Elements of some channels of a tile of a region, counted from its first, that exceed it.
    fn excess(&self, id: RegionId, tile: usize, channels: Span) -> u64 {
        let content = self.contents.get(&id);
        content.map_or(0, |content| content.excess(tile, channels))
    }

    /// Bytes of some channels of a source tile that exceed the region it lies in.
    pub(super) fn spilled_bytes(&self, id: RegionId, source_tile: u32, channels: &[Span]) -> u64 {
        let tile = (source_tile - self.program.region(id).tiles.begin) as usize;
        let excess = channels.iter().map(|&some| self.excess(id, tile, some));
        element_bytes(self.machine, excess.sum())
    }

    /// Whether anything exceeds a region.
    pub(super) fn spills(&self, id: RegionId) -> bool {
        self.contents.get(&id).is_some_and(Content::spills)
    }

    /// Writes a layer's complete result, and records the part that goes to DRAM with every pass and channel.
    pub(super) fn write_result(&mut self, to: RegionId, layer: &Layer) {
        let region = self.program.region(to);
        let view = layer.destination.channels;
        let tiles: Vec<Arc<ActivationBlocks>> = region
            .tiles
            .iter()
            .map(|tile| self.blocks(region.tensor, tile, view))
            .collect();
        let layout = &self.program.tensor(region.tensor).layout;
        let completing = completing_passes(layout, &layer.passes);
        let coming = |pass: usize| {
            let of_tile = |(tile, blocks): (usize, &Arc<ActivationBlocks>)| {
                let completing = &completing[region.tiles.begin as usize + tile];
                let pes = (0..blocks.pes.count())
                    .filter(|&pe| completing[pe as usize] == Some(pass))
                    .collect();
                let blocks = Arc::clone(blocks);
                Coming { tile, blocks, pes }
            };
            tiles.iter().enumerate().map(of_tile).collect()
        };
        let stages: Vec<Vec<Coming>> = (0..layer.passes.len()).map(coming).collect();
        let results = if region.memory == Memory::Dram {
            let format = self.machine.activation_format();
            let bytes = |stage: &Vec<Coming>, channel| {
                let of_tile = |coming: &Coming| {
                    let pes = coming.pes.iter();
                    pes.map(|&pe| coming.blocks.bytes_of_channel(pe, channel, format))
                        .sum::<u64>()
                };
                stage.iter().map(of_tile).sum()
            };
            let of_stage = |stage| {
                (0..view.len())
                    .map(|channel| bytes(stage, channel))
                    .collect()
            };
            Results::Bytes(stages.iter().map(of_stage).collect())
        } else {
            let width = self.machine.pe.activations_per_vector;
            let vectors: u64 = tiles.iter().map(|blocks| blocks.vectors(width)).sum();
            let replicas = self.replicas(to);
            if let Some(counters) = self.counters() {
                counters.oaram_writes += vectors * replicas;
            }
            Results::Excess(self.write(to, view, &stages))
        };
        if let Some(current) = &mut self.current {
            current.results = Some(results);
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
        if region.memory == Memory::Dram {
            if let Some(counters) = self.counters() {
                counters.dram_read_bytes += bytes;
            }
            return bytes;
        }
        let tiles = 0..region.tiles.len() as usize;
        let excess = tiles.map(|tile| self.excess(id, tile, channels)).sum();
        let spilled = of_pass(element_bytes(self.machine, excess));
        if let Some(counters) = self.counters() {
            counters.iaram_reads += vectors;
            counters.dram_spill_bytes += spilled;
        }
        spilled
    }
}

/// The part of a layer's results that goes to DRAM, by pass and channel of its destination.
pub(super) enum Results {
    /// Encoded bytes.
    Bytes(Vec<Vec<u64>>),
    /// Elements that exceed a region.
    Excess(Vec<Vec<u64>>),
}

impl Results {
    /// Bytes of some channels in a pass.
    pub(super) fn bytes(&self, machine: &Machine, pass: u32, channels: Span) -> u64 {
        let some = channels.begin as usize..channels.end as usize;
        match self {
            Self::Bytes(bytes) => bytes[pass as usize][some].iter().sum(),
            Self::Excess(elements) => {
                element_bytes(machine, elements[pass as usize][some].iter().sum())
            }
        }
    }

    /// Adds `bytes` of it to the counter of its kind.
    pub(super) fn count(&self, counters: &mut Counters, bytes: u64) {
        match self {
            Self::Bytes(_) => counters.dram_write_bytes += bytes,
            Self::Excess(_) => counters.dram_spill_bytes += bytes,
        }
    }
}

/// Bytes of elements, data and index.
fn element_bytes(machine: &Machine, elements: u64) -> u64 {
    (elements * u64::from(machine.pe.operand_bits + machine.encoding.index_bits)).div_ceil(8)
}
