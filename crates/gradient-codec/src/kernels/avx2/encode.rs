//! Encoding: scale, random bits, rounding and packing in one loop, with one AES block
//! an instruction (AES-NI) or two (VAES).

use super::pack::Packer;
use crate::kernels::x86::prefetch;
use crate::kernels::{Ahead, Run, Statistic};
use crate::layout::BLOCK;
use std::arch::x86_64::*;

/// The low 64 bits of the counters of half a row, from coordinate `8 half` of the block.
#[inline]
#[target_feature(enable = "avx2")]
fn counters(first: i64, half: usize) -> __m256i {
    let counter = first | (2 * half as i64); // the low seven bits of `first` are 0
    _mm256_set_epi64x(0, counter | 1, 0, counter)
}

/// Five rounds on two blocks.
#[inline]
#[target_feature(enable = "avx2,aes,vaes")]
fn rounds_vaes(mut state: __m256i, keys: &[__m256i; 6]) -> __m256i {
    state = _mm256_aesenc_epi128(state, keys[1]);
    state = _mm256_aesenc_epi128(state, keys[2]);
    state = _mm256_aesenc_epi128(state, keys[3]);
    state = _mm256_aesenc_epi128(state, keys[4]);
    _mm256_aesenc_epi128(state, keys[5])
}

/// Five rounds on two blocks.
#[inline]
#[target_feature(enable = "avx2,aes")]
fn rounds_aes(state: __m256i, keys: &[__m256i; 6]) -> __m256i {
    let mut low = _mm256_castsi256_si128(state);
    let mut high = _mm256_extracti128_si256::<1>(state);
    for key in &keys[1..] {
        let key = _mm256_castsi256_si128(*key);
        low = _mm_aesenc_si128(low, key);
        high = _mm_aesenc_si128(high, key);
    }
    _mm256_set_m128i(high, low)
}

macro_rules! encode {
    ($name:ident, $features:literal, $rounds:ident) => {
        /// See [`crate::kernels::Fused`]: `STATISTIC` is a [`Statistic`], a run without one is clamped.
        #[target_feature(enable = $features)]
        pub fn $name<const B: usize, const STATISTIC: u8>(
            run: &Run<'_>,
            x: &[f32],
            ahead: &[f32],
            statistic: &mut Ahead,
            out: &mut [u8],
        ) {
            let (x, ahead) = (x.as_chunks::<BLOCK>().0, ahead.as_chunks::<BLOCK>().0);
            assert!(ahead.len() == x.len() && out.len() == 64 * B * x.len());
            let mut keys = [_mm256_setzero_si256(); 6];
            for (key, k) in keys.iter_mut().zip(run.keys.ars) {
                let k = _mm_set_epi32(k[3] as i32, k[2] as i32, k[1] as i32, k[0] as i32);
                *key = _mm256_broadcastsi128_si256(k);
            }
            let factor = _mm256_set1_ps(run.factor);
            let (high, low) = (_mm256_set1_ps(run.limit), _mm256_set1_ps(-run.limit));
            let offset = _mm256_set1_epi32(run.offset);
            let mut sums = Sums::load(statistic);
            for (i, (x, ahead)) in x.iter().zip(ahead).enumerate() {
                let first = run.block.wrapping_add(i as u64).wrapping_mul(128) as i64;
                let words = &mut out[64 * B * i..64 * B * (i + 1)];
                let mut packers = [Packer::<B>::new(), Packer::<B>::new()];
                for_each_row!(ROW => {
                    for half in 0..2 {
                        // 1. 32 random bits for each of eight coordinates.
                        let counter = counters(first, 2 * ROW + half);
                        let random = $rounds(_mm256_xor_si256(counter, keys[0]), &keys);
                        // 2. The level in fixed point plus the fraction: its top B bits are the code.
                        // SAFETY: half of row ROW is 32 readable bytes.
                        let v = unsafe { _mm256_loadu_ps(x.as_ptr().add(16 * ROW + 8 * half)) };
                        let mut level = _mm256_mul_ps(v, factor);
                        if STATISTIC == Statistic::None as u8 {
                            level = _mm256_max_ps(_mm256_min_ps(level, high), low);
                        }
                        let random = _mm256_srlv_epi32(random, _mm256_set1_epi32(B as i32));
                        let level = _mm256_add_epi32(_mm256_cvtps_epi32(level), offset);
                        let y = _mm256_add_epi32(level, random);
                        // 3. Append the code to the lane's stream.
                        // SAFETY: there are 64 B writable bytes.
                        unsafe { packers[half].push::<ROW>(y, words.as_mut_ptr().add(32 * half)) };
                    }
                    // 4. The statistic of the coordinates that come next.
                    prefetch(ahead.as_ptr(), ROW);
                    sums.add::<STATISTIC>(ROW, &ahead[16 * ROW..16 * ROW + 16]);
                });
            }
            sums.store(statistic);
        }
    };
}

encode!(encode_aes, "avx2,bmi2,aes,fma", rounds_aes);
encode!(encode_vaes, "avx2,bmi2,aes,fma,vaes", rounds_vaes);

/// The statistic of `x` alone (whole blocks); `WALKS`: through memory.
#[target_feature(enable = "avx2,fma")]
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
    largest: [__m256i; 2],
    squares: [__m256d; 8],
}

impl Sums {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(from: &Ahead) -> Self {
        let mut sums = Self {
            largest: [_mm256_setzero_si256(); 2],
            squares: [_mm256_setzero_pd(); 8],
        };
        for (i, sum) in sums.squares.iter_mut().enumerate() {
            // SAFETY: four of the 32 readable f64.
            *sum = unsafe { _mm256_loadu_pd(from.squares.as_ptr().add(4 * i)) };
        }
        for (i, largest) in sums.largest.iter_mut().enumerate() {
            // SAFETY: eight of the 16 readable u32.
            *largest = unsafe { _mm256_loadu_si256(from.largest.as_ptr().add(8 * i).cast()) };
        }
        sums
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(self, to: &mut Ahead) {
        for (i, sum) in self.squares.into_iter().enumerate() {
            // SAFETY: four of the 32 writable f64.
            unsafe { _mm256_storeu_pd(to.squares.as_mut_ptr().add(4 * i), sum) };
        }
        for (i, largest) in self.largest.into_iter().enumerate() {
            // SAFETY: eight of the 16 writable u32.
            unsafe { _mm256_storeu_si256(to.largest.as_mut_ptr().add(8 * i).cast(), largest) };
        }
    }

    /// Adds the 16 coordinates `x` of a row.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add<const STATISTIC: u8>(&mut self, row: usize, x: &[f32]) {
        assert!(x.len() == 16);
        let x = x.as_ptr();
        if STATISTIC == Statistic::Largest as u8 {
            for (i, largest) in self.largest.iter_mut().enumerate() {
                // SAFETY: eight of the 16 readable f32.
                let v = unsafe { _mm256_loadu_si256(x.add(8 * i).cast()) };
                let magnitude = _mm256_and_si256(v, _mm256_set1_epi32(0x7fff_ffff));
                *largest = _mm256_max_epu32(*largest, magnitude);
            }
        }
        if STATISTIC == Statistic::Squares as u8 {
            // Squares of f32 are exact in f64, so that fusing changes no bit.
            for (i, sum) in self.squares[4 * (row % 2)..][..4].iter_mut().enumerate() {
                // SAFETY: four of the 16 readable f32.
                let v = _mm256_cvtps_pd(unsafe { _mm_loadu_ps(x.add(4 * i)) });
                *sum = _mm256_fmadd_pd(v, v, *sum);
            }
        }
    }
}
