//! Where every tensor lives: in an activation RAM from its first write to its last read, or in DRAM.
//!
//! One pass over the operations in order, first fit, with what the fullest PE holds on the calibration sample. A layer's
//! result goes to the RAM that its source is not in, as IARAM and OARAM swap in the paper; else to the other; else to
//! DRAM. Whatever reads a tensor in DRAM stages it in a RAM: once for all its readers when it has one tile and there is
//! room, else tile by tile, in two slots in turn where there is room for two, so that a tile is loaded while the one
//! before it is read. Tiles that exceed a RAM get the second slot only beside the result of the operation.
//!
//! A tensor that does not fit may also live in a RAM for the most part: what exceeds its slot spills to DRAM, and is read
//! again in every round of its readers. Where there are few rounds, that moves less than the whole there and back.
//!
//! In the end every place grows into what is free beside it (`growth`), as other inputs are fuller.

mod growth;
mod reason;

pub use reason::InDram;

use super::tiling::Tiling;
use crate::quantise::{Operation, Quantised};
use scnn_isa::ids::TensorId;
use scnn_isa::machine::Machine;
use scnn_isa::plane::Span;
use scnn_isa::program::Memory;

/// Elements of each RAM that residents leave free, so that staging always has a place.
const RESERVE: u64 = 64;

/// Elements of the smaller RAM that a resident can have.
pub fn resident_room(machine: &Machine) -> u64 {
    let rams = [Memory::A, Memory::B].map(|memory| Ram::new(machine, memory));
    rams.iter().map(Ram::room).min().unwrap_or(0)
}

/// Where tensors live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residency {
    /// By tensor: the RAM slot it lives in; none for DRAM.
    pub homes: Vec<Option<Slot>>,
    /// By operation: where the source is staged, when it lives in DRAM.
    pub stages: Vec<Option<Staging>>,
    /// By tensor: the room that was missing when it was placed; none for one in a RAM, and in mappings of a file.
    pub refused: Vec<Option<Refused>>,
}

/// The room that a tensor found in no activation RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Elements that the fullest PE holds of it.
    pub needed: u64,
    /// The most adjacent elements of A and of B that are free all the time from its first write to its last read.
    pub free: [u64; 2],
    /// The most elements that a tensor can have in A or B that are empty.
    pub room: [u64; 2],
}

/// A place in an activation RAM of every PE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// A or B.
    pub memory: Memory,
    /// First element.
    pub base: u64,
    /// Elements.
    pub size: u64,
}

/// How an operation gets a source that lives in DRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging {
    /// Load each tile into the slot before its pass.
    PerTile(Slot),
    /// Load the tiles into two slots in turn, each while the tile before it is read.
    Alternate([Slot; 2]),
    /// Load the only tile into the slot, where it stays for later readers.
    Once(Slot),
    /// The tile that the operation of this index has staged is still there.
    Kept(usize),
}

/// Operations (half-open) in which a tensor must be somewhere.
#[derive(Clone, Copy, Debug)]
struct Life {
    first_write: usize,
    last_write: usize,
    last_read: usize,
    readers: usize,
}

impl Residency {
    /// Plans the residency of a tiled network, in which a tensor is in a RAM as a whole or not at all.
    pub fn plan(network: &Quantised, machine: &Machine, tiling: &Tiling) -> Self {
        Self::plan_within(network, machine, tiling, None)
    }

    /// The same, where the tensors for which `may_spill` holds may spill: `readings` tells for every operation how often it
    /// reads what has spilled of its source.
    pub fn plan_spilling(
        network: &Quantised,
        machine: &Machine,
        tiling: &Tiling,
        readings: &[f64],
        may_spill: &[bool],
    ) -> Self {
        Self::plan_within(network, machine, tiling, Some((readings, may_spill)))
    }

    /// The same slots, grown into the free room beside them.
    #[must_use]
    pub fn grown(&self, network: &Quantised, machine: &Machine, tiling: &Tiling) -> Self {
        growth::grow(self, network, machine, tiling)
    }

    fn plan_within(
        network: &Quantised,
        machine: &Machine,
        tiling: &Tiling,
        spilling: Option<(&[f64], &[bool])>,
    ) -> Self {
        let readings =
            spilling.map(|(readings, may_spill)| Readings::of(network, readings, may_spill));
        let lives = lives(network);
        let mut planner = Planner {
            rams: [Ram::new(machine, Memory::A), Ram::new(machine, Memory::B)],
            residency: Self {
                homes: vec![None; network.tensors.len()],
                stages: vec![None; network.operations.len()],
                refused: vec![None; network.tensors.len()],
            },
        };
        let mut decided = vec![false; network.tensors.len()];
        let mut staged: Vec<Option<usize>> = vec![None; network.tensors.len()];
        for (index, operation) in network.operations.iter().enumerate() {
            let Operation::Layer(layer) = operation else {
                continue;
            };
            let source = layer.source.tensor.index();
            let source_memory = if let Some(slot) = planner.residency.homes[source] {
                slot.memory
            } else if let Some(at) = staged[source] {
                planner.residency.stages[index] = Some(Staging::Kept(at));
                planner.slot_of_stage(at).memory
            } else {
                let tensor = layer.source.tensor;
                let life = &lives[source];
                let stage = planner.stage(tiling, tensor, index, life);
                if matches!(stage, Staging::Once(_)) {
                    staged[source] = Some(index);
                }
                planner.residency.stages[index] = Some(stage);
                planner.slot_of_stage(index).memory
            };
            let destination = layer.destination.tensor.index();
            if !std::mem::replace(&mut decided[destination], true) && lives[destination].readers > 0
            {
                let tiles = tiling.layouts[destination].tiles.len() as u32;
                let size = tiling.elements(layer.destination.tensor, Span::new(0, tiles));
                let life = lives[destination];
                planner.residency.homes[destination] = planner
                    .resident(other(source_memory), size, life.first_write, life.last_read)
                    .or_else(|| {
                        let read = readings.as_ref()?.by_tensor[destination]?;
                        planner.spilling(tiling, layer.destination.tensor, &life, read)
                    });
                if planner.residency.homes[destination].is_none() {
                    planner.residency.refused[destination] = Some(planner.refused(size, &life));
                }
            }
            planner.second_place(tiling, layer.source.tensor, index);
        }
        planner.residency
    }
}

/// The other RAM.
fn other(memory: Memory) -> Memory {
    match memory {
        Memory::A => Memory::B,
        Memory::B | Memory::Dram => Memory::A,
    }
}

fn lives(network: &Quantised) -> Vec<Life> {
    let empty = Life {
        first_write: usize::MAX,
        last_write: 0,
        last_read: 0,
        readers: 0,
    };
    let mut lives = vec![empty; network.tensors.len()];
    for (index, operation) in network.operations.iter().enumerate() {
        let Operation::Layer(layer) = operation else {
            continue;
        };
        let written = &mut lives[layer.destination.tensor.index()];
        written.first_write = written.first_write.min(index);
        written.last_write = index;
        written.last_read = written.last_read.max(index);
        let operand = layer.operand.map(|operand| operand.view.tensor);
        for tensor in [Some(layer.source.tensor), operand].into_iter().flatten() {
            let read = &mut lives[tensor.index()];
            read.last_read = read.last_read.max(index);
            read.readers += 1;
        }
    }
    lives
}

/// By tensor: the operations of its first write and its last read, if any layer writes and reads it.
pub fn lifetimes(network: &Quantised) -> Vec<Option<(usize, usize)>> {
    lives(network)
        .into_iter()
        .map(|life| {
            let lives = life.first_write <= life.last_read && life.readers > 0;
            lives.then_some((life.first_write, life.last_read))
        })
        .collect()
}

/// How often tensors are read.
struct Readings {
    /// By tensor: the layers that read it, and how often they do in all; none for one that may not spill, as an operand,
    /// which is not read in rounds.
    by_tensor: Vec<Option<(u64, f64)>>,
}

impl Readings {
    fn of(network: &Quantised, readings: &[f64], may_spill: &[bool]) -> Self {
        let mut by_tensor: Vec<Option<(u64, f64)>> = may_spill
            .iter()
            .map(|may_spill| may_spill.then_some((0, 0.0)))
            .collect();
        for (operation, readings) in network.operations.iter().zip(readings) {
            let Operation::Layer(layer) = operation else {
                continue;
            };
            if let Some(read) = &mut by_tensor[layer.source.tensor.index()] {
                read.0 += 1;
                read.1 += readings;
            }
            if let Some(operand) = layer.operand {
                by_tensor[operand.view.tensor.index()] = None;
            }
        }
        Self { by_tensor }
    }
}

/// A tensor spills when that moves at most this share of what it moves when it lives in DRAM.
const WORTH_SPILLING: f64 = 0.7;

/// Whether a tensor may as well live in a RAM that it exceeds: `excess` of `whole` is written to DRAM once, and read
/// `readings` times by `layers` layers.
pub fn worth_spilling(whole: u64, excess: u64, layers: u64, readings: f64) -> bool {
    let (in_dram, spilled) = (whole * (1 + layers), excess as f64 * (1.0 + readings));
    spilled <= in_dram as f64 * WORTH_SPILLING
}

struct Planner {
    rams: [Ram; 2],
    residency: Residency,
}

impl Planner {
    /// A slot for a tensor that stays from operation `first` to operation `last`, preferably in `memory`.
    fn resident(&mut self, memory: Memory, size: u64, first: usize, last: usize) -> Option<Slot> {
        [memory, other(memory)]
            .into_iter()
            .find_map(|memory| self.ram(memory).allocate(size, first, last, true))
    }

    /// The largest slot there is for a tensor that does not fit, if what then spills is little; it is read by so many
    /// layers, so often in all.
    fn spilling(
        &mut self,
        tiling: &Tiling,
        tensor: TensorId,
        life: &Life,
        (layers, readings): (u64, f64),
    ) -> Option<Slot> {
        let (first, last) = (life.first_write, life.last_read);
        let sizes = self.free(life);
        let (memory, size) = if sizes[0] >= sizes[1] {
            (Memory::A, sizes[0])
        } else {
            (Memory::B, sizes[1])
        };
        let (whole, excess) = tiling.excess(tensor, size);
        if size == 0 || !worth_spilling(whole, excess, layers, readings) {
            return None;
        }
        self.ram(memory).allocate(size, first, last, true)
    }

    /// The most adjacent elements of each RAM that are free for a resident during its life.
    fn free(&self, life: &Life) -> [u64; 2] {
        self.rams
            .each_ref()
            .map(|ram| ram.largest_gap(life.first_write, life.last_read, ram.room()))
    }

    /// The room that a tensor of `needed` elements does not find.
    fn refused(&self, needed: u64, life: &Life) -> Refused {
        Refused {
            needed,
            free: self.free(life),
            room: self.rams.each_ref().map(Ram::room),
        }
    }

    fn stage(
        &mut self,
        tiling: &Tiling,
        tensor: TensorId,
        operation: usize,
        life: &Life,
    ) -> Staging {
        let tiles = tiling.layouts[tensor.index()].tiles.len() as u32;
        // A result with several writers may not be complete yet, so later readers load it again.
        let complete = life.first_write == usize::MAX || life.last_write < operation;
        if tiles == 1 && complete && life.last_read > operation {
            let size = tiling.elements(tensor, Span::new(0, 1));
            if let Some(slot) = self.resident(Memory::A, size, operation, life.last_read) {
                return Staging::Once(slot);
            }
        }
        let size = (0..tiles)
            .map(|tile| tiling.elements(tensor, Span::new(tile, tile + 1)))
            .max()
            .unwrap_or(1);
        if tiles > 1
            && let Some(slots) = self.two(size, operation)
        {
            return Staging::Alternate(slots);
        }
        let fitting = [Memory::A, Memory::B]
            .into_iter()
            .find_map(|m| self.ram(m).allocate(size, operation, operation, false));
        Staging::PerTile(fitting.unwrap_or_else(|| self.largest(operation)))
    }

    /// Gives the tiles of an operation that has one place for them another, if there is room beside its result: also where a
    /// tile exceeds it, and what exceeds it spills.
    fn second_place(&mut self, tiling: &Tiling, tensor: TensorId, operation: usize) {
        let Some(Staging::PerTile(slot)) = self.residency.stages[operation] else {
            return;
        };
        if tiling.layouts[tensor.index()].tiles.len() < 2 {
            return;
        }
        let second = [Memory::A, Memory::B].into_iter().find_map(|memory| {
            self.ram(memory)
                .allocate(slot.size, operation, operation, false)
        });
        if let Some(second) = second {
            self.residency.stages[operation] = Some(Staging::Alternate([slot, second]));
        }
    }

    /// Two slots of `size` elements during one operation, wherever they are.
    fn two(&mut self, size: u64, operation: usize) -> Option<[Slot; 2]> {
        let mut slots = [Memory::A, Memory::B, Memory::A, Memory::B]
            .into_iter()
            .filter_map(|memory| self.ram(memory).allocate(size, operation, operation, false));
        let first = slots.next();
        let second = slots.next();
        drop(slots);
        match (first, second) {
            (Some(first), Some(second)) => Some([first, second]),
            (only, _) => {
                if let Some(slot) = only {
                    self.ram(slot.memory).free(slot, operation);
                }
                None
            }
        }
    }

    /// The largest gap of either RAM during one operation; what does not fit into it spills.
    fn largest(&mut self, operation: usize) -> Slot {
        let (a, b) = (
            self.rams[0].largest_gap(operation, operation, self.rams[0].capacity),
            self.rams[1].largest_gap(operation, operation, self.rams[1].capacity),
        );
        let memory = if a >= b { Memory::A } else { Memory::B };
        self.ram(memory)
            .allocate(a.max(b).max(1), operation, operation, false)
            .expect("residents leave a reserve free")
    }

    fn ram(&mut self, memory: Memory) -> &mut Ram {
        &mut self.rams[usize::from(memory == Memory::B)]
    }

    fn slot_of_stage(&self, operation: usize) -> Slot {
        match self.residency.stages[operation] {
            Some(Staging::PerTile(slot) | Staging::Once(slot) | Staging::Alternate([slot, _])) => {
                slot
            }
            Some(Staging::Kept(_)) | None => {
                unreachable!("a kept stage refers to the operation that loaded it")
            }
        }
    }
}

/// Allocations of one RAM over elements and operations.
struct Ram {
    memory: Memory,
    capacity: u64,
    reserve: u64,
    allocations: Vec<Allocation>,
}

#[derive(Clone, Copy)]
struct Allocation {
    base: u64,
    end: u64,
    first: usize,
    last: usize,
}

impl Ram {
    fn new(machine: &Machine, memory: Memory) -> Self {
        let capacity = machine.ram_elements(memory);
        Self {
            memory,
            capacity,
            reserve: RESERVE.min(capacity / 8).max(1),
            allocations: Vec::new(),
        }
    }

    /// Elements for residents.
    const fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.reserve)
    }

    /// First fit among what is allocated at any time from `first` to `last`.
    fn allocate(&mut self, size: u64, first: usize, last: usize, resident: bool) -> Option<Slot> {
        let capacity = if resident { self.room() } else { self.capacity };
        let base = self
            .gaps(first, last, capacity)
            .into_iter()
            .find(|(base, end)| end - base >= size)?
            .0;
        self.allocations.push(Allocation {
            base,
            end: base + size,
            first,
            last,
        });
        Some(Slot {
            memory: self.memory,
            base,
            size,
        })
    }

    /// Frees an allocation of one operation.
    fn free(&mut self, slot: Slot, operation: usize) {
        self.allocations
            .retain(|a| !(a.base == slot.base && a.first == operation && a.last == operation));
    }

    fn largest_gap(&self, first: usize, last: usize, capacity: u64) -> u64 {
        self.gaps(first, last, capacity)
            .into_iter()
            .map(|(base, end)| end - base)
            .max()
            .unwrap_or(0)
    }

    /// Free ranges of elements, ascending.
    fn gaps(&self, first: usize, last: usize, capacity: u64) -> Vec<(u64, u64)> {
        let mut taken: Vec<_> = self
            .allocations
            .iter()
            .filter(|a| a.first <= last && first <= a.last)
            .map(|a| (a.base, a.end))
            .collect();
        taken.sort_unstable();
        let mut gaps = Vec::new();
        let mut free = 0;
        for (base, end) in taken {
            if base > free {
                gaps.push((free, base.min(capacity)));
            }
            free = free.max(end);
        }
        if capacity > free {
            gaps.push((free, capacity));
        }
        gaps.retain(|(base, end)| end > base);
        gaps
    }
}
