//! Bodies of blocks: checked and added segment by segment.

use super::FrameError;
use crate::checksum;
use crate::kernels::{Codes, Kernels, Levels};
use crate::layout::{BLOCK, LANES, SEGMENT, Segment};
use crate::partial;
use crate::quantizer::{Coding, Quantizer};
use rayon::prelude::*;
use std::ops::Range;

/// The codes (or raw f32) of all coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks<'a> {
    pub quantizer: Quantizer,
    pub n: usize,
    /// The step of a global scale.
    pub header_step: f32,
    pub body: &'a [u8],
}

impl Blocks<'_> {
    /// Checksum of the body, and the first rule that its contents break.
    pub(super) fn scan(&self, kernels: &'static Kernels) -> (u32, Result<(), FrameError>) {
        let per_task = checksum::segments_per_task(self.n);
        let segment_bytes = self.full_segment_bytes();
        let pieces: Vec<_> = self
            .body
            .par_chunks(per_task * segment_bytes)
            .enumerate()
            .map(|(task, bytes)| {
                let (mut crc, mut contents) = (0, Ok(()));
                for (i, segment) in bytes.chunks(segment_bytes).enumerate() {
                    let start = (task * per_task + i) * SEGMENT;
                    let checked = self.check_segment(kernels, start, segment, &mut crc);
                    contents = contents.and(checked);
                }
                (crc, bytes.len(), contents)
            })
            .collect();
        let checksum = checksum::concatenated(pieces.iter().map(|p| (p.0, p.1)));
        let contents = pieces.into_iter().try_for_each(|p| p.2);
        (checksum, contents)
    }

    /// The layout of the segment that starts at coordinate `start`.
    pub(super) fn segment(&self, start: usize) -> Segment {
        Segment::new(&self.quantizer, (self.n - start).min(SEGMENT))
    }

    /// See [`super::Frame::magnitude`].
    pub(super) fn magnitude(&self) -> f64 {
        if self.quantizer.is_f32() {
            return super::entries::norm(self.body.as_chunks().0);
        }
        let levels = f64::from(self.quantizer.outermost());
        let largest = |step: f32| (levels * f64::from(step)).powi(2);
        let Some(bucket) = self.quantizer.bucket().map(|bucket| bucket as usize) else {
            return (self.n as f64 * largest(self.header_step)).sqrt();
        };
        let segment_bytes = self.full_segment_bytes();
        let mut sum = 0.0;
        for start in (0..self.n).step_by(SEGMENT) {
            let coordinates = (self.n - start).min(SEGMENT);
            let steps = &self.body[start / SEGMENT * segment_bytes..];
            for (b, step) in steps.as_chunks().0[..coordinates.div_ceil(bucket)]
                .iter()
                .enumerate()
            {
                let filled = (coordinates - b * bucket).min(bucket);
                sum += filled as f64 * largest(f32::from_le_bytes(*step));
            }
        }
        sum.sqrt()
    }

    fn full_segment_bytes(&self) -> usize {
        if self.quantizer.is_f32() {
            4 * SEGMENT
        } else {
            Segment::new(&self.quantizer, SEGMENT).bytes()
        }
    }

    /// The words of the segment's partial block, spread over a full block.
    pub(super) fn spread_partial(&self, segment: &Segment, bytes: &[u8]) -> [u8; 4 * LANES * 16] {
        let mut full = [0; 4 * LANES * 16];
        let part = &bytes[segment.block_range(segment.blocks..segment.blocks + 1)];
        partial::spread_words(
            part,
            segment.partial_lanes,
            &mut full[..segment.block_bytes()],
        );
        full
    }

    /// Adds coordinates `tile` of the frame, inside one segment and from a block boundary. `ahead`: asks
    /// for what follows in the accumulator, as one of the frames should.
    pub(super) fn accumulate_tile(
        &self,
        kernels: &'static Kernels,
        weight: f32,
        tile: Range<usize>,
        ahead: bool,
        acc: &mut [f32],
    ) {
        if self.quantizer.is_f32() {
            return kernels.accumulate_f32(&self.body[4 * tile.start..4 * tile.end], weight, acc);
        }
        let start = tile.start - tile.start % SEGMENT;
        let segment = self.segment(start);
        let bytes = &self.body[start / SEGMENT * self.full_segment_bytes()..][..segment.bytes()];
        let bucket = self.quantizer.bucket().map_or(SEGMENT, |b| b as usize);
        if let Some(fused) = kernels.fused() {
            let whole = acc.len() / BLOCK;
            let first = (tile.start - start) / BLOCK;
            let header_step = [self.header_step.to_le_bytes()];
            let codes = Codes {
                blocks: &bytes[segment.block_range(first..first + whole)],
                steps: match segment.steps {
                    0 => &header_step,
                    steps => &bytes.as_chunks().0[..steps],
                },
                first,
                shift: (bucket / BLOCK).trailing_zeros(),
                levels: match self.quantizer.coding() {
                    Coding::MidRise => Levels::Half,
                    Coding::LloydMax => Levels::Table,
                    _ => Levels::Whole,
                },
                values: match self.quantizer.coding() {
                    Coding::LloydMax => self.quantizer.codebook().values(),
                    _ => &[],
                },
            };
            let (full, rest) = acc.split_at_mut(whole * BLOCK);
            fused.accumulate(self.quantizer.bits(), &codes, weight, ahead, full);
            if !rest.is_empty() {
                let factor = weight * codes.step(whole);
                self.accumulate_partial(kernels, &segment, bytes, factor, rest);
            }
            return;
        }
        // Runs of blocks that share a step.
        let mut at = tile.start - start;
        let mut acc = acc;
        while !acc.is_empty() {
            let run = acc.len().min(bucket - at % bucket);
            let (now, later) = acc.split_at_mut(run);
            let step = match segment.steps {
                0 => self.header_step,
                _ => {
                    let step = &bytes[4 * (at / bucket)..][..4];
                    f32::from_le_bytes([step[0], step[1], step[2], step[3]])
                }
            };
            let factor = weight * step;
            let (full, rest) = now.split_at_mut(run - run % BLOCK);
            let first = at / BLOCK;
            let blocks = segment.block_range(first..first + full.len() / BLOCK);
            self.accumulate_blocks(kernels, &bytes[blocks], factor, full);
            if !rest.is_empty() {
                self.accumulate_partial(kernels, &segment, bytes, factor, rest);
            }
            acc = later;
            at += run;
        }
    }

    /// `acc += factor * value` over full blocks that share a step.
    fn accumulate_blocks(
        &self,
        kernels: &'static Kernels,
        bytes: &[u8],
        factor: f32,
        acc: &mut [f32],
    ) {
        let bits = self.quantizer.bits();
        match self.quantizer.coding() {
            Coding::MidRise => kernels.accumulate_mid_rise(bits, bytes, factor, acc),
            Coding::LloydMax => {
                kernels.accumulate_table(self.quantizer.codebook(), bytes, factor, acc);
            }
            Coding::Uniform | Coding::Sign | Coding::StochasticSign | Coding::F32 => {
                kernels.accumulate(bits, bytes, factor, acc);
            }
        }
    }

    /// Adds the segment's partial block.
    fn accumulate_partial(
        &self,
        kernels: &'static Kernels,
        segment: &Segment,
        bytes: &[u8],
        factor: f32,
        acc: &mut [f32],
    ) {
        let packed = self.spread_partial(segment, bytes);
        let packed = &packed[..segment.block_bytes()];
        let mut block = partial::spread(acc);
        self.accumulate_blocks(kernels, packed, factor, &mut block);
        partial::gather(&block, acc);
    }
}
