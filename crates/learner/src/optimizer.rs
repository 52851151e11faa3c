//! Optimizers on flat vectors: one fused pass per step, no temporaries.
//!
//! Every update is element-wise in f32, so the result does not depend on threads or on how the
//! compiler vectorises the loop. Conventions are PyTorch's: SGD's momentum buffer starts at the
//! first gradient and does not contain the learning rate; `Adam` adds the weight decay to the
//! gradient, `AdamW` shrinks the parameters instead; epsilon is added after the square root.
//!
//! # Two tracks
//! Song & Choi (2026, section V, eq 36) let Adam's two moments see two decodings of the same
//! messages: `chi` the unbiased `ghat(w)`, `nu` the square of the minimum-error `ghat(v)`. For every
//! optimally structured code `v = kappa w`, so the second track is a scalar multiple of the first
//! and costs nothing: [`Second::Scaled`]. Codes for which this does not hold decode twice and pass
//! [`Second::Track`].

mod adam;
mod groups;
mod norm;
mod schedule;
mod sgd;

pub use adam::{Adam, WeightDecay};
pub use groups::DecayGroups;
pub use norm::{clip_scale, gradient_norm};
pub use schedule::{Schedule, ScheduleShape, learning_rate};
pub use sgd::Sgd;

use serde::{Deserialize, Serialize};

/// What Adam's second moment sees.
#[derive(Clone, Copy, Debug)]
pub enum Second<'a> {
    /// The gradient itself: ordinary Adam.
    Same,
    /// `kappa` times the gradient (the scalar identity `v = kappa w`).
    Scaled(f32),
    /// A gradient decoded with the weights `v`, as long as the parameters.
    Track(&'a [f32]),
}

/// A first-order optimizer with its state.
pub trait Optimizer: Send {
    /// One step in place: `parameters <- parameters - learning_rate * direction(scale * gradient)`.
    ///
    /// `scale` multiplies the gradient of both tracks inside the pass; it carries the `1/n` of the
    /// mean and the factor of [`clip_scale`] without another sweep over memory. Weight decay is not
    /// scaled. Optimizers without a second moment ignore `second`.
    ///
    /// # Panics
    /// When a slice has another length than the optimizer was built for.
    fn step_scaled(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        scale: f32,
        second: Second<'_>,
        learning_rate: f32,
    );

    /// [`Optimizer::step_scaled`] with a scale of 1.
    fn step(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        second: Second<'_>,
        learning_rate: f32,
    ) {
        self.step_scaled(parameters, gradient, 1.0, second, learning_rate);
    }

    /// Whether the second track influences the step; false for SGD.
    fn has_second_moment(&self) -> bool;

    /// A copy of the state, for checkpoints.
    fn state(&self) -> OptimizerState;

    /// Continues from a state: afterwards every step is bit-identical to what it would have been in
    /// the optimizer that exported it.
    ///
    /// # Errors
    /// [`OptimizerError::ForeignState`] or [`OptimizerError::StateLength`] when the state belongs to
    /// another kind of optimizer or to another number of parameters; the optimizer is unchanged.
    fn restore(&mut self, state: OptimizerState) -> Result<(), OptimizerError>;
}

/// An optimizer's state as data: the number of steps taken and named vectors as long as the
/// parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OptimizerState {
    /// `sgd`, `adam` or `adamw`.
    pub kind: String,
    /// Steps taken.
    pub step: u64,
    /// `(name, values)`: `momentum` for SGD with momentum; `first_moment`, `second_moment` for Adam.
    pub vectors: Vec<(String, Vec<f32>)>,
}

/// Why an optimizer could not be built or restored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptimizerError {
    /// A hyper-parameter out of range.
    #[error("optimizer {key} = {value} is out of range: {valid}")]
    OutOfRange {
        /// Its name.
        key: &'static str,
        /// Its value.
        value: f64,
        /// What would be valid.
        valid: &'static str,
    },
    /// A state exported by something else.
    #[error(
        "the state is of {found} with vectors {vectors:?}, this optimizer is {expected} with {expected_vectors:?}"
    )]
    ForeignState {
        /// Kind of this optimizer.
        expected: String,
        /// Vectors this optimizer keeps.
        expected_vectors: Vec<String>,
        /// Kind in the state.
        found: String,
        /// Vectors in the state.
        vectors: Vec<String>,
    },
    /// A state for another number of parameters.
    #[error("{name} has {found} elements, the model has {expected} parameters")]
    StateLength {
        /// Name of the vector.
        name: String,
        /// Parameters.
        expected: usize,
        /// Elements found.
        found: usize,
    },
}

/// Which optimizer, with its hyper-parameters; the learning rate is [`Schedule`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum OptimizerConfig {
    /// `buffer <- momentum buffer + (g + weight_decay x)`, `x <- x - rate buffer`.
    Sgd {
        /// Momentum in [0, 1); 0 keeps no buffer.
        momentum: f32,
        /// Step along `g + momentum buffer` instead of the buffer.
        nesterov: bool,
        /// Coefficient of the l2 penalty's gradient.
        weight_decay: f32,
    },
    /// Adam with the l2 penalty added to the gradient.
    Adam(AdamConfig),
    /// Adam with decoupled weight decay: `x <- x (1 - rate weight_decay)` before the step.
    AdamW(AdamConfig),
}

/// Hyper-parameters of Adam and AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamConfig {
    /// Decay of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Weight decay.
    pub weight_decay: f32,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl Default for OptimizerConfig {
    /// Plain SGD.
    fn default() -> Self {
        Self::Sgd {
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
        }
    }
}

impl OptimizerConfig {
    /// The optimizer for `dimension` parameters, at step 0; weight decay acts on all of them.
    ///
    /// # Errors
    /// [`OptimizerError::OutOfRange`].
    pub fn build(&self, dimension: usize) -> Result<Box<dyn Optimizer>, OptimizerError> {
        self.build_grouped(DecayGroups::all(dimension))
    }

    /// The optimizer for the parameters of `groups`, at step 0.
    ///
    /// # Errors
    /// [`OptimizerError::OutOfRange`].
    pub fn build_grouped(&self, groups: DecayGroups) -> Result<Box<dyn Optimizer>, OptimizerError> {
        Ok(match *self {
            Self::Sgd {
                momentum,
                nesterov,
                weight_decay,
            } => Box::new(Sgd::new(groups, momentum, nesterov, weight_decay)?),
            Self::Adam(config) => Box::new(Adam::new(groups, config, WeightDecay::Penalty)?),
            Self::AdamW(config) => Box::new(Adam::new(groups, config, WeightDecay::Decoupled)?),
        })
    }
}

fn in_range(
    key: &'static str,
    value: f64,
    ok: bool,
    valid: &'static str,
) -> Result<(), OptimizerError> {
    if ok {
        Ok(())
    } else {
        Err(OptimizerError::OutOfRange { key, value, valid })
    }
}

/// The vectors of a state, checked against the names and the length this optimizer keeps.
fn checked_vectors<const N: usize>(
    state: OptimizerState,
    kind: &str,
    names: [&str; N],
    dimension: usize,
) -> Result<[Vec<f32>; N], OptimizerError> {
    let found: Vec<String> = state.vectors.iter().map(|(name, _)| name.clone()).collect();
    let foreign = || OptimizerError::ForeignState {
        expected: kind.to_owned(),
        expected_vectors: names.map(str::to_owned).to_vec(),
        found: state.kind.clone(),
        vectors: found.clone(),
    };
    if state.kind != kind || found.iter().map(String::as_str).ne(names) {
        return Err(foreign());
    }
    if let Some((name, values)) = state.vectors.iter().find(|(_, v)| v.len() != dimension) {
        return Err(OptimizerError::StateLength {
            name: name.clone(),
            expected: dimension,
            found: values.len(),
        });
    }
    let error = foreign();
    let vectors: Vec<Vec<f32>> = state
        .vectors
        .into_iter()
        .map(|(_, values)| values)
        .collect();
    vectors.try_into().map_err(|_| error)
}

fn check_lengths(dimension: usize, parameters: &[f32], gradient: &[f32], second: &Second<'_>) {
    assert_eq!(parameters.len(), dimension, "parameters of another model");
    assert_eq!(gradient.len(), dimension, "gradient of another model");
    if let Second::Track(track) = second {
        assert_eq!(track.len(), dimension, "second track of another model");
    }
}

#[cfg(test)]
mod tests;
