//! The error constants of presets: worst cases over all vectors.

use super::{BucketNorm, Preset};
use crate::lloyd_max;
use crate::quantizer::HEADROOM;

/// `step^2 <= (scale/s)^2 (1 + SLACK)^2` and `max|x| / step >= s / (1 + SLACK)`: twice the head-room
/// covers the rounding of f32.
const SLACK: f64 = 2.0 * (HEADROOM as f64 - 1.0);

impl Preset {
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
    /// `rotated`: `(m - 1) / (2^bits - 1)^2` with buckets of m coordinates, reached by a vector whose rotation is
    /// a single coordinate: the others lie midway between levels. `eden` has no bound in closed form: `D / (1 - D)`
    /// with D the mean squared error of the Lloyd-Max quantizer on a normal law, which every vector's error tends
    /// to as the bucket grows.
    ///
    /// These are worst cases over all vectors (but for `eden`). Real gradients quantize with less:
    /// [`Compressor::distortion`](crate::Compressor::distortion) gives the exact value for one at hand.
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
            Self::Rotated { .. } | Self::Eden { .. } if !(1..=16).contains(&bits) => {
                return Shape::Constant(f64::INFINITY);
            }
            Self::Rotated { bucket, .. } => {
                let outermost = f64::from((1u32 << bits) - 1);
                let others = l.min(f64::from(bucket)) - 1.0;
                let bound = others / outermost.powi(2) + SLACK;
                return Shape::Constant((1.0 + SLACK).powi(2) * bound);
            }
            Self::Eden { .. } => {
                let error = lloyd_max::codebook(bits).distortion();
                return Shape::Constant(error / (1.0 - error));
            }
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn constants_of_the_sparse_and_the_one_bit() {
        assert!((preset("eden").phi(4, 100) - 0.00959).abs() < 1e-5);
        assert!((preset("rotated").phi(4, 5000) / (511.0 / 225.0) - 1.0).abs() < 1e-5);
        assert_eq!(preset("rotated").phi(0, 5000), f64::INFINITY);
        assert_eq!(preset("sign").phi(1, 100), 0.99);
        assert_eq!(preset("sign:512").phi(1, 100), 0.99);
        assert_eq!(preset("sign:512").phi(1, 10_000), 1.0 - 1.0 / 512.0);
        assert_eq!(preset("one-bit").phi(1, 100), 99.0);
        assert_eq!(preset("top-k:2").phi(1, 100), 0.98);
        assert_eq!(preset("rand-k:4").phi(2, 100), 24.0);
        assert_eq!(preset("rand-k").phi(8, 100), 3.0);
        assert_eq!(preset("rand-k").phi(0, 100), f64::INFINITY);
    }

    fn preset(text: &str) -> Preset {
        text.parse().unwrap()
    }
}
