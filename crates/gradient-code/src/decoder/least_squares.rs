//! The least-squares problem of a round, by a singular value decomposition in f64.

use ndarray::Array2;
use ndarray_linalg::{JobSvd, SVDDC};

use super::DecodeError;

/// The minimiser of `||B_S R - F||_F^2 + sum_i penalty_i ||R(i,:)||^2` of least norm, row-major
/// `r x m`, and the rank of the problem.
///
/// `columns` are the columns of `B` of the `r` responders, as `(row, value)` pairs over
/// `blocks partitions` rows, and `F = I_m (x) 1_n`: column `u` asks for the sum over the `n` partitions
/// of block `u`. Penalties are the rows `sqrt(penalty_i) e_i` under `B_S`, with zeros under `F`, so that
/// the normal equations are never formed. Singular values below `max(rows, r) eps sigma_max` count as 0.
pub(super) fn solve(
    columns: &[Vec<(usize, f64)>],
    partitions: usize,
    blocks: usize,
    penalties: &[f64],
) -> Result<(Vec<f64>, usize), DecodeError> {
    let responders = columns.len();
    // LAPACK must not see a matrix without rows.
    if responders == 0 {
        return Ok((Vec::new(), 0));
    }
    let fail = |reason: String| DecodeError::Solve {
        responders,
        partitions,
        reason,
    };
    let code_rows = partitions * blocks;
    let extra = if penalties.iter().any(|&penalty| penalty > 0.0) {
        responders
    } else {
        0
    };
    // One row per responder: the transpose of the problem's matrix.
    let mut a = Array2::<f64>::zeros((responders, code_rows + extra));
    for (i, (column, penalty)) in columns.iter().zip(penalties).enumerate() {
        for &(row, value) in column {
            if !value.is_finite() {
                return Err(fail(format!("coefficient {value}")));
            }
            a[[i, row]] = value;
        }
        if extra > 0 {
            a[[i, code_rows + i]] = penalty.sqrt();
        }
    }
    let (u, sigma, vt) = a
        .svddc(JobSvd::Some)
        .map_err(|error| fail(error.to_string()))?;
    let (Some(u), Some(vt)) = (u, vt) else {
        return Err(fail("no singular vectors".to_owned()));
    };
    let largest = sigma.iter().copied().fold(0.0, f64::max);
    let negligible = largest * f64::EPSILON * responders.max(code_rows + extra) as f64;
    // The transpose is U diag(sigma) V^T, so R = U diag(1 / sigma) V^T [F; 0].
    let mut projected = Array2::<f64>::zeros((sigma.len(), blocks));
    let mut rank = 0;
    for (t, &sigma) in sigma.iter().enumerate() {
        if sigma > negligible {
            rank += 1;
            let direction = vt.row(t);
            for block in 0..blocks {
                let sum: f64 = (block * partitions..(block + 1) * partitions)
                    .map(|row| direction[row])
                    .sum();
                projected[[t, block]] = sum / sigma;
            }
        }
    }
    let weights = u.dot(&projected);
    // The product of two matrices may be laid out by columns.
    Ok((
        weights.rows().into_iter().flatten().copied().collect(),
        rank,
    ))
}
