//! The Hadamard transform: 16 vectors of 16 coordinates at a time.

use std::arch::x86_64::*;

transforms!(
    "avx512f", __m512 of 16,
    rows [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15],
    _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, left;
    512: 2 rows 256 apart;
    1024: 4 rows 256 apart;
    2048: 8 rows 256 apart;
    4096: 16 rows 256 apart;
    8192: 16 rows 256 apart, 2 rows 4096 apart;
);

/// Stages 1, 2, 4 and 8.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_lanes(mut v: __m512) -> __m512 {
    // (a + b, a - b) as the neighbour plus or minus the coordinate; the product is exact.
    let (p, m) = (1.0, -1.0);
    let s1 = _mm512_setr_ps(p, m, p, m, p, m, p, m, p, m, p, m, p, m, p, m);
    let s2 = _mm512_setr_ps(p, p, m, m, p, p, m, m, p, p, m, m, p, p, m, m);
    let s4 = _mm512_setr_ps(p, p, p, p, m, m, m, m, p, p, p, p, m, m, m, m);
    let s8 = _mm512_setr_ps(p, p, p, p, p, p, p, p, m, m, m, m, m, m, m, m);
    v = _mm512_fmadd_ps(v, s1, _mm512_permute_ps::<0b10_11_00_01>(v));
    v = _mm512_fmadd_ps(v, s2, _mm512_permute_ps::<0b01_00_11_10>(v));
    v = _mm512_fmadd_ps(v, s4, _mm512_shuffle_f32x4::<0b10_11_00_01>(v, v));
    _mm512_fmadd_ps(v, s8, _mm512_shuffle_f32x4::<0b01_00_11_10>(v, v))
}

/// The signs of a row, `rows` rows further down.
#[inline]
#[target_feature(enable = "avx512f")]
fn shifted(words: &Signs, _part: usize, rows: usize) -> __m512i {
    // SAFETY: 16 readable u32.
    let words = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
    left(words, rows as i32)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn left(words: __m512i, rows: i32) -> __m512i {
    // What comes in from the other end is not looked at.
    _mm512_rolv_epi32(words, _mm512_set1_epi32(rows))
}

/// `v`, negated where the top bit of `signs` is 1.
#[inline]
#[target_feature(enable = "avx512f")]
fn flip(v: __m512, signs: __m512i) -> __m512 {
    let minus = _mm512_and_si512(signs, _mm512_set1_epi32(i32::MIN));
    _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(v), minus))
}
