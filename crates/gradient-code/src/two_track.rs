//! Two-track decoding for Adam (Song & Choi 2026, arXiv 2605.15890, eq 36 and Prop. 2).
//!
//! Adam divides by a second moment, which an unbiased estimate inflates by its variance. A second set
//! of weights `v`, applied to the same messages, trades bias for variance:
//!
//! ```text
//! (36)  min_v  Lambda [ sum_j (1 - sum_i (1-p_i) v_i a_ij) ]^2
//!            + sum_i (1-p_i) (p_i + phi(z_i)) v_i^2 (sum_j a_ij)^2
//!       v_i = n Lambda / ( (p_i + phi(z_i)) (sum_j a_ij) (1 + Lambda S) )
//! ```
//!
//! The bias is the square of the sum over partitions, not a sum of squares. `phi` and `S` are those of
//! the code that is actually used: with `phi` scaled by `eta` for the joint design, and `phi = 0` for
//! OSGC (its eqs 42-43). Then any code with the row sums of Theorem 1 has `v = kappa w` with the one
//! scalar [`kappa`]; mixing an OSGC `v` with a jointly designed code, as the authors' runs do, would not.

use crate::decoder::SecondTrack;
use crate::plan::WorkerPlan;
use crate::sum::sum;

/// `kappa = Lambda S / (1 + Lambda S)`; 1 for infinite `S`.
pub fn kappa(lambda: f64, scaling_s: f64) -> f64 {
    if scaling_s.is_infinite() {
        1.0
    } else {
        lambda * scaling_s / (1.0 + lambda * scaling_s)
    }
}

/// The minimiser `v` of eq 36. `c[i] = (p_i + phi(z_i)) / (1 - p_i) > 0` are the weights the code was
/// designed with. Idle workers, and any whose coefficients add up to 0 (on whom the objective does not
/// depend), get `v_i = 0`.
pub fn second_weights(
    workers: &[WorkerPlan],
    partitions: usize,
    c: &[f64],
    lambda: f64,
) -> Vec<f64> {
    let row_sums: Vec<f64> = workers.iter().map(WorkerPlan::row_sum).collect();
    let contributing = c.iter().zip(&row_sums).filter(|&(_, &sum)| sum != 0.0);
    let s = sum(contributing.map(|(c, _)| c.recip()));
    workers
        .iter()
        .zip(&row_sums)
        .zip(c)
        .map(|((worker, &row_sum), &c)| {
            if row_sum == 0.0 {
                return 0.0;
            }
            let late_or_rounded = c * (1.0 - worker.straggle_probability); // p_i + phi(z_i)
            partitions as f64 * lambda / (late_or_rounded * row_sum * (1.0 + lambda * s))
        })
        .collect()
}

/// The second track as the master needs it: [`SecondTrack::Scaled`] if `v = kappa w` to 1e-12, which
/// spares the master a second accumulator, and the weights themselves otherwise.
///
/// The deviation is measured on what a worker contributes to the estimate's coefficients,
/// `(1 - p_i) (v_i - kappa w_i) sum_j a_ij`, relative to `kappa` times its weight or to 1, whichever is
/// larger: the overlap construction itself may move an edge by 1e-12.
pub fn second_track(
    workers: &[WorkerPlan],
    weights: &[f64],
    v: Vec<f64>,
    kappa: f64,
) -> SecondTrack {
    let proportional = workers
        .iter()
        .zip(weights)
        .zip(&v)
        .all(|((worker, &w), &v)| {
            let carried = (1.0 - worker.straggle_probability) * worker.row_sum().abs();
            let tolerance = 1e-12 * (kappa * w * carried).abs().max(1.0);
            carried * (v - kappa * w).abs() <= tolerance
        });
    if proportional {
        SecondTrack::Scaled(kappa)
    } else {
        SecondTrack::Weights(v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn workers(p: &[f64], row_sums: &[f64]) -> Vec<WorkerPlan> {
        p.iter()
            .zip(row_sums)
            .map(|(&straggle_probability, &y)| WorkerPlan {
                straggle_probability,
                bits: 4,
                assignment: if y == 0.0 { vec![] } else { vec![(0, y)] },
            })
            .collect()
    }

    /// Eq 36 itself.
    fn objective(workers: &[WorkerPlan], n: usize, c: &[f64], lambda: f64, v: &[f64]) -> f64 {
        let mut bias = n as f64;
        let mut variance = 0.0;
        for ((worker, &c), &v) in workers.iter().zip(c).zip(v) {
            let x = (1.0 - worker.straggle_probability) * v * worker.row_sum();
            bias -= x;
            if x != 0.0 {
                variance += c * x * x;
            }
        }
        lambda * bias * bias + variance
    }

    proptest! {
        #[test]
        fn minimises_equation_36(
            p in prop::collection::vec(0.05..0.95f64, 2..8),
            phi in 0.0..3.0f64,
            lambda in 0.1..10.0f64,
            which in 0usize..8,
            factor in prop_oneof![0.9..0.999f64, 1.001..1.1f64],
        ) {
            let row_sums: Vec<f64> = (0..p.len()).map(|i| 0.25 + i as f64).collect();
            let workers = workers(&p, &row_sums);
            let c: Vec<f64> = p.iter().map(|p| (p + phi) / (1.0 - p)).collect();
            let n = 5;
            let v = second_weights(&workers, n, &c, lambda);
            let best = objective(&workers, n, &c, lambda, &v);
            // optimum value: Lambda n^2 / (1 + Lambda S)
            let s: f64 = c.iter().map(|c| 1.0 / c).sum();
            let expected = lambda * 25.0 / (1.0 + lambda * s);
            prop_assert!((best - expected).abs() < 1e-10 * expected);
            let mut other = v.clone();
            other[which % p.len()] *= factor;
            prop_assert!(objective(&workers, n, &c, lambda, &other) >= best);
        }
    }

    #[test]
    fn idle_workers_get_nothing() {
        let workers = workers(&[0.5, 1.0], &[2.0, 0.0]);
        let v = second_weights(&workers, 2, &[1.0, f64::INFINITY], 1.0);
        assert_eq!(v, [2.0 / (0.5 * 2.0 * 2.0), 0.0]);
        assert_eq!(
            second_track(&workers, &[2.0, 0.0], v, 0.5),
            SecondTrack::Scaled(0.5)
        );
    }

    #[test]
    fn other_row_sums_need_weights_of_their_own() {
        let workers = workers(&[0.5, 0.25], &[1.0, 1.0]);
        let c = [1.0, 1.0 / 3.0];
        let v = second_weights(&workers, 2, &c, 1.0);
        let track = second_track(&workers, &[2.0, 4.0 / 3.0], v.clone(), kappa(1.0, 4.0));
        assert_eq!(track, SecondTrack::Weights(v));
    }

    #[test]
    fn certainty_needs_no_shrinking() {
        assert_eq!(kappa(0.5, f64::INFINITY), 1.0);
        assert!((kappa(1.0, 1.1275368) - 0.5299729).abs() < 1e-7);
    }
}
