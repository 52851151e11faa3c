//! The Hadamard transform: the stages of [`crate::rotation`] in registers, 16 rows at a time.

use crate::layout::{BLOCK, LANES};
use std::arch::x86_64::*;

/// Coordinates of the first pass: 16 rows of 16.
const GROUP: usize = 256;

/// As [`crate::kernels::generic::hadamard`], for at least 512 coordinates.
#[target_feature(enable = "avx512f")]
pub fn hadamard(x: &mut [f32]) {
    let n = x.len();
    assert!(n.is_power_of_two() && n >= 2 * GROUP);
    for group in x.as_chunks_mut::<GROUP>().0 {
        let rows = load(group);
        store(butterflies(in_rows(rows)), group);
    }
    last_stages(x);
}

/// `z` = the transform of `x` with the signs `words`, one row of words for every 512 coordinates; as
/// copying, [`crate::kernels::generic::flip`] and [`hadamard`].
#[target_feature(enable = "avx512f")]
pub fn rotate(words: &[[u32; LANES]], x: &[f32], z: &mut [f32]) {
    let n = x.len();
    assert!(n.is_power_of_two() && n >= BLOCK && z.len() == n && words.len() == n / BLOCK);
    let sign = _mm512_set1_epi32(i32::MIN);
    let groups = x.as_chunks::<GROUP>().0.iter();
    for (i, (x, z)) in groups.zip(z.as_chunks_mut::<GROUP>().0).enumerate() {
        // SAFETY: 16 readable u32.
        let words = unsafe { _mm512_loadu_si512(words[i / 2].as_ptr().cast()) };
        // The second half of a block has the lower 16 bits.
        let words = _mm512_sllv_epi32(words, _mm512_set1_epi32(16 * (i as i32 % 2)));
        let mut rows = load(x);
        for (row, v) in rows.iter_mut().enumerate() {
            let minus = _mm512_sllv_epi32(words, _mm512_set1_epi32(row as i32));
            let minus = _mm512_and_si512(minus, sign);
            *v = _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(*v), minus));
        }
        store(butterflies(in_rows(rows)), z);
    }
    last_stages(z);
}

/// The stages from 256 on, and the scale.
#[inline]
#[target_feature(enable = "avx512f")]
fn last_stages(x: &mut [f32]) {
    let n = x.len();
    let scale = (1.0 / (n as f64).sqrt()) as f32;
    let mut h = GROUP;
    while h < n {
        // The last of the passes multiplies by the scale; the others by 1, which changes nothing.
        match n / h {
            2 => stages::<2>(x, h, scale),
            4 => stages::<4>(x, h, scale),
            8 => stages::<8>(x, h, scale),
            16 => stages::<16>(x, h, scale),
            _ => stages::<16>(x, h, 1.0),
        }
        h *= 16;
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(x: &[f32; GROUP]) -> [__m512; 16] {
    let mut rows = [_mm512_setzero_ps(); 16];
    for (i, row) in rows.iter_mut().enumerate() {
        // SAFETY: row i of 16 is 64 readable bytes.
        *row = unsafe { _mm512_loadu_ps(x.as_ptr().add(16 * i)) };
    }
    rows
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(rows: [__m512; 16], x: &mut [f32; GROUP]) {
    for (i, row) in rows.into_iter().enumerate() {
        // SAFETY: row i of 16 is 64 writable bytes.
        unsafe { _mm512_storeu_ps(x.as_mut_ptr().add(16 * i), row) };
    }
}

/// Stages 1, 2, 4 and 8, inside rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_rows(mut rows: [__m512; 16]) -> [__m512; 16] {
    // (a + b, a - b) as the neighbour plus or minus the coordinate; the product is exact.
    let (p, m) = (1.0, -1.0);
    let s1 = _mm512_setr_ps(p, m, p, m, p, m, p, m, p, m, p, m, p, m, p, m);
    let s2 = _mm512_setr_ps(p, p, m, m, p, p, m, m, p, p, m, m, p, p, m, m);
    let s4 = _mm512_setr_ps(p, p, p, p, m, m, m, m, p, p, p, p, m, m, m, m);
    let s8 = _mm512_setr_ps(p, p, p, p, p, p, p, p, m, m, m, m, m, m, m, m);
    for row in &mut rows {
        let mut v = *row;
        v = _mm512_fmadd_ps(v, s1, _mm512_permute_ps::<0b10_11_00_01>(v));
        v = _mm512_fmadd_ps(v, s2, _mm512_permute_ps::<0b01_00_11_10>(v));
        v = _mm512_fmadd_ps(v, s4, _mm512_shuffle_f32x4::<0b10_11_00_01>(v, v));
        *row = _mm512_fmadd_ps(v, s8, _mm512_shuffle_f32x4::<0b01_00_11_10>(v, v));
    }
    rows
}

/// Stages h, 2 h, .. h R / 2, then a multiplication.
#[inline]
#[target_feature(enable = "avx512f")]
fn stages<const R: usize>(x: &mut [f32], h: usize, scale: f32) {
    assert!(h.is_multiple_of(16) && x.len().is_multiple_of(R * h));
    let scale = _mm512_set1_ps(scale);
    for part in x.chunks_exact_mut(R * h) {
        for at in (0..h).step_by(16) {
            let first = part[at..].as_mut_ptr();
            let mut rows = [_mm512_setzero_ps(); R];
            for (r, row) in rows.iter_mut().enumerate() {
                // SAFETY: at + 16 <= h, so that h r + at + 16 <= R h, the length of `part`.
                *row = unsafe { _mm512_loadu_ps(first.add(h * r)) };
            }
            let rows = butterflies(rows);
            for (r, row) in rows.into_iter().enumerate() {
                // SAFETY: as above.
                unsafe { _mm512_storeu_ps(first.add(h * r), _mm512_mul_ps(row, scale)) };
            }
        }
    }
}

/// All stages across R rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn butterflies<const R: usize>(mut rows: [__m512; R]) -> [__m512; R] {
    let mut h = 1;
    while h < R {
        for i in 0..R {
            if i & h == 0 {
                let (a, b) = (rows[i], rows[i + h]);
                rows[i] = _mm512_add_ps(a, b);
                rows[i + h] = _mm512_sub_ps(a, b);
            }
        }
        h *= 2;
    }
    rows
}
