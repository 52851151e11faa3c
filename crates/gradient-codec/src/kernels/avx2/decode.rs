//! Decoding: codes to a sum, and the search for codes that stand for nothing.

use super::table::Table;
use crate::kernels::x86::{fetch, prefetch, prefetch_line};
use crate::kernels::{Codes, Levels};
use crate::layout::BLOCK;
use std::arch::x86_64::*;

/// Coordinates after which a frame's next codes are wanted, whichever frames are added in between.
const TILE: usize = 8 * BLOCK;

/// Half of word `k` of a block of `64 B` bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn load(block: &[u8], k: usize, half: usize) -> __m256i {
    let bytes = &block[64 * k + 32 * half..][..32];
    // SAFETY: 32 readable bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// The code at `row` in the top bits of eight lanes, other codes below it.
#[inline]
#[target_feature(enable = "avx2")]
fn top<const B: usize>(block: &[u8], row: usize, half: usize) -> __m256i {
    let (k, used) = (row * B / 32, row * B % 32);
    let shift = _mm256_set1_epi32(used as i32);
    let top = _mm256_sllv_epi32(load(block, k, half), shift);
    if used + B > 32 {
        let rest = _mm256_set1_epi32(32 - used as i32);
        _mm256_or_si256(top, _mm256_srlv_epi32(load(block, k + 1, half), rest))
    } else {
        top
    }
}

/// See [`crate::kernels::Fused::accumulate`]: `LEVELS` is a [`Levels`]; `FIRST` prefetches the
/// accumulator.
#[target_feature(enable = "avx2")]
pub fn accumulate<const B: usize, const LEVELS: u8, const FIRST: bool>(
    codes: &Codes<'_>,
    weight: f32,
    acc: &mut [f32],
) {
    let acc = acc.as_chunks_mut::<BLOCK>().0;
    assert!(codes.blocks.len() == 64 * B * acc.len());
    let sign = _mm256_set1_epi32(i32::MIN);
    let table = if LEVELS == Levels::Table as u8 {
        Some(Table::<B>::new(&codes.values[1 << (B - 1)..]))
    } else {
        None
    };
    for (i, acc) in acc.iter_mut().enumerate() {
        let factor = _mm256_set1_ps(weight * codes.step(i));
        let block = &codes.blocks[64 * B * i..64 * B * (i + 1)];
        let here = acc.as_mut_ptr();
        for_each_row!(ROW => {
            if ROW < B {
                fetch(block.as_ptr().wrapping_add(64 * (TILE / BLOCK * B + ROW)));
            }
            if FIRST {
                prefetch(here, ROW);
            }
            for half in 0..2 {
                let top = top::<B>(block, ROW, half);
                let unused = _mm256_set1_epi32(32 - B as i32);
                let value = if let Some(table) = &table {
                    _mm256_mul_ps(factor, table.signed(top))
                } else if LEVELS == Levels::Whole as u8 && B == 1 {
                    let minus = _mm256_and_si256(top, sign);
                    _mm256_castsi256_ps(_mm256_xor_si256(_mm256_castps_si256(factor), minus))
                } else {
                    let mut level = _mm256_cvtepi32_ps(_mm256_srav_epi32(top, unused));
                    if LEVELS == Levels::Half as u8 {
                        level = _mm256_add_ps(level, _mm256_set1_ps(0.5));
                    }
                    _mm256_mul_ps(factor, level)
                };
                // Two roundings, never fused.
                // SAFETY: half of row ROW of the block is 32 readable and writable bytes.
                unsafe {
                    let sum = here.add(16 * ROW + 8 * half);
                    _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), value));
                }
            }
        });
    }
}

/// Whether full blocks hold the code `-2^(B-1)`, which uniform levels do not use.
#[target_feature(enable = "avx2")]
pub fn has_unused<const B: usize>(bytes: &[u8]) -> bool {
    assert!(B > 1 && bytes.len().is_multiple_of(64 * B));
    // A code in the top bits is the unused one exactly if the whole word is below this.
    let mut least = [_mm256_setzero_si256(); 2];
    for block in bytes.chunks_exact(64 * B) {
        for_each_row!(ROW => {
            if ROW < B {
                prefetch_line(block.as_ptr().wrapping_add(64 * ROW));
            }
            for (half, least) in least.iter_mut().enumerate() {
                *least = _mm256_min_epi32(*least, top::<B>(block, ROW, half));
            }
        });
    }
    let mut lanes = [0i32; 8];
    let least = _mm256_min_epi32(least[0], least[1]);
    // SAFETY: 32 writable bytes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), least) };
    lanes.iter().any(|v| *v < i32::MIN + (1 << (32 - B)))
}
