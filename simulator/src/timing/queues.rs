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

use super::vectors::{ActivationBlock, BankOf, WeightVectors};

/// What a PE did for one block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    /// Steps issued.
    pub steps: u64,
    /// Cycles that steps waited for banks.
    pub stalls: u64,
}

/// The queues of one PE: products that wait, by bank.
pub type Waiting = [u16];

/// Lets `cycles` pass without a step.
pub fn idle(waiting: &mut Waiting, cycles: u64) {
    let cycles = cycles.min(u64::from(u16::MAX)) as u16;
    for queue in waiting {
        *queue = queue.saturating_sub(cycles);
    }
}

/// Cycles until all queues are empty.
pub fn longest(waiting: &Waiting) -> u64 {
    u64::from(waiting.iter().copied().max().unwrap_or(0))
}

/// Runs all steps of a block: every weight vector against every activation vector, activations outermost.
pub fn run(
    waiting: &mut Waiting,
    depth: u16,
    activations: &ActivationBlock,
    weights: &WeightVectors,
) -> Busy {
    #[cfg(target_arch = "x86_64")]
    if avx2::fits(waiting, depth, activations, weights) {
        // SAFETY: the processor has AVX2, as `fits` asked.
        return unsafe { avx2::run(waiting, depth, activations, weights) };
    }
    run_portable(waiting, depth, activations, weights)
}

fn run_portable(
    waiting: &mut Waiting,
    depth: u16,
    activations: &ActivationBlock,
    weights: &WeightVectors,
) -> Busy {
    let mut busy = Busy::default();
    let mut products = vec![0u16; waiting.len()];
    for vector in 0..activations.vectors() {
        for step in 0..weights.vectors() {
            products.fill(0);
            count_products(activations, vector, weights, step, |bank| {
                products[bank] += 1;
            });
            busy.stalls += issue(waiting, depth, &products);
            busy.steps += 1;
        }
    }
    busy
}

/// Calls `product` with the bank of every product of a step that is in the plane.
fn count_products(
    activations: &ActivationBlock,
    vector: usize,
    weights: &WeightVectors,
    step: usize,
    mut product: impl FnMut(usize),
) {
    for weight in weights.vector(step) {
        let mut lanes = activations.in_plane(vector, weight.tap);
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            product(activations.bank(vector, lane, weight.address));
        }
    }
}

/// Issues one step of `products` by bank; the cycles it waited.
fn issue(waiting: &mut Waiting, depth: u16, products: &[u16]) -> u64 {
    let wait = waiting
        .iter()
        .zip(products)
        .filter(|&(_, &c)| c > 0)
        .map(|(&q, &c)| (q + c.min(depth)).saturating_sub(depth))
        .max()
        .unwrap_or(0);
    for (queue, &arriving) in waiting.iter_mut().zip(products) {
        *queue = (queue.saturating_sub(wait) + arriving).saturating_sub(1);
    }
    u64::from(wait)
}

/// The paper's machine, 4 weights by 32 banks, 32 banks at a time.
///
/// The bank of a product is the sum of what its activation and its weight contribute, modulo the banks. So the
/// products of one weight with an activation vector are the histogram of the vector's banks, rotated; written twice
/// in a row, every rotation of it is 32 bytes in memory, and a step is four loads and three additions.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{ActivationBlock, BankOf, Busy, Waiting, WeightVectors};
    use crate::timing::vectors::{HISTOGRAM_BANKS, Histogram};
    use std::arch::x86_64::{
        __m256i, _mm256_adds_epu8, _mm256_andnot_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256,
        _mm256_min_epu8, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_storeu_si256,
        _mm256_subs_epu8, _mm256_testz_si256,
    };

    const BANKS: usize = HISTOGRAM_BANKS;
    const WEIGHTS: usize = 4;

    /// Whether this form can run the block: counts must fit a byte.
    pub fn fits(
        waiting: &Waiting,
        depth: u16,
        activations: &ActivationBlock,
        weights: &WeightVectors,
    ) -> bool {
        waiting.len() == BANKS
            && weights.width == WEIGHTS
            && activations.banks == BankOf::Modulo(BANKS as u32)
            && WEIGHTS * activations.width + usize::from(depth) < 256
            && std::arch::is_x86_feature_detected!("avx2")
    }

    struct Queues {
        waiting: __m256i,
        depth: __m256i,
    }

    impl Queues {
        #[inline]
        #[target_feature(enable = "avx2")]
        fn issue(&mut self, products: __m256i) -> u64 {
            let zero = _mm256_setzero_si256();
            let admitted = _mm256_min_epu8(products, self.depth);
            let mut excess = _mm256_subs_epu8(_mm256_adds_epu8(self.waiting, admitted), self.depth);
            let mut wait = 0;
            if _mm256_testz_si256(excess, excess) == 0 {
                excess = _mm256_andnot_si256(_mm256_cmpeq_epi8(products, zero), excess);
                let by_bank: [u8; BANKS] = bytes(excess);
                wait = by_bank.into_iter().max().unwrap_or(0);
                self.waiting = _mm256_subs_epu8(self.waiting, _mm256_set1_epi8(wait as i8));
            }
            let arrived = _mm256_adds_epu8(self.waiting, products);
            self.waiting = _mm256_subs_epu8(arrived, _mm256_set1_epi8(1));
            u64::from(wait)
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn rotated(histogram: &Histogram, rotation: u8) -> __m256i {
        load(&histogram[usize::from(rotation)..usize::from(rotation) + BANKS])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn sum(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        _mm256_adds_epu8(_mm256_adds_epu8(a, b), _mm256_adds_epu8(c, d))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn bytes(vector: __m256i) -> [u8; BANKS] {
        let mut bytes = [0; BANKS];
        // SAFETY: the array has 32 bytes.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) };
        bytes
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8]) -> __m256i {
        debug_assert!(bytes.len() >= BANKS);
        // SAFETY: the caller's slice has at least 32 bytes.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    /// As [`super::run_portable`].
    #[target_feature(enable = "avx2")]
    pub fn run(
        waiting: &mut Waiting,
        depth: u16,
        activations: &ActivationBlock,
        weights: &WeightVectors,
    ) -> Busy {
        let mut start = [0u8; BANKS];
        for (byte, &queue) in start.iter_mut().zip(waiting.iter()) {
            *byte = queue as u8;
        }
        let mut queues = Queues {
            waiting: load(&start),
            depth: _mm256_set1_epi8(depth as i8),
        };
        let mut busy = Busy::default();
        for vector in 0..activations.vectors() {
            busy.steps += weights.vectors() as u64;
            let histograms = activations.histograms(vector);
            let steps = weights.rotations.chunks_exact(WEIGHTS);
            if let Some(kinds) = activations.kinds(vector) {
                for (rotations, taps) in steps.zip(weights.taps.chunks_exact(WEIGHTS)) {
                    let of = |lane: usize| {
                        let histogram = &histograms[usize::from(kinds[taps[lane] as usize])];
                        rotated(histogram, rotations[lane])
                    };
                    busy.stalls += queues.issue(sum(of(0), of(1), of(2), of(3)));
                }
            } else {
                let histogram = &histograms[0];
                for rotations in steps {
                    let of = |lane: usize| rotated(histogram, rotations[lane]);
                    busy.stalls += queues.issue(sum(of(0), of(1), of(2), of(3)));
                }
            }
        }
        for (queue, byte) in waiting.iter_mut().zip(bytes(queues.waiting)) {
            *queue = u16::from(byte);
        }
        busy
    }
}
