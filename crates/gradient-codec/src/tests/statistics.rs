//! What the rounding is worth: unbiased, with exactly the variance of eq 4, independent from
//! coordinate to coordinate and from message to message. Seeds are fixed, thresholds are five
//! standard deviations or more.

use super::{ID, error_of, normal, vector};
use crate::reference::{code_and_step, fixed_point_level};
use crate::{BucketNorm, Generator, MessageId, Preset, Quantizer, Scale, Widths, random};
use proptest::prelude::*;

/// The exact conditional variance of every coordinate from the definition of the rounding, in
/// squared steps and in squared units.
fn variances(quantizer: &Quantizer, x: &[f32]) -> Vec<(f64, f64)> {
    let mut bytes = Vec::new();
    let compressor = quantizer.compressor(x.len());
    compressor.encode(&ID, x, &[], &mut bytes).unwrap();
    let unit = (1u64 << (32 - quantizer.bits())) as f64;
    (0..x.len())
        .map(|i| {
            let step = code_and_step(quantizer, x.len(), &bytes, i).1;
            let level = f64::from(fixed_point_level(quantizer, step, x[i])) / unit;
            let fraction = level - level.floor();
            let in_steps = fraction * (1.0 - fraction);
            (in_steps, f64::from(step).powi(2) * in_steps)
        })
        .collect()
}

#[test]
fn unbiased_with_the_exact_variance() {
    let x = vector(3000, 21);
    let messages = 3000;
    for (scale, bits, generator) in [
        (Scale::GlobalL2, 2, Generator::Philox),
        (Scale::GlobalL2, 8, Generator::Ars),
        (Scale::BucketMax, 2, Generator::Ars),
        (Scale::BucketMax, 4, Generator::Philox),
        (Scale::BucketMax, 12, Generator::Ars),
        (Scale::BucketL2, 3, Generator::Ars),
    ] {
        let quantizer = Quantizer::new(scale, 1024, bits, generator).unwrap();
        let variances = variances(&quantizer, &x);
        let compressor = quantizer.compressor(x.len());
        let (mut sum, mut energy) = (vec![0f64; x.len()], Vec::new());
        for iteration in 0..messages {
            let error = error_of(&compressor, MessageId { iteration, ..ID }, &x);
            energy.push(error.iter().map(|e| e * e).sum::<f64>());
            sum.iter_mut().zip(&error).for_each(|(s, e)| *s += e);
        }
        // z-scores of the mean, where more than four roundings up (or down) are expected.
        let z: Vec<f64> = sum
            .iter()
            .zip(&variances)
            .filter(|(_, (in_steps, _))| in_steps * messages as f64 > 4.0)
            .map(|(sum, (_, variance))| sum / (messages as f64 * variance).sqrt())
            .collect();
        let what = format!("{quantizer:?}: {} z-scores", z.len());
        assert!(z.len() > 500, "{what}");
        let chi2 = z.iter().map(|z| z * z).sum::<f64>() / z.len() as f64;
        let spread = (2.25 / z.len() as f64).sqrt();
        assert!((chi2 - 1.0).abs() < 5.0 * spread, "{what}, chi2 {chi2}");
        assert!(z.iter().all(|z| z.abs() < 6.5), "{what}");
        // The energy of the error against the exact formula.
        let mean = energy.iter().sum::<f64>() / messages as f64;
        let variance = energy.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / messages as f64;
        let standard_error = (variance / messages as f64).sqrt();
        let exact: f64 = variances.iter().map(|v| v.1).sum();
        assert!(
            (mean - exact).abs() < 5.0 * standard_error + 1e-9 * exact,
            "{what}"
        );
        // distortion() is that formula.
        let norm: f64 = x.iter().map(|v| f64::from(*v).powi(2)).sum();
        let phi = compressor.distortion(&x);
        assert!((phi * norm / exact - 1.0).abs() < 1e-5, "{what} {phi}");
    }
}

/// Coordinates with t = sqrt(d) much smaller than a level: the case that few random bits bias.
#[test]
fn unbiased_far_below_one_level() {
    let n = 1 << 20;
    let x = vec![1.0f32; n];
    let quantizer = Quantizer::new(Scale::GlobalL2, 0, 2, Generator::default()).unwrap();
    let compressor = quantizer.compressor(n);
    let sums: Vec<f64> = (0..64)
        .map(|iteration| {
            let error = error_of(&compressor, MessageId { iteration, ..ID }, &x);
            error.iter().sum::<f64>() / n as f64
        })
        .collect();
    // Each coordinate is 1024 with probability 1/1024: the mean of n has sd sqrt(1023 / n).
    let sd = (1023.0 / (64 * n) as f64).sqrt();
    let mean = sums.iter().sum::<f64>() / 64.0;
    assert!(mean.abs() < 5.0 * sd, "{mean} {sd}");
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn errors_are_independent_of_each_other() {
    let n = 200_000;
    let x = vector(n, 23);
    let limit = 5.0 / (n as f64).sqrt();
    for generator in [Generator::Philox, Generator::Ars] {
        let quantizer = Quantizer::new(Scale::BucketMax, 512, 3, generator).unwrap();
        let compressor = quantizer.compressor(n);
        let error = error_of(&compressor, ID, &x);
        for other in [
            MessageId {
                worker: ID.worker + 1,
                ..ID
            },
            MessageId {
                iteration: ID.iteration + 1,
                ..ID
            },
            MessageId {
                seed: ID.seed + 1,
                ..ID
            },
        ] {
            let r = correlation(&error, &error_of(&compressor, other, &x));
            assert!(r.abs() < 2.0 * limit, "{generator:?} {other:?} {r}");
        }
        for lag in [1, 2, 3, 4, 15, 16, 17, 32, 64, 512, 8192] {
            let r = correlation(&error[lag..], &error[..n - lag]);
            assert!(r.abs() < 2.0 * limit, "{generator:?} lag {lag} {r}");
        }
    }
}

#[test]
fn random_bits_are_balanced_and_unrelated() {
    for generator in [Generator::Philox, Generator::Ars] {
        let words: Vec<u32> = (0..1 << 18)
            .map(|i| {
                let block = (i / 512) as u64;
                random::bits(generator, ID.rounding_key(), block, i % 512 / 16, i % 16)
            })
            .collect();
        let sd = (words.len() as f64 / 4.0).sqrt();
        let off = |count: usize| (count as f64 - words.len() as f64 / 2.0).abs() / sd;
        for bit in 0..32 {
            let ones = words.iter().filter(|w| *w >> bit & 1 == 1).count();
            assert!(off(ones) < 5.0, "{generator:?} bit {bit}");
            for lag in [1, 4, 16, 64, 512] {
                let equal = words
                    .windows(lag + 1)
                    .filter(|w| (w[0] ^ w[lag]) >> bit & 1 == 0);
                assert!(
                    off(equal.count()) < 5.5,
                    "{generator:?} bit {bit} lag {lag}"
                );
            }
        }
        // Top 12 bits: chi-squared over 4096 cells.
        let mut cells = vec![0f64; 4096];
        words.iter().for_each(|w| cells[(w >> 20) as usize] += 1.0);
        let each = words.len() as f64 / 4096.0;
        let chi2: f64 = cells.iter().map(|c| (c - each).powi(2) / each).sum();
        assert!(
            (chi2 - 4095.0).abs() < 5.0 * (2.0 * 4095.0f64).sqrt(),
            "{chi2}"
        );
    }
}

/// The worst vectors reach the tight bounds.
#[test]
fn tight_bounds_are_reached() {
    for bits in 2..=8u8 {
        let s = f64::from((1u32 << (bits - 1)) - 1);
        // l2 norm: equal coordinates.
        let preset = Preset::Qsgd;
        for l in [16usize, 512, 40_000] {
            let phi = preset
                .compressor(bits, l)
                .unwrap()
                .distortion(&vec![1.0; l]);
            let bound = preset.phi_tight(bits, l);
            assert!(
                phi <= bound * (1.0 + 1e-5) + 1e-5,
                "{bits} {l} {phi} {bound}"
            );
            if l as f64 >= 4.0 * s * s {
                assert!(
                    phi > bound * (1.0 - 1e-5) - 1e-5,
                    "{bits} {l} {phi} {bound}"
                );
            }
        }
        // max norm: one coordinate at level s, the others at 1 / (2 (1 + phi)).
        let preset = Preset::default();
        let bound = preset.phi_tight(bits, 512);
        let mut x = vec![(0.5 / (1.0 + bound) / s) as f32; 512];
        x[100] = -1.0;
        let phi = preset.compressor(bits, x.len()).unwrap().distortion(&x);
        assert!((phi / bound - 1.0).abs() < 1e-3, "{bits} {phi} {bound}");
        assert!(phi <= bound);
    }
}

/// NMSE of normal vectors as in the literature: global l2 ~ sqrt(2 l / pi) / s - 1, buckets as
/// tabulated (512: 17, 5.0, 1.58 with l2; 1.6, 0.198, 0.0363 with max).
#[test]
fn known_errors_of_normal_vectors() {
    let x = normal(1 << 19, 8);
    let phi = |preset: Preset, bits| preset.compressor(bits, x.len()).unwrap().distortion(&x);
    let l2 = Preset::QsgdBucketed {
        norm: BucketNorm::L2,
        bucket: 512,
    };
    let global = (2.0 * x.len() as f64 / std::f64::consts::PI).sqrt() / 7.0 - 1.0;
    for (preset, bits, wanted, tolerance) in [
        (Preset::Qsgd, 4, global, 0.005),
        (l2, 2, 17.04, 0.01),
        (l2, 3, 5.02, 0.01),
        (l2, 4, 1.583, 0.01),
        (Preset::default(), 2, 1.596, 0.01),
        (Preset::default(), 3, 0.1976, 0.01),
        (Preset::default(), 4, 0.03629, 0.01),
        (Preset::default(), 8, 1.103e-4, 0.01),
    ] {
        let phi = phi(preset, bits);
        assert!(
            (phi / wanted - 1.0).abs() < tolerance,
            "{preset} {bits}: {phi}"
        );
    }
}

proptest! {
    /// No vector beats the bounds.
    #[test]
    fn distortion_is_below_phi(
        bits in 2u8..=16,
        x in proptest::collection::vec(-4i32..=4, 1..1500),
        power in 0u32..4,
    ) {
        let x: Vec<f32> = x.iter().map(|v| (*v as f32).powi(power as i32 * 2 + 1)).collect();
        for norm in [BucketNorm::Max, BucketNorm::L2] {
            for preset in [Preset::Qsgd, Preset::QsgdBucketed { norm, bucket: 512 }] {
                let phi = preset.compressor(bits, x.len()).unwrap().distortion(&x);
                let tight = preset.phi_tight(bits, x.len());
                prop_assert!(phi <= tight * (1.0 + 1e-5) + 1e-6, "{} {} {}", preset, phi, tight);
            }
        }
        for text in ["sign", "sign:512", "one-bit:max", "one-bit:l2", "top-k", "top-k:1", "rand-k", "rand-k:1"] {
            let preset: Preset = text.parse().unwrap();
            let bits = match preset.widths(x.len()) {
                Widths::Fixed(bits) => bits,
                Widths::Adjustable { .. } => bits,
            };
            let phi = preset.compressor(bits, x.len()).unwrap().distortion(&x);
            let bound = preset.phi(bits, x.len());
            prop_assert!(phi <= bound * (1.0 + 1e-6) + 1e-12, "{} {} {}", preset, phi, bound);
            prop_assert_eq!(bound, preset.phi_tight(bits, x.len()));
        }
    }
}
