//! Limits on the memory and work of verifying or executing a program, decided before anything is allocated.
//!
//! A few bytes can describe an enormous plane or a kernel of a billion taps. Every product of extents that the
//! verifier or the simulator will later allocate or walk is bounded here first, in saturating arithmetic, from the
//! descriptors alone. The bounds are estimates from above: a program inside its limits takes no more than a small
//! multiple of them, and a real network takes a small part of the defaults.

use super::Problems;
use crate::diagnostic::Code;
use crate::ids::RegionId;
use crate::instruction::Instruction;
use crate::layer::Layer;
use crate::layout::Grid;
use crate::plane::Rect;
use crate::program::{Program, Tensor};
use std::collections::BTreeSet;

/// The most memory and work that a program may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory while it executes.
    pub memory_bytes: u64,
    /// Work, in units of one product, one position written or one entry compared.
    pub work: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 30,
            work: 1 << 48,
        }
    }
}

/// Bytes that execution keeps for each value of a tensor: the value, a copy while it changes, and its float form.
const BYTES_PER_VALUE: u64 = 8;

/// Bytes that execution keeps for each block of a tensor.
const BYTES_PER_BLOCK: u64 = 32;

/// Bytes that decoded weights take for each byte of their section: an element is at least 2 bytes, and becomes 4, and
/// 6 sorted by output channel, and 4 in streaming order.
const BYTES_PER_WEIGHT_BYTE: u64 = 7;

/// Bytes for each tap of a kernel, residue by residue.
const BYTES_PER_TAP: u64 = 32;

/// Bytes for each column that a load brings: its sizes, and its cycle of arrival.
const BYTES_PER_LOADED_COLUMN: u64 = 32;

pub(super) fn check(program: &Program, limits: &Limits, problems: &mut Problems) {
    let mut used = Used {
        limits,
        demand: Demand::default(),
        problems,
    };
    for tensor in &program.tensors {
        let place = || format!("tensor {}", tensor.name);
        if !used.add(of_tensor(program, tensor), place) {
            return;
        }
    }
    for layer in &program.layers {
        if !used.add(of_layer(program, layer), || format!("layer {}", layer.name)) {
            return;
        }
    }
    let tiles: u64 = program
        .regions
        .iter()
        .map(|region| u64::from(region.tiles.len()))
        .fold(0, u64::saturating_add);
    let regions = Demand {
        bytes: tiles.saturating_mul(64),
        work: tiles,
    };
    if !used.add(regions, || "the table of regions".to_owned()) {
        return;
    }
    code(program, &mut used);
}

/// Memory and work that a part of a program needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Demand {
    bytes: u64,
    work: u64,
}

struct Used<'a> {
    limits: &'a Limits,
    demand: Demand,
    problems: &'a mut Problems,
}

impl Used<'_> {
    /// Adds the demand of the part at `place`; returns whether the limits hold.
    fn add(&mut self, more: Demand, place: impl FnOnce() -> String) -> bool {
        self.demand.bytes = self.demand.bytes.saturating_add(more.bytes);
        self.demand.work = self.demand.work.saturating_add(more.work);
        let (asked, limit, of) = if self.demand.bytes > self.limits.memory_bytes {
            (
                self.demand.bytes,
                self.limits.memory_bytes,
                "bytes of memory",
            )
        } else if self.demand.work > self.limits.work {
            (self.demand.work, self.limits.work, "units of work")
        } else {
            return true;
        };
        let message = format!("up to here the program asks for {asked} {of}; the limit is {limit}");
        self.problems.add(Code::ProgramTooLarge, place(), message);
        false
    }
}

/// The product of some counts, saturated.
fn product(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(1, u64::saturating_mul)
}

fn cells(grid: Grid) -> u64 {
    u64::from(grid.rows) * u64::from(grid.cols)
}

fn of_tensor(program: &Program, tensor: &Tensor) -> Demand {
    let layout = &tensor.layout;
    let elements = product(tensor.shape.iter().map(|&extent| u64::from(extent)));
    let per_channel = product([
        layout.tiles.len() as u64,
        cells(program.machine.pes()),
        cells(layout.residues),
    ]);
    // For one range of channels at a time, and only for blocks that are not empty: at most one for each value.
    let blocks = product([per_channel, u64::from(tensor.shape[1])]).min(elements);
    let rects: Vec<Rect> = layout.tiles.iter().filter_map(rect).collect();
    // Every region, value and instruction that names the tensor may walk its tiles.
    let readers = program.regions.len() as u64 + program.values.len() as u64;
    Demand {
        bytes: elements
            .saturating_mul(BYTES_PER_VALUE)
            .saturating_add(blocks.saturating_mul(BYTES_PER_BLOCK)),
        work: per_channel
            .saturating_mul(readers.max(1))
            .saturating_add(blocks)
            .saturating_add(covering(&rects)),
    }
}

/// The box of a tile, if its cuts are long enough to have one.
fn rect(tile: &crate::layout::Tile) -> Option<Rect> {
    let whole = |cuts: &[u32]| Some(crate::plane::Span::new(*cuts.first()?, *cuts.last()?));
    Some(Rect {
        n: whole(&tile.n)?,
        y: whole(&tile.y)?,
        x: whole(&tile.x)?,
    })
}

/// Comparisons that deciding whether boxes cover a plane takes.
fn covering(rects: &[Rect]) -> u64 {
    let edges = |pick: fn(&Rect) -> [u32; 2]| {
        let all: BTreeSet<u32> = rects.iter().flat_map(pick).collect();
        all.len() as u64 + 1
    };
    let (images, rows) = (
        edges(|rect| [rect.n.begin, rect.n.end]),
        edges(|rect| [rect.y.begin, rect.y.end]),
    );
    product([images, rows, rects.len() as u64])
}

fn of_layer(program: &Program, layer: &Layer) -> Demand {
    let source = program.tensors.get(layer.source.tensor.index());
    let residues = source.map_or(Grid::ONE, |tensor| tensor.layout.residues);
    let passes = layer.passes.len() as u64;
    let rects: Vec<Rect> = layer.passes.iter().map(|pass| pass.output).collect();
    let mut demand = Demand {
        bytes: 0,
        work: covering(&rects),
    };
    if let Some(array) = &layer.array {
        let taps = product([
            u64::from(array.y.kernel),
            u64::from(array.x.kernel),
            cells(residues),
        ]);
        let weights = program
            .sections
            .get(array.weights.index())
            .map_or(0, |section| section.bytes.len() as u64);
        demand.bytes = taps
            .saturating_mul(BYTES_PER_TAP)
            .saturating_add(weights.saturating_mul(BYTES_PER_WEIGHT_BYTE));
        demand.work = demand
            .work
            .saturating_add(taps)
            .saturating_add(taps.saturating_mul(u64::from(array.y.kernel)))
            .saturating_add(product([passes, array.channel_groups.len() as u64]))
            .saturating_add(product([weights, cells(residues)]));
    }
    demand
}

/// Adds the demand of the instructions, one after the other.
fn code(program: &Program, used: &mut Used<'_>) {
    let most_tiles = program
        .tensors
        .iter()
        .map(|tensor| tensor.layout.tiles.len() as u64)
        .max()
        .unwrap_or(0);
    let every = program.regions.len() as u64 + most_tiles;
    let mut layer = None;
    for (index, instruction) in program.code.iter().enumerate() {
        let work = match *instruction {
            Instruction::Cfg { layer: id } => {
                layer = program.layers.get(id.index());
                0
            }
            Instruction::Mac { pass, .. }
            | Instruction::Drn { pass, .. }
            | Instruction::Ppu { pass, .. } => {
                layer.map_or(0, |layer| of_pass(program, layer, pass))
            }
            Instruction::Lda { .. }
            | Instruction::Sta { .. }
            | Instruction::Ldw { .. }
            | Instruction::Hst { .. }
            | Instruction::Bar {}
            | Instruction::End {} => 0,
        };
        let loaded = match *instruction {
            Instruction::Lda { to, .. } => of_load(program, to),
            Instruction::Cfg { .. }
            | Instruction::Sta { .. }
            | Instruction::Ldw { .. }
            | Instruction::Mac { .. }
            | Instruction::Drn { .. }
            | Instruction::Ppu { .. }
            | Instruction::Hst { .. }
            | Instruction::Bar {}
            | Instruction::End {} => Demand::default(),
        };
        let demand = Demand {
            bytes: loaded.bytes,
            work: work.saturating_add(loaded.work).saturating_add(every),
        };
        let place = || format!("instruction {index} ({})", instruction.mnemonic());
        if !used.add(demand, place) {
            return;
        }
    }
}

/// The columns of a load, each of which all PEs hold of all tiles.
fn of_load(program: &Program, to: RegionId) -> Demand {
    let region = program.regions.get(to.index());
    let tensor = region.and_then(|region| program.tensors.get(region.tensor.index()));
    let (Some(region), Some(tensor)) = (region, tensor) else {
        return Demand::default();
    };
    let columns = product([u64::from(tensor.shape[1]), cells(tensor.layout.residues)]);
    Demand {
        bytes: columns.saturating_mul(BYTES_PER_LOADED_COLUMN),
        work: product([
            columns,
            cells(program.machine.pes()),
            u64::from(region.tiles.len()),
        ]),
    }
}

/// Products and positions of one pass, were no weight zero that takes a byte.
fn of_pass(program: &Program, layer: &Layer, pass: u32) -> u64 {
    let Some(pass) = layer.passes.get(pass as usize) else {
        return 0;
    };
    let outputs = u64::from(layer.destination.channels.len());
    let window = layer.ppu.pool.as_ref().map_or(1, |pool| {
        product([u64::from(pool.y.kernel), u64::from(pool.x.kernel)])
    });
    // Between array and pooling there are at most the positions under every window.
    let pooled = product([pass.output.positions(), window]);
    let mut work = product([pooled, outputs.max(1)]);
    if let Some(array) = &layer.array {
        let inner = product([
            u64::from(array.y.output),
            u64::from(array.x.output),
            u64::from(pass.output.n.len()),
        ])
        .min(pooled);
        let weights = program
            .sections
            .get(array.weights.index())
            .map_or(0, |section| section.bytes.len() as u64);
        work = work.saturating_add(product([inner, weights]));
    }
    work
}
