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
use crate::quantizer::{Coding, FixedPoint, Generator, MessageId, Quantizer, Scale, unit_variance};
use crate::random;
use crate::rotation::{self, Rotation};
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
    pairwise(partial)
}

fn pairwise(mut partial: [f64; 32]) -> f64 {
    for width in [16, 8, 4, 2, 1] {
        for p in 0..width {
            partial[p] += partial[p + width];
        }
    }
    partial[0]
}

/// The sign of coordinate `i` of the vector in a rotation's window 0, 1, ...: whether it is flipped.
pub fn is_flipped(key: u64, window: u32, i: usize) -> bool {
    let (stripe, block, row, lane) = (i / (32 * BLOCK), i / BLOCK % 32, i % BLOCK / 16, i % 16);
    let word = random::bits(
        Generator::Philox,
        rotation::sign_key(key, window),
        stripe as u64,
        block,
        lane,
    );
    word >> (31 - row) & 1 == 1
}

/// The Hadamard transform of 2^m coordinates, times `fl(1/sqrt(2^m))`.
fn hadamard(x: &mut [f32]) {
    let mut h = 1;
    while h < x.len() {
        for i in (0..x.len()).filter(|i| i & h == 0) {
            (x[i], x[i + h]) = (x[i] + x[i + h], x[i] - x[i + h]);
        }
        h *= 2;
    }
    let scale = (1.0 / (x.len() as f64).sqrt()) as f32;
    x.iter_mut().for_each(|v| *v *= scale);
}

/// Flips the signs of coordinates `start..` of the vector that a window flips.
fn flip(rotation: &Rotation, window: usize, start: usize, x: &mut [f32]) {
    for (i, v) in x.iter_mut().enumerate() {
        if is_flipped(rotation.key(), window as u32, start + i) {
            *v = -*v;
        }
    }
}

/// Step 1b of rotated kinds: the vector after its rotation, block by block.
pub fn rotate(rotation: &Rotation, x: &[f32]) -> Vec<f32> {
    let mut z = x.to_vec();
    for (j, z) in z.chunks_mut(rotation.block()).enumerate() {
        for (window, (from, to)) in rotation.windows(z.len()).enumerate() {
            let start = j * rotation.block() + from;
            flip(rotation, window, start, &mut z[from..to]);
            hadamard(&mut z[from..to]);
        }
    }
    z
}

/// The inverse of [`rotate`].
pub fn rotate_back(rotation: &Rotation, z: &[f32]) -> Vec<f32> {
    let mut x = z.to_vec();
    for (j, x) in x.chunks_mut(rotation.block()).enumerate() {
        for (window, (from, to)) in rotation.windows(x.len()).enumerate().rev() {
            let start = j * rotation.block() + from;
            hadamard(&mut x[from..to]);
            flip(rotation, window, start, &mut x[from..to]);
        }
    }
    x
}

/// Step 5 of Lloyd-Max levels: the code of the level nearest to `z * factor`, `factor` the reciprocal of
/// the bucket's root mean square; ties go to the larger magnitude.
pub fn nearest_code(quantizer: &Quantizer, factor: f32, z: f32) -> i32 {
    let level = z * factor;
    let thresholds = quantizer.codebook().thresholds();
    let index = thresholds.partition_point(|t| *t <= level.abs()) as i32;
    if level < 0.0 { !index } else { index }
}

/// Step 2 of Lloyd-Max levels: what brings a bucket to variance 1.
fn factor(z: &[f32]) -> f32 {
    unit_variance(sum_squares(z), z.len()).unwrap_or(f32::NAN)
}

/// Step 3: the steps of a vector (rotated already): one per bucket, or one in all with a global scale.
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
            Scale::BucketUnbiased if factor(x) == 0.0 => 0.0,
            Scale::BucketUnbiased => {
                let (factor, mut partial) = (factor(x), [0f64; 32]);
                for (i, z) in x.iter().enumerate() {
                    let q = value(quantizer, nearest_code(quantizer, factor, *z));
                    partial[i % 32] += f64::from(*z) * f64::from(q);
                }
                sum_squares(x) / pairwise(partial)
            }
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
    let FixedPoint { factor, limit, .. } = quantizer.fixed_point(step);
    (x * factor).clamp(-limit, limit).round_ties_even() as i32
}

/// Step 5: the code of one coordinate of equidistant levels or signs.
///
/// Uniform levels: `floor(level + u)`, u the random bits' top `32 - bits` as a fraction; mid-rise ones:
/// `floor(level - 1/2 + u)`. Signs: -1 for a minus and 0 for a plus; stochastic ones are a minus if the
/// level in `-1..=1` is below `1 - 2 u`, u the random bits' top 31.
pub fn code(quantizer: &Quantizer, step: f32, x: f32, random: u32) -> i32 {
    let bits = quantizer.bits();
    let level = || i64::from(fixed_point_level(quantizer, step, x));
    let uniform = i64::from(random >> bits);
    match quantizer.coding() {
        _ if step == 0.0 => 0,
        Coding::F32 | Coding::LloydMax => 0,
        Coding::Uniform => ((level() + uniform) >> (32 - bits)) as i32,
        Coding::MidRise => ((level() - (1 << (31 - bits)) + uniform) >> (32 - bits)) as i32,
        Coding::Sign => -i32::from(x < 0.0),
        Coding::StochasticSign => -i32::from(level() + uniform < 1 << 30),
    }
}

/// What a code stands for, in steps.
fn value(quantizer: &Quantizer, code: i32) -> f32 {
    match quantizer.coding() {
        Coding::Sign | Coding::StochasticSign => (1 + 2 * code) as f32,
        Coding::Uniform | Coding::F32 => code as f32,
        Coding::MidRise => code as f32 + 0.5,
        Coding::LloydMax => {
            let values = quantizer.codebook().values();
            values[(code + values.len() as i32 / 2) as usize]
        }
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
    let mut header = Header::new(compressor, id, tail_len);
    let mut bytes = vec![0; compressor.frame_len(tail.len())];
    let body = &mut bytes[HEADER_BYTES..];
    match compressor.operator() {
        Operator::Quantizer(quantizer) => {
            let rotation = compressor.rotation(id);
            let rotated = rotation.map(|rotation| rotate(&rotation, x));
            let z = rotated.as_deref().unwrap_or(x);
            let steps = match (steps(&quantizer, z), rotation) {
                // Rotating spreads what is not finite over its block, or makes it so.
                (Err(EncodeError::NotFinite { index }), Some(rotation)) => {
                    let start = index - index % rotation.block();
                    let mut block = x.iter().skip(start).take(rotation.block());
                    return Err(match block.position(|v| !v.is_finite()) {
                        Some(index) => EncodeError::NotFinite {
                            index: start + index,
                        },
                        None => EncodeError::Overflow { index: start },
                    });
                }
                (steps, _) => steps?,
            };
            let shrinkage = compressor.shrinkage(Kernels::best(), x, rotation);
            if quantizer.scale().is_global() {
                header.step = steps.first().copied().unwrap_or(0.0) * shrinkage;
            }
            encode_blocks(&quantizer, &steps, shrinkage, z, random, body);
        }
        _ => {
            if let Some(index) = x.iter().position(|v| !v.is_finite()) {
                return Err(EncodeError::NotFinite { index });
            }
            let k = compressor.entries().map_or(0, |k| k as usize);
            let kept = match compressor.operator() {
                Operator::RandK { .. } => random_coordinates(header.key, x.len(), k),
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
    let buckets = x.chunks(quantizer.bucket().map_or(n.max(1), |b| b as usize));
    let factors: Vec<f32> = buckets.map(factor).collect();
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
        let code = match (quantizer.coding(), quantizer.bucket()) {
            (Coding::LloydMax, Some(bucket)) if step != 0.0 => {
                nearest_code(quantizer, factors[i / bucket as usize], *x)
            }
            _ => code(quantizer, step, *x, random),
        };
        for j in 0..usize::from(quantizer.bits()) {
            let (byte, bit) = bit_position(quantizer.bits(), place, j);
            let value = (code >> (usize::from(quantizer.bits()) - 1 - j)) as u8 & 1;
            body[block + byte] |= value << bit;
        }
    }
}

/// The key in a header.
fn key(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|j| bytes[40 + j]))
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
            let mut products: Vec<f32> = (0..n)
                .map(|i| {
                    if quantizer.is_f32() {
                        weight * f32_at(bytes, HEADER_BYTES + 4 * i)
                    } else {
                        let (code, step) = code_and_step(&quantizer, n, bytes, i);
                        (weight * step) * value(&quantizer, code)
                    }
                })
                .collect();
            if let Some(rotation) = quantizer.rotation(key(bytes)) {
                // Into zeros: the sign of a zero product is lost there.
                products.iter_mut().for_each(|v| *v += 0.0);
                products = rotate_back(&rotation, &products);
            }
            acc.iter_mut().zip(products).for_each(|(acc, v)| *acc += v);
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
            let kept = random_coordinates(key(bytes), n, entries as usize);
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
