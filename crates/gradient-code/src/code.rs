//! The matrix of a gradient code, stored by worker.
//!
//! Entry `(i, j)` is the coefficient with which worker `i` weighs the gradient of partition `j`.
//! The same container holds the encoding matrix `a_ij` and the effective weights
//! `alpha_i^j = (1 - p_i) w_i a_ij` of Song & Choi 2026 (arXiv 2605.15890), section 3: with
//! `(1 - p_i) w_i = 1`, which is what every scheme here chooses, the two are equal.

use thiserror::Error;

/// A sparse k x n matrix: one row a worker, `(partition, coefficient)` pairs ascending by partition.
#[derive(Clone, Debug, PartialEq)]
pub struct CodeMatrix {
    partitions: usize,
    rows: Vec<Vec<(usize, f64)>>,
}

impl CodeMatrix {
    /// A matrix of `partitions` columns from its rows. Coefficients that are exactly zero are not
    /// stored; however small, every other one is, since dropping it would bias the estimate.
    ///
    /// # Errors
    /// [`CodeError::NoPartitions`]; [`CodeError::Entry`] if a row is not strictly ascending, names a
    /// partition that does not exist, or has a coefficient that is not finite.
    pub fn new(partitions: usize, mut rows: Vec<Vec<(usize, f64)>>) -> Result<Self, CodeError> {
        if partitions == 0 {
            return Err(CodeError::NoPartitions);
        }
        for (worker, row) in rows.iter_mut().enumerate() {
            let mut next = 0;
            for &(partition, coefficient) in row.iter() {
                if partition < next || partition >= partitions || !coefficient.is_finite() {
                    return Err(CodeError::Entry {
                        worker,
                        partition,
                        coefficient,
                        partitions,
                    });
                }
                next = partition + 1;
            }
            row.retain(|&(_, coefficient)| coefficient != 0.0);
        }
        Ok(Self { partitions, rows })
    }

    /// `n`, the number of columns.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// `k` rows, in the order of the workers.
    pub fn rows(&self) -> &[Vec<(usize, f64)>] {
        &self.rows
    }

    /// The rows themselves.
    pub fn into_rows(self) -> Vec<Vec<(usize, f64)>> {
        self.rows
    }

    /// Number of stored coefficients: how many partition gradients all workers compute together.
    pub fn nnz(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }

    /// `d = nnz / n`, how often the average partition is computed in one iteration.
    pub fn computation_load(&self) -> f64 {
        self.nnz() as f64 / self.partitions as f64
    }

    /// `sum_j` of each row.
    pub fn row_sums(&self) -> Vec<f64> {
        let sum = |row: &Vec<(usize, f64)>| row.iter().map(|&(_, coefficient)| coefficient).sum();
        self.rows.iter().map(sum).collect()
    }

    /// `sum_i` of each column. For effective weights these are the coefficients of the partition
    /// gradients in the expected estimate (eq 11): all 1 if and only if it is unbiased (eq 12).
    pub fn column_sums(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.partitions];
        for &(partition, coefficient) in self.rows.iter().flatten() {
            sums[partition] += coefficient;
        }
        sums
    }

    /// The matrix in which partition `j` has coefficient `coefficient(i, j)` at each worker `i` in
    /// `holders[j]`, with one row for each of `workers` workers.
    ///
    /// # Errors
    /// As [`Self::new`].
    ///
    /// # Panics
    /// If `holders` names a worker that does not exist.
    pub fn from_holders(
        workers: usize,
        holders: &[Vec<usize>],
        coefficient: impl Fn(usize, usize) -> f64,
    ) -> Result<Self, CodeError> {
        let mut rows = vec![Vec::new(); workers];
        for (partition, holders) in holders.iter().enumerate() {
            for &worker in holders {
                rows[worker].push((partition, coefficient(worker, partition)));
            }
        }
        Self::new(holders.len(), rows)
    }

    /// Spreads rows designed for some of `workers` workers over all of them: row `m` goes to worker
    /// `of[m]`, everybody else holds nothing.
    ///
    /// # Panics
    /// If `of` names a worker that does not exist.
    pub fn scatter(self, of: &[usize], workers: usize) -> Self {
        let mut rows = vec![Vec::new(); workers];
        for (row, &worker) in self.rows.into_iter().zip(of) {
            rows[worker] = row;
        }
        Self {
            partitions: self.partitions,
            rows,
        }
    }
}

/// Why a code could not be constructed. Messages read after "failed to".
#[derive(Clone, Debug, Error, PartialEq)]
#[allow(missing_docs)] // the fields are what the messages print
pub enum CodeError {
    #[error("construct a code over 0 partitions: at least 1 is needed")]
    NoPartitions,
    #[error(
        "place coefficient {coefficient} of worker {worker} at partition {partition}: a row needs finite coefficients at strictly ascending partitions below {partitions}"
    )]
    Entry {
        worker: usize,
        partition: usize,
        coefficient: f64,
        partitions: usize,
    },
    #[error("use row sum {value} of worker {worker}: row sums are finite and at least 0")]
    RowSum { worker: usize, value: f64 },
    #[error(
        "spread row sums that add up to {total} over {partitions} partitions: the two must be equal"
    )]
    RowSumTotal { total: f64, partitions: usize },
    #[error("use optimality weight {value} of worker {worker}: 1/c_i is finite and at least 0")]
    Weight { worker: usize, value: f64 },
    #[error("find a worker that contributes: every 1/c_i is 0")]
    NoContribution,
    #[error(
        "build OSGC scheme {scheme} for {workers} workers and {partitions} partitions: it needs at least as many partitions as workers; use the overlap construction"
    )]
    FewerPartitionsThanWorkers {
        scheme: &'static str,
        workers: usize,
        partitions: usize,
    },
    #[error(
        "build OSGC scheme {scheme} with holdings of {given} workers: there are {workers} workers"
    )]
    HoldingsLength {
        scheme: &'static str,
        given: usize,
        workers: usize,
    },
    #[error(
        "build OSGC scheme {scheme} with holdings that add up to {total}: n + k - 1 = {required} is required"
    )]
    HoldingsTotal {
        scheme: &'static str,
        total: usize,
        required: usize,
    },
    #[error(
        "build OSGC scheme {scheme} with {holding} partitions at worker {worker}: {requirement}"
    )]
    Holding {
        scheme: &'static str,
        worker: usize,
        holding: usize,
        requirement: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sums() {
        let code = CodeMatrix::new(3, vec![vec![(0, 0.5), (2, -1.0)], vec![], vec![(0, 0.5)]])
            .expect("valid rows");
        assert_eq!(code.nnz(), 3);
        assert_eq!(code.computation_load(), 1.0);
        assert_eq!(code.row_sums(), [-0.5, 0.0, 0.5]);
        assert_eq!(code.column_sums(), [1.0, 0.0, -1.0]);
    }

    #[test]
    fn exact_zeros_are_dropped_and_slivers_are_kept() {
        let code = CodeMatrix::new(2, vec![vec![(0, 0.0), (1, 1e-300)]]).expect("valid rows");
        assert_eq!(code.rows(), [vec![(1, 1e-300)]]);
    }

    #[test]
    fn malformed_rows_are_refused() {
        assert_eq!(CodeMatrix::new(0, vec![]), Err(CodeError::NoPartitions));
        for row in [
            vec![(2, 1.0)],
            vec![(1, 1.0), (0, 1.0)],
            vec![(0, 1.0), (0, 1.0)],
            vec![(0, f64::NAN)],
        ] {
            assert!(matches!(
                CodeMatrix::new(2, vec![row]),
                Err(CodeError::Entry { worker: 0, .. })
            ));
        }
    }

    #[test]
    fn scatter_leaves_the_others_empty() {
        let code = CodeMatrix::new(2, vec![vec![(0, 1.0)], vec![(1, 2.0)]]).expect("valid rows");
        let wide = code.scatter(&[1, 3], 4);
        assert_eq!(
            wide.rows(),
            [vec![], vec![(0, 1.0)], vec![], vec![(1, 2.0)]]
        );
    }
}
