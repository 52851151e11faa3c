//! The generators of random bits on x86-64 instructions: AES rounds, and the widening multiplies of
//! Philox, which the compiler leaves scalar. Everything else vectorises from plain Rust.
//!
//! Plain loops only: a closure handed to `map` or `from_fn` would not be inlined here, because the
//! standard library's side of the call lacks the instruction set.

use crate::layout::{BLOCK, LANES};
use crate::random::{Keys, PHILOX_MULTIPLIERS, PHILOX_ROUNDS, PHILOX_WEYL};
use std::arch::x86_64::*;

const PAGE: usize = 4096;

/// Asks the L2 cache for memory ahead of a walk through coordinates: `row` 0..32 of the
/// block at `block` asks for one line of the 32 KB after the present ones.
///
/// Lines of eight pages take turns: the hardware prefetches within pages, so that eight of its
/// streams are busy instead of one, which is worth a third of the speed of memory. (`_mm_prefetch` would not do:
/// the compiler gathers those of an unrolled block behind the block, where they all wait for each
/// other.)
#[inline(always)]
pub fn prefetch(block: *const f32, row: usize) {
    let block = block.cast::<u8>();
    let at = block.addr() % (8 * PAGE);
    let lines = block
        .wrapping_sub(at)
        .wrapping_add(8 * PAGE + at / (4 * BLOCK) * (4 * BLOCK / 8));
    request(lines.wrapping_add(PAGE * (row % 8) + 64 * (row / 8)));
}

/// As [`prefetch`], for a walk through bytes: the line at `line` asks for one.
#[inline(always)]
pub fn prefetch_line(line: *const u8) {
    let at = line.addr() % (8 * PAGE);
    let ahead = line.wrapping_sub(at).wrapping_add(8 * PAGE);
    request(ahead.wrapping_add(at / 64 % 8 * PAGE + at / 512 * 64));
}

/// Asks the L1 cache for a line.
#[inline(always)]
pub fn fetch(line: *const u8) {
    // SAFETY: as in `request`.
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
    }
}

/// Asks the L2 cache for a line.
#[inline(always)]
fn request(line: *const u8) {
    // SAFETY: a prefetch changes nothing that a program can see, whatever the address.
    unsafe {
        std::arch::asm!("prefetcht1 [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
    }
}

/// Copies bytes with stores that go around the cache.
#[target_feature(enable = "avx")]
pub fn stream(from: &[u8], to: &mut [u8]) {
    assert!(from.len() == to.len());
    // Whole cache lines, so that none is read to be filled up.
    let head = to.as_ptr().align_offset(64).min(to.len());
    let lines = (to.len() - head) / 64;
    let (first, rest) = to.split_at_mut(head);
    let (middle, last) = rest.split_at_mut(64 * lines);
    first.copy_from_slice(&from[..head]);
    last.copy_from_slice(&from[head + 64 * lines..]);
    let from = &from[head..head + 64 * lines];
    for (to, from) in middle.chunks_exact_mut(64).zip(from.chunks_exact(64)) {
        // SAFETY: 64 bytes each, and `to` is a multiple of 64.
        unsafe {
            let (a, b) = (from.as_ptr().cast(), to.as_mut_ptr().cast::<__m256i>());
            _mm256_stream_si256(b, _mm256_loadu_si256(a));
            _mm256_stream_si256(b.add(1), _mm256_loadu_si256(a.add(1)));
        }
    }
    // Such stores are not ordered with the others, by which threads hand the bytes on.
    _mm_sfence();
}

/// As [`super::generic::fill_ars`], one AES block an instruction.
#[target_feature(enable = "avx2,aes")]
pub fn fill_ars_aes(keys: &Keys, block: u64, out: &mut [u32; BLOCK]) {
    let mut round_keys = [_mm_setzero_si128(); 6];
    for (key, k) in round_keys.iter_mut().zip(keys.ars) {
        *key = _mm_set_epi32(k[3] as i32, k[2] as i32, k[1] as i32, k[0] as i32);
    }
    let keys = round_keys;
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
    let mut round_keys = [_mm512_setzero_si512(); 6];
    for (key, k) in round_keys.iter_mut().zip(keys.ars) {
        let k = _mm_set_epi32(k[3] as i32, k[2] as i32, k[1] as i32, k[0] as i32);
        *key = _mm512_broadcast_i32x4(k);
    }
    let keys = round_keys;
    let first = block.wrapping_mul(128);
    // Counters first .. first + 3 in the low halves of the four 128-bit lanes.
    let mut counter = _mm512_add_epi64(
        _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0),
        _mm512_maskz_set1_epi64(0b0101_0101, first as i64),
    );
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

/// Philox4x32-7 on vectors of 64-bit lanes whose low halves hold the words: the widening multiply
/// reads only those. Even and odd counters go apart and are interleaved at the end.
macro_rules! fill_philox {
    ($name:ident, $features:literal, $vector:ident, $splat:ident, $steps:expr, $add:ident,
     $mul:ident, $right:ident, $left:ident, $xor:ident, $or:ident, $and:ident, $store:ident) => {
        /// As [`super::generic::fill_philox`].
        #[target_feature(enable = $features)]
        pub fn $name(keys: &Keys, block: u64, out: &mut [u32; BLOCK]) {
            /// Counters of one step: two vectors' lanes.
            const COUNTERS: usize = size_of::<$vector>() / 4;
            let m0 = $splat(i64::from(PHILOX_MULTIPLIERS[0]));
            let m1 = $splat(i64::from(PHILOX_MULTIPLIERS[1]));
            let (word2, word3) = (
                $splat(i64::from(keys.message[2])),
                $splat(i64::from(keys.message[3])),
            );
            let mut round_keys = [[$splat(0); 2]; PHILOX_ROUNDS];
            for (round, keys_of_round) in round_keys.iter_mut().enumerate() {
                for (i, key) in keys_of_round.iter_mut().enumerate() {
                    let increment = PHILOX_WEYL[i].wrapping_mul(round as u32);
                    *key = $splat(i64::from(keys.message[i].wrapping_add(increment)));
                }
            }
            // The 128 counters of a block differ in their low seven bits only.
            let first = block.wrapping_mul(128);
            let high = $splat((first >> 32) as i64);
            for step in 0..128 / COUNTERS {
                let counter = (first & 0xffff_ffff) + (COUNTERS * step) as u64;
                let even = $add($splat(counter as i64), $steps);
                // c[0] from even counters, c[1] from odd ones.
                let mut c = [
                    [even, high, word2, word3],
                    [$add(even, $splat(1)), high, word2, word3],
                ];
                for [k0, k1] in round_keys {
                    for c in &mut c {
                        let (p0, p1) = ($mul(c[0], m0), $mul(c[2], m1));
                        c[0] = $xor($xor($right::<32>(p1), c[1]), k0);
                        c[2] = $xor($xor($right::<32>(p0), c[3]), k1);
                        c[1] = p1;
                        c[3] = p0;
                    }
                }
                // Counter c of a group of 16 is lane c of the group's four rows.
                let (group, lane) = (COUNTERS * step / LANES, COUNTERS * step % LANES);
                for word in 0..4 {
                    let low = $and(c[0][word], $splat(0xffff_ffff));
                    let pair = $or(low, $left::<32>(c[1][word]));
                    let at = LANES * (4 * group + word) + lane;
                    let lanes: &mut [u32] = &mut out[at..at + COUNTERS];
                    // SAFETY: `lanes` is as many writable bytes as a vector has, and the store has
                    // no alignment requirement.
                    unsafe { $store(lanes.as_mut_ptr().cast(), pair) };
                }
            }
        }
    };
}

fill_philox!(
    fill_philox_avx512,
    "avx512f",
    __m512i,
    _mm512_set1_epi64,
    _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0),
    _mm512_add_epi64,
    _mm512_mul_epu32,
    _mm512_srli_epi64,
    _mm512_slli_epi64,
    _mm512_xor_si512,
    _mm512_or_si512,
    _mm512_and_si512,
    _mm512_storeu_si512
);

fill_philox!(
    fill_philox_avx2,
    "avx2",
    __m256i,
    _mm256_set1_epi64x,
    _mm256_set_epi64x(6, 4, 2, 0),
    _mm256_add_epi64,
    _mm256_mul_epu32,
    _mm256_srli_epi64,
    _mm256_slli_epi64,
    _mm256_xor_si256,
    _mm256_or_si256,
    _mm256_and_si256,
    _mm256_storeu_si256
);
