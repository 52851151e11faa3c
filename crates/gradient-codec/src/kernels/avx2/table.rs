//! Tables of levels.

use std::arch::x86_64::*;

/// A value for every magnitude of `B` bits, 2^(B-1) of them: in a vector up to 4 bits, in memory beyond.
pub struct Table<'a, const B: usize> {
    vector: __m256,
    values: &'a [f32],
}

impl<'a, const B: usize> Table<'a, B> {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn new(values: &'a [f32]) -> Self {
        assert!(values.len() == 1 << (B - 1));
        let mut first = [0.0; 8];
        let len = values.len().min(8);
        first[..len].copy_from_slice(&values[..len]);
        Self {
            // SAFETY: eight readable f32.
            vector: unsafe { _mm256_loadu_ps(first.as_ptr()) },
            values,
        }
    }

    /// The values at these indices, modulo 2^(B-1).
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn at(&self, index: __m256i) -> __m256 {
        if B <= 4 {
            return _mm256_permutevar8x32_ps(self.vector, index);
        }
        let index = _mm256_and_si256(index, _mm256_set1_epi32((1 << (B - 1)) - 1));
        // SAFETY: indices are below 2^(B-1), the number of values.
        unsafe { _mm256_i32gather_ps::<4>(self.values.as_ptr(), index) }
    }

    /// The values of the codes in the top bits: those of positive codes and their negatives.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn signed(&self, top: __m256i) -> __m256 {
        // A code and its complement are the two values of one magnitude.
        let index = _mm256_xor_si256(top, _mm256_srai_epi32::<31>(top));
        let value = self.at(_mm256_srlv_epi32(index, _mm256_set1_epi32(32 - B as i32)));
        let minus = _mm256_and_si256(top, _mm256_set1_epi32(i32::MIN));
        _mm256_castsi256_ps(_mm256_xor_si256(_mm256_castps_si256(value), minus))
    }
}
