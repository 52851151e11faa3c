//! What rotating is worth: unbiased given the rotation, or over the rotations; errors of workers that
//! share one; the same error whatever the vector. Seeds are fixed, thresholds are five standard
//! deviations or more.

use super::{ID, error_of, normal, squared_norm, vector};
use crate::kernels::Kernels;
use crate::reference::{code_and_step, fixed_point_level, rotate};
use crate::{Expected, Frame, MessageId, Operator, Preset, Sharing, accumulate_rotated};

fn preset(text: &str) -> Preset {
    text.parse().unwrap()
}

/// Workers that share a rotation: their errors in rotated coordinates have mean zero and the exact
/// variance of stochastic rounding.
#[test]
fn rotated_messages_are_unbiased_given_the_rotation() {
    let x = vector(1500, 51);
    let messages = 3000;
    for bits in [1u8, 3, 8] {
        let compressor = preset("rotated:512:round")
            .compressor(bits, x.len())
            .unwrap();
        let Operator::Quantizer(quantizer) = compressor.operator() else {
            panic!("a quantizer");
        };
        let shared = compressor.shared_rotation(&ID).unwrap();
        let z = rotate(&shared, &x);
        let mut sum = vec![0f64; x.len()];
        let mut variances = Vec::new();
        for worker in 0..messages {
            let id = MessageId { worker, ..ID };
            let mut bytes = Vec::new();
            compressor.encode(&id, &x, &[], &mut bytes).unwrap();
            let frame = Frame::parse(&bytes, &Expected::new(&id, compressor, 0)).unwrap();
            let mut q = vec![0.0; x.len()];
            accumulate_rotated(&shared, &[(frame, 1.0)], &mut q);
            for ((sum, q), z) in sum.iter_mut().zip(&q).zip(&z) {
                *sum += f64::from(*q) - f64::from(*z);
            }
            if worker == 0 {
                variances = (0..x.len())
                    .map(|i| {
                        let step = code_and_step(&quantizer, x.len(), &bytes, i).1;
                        let level = f64::from(fixed_point_level(&quantizer, step, z[i]));
                        let level = level / (1u64 << (32 - bits)) as f64 - 0.5;
                        let fraction = level - level.floor();
                        f64::from(step).powi(2) * fraction * (1.0 - fraction)
                    })
                    .collect::<Vec<f64>>();
            }
        }
        let scores: Vec<f64> = sum
            .iter()
            .zip(&variances)
            .map(|(sum, variance)| sum / (f64::from(messages) * variance).sqrt())
            .filter(|z| z.is_finite())
            .collect();
        assert!(scores.len() > 1400);
        assert!(scores.iter().all(|z| z.abs() < 6.5), "{bits}");
        let chi2 = scores.iter().map(|z| z * z).sum::<f64>() / scores.len() as f64;
        let spread = (2.25 / scores.len() as f64).sqrt();
        assert!((chi2 - 1.0).abs() < 5.0 * spread, "{bits}: {chi2}");
        // The distortion that shrinking takes from this rotation is the sum of these variances.
        let shrunk = compressor.with_shrink(true);
        let w = 1.0 / f64::from(shrunk.shrinkage(Kernels::best(), &x, Some(shared))) - 1.0;
        let exact = variances.iter().sum::<f64>() / squared_norm(&x);
        assert!(
            (w - exact).abs() < 1e-5 * (1.0 + exact),
            "{bits} {w} {exact}"
        );
    }
}

/// The squared bias relative to the squared norm from two halves of `2 half` messages: an unbiased
/// estimate, with its standard deviation for a bias of 0.
fn squared_bias(preset: Preset, bits: u8, x: &[f32], half: u64) -> (f64, f64) {
    let compressor = preset.compressor(bits, x.len()).unwrap();
    let mean = |from: u64| {
        let mut mean = vec![0f64; x.len()];
        for iteration in from..from + half {
            let error = error_of(&compressor, MessageId { iteration, ..ID }, x);
            mean.iter_mut()
                .zip(error)
                .for_each(|(m, e)| *m += e / half as f64);
        }
        mean
    };
    let (a, b) = (mean(0), mean(half));
    let dot: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
    let noise = compressor.distortion(x) / half as f64 / (x.len() as f64).sqrt();
    (dot / squared_norm(x), noise)
}

#[test]
fn nearest_levels_are_unbiased_over_the_rotations() {
    for (bucket, n) in [(512, 4096), (4096, 4096), (4096, 4996)] {
        for bits in [1, 2, 4] {
            let mut spikes = vec![0.0; n];
            for at in (0..n).step_by(512) {
                (spikes[at], spikes[at + 1], spikes[at + 3]) = (1.0, 0.7, -0.4);
            }
            for x in [normal(n, 52), vector(n, 53), spikes] {
                let preset = Preset::Eden {
                    bucket,
                    sharing: Sharing::Message,
                };
                let (bias, noise) = squared_bias(preset, bits, &x, 400);
                // Hadamard rotations are not quite uniform ones.
                let allowed = 5.0 * noise + 1e-3 * preset.phi(bits, n);
                assert!(bias < allowed, "{bucket} {n} {bits}: {bias} {noise}");
                let error = preset.compressor(bits, n).unwrap().distortion(&x);
                assert!((error / preset.phi(bits, n) - 1.0).abs() < 0.1, "{error}");
            }
        }
    }
}

/// Errors of two workers with the same gradient: independent where rounding is random or rotations are
/// their own, the very same where the nearest levels are taken after a shared rotation.
#[test]
fn shared_rotations_correlate_nearest_levels_only() {
    let x = normal(200_000, 54);
    for (text, wanted) in [
        ("rotated:512:round", 0.0),
        ("rotated:512:message", 0.0),
        ("eden:4096:message", 0.0),
        ("eden:4096:round", 1.0),
    ] {
        let compressor = preset(text).compressor(3, x.len()).unwrap();
        let [a, b] = [1, 2].map(|worker| error_of(&compressor, MessageId { worker, ..ID }, &x));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let r = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
        assert!(
            (r - wanted).abs() < 10.0 / (x.len() as f64).sqrt(),
            "{text} {r}"
        );
    }
}

/// The error after a rotation is that of a normal vector, for heavy tails and single coordinates too.
#[test]
fn errors_do_not_depend_on_the_vector() {
    let n = 1 << 19;
    let mut heavy = normal(n, 55);
    for (v, w) in heavy.iter_mut().zip(normal(n, 56)) {
        *v *= w * w * w;
    }
    let wide = |preset: &Preset, bits, x: &[f32]| preset.compressor(bits, n).unwrap().distortion(x);
    for (text, bits, wanted, tolerance) in [
        ("rotated:512:round", 2u8, 0.798, 0.015),
        ("rotated:512:round", 4, 0.0315, 0.015),
        ("rotated:4096:round", 4, 0.0428, 0.04),
        ("rotated:512:round", 8, 1.093e-4, 0.015),
        ("eden:4096:message", 1, 0.5708, 0.01),
        ("eden:4096:message", 2, 0.1331, 0.01),
        ("eden:4096:message", 4, 0.00959, 0.01),
        ("eden:4096:message", 8, 4.12e-5, 0.015),
    ] {
        let preset = preset(text);
        let of_normal = wide(&preset, bits, &normal(n, 57));
        assert!(
            (of_normal / wanted - 1.0).abs() < tolerance,
            "{text} {bits}: {of_normal}"
        );
        let of_heavy = wide(&preset, bits, &heavy);
        // One round leaves a little of the tail, and a bucket's largest coordinate is then smaller.
        let least = if text.starts_with("eden") {
            1.0 - tolerance
        } else {
            0.75
        };
        let ratio = of_heavy / wanted;
        assert!(
            ratio > least && ratio < 1.0 + tolerance,
            "{text} {bits}: {of_heavy}"
        );
    }
    // Without a rotation the heavy vector has many times the error.
    let plain = wide(&Preset::default(), 4, &heavy);
    assert!(plain > 4.0 * 0.0363, "{plain}");
}
