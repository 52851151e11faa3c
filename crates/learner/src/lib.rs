//! What a rank computes with, independent of libtorch.
//!
//! From the bottom up:
//!
//! 1. [`Learner`]: a model together with its data. It turns (parameters, iteration, assignment)
//!    into a coded gradient, and parameters into held-out metrics. `torch-models` implements it
//!    over libtorch, [`convex`] with plain loops. [`ResidentGradient`]: a gradient that is compressed
//!    in the memory of the device that computed it; [`Sums`]: what a master decodes, summed on one.
//!    [`Cached`] wraps one for a process that plays many workers.
//! 2. [`minibatch`]: which samples belong to a partition and which of them an iteration uses, as
//!    pure functions of the run seed.
//! 3. [`optimizer`]: SGD, Adam and AdamW as one pass over flat vectors, the two-track second moment
//!    of Song & Choi (2026), learning-rate schedules, norm and clipping.
//! 4. [`convex`]: least squares and logistic regression with known optima.
//! 5. [`mlp`]: a multilayer perceptron on digits, without libtorch.
//!
//! # One complete program
//! Gradient descent on least squares with the full partitions, as one worker holding all data:
//! ```
//! use learner::{Learner, convex::{ConvexConfig, ConvexProblem, Objective}};
//! use learner::optimizer::{OptimizerConfig, Second};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut problem = ConvexProblem::new(&ConvexConfig {
//!     objective: Objective::LeastSquares,
//!     dimension: 4,
//!     samples: 64,
//!     partitions: 4,
//!     ..ConvexConfig::default()
//! })?;
//! let n = problem.partitions();
//! let everything: Vec<(usize, f64)> = (0..n).map(|j| (j, 1.0)).collect();
//! let mut optimizer = OptimizerConfig::default().build(problem.dimension())?;
//! let mut parameters = problem.initial_parameters();
//! let mut gradient = vec![0.0; problem.dimension()];
//! for iteration in 0..200 {
//!     problem.coded_gradient(&parameters, iteration, &everything, &mut gradient)?;
//!     // the code carries the SUM of the partition gradients; the step is on their mean
//!     optimizer.step_scaled(&mut parameters, &gradient, 1.0 / n as f32, Second::Same, 0.3);
//! }
//! let metrics = problem.evaluate(&parameters)?;
//! assert_eq!(metrics[1].name, "excess_loss");
//! assert!(metrics[1].value < 1e-9);
//! # Ok(())
//! # }
//! ```

mod cached;
pub mod convex;
mod error;
mod interface;
pub mod minibatch;
pub mod mlp;
mod normal;
pub mod optimizer;
mod resident;
mod sums;

pub use cached::Cached;
pub use error::LearnerError;
pub use interface::{
    CategoryMetrics, Description, Evaluation, FoundObject, Learner, Metric, PartitionLoss, Slot,
};
pub use minibatch::MinibatchOrder;
pub use optimizer::{
    Optimizer, OptimizerConfig, OptimizerState, Schedule, ScheduleShape, Second, learning_rate,
};
pub use resident::{ResidentError, ResidentGradient};
pub use sums::Sums;
