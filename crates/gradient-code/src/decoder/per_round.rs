//! Weights chosen for the workers that answered.
//!
//! Least squares: for the columns `B_S` of the responders `S`, `R = argmin ||B_S R - F||_F^2` with
//! `F = I_m (x) 1_n` (eqs 3-4 of Munim & Ramamoorthy 2026, arXiv 2603.22514), the combination of the
//! messages whose coefficients are nearest to 1. Without blocks (`m = 1`) this is the optimal decoding of
//! Charles, Papailiopoulos and Ellenberg 2017 (arXiv 1711.06771). Among several minimisers the one of
//! least norm is taken, which amplifies noise in the messages least; a ridge trades residual for
//! amplification.
//!
//! *The noise-aware decoder.* Let the messages be `q_i = f_i + e_i` with independent errors of mean 0 and
//! `E||e_i||^2 <= phi_i ||f_i||^2`. If the blocks of the partition gradients are uncorrelated with equal
//! mean squared norm `sigma^2`, then `E||f_i||^2 = sigma^2 ||B(:,i)||^2` and
//!
//! ```text
//! E||Z B R + e R - Z F||_F^2 <= sigma^2 ( ||B_S R - F||_F^2 + sum_i phi_i ||B(:,i)||^2 ||R(i,:)||^2 ),
//! R = (B_S^T B_S + diag(phi_i ||B(:,i)||^2))^{-1} B_S^T F
//! ```
//!
//! minimises it: a ridge with a weight per worker, which is the Bayes estimate if everything is Gaussian.
//! Gradients that point the same way have more signal per noise than this supposes; for them it
//! shrinks too much.

use serde::{Deserialize, Serialize};

use super::{DecodeError, least_squares};
use crate::graph;
use crate::plan::{PlanFault, WorkerPlan};

/// A decoder whose weights depend on who answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PerRound {
    /// How the weights are found.
    pub rule: Rule,
    /// `rho >= 0` in `min_R ||B_S R - F||_F^2 + rho ||R||_F^2` (least squares only). 0 asks for the
    /// pseudo-inverse; with quantized or noisy messages a positive value keeps `||R||` small where `B_S`
    /// is ill-conditioned.
    pub ridge: f64,
    /// `phi(z_i)` per worker, the variance of its messages relative to their squared norm: adds
    /// `phi(z_i) ||B(:,i)||^2 ||R(i,:)||^2` to what least squares minimises. `None` supposes exact
    /// messages.
    pub noise: Option<Vec<f64>>,
    /// The weights are multiplied by it at the end; `1 / alpha` makes an estimate with
    /// `E[B R] = alpha F` unbiased.
    pub rescale: f64,
}

impl Default for PerRound {
    /// Least squares, no ridge, not rescaled.
    fn default() -> Self {
        Self {
            rule: Rule::LeastSquares,
            ridge: 0.0,
            noise: None,
            rescale: 1.0,
        }
    }
}

/// How the weights of a round are found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The combination of the messages that is nearest to the full gradient.
    #[default]
    LeastSquares,
    /// `n / (r s)` for each of `r` responders: one-step decoding (Charles et al. 2017).
    OneStep {
        /// `s`, the number of partitions of a worker.
        load: f64,
    },
    /// 1 for the first arrival of each group, 0 for later ones (ErasureHead).
    FirstOfGroup {
        /// The group of each worker.
        group: Vec<usize>,
    },
    /// What [`Self::LeastSquares`] gives without ridge and noise if every worker is an edge, holding two
    /// partitions with coefficient 1: in closed form, component by component ([`crate::graph`]).
    Graph,
}

/// The weights of one round and how good they are.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundWeights {
    /// `R`, row-major `r x m`: the weight of each responder, in the order they were given, in each
    /// block of the estimate. One number per responder where there are no blocks.
    pub weights: Vec<f64>,
    /// `||B_S R - F||_F^2` for these weights, the error for orthonormal gradient blocks: 0 if everything
    /// was recovered, `m n` if nobody answered.
    pub residual: f64,
    /// `||R||_F^2`, by which independent noise of unit variance in the messages is amplified.
    pub amplification: f64,
    /// Rank of the least-squares problem, of which a ridge is part; for other rules the number of
    /// responders whose weight is not 0.
    pub rank: usize,
}

impl RoundWeights {
    /// Takes stock of `weights` for the columns they weigh.
    pub(super) fn of(
        weights: Vec<f64>,
        rank: usize,
        columns: &[Vec<(usize, f64)>],
        partitions: usize,
        blocks: usize,
    ) -> Self {
        // B_S R, row-major (blocks partitions) x blocks.
        let mut product = vec![0.0; partitions * blocks * blocks];
        for (column, weights) in columns.iter().zip(weights.chunks_exact(blocks)) {
            for &(row, value) in column {
                let sums = &mut product[row * blocks..][..blocks];
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += value * weight;
                }
            }
        }
        let residual = product
            .iter()
            .enumerate()
            .map(|(at, value)| {
                let (row, block) = (at / blocks, at % blocks);
                let wanted = f64::from(u8::from(row / partitions == block));
                (value - wanted) * (value - wanted)
            })
            .sum();
        Self {
            residual,
            amplification: weights.iter().map(|weight| weight * weight).sum(),
            weights,
            rank,
        }
    }
}

impl PerRound {
    /// Least squares with this ridge.
    pub fn least_squares(ridge: f64) -> Self {
        Self {
            ridge,
            ..Self::default()
        }
    }

    /// This rule, without ridge or rescaling.
    pub fn rule(rule: Rule) -> Self {
        Self {
            rule,
            ..Self::default()
        }
    }

    /// The weights of responders, in arrival order, whose encoding coefficients `a_ij` are `rows`, over
    /// `partitions` partitions: [`Decoder::round`](super::Decoder::round) without a plan, for messages as
    /// long as the model. Workers are numbered by their place in `rows`.
    ///
    /// # Errors
    /// [`DecodeError::Solve`] if the decomposition does not converge, or a coefficient is not finite.
    ///
    /// # Panics
    /// If a row names a partition that does not exist, or the decoder is for fewer workers.
    pub fn solve(
        &self,
        rows: &[&[(usize, f64)]],
        partitions: usize,
    ) -> Result<RoundWeights, DecodeError> {
        let responders: Vec<usize> = (0..rows.len()).collect();
        let columns: Vec<Vec<(usize, f64)>> = rows.iter().map(|row| row.to_vec()).collect();
        self.weigh(&responders, &columns, partitions, 1)
    }

    /// The weights of `responders`, in arrival order, whose columns of `B` are `columns`, over
    /// `partitions` partitions in `blocks` blocks.
    ///
    /// Least squares costs `O(r^2 m n)` time and `O(r m n)` memory for `r` responders: meant for up to
    /// about a thousand workers. For equal thread counts of the BLAS the result is the same to the last
    /// bit, in whatever order the responders arrived.
    ///
    /// # Errors
    /// [`DecodeError::Solve`] if the decomposition does not converge, a coefficient is not finite, or
    /// the rule has no weights for blocks.
    pub(super) fn weigh(
        &self,
        responders: &[usize],
        columns: &[Vec<(usize, f64)>],
        partitions: usize,
        blocks: usize,
    ) -> Result<RoundWeights, DecodeError> {
        let (mut weights, rank) = match &self.rule {
            _ if responders.is_empty() => (Vec::new(), 0),
            Rule::LeastSquares => self.least(responders, columns, partitions, blocks)?,
            _ if blocks > 1 => {
                return Err(DecodeError::Solve {
                    responders: responders.len(),
                    partitions,
                    reason: format!("only least squares decodes {blocks} blocks"),
                });
            }
            Rule::OneStep { load } => {
                let weight = partitions as f64 / (responders.len() as f64 * load);
                (vec![weight; responders.len()], responders.len())
            }
            Rule::FirstOfGroup { group } => {
                let mut heard = std::collections::HashSet::new();
                let weights = responders
                    .iter()
                    .map(|&worker| f64::from(u8::from(heard.insert(group[worker]))))
                    .collect();
                (weights, heard.len())
            }
            Rule::Graph => {
                let mut order: Vec<usize> = (0..responders.len()).collect();
                order.sort_by_key(|&at| responders[at]);
                let edges: Vec<(usize, usize)> = order
                    .iter()
                    .map(|&at| (columns[at][0].0, columns[at][1].0))
                    .collect();
                let solved = graph::decoding_weights(partitions, &edges)?;
                let mut weights = vec![0.0; solved.len()];
                for (&at, &weight) in order.iter().zip(&solved) {
                    weights[at] = weight;
                }
                let rank = weights.iter().filter(|&&weight| weight != 0.0).count();
                (weights, rank)
            }
        };
        for weight in &mut weights {
            *weight *= self.rescale;
        }
        Ok(RoundWeights::of(weights, rank, columns, partitions, blocks))
    }

    /// Least squares for the responders in ascending order, handed out in theirs.
    fn least(
        &self,
        responders: &[usize],
        columns: &[Vec<(usize, f64)>],
        partitions: usize,
        blocks: usize,
    ) -> Result<(Vec<f64>, usize), DecodeError> {
        let mut order: Vec<usize> = (0..responders.len()).collect();
        order.sort_by_key(|&at| responders[at]);
        let sorted: Vec<_> = order.iter().map(|&at| columns[at].clone()).collect();
        let penalties: Vec<f64> = order
            .iter()
            .map(|&at| self.penalty(responders[at], &columns[at]))
            .collect();
        let (solved, rank) = least_squares::solve(&sorted, partitions, blocks, &penalties)?;
        let mut weights = vec![0.0; solved.len()];
        for (&at, row) in order.iter().zip(solved.chunks_exact(blocks)) {
            weights[at * blocks..][..blocks].copy_from_slice(row);
        }
        Ok((weights, rank))
    }

    /// `rho + phi(z_i) ||B(:,i)||^2`.
    pub(crate) fn penalty(&self, worker: usize, column: &[(usize, f64)]) -> f64 {
        let noise = self.noise.as_ref().map_or(0.0, |noise| {
            noise[worker] * column.iter().map(|(_, value)| value * value).sum::<f64>()
        });
        self.ridge + noise
    }

    /// Checks the decoder against the workers of its plan.
    pub(crate) fn validate(&self, workers: &[WorkerPlan], blocks: usize) -> Result<(), PlanFault> {
        let parameter = |what, value| Err(PlanFault::Parameter { what, value });
        let length = |what, given| {
            Err(PlanFault::Length {
                what,
                given,
                workers: workers.len(),
            })
        };
        if !(self.ridge.is_finite() && self.ridge >= 0.0) {
            return parameter("ridge of the per-round decoder", self.ridge);
        }
        if !(self.rescale.is_finite() && self.rescale > 0.0) {
            return parameter("factor of the per-round decoder", self.rescale);
        }
        if let Some(noise) = &self.noise {
            if noise.len() != workers.len() {
                return length("variances of the per-round decoder", noise.len());
            }
            for &value in noise {
                if !(value.is_finite() && value >= 0.0) {
                    return parameter("variance of the per-round decoder", value);
                }
            }
        }
        match &self.rule {
            Rule::LeastSquares => return Ok(()),
            Rule::OneStep { load } if !(load.is_finite() && *load > 0.0) => {
                return parameter("load of one-step decoding", *load);
            }
            Rule::FirstOfGroup { group } if group.len() != workers.len() => {
                return length("groups of workers", group.len());
            }
            Rule::Graph => {
                let edge =
                    |w: &WorkerPlan| w.load() == 2 && w.assignment.iter().all(|&(_, a)| a == 1.0);
                if let Some(worker) = workers.iter().position(|w| !w.is_idle() && !edge(w)) {
                    return Err(PlanFault::NotAnEdge { worker });
                }
                if self.noise.is_some() || self.ridge != 0.0 {
                    return parameter("ridge of a decoder in closed form", self.ridge);
                }
            }
            Rule::OneStep { .. } | Rule::FirstOfGroup { .. } => {}
        }
        if blocks > 1 {
            return Err(PlanFault::Blocks {
                blocks,
                rule: "only least squares in every round can decode more than 1",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn solve(ridge: f64, rows: &[Vec<(usize, f64)>], partitions: usize) -> RoundWeights {
        let rows: Vec<&[(usize, f64)]> = rows.iter().map(Vec::as_slice).collect();
        PerRound::least_squares(ridge)
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
