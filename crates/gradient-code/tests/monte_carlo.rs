//! The error of decoded gradients, simulated, against the exact formula and the bound.
//!
//! Rounds are drawn as they happen: each worker answers with probability `1 - p_i`, quantizes its coded
//! gradient at random, and the master adds what arrived with the weights of the plan.

use counter_rng::{CounterRng, Purpose, rng};
use gradient_code::{
    Assignment, Budget, Construction, Decoder, Plan, Scaling, SchemeConfig, Setting, error, plan,
};
use rand::RngExt;

const DIMENSION: usize = 6;

/// An unbiased quantizer whose variance is known exactly.
#[derive(Clone, Copy, Debug)]
enum Quantizer {
    /// `x + ||x|| sqrt(phi / l) (+-1, .., +-1)`: variance `phi ||x||^2`, which attains eq 5.
    Signs,
    /// Stochastic rounding to `s = 2^(z-1) - 1` levels of the norm (eqs 3-4): variance
    /// `||x||^2 / s^2 sum_m f_m (1 - f_m)` with `f_m = frac(s |x_m| / ||x||)`.
    Levels,
    /// None.
    Exact,
}

fn phi(bits: u8) -> f64 {
    DIMENSION as f64 / (4.0 * levels(bits) * levels(bits))
}

fn levels(bits: u8) -> f64 {
    f64::from(bits - 1).exp2() - 1.0
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

impl Quantizer {
    fn variance(self, bits: u8, x: &[f64]) -> f64 {
        let norm = norm(x);
        match self {
            Self::Signs => phi(bits) * norm * norm,
            Self::Levels => {
                let s = levels(bits);
                let spread = |x: &f64| {
                    let f = (s * x.abs() / norm).fract();
                    f * (1.0 - f)
                };
                norm * norm / (s * s) * x.iter().map(spread).sum::<f64>()
            }
            Self::Exact => 0.0,
        }
    }

    fn quantize(self, bits: u8, x: &[f64], rng: &mut CounterRng) -> Vec<f64> {
        let norm = norm(x);
        x.iter()
            .map(|&x| match self {
                Self::Signs => {
                    let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
                    x + sign * norm * (phi(bits) / DIMENSION as f64).sqrt()
                }
                Self::Levels => {
                    let s = levels(bits);
                    let u = s * x.abs() / norm;
                    let level = u.floor() + f64::from(u8::from(rng.random::<f64>() < u.fract()));
                    x.signum() * norm * level / s
                }
                Self::Exact => x,
            })
            .collect()
    }
}

/// Mean of `||g - ghat||^2` and its standard error, and the mean of `ghat - g` with the standard error
/// of each coordinate.
struct Simulated {
    error: f64,
    standard_error: f64,
    bias: Vec<(f64, f64)>,
}

fn simulate(
    plan: &Plan,
    weights: &[f64],
    gradients: &[Vec<f64>],
    quantizer: Quantizer,
    rounds: u64,
) -> Simulated {
    let coded: Vec<Vec<f64>> = plan
        .workers
        .iter()
        .map(|worker| worker.encode(gradients))
        .collect();
    let full: Vec<f64> = (0..DIMENSION)
        .map(|m| gradients.iter().map(|g| g[m]).sum())
        .collect();
    let (mut sum, mut squares) = (0.0, 0.0);
    let mut bias = vec![(0.0, 0.0); DIMENSION];
    let mut rng = rng(2026, Purpose::Delay, 0, 0);
    for _ in 0..rounds {
        let mut difference: Vec<f64> = full.iter().map(|g| -g).collect();
        for i in plan.active() {
            let worker = &plan.workers[i];
            if rng.random::<f64>() < worker.straggle_probability {
                continue;
            }
            let message = quantizer.quantize(worker.bits, &coded[i], &mut rng);
            for (d, q) in difference.iter_mut().zip(message) {
                *d += weights[i] * q;
            }
        }
        let error: f64 = difference.iter().map(|d| d * d).sum();
        sum += error;
        squares += error * error;
        for (b, d) in bias.iter_mut().zip(difference) {
            b.0 += d;
            b.1 += d * d;
        }
    }
    let n = rounds as f64;
    let deviation = |sum: f64, squares: f64| ((squares / n - (sum / n).powi(2)) / n).sqrt();
    Simulated {
        error: sum / n,
        standard_error: deviation(sum, squares),
        bias: bias
            .into_iter()
            .map(|(sum, squares)| (sum / n, deviation(sum, squares)))
            .collect(),
    }
}

fn weights(plan: &Plan) -> &[f64] {
    match &plan.decoder {
        Decoder::Fixed { weights, .. } => weights,
        Decoder::PerRound(_) => panic!("these schemes decode with fixed weights"),
    }
}

/// Ten workers, `p` from 0.2 to 0.9.
fn probabilities() -> Vec<f64> {
    (0..10).map(|i| 0.9 - 0.7 * f64::from(i) / 9.0).collect()
}

fn planned(scheme: &SchemeConfig, p: &[f64]) -> Plan {
    let setting = Setting {
        partitions: 10,
        straggle_probabilities: p,
        phi: &phi,
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 0,
    };
    plan(scheme, &setting, &Budget::mean(3.4, p.len(), 2, 16), None).expect("a valid setting")
}

/// Ten gradients of norm 1 in general directions.
fn random_gradients() -> Vec<Vec<f64>> {
    (0..10)
        .map(|j| {
            let mut rng = rng(7, Purpose::Synthesis, 0, j);
            let g: Vec<f64> = (0..DIMENSION).map(|_| rng.random::<f64>() - 0.5).collect();
            let norm = norm(&g);
            g.iter().map(|g| g / norm).collect()
        })
        .collect()
}

/// Ten times the same gradient of norm 1: the worst case of Lemma 1 for coefficients of one sign.
fn aligned_gradients() -> Vec<Vec<f64>> {
    let coordinate = (DIMENSION as f64).sqrt().recip();
    vec![vec![coordinate; DIMENSION]; 10]
}

fn joint() -> SchemeConfig {
    SchemeConfig::default()
}

fn idle() -> SchemeConfig {
    SchemeConfig {
        allow_idle: true,
        ..joint()
    }
}

fn osgc(construction: Construction) -> SchemeConfig {
    SchemeConfig {
        construction,
        ..SchemeConfig::new("osgc")
    }
}

fn sgc(assignment: Assignment) -> SchemeConfig {
    SchemeConfig {
        assignment,
        load: 2.5,
        ..SchemeConfig::new("sgc")
    }
}

#[test]
fn error_and_bias_match_the_exact_formula() {
    let gradients = random_gradients();
    for scheme in [
        joint(),
        idle(),
        osgc(Construction::Overlap),
        osgc(Construction::SchemeOne),
        osgc(Construction::SchemeTwo),
        SchemeConfig::new("is-sgd"),
        SchemeConfig::new("bgc"),
        SchemeConfig::new("ehd"),
        sgc(Assignment::Random),
        sgc(Assignment::Cyclic),
        SchemeConfig::new("one-bit-sgc"),
        SchemeConfig::new("coco"),
        SchemeConfig::new("coco-ef"),
    ] {
        let plan = planned(&scheme, &probabilities());
        for quantizer in [Quantizer::Signs, Quantizer::Levels] {
            let simulated = simulate(&plan, weights(&plan), &gradients, quantizer, 60_000);
            let terms = error::exact(&plan.workers, weights(&plan), &gradients, |i, f| {
                quantizer.variance(plan.workers[i].bits, f)
            });
            let z = (simulated.error - terms.total()) / simulated.standard_error;
            println!(
                "{:<7} {quantizer:?}: simulated {:.4} +- {:.4}, exact {:.4} (z = {z:+.2}), bound {:.4}",
                plan.scheme,
                simulated.error,
                simulated.standard_error,
                terms.total(),
                plan.prediction.error_bound_unscaled
            );
            assert!(z.abs() < 4.0);
            assert!(simulated.standard_error < 0.02 * terms.total());
            assert!(terms.total() <= plan.prediction.error_bound_unscaled);
            let unbiased = simulated
                .bias
                .iter()
                .all(|(mean, se)| (mean / se).abs() < 4.0);
            assert_eq!(unbiased, plan.prediction.unbiased, "{:?}", simulated.bias);
            assert_eq!(terms.bias < 1e-20, plan.prediction.unbiased);
        }
    }
}

#[test]
fn the_joint_design_stays_under_its_bound_and_aligned_gradients_reach_it() {
    for scheme in [joint(), idle()] {
        let plan = planned(&scheme, &probabilities());
        let bound = 100.0 / plan.prediction.scaling_s;
        assert!((plan.prediction.error_bound_unscaled / bound - 1.0).abs() < 1e-10);

        let general = simulate(
            &plan,
            weights(&plan),
            &random_gradients(),
            Quantizer::Levels,
            60_000,
        );
        assert!(general.error + 4.0 * general.standard_error < bound);

        // A quantizer that attains eq 5, and gradients that attain the triangle inequality.
        let gradients = aligned_gradients();
        let exact = error::exact(&plan.workers, weights(&plan), &gradients, |i, f| {
            Quantizer::Signs.variance(plan.workers[i].bits, f)
        });
        assert!((exact.total() / bound - 1.0).abs() < 1e-10);
        let worst = simulate(&plan, weights(&plan), &gradients, Quantizer::Signs, 200_000);
        let z = (worst.error - bound) / worst.standard_error;
        println!(
            "bound {bound:.4}, simulated {:.4} (z = {z:+.2})",
            worst.error
        );
        assert!(z.abs() < 4.0);
    }
}

/// Without quantization the bound `n^2 C / S` of OSGC is the error itself for aligned gradients; and its
/// own layouts exceed it for gradients that follow the signs of their coefficients.
#[test]
fn osgc_bound_is_reached_and_exceeded() {
    let aligned = aligned_gradients();
    let plan = planned(&osgc(Construction::Overlap), &probabilities());
    let bound = 100.0 / plan.prediction.scaling_s;
    let simulated = simulate(&plan, weights(&plan), &aligned, Quantizer::Exact, 200_000);
    let z = (simulated.error - bound) / simulated.standard_error;
    assert!(z.abs() < 4.0, "{} {bound}", simulated.error);

    for construction in [Construction::SchemeOne, Construction::SchemeTwo] {
        let plan = planned(&osgc(construction), &probabilities());
        // Two-colour the partitions along the coefficients: neighbours in a row agree if their
        // coefficients have equal signs. Both layouts are trees, so this is possible.
        let signs = follow_signs(&plan);
        let gradients: Vec<Vec<f64>> = aligned
            .iter()
            .zip(signs)
            .map(|(g, sign)| g.iter().map(|g| sign * g).collect())
            .collect();
        let simulated = simulate(&plan, weights(&plan), &gradients, Quantizer::Exact, 200_000);
        println!(
            "{construction:?}: {:.2} against a bound of {bound:.2}",
            simulated.error
        );
        assert!(simulated.error - 4.0 * simulated.standard_error > 1.05 * bound);
        let z = (simulated.error - plan.prediction.error_bound) / simulated.standard_error;
        assert!(z.abs() < 4.0);
    }
}

fn follow_signs(plan: &Plan) -> Vec<f64> {
    let mut signs = vec![0.0; plan.partitions];
    signs[0] = 1.0;
    for _ in 0..plan.partitions {
        for worker in &plan.workers {
            let known = worker
                .assignment
                .iter()
                .find(|&&(j, _)| signs[j] != 0.0)
                .map(|&(j, a)| signs[j] * a.signum());
            if let Some(row_sign) = known {
                for &(j, a) in &worker.assignment {
                    signs[j] = row_sign * a.signum();
                }
            }
        }
    }
    signs
}

/// The second track is the same estimate, shrunk: less variance, some bias, and never a worse sum.
#[test]
fn the_second_track_trades_bias_for_variance() {
    let p = probabilities();
    let setting = Setting {
        partitions: 10,
        straggle_probabilities: &p,
        phi: &phi,
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 0,
    };
    let plan = plan(&joint(), &setting, &Budget::mean(3.4, 10, 2, 16), Some(1.0))
        .expect("a valid setting");
    let v = plan.decoder.second_weights().expect("two tracks");
    let gradients = aligned_gradients();
    let variance = |i: usize, f: &[f64]| Quantizer::Signs.variance(plan.workers[i].bits, f);
    let first = error::exact(&plan.workers, weights(&plan), &gradients, variance);
    let second = error::exact(&plan.workers, &v, &gradients, variance);
    assert!(second.total() <= first.total());
    assert!(second.bias > 0.0 && first.bias < 1e-20);
    let simulated = simulate(&plan, &v, &gradients, Quantizer::Signs, 60_000);
    let z = (simulated.error - second.total()) / simulated.standard_error;
    assert!(z.abs() < 4.0);
}
