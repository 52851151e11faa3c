//! Standard normals for synthetic problems and initial parameters.

use counter_rng::CounterRng;
use rand::RngExt;

/// Standard normals by Box and Muller's transform of our own uniforms, so that problems do not
/// change with a dependency's sampler.
pub(crate) fn fill_normal(values: &mut [f64], random: &mut CounterRng) {
    for pair in values.chunks_mut(2) {
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * random.random::<f64>()).sin_cos();
        pair[0] = radius * cos;
        if let Some(second) = pair.get_mut(1) {
            *second = radius * sin;
        }
    }
}
