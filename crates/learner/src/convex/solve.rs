//! Conjugate gradients, and the smallest eigenvalue by inverse iteration.

use super::{add_scaled, dot, norm};

/// `x` with `A x = b` for a symmetric positive (semi)definite `A` given by its product; the
/// minimum-norm solution when A is singular and b in its range.
///
/// Stops at a relative residual of 1e-15, or after twice as many steps as exact arithmetic would need:
/// `rank` is at least the number of different eigenvalues of A, 0 aside.
pub(super) fn conjugate_gradient(
    apply: impl Fn(&[f64]) -> Vec<f64>,
    b: &[f64],
    rank: usize,
) -> Vec<f64> {
    let mut x = vec![0.0; b.len()];
    let mut residual = b.to_vec();
    let mut direction = b.to_vec();
    let mut energy = dot(&residual, &residual);
    let target = 1e-30 * energy;
    for _ in 0..2 * rank + 100 {
        if energy <= target {
            break;
        }
        let image = apply(&direction);
        let curvature = dot(&direction, &image);
        if curvature <= f64::EPSILON * f64::EPSILON * energy {
            break;
        }
        let step = energy / curvature;
        add_scaled(&mut x, step, &direction);
        add_scaled(&mut residual, -step, &image);
        let next = dot(&residual, &residual);
        let ratio = next / energy;
        energy = next;
        for (d, r) in direction.iter_mut().zip(&residual) {
            *d = r + ratio * *d;
        }
    }
    x
}

/// The smallest eigenvalue of a symmetric positive semidefinite `A` given by its product.
pub(super) fn smallest_eigenvalue(apply: impl Fn(&[f64]) -> Vec<f64>, start: Vec<f64>) -> f64 {
    let mut vector = start;
    let mut value = f64::INFINITY;
    for _ in 0..1000 {
        let size = norm(&vector);
        vector.iter_mut().for_each(|v| *v /= size);
        let quotient = dot(&vector, &apply(&vector));
        if (value - quotient).abs() <= 1e-10 * quotient {
            return quotient;
        }
        value = quotient;
        vector = conjugate_gradient(&apply, &vector, vector.len());
    }
    value
}
