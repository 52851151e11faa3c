//! The error of the decoded gradient: exactly, and bounded.
//!
//! For decoders with fixed weights, stragglers that are independent (`I_i ~ Bernoulli(1 - p_i)`) and
//! unbiased quantizers, the error `E||g - ghat||^2` of `ghat = sum_i I_i w_i Q_i(f_i)` (eq 2 of Song &
//! Choi 2026, arXiv 2605.15890) has a closed form, of which Lemma 1 is the worst case.

use crate::plan::WorkerPlan;

/// The three sources of `E||g - ghat||^2`; they add up without cross terms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ErrorTerms {
    /// `sum_i p_i (1 - p_i) w_i^2 ||f_i||^2`: not knowing who answers.
    pub straggling: f64,
    /// `sum_i (1 - p_i) w_i^2 E||Q(f_i) - f_i||^2`: rounding.
    pub quantization: f64,
    /// `||g - E[ghat]||^2`: zero for unbiased codes.
    pub bias: f64,
}

impl ErrorTerms {
    /// `E||g - ghat||^2`.
    pub fn total(&self) -> f64 {
        self.straggling + self.quantization + self.bias
    }
}

/// The exact error for given partition gradients `g_j` (`n` vectors of `l` coordinates).
///
/// `variance(i, f_i)` is `E||Q_i(f_i) - f_i||^2` for worker `i`'s coded gradient; for the quantizer of
/// eqs 3-4 that is `(||f||^2 / s^2) sum_m u_m (1 - u_m)`, `u_m = frac(s |f_m| / ||f||)`. `weights` are
/// the decoding weights `w_i`; pass those of the second track to get its error. With
/// `y_i = (1 - p_i) w_i f_i` and a quantizer that is equivariant to scale this is the familiar
/// `sum_i p_i/(1-p_i) ||y_i||^2 + 1/(1-p_i) E||Q(y_i) - y_i||^2`.
///
/// # Panics
/// If there are fewer gradients than the assignments name, or they differ in length.
pub fn exact<G: AsRef<[f64]>>(
    workers: &[WorkerPlan],
    weights: &[f64],
    gradients: &[G],
    mut variance: impl FnMut(usize, &[f64]) -> f64,
) -> ErrorTerms {
    let mut terms = ErrorTerms::default();
    for (i, (worker, &w)) in workers.iter().zip(weights).enumerate() {
        if worker.is_idle() {
            continue;
        }
        let p = worker.straggle_probability;
        let coded = worker.encode(gradients);
        terms.straggling += p * (1.0 - p) * w * w * squared_norm(&coded);
        terms.quantization += (1.0 - p) * w * w * variance(i, &coded);
    }
    let coefficients = expected_coefficients(workers, gradients.len(), weights);
    let dimension = gradients.first().map_or(0, |g| g.as_ref().len());
    let mut missing = vec![0.0; dimension];
    for (gradient, coefficient) in gradients.iter().zip(&coefficients) {
        for (sum, &value) in missing.iter_mut().zip(gradient.as_ref()) {
            *sum += (1.0 - coefficient) * value;
        }
    }
    terms.bias = squared_norm(&missing);
    terms
}

/// The coefficient of each partition gradient in `E[ghat]`, `sum_i (1 - p_i) w_i a_ij` (eq 11). All 1
/// if and only if the code is unbiased (eq 12).
pub fn expected_coefficients(
    workers: &[WorkerPlan],
    partitions: usize,
    weights: &[f64],
) -> Vec<f64> {
    let mut coefficients = vec![0.0; partitions];
    for (worker, &w) in workers.iter().zip(weights) {
        let arriving = (1.0 - worker.straggle_probability) * w;
        for &(partition, a) in &worker.assignment {
            coefficients[partition] += arriving * a;
        }
    }
    coefficients
}

/// Lemma 1 (eq 10) with `C = 1`: the most that `E||g - ghat||^2` can be over partition gradients of
/// norm at most 1, `sum_i c_i (sum_j |alpha_i^j|)^2` with `alpha_i^j = (1 - p_i) w_i a_ij` and
/// `c_i = (p_i + phi(z_i)) / (1 - p_i)`, plus the largest squared bias,
/// `(sum_j |1 - sum_i alpha_i^j|)^2`.
///
/// The paper has `(sum_j a_ij)^2` without the absolute values, which is the same for its non-negative
/// coefficients (App. A, eq 41) but no bound where signs are mixed; and it assumes no bias.
pub fn lemma_1_bound(workers: &[WorkerPlan], partitions: usize, weights: &[f64], c: &[f64]) -> f64 {
    let mut bound = 0.0;
    for ((worker, &w), &c) in workers.iter().zip(weights).zip(c) {
        if !worker.is_idle() {
            let y = (1.0 - worker.straggle_probability) * w * worker.absolute_row_sum();
            bound += c * y * y;
        }
    }
    let bias: f64 = expected_coefficients(workers, partitions, weights)
        .iter()
        .map(|coefficient| (1.0 - coefficient).abs())
        .sum();
    bound + bias * bias
}

/// [`lemma_1_bound`] without supposing that messages are unbiased: `E||C(x) - x||^2 <= phi ||x||^2` is
/// all that is known, with `phi(z_i) = c_i (1 - p_i) - p_i`.
///
/// Split `ghat - g` into `sum_i I_i w_i f_i - g` and `sum_i I_i w_i (C(f_i) - f_i)` and add their root
/// mean squares. The first is what [`lemma_1_bound`] says without quantization; with
/// `beta_i = |w_i| sqrt(phi(z_i)) sum_j |a_ij|`, the second is at most
/// `sum_i p_i (1 - p_i) beta_i^2 + (sum_i (1 - p_i) beta_i)^2`, since biases may add up. Error feedback is
/// outside of this: it bounds sums over iterations, not one.
pub fn biased_bound(workers: &[WorkerPlan], partitions: usize, weights: &[f64], c: &[f64]) -> f64 {
    let exact: Vec<f64> = workers
        .iter()
        .map(|worker| worker.straggle_probability / (1.0 - worker.straggle_probability))
        .collect();
    let coding = lemma_1_bound(workers, partitions, weights, &exact);
    let (mut spread, mut aligned) = (0.0, 0.0);
    for ((worker, &w), &c) in workers.iter().zip(weights).zip(c) {
        if !worker.is_idle() {
            let p = worker.straggle_probability;
            let phi = (c * (1.0 - p) - p).max(0.0);
            let beta = w.abs() * phi.sqrt() * worker.absolute_row_sum();
            spread += p * (1.0 - p) * beta * beta;
            aligned += (1.0 - p) * beta;
        }
    }
    (coding.sqrt() + (spread + aligned * aligned).sqrt()).powi(2)
}

fn squared_norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(p: f64, assignment: &[(usize, f64)]) -> WorkerPlan {
        WorkerPlan {
            straggle_probability: p,
            bits: 4,
            assignment: assignment.to_vec(),
        }
    }

    /// Two workers enumerated by hand: each sends g_i exactly with probability 1 - p_i.
    #[test]
    fn equals_the_enumeration_over_straggler_sets() {
        let workers = [
            worker(0.25, &[(0, 1.0), (1, 0.5)]),
            worker(0.5, &[(1, 2.0)]),
        ];
        let weights = [1.5, 0.75];
        let g = [[1.0, -2.0], [0.5, 3.0]];
        let full = [1.5, 1.0];
        let f = [workers[0].encode(&g), workers[1].encode(&g)];
        let mut expected = 0.0;
        for (first, p0) in [(1.0, 0.75), (0.0, 0.25)] {
            for (second, p1) in [(1.0, 0.5), (0.0, 0.5)] {
                let difference: Vec<f64> = (0..2)
                    .map(|m| full[m] - first * weights[0] * f[0][m] - second * weights[1] * f[1][m])
                    .collect();
                expected += p0 * p1 * squared_norm(&difference);
            }
        }
        let terms = exact(&workers, &weights, &g, |_, _| 0.0);
        assert!((terms.total() - expected).abs() < 1e-12, "{terms:?}");
        assert_eq!(terms.quantization, 0.0);
        assert!(terms.bias > 0.0);
    }

    #[test]
    fn quantization_adds_what_is_sent() {
        let workers = [worker(0.2, &[(0, 1.0)])];
        let terms = exact(&workers, &[1.25], &[[2.0]], |i, f| {
            assert_eq!((i, f), (0, &[2.0][..]));
            3.0
        });
        assert!((terms.quantization - 0.8 * 1.25 * 1.25 * 3.0).abs() < 1e-15);
        assert!(terms.bias < 1e-30);
    }

    #[test]
    fn the_bound_is_attained_by_the_worst_signs() {
        // A row of mixed signs: gradients that follow the signs reach the bound, aligned ones do not.
        let workers = [worker(0.5, &[(0, 1.5), (1, -0.5)])];
        let bound = lemma_1_bound(&workers, 2, &[2.0], &[1.0]);
        let worst = exact(&workers, &[2.0], &[[1.0], [-1.0]], |_, _| 0.0);
        assert!((worst.straggling - 4.0).abs() < 1e-12);
        // bias: |1 - 1.5| + |1 + 0.5| = 2
        assert!((bound - (4.0 + 4.0)).abs() < 1e-12, "{bound}");
        let aligned = exact(&workers, &[2.0], &[[1.0], [1.0]], |_, _| 0.0);
        assert!(aligned.total() < bound);
    }
}
