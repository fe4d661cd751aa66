//! The most products of a step that fall on one bank, whatever the activations.

use super::addresses::{AccumulatorTile, BankOf};
use super::weights::PLACEHOLDER;
use super::work::{LayerWork, Multiply};
use scnn_isa::machine::Machine;

/// Cycles that a step of a `mac` takes at most: an activation has as many products on a bank as weights of its vector have the
/// same place there, and a vector has I activations.
pub fn stalls_of_step(machine: &Machine, work: &LayerWork<'_>, multiply: &Multiply) -> u64 {
    let pe = &machine.pe;
    let all = u64::from(pe.weights_per_vector) * u64::from(pe.activations_per_vector);
    let (Some(stream), Some(array)) = (work.weights, &work.layer.array) else {
        return all;
    };
    let BankOf::Modulo(banks) = BankOf::new(machine) else {
        return all;
    };
    let tile = &work.source_layout.tiles[multiply.pass.source_tile as usize];
    let inner = work.layer.inner_rect(multiply.pass.output);
    let accumulators = AccumulatorTile::of(array, tile, inner);
    let groups = array.pe_groups.count();
    let mut most = 1;
    let mut offsets = Vec::new();
    for round in multiply.rounds.iter() {
        for group in 0..groups {
            let (_, blocks) = stream.blocks((round * groups + group) as usize, multiply.channels);
            for block in blocks {
                let elements = stream.elements(stream.range(block));
                for vector in elements.chunks(pe.weights_per_vector as usize) {
                    offsets.clear();
                    offsets.extend(
                        vector
                            .iter()
                            .filter(|w| w.tap != PLACEHOLDER)
                            .map(|weight| {
                                let (r, s) =
                                    (weight.tap / array.x.kernel, weight.tap % array.x.kernel);
                                let offset =
                                    accumulators.channel(weight.k) + accumulators.tap(array, r, s);
                                offset.rem_euclid(i64::from(banks))
                            }),
                    );
                    offsets.sort_unstable();
                    let alike = offsets.chunk_by(|a, b| a == b).map(<[i64]>::len);
                    most = most.max(alike.max().unwrap_or(0));
                }
            }
        }
    }
    (most as u64 * u64::from(pe.activations_per_vector)).min(all)
}
