//! The probe against the exact expressions of the theory.

use crate::common::*;
use cluster::{ErrorFeedback, Probe, ProbeParts, Settings, probe};
use gradient_code::{Budget, Decoder, Plan, Scaling, SchemeConfig, Setting, error};
use learner::Learner;

fn partition_gradients(at: &[f32]) -> Vec<Vec<f64>> {
    (0..WORKERS)
        .map(|j| {
            let mut gradient = vec![0.0; at.len()];
            problem()
                .coded_gradient(at, 0, &[(j, 1.0)], &mut gradient)
                .expect("a gradient");
            gradient.into_iter().map(f64::from).collect()
        })
        .collect()
}

fn probe_of(settings: &Settings, plan: &Plan, rounds: u64) -> (Probe, Vec<Vec<f64>>) {
    let at: Vec<f32> = (0..20).map(|m| (m as f32 * 0.7).sin()).collect();
    let parts = ProbeParts {
        settings,
        plan,
        learner: &mut problem(),
        parameters: &at,
        iteration: 0,
        rounds,
    };
    (probe(parts).expect("rounds"), partition_gradients(&at))
}

fn squared(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

#[test]
fn an_unbiased_scheme_has_its_exact_error_and_no_bias() {
    let settings = settings(erase(), 0);
    let plan = plan_with(&preset(), 24, &[]);
    let (measured, gradients) = probe_of(&settings, &plan, 5000);
    let Decoder::Fixed { weights, .. } = &plan.decoder else {
        panic!("the joint scheme has fixed weights");
    };
    let exact = error::exact(&plan.workers, weights, &gradients, |i, f| {
        let compressor = preset()
            .compressor(plan.workers[i].bits, 20)
            .expect("a width");
        let coded: Vec<f32> = f.iter().map(|&x| x as f32).collect();
        compressor.distortion(&coded) * squared(f)
    });
    let z = (measured.squared_error - exact.total()) / measured.squared_error_se;
    assert!(z.abs() < 4.0, "{} {z}", exact.total());
    let c = gradients.iter().map(|g| squared(g)).fold(0.0, f64::max);
    assert!((measured.largest_partition / c - 1.0).abs() < 1e-12);
    assert!(measured.squared_error < plan.prediction.error_bound * c);
    assert!(measured.bias < 2.0 * measured.bias_noise);
    // What the noise is said to be: the root of the error over R.
    let noise = (measured.squared_error / 5000.0).sqrt();
    assert!((measured.bias_noise / noise - 1.0).abs() < 0.01);
    for coefficient in &measured.coefficients {
        assert!(
            (coefficient - 1.0).abs() < 0.1,
            "{:?}",
            measured.coefficients
        );
    }
    assert_eq!(measured.rounds, 5000);
    assert!(measured.decoder_norm.is_nan());
    let expected: f64 = plan
        .workers
        .iter()
        .map(|worker| {
            let compressor = preset().compressor(worker.bits, 20).expect("a width");
            (1.0 - worker.straggle_probability) * compressor.payload_bits() as f64
        })
        .sum();
    assert!((measured.payload_bits / expected - 1.0).abs() < 0.03);
}

/// is-sgd leaves out the late: coefficients 1 - p_j, bias sum_j p_j g_j.
#[test]
fn a_biased_scheme_has_its_bias() {
    let p = delays().straggle_probabilities(TAU);
    let setting = Setting {
        partitions: WORKERS,
        straggle_probabilities: &p,
        phi: &|bits| preset().phi(bits, 20),
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 1,
    };
    let budget = Budget::mean(8.0, WORKERS, 2, 16);
    let plan =
        gradient_code::plan(&SchemeConfig::new("is-sgd"), &setting, &budget, None).expect("a plan");
    let settings = settings(erase(), 0);
    let (measured, gradients) = probe_of(&settings, &plan, 4000);
    let bias: Vec<f64> = (0..20)
        .map(|m| gradients.iter().zip(&p).map(|(g, p)| p * g[m]).sum())
        .collect();
    let expected = squared(&bias).sqrt();
    assert!(expected > 20.0 * measured.bias_noise);
    assert!((measured.bias - expected).abs() < 3.0 * measured.bias_noise);
    for (coefficient, p) in measured.coefficients.iter().zip(&p) {
        assert!((coefficient - (1.0 - p)).abs() < 0.04);
    }
}

#[test]
fn a_probe_does_not_remember_and_repeats_itself() {
    let mut settings = settings(erase(), 0);
    let plan = plan_for(&[]);
    let first = probe_of(&settings, &plan, 50).0;
    settings.error_feedback = Some(ErrorFeedback::default());
    let again = probe_of(&settings, &plan, 50).0;
    assert_eq!(first.exact, again.exact);
    assert_eq!(first.squared_error, again.squared_error);
    let one = probe_of(&settings, &plan, 1).0;
    assert!(one.squared_error_se.is_nan() && one.bias_noise.is_nan());
    assert!((one.bias * one.bias / one.squared_error - 1.0).abs() < 1e-12);
}

/// With weights per round the norm of the weights is reported, and the coefficients are the decoder's.
#[test]
fn a_probe_sees_what_a_decoder_does() {
    let mut plan = plan_for(&[]);
    plan.decoder = per_round();
    let settings = settings(everybody_in_time(), 0);
    let (measured, _) = probe_of(&settings, &plan, 20);
    assert_eq!(measured.responders, WORKERS as f64);
    assert!(measured.decoder_norm > 0.0);
    for coefficient in measured.coefficients {
        assert!((coefficient - 1.0).abs() < 1e-9, "{coefficient}");
    }
}
