//! What a checkpoint holds of a run, and how it is read back.
//!
//! ```text
//! config.toml              the configuration as run; whoever resumes compares it
//! parameters.safetensors   beta_t, bit for bit
//! optimizer.safetensors    the optimizer's vectors
//! shadow.safetensors       with quantized updates downwards: the workers' copy of the model
//! memory-0003.safetensors  with error feedback: what worker 3 had still to deliver
//! state.json               everything else: MasterState
//! ```
//!
//! Minibatches, delays and rounding are functions of (seed, iteration, ...), so no sampler and no
//! generator has a state to keep: with the same logical workers the resumed run takes the very steps
//! that the uninterrupted one would have taken, on any number of ranks.

use crate::distortion::PhiMonitor;
use crate::memory::Memory;
use crate::norms::Norms;
use crate::offences::Offences;
use crate::roster::LostWorker;
use checkpoint::{Checkpoint, CheckpointError};
use gradient_code::Plan;
use learner::OptimizerState;
use serde::{Deserialize, Serialize};

pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const STATE: &str = "state.json";
pub(crate) const PARAMETERS: &str = "parameters.safetensors";
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";
pub(crate) const SHADOW: &str = "shadow.safetensors";
/// Label of the one vector in a file of parameters.
pub(crate) const BETA: &str = "parameters";
/// Label of the one vector in a file of a memory.
pub(crate) const RESIDUAL: &str = "residual";

/// Name of the file that holds a worker's memory.
pub(crate) fn memory_file(worker: u32) -> String {
    format!("memory-{worker:04}.safetensors")
}

/// What the master knows beside vectors: whatever decides anything later must be here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MasterState {
    /// Iterations completed: the resumed run begins with the iteration of this number.
    pub iterations: u64,
    /// Rounds without an answer at the end of them.
    pub empty_rounds: u64,
    /// Whether an evaluation was due after them and a stop came first.
    pub evaluation_due: bool,
    /// The plan in force.
    pub plan: Plan,
    /// Why it was made.
    pub plan_reason: String,
    /// Workers lost so far. A resumed run has all its ranks again and plans with everybody.
    pub lost: Vec<LostWorker>,
    /// What was refused of whom.
    pub offences: Offences,
    /// Sizes of the messages accepted lately.
    pub norms: Norms,
    /// What the deadline, or the unit of injected delays, is chosen from: seconds, oldest first.
    pub times: Vec<f64>,
    /// Who arrived lately, and what is believed of the workers since; `None` where nobody watches.
    #[serde(default)]
    pub monitor: Option<straggler::Monitor>,
    /// The quantization error of the latest messages, and what is believed of it since; `None` where plans
    /// do not follow it.
    #[serde(default)]
    pub phi_monitor: Option<PhiMonitor>,
    /// `sgd`, `adam` or `adamw`.
    pub optimizer: String,
    /// Steps the optimizer has taken.
    pub optimizer_steps: u64,
    /// With quantized updates downwards: the iteration whose update the workers' copy has. That is
    /// the next one if its round was begun and broken off.
    #[serde(default)]
    pub shadow_iteration: Option<u64>,
    /// The workers that have a memory, and the learning rate at which each residual was left.
    pub memories: Vec<(u32, f64)>,
    /// The decoding weight that each of them is to be delivered with: the plan's, or that of an
    /// earlier one where the plan leaves the worker idle.
    #[serde(default)]
    pub memory_weights: Vec<f64>,
}

/// A checkpoint that has been read and fits the model: what [`crate::Parts::resume`] takes.
#[derive(Debug)]
pub struct Resume {
    pub(crate) state: MasterState,
    pub(crate) parameters: Vec<f32>,
    pub(crate) optimizer: OptimizerState,
    /// The workers' copy of the model, where it is not a function of the model.
    pub(crate) shadow: Vec<f32>,
    checkpoint: Checkpoint,
}

impl Resume {
    /// Reads a checkpoint and verifies all of it, the memories' checksums included, before anything
    /// of the run's directory is touched.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`], [`CheckpointError::Io`], and [`CheckpointError::Foreign`] when
    /// it is of a run with other `workers` or of a model without `dimension` parameters.
    pub fn load(
        checkpoint: Checkpoint,
        dimension: usize,
        workers: usize,
    ) -> Result<Self, CheckpointError> {
        let refused = |what: String| CheckpointError::Foreign {
            path: checkpoint.path().to_owned(),
            what,
        };
        let state: MasterState = checkpoint.json(STATE)?;
        if state.iterations != checkpoint.iteration() {
            return Err(CheckpointError::Damaged {
                path: checkpoint.path().to_owned(),
                what: format!(
                    "{STATE} is of iteration {}, DONE of {}",
                    state.iterations,
                    checkpoint.iteration()
                ),
            });
        }
        if state.plan.workers.len() != workers {
            return Err(refused(format!(
                "it is of a run with {} workers, this one has {workers}",
                state.plan.workers.len()
            )));
        }
        let one = |file: &str, label: &str| {
            let vector = checkpoint.vectors(file)?.remove(label).unwrap_or_default();
            if vector.len() == dimension {
                return Ok(vector);
            }
            Err(refused(format!(
                "{label} in {file} has {} coordinates, the model {dimension}",
                vector.len()
            )))
        };
        let parameters = one(PARAMETERS, BETA)?;
        let shadow = match checkpoint.files().any(|file| file == SHADOW) {
            true => one(SHADOW, BETA)?,
            false => Vec::new(),
        };
        let optimizer = OptimizerState {
            kind: state.optimizer.clone(),
            step: state.optimizer_steps,
            vectors: checkpoint.vectors(OPTIMIZER)?.into_iter().collect(),
        };
        checkpoint.verify_all_but(&[STATE, PARAMETERS, SHADOW, OPTIMIZER])?;
        Ok(Self {
            state,
            parameters,
            optimizer,
            shadow,
            checkpoint,
        })
    }

    /// Iterations completed.
    pub fn iterations(&self) -> u64 {
        self.state.iterations
    }

    /// The configuration as it was run, which [`Checkpoint::text`] reads alone too.
    ///
    /// # Errors
    /// As [`Checkpoint::text`].
    pub fn config(checkpoint: &Checkpoint) -> Result<String, CheckpointError> {
        checkpoint.text(CONFIG)
    }

    /// The model alone, as whoever evaluates it wants it.
    ///
    /// # Errors
    /// As [`Checkpoint::vectors`], and [`CheckpointError::Foreign`] when the model has not `dimension`
    /// parameters.
    pub fn model(checkpoint: &Checkpoint, dimension: usize) -> Result<Vec<f32>, CheckpointError> {
        let vector = checkpoint.vectors(PARAMETERS)?.remove(BETA);
        let vector = vector.unwrap_or_default();
        if vector.len() == dimension {
            return Ok(vector);
        }
        Err(CheckpointError::Foreign {
            path: checkpoint.path().to_owned(),
            what: format!(
                "its model has {} parameters, the configuration's {dimension}",
                vector.len()
            ),
        })
    }

    /// The workers' memories, one after another: they may not fit into memory together.
    pub(crate) fn memories(&self) -> impl Iterator<Item = Result<Memory, CheckpointError>> {
        let weights = self.state.memory_weights.iter().copied();
        let weights = weights.chain(std::iter::repeat(0.0)); // not known: the plan's
        (self.state.memories.iter().zip(weights)).map(|(&(worker, rate), weight)| {
            let mut vectors = self.checkpoint.vectors(&memory_file(worker))?;
            Ok(Memory {
                worker,
                rate,
                weight,
                residual: vectors.remove(RESIDUAL).unwrap_or_default(),
            })
        })
    }
}
