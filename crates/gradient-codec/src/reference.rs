//! The format as slow loops over single coordinates and single bits: this module *is* the
//! specification, and the fast paths must give its bytes and its sums.
//!
//! ```
//! use gradient_codec::{Generator, MessageId, Quantizer, Scale, reference};
//! // ||x|| = 13, s = 7, every uniform 1/2: levels 2, -2, 0, 6 of 13/7 (eqs 3-4 of 2605.15890).
//! let qsgd = Quantizer::new(Scale::GlobalL2, 0, 4, Generator::Philox)?;
//! let id = MessageId { seed: 0, iteration: 0, worker: 0 };
//! let half = |_: u64, _: usize, _: usize| 1u32 << 31;
//! let bytes = reference::encode_with(&qsgd, &id, &[3.0, -4.0, 0.0, 12.0], &[], half)?;
//! let step = 13.0f32 / 7.0;
//! assert_eq!(reference::decode(&qsgd, 4, &bytes), [2.0 * step, -2.0 * step, 0.0, 6.0 * step]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::encode::EncodeError;
use crate::header::Header;
use crate::layout::{BLOCK, HEADER_BYTES, ROWS, SEGMENT};
use crate::quantizer::{
    MessageId, Quantizer, Scale, bucket_step, fixed_point_factor, fixed_point_limit, global_step,
};
use crate::random;

/// Where coordinate `i` of a vector of `n` lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Block, counted through the frame.
    pub block: usize,
    /// Row in the block, 0..32: position in the lane's bit stream.
    pub row: usize,
    /// Lane in the block.
    pub lane: usize,
    /// Lanes of the block: 16, fewer only in the last block.
    pub lanes: usize,
}

/// Step 1: the place of coordinate `i` of `n`. The last block has `ceil(rem / 32)` lanes.
pub fn place(i: usize, n: usize) -> Place {
    let block = i / BLOCK;
    let in_block = (n - block * BLOCK).min(BLOCK);
    let lanes = in_block.div_ceil(ROWS);
    Place {
        block,
        row: i % BLOCK / lanes,
        lane: i % BLOCK % lanes,
        lanes,
    }
}

/// Step 2: the sum of squares of one bucket or segment in f64: 32 partial sums, added pairwise.
pub fn sum_squares(x: &[f32]) -> f64 {
    let mut partial = [0f64; 32];
    for (i, v) in x.iter().enumerate() {
        partial[i % 32] += f64::from(*v) * f64::from(*v);
    }
    for width in [16, 8, 4, 2, 1] {
        for p in 0..width {
            partial[p] += partial[p + width];
        }
    }
    partial[0]
}

/// Step 3: the steps of a vector: one per bucket, or one in all with a global scale.
///
/// # Errors
/// The first bucket that holds a coordinate that is not finite, or whose scale is beyond f32.
pub fn steps(quantizer: &Quantizer, x: &[f32]) -> Result<Vec<f32>, EncodeError> {
    let bucket = quantizer.bucket().map_or(x.len().max(1), |b| b as usize);
    let levels = quantizer.levels();
    let step = |(j, x): (usize, &[f32])| {
        let start = j * bucket;
        if let Some(index) = x.iter().position(|v| !v.is_finite()) {
            let index = start + index;
            return Err(EncodeError::NotFinite { index });
        }
        let step = match quantizer.scale() {
            Scale::None => 0.0,
            Scale::BucketMax => bucket_step(x.iter().fold(0.0, |max, v| max.max(v.abs())), levels),
            Scale::BucketL2 => bucket_step(sum_squares(x).sqrt() as f32, levels),
            Scale::GlobalL2 => {
                let norm = x.chunks(SEGMENT).map(sum_squares).sum::<f64>().sqrt();
                global_step(norm, levels)
            }
        };
        if step.is_finite() {
            Ok(step)
        } else {
            Err(EncodeError::Overflow { index: start })
        }
    };
    x.chunks(bucket).enumerate().map(step).collect()
}

/// Step 4: the level of one coordinate in fixed point, `2^(32-bits)` to a level.
pub fn fixed_point_level(quantizer: &Quantizer, step: f32, x: f32) -> i32 {
    let bits = quantizer.bits();
    let limit = fixed_point_limit(quantizer.levels(), bits);
    let level = x * fixed_point_factor(step, bits);
    level.clamp(-limit, limit).round_ties_even() as i32
}

/// Step 5: stochastic rounding: `floor(level + u)`, u the random bits' top `32 - bits` as a
/// fraction.
pub fn code(bits: u8, fixed_point_level: i32, random: u32) -> i32 {
    (fixed_point_level + (random >> bits) as i32) >> (32 - bits)
}

/// Step 6: where the bits of a code lie: `(byte offset in the block, bit of that byte)` of bit `j`
/// of the code, 0 the most significant.
fn bit_position(bits: u8, place: Place, j: usize) -> (usize, u32) {
    let stream = place.row * usize::from(bits) + j;
    let word = place.lanes * (stream / 32) + place.lane;
    let bit = 31 - stream % 32;
    (4 * word + bit / 8, bit as u32 % 8)
}

/// Byte offset in the body of the segment of coordinate `i`, and of its block.
fn offsets(quantizer: &Quantizer, i: usize, n: usize) -> (usize, usize) {
    let bits = usize::from(quantizer.bits());
    let step_bytes = |coordinates: usize| match quantizer.bucket() {
        Some(bucket) => (4 * coordinates.div_ceil(bucket as usize)).next_multiple_of(64),
        None => 0,
    };
    let segment = i / SEGMENT;
    let start = segment * (step_bytes(SEGMENT) + SEGMENT / 8 * bits);
    let here = (n - segment * SEGMENT).min(SEGMENT);
    let block = i % SEGMENT / BLOCK;
    (start, start + step_bytes(here) + block * BLOCK / 8 * bits)
}

/// A frame, with the message's own random bits.
///
/// # Errors
/// As [`Quantizer::encode`].
pub fn encode(
    quantizer: &Quantizer,
    id: &MessageId,
    x: &[f32],
    tail: &[f32],
) -> Result<Vec<u8>, EncodeError> {
    let key = id.rounding_key();
    encode_with(quantizer, id, x, tail, |block, row, lane| {
        random::bits(quantizer.generator(), key, block, row, lane)
    })
}

/// A frame whose random bits are `random(block, row, lane)`: u = random / 2^32 in eq 4.
///
/// # Errors
/// As [`Quantizer::encode`].
pub fn encode_with(
    quantizer: &Quantizer,
    id: &MessageId,
    x: &[f32],
    tail: &[f32],
    random: impl Fn(u64, usize, usize) -> u32,
) -> Result<Vec<u8>, EncodeError> {
    if let Some(index) = tail.iter().position(|v| !v.is_finite()) {
        return Err(EncodeError::TailNotFinite { index });
    }
    let tail_len =
        u32::try_from(tail.len()).map_err(|_| EncodeError::TailTooLong { len: tail.len() })?;
    let n = x.len();
    let steps = steps(quantizer, x)?;
    let mut header = Header::new(quantizer, n as u64, id.iteration, id.worker, tail_len);
    let mut bytes = vec![0; quantizer.frame_len(n, tail.len())];
    let body = &mut bytes[HEADER_BYTES..];
    if quantizer.scale() == Scale::GlobalL2 {
        header.step = steps.first().copied().unwrap_or(0.0);
    }
    for (i, x) in x.iter().enumerate() {
        if quantizer.is_f32() {
            body[4 * i..4 * i + 4].copy_from_slice(&x.to_le_bytes());
            continue;
        }
        let (segment, block) = offsets(quantizer, i, n);
        let step = match quantizer.bucket() {
            Some(bucket) => {
                let step = steps[i / bucket as usize];
                let at = segment + 4 * (i % SEGMENT / bucket as usize);
                body[at..at + 4].copy_from_slice(&step.to_le_bytes());
                step
            }
            None => header.step,
        };
        let place = place(i, n);
        let level = fixed_point_level(quantizer, step, *x);
        let random = random(place.block as u64, place.row, place.lane);
        let code = code(quantizer.bits(), level, random);
        for j in 0..usize::from(quantizer.bits()) {
            let (byte, bit) = bit_position(quantizer.bits(), place, j);
            let value = (code >> (usize::from(quantizer.bits()) - 1 - j)) as u8 & 1;
            body[block + byte] |= value << bit;
        }
    }
    let end = body.len() - 4 * tail.len();
    for (t, v) in tail.iter().enumerate() {
        body[end + 4 * t..end + 4 * t + 4].copy_from_slice(&v.to_le_bytes());
    }
    header.payload_checksum = crc32c::crc32c(body);
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    Ok(bytes)
}

/// The code and the step of coordinate `i` of a valid frame of `n` coordinates.
pub fn code_and_step(quantizer: &Quantizer, n: usize, bytes: &[u8], i: usize) -> (i32, f32) {
    let f32_at = |at: usize| f32::from_le_bytes(std::array::from_fn(|j| bytes[at + j]));
    let (segment, block) = offsets(quantizer, i, n);
    let step = match quantizer.bucket() {
        Some(bucket) => f32_at(HEADER_BYTES + segment + 4 * (i % SEGMENT / bucket as usize)),
        None => f32_at(48),
    };
    let place = place(i, n);
    let bits = quantizer.bits();
    let mut code = 0i32;
    for j in 0..usize::from(bits) {
        let (byte, bit) = bit_position(bits, place, j);
        let bit = i32::from(bytes[HEADER_BYTES + block + byte] >> bit & 1);
        // The first bit is the sign: two's complement.
        code = 2 * code + if j == 0 { -bit } else { bit };
    }
    (code, step)
}

/// `acc += weight * Q(x)` for a valid frame of `acc.len()` coordinates.
pub fn accumulate(quantizer: &Quantizer, bytes: &[u8], weight: f32, acc: &mut [f32]) {
    let n = acc.len();
    for (i, acc) in acc.iter_mut().enumerate() {
        let term = if quantizer.is_f32() {
            let at = HEADER_BYTES + 4 * i;
            weight * f32::from_le_bytes(std::array::from_fn(|j| bytes[at + j]))
        } else {
            let (code, step) = code_and_step(quantizer, n, bytes, i);
            (weight * step) * code as f32
        };
        *acc += term;
    }
}

/// The values of a valid frame of `n` coordinates.
pub fn decode(quantizer: &Quantizer, n: usize, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; n];
    accumulate(quantizer, bytes, 1.0, &mut values);
    values
}
