//! From a vector to a frame.

mod pipeline;

use crate::checksum;
use crate::compressor::{Compressor, Operator};
use crate::header::Header;
use crate::kernels::{Kernels, Nearest, add_products, total};
use crate::layout::{BLOCK, HEADER_BYTES, LANES, ROWS, SEGMENT, Segment};
use crate::partial;
use crate::quantizer::{Coding, MessageId, Quantizer, Scale, unit_variance};
use crate::random::Keys;
use crate::rotation::{Rotation, Rotor};
use crate::sparse;
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
    /// The coordinates are finite but their scale, or an amplified value, is not representable in
    /// f32.
    #[error("encode what begins at coordinate {index}: its scale overflows f32")]
    Overflow {
        /// First coordinate of the bucket (0 with a global scale), or the amplified coordinate.
        index: usize,
    },
    /// The vector has not the compressor's number of coordinates.
    #[error("encode {found} coordinates with a compressor of {expected}")]
    Coordinates {
        /// Coordinates of the vector.
        found: usize,
        /// Coordinates of the compressor.
        expected: usize,
    },
    /// The tail has more than u32::MAX values.
    #[error("encode a tail of {len} values: at most 4294967295 fit the header")]
    TailTooLong {
        /// Values in the tail.
        len: usize,
    },
}

impl Compressor {
    /// Encodes `x` (n coordinates) and the unquantized `tail` as one frame in `out`, whose old
    /// content is replaced and whose length becomes [`Compressor::frame_len`]; nothing is
    /// reallocated if its capacity suffices.
    ///
    /// The bytes depend on the arguments alone: neither on the CPU nor on the number of threads.
    /// Work is split over rayon's current pool.
    ///
    /// # Errors
    /// A coordinate or tail value that is not finite, a scale beyond f32, or a vector of another
    /// length than the compressor's; `out` is then empty.
    ///
    /// # Example
    /// ```
    /// use gradient_codec::{Expected, Frame, MessageId, Preset};
    /// let compressor = Preset::default().compressor(4, 1000)?;
    /// let id = MessageId { seed: 1, iteration: 7, worker: 3 };
    /// let x: Vec<f32> = (0..1000).map(|i| (i as f32).sin()).collect();
    /// let mut bytes = Vec::new();
    /// compressor.encode(&id, &x, &[0.25], &mut bytes)?;
    /// assert_eq!(bytes.len(), compressor.frame_len(1));
    ///
    /// let frame = Frame::parse(&bytes, &Expected::new(&id, compressor, 1))?;
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

/// [`Compressor::encode`] with the loops of one instruction set.
pub(crate) fn encode_with(
    kernels: &'static Kernels,
    compressor: &Compressor,
    id: &MessageId,
    x: &[f32],
    tail: &[f32],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let tail_len = checked_lengths(compressor, x, tail)?;
    // Every byte is written below, so a buffer that already has the length is not cleared first.
    out.resize(compressor.frame_len(tail.len()), 0);
    let (header_bytes, rest) = out.split_at_mut(HEADER_BYTES);
    let (body, tail_bytes) = rest.split_at_mut(rest.len() - 4 * tail.len());

    let mut header = Header::new(compressor, id, tail_len);
    let body_checksum = match compressor.operator() {
        Operator::Quantizer(quantizer) if quantizer.is_f32() => encode_f32(kernels, x, body)?,
        Operator::Quantizer(quantizer) => {
            let step = if quantizer.scale().is_global() {
                step_of_whole(kernels, &quantizer, x)?
            } else {
                0.0
            };
            let rotation = compressor.rotation(id);
            let quantize = Quantize {
                kernels,
                quantizer,
                keys: Keys::new(id.rounding_key()),
                rotation,
                step,
                shrinkage: compressor.shrinkage(kernels, x, rotation),
            };
            header.step = step * quantize.shrinkage;
            quantize.body(x, body)?
        }
        Operator::TopK { entries } => {
            refuse_not_finite(kernels, x)?;
            let indices = sparse::largest(kernels, x, entries as usize);
            let (values, index_bytes) = body.split_at_mut(4 * indices.len());
            for (bytes, i) in values.as_chunks_mut::<4>().0.iter_mut().zip(&indices) {
                *bytes = x[*i].to_le_bytes();
            }
            sparse::write_indices(&indices, compressor.index_bits(), index_bytes);
            checksum::crc32c(body)
        }
        Operator::RandK { entries } => {
            refuse_not_finite(kernels, x)?;
            let gain = compressor.gain();
            let indices = sparse::random_coordinates(header.key, x.len(), entries as usize);
            for (bytes, i) in body.as_chunks_mut::<4>().0.iter_mut().zip(indices) {
                let value = amplified(x[i], gain);
                if !value.is_finite() {
                    return Err(EncodeError::Overflow { index: i });
                }
                *bytes = value.to_le_bytes();
            }
            checksum::crc32c(body)
        }
    };
    for (bytes, v) in tail_bytes.as_chunks_mut::<4>().0.iter_mut().zip(tail) {
        *bytes = v.to_le_bytes();
    }
    header.payload_checksum = checksum::append(body_checksum, tail_bytes);
    header_bytes.copy_from_slice(&header.to_bytes());
    Ok(())
}

/// The tail's length as the header has it, if lengths and tail are what can be encoded.
pub(crate) fn checked_lengths(
    compressor: &Compressor,
    x: &[f32],
    tail: &[f32],
) -> Result<u32, EncodeError> {
    if x.len() != compressor.coordinates() {
        return Err(EncodeError::Coordinates {
            found: x.len(),
            expected: compressor.coordinates(),
        });
    }
    check_tail(tail)
}

/// The tail's length as the header has it, if the tail can be encoded.
pub(crate) fn check_tail(tail: &[f32]) -> Result<u32, EncodeError> {
    if let Some(index) = tail.iter().position(|v| !v.is_finite()) {
        return Err(EncodeError::TailNotFinite { index });
    }
    u32::try_from(tail.len()).map_err(|_| EncodeError::TailTooLong { len: tail.len() })
}

/// A coordinate of rand-K on the wire: the product rounded once.
pub(crate) fn amplified(x: f32, gain: f64) -> f32 {
    (f64::from(x) * gain) as f32
}

/// The step that serves the whole vector: from its norm, its mean magnitude or its largest one.
/// Sums go segment by segment in order.
pub(crate) fn step_of_whole(
    kernels: &'static Kernels,
    quantizer: &Quantizer,
    x: &[f32],
) -> Result<f32, EncodeError> {
    let per_task = checksum::segments_per_task(x.len());
    let mut parts = vec![0f64; x.len().div_ceil(SEGMENT)];
    parts
        .par_chunks_mut(per_task)
        .zip(x.par_chunks(per_task * SEGMENT))
        .for_each(|(parts, x)| {
            for (part, x) in parts.iter_mut().zip(x.chunks(SEGMENT)) {
                *part = match quantizer.scale() {
                    Scale::GlobalMax => f64::from(f32::from_bits(kernels.max_abs_bits(x))),
                    Scale::GlobalMean => kernels.sum_abs(x),
                    _ => kernels.sum_squares(x),
                };
            }
        });
    // Not `sum()`, whose empty sum is -0.
    let sum = || parts.iter().fold(0.0, |sum, part| sum + part);
    let scale = match quantizer.scale() {
        // A NaN is no larger than anything: look for it by itself.
        Scale::GlobalMax if parts.iter().all(|part| part.is_finite()) => {
            parts.iter().copied().fold(0.0, f64::max)
        }
        Scale::GlobalMax => f64::NAN,
        Scale::GlobalMean => sum() / x.len().max(1) as f64,
        _ => sum().sqrt(),
    };
    // Sums of finite f32 and of their squares cannot overflow f64.
    let step = quantizer.step(scale);
    if scale.is_finite() && step.is_finite() {
        Ok(step)
    } else {
        Err(unusable(x, 0))
    }
}

/// Refuses the first coordinate that is not finite.
fn refuse_not_finite(kernels: &'static Kernels, x: &[f32]) -> Result<(), EncodeError> {
    let is_bad = |x: &&[f32]| kernels.max_abs_bits(x) >= f32::INFINITY.to_bits();
    let bad = x.chunks(BLOCK).enumerate().find(|(_, x)| is_bad(x));
    bad.map_or(Ok(()), |(i, x)| Err(unusable(x, i * BLOCK)))
}

/// The error for `x`, which starts at coordinate `start`: one is not finite, or their scale is too
/// large.
fn unusable(x: &[f32], start: usize) -> EncodeError {
    match x.iter().position(|v| !v.is_finite()) {
        Some(index) => EncodeError::NotFinite {
            index: start + index,
        },
        None => EncodeError::Overflow { index: start },
    }
}

/// Writes bodies of blocks.
struct Quantize {
    kernels: &'static Kernels,
    quantizer: Quantizer,
    keys: Keys,
    rotation: Option<Rotation>,
    /// The step of a global scale.
    step: f32,
    /// What a step is multiplied by on the wire.
    shrinkage: f32,
}

impl Quantize {
    /// Writes the segments; returns the checksum of `body`.
    fn body(&self, x: &[f32], body: &mut [u8]) -> Result<u32, EncodeError> {
        let per_task = checksum::segments_per_task(x.len());
        let segment_bytes = Segment::new(&self.quantizer, SEGMENT).bytes();
        let fused = self.fused(body.len());
        let pieces = body
            .par_chunks_mut(per_task * segment_bytes)
            .zip(x.par_chunks(per_task * SEGMENT))
            .enumerate()
            .map(|(task, (bytes, x))| {
                let mut crc = 0;
                let first = task * per_task;
                if let Some(fused) = &fused {
                    return Ok((fused.segments(first * SEGMENT, x, bytes)?, bytes.len()));
                }
                let segments = bytes.chunks_mut(segment_bytes).zip(x.chunks(SEGMENT));
                for (index, (bytes, x)) in segments.enumerate() {
                    self.segment((first + index) * SEGMENT, x, bytes)?;
                    crc = checksum::append(crc, bytes);
                }
                Ok((crc, bytes.len()))
            })
            .collect::<Vec<Result<_, EncodeError>>>();
        // The first error in coordinate order, whichever thread met one first.
        let pieces = pieces.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(checksum::concatenated(pieces))
    }

    /// Writes one segment: its bucket steps, then its blocks. `start` is its first coordinate.
    fn segment(&self, start: usize, x: &[f32], bytes: &mut [u8]) -> Result<(), EncodeError> {
        let segment = Segment::new(&self.quantizer, x.len());
        let (step_bytes, block_bytes) = bytes.split_at_mut(segment.step_bytes);
        step_bytes.fill(0);
        let bucket = self.quantizer.bucket().map_or(SEGMENT, |b| b as usize);
        let bucket_bytes = bucket / BLOCK * segment.block_bytes();
        let mut rotor = self
            .rotation
            .map(|rotation| (Rotor::new(self.kernels, rotation), vec![0.0; bucket]));
        let buckets = x.chunks(bucket).zip(block_bytes.chunks_mut(bucket_bytes));
        for (j, (x, bytes)) in buckets.enumerate() {
            let start = start + j * bucket;
            let step = match &mut rotor {
                None => self.bucket(start, x, bytes),
                Some((rotor, z)) => {
                    let z = &mut z[..x.len()];
                    rotor.apply_to(start, x, z);
                    self.bucket(start, z, bytes)
                }
            };
            let sent = step.ok_or_else(|| unusable(x, start))? * self.shrinkage;
            if segment.steps > 0 {
                step_bytes[4 * j..4 * j + 4].copy_from_slice(&sent.to_le_bytes());
            }
        }
        Ok(())
    }

    /// Writes the blocks of one bucket, or of a segment with a global scale; `start` is its first
    /// coordinate. Returns its step; `None` for what cannot be sent.
    fn bucket(&self, start: usize, x: &[f32], bytes: &mut [u8]) -> Option<f32> {
        let (kernels, quantizer) = (self.kernels, &self.quantizer);
        if quantizer.coding() == Coding::LloydMax {
            return self.nearest_levels(x, x, bytes);
        }
        let step = match quantizer.bucket() {
            Some(_) => step_of_bucket(kernels, quantizer, x)?,
            None => self.step,
        };
        if step == 0.0 {
            bytes.fill(0);
        } else if quantizer.coding() == Coding::Sign {
            self.blocks(x, bytes, |_, x, y| kernels.signs(x, y));
        } else {
            self.stochastic_blocks(start, step, x, bytes);
        }
        Some(step)
    }

    /// Writes blocks of equidistant levels; `start` is their first coordinate.
    fn stochastic_blocks(&self, start: usize, step: f32, x: &[f32], bytes: &mut [u8]) {
        let levels = self.quantizer.fixed_point(step);
        self.blocks(x, bytes, |block, x, y| {
            let block = (start / BLOCK + block) as u64;
            self.kernels
                .fill(self.quantizer.generator(), &self.keys, block, y);
            self.kernels.quantize(x, &levels, y);
        });
    }

    /// [`Self::bucket`] for Lloyd-Max levels: the step makes `<z, q> step = ||z||^2`. `x` is where `z` came from:
    /// what follows it in memory is asked for.
    fn nearest_levels(&self, x: &[f32], z: &[f32], bytes: &mut [u8]) -> Option<f32> {
        let norm = self.kernels.sum_squares(z);
        let factor = unit_variance(norm, z.len())?;
        if factor == 0.0 {
            bytes.fill(0);
            return Some(0.0);
        }
        let (kernels, book) = (self.kernels, self.quantizer.codebook());
        let block_bytes = 4 * LANES * usize::from(self.quantizer.bits());
        let (full, rest) = z.as_chunks::<BLOCK>();
        let (words, last) = bytes.split_at_mut(full.len() * block_bytes);
        let mut found = Nearest::ZERO;
        let blocks = full.iter().zip(words.chunks_mut(block_bytes));
        for ((z, words), x) in blocks.zip(x.chunks(BLOCK)) {
            kernels.nearest(z, factor, book, words, &mut found, x.as_ptr());
        }
        let mut dot = found.dot;
        if !rest.is_empty() {
            let mut words = [0; 4 * LANES * 16];
            let words = &mut words[..block_bytes];
            // Zeros behind the last coordinate have code 0; the sum has another order.
            let spread = partial::spread(rest);
            kernels.nearest(&spread, factor, book, words, &mut found, x.as_ptr());
            partial::gather_words(words, rest.len().div_ceil(ROWS), last);
            let mut levels = [0.0; BLOCK];
            partial::gather(&found.levels, &mut levels[..rest.len()]);
            add_products(rest, &levels, &mut dot);
        }
        finite(self.quantizer.step(norm / total(dot)))
    }

    /// Packs the codes of every block of `x`: `codes(block, coordinates, y)` leaves them in the top bits of y.
    fn blocks(
        &self,
        x: &[f32],
        bytes: &mut [u8],
        mut codes: impl FnMut(usize, &[f32; BLOCK], &mut [u32; BLOCK]),
    ) {
        let bits = self.quantizer.bits();
        let block_bytes = 4 * LANES * usize::from(bits);
        let (full, rest) = x.as_chunks::<BLOCK>();
        let mut y = [0u32; BLOCK];
        for (block, (x, bytes)) in full.iter().zip(bytes.chunks_mut(block_bytes)).enumerate() {
            codes(block, x, &mut y);
            self.kernels.pack(bits, &y, bytes);
        }
        if !rest.is_empty() {
            let mut packed = [0; 4 * LANES * 16];
            let packed = &mut packed[..block_bytes];
            codes(full.len(), &partial::spread(rest), &mut y);
            partial::clear_padding(&mut y, rest.len());
            self.kernels.pack(bits, &y, packed);
            let bytes = &mut bytes[full.len() * block_bytes..];
            partial::gather_words(packed, rest.len().div_ceil(ROWS), bytes);
        }
    }
}

/// The step of one bucket of equidistant levels or signs; `None` where it is not finite.
pub(crate) fn step_of_bucket(
    kernels: &'static Kernels,
    quantizer: &Quantizer,
    x: &[f32],
) -> Option<f32> {
    let scale = match quantizer.scale() {
        Scale::BucketMax => f64::from(f32::from_bits(kernels.max_abs_bits(x))),
        Scale::BucketMean => kernels.sum_abs(x) / x.len() as f64,
        _ => kernels.sum_squares(x).sqrt(),
    };
    step_of_scale(quantizer, scale)
}

/// The step of a bucket from its scale; `None` where it is not finite.
fn step_of_scale(quantizer: &Quantizer, scale: f64) -> Option<f32> {
    if scale.is_finite() {
        finite(quantizer.step(scale))
    } else {
        None
    }
}

fn finite(step: f32) -> Option<f32> {
    step.is_finite().then_some(step)
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
                    return Err(unusable(x, task * per_task + i * BLOCK));
                }
                for (bytes, v) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(x) {
                    *bytes = v.to_le_bytes();
                }
                crc = checksum::append(crc, bytes);
            }
            Ok((crc, bytes.len()))
        })
        .collect::<Vec<Result<_, EncodeError>>>();
    let pieces = pieces.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(checksum::concatenated(pieces))
}
