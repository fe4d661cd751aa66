//! Counting the elements of the blocks of one input channel.
//!
//! It is the mapper's hot loop: every grouping that the search tries is counted, a read and an addition for each weight.

use scnn_isa::codec::Format;
use scnn_isa::layer::WeightOrder;
use scnn_isa::plane::Span;

/// Where the weights of a channel stand in their blocks.
#[derive(Debug)]
pub struct Places {
    order: WeightOrder,
    residues: usize,
    /// By tap: the residues that it meets, its index among the taps of that residue, and their number.
    meets: Vec<Vec<(usize, u32, u32)>>,
}

impl Places {
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
    taps: u32,
    residue_taps: &'a [Vec<u32>],
    places: Places,
    /// Positions that one element reaches, itself and the longest run of zeros before it, as a power of two: a run
    /// length is a number of bits.
    reach: u32,
}

impl<'a> Counter<'a> {
    /// See [`Places::new`].
    pub(super) fn new(
        taps: u32,
        residue_taps: &'a [Vec<u32>],
        order: WeightOrder,
        format: Format,
    ) -> Self {
        Self {
            taps,
            residue_taps,
            places: Places::new(taps, residue_taps, order),
            reach: u32::from(format.index_bits),
        }
    }

    /// Counts the blocks of one channel, by residue: those of its `weights` for the output channels `k`. `places` is
    /// scratch, by residue.
    pub(super) fn count(
        &self,
        weights: &[u32],
        k: Span,
        places: &mut [Vec<u32>],
        sizes: &mut [u32],
    ) {
        if weights.len() as u32 == k.len() * self.taps {
            // No zeros, so no placeholders either.
            for (size, taps) in sizes.iter_mut().zip(self.residue_taps) {
                *size = k.len() * taps.len() as u32;
            }
            return;
        }
        if let ([size], true) = (&mut *sizes, self.places.ascend()) {
            // One block in the order of the weights themselves.
            let first = k.begin * self.taps;
            *size = self.elements(weights.iter().map(|position| position - first));
            return;
        }
        for &position in weights {
            let (output, tap) = (position / self.taps, position % self.taps);
            self.places
                .each(k, output, tap, |residue, place| places[residue].push(place));
        }
        for (size, places) in sizes.iter_mut().zip(places) {
            if !self.places.ascend() {
                places.sort_unstable();
            }
            *size = self.elements(places.iter().copied());
            places.clear();
        }
    }

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
