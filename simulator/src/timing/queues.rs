//! The queues before the accumulator banks, and the steps that fill them.
//!
//! A step issues when each of its products finds room in the queue of its bank; every bank retires one product a
//! cycle. A bank's share of a step that exceeds the queue's depth is admitted when that queue is empty. With `q`
//! products waiting and `c` arriving, a bank lets a step pass after
//!
//! ```text
//! 0                   if c = 0
//! q                   if c > depth
//! max(0, q + c - depth) otherwise
//! ```
//!
//! cycles, the step waits for the slowest bank, and then `q = max(0, q + c - 1)`.
//!
//! [`Wide`] does this for any machine. [`Bytes`] is for machines of 32 banks, the paper's: the queues of a PE are one
//! vector of bytes, and a step is as many unaligned loads as the activation vector has lanes, four operations more, and
//! no branch; whether any step had to wait is asked once for all weight vectors.

#[cfg(target_arch = "x86_64")]
mod avx2;

use super::addresses::BankOf;
use super::table::{Table, TapLane};
use super::vectors::{BlockVectors, Classes, PassVectors};
use scnn_isa::machine::Machine;

/// The steps of a block: every weight vector of the table against every activation vector, activations outermost.
#[derive(Clone, Copy)]
pub struct Steps<'a> {
    /// All activation vectors of the pass.
    pub vectors: &'a PassVectors,
    /// The vectors among them that are multiplied.
    pub block: BlockVectors,
    /// The weights; it knows the block's classes.
    pub table: &'a Table,
    /// The classes of the activations.
    pub classes: &'a Classes,
    /// Products that wait in front of a bank.
    pub depth: u16,
}

/// The steps of one activation under one tap: in most of them no lane has a product.
#[derive(Clone, Copy)]
pub struct FewSteps<'a> {
    /// The weights that have, in the order of their vectors.
    pub lanes: &'a [TapLane],
    /// The activation's part of the address.
    pub address: i32,
    /// Weight vectors, with those that have no product.
    pub vectors: u32,
    /// How addresses choose banks.
    pub banks: BankOf,
    /// Products that wait in front of a bank.
    pub depth: u16,
}

/// The queues of one PE.
pub trait Queues: Clone {
    /// Lets `cycles` pass without a step.
    fn idle(&mut self, cycles: u64);
    /// Cycles until all queues are empty.
    fn longest(&self) -> u64;
    /// Products that wait before a bank.
    fn waiting(&self, bank: usize) -> u16;
    /// One more product waits before a bank.
    fn add(&mut self, bank: usize);
    /// Runs the steps; the cycles that they waited for banks.
    fn run(&mut self, steps: &Steps) -> u64;

    /// Runs few steps; the cycles that they waited for banks. Cycles between them are not simulated one by one.
    fn run_few(&mut self, steps: &FewSteps) -> u64 {
        let (mut waited, mut at, mut owed) = (0, 0, 0);
        let bank = |lane: &TapLane| steps.banks.bank(steps.address, lane.address);
        for lanes in steps.lanes.chunk_by(|a, b| a.vector == b.vector) {
            let vector = lanes[0].vector;
            let passed = (owed + vector - at).min(u32::from(u16::MAX)) as u16;
            let wait = |lane| {
                let to = bank(lane);
                let arriving = lanes.iter().filter(|other| bank(other) == to).count() as u16;
                let waiting = self.waiting(to).saturating_sub(passed);
                (waiting + arriving.min(steps.depth)).saturating_sub(steps.depth)
            };
            let wait = lanes.iter().map(wait).max().unwrap_or(0);
            self.idle(u64::from(passed) + u64::from(wait));
            for lane in lanes {
                self.add(bank(lane));
            }
            // The step's own cycle.
            (at, owed) = (vector + 1, 1);
            waited += u64::from(wait);
        }
        self.idle(u64::from(owed + steps.vectors - at));
        waited
    }
}

/// The queues of all PEs, in the form that suits the machine.
pub enum AllQueues {
    /// See [`Bytes`].
    Bytes(Vec<Bytes>),
    /// See [`Wide`].
    Wide(Vec<Wide>),
}

impl AllQueues {
    /// Empty queues.
    pub fn new(machine: &Machine) -> Self {
        let pes = machine.pe_count() as usize;
        if Bytes::fit(machine) {
            Self::Bytes(vec![Bytes([0; Bytes::BANKS]); pes])
        } else {
            Self::Wide(vec![Wide::new(machine.pe.banks as usize); pes])
        }
    }
}

/// Queues of any number of banks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wide {
    waiting: Vec<u16>,
    /// The products of a step.
    products: Vec<u16>,
}

impl Wide {
    /// Empty queues before `banks` banks.
    fn new(banks: usize) -> Self {
        Self {
            waiting: vec![0; banks],
            products: vec![0; banks],
        }
    }

    /// Counts the products of a step by bank.
    fn count_products(&mut self, steps: &Steps, vector: usize, weights: usize) {
        let Steps { vectors, table, .. } = steps;
        let banks = self.products.len();
        self.products.fill(0);
        let first = vector * vectors.width;
        let lanes = first..first + usize::from(vectors.occupied[vector]);
        match table.spacing().banks {
            BankOf::Modulo(_) => {
                for &place in &vectors.places[lanes] {
                    let row = &table.rows()[place as usize + weights * 2 * banks..][..banks];
                    for (products, &more) in self.products.iter_mut().zip(row) {
                        *products += u16::from(more);
                    }
                }
            }
            map @ BankOf::Xor(_) => {
                for lane in lanes {
                    let (class, address) = (vectors.places[lane], vectors.addresses[lane]);
                    for weight in table.weights(weights) {
                        if weight.reaches(class as usize, steps.classes) {
                            self.products[map.bank(address, weight.address)] += 1;
                        }
                    }
                }
            }
        }
    }

    /// Issues the step of the counted products; the cycles it waited.
    fn issue(&mut self, depth: u16) -> u64 {
        let wait = self
            .waiting
            .iter()
            .zip(&self.products)
            .filter(|&(_, &c)| c > 0)
            .map(|(&q, &c)| (q + c.min(depth)).saturating_sub(depth))
            .max()
            .unwrap_or(0);
        for (queue, &arriving) in self.waiting.iter_mut().zip(&self.products) {
            *queue = (queue.saturating_sub(wait) + arriving).saturating_sub(1);
        }
        u64::from(wait)
    }
}

impl Queues for Wide {
    fn idle(&mut self, cycles: u64) {
        let cycles = cycles.min(u64::from(u16::MAX)) as u16;
        for queue in &mut self.waiting {
            *queue = queue.saturating_sub(cycles);
        }
    }

    fn longest(&self) -> u64 {
        u64::from(self.waiting.iter().copied().max().unwrap_or(0))
    }

    fn waiting(&self, bank: usize) -> u16 {
        self.waiting[bank]
    }

    fn add(&mut self, bank: usize) {
        self.waiting[bank] += 1;
    }

    fn run(&mut self, steps: &Steps) -> u64 {
        let mut waited = 0;
        for vector in steps.block.begin..steps.block.end {
            for weights in 0..steps.table.vectors {
                self.count_products(steps, vector as usize, weights);
                waited += self.issue(steps.depth);
            }
        }
        waited
    }
}

/// Queues of 32 banks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(32))]
pub struct Bytes([u8; Self::BANKS]);

impl Bytes {
    const BANKS: usize = 32;

    /// Whether this form suits a machine: the banks are 32 and a rotation, and counts fit a byte.
    fn fit(machine: &Machine) -> bool {
        let known = BankOf::new(machine) == BankOf::Modulo(Self::BANKS as u32);
        let products = machine.multipliers_per_pe() + machine.pe.queue_depth;
        known && products < 256 && Self::supported()
    }

    #[cfg(target_arch = "x86_64")]
    fn supported() -> bool {
        std::arch::is_x86_feature_detected!("avx2")
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn supported() -> bool {
        false
    }
}

impl Queues for Bytes {
    fn idle(&mut self, cycles: u64) {
        let cycles = cycles.min(255) as u8;
        for queue in &mut self.0 {
            *queue = queue.saturating_sub(cycles);
        }
    }

    fn longest(&self) -> u64 {
        u64::from(self.0.into_iter().max().unwrap_or(0))
    }

    fn waiting(&self, bank: usize) -> u16 {
        u16::from(self.0[bank])
    }

    fn add(&mut self, bank: usize) {
        self.0[bank] += 1;
    }

    #[cfg(target_arch = "x86_64")]
    fn run(&mut self, steps: &Steps) -> u64 {
        // SAFETY: queues of this form exist only on processors with AVX2.
        unsafe { avx2::run(&mut self.0, steps) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn run(&mut self, _: &Steps) -> u64 {
        unreachable!("queues of this form exist only on processors with AVX2")
    }
}
