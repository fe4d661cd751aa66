//! The weights of a part, tabulated for the activations that they meet.
//!
//! The products of one weight vector with one activation are the histogram of the weights' addresses modulo the banks,
//! rotated by the activation's address; written twice in a row, every rotation of it is contiguous in memory. There is a
//! row of the table for each (class of activations, weight vector): the weights whose tap keeps the class in the plane.
//! The products of a step are the sum of as many rows, each from its own place on, as the activation vector has lanes.
//!
//! Nor are there for a block of one activation under one tap: what it needs are the weights of that tap.
//!
//! A class is tabulated when a part first meets it; for the paper's 32 banks by vector instructions. For bank maps that are no rotation there are no histograms, and
//! the weights are gone through one by one.

#[cfg(target_arch = "x86_64")]
mod avx2;

use super::addresses::{AccumulatorTile, BankOf};
use super::vectors::{Classes, SHARED_BIT, Spacing};
use crate::weights::StoredWeights;
use scnn_isa::layer::ArrayStage;

/// A weight of a vector.
#[derive(Clone, Copy, Debug)]
pub struct WeightLane {
    /// Its tap, r major.
    tap: u32,
    /// Its part of the address.
    pub address: i32,
}

/// A weight among those of its tap.
#[derive(Clone, Copy, Debug, Default)]
pub struct TapLane {
    /// Its vector.
    pub vector: u32,
    /// Its part of the address.
    pub address: i32,
}

/// What a layer's parts have in common in one pass.
#[derive(Clone, Debug)]
pub struct TapAddresses {
    /// Part of the address by tap, r major.
    taps: Vec<i64>,
    /// Part of the address of the second output channel.
    channel: i64,
}

impl TapAddresses {
    /// Of a pass with this accumulator tile.
    pub fn new(array: &ArrayStage, accumulators: AccumulatorTile) -> Self {
        let (rows, cols) = (array.y.kernel, array.x.kernel);
        Self {
            taps: (0..rows)
                .flat_map(|r| (0..cols).map(move |s| (r, s)))
                .map(|(r, s)| accumulators.tap(array, r, s))
                .collect(),
            channel: accumulators.channel(1),
        }
    }
}

/// The table of one part.
pub struct Table {
    /// Entries; they count from `first`, which is where a cache line begins.
    entries: Vec<u8>,
    first: usize,
    spacing: Spacing,
    /// Weight vectors of the part.
    pub vectors: usize,
    lanes: Vec<WeightLane>,
    /// First lane of each vector, with the end behind.
    starts: Vec<u32>,
    /// The classes that are tabulated.
    known: u64,
    taps: usize,
    /// The lanes by tap, in the order of their vectors; none before they are asked for.
    by_tap: Vec<TapLane>,
    /// End of the lanes of each tap, behind the begin of the first.
    tap_ends: Vec<u32>,
}

/// Bytes of a cache line.
const LINE: usize = 64;

impl Table {
    /// For parts of at most `vectors` weight vectors.
    pub fn new(banks: BankOf, vectors: usize) -> Self {
        let class = match banks {
            BankOf::Modulo(_) => vectors.max(1) * 2 * banks.count(),
            // Only to tell classes apart.
            BankOf::Xor(_) => 1,
        };
        Self {
            entries: Vec::new(),
            first: 0,
            spacing: Spacing { class, banks },
            vectors: 0,
            lanes: Vec::new(),
            starts: vec![0],
            known: 0,
            taps: 0,
            by_tap: Vec::new(),
            tap_ends: Vec::new(),
        }
    }

    /// Makes room for `classes` classes.
    pub fn make_room(&mut self, classes: usize) {
        let needed = match self.spacing.banks {
            BankOf::Modulo(_) => classes * self.spacing.class + LINE,
            BankOf::Xor(_) => 0,
        };
        if self.entries.len() < needed {
            self.entries = vec![0; needed];
            self.first = self.entries.as_ptr().align_offset(LINE).min(LINE);
            self.known = 0;
        }
    }

    /// How far classes and banks are apart.
    pub fn spacing(&self) -> Spacing {
        self.spacing
    }

    /// The rows, from the first class on: each is twice the banks.
    #[inline]
    pub fn rows(&self) -> &[u8] {
        &self.entries[self.first..]
    }

    /// The weights of a vector.
    pub fn weights(&self, vector: usize) -> &[WeightLane] {
        &self.lanes[self.starts[vector] as usize..self.starts[vector + 1] as usize]
    }

    /// Begins a part of `weights` in vectors of `width`.
    pub fn begin(&mut self, weights: StoredWeights<'_>, width: usize, addresses: &TapAddresses) {
        let vectors = weights.vectors(width);
        self.vectors = vectors.len();
        self.known = 0;
        self.taps = addresses.taps.len();
        self.tap_ends.clear();
        self.lanes.clear();
        self.starts.clear();
        self.starts.push(0);
        for vector in vectors {
            for weight in vector.each().flatten() {
                let tap = addresses.taps[weight.tap as usize];
                let address = i64::from(weight.k) * addresses.channel + tap;
                self.lanes.push(WeightLane {
                    tap: weight.tap,
                    address: self.spacing.banks.part(address),
                });
            }
            self.starts.push(self.lanes.len() as u32);
        }
    }

    /// The weights of a tap.
    #[inline]
    pub fn of_tap(&mut self, tap: u32) -> &[TapLane] {
        if self.tap_ends.is_empty() {
            self.sort_by_tap();
        }
        let [begin, end] = [0, 1].map(|next| self.tap_ends[tap as usize + next] as usize);
        &self.by_tap[begin..end]
    }

    fn sort_by_tap(&mut self) {
        self.tap_ends.resize(self.taps + 2, 0);
        for lane in &self.lanes {
            self.tap_ends[lane.tap as usize + 2] += 1;
        }
        for tap in 2..self.tap_ends.len() {
            self.tap_ends[tap] += self.tap_ends[tap - 1];
        }
        self.by_tap.resize(self.lanes.len(), TapLane::default());
        for (vector, lanes) in (0u32..).zip(self.starts.windows(2)) {
            for lane in &self.lanes[lanes[0] as usize..lanes[1] as usize] {
                // The begin of the tap's lanes moves on to their end.
                let to = &mut self.tap_ends[lane.tap as usize + 1];
                let address = lane.address;
                self.by_tap[*to as usize] = TapLane { vector, address };
                *to += 1;
            }
        }
    }

    /// Tabulates what of `wanted` is not known.
    #[inline]
    pub fn know(&mut self, wanted: u64, classes: &Classes) {
        if wanted & !self.known != 0 {
            self.tabulate(wanted, classes);
        }
    }

    fn tabulate(&mut self, wanted: u64, classes: &Classes) {
        let missing = wanted & !self.known;
        self.known |= missing;
        let BankOf::Modulo(banks) = self.spacing.banks else {
            return;
        };
        let banks = banks as usize;
        let shared = if missing >> SHARED_BIT == 0 {
            0..0
        } else {
            SHARED_BIT..classes.count()
        };
        let mut left = missing & !(1 << SHARED_BIT);
        let single = std::iter::from_fn(|| {
            let class = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (class < SHARED_BIT).then_some(class)
        });
        for class in single.chain(shared) {
            let begin = self.first + class * self.spacing.class;
            let rows = &mut self.entries[begin..][..self.vectors * 2 * banks];
            fill(
                rows,
                banks,
                &self.lanes,
                &self.starts,
                classes.inside(class),
            );
        }
    }
}

/// Writes the rows of one class: of every vector, from one of `starts` to the next, the histogram of the `lanes` whose
/// taps are `inside`, twice.
fn fill(rows: &mut [u8], banks: usize, lanes: &[WeightLane], starts: &[u32], inside: &[bool]) {
    #[cfg(target_arch = "x86_64")]
    if banks == avx2::BANKS && avx2::fill(rows, lanes, starts, inside) {
        return;
    }
    fill_portable(rows, banks, lanes, starts, inside);
}

fn fill_portable(
    rows: &mut [u8],
    banks: usize,
    lanes: &[WeightLane],
    starts: &[u32],
    inside: &[bool],
) {
    rows.fill(0);
    for (row, vector) in rows.chunks_mut(2 * banks).zip(starts.windows(2)) {
        for lane in &lanes[vector[0] as usize..vector[1] as usize] {
            let one = u8::from(inside[lane.tap as usize]);
            row[lane.address as usize] += one;
            row[lane.address as usize + banks] += one;
        }
    }
}

impl WeightLane {
    /// Whether its tap keeps a class in the plane.
    pub fn reaches(self, class: usize, classes: &Classes) -> bool {
        classes.inside(class)[self.tap as usize]
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::{WeightLane, avx2, fill_portable};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_form_fills_the_same_rows(
            lanes in prop::collection::vec((0u32..9, 0i32..32), 0..60),
            widths in prop::collection::vec(0usize..7, 1..20),
            inside in prop::collection::vec(any::<bool>(), 9),
        ) {
            let lanes: Vec<WeightLane> = lanes.into_iter().map(|(tap, address)| WeightLane { tap, address }).collect();
            let mut starts = vec![0];
            for width in widths {
                let end = starts[starts.len() - 1] + width as u32;
                starts.push(end.min(lanes.len() as u32));
            }
            let mut ours = vec![7; (starts.len() - 1) * 2 * avx2::BANKS];
            let mut twin = vec![8; ours.len()];
            fill_portable(&mut twin, avx2::BANKS, &lanes, &starts, &inside);
            if avx2::fill(&mut ours, &lanes, &starts, &inside) {
                prop_assert_eq!(ours, twin);
            }
        }
    }
}
