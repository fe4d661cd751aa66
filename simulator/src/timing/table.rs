//! The weights of a part, tabulated for the activations that they meet.
//!
//! The products of one weight vector with one activation are the histogram of the weights' addresses modulo the banks,
//! rotated by the activation's address; written twice in a row, every rotation of it is contiguous in memory. There is a
//! row of the table for each (class of activations, weight vector): the weights whose tap keeps the class in the plane.
//! The products of a step are the sum of as many rows, each from its own place on, as the activation vector has lanes.
//!
//! A class is tabulated when a part first meets it. For bank maps that are no rotation there are no histograms, and
//! the weights are gone through one by one.

use super::addresses::{AccumulatorTile, BankOf};
use super::vectors::{Classes, Spacing, class_bit};
use super::weights::{PLACEHOLDER, StoredWeight};
use scnn_isa::layer::ArrayStage;

/// A weight of a vector.
#[derive(Clone, Copy, Debug)]
pub struct WeightLane {
    /// Its vector.
    vector: u32,
    /// Its tap, r major.
    tap: u32,
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
    pub fn begin(&mut self, weights: &[StoredWeight], width: usize, addresses: &TapAddresses) {
        self.vectors = weights.len().div_ceil(width);
        self.known = 0;
        self.lanes.clear();
        self.starts.clear();
        self.starts.push(0);
        for (vector, weights) in weights.chunks(width).enumerate() {
            for weight in weights.iter().filter(|weight| weight.tap != PLACEHOLDER) {
                let tap = addresses.taps[weight.tap as usize];
                let address = i64::from(weight.k) * addresses.channel + tap;
                self.lanes.push(WeightLane {
                    vector: vector as u32,
                    tap: weight.tap,
                    address: self.spacing.banks.part(address),
                });
            }
            self.starts.push(self.lanes.len() as u32);
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
        for class in (1..classes.count()).filter(|&class| class_bit(class) & missing != 0) {
            let begin = self.first + class * self.spacing.class;
            let rows = &mut self.entries[begin..][..self.vectors * 2 * banks];
            let inside = classes.inside(class);
            rows.fill(0);
            for lane in &self.lanes {
                let one = u8::from(inside[lane.tap as usize]);
                let at = lane.vector as usize * 2 * banks + lane.address as usize;
                rows[at] += one;
                rows[at + banks] += one;
            }
        }
    }
}

impl WeightLane {
    /// Whether its tap keeps a class in the plane.
    pub fn reaches(&self, class: usize, classes: &Classes) -> bool {
        classes.inside(class)[self.tap as usize]
    }
}
