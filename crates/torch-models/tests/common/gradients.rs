//! Coded gradients of a learner.

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

/// The coded gradient at the initial parameters.
pub fn gradient(
    learner: &mut dyn Learner,
    iteration: u64,
    assignment: &[(usize, f64)],
) -> Vec<f32> {
    let parameters = learner.initial_parameters();
    gradient_at(learner, &parameters, iteration, assignment)
}

/// The l2 distance of `sum_j a_j g_j`, formed in f64 from single partitions, to the coded
/// gradient of iteration 4, relative to `sum_j |a_j| ||g_j||`.
pub fn distance(learner: &mut dyn Learner, parameters: &[f32], assignment: &[(usize, f64)]) -> f64 {
    let coded = gradient_at(learner, parameters, 4, assignment);
    let mut difference: Vec<f64> = coded.iter().map(|&g| f64::from(g)).collect();
    let mut scale = 0.0;
    for &(partition, coefficient) in assignment {
        let part = gradient_at(learner, parameters, 4, &[(partition, 1.0)]);
        scale += coefficient.abs() * norm(part.iter().map(|&g| f64::from(g)));
        for (difference, part) in difference.iter_mut().zip(part) {
            *difference -= coefficient * f64::from(part);
        }
    }
    norm(difference.into_iter()) / scale
}

/// The l2 norm.
pub fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}
