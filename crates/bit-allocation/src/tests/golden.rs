//! Values of the paper's default setting, computed independently of this crate.

use super::paper_problem;
use crate::{Method, Problem, allocate, utility};

/// k = 10, psi = linspace(0.1, 2, 10), deadline 1.1: p = exp(-0.1 psi), falling.
fn p() -> Vec<f64> {
    (0..10)
        .map(|i| (-0.1 * (0.1 + 1.9 * f64::from(i) / 9.0)).exp())
        .collect()
}

struct Golden {
    residual_bits: u64,
    /// `eta l / 4`
    d: f64,
    best: [u8; 10],
    best_f: f64,
    equal_f: f64,
    greedy_f: f64,
    /// `n^2 / S` with `n = 10` and `S = F`.
    error_bound: f64,
}

const GOLDEN: [Golden; 2] = [
    Golden {
        residual_bits: 10,
        d: 8.117825,
        best: [2, 2, 2, 2, 2, 4, 4, 4, 4, 4],
        best_f: 0.745010063,
        equal_f: 0.553035514,
        greedy_f: 0.745010063,
        error_bound: 134.226375,
    },
    Golden {
        residual_bits: 50,
        d: 3579.961015,
        best: [2, 2, 2, 9, 9, 9, 9, 9, 9, 10],
        best_f: 0.980473978,
        equal_f: 0.553035514,
        greedy_f: 0.856347647,
        error_bound: 101.991488,
    },
];

/// The problem at the paper's baseline scaling, which makes the dimension cancel out.
fn problem(golden: &Golden, p: &[f64], max_bits: u8, idle: bool) -> Problem {
    let (dimension, mean_bits) = (5e6, 2.0 + golden.residual_bits as f64 / 10.0);
    let d = utility::balanced_scaling(p, mean_bits, dimension) * dimension / 4.0;
    assert!((d - golden.d).abs() < 5e-7, "{d}");
    paper_problem(p, d, max_bits, idle, 20 + golden.residual_bits)
}

/// The paper does not cap widths; neither cap is reached, so it makes no difference.
#[test]
fn the_default_setting() {
    for golden in &GOLDEN {
        for max_bits in [16, 52] {
            let problem = problem(golden, &p(), max_bits, false);
            for (method, expected) in [
                (Method::Exact, golden.best_f),
                (Method::Dp, golden.best_f),
                (Method::Algorithm1, golden.best_f),
                (Method::Greedy, golden.greedy_f),
                (Method::Equal, golden.equal_f),
            ] {
                let found = allocate(&problem, method).unwrap();
                assert!(
                    (found.utility - expected).abs() < 6e-10,
                    "{method}: {}",
                    found.utility
                );
                if expected == golden.best_f {
                    assert_eq!(found.bits, golden.best, "{method}");
                    assert!((100.0 / found.utility - golden.error_bound).abs() < 6e-7);
                }
            }
        }
    }
}

#[test]
fn the_order_of_the_workers_does_not_matter() {
    let golden = &GOLDEN[1];
    let shuffle = [3, 9, 0, 6, 1, 8, 2, 7, 5, 4];
    let shuffled: Vec<f64> = shuffle.iter().map(|&i| p()[i]).collect();
    let problem = problem(golden, &shuffled, 16, false);
    for method in [Method::Exact, Method::Dp, Method::Algorithm1] {
        let found = allocate(&problem, method).unwrap();
        assert_eq!(found.bits, shuffle.map(|i| golden.best[i]), "{method}");
        assert!((found.utility - golden.best_f).abs() < 6e-10);
    }
    let equal = allocate(&problem, Method::Equal).unwrap();
    assert!((equal.utility - golden.equal_f).abs() < 6e-10);
}

#[test]
fn idling_frees_the_bits_of_unreliable_workers() {
    for golden in &GOLDEN {
        let total = 20 + golden.residual_bits;
        let idle = allocate(&problem(golden, &p(), 16, true), Method::Exact).unwrap();
        assert!(idle.optimal && idle.utility > golden.best_f + 1e-3);
        assert!(idle.bits.contains(&0));
        assert_eq!(idle.bits.iter().map(|&z| u64::from(z)).sum::<u64>(), total);
    }
}
