//! Stochastic gradient descent with momentum and weight decay.

use super::{
    DecayGroups, Optimizer, OptimizerError, OptimizerState, Second, check_lengths, checked_vectors,
    in_range,
};

/// SGD with PyTorch's momentum convention (no dampening).
#[derive(Clone, Debug)]
pub struct Sgd {
    groups: DecayGroups,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    buffer: Vec<f32>,
    step: u64,
}

impl Sgd {
    /// SGD for the parameters of `groups`. With momentum 0 no buffer is kept.
    ///
    /// # Errors
    /// [`OptimizerError::OutOfRange`] unless momentum is in [0, 1), weight decay is at least 0, and
    /// Nesterov comes with momentum.
    pub fn new(
        groups: DecayGroups,
        momentum: f32,
        nesterov: bool,
        weight_decay: f32,
    ) -> Result<Self, OptimizerError> {
        in_range(
            "momentum",
            f64::from(momentum),
            (0.0..1.0).contains(&momentum),
            "0 <= momentum < 1",
        )?;
        in_range(
            "weight_decay",
            f64::from(weight_decay),
            weight_decay >= 0.0 && weight_decay.is_finite(),
            "weight_decay >= 0",
        )?;
        in_range(
            "momentum",
            f64::from(momentum),
            !nesterov || momentum > 0.0,
            "momentum > 0 with nesterov",
        )?;
        let dimension = if momentum > 0.0 {
            groups.dimension()
        } else {
            0
        };
        Ok(Self {
            groups,
            momentum,
            nesterov,
            weight_decay,
            buffer: vec![0.0; dimension],
            step: 0,
        })
    }
}

impl Optimizer for Sgd {
    fn step_scaled(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        scale: f32,
        second: Second<'_>,
        learning_rate: f32,
    ) {
        check_lengths(self.groups.dimension(), parameters, gradient, &second);
        let momentum = self.momentum;
        self.step += 1;
        for (span, decays) in self.groups.spans() {
            let decay = if decays { self.weight_decay } else { 0.0 };
            let elements = parameters[span.clone()]
                .iter_mut()
                .zip(&gradient[span.clone()]);
            if self.buffer.is_empty() {
                for (x, g) in elements {
                    *x -= learning_rate * (scale * g + decay * *x);
                }
            } else if self.nesterov {
                for ((x, g), b) in elements.zip(&mut self.buffer[span]) {
                    let g = scale * g + decay * *x;
                    *b = momentum * *b + g;
                    *x -= learning_rate * (g + momentum * *b);
                }
            } else {
                for ((x, g), b) in elements.zip(&mut self.buffer[span]) {
                    *b = momentum * *b + (scale * g + decay * *x);
                    *x -= learning_rate * *b;
                }
            }
        }
    }

    fn has_second_moment(&self) -> bool {
        false
    }

    fn state(&self) -> OptimizerState {
        let vectors = if self.buffer.is_empty() {
            vec![]
        } else {
            vec![("momentum".to_owned(), self.buffer.clone())]
        };
        OptimizerState {
            kind: "sgd".to_owned(),
            step: self.step,
            vectors,
        }
    }

    fn restore(&mut self, state: OptimizerState) -> Result<(), OptimizerError> {
        let step = state.step;
        if self.buffer.is_empty() {
            checked_vectors(state, "sgd", [], self.groups.dimension())?;
        } else {
            let [buffer] = checked_vectors(state, "sgd", ["momentum"], self.groups.dimension())?;
            self.buffer = buffer;
        }
        self.step = step;
        Ok(())
    }
}
