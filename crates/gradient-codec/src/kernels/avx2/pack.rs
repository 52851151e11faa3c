//! Streams of codes.

use std::arch::x86_64::*;

/// The word that half a block's 16 lanes are at, of streams of `B` bits a row.
pub struct Packer<const B: usize> {
    word: __m256i,
}

impl<const B: usize> Packer<B> {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn new() -> Self {
        Self {
            word: _mm256_setzero_si256(),
        }
    }

    /// Appends row `ROW` of a block, 0 to 31 in this order: the top bits of `y`. Words that are full go to
    /// `words`.
    ///
    /// # Safety
    /// `words` points to the half of word 0 of the 64 `B` writable bytes of a block.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn push<const ROW: usize>(&mut self, y: __m256i, words: *mut u8) {
        let used = ROW * B % 32;
        if used + B >= 32 {
            let full = append(self.word, y, 32 - used as i32);
            // SAFETY: half of word k < B of the block.
            unsafe { _mm256_storeu_si256(words.add(64 * (ROW * B / 32)).cast(), full) };
        }
        self.word = append(self.word, y, B as i32);
    }
}

/// `word` shifted left by `bits` in 1..=32, with the top bits of `y` behind it.
#[inline]
#[target_feature(enable = "avx2")]
fn append(word: __m256i, y: __m256i, bits: i32) -> __m256i {
    // Counts of 32 give 0.
    _mm256_or_si256(
        _mm256_sllv_epi32(word, _mm256_set1_epi32(bits)),
        _mm256_srlv_epi32(y, _mm256_set1_epi32(32 - bits)),
    )
}
