//! Tests of whole methods through the public interface.

mod golden;
mod properties;
mod refusals;
mod scale;

use crate::{Problem, utility};
use counter_rng::{Purpose, rng};
use rand::RngExt;

/// The paper's problem with `D = eta l / 4` given: `phi(z) = D / (2^(z-1) - 1)^2`.
fn paper_problem(p: &[f64], d: f64, max_bits: u8, idle: bool, total_bits: u64) -> Problem {
    let phi = |z: u8| utility::qsgd_phi(z, 4.0 * d);
    Problem {
        tables: utility::tables(p, &phi, 2..=max_bits, idle).unwrap(),
        total_bits,
    }
}

/// `n` uniforms in `[0, 1)`.
fn uniforms(seed: u64, n: usize) -> Vec<f64> {
    let mut rng = rng(seed, Purpose::Synthesis, 0, 0);
    (0..n).map(|_| rng.random()).collect()
}
