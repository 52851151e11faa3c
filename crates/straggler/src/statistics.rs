//! Statistical tests of the samplers and estimators, and the closed forms of the uniform-rate model.
//!
//! Seeds are fixed, so the tests never flicker. Rejection levels are 0.001 a test; each kind of
//! test is also shown to reject a distribution that is slightly off.

use crate::estimate::{censored_shifted_exponential, empirical};
use crate::{DelayModel, TraceOrder, WorkerDelay};

/// `sqrt(n) sup |F_n - F|` is below this with probability 0.999 when `F` is continuous and true.
const KOLMOGOROV_999: f64 = 1.9495;

/// Kolmogorov-Smirnov statistic `sqrt(n) sup |F_n - F|` of a sample against a continuous CDF.
fn kolmogorov_smirnov(mut sample: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    sample.sort_by(f64::total_cmp);
    let n = sample.len() as f64;
    let distance = sample
        .iter()
        .enumerate()
        .map(|(i, &x)| {
            let f = cdf(x);
            (f - i as f64 / n).max((i as f64 + 1.0) / n - f)
        })
        .fold(0.0, f64::max);
    distance * n.sqrt()
}

fn delays(model: &DelayModel, seed: u64, worker: usize, iterations: u64) -> Vec<f64> {
    (0..iterations)
        .map(|t| model.delay(seed, t, worker))
        .collect()
}

fn shifted(shift: f64, rate: f64) -> WorkerDelay {
    WorkerDelay::ShiftedExponential { shift, rate }
}

#[test]
fn delays_follow_their_distribution_over_iterations() {
    let model = DelayModel::new(vec![
        shifted(1.0, 0.1),
        shifted(0.25, 7.0),
        WorkerDelay::Exponential { rate: 2.0 },
    ])
    .unwrap();
    for (worker, delay) in model.workers().iter().enumerate() {
        let sample = delays(&model, 11, worker, 20_000);
        let ks = kolmogorov_smirnov(sample, |x| 1.0 - delay.straggle_probability(x));
        assert!(ks < KOLMOGOROV_999, "worker {worker}: {ks}");
    }
}

#[test]
fn the_kolmogorov_smirnov_test_rejects_a_rate_five_percent_off() {
    let model = DelayModel::new(vec![shifted(1.0, 1.0)]).unwrap();
    let wrong = shifted(1.0, 1.05);
    let ks = kolmogorov_smirnov(delays(&model, 11, 0, 20_000), |x| {
        1.0 - wrong.straggle_probability(x)
    });
    assert!(ks > KOLMOGOROV_999, "{ks}");
}

#[test]
fn delays_follow_their_distribution_over_workers_and_over_seeds() {
    let one = shifted(1.0, 2.0);
    let model = DelayModel::new(vec![one.clone(); 20_000]).unwrap();
    let over_workers = (0..model.len()).map(|i| model.delay(5, 3, i)).collect();
    let over_seeds = (0..20_000).map(|seed| model.delay(seed, 3, 0)).collect();
    for sample in [over_workers, over_seeds] {
        let ks = kolmogorov_smirnov(sample, |x| 1.0 - one.straggle_probability(x));
        assert!(ks < KOLMOGOROV_999, "{ks}");
    }
}

#[test]
fn consecutive_iterations_and_neighbouring_workers_are_uncorrelated() {
    let model = DelayModel::new(vec![shifted(1.0, 1.0); 2]).unwrap();
    let n = 20_000;
    let (first, second) = (delays(&model, 4, 0, n + 1), delays(&model, 4, 1, n + 1));
    let correlation = |x: &[f64], y: &[f64]| {
        // Mean 2, variance 1: the correlation has standard error 1 / sqrt(n).
        x.iter()
            .zip(y)
            .map(|(x, y)| (x - 2.0) * (y - 2.0))
            .sum::<f64>()
            / x.len() as f64
    };
    let end = n as usize;
    for value in [
        correlation(&first[..end], &first[1..]),
        correlation(&first[..end], &second[..end]),
    ] {
        assert!(value.abs() < 3.3 / (n as f64).sqrt(), "{value}");
    }
}

#[test]
fn drawn_rates_are_uniform() {
    let model = DelayModel::drawn_rates(21, 20_000, 1.0, 0.1, 2.0).unwrap();
    let rates: Vec<f64> = model.workers().iter().map(rate).collect();
    assert!(rates.iter().all(|r| (0.1..=2.0).contains(r)));
    let ks = kolmogorov_smirnov(rates, |x| (x - 0.1) / 1.9);
    assert!(ks < KOLMOGOROV_999, "{ks}");
}

fn rate(worker: &WorkerDelay) -> f64 {
    match worker {
        WorkerDelay::ShiftedExponential { rate, .. } => *rate,
        other => panic!("drawn rates are shifted exponentials, not {other:?}"),
    }
}

#[test]
fn the_share_of_late_delays_is_the_straggle_probability() {
    let trace = WorkerDelay::Trace((0..10).map(f64::from).collect());
    let model = DelayModel::new(vec![
        shifted(1.0, 2.0),
        WorkerDelay::Exponential { rate: 0.5 },
        trace,
    ])
    .unwrap()
    .with_trace_order(TraceOrder::Resample);
    let deadline = 1.3;
    let n = 20_000u64;
    for (worker, p) in model
        .straggle_probabilities(deadline)
        .into_iter()
        .enumerate()
    {
        let late = delays(&model, 8, worker, n)
            .into_iter()
            .filter(|&delay| delay > deadline)
            .count();
        let estimate = empirical(late as u64, n).unwrap();
        let standard_error = (p * (1.0 - p) / n as f64).sqrt();
        assert!(
            (estimate - p).abs() < 3.3 * standard_error,
            "worker {worker}: {estimate} against {p}"
        );
    }
}

/// `E p` and `E (1-p)/p` for `psi ~ U(a, b)` at `d = deadline - shift`.
fn closed_forms(a: f64, b: f64, d: f64) -> (f64, f64) {
    let width = d * (b - a);
    (
        ((-a * d).exp() - (-b * d).exp()) / width,
        ((b * d).exp() - (a * d).exp()) / width - 1.0,
    )
}

/// Mean of `f(psi)` over `psi ~ U(a, b)`, composite Simpson on 1000 intervals.
fn uniform_mean(a: f64, b: f64, f: impl Fn(f64) -> f64) -> f64 {
    let n = 1000;
    let h = (b - a) / n as f64;
    let sum: f64 = (0..=n)
        .map(|i| {
            let weight = match i {
                0 => 1.0,
                i if i == n => 1.0,
                i if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            weight * f(a + h * i as f64)
        })
        .sum();
    sum * h / 3.0 / (b - a)
}

/// The regimes of Song & Choi 2026 and of its predecessor: (a, b), deadline, range of `p`,
/// mean `p`, mean `(1-p)/p`, to three decimals.
type Regime = ((f64, f64), f64, (f64, f64), f64, f64);
const REGIMES: [Regime; 3] = [
    ((0.1, 2.0), 1.1, (0.819, 0.990), 0.902, 0.112),
    ((0.1, 2.0), 1.5, (0.368, 0.951), 0.614, 0.755),
    ((0.1, 5.0), 1.1, (0.607, 0.990), 0.783, 0.303),
];

#[test]
fn closed_forms_match_the_model_and_the_published_regimes() {
    for ((a, b), deadline, (p_min, p_max), mean_p, mean_odds) in REGIMES {
        let p = |psi: f64| shifted(1.0, psi).straggle_probability(deadline);
        let (closed_p, closed_odds) = closed_forms(a, b, deadline - 1.0);
        assert!((closed_p - uniform_mean(a, b, p)).abs() < 1e-12);
        let odds = uniform_mean(a, b, |psi| (1.0 - p(psi)) / p(psi));
        assert!((closed_odds - odds).abs() < 1e-12);
        for (value, published) in [
            (p(b), p_min),
            (p(a), p_max),
            (closed_p, mean_p),
            (closed_odds, mean_odds),
        ] {
            assert!((value - published).abs() < 0.00051, "{value} {published}");
        }
    }
}

#[test]
fn drawn_rates_reach_the_closed_forms() {
    let workers = 20_000;
    for ((a, b), deadline, _, _, _) in REGIMES {
        let model = DelayModel::drawn_rates(33, workers, 1.0, a, b).unwrap();
        let p = model.straggle_probabilities(deadline);
        let odds: Vec<f64> = p.iter().map(|p| (1.0 - p) / p).collect();
        let (closed_p, closed_odds) = closed_forms(a, b, deadline - 1.0);
        for (values, expected) in [(p, closed_p), (odds, closed_odds)] {
            let n = workers as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let z = (mean - expected) / (variance / n).sqrt();
            assert!(z.abs() < 3.3, "{mean} against {expected}, z = {z}");
        }
    }
}

#[test]
fn the_censored_fit_finds_shift_rate_and_probability() {
    let (shift, rate, deadline, tasks) = (0.7, 1.6, 1.4, 20_000u64);
    let truth = shifted(shift, rate);
    let model = DelayModel::new(vec![truth.clone()]).unwrap();
    let on_time: Vec<f64> = delays(&model, 13, 0, tasks)
        .into_iter()
        .filter(|&delay| delay <= deadline)
        .collect();
    let fit = censored_shifted_exponential(&on_time, tasks, deadline).unwrap();
    // The rate's standard error is rate / sqrt(on time); the shift is late by Exp(tasks rate).
    let standard_error = rate / (on_time.len() as f64).sqrt();
    assert!((fit.rate - rate).abs() < 3.3 * standard_error, "{fit:?}");
    assert!((0.0..7.0 / (tasks as f64 * rate)).contains(&(fit.shift - shift)));
    for other_deadline in [1.0, deadline, 2.0] {
        let (p, p_hat) = (
            truth.straggle_probability(other_deadline),
            fit.straggle_probability(other_deadline),
        );
        // dp = -(deadline - shift) p d rate.
        let tolerance = 3.3 * (other_deadline - shift) * p * standard_error + 1e-3 * p;
        assert!((p - p_hat).abs() < tolerance, "{p} against {p_hat}");
    }
}

/// Ignoring the censored tasks would be badly wrong: the fit must use them.
#[test]
fn the_censored_fit_is_not_the_fit_of_the_arrivals() {
    let model = DelayModel::new(vec![shifted(1.0, 0.5)]).unwrap();
    let on_time: Vec<f64> = delays(&model, 17, 0, 5_000)
        .into_iter()
        .filter(|&delay| delay <= 1.5)
        .collect();
    let censored = censored_shifted_exponential(&on_time, 5_000, 1.5).unwrap();
    let naive = censored_shifted_exponential(&on_time, on_time.len() as u64, 1.5).unwrap();
    assert!((censored.rate - 0.5).abs() < 0.06, "{censored:?}");
    assert!(naive.rate > 3.0, "{naive:?}");
}
