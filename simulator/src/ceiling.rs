//! Ceilings: cycles that no input makes a program exceed, from its weights and its mapping alone.
//!
//! The program is walked with every activation a non-zero, and no values are computed: a block of activations never has more
//! elements than positions, so steps, vectors and bytes are at their most.
//!
//! With timing `fast` a layer's cycles grow with the steps of every round, so its ceiling is its time on that walk. With
//! timing `exact` fewer activations may fall on fewer banks, so it is a sum over everything that can hold the array up:
//!
//! - **Rounds.** A unit only ever waits for another unit. While neither DRAM nor the bus nor the mover is busy, every PE group that has
//!   not ended the earliest unfinished round computes or drains it. So a round takes at most the steps of its busiest
//!   PE, each for as long as its products need on one bank, and its longest drain.
//! - **Steps.** Queues are never behind a machine without queues that issues a step when all products before it have retired:
//!   a step takes at most the products that fall on one bank. An activation has as many of them as weights of the vector have the
//!   same bank for it.
//! - **Transfers.** Everything that DRAM, the bus and the mover carry, one after the other.
//!
//! It is a guarantee and not an estimate: tests of the command line attack it with inputs made for conflicts.

use crate::timing::{LayerWork, Multiply, Task, conflicts};
use scnn_isa::layout::Grid;
use scnn_isa::machine::Machine;

/// A layer's ceiling with timing `exact`; `dram_bytes` are those that the walk moved to and from DRAM.
pub(crate) fn exact(machine: &Machine, work: &LayerWork<'_>, dram_bytes: u64) -> u64 {
    let mut cycles = 0;
    // Each transfer may end within a cycle.
    let mut transfers = 0;
    for task in &work.tasks {
        match task {
            Task::Load(load) => {
                transfers += load.columns.len() as u64;
                cycles += load.columns.iter().map(|c| c.vectors).max().unwrap_or(0);
            }
            Task::Store(store) => {
                transfers += 1;
                cycles += store.vectors;
            }
            Task::Multiply(multiply) => {
                let residues = u64::from(work.source_layout.residues.count());
                let conflicts = conflicts(machine, work, multiply);
                for (steps, conflicts) in multiply.steps.iter().zip(conflicts) {
                    let busiest = steps.iter().copied().max().unwrap_or(0);
                    cycles += if residues == 1 {
                        conflicts.of_steps(busiest)
                    } else {
                        // Another PE may be the busiest in each residue, and meet other weights there.
                        let steps = (busiest * residues).min(steps.iter().sum());
                        steps * conflicts.most
                    };
                }
                transfers += multiply.spilled_bytes.len() as u64;
                let (vectors, parts) = streamed(machine, work, multiply);
                let bus = u64::from(machine.weights.bus_vectors_per_cycle);
                cycles += vectors.div_ceil(bus.max(1)) + parts;
                transfers += parts;
            }
            Task::Drain(drain) => {
                for groups in &drain.rounds {
                    cycles += groups.iter().map(|drain| drain.cycles).max().unwrap_or(0);
                    // Its operand and its results.
                    transfers += 2 * groups.len() as u64;
                }
            }
            Task::Process(process) => {
                cycles += process.cycles;
                transfers += 2;
            }
        }
    }
    let dram = dram_bytes as f64 / machine.dram_bytes_per_cycle();
    cycles + dram.ceil() as u64 + transfers
}

/// Weight vectors and parts that the rounds of a `mac` stream to all PE groups.
fn streamed(machine: &Machine, work: &LayerWork<'_>, multiply: &Multiply) -> (u64, u64) {
    let (Some(stream), Some(array)) = (work.weights, &work.layer.array) else {
        return (0, 0);
    };
    let groups = array.pe_groups;
    let (width, fifo) = (machine.pe.weights_per_vector, machine.fifo_elements());
    let (mut vectors, mut parts) = (0, 0);
    for round in multiply.rounds.iter() {
        for group in 0..Grid::count(groups) {
            let index = (round * groups.count() + group) as usize;
            let (_, blocks) = stream.blocks(index, multiply.channels);
            for block in blocks {
                let elements = stream.range(block).len() as u32;
                vectors += u64::from(elements.div_ceil(width));
                parts += u64::from(elements.div_ceil(fifo));
            }
        }
    }
    (vectors, parts)
}
