//! Messages shorter than the model: gradients cut into blocks that the workers' code mixes.
//!
//! Munim & Ramamoorthy 2026 (arXiv 2603.22514, section II) cut every partition gradient of `l`
//! coordinates into `m` blocks of `ceil(l / m)`, padded with zeros at the end, and let worker `i` send
//! `f_i = Z B(:,i) = sum_u sum_j B(uk + j, i) g_j[u]`, one block long. The master combines the messages
//! that arrived with one weight per block: block `u` of the estimate is `sum_i R(i,u) f_i`.
//!
//! ```
//! use gradient_code::Fold;
//!
//! // Two blocks of two coordinates from three coordinates; the first block's sign is turned.
//! let y = [1.0, 2.0, 3.0];
//! assert_eq!(Fold::Diagonal(vec![-1.0, 1.0]).apply(&[&y], &[1.0]), [2.0, -2.0]);
//! ```

use counter_rng::{Purpose, rng};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::plan::{Plan, PlanFault, WorkerPlan};

/// How the workers of a plan mix the blocks of their gradients. The code's matrix `B` has one row
/// `uk + j` per block `u` and partition `j`, and one column per worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockCode {
    /// `B(uk + j, i) = a_ij D_u(i)` (Munim & Ramamoorthy 2026, eq 7): one factor per worker and block,
    /// drawn anew in every iteration, uniform on `[-1-eps, -1+eps]` and `[1-eps, 1+eps]`.
    RandomDiagonal {
        /// `m`, the number of blocks.
        blocks: usize,
        /// `eps`, from 0 (signs) to below 1.
        epsilon: f64,
        /// Seed of the draws, which workers and master share.
        seed: u64,
    },
    /// `B(uk + j, i) = a_ij A_u(j, i)`, the same in every iteration.
    Fixed {
        /// `m`, the number of blocks.
        blocks: usize,
        /// Per worker, `A_u(j, i)` of its partitions `j` in the order of the assignment: row-major,
        /// `load x m`. Empty for idle workers.
        coefficients: Vec<Vec<f64>>,
    },
}

/// What a worker does in one iteration with the gradients of its partitions. With `len` the length of a
/// message, block `u` is coordinates `u len .. (u + 1) len`, and coordinates beyond the last are 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Fold<'a> {
    /// Send `sum_j a_ij g_j` as it is: no blocks.
    Whole,
    /// Send `sum_u D_u y[u]` with `y = sum_j a_ij g_j`: the `m` factors.
    Diagonal(Vec<f64>),
    /// Send `sum_j a_ij sum_u A_u(j) g_j[u]`: each partition has factors of its own, row-major,
    /// `load x m` in the order of the assignment.
    PerPartition(&'a [f64]),
}

impl BlockCode {
    /// `m`, the number of blocks.
    pub fn blocks(&self) -> usize {
        match self {
            Self::RandomDiagonal { blocks, .. } | Self::Fixed { blocks, .. } => *blocks,
        }
    }

    /// What `worker`, which holds `load` partitions, does in `iteration`.
    ///
    /// A fixed code in which all partitions of the worker have the same factors is folded as
    /// [`Fold::Diagonal`], which needs one gradient instead of `load`.
    ///
    /// # Panics
    /// If a fixed code has no coefficients for the worker; [`Plan::validate`] refuses such a plan.
    pub fn fold(&self, worker: usize, load: usize, iteration: u64) -> Fold<'_> {
        match self {
            Self::RandomDiagonal {
                blocks,
                epsilon,
                seed,
            } => Fold::Diagonal(diagonal(*seed, iteration, worker, *blocks, *epsilon)),
            Self::Fixed {
                blocks,
                coefficients,
            } => {
                let all = &coefficients[worker][..load * blocks];
                let mut rows = all.chunks_exact(*blocks);
                match rows.next() {
                    Some(first) if rows.all(|row| row == first) => Fold::Diagonal(first.to_vec()),
                    _ => Fold::PerPartition(all),
                }
            }
        }
    }

    /// Checks the code against the workers that use it.
    pub(crate) fn validate(&self, workers: &[WorkerPlan]) -> Result<(), PlanFault> {
        let blocks = self.blocks();
        if blocks == 0 {
            return Err(PlanFault::Blocks {
                blocks,
                rule: "a block code needs at least 1",
            });
        }
        match self {
            Self::RandomDiagonal { epsilon, .. } => {
                if !(0.0..1.0).contains(epsilon) {
                    return Err(PlanFault::Parameter {
                        what: "epsilon of the random diagonal code, which lies in [0, 1)",
                        value: *epsilon,
                    });
                }
            }
            Self::Fixed { coefficients, .. } => {
                if coefficients.len() != workers.len() {
                    return Err(PlanFault::Length {
                        what: "rows of block coefficients",
                        given: coefficients.len(),
                        workers: workers.len(),
                    });
                }
                for (worker, (row, part)) in coefficients.iter().zip(workers).enumerate() {
                    if row.len() != part.load() * blocks {
                        return Err(PlanFault::BlockCoefficients {
                            worker,
                            given: row.len(),
                            load: part.load(),
                            blocks,
                        });
                    }
                    if let Some(&value) = row.iter().find(|value| !value.is_finite()) {
                        return Err(PlanFault::Parameter {
                            what: "block coefficient",
                            value,
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

/// `D_u(i)` for all `u`: stream `worker` of [`Purpose::Code`].
fn diagonal(seed: u64, iteration: u64, worker: usize, blocks: usize, epsilon: f64) -> Vec<f64> {
    let mut rng = rng(seed, Purpose::Code, iteration, worker as u64);
    (0..blocks)
        .map(|_| {
            // Both draws are made even if eps = 0, so the signs do not depend on eps.
            let negative: bool = rng.random();
            let magnitude = 1.0 + epsilon * (2.0 * rng.random::<f64>() - 1.0);
            if negative { -magnitude } else { magnitude }
        })
        .collect()
}

impl Fold<'_> {
    /// The factor of block `block` at the worker's `held`-th partition.
    pub fn factor(&self, held: usize, block: usize, blocks: usize) -> f64 {
        match self {
            Self::Whole => 1.0,
            Self::Diagonal(factors) => factors[block],
            Self::PerPartition(factors) => factors[held * blocks + block],
        }
    }

    /// The message of a worker that holds `gradients` with the coefficients `a_ij` in `coefficients`.
    ///
    /// The specification of what a worker computes, for tests and oracles. For [`Fold::Diagonal`] a
    /// worker may pass its coded gradient `sum_j a_ij g_j` as the only one.
    ///
    /// # Panics
    /// If the gradients are not as many as the coefficients, differ in length, or are fewer than the
    /// factors.
    pub fn apply<G: AsRef<[f64]>>(&self, gradients: &[G], coefficients: &[f64]) -> Vec<f64> {
        assert_eq!(gradients.len(), coefficients.len(), "one coefficient each");
        let dimension = gradients.first().map_or(0, |g| g.as_ref().len());
        let blocks = match self {
            Self::Whole => 1,
            Self::Diagonal(factors) => factors.len(),
            Self::PerPartition(factors) => factors.len() / gradients.len().max(1),
        };
        let len = dimension.div_ceil(blocks);
        let mut message = vec![0.0; len];
        for (held, (gradient, a)) in gradients.iter().zip(coefficients).enumerate() {
            let gradient = gradient.as_ref();
            assert_eq!(gradient.len(), dimension, "gradients of unequal length");
            for (u, block) in gradient.chunks(len.max(1)).enumerate() {
                let factor = a * self.factor(held, u, blocks);
                for (sum, value) in message.iter_mut().zip(block) {
                    *sum += factor * value;
                }
            }
        }
        message
    }
}

impl Plan {
    /// `m`, how many blocks a gradient is cut into; 1 where messages are as long as the model.
    pub fn blocks(&self) -> usize {
        self.block_code.as_ref().map_or(1, BlockCode::blocks)
    }

    /// Coordinates of a message for a model of `dimension`: `ceil(dimension / m)`.
    pub fn message_len(&self, dimension: usize) -> usize {
        dimension.div_ceil(self.blocks())
    }

    /// What `worker` does with its gradients in `iteration`. A pure function of its arguments, so
    /// worker and master agree.
    ///
    /// # Panics
    /// If the worker does not exist, or the plan is not valid.
    pub fn fold(&self, worker: usize, iteration: u64) -> Fold<'_> {
        match &self.block_code {
            None => Fold::Whole,
            Some(code) => code.fold(worker, self.workers[worker].load(), iteration),
        }
    }

    /// The worker's message for the gradients of all partitions, by definition: for tests and oracles.
    ///
    /// # Panics
    /// As [`Fold::apply`] and [`Plan::fold`]; if the worker is idle.
    pub fn message<G: AsRef<[f64]>>(
        &self,
        worker: usize,
        iteration: u64,
        gradients: &[G],
    ) -> Vec<f64> {
        let held = &self.workers[worker].assignment;
        let gradients: Vec<&[f64]> = held.iter().map(|&(j, _)| gradients[j].as_ref()).collect();
        let coefficients: Vec<f64> = held.iter().map(|&(_, a)| a).collect();
        self.fold(worker, iteration)
            .apply(&gradients, &coefficients)
    }

    /// Column `i` of the code's matrix `B` in `iteration`: `(u n + j, value)` for each block `u` and held
    /// partition `j` of the `n` partitions, ascending. Without blocks these are the `(j, a_ij)`.
    ///
    /// # Panics
    /// As [`Plan::fold`].
    pub fn column(&self, worker: usize, iteration: u64) -> Vec<(usize, f64)> {
        let fold = self.fold(worker, iteration);
        let held = &self.workers[worker].assignment;
        column(&fold, held, self.partitions, self.blocks())
    }
}

/// The column of `B` of a worker that holds `held` and folds like this.
pub(crate) fn column(
    fold: &Fold,
    held: &[(usize, f64)],
    partitions: usize,
    blocks: usize,
) -> Vec<(usize, f64)> {
    (0..blocks)
        .flat_map(|u| {
            held.iter()
                .enumerate()
                .map(move |(h, &(j, a))| (u * partitions + j, a * fold.factor(h, u, blocks)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagonals_are_functions_of_their_coordinates() {
        let at = |seed, iteration, worker| diagonal(seed, iteration, worker, 64, 0.25);
        assert_eq!(at(1, 2, 3), at(1, 2, 3));
        for other in [at(2, 2, 3), at(1, 3, 3), at(1, 2, 4)] {
            assert_ne!(at(1, 2, 3), other);
        }
        assert!(at(1, 2, 3).iter().all(|x| (0.75..=1.25).contains(&x.abs())));
        let signs = diagonal(1, 2, 3, 64, 0.0);
        assert!(signs.iter().all(|x| x.abs() == 1.0));
        // eps changes the magnitudes only.
        assert!(signs.iter().zip(at(1, 2, 3)).all(|(s, x)| s * x > 0.0));
        let positive = (0..1000)
            .flat_map(|worker| diagonal(9, 0, worker, 4, 0.0))
            .filter(|x| *x > 0.0)
            .count();
        // Binomial(4000, 1/2), five standard deviations.
        assert!(positive.abs_diff(2000) < 160, "{positive}");
    }

    #[test]
    fn folds_by_hand() {
        let g = [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]];
        assert_eq!(Fold::Whole.apply(&g, &[1.0, 0.5]), [6.0, 12.0, 18.0]);
        // y = (6, 12, 18), blocks (6, 12) and (18, 0).
        let fold = Fold::Diagonal(vec![2.0, -1.0]);
        assert_eq!(fold.apply(&g, &[1.0, 0.5]), [-6.0, 24.0]);
        // 1 (1, 2) + 2 (3, 0) + 3 (10, 20) / 2 + 4 (30, 0) / 2
        let fold = Fold::PerPartition(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(fold.apply(&g, &[1.0, 0.5]), [82.0, 32.0]);
        // More blocks than coordinates: the last ones are empty.
        let fold = Fold::Diagonal(vec![1.0, 2.0, 3.0, 4.0]);
        assert_eq!(fold.apply(&[[1.0, 1.0]], &[1.0]), [3.0]);
    }

    #[test]
    fn equal_rows_fold_as_a_diagonal() {
        let code = BlockCode::Fixed {
            blocks: 2,
            coefficients: vec![vec![1.0, 2.0, 1.0, 2.0], vec![1.0, 2.0, 1.0, 3.0], vec![]],
        };
        assert_eq!(code.fold(0, 2, 7), Fold::Diagonal(vec![1.0, 2.0]));
        assert_eq!(
            code.fold(1, 2, 7),
            Fold::PerPartition(&[1.0, 2.0, 1.0, 3.0])
        );
    }
}
