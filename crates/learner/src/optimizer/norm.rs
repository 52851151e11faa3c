//! Global norm of a flat gradient, and clipping by it.

/// Partial sums kept side by side: as many as baseline x86-64 keeps in registers (16 spill and take
/// four times as long).
const LANES: usize = 8;

/// `||gradient||_2`, accumulated in f64 in a fixed order.
///
/// Element `i` goes to partial sum `i mod 8`, and the partial sums are added in ascending order:
/// the result does not depend on the instruction set. NaN or infinity anywhere makes it non-finite,
/// so it doubles as the divergence check.
///
/// ```
/// assert_eq!(learner::optimizer::gradient_norm(&[3.0, 0.0, -4.0]), 5.0);
/// assert!(!learner::optimizer::gradient_norm(&[1.0, f32::NAN]).is_finite());
/// ```
pub fn gradient_norm(gradient: &[f32]) -> f64 {
    let mut sums = [0.0f64; LANES];
    let (blocks, rest) = gradient.as_chunks::<LANES>();
    for block in blocks {
        // by index: this form vectorises where an iterator over both does not
        for lane in 0..LANES {
            let g = f64::from(block[lane]);
            sums[lane] += g * g;
        }
    }
    for (sum, &g) in sums.iter_mut().zip(rest) {
        let g = f64::from(g);
        *sum += g * g;
    }
    sums.iter().sum::<f64>().sqrt()
}

/// The factor that brings a gradient of norm `norm` to at most `max_norm`, as PyTorch's
/// `clip_grad_norm_`: `min(1, max_norm / (norm + 1e-6))`. `max_norm = 0` turns clipping off.
///
/// Multiply it into the `scale` of [`super::Optimizer::step_scaled`].
/// ```
/// use learner::optimizer::clip_scale;
/// assert_eq!(clip_scale(0.5, 1.0), 1.0);
/// assert_eq!(clip_scale(9.0, 0.0), 1.0);
/// assert!((clip_scale(4.0, 1.0) - 0.25).abs() < 1e-6);
/// ```
pub fn clip_scale(norm: f64, max_norm: f64) -> f64 {
    if max_norm > 0.0 {
        (max_norm / (norm + 1e-6)).min(1.0)
    } else {
        1.0
    }
}
