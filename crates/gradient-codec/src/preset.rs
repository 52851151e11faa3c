//! Named quantizers, and the variance constants phi that a planner may use for them.

use crate::quantizer::{Generator, HEADROOM, Quantizer, QuantizerError, Scale};
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

/// A family of quantizers, one for every width.
///
/// As text (`Display`, `FromStr`): `qsgd`, `f32`, `qsgd-bucketed`, or with its settings
/// `qsgd-bucketed:max:512`.
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
        }
    }

    /// The quantizer of this preset with `bits` bits per coordinate. Width 32 is f32 passthrough
    /// in every preset; [`Preset::F32`] has no other.
    ///
    /// # Errors
    /// A width or a bucket size that does not exist.
    pub fn quantizer(&self, bits: u8) -> Result<Quantizer, QuantizerError> {
        let generator = Generator::default();
        match *self {
            Self::Qsgd => Quantizer::new(Scale::GlobalL2, 0, bits, generator),
            Self::QsgdBucketed { norm, bucket } => {
                let scale = match norm {
                    BucketNorm::Max => Scale::BucketMax,
                    BucketNorm::L2 => Scale::BucketL2,
                };
                Quantizer::new(scale, bucket, bits, generator)
            }
            Self::F32 if bits == 32 => Ok(Quantizer::f32()),
            Self::F32 => Err(QuantizerError::Bits { bits }),
        }
    }

    /// phi with `E||Q(x) - x||^2 <= phi ||x||^2` for every x of `dimension` coordinates, in the
    /// closed form of eq 5, `l / (4 s^2)` with s = 2^(bits-1) - 1: l is the dimension for `qsgd`
    /// and the bucket size (or the dimension, if smaller) for buckets with the l2 norm; buckets
    /// with the max norm have the bound of [`Preset::phi_tight`]. 0 at width 32, infinite at widths
    /// without levels.
    ///
    /// These are worst cases over all vectors. Real gradients quantize with less:
    /// [`Quantizer::distortion`] gives the exact value for one at hand.
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
        if !(2..=31).contains(&bits) {
            return Shape::Constant(f64::INFINITY);
        }
        let s = f64::from((1u32 << (bits - 1)) - 1);
        let l = dimension as f64;
        match *self {
            Self::F32 => Shape::Constant(0.0),
            Self::Qsgd => Shape::Levels { s, l },
            Self::QsgdBucketed { bucket, .. } => Shape::Levels {
                s,
                l: l.min(f64::from(bucket)),
            },
        }
    }
}

enum Shape {
    Constant(f64),
    Levels { s: f64, l: f64 },
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qsgd | Self::F32 => f.write_str(self.name()),
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
#[error("read preset `{text}`: use qsgd, f32, qsgd-bucketed, or e.g. qsgd-bucketed:max:512")]
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
            _ => return Err(error()),
        };
        match preset.quantizer(if preset == Self::F32 { 32 } else { 4 }) {
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
        ] {
            assert_eq!(text.parse::<Preset>().unwrap().to_string(), text);
        }
        assert_eq!("qsgd-bucketed".parse(), Ok(Preset::default()));
        for text in [
            "",
            "QSGD",
            "qsgd:max:512",
            "qsgd-bucketed:max:513",
            "qsgd-bucketed:l1:512",
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
}
