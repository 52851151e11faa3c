//! A learner that computes each partition gradient once.

use crate::{Description, Evaluation, Learner, LearnerError, Metric, PartitionLoss};
use std::path::Path;

/// Keeps the partition gradients of the latest (parameters, iteration), for a process that plays many
/// workers who hold the same partitions.
///
/// A coded gradient is then a sum of kept vectors, added in f64: the same up to the rounding of f32,
/// not to the bit, because the learner inside may add partitions in one pass. It costs up to
/// `partitions() x dimension()` floats, and is worth them where a partition gradient costs much more
/// than reading it and the workers who answer hold more than `n` partitions together.
///
/// ```
/// use learner::{Cached, Learner, convex::{ConvexConfig, ConvexProblem}};
/// # fn main() -> Result<(), learner::LearnerError> {
/// let mut problem = Cached::new(Box::new(ConvexProblem::new(&ConvexConfig::default())?));
/// let parameters = problem.initial_parameters();
/// let mut gradient = vec![0.0; problem.dimension()];
/// problem.coded_gradient(&parameters, 0, &[(0, 1.0), (1, 1.0)], &mut gradient)?;
/// problem.coded_gradient(&parameters, 0, &[(1, 1.0), (2, 1.0)], &mut gradient)?;
/// assert_eq!(problem.computed(), 3);
/// # Ok(())
/// # }
/// ```
pub struct Cached {
    inner: Box<dyn Learner>,
    /// What the kept gradients belong to.
    iteration: u64,
    parameters: Vec<f32>,
    kept: Vec<Option<Kept>>,
    /// Buffers of forgotten gradients.
    spare: Vec<Vec<f32>>,
    sum: Vec<f64>,
    computed: u64,
}

struct Kept {
    gradient: Vec<f32>,
    loss: PartitionLoss,
}

impl Cached {
    /// Wraps `inner`.
    pub fn new(inner: Box<dyn Learner>) -> Self {
        let kept = (0..inner.partitions()).map(|_| None).collect();
        Self {
            sum: vec![0.0; inner.dimension()],
            inner,
            iteration: 0,
            parameters: Vec::new(),
            kept,
            spare: Vec::new(),
            computed: 0,
        }
    }

    /// Partition gradients computed so far.
    pub fn computed(&self) -> u64 {
        self.computed
    }

    /// Forgets the gradients of other parameters or another iteration.
    fn turn_to(&mut self, parameters: &[f32], iteration: u64) {
        // by bits, so that NaN is equal to itself
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
        let current = iteration == self.iteration
            && parameters.len() == self.parameters.len()
            && parameters.iter().zip(&self.parameters).all(same);
        if current {
            return;
        }
        self.iteration = iteration;
        self.parameters.clear();
        self.parameters.extend_from_slice(parameters);
        let forgotten = self.kept.iter_mut().filter_map(Option::take);
        self.spare.extend(forgotten.map(|kept| kept.gradient));
    }

    /// Computes the gradient of `partition` unless it is there.
    fn keep(&mut self, partition: usize) -> Result<(), LearnerError> {
        let partitions = self.kept.len();
        let place = self
            .kept
            .get_mut(partition)
            .ok_or(LearnerError::UnknownPartition {
                partition,
                partitions,
            })?;
        if place.is_some() {
            return Ok(());
        }
        let mut gradient = self.spare.pop().unwrap_or_default();
        gradient.resize(self.sum.len(), 0.0);
        let (parameters, one) = (&self.parameters, [(partition, 1.0)]);
        let losses = self
            .inner
            .coded_gradient(parameters, self.iteration, &one, &mut gradient)?;
        let loss = losses
            .first()
            .copied()
            .ok_or_else(|| LearnerError::Backend(format!("partition {partition} has no loss")))?;
        self.computed += 1;
        *place = Some(Kept { gradient, loss });
        Ok(())
    }
}

impl Learner for Cached {
    fn dimension(&self) -> usize {
        self.inner.dimension()
    }

    fn partitions(&self) -> usize {
        self.inner.partitions()
    }

    fn initial_parameters(&mut self) -> Vec<f32> {
        self.inner.initial_parameters()
    }

    fn coded_gradient(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
        gradient: &mut [f32],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        crate::convex::check_length("parameters", self.sum.len(), parameters.len())?;
        crate::convex::check_length("gradient", self.sum.len(), gradient.len())?;
        self.turn_to(parameters, iteration);
        self.sum.fill(0.0);
        let mut losses = Vec::with_capacity(assignment.len());
        for &(partition, coefficient) in assignment {
            self.keep(partition)?;
            let Some(kept) = &self.kept[partition] else {
                continue;
            };
            losses.push(kept.loss);
            for (sum, g) in self.sum.iter_mut().zip(&kept.gradient) {
                *sum += coefficient * f64::from(*g);
            }
        }
        for (to, sum) in gradient.iter_mut().zip(&self.sum) {
            *to = *sum as f32;
        }
        Ok(losses)
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Vec<Metric>, LearnerError> {
        self.inner.evaluate(parameters)
    }

    fn evaluate_in_detail(&mut self, parameters: &[f32]) -> Result<Evaluation, LearnerError> {
        self.inner.evaluate_in_detail(parameters)
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }

    fn export(&self, parameters: &[f32], path: &Path) -> Result<(), LearnerError> {
        self.inner.export(parameters, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mlp::{DigitSource, Mlp, MlpConfig};

    fn problem() -> Mlp {
        Mlp::new(&MlpConfig {
            hidden: 4,
            digits: DigitSource::Synthetic {
                samples: 40,
                noise: 0.3,
            },
            partitions: 5,
            batch: 3,
            ..MlpConfig::default()
        })
        .unwrap()
    }

    #[test]
    fn it_computes_what_the_learner_inside_computes_and_no_more() {
        let mut plain = problem();
        let mut cached = Cached::new(Box::new(problem()));
        let x = cached.initial_parameters();
        let moved: Vec<f32> = x.iter().map(|x| 0.5 * x).collect();
        let (mut a, mut b) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        // the second and the fourth ask for one new partition, the last for none
        for (point, t, assignment, computed) in [
            (&x, 0, vec![(0, 1.0), (1, -0.5)], 2),
            (&x, 0, vec![(1, 2.0), (4, 0.1)], 3),
            (&x, 1, vec![(1, 2.0), (4, 0.1)], 5),
            (&x, 1, vec![(0, 1.0)], 6),
            (&moved, 1, vec![(0, 1.0)], 7),
            (&x, 0, vec![(0, 1.0), (1, -0.5)], 9),
            (&x, 0, vec![], 9),
        ] {
            let expected = plain.coded_gradient(point, t, &assignment, &mut a).unwrap();
            let found = cached
                .coded_gradient(point, t, &assignment, &mut b)
                .unwrap();
            assert_eq!(found, expected);
            assert_eq!(cached.computed(), computed);
            let scale = a.iter().fold(1e-6f32, |m, g| m.max(g.abs()));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5 * scale));
        }
        assert_eq!(cached.evaluate(&x).unwrap(), plain.evaluate(&x).unwrap());
        let unknown = cached.coded_gradient(&x, 0, &[(5, 1.0)], &mut b);
        assert!(matches!(
            unknown,
            Err(LearnerError::UnknownPartition { partition: 5, .. })
        ));
    }
}
