//! The loop of [`super`] for processors with AVX2.

use super::{LANES, STRIP, WeightRun};
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_srav_epi32, _mm256_storeu_si256,
};

/// As [`super::add_runs`]; false, and nothing done, if this processor cannot.
pub fn add_runs(
    words: &[u32],
    offset: usize,
    runs: &[WeightRun],
    shift: u32,
    sums: &mut [i32],
) -> bool {
    if !std::arch::is_x86_feature_detected!("avx2") {
        return false;
    }
    let furthest = runs.iter().map(|run| run.begin as usize).max().unwrap_or(0);
    assert!(
        sums.len().is_multiple_of(LANES) && furthest + offset + sums.len() <= words.len(),
        "a strip of whole vectors lies inside the planes"
    );
    let words = &words[offset..];
    // SAFETY: the processor has AVX2, and every run has as many words as there are sums.
    unsafe {
        match sums.len() / LANES {
            1 => strip::<1>(words, runs, shift, sums),
            2 => strip::<2>(words, runs, shift, sums),
            3 => strip::<3>(words, runs, shift, sums),
            4 => strip::<4>(words, runs, shift, sums),
            5 => strip::<5>(words, runs, shift, sums),
            6 => strip::<6>(words, runs, shift, sums),
            7 => strip::<7>(words, runs, shift, sums),
            8 => strip::<8>(words, runs, shift, sums),
            9 => strip::<9>(words, runs, shift, sums),
            10 => strip::<10>(words, runs, shift, sums),
            11 => strip::<11>(words, runs, shift, sums),
            STRIP => strip::<STRIP>(words, runs, shift, sums),
            _ => return false,
        }
    }
    true
}

/// # Safety
/// `N` vectors of words follow the begin of every run, and `sums` are `N` vectors.
#[target_feature(enable = "avx2")]
#[allow(clippy::cast_ptr_alignment)] // The loads do not ask for any.
unsafe fn strip<const N: usize>(words: &[u32], runs: &[WeightRun], shift: u32, sums: &mut [i32]) {
    let by = _mm256_set1_epi32(shift as i32);
    let mut totals = [_mm256_setzero_si256(); N];
    for run in runs {
        let pair = _mm256_set1_epi32(run.pair as i32);
        // SAFETY: the caller's first promise.
        let at = unsafe { words.as_ptr().add(run.begin as usize) };
        for (vector, total) in totals.iter_mut().enumerate() {
            // SAFETY: likewise.
            let word = unsafe { _mm256_loadu_si256(at.add(vector * LANES).cast::<__m256i>()) };
            let product = _mm256_srav_epi32(_mm256_madd_epi16(word, pair), by);
            *total = _mm256_add_epi32(*total, product);
        }
    }
    for (sums, total) in sums.chunks_exact_mut(LANES).zip(totals) {
        // SAFETY: the chunk has eight sums.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), total) };
    }
}
