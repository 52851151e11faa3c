//! Seeded synthetic rows and targets.

use super::{ConvexConfig, Objective, dot};
use counter_rng::{Purpose, rng};
use rand::RngExt;

/// Iteration coordinate of the draws: what a stream of normals is for.
const ROWS: u64 = 0;
const HIDDEN: u64 = 1;
const NOISE: u64 = 2;
pub(super) const EIGENVECTOR: u64 = 3;
pub(super) const INITIAL: u64 = 4;

/// N samples: a row-major N x l matrix and N targets.
#[derive(Debug)]
pub(super) struct Data {
    dimension: usize,
    rows: Vec<f64>,
    targets: Vec<f64>,
}

impl Data {
    pub(super) fn draw(config: &ConvexConfig) -> Self {
        let samples = config.samples as usize;
        let mut rows = vec![0.0; samples * config.dimension];
        fill_normal(&mut rows, config.seed, ROWS);
        rows.iter_mut()
            .for_each(|entry| *entry *= config.feature_sd);
        let mut hidden = vec![0.0; config.dimension];
        fill_normal(&mut hidden, config.seed, HIDDEN);
        let mut targets = vec![0.0; samples];
        fill_normal(&mut targets, config.seed, NOISE);
        for (target, row) in targets.iter_mut().zip(rows.chunks_exact(config.dimension)) {
            let noisy = dot(row, &hidden) + config.noise * *target;
            *target = match config.objective {
                Objective::LeastSquares => noisy,
                Objective::LogisticRegression => 1f64.copysign(noisy),
            };
        }
        Self {
            dimension: config.dimension,
            rows,
            targets,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    pub(super) fn sample(&self, index: usize) -> (&[f64], f64) {
        let start = index * self.dimension;
        (
            &self.rows[start..start + self.dimension],
            self.targets[index],
        )
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = (&[f64], f64)> {
        self.rows
            .chunks_exact(self.dimension)
            .zip(self.targets.iter().copied())
    }
}

/// Standard normals by Box and Muller's transform of our own uniforms, so that problems do not
/// change with a dependency's sampler.
pub(super) fn fill_normal(values: &mut [f64], seed: u64, what: u64) {
    let mut random = rng(seed, Purpose::Synthesis, what, 0);
    for pair in values.chunks_mut(2) {
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * random.random::<f64>()).sin_cos();
        pair[0] = radius * cos;
        if let Some(second) = pair.get_mut(1) {
            *second = radius * sin;
        }
    }
}
