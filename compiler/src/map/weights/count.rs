//! Counting the elements of the blocks of one input channel.
//!
//! This is the mapper's hot loop: every grouping that the search tries is counted. Where a block has the weights in their own
//! order, which is most of them, that is a dozen operations for 64 weights; else a division and a write for each non-zero.

use crate::quantise::nonzeros::NonzeroWeights;
use crate::quantise::nonzeros::bits::{self, WORD};
use multiversion::multiversion;
use scnn_isa::codec::Format;
use scnn_isa::layer::WeightOrder;
use scnn_isa::plane::Span;

/// Positions of the weights of a channel in their blocks.
#[derive(Debug)]
pub struct TapPositions {
    order: WeightOrder,
    residues: usize,
    /// By tap: the residues that it meets, its index among the taps of that residue, and their number.
    meets: Vec<Vec<(usize, u32, u32)>>,
}

impl TapPositions {
    /// For kernels of `taps` weights in `order`, where `residue_taps` are the taps that meet each residue.
    pub fn new(taps: u32, residue_taps: &[Vec<u32>], order: WeightOrder) -> Self {
        let mut meets = vec![Vec::new(); taps as usize];
        for (residue, taps) in residue_taps.iter().enumerate() {
            for (index, &tap) in taps.iter().enumerate() {
                meets[tap as usize].push((residue, index as u32, taps.len() as u32));
            }
        }
        Self {
            order,
            residues: residue_taps.len(),
            meets,
        }
    }

    /// Residues, and so blocks of a channel.
    pub const fn residues(&self) -> usize {
        self.residues
    }

    /// Whether weights in the order of output channels and taps are in the order of their places.
    pub fn ascend(&self) -> bool {
        self.order == WeightOrder::Krs
    }

    /// Calls `found` with each residue that a tap meets, and the place there of the weight of output channel `output` in
    /// the block of the output channels `k`.
    #[inline]
    pub fn each(&self, k: Span, output: u32, tap: u32, mut found: impl FnMut(usize, u32)) {
        let ko = output - k.begin;
        for &(residue, index, count) in &self.meets[tap as usize] {
            let place = match self.order {
                WeightOrder::Krs => ko * count + index,
                WeightOrder::Rsk => index * k.len() + ko,
            };
            found(residue, place);
        }
    }
}

/// Counts the coded elements of blocks.
pub(super) struct Counter<'a> {
    residue_taps: &'a [Vec<u32>],
    places: TapPositions,
    /// Positions that one element reaches, itself and the longest run of zeros before it, as a power of two: a run
    /// length is a number of bits.
    reach: u32,
}

impl<'a> Counter<'a> {
    /// See [`TapPositions::new`].
    pub(super) fn new(
        taps: u32,
        residue_taps: &'a [Vec<u32>],
        order: WeightOrder,
        format: Format,
    ) -> Self {
        Self {
            residue_taps,
            places: TapPositions::new(taps, residue_taps, order),
            reach: u32::from(format.index_bits),
        }
    }

    /// Begins to count the blocks of `groups` of output channels for input channels that reach them, as `channel` does.
    pub(super) fn begin(
        &'a self,
        weights: &NonzeroWeights,
        channel: u32,
        groups: &'a [Span],
    ) -> Counting<'a> {
        let places = groups.iter().map(|&k| weights.places(channel, k));
        let residues = self.residue_taps.len();
        Counting {
            counter: self,
            groups,
            places: places.collect(),
            of_residues: vec![Vec::new(); residues],
            sizes: vec![0; groups.len() * residues],
        }
    }
}

/// The blocks of one input channel after another.
pub(super) struct Counting<'a> {
    counter: &'a Counter<'a>,
    groups: &'a [Span],
    /// By group: its places in the bits of a channel.
    places: Vec<Span>,
    /// Scratch: places in the blocks, by residue.
    of_residues: Vec<Vec<u32>>,
    /// By (group, residue): elements of the block.
    sizes: Vec<u32>,
}

impl Counting<'_> {
    /// Counts the blocks of a channel.
    pub(super) fn count(&mut self, weights: &NonzeroWeights, channel: u32) {
        let counter = self.counter;
        let ascend = counter.places.ascend();
        if self.of_residues.len() == 1 && ascend {
            // One block in the order of the weights themselves.
            let bits = weights.channel(channel);
            count_in_order(bits, &self.places, counter.reach, &mut self.sizes);
            return;
        }
        let groups = self.groups.iter();
        let of_groups = self.sizes.chunks_exact_mut(self.of_residues.len().max(1));
        for (&k, sizes) in groups.zip(of_groups) {
            for (output, tap) in weights.of(channel, k) {
                let found = |residue: usize, place| self.of_residues[residue].push(place);
                counter.places.each(k, output, tap, found);
            }
            for (size, places) in sizes.iter_mut().zip(&mut self.of_residues) {
                if !ascend {
                    places.sort_unstable();
                }
                *size = counter.elements(places.drain(..));
            }
        }
    }

    /// By group: the sizes of the blocks of the channel that was counted last, by residue.
    pub(super) fn sizes(&self) -> impl Iterator<Item = &[u32]> {
        self.sizes.chunks_exact(self.of_residues.len().max(1))
    }
}

impl Counter<'_> {
    /// Elements that code what lies at `places`, ascending: each one, and placeholders where zeros run too long.
    fn elements(&self, places: impl Iterator<Item = u32>) -> u32 {
        let (mut count, mut next) = (0, 0);
        for place in places {
            count += 1 + ((place - next) >> self.reach);
            next = place + 1;
        }
        count
    }
}

/// Elements that code each of `blocks` of some bits: the ones, and placeholders for runs of zeros of two to the power of
/// `reach` before them.
#[multiversion(targets("x86_64+bmi1+bmi2+lzcnt+popcnt"))]
fn count_in_order(bits: &[u64], blocks: &[Span], reach: u32, sizes: &mut [u32]) {
    for (block, size) in blocks.iter().zip(sizes) {
        let (mut count, mut zeros) = (0, 0);
        for (_, word, len) in bits::pieces(bits, block.begin as usize, block.end as usize) {
            if word == 0 {
                zeros += len as u32;
                continue;
            }
            count += (zeros + word.trailing_zeros()) >> reach;
            count += word.count_ones() + placeholders_within(word, reach);
            zeros = len as u32 + word.leading_zeros() - WORD as u32;
        }
        *size = count;
    }
}

/// Placeholders between the ones of a word, which has some.
#[inline]
fn placeholders_within(word: u64, reach: u32) -> u32 {
    if reach >= WORD.ilog2() {
        return 0;
    }
    // Few words have a run of zeros that long: those in which a place behind a one is not reached from any.
    let reached = (0..reach).fold(word, |reached, at| reached | reached << (1 << at));
    let between = (u64::MAX >> word.leading_zeros()) & !((word & word.wrapping_neg()) - 1);
    if between & !reached == 0 {
        return 0;
    }
    let (mut count, mut before) = (0, word.trailing_zeros());
    let mut rest = word & (word - 1);
    while rest != 0 {
        let next = rest.trailing_zeros();
        count += (next - before - 1) >> reach;
        before = next;
        rest &= rest - 1;
    }
    count
}
