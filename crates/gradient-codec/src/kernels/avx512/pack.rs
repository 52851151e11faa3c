//! Streams of codes.

use std::arch::x86_64::*;

/// The word that 16 lanes are at, of streams of `B` bits a row.
pub struct Packer<const B: usize> {
    word: __m512i,
}

impl<const B: usize> Packer<B> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn new() -> Self {
        Self {
            word: _mm512_setzero_si512(),
        }
    }

    /// Appends row `ROW` of a block, 0 to 31 in this order: the top bits of `y`. Words that are full go to
    /// `block`.
    ///
    /// # Safety
    /// `block` points to 64 `B` writable bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi2")]
    pub unsafe fn push<const ROW: usize>(&mut self, y: __m512i, block: *mut u8) {
        let used = ROW * B % 32;
        let width = _mm512_set1_epi32(B as i32);
        if used + B >= 32 {
            let head = _mm512_set1_epi32(32 - used as i32);
            let full = if used == 0 {
                y
            } else {
                _mm512_shldv_epi32(self.word, y, head)
            };
            let k = ROW * B / 32;
            // SAFETY: word k < B of the block is 64 of its 64 B writable bytes.
            unsafe { _mm512_storeu_si512(block.add(64 * k).cast(), full) };
        }
        self.word = if used == 0 {
            _mm512_srlv_epi32(y, _mm512_set1_epi32(32 - B as i32))
        } else {
            // What is full already is shifted out before the next word is.
            _mm512_shldv_epi32(self.word, y, width)
        };
    }
}
