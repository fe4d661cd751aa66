//! Stalls of the queues before the accumulator banks, measured on some of the layer's own vectors.
//!
//! Which banks the products of a step meet is decided by the shape of the accumulator tile and by where the non-zeros
//! are: with an area that is a multiple of the banks, all output channels of a group fall into the same few; and where
//! an image is not zero, it is not zero in the next row either. So a few blocks of the layer are taken as they are, and
//! a queue of the machine's depth stands before each bank, as in the machine. A PE that waits for weights lets its
//! queues empty, which is left out.

use super::sampled_rounds::{SampledRounds, spread};
use super::{Candidate, Positions};
use crate::map::tiling::{accumulator_tile, inner};
use crate::map::weights::taps_of_residues;
use crate::quantise::IntConv;
use scnn_isa::layer::{Pass, WeightOrder};
use scnn_isa::machine::{BankMap, Machine};
use scnn_isa::plane::{Axis, Rect, Span};

/// PEs that are looked at, and steps of each as long as its blocks last: of a whole layer, and of a sample. Queues take
/// some hundred steps to fill.
const SAMPLED_PES_AND_STEPS: [(usize, usize); 2] = [(12, 400), (4, 64)];

/// Passes that are looked at.
const PASSES: usize = 2;

/// Channels that are looked at for one PE.
const CHANNELS: usize = 32;

/// Cycles that a step takes, stalls included, by pass that is counted.
pub(super) fn step_cycles(candidate: &Candidate<'_>, sampled: &SampledRounds) -> Vec<f64> {
    let passes = sampled.passes.len();
    let (Some(conv), Some(positions)) = (&candidate.layer.conv, candidate.positions) else {
        return vec![1.0; passes];
    };
    let seen: Vec<f64> = spread(passes, PASSES)
        .into_iter()
        .map(|pass| of_pass(candidate, conv, positions, sampled, sampled.passes[pass]))
        .collect();
    (0..passes)
        .map(|pass| seen[pass * seen.len() / passes])
        .collect()
}

fn of_pass(
    candidate: &Candidate<'_>,
    conv: &IntConv,
    positions: Positions<'_>,
    sampled: &SampledRounds,
    pass: Pass,
) -> f64 {
    let tile = Tile::of(candidate, conv, positions, sampled, pass);
    let held = &candidate.tile(pass).held.elements;
    let holding: Vec<usize> = (0..held.len()).filter(|&pe| held[pe] > 0).collect();
    let (pes, steps) = SAMPLED_PES_AND_STEPS[usize::from(!sampled.whole)];
    let (mut cycles, mut all) = (0, 0);
    for at in spread(holding.len(), pes) {
        let queues = tile.run(holding[at], steps);
        cycles += queues.now;
        all += queues.steps;
    }
    if all == 0 {
        1.0
    } else {
        cycles as f64 / all as f64
    }
}

/// A pass and the blocks that meet in it.
struct Tile<'a> {
    candidate: &'a Candidate<'a>,
    conv: &'a IntConv,
    positions: Positions<'a>,
    source: &'a scnn_isa::layout::Tile,
    inner: Rect,
    /// The output channels of a group that are looked at.
    k: Span,
    taps: Vec<Vec<u32>>,
    /// Images, rows and columns of the accumulator tile.
    images: i64,
    rows: i64,
    cols: i64,
}

/// Where a tap takes the positions of a PE along one axis: what an output's place there adds to an address of the
/// accumulator tile, or something that makes any address negative.
struct Reach {
    begin: u32,
    kernel: u32,
    addresses: Vec<i64>,
}

/// What makes any sum of addresses negative.
const OUTSIDE: i64 = i64::MIN / 4;

impl Reach {
    /// Along an axis on which neighbours in the tile lie `pitch` apart.
    fn of(axis: &Axis, span: Span, inner: Span, pitch: i64) -> Self {
        let first = axis.outputs(span).intersect(inner).begin;
        let address = |position: u32, tap: u32| {
            let output = axis.output(position, tap);
            let inside = output.filter(|output| inner.begin <= *output && *output < inner.end);
            inside.map_or(OUTSIDE, |output| {
                (i64::from(output) - i64::from(first)) * pitch
            })
        };
        Self {
            begin: span.begin,
            kernel: axis.kernel,
            addresses: span
                .iter()
                .flat_map(|position| (0..axis.kernel).map(move |tap| address(position, tap)))
                .collect(),
        }
    }

    /// By tap, for a position.
    fn by_tap(&self, position: u32) -> &[i64] {
        let first = ((position - self.begin) * self.kernel) as usize;
        &self.addresses[first..first + self.kernel as usize]
    }
}

/// An activation: what its image adds to an address, and by tap, what its row and column do.
struct Activation<'a> {
    image: i64,
    rows: &'a [i64],
    cols: &'a [i64],
}

/// A weight: what its output channel adds to an address, and its tap.
#[derive(Clone, Copy)]
struct Weight {
    channel: i64,
    tap: usize,
}

impl<'a> Tile<'a> {
    fn of(
        candidate: &'a Candidate<'a>,
        conv: &'a IntConv,
        positions: Positions<'a>,
        sampled: &SampledRounds,
        pass: Pass,
    ) -> Self {
        let tile = &candidate.layout.tiles[pass.source_tile as usize];
        let inner = inner(candidate.layer, pass.output);
        let [images, rows, cols] =
            accumulator_tile(conv, tile, inner).map(|extent| extent.max(1) as i64);
        // A group of a round in the middle stands for all.
        let groups = candidate.layout.groups.count() as usize;
        let round = sampled.rounds[sampled.rounds.len() / 2];
        let of_round = &candidate.channel_groups[round * groups..(round + 1) * groups];
        let k = of_round.iter().find(|k| !k.is_empty());
        Self {
            candidate,
            conv,
            positions,
            source: tile,
            inner,
            k: k.copied().unwrap_or_default(),
            taps: taps_of_residues(conv, candidate.layout.residues),
            images,
            rows,
            cols,
        }
    }

    /// Runs up to `most` steps of a PE.
    fn run(&self, pe: usize, most: usize) -> Queues {
        let candidate = self.candidate;
        let pes = self.source.pes();
        let rect = self
            .source
            .pe_rect(pe as u32 / pes.cols, pe as u32 % pes.cols);
        let area = self.rows * self.cols;
        let rows = Reach::of(&self.conv.y, rect.y, self.inner.y, self.cols);
        let cols = Reach::of(&self.conv.x, rect.x, self.inner.x, 1);
        let residues = candidate.layout.residues;
        let inputs = self.positions.weights.inputs(self.k);
        let mut queues = Queues::new(candidate.machine);
        for (number, at) in spread(inputs.len() as usize, CHANNELS)
            .into_iter()
            .enumerate()
        {
            // Other channels in every PE, so that together they see most of them.
            let channel = inputs.begin + (at as u32 + pe as u32) % inputs.len();
            let residue = number as u32 % residues.count();
            let activations = self.positions.occupancy.positions(
                candidate.layer.source.tensor,
                candidate.layer.source.channels.begin + channel,
                rect,
                (residues, residue),
            );
            let activations: Vec<Activation<'_>> = activations
                .into_iter()
                .map(|(n, y, x)| Activation {
                    image: i64::from(n - rect.n.begin) * area,
                    rows: rows.by_tap(y),
                    cols: cols.by_tap(x),
                })
                .collect();
            let weights = self.weights(channel, residue as usize);
            queues.block(&activations, &weights, most);
            if queues.steps >= most {
                break;
            }
        }
        queues
    }

    /// The weights of a block, in its order.
    fn weights(&self, channel: u32, residue: usize) -> Vec<Weight> {
        let taps = &self.taps[residue];
        let pitch = self.images * self.rows * self.cols;
        let mut weights: Vec<Weight> = self
            .positions
            .weights
            .of(channel, self.k)
            .filter(|(_, tap, _)| taps.len() == self.taps_in_all() || taps.contains(tap))
            .map(|(k, tap, _)| Weight {
                channel: i64::from(k - self.k.begin) * pitch,
                tap: tap as usize,
            })
            .collect();
        if self.candidate.order == WeightOrder::Rsk {
            weights.sort_by_key(|weight| (weight.tap, weight.channel));
        }
        weights
    }

    fn taps_in_all(&self) -> usize {
        (self.conv.y.kernel * self.conv.x.kernel) as usize
    }
}

/// The queues of one PE.
struct Queues {
    widths: (usize, usize),
    banks: u64,
    xor: bool,
    depth: u64,
    /// The present cycle, and by bank the cycle in which it will have retired what waits before it.
    now: u64,
    empty: Vec<u64>,
    /// By bank, products of the present step; and which banks have any, a bit each.
    arriving: Vec<u64>,
    met: Vec<u64>,
    /// By activation of the present vector and tap: what its position adds to an address.
    places: Vec<i64>,
    steps: usize,
}

impl Queues {
    fn new(machine: &Machine) -> Self {
        let pe = &machine.pe;
        let banks = pe.banks as usize;
        Self {
            widths: (
                pe.activations_per_vector as usize,
                pe.weights_per_vector as usize,
            ),
            banks: u64::from(pe.banks),
            xor: pe.bank_map == BankMap::Xor,
            depth: u64::from(pe.queue_depth),
            now: 0,
            empty: vec![0; banks],
            arriving: vec![0; banks],
            met: vec![0; banks.div_ceil(64)],
            places: Vec::new(),
            steps: 0,
        }
    }

    /// Runs the steps of a block, as long as there are fewer than `most` in all.
    fn block(&mut self, activations: &[Activation<'_>], weights: &[Weight], most: usize) {
        for activations in activations.chunks(self.widths.0) {
            self.places.clear();
            for activation in activations {
                for row in activation.rows {
                    let row = activation.image + row;
                    self.places
                        .extend(activation.cols.iter().map(|col| row + col));
                }
            }
            let taps = self.places.len() / activations.len();
            for weights in weights.chunks(self.widths.1) {
                if self.steps >= most {
                    return;
                }
                for of_activation in self.places.chunks_exact(taps) {
                    for weight in weights {
                        let address = of_activation[weight.tap] + weight.channel;
                        if let Ok(address) = u64::try_from(address) {
                            let bank = self.bank(address);
                            self.arriving[bank] += 1;
                            self.met[bank / 64] |= 1 << (bank % 64);
                        }
                    }
                }
                self.step();
            }
        }
    }

    fn bank(&self, address: u64) -> usize {
        // Most machines have a power of two, those with XOR must; a division for every product would take long.
        let bank = if self.banks.is_power_of_two() {
            let above = if self.xor {
                address >> self.banks.ilog2()
            } else {
                0
            };
            (address ^ above) & (self.banks - 1)
        } else {
            address % self.banks
        };
        bank as usize
    }

    fn step(&mut self) {
        let waiting = |bank: usize| {
            let (waiting, arriving) = (
                self.empty[bank].saturating_sub(self.now),
                self.arriving[bank],
            );
            if arriving > self.depth {
                waiting
            } else {
                (waiting + arriving).saturating_sub(self.depth)
            }
        };
        self.now += met(&self.met).map(waiting).max().unwrap_or(0);
        for bank in met(&self.met) {
            self.empty[bank] =
                self.empty[bank].max(self.now) + std::mem::take(&mut self.arriving[bank]);
        }
        self.met.fill(0);
        self.now += 1;
        self.steps += 1;
    }
}

/// The bits that are set.
fn met(words: &[u64]) -> impl Iterator<Item = usize> {
    words.iter().enumerate().flat_map(|(at, &word)| {
        let rest = |word: &u64| Some(word & (word - 1)).filter(|&word| word != 0);
        let words = std::iter::successors(Some(word).filter(|&word| word != 0), rest);
        words.map(move |word| at * 64 + word.trailing_zeros() as usize)
    })
}
