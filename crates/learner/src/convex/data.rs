//! Seeded synthetic rows and targets.

use super::{ConvexConfig, Objective, dot};
use crate::normal;
use counter_rng::{Purpose, rng};

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

/// Standard normals of one stream.
pub(super) fn fill_normal(values: &mut [f64], seed: u64, what: u64) {
    normal::fill_normal(values, &mut rng(seed, Purpose::Synthesis, what, 0));
}
