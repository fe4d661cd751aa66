//! The steps of [`super::Bytes`]: 32 banks at a time.

use super::Steps;
use std::arch::x86_64::{
    __m256i, _mm_and_si128, _mm_cvtsi128_si32, _mm_max_epu8, _mm_min_epu8, _mm_minpos_epu16,
    _mm_set1_epi8, _mm_set1_epi16, _mm_srli_epi16, _mm_xor_si128, _mm256_adds_epu8,
    _mm256_andnot_si256, _mm256_castsi256_si128, _mm256_cmpeq_epi8, _mm256_extracti128_si256,
    _mm256_loadu_si256, _mm256_min_epu8, _mm256_or_si256, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_storeu_si256, _mm256_subs_epu8, _mm256_testz_si256,
};
use std::ops::Range;

const BANKS: usize = super::Bytes::BANKS;
/// Bytes from the row of a weight vector to that of the next.
const ROW: usize = 2 * BANKS;
/// Lanes of an activation vector that have a form of their own.
const LANES: usize = 4;
/// Steps after which it is asked whether any had to wait.
const CHUNK: usize = 8;

/// Runs the steps; returns the cycles that they waited for banks.
#[target_feature(enable = "avx2")]
pub fn run(waiting: &mut [u8; BANKS], steps: &Steps) -> u64 {
    let mut queues = Waiting {
        // SAFETY: the array has 32 bytes.
        products: unsafe { _mm256_loadu_si256(waiting.as_ptr().cast()) },
        depth: _mm256_set1_epi8(steps.depth as i8),
    };
    let (vectors, weights) = (steps.vectors, steps.table.vectors);
    let rows = steps.table.rows();
    let block = steps.block.begin as usize..steps.block.end as usize;
    let places = &vectors.places[block.start * vectors.width..block.end * vectors.width];
    debug_assert!(
        places
            .iter()
            .all(|&place| place as usize + (weights - 1) * ROW + BANKS <= rows.len()),
        "the places of a pass lie in its table"
    );
    let mut waited = 0;
    match places.as_chunks::<LANES>() {
        (places, []) if vectors.width == LANES => {
            let together = (CHUNK / weights.max(1)).max(1);
            for places in places.chunks(together) {
                for begin in (0..weights).step_by(CHUNK) {
                    let weights = begin..weights.min(begin + CHUNK);
                    waited += queues.pass(rows, places, weights);
                }
            }
        }
        _ => {
            for vector in block {
                let places = &vectors.places[vector * vectors.width..];
                let occupied = usize::from(vectors.occupied[vector]);
                waited += queues.pass_many(rows, &places[..occupied], weights);
            }
        }
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
    /// Some weight vectors against some activation vectors. A lane without products has the place of a row of zeros.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pass(&mut self, rows: &[u8], places: &[[u32; LANES]], weights: Range<usize>) -> u64 {
        let one = _mm256_set1_epi8(1);
        // As long as nothing waits, a step needs no decision.
        let (mut products, mut over) = (self.products, _mm256_setzero_si256());
        for places in places {
            let mut lanes = places.map(|place| row_of(rows, place, weights.start));
            for _ in weights.clone() {
                let arrived = _mm256_adds_epu8(products, arriving(lanes));
                lanes = lanes.map(|lane| lane.wrapping_add(ROW));
                over = _mm256_or_si256(over, _mm256_subs_epu8(arrived, self.depth));
                products = _mm256_subs_epu8(arrived, one);
            }
        }
        if _mm256_testz_si256(over, over) == 1 {
            self.products = products;
            return 0;
        }
        let mut waited = 0;
        for places in places {
            for step in weights.clone() {
                let lanes = places.map(|place| row_of(rows, place, step));
                waited += self.issue(arriving(lanes));
            }
        }
        waited
    }

    /// All weight vectors against an activation vector of any number of lanes.
    #[target_feature(enable = "avx2")]
    fn pass_many(&mut self, rows: &[u8], places: &[u32], weights: usize) -> u64 {
        let mut waited = 0;
        for step in 0..weights {
            let mut arriving = _mm256_setzero_si256();
            for &place in places {
                arriving = _mm256_adds_epu8(arriving, row(row_of(rows, place, step)));
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
}

/// Where the products of weight vector `step` with the activation of `place` are.
#[inline]
fn row_of(rows: &[u8], place: u32, step: usize) -> *const u8 {
    rows.as_ptr()
        .wrapping_add(place as usize)
        .wrapping_add(step.wrapping_mul(ROW))
}

/// The products of a step by bank.
#[inline]
#[target_feature(enable = "avx2")]
fn arriving(lanes: [*const u8; LANES]) -> __m256i {
    let [a, b, c, d] = lanes.map(|lane| row(lane));
    _mm256_adds_epu8(_mm256_adds_epu8(a, b), _mm256_adds_epu8(c, d))
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
