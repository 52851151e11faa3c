//! A frame's body as int32 words, in runs of segments of one length that are worked on together.

use gradient_codec::Quantizer;
use gradient_codec::layout::{BLOCK, LANES, ROWS, SEGMENT, Segment};
use tch::Device;

/// Consecutive segments of one length: full ones, or the last one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// First segment.
    pub first: usize,
    /// Segments.
    pub count: usize,
    /// The layout of each.
    pub segment: Segment,
    /// Coordinates per bucket; a block's with a global scale.
    pub bucket: usize,
}

impl Run {
    /// First coordinate.
    pub fn start(&self) -> usize {
        self.first * SEGMENT
    }

    /// Coordinates of the run.
    pub fn coordinates(&self) -> usize {
        self.count * self.segment.coordinates
    }

    /// Coordinates of the run with its last bucket filled up.
    pub fn padded(&self) -> usize {
        self.coordinates().next_multiple_of(self.bucket)
    }

    /// Words of one segment, of its steps with padding, of its full blocks, of its partial block.
    pub fn words(&self) -> [i64; 4] {
        let segment = &self.segment;
        let full = segment.blocks * segment.block_bytes();
        let partial = 4 * segment.partial_lanes * segment.bits;
        [segment.bytes(), segment.step_bytes, full, partial].map(|bytes| (bytes / 4) as i64)
    }

    /// Coordinates of the full blocks.
    pub fn in_full_blocks(&self) -> usize {
        self.count * self.segment.blocks * BLOCK
    }

    /// Coordinates behind the full blocks, and the places that their partial block has for them.
    pub fn in_partial_block(&self) -> (usize, usize) {
        let places = ROWS * self.segment.partial_lanes;
        (self.segment.coordinates % BLOCK, places)
    }

    /// Blocks of the frame before the run.
    pub fn first_block(&self) -> u64 {
        (self.start() / BLOCK) as u64
    }
}

/// Segments that are worked on together: 4 Mi coordinates keep a GPU busy, a CPU's caches prefer fewer.
pub(crate) fn segments_at_once(device: Device) -> usize {
    match device {
        Device::Cpu => 2,
        _ => 64,
    }
}

/// The runs of a vector of `n` coordinates, of at most `at_once` segments.
pub(crate) fn runs(quantizer: &Quantizer, n: usize, at_once: usize) -> Vec<Run> {
    let bucket = quantizer.bucket().map_or(BLOCK, |bucket| bucket as usize);
    let run = |first, count, coordinates| Run {
        first,
        count,
        segment: Segment::new(quantizer, coordinates),
        bucket,
    };
    let full = n / SEGMENT;
    let mut runs: Vec<Run> = (0..full)
        .step_by(at_once)
        .map(|first| run(first, at_once.min(full - first), SEGMENT))
        .collect();
    if !n.is_multiple_of(SEGMENT) {
        runs.push(run(full, 1, n % SEGMENT));
    }
    runs
}

/// Words of a full segment: where in the body segments begin.
pub(crate) fn segment_words(quantizer: &Quantizer) -> usize {
    Segment::new(quantizer, SEGMENT).bytes() / 4
}

/// Lanes of a full block.
pub(crate) const FULL_LANES: i64 = LANES as i64;

#[cfg(test)]
mod tests {
    use super::*;
    use gradient_codec::{Generator, Scale};

    #[test]
    fn runs_cover_the_body() {
        let bucketed = Quantizer::new(Scale::BucketMax, 512, 5, Generator::Philox).unwrap();
        let global = Quantizer::new(Scale::GlobalL2, 0, 3, Generator::Philox).unwrap();
        for quantizer in [bucketed, global] {
            for n in [
                0,
                1,
                511,
                513,
                SEGMENT,
                SEGMENT + 1,
                5 * SEGMENT,
                5 * SEGMENT + 70,
            ] {
                let runs = runs(&quantizer, n, 2);
                let words: i64 = runs
                    .iter()
                    .map(|run| run.count as i64 * run.words()[0])
                    .sum();
                assert_eq!(4 * words + 64, quantizer.compressor(n).frame_len(0) as i64);
                assert_eq!(runs.iter().map(Run::coordinates).sum::<usize>(), n);
                for run in runs {
                    let [all, steps, full, partial] = run.words();
                    assert_eq!(all, steps + full + partial);
                    let (rest, places) = run.in_partial_block();
                    assert_eq!(run.in_full_blocks() + rest, run.coordinates());
                    assert!(run.in_full_blocks() + places <= run.padded());
                }
            }
        }
    }
}
