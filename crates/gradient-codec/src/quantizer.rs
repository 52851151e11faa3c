//! What a message is quantized with: scale, width, bucket and rounding generator.

use crate::layout;
use serde::{Deserialize, Serialize};

/// What the quantization step is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Scale {
    /// None: coordinates travel as raw f32 (width 32).
    None = 0,
    /// Largest magnitude of each bucket.
    BucketMax = 1,
    /// Euclidean norm of each bucket.
    BucketL2 = 2,
    /// Euclidean norm of the whole vector: the operator of Song & Choi (2605.15890), eqs 3-4.
    GlobalL2 = 3,
}

/// Where the random bits of stochastic rounding come from. The decoder needs neither.
///
/// Both are counter-based: the bits of a coordinate are a function of the message's 128-bit key
/// and the coordinate's place alone. See [`crate::random`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Generator {
    /// Philox4x32 with 7 rounds (Salmon et al., SC'11): 32-bit multiplies, for CPUs and GPUs alike.
    Philox = 1,
    /// Five AES rounds (the ARS family of Salmon et al.): fastest where the CPU has AES.
    #[default]
    Ars = 2,
}

/// Which message a frame is: fixes its random bits, and is checked by the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// The run's seed. Not in the frame: it only keys the rounding.
    pub seed: u64,
    /// Iteration of the run.
    pub iteration: u64,
    /// Logical worker.
    pub worker: u32,
}

impl MessageId {
    /// The 128-bit key of this message's stochastic rounding.
    pub fn rounding_key(&self) -> [u32; 4] {
        counter_rng::rounding_key(self.seed, self.iteration, u64::from(self.worker))
    }
}

/// Settings that no quantizer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantizerError {
    /// The width is not one of 2..=16.
    #[error("quantize to {bits} bits per coordinate: widths are 2..=16, or 32 for f32")]
    Bits {
        /// The width asked for.
        bits: u8,
    },
    /// The bucket size is not a power of two in 512..=8192.
    #[error("use buckets of {bucket} coordinates: sizes are powers of two from 512 to 8192")]
    Bucket {
        /// The size asked for.
        bucket: u32,
    },
}

/// An unbiased quantizer: `s = 2^(bits-1) - 1` levels a side, spaced by a step taken from a scale,
/// stochastically rounded, stored at exactly `bits` bits per coordinate.
///
/// With [`Scale::GlobalL2`] the values are eq 3's of Song & Choi: `step = ||x||_2 / s`, and a norm
/// below 1e-8 sends zeros. With bucketed scales `step = scale / s * (1 + 2^-21)`: the head-room
/// keeps every coordinate strictly inside the outermost level whatever the rounding of f32.
/// Buckets with a scale below 2^-90 send zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quantizer {
    scale: Scale,
    bucket: u32,
    bits: u8,
    generator: Generator,
}

impl Quantizer {
    /// A quantizer. `bucket` counts only with bucketed scales, and is 0 otherwise; width 32 means
    /// f32 passthrough whatever the scale.
    ///
    /// # Errors
    /// A width outside 2..=16 and 32, or a bucket that is not a power of two in 512..=8192.
    pub fn new(
        scale: Scale,
        bucket: u32,
        bits: u8,
        generator: Generator,
    ) -> Result<Self, QuantizerError> {
        if bits == 32 {
            return Ok(Self::f32());
        }
        if !(2..=16).contains(&bits) || scale == Scale::None {
            return Err(QuantizerError::Bits { bits });
        }
        let bucket = match scale {
            Scale::BucketMax | Scale::BucketL2 => {
                if !bucket.is_power_of_two() || !(512..=8192).contains(&bucket) {
                    return Err(QuantizerError::Bucket { bucket });
                }
                bucket
            }
            Scale::None | Scale::GlobalL2 => 0,
        };
        Ok(Self {
            scale,
            bucket,
            bits,
            generator,
        })
    }

    /// Raw f32, 32 bits per coordinate, no error.
    pub fn f32() -> Self {
        Self {
            scale: Scale::None,
            bucket: 0,
            bits: 32,
            generator: Generator::default(),
        }
    }

    /// The same quantizer with its random bits from `generator`.
    pub fn with_generator(self, generator: Generator) -> Self {
        if self.is_f32() {
            self
        } else {
            Self { generator, ..self }
        }
    }

    /// What the step is taken from.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Coordinates per bucket; `None` with a global scale and for f32.
    pub fn bucket(&self) -> Option<u32> {
        (self.bucket != 0).then_some(self.bucket)
    }

    /// Bits per coordinate: 2..=16, or 32 for f32.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Where the random bits come from.
    pub fn generator(&self) -> Generator {
        self.generator
    }

    /// Whether coordinates travel as raw f32.
    pub fn is_f32(&self) -> bool {
        self.bits == 32
    }

    /// Levels a side, `s = 2^(bits-1) - 1`. Meaningless (0) for f32.
    pub fn levels(&self) -> u32 {
        if self.is_f32() {
            0
        } else {
            (1 << (self.bits - 1)) - 1
        }
    }

    /// Bytes of the frame of `n` coordinates and `tail` unquantized f32, known before anything is
    /// allocated; `usize::MAX` where that is not representable.
    pub fn frame_len(&self, n: usize, tail: usize) -> usize {
        layout::frame_bytes(self, n, tail).unwrap_or(usize::MAX)
    }

    /// Bits of the quantized payload of `n` coordinates: codes with the padding of the last block,
    /// and the steps (one 32-bit step with a global scale). Header and tail are not counted.
    pub fn payload_bits(&self, n: usize) -> u64 {
        let header_step = if self.scale == Scale::GlobalL2 { 32 } else { 0 };
        layout::body_bytes(self, n as u64)
            .and_then(|bytes| bytes.checked_mul(8)?.checked_add(header_step))
            .unwrap_or(u64::MAX)
    }
}

/// Below this a global norm sends zeros (the convention of the authors' runs).
pub(crate) const SMALLEST_NORM: f64 = 1e-8;
/// Below this a bucket's scale sends zeros: 2^(32-bits) / step stays finite above it.
pub(crate) const SMALLEST_BUCKET_SCALE: f32 = f32::from_bits((127 - 90) << 23);
/// Head-room of bucketed steps, 1 + 2^-21.
pub(crate) const HEADROOM: f32 = 1.0 + 1.0 / (1 << 21) as f32;

/// The step of one bucket whose scale (max or norm, rounded to f32) is `scale`; 0 sends zeros.
/// Infinite where the outermost level would overflow f32.
pub(crate) fn bucket_step(scale: f32, levels: u32) -> f32 {
    if scale < SMALLEST_BUCKET_SCALE {
        return 0.0;
    }
    let step = scale / levels as f32 * HEADROOM;
    if (step * levels as f32).is_finite() {
        step
    } else {
        f32::INFINITY
    }
}

/// Eq 3's step of a vector with norm `norm`; 0 sends zeros, infinite as in [`bucket_step`].
pub(crate) fn global_step(norm: f64, levels: u32) -> f32 {
    if norm < SMALLEST_NORM {
        return 0.0;
    }
    let step = (norm / f64::from(levels)) as f32;
    if (step * levels as f32).is_finite() {
        step
    } else {
        f32::INFINITY
    }
}

/// `2^(32-bits) / step`: one coordinate times this is its level in fixed point; 0 for step 0.
pub(crate) fn fixed_point_factor(step: f32, bits: u8) -> f32 {
    if step == 0.0 {
        0.0
    } else {
        (1u64 << (32 - bits)) as f32 / step
    }
}

/// `s 2^(32-bits)`, the outermost level in fixed point; exact in f32.
pub(crate) fn fixed_point_limit(levels: u32, bits: u8) -> f32 {
    (u64::from(levels) << (32 - bits)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_settings_are_refused() {
        let g = Generator::Philox;
        for bits in [0, 1, 17, 31, 33, 255] {
            assert_eq!(
                Quantizer::new(Scale::GlobalL2, 0, bits, g),
                Err(QuantizerError::Bits { bits })
            );
        }
        for bucket in [0, 256, 513, 16384, u32::MAX] {
            assert_eq!(
                Quantizer::new(Scale::BucketMax, bucket, 4, g),
                Err(QuantizerError::Bucket { bucket })
            );
        }
    }

    #[test]
    fn headroom_keeps_the_largest_coordinate_inside() {
        // Every exponent, awkward mantissas: |x| k must round strictly below s 2^(32-b).
        for bits in 2..=16u8 {
            let levels = (1u32 << (bits - 1)) - 1;
            for exponent in 40..250u32 {
                for mantissa in [0, 1, 2, 3, 0x2a_aaab, 0x55_5555, 0x7f_fffe, 0x7f_ffff] {
                    let scale = f32::from_bits(exponent << 23 | mantissa);
                    let step = bucket_step(scale, levels);
                    let level = scale * fixed_point_factor(step, bits);
                    assert!(level < fixed_point_limit(levels, bits), "{bits} {scale:e}");
                    assert!(level > 0.999_99 * fixed_point_limit(levels, bits));
                }
            }
        }
    }

    #[test]
    fn steps_never_overflow_silently() {
        for bits in 2..=16u8 {
            let levels = (1u32 << (bits - 1)) - 1;
            assert_eq!(bucket_step(f32::MAX, levels), f32::INFINITY);
            assert!(bucket_step(f32::MAX / 2.0, levels).is_finite());
            assert_eq!(global_step(f64::MAX, levels), f32::INFINITY);
            assert_eq!(bucket_step(1e-28, levels), 0.0);
            let small = bucket_step(SMALLEST_BUCKET_SCALE, levels);
            assert!(small > 0.0 && fixed_point_factor(small, bits).is_finite());
        }
    }
}
