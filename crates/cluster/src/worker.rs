//! One worker's task, the same on every transport: the coded gradient, quantized and packed.

use crate::message::{Status, Task};
use gradient_code::Plan;
use gradient_codec::{EncodeError, MessageId, Preset, QuantizerError};
use learner::{Learner, LearnerError, PartitionLoss};
use std::sync::Arc;
use std::time::Instant;

/// Computes and encodes for any of the plan's workers.
pub struct Engine {
    learner: Box<dyn Learner>,
    /// None until the master has sent one.
    plan: Option<Arc<Plan>>,
    preset: Preset,
    seed: u64,
    gradient: Vec<f32>,
    tail: Vec<f32>,
}

/// What a task cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Seconds of forward and backward passes.
    pub compute_seconds: f64,
    /// Seconds of quantizing and packing.
    pub encode_seconds: f64,
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The model or the data failed.
    #[error(transparent)]
    Learner(#[from] LearnerError),
    /// The coded gradient cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The plan's width does not fit the compressor.
    #[error("failed to {0}")]
    Quantizer(#[from] QuantizerError),
    /// The task does not fit the plan.
    #[error("worker {0} has no data in the current plan")]
    NoData(u32),
}

impl TaskError {
    /// How the failure is reported to the master.
    pub fn status(&self) -> Status {
        match self {
            Self::Encode(
                EncodeError::NotFinite { .. }
                | EncodeError::TailNotFinite { .. }
                | EncodeError::Overflow { .. },
            )
            | Self::Learner(LearnerError::NotFinite { .. }) => Status::NotFinite,
            Self::Learner(LearnerError::Data { .. }) => Status::NoData,
            _ => Status::Failed,
        }
    }
}

impl Engine {
    /// An engine whose messages are compressed with `preset`. It can work once it has a plan.
    pub fn new(learner: Box<dyn Learner>, preset: Preset, seed: u64) -> Self {
        let gradient = vec![0.0; learner.dimension()];
        Self {
            learner,
            plan: None,
            preset,
            seed,
            gradient,
            tail: Vec::new(),
        }
    }

    /// Switches to a new plan.
    pub fn set_plan(&mut self, plan: Arc<Plan>) {
        self.plan = Some(plan);
    }

    /// Computes f_i = sum_j a_ij g_j at `parameters` and writes the frame of Q_i(f_i) into `frame`.
    ///
    /// The frame's unquantized tail holds the loss and the sample count of every assigned
    /// partition, in the assignment's order.
    pub fn run(
        &mut self,
        task: &Task,
        parameters: &[f32],
        frame: &mut Vec<u8>,
    ) -> Result<Timing, TaskError> {
        let worker = self
            .plan
            .as_ref()
            .and_then(|plan| plan.workers.get(task.worker as usize))
            .filter(|worker| !worker.is_idle())
            .ok_or(TaskError::NoData(task.worker))?;
        let started = Instant::now();
        let losses = self.learner.coded_gradient(
            parameters,
            task.iteration,
            &worker.assignment,
            &mut self.gradient,
        )?;
        let computed = Instant::now();
        write_tail(&losses, &mut self.tail);
        let id = MessageId {
            seed: self.seed,
            iteration: task.iteration,
            worker: task.worker,
        };
        self.preset
            .quantizer(worker.bits)?
            .encode(&id, &self.gradient, &self.tail, frame)?;
        Ok(Timing {
            compute_seconds: (computed - started).as_secs_f64(),
            encode_seconds: computed.elapsed().as_secs_f64(),
        })
    }
}

/// `f32`s in the tail of a frame that covers `partitions` partitions.
pub fn tail_len(partitions: usize) -> usize {
    2 * partitions
}

fn write_tail(losses: &[PartitionLoss], tail: &mut Vec<f32>) {
    tail.clear();
    for entry in losses {
        tail.extend([entry.loss as f32, entry.samples as f32]);
    }
}
