//! Reference vectors, and the phi of normal ones.
//!
//! After a random rotation every vector looks normal, so for rotated presets phi on normal vectors is phi
//! on any vector.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use counter_rng::{Purpose, rng};
use gradient_codec::{EncodeError, Preset};
use rand::RngExt;
use rand_distr::{Distribution, LogNormal, StandardNormal, StudentT};
use serde::{Deserialize, Serialize};

use super::estimate::{Estimate, Plan, estimate};

/// The law of a reference vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Reference {
    /// Independent standard normal coordinates.
    Normal,
    /// Like gradients of deep networks: layers with log-normal scales, Student-t coordinates with 3 degrees
    /// of freedom in them, 12 % zeros.
    HeavyTailed,
}

impl Reference {
    /// The name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::HeavyTailed => "heavy-tailed",
        }
    }
}

/// Layers of a heavy-tailed vector; a vector has at least this many coordinates or fewer layers.
const LAYERS: usize = 64;
/// Standard deviation of the logarithm of a layer's scale.
const SCALE_SD: f64 = 1.5;
/// Degrees of freedom.
const FREEDOM: f64 = 3.0;
/// Share of zeros.
const ZEROS: f64 = 0.12;

/// Vector number `number` of a law: n coordinates, a function of `seed` and `number`.
pub fn vector(law: Reference, n: usize, seed: u64, number: u64) -> Vec<f32> {
    let mut random = rng(seed, Purpose::Reference, law as u64, number);
    match law {
        Reference::Normal => (0..n)
            .map(|_| Distribution::<f32>::sample(&StandardNormal, &mut random))
            .collect(),
        Reference::HeavyTailed => {
            let scale = LogNormal::new(0.0, SCALE_SD).expect("a positive deviation");
            let student = StudentT::new(FREEDOM).expect("positive freedom");
            let layer = n.div_ceil(LAYERS).max(1);
            let mut x = Vec::with_capacity(n);
            while x.len() < n {
                let scale: f64 = scale.sample(&mut random);
                for _ in 0..layer.min(n - x.len()) {
                    let value: f64 = student.sample(&mut random);
                    let kept = random.random::<f64>() >= ZEROS;
                    x.push(if kept { (scale * value) as f32 } else { 0.0 });
                }
            }
            x
        }
    }
}

/// Coordinates that phi of normal vectors is measured on.
const COORDINATES: usize = 1 << 19;
/// Vectors, where messages are short.
const MOST_VECTORS: usize = 1000;
/// Seed of these vectors and messages: the value is the same in every run.
const SEED: u64 = 0;

/// phi(z) of `preset` at `bits` for normal vectors of `n` coordinates.
///
/// Measured on half a million fixed coordinates, which leaves an error of about 0.5 %; for the paper's
/// quantizer (`qsgd`) on longer vectors, where phi grows with n, by the mean of eq 4's variance
/// `(n / s^2) E[f (1 - f)]`, `f = frac(s |g| / sqrt(n))`, over as many coordinates g.
///
/// # Errors
/// A width that the preset does not have.
pub fn normal_phi(preset: &Preset, bits: u8, n: usize) -> Result<f64, EncodeError> {
    type Known = HashMap<(Preset, u8, usize), f64>;
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let key = (*preset, bits, n);
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(&phi) = known().get_or_insert_default().get(&key) {
        return Ok(phi);
    }
    let phi = match preset {
        Preset::Qsgd if n > COORDINATES => normal_qsgd(bits, n),
        _ => measured(preset, bits, n)?.phi,
    };
    known().get_or_insert_default().insert(key, phi);
    Ok(phi)
}

fn measured(preset: &Preset, bits: u8, n: usize) -> Result<Estimate, EncodeError> {
    let length = n.clamp(1, COORDINATES);
    let vectors = (COORDINATES / length).clamp(1, MOST_VECTORS);
    let vectors: Vec<Vec<f32>> = (0..vectors as u64)
        .map(|number| vector(Reference::Normal, length, SEED, number))
        .collect();
    let Ok(compressor) = preset.compressor(bits, length) else {
        return Ok(Estimate::NONE);
    };
    let plan = Plan {
        seed: SEED,
        messages: 2,
    };
    estimate(&compressor, &vectors, plan)
}

fn normal_qsgd(bits: u8, n: usize) -> f64 {
    if !(2..=31).contains(&bits) {
        return f64::INFINITY;
    }
    let s = f64::from((1u32 << (bits - 1)) - 1);
    let (n, g) = (n as f64, vector(Reference::Normal, COORDINATES, SEED, 0));
    let norm = g.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    // The coordinate over the norm of n coordinates like these.
    let unit = norm * (n / COORDINATES as f64).sqrt();
    let variance = |g: &f32| {
        let fraction = (s * f64::from(g.abs()) / unit).fract();
        fraction * (1.0 - fraction)
    };
    n / (s * s) * g.iter().map(variance).sum::<f64>() / COORDINATES as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_their_laws() {
        let n = 1 << 16;
        let x = vector(Reference::Normal, n, 3, 0);
        let energy = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n as f64;
        assert!((energy - 1.0).abs() < 0.03, "{energy}");
        assert_eq!(x, vector(Reference::Normal, n, 3, 0));
        assert_ne!(x, vector(Reference::Normal, n, 3, 1));
        let x = vector(Reference::HeavyTailed, n, 3, 0);
        let zeros = x.iter().filter(|v| **v == 0.0).count() as f64 / n as f64;
        assert!((zeros - ZEROS).abs() < 0.01, "{zeros}");
        let largest = x.iter().fold(0f32, |m, v| m.max(v.abs()));
        let energy = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n as f64;
        assert!(f64::from(largest) > 20.0 * energy.sqrt(), "heavy tails");
        assert_eq!(vector(Reference::HeavyTailed, 7, 3, 0).len(), 7);
    }

    /// The values of the literature: buckets of 512 with the maximum, and sqrt(2 n / pi) / s - 1.
    #[test]
    fn phi_of_normal_vectors() {
        let phi = |preset: Preset, bits, n| normal_phi(&preset, bits, n).unwrap();
        for (bits, wanted) in [(2, 1.596), (3, 0.1976), (4, 0.03629), (8, 1.103e-4)] {
            let value = phi(Preset::default(), bits, 5_000_000);
            assert!((value / wanted - 1.0).abs() < 0.015, "{bits}: {value}");
            assert_eq!(value, phi(Preset::default(), bits, 5_000_000));
        }
        for (bits, n) in [(4, 5_000_000), (7, 5_000_000), (2, 124_000_000)] {
            let s = f64::from((1 << (bits - 1)) - 1);
            let wanted = (2.0 * n as f64 / std::f64::consts::PI).sqrt() / s - 1.0;
            let value = phi(Preset::Qsgd, bits, n);
            assert!(
                (value / wanted - 1.0).abs() < 0.01,
                "{bits} {n}: {value} {wanted}"
            );
        }
        // Both ways to find it agree where they meet.
        let (short, long) = (
            phi(Preset::Qsgd, 6, COORDINATES),
            normal_qsgd(6, COORDINATES),
        );
        assert!((short / long - 1.0).abs() < 0.01, "{short} {long}");
        assert_eq!(phi(Preset::Qsgd, 40, COORDINATES), f64::INFINITY);
        assert!(phi(Preset::Qsgd, 6, 20) > 0.0);
    }
}
