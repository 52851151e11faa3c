//! Encoding: scale, random bits, rounding and packing in one loop.

use super::pack::Packer;
use crate::kernels::x86::prefetch;
use crate::kernels::{Ahead, Run, Statistic};
use crate::layout::BLOCK;
use std::arch::x86_64::*;

/// Low halves of the counters of a row's four AES blocks, and of the rows: `4 row + i = 4 row ^ i`.
static ROW_COUNTERS: [[u64; 2]; 32] = {
    let mut counters = [[0; 2]; 32];
    let mut row = 0;
    while row < 32 {
        counters[row][0] = 4 * row as u64;
        row += 1;
    }
    counters
};

/// See [`crate::kernels::Fused`]: `STATISTIC` is a [`Statistic`], a run without one is clamped.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi2,aes,vaes")]
pub fn encode<const B: usize, const STATISTIC: u8>(
    run: &Run<'_>,
    x: &[f32],
    ahead: &[f32],
    statistic: &mut Ahead,
    out: &mut [u8],
) {
    let (x, ahead) = (x.as_chunks::<BLOCK>().0, ahead.as_chunks::<BLOCK>().0);
    assert!(ahead.len() == x.len() && out.len() == 64 * B * x.len());
    let mut keys = [_mm512_setzero_si512(); 6];
    for (key, k) in keys.iter_mut().zip(run.keys.ars) {
        let k = _mm_set_epi32(k[3] as i32, k[2] as i32, k[1] as i32, k[0] as i32);
        *key = _mm512_broadcast_i32x4(k);
    }
    let [whitening, k1, k2, k3, k4, k5] = keys;
    let factor = _mm512_set1_ps(run.factor);
    let (high, low) = (_mm512_set1_ps(run.limit), _mm512_set1_ps(-run.limit));
    let offset = _mm512_set1_epi32(run.offset);
    let width = _mm512_set1_epi32(B as i32);
    let mut sums = Sums::load(statistic);
    for (i, (x, ahead)) in x.iter().zip(ahead).enumerate() {
        let first = run.block.wrapping_add(i as u64).wrapping_mul(128) as i64;
        // Counters first .. first + 3 in the low halves of the four 128-bit lanes.
        let counter = _mm512_or_si512(
            _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0),
            _mm512_maskz_set1_epi64(0b0101_0101, first),
        );
        let whitened = _mm512_xor_si512(counter, whitening);
        let words = &mut out[64 * B * i..64 * B * (i + 1)];
        let mut packer = Packer::<B>::new();
        for_each_row!(ROW => {
            // 1. 32 random bits for each of the row's 16 coordinates.
            // SAFETY: 16 readable bytes.
            let row = unsafe { _mm_loadu_si128(ROW_COUNTERS[ROW].as_ptr().cast()) };
            let mut random = _mm512_xor_si512(whitened, _mm512_broadcast_i32x4(row));
            random = _mm512_aesenc_epi128(random, k1);
            random = _mm512_aesenc_epi128(random, k2);
            random = _mm512_aesenc_epi128(random, k3);
            random = _mm512_aesenc_epi128(random, k4);
            random = _mm512_aesenc_epi128(random, k5);
            // 2. The level in fixed point plus the fraction: its top B bits are the code.
            // SAFETY: row ROW of a block is 64 readable bytes.
            let v = unsafe { _mm512_loadu_ps(x.as_ptr().add(16 * ROW)) };
            let mut level = _mm512_mul_ps(v, factor);
            if STATISTIC == Statistic::None as u8 {
                level = _mm512_max_ps(_mm512_min_ps(level, high), low);
            }
            let random = _mm512_srlv_epi32(random, width);
            let y = _mm512_add_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(level), offset), random);
            // 3. Append the code to the lane's stream.
            // SAFETY: there are 64 B writable bytes.
            unsafe { packer.push::<ROW>(y, words.as_mut_ptr()) };
            // 4. The statistic of the coordinates that come next.
            prefetch(ahead.as_ptr(), ROW);
            sums.add::<STATISTIC>(ROW, &ahead[16 * ROW..16 * ROW + 16]);
        });
    }
    sums.store(statistic);
}

/// The statistic of `x` alone (whole blocks); `WALKS`: through memory.
#[target_feature(enable = "avx512f")]
pub fn gather<const STATISTIC: u8, const WALKS: bool>(x: &[f32], statistic: &mut Ahead) {
    let mut sums = Sums::load(statistic);
    for x in x.as_chunks::<BLOCK>().0 {
        for_each_row!(ROW => {
            if WALKS {
                prefetch(x.as_ptr(), ROW);
            }
            sums.add::<STATISTIC>(ROW, &x[16 * ROW..16 * ROW + 16]);
        });
    }
    sums.store(statistic);
}

/// An [`Ahead`] in registers.
struct Sums {
    largest: __m512i,
    squares: [__m512d; 4],
}

impl Sums {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(from: &Ahead) -> Self {
        let mut squares = [_mm512_setzero_pd(); 4];
        for (i, sum) in squares.iter_mut().enumerate() {
            // SAFETY: eight of the 32 readable f64.
            *sum = unsafe { _mm512_loadu_pd(from.squares.as_ptr().add(8 * i)) };
        }
        // SAFETY: 16 readable u32.
        let largest = unsafe { _mm512_loadu_si512(from.largest.as_ptr().cast()) };
        Self { largest, squares }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(self, to: &mut Ahead) {
        for (i, sum) in self.squares.into_iter().enumerate() {
            // SAFETY: eight of the 32 writable f64.
            unsafe { _mm512_storeu_pd(to.squares.as_mut_ptr().add(8 * i), sum) };
        }
        // SAFETY: 16 writable u32.
        unsafe { _mm512_storeu_si512(to.largest.as_mut_ptr().cast(), self.largest) };
    }

    /// Adds the 16 coordinates `x` of a row.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add<const STATISTIC: u8>(&mut self, row: usize, x: &[f32]) {
        assert!(x.len() == 16);
        let x = x.as_ptr();
        if STATISTIC == Statistic::Largest as u8 {
            // SAFETY: 16 readable f32.
            let v = unsafe { _mm512_loadu_si512(x.cast()) };
            let magnitude = _mm512_and_si512(v, _mm512_set1_epi32(0x7fff_ffff));
            self.largest = _mm512_max_epu32(self.largest, magnitude);
        }
        if STATISTIC == Statistic::Squares as u8 {
            // Squares of f32 are exact in f64, so that fusing changes no bit.
            let half = 2 * (row % 2);
            // SAFETY: 16 readable f32.
            let (a, b) = unsafe { (_mm256_loadu_ps(x), _mm256_loadu_ps(x.add(8))) };
            let (a, b) = (_mm512_cvtps_pd(a), _mm512_cvtps_pd(b));
            self.squares[half] = _mm512_fmadd_pd(a, a, self.squares[half]);
            self.squares[half + 1] = _mm512_fmadd_pd(b, b, self.squares[half + 1]);
        }
    }
}
