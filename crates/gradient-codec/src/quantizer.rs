//! What a message is quantized with: scale, width, bucket and rounding generator.

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
    /// Largest magnitude of the whole vector (stochastic signs).
    GlobalMax = 4,
    /// Mean magnitude of each bucket (signs).
    BucketMean = 5,
    /// Mean magnitude of the whole vector (signs).
    GlobalMean = 6,
}

impl Scale {
    /// Whether one step, in the header, serves the whole vector.
    pub fn is_global(self) -> bool {
        matches!(self, Self::GlobalL2 | Self::GlobalMax | Self::GlobalMean)
    }
}

/// What the codes of a quantizer stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Coding {
    /// Raw f32, no codes.
    F32 = 0,
    /// Multiples `-s..=s` of the step, stochastically rounded: unbiased.
    Uniform = 1,
    /// `+step` where `x >= 0`, `-step` elsewhere: biased, contractive.
    Sign = 4,
    /// `+step` with probability `(1 + x/step)/2`, `-step` otherwise: unbiased.
    StochasticSign = 5,
}

/// What one-bit stochastic quantization takes its scale from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OneBitScale {
    /// Largest magnitude: the least scale that stays unbiased, hence the least variance.
    #[default]
    Max,
    /// Euclidean norm.
    L2,
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

    /// The 64-bit key of rand-K's coordinates: the first two words of the rounding key, which
    /// nothing else uses in such a message.
    pub fn coordinates_key(&self) -> u64 {
        let key = self.rounding_key();
        u64::from(key[1]) << 32 | u64::from(key[0])
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
    /// The group of a sign quantizer is not 0 or a power of two in 512..=65536.
    #[error(
        "take signs in groups of {group} coordinates: sizes are powers of two from 512 to 65536, or 0 \
         for the whole vector"
    )]
    Group {
        /// The size asked for.
        group: u32,
    },
    /// The scale belongs to another kind of quantizer.
    #[error(
        "use scale {scale:?} with uniform levels: scales are bucket-max, bucket-l2 and global-l2"
    )]
    Scale {
        /// The scale asked for.
        scale: Scale,
    },
    /// The preset has no such width.
    #[error("compress to {bits} bits per coordinate with {preset}, which has no such width")]
    Width {
        /// The width asked for.
        bits: u8,
        /// The preset's name.
        preset: &'static str,
    },
    /// A sparsifier cannot keep that many coordinates.
    #[error("keep {entries} of {n} coordinates: at least 1, at most all and at most 4294967295")]
    Entries {
        /// Coordinates to keep.
        entries: u64,
        /// Coordinates of the vector.
        n: usize,
    },
}

/// A quantizer: every coordinate becomes a code of exactly `bits` bits, whose value is a small
/// integer times a step that many coordinates share.
///
/// *Uniform levels* ([`Quantizer::new`]): `s = 2^(bits-1) - 1` levels a side, stochastically
/// rounded, unbiased. With [`Scale::GlobalL2`] the values are eq 3's of Song & Choi:
/// `step = ||x||_2 / s`, and a norm
/// below 1e-8 sends zeros. With bucketed scales `step = scale / s * (1 + 2^-21)`: the head-room
/// keeps every coordinate strictly inside the outermost level whatever the rounding of f32.
/// Buckets with a scale below 2^-90 send zeros.
///
/// *Signs* ([`Quantizer::sign`]): one bit per coordinate and one step `||x_I||_1 / |I|` per group I,
/// the grouped sign of Li, Skoglund & Xiao (2603.16353). sign(0) is +1.
///
/// *Stochastic signs* ([`Quantizer::one_bit`]): one bit per coordinate, unbiased, as in one-bit
/// gradient coding (Li & Skoglund 2024), with one scale for the whole vector; below 2^-90 it sends
/// zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quantizer {
    coding: Coding,
    scale: Scale,
    bucket: u32,
    bits: u8,
    generator: Generator,
}

impl Quantizer {
    /// A quantizer with uniform levels. `bucket` counts only with bucketed scales, and is 0
    /// otherwise; width 32 means f32 passthrough whatever the scale.
    ///
    /// # Errors
    /// A width outside 2..=16 and 32, a bucket that is not a power of two in 512..=8192, or a scale
    /// that belongs to signs.
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
            Scale::GlobalMax | Scale::BucketMean | Scale::GlobalMean => {
                return Err(QuantizerError::Scale { scale });
            }
        };
        Ok(Self {
            coding: Coding::Uniform,
            scale,
            bucket,
            bits,
            generator,
        })
    }

    /// Signs with one scale per group of `group` coordinates, or for the whole vector if it is 0.
    ///
    /// # Errors
    /// A group that is not 0 or a power of two in 512..=65536.
    pub fn sign(group: u32) -> Result<Self, QuantizerError> {
        if group != 0 && !(group.is_power_of_two() && (512..=65536).contains(&group)) {
            return Err(QuantizerError::Group { group });
        }
        Ok(Self {
            coding: Coding::Sign,
            scale: if group == 0 {
                Scale::GlobalMean
            } else {
                Scale::BucketMean
            },
            bucket: group,
            bits: 1,
            generator: Generator::default(),
        })
    }

    /// Stochastic signs: `+-s` with `P(+s) = (1 + x/s)/2`, one s for the whole vector.
    pub fn one_bit(scale: OneBitScale, generator: Generator) -> Self {
        Self {
            coding: Coding::StochasticSign,
            scale: match scale {
                OneBitScale::Max => Scale::GlobalMax,
                OneBitScale::L2 => Scale::GlobalL2,
            },
            bucket: 0,
            bits: 1,
            generator,
        }
    }

    /// Raw f32, 32 bits per coordinate, no error.
    pub fn f32() -> Self {
        Self {
            coding: Coding::F32,
            scale: Scale::None,
            bucket: 0,
            bits: 32,
            generator: Generator::default(),
        }
    }

    /// The same quantizer with its random bits from `generator`.
    pub fn with_generator(self, generator: Generator) -> Self {
        if self.draws() {
            Self { generator, ..self }
        } else {
            self
        }
    }

    /// What the codes stand for.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// What the step is taken from.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Coordinates per bucket; `None` with a global scale and for f32.
    pub fn bucket(&self) -> Option<u32> {
        (self.bucket != 0).then_some(self.bucket)
    }

    /// Bits per coordinate: 1 for signs, 2..=16 for uniform levels, 32 for f32.
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

    /// Whether the codes are drawn with random bits.
    pub fn draws(&self) -> bool {
        matches!(self.coding, Coding::Uniform | Coding::StochasticSign)
    }

    /// Levels a side: `s = 2^(bits-1) - 1`, 1 for signs. Meaningless (0) for f32.
    pub fn levels(&self) -> u32 {
        match self.coding {
            Coding::F32 => 0,
            Coding::Uniform => (1 << (self.bits - 1)) - 1,
            Coding::Sign | Coding::StochasticSign => 1,
        }
    }

    /// The step of what shares the scale `scale` (max, norm or mean); 0 sends zeros, infinite where
    /// the outermost level would overflow f32.
    pub fn step(&self, scale: f64) -> f32 {
        match (self.coding, self.scale) {
            (Coding::F32, _) => 0.0,
            (Coding::Uniform, Scale::GlobalL2) => global_step(scale, self.levels()),
            (Coding::Uniform, _) => bucket_step(scale as f32, self.levels()),
            (Coding::Sign, _) => scale as f32,
            (Coding::StochasticSign, _) => {
                let scale = scale as f32;
                if scale < SMALLEST_SCALE { 0.0 } else { scale }
            }
        }
    }

    /// One coordinate times this is its level in fixed point; 0 for step 0.
    pub fn fixed_point_factor(&self, step: f32) -> f32 {
        fixed_point_factor(step, if self.bits == 1 { 2 } else { self.bits })
    }

    /// The outermost level in fixed point, exact in f32.
    pub fn fixed_point_limit(&self) -> f32 {
        fixed_point_limit(self.levels(), if self.bits == 1 { 2 } else { self.bits })
    }
}

/// Below this a global norm sends zeros (the convention of the authors' runs).
const SMALLEST_NORM: f64 = 1e-8;
/// Below this any other scale sends zeros: 2^(32-bits) / step stays finite above it.
pub(crate) const SMALLEST_SCALE: f32 = f32::from_bits((127 - 90) << 23);
/// Head-room of bucketed steps, 1 + 2^-21.
pub(crate) const HEADROOM: f32 = 1.0 + 1.0 / (1 << 21) as f32;

/// The step of one bucket whose scale (max or norm, rounded to f32) is `scale`; 0 sends zeros.
/// Infinite where the outermost level would overflow f32.
fn bucket_step(scale: f32, levels: u32) -> f32 {
    if scale < SMALLEST_SCALE {
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
fn global_step(norm: f64, levels: u32) -> f32 {
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

/// `2^(32-bits) / step`: `2^(32-bits)` units of fixed point to a level. Signs have 2^30, the width
/// of levels at 2 bits, so that a level and 31 random bits fit 32.
fn fixed_point_factor(step: f32, bits: u8) -> f32 {
    if step == 0.0 {
        0.0
    } else {
        (1u64 << (32 - bits)) as f32 / step
    }
}

/// `s 2^(32-bits)`.
fn fixed_point_limit(levels: u32, bits: u8) -> f32 {
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
    fn signs_have_one_level_of_one_bit() {
        for group in [1, 511, 513, 131_072] {
            assert_eq!(Quantizer::sign(group), Err(QuantizerError::Group { group }));
        }
        let whole = Quantizer::sign(0).unwrap();
        assert_eq!((whole.bits(), whole.levels(), whole.bucket()), (1, 1, None));
        assert_eq!(whole.with_generator(Generator::Philox), whole);
        assert_eq!(Quantizer::sign(65536).unwrap().bucket(), Some(65536));
        let one_bit = Quantizer::one_bit(OneBitScale::Max, Generator::Ars);
        assert_eq!(one_bit.fixed_point_factor(0.5) * 0.5, (1u32 << 30) as f32);
        assert_eq!(one_bit.fixed_point_limit(), (1u32 << 30) as f32);
        assert!(one_bit.step(f64::from(f32::MAX) * 2.0).is_infinite());
        for scale in [Scale::GlobalMax, Scale::BucketMean, Scale::GlobalMean] {
            let error = Quantizer::new(scale, 512, 4, Generator::Ars);
            assert_eq!(error, Err(QuantizerError::Scale { scale }));
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
            let small = bucket_step(SMALLEST_SCALE, levels);
            assert!(small > 0.0 && fixed_point_factor(small, bits).is_finite());
        }
    }
}
