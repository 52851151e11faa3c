//! Coded gradients of a learner, for tests.

use learner::Learner;

/// The coded gradient at `parameters` as one fresh vector.
pub fn gradient_at(
    learner: &mut dyn Learner,
    parameters: &[f32],
    iteration: u64,
    assignment: &[(usize, f64)],
) -> Vec<f32> {
    let mut gradient = vec![f32::NAN; learner.dimension()];
    learner
        .coded_gradient(parameters, iteration, assignment, &mut gradient)
        .unwrap();
    gradient
}
