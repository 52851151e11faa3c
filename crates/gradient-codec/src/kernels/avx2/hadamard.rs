//! The Hadamard transform: eight vectors of eight coordinates at a time.

use std::arch::x86_64::*;

transforms!(
    "avx2,fma", __m256 of 8,
    rows [0 1 2 3 4 5 6 7],
    _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, left;
    512: 8 rows 64 apart;
    1024: 8 rows 64 apart, 2 rows 512 apart;
    2048: 8 rows 64 apart, 4 rows 512 apart;
    4096: 8 rows 64 apart, 8 rows 512 apart;
    8192: 8 rows 64 apart, 8 rows 512 apart, 2 rows 4096 apart;
);

/// Stages 1, 2 and 4.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn in_lanes(mut v: __m256) -> __m256 {
    // (a + b, a - b) as the neighbour plus or minus the coordinate; the product is exact.
    let (p, m) = (1.0, -1.0);
    let s1 = _mm256_setr_ps(p, m, p, m, p, m, p, m);
    let s2 = _mm256_setr_ps(p, p, m, m, p, p, m, m);
    let s4 = _mm256_setr_ps(p, p, p, p, m, m, m, m);
    v = _mm256_fmadd_ps(v, s1, _mm256_permute_ps::<0b10_11_00_01>(v));
    v = _mm256_fmadd_ps(v, s2, _mm256_permute_ps::<0b01_00_11_10>(v));
    _mm256_fmadd_ps(v, s4, _mm256_permute2f128_ps::<1>(v, v))
}

/// The signs of half a row, `rows` rows further down.
#[inline]
#[target_feature(enable = "avx2")]
fn shifted(words: &Signs, part: usize, rows: usize) -> __m256i {
    let words = &words[8 * part..8 * part + 8];
    // SAFETY: eight readable u32.
    let words = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
    left(words, rows as i32)
}

#[inline]
#[target_feature(enable = "avx2")]
fn left(words: __m256i, rows: i32) -> __m256i {
    // Modulo 32, which it is: else the compiler takes care of larger ones.
    _mm256_sllv_epi32(words, _mm256_set1_epi32(rows % 32))
}

/// `v`, negated where the top bit of `signs` is 1.
#[inline]
#[target_feature(enable = "avx2")]
fn flip(v: __m256, signs: __m256i) -> __m256 {
    let minus = _mm256_and_si256(signs, _mm256_set1_epi32(i32::MIN));
    _mm256_castsi256_ps(_mm256_xor_si256(_mm256_castps_si256(v), minus))
}
