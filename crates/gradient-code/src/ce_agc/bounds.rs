//! What Munim & Ramamoorthy 2026 prove about the decoding error, in the paper's letters: `n` workers, `k`
//! partitions, `delta` partitions a worker, `s` stragglers, `m` blocks.
//!
//! Upper bounds hold for the mean over the random diagonals; single draws may exceed them.

use super::{CeAgc, Construction};
use crate::decoder::{DecodeError, Normal};
use crate::designs::Family;

/// `c = E[X^2] E[1/X^2] = (1 + eps^2/3) / (1 - eps^2)` for the entries `X` of a random diagonal, the
/// constant of Lemma 1: 1 for signs.
pub fn spread(epsilon: f64) -> f64 {
    (1.0 + epsilon * epsilon / 3.0) / (1.0 - epsilon * epsilon)
}

/// Eq 10, with `c` of [`spread`]: the mean error of a random diagonal code on a BIBD is at most
/// `mk - m delta^2 (n-s) / (delta + c (m-1) delta + (n-s-1) lambda)`.
///
/// The paper states it for signs, `c = 1`; for other diagonals it follows from Lemma 1 in the same way,
/// since 1 is an eigenvector of `K`.
pub fn bibd(n: usize, k: usize, delta: usize, lambda: usize, m: usize, s: usize, c: f64) -> f64 {
    let [n, k, delta, lambda, m, s] = [n, k, delta, lambda, m, s].map(|x| x as f64);
    let spread = delta + c * (m - 1.0) * delta;
    m * k - m * delta * delta * (n - s) / (spread + (n - s - 1.0) * lambda)
}

/// Eq 11: the error of the stacked code on a BIBD, whoever the `s` stragglers are (Remark 3).
pub fn bibd_stacked(n: usize, k: usize, delta: usize, lambda: usize, m: usize, s: usize) -> f64 {
    let [n, k, delta, lambda, m, s] = [n, k, delta, lambda, m, s].map(|x| x as f64);
    m * k - delta * delta * (n - s) / (delta + (n - s - 1.0) * lambda)
}

/// Eq 12: the mean error of a random diagonal code on a strongly regular graph with `0 < delta != mu` is
/// at most `mk - m delta^2 (n-s) / ((m delta - mu) + mu (n-s) + (lambda-mu) theta)`, with the eigenvalue
/// `theta` of the graph that is worst. (`c` as in [`bibd`].)
pub fn strongly_regular(
    n: usize,
    delta: usize,
    lambda: usize,
    mu: usize,
    m: usize,
    s: usize,
    c: f64,
) -> f64 {
    let [n, delta, lambda, mu, m, s] = [n, delta, lambda, mu, m, s].map(|x| x as f64);
    let gap = lambda - mu;
    let theta = if gap >= 0.0 {
        delta
    } else {
        0.5 * (gap - (gap * gap + 4.0 * (delta - mu)).sqrt())
    };
    let spread = delta + c * (m - 1.0) * delta;
    m * n - m * delta * delta * (n - s) / (spread - mu + mu * (n - s) + gap * theta)
}

/// Eq 17: the mean error of a random diagonal code on a coset bipartite graph with `n = m k` workers is
/// at most `mk - m delta^2 (mk-s) / (m delta^2 + c (m-1) delta)`.
pub fn coset(k: usize, delta: usize, m: usize, s: usize, c: f64) -> f64 {
    let [k, delta, m, s] = [k, delta, m, s].map(|x| x as f64);
    let square = delta * delta;
    m * k - m * square * (m * k - s) / (m * square + c * (m - 1.0) * delta)
}

/// Eq 21: for every code some set of `s` stragglers has at least the error `max_u u floor(k (s+m-u) / (n
/// delta))`, `u` from 1 to `m`. Averages over sets may lie below.
pub fn lower(n: usize, k: usize, delta: usize, m: usize, s: usize) -> f64 {
    let at = |u: usize| u * (k * (s + m - u) / (n * delta));
    (1..=m).map(at).max().unwrap_or(0) as f64
}

/// The closed bound on the mean error at `s` stragglers, where the paper has one for the code: eqs 10,
/// 12 or 17 for random diagonals, the exact eq 11 for the stacked code on a BIBD.
pub fn closed(code: &CeAgc, s: usize) -> Option<f64> {
    let assignment = code.assignment();
    let (n, k) = (assignment.workers(), assignment.partitions());
    let (delta, m) = (assignment.degree(), code.blocks());
    match (code.construction(), assignment.family()) {
        (Construction::Stacked, Family::Bibd { lambda }) => {
            Some(bibd_stacked(n, k, delta, lambda, m, s))
        }
        (Construction::RandomDiagonal { epsilon }, family) => {
            let c = spread(epsilon);
            match family {
                Family::Bibd { lambda } => Some(bibd(n, k, delta, lambda, m, s, c)),
                Family::StronglyRegular { lambda, mu } if delta != mu && mu > 0 => {
                    Some(strongly_regular(n, delta, lambda, mu, m, s, c))
                }
                Family::Coset { copies } if copies == m => Some(coset(k, delta, m, s, c)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Lemma 1 as a function of the responders: the mean error of a random diagonal code is at most
/// `mk - m 1^T A_S K^{-1} A_S^T 1` with `K = A_S^T A_S + c (m-1) delta I`. Without diagonals (`m = 1`)
/// this is the error itself.
pub struct Lemma1 {
    normal: Normal,
    everything: f64,
    blocks: f64,
}

impl Lemma1 {
    /// For all sets of responders of this code; `None` if its diagonals are not random.
    pub fn new(code: &CeAgc) -> Option<Self> {
        let Construction::RandomDiagonal { epsilon } = code.construction() else {
            return None;
        };
        let assignment = code.assignment();
        let m = code.blocks() as f64;
        let penalty = spread(epsilon) * (m - 1.0) * assignment.degree() as f64;
        let columns = assignment
            .held()
            .iter()
            .map(|held| held.iter().map(|&j| (j, 1.0)).collect())
            .collect();
        let partitions = assignment.partitions();
        let penalties = vec![penalty; assignment.workers()];
        Some(Self {
            normal: Normal::new(columns, partitions, 1, penalties),
            everything: m * partitions as f64,
            blocks: m,
        })
    }

    /// The bound for these responders.
    ///
    /// # Errors
    /// [`DecodeError::Solve`] if LAPACK does not converge.
    pub fn at(&self, responders: &[usize]) -> Result<f64, DecodeError> {
        let solution = self.normal.solve(responders)?;
        Ok(self.everything - self.blocks * solution.alignment)
    }
}

/// Eq 20 for the columns of a Hadamard code and the `responders`: `mk - sum_u 1^T A_{u,S} St^{-1}
/// A_{u,S}^T 1`, with `St` the diagonal matrix of the row sums of `|B_S^T B_S|`.
pub fn hadamard(
    columns: &[Vec<(usize, f64)>],
    partitions: usize,
    blocks: usize,
    responders: &[usize],
) -> f64 {
    let mut rows: Vec<Vec<(usize, f64)>> = vec![Vec::new(); partitions * blocks];
    let mut sums = vec![0.0; responders.len() * blocks];
    for (i, &worker) in responders.iter().enumerate() {
        for &(row, value) in &columns[worker] {
            rows[row].push((i, value));
            sums[i * blocks + row / partitions] += value;
        }
    }
    let mut caught = 0.0;
    let mut products = vec![0.0f64; responders.len()];
    for (i, &worker) in responders.iter().enumerate() {
        products.fill(0.0);
        for &(row, a) in &columns[worker] {
            for &(j, b) in &rows[row] {
                products[j] += a * b;
            }
        }
        let scale: f64 = products.iter().map(|product| product.abs()).sum();
        if scale > 0.0 {
            let square: f64 = sums[i * blocks..][..blocks].iter().map(|x| x * x).sum();
            caught += square / scale;
        }
    }
    (partitions * blocks) as f64 - caught
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!(
            (actual - expected).abs() <= tolerance,
            "{actual} is not {expected}"
        );
    }

    #[test]
    fn numbers_of_the_plane_of_order_nine() {
        // s, eq 11, eq 10, eq 21 at m = 2.
        for (s, stacked, bound, least) in [
            (1, 91.09, 16.86, 0.0),
            (9, 91.89, 19.62, 1.0),
            (10, 92.00, 20.00, 2.0),
            (13, 92.34, 21.18, 2.0),
            (22, 93.54, 25.18, 4.0),
        ] {
            close(bibd_stacked(91, 91, 10, 1, 2, s), stacked, 0.005);
            close(bibd(91, 91, 10, 1, 2, s, 1.0), bound, 0.005);
            close(lower(91, 91, 10, 2, s), least, 0.0);
        }
    }

    #[test]
    fn numbers_of_other_families() {
        close(strongly_regular(29, 14, 6, 7, 2, 0, 1.0), 7.96, 0.005);
        close(strongly_regular(29, 14, 6, 7, 2, 7, 1.0), 9.60, 0.005);
        close(spread(0.1), 1.013_468, 5e-7);
        close(coset(27, 5, 2, 0, spread(0.1)), 4.97, 0.005);
        close(coset(27, 5, 2, 13, spread(0.1)), 16.77, 0.005);
    }

    #[test]
    fn nobody_left_is_everything_lost() {
        close(bibd(7, 7, 3, 1, 2, 7, 1.0), 14.0, 0.0);
        close(bibd_stacked(7, 7, 3, 1, 2, 7), 14.0, 0.0);
        close(strongly_regular(29, 14, 6, 7, 2, 29, 1.0), 58.0, 0.0);
        close(coset(27, 5, 2, 54, 1.0), 54.0, 0.0);
    }
}
