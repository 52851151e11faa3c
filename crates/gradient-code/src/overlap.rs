//! Theorem 1 and the overlap construction of Song & Choi 2026 (arXiv 2605.15890).
//!
//! [`optimal_row_sums`] says how much weight each worker carries (eq 20); [`overlap`] lays these
//! weights end to end along the partitions (eq 22), which gives non-negative coefficients, at most
//! `n + k - 1` of them, and so a computation load of at most `1 + (k - 1)/n`.

use crate::code::{CodeError, CodeMatrix};
use crate::sum::{sum, two_sum};

/// How near to a partition's edge a worker's edge is taken to be on it.
///
/// Only such rounding residue is merged. Anything wider is a coefficient, however small: dropping it
/// would bias the estimate.
const MERGE: f64 = 1e-12;

/// The row sums of an optimal code, `Y_i = n c_i^{-1} / S` with `S = sum_m c_m^{-1}` (Theorem 1,
/// eq 20).
///
/// `inverse_weights[i]` is `1/c_i = (1 - p_i)/(p_i + phi(z_i))`, the utility of worker `i`; 0 for a
/// worker that takes no part. With `phi = 0` this is Theorem 1 of OSGC (arXiv 2510.22539).
///
/// # Errors
/// [`CodeError::NoPartitions`]; [`CodeError::Weight`] for a value that is negative or not finite;
/// [`CodeError::NoContribution`] if all are 0.
pub fn optimal_row_sums(inverse_weights: &[f64], partitions: usize) -> Result<Vec<f64>, CodeError> {
    if partitions == 0 {
        return Err(CodeError::NoPartitions);
    }
    for (worker, &value) in inverse_weights.iter().enumerate() {
        if !(value.is_finite() && value >= 0.0) {
            return Err(CodeError::Weight { worker, value });
        }
    }
    // Scaled by the largest so that neither the sum nor the products can overflow.
    let largest = inverse_weights.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return Err(CodeError::NoContribution);
    }
    let s = sum(inverse_weights.iter().map(|&value| value / largest));
    let n = partitions as f64;
    Ok(inverse_weights
        .iter()
        .map(|&value| n * (value / largest) / s)
        .collect())
}

/// The overlap construction (eq 22): `alpha_i^j = [min(R_i, j) - max(R_{i-1}, j-1)]_+` with
/// `R_i = Y_1 + .. + Y_i`, partitions counted from 1 as in the paper.
///
/// Column sums are 1 and row sums are `Y_i`, both to within rounding. The number of coefficients is
/// `n + k' - 1 - #{i < k' : R_i integer}` over the `k'` workers with `Y_i > 0`; the others are
/// skipped and hold nothing. Worker `i` holds at most `ceil(Y_i) + 1` partitions, all neighbours.
///
/// `R_k` is `n` exactly, and an `R_i` within 1e-12 of an integer is that integer. (A worker with
/// `Y_i < 1e-12` at such an edge may therefore end up with nothing.)
///
/// ```
/// let code = gradient_code::overlap::overlap(&[0.5, 2.25, 0.75, 1.5], 5)?;
/// assert_eq!(code.rows()[1], [(0, 0.5), (1, 1.0), (2, 0.75)]);
/// assert_eq!(code.rows()[2], [(2, 0.25), (3, 0.5)]);
/// # Ok::<(), gradient_code::code::CodeError>(())
/// ```
///
/// # Errors
/// [`CodeError::NoPartitions`]; [`CodeError::RowSum`] for a row sum that is negative or not finite;
/// [`CodeError::RowSumTotal`] if they do not add up to `n` (relative tolerance 1e-9).
pub fn overlap(row_sums: &[f64], partitions: usize) -> Result<CodeMatrix, CodeError> {
    check(row_sums, partitions)?;
    let end = Edge {
        partition: partitions,
        inside: 0.0,
    };
    let last = row_sums.iter().rposition(|&y| y > 0.0);
    let mut walk = Walk::default();
    let mut left = Edge::default();
    let mut rows = Vec::with_capacity(row_sums.len());
    for (worker, &y) in row_sums.iter().enumerate() {
        walk.advance(y);
        let right = match last {
            Some(last) if worker < last => walk.edge().min(end),
            _ => end,
        };
        rows.push(if y > 0.0 {
            row_between(left, right, y)
        } else {
            Vec::new()
        });
        left = if y > 0.0 { right } else { left };
    }
    CodeMatrix::new(partitions, rows)
}

/// Checks what [`overlap`] and the OSGC constructions ask of row sums.
pub(crate) fn check(row_sums: &[f64], partitions: usize) -> Result<(), CodeError> {
    if partitions == 0 {
        return Err(CodeError::NoPartitions);
    }
    for (worker, &value) in row_sums.iter().enumerate() {
        if !(value.is_finite() && value >= 0.0) {
            return Err(CodeError::RowSum { worker, value });
        }
    }
    let total = sum(row_sums.iter().copied());
    let n = partitions as f64;
    if (total - n).abs() > 1e-9 * n {
        return Err(CodeError::RowSumTotal { total, partitions });
    }
    Ok(())
}

/// A point on the line of partitions, `partition + inside` with `inside` in [0, 1).
///
/// The fraction stands alone so that thousands of partitions cost it no precision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Edge {
    partition: usize,
    inside: f64,
}

impl Edge {
    fn min(self, other: Self) -> Self {
        if self.partition < other.partition {
            self
        } else {
            other
        }
    }
}

/// The running sum `R_i`, compensated (Neumaier).
#[derive(Default)]
struct Walk {
    partition: usize,
    inside: f64,
    residue: f64,
}

impl Walk {
    fn advance(&mut self, y: f64) {
        self.partition += y.trunc() as usize;
        let (inside, lost) = two_sum(self.inside, y.fract());
        self.inside = inside;
        self.residue += lost;
        if self.inside >= 1.0 {
            self.inside -= 1.0;
            self.partition += 1;
        }
    }

    fn edge(&self) -> Edge {
        let inside = self.inside + self.residue;
        if inside < MERGE {
            Edge {
                partition: self.partition,
                inside: 0.0,
            }
        } else if inside > 1.0 - MERGE {
            Edge {
                partition: self.partition + 1,
                inside: 0.0,
            }
        } else {
            Edge {
                partition: self.partition,
                inside,
            }
        }
    }
}

/// What a worker holds that covers the line from `left` to `right`, a stretch of length `y`.
fn row_between(left: Edge, right: Edge, y: f64) -> Vec<(usize, f64)> {
    let stop = right.partition + usize::from(right.inside > 0.0);
    let mut row: Vec<(usize, f64)> = (left.partition..stop)
        .map(|partition| {
            let from = if partition == left.partition {
                left.inside
            } else {
                0.0
            };
            let to = if partition == right.partition {
                right.inside
            } else {
                1.0
            };
            (partition, to - from)
        })
        .filter(|&(_, coefficient)| coefficient > 0.0)
        .collect();
    // Differences of edges are good to 1e-16 absolutely, which is poor for a sliver of 1e-6. What is
    // missing from the row sum goes to the row's largest coefficient.
    let missing = y - row.iter().map(|&(_, coefficient)| coefficient).sum::<f64>();
    if missing.abs() < 1e-14
        && let Some((_, largest)) = row.iter_mut().max_by(|a, b| a.1.total_cmp(&b.1))
    {
        *largest += missing;
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dense(code: &CodeMatrix) -> Vec<Vec<f64>> {
        let mut dense = vec![vec![0.0; code.partitions()]; code.rows().len()];
        for (row, entries) in dense.iter_mut().zip(code.rows()) {
            for &(partition, coefficient) in entries {
                row[partition] = coefficient;
            }
        }
        dense
    }

    #[test]
    fn golden_matrix() {
        let code = overlap(&[0.5, 2.25, 0.75, 1.5], 5).expect("row sums add up to 5");
        assert_eq!(
            dense(&code),
            [
                [0.5, 0.0, 0.0, 0.0, 0.0],
                [0.5, 1.0, 0.75, 0.0, 0.0],
                [0.0, 0.0, 0.25, 0.5, 0.0],
                [0.0, 0.0, 0.0, 0.5, 1.0],
            ]
        );
        assert_eq!(code.nnz(), 5 + 4 - 1);
    }

    #[test]
    fn coinciding_edges_save_a_coefficient_each() {
        let code = overlap(&[1.0, 2.0, 0.5, 0.5], 4).expect("row sums add up to 4");
        assert_eq!(code.nnz(), 4 + 4 - 1 - 2);
        assert_eq!(code.rows()[1], [(1, 1.0), (2, 1.0)]);
    }

    #[test]
    fn rounding_residue_is_merged_and_a_sliver_is_not() {
        let third = 1.0 / 3.0;
        let code = overlap(&[third, third, third, 1.0], 2).expect("row sums add up to 2");
        assert_eq!(code.nnz(), 4);
        let sliver = 3e-12;
        let code = overlap(&[1.0 - sliver, 1.0, sliver], 2).expect("row sums add up to 2");
        assert_eq!(code.nnz(), 4);
        assert_eq!(code.rows()[2], [(1, sliver)]);
    }

    #[test]
    fn idle_workers_are_skipped_wherever_they_stand() {
        let code = overlap(&[0.0, 0.75, 0.0, 1.25, 0.0], 2).expect("row sums add up to 2");
        assert!(code.rows()[0].is_empty() && code.rows()[2].is_empty());
        assert!(code.rows()[4].is_empty());
        assert_eq!(code.rows()[3], [(0, 0.25), (1, 1.0)]);
    }

    #[test]
    fn ten_thousand_workers_lose_no_precision() {
        let weights: Vec<f64> = (0..10_000)
            .map(|i| 1e-4 + f64::from(i % 97) / 7.0)
            .collect();
        let y = optimal_row_sums(&weights, 10_000).expect("weights are positive");
        let code = overlap(&y, 10_000).expect("row sums add up");
        for sum in code.column_sums() {
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        }
        for (sum, y) in code.row_sums().iter().zip(&y) {
            assert!((sum - y).abs() < 1e-12 * y.max(1.0), "{sum} {y}");
        }
    }

    #[test]
    fn theorem_1_is_the_minimum_of_the_quadratic() {
        // sum c_i y_i^2 subject to sum y_i = n: any feasible move away from Y costs.
        let inverse = [0.3, 1.7, 0.9];
        let y = optimal_row_sums(&inverse, 4).expect("weights are positive");
        let cost = |y: &[f64]| -> f64 { y.iter().zip(&inverse).map(|(y, h)| y * y / h).sum() };
        let s: f64 = inverse.iter().sum();
        assert!((cost(&y) - 16.0 / s).abs() < 1e-12);
        for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0)] {
            let mut moved = y.clone();
            moved[from] -= 1e-3;
            moved[to] += 1e-3;
            assert!(cost(&moved) > cost(&y));
        }
    }

    #[test]
    fn bad_input_is_refused_with_its_place() {
        assert_eq!(overlap(&[1.0], 0), Err(CodeError::NoPartitions));
        assert_eq!(
            overlap(&[3.0, -1.0], 2),
            Err(CodeError::RowSum {
                worker: 1,
                value: -1.0
            })
        );
        assert!(matches!(
            overlap(&[1.0, 0.5], 2),
            Err(CodeError::RowSumTotal { partitions: 2, .. })
        ));
        assert!(matches!(
            overlap(&[], 2),
            Err(CodeError::RowSumTotal { .. })
        ));
        assert_eq!(
            optimal_row_sums(&[0.0, 0.0], 2),
            Err(CodeError::NoContribution)
        );
        assert!(matches!(
            optimal_row_sums(&[1.0, f64::INFINITY], 2),
            Err(CodeError::Weight { worker: 1, .. })
        ));
    }

    proptest! {
        /// Row sums on a grid of 1/8, so that many edges coincide, or anywhere.
        #[test]
        fn sums_signs_counts_and_load(
            weights in prop::collection::vec(prop_oneof![Just(0.0), (1u32..40).prop_map(|w| f64::from(w) / 8.0), 1e-6..5.0f64], 1..40),
            partitions in 1usize..60,
        ) {
            prop_assume!(weights.iter().any(|&w| w > 0.0));
            let y = optimal_row_sums(&weights, partitions).expect("weights are valid");
            let code = overlap(&y, partitions).expect("row sums add up");
            for sum in code.column_sums() {
                prop_assert!((sum - 1.0).abs() < 1e-12);
            }
            for (sum, y) in code.row_sums().iter().zip(&y) {
                prop_assert!((sum - y).abs() < 1e-12);
            }
            let mut active = 0;
            let mut on_edges = 0;
            let mut r = 0.0;
            for (row, &y) in code.rows().iter().zip(&y) {
                prop_assert!(row.iter().all(|&(_, a)| a > 0.0 && a <= 1.0 + 1e-12));
                prop_assert!(row.len() <= y.ceil() as usize + 1);
                prop_assert_eq!(row.is_empty(), y == 0.0);
                if y > 0.0 {
                    active += 1;
                    r += y;
                    on_edges += usize::from((r - f64::round(r)).abs() < 1e-11);
                }
            }
            // The last edge, R_k = n, is always on an integer and is not counted.
            prop_assert_eq!(code.nnz(), partitions + active - 1 - (on_edges - 1));
            prop_assert!(code.computation_load() <= 1.0 + (active as f64 - 1.0) / partitions as f64 + 1e-12);
        }

        /// The definition itself, entry by entry.
        #[test]
        fn equals_equation_22(
            weights in prop::collection::vec(1e-3..5.0f64, 1..20),
            partitions in 1usize..20,
        ) {
            let y = optimal_row_sums(&weights, partitions).expect("weights are valid");
            let code = dense(&overlap(&y, partitions).expect("row sums add up"));
            let mut left = 0.0;
            for (i, row) in code.iter().enumerate() {
                let right = left + y[i];
                for (j, &entry) in row.iter().enumerate() {
                    let expected = (f64::min(right, j as f64 + 1.0) - f64::max(left, j as f64)).max(0.0);
                    prop_assert!((entry - expected).abs() < 1e-11);
                }
                left = right;
            }
        }
    }
}
