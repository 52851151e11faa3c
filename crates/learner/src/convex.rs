//! Convex problems on seeded synthetic data, with known optima: what the theory is tested on.
//!
//! The objective over all N samples is
//! ```text
//! F(x) = (1/N) sum_s loss(<a_s, x>, y_s) + (l2/2) ||x||^2
//! ```
//! with rows `a_s ~ N(0, feature_sd^2 I)` and a hidden `x0 ~ N(0, I)`. Least squares has loss
//! `(1/2)(u - y)^2` and `y = <a, x0> + noise N(0, 1)`; logistic regression has `log(1 + exp(-y u))` and
//! the label `y = sign(<a, x0> + noise N(0, 1))`, so without noise the classes are separable and only
//! `l2 > 0` gives it a minimiser. Runs start at 0, or at a point of `N(0, initial_sd^2 I)`.
//!
//! The linear regression of Li, Skoglund & Xiao 2026 (COCO-EF, arXiv 2603.16353, section V) is
//! [`ConvexConfig::coco_ef`]: one sample per partition, features of variance 100, and `sum_loss` is
//! the paper's objective, the sum and not the mean of the partitions' losses. The paper's step size
//! gamma is for that sum; a learner's step is for the mean, so that the learning rate is `n gamma`.
//!
//! Every partition gradient contains the whole `l2 x`, so that the mean over partitions does too.
//! All arithmetic is f64; only parameters and gradients are f32. There is no held-out data: metrics
//! are exact values of the training objective.

mod data;
mod objective;
mod solve;

pub use objective::Objective;

use crate::{
    Description, Learner, LearnerError, Metric, MinibatchOrder, PartitionLoss, Slot,
    minibatch::partition,
};
use data::Data;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;

/// A convex problem's size and seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvexConfig {
    /// Which loss.
    pub objective: Objective,
    /// Parameters, l.
    pub dimension: usize,
    /// Samples N over all partitions.
    pub samples: u32,
    /// Partitions n.
    pub partitions: usize,
    /// Samples per partition in one iteration; 0 for the whole partition.
    pub batch: usize,
    /// Standard deviation of the noise on the targets (least squares) or on the margin before its
    /// sign is taken (logistic regression).
    pub noise: f64,
    /// Standard deviation of every entry of the rows `a_s`.
    pub feature_sd: f64,
    /// Standard deviation of every coordinate of the initial point; 0 starts at the origin.
    pub initial_sd: f64,
    /// Coefficient of the l2 penalty; a lower bound on the strong convexity.
    pub l2: f64,
    /// Run seed: data, partitions and minibatches.
    pub seed: u64,
}

impl Default for ConvexConfig {
    fn default() -> Self {
        Self {
            objective: Objective::LeastSquares,
            dimension: 100,
            samples: 1000,
            partitions: 10,
            batch: 0,
            noise: 1.0,
            feature_sd: 1.0,
            initial_sd: 0.0,
            l2: 0.0,
            seed: 1,
        }
    }
}

impl ConvexConfig {
    /// Linear regression as in Li, Skoglund & Xiao 2026, section V: N = M = 100 devices and subsets
    /// of one sample each, D = 100, `z_k ~ N(0, 100 I)` (variance 100: with a standard deviation of
    /// 100 the paper's gamma = 1e-5 would diverge), `y_k ~ N(<z_k, theta>, 1)`, `theta_0 ~ N(0, I)`.
    pub fn coco_ef(seed: u64) -> Self {
        Self {
            samples: 100,
            partitions: 100,
            feature_sd: 10.0,
            initial_sd: 1.0,
            seed,
            ..Self::default()
        }
    }
}

/// The minimiser of the full objective.
#[derive(Clone, Debug)]
pub struct Optimum {
    /// The minimiser.
    pub parameters: Vec<f64>,
    /// The objective there.
    pub loss: f64,
}

/// Least squares or logistic regression as a [`Learner`].
#[derive(Debug)]
pub struct ConvexProblem {
    config: ConvexConfig,
    data: Data,
    order: MinibatchOrder,
    /// Once asked for: the minimiser, or why there is none.
    optimum: OnceCell<Result<Optimum, String>>,
    /// The parameters and the gradient in f64.
    point: Vec<f64>,
    slope: Vec<f64>,
}

impl ConvexProblem {
    /// Draws the data.
    ///
    /// # Errors
    /// [`LearnerError::Setting`] for a dimension of 0, more partitions than samples, a `feature_sd`
    /// that is not above 0, or a noise, `initial_sd` or l2 that is negative or not finite.
    pub fn new(config: &ConvexConfig) -> Result<Self, LearnerError> {
        if config.dimension == 0 {
            return Err(LearnerError::setting("dimension", 0, "at least 1"));
        }
        if !(config.feature_sd > 0.0 && config.feature_sd.is_finite()) {
            let valid = "finite and above 0";
            return Err(LearnerError::setting(
                "feature_sd",
                config.feature_sd,
                valid,
            ));
        }
        for (key, value) in [
            ("noise", config.noise),
            ("initial_sd", config.initial_sd),
            ("l2", config.l2),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(LearnerError::setting(key, value, "finite and at least 0"));
            }
        }
        let partitions = partition(config.samples, config.partitions, config.seed);
        Ok(Self {
            config: *config,
            order: MinibatchOrder::new(partitions, config.batch, config.seed)?,
            data: Data::draw(config),
            optimum: OnceCell::new(),
            point: vec![0.0; config.dimension],
            slope: vec![0.0; config.dimension],
        })
    }

    /// The exact objective F at `parameters`, over all samples.
    pub fn loss(&self, parameters: &[f64]) -> f64 {
        let sum: f64 = self
            .data
            .samples()
            .map(|(row, y)| self.config.objective.loss(dot(row, parameters), y))
            .sum();
        sum / f64::from(self.config.samples) + self.penalty(parameters)
    }

    /// The exact gradient of F at `parameters`, over all samples.
    pub fn gradient(&self, parameters: &[f64]) -> Vec<f64> {
        let mut gradient: Vec<f64> = parameters.iter().map(|x| self.config.l2 * x).collect();
        let weight = 1.0 / f64::from(self.config.samples);
        for (row, y) in self.data.samples() {
            let slope = self.config.objective.slope(dot(row, parameters), y);
            add_scaled(&mut gradient, weight * slope, row);
        }
        gradient
    }

    /// The minimiser of F, computed once: conjugate gradients on the normal equations for least
    /// squares, damped Newton steps solved by conjugate gradients for logistic regression. Where
    /// least squares has many minimisers (fewer samples than parameters, l2 = 0) it is the shortest.
    ///
    /// # Errors
    /// [`LearnerError::Backend`] when there is no minimiser: separable classes with `l2 = 0`.
    pub fn optimum(&self) -> Result<&Optimum, LearnerError> {
        self.optimum
            .get_or_init(|| {
                let parameters = self.minimise()?;
                let loss = self.loss(&parameters);
                Ok(Optimum { parameters, loss })
            })
            .as_ref()
            .map_err(|reason| LearnerError::Backend(reason.clone()))
    }

    /// A strong convexity constant of F: the smallest eigenvalue of the Hessian for least squares
    /// (by inverse power iteration, to about 1e-8 relative), `l2` for logistic regression.
    pub fn strong_convexity(&self) -> f64 {
        match self.config.objective {
            Objective::LogisticRegression => self.config.l2,
            Objective::LeastSquares => {
                let mut start = vec![0.0; self.config.dimension];
                data::fill_normal(&mut start, self.config.seed, data::EIGENVECTOR);
                let curvatures = self.curvatures(&start);
                solve::smallest_eigenvalue(|v| self.hessian_times(&curvatures, v), start)
            }
        }
    }

    fn penalty(&self, parameters: &[f64]) -> f64 {
        0.5 * self.config.l2 * dot(parameters, parameters)
    }

    /// Hessian of F times `v`, from the curvatures of the samples ([`Self::curvatures`]).
    fn hessian_times(&self, curvatures: &[f64], v: &[f64]) -> Vec<f64> {
        let mut product: Vec<f64> = v.iter().map(|x| self.config.l2 * x).collect();
        let weight = 1.0 / f64::from(self.config.samples);
        for ((row, _), curvature) in self.data.samples().zip(curvatures) {
            add_scaled(&mut product, weight * curvature * dot(row, v), row);
        }
        product
    }

    /// The second derivative of every sample's loss by its prediction, at `at`.
    fn curvatures(&self, at: &[f64]) -> Vec<f64> {
        let curvature = |(row, y): (&[f64], f64)| match self.config.objective {
            Objective::LeastSquares => 1.0,
            Objective::LogisticRegression => self.config.objective.curvature(dot(row, at), y),
        };
        self.data.samples().map(curvature).collect()
    }

    fn minimise(&self) -> Result<Vec<f64>, String> {
        const NEWTON_STEPS: usize = 100;
        let mut x = vec![0.0; self.config.dimension];
        // The samples' part has no more directions than samples; the penalty adds one eigenvalue.
        let rank = self.config.dimension.min(self.config.samples as usize + 1);
        let start = norm(&self.gradient(&x)).max(f64::MIN_POSITIVE);
        let mut before = f64::INFINITY;
        let unbounded =
            self.config.objective == Objective::LogisticRegression && self.config.l2 == 0.0;
        for _ in 0..NEWTON_STEPS {
            // A separating x can be scaled up to lower the loss for ever.
            if unbounded && self.correct(&x) == self.data.len() {
                return Err(
                    "the classes are separable: without l2 > 0 there is no minimiser".to_owned(),
                );
            }
            let gradient = self.gradient(&x);
            let size = norm(&gradient);
            // Done, or down to rounding (a singular Hessian never gets to 1e-13).
            let stalled = size <= 1e-9 * start && size > 0.5 * before;
            if size <= 1e-13 * start || stalled {
                return Ok(x);
            }
            before = size;
            let curvatures = self.curvatures(&x);
            let product = |v: &[f64]| self.hessian_times(&curvatures, v);
            let newton = solve::conjugate_gradient(product, &gradient, rank);
            let decrease = dot(&newton, &gradient);
            let (here, mut damping) = (self.loss(&x), 1.0);
            let moved = |damping: f64| -> Vec<f64> {
                x.iter()
                    .zip(&newton)
                    .map(|(x, d)| x - damping * d)
                    .collect()
            };
            // Armijo's rule; near the optimum the decrease drowns in rounding and the full step is taken.
            while damping > 1e-6
                && decrease > 1e-12 * here.abs()
                && self.loss(&moved(damping)) > here - 1e-4 * damping * decrease
            {
                damping *= 0.5;
            }
            let next = moved(damping);
            let (step, size) = (damping * norm(&newton), norm(&next));
            x = next;
            if step <= 1e-14 * size {
                return Ok(x);
            }
        }
        let gradient = norm(&self.gradient(&x));
        if gradient <= 1e-9 * start {
            return Ok(x);
        }
        Err(format!(
            "no minimiser after {NEWTON_STEPS} Newton steps: the gradient's norm is still {gradient:.3e}"
        ))
    }

    /// Samples on the right side of the separating plane.
    fn correct(&self, parameters: &[f64]) -> usize {
        let right = |(row, y): &(&[f64], f64)| dot(row, parameters) * y > 0.0;
        self.data.samples().filter(right).count()
    }

    fn load(&mut self, parameters: &[f32]) -> Result<(), LearnerError> {
        check_length("parameters", self.config.dimension, parameters.len())?;
        for (to, from) in self.point.iter_mut().zip(parameters) {
            *to = f64::from(*from);
        }
        Ok(())
    }
}

impl Learner for ConvexProblem {
    fn dimension(&self) -> usize {
        self.config.dimension
    }

    fn partitions(&self) -> usize {
        self.order.partitions()
    }

    /// A point of `N(0, initial_sd^2 I)` drawn with the seed; all zeros for `initial_sd = 0`.
    fn initial_parameters(&mut self) -> Vec<f32> {
        let mut point = vec![0.0; self.config.dimension];
        if self.config.initial_sd > 0.0 {
            data::fill_normal(&mut point, self.config.seed, data::INITIAL);
        }
        let scale = self.config.initial_sd;
        point.iter().map(|x| (scale * x) as f32).collect()
    }

    /// The normaliser is the batch, or N/n with whole partitions, for which the mean over the
    /// partitions is exactly the gradient of F.
    fn coded_gradient(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
        gradient: &mut [f32],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        check_length("gradient", self.config.dimension, gradient.len())?;
        self.load(parameters)?;
        self.slope.fill(0.0);
        let mut losses = Vec::with_capacity(assignment.len());
        for &(partition, coefficient) in assignment {
            if partition >= self.partitions() {
                return Err(LearnerError::UnknownPartition {
                    partition,
                    partitions: self.partitions(),
                });
            }
            let samples = self.order.samples(partition, iteration);
            let normaliser = match self.config.batch {
                0 => f64::from(self.config.samples) / self.partitions() as f64,
                _ => samples.len() as f64,
            };
            let mut sum = 0.0;
            for &sample in &samples {
                let (row, y) = self.data.sample(sample as usize);
                let u = dot(row, &self.point);
                sum += self.config.objective.loss(u, y);
                let weight = coefficient / normaliser * self.config.objective.slope(u, y);
                add_scaled(&mut self.slope, weight, row);
            }
            add_scaled(&mut self.slope, coefficient * self.config.l2, &self.point);
            let loss = sum / normaliser + self.penalty(&self.point);
            if !loss.is_finite() {
                return Err(LearnerError::NotFinite {
                    what: format!("loss of partition {partition}"),
                });
            }
            losses.push(PartitionLoss {
                partition,
                loss,
                samples: samples.len() as f64,
            });
        }
        for (to, from) in gradient.iter_mut().zip(&self.slope) {
            *to = *from as f32;
        }
        if gradient.iter().all(|g| g.is_finite()) {
            Ok(losses)
        } else {
            Err(LearnerError::NotFinite {
                what: "gradient".to_owned(),
            })
        }
    }

    /// `loss` (F), `excess_loss` (F minus its minimum), `distance` (`||x - x*||_2`), `accuracy` for
    /// logistic regression, and `sum_loss` (n F: the objective of papers that sum over the partitions
    /// instead of averaging). Excess and distance are NaN where there is no minimiser.
    fn evaluate(&mut self, parameters: &[f32]) -> Result<Vec<Metric>, LearnerError> {
        self.load(parameters)?;
        let loss = self.loss(&self.point);
        let (excess, distance) = match self.optimum() {
            Ok(optimum) => (
                loss - optimum.loss,
                squared_distance(&self.point, &optimum.parameters).sqrt(),
            ),
            Err(_) => (f64::NAN, f64::NAN),
        };
        let mut metrics = vec![
            Metric::new("loss", loss),
            Metric::new("excess_loss", excess),
            Metric::new("distance", distance),
        ];
        if self.config.objective == Objective::LogisticRegression {
            let right = self.correct(&self.point);
            metrics.push(Metric::new(
                "accuracy",
                right as f64 / f64::from(self.config.samples),
            ));
        }
        metrics.push(Metric::new("sum_loss", self.partitions() as f64 * loss));
        Ok(metrics)
    }

    fn describe(&self) -> Description {
        Description {
            model: self.config.objective.to_string(),
            parameters: self.config.dimension,
            training_samples: self.config.samples as usize,
            validation_samples: 0,
            batch: match self.config.batch {
                0 => self.config.samples as usize / self.partitions(),
                batch => batch,
            },
            device: "cpu".to_owned(),
            start: None,
            slots: vec![Slot {
                name: "weight".to_owned(),
                offset: 0,
                shape: vec![self.config.dimension],
            }],
        }
    }
}

pub(crate) fn check_length(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), LearnerError> {
    if expected == found {
        Ok(())
    } else {
        Err(LearnerError::Length {
            what,
            expected,
            found,
        })
    }
}

/// Inner product in eight interleaved partial sums, so that it vectorises; fixed order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0f64; 8];
    let ((a8, a_rest), (b8, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (x, y) in a8.iter().zip(b8) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

fn add_scaled(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

#[cfg(test)]
mod tests;
