//! From bytes to a sum: checking a frame against what was planned, and folding it into an
//! accumulator without a dequantized copy.

use crate::checksum;
use crate::header::{Header, MAGIC, VERSION, has_header_step};
use crate::kernels::Kernels;
use crate::layout::{BLOCK, HEADER_BYTES, LANES, SEGMENT, Segment};
use crate::partial;
use crate::quantizer::Quantizer;
use rayon::prelude::*;
use std::ops::Range;

/// What the plan says a frame must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Iteration of the run.
    pub iteration: u64,
    /// Logical worker.
    pub worker: u32,
    /// Coordinates.
    pub n: usize,
    /// The worker's quantizer.
    pub quantizer: Quantizer,
    /// Unquantized f32 behind the coordinates.
    pub tail: usize,
}

/// Why a frame was refused: one variant for every rule of the format it can break.
///
/// `found` is what the bytes say, `expected` what the plan says.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // found, expected, index: as said above
pub enum FrameError {
    /// There is no whole header.
    #[error("parse a frame of {found} bytes: the header alone has 64")]
    Truncated { found: usize },
    /// Not a frame at all.
    #[error("parse a frame that begins with {found:02x?} instead of GCDF")]
    Magic { found: [u8; 4] },
    /// Written by another version of the format.
    #[error("parse a frame of version {found}: this is version {expected}")]
    Version { found: u16, expected: u16 },
    /// The header is damaged.
    #[error("parse a frame header: its checksum does not hold")]
    HeaderChecksum,
    /// Another width than planned.
    #[error("parse a frame of {found} bits per coordinate where {expected} were planned")]
    Bits { found: u8, expected: u8 },
    /// Another scale kind than planned.
    #[error("parse a frame of scale kind {found} where {expected} was planned")]
    Scale { found: u8, expected: u8 },
    /// Another kind of levels than planned.
    #[error("parse a frame of levels kind {found} where {expected} was planned")]
    Levels { found: u8, expected: u8 },
    /// Rounded with another generator than planned.
    #[error("parse a frame rounded by generator {found} where {expected} was planned")]
    Generator { found: u8, expected: u8 },
    /// Another bucket size than planned.
    #[error("parse a frame of log2 bucket {found} where {expected} was planned")]
    Bucket { found: u8, expected: u8 },
    /// Another segment size than this format has.
    #[error("parse a frame of log2 segment {found} where {expected} was planned")]
    Segment { found: u8, expected: u8 },
    /// Flags that this version does not know.
    #[error("parse a frame with flags {found:#x}: none are known")]
    Flags { found: u32 },
    /// Another number of coordinates than planned.
    #[error("parse a frame of {found} coordinates where {expected} were planned")]
    Coordinates { found: u64, expected: u64 },
    /// A frame of another round.
    #[error("parse a frame of iteration {found} in iteration {expected}")]
    Iteration { found: u64, expected: u64 },
    /// A frame of another worker.
    #[error("parse a frame of worker {found} where worker {expected}'s was due")]
    Worker { found: u32, expected: u32 },
    /// Another tail length than planned.
    #[error("parse a frame with a tail of {found} values where {expected} were planned")]
    Tail { found: u64, expected: u64 },
    /// A rotation seed without a rotation.
    #[error("parse a frame with rotation seed {found:#x} but no rotation")]
    RotationSeed { found: u64 },
    /// Reserved bytes are not zero.
    #[error("parse a frame whose reserved field is {found:#x}")]
    Reserved { found: u32 },
    /// The frame is not as long as its contents.
    #[error("parse a frame of {found} bytes that should have {expected}")]
    Length { found: usize, expected: usize },
    /// Body or tail are damaged.
    #[error("parse a frame: the checksum of its payload does not hold")]
    PayloadChecksum,
    /// The header's step is negative, not finite, too large, or there should be none.
    #[error("parse a frame with step {found:e} in its header")]
    HeaderStep { found: f32 },
    /// A bucket's step is negative, not finite or too large.
    #[error("parse a frame with step {found:e} for the bucket at coordinate {index}")]
    Step { index: usize, found: f32 },
    /// The padding behind the steps of the segment at coordinate `index` is not zero.
    #[error("parse a frame with non-zero padding in the segment at coordinate {index}")]
    StepPadding { index: usize },
    /// The code that no level has, in the block at coordinate `index`.
    #[error("parse a frame with an unused code in the block at coordinate {index}")]
    UnusedCode { index: usize },
    /// Coordinates behind the last one are not zero.
    #[error("parse a frame with non-zero padding behind its last coordinate")]
    CodePadding,
    /// A raw f32 near coordinate `index` (same block of 512) is not finite.
    #[error("parse a frame with a value that is not finite in the block at coordinate {index}")]
    NotFinite { index: usize },
    /// A tail value is not finite.
    #[error("parse a frame whose tail value {index} is not finite")]
    TailNotFinite { index: usize },
}

/// A checked frame: every rule of the format holds, so that decoding cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    quantizer: Quantizer,
    n: usize,
    header_step: f32,
    body: &'a [u8],
    tail: &'a [[u8; 4]],
}

impl<'a> Frame<'a> {
    /// Checks `bytes` against the format and the plan. Reads everything once, allocates nothing
    /// that depends on the frame's own claims, and takes time linear in the *planned* length at
    /// most.
    ///
    /// # Errors
    /// The first rule broken, in the order of [`FrameError`]'s variants.
    pub fn parse(bytes: &'a [u8], expected: &Expected) -> Result<Self, FrameError> {
        Self::parse_with(Kernels::best(), bytes, expected)
    }

    pub(crate) fn parse_with(
        kernels: &'static Kernels,
        bytes: &'a [u8],
        expected: &Expected,
    ) -> Result<Self, FrameError> {
        let found = bytes.len();
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(FrameError::Truncated { found });
        };
        let (header, intact) = Header::from_bytes(header);
        check_header(&header, intact, expected)?;
        let quantizer = expected.quantizer;
        let length = quantizer.frame_len(expected.n, expected.tail);
        if found != length {
            return Err(FrameError::Length {
                found,
                expected: length,
            });
        }
        let (body, tail) = rest.split_at(rest.len() - 4 * expected.tail);
        let frame = Self {
            quantizer,
            n: expected.n,
            header_step: header.step,
            body,
            tail: tail.as_chunks().0,
        };
        let (checksum, contents) = frame.scan(kernels);
        if crc32c::crc32c_append(checksum, tail) != header.payload_checksum {
            return Err(FrameError::PayloadChecksum);
        }
        let step_fits = has_header_step(&quantizer) && valid_step(header.step, &quantizer);
        if !step_fits && header.step.to_bits() != 0 {
            return Err(FrameError::HeaderStep { found: header.step });
        }
        contents?;
        match frame.tail().position(|v| !v.is_finite()) {
            Some(index) => Err(FrameError::TailNotFinite { index }),
            None => Ok(frame),
        }
    }

    /// Coordinates.
    pub fn coordinates(&self) -> usize {
        self.n
    }

    /// What the frame was quantized with.
    pub fn quantizer(&self) -> Quantizer {
        self.quantizer
    }

    /// Bits of the quantized payload: [`Quantizer::payload_bits`].
    pub fn payload_bits(&self) -> u64 {
        self.quantizer.payload_bits(self.n)
    }

    /// The unquantized values behind the coordinates.
    pub fn tail(&self) -> impl ExactSizeIterator<Item = f32> + use<'a> {
        self.tail.iter().map(|bytes| f32::from_le_bytes(*bytes))
    }

    /// `acc += weight * Q(x)`: coordinate m becomes `fl(acc_m + fl(fl(weight * step) * code_m))`,
    /// the same bits for any CPU and number of threads.
    ///
    /// # Panics
    /// If `acc` has not [`Frame::coordinates`] elements.
    pub fn accumulate(&self, weight: f32, acc: &mut [f32]) {
        accumulate_many(&[(*self, weight)], acc);
    }

    /// `out = Q(x)`.
    ///
    /// # Panics
    /// If `out` has not [`Frame::coordinates`] elements.
    pub fn decode(&self, out: &mut [f32]) {
        out.fill(0.0);
        self.accumulate(1.0, out);
    }

    /// Checksum of the body, and the first rule that its contents break.
    fn scan(&self, kernels: &'static Kernels) -> (u32, Result<(), FrameError>) {
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
                    crc = crc32c::crc32c_append(crc, segment);
                    contents = contents.and_then(|()| self.check_segment(kernels, start, segment));
                }
                (crc, bytes.len(), contents)
            })
            .collect();
        let checksum = checksum::concatenated(pieces.iter().map(|p| (p.0, p.1)));
        let contents = pieces.into_iter().try_for_each(|p| p.2);
        (checksum, contents)
    }

    /// Steps, padding and codes of the segment that starts at coordinate `start`.
    fn check_segment(
        &self,
        kernels: &'static Kernels,
        start: usize,
        bytes: &[u8],
    ) -> Result<(), FrameError> {
        if self.quantizer.is_f32() {
            for (i, block) in bytes.chunks(4 * BLOCK).enumerate() {
                if kernels.max_abs_bits_le(block) >= f32::INFINITY.to_bits() {
                    let index = start + i * BLOCK;
                    return Err(FrameError::NotFinite { index });
                }
            }
            return Ok(());
        }
        let segment = self.segment(start);
        let bits = self.quantizer.bits();
        let bucket = self.quantizer.bucket().map_or(SEGMENT, |b| b as usize);
        let (steps, padding) = bytes[..segment.step_bytes].split_at(4 * segment.steps);
        for (j, step) in steps.as_chunks::<4>().0.iter().enumerate() {
            let found = f32::from_le_bytes(*step);
            if !valid_step(found, &self.quantizer) {
                let index = start + j * bucket;
                return Err(FrameError::Step { index, found });
            }
        }
        if padding.iter().any(|b| *b != 0) {
            return Err(FrameError::StepPadding { index: start });
        }
        let unused = -(1i32 << (bits - 1));
        let blocks = &bytes[segment.block_range(0..segment.blocks)];
        if kernels.lowest(bits, blocks) == unused {
            let is_bad = |block: &[u8]| kernels.lowest(bits, block) == unused;
            let block = blocks.chunks(segment.block_bytes()).position(is_bad);
            let index = start + block.unwrap_or(0) * BLOCK;
            return Err(FrameError::UnusedCode { index });
        }
        if segment.partial_lanes > 0 {
            let full = self.spread_partial(&segment, bytes);
            let packed = &full[..segment.block_bytes()];
            if kernels.lowest(bits, packed) == unused {
                let index = start + segment.blocks * BLOCK;
                return Err(FrameError::UnusedCode { index });
            }
            // Decode whole lanes: what lies behind the last coordinate must be zero.
            let mut values = [0.0; BLOCK];
            kernels.accumulate(bits, packed, 1.0, &mut values);
            let mut lanes = [0.0; BLOCK];
            let lanes = &mut lanes[..segment.partial_lanes * 32];
            partial::gather(&values, lanes);
            if lanes[segment.coordinates % BLOCK..]
                .iter()
                .any(|v| *v != 0.0)
            {
                return Err(FrameError::CodePadding);
            }
        }
        Ok(())
    }

    /// The layout of the segment that starts at coordinate `start`.
    fn segment(&self, start: usize) -> Segment {
        Segment::new(&self.quantizer, (self.n - start).min(SEGMENT))
    }

    fn full_segment_bytes(&self) -> usize {
        if self.quantizer.is_f32() {
            4 * SEGMENT
        } else {
            Segment::new(&self.quantizer, SEGMENT).bytes()
        }
    }

    /// The words of the segment's partial block, spread over a full block.
    fn spread_partial(&self, segment: &Segment, bytes: &[u8]) -> [u8; 4 * LANES * 16] {
        let mut full = [0; 4 * LANES * 16];
        let part = &bytes[segment.block_range(segment.blocks..segment.blocks + 1)];
        partial::spread_words(
            part,
            segment.partial_lanes,
            &mut full[..segment.block_bytes()],
        );
        full
    }

    /// Adds coordinates `tile` of the frame, inside one segment and from a block boundary.
    fn accumulate_tile(
        &self,
        kernels: &'static Kernels,
        weight: f32,
        tile: Range<usize>,
        acc: &mut [f32],
    ) {
        if self.quantizer.is_f32() {
            return kernels.accumulate_f32(&self.body[4 * tile.start..4 * tile.end], weight, acc);
        }
        let start = tile.start - tile.start % SEGMENT;
        let segment = self.segment(start);
        let bytes = &self.body[start / SEGMENT * self.full_segment_bytes()..][..segment.bytes()];
        let bucket = self.quantizer.bucket().map_or(SEGMENT, |b| b as usize);
        let bits = self.quantizer.bits();
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
            kernels.accumulate(bits, &bytes[blocks], factor, full);
            if !rest.is_empty() {
                let packed = self.spread_partial(&segment, bytes);
                let mut block = partial::spread(rest);
                kernels.accumulate(bits, &packed[..segment.block_bytes()], factor, &mut block);
                partial::gather(&block, rest);
            }
            acc = later;
            at += run;
        }
    }
}

/// Coordinates of the accumulator that stay in the L1 cache while every frame is added to them.
const TILE: usize = 8 * BLOCK;

/// Adds every frame, times its weight, to `acc` in one pass: the accumulator crosses memory once
/// however many frames there are. Bit for bit the same as [`Frame::accumulate`] for one frame after
/// the other. The frames may have different widths and quantizers.
///
/// # Panics
/// If `acc` has not exactly the coordinates of every frame.
pub fn accumulate_many(frames: &[(Frame<'_>, f32)], acc: &mut [f32]) {
    accumulate_many_with(Kernels::best(), frames, acc);
}

pub(crate) fn accumulate_many_with(
    kernels: &'static Kernels,
    frames: &[(Frame<'_>, f32)],
    acc: &mut [f32],
) {
    for (frame, _) in frames {
        assert_eq!(
            acc.len(),
            frame.n,
            "the accumulator must have the frame's coordinates"
        );
    }
    acc.par_chunks_mut(SEGMENT)
        .enumerate()
        .for_each(|(index, acc)| {
            for (i, acc) in acc.chunks_mut(TILE).enumerate() {
                let start = index * SEGMENT + i * TILE;
                for (frame, weight) in frames {
                    frame.accumulate_tile(kernels, *weight, start..start + acc.len(), acc);
                }
            }
        });
}

/// Finite, not negative, and so is its product with the outermost level.
fn valid_step(step: f32, quantizer: &Quantizer) -> bool {
    step.is_sign_positive() && (step * quantizer.levels() as f32).is_finite()
}

/// Every field of the header against the plan.
fn check_header(header: &Header, intact: bool, expected: &Expected) -> Result<(), FrameError> {
    let wanted = Header::new(
        &expected.quantizer,
        expected.n as u64,
        expected.iteration,
        expected.worker,
        0,
    );
    if header.magic != MAGIC {
        return Err(FrameError::Magic {
            found: header.magic,
        });
    }
    if header.version != VERSION {
        return Err(FrameError::Version {
            found: header.version,
            expected: VERSION,
        });
    }
    if !intact {
        return Err(FrameError::HeaderChecksum);
    }
    macro_rules! same {
        ($field:ident, $variant:ident) => {
            if header.$field != wanted.$field {
                return Err(FrameError::$variant {
                    found: header.$field,
                    expected: wanted.$field,
                });
            }
        };
    }
    same!(bits, Bits);
    same!(scale, Scale);
    same!(levels, Levels);
    same!(generator, Generator);
    same!(log2_bucket, Bucket);
    same!(log2_segment, Segment);
    if header.flags != 0 {
        return Err(FrameError::Flags {
            found: header.flags,
        });
    }
    same!(n, Coordinates);
    same!(iteration, Iteration);
    same!(worker, Worker);
    if u64::from(header.tail) != expected.tail as u64 {
        return Err(FrameError::Tail {
            found: u64::from(header.tail),
            expected: expected.tail as u64,
        });
    }
    if header.rotation_seed != 0 {
        return Err(FrameError::RotationSeed {
            found: header.rotation_seed,
        });
    }
    if header.reserved != 0 {
        return Err(FrameError::Reserved {
            found: header.reserved,
        });
    }
    Ok(())
}
