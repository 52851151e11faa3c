//! The hot path of encoding: a bucket is quantized while the scale of the next one is taken, so
//! that every coordinate crosses memory once; or, if buckets are rotated, while what follows is
//! prefetched.

use super::{EncodeError, Quantize, step_of_bucket, step_of_scale, unusable};
use crate::checksum;
use crate::kernels::{Ahead, Fused, Run, Statistic};
use crate::layout::{BLOCK, SEGMENT, Segment};
use crate::quantizer::{Coding, Generator, Scale};
use crate::rotation::Rotor;

/// Writes bodies of blocks with a fused loop.
pub(super) struct Pipeline<'a> {
    quantize: &'a Quantize,
    fused: &'static Fused,
    statistic: Statistic,
    /// Whether segments are finished in the cache and then written around it.
    streams: bool,
}

/// Bodies of this many bytes and more are written around the cache: they would not stay there.
/// Tests do so with small ones, too.
const STREAMED: usize = if cfg!(test) { 1 << 16 } else { 16 << 20 };

impl Quantize {
    /// The fused loop, where this CPU has one for this quantizer.
    pub(super) fn fused(&self, body_bytes: usize) -> Option<Pipeline<'_>> {
        let quantizer = &self.quantizer;
        let is_fused = match quantizer.coding() {
            Coding::Uniform | Coding::MidRise | Coding::StochasticSign => {
                quantizer.generator() == Generator::Ars
            }
            Coding::LloydMax => true,
            Coding::Sign | Coding::F32 => false,
        };
        if !is_fused {
            return None;
        }
        let statistic = match quantizer.scale() {
            Scale::BucketMax => Statistic::Largest,
            Scale::BucketL2 => Statistic::Squares,
            _ => Statistic::None,
        };
        let fused = self.kernels.fused()?;
        Some(Pipeline {
            quantize: self,
            fused,
            statistic,
            streams: body_bytes >= STREAMED,
        })
    }
}

impl Pipeline<'_> {
    /// Writes consecutive segments, of which `x` starts at coordinate `start`; returns their
    /// checksum.
    pub(super) fn segments(
        &self,
        start: usize,
        x: &[f32],
        bytes: &mut [u8],
    ) -> Result<u32, EncodeError> {
        let quantizer = &self.quantize.quantizer;
        let segment_bytes = Segment::new(quantizer, SEGMENT).bytes();
        let bucket = quantizer.bucket().map_or(SEGMENT, |b| b as usize);
        let rotor = |rotation| {
            (
                Rotor::new(self.quantize.kernels, rotation),
                vec![0.0; bucket],
            )
        };
        let mut rotor = self.quantize.rotation.map(rotor);
        let mut ahead = Ahead::ZERO;
        if rotor.is_none() {
            let first = &x[..x.len().min(bucket)];
            self.fused.gather(self.statistic, true, first, &mut ahead);
        }
        let mut write = |start: usize, x: &[f32], bytes: &mut [u8]| match &mut rotor {
            None => self.segment(start, x, &mut ahead, bytes),
            Some((rotor, z)) => self.rotated_segment(start, x, rotor, z, bytes),
        };
        let mut crc = 0;
        let mut scratch = vec![0; if self.streams { segment_bytes } else { 0 }];
        for (i, bytes) in bytes.chunks_mut(segment_bytes).enumerate() {
            let (start, x) = (start + i * SEGMENT, &x[i * SEGMENT..]);
            if self.streams {
                let scratch = &mut scratch[..bytes.len()];
                write(start, x, scratch)?;
                crc = checksum::append(crc, scratch);
                self.fused.stream(scratch, bytes);
            } else {
                write(start, x, bytes)?;
                crc = checksum::append(crc, bytes);
            }
        }
        Ok(crc)
    }

    /// Writes the segment that begins at coordinate `start`; `x` is it and what follows. `ahead` holds
    /// the statistic of its first bucket, and afterwards that of the next segment's.
    fn segment(
        &self,
        start: usize,
        x: &[f32],
        ahead: &mut Ahead,
        bytes: &mut [u8],
    ) -> Result<(), EncodeError> {
        let quantizer = &self.quantize.quantizer;
        let coordinates = x.len().min(SEGMENT);
        let segment = Segment::new(quantizer, coordinates);
        let (step_bytes, mut bytes) = bytes.split_at_mut(segment.step_bytes);
        step_bytes[4 * segment.steps..].fill(0);
        let bucket = quantizer.bucket().map_or(SEGMENT, |b| b as usize);
        for at in (0..coordinates).step_by(bucket) {
            let (now, later) = x[at..].split_at(bucket.min(x.len() - at));
            let next = &later[..later.len().min(bucket)];
            let step = if self.statistic == Statistic::None {
                self.quantize.step
            } else {
                let scale = ahead.scale(self.statistic);
                let step = step_of_scale(quantizer, scale);
                let step = step.ok_or_else(|| unusable(now, start + at))?;
                let sent = (step * self.quantize.shrinkage).to_le_bytes();
                step_bytes[4 * (at / bucket)..][..4].copy_from_slice(&sent);
                *ahead = Ahead::ZERO;
                step
            };
            let (full, rest) = now.split_at(now.len() - now.len() % BLOCK);
            let full_bytes = full.len() / BLOCK * segment.block_bytes();
            let (codes, after) = bytes.split_at_mut(full_bytes);
            self.blocks(step, start + at, full, next, ahead, codes);
            bytes = after;
            if !rest.is_empty() {
                let start = start + at + full.len();
                if step == 0.0 {
                    bytes.fill(0);
                } else {
                    self.quantize.stochastic_blocks(start, step, rest, bytes);
                }
            }
        }
        Ok(())
    }

    /// Writes the segment that begins at coordinate `start`; `x` is it and what follows. Each bucket is
    /// rotated in `z` first.
    fn rotated_segment(
        &self,
        start: usize,
        x: &[f32],
        rotor: &mut Rotor,
        z: &mut [f32],
        bytes: &mut [u8],
    ) -> Result<(), EncodeError> {
        let quantizer = &self.quantize.quantizer;
        let segment = Segment::new(quantizer, x.len().min(SEGMENT));
        let (step_bytes, block_bytes) = bytes.split_at_mut(segment.step_bytes);
        step_bytes[4 * segment.steps..].fill(0);
        let bucket = z.len();
        let codes = block_bytes.chunks_mut(bucket / BLOCK * segment.block_bytes());
        for (j, codes) in codes.enumerate() {
            let (at, x) = (start + j * bucket, &x[j * bucket..]);
            let (x, later) = x.split_at(bucket.min(x.len()));
            let z = &mut z[..x.len()];
            rotor.apply_to(at, x, z);
            let step = match quantizer.coding() {
                Coding::LloydMax => self.quantize.nearest_levels(x, z, codes),
                _ => self.rounded_bucket(at, z, later, codes),
            };
            let step = step.ok_or_else(|| unusable(x, at))?;
            let sent = (step * self.quantize.shrinkage).to_le_bytes();
            step_bytes[4 * j..][..4].copy_from_slice(&sent);
        }
        Ok(())
    }

    /// Writes the codes of the rotated bucket `z` from coordinate `start` on, stochastically rounded; returns its
    /// step, or `None` for what cannot be sent. `later` is what comes next.
    fn rounded_bucket(
        &self,
        start: usize,
        z: &[f32],
        later: &[f32],
        codes: &mut [u8],
    ) -> Option<f32> {
        let quantizer = &self.quantize.quantizer;
        let step = step_of_bucket(self.quantize.kernels, quantizer, z)?;
        if step == 0.0 {
            codes.fill(0);
            return Some(step);
        }
        let (full, rest) = z.split_at(z.len() - z.len() % BLOCK);
        let block_bytes = Segment::new(quantizer, BLOCK).block_bytes();
        let (codes, last) = codes.split_at_mut(full.len() / BLOCK * block_bytes);
        // The loop prefetches behind the slice whose statistic it would take.
        let later = later.get(..full.len()).unwrap_or(full);
        let run = self.run(step, start);
        let mut unused = Ahead::ZERO;
        let ahead = (later, &mut unused);
        self.fused
            .encode(quantizer.bits(), Statistic::None, &run, full, ahead, codes);
        if !rest.is_empty() {
            self.quantize
                .stochastic_blocks(start + full.len(), step, rest, last);
        }
        Some(step)
    }

    /// Blocks from coordinate `start` on with one step.
    fn run(&self, step: f32, start: usize) -> Run<'_> {
        let levels = self.quantize.quantizer.fixed_point(step);
        Run {
            keys: &self.quantize.keys,
            block: (start / BLOCK) as u64,
            factor: levels.factor,
            limit: levels.limit,
            offset: levels.offset as i32,
        }
    }

    /// Writes the codes of the full blocks `x`, from coordinate `start` on, and gathers the statistic
    /// of `next`.
    fn blocks(
        &self,
        step: f32,
        start: usize,
        x: &[f32],
        next: &[f32],
        ahead: &mut Ahead,
        codes: &mut [u8],
    ) {
        if step == 0.0 {
            codes.fill(0);
            return self.fused.gather(self.statistic, true, next, ahead);
        }
        let quantizer = &self.quantize.quantizer;
        let block_bytes = codes.len() / (x.len() / BLOCK).max(1);
        // The last buckets of a task may be followed by less than they have.
        let shared = match self.statistic {
            Statistic::None => 0,
            _ => next.len().min(x.len()) / BLOCK,
        };
        let parts = [(0..shared, Some(next)), (shared..x.len() / BLOCK, None)];
        for (blocks, next) in parts {
            if blocks.is_empty() {
                continue;
            }
            let part = BLOCK * blocks.start..BLOCK * blocks.end;
            let run = self.run(step, start + part.start);
            let codes = &mut codes[block_bytes * blocks.start..block_bytes * blocks.end];
            let x = &x[part.clone()];
            // Without anything ahead the loop takes the statistic of `x` once more, for nothing.
            let mut unused = Ahead::ZERO;
            let next = match next {
                Some(next) => (&next[part], &mut *ahead),
                None => (x, &mut unused),
            };
            self.fused
                .encode(quantizer.bits(), self.statistic, &run, x, next, codes);
        }
        ahead.add(self.statistic, &next[BLOCK * shared..]);
    }
}
