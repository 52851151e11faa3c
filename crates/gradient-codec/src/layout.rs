//! Where every byte of a frame lies: a pure function of (compressor, tail length).
//!
//! ```text
//! frame   = header (64 bytes) | body | tail (4 bytes per f32)
//! body    = segments of 65,536 coordinates, the last one shorter      (32-bit frames: n raw f32)
//! segment = bucket steps (f32 each, zero-padded to 64 bytes; none with a global scale) | blocks
//! block   = 512 coordinates = 32 rows x 16 lanes, coordinate 16 row + lane, 64 * bits bytes
//! sparse body = K values (f32 each) | K indices of ceil(log2 n) bits, to a whole byte (top-K only)
//! the last block of a frame, rem < 512 coordinates, has lanes = ceil(rem / 32) instead of 16
//! ```

use crate::compressor::{Compressor, Operator};
use crate::quantizer::Quantizer;
use crate::sparse;
use std::ops::Range;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;
/// Coordinates of a full segment, the unit of threads and of streaming.
pub const SEGMENT: usize = 1 << LOG2_SEGMENT;
/// log2 of [`SEGMENT`].
pub const LOG2_SEGMENT: u32 = 16;
/// Coordinates of a full block, the unit of packing.
pub const BLOCK: usize = ROWS * LANES;
/// Rows of a block: codes in one lane's bit stream.
pub const ROWS: usize = 32;
/// Lanes of a full block: parallel bit streams.
pub const LANES: usize = 16;

/// One segment of a body: which coordinates it holds and how its bytes divide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Coordinates in the segment, `1..=SEGMENT`.
    pub coordinates: usize,
    /// Bucket steps in the segment; 0 with a global scale.
    pub steps: usize,
    /// Bytes of the steps with their padding.
    pub step_bytes: usize,
    /// Full blocks in the segment.
    pub blocks: usize,
    /// Lanes of the partial block after them; 0 if there is none.
    pub partial_lanes: usize,
    /// Bits per coordinate.
    pub bits: usize,
}

impl Segment {
    /// The layout of a segment of `coordinates <= SEGMENT` coordinates.
    pub fn new(quantizer: &Quantizer, coordinates: usize) -> Self {
        let bits = usize::from(quantizer.bits());
        let steps = match quantizer.bucket() {
            Some(bucket) => coordinates.div_ceil(bucket as usize),
            None => 0,
        };
        Self {
            coordinates,
            steps,
            step_bytes: (4 * steps).next_multiple_of(64),
            blocks: coordinates / BLOCK,
            partial_lanes: (coordinates % BLOCK).div_ceil(ROWS),
            bits,
        }
    }

    /// Bytes of one full block.
    pub fn block_bytes(&self) -> usize {
        4 * LANES * self.bits
    }

    /// All bytes of the segment.
    pub fn bytes(&self) -> usize {
        self.step_bytes + self.blocks * self.block_bytes() + 4 * self.partial_lanes * self.bits
    }

    /// Bytes, from the segment's start, of blocks `blocks` (a partial block is block `self.blocks`).
    pub(crate) fn block_range(&self, blocks: Range<usize>) -> Range<usize> {
        let at = |block: usize| {
            if block > self.blocks {
                self.bytes()
            } else {
                self.step_bytes + block * self.block_bytes()
            }
        };
        at(blocks.start)..at(blocks.end)
    }
}

/// Bytes of the body, or `None` where they do not fit 64 bits.
pub(crate) fn body_bytes(compressor: &Compressor) -> Option<u64> {
    let n = compressor.coordinates() as u64;
    let quantizer = match compressor.operator() {
        Operator::Quantizer(quantizer) => quantizer,
        Operator::TopK { entries } | Operator::RandK { entries } => {
            let indices = sparse::index_bytes(entries, compressor.index_bits());
            return Some(4 * u64::from(entries) + indices);
        }
    };
    if quantizer.is_f32() {
        return n.checked_mul(4);
    }
    let full = Segment::new(&quantizer, SEGMENT).bytes() as u64;
    let last = Segment::new(&quantizer, (n % SEGMENT as u64) as usize).bytes() as u64;
    (n / SEGMENT as u64).checked_mul(full)?.checked_add(last)
}

/// Bytes of the whole frame, or `None` where they do not fit `usize`.
pub(crate) fn frame_bytes(compressor: &Compressor, tail: usize) -> Option<usize> {
    let tail = (tail as u64).checked_mul(4)?;
    let total = body_bytes(compressor)?
        .checked_add(tail)?
        .checked_add(HEADER_BYTES as u64)?;
    usize::try_from(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generator, Scale};

    #[test]
    fn sizes_by_hand() {
        let bucketed = Quantizer::new(Scale::BucketMax, 512, 4, Generator::default()).unwrap();
        // 128 steps = 512 bytes; 128 blocks of 256 bytes.
        assert_eq!(Segment::new(&bucketed, SEGMENT).bytes(), 512 + 128 * 64 * 4);
        // 3 buckets: 12 bytes padded to 64; two blocks; 1 coordinate left: one lane of 4 words.
        assert_eq!(Segment::new(&bucketed, 1025).bytes(), 64 + 2 * 256 + 16);
        assert_eq!(bucketed.compressor(0).frame_len(0), 64);
        assert_eq!(
            bucketed.compressor(1025).frame_len(3),
            64 + 64 + 512 + 16 + 12
        );
        let global = Quantizer::new(Scale::GlobalL2, 0, 3, Generator::default()).unwrap();
        assert_eq!(
            global.compressor(SEGMENT + 33).frame_len(0),
            64 + 128 * 64 * 3 + 4 * 2 * 3
        );
        assert_eq!(Quantizer::f32().compressor(5).frame_len(2), 64 + 20 + 8);
    }

    #[test]
    fn sizes_saturate_instead_of_wrapping() {
        let q = Quantizer::new(Scale::BucketMax, 512, 16, Generator::default()).unwrap();
        for n in [usize::MAX, usize::MAX / 2, usize::MAX / 2 - 64] {
            for tail in [0, usize::MAX / 4, usize::MAX] {
                let len = q.compressor(n).frame_len(tail);
                assert!(len == usize::MAX || len > n);
            }
        }
    }
}
