//! What a message is quantized with: scale, width, bucket and rounding generator.

use crate::lloyd_max::{self, Codebook};
use crate::rotation::Rotation;
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
    /// Euclidean norm of each bucket, corrected so that decoding is unbiased over random rotations:
    /// `||z||^2 / <z, q>`, q the levels that z is sent as (Lloyd-Max levels; Vargaftik et al. 2022, EDEN).
    BucketUnbiased = 7,
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
    /// Odd multiples `-(2^b - 1)..=2^b - 1` of half the step, all 2^b codes of them, stochastically
    /// rounded: unbiased. There is no zero level.
    MidRise = 2,
    /// The levels of the Lloyd-Max quantizer of a normal law times the step, the nearest of them:
    /// unbiased over random rotations.
    LloydMax = 3,
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

/// Who shares the random rotation of a message.
///
/// Given the rotation, stochastically rounded messages are unbiased and their errors independent, so
/// that all workers of an iteration may share it, and the receiver undoes it once for their sum. The
/// nearest Lloyd-Max level is unbiased over the rotation only: a shared one makes the errors of workers
/// with similar gradients add up instead of averaging out (`docs/rotation.md` has figures).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// One rotation for all workers of an iteration.
    Round,
    /// Every message has its own.
    Message,
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

    /// The key of the message's rotation.
    pub fn rotation_key(&self, sharing: Sharing) -> u64 {
        match sharing {
            Sharing::Round => counter_rng::rotation_key(self.seed, self.iteration, None),
            Sharing::Message => {
                counter_rng::rotation_key(self.seed, self.iteration, Some(self.worker))
            }
        }
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
    /// The quantizer has no such width.
    #[error(
        "quantize to {bits} bits per coordinate: widths are 2..=16 with a zero level, 1..=16 without, \
         or 32 for f32"
    )]
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
        "use scale {scale:?} with these levels: uniform ones have bucket-max, bucket-l2 and global-l2, \
         mid-rise ones and rotations bucket-max"
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
/// *Mid-rise levels* ([`Quantizer::mid_rise`]): `(c + 1/2) step` for the 2^b codes c, stochastically
/// rounded, unbiased, `step = 2 max / (2^b - 1) * (1 + 2^-21)` per bucket. Without a zero level they waste none
/// of the codes, which halves the error of dense vectors at 2 bits and makes 1 bit possible, but a sparse
/// vector turns into noise unless it is rotated first.
///
/// *Rotated* ([`Quantizer::rotated`]): the same after a randomised Hadamard rotation of every bucket
/// ([`crate::Rotation`]), exactly unbiased given the rotation.
///
/// *Lloyd-Max levels* ([`Quantizer::eden`]): rotated, then the nearest level of the quantizer that is
/// best for the normal law, times the scale that makes the decoded vector unbiased over the rotations:
/// EDEN (Vargaftik et al. 2022, arXiv 2108.08842), with a Hadamard rotation in two rounds per bucket in
/// place of a uniform one of the whole vector.
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
    rotation: Option<Sharing>,
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
            Scale::BucketMax | Scale::BucketL2 => checked_bucket(bucket)?,
            Scale::GlobalL2 => 0,
            _ => return Err(QuantizerError::Scale { scale }),
        };
        Ok(Self {
            coding: Coding::Uniform,
            scale,
            bucket,
            bits,
            generator,
            rotation: None,
        })
    }

    /// A quantizer with mid-rise levels and the largest magnitude of each bucket for a scale; width 32
    /// means f32 passthrough.
    ///
    /// # Errors
    /// A width outside 1..=16 and 32, or a bucket that is not a power of two in 512..=8192.
    pub fn mid_rise(bucket: u32, bits: u8, generator: Generator) -> Result<Self, QuantizerError> {
        if bits == 32 {
            return Ok(Self::f32());
        }
        if !(1..=16).contains(&bits) {
            return Err(QuantizerError::Bits { bits });
        }
        Ok(Self {
            coding: Coding::MidRise,
            scale: Scale::BucketMax,
            bucket: checked_bucket(bucket)?,
            bits,
            generator,
            rotation: None,
        })
    }

    /// The same quantizer after a random rotation of every bucket. f32 passthrough is not rotated.
    ///
    /// # Errors
    /// A scale other than the largest magnitude of a bucket.
    pub fn rotated(self, sharing: Sharing) -> Result<Self, QuantizerError> {
        match self.scale {
            Scale::None => Ok(self),
            Scale::BucketMax => Ok(Self {
                rotation: Some(sharing),
                ..self
            }),
            scale => Err(QuantizerError::Scale { scale }),
        }
    }

    /// Lloyd-Max levels after a random rotation of every bucket, with the unbiased scale; width 32
    /// means f32 passthrough.
    ///
    /// # Errors
    /// As [`Quantizer::mid_rise`].
    pub fn eden(bucket: u32, bits: u8, sharing: Sharing) -> Result<Self, QuantizerError> {
        let like = Self::mid_rise(bucket, bits, Generator::default())?;
        if like.is_f32() {
            return Ok(like);
        }
        Ok(Self {
            coding: Coding::LloydMax,
            scale: Scale::BucketUnbiased,
            rotation: Some(sharing),
            ..like
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
            rotation: None,
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
            rotation: None,
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
            rotation: None,
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

    /// Who shares the rotation; `None` where there is none.
    pub fn sharing(&self) -> Option<Sharing> {
        self.rotation
    }

    /// The rotation with this key; `None` where there is none.
    pub(crate) fn rotation(&self, key: u64) -> Option<Rotation> {
        let rounds = if self.coding == Coding::LloydMax {
            2
        } else {
            1
        };
        self.rotation
            .map(|_| Rotation::new(key, self.bucket, rounds))
    }

    /// Bits per coordinate: 1 for signs, 1..=16 for levels (2..=16 for uniform ones), 32 for f32.
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

    /// Whether the expectation of what is decoded is what was encoded, over the random bits or, with
    /// Lloyd-Max levels, the rotations.
    pub(crate) fn is_unbiased(&self) -> bool {
        self.coding != Coding::Sign
    }

    /// Whether the codes are drawn with random bits.
    pub fn draws(&self) -> bool {
        matches!(
            self.coding,
            Coding::Uniform | Coding::MidRise | Coding::StochasticSign
        )
    }

    /// The outermost level in steps: `s = 2^(bits-1) - 1`, `(2^bits - 1) / 2` for mid-rise levels, the
    /// largest Lloyd-Max level (of a standard normal law), 1 for signs. Meaningless (0) for f32.
    pub fn outermost(&self) -> f32 {
        match self.coding {
            Coding::F32 => 0.0,
            Coding::Uniform => ((1u32 << (self.bits - 1)) - 1) as f32,
            Coding::MidRise => ((1u32 << self.bits) - 1) as f32 / 2.0,
            Coding::LloydMax => self.codebook().outermost(),
            Coding::Sign | Coding::StochasticSign => 1.0,
        }
    }

    /// What a code of Lloyd-Max levels stands for, by `code + 2^(bits-1)` and without the step, and the
    /// thresholds between the positive ones, ascending; `None` for other kinds.
    pub fn normal_levels(&self) -> Option<(&'static [f32], &'static [f32])> {
        let book = (self.coding == Coding::LloydMax).then(|| self.codebook())?;
        let (_, thresholds) = book.thresholds().split_last()?;
        Some((book.values(), thresholds))
    }

    /// Levels of a standard normal law, of Lloyd-Max quantizers.
    pub(crate) fn codebook(&self) -> &'static Codebook {
        lloyd_max::codebook(self.bits)
    }

    /// Whether the code `-2^(bits-1)` stands for nothing.
    pub(crate) fn reserves_a_code(&self) -> bool {
        self.coding == Coding::Uniform
    }

    /// The step of what shares the scale `scale` (max, norm or mean; for Lloyd-Max levels the step
    /// itself); 0 sends zeros, infinite where the outermost level would overflow f32.
    pub fn step(&self, scale: f64) -> f32 {
        let narrow = scale as f32;
        let outermost = self.outermost();
        let step = match (self.coding, self.scale) {
            (Coding::F32, _) => return 0.0,
            (Coding::Sign, _) => return narrow,
            (Coding::Uniform, Scale::GlobalL2) if scale < SMALLEST_NORM => return 0.0,
            (Coding::Uniform, Scale::GlobalL2) => (scale / f64::from(outermost)) as f32,
            _ if narrow < SMALLEST_SCALE => return 0.0,
            (Coding::Uniform | Coding::MidRise, _) => narrow / outermost * HEADROOM,
            (Coding::LloydMax | Coding::StochasticSign, _) => narrow,
        };
        if (step * outermost).is_finite() {
            step
        } else {
            f32::INFINITY
        }
    }

    /// The levels in fixed point for a step; for stochastic signs mid-rise levels `+-step` of 1 bit.
    pub fn fixed_point(&self, step: f32) -> FixedPoint {
        let (bits, middle) = (u32::from(self.bits), 1u64 << (31 - self.bits % 32));
        // Half units, so that both kinds of levels are whole numbers of them.
        let (half_units, offset) = match self.coding {
            Coding::Uniform => (2.0 * self.outermost(), 0),
            Coding::MidRise => (2.0 * self.outermost(), middle),
            Coding::StochasticSign => (1.0, middle),
            Coding::F32 | Coding::LloydMax | Coding::Sign => (0.0, 0),
        };
        let limit = half_units * middle as f32;
        let unit = match self.coding {
            Coding::StochasticSign => middle,
            _ => 2 * middle,
        };
        FixedPoint {
            factor: if step == 0.0 { 0.0 } else { unit as f32 / step },
            limit,
            bits,
            offset: (offset as u32).wrapping_neg(),
        }
    }
}

/// Equidistant levels with `2^(32-bits)` units to a level, so that codes are the top bits of 32-bit
/// words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedPoint {
    /// A coordinate times this is its level in units, `2^(32-bits) / step`; 0 for step 0. Stochastic
    /// signs, whose levels are two steps apart, have `2^30 / step`.
    pub factor: f32,
    /// The outermost level in units, exact in f32.
    pub limit: f32,
    /// Bits of a code.
    pub bits: u32,
    /// What is added to a level in units, wrapping: 0, or minus half a level where there is no zero
    /// level.
    pub offset: u32,
}

/// What brings `n` coordinates with the squared norm `norm` to variance 1; 0 where they are to be sent
/// as zeros, `None` where the norm is not finite.
pub(crate) fn unit_variance(norm: f64, n: usize) -> Option<f32> {
    let deviation = (norm / n.max(1) as f64).sqrt();
    if !deviation.is_finite() {
        None
    } else if (deviation as f32) < SMALLEST_SCALE {
        Some(0.0)
    } else {
        Some((1.0 / deviation) as f32)
    }
}

fn checked_bucket(bucket: u32) -> Result<u32, QuantizerError> {
    if bucket.is_power_of_two() && (512..=LARGEST_BUCKET as u32).contains(&bucket) {
        Ok(bucket)
    } else {
        Err(QuantizerError::Bucket { bucket })
    }
}

/// Coordinates of the largest bucket.
pub(crate) const LARGEST_BUCKET: usize = 8192;
/// Below this a global norm sends zeros (the convention of the authors' runs).
const SMALLEST_NORM: f64 = 1e-8;
/// Below this any other scale sends zeros: 2^(32-bits) / step stays finite above it.
pub(crate) const SMALLEST_SCALE: f32 = f32::from_bits((127 - 90) << 23);
/// Head-room of bucketed steps, 1 + 2^-21.
pub(crate) const HEADROOM: f32 = 1.0 + 1.0 / (1 << 21) as f32;

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
        assert_eq!(
            (whole.bits(), whole.outermost(), whole.bucket()),
            (1, 1.0, None)
        );
        assert_eq!(whole.with_generator(Generator::Philox), whole);
        assert_eq!(Quantizer::sign(65536).unwrap().bucket(), Some(65536));
        let one_bit = Quantizer::one_bit(OneBitScale::Max, Generator::Ars);
        let levels = one_bit.fixed_point(0.5);
        assert_eq!(
            (levels.factor * 0.5, levels.limit),
            ((1u32 << 30) as f32, (1u32 << 30) as f32)
        );
        assert!(one_bit.step(f64::from(f32::MAX) * 2.0).is_infinite());
        for scale in [Scale::GlobalMax, Scale::BucketMean, Scale::GlobalMean] {
            let error = Quantizer::new(scale, 512, 4, Generator::Ars);
            assert_eq!(error, Err(QuantizerError::Scale { scale }));
        }
    }

    /// Uniform and mid-rise quantizers of every width.
    fn bucketed() -> impl Iterator<Item = Quantizer> {
        let uniform = (2..=16).map(|b| Quantizer::new(Scale::BucketMax, 512, b, Generator::Ars));
        let mid_rise = (1..=16).map(|b| Quantizer::mid_rise(512, b, Generator::Ars));
        uniform.chain(mid_rise).map(Result::unwrap)
    }

    #[test]
    fn rotations_belong_to_bucket_maxima() {
        for quantizer in bucketed() {
            let rotated = quantizer.rotated(Sharing::Round).unwrap();
            assert_eq!(rotated.sharing(), Some(Sharing::Round));
        }
        assert_eq!(
            Quantizer::f32().rotated(Sharing::Round),
            Ok(Quantizer::f32())
        );
        let l2 = Quantizer::new(Scale::BucketL2, 512, 4, Generator::Ars).unwrap();
        let scale = Scale::BucketL2;
        assert_eq!(
            l2.rotated(Sharing::Round),
            Err(QuantizerError::Scale { scale })
        );
        for bits in [0, 17, 31] {
            let error = Err(QuantizerError::Bits { bits });
            assert_eq!(Quantizer::eden(512, bits, Sharing::Round), error);
        }
        let id = |seed, iteration, worker| MessageId {
            seed,
            iteration,
            worker,
        };
        let key = |id: MessageId| id.rotation_key(Sharing::Round);
        assert_eq!(key(id(1, 2, 3)), key(id(1, 2, 4)));
        assert_ne!(key(id(1, 2, 3)), key(id(1, 3, 3)));
        let own = |id: MessageId| id.rotation_key(Sharing::Message);
        assert_ne!(own(id(1, 2, 3)), own(id(1, 2, 4)));
        assert_ne!(own(id(1, 2, 0)), key(id(1, 2, 0)));
    }

    #[test]
    fn headroom_keeps_the_largest_coordinate_inside() {
        // Every exponent, awkward mantissas: |x| k must round strictly below the outermost level.
        for quantizer in bucketed() {
            for exponent in 40..250u32 {
                for mantissa in [0, 1, 2, 3, 0x2a_aaab, 0x55_5555, 0x7f_fffe, 0x7f_ffff] {
                    let scale = f32::from_bits(exponent << 23 | mantissa);
                    let levels = quantizer.fixed_point(quantizer.step(f64::from(scale)));
                    let level = scale * levels.factor;
                    assert!(level < levels.limit, "{quantizer:?} {scale:e}");
                    assert!(level > 0.999_99 * levels.limit);
                }
            }
        }
    }

    #[test]
    fn steps_never_overflow_silently() {
        for quantizer in bucketed() {
            let step = |scale: f32| quantizer.step(f64::from(scale));
            assert_eq!(step(f32::MAX), f32::INFINITY);
            assert!(step(f32::MAX / 4.0).is_finite());
            assert_eq!(step(1e-28), 0.0);
            let small = step(SMALLEST_SCALE);
            assert!(small > 0.0 && quantizer.fixed_point(small).factor.is_finite());
        }
        let global = Quantizer::new(Scale::GlobalL2, 0, 4, Generator::Ars).unwrap();
        assert_eq!(global.step(f64::MAX), f32::INFINITY);
    }
}
