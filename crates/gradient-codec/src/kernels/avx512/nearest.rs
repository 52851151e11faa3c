//! The nearest level of a codebook, and the inner product that gives its unbiased step.

use super::decode::lookup;
use crate::kernels::generic::PARTIALS;
use crate::layout::BLOCK;
use crate::lloyd_max::Codebook;
use std::arch::x86_64::*;

/// As [`crate::kernels::generic::nearest`].
#[target_feature(enable = "avx512f")]
pub fn nearest<const B: usize>(
    x: &[f32; BLOCK],
    factor: f32,
    book: &Codebook,
    y: &mut [u32; BLOCK],
    q: &mut [f32; BLOCK],
) {
    let (thresholds, cells) = (book.thresholds(), book.cells());
    assert!(thresholds.len() == 1 << (B - 1) && book.values().len() == 1 << B);
    let factor = _mm512_set1_ps(factor);
    let cells_per_unit = _mm512_set1_ps(book.cells_per_unit());
    let last = _mm512_set1_epi32(cells.len() as i32 - 1);
    let magnitude = _mm512_set1_epi32(i32::MAX);
    for row in 0..BLOCK / 16 {
        // SAFETY: row `row` is 16 readable f32.
        let v = unsafe { _mm512_loadu_ps(x.as_ptr().add(16 * row)) };
        let level = _mm512_mul_ps(v, factor);
        let bits = _mm512_castps_si512(level);
        let a = _mm512_castsi512_ps(_mm512_and_si512(bits, magnitude));
        // How many thresholds are at or below the magnitude.
        let mut index = _mm512_setzero_si512();
        if B <= 4 {
            for threshold in &thresholds[..(1 << (B - 1)) - 1] {
                let above = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, _mm512_set1_ps(*threshold));
                index = _mm512_mask_add_epi32(index, above, index, _mm512_set1_epi32(1));
            }
        } else {
            let cell = _mm512_cvttps_epi32(_mm512_mul_ps(a, cells_per_unit));
            let cell = _mm512_min_epu32(cell, last);
            // SAFETY: cells are at most the last one, and their contents below the number of
            // thresholds.
            let threshold = unsafe {
                index = _mm512_i32gather_epi32::<4>(cell, cells.as_ptr().cast());
                _mm512_i32gather_ps::<4>(index, thresholds.as_ptr())
            };
            let above = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, threshold);
            index = _mm512_mask_add_epi32(index, above, index, _mm512_set1_epi32(1));
        }
        // A code and its complement are the two levels of one magnitude.
        let minus = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(level, _mm512_setzero_ps());
        let code = _mm512_mask_xor_epi32(index, minus, index, _mm512_set1_epi32(-1));
        let top = _mm512_sllv_epi32(code, _mm512_set1_epi32(32 - B as i32));
        // SAFETY: row `row` is 16 writable words of both.
        unsafe {
            _mm512_storeu_si512(y.as_mut_ptr().add(16 * row).cast(), top);
            _mm512_storeu_ps(
                q.as_mut_ptr().add(16 * row),
                lookup::<B>(top, book.values()),
            );
        }
    }
}

/// Adds products to the partial sums of [`crate::kernels::generic::dot`]; as many `x` as `q`, a
/// multiple of 32.
#[target_feature(enable = "avx512f")]
pub fn dot(x: &[f32], q: &[f32], partial: &mut [f64; PARTIALS]) {
    assert!(x.len() == q.len() && x.len().is_multiple_of(PARTIALS));
    let mut sums = [_mm512_setzero_pd(); 4];
    for (i, sum) in sums.iter_mut().enumerate() {
        // SAFETY: eight of the 32 readable f64.
        *sum = unsafe { _mm512_loadu_pd(partial.as_ptr().add(8 * i)) };
    }
    for (x, q) in x.chunks_exact(PARTIALS).zip(q.chunks_exact(PARTIALS)) {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: eight of 32 readable f32.
            let (x, q) = unsafe {
                let x = _mm256_loadu_ps(x.as_ptr().add(8 * i));
                (x, _mm256_loadu_ps(q.as_ptr().add(8 * i)))
            };
            // Products of f32 are exact in f64, so that fusing changes no bit.
            *sum = _mm512_fmadd_pd(_mm512_cvtps_pd(x), _mm512_cvtps_pd(q), *sum);
        }
    }
    for (i, sum) in sums.into_iter().enumerate() {
        // SAFETY: eight of the 32 writable f64.
        unsafe { _mm512_storeu_pd(partial.as_mut_ptr().add(8 * i), sum) };
    }
}
