//! Named compressors, and the error constants phi that a planner may use for them.

use crate::compressor::Compressor;
use crate::quantizer::{Generator, HEADROOM, OneBitScale, Quantizer, QuantizerError, Scale};
use crate::sparse;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which norm a bucket's step is taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BucketNorm {
    /// Largest magnitude: the smaller error at equal bits.
    #[default]
    Max,
    /// Euclidean norm: the paper's quantizer, bucket by bucket.
    L2,
}

/// A family of compressors, one for every width where widths can be chosen.
///
/// As text (`Display`, `FromStr`): `qsgd`, `f32`, `qsgd-bucketed`, `sign`, `one-bit`, `top-k`,
/// `rand-k`, or with their settings `qsgd-bucketed:max:512`, `sign:512`, `one-bit:l2`, `top-k:20`,
/// `rand-k:20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Eqs 3-4 of Song & Choi (2605.15890): one Euclidean norm for the whole vector.
    Qsgd,
    /// The same levels with a norm per bucket.
    QsgdBucketed {
        /// Which norm.
        norm: BucketNorm,
        /// Coordinates per bucket: a power of two in 512..=8192.
        bucket: u32,
    },
    /// No quantization.
    F32,
    /// Grouped scaled sign, one bit per coordinate: `sign(x) ||x_I||_1 / |I|` in every group I
    /// (Li, Skoglund & Xiao, 2603.16353). Biased, contractive.
    Sign {
        /// Coordinates per group: a power of two in 512..=65536, or 0 for the whole vector.
        group: u32,
    },
    /// Stochastic sign, one bit per coordinate: `+-s` with `P(+s) = (1 + x/s)/2`. Unbiased.
    OneBit {
        /// What s is.
        scale: OneBitScale,
    },
    /// The largest magnitudes with their indices. Biased, contractive.
    TopK {
        /// K; `None`: as many as a width of z bits per coordinate pays for.
        entries: Option<u64>,
    },
    /// Random coordinates times n/K, indices not sent. Unbiased.
    RandK {
        /// K; `None`: as many as a width of z bits per coordinate pays for.
        entries: Option<u64>,
    },
}

/// Which widths, in bits per coordinate, a planner may give a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Widths {
    /// Any from `min` to `max`.
    Adjustable {
        /// The least.
        min: u8,
        /// The largest.
        max: u8,
    },
    /// This one: what the preset costs, rounded up to whole bits.
    Fixed(u8),
}

impl Default for Preset {
    fn default() -> Self {
        Self::QsgdBucketed {
            norm: BucketNorm::Max,
            bucket: 512,
        }
    }
}

/// `step^2 <= (scale/s)^2 (1 + SLACK)^2` and `max|x| / step >= s / (1 + SLACK)`: twice the head-room
/// covers the rounding of f32.
const SLACK: f64 = 2.0 * (HEADROOM as f64 - 1.0);

impl Preset {
    /// The preset's name without its settings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Qsgd => "qsgd",
            Self::QsgdBucketed { .. } => "qsgd-bucketed",
            Self::F32 => "f32",
            Self::Sign { .. } => "sign",
            Self::OneBit { .. } => "one-bit",
            Self::TopK { .. } => "top-k",
            Self::RandK { .. } => "rand-k",
        }
    }

    /// The compressor of this preset for vectors of `n` coordinates at `bits` bits per coordinate.
    ///
    /// Width 32 is f32 passthrough in every preset; [`Preset::F32`] has no other. One-bit presets
    /// have 1. Sparsifiers without a number of entries keep `floor(bits n / c)` of them, at least 1
    /// and at most n, where c is the cost of an entry: 32 bits, and `ceil(log2 n)` for its index with
    /// top-K; with a number of entries they do not depend on the width.
    ///
    /// # Errors
    /// A width, bucket or group size that does not exist, or more entries than coordinates.
    pub fn compressor(&self, bits: u8, n: usize) -> Result<Compressor, QuantizerError> {
        let generator = Generator::default();
        if bits == 32 {
            return Ok(Quantizer::f32().compressor(n));
        }
        let quantizer = match *self {
            Self::Qsgd => Quantizer::new(Scale::GlobalL2, 0, bits, generator)?,
            Self::QsgdBucketed { norm, bucket } => {
                let scale = match norm {
                    BucketNorm::Max => Scale::BucketMax,
                    BucketNorm::L2 => Scale::BucketL2,
                };
                Quantizer::new(scale, bucket, bits, generator)?
            }
            Self::Sign { group } if bits == 1 => Quantizer::sign(group)?,
            Self::OneBit { scale } if bits == 1 => Quantizer::one_bit(scale, generator),
            Self::F32 | Self::Sign { .. } | Self::OneBit { .. } => {
                return Err(QuantizerError::Width {
                    bits,
                    preset: self.name(),
                });
            }
            Self::TopK { .. } => return Compressor::top_k(self.entries(bits, n)?, n),
            Self::RandK { .. } => return Compressor::rand_k(self.entries(bits, n)?, n),
        };
        Ok(quantizer.compressor(n))
    }

    /// The widths that this preset can have for vectors of `dimension` coordinates.
    ///
    /// A fixed width is what the preset costs in bits per coordinate, rounded up, and 31 at most
    /// unless nothing is compressed: 32 is f32 passthrough.
    pub fn widths(&self, dimension: usize) -> Widths {
        match *self {
            Self::Qsgd | Self::QsgdBucketed { .. } => Widths::Adjustable { min: 2, max: 16 },
            Self::TopK { entries: None } | Self::RandK { entries: None } => {
                Widths::Adjustable { min: 1, max: 16 }
            }
            Self::F32 => Widths::Fixed(32),
            Self::Sign { .. } | Self::OneBit { .. } => Widths::Fixed(1),
            Self::TopK { entries: Some(k) } | Self::RandK { entries: Some(k) } => {
                let bits = u128::from(k) * u128::from(self.entry_bits(dimension));
                let width = bits.div_ceil(dimension.max(1) as u128).clamp(1, 31);
                Widths::Fixed(width as u8)
            }
        }
    }

    /// Whether `E[C(x)] = x` for every x.
    pub fn unbiased(&self) -> bool {
        match self {
            Self::Qsgd | Self::QsgdBucketed { .. } | Self::F32 => true,
            Self::OneBit { .. } | Self::RandK { .. } => true,
            Self::Sign { .. } | Self::TopK { .. } => false,
        }
    }

    /// Whether `E||C(x) - x||^2 <= d ||x||^2` with some d < 1 for every x of `dimension`
    /// coordinates, as an error memory needs; shrunk, every unbiased preset is
    /// ([`Compressor::with_shrink`]).
    pub fn contractive(&self, bits: u8, dimension: usize) -> bool {
        self.phi_tight(bits, dimension) < 1.0
    }

    /// Bits of one entry of a sparsifier.
    fn entry_bits(&self, n: usize) -> u32 {
        match self {
            Self::TopK { .. } => 32 + sparse::index_bits(n),
            _ => 32,
        }
    }

    /// K of a sparsifier.
    fn entries(&self, bits: u8, n: usize) -> Result<u64, QuantizerError> {
        match *self {
            Self::TopK { entries: Some(k) } | Self::RandK { entries: Some(k) } => Ok(k),
            _ if (1..=31).contains(&bits) => {
                let paid = u128::from(bits) * n as u128 / u128::from(self.entry_bits(n));
                Ok((paid as u64).clamp(n.min(1) as u64, n as u64))
            }
            _ => Err(QuantizerError::Width {
                bits,
                preset: self.name(),
            }),
        }
    }

    /// phi with `E||C(x) - x||^2 <= phi ||x||^2` for every x of `dimension` coordinates, in the
    /// closed form of eq 5, `l / (4 s^2)` with s = 2^(bits-1) - 1: l is the dimension for `qsgd`
    /// and the bucket size (or the dimension, if smaller) for buckets with the l2 norm; buckets
    /// with the max norm have the bound of [`Preset::phi_tight`]. 0 at width 32, infinite at widths
    /// without levels.
    ///
    /// One bit: n - 1, reached with s the largest magnitude by a single non-zero coordinate, and by
    /// every x with s the norm. Rand-K: n/K - 1, whatever x. Sign: 1 - 1/m, m coordinates in the
    /// largest group, reached by a single non-zero one. Top-K: 1 - K/n, reached by equal magnitudes.
    ///
    /// These are worst cases over all vectors. Real gradients quantize with less:
    /// [`Compressor::distortion`] gives the exact value for one at hand.
    pub fn phi(&self, bits: u8, dimension: usize) -> f64 {
        match (self.shape(bits, dimension), self) {
            (Shape::Constant(phi), _) => phi,
            (Shape::Levels { s, l }, Self::QsgdBucketed { norm, .. }) => match norm {
                BucketNorm::Max => self.phi_tight(bits, dimension),
                BucketNorm::L2 => l / (4.0 * s * s) * (1.0 + SLACK).powi(2),
            },
            (Shape::Levels { s, l }, _) => l / (4.0 * s * s),
        }
    }

    /// The least phi that holds for every vector (up to the head-room of the step, 1e-6).
    ///
    /// A coordinate at t levels has variance `step^2 f (1-f)`, f = frac(t).
    ///
    /// *l2 norm, l coordinates.* The t's satisfy `sum t^2 = s^2` and `phi = sum f(1-f) / s^2`. As a
    /// function of v = t^2, f(1-f) lies below G(v) = sqrt(v) - v for v <= 1/4, 1/4 beyond, which is
    /// concave; so the sum is at most `l G(s^2 / l)`, reached by equal coordinates:
    /// `phi = sqrt(l)/s - 1` if l >= 4 s^2, else `l / (4 s^2)`. The second branch is eq 5; the first
    /// is below it and below QSGD's `sqrt(l)/s`.
    ///
    /// *max norm, m coordinates.* One coordinate is the largest, t = s with f = 0, so
    /// `phi = sup sum f(1-f) / (s^2 + sum t^2)` over the other m - 1. At the supremum L each of
    /// them maximises `f(1-f) - L t^2`: at t = 1 / (2 (1 + L)) with value `1 / (4 (1 + L))` (every
    /// t >= 1 gives less). So `(m-1) / (4 (1+L)) = L s^2`, that is
    /// `phi = (sqrt(1 + (m-1)/s^2) - 1) / 2 <= (m-1) / (4 s^2)`. The head-room moves the largest
    /// coordinate off its level by at most s * SLACK of one, which adds SLACK / s.
    ///
    /// Several buckets: a ratio of sums is at most the largest ratio.
    pub fn phi_tight(&self, bits: u8, dimension: usize) -> f64 {
        let (s, l) = match self.shape(bits, dimension) {
            Shape::Constant(phi) => return phi,
            Shape::Levels { s, l } => (s, l),
        };
        let l2 = if l >= 4.0 * s * s {
            l.sqrt() / s - 1.0
        } else {
            l / (4.0 * s * s)
        };
        let slack = (1.0 + SLACK).powi(2);
        match self {
            Self::QsgdBucketed { norm, .. } => match norm {
                BucketNorm::Max => {
                    let others = (l - 1.0).max(0.0) / (s * s);
                    // (sqrt(1 + y) - 1) / 2 without cancellation.
                    let exact = others / (2.0 * ((1.0 + others).sqrt() + 1.0));
                    slack * (exact + SLACK / s)
                }
                BucketNorm::L2 => slack * (l2 + SLACK),
            },
            _ => l2,
        }
    }

    /// Levels a side and coordinates under one norm.
    fn shape(&self, bits: u8, dimension: usize) -> Shape {
        if bits == 32 || dimension == 0 {
            return Shape::Constant(0.0);
        }
        let l = dimension as f64;
        let kept = || self.entries(bits, dimension).map_or(0.0, |k| k as f64);
        match *self {
            Self::F32 => return Shape::Constant(0.0),
            Self::Sign { group: 0 } => return Shape::Constant(1.0 - 1.0 / l),
            Self::Sign { group } => return Shape::Constant(1.0 - 1.0 / l.min(f64::from(group))),
            Self::OneBit { .. } => return Shape::Constant(l - 1.0),
            Self::TopK { .. } => return Shape::Constant(1.0 - (kept() / l).min(1.0)),
            Self::RandK { .. } => return Shape::Constant((l / kept()).max(1.0) - 1.0),
            Self::Qsgd | Self::QsgdBucketed { .. } => {}
        }
        if !(2..=31).contains(&bits) {
            return Shape::Constant(f64::INFINITY);
        }
        let s = f64::from((1u32 << (bits - 1)) - 1);
        let l = match *self {
            Self::QsgdBucketed { bucket, .. } => l.min(f64::from(bucket)),
            _ => l,
        };
        Shape::Levels { s, l }
    }
}

enum Shape {
    Constant(f64),
    Levels { s: f64, l: f64 },
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qsgd
            | Self::F32
            | Self::Sign { group: 0 }
            | Self::TopK { entries: None }
            | Self::RandK { entries: None } => f.write_str(self.name()),
            Self::Sign { group } => write!(f, "{}:{group}", self.name()),
            Self::TopK { entries: Some(k) } | Self::RandK { entries: Some(k) } => {
                write!(f, "{}:{k}", self.name())
            }
            Self::OneBit { scale } => {
                let scale = match scale {
                    OneBitScale::Max => "max",
                    OneBitScale::L2 => "l2",
                };
                write!(f, "{}:{scale}", self.name())
            }
            Self::QsgdBucketed { norm, bucket } => {
                let norm = match norm {
                    BucketNorm::Max => "max",
                    BucketNorm::L2 => "l2",
                };
                write!(f, "{}:{norm}:{bucket}", self.name())
            }
        }
    }
}

/// A text that names no preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "read preset `{text}`: use qsgd, f32, qsgd-bucketed, sign, one-bit, top-k, rand-k, or with settings \
     e.g. qsgd-bucketed:max:512, sign:512, one-bit:l2, top-k:20, rand-k:20"
)]
pub struct PresetError {
    /// The text.
    pub text: String,
}

impl FromStr for Preset {
    type Err = PresetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PresetError { text: text.into() };
        let preset = match text.split(':').collect::<Vec<_>>()[..] {
            ["qsgd"] => Self::Qsgd,
            ["f32"] => Self::F32,
            ["qsgd-bucketed"] => Self::default(),
            ["qsgd-bucketed", norm, bucket] => Self::QsgdBucketed {
                norm: match norm {
                    "max" => BucketNorm::Max,
                    "l2" => BucketNorm::L2,
                    _ => return Err(error()),
                },
                bucket: bucket.parse().map_err(|_| error())?,
            },
            ["sign"] => Self::Sign { group: 0 },
            ["sign", group] => Self::Sign {
                group: group.parse().map_err(|_| error())?,
            },
            ["one-bit"] | ["one-bit", "max"] => Self::OneBit {
                scale: OneBitScale::Max,
            },
            ["one-bit", "l2"] => Self::OneBit {
                scale: OneBitScale::L2,
            },
            ["top-k"] => Self::TopK { entries: None },
            ["rand-k"] => Self::RandK { entries: None },
            ["top-k", k] => Self::TopK {
                entries: Some(k.parse().map_err(|_| error())?),
            },
            ["rand-k", k] => Self::RandK {
                entries: Some(k.parse().map_err(|_| error())?),
            },
            _ => return Err(error()),
        };
        // Settings that no vector could have; the most coordinates refuse no number of entries.
        let bits = match preset.widths(usize::MAX) {
            Widths::Fixed(bits) => bits,
            Widths::Adjustable { min, .. } => min,
        };
        match preset.compressor(bits, u32::MAX as usize) {
            Ok(_) => Ok(preset),
            Err(_) => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for text in [
            "qsgd",
            "f32",
            "qsgd-bucketed:max:512",
            "qsgd-bucketed:l2:8192",
            "sign",
            "sign:512",
            "sign:65536",
            "one-bit:max",
            "one-bit:l2",
            "top-k",
            "top-k:2",
            "rand-k",
            "rand-k:4000000000",
        ] {
            assert_eq!(text.parse::<Preset>().unwrap().to_string(), text);
        }
        assert_eq!("qsgd-bucketed".parse(), Ok(Preset::default()));
        let scale = OneBitScale::Max;
        assert_eq!("one-bit".parse(), Ok(Preset::OneBit { scale }));
        for text in [
            "",
            "QSGD",
            "qsgd:max:512",
            "qsgd-bucketed:max:513",
            "qsgd-bucketed:l1:512",
            "sign:0x200",
            "sign:513",
            "sign:max",
            "one-bit:l1",
            "top-k:0",
            "rand-k:-1",
            "rand-k:4294967296",
        ] {
            assert!(text.parse::<Preset>().is_err(), "{text}");
        }
    }

    #[test]
    fn closed_forms() {
        // l / (4 s^2): l = 5e6, z = 7 -> 315; z = 4 -> 25510.
        assert!((Preset::Qsgd.phi(7, 5_000_000) - 314.94).abs() < 0.01);
        assert!((Preset::Qsgd.phi(4, 5_000_000) - 25_510.2).abs() < 0.1);
        let l2 = Preset::QsgdBucketed {
            norm: BucketNorm::L2,
            bucket: 512,
        };
        assert!((l2.phi(4, 5_000_000) / (512.0 / 196.0) - 1.0).abs() < 2e-6);
        assert_eq!(Preset::Qsgd.phi(32, 1000), 0.0);
        assert_eq!(Preset::Qsgd.phi(1, 1000), f64::INFINITY);
        assert_eq!(Preset::F32.phi(32, 1000), 0.0);
    }

    #[test]
    fn tight_bounds_are_below_the_closed_forms() {
        for bucket in [512, 1024, 8192] {
            for norm in [BucketNorm::Max, BucketNorm::L2] {
                for preset in [Preset::Qsgd, Preset::QsgdBucketed { norm, bucket }] {
                    for dimension in [1, 2, 100, 512, 100_000] {
                        for bits in 2..=16 {
                            let phi = preset.phi(bits, dimension);
                            let tight = preset.phi_tight(bits, dimension);
                            assert!(
                                tight <= phi * (1.0 + 1e-5) + 2e-6,
                                "{preset} {bits} {dimension}"
                            );
                        }
                    }
                }
            }
        }
    }

    fn preset(text: &str) -> Preset {
        text.parse().unwrap()
    }

    #[test]
    fn widths_and_properties() {
        let n = 100;
        let adjustable = |min| Widths::Adjustable { min, max: 16 };
        for (text, widths, unbiased, contractive) in [
            ("qsgd", adjustable(2), true, false),
            ("f32", Widths::Fixed(32), true, true),
            ("sign", Widths::Fixed(1), false, true),
            ("sign:512", Widths::Fixed(1), false, true),
            ("one-bit", Widths::Fixed(1), true, false),
            ("top-k", adjustable(1), false, true),
            ("top-k:2", Widths::Fixed(1), false, true),
            ("top-k:80", Widths::Fixed(31), false, true), // 31.2, but 32 is passthrough
            ("rand-k", adjustable(1), true, false),
            ("rand-k:10", Widths::Fixed(4), true, false),
            ("rand-k:51", Widths::Fixed(17), true, true),
        ] {
            let preset = preset(text);
            assert_eq!(preset.widths(n), widths, "{text}");
            let bits = match widths {
                Widths::Fixed(bits) => bits,
                Widths::Adjustable { min, .. } => min,
            };
            assert!(preset.compressor(bits, n).is_ok(), "{text}");
            assert_eq!(preset.unbiased(), unbiased, "{text}");
            assert_eq!(preset.contractive(bits, n), contractive, "{text}");
            let f32 = Quantizer::f32().compressor(n);
            assert_eq!(preset.compressor(32, n), Ok(f32), "{text}");
            assert_eq!(preset.phi(32, n), 0.0);
        }
        assert!(!Preset::default().contractive(4, 100_000));
        assert!(Preset::default().contractive(5, 100_000));
        for text in ["sign", "one-bit", "f32"] {
            for bits in [0, 2, 31] {
                assert!(preset(text).compressor(bits, n).is_err(), "{text} {bits}");
            }
        }
        assert!(preset("top-k:101").compressor(1, n).is_err());
    }

    #[test]
    fn sparsifiers_keep_what_a_width_pays_for() {
        let entries = |text, bits, n| preset(text).compressor(bits, n).unwrap().entries();
        // 100 coordinates at 4 bits: 400 / 39 and 400 / 32.
        assert_eq!(entries("top-k", 4, 100), Some(10));
        assert_eq!(entries("rand-k", 4, 100), Some(12));
        assert_eq!(entries("rand-k", 1, 3), Some(1));
        assert_eq!(entries("rand-k", 31, 100), Some(96));
        assert_eq!(entries("top-k", 7, 0), Some(0));
        assert_eq!(entries("top-k:2", 9, 100), Some(2));
        for bits in 1..=16 {
            for n in [64, 100, 5000, 70_000] {
                for text in ["top-k", "rand-k"] {
                    let paid = preset(text).compressor(bits, n).unwrap().payload_bits();
                    // The padding of the index stream may exceed it by part of a byte.
                    assert!(paid < u64::from(bits) * n as u64 + 8, "{text} {bits} {n}");
                }
            }
        }
    }

    #[test]
    fn constants_of_the_sparse_and_the_one_bit() {
        assert_eq!(preset("sign").phi(1, 100), 0.99);
        assert_eq!(preset("sign:512").phi(1, 100), 0.99);
        assert_eq!(preset("sign:512").phi(1, 10_000), 1.0 - 1.0 / 512.0);
        assert_eq!(preset("one-bit").phi(1, 100), 99.0);
        assert_eq!(preset("top-k:2").phi(1, 100), 0.98);
        assert_eq!(preset("rand-k:4").phi(2, 100), 24.0);
        assert_eq!(preset("rand-k").phi(8, 100), 3.0);
        assert_eq!(preset("rand-k").phi(0, 100), f64::INFINITY);
    }
}
