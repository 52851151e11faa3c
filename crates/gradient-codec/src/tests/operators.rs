//! What signs and sparsifiers are worth: who is unbiased, with which variance, and how much of a
//! vector is lost. Seeds are fixed, thresholds are five standard deviations or more.

use super::{ID, compressors, error_of, expected, normal, squared_norm, vector};
use crate::{
    Compressor, Frame, Generator, MessageId, OneBitScale, Operator, Preset, Quantizer, reference,
};
use proptest::prelude::*;

fn one_bit(scale: OneBitScale, generator: Generator, n: usize) -> Compressor {
    Quantizer::one_bit(scale, generator).compressor(n)
}

/// Mean and variance of every coordinate and of the energy against the formulas.
fn check_unbiased(compressor: &Compressor, x: &[f32], variances: &[f64], messages: u64) {
    let (mut sum, mut energy) = (vec![0f64; x.len()], Vec::new());
    for iteration in 0..messages {
        let error = error_of(compressor, MessageId { iteration, ..ID }, x);
        energy.push(error.iter().map(|e| e * e).sum::<f64>());
        sum.iter_mut().zip(&error).for_each(|(s, e)| *s += e);
    }
    let z: Vec<f64> = sum
        .iter()
        .zip(variances)
        .filter(|(_, variance)| **variance > 0.0)
        .map(|(sum, variance)| sum / (messages as f64 * variance).sqrt())
        .collect();
    let what = format!("{compressor:?}: {} z-scores", z.len());
    assert!(z.len() > x.len() / 2, "{what}");
    let chi2 = z.iter().map(|z| z * z).sum::<f64>() / z.len() as f64;
    let spread = (2.5 / z.len() as f64).sqrt();
    assert!((chi2 - 1.0).abs() < 5.0 * spread, "{what}, chi2 {chi2}");
    assert!(z.iter().all(|z| z.abs() < 6.5), "{what}");
    let mean = energy.iter().sum::<f64>() / messages as f64;
    let variance = energy.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / messages as f64;
    let standard_error = (variance / messages as f64).sqrt();
    let exact: f64 = variances.iter().sum();
    assert!(
        (mean - exact).abs() < 5.0 * standard_error + 1e-6 * exact,
        "{what}: {mean} +- {standard_error}, exact {exact}"
    );
    let distortion = compressor.distortion(x) * squared_norm(x);
    assert!((distortion / exact - 1.0).abs() < 1e-6, "{what}");
}

/// `sum (s^2 - x^2)`, s the largest magnitude or the norm.
#[test]
fn one_bit_is_unbiased_with_the_exact_variance() {
    let x = normal(700, 31);
    let largest = x.iter().fold(0f32, |max, v| max.max(v.abs()));
    for (scale, s, generator) in [
        (OneBitScale::Max, f64::from(largest), Generator::Ars),
        (OneBitScale::L2, squared_norm(&x).sqrt(), Generator::Philox),
    ] {
        let variances: Vec<f64> = x.iter().map(|v| s * s - f64::from(*v).powi(2)).collect();
        check_unbiased(&one_bit(scale, generator, 700), &x, &variances, 3000);
    }
}

/// `(n/K - 1) x^2`, whatever x.
#[test]
fn rand_k_is_unbiased_with_the_exact_variance() {
    let x = normal(600, 32);
    for entries in [30, 300, 599] {
        let compressor = Compressor::rand_k(entries, 600).unwrap();
        let w = 600.0 / entries as f64 - 1.0;
        let variances: Vec<f64> = x.iter().map(|v| w * f64::from(*v).powi(2)).collect();
        check_unbiased(&compressor, &x, &variances, 3000);
        assert_eq!(compressor.distortion(&x), w);
    }
}

/// A coordinate at +-s has no choice, a zero a fair one.
#[test]
fn one_bit_at_its_ends() {
    let mut x = vec![0.0; 2000];
    x[3] = 2.5;
    x[1700] = -2.5;
    let compressor = one_bit(OneBitScale::Max, Generator::Ars, 2000);
    let mut plus = 0;
    for iteration in 0..50 {
        let error = error_of(&compressor, MessageId { iteration, ..ID }, &x);
        assert_eq!((error[3], error[1700]), (0.0, 0.0));
        assert!(error.iter().all(|e| [0.0, 2.5, -2.5].contains(e)));
        plus += error.iter().filter(|e| **e > 0.0).count();
    }
    let draws = 50.0 * 1998.0;
    let off = (plus as f64 - draws / 2.0) / (draws / 4.0f64).sqrt();
    assert!(off.abs() < 5.0, "{off}");
}

/// Every pair of coordinates is kept with probability K (K-1) / (n (n-1)).
#[test]
fn random_coordinates_are_uniform_sets() {
    let (n, k, messages) = (12, 5, 40_000u64);
    let mut pairs = vec![0f64; n * n];
    for iteration in 0..messages {
        let key = MessageId { iteration, ..ID }.coordinates_key();
        let kept = reference::random_coordinates(key, n, k);
        for a in &kept {
            for b in &kept {
                pairs[a * n + b] += 1.0;
            }
        }
    }
    for a in 0..n {
        for b in 0..n {
            let p = if a == b {
                k as f64 / n as f64
            } else {
                (k * (k - 1)) as f64 / (n * (n - 1)) as f64
            };
            let sd = (messages as f64 * p * (1.0 - p)).sqrt();
            let off = (pairs[a * n + b] - messages as f64 * p) / sd;
            assert!(off.abs() < 5.0, "{a} {b}: {off}");
        }
    }
}

/// Messages of other workers, iterations and seeds keep other coordinates.
#[test]
fn random_coordinates_depend_on_every_part_of_the_message() {
    let key = |seed, iteration, worker| {
        MessageId {
            seed,
            iteration,
            worker,
        }
        .coordinates_key()
    };
    let keys = [key(1, 2, 3), key(9, 2, 3), key(1, 9, 3), key(1, 2, 9)];
    let sets = keys.map(|key| reference::random_coordinates(key, 10_000, 20));
    for (i, a) in sets.iter().enumerate() {
        assert!(sets[..i].iter().all(|b| a != b));
    }
}

/// `E|g|^2 = 2/pi` of a normal g: what one scale per group keeps of it.
#[test]
fn signs_of_normal_vectors() {
    let x = normal(1 << 18, 33);
    let known = 1.0 - 2.0 / std::f64::consts::PI;
    for (group, tolerance) in [(0, 0.003), (65536, 0.003), (512, 0.005)] {
        let compressor = Quantizer::sign(group).unwrap().compressor(x.len());
        let distortion = compressor.distortion(&x);
        assert!((distortion / known - 1.0).abs() < tolerance, "{distortion}");
        let error = error_of(&compressor, ID, &x);
        let measured = error.iter().map(|e| e * e).sum::<f64>() / squared_norm(&x);
        assert!((measured / distortion - 1.0).abs() < 1e-6, "{measured}");
    }
}

/// The worst vectors reach the constants.
#[test]
fn worst_cases_reach_phi() {
    let mut one_hot = vec![0.0; 1000];
    one_hot[9] = -4.0;
    let mut equal = vec![1.0; 1000];
    equal[9] = -1.0;
    for (text, x) in [
        ("sign", &one_hot),
        ("sign:1024", &one_hot),
        ("one-bit:max", &one_hot),
        ("one-bit:l2", &one_hot),
        ("one-bit:l2", &equal),
        ("top-k:7", &equal),
        ("rand-k:7", &equal),
    ] {
        let preset: Preset = text.parse().unwrap();
        let phi = preset.compressor(1, 1000).unwrap().distortion(x);
        let bound = preset.phi(1, 1000);
        assert!((phi / bound - 1.0).abs() < 1e-6, "{text} {phi} {bound}");
    }
}

proptest! {
    /// The error of a deterministic operator is its distortion, and below its constant; top-K keeps
    /// the best K coordinates.
    #[test]
    fn deterministic_operators_lose_what_they_say(
        seed in 0u64..1000,
        n in 1usize..1500,
        part in 0.0f64..1.0,
    ) {
        let x = vector(n, seed);
        let entries = ((part * n as f64) as u64).max(1);
        for compressor in [
            Compressor::top_k(entries, n).unwrap(),
            Quantizer::sign(512).unwrap().compressor(n),
            Quantizer::sign(0).unwrap().compressor(n),
        ] {
            let error = error_of(&compressor, ID, &x);
            let error = error.iter().map(|e| e * e).sum::<f64>();
            let norm = squared_norm(&x);
            let distortion = compressor.distortion(&x);
            prop_assert!((error - distortion * norm).abs() <= 1e-5 * error, "{:?}", compressor);
            let bound = match compressor.entries() {
                Some(k) => 1.0 - f64::from(k) / n as f64,
                None => 1.0 - 1.0 / n as f64,
            };
            prop_assert!(error <= bound * norm * (1.0 + 1e-6), "{:?}", compressor);
            // No vector with as many entries is nearer: what is lost is the tail of the sorted one.
            if let Some(k) = compressor.entries() {
                let mut sorted: Vec<f64> = x.iter().map(|v| f64::from(*v).powi(2)).collect();
                sorted.sort_by(|a, b| b.total_cmp(a));
                let tail: f64 = sorted[k as usize..].iter().sum();
                prop_assert!((error - tail).abs() <= 1e-9 * norm);
            }
        }
    }
}

/// At least the norm of what is decoded, the norm itself where every coordinate has its step's only
/// magnitude, and homogeneous: twice the vector, twice the magnitude.
#[test]
fn the_magnitude_bounds_the_norm_and_follows_the_scale() {
    for n in [1, 700, 70_000] {
        let x = normal(n, 3);
        let doubled: Vec<f32> = x.iter().map(|v| 2.0 * v).collect();
        for compressor in compressors(Generator::Philox, n) {
            let measure = |x: &[f32]| {
                let mut bytes = Vec::new();
                compressor.encode(&ID, x, &[], &mut bytes).unwrap();
                let plan = expected(compressor, 0);
                let frame = Frame::parse(&bytes, &plan).unwrap();
                let mut decoded = vec![0.0; n];
                frame.decode(&mut decoded);
                (frame.magnitude(), squared_norm(&decoded).sqrt())
            };
            let (magnitude, norm) = measure(&x);
            assert!(
                magnitude >= norm * (1.0 - 1e-6),
                "{compressor:?}: {magnitude} {norm}"
            );
            let exact = !matches!(compressor.operator(), Operator::Quantizer(q) if (2..=16).contains(&q.bits()));
            if exact {
                assert!(
                    magnitude <= norm * (1.0 + 1e-6),
                    "{compressor:?}: {magnitude} {norm}"
                );
            }
            let (twice, _) = measure(&doubled);
            assert!((twice / magnitude - 2.0).abs() < 1e-5, "{compressor:?}");
        }
    }
}
