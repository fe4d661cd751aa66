//! Stalls of the queues before the accumulator banks, measured on some of the layer's own vectors.
//!
//! Which banks the products of a step meet is decided by the shape of the accumulator tile and by where the non-zeros
//! are: with an area that is a multiple of the banks, all output channels of a group fall into the same few; and where
//! an image is not zero, it is not zero in the next row either. So a few blocks of the layer are taken as they are, and
//! a queue of the machine's depth stands before each bank, as in the machine.

use super::sampled_rounds::{SampledRounds, spread};
use super::{Candidate, Positions};
use crate::map::contents::LANES;
use crate::map::tiling::{accumulator_tile, inner};
use crate::map::weights::taps_of_residues;
use crate::quantise::IntConv;
use scnn_isa::layer::{Pass, WeightOrder};
use scnn_isa::machine::{BankMap, Machine};
use scnn_isa::plane::{Axis, Rect, Span};

/// Sampled PEs, and most steps of each: for a layer that is counted whole, and for one that is sampled. Queues take
/// some hundred steps to fill.
const SAMPLED_PES_AND_STEPS: [(usize, usize); 2] = [(12, 400), (4, 64)];

/// Sampled passes.
const PASSES: usize = 2;

/// Sampled channels of a PE in a round.
const CHANNELS: usize = 32;

/// Sampled rounds: where the accumulators hold few output channels, a round alone has hardly a block.
const ROUNDS: usize = 8;

/// Cycles of a PE for steps and products, on average over the sampled blocks.
#[derive(Clone, Debug)]
pub(super) struct StepCost {
    /// Cycles for every step. Without conflicts, one.
    pub of_step: f64,
    /// By PE: cycles for every pair of stored elements that are multiplied. A full step has more conflicts than one of few
    /// products, and where a tile ends fewer of them land; none where no PE meets conflicts.
    pub of_pair: Vec<[f32; LANES]>,
    /// Cycles of a part that a PE saves if it has waited for the part at least as long: its queues have emptied meanwhile.
    pub saved: f32,
    /// Cycles from the last step of a round to the retirement of its last product, for which the drain waits.
    pub tail: f64,
}

impl Default for StepCost {
    fn default() -> Self {
        Self {
            of_step: 1.0,
            of_pair: Vec::new(),
            saved: 0.0,
            tail: 0.0,
        }
    }
}

/// Cycles of steps and products, by sampled pass.
pub(super) fn step_costs(candidate: &Candidate<'_>, sampled: &SampledRounds) -> Vec<StepCost> {
    let passes = sampled.passes.len();
    let (Some(conv), Some(positions)) = (&candidate.layer.conv, candidate.positions) else {
        return vec![StepCost::default(); passes];
    };
    let fitted: Vec<FittedCycles> = spread(passes, PASSES)
        .into_iter()
        .map(|pass| of_pass(candidate, conv, positions, sampled, sampled.passes[pass]))
        .collect();
    let of_pass = |pass: usize| {
        let fitted = fitted[pass * fitted.len() / passes];
        let of_pair = if fitted.of_product > 0.0 {
            of_pair(candidate, conv, sampled.passes[pass], fitted.of_product)
        } else {
            Vec::new()
        };
        StepCost {
            of_step: fitted.of_step,
            of_pair,
            saved: (fitted.carried + f64::from(candidate.machine.pe.queue_depth)) as f32,
            tail: fitted.tail,
        }
    };
    (0..passes).map(of_pass).collect()
}

/// By PE, cycles for a pair of stored elements: `of_product`, times the share of pairs whose product lands.
fn of_pair(
    candidate: &Candidate<'_>,
    conv: &IntConv,
    pass: Pass,
    of_product: f64,
) -> Vec<[f32; LANES]> {
    let tile = &candidate.layout.tiles[pass.source_tile as usize];
    let inner = inner(candidate.layer, pass.output);
    let (pes, residues) = (tile.pes(), candidate.layout.residues);
    let mut of_pair = vec![[0.0; LANES]; pes.count().div_ceil(LANES as u32) as usize];
    for pe in 0..pes.count() {
        let rect = tile.pe_rect(pe / pes.cols, pe % pes.cols);
        let landing = conv.y.landing(rect.y, inner.y, residues.rows)
            * conv.x.landing(rect.x, inner.x, residues.cols);
        of_pair.as_flattened_mut()[pe as usize] = (of_product * landing) as f32;
    }
    of_pair
}

/// Cycles of steps and products, fitted to the sampled blocks.
#[derive(Clone, Copy)]
struct FittedCycles {
    /// Cycles for every step, and for every product that lands.
    of_step: f64,
    /// See `of_step`.
    of_product: f64,
    /// Cycles in which the first step of a block waits for what came before it.
    carried: f64,
    /// See [`StepCost`].
    tail: f64,
}

fn of_pass(
    candidate: &Candidate<'_>,
    conv: &IntConv,
    positions: Positions<'_>,
    sampled: &SampledRounds,
    pass: Pass,
) -> FittedCycles {
    let tile = PassBlocks::of(candidate, conv, positions, sampled, pass);
    let held = &candidate.tile(pass).held.elements;
    let holding: Vec<usize> = (0..held.len()).filter(|&pe| held[pe] > 0).collect();
    let (pes, steps) = SAMPLED_PES_AND_STEPS[usize::from(!sampled.whole)];
    let mut seen = SampleSums::default();
    for at in spread(holding.len(), pes) {
        tile.run(holding[at], steps, &mut seen);
    }
    seen.fit()
}

/// Sums over the sampled blocks, from which cycles are fitted to steps and products.
#[derive(Default)]
struct SampleSums {
    cycles: f64,
    steps: f64,
    products: f64,
    /// Of products of two of a block's sums.
    steps_steps: f64,
    steps_products: f64,
    products_products: f64,
    steps_cycles: f64,
    products_cycles: f64,
    blocks: f64,
    /// Cycles that their first steps waited.
    carried: f64,
    /// Cycles to empty the queues at the ends of rounds.
    tails: f64,
    rounds: f64,
}

impl SampleSums {
    /// Adds a block and the cycles that it took.
    fn block(&mut self, steps: f64, products: f64, cycles: f64) {
        self.blocks += 1.0;
        self.steps += steps;
        self.products += products;
        self.cycles += cycles;
        self.steps_steps += steps * steps;
        self.steps_products += steps * products;
        self.products_products += products * products;
        self.steps_cycles += steps * cycles;
        self.products_cycles += products * cycles;
    }

    /// Least squares over the blocks, under the condition that the fitted cycles of all blocks have the measured sum.
    fn fit(&self) -> FittedCycles {
        let tail = self.tails / self.rounds.max(1.0);
        let (steps, products) = (self.steps_steps, self.products_products);
        let determinant = steps * products - self.steps_products * self.steps_products;
        // Where every step has equally many products, cycles for steps and for products cannot be told apart.
        let told_apart = determinant > 1e-6 * steps * products;
        let of_step = if self.cycles > self.steps && told_apart {
            let numerator =
                self.steps_cycles * products - self.products_cycles * self.steps_products;
            (numerator / determinant).clamp(0.0, 1.0)
        } else {
            1.0
        };
        let rest = (self.cycles - of_step * self.steps).max(0.0);
        FittedCycles {
            of_step,
            of_product: rest / self.products.max(1.0),
            carried: self.carried / self.blocks.max(1.0),
            tail,
        }
    }
}

/// A pass, and the blocks of weights and of activations that it multiplies.
struct PassBlocks<'a> {
    candidate: &'a Candidate<'a>,
    conv: &'a IntConv,
    positions: Positions<'a>,
    source: &'a scnn_isa::layout::Tile,
    inner: Rect,
    /// The output channels of the groups that are looked at, of one PE group each.
    of_rounds: Vec<Span>,
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

/// A summand that makes any sum of addresses negative: the tap reaches outside.
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

/// The part of a tile in a PE, and the outputs that the taps reach from its positions.
struct Held {
    rect: Rect,
    rows: Reach,
    cols: Reach,
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

/// The elements of a block, kept from one to the next.
#[derive(Default)]
struct Buffers<'h> {
    activations: Vec<Activation<'h>>,
    weights: Vec<Weight>,
}

impl<'a> PassBlocks<'a> {
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
        let of_round = |at: usize| {
            let groups = candidate.of_round(sampled.rounds[at]);
            let filled = groups.iter().filter(|k| !k.is_empty());
            filled.copied().next()
        };
        let rounds = spread(sampled.rounds.len(), ROUNDS);
        Self {
            candidate,
            conv,
            positions,
            source: tile,
            inner,
            of_rounds: rounds.into_iter().filter_map(of_round).collect(),
            taps: taps_of_residues(conv, candidate.layout.residues),
            images,
            rows,
            cols,
        }
    }

    /// Runs up to `most` steps of a PE, as many in each round.
    fn run(&self, pe: usize, most: usize, seen: &mut SampleSums) {
        let pes = self.source.pes();
        let rect = self
            .source
            .pe_rect(pe as u32 / pes.cols, pe as u32 % pes.cols);
        let rows = Reach::of(&self.conv.y, rect.y, self.inner.y, self.cols);
        let cols = Reach::of(&self.conv.x, rect.x, self.inner.x, 1);
        let held = Held { rect, rows, cols };
        let mut buffers = Buffers::default();
        let mut queues = Queues::new(self.candidate.machine);
        for (number, &k) in self.of_rounds.iter().enumerate() {
            let most = most * (number + 1) / self.of_rounds.len();
            let before = queues.steps;
            self.round((&mut queues, &mut buffers), seen, (pe, &held), k, most);
            if queues.steps > before {
                seen.tails += queues.tail() as f64;
                seen.rounds += 1.0;
            }
        }
    }

    /// Runs blocks of the output channels `k` on the part of the tile that a PE holds, as long as its queues have had fewer
    /// than `most` steps.
    fn round<'h>(
        &self,
        (queues, buffers): (&mut Queues, &mut Buffers<'h>),
        seen: &mut SampleSums,
        (pe, held): (usize, &'h Held),
        k: Span,
        most: usize,
    ) {
        let candidate = self.candidate;
        let area = self.rows * self.cols;
        let residues = candidate.layout.residues;
        let inputs = self.positions.weights.inputs(k);
        let (channels, count) = (inputs.len() as usize, residues.count() as usize);
        // All blocks, or one of each of some channels, of all residues in turn.
        let blocks = if channels * count <= CHANNELS {
            (0..channels * count).map(|at| (at / count, at)).collect()
        } else {
            let channels = spread(channels, CHANNELS).into_iter().zip(0..);
            channels.collect::<Vec<(usize, usize)>>()
        };
        for (at, number) in blocks {
            if queues.steps >= most {
                return;
            }
            // Other channels in every PE, so that together they see most of them.
            let channel = inputs.begin + (at as u32 + pe as u32) % inputs.len();
            let residue = (number % count) as u32;
            self.weights(channel, residue as usize, k, &mut buffers.weights);
            if buffers.weights.is_empty() {
                continue;
            }
            let positions = self.positions.occupancy.positions(
                candidate.layer.source.tensor,
                candidate.layer.source.channels.begin + channel,
                held.rect,
                (residues, residue),
            );
            let activations = positions.map(|(n, y, x)| Activation {
                image: i64::from(n - held.rect.n.begin) * area,
                rows: held.rows.by_tap(y),
                cols: held.cols.by_tap(x),
            });
            let enough = queues.activations_of_steps(most - queues.steps, buffers.weights.len());
            buffers.activations.clear();
            buffers.activations.extend(activations.take(enough));
            let before = (queues.steps, queues.products, queues.now);
            let carried = queues.block(&buffers.activations, &buffers.weights, most);
            seen.carried += carried as f64;
            let steps = (queues.steps - before.0) as f64;
            let products = (queues.products - before.1) as f64;
            seen.block(steps, products, (queues.now - before.2) as f64);
        }
    }

    /// Finds the weights of a block of the output channels `k`, in its order.
    fn weights(&self, channel: u32, residue: usize, k: Span, found: &mut Vec<Weight>) {
        let taps = &self.taps[residue];
        let pitch = self.images * self.rows * self.cols;
        let weights = self.positions.weights.of(channel, k);
        let weights = weights
            .filter(|(_, tap)| taps.len() == self.taps_in_all() || taps.binary_search(tap).is_ok())
            .map(|(output, tap)| Weight {
                channel: i64::from(output - k.begin) * pitch,
                tap: tap as usize,
            });
        found.clear();
        found.extend(weights);
        if self.candidate.order == WeightOrder::Rsk {
            found.sort_by_key(|weight| (weight.tap, weight.channel));
        }
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
    /// Products that landed.
    products: u64,
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
            products: 0,
        }
    }

    /// Activations that a block of `weights` weights meets within `steps` steps, a whole number of vectors.
    const fn activations_of_steps(&self, steps: usize, weights: usize) -> usize {
        let of_vector = weights.div_ceil(self.widths.1);
        steps.div_ceil(of_vector) * self.widths.0
    }

    /// Runs the steps of a block, as long as there are fewer than `most` in all; returns the cycles that the first one waited.
    fn block(&mut self, activations: &[Activation<'_>], weights: &[Weight], most: usize) -> u64 {
        let mut carried = None;
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
                    return carried.unwrap_or(0);
                }
                for of_activation in self.places.chunks_exact(taps) {
                    for weight in weights {
                        let address = of_activation[weight.tap] + weight.channel;
                        if let Ok(address) = u64::try_from(address) {
                            let bank = self.bank(address);
                            self.arriving[bank] += 1;
                            self.products += 1;
                            self.met[bank / 64] |= 1 << (bank % 64);
                        }
                    }
                }
                let waited = self.step();
                carried.get_or_insert(waited);
            }
        }
        carried.unwrap_or(0)
    }

    /// Cycles until all banks have retired what waits before them.
    fn tail(&self) -> u64 {
        let last = self.empty.iter().max().copied().unwrap_or(0);
        last.saturating_sub(self.now)
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

    /// Queues the step's products when there is room for them; returns the cycles that it waited.
    fn step(&mut self) -> u64 {
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
        let waited = met(&self.met).map(waiting).max().unwrap_or(0);
        self.now += waited;
        for bank in met(&self.met) {
            self.empty[bank] =
                self.empty[bank].max(self.now) + std::mem::take(&mut self.arriving[bank]);
        }
        self.met.fill(0);
        self.now += 1;
        self.steps += 1;
        waited
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
