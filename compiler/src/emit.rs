//! Emission: a mapped network as a program.
//!
//! Packs weights and requantisation into sections, one for all layers with the same, gives every tensor its regions, and writes for each layer
//!
//! ```text
//! cfg   lda (per tile, when the source lives in DRAM)   ldw mac drn (per pass)   sta (when the host needs the result)
//! ```

mod weights;

use crate::map::residency::{Slot, Staging};
use crate::map::weights::taps_of_residues;
use crate::map::{Mapped, descriptor};
use crate::quantise::nonzeros::NonzeroWeights;
use crate::quantise::{IntFunction, IntLayer, Operation, Quantised};
use rayon::prelude::*;
use scnn_host::RuntimeName;
use scnn_isa::ids::{LayerId, RegionId, SectionId, SegmentId, TensorId, ValueId};
use scnn_isa::instruction::Instruction;
use scnn_isa::layer::{ArrayStage, Function, Layer, WeightOrder};
use scnn_isa::layout::{Grid, Layout};
use scnn_isa::machine::Machine;
use scnn_isa::plane::Span;
use scnn_isa::program::{
    HostSegment, Memory, Program, Provenance, Region, Runtime, Section, SectionKind, SourceRange,
    Tensor, Value,
};
use scnn_isa::progress::Progress;
use scnn_isa::section::{encode_requantise, encode_slopes, encode_tables};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weights::PackedWeights;

/// Tensor, place and tiles of a region.
type RegionKey = (TensorId, Slot, Span);

/// Emits the program of a mapped network.
pub fn emit(
    network: &Quantised,
    mapped: &Mapped,
    machine: &Machine,
    provenance: Provenance,
    progress: &dyn Progress,
) -> Program {
    let mut emitter = Emitter::new(network, mapped, machine, provenance);
    emitter.host_values();
    for (index, operation) in network.operations.iter().enumerate() {
        let begin = emitter.program.code.len() as u32;
        let nodes = match operation {
            Operation::Layer(layer) => {
                emitter.layer(index, layer);
                &layer.onnx_nodes
            }
            Operation::Host(host) => {
                let segment = SegmentId(emitter.program.segments.len() as u32);
                emitter.program.segments.push(HostSegment {
                    name: host.name.clone(),
                    model: prost::Message::encode_to_vec(&host.model),
                    inputs: host.inputs.iter().map(|&v| ValueId(v as u32)).collect(),
                    outputs: host.outputs.iter().map(|&v| ValueId(v as u32)).collect(),
                    runtime: match host.runtime {
                        RuntimeName::Tract => Runtime::Tract,
                        RuntimeName::OnnxRuntime => Runtime::OnnxRuntime,
                    },
                });
                emitter.push(Instruction::Hst { segment });
                &host.onnx_nodes
            }
        };
        let instructions = Span::new(begin, emitter.program.code.len() as u32);
        // The copy of an input to where the machine can read it comes from no node.
        if !nodes.is_empty() {
            emitter.program.source_map.push(SourceRange {
                instructions,
                nodes: nodes.clone(),
            });
        }
    }
    emitter.push(Instruction::End {});
    emitter.encode_weights(progress);
    emitter.program
}

struct Emitter<'a> {
    network: &'a Quantised,
    mapped: &'a Mapped,
    program: Program,
    /// Weight sections by the weights and how their layers store them; their bytes come last.
    weights: Vec<(StoredAs, SectionId)>,
    /// Other sections by what they hold.
    sections: BTreeMap<(SectionKind, Vec<u8>), SectionId>,
    /// The next free byte of DRAM.
    dram: u64,
    /// Regions by what they hold and where: places of two layers may begin at one address and differ in size.
    regions: BTreeMap<RegionKey, RegionId>,
    /// The operation after which a tensor is complete.
    last_write: BTreeMap<TensorId, usize>,
    /// The accumulator half of the next round.
    half: u8,
}

impl<'a> Emitter<'a> {
    fn new(
        network: &'a Quantised,
        mapped: &'a Mapped,
        machine: &Machine,
        provenance: Provenance,
    ) -> Self {
        let tensors = network
            .tensors
            .iter()
            .zip(&mapped.layouts)
            .map(|(tensor, layout)| Tensor {
                name: tensor.name.clone(),
                shape: tensor.shape,
                range: tensor.range,
                scale: tensor.scale,
                channel_shifts: tensor.channel_shifts.clone(),
                layout: layout.clone(),
            })
            .collect();
        let last_write = network
            .operations
            .iter()
            .enumerate()
            .filter_map(|(index, operation)| match operation {
                Operation::Layer(layer) => Some((layer.destination.tensor, index)),
                Operation::Host(_) => None,
            })
            .collect();
        let program = Program {
            machine: machine.clone(),
            provenance,
            tensors,
            regions: Vec::new(),
            layers: Vec::new(),
            sections: Vec::new(),
            values: Vec::new(),
            segments: Vec::new(),
            inputs: network.inputs.iter().map(|&v| ValueId(v as u32)).collect(),
            outputs: network.outputs.iter().map(|&v| ValueId(v as u32)).collect(),
            code: Vec::new(),
            source_map: Vec::new(),
        };
        Self {
            network,
            mapped,
            program,
            weights: Vec::new(),
            sections: BTreeMap::new(),
            dram: 0,
            regions: BTreeMap::new(),
            last_write,
            half: 0,
        }
    }

    fn push(&mut self, instruction: Instruction) {
        self.program.code.push(instruction);
    }

    fn host_values(&mut self) {
        for value in &self.network.values {
            let region = value.tensor.map(|tensor| self.dram_region(tensor));
            self.program.values.push(Value {
                name: value.name.clone(),
                dtype: value.dtype,
                declared: value.declared,
                shape: value.dims.clone(),
                region,
                placement: value.placement.clone(),
            });
        }
    }

    fn layer(&mut self, index: usize, layer: &IntLayer) {
        let mapping = self.mapped.layers[index]
            .as_ref()
            .expect("every layer is mapped");
        let id = LayerId(self.program.layers.len() as u32);
        let described = self.describe(index, layer, descriptor(layer, mapping));
        self.push(Instruction::Cfg { layer: id });
        let to = self.home(layer.destination.tensor);
        let operand = layer.operand.map(|operand| self.home(operand.view.tensor));
        if let Some(Staging::Once(slot)) = self.mapped.residency.stages[index] {
            let to = self.ram_region(layer.source.tensor, slot, Span::new(0, 1));
            let from = self.dram_region(layer.source.tensor);
            self.push(Instruction::Lda { from, to });
        }
        for (number, pass) in mapping.passes.iter().enumerate() {
            let tile = Span::new(pass.source_tile, pass.source_tile + 1);
            let pass = number as u32;
            let from = self.source(index, layer.source.tensor, tile, pass);
            match &described.array {
                None => self.push(Instruction::Ppu {
                    pass,
                    from,
                    to,
                    operand,
                }),
                Some(array) => {
                    let rounds = Span::new(0, array.rounds());
                    let channels = Span::new(0, layer.source.channels.len());
                    let half = self.half;
                    self.push(Instruction::Ldw { rounds });
                    self.push(Instruction::Mac {
                        pass,
                        rounds,
                        channels,
                        from,
                        half,
                    });
                    self.push(Instruction::Drn {
                        pass,
                        rounds,
                        to,
                        operand,
                        half,
                    });
                    self.half = ((u32::from(half) + rounds.len()) % 2) as u8;
                }
            }
        }
        self.program.layers.push(described);
        self.store(index, layer.destination.tensor);
    }

    /// The region that a pass reads, loaded first if need be.
    fn source(&mut self, operation: usize, tensor: TensorId, tile: Span, pass: u32) -> RegionId {
        match self.mapped.residency.stages[operation] {
            None => self.home(tensor),
            Some(Staging::PerTile(slot)) => self.staged(tensor, slot, tile),
            Some(Staging::Alternate(slots)) => {
                self.staged(tensor, slots[pass as usize % slots.len()], tile)
            }
            Some(Staging::Once(slot)) => self.ram_region(tensor, slot, Span::new(0, 1)),
            Some(Staging::Kept(at)) => self.source_kept(at, tensor),
        }
    }

    /// Loads a tile from DRAM.
    fn staged(&mut self, tensor: TensorId, slot: Slot, tile: Span) -> RegionId {
        let to = self.ram_region(tensor, slot, tile);
        let from = self.dram_region(tensor);
        self.push(Instruction::Lda { from, to });
        to
    }

    fn source_kept(&mut self, operation: usize, tensor: TensorId) -> RegionId {
        match self.mapped.residency.stages[operation] {
            Some(Staging::Once(slot)) => self.ram_region(tensor, slot, Span::new(0, 1)),
            Some(Staging::PerTile(_) | Staging::Alternate(_) | Staging::Kept(_)) | None => {
                unreachable!("only whole tensors are kept")
            }
        }
    }

    /// Stores a complete tensor that lives in a RAM and that the host needs.
    fn store(&mut self, operation: usize, tensor: TensorId) {
        let wanted = self
            .network
            .values
            .iter()
            .any(|value| value.tensor == Some(tensor));
        let resident = self.mapped.residency.homes[tensor.index()].is_some();
        if wanted && resident && self.last_write.get(&tensor) == Some(&operation) {
            let (from, to) = (self.home(tensor), self.dram_region(tensor));
            self.push(Instruction::Sta { from, to });
        }
    }

    /// Where the whole tensor lives.
    fn home(&mut self, tensor: TensorId) -> RegionId {
        let tiles = Span::new(0, self.mapped.layouts[tensor.index()].tiles.len() as u32);
        match self.mapped.residency.homes[tensor.index()] {
            Some(slot) => self.ram_region(tensor, slot, tiles),
            None => self.dram_region(tensor),
        }
    }

    fn ram_region(&mut self, tensor: TensorId, slot: Slot, tiles: Span) -> RegionId {
        let key = (tensor, slot, tiles);
        if let Some(&id) = self.regions.get(&key) {
            return id;
        }
        let suffix = if slot.memory == Memory::A { "a" } else { "b" };
        let data = &self.program.tensors[tensor.index()];
        let name = if tiles.len() as usize == data.layout.tiles.len() {
            format!("{}.{suffix}", data.name)
        } else {
            format!("{}.{suffix}{}", data.name, tiles.begin)
        };
        let region = Region {
            name,
            tensor,
            tiles,
            memory: slot.memory,
            base: slot.base,
            size: slot.size,
        };
        self.add_region(key, region)
    }

    fn dram_region(&mut self, tensor: TensorId) -> RegionId {
        let data = &self.program.tensors[tensor.index()];
        let tiles = Span::new(0, data.layout.tiles.len() as u32);
        let slot = Slot {
            memory: Memory::Dram,
            base: 0,
            size: 0,
        };
        let key = (tensor, slot, tiles);
        if let Some(&id) = self.regions.get(&key) {
            return id;
        }
        let size = worst_case_bytes(&self.program.machine, &data.layout, data.channels());
        let region = Region {
            name: format!("{}.dram", data.name),
            tensor,
            tiles,
            memory: Memory::Dram,
            base: self.dram,
            size,
        };
        self.dram += size;
        self.add_region(key, region)
    }

    fn add_region(&mut self, key: RegionKey, mut region: Region) -> RegionId {
        let id = RegionId(self.program.regions.len() as u32);
        let taken = |name: &str| {
            self.program
                .regions
                .iter()
                .any(|region| region.name == name)
        };
        while taken(&region.name) {
            region.name = format!("{}@{}", region.name, region.base);
        }
        self.program.regions.push(region);
        self.regions.insert(key, id);
        id
    }

    /// Fills in the sections of a descriptor; the weights' bytes come later, all layers in parallel.
    fn describe(&mut self, operation: usize, layer: &IntLayer, mut described: Layer) -> Layer {
        if let (Some(array), Some(nonzeros)) =
            (&mut described.array, &self.network.nonzeros[operation])
        {
            array.weights = self.weight_section(layer, array, nonzeros);
        }
        let requantise = encode_requantise(&layer.requantise, layer.rounding);
        described.ppu.requantise = self.section(
            &layer.name,
            "requantise",
            SectionKind::Requantise,
            requantise,
        );
        described.ppu.function = layer.function.as_ref().map(|function| match function {
            IntFunction::Leaky { slopes, .. } => Function::Leaky(self.section(
                &layer.name,
                "slopes",
                SectionKind::Slopes,
                encode_slopes(slopes),
            )),
            IntFunction::Table { tables, .. } => Function::Table(self.section(
                &layer.name,
                "table",
                SectionKind::Table,
                encode_tables(tables),
            )),
        });
        described
    }

    /// The section of a layer's weights: that of another layer, if it stores the same weights alike.
    fn weight_section(
        &mut self,
        layer: &IntLayer,
        array: &ArrayStage,
        nonzeros: &Arc<NonzeroWeights>,
    ) -> SectionId {
        let stored = StoredAs {
            weights: Arc::as_ptr(nonzeros),
            channel_groups: array.channel_groups.clone(),
            order: array.order,
            taps: layer.conv.as_ref().map_or_else(Vec::new, |conv| {
                let source = &self.mapped.layouts[layer.source.tensor.index()];
                taps_of_residues(conv, source.residues)
            }),
        };
        let known = self.weights.iter().find(|(other, _)| *other == stored);
        if let Some(&(_, section)) = known {
            return section;
        }
        let id = self.new_section(&layer.name, "weights", SectionKind::Weights, Vec::new());
        self.weights.push((stored, id));
        id
    }

    /// A section of constants: one for all layers with the same.
    fn section(
        &mut self,
        layer: &str,
        suffix: &str,
        kind: SectionKind,
        bytes: Vec<u8>,
    ) -> SectionId {
        let key = (kind, bytes);
        if let Some(&id) = self.sections.get(&key) {
            return id;
        }
        let id = self.new_section(layer, suffix, kind, key.1.clone());
        self.sections.insert(key, id);
        id
    }

    fn new_section(
        &mut self,
        layer: &str,
        suffix: &str,
        kind: SectionKind,
        bytes: Vec<u8>,
    ) -> SectionId {
        let id = SectionId(self.program.sections.len() as u32);
        self.program.sections.push(Section {
            name: format!("{layer}.{suffix}"),
            kind,
            bytes,
        });
        id
    }

    fn encode_weights(&mut self, progress: &dyn Progress) {
        let operations = self.network.operations.iter().zip(&self.network.nonzeros);
        let layers: Vec<(&IntLayer, &Option<Arc<NonzeroWeights>>)> = operations
            .filter_map(|(operation, nonzeros)| Some((operation.layer()?, nonzeros)))
            .collect();
        let program = &self.program;
        let mut seen = BTreeSet::new();
        let first = program.layers.iter().map(|described| {
            let array = described.array.as_ref();
            array.is_some_and(|array| seen.insert(array.weights))
        });
        let first: Vec<bool> = first.collect();
        let encoded: Vec<(SectionId, Vec<u8>)> = program
            .layers
            .par_iter()
            .zip(layers)
            .zip(first)
            .enumerate()
            .filter_map(|(position, ((described, (layer, nonzeros)), first))| {
                progress.layer(position + 1, program.layers.len(), &layer.name);
                let array = described.array.as_ref().filter(|_| first)?;
                let weights = PackedWeights {
                    conv: layer.conv.as_ref()?,
                    nonzeros: nonzeros.as_ref()?,
                    array,
                    inputs: layer.source.channels.len(),
                    outputs: layer.destination.channels.len(),
                    residues: program.tensor(described.source.tensor).layout.residues,
                    format: program.machine.weight_format(),
                };
                Some((array.weights, weights.encode()))
            })
            .collect();
        for (section, bytes) in encoded {
            self.program.sections[section.index()].bytes = bytes;
        }
    }
}

/// Weights, and what decides how a layer stores them.
#[derive(PartialEq, Eq)]
struct StoredAs {
    /// Layers with the same weights refer to the same.
    weights: *const NonzeroWeights,
    channel_groups: Vec<Span>,
    order: WeightOrder,
    /// Taps of every residue.
    taps: Vec<Vec<u32>>,
}

/// Bytes that a tensor takes in DRAM if no value is zero.
fn worst_case_bytes(machine: &Machine, layout: &Layout, channels: u32) -> u64 {
    let format = machine.activation_format();
    layout
        .tiles
        .iter()
        .map(|tile| {
            let pes = tile.pes();
            let cells = |grid: Grid| (0..grid.count()).map(move |i| (i / grid.cols, i % grid.cols));
            let block = |rect, (ry, rx)| format.block_bytes(layout.block_positions(rect, ry, rx));
            let per_channel: u64 = cells(pes)
                .map(|(row, col)| tile.pe_rect(row, col))
                .map(|rect| {
                    cells(layout.residues)
                        .filter(|&(ry, rx)| layout.has_block(rect, ry, rx))
                        .map(|residue| block(rect, residue))
                        .sum::<u64>()
                })
                .sum();
            per_channel * u64::from(channels)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Options, compile};
    use std::path::Path;

    #[test]
    fn places_at_one_address_have_a_region_for_each_size() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny.onnx");
        let machine = Machine::preset("scnn").unwrap();
        let compiled = compile(&model, &Options::new(machine.clone()), &mut |_, _| {}).unwrap();
        let (network, mapped) = (&compiled.network, &compiled.mapped);
        let mut emitter = Emitter::new(network, mapped, &machine, Provenance::default());
        let mut region = |size| {
            let slot = Slot {
                memory: Memory::A,
                base: 0,
                size,
            };
            emitter.ram_region(TensorId(0), slot, Span::new(0, 1))
        };
        let [small, large, again] = [8, 16, 8].map(&mut region);
        assert_eq!(small, again);
        assert_ne!(small, large);
        let regions = &emitter.program.regions;
        assert_eq!(regions[large.index()].size, 16);
        assert_ne!(regions[small.index()].name, regions[large.index()].name);
    }
}
