//! The least-squares problem of a round by its normal equations: less exact than a singular value
//! decomposition, but a hundred times faster. For averages over many sets of stragglers.

use super::{DecodeError, least_squares};

/// Pivots below this part of their diagonal entry are taken for zero, and the set for one that needs the
/// singular value decomposition.
const NEGLIGIBLE: f64 = 1e-9;

/// A code's columns with all their inner products, for decoding many subsets of them.
pub(crate) struct Normal {
    columns: Vec<Vec<(usize, f64)>>,
    penalties: Vec<f64>,
    partitions: usize,
    blocks: usize,
    /// `B^T B` with the penalties on the diagonal, row-major.
    gram: Vec<f64>,
    /// `B^T F`, row-major `k x m`.
    target: Vec<f64>,
}

/// What least squares makes of one set of responders.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Solution {
    /// `||B_S R - F||_F^2`.
    pub residual: f64,
    /// `tr(F^T B_S R)`: without penalties `m n - residual`.
    pub alignment: f64,
    /// `||R||_F^2`.
    pub amplification: f64,
    /// `||R(i,:)||^2` by responder.
    pub row_norms: Vec<f64>,
}

impl Normal {
    /// For these columns of `B` over `blocks partitions` rows, each with its penalty.
    pub fn new(
        columns: Vec<Vec<(usize, f64)>>,
        partitions: usize,
        blocks: usize,
        penalties: Vec<f64>,
    ) -> Self {
        let k = columns.len();
        let mut rows: Vec<Vec<(usize, f64)>> = vec![Vec::new(); partitions * blocks];
        let mut target = vec![0.0; k * blocks];
        for (i, column) in columns.iter().enumerate() {
            for &(row, value) in column {
                rows[row].push((i, value));
                target[i * blocks + row / partitions] += value;
            }
        }
        let mut gram = vec![0.0; k * k];
        for row in &rows {
            for &(i, a) in row {
                for &(j, b) in row {
                    gram[i * k + j] += a * b;
                }
            }
        }
        for (i, penalty) in penalties.iter().enumerate() {
            gram[i * k + i] += penalty;
        }
        Self {
            columns,
            penalties,
            partitions,
            blocks,
            gram,
            target,
        }
    }

    /// The columns.
    pub fn columns(&self) -> &[Vec<(usize, f64)>] {
        &self.columns
    }

    /// Decodes the columns in `set`.
    ///
    /// # Errors
    /// [`DecodeError::Solve`], where the normal equations are singular and the decomposition that is
    /// used instead does not converge.
    pub fn solve(&self, set: &[usize]) -> Result<Solution, DecodeError> {
        let (k, m, r) = (self.columns.len(), self.blocks, set.len());
        // The lower triangle of the subset, then the targets as m more rows.
        let mut factor = Vec::with_capacity(r * (r + 1) / 2 + m * r);
        for (i, &a) in set.iter().enumerate() {
            factor.extend(set[..=i].iter().map(|&b| self.gram[a * k + b]));
        }
        for u in 0..m {
            factor.extend(set.iter().map(|&a| self.target[a * m + u]));
        }
        let row = |i: usize| i * (i + 1) / 2;
        let target_row = |u: usize| row(r) + u * r;
        // Cholesky by rows; the targets become y = L^{-1} B^T F on the way.
        for i in 0..r + m {
            let start = if i < r { row(i) } else { target_row(i - r) };
            let (above, this) = factor.split_at_mut(start);
            for j in 0..i.min(r) {
                let pivot_row = &above[row(j)..=row(j) + j];
                this[j] = (this[j] - dot(&this[..j], &pivot_row[..j])) * pivot_row[j];
            }
            if i < r {
                let pivot = this[i] - dot(&this[..i], &this[..i]);
                if pivot.is_nan() || pivot <= NEGLIGIBLE * this[i] {
                    return self.decompose(set);
                }
                // The diagonal holds the inverse, which is all that is asked of it.
                this[i] = pivot.sqrt().recip();
            }
        }
        let mut alignment = 0.0;
        let mut weights = vec![0.0; r * m];
        for u in 0..m {
            let y = &factor[target_row(u)..][..r];
            alignment += dot(y, y);
            // R = L^{-T} y, by columns of L^T.
            let mut rest = y.to_vec();
            for i in (0..r).rev() {
                let weight = rest[i] * factor[row(i) + i];
                weights[i * m + u] = weight;
                for (value, l) in rest[..i].iter_mut().zip(&factor[row(i)..]) {
                    *value -= weight * l;
                }
            }
        }
        Ok(self.solution(set, &weights, Some(alignment)))
    }

    /// The same from the singular value decomposition.
    fn decompose(&self, set: &[usize]) -> Result<Solution, DecodeError> {
        let columns: Vec<_> = set.iter().map(|&i| self.columns[i].clone()).collect();
        let penalties: Vec<f64> = set.iter().map(|&i| self.penalties[i]).collect();
        let (weights, _) =
            least_squares::solve(&columns, self.partitions, self.blocks, &penalties)?;
        Ok(self.solution(set, &weights, None))
    }

    fn solution(&self, set: &[usize], weights: &[f64], alignment: Option<f64>) -> Solution {
        let m = self.blocks;
        let row_norms: Vec<f64> = weights.chunks_exact(m).map(|row| dot(row, row)).collect();
        let alignment = alignment.unwrap_or_else(|| {
            set.iter()
                .enumerate()
                .map(|(i, &a)| dot(&weights[i * m..][..m], &self.target[a * m..][..m]))
                .sum()
        });
        // ||B R - F||^2 = m n - tr(F^T B R) - sum_i penalty_i ||R(i,:)||^2, by the normal equations.
        let penalised: f64 = set
            .iter()
            .zip(&row_norms)
            .map(|(&a, norm)| self.penalties[a] * norm)
            .sum();
        let everything = (self.partitions * m) as f64;
        Solution {
            residual: (everything - alignment - penalised).max(0.0),
            alignment,
            amplification: row_norms.iter().sum(),
            row_norms,
        }
    }
}

/// The inner product in four interleaved sums, which may be added in parallel.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    let tail: f64 = a4
        .remainder()
        .iter()
        .zip(b4.remainder())
        .map(|(x, y)| x * y)
        .sum();
    let mut sums = [0.0; 4];
    for (x, y) in a4.zip(b4) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Both ways agree, for random sparse codes that include singular ones.
        #[test]
        fn agrees_with_the_decomposition(
            entries in prop::collection::vec(
                prop::collection::vec(prop_oneof![2 => Just(0.0), 1 => Just(1.0), 2 => -2.0..2.0f64], 8),
                1..9,
            ),
            blocks in prop_oneof![Just(1usize), Just(2), Just(4)],
            penalty in prop_oneof![Just(0.0), 0.01..1.0f64],
            subset in any::<u16>(),
        ) {
            let columns: Vec<Vec<(usize, f64)>> = entries
                .iter()
                .map(|column| column.iter().copied().enumerate().filter(|e| e.1 != 0.0).collect())
                .collect();
            let penalties: Vec<f64> = (0..columns.len()).map(|i| penalty * i as f64).collect();
            let set: Vec<usize> = (0..columns.len()).filter(|i| subset >> i & 1 == 1).collect();
            let normal = Normal::new(columns, 8 / blocks, blocks, penalties);
            let (fast, exact) = (normal.solve(&set).expect("solved"), normal.decompose(&set).expect("solved"));
            let scale = 1e-7 * (1.0 + exact.amplification);
            prop_assert!((fast.residual - exact.residual).abs() < scale, "{fast:?} {exact:?}");
            prop_assert!((fast.alignment - exact.alignment).abs() < scale);
            prop_assert!((fast.amplification - exact.amplification).abs() < scale * (1.0 + exact.amplification));
        }
    }
}
