//! The nearest levels of a normal law, packed, and the inner product that gives their unbiased step.

use super::pack::Packer;
use super::table::Table;
use crate::kernels::x86::prefetch;
use crate::kernels::{Nearest, PARTIALS};
use crate::layout::BLOCK;
use crate::lloyd_max::Codebook;
use std::arch::x86_64::*;

/// See [`crate::kernels::FindNearest`].
#[target_feature(enable = "avx2,fma")]
pub fn nearest<const B: usize>(
    z: &[f32; BLOCK],
    factor: f32,
    book: &Codebook,
    words: &mut [u8],
    found: &mut Nearest,
    near: *const f32,
) {
    assert!(words.len() == 64 * B);
    let levels = Table::<B>::new(book.magnitudes());
    let factor = _mm256_set1_ps(factor);
    let (sign, rest) = (
        _mm256_set1_epi32(i32::MIN),
        _mm256_set1_epi32(32 - B as i32),
    );
    let mut packers = [Packer::<B>::new(), Packer::<B>::new()];
    for_each_row!(ROW => {
        prefetch(near, ROW);
        for (half, packer) in packers.iter_mut().enumerate() {
            let at = 16 * ROW + 8 * half;
            // SAFETY: half of row ROW is eight readable f32.
            let v = unsafe { _mm256_loadu_ps(z.as_ptr().add(at)) };
            let level = _mm256_mul_ps(v, factor);
            let magnitude = _mm256_andnot_ps(_mm256_castsi256_ps(sign), level);
            let index = thresholds_up_to::<B>(book, magnitude);
            // A code and its complement are the two levels of one magnitude.
            let minus = _mm256_cmp_ps::<_CMP_LT_OQ>(level, _mm256_setzero_ps());
            let minus = _mm256_castps_si256(minus);
            let code = _mm256_xor_si256(index, minus);
            let nearest = _mm256_castps_si256(levels.at(index));
            let nearest = _mm256_xor_si256(nearest, _mm256_and_si256(minus, sign));
            // SAFETY: half of row ROW is eight writable f32, and there are as many words as the packers
            // want.
            unsafe {
                _mm256_storeu_si256(found.levels.as_mut_ptr().add(at).cast(), nearest);
                let words = words.as_mut_ptr().add(32 * half);
                packer.push::<ROW>(_mm256_sllv_epi32(code, rest), words);
            }
        }
    });
    add_products(z, found);
}

/// How many thresholds are at or below magnitudes.
#[inline]
#[target_feature(enable = "avx2")]
fn thresholds_up_to<const B: usize>(book: &Codebook, a: __m256) -> __m256i {
    if B <= 4 {
        let mut index = _mm256_setzero_si256();
        for threshold in &book.thresholds()[..(1 << (B - 1)) - 1] {
            let above = _mm256_cmp_ps::<_CMP_GE_OQ>(a, _mm256_set1_ps(*threshold));
            index = _mm256_sub_epi32(index, _mm256_castps_si256(above));
        }
        return index;
    }
    let bins = book.bins();
    let last = _mm256_set1_ps((bins.len() - 1) as f32);
    let bin = _mm256_mul_ps(a, _mm256_set1_ps(book.bins_per_unit()));
    let bin = _mm256_cvtps_epi32(_mm256_min_ps(bin, last));
    let bins = bins.as_ptr().cast::<i32>();
    // SAFETY: bins are at most the last one; each is two readable words, the threshold first.
    let (threshold, below) = unsafe {
        (
            _mm256_i32gather_ps::<8>(bins.cast(), bin),
            _mm256_i32gather_epi32::<8>(bins.add(1), bin),
        )
    };
    let above = _mm256_cmp_ps::<_CMP_GE_OQ>(a, threshold);
    _mm256_sub_epi32(below, _mm256_castps_si256(above))
}

/// As [`crate::kernels::generic::nearest::add_products`].
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_products(z: &[f32; BLOCK], found: &mut Nearest) {
    let Nearest { levels, dot } = found;
    let mut sums = [_mm256_setzero_pd(); 8];
    for (i, sum) in sums.iter_mut().enumerate() {
        // SAFETY: four of the 32 readable f64.
        *sum = unsafe { _mm256_loadu_pd(dot.as_ptr().add(4 * i)) };
    }
    for at in (0..BLOCK).step_by(PARTIALS) {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: four of 512 readable f32.
            let (z, q) = unsafe {
                let z = _mm_loadu_ps(z.as_ptr().add(at + 4 * i));
                (z, _mm_loadu_ps(levels.as_ptr().add(at + 4 * i)))
            };
            // Products of f32 are exact in f64, so that fusing changes no bit.
            *sum = _mm256_fmadd_pd(_mm256_cvtps_pd(z), _mm256_cvtps_pd(q), *sum);
        }
    }
    for (i, sum) in sums.into_iter().enumerate() {
        // SAFETY: four of the 32 writable f64.
        unsafe { _mm256_storeu_pd(dot.as_mut_ptr().add(4 * i), sum) };
    }
}
