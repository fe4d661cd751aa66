//! Reading the weights of a group of output channels, and counting the elements of its blocks.
//!
//! It is the mapper's hot loop: every grouping that the search tries is counted, a read and an addition for each weight.

use scnn_isa::codec::Format;
use scnn_isa::layer::WeightOrder;
use scnn_isa::plane::Span;

/// Reads the weights of one group of output channels after the other. Where the next group follows the last one, each
/// channel is read on from where it was left: a search in every channel would cost more than what it finds.
#[derive(Default)]
pub(super) struct Reader {
    first: u32,
    positions: Span,
    /// By channel: how many weights lie before the next ones.
    read: Vec<usize>,
}

impl Reader {
    /// Prepares to read the weights at `positions` in `channels`, of which the first is `first`.
    pub(super) fn turn_to(&mut self, first: u32, channels: &[Vec<u32>], positions: Span) {
        if (self.first, self.positions.end) != (first, positions.begin)
            || self.read.len() != channels.len()
        {
            let before = |weights: &Vec<u32>| weights.partition_point(|&p| p < positions.begin);
            self.read = channels.iter().map(before).collect();
        }
        self.first = first;
        self.positions = positions;
    }

    /// The weights of channel `c`.
    pub(super) fn read<'w>(&mut self, c: usize, weights: &'w [u32]) -> &'w [u32] {
        let rest = &weights[self.read[c]..];
        let count = rest.iter().take_while(|&&p| p < self.positions.end);
        let found = &rest[..count.count()];
        self.read[c] += found.len();
        found
    }
}

/// Counts the coded elements of blocks.
pub(super) struct Counter<'a> {
    taps: u32,
    residue_taps: &'a [Vec<u32>],
    order: WeightOrder,
    /// Places that one element reaches: itself and the longest run of zeros before it.
    reach: u32,
    /// By tap: the residues that it meets, its index among the taps of that residue, and their number.
    meets: Vec<Vec<(usize, u32, u32)>>,
    /// By residue: where in the block the weights lie.
    places: Vec<Vec<u32>>,
}

impl<'a> Counter<'a> {
    /// For kernels of `taps` weights in `order`, where `residue_taps` are the taps that meet each residue.
    pub(super) fn new(
        taps: u32,
        residue_taps: &'a [Vec<u32>],
        order: WeightOrder,
        format: Format,
    ) -> Self {
        let mut meets = vec![Vec::new(); taps as usize];
        for (residue, taps) in residue_taps.iter().enumerate() {
            for (index, &tap) in taps.iter().enumerate() {
                meets[tap as usize].push((residue, index as u32, taps.len() as u32));
            }
        }
        Self {
            taps,
            residue_taps,
            order,
            reach: format.max_run() + 1,
            meets,
            places: vec![Vec::new(); residue_taps.len()],
        }
    }

    /// Adds to `sizes`, by residue, the elements that the `weights` of one channel are coded in for the group `k`.
    pub(super) fn count(&mut self, weights: &[u32], k: Span, sizes: &mut [u32]) {
        if weights.len() as u32 == k.len() * self.taps {
            // No zeros, so no placeholders either.
            for (size, taps) in sizes.iter_mut().zip(self.residue_taps) {
                *size += k.len() * taps.len() as u32;
            }
            return;
        }
        if let ([size], WeightOrder::Krs) = (&mut *sizes, self.order) {
            // One block in the order of the weights themselves.
            let first = k.begin * self.taps;
            *size += elements(weights.iter().map(|position| position - first), self.reach);
            return;
        }
        for &position in weights {
            let (ko, tap) = (position / self.taps - k.begin, position % self.taps);
            for &(residue, index, count) in &self.meets[tap as usize] {
                self.places[residue].push(match self.order {
                    WeightOrder::Krs => ko * count + index,
                    WeightOrder::Rsk => index * k.len() + ko,
                });
            }
        }
        for (size, places) in sizes.iter_mut().zip(&mut self.places) {
            if self.order == WeightOrder::Rsk {
                places.sort_unstable();
            }
            *size += elements(places.iter().copied(), self.reach);
            places.clear();
        }
    }
}

/// Elements that code what lies at `places`, ascending: each one, and placeholders where zeros run too long.
fn elements(places: impl Iterator<Item = u32>, reach: u32) -> u32 {
    let (mut count, mut next) = (0, 0);
    for place in places {
        count += 1 + (place - next) / reach;
        next = place + 1;
    }
    count
}
