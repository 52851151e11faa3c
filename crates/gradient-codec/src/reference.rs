//! The format as slow loops over single coordinates and single bits: this module *is* the
//! specification, and the fast paths must give its bytes and its sums.
//!
//! ```
//! use gradient_codec::{Generator, MessageId, Quantizer, Scale, reference};
//! // ||x|| = 13, s = 7, every uniform 1/2: levels 2, -2, 0, 6 of 13/7 (eqs 3-4 of 2605.15890).
//! let qsgd = Quantizer::new(Scale::GlobalL2, 0, 4, Generator::Philox)?.compressor(4);
//! let id = MessageId { seed: 0, iteration: 0, worker: 0 };
//! let half = |_: u64, _: usize, _: usize| 1u32 << 31;
//! let bytes = reference::encode_with(&qsgd, &id, &[3.0, -4.0, 0.0, 12.0], &[], half)?;
//! let step = 13.0f32 / 7.0;
//! assert_eq!(reference::decode(&qsgd, &bytes), [2.0 * step, -2.0 * step, 0.0, 6.0 * step]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::checksum;
use crate::compressor::{Compressor, Operator};
use crate::encode::{EncodeError, amplified, checked_lengths};
use crate::header::Header;
use crate::kernels::Kernels;
use crate::layout::{BLOCK, HEADER_BYTES, ROWS, SEGMENT};
use crate::quantizer::{Coding, MessageId, Quantizer, Scale};
use crate::random;
use std::collections::BTreeSet;

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
    sum(x, |v| v * v)
}

/// Step 2 for signs: the sum of magnitudes, in the same order.
pub fn sum_abs(x: &[f32]) -> f64 {
    sum(x, f64::abs)
}

fn sum(x: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let mut partial = [0f64; 32];
    for (i, v) in x.iter().enumerate() {
        partial[i % 32] += f(f64::from(*v));
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
    let largest = |x: &[f32]| x.iter().fold(0f32, |max, v| max.max(v.abs()));
    let step = |(j, x): (usize, &[f32])| {
        let start = j * bucket;
        if let Some(index) = x.iter().position(|v| !v.is_finite()) {
            let index = start + index;
            return Err(EncodeError::NotFinite { index });
        }
        let by_segment = |f: fn(&[f32]) -> f64| x.chunks(SEGMENT).map(f).sum::<f64>();
        let step = quantizer.step(match quantizer.scale() {
            Scale::None => 0.0,
            Scale::BucketMax | Scale::GlobalMax => f64::from(largest(x)),
            Scale::BucketL2 => sum_squares(x).sqrt(),
            Scale::BucketMean => sum_abs(x) / x.len() as f64,
            Scale::GlobalL2 => by_segment(sum_squares).sqrt(),
            Scale::GlobalMean => by_segment(sum_abs) / x.len() as f64,
        });
        if step.is_finite() {
            Ok(step)
        } else {
            Err(EncodeError::Overflow { index: start })
        }
    };
    x.chunks(bucket).enumerate().map(step).collect()
}

/// Step 4: the level of one coordinate in fixed point, `2^(32-bits)` to a level; for stochastic signs
/// `2^30` to the step.
pub fn fixed_point_level(quantizer: &Quantizer, step: f32, x: f32) -> i32 {
    let limit = quantizer.fixed_point_limit();
    let level = x * quantizer.fixed_point_factor(step);
    level.clamp(-limit, limit).round_ties_even() as i32
}

/// Step 5: the code of one coordinate.
///
/// Uniform levels: `floor(level + u)`, u the random bits' top `32 - bits` as a fraction. Signs: -1
/// for a minus and 0 for a plus; stochastic ones are a minus if the level in `-1..=1` is below
/// `2 u - 1`, u the random bits' top 31.
pub fn code(quantizer: &Quantizer, step: f32, x: f32, random: u32) -> i32 {
    let bits = quantizer.bits();
    let level = || fixed_point_level(quantizer, step, x);
    match quantizer.coding() {
        _ if step == 0.0 => 0,
        Coding::F32 => 0,
        Coding::Uniform => (level() + (random >> bits) as i32) >> (32 - bits),
        Coding::Sign => -i32::from(x < 0.0),
        Coding::StochasticSign => {
            let minus = i64::from(level()) + i64::from(random >> 1) < 1 << 30;
            -i32::from(minus)
        }
    }
}

/// What a code stands for, in steps.
fn value(quantizer: &Quantizer, code: i32) -> f32 {
    match quantizer.coding() {
        Coding::Sign | Coding::StochasticSign => (1 + 2 * code) as f32,
        Coding::Uniform | Coding::F32 => code as f32,
    }
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

/// The coordinates of top-K in increasing order: sorted by magnitude, ties by index, the first k.
pub fn largest(x: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|a, b| x[*b].abs().total_cmp(&x[*a].abs()).then(a.cmp(b)));
    order.truncate(k);
    order.sort_unstable();
    order
}

/// The coordinates of rand-K under `key`, in increasing order: Floyd's algorithm, draw e below
/// `n - k + e + 1` from [`random::below`]; a coordinate drawn before is replaced by `n - k + e`.
pub fn random_coordinates(key: u64, n: usize, k: usize) -> Vec<usize> {
    let mut chosen = BTreeSet::new();
    for e in 0..k {
        let last = n - k + e;
        if !chosen.insert(random::below(e as u64, key, last as u64 + 1) as usize) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}

/// A frame, with the message's own random bits.
///
/// # Errors
/// As [`Compressor::encode`].
pub fn encode(
    compressor: &Compressor,
    id: &MessageId,
    x: &[f32],
    tail: &[f32],
) -> Result<Vec<u8>, EncodeError> {
    let key = id.rounding_key();
    let generator = match compressor.operator() {
        Operator::Quantizer(quantizer) => quantizer.generator(),
        _ => Default::default(),
    };
    encode_with(compressor, id, x, tail, |block, row, lane| {
        random::bits(generator, key, block, row, lane)
    })
}

/// A frame whose rounding has the random bits `random(block, row, lane)`: u = random / 2^32 in eq 4.
///
/// # Errors
/// As [`Compressor::encode`].
pub fn encode_with(
    compressor: &Compressor,
    id: &MessageId,
    x: &[f32],
    tail: &[f32],
    random: impl Fn(u64, usize, usize) -> u32,
) -> Result<Vec<u8>, EncodeError> {
    let tail_len = checked_lengths(compressor, x, tail)?;
    let mut header = Header::new(compressor, id.iteration, id.worker, tail_len);
    let mut bytes = vec![0; compressor.frame_len(tail.len())];
    let body = &mut bytes[HEADER_BYTES..];
    match compressor.operator() {
        Operator::Quantizer(quantizer) => {
            let steps = steps(&quantizer, x)?;
            let shrinkage = compressor.shrinkage(Kernels::best(), x);
            if quantizer.scale().is_global() {
                header.step = steps.first().copied().unwrap_or(0.0) * shrinkage;
            }
            encode_blocks(&quantizer, &steps, shrinkage, x, random, body);
        }
        _ => {
            if let Some(index) = x.iter().position(|v| !v.is_finite()) {
                return Err(EncodeError::NotFinite { index });
            }
            let k = compressor.entries().map_or(0, |k| k as usize);
            let kept = match compressor.operator() {
                Operator::RandK { .. } => {
                    header.key = id.coordinates_key();
                    random_coordinates(header.key, x.len(), k)
                }
                _ => largest(x, k),
            };
            let bits = compressor.index_bits() as usize;
            for (e, &i) in kept.iter().enumerate() {
                let value = amplified(x[i], compressor.gain());
                if !value.is_finite() {
                    return Err(EncodeError::Overflow { index: i });
                }
                body[4 * e..4 * e + 4].copy_from_slice(&value.to_le_bytes());
                for p in 0..bits {
                    let at = bits * e + p;
                    body[4 * kept.len() + at / 8] |= ((i >> p) as u8 & 1) << (at % 8);
                }
            }
        }
    }
    let end = body.len() - 4 * tail.len();
    for (t, v) in tail.iter().enumerate() {
        body[end + 4 * t..end + 4 * t + 4].copy_from_slice(&v.to_le_bytes());
    }
    header.payload_checksum = checksum::crc32c(body);
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    Ok(bytes)
}

/// The body of a quantizer's frame, which is zero on entry.
fn encode_blocks(
    quantizer: &Quantizer,
    steps: &[f32],
    shrinkage: f32,
    x: &[f32],
    random: impl Fn(u64, usize, usize) -> u32,
    body: &mut [u8],
) {
    let n = x.len();
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
                body[at..at + 4].copy_from_slice(&(step * shrinkage).to_le_bytes());
                step
            }
            None => steps[0],
        };
        let place = place(i, n);
        let random = random(place.block as u64, place.row, place.lane);
        let code = code(quantizer, step, *x, random);
        for j in 0..usize::from(quantizer.bits()) {
            let (byte, bit) = bit_position(quantizer.bits(), place, j);
            let value = (code >> (usize::from(quantizer.bits()) - 1 - j)) as u8 & 1;
            body[block + byte] |= value << bit;
        }
    }
}

fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_le_bytes(std::array::from_fn(|j| bytes[at + j]))
}

/// The code and the step of coordinate `i` of a valid frame of `n` coordinates.
pub fn code_and_step(quantizer: &Quantizer, n: usize, bytes: &[u8], i: usize) -> (i32, f32) {
    let (segment, block) = offsets(quantizer, i, n);
    let step = match quantizer.bucket() {
        Some(bucket) => f32_at(
            bytes,
            HEADER_BYTES + segment + 4 * (i % SEGMENT / bucket as usize),
        ),
        None => f32_at(bytes, 48),
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

/// `acc += weight * C(x)` for a valid frame of `acc.len()` coordinates.
pub fn accumulate(compressor: &Compressor, bytes: &[u8], weight: f32, acc: &mut [f32]) {
    let n = acc.len();
    match compressor.operator() {
        Operator::Quantizer(quantizer) => {
            for (i, acc) in acc.iter_mut().enumerate() {
                *acc += if quantizer.is_f32() {
                    weight * f32_at(bytes, HEADER_BYTES + 4 * i)
                } else {
                    let (code, step) = code_and_step(&quantizer, n, bytes, i);
                    (weight * step) * value(&quantizer, code)
                };
            }
        }
        Operator::TopK { entries } => {
            let (k, bits) = (entries as usize, compressor.index_bits() as usize);
            for e in 0..k {
                let index = (0..bits)
                    .map(|p| {
                        let at = bits * e + p;
                        usize::from(bytes[HEADER_BYTES + 4 * k + at / 8] >> (at % 8) & 1) << p
                    })
                    .sum::<usize>();
                acc[index] += weight * f32_at(bytes, HEADER_BYTES + 4 * e);
            }
        }
        Operator::RandK { entries } => {
            let key = u64::from_le_bytes(std::array::from_fn(|j| bytes[40 + j]));
            let kept = random_coordinates(key, n, entries as usize);
            for (e, i) in kept.into_iter().enumerate() {
                acc[i] += weight * f32_at(bytes, HEADER_BYTES + 4 * e);
            }
        }
    }
}

/// The values of a valid frame.
pub fn decode(compressor: &Compressor, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; compressor.coordinates()];
    accumulate(compressor, bytes, 1.0, &mut values);
    values
}
