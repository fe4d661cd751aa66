//! The tasks of a layer for the machine's units, in program order: the input of both timings.

use super::nonzeros::Nonzeros;
use crate::weights::WeightStream;
use scnn_isa::layer::{Layer, Pass};
use scnn_isa::layout::Layout;
use scnn_isa::plane::Span;
use scnn_isa::program::{Memory, Region};
use std::sync::Arc;

/// The work of one layer.
pub struct LayerWork<'a> {
    /// Its descriptor.
    pub layer: &'a Layer,
    /// Its weights as they are streamed; absent for layers of the PPU alone.
    pub weights: Option<&'a WeightStream>,
    /// Storage of the source.
    pub source_layout: &'a Layout,
    /// Whether each PE of the array holds a part of any tile.
    pub has_tile: Vec<bool>,
    /// Shares of non-zeros of its weights and of its source.
    pub densities: [f64; 2],
    /// Useful products.
    pub useful: u64,
    /// The tasks of the units.
    pub tasks: Vec<Task>,
    /// The instruction of each task.
    pub instructions: Vec<u32>,
}

impl LayerWork<'_> {
    /// Rounds of all its `mac`s.
    pub fn round_count(&self) -> u64 {
        let rounds = |task: &Task| match task {
            Task::Multiply(multiply) => u64::from(multiply.rounds.len()),
            _ => 0,
        };
        self.tasks.iter().map(rounds).sum()
    }
}

/// The work of one instruction for a unit.
pub enum Task {
    /// `lda`: the DRAM mover fills a region.
    Load(Load),
    /// `sta`: the DRAM mover empties a region.
    Store(Store),
    /// `mac`: the array.
    Multiply(Multiply),
    /// `drn`: the PPUs.
    Drain(Drain),
    /// `ppu`: the PPUs on a region.
    Process(Process),
}

/// Where a region lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    memory: Memory,
    begin: u64,
    end: u64,
}

impl Place {
    /// The place of a region.
    pub fn of(region: &Region) -> Self {
        Self {
            memory: region.memory,
            begin: region.base,
            end: region.base + region.size,
        }
    }

    /// Whether two places share memory.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.memory == other.memory && self.begin < other.end && other.begin < self.end
    }
}

/// A transfer from DRAM to the activation RAMs, column by column.
pub struct Load {
    /// The RAM region.
    pub place: Place,
    /// By tile of the region, then (channel, residue) of the tensor.
    pub columns: Vec<LoadedColumn>,
}

/// A column that a load brings: the blocks of a (channel, residue) for all PEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadedColumn {
    /// Bytes from DRAM.
    pub bytes: u64,
    /// Most vectors that have gone into the RAM of one PE, one in a cycle, once this column is there too.
    pub vectors: u64,
}

/// A transfer from the activation RAMs to DRAM.
pub struct Store {
    /// Bytes to DRAM, and bytes of the region's spilled elements from DRAM.
    pub bytes: u64,
    /// Most vectors that come out of the RAM of one PE, one in a cycle.
    pub vectors: u64,
}

/// Rounds of a pass over a range of channels.
pub struct Multiply {
    /// Non-zeros of the tensor that is read, as it is now.
    pub source: Arc<Nonzeros>,
    /// The pass.
    pub pass: Pass,
    /// The rounds.
    pub rounds: Span,
    /// Channels of the source view.
    pub channels: Span,
    /// Whether these are the first channels and the last ones of their rounds.
    pub opens: bool,
    /// See `opens`.
    pub closes: bool,
    /// Where the source tile lies.
    pub from: Place,
    /// Columns of the region before those of the source tile, as a load brings them.
    pub first_column: u32,
    /// By round: bytes of spilled elements that the round reads from DRAM.
    pub spilled_bytes: Vec<u64>,
    /// Steps by (round, PE of the array).
    pub steps: Vec<Vec<u64>>,
}

/// The drain of rounds of a pass.
pub struct Drain {
    /// Index of the pass in its layer.
    pub pass: u32,
    /// Number in the pass of the first of the rounds.
    pub first_round: u32,
    /// By round, then PE group.
    pub rounds: Vec<Vec<RoundDrain>>,
    /// Where the residual operand lies, if there is one.
    pub operand: Option<Place>,
    /// Bytes of it that come from DRAM.
    pub operand_bytes: u64,
}

/// The drain of a round in one PE group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundDrain {
    /// Cycles of the PPUs and halo links.
    pub cycles: u64,
    /// Outputs, by which the operand's bytes are shared.
    pub outputs: u64,
    /// Bytes of its results that go to DRAM.
    pub result_bytes: u64,
}

impl Drain {
    /// Outputs of all rounds and PE groups.
    pub fn outputs(&self) -> u64 {
        self.rounds
            .iter()
            .flatten()
            .map(|drain| drain.outputs)
            .sum()
    }
}

/// A source tile through the PPUs alone.
pub struct Process {
    /// Index of the pass in its layer.
    pub pass: u32,
    /// Where it lies.
    pub from: Place,
    /// Where the residual operand lies, if there is one.
    pub operand: Option<Place>,
    /// Cycles of the PPUs.
    pub cycles: u64,
    /// Bytes of it, and of the residual operand, that come from DRAM.
    pub read_bytes: u64,
    /// Bytes of its results that go to DRAM.
    pub result_bytes: u64,
}

/// One round of a `mac`.
#[derive(Clone, Copy)]
pub struct Round<'a> {
    /// The `mac`.
    pub multiply: &'a Multiply,
    /// Its position among the tasks.
    pub task: usize,
    /// Its number in the pass.
    pub number: u32,
    /// Counts the rounds of the layer as they open, by which the accumulator halves alternate.
    pub ordinal: usize,
}

impl Round<'_> {
    /// Bytes of spilled elements that it reads from DRAM.
    pub fn spilled_bytes(&self) -> u64 {
        self.multiply.spilled_bytes[(self.number - self.multiply.rounds.begin) as usize]
    }
}

/// The rounds of all `mac`s in order. A round whose channels are spread over several `mac`s is there once for each.
pub fn rounds(tasks: &[Task]) -> Vec<Round<'_>> {
    let mut rounds = Vec::new();
    let (mut opened, mut first) = (0, 0);
    for (task, multiply) in tasks.iter().enumerate() {
        let Task::Multiply(multiply) = multiply else {
            continue;
        };
        if multiply.opens {
            first = opened;
            opened += multiply.rounds.len() as usize;
        }
        for (index, number) in multiply.rounds.iter().enumerate() {
            rounds.push(Round {
                multiply,
                task,
                number,
                ordinal: first + index,
            });
        }
    }
    rounds
}

/// The share of `bytes` that falls to the units `done..done + more` of `all`, such that all shares sum to the whole.
pub fn share(bytes: u64, done: u64, more: u64, all: u64) -> u64 {
    let up_to =
        |units: u64| (u128::from(bytes) * u128::from(units) / u128::from(all.max(1))) as u64;
    up_to(done + more) - up_to(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_are_in_proportion_and_sum_to_the_whole(bytes: u64, units in prop::collection::vec(0u64..1000, 1..20)) {
            let all = units.iter().sum::<u64>();
            prop_assume!(all > 0);
            let mut done = 0;
            let mut sum = 0u64;
            for more in units {
                let part = share(bytes, done, more, all);
                let exact = u128::from(bytes) * u128::from(more);
                let found = u128::from(part) * u128::from(all);
                prop_assert!(found.abs_diff(exact) < u128::from(all), "{part} of {bytes} for {more} of {all}");
                done += more;
                sum += part;
            }
            prop_assert_eq!(sum, bytes);
        }
    }
}
