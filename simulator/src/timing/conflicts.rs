//! The most products of a step that fall on one bank, whatever the activations.

use super::addresses::{AccumulatorTile, BankOf};
use super::work::{LayerWork, Multiply};
use crate::weights::StoredWeight;
use scnn_isa::machine::Machine;
use scnn_isa::plane::Rect;

/// Cycles that the steps of a round take at most, all weight vectors of a PE group with one activation vector: their
/// sum, and how many vectors these are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conflicts {
    /// Cycles.
    pub cycles: u64,
    /// Weight vectors.
    pub vectors: u64,
    /// Cycles of the longest step.
    pub most: u64,
}

impl Conflicts {
    /// Cycles that `steps` steps take at most, if every weight vector meets as many activation vectors as the others.
    pub fn of_steps(self, steps: u64) -> u64 {
        let cycles = u128::from(steps) * u128::from(self.cycles);
        cycles.div_ceil(u128::from(self.vectors.max(1))) as u64
    }
}

/// The conflicts of every round of a `mac`, in the PE group that has most. An activation has as many products on a bank as
/// weights of its vector have the same place there, and a vector has I activations or those that a tile has.
pub(crate) fn conflicts(
    machine: &Machine,
    work: &LayerWork<'_>,
    multiply: &Multiply,
) -> Vec<Conflicts> {
    let (Some(stream), Some(array)) = (work.weights, &work.layer.array) else {
        return vec![Conflicts::default(); multiply.rounds.len() as usize];
    };
    let tile = &work.source_layout.tiles[multiply.pass.source_tile as usize];
    let pes = tile.pes();
    let positions = (0..pes.count()).map(|pe| tile.pe_rect(pe / pes.cols, pe % pes.cols));
    let most = positions.map(Rect::positions).max().unwrap_or(0);
    let activations = u64::from(machine.pe.activations_per_vector).min(most.max(1));
    let accumulators =
        AccumulatorTile::of(array, tile, work.layer.inner_rect(multiply.pass.output));
    let banks = match BankOf::new(machine) {
        BankOf::Modulo(banks) => Some(i64::from(banks)),
        // Two addresses with the same difference may be on one bank or on two: all products count as of one bank.
        BankOf::Xor(_) => None,
    };
    let offset = |weight: StoredWeight| {
        let (r, s) = (weight.tap / array.x.kernel, weight.tap % array.x.kernel);
        let offset = accumulators.channel(weight.k) + accumulators.tap(array, r, s);
        banks.map_or(0, |banks| offset.rem_euclid(banks))
    };
    let mut offsets: Vec<i64> = Vec::new();
    let mut of_group = |round: u32, group: u32| {
        let index = (round * array.pe_groups.count() + group) as usize;
        let mut found = Conflicts::default();
        for block in stream.blocks(index, multiply.channels).1 {
            let elements = stream.elements(stream.range(block));
            for vector in elements.vectors(machine.pe.weights_per_vector as usize) {
                offsets.clear();
                offsets.extend(vector.each().flatten().map(offset));
                offsets.sort_unstable();
                let alike = offsets.chunk_by(|a, b| a == b).map(<[i64]>::len).max();
                let cycles = (alike.unwrap_or(0) as u64 * activations).max(1);
                found.cycles += cycles;
                found.vectors += 1;
                found.most = found.most.max(cycles);
            }
        }
        found
    };
    let rounds = multiply.rounds.iter();
    let most = rounds.map(|round| {
        let groups = 0..array.pe_groups.count();
        let groups = groups.map(|group| of_group(round, group));
        let worse = |a: Conflicts, b: Conflicts| {
            let (left, right) = (a.cycles * b.vectors.max(1), b.cycles * a.vectors.max(1));
            Conflicts {
                most: a.most.max(b.most),
                ..if left >= right { a } else { b }
            }
        };
        groups.reduce(worse).unwrap_or_default()
    });
    most.collect()
}
