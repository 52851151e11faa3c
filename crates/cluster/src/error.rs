//! What can end a run, as data.

use learner::LearnerError;

/// A failure of the transport itself.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// An MPI call failed.
    #[error("{call} with rank {rank} failed: {message}")]
    Mpi {
        /// The MPI function.
        call: &'static str,
        /// The other side, -1 where there is none.
        rank: i32,
        /// MPI's own words.
        message: String,
    },
    /// MPI could not be set up.
    #[error("failed to initialize MPI: {0}")]
    Initialization(String),
    /// A bounded wait ran out.
    #[error("rank {rank} was silent for {seconds:.0} s while rank {waiting} waited for {what}")]
    Silent {
        /// Who was waited for.
        rank: usize,
        /// Who waited.
        waiting: usize,
        /// How long.
        seconds: f64,
        /// For what.
        what: String,
    },
    /// A message that no correct peer sends.
    #[error("rank {rank} sent a message this version cannot read ({what})")]
    Protocol {
        /// The sender.
        rank: usize,
        /// What is wrong with it.
        what: String,
    },
}

/// What ended a run early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Too few workers are left.
    #[error(
        "{alive} of {workers} workers are left at iteration {iteration}, fewer than {needed}; lost: {lost}"
    )]
    TooFewWorkers {
        /// Workers alive.
        alive: usize,
        /// Workers at the start.
        workers: usize,
        /// The configured minimum.
        needed: usize,
        /// When.
        iteration: u64,
        /// Who was lost and why.
        lost: String,
    },
    /// Nobody met the deadline for too many rounds.
    #[error(
        "nobody met the deadline for {count} rounds in a row (iteration {iteration}, deadline {deadline:.4} s)"
    )]
    EmptyRounds {
        /// How many in a row.
        count: u64,
        /// When.
        iteration: u64,
        /// The last deadline, seconds.
        deadline: f64,
    },
    /// A worker cannot be measured.
    #[error("failed to measure worker {workers}: {reason}")]
    Calibration {
        /// Who, between commas.
        workers: String,
        /// Why.
        reason: String,
    },
    /// The model is no longer finite.
    #[error("the model diverged at iteration {iteration}: {what} is not finite")]
    Diverged {
        /// When.
        iteration: u64,
        /// What was found.
        what: &'static str,
    },
    /// A worker's data are missing or damaged.
    #[error("worker {worker} cannot train at iteration {iteration}: {reason}")]
    WorkerData {
        /// Who.
        worker: usize,
        /// When.
        iteration: u64,
        /// The file and what is wrong with it.
        reason: String,
    },
    /// The master's own model or data failed.
    #[error("the master failed to {what}: {source}")]
    Learner {
        /// What it was doing.
        what: &'static str,
        /// Why.
        source: LearnerError,
    },
    /// The plan and the settings do not go together.
    #[error(
        "failed to use error feedback with scheme {scheme}: its weights change from round to round, and with them what a memory is worth"
    )]
    FeedbackPerRound {
        /// The plan's scheme.
        scheme: String,
    },
    /// The device that adds up the gradients failed.
    #[error("failed to decode the gradients of iteration {iteration} on {device}: {source}")]
    Sums {
        /// The iteration.
        iteration: u64,
        /// The device.
        device: String,
        /// What it says.
        source: LearnerError,
    },
    /// The answers of a round have no decoding weights.
    #[error("failed to decode iteration {iteration}: {reason}")]
    Decode {
        /// The iteration.
        iteration: u64,
        /// Why.
        reason: String,
    },
    /// The model cannot be sent in the form that was chosen.
    #[error("failed to send the model of iteration {iteration} as an update: {source}")]
    Publish {
        /// The iteration.
        iteration: u64,
        /// Why.
        source: crate::downlink::PublishError,
    },
    /// The checkpoint cannot be used.
    #[error("failed to {0}")]
    Checkpoint(#[from] checkpoint::CheckpointError),
    /// The checkpoint is of another optimizer.
    #[error("failed to go on from the checkpoint: {0}")]
    Optimizer(#[from] learner::optimizer::OptimizerError),
    /// No plan exists for the workers that are left.
    #[error("failed to plan without the lost workers: {0}")]
    Replan(String),
}
