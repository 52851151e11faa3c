//! The nearest levels of a normal law, packed, and the inner product that gives their unbiased step.

use super::pack::Packer;
use super::table::{Signed, Table};
use crate::kernels::x86::prefetch;
use crate::kernels::{Nearest, PARTIALS};
use crate::layout::BLOCK;
use crate::lloyd_max::Codebook;
use std::arch::x86_64::*;

/// See [`crate::kernels::FindNearest`].
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2")]
pub fn nearest<const B: usize>(
    z: &[f32; BLOCK],
    factor: f32,
    book: &Codebook,
    words: &mut [u8],
    found: &mut Nearest,
    near: *const f32,
) {
    assert!(words.len() == 64 * B);
    let search = Search::<B>::new(book);
    let levels = Signed::<B>::new(book.values());
    let factor = _mm512_set1_ps(factor);
    let rest = _mm512_set1_epi32(32 - B as i32);
    let mut packer = Packer::<B>::new();
    for_each_row!(ROW => {
        prefetch(near, ROW);
        // SAFETY: row ROW is 16 readable f32.
        let v = unsafe { _mm512_loadu_ps(z.as_ptr().add(16 * ROW)) };
        let level = _mm512_mul_ps(v, factor);
        let index = search.thresholds_up_to(_mm512_abs_ps(level));
        // A code and its complement are the two levels of one magnitude.
        let minus = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(level, _mm512_setzero_ps());
        let code = _mm512_mask_xor_epi32(index, minus, index, _mm512_set1_epi32(-1));
        let nearest = levels.of(code);
        // SAFETY: row ROW is 16 writable f32, and there are as many words as the packer wants.
        unsafe {
            _mm512_storeu_ps(found.levels.as_mut_ptr().add(16 * ROW), nearest);
            packer.push::<ROW>(_mm512_sllv_epi32(code, rest), words.as_mut_ptr());
        }
    });
    add_products(z, found);
}

/// How many thresholds are at or below magnitudes.
struct Search<'a, const B: usize> {
    book: &'a Codebook,
    thresholds: Table<'a, B>,
    /// Of bins, a byte each, up to 4 bits a word.
    below: [__m512i; 2],
    per_unit: __m512,
    /// The last bin behind [`UNIT`].
    last: __m512,
}

/// A float whose last bit is worth 1: what is added to it is rounded to whole numbers.
const UNIT: f32 = (1 << 23) as f32;

impl<'a, const B: usize> Search<'a, B> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(book: &'a Codebook) -> Self {
        let mut below = [_mm512_setzero_si512(); 2];
        for (i, below) in below.iter_mut().enumerate() {
            // SAFETY: 64 of 128 readable bytes.
            *below = unsafe { _mm512_loadu_si512(book.bytes().as_ptr().add(64 * i).cast()) };
        }
        if B <= 4 {
            // At most 16 bins: a word each.
            below[0] = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(below[0]));
        }
        Self {
            book,
            thresholds: Table::new(book.thresholds()),
            below,
            per_unit: _mm512_set1_ps(book.bins_per_unit()),
            last: _mm512_set1_ps(UNIT + (book.bins().len() - 1) as f32),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn thresholds_up_to(&self, a: __m512) -> __m512i {
        let one = _mm512_set1_epi32(1);
        match B {
            1 => return _mm512_setzero_si512(),
            2 => {
                let threshold = _mm512_set1_ps(self.book.thresholds()[0]);
                let above = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, threshold);
                return _mm512_maskz_mov_epi32(above, one);
            }
            _ => {}
        }
        // The bin in the low bits; other bits are the same for all.
        let bin = _mm512_fmadd_ps(a, self.per_unit, _mm512_set1_ps(UNIT));
        let bin = _mm512_castps_si512(_mm512_min_ps(bin, self.last));
        let (below, threshold) = match B {
            ..=4 => {
                let below = _mm512_permutexvar_epi32(bin, self.below[0]);
                (below, self.thresholds.at(below))
            }
            5..=7 => {
                let bytes = 0x1111_1111_1111_1111;
                let [low, high] = self.below;
                let below = if B == 7 {
                    _mm512_maskz_permutex2var_epi8(bytes, low, bin, high)
                } else {
                    _mm512_maskz_permutexvar_epi8(bytes, bin, low)
                };
                (below, self.thresholds.at(below))
            }
            _ => {
                let bin = _mm512_and_si512(bin, _mm512_set1_epi32((1 << 23) - 1));
                let bins = self.book.bins().as_ptr();
                // SAFETY: bins are at most the last one, and each is 8 readable bytes.
                let (low, high) = unsafe {
                    let (low, high) = (
                        _mm512_castsi512_si256(bin),
                        _mm512_extracti64x4_epi64::<1>(bin),
                    );
                    (
                        _mm512_i32gather_epi64::<8>(low, bins.cast()),
                        _mm512_i32gather_epi64::<8>(high, bins.cast()),
                    )
                };
                let even =
                    _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
                let odd = _mm512_or_si512(even, one);
                let threshold = _mm512_permutex2var_epi32(low, even, high);
                let below = _mm512_permutex2var_epi32(low, odd, high);
                (below, _mm512_castsi512_ps(threshold))
            }
        };
        let above = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, threshold);
        _mm512_mask_add_epi32(below, above, below, one)
    }
}

/// As [`crate::kernels::generic::nearest::add_products`].
#[inline]
#[target_feature(enable = "avx512f")]
fn add_products(z: &[f32; BLOCK], found: &mut Nearest) {
    let Nearest { levels, dot } = found;
    let mut sums = [_mm512_setzero_pd(); 4];
    for (i, sum) in sums.iter_mut().enumerate() {
        // SAFETY: eight of the 32 readable f64.
        *sum = unsafe { _mm512_loadu_pd(dot.as_ptr().add(8 * i)) };
    }
    for at in (0..BLOCK).step_by(PARTIALS) {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: eight of 512 readable f32.
            let (z, q) = unsafe {
                let z = _mm256_loadu_ps(z.as_ptr().add(at + 8 * i));
                (z, _mm256_loadu_ps(levels.as_ptr().add(at + 8 * i)))
            };
            // Products of f32 are exact in f64, so that fusing changes no bit.
            *sum = _mm512_fmadd_pd(_mm512_cvtps_pd(z), _mm512_cvtps_pd(q), *sum);
        }
    }
    for (i, sum) in sums.into_iter().enumerate() {
        // SAFETY: eight of the 32 writable f64.
        unsafe { _mm512_storeu_pd(dot.as_mut_ptr().add(8 * i), sum) };
    }
}
