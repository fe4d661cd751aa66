//! The entries of a report: each operation of an execution beside what the program says of it.

use super::{
    Costs, CycleCounts, Density, DramBytes, EnergyByMachine, Layer, Mapping, Multiplies, Shape,
    TileCuts, lost_to, utilisation,
};
use crate::energy::Energy;
use crate::execute::Execution;
use crate::operations::OperationCounts;
use crate::timing::Cause;
use crate::trust::Trust;
use scnn_isa::asm;
use scnn_isa::ids::LayerId;
use scnn_isa::instruction::Instruction;
use scnn_isa::layer::Layer as Descriptor;
use scnn_isa::layout::Tile;
use scnn_isa::operation::OperationId;
use scnn_isa::plane::{Axis, Span};
use scnn_isa::program::{Memory, Program};

/// The layers of a report. Operations are executed in the order of their instructions, each once.
pub fn layers(program: &Program, execution: &Execution) -> Vec<Layer> {
    (0..)
        .zip(&execution.operations)
        .zip(program.operations())
        .map(|((index, operation), (_, range))| layer(program, index, operation, range))
        .collect()
}

fn layer(program: &Program, index: u32, operation: &OperationCounts, range: Span) -> Layer {
    let (name, kind, engine, described) = match operation.id {
        OperationId::Layer(id) => {
            let layer = program.layer(id);
            (layer.name.clone(), kind(layer), "scnn", Some(id))
        }
        OperationId::Segment(id) => (program.segment(id).name.clone(), "host", "host", None),
    };
    let code = program.instructions(range);
    Layer {
        index,
        name,
        onnx_nodes: program.nodes_of(range.begin).to_vec(),
        engine: engine.to_owned(),
        runtime: operation.runtime.clone(),
        kind: kind.to_owned(),
        shape: described.map(|id| shape(program, program.layer(id))),
        mapping: described.map(|id| mapping(program, id, code)),
        density: Density {
            weights: operation.weight_density,
            input: operation.input_density,
            output: operation.output_density,
        },
        density_model: operation.density_model,
        accuracy: None,
        bound: Cause::of(&operation.slots),
        lost_to: lost_to(&operation.slots),
        costs: costs(program, operation),
        pe_cycles: operation.pe_cycles.clone(),
        instructions: [range.begin, range.end],
        code: code
            .iter()
            .map(|instruction| asm::instruction(program, instruction))
            .collect(),
        constants_blake3: String::new(),
    }
}

fn costs(program: &Program, operation: &OperationCounts) -> Costs {
    let counters = operation.counters;
    Costs {
        cycles: CycleCounts {
            total: operation.cycles,
            predicted: None,
            slots: operation.slots,
            trust: Trust::of_slots(&operation.slots),
        },
        multiplies: Multiplies {
            useful: operation.slots.useful,
            issued: counters.multiplies,
            dense: operation.baselines.macs,
        },
        utilisation: utilisation(&operation.slots),
        baselines: operation.baselines,
        energy_pj: EnergyByMachine {
            components: operation.energy,
            total: operation.energy.total(),
            band: Energy::band(&counters, &program.machine),
            trust: Trust::of_energy(&counters, &program.machine),
            dcnn: operation.baselines.dcnn_pj.total(),
            dcnn_opt: operation.baselines.dcnn_opt_pj.total(),
        },
        dram_bytes: DramBytes {
            weights: counters.dram_weight_bytes,
            read: counters.dram_read_bytes,
            written: counters.dram_write_bytes,
            spill: counters.dram_spill_bytes,
        },
        counters,
    }
}

fn kind(layer: &Descriptor) -> &'static str {
    match &layer.array {
        None => "ppu",
        Some(array) if array.y.input * array.x.input == 1 => "linear",
        Some(_) => "conv",
    }
}

fn shape(program: &Program, layer: &Descriptor) -> Shape {
    let [n, _, h, w] = program.tensor(layer.source.tensor).shape;
    let pool = layer.ppu.pool.as_ref();
    let identity = (Axis::identity(h), Axis::identity(w));
    let (y, x) = layer
        .array
        .as_ref()
        .map(|a| (a.y, a.x))
        .or(pool.map(|p| (p.y, p.x)))
        .unwrap_or(identity);
    Shape {
        n,
        c: layer.source.channels.len(),
        h,
        w,
        k: layer.destination.channels.len(),
        r: y.kernel,
        s: x.kernel,
        stride: [y.stride, x.stride],
        pad: [y.pad[0], x.pad[0], y.pad[1], x.pad[1]],
        dilation: [y.dilation, x.dilation],
        groups: layer.array.as_ref().map_or(1, |a| a.groups),
        out_h: y.output,
        out_w: x.output,
    }
}

fn mapping(program: &Program, id: LayerId, code: &[Instruction]) -> Mapping {
    let layer = program.layer(id);
    let layout = &program.tensor(layer.source.tensor).layout;
    let longest = |cuts: fn(&Tile) -> &[u32]| {
        layout
            .tiles
            .iter()
            .flat_map(|tile| cuts(tile).windows(2).map(|cut| cut[1] - cut[0]))
            .max()
            .unwrap_or(0)
    };
    let [resident_in, resident_out] = residency(program, code);
    let array = layer.array.as_ref();
    Mapping {
        tile_w: longest(|tile| &tile.x),
        tile_h: longest(|tile| &tile.y),
        kc: array
            .and_then(|a| a.channel_groups.iter().map(|k| k.len()).max())
            .unwrap_or(0),
        pe_groups: array.map_or(1, |a| a.pe_groups.count()),
        temporal_tiles: layer.passes.len() as u32,
        phases: array.map_or(1, |_| layout.residues.count()),
        resident_in,
        resident_out,
        tiling: layout.tiles.iter().map(cuts).collect(),
    }
}

fn cuts(tile: &Tile) -> TileCuts {
    let images = tile.rect().n;
    TileCuts {
        images: [images.begin, images.end],
        y: tile.y.clone(),
        x: tile.x.clone(),
    }
}

/// Where a layer's source lies before it, and its result after it.
fn residency(program: &Program, code: &[Instruction]) -> [Memory; 2] {
    let [mut source, mut result] = [Memory::Dram; 2];
    let mut loaded = false;
    for instruction in code {
        match *instruction {
            Instruction::Lda { .. } => loaded = true,
            Instruction::Mac { from, .. } => {
                if !loaded {
                    source = program.region(from).memory;
                }
            }
            Instruction::Ppu { from, to, .. } => {
                source = if loaded {
                    Memory::Dram
                } else {
                    program.region(from).memory
                };
                result = program.region(to).memory;
            }
            Instruction::Drn { to, .. } => result = program.region(to).memory,
            Instruction::Cfg { .. }
            | Instruction::Sta { .. }
            | Instruction::Ldw { .. }
            | Instruction::Hst { .. }
            | Instruction::Bar {}
            | Instruction::End {} => {}
        }
    }
    [source, result]
}
