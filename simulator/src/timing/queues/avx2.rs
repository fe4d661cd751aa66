//! The steps of [`super::Bytes`]: 32 banks at a time.

use super::Steps;
use std::arch::x86_64::{
    __m256i, _mm_and_si128, _mm_cvtsi128_si32, _mm_max_epu8, _mm_min_epu8, _mm_minpos_epu16,
    _mm_set1_epi8, _mm_set1_epi16, _mm_srli_epi16, _mm_xor_si128, _mm256_adds_epu8,
    _mm256_andnot_si256, _mm256_castsi256_si128, _mm256_cmpeq_epi8, _mm256_extracti128_si256,
    _mm256_loadu_si256, _mm256_min_epu8, _mm256_or_si256, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_storeu_si256, _mm256_subs_epu8, _mm256_testz_si256,
};

const BANKS: usize = super::Bytes::BANKS;
/// Bytes from the row of a weight vector to that of the next.
const ROW: usize = 2 * BANKS;
/// Steps after which it is asked whether any had to wait.
const CHUNK: usize = 8;

/// The cycles that the steps waited for banks.
#[target_feature(enable = "avx2")]
pub fn run(waiting: &mut [u8; BANKS], steps: &Steps) -> u64 {
    let mut queues = Waiting {
        // SAFETY: the array has 32 bytes.
        products: unsafe { _mm256_loadu_si256(waiting.as_ptr().cast()) },
        depth: _mm256_set1_epi8(steps.depth as i8),
    };
    let (vectors, weights) = (steps.vectors, steps.table.vectors);
    let rows = steps.table.rows();
    let mut waited = 0;
    for vector in steps.block.begin as usize..steps.block.end as usize {
        let occupied = usize::from(vectors.occupied[vector]);
        let places = &vectors.places[vector * vectors.width..][..occupied];
        debug_assert!(
            places
                .iter()
                .all(|&place| place as usize + (weights - 1) * ROW + BANKS <= rows.len()),
            "the places of a pass lie in its table"
        );
        waited += match *places {
            [] => {
                queues.idle(weights);
                0
            }
            [a] => queues.pass(rows, [a], weights),
            [a, b] => queues.pass(rows, [a, b], weights),
            [a, b, c] => queues.pass(rows, [a, b, c], weights),
            [a, b, c, d] => queues.pass(rows, [a, b, c, d], weights),
            _ => queues.pass_many(rows, places, weights),
        };
    }
    *waiting = bytes(queues.products);
    waited
}

/// Products that wait, by bank.
struct Waiting {
    products: __m256i,
    depth: __m256i,
}

impl Waiting {
    /// All weight vectors against one activation vector.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pass<const N: usize>(&mut self, rows: &[u8], places: [u32; N], weights: usize) -> u64 {
        let one = _mm256_set1_epi8(1);
        let mut waited = 0;
        for begin in (0..weights).step_by(CHUNK) {
            let end = weights.min(begin + CHUNK);
            // As long as nothing waits, a step needs no decision.
            let (mut products, mut over) = (self.products, _mm256_setzero_si256());
            let mut at = places.map(|place| {
                let row = place as usize + begin * ROW;
                rows.as_ptr().wrapping_add(row)
            });
            let mut left = end - begin;
            while left > 0 {
                let mut arriving = row(at[0]);
                for &lane in &at[1..] {
                    arriving = _mm256_adds_epu8(arriving, row(lane));
                }
                at = at.map(|lane| lane.wrapping_add(ROW));
                let arrived = _mm256_adds_epu8(products, arriving);
                over = _mm256_or_si256(over, _mm256_subs_epu8(arrived, self.depth));
                products = _mm256_subs_epu8(arrived, one);
                left -= 1;
            }
            if _mm256_testz_si256(over, over) == 1 {
                self.products = products;
                continue;
            }
            for step in begin..end {
                waited += self.issue(arriving(rows, places, step));
            }
        }
        waited
    }

    /// The same for any number of lanes.
    #[target_feature(enable = "avx2")]
    fn pass_many(&mut self, rows: &[u8], places: &[u32], weights: usize) -> u64 {
        let mut waited = 0;
        for step in 0..weights {
            let base = rows.as_ptr().wrapping_add(step * ROW);
            let mut arriving = _mm256_setzero_si256();
            for &place in places {
                let lane = row(base.wrapping_add(place as usize));
                arriving = _mm256_adds_epu8(arriving, lane);
            }
            waited += self.issue(arriving);
        }
        waited
    }

    /// One step; the cycles it waited.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn issue(&mut self, arriving: __m256i) -> u64 {
        let zero = _mm256_setzero_si256();
        let admitted = _mm256_min_epu8(arriving, self.depth);
        let excess = _mm256_subs_epu8(_mm256_adds_epu8(self.products, admitted), self.depth);
        let mut wait = 0;
        if _mm256_testz_si256(excess, excess) == 0 {
            let excess = _mm256_andnot_si256(_mm256_cmpeq_epi8(arriving, zero), excess);
            wait = largest(excess);
            self.products = _mm256_subs_epu8(self.products, _mm256_set1_epi8(wait as i8));
        }
        let arrived = _mm256_adds_epu8(self.products, arriving);
        self.products = _mm256_subs_epu8(arrived, _mm256_set1_epi8(1));
        u64::from(wait)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn idle(&mut self, cycles: usize) {
        let cycles = cycles.min(255) as u8;
        self.products = _mm256_subs_epu8(self.products, _mm256_set1_epi8(cycles as i8));
    }
}

/// The products of a step by bank.
#[inline]
#[target_feature(enable = "avx2")]
fn arriving<const N: usize>(rows: &[u8], places: [u32; N], step: usize) -> __m256i {
    let base = rows.as_ptr().wrapping_add(step * ROW);
    let mut sum = row(base.wrapping_add(places[0] as usize));
    for &place in &places[1..] {
        sum = _mm256_adds_epu8(sum, row(base.wrapping_add(place as usize)));
    }
    sum
}

#[inline]
#[target_feature(enable = "avx2")]
fn row(at: *const u8) -> __m256i {
    // SAFETY: a place of an activation is that of a class's row in the table plus a rotation of less than the banks,
    // and rows are twice the banks; `run` asserts it of the furthest.
    unsafe { _mm256_loadu_si256(at.cast()) }
}

/// The largest byte: the complement of the smallest complement, which there is an instruction for.
#[inline]
#[target_feature(enable = "avx2")]
fn largest(vector: __m256i) -> u8 {
    let halves = _mm_max_epu8(
        _mm256_castsi256_si128(vector),
        _mm256_extracti128_si256::<1>(vector),
    );
    let complements = _mm_xor_si128(halves, _mm_set1_epi8(-1));
    let pairs = _mm_min_epu8(complements, _mm_srli_epi16::<8>(complements));
    let words = _mm_and_si128(pairs, _mm_set1_epi16(0xff));
    !(_mm_cvtsi128_si32(_mm_minpos_epu16(words)) as u8)
}

#[inline]
#[target_feature(enable = "avx2")]
fn bytes(vector: __m256i) -> [u8; BANKS] {
    let mut bytes = [0; BANKS];
    // SAFETY: the array has 32 bytes.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) };
    bytes
}
