//! Named compressors, and the error constants phi that a planner may use for them.

mod phi;
mod text;

pub use text::PresetError;

use crate::compressor::Compressor;
use crate::quantizer::{Generator, OneBitScale, Quantizer, QuantizerError, Scale, Sharing};
use crate::sparse;
use serde::{Deserialize, Serialize};

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
/// `rand-k`, `rotated`, `eden`, or with their settings `qsgd-bucketed:max:512`, `sign:512`, `one-bit:l2`,
/// `top-k:20`, `rand-k:20`, `rotated:512:round`, `eden:4096:message`.
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
    /// Every bucket rotated at random, mid-rise levels up to its largest magnitude, stochastic rounding:
    /// exactly unbiased, and as exact for heavy-tailed gradients as for normal ones.
    Rotated {
        /// Coordinates per bucket: a power of two in 512..=8192.
        bucket: u32,
        /// Who shares the rotation.
        sharing: Sharing,
    },
    /// Every bucket rotated at random and sent as the nearest Lloyd-Max levels of a normal law, with
    /// the scale that is unbiased over the rotations: EDEN (Vargaftik et al. 2022, arXiv 2108.08842).
    /// The least error of all presets.
    Eden {
        /// Coordinates per bucket: a power of two in 512..=8192.
        bucket: u32,
        /// Who shares the rotation.
        sharing: Sharing,
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

impl Preset {
    /// [`Preset::Rotated`] with buckets of 512 and one rotation for all workers, to whose errors it
    /// makes no difference.
    pub const ROTATED: Self = Self::Rotated {
        bucket: 512,
        sharing: Sharing::Round,
    };

    /// [`Preset::Eden`] with buckets of 4096 and a rotation for every message.
    pub const EDEN: Self = Self::Eden {
        bucket: 4096,
        sharing: Sharing::Message,
    };

    /// The preset's name without its settings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Qsgd => "qsgd",
            Self::QsgdBucketed { .. } => "qsgd-bucketed",
            Self::Rotated { .. } => "rotated",
            Self::Eden { .. } => "eden",
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
            Self::Rotated { bucket, sharing } => {
                Quantizer::mid_rise(bucket, bits, generator)?.rotated(sharing)?
            }
            Self::Eden { bucket, sharing } => Quantizer::eden(bucket, bits, sharing)?,
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
            Self::Rotated { .. } | Self::Eden { .. } => Widths::Adjustable { min: 1, max: 16 },
            Self::F32 => Widths::Fixed(32),
            Self::Sign { .. } | Self::OneBit { .. } => Widths::Fixed(1),
            Self::TopK { entries: Some(k) } | Self::RandK { entries: Some(k) } => {
                let bits = u128::from(k) * u128::from(self.entry_bits(dimension));
                let width = bits.div_ceil(dimension.max(1) as u128).clamp(1, 31);
                Widths::Fixed(width as u8)
            }
        }
    }

    /// Whether `E[C(x)] = x` for every x; with [`Preset::Eden`] over the rotations, exactly in the limit
    /// of large buckets.
    pub fn unbiased(&self) -> bool {
        match self {
            Self::Qsgd | Self::QsgdBucketed { .. } | Self::F32 => true,
            Self::Rotated { .. } | Self::Eden { .. } => true,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset(text: &str) -> Preset {
        text.parse().unwrap()
    }

    #[test]
    fn widths_and_properties() {
        let n = 100;
        let adjustable = |min| Widths::Adjustable { min, max: 16 };
        for (text, widths, unbiased, contractive) in [
            ("qsgd", adjustable(2), true, false),
            ("rotated", adjustable(1), true, false),
            ("eden", adjustable(1), true, true),
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
}
