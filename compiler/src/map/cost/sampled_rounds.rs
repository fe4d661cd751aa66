//! The rounds of a layer that are counted: all rounds of all passes, or some from which the rest is extrapolated.

use super::Candidate;
use crate::map::tiling::inner;
use crate::map::weights::BlockSizes;
use scnn_isa::halo::Exchange;
use scnn_isa::layer::Pass;

/// How much of a layer is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Every round of every pass.
    Whole,
    /// At most so many rounds of each of at most `PASSES` passes.
    Sampled(u32),
}

/// Passes of a sample.
const PASSES: usize = 2;

/// Most parts of the weight streams that are simulated one by one. A layer of more, such as fully connected ones of millions,
/// repeats itself.
const MOST_PARTS: usize = 1 << 15;

/// Rounds that a sample has at least, where there are as many.
const LEAST_ROUNDS: usize = 4;

impl Depth {
    /// `Whole` for a layer of at most `MOST_PARTS` parts, `parts_of_round` in each of its `rounds`; of a longer one, as many rounds as have
    /// that many parts.
    pub fn bounded(parts_of_round: usize, rounds: usize) -> Self {
        if parts_of_round * rounds <= MOST_PARTS {
            Self::Whole
        } else {
            Self::Sampled((MOST_PARTS / parts_of_round).max(LEAST_ROUNDS) as u32)
        }
    }

    /// The rounds of a pass that are counted, of `all`.
    pub fn rounds(self, all: usize) -> Vec<usize> {
        match self {
            Self::Whole => (0..all).collect(),
            Self::Sampled(most) => spread(all, most as usize),
        }
    }
}

/// The passes and rounds that are counted.
#[derive(Debug)]
pub(super) struct SampledRounds {
    /// Whether they are all rounds of all passes.
    pub whole: bool,
    /// The passes.
    pub passes: Vec<Pass>,
    /// By pass: halo exchange of its drains, per output channel.
    pub exchanges: Vec<Exchange>,
    /// The rounds of each pass.
    pub rounds: Vec<usize>,
    /// Rounds of the layer per counted round.
    pub scale: f64,
}

impl SampledRounds {
    pub(super) fn of(candidate: &Candidate<'_>, sizes: &BlockSizes, depth: Depth) -> Self {
        let all_rounds = sizes.groups.len() / candidate.layout.groups.count() as usize;
        let rounds = depth.rounds(all_rounds);
        let passes: Vec<Pass> = match depth {
            Depth::Whole => candidate.passes.to_vec(),
            Depth::Sampled(_) => spread(candidate.passes.len(), PASSES)
                .into_iter()
                .map(|pass| candidate.passes[pass])
                .collect(),
        };
        let exchange = |pass: &Pass| {
            let tile = &candidate.layout.tiles[pass.source_tile as usize];
            candidate
                .layer
                .conv
                .as_ref()
                .map_or_else(Exchange::default, |conv| {
                    Exchange::along(
                        (&conv.y, &conv.x),
                        tile,
                        inner(candidate.layer, pass.output),
                    )
                })
        };
        let all = candidate.passes.len() * all_rounds;
        let counted = passes.len() * rounds.len();
        Self {
            whole: depth == Depth::Whole,
            exchanges: passes.iter().map(exchange).collect(),
            passes,
            rounds,
            scale: all as f64 / counted.max(1) as f64,
        }
    }
}

/// At most `most` of `count` indices, evenly spread, each in the middle of its part.
pub(super) fn spread(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    (0..most)
        .map(|i| (2 * i + 1) * count / (2 * most))
        .collect()
}
