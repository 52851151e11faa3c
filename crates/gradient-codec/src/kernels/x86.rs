//! The AES generator on x86-64 instructions. Everything else vectorises from plain Rust.

use crate::layout::BLOCK;
use crate::random::{ARS_ROUNDS, ars_round_keys};
use std::arch::x86_64::*;

/// As [`super::generic::fill_ars`], one AES block an instruction.
#[target_feature(enable = "avx2,aes")]
pub fn fill_ars_aes(key: [u32; 4], block: u64, out: &mut [u32; BLOCK]) {
    let keys = ars_round_keys(key)
        .map(|k| _mm_set_epi32(k[3] as i32, k[2] as i32, k[1] as i32, k[0] as i32));
    let first = block.wrapping_mul(128);
    // Eight independent chains hide the latency of the round instruction.
    for (i, words) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let mut state: [__m128i; 8] = std::array::from_fn(|j| {
            let counter = first.wrapping_add((8 * i + j) as u64);
            _mm_xor_si128(_mm_set_epi64x(0, counter as i64), keys[0])
        });
        for round in &keys[1..=ARS_ROUNDS] {
            for state in &mut state {
                *state = _mm_aesenc_si128(*state, *round);
            }
        }
        for (words, state) in words.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            // SAFETY: `words` is 16 writable bytes, and the store has no alignment requirement.
            unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), state) };
        }
    }
}

/// As [`super::generic::fill_ars`], four AES blocks an instruction.
#[target_feature(enable = "avx512f,vaes")]
pub fn fill_ars_vaes(key: [u32; 4], block: u64, out: &mut [u32; BLOCK]) {
    let keys = ars_round_keys(key).map(|k| {
        _mm512_broadcast_i32x4(_mm_set_epi32(
            k[3] as i32,
            k[2] as i32,
            k[1] as i32,
            k[0] as i32,
        ))
    });
    let first = block.wrapping_mul(128);
    // Counters first .. first + 3 in the low halves of the four 128-bit lanes.
    let [c0, c1, c2, c3] = [0, 1, 2, 3].map(|i| first.wrapping_add(i) as i64);
    let mut counter = _mm512_set_epi64(0, c3, 0, c2, 0, c1, 0, c0);
    let four = _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4);
    for words in out.as_chunks_mut::<128>().0 {
        let mut state = [_mm512_setzero_si512(); 8];
        for state in &mut state {
            *state = _mm512_xor_si512(counter, keys[0]);
            counter = _mm512_add_epi64(counter, four);
        }
        for round in &keys[1..=ARS_ROUNDS] {
            for state in &mut state {
                *state = _mm512_aesenc_epi128(*state, *round);
            }
        }
        for (words, state) in words.as_chunks_mut::<16>().0.iter_mut().zip(state) {
            // SAFETY: `words` is 64 writable bytes, and the store has no alignment requirement.
            unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), state) };
        }
    }
}
