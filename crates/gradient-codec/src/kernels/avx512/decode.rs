//! Decoding: codes to a sum, and the search for codes that stand for nothing.

use super::table::Signed;
use crate::kernels::x86::{fetch, prefetch, prefetch_line};
use crate::kernels::{Codes, Levels};
use crate::layout::BLOCK;
use std::arch::x86_64::*;

/// Coordinates after which a frame's next codes are wanted, whichever frames are added in between.
const TILE: usize = 8 * BLOCK;

/// See [`crate::kernels::Fused::accumulate`]: `LEVELS` is a [`Levels`]; `FIRST` prefetches the
/// accumulator.
#[target_feature(enable = "avx512f,avx512vbmi2")]
pub fn accumulate<const B: usize, const LEVELS: u8, const FIRST: bool>(
    codes: &Codes<'_>,
    weight: f32,
    acc: &mut [f32],
) {
    let acc = acc.as_chunks_mut::<BLOCK>().0;
    assert!(codes.blocks.len() == 64 * B * acc.len());
    let sign = _mm512_set1_epi32(i32::MIN);
    let table = if LEVELS == Levels::Table as u8 {
        Some(Signed::<B>::new(codes.values))
    } else {
        None
    };
    for (i, acc) in acc.iter_mut().enumerate() {
        let factor = weight * codes.step(i);
        let factor = _mm512_set1_ps(factor);
        let block = &codes.blocks[64 * B * i..64 * B * (i + 1)];
        let here = acc.as_mut_ptr();
        let mut word = _mm512_setzero_si512();
        for_each_row!(ROW => {
            let (k, used) = (ROW * B / 32, ROW * B % 32);
            if used == 0 {
                // SAFETY: word k < B of the block's 64 B bytes.
                word = unsafe { _mm512_loadu_si512(block.as_ptr().add(64 * k).cast()) };
                fetch(block.as_ptr().wrapping_add(64 * (TILE / BLOCK * B + k)));
            }
            // 1. The code in the top bits; where it straddles, the next word comes in.
            let shift = _mm512_set1_epi32(used as i32);
            let top = if used + B > 32 {
                // SAFETY: as above; the stream has B words.
                let next = unsafe { _mm512_loadu_si512(block.as_ptr().add(64 * (k + 1)).cast()) };
                fetch(block.as_ptr().wrapping_add(64 * (TILE / BLOCK * B + k + 1)));
                let top = _mm512_shldv_epi32(word, next, shift);
                word = next;
                top
            } else if used == 0 {
                word
            } else {
                _mm512_sllv_epi32(word, shift)
            };
            // 2. Its value.
            let value = if let Some(table) = &table {
                _mm512_mul_ps(factor, table.at(top))
            } else if LEVELS == Levels::Whole as u8 && B == 1 {
                let minus = _mm512_and_si512(top, sign);
                _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(factor), minus))
            } else {
                let code = _mm512_srav_epi32(top, _mm512_set1_epi32(32 - B as i32));
                let mut level = _mm512_cvtepi32_ps(code);
                if LEVELS == Levels::Half as u8 {
                    level = _mm512_add_ps(level, _mm512_set1_ps(0.5));
                }
                _mm512_mul_ps(factor, level)
            };
            // 3. The sum: two roundings, never fused.
            if FIRST {
                prefetch(here, ROW);
            }
            // SAFETY: row ROW of the block is 64 readable and writable bytes.
            unsafe {
                let sum = here.add(16 * ROW);
                _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), value));
            }
        });
    }
}

/// Whether full blocks hold the code `-2^(B-1)`, which uniform levels do not use.
#[target_feature(enable = "avx512f,avx512vbmi2")]
pub fn has_unused<const B: usize>(bytes: &[u8]) -> bool {
    assert!(B > 1 && bytes.len().is_multiple_of(64 * B));
    if 32 % B == 0 {
        return has_unused_field::<B>(bytes);
    }
    // A code in the top bits is the unused one exactly if the whole word is below this.
    let mut least = _mm512_setzero_si512();
    for block in bytes.chunks_exact(64 * B) {
        let mut word = _mm512_setzero_si512();
        for_each_row!(ROW => {
            let (k, used) = (ROW * B / 32, ROW * B % 32);
            if used == 0 {
                // SAFETY: word k < B of the block's 64 B bytes.
                word = unsafe { _mm512_loadu_si512(block.as_ptr().add(64 * k).cast()) };
                prefetch_line(block.as_ptr().wrapping_add(64 * k));
            }
            let shift = _mm512_set1_epi32(used as i32);
            let top = if used + B > 32 {
                // SAFETY: as above; the stream has B words.
                let next = unsafe { _mm512_loadu_si512(block.as_ptr().add(64 * (k + 1)).cast()) };
                prefetch_line(block.as_ptr().wrapping_add(64 * (k + 1)));
                let top = _mm512_shldv_epi32(word, next, shift);
                word = next;
                top
            } else {
                _mm512_sllv_epi32(word, shift)
            };
            least = _mm512_min_epi32(least, top);
        });
    }
    _mm512_reduce_min_epi32(least) < i32::MIN + (1 << (32 - B))
}

/// [`has_unused`] where codes do not straddle words: a search for a field of B bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn has_unused_field<const B: usize>(bytes: &[u8]) -> bool {
    let mut ones = 0u32;
    for field in 0..32 / B {
        ones |= 1 << (field * B);
    }
    let (ones, tops) = (
        _mm512_set1_epi32(ones as i32),
        _mm512_set1_epi32((ones << (B - 1)) as i32),
    );
    let mut found = _mm512_setzero_si512();
    for line in bytes.chunks_exact(64) {
        // SAFETY: 64 readable bytes.
        let word = unsafe { _mm512_loadu_si512(line.as_ptr().cast()) };
        prefetch_line(line.as_ptr());
        // The unused code becomes 0, and only below a 0 does taking 1 from each field borrow into
        // a top bit that was 0.
        let fields = _mm512_xor_si512(word, tops);
        let borrowed = _mm512_andnot_si512(fields, _mm512_sub_epi32(fields, ones));
        found = _mm512_or_si512(found, _mm512_and_si512(borrowed, tops));
    }
    _mm512_test_epi32_mask(found, found) != 0
}
