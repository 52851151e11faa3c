//! The exact gradient, computed at the master: to measure the decoded one, and to tell a model that
//! diverges from a worker that lies.

use crate::error::RunError;
use crate::master::{Master, diverged, failed};
use crate::transport::beside;
use learner::LearnerError;
use learner::optimizer::gradient_norm;

impl Master<'_> {
    /// Fails when the gradient is not finite here either, so that it is the model's fault and not
    /// one worker's.
    pub(crate) fn check_gradient(&mut self, t: u64) -> Result<(), RunError> {
        self.exact.resize(self.parameters.len(), 0.0);
        let (learner, parameters, exact) = (&mut *self.learner, &self.parameters, &mut self.exact);
        let (computed, moved) = beside(self.transport, || {
            learner.coded_gradient(parameters, t, &[(0, 1.0)], exact)
        });
        moved?;
        match computed {
            // What cannot be sent as f32 is as good as infinite.
            Ok(losses) if losses.iter().all(|entry| (entry.loss as f32).is_finite()) => {
                if gradient_norm(&self.exact) <= f64::from(f32::MAX) {
                    Ok(())
                } else {
                    Err(diverged(t, "the gradient"))
                }
            }
            Ok(_) | Err(LearnerError::NotFinite { .. }) => Err(diverged(t, "the loss")),
            Err(source) => Err(failed("compute a gradient", source)),
        }
    }

    /// norm(ghat/n - g/n) / norm(g/n) with the exact gradient at beta_t; call before the step.
    pub(crate) fn relative_error(&mut self, t: u64) -> Result<f64, RunError> {
        let assignment: Vec<(usize, f64)> = (0..self.plan.partitions)
            .map(|j| (j, 1.0 / self.plan.partitions as f64))
            .collect();
        self.exact.resize(self.parameters.len(), 0.0);
        let (learner, parameters, exact) = (&mut *self.learner, &self.parameters, &mut self.exact);
        let (computed, moved) = beside(self.transport, || {
            learner.coded_gradient(parameters, t, &assignment, exact)
        });
        moved?;
        computed.map_err(|source| failed("compute the exact gradient", source))?;
        let reference = gradient_norm(&self.exact);
        for (exact, decoded) in self.exact.iter_mut().zip(self.estimate.gradient()) {
            *exact -= decoded;
        }
        Ok(gradient_norm(&self.exact) / reference)
    }
}
