//! The AES generator on x86-64 instructions. Everything else vectorises from plain Rust.

use crate::layout::BLOCK;
use crate::random::Keys;
use std::arch::x86_64::*;

/// As [`super::generic::fill_ars`], one AES block an instruction.
#[target_feature(enable = "avx2,aes")]
pub fn fill_ars_aes(keys: &Keys, block: u64, out: &mut [u32; BLOCK]) {
    let keys = keys
        .ars
        .map(|k| _mm_set_epi32(k[3] as i32, k[2] as i32, k[1] as i32, k[0] as i32));
    let first = block.wrapping_mul(128);
    // Iterations are independent: the CPU overlaps their chains of five rounds.
    for (i, words) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let counter = first.wrapping_add(i as u64);
        let mut state = _mm_xor_si128(_mm_set_epi64x(0, counter as i64), keys[0]);
        state = _mm_aesenc_si128(state, keys[1]);
        state = _mm_aesenc_si128(state, keys[2]);
        state = _mm_aesenc_si128(state, keys[3]);
        state = _mm_aesenc_si128(state, keys[4]);
        state = _mm_aesenc_si128(state, keys[5]);
        // SAFETY: `words` is 16 writable bytes, and the store has no alignment requirement.
        unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), state) };
    }
}

/// As [`super::generic::fill_ars`], four AES blocks an instruction.
#[target_feature(enable = "avx512f,vaes")]
pub fn fill_ars_vaes(keys: &Keys, block: u64, out: &mut [u32; BLOCK]) {
    let keys = keys.ars.map(|k| {
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
    for words in out.as_chunks_mut::<16>().0 {
        let mut state = _mm512_xor_si512(counter, keys[0]);
        counter = _mm512_add_epi64(counter, four);
        state = _mm512_aesenc_epi128(state, keys[1]);
        state = _mm512_aesenc_epi128(state, keys[2]);
        state = _mm512_aesenc_epi128(state, keys[3]);
        state = _mm512_aesenc_epi128(state, keys[4]);
        state = _mm512_aesenc_epi128(state, keys[5]);
        // SAFETY: `words` is 64 writable bytes, and the store has no alignment requirement.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), state) };
    }
}
