//! What a message is quantized with: scale, width, bucket and rounding generator.

use crate::lloyd_max::{self, Codebook};
use crate::rotation::Rotation;
use serde::{Deserialize, Serialize};

mod error;
mod levels;

pub use error::QuantizerError;
pub use levels::FixedPoint;
pub(crate) use levels::{HEADROOM, SMALLEST_SCALE, unit_variance};

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

#[cfg(test)]
mod tests;
