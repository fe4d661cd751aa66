//! The rows of [`super`] for 32 banks: a histogram of a few addresses is the sum of as many comparisons with `0, 1 .. 31`.

use super::WeightLane;
use std::arch::x86_64::{
    __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_storeu_si256, _mm256_sub_epi8,
};

/// Banks of the machines that this form is for: bytes of a register.
pub const BANKS: usize = 32;

/// As [`super::fill`]; false, and nothing done, if this processor cannot.
#[inline]
pub fn fill(rows: &mut [u8], lanes: &[WeightLane], starts: &[u32], inside: &[bool]) -> bool {
    if !std::arch::is_x86_feature_detected!("avx2") {
        return false;
    }
    // SAFETY: the processor has AVX2.
    unsafe { fill_rows(rows, lanes, starts, inside) };
    true
}

#[target_feature(enable = "avx2")]
#[allow(clippy::cast_ptr_alignment)] // The stores do not ask for any.
fn fill_rows(rows: &mut [u8], lanes: &[WeightLane], starts: &[u32], inside: &[bool]) {
    let mut all = [0; BANKS];
    for (bank, number) in all.iter_mut().zip(0u8..) {
        *bank = number;
    }
    // SAFETY: the array has 32 bytes.
    let banks = unsafe { _mm256_loadu_si256(all.as_ptr().cast()) };
    let (rows, _) = rows.as_chunks_mut::<{ 2 * BANKS }>();
    for (row, vector) in rows.iter_mut().zip(starts.windows(2)) {
        let mut histogram = _mm256_setzero_si256();
        for lane in &lanes[vector[0] as usize..vector[1] as usize] {
            // All ones, an address that is none, if the tap is outside.
            let outside = u8::from(inside[lane.tap as usize]).wrapping_sub(1);
            let address = _mm256_set1_epi8((lane.address as u8 | outside) as i8);
            // Equal bytes are minus one.
            let equal = _mm256_cmpeq_epi8(banks, address);
            histogram = _mm256_sub_epi8(histogram, equal);
        }
        let to = row.as_mut_ptr().cast::<__m256i>();
        // SAFETY: the row has 64 bytes.
        unsafe {
            _mm256_storeu_si256(to, histogram);
            _mm256_storeu_si256(to.add(1), histogram);
        }
    }
}
