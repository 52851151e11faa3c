//! Construction 2: Hadamard products with null-space constraints (Algorithm 1).
//!
//! For `n = m k` workers, `k` partitions. Vectors `v_1 .. v_m` over the workers are chosen such that, with
//! `H_i` the workers of partition `i`, the codes `A_u(i, H_i) = v_u(H_i)^T / ||v_u(H_i)||^2` have
//! `A_u v_u = 1` and `A_u v_w = 0` for `u != w`. Then `B v_u = f_u`: with `R = [v_1 .. v_m]` everything is
//! recovered when nobody is late.
//!
//! The paper leaves the vectors open. Here they are standard Gaussian vectors projected onto the null
//! space of the codes before (all of space for the first), drawn again if a partition's part is nearly 0,
//! which would make its coefficients huge. A projection does not depend on the basis that LAPACK finds,
//! which is another one on every machine.

use counter_rng::CounterRng;
use ndarray::{Array1, Array2, s};
use ndarray_linalg::{JobSvd, SVDDC};
use rand_distr::{Distribution, StandardNormal};

use crate::designs::{DesignError, RegularAssignment};
use crate::draw::plan_time;

/// Draws before giving up on a vector.
const ATTEMPTS: usize = 1000;

/// Least `||v(H)||^2` of a partition, as a part of what it is on average.
const SMALLEST: f64 = 0.05;

/// Streams of the generator that nothing else draws from.
const STREAM: u64 = 1 << 40;

/// A code of Construction 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Hadamard {
    /// Per worker, `A_u(j, i)` of its partitions, row-major `load x m`, as in
    /// [`crate::BlockCode::Fixed`].
    pub coefficients: Vec<Vec<f64>>,
    /// `v_u`, which decodes block `u` when nobody is late.
    pub vectors: Vec<Vec<f64>>,
}

/// Draws the code for an assignment. Equal seeds give equal codes, up to the rounding of LAPACK.
///
/// # Errors
/// [`DesignError::Hadamard`] unless there are `m` times as many workers as partitions;
/// [`DesignError::NullSpace`] if no draw is well conditioned.
pub fn construct(
    assignment: &RegularAssignment,
    blocks: usize,
    seed: u64,
) -> Result<Hadamard, DesignError> {
    let (n, k) = (assignment.workers(), assignment.partitions());
    if blocks == 0 || n != blocks * k {
        return Err(DesignError::Hadamard {
            workers: n,
            partitions: k,
            blocks,
        });
    }
    let holders = assignment.holders();
    let mut rng = plan_time(seed, STREAM);
    let mut stacked = Array2::<f64>::zeros((blocks * k, n));
    let mut vectors: Vec<Vec<f64>> = Vec::new();
    for u in 0..blocks {
        let basis = null_space(&stacked.slice(s![..u * k, ..]).to_owned())
            .ok_or(DesignError::NullSpace { block: u })?;
        let vector = (0..ATTEMPTS)
            .map(|_| projection(&basis, &mut rng))
            .find(|vector| {
                let total: f64 = vector.iter().map(|v| v * v).sum();
                let average = total * assignment.copies() as f64 / n as f64;
                holders
                    .iter()
                    .all(|held| square(vector, held) > SMALLEST * average)
            })
            .ok_or(DesignError::NullSpace { block: u })?;
        for (i, held) in holders.iter().enumerate() {
            let square = square(&vector, held);
            for &worker in held {
                stacked[[u * k + i, worker]] = vector[worker] / square;
            }
        }
        vectors.push(vector);
    }
    let coefficients = assignment
        .held()
        .iter()
        .enumerate()
        .map(|(worker, held)| {
            held.iter()
                .flat_map(|&j| (0..blocks).map(move |u| (u, j)))
                .map(|(u, j)| stacked[[u * k + j, worker]])
                .collect()
        })
        .collect();
    Ok(Hadamard {
        coefficients,
        vectors,
    })
}

fn square(vector: &[f64], at: &[usize]) -> f64 {
    at.iter().map(|&i| vector[i] * vector[i]).sum()
}

/// An orthonormal basis of the null space, one row each; `None` if LAPACK does not converge.
fn null_space(matrix: &Array2<f64>) -> Option<Array2<f64>> {
    let columns = matrix.ncols();
    if matrix.nrows() == 0 {
        return Some(Array2::eye(columns));
    }
    let (_, sigma, vt) = matrix.svddc(JobSvd::All).ok()?;
    let largest = sigma.iter().copied().fold(0.0, f64::max);
    let rank = sigma
        .iter()
        .filter(|&&sigma| sigma > largest * f64::EPSILON * columns as f64)
        .count();
    Some(vt?.slice(s![rank.., ..]).to_owned())
}

/// A standard Gaussian vector, projected onto the span of the orthonormal rows.
fn projection(basis: &Array2<f64>, rng: &mut CounterRng) -> Vec<f64> {
    let drawn: Array1<f64> = (0..basis.ncols())
        .map(|_| StandardNormal.sample(rng))
        .collect();
    basis.t().dot(&basis.dot(&drawn)).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::designs::{bi_regular, bibd, coset};

    /// `A_u v_w` is 1 for `u = w` and else 0, at every partition.
    #[test]
    fn vectors_and_codes_are_dual() {
        for (assignment, blocks) in [
            (bi_regular(40, 20, 3, 1).expect("it exists"), 2),
            (bi_regular(30, 10, 3, 1).expect("it exists"), 3),
            (coset(18, 9, 4).expect("it exists"), 2),
            (bibd(7, Some(3)).expect("Fano"), 1),
        ] {
            let Hadamard {
                coefficients,
                vectors,
            } = construct(&assignment, blocks, 5).expect("it exists");
            for (w, vector) in vectors.iter().enumerate() {
                for u in 0..blocks {
                    let mut products = vec![0.0; assignment.partitions()];
                    for (worker, held) in assignment.held().iter().enumerate() {
                        for (h, &j) in held.iter().enumerate() {
                            products[j] += coefficients[worker][h * blocks + u] * vector[worker];
                        }
                    }
                    let expected = if u == w { 1.0 } else { 0.0 };
                    for product in products {
                        assert!((product - expected).abs() < 1e-10, "{product} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn only_m_times_as_many_workers_will_do() {
        let fano = bibd(7, Some(3)).expect("Fano");
        let error = construct(&fano, 2, 0).expect_err("7 workers").to_string();
        assert!(error.contains("14 workers for 7 partitions"), "{error}");
    }
}
