//! Optimal decoding: the least-squares weights for the workers that answered.
//!
//! For the rows `A_S` of the responders `S`, `min_w ||A_S^T w - 1||^2`: the combination of the coded
//! gradients whose partition coefficients are nearest to 1 (Charles, Papailiopoulos and Ellenberg 2017,
//! arXiv 1711.06771, optimal decoding). Among several minimisers the one of least norm is taken, which
//! amplifies noise in the messages least; a ridge trades residual for amplification.

use ndarray::{Array1, Array2};
use ndarray_linalg::{JobSvd, SVDDC};
use serde::{Deserialize, Serialize};

use super::DecodeError;

/// Parameters of the per-round decoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerRound {
    /// `rho >= 0` in `min_w ||A_S^T w - 1||^2 + rho ||w||^2`. 0 asks for the pseudo-inverse; with
    /// quantized or noisy messages a positive value keeps `||w||` small where `A_S` is ill-conditioned.
    pub ridge: f64,
}

/// The weights of one round and how good they are.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundWeights {
    /// `w_i`, in the order of the responders.
    pub weights: Vec<f64>,
    /// `||A_S^T w - 1||^2`, the error for orthonormal partition gradients: 0 if everything was
    /// recovered, `n` if nobody answered.
    pub residual: f64,
    /// `||w||^2`, by which independent noise of unit variance in the messages is amplified.
    pub amplification: f64,
    /// Rank of `A_S` as seen by the decoder.
    pub rank: usize,
}

impl PerRound {
    /// Solves for the responders whose encoding coefficients `a_ij` are `rows`, over `partitions`
    /// columns, by a singular value decomposition in f64. Singular values below
    /// `max(r, n) eps sigma_max` count as zero.
    ///
    /// Costs `O(r n min(r, n))` time and `O(r n)` memory for `r` responders: meant for up to about a
    /// thousand workers. For equal thread counts of the BLAS the result is the same to the last bit.
    ///
    /// # Errors
    /// [`DecodeError::Solve`] if the decomposition does not converge, or a coefficient is not finite.
    ///
    /// # Panics
    /// If a row names a partition that does not exist.
    pub fn solve(
        &self,
        rows: &[&[(usize, f64)]],
        partitions: usize,
    ) -> Result<RoundWeights, DecodeError> {
        let responders = rows.len();
        if responders == 0 {
            return Ok(RoundWeights {
                weights: Vec::new(),
                residual: partitions as f64,
                amplification: 0.0,
                rank: 0,
            });
        }
        let fail = |reason: String| DecodeError::Solve {
            responders,
            partitions,
            reason,
        };
        let mut a = Array2::<f64>::zeros((responders, partitions));
        for (i, row) in rows.iter().enumerate() {
            for &(partition, coefficient) in *row {
                if !coefficient.is_finite() {
                    return Err(fail(format!("coefficient {coefficient}")));
                }
                a[[i, partition]] = coefficient;
            }
        }
        let (u, sigma, vt) = a
            .svddc(JobSvd::Some)
            .map_err(|error| fail(error.to_string()))?;
        let (Some(u), Some(vt)) = (u, vt) else {
            return Err(fail("no singular vectors".to_owned()));
        };
        let largest = sigma.iter().copied().fold(0.0, f64::max);
        let negligible = largest * f64::EPSILON * responders.max(partitions) as f64;
        // A_S = U diag(sigma) V^T, so w = U diag(sigma / (sigma^2 + rho)) V^T 1.
        let ones = Array1::<f64>::ones(partitions);
        let mut filtered = vt.dot(&ones);
        let mut rank = 0;
        for (value, &sigma) in filtered.iter_mut().zip(&sigma) {
            if sigma > negligible {
                rank += 1;
                *value *= sigma / (sigma * sigma + self.ridge);
            } else {
                *value = 0.0;
            }
        }
        let weights = u.dot(&filtered);
        let missing = a.t().dot(&weights) - ones;
        Ok(RoundWeights {
            residual: missing.dot(&missing),
            amplification: weights.dot(&weights),
            weights: weights.to_vec(),
            rank,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn solve(ridge: f64, rows: &[Vec<(usize, f64)>], partitions: usize) -> RoundWeights {
        let rows: Vec<&[(usize, f64)]> = rows.iter().map(Vec::as_slice).collect();
        PerRound { ridge }
            .solve(&rows, partitions)
            .expect("the decomposition converges")
    }

    /// Machines are edges of a graph, blocks its vertices (Glasgow and Wootters).
    fn edges(edges: &[(usize, usize)]) -> Vec<Vec<(usize, f64)>> {
        edges
            .iter()
            .map(|&(a, b)| vec![(a.min(b), 1.0), (a.max(b), 1.0)])
            .collect()
    }

    fn coefficients(rows: &[Vec<(usize, f64)>], weights: &[f64], partitions: usize) -> Vec<f64> {
        let mut sums = vec![0.0; partitions];
        for (row, w) in rows.iter().zip(weights) {
            for &(partition, a) in row {
                sums[partition] += w * a;
            }
        }
        sums
    }

    fn assert_close(actual: &[f64], expected: &[f64]) {
        assert_eq!(actual.len(), expected.len());
        for (a, e) in actual.iter().zip(expected) {
            assert!((a - e).abs() < 1e-12, "{actual:?} {expected:?}");
        }
    }

    #[test]
    fn nobody_answered() {
        let round = solve(0.0, &[], 7);
        assert_eq!((round.weights.len(), round.residual), (0, 7.0));
    }

    #[test]
    fn replicas_share_their_group_equally() {
        // Fractional repetition: two copies of group {0, 1}, one of {2, 3}, none of {4, 5}.
        let group = |first: usize| vec![(first, 1.0), (first + 1, 1.0)];
        let round = solve(0.0, &[group(0), group(2), group(0)], 6);
        assert_close(&round.weights, &[0.5, 1.0, 0.5]);
        assert!((round.residual - 2.0).abs() < 1e-12);
        assert_eq!(round.rank, 2);
    }

    #[test]
    fn a_surviving_graph_decodes_by_its_components() {
        // An odd cycle recovers all of its blocks.
        let triangle = edges(&[(0, 1), (1, 2), (0, 2)]);
        let round = solve(0.0, &triangle, 3);
        assert_close(&round.weights, &[0.5; 3]);
        assert!(round.residual < 1e-24);
        // A bipartite component with sides L, R: 2|R|/(|L|+|R|) on L and 2|L|/(|L|+|R|) on R; an
        // isolated block gets 0.
        let path_and_isolated = edges(&[(0, 1), (1, 2)]);
        let round = solve(0.0, &path_and_isolated, 4);
        assert_close(
            &coefficients(&path_and_isolated, &round.weights, 4),
            &[2.0 / 3.0, 4.0 / 3.0, 2.0 / 3.0, 0.0],
        );
        // An even cycle has equal sides: everything is recovered although A_S is singular.
        let square = edges(&[(0, 1), (1, 2), (2, 3), (0, 3)]);
        let round = solve(0.0, &square, 4);
        assert_close(&round.weights, &[0.5; 4]);
        assert_eq!(round.rank, 3);
    }

    #[test]
    fn one_responder_in_closed_form() {
        // w = sum a / (sum a^2 + rho), residual = n - (sum a)^2 / sum a^2 at rho = 0.
        let row = vec![(0, 2.0), (2, -1.0), (3, 0.5)];
        let round = solve(0.0, std::slice::from_ref(&row), 4);
        assert_close(&round.weights, &[1.5 / 5.25]);
        assert!((round.residual - (4.0 - 2.25 / 5.25)).abs() < 1e-12);
        let round = solve(0.75, &[row], 4);
        assert_close(&round.weights, &[1.5 / 6.0]);
        assert!((round.amplification - 0.0625).abs() < 1e-15);
    }

    proptest! {
        /// The normal equations (A A^T + rho I) w = A 1, which characterise the minimiser; and with
        /// rho = 0, w in the range of A, which characterises the least norm.
        #[test]
        fn satisfies_the_normal_equations(
            entries in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0.0), -2.0..2.0f64], 6), 1..9),
            ridge in prop_oneof![Just(0.0), 0.01..1.0f64],
        ) {
            let rows: Vec<Vec<(usize, f64)>> = entries
                .iter()
                .map(|row| row.iter().copied().enumerate().filter(|e| e.1 != 0.0).collect())
                .collect();
            let round = solve(ridge, &rows, 6);
            let missing: Vec<f64> = coefficients(&rows, &round.weights, 6)
                .iter()
                .map(|c| 1.0 - c)
                .collect();
            let scale = round.amplification.sqrt() + 1.0;
            for (row, w) in rows.iter().zip(&round.weights) {
                let gradient: f64 = row.iter().map(|&(j, a)| a * missing[j]).sum();
                prop_assert!((gradient - ridge * w).abs() < 1e-8 * scale, "{gradient} {w}");
            }
        }

        /// Repeating a responder's row halves its weight: the least-norm solution, not just any.
        #[test]
        fn duplicates_share(entries in prop::collection::vec(0.1..2.0f64, 5)) {
            let row: Vec<(usize, f64)> = entries.iter().copied().enumerate().collect();
            let alone = solve(0.0, std::slice::from_ref(&row), 5).weights[0];
            let twice = solve(0.0, &[row.clone(), row], 5).weights;
            prop_assert!((twice[0] - alone / 2.0).abs() < 1e-12);
            prop_assert!((twice[1] - alone / 2.0).abs() < 1e-12);
        }
    }
}
