//! Tables of levels in registers.

use std::arch::x86_64::*;

/// A value for every magnitude of `B` bits, 2^(B-1) of them: in vectors up to 8 bits, in memory beyond.
pub struct Table<'a, const B: usize> {
    vectors: [__m512; 8],
    values: &'a [f32],
}

impl<'a, const B: usize> Table<'a, B> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn new(values: &'a [f32]) -> Self {
        assert!(values.len() == 1 << (B - 1));
        let mut vectors = [_mm512_setzero_ps(); 8];
        if B <= 8 {
            for (vector, values) in vectors.iter_mut().zip(values.chunks(16)) {
                let mask = u16::MAX >> (16 - values.len());
                // SAFETY: the mask has as many bits as there are values.
                *vector = unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) };
            }
        }
        Self { vectors, values }
    }

    /// The values at these indices, modulo 2^(B-1).
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn at(&self, index: __m512i) -> __m512 {
        let t = &self.vectors;
        match B {
            ..=5 => _mm512_permutexvar_ps(index, t[0]),
            6 => _mm512_permutex2var_ps(t[0], index, t[1]),
            7 => self.half(0, index),
            8 => {
                let upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(64));
                _mm512_mask_mov_ps(self.half(0, index), upper, self.half(4, index))
            }
            _ => {
                let index = _mm512_and_si512(index, _mm512_set1_epi32((1 << (B - 1)) - 1));
                // SAFETY: indices are below 2^(B-1), the number of values.
                unsafe { _mm512_i32gather_ps::<4>(index, self.values.as_ptr()) }
            }
        }
    }

    /// Of 64 values from vector `first` on.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn half(&self, first: usize, index: __m512i) -> __m512 {
        let t = &self.vectors[first..first + 4];
        let upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(32));
        let low = _mm512_permutex2var_ps(t[0], index, t[1]);
        _mm512_mask_mov_ps(low, upper, _mm512_permutex2var_ps(t[2], index, t[3]))
    }
}

/// A value for every code of `B` bits: those of positive codes and their negatives.
pub struct Signed<'a, const B: usize> {
    magnitudes: Table<'a, B>,
    /// All values by the code modulo 2^B, as far as two vectors hold them.
    vectors: [__m512; 2],
}

impl<'a, const B: usize> Signed<'a, B> {
    /// From all values, by code + 2^(B-1).
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn new(values: &'a [f32]) -> Self {
        assert!(values.len() == 1 << B);
        let (negative, positive) = values.split_at(1 << (B - 1));
        let mut all = [[0.0; 16]; 2];
        if B <= 5 {
            let all = &mut all.as_flattened_mut()[..values.len()];
            all[..positive.len()].copy_from_slice(positive);
            all[positive.len()..].copy_from_slice(negative);
        }
        let mut vectors = [_mm512_setzero_ps(); 2];
        for (vector, values) in vectors.iter_mut().zip(&all) {
            // SAFETY: 16 readable f32.
            *vector = unsafe { _mm512_loadu_ps(values.as_ptr()) };
        }
        if B < 4 {
            // Fewer bits of a code are looked at than a permutation looks at.
            let index = _mm512_and_si512(
                _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                _mm512_set1_epi32((1 << B) - 1),
            );
            vectors[0] = _mm512_permutexvar_ps(index, vectors[0]);
        }
        Self {
            magnitudes: Table::new(positive),
            vectors,
        }
    }

    /// The values of codes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn of(&self, code: __m512i) -> __m512 {
        let [low, high] = self.vectors;
        match B {
            ..=4 => _mm512_permutexvar_ps(code, low),
            5 => _mm512_permutex2var_ps(low, code, high),
            _ => {
                // A code and its complement are the two values of one magnitude.
                let sign = _mm512_srai_epi32::<31>(code);
                let value = self.magnitudes.at(_mm512_xor_si512(code, sign));
                let minus = _mm512_and_si512(sign, _mm512_set1_epi32(i32::MIN));
                _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(value), minus))
            }
        }
    }

    /// The values of the codes in the top bits.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn at(&self, top: __m512i) -> __m512 {
        let rest = _mm512_set1_epi32(32 - B as i32);
        if B <= 5 {
            self.of(_mm512_srlv_epi32(top, rest))
        } else {
            self.of(_mm512_srav_epi32(top, rest))
        }
    }
}
