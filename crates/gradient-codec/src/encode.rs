//! From a vector to a frame.

use crate::checksum;
use crate::header::{Header, has_header_step};
use crate::kernels::Kernels;
use crate::layout::{BLOCK, HEADER_BYTES, LANES, SEGMENT, Segment};
use crate::partial;
use crate::quantizer::{
    MessageId, Quantizer, Scale, bucket_step, fixed_point_factor, fixed_point_limit, global_step,
};
use crate::random::Keys;
use rayon::prelude::*;

/// Why a vector was not encoded. The output buffer is left empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A coordinate is NaN or infinite.
    #[error("encode coordinate {index}: it is not finite")]
    NotFinite {
        /// The first such coordinate.
        index: usize,
    },
    /// An f32 of the tail is NaN or infinite.
    #[error("encode tail value {index}: it is not finite")]
    TailNotFinite {
        /// The first such value.
        index: usize,
    },
    /// The coordinates are finite but their scale is not representable in f32.
    #[error("encode the bucket at coordinate {index}: its scale overflows f32")]
    Overflow {
        /// First coordinate of the bucket (0 with a global scale).
        index: usize,
    },
    /// The tail has more than u32::MAX values.
    #[error("encode a tail of {len} values: at most 4294967295 fit the header")]
    TailTooLong {
        /// Values in the tail.
        len: usize,
    },
}

impl Quantizer {
    /// Encodes `x` (n coordinates) and the unquantized `tail` as one frame in `out`, whose old
    /// content is replaced and whose length becomes [`Quantizer::frame_len`]; nothing is
    /// reallocated if its capacity suffices.
    ///
    /// The bytes depend on the arguments alone: neither on the CPU nor on the number of threads.
    /// Work is split over rayon's current pool.
    ///
    /// # Errors
    /// A coordinate or tail value that is not finite, or a scale beyond f32; `out` is then empty.
    ///
    /// # Example
    /// ```
    /// use gradient_codec::{Expected, Frame, MessageId, Preset};
    /// let quantizer = Preset::default().quantizer(4)?;
    /// let id = MessageId { seed: 1, iteration: 7, worker: 3 };
    /// let x: Vec<f32> = (0..1000).map(|i| (i as f32).sin()).collect();
    /// let mut bytes = Vec::new();
    /// quantizer.encode(&id, &x, &[0.25], &mut bytes)?;
    /// assert_eq!(bytes.len(), quantizer.frame_len(1000, 1));
    ///
    /// let expected = Expected { iteration: 7, worker: 3, n: 1000, quantizer, tail: 1 };
    /// let frame = Frame::parse(&bytes, &expected)?;
    /// let mut sum = vec![0.0; 1000];
    /// frame.accumulate(2.0, &mut sum);
    /// assert!((sum[1] - 2.0 * x[1]).abs() < 2.0 / 7.0 * 1.001);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encode(
        &self,
        id: &MessageId,
        x: &[f32],
        tail: &[f32],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let result = encode_with(Kernels::best(), self, id, x, tail, out);
        if result.is_err() {
            out.clear();
        }
        result
    }
}

/// [`Quantizer::encode`] with the loops of one instruction set.
pub(crate) fn encode_with(
    kernels: &'static Kernels,
    quantizer: &Quantizer,
    id: &MessageId,
    x: &[f32],
    tail: &[f32],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if let Some(index) = tail.iter().position(|v| !v.is_finite()) {
        return Err(EncodeError::TailNotFinite { index });
    }
    let tail_len =
        u32::try_from(tail.len()).map_err(|_| EncodeError::TailTooLong { len: tail.len() })?;
    // Every byte is written below, so a buffer that already has the length is not cleared first.
    out.resize(quantizer.frame_len(x.len(), tail.len()), 0);
    let (header_bytes, rest) = out.split_at_mut(HEADER_BYTES);
    let (body, tail_bytes) = rest.split_at_mut(rest.len() - 4 * tail.len());

    let mut header = Header::new(quantizer, x.len() as u64, id.iteration, id.worker, tail_len);
    let body_checksum = if quantizer.is_f32() {
        encode_f32(kernels, x, body)?
    } else {
        if has_header_step(quantizer) {
            header.step = step_of_whole(kernels, quantizer, x)?;
        }
        encode_body(kernels, quantizer, id, header.step, x, body)?
    };
    for (bytes, v) in tail_bytes.as_chunks_mut::<4>().0.iter_mut().zip(tail) {
        *bytes = v.to_le_bytes();
    }
    header.payload_checksum = crc32c::crc32c_append(body_checksum, tail_bytes);
    header_bytes.copy_from_slice(&header.to_bytes());
    Ok(())
}

/// Eq 3's step: norm over levels, the norm summed segment by segment in order.
fn step_of_whole(
    kernels: &'static Kernels,
    quantizer: &Quantizer,
    x: &[f32],
) -> Result<f32, EncodeError> {
    let per_task = checksum::segments_per_task(x.len());
    let mut sums = vec![0f64; x.len().div_ceil(SEGMENT)];
    sums.par_chunks_mut(per_task)
        .zip(x.par_chunks(per_task * SEGMENT))
        .for_each(|(sums, x)| {
            for (sum, x) in sums.iter_mut().zip(x.chunks(SEGMENT)) {
                *sum = kernels.sum_squares(x);
            }
        });
    let norm = sums.iter().sum::<f64>().sqrt();
    if !norm.is_finite() {
        // Squares of finite f32 cannot overflow f64.
        return Err(not_finite(x, 0));
    }
    let step = global_step(norm, quantizer.levels());
    if step.is_finite() {
        Ok(step)
    } else {
        Err(EncodeError::Overflow { index: 0 })
    }
}

/// The error for `x`, which starts at coordinate `offset` and holds one that is not finite.
fn not_finite(x: &[f32], offset: usize) -> EncodeError {
    let index = x.iter().position(|v| !v.is_finite()).unwrap_or(0);
    EncodeError::NotFinite {
        index: offset + index,
    }
}

/// Writes the segments; returns the checksum of `body`.
fn encode_body(
    kernels: &'static Kernels,
    quantizer: &Quantizer,
    id: &MessageId,
    header_step: f32,
    x: &[f32],
    body: &mut [u8],
) -> Result<u32, EncodeError> {
    let keys = Keys::new(id.rounding_key());
    let per_task = checksum::segments_per_task(x.len());
    let segment_bytes = Segment::new(quantizer, SEGMENT).bytes();
    let pieces = body
        .par_chunks_mut(per_task * segment_bytes)
        .zip(x.par_chunks(per_task * SEGMENT))
        .enumerate()
        .map(|(task, (bytes, x))| {
            let mut crc = 0;
            let first = task * per_task;
            let segments = bytes.chunks_mut(segment_bytes).zip(x.chunks(SEGMENT));
            for (index, (bytes, x)) in segments.enumerate() {
                let start = (first + index) * SEGMENT;
                encode_segment(kernels, quantizer, &keys, header_step, start, x, bytes)?;
                crc = crc32c::crc32c_append(crc, bytes);
            }
            Ok((crc, bytes.len()))
        })
        .collect::<Vec<Result<_, EncodeError>>>();
    // The first error in coordinate order, whichever thread met one first.
    let pieces = pieces.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(checksum::concatenated(pieces))
}

/// Writes one segment: its bucket steps, then its blocks. `start` is its first coordinate.
fn encode_segment(
    kernels: &'static Kernels,
    quantizer: &Quantizer,
    keys: &Keys,
    header_step: f32,
    start: usize,
    x: &[f32],
    bytes: &mut [u8],
) -> Result<(), EncodeError> {
    let segment = Segment::new(quantizer, x.len());
    let (step_bytes, block_bytes) = bytes.split_at_mut(segment.step_bytes);
    step_bytes.fill(0);
    let bucket = quantizer.bucket().map_or(SEGMENT, |b| b as usize);
    let mut blocks = block_bytes.chunks_mut(segment.block_bytes());
    let mut y = [0u32; BLOCK];
    for (j, x) in x.chunks(bucket).enumerate() {
        let start = start + j * bucket;
        let step = match quantizer.scale() {
            Scale::GlobalL2 | Scale::None => header_step,
            scale => {
                let step = step_of_bucket(kernels, scale, quantizer.levels(), start, x)?;
                step_bytes[4 * j..4 * j + 4].copy_from_slice(&step.to_le_bytes());
                step
            }
        };
        let factor = fixed_point_factor(step, quantizer.bits());
        let limit = fixed_point_limit(quantizer.levels(), quantizer.bits());
        let (full, rest) = x.as_chunks::<BLOCK>();
        let mut block = (start / BLOCK) as u64;
        for (x, bytes) in full.iter().zip(&mut blocks) {
            if step == 0.0 {
                bytes.fill(0);
            } else {
                kernels.fill(quantizer.generator(), keys, block, &mut y);
                kernels.quantize(x, factor, limit, quantizer.bits(), &mut y);
                kernels.pack(quantizer.bits(), &y, bytes);
            }
            block += 1;
        }
        if !rest.is_empty()
            && let Some(bytes) = blocks.next()
        {
            let mut packed = [0; 4 * LANES * 16];
            let packed = &mut packed[..segment.block_bytes()];
            kernels.fill(quantizer.generator(), keys, block, &mut y);
            kernels.quantize(
                &partial::spread(rest),
                factor,
                limit,
                quantizer.bits(),
                &mut y,
            );
            kernels.pack(quantizer.bits(), &y, packed);
            partial::gather_words(packed, segment.partial_lanes, bytes);
        }
    }
    Ok(())
}

/// The step of one bucket, refusing what is not finite.
fn step_of_bucket(
    kernels: &'static Kernels,
    scale: Scale,
    levels: u32,
    start: usize,
    x: &[f32],
) -> Result<f32, EncodeError> {
    let scale = if scale == Scale::BucketMax {
        let scale = f32::from_bits(kernels.max_abs_bits(x));
        if !scale.is_finite() {
            return Err(not_finite(x, start));
        }
        scale
    } else {
        let norm = kernels.sum_squares(x).sqrt();
        if !norm.is_finite() {
            return Err(not_finite(x, start));
        }
        norm as f32
    };
    let step = bucket_step(scale, levels);
    if step.is_finite() {
        Ok(step)
    } else {
        Err(EncodeError::Overflow { index: start })
    }
}

/// Writes raw f32; returns their checksum.
fn encode_f32(kernels: &'static Kernels, x: &[f32], body: &mut [u8]) -> Result<u32, EncodeError> {
    let per_task = checksum::segments_per_task(x.len()) * SEGMENT;
    let pieces = body
        .par_chunks_mut(4 * per_task)
        .zip(x.par_chunks(per_task))
        .enumerate()
        .map(|(task, (bytes, x))| {
            let mut crc = 0;
            for (i, (bytes, x)) in bytes.chunks_mut(4 * BLOCK).zip(x.chunks(BLOCK)).enumerate() {
                if kernels.max_abs_bits(x) >= f32::INFINITY.to_bits() {
                    return Err(not_finite(x, task * per_task + i * BLOCK));
                }
                for (bytes, v) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(x) {
                    *bytes = v.to_le_bytes();
                }
                crc = crc32c::crc32c_append(crc, bytes);
            }
            Ok((crc, bytes.len()))
        })
        .collect::<Vec<Result<_, EncodeError>>>();
    let pieces = pieces.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(checksum::concatenated(pieces))
}
