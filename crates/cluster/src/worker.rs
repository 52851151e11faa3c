//! One worker's task, the same on every transport: the coded gradient, quantized and packed.

use crate::blocks;
use crate::distortion;
use crate::faults::{FaultKind, Faults, Phase};
use crate::guard::guarded;
use crate::memory::{ErrorFeedback, Memory, SharedMemories};
use crate::message::{Status, Task};
use crate::resident::Residence;
use gradient_code::{Decoder, Plan};
use gradient_codec::{
    EncodeError, Expected, Frame, FrameError, Generator, MessageId, Preset, QuantizerError,
};
use learner::{Learner, LearnerError, PartitionLoss, ResidentError, Schedule};
use std::sync::Arc;
use std::time::Instant;

/// Computes and encodes for any of the plan's workers.
pub struct Engine {
    /// None after a panic, until it is built anew.
    learner: Option<Box<dyn Learner>>,
    rebuild: Option<Rebuild>,
    faults: Faults,
    /// None until the master has sent one.
    plan: Option<Arc<Plan>>,
    preset: Preset,
    generator: Generator,
    residence: Residence,
    shrink: bool,
    seed: u64,
    gradient: Vec<f32>,
    /// What is sent, where that is not the gradient itself.
    message: Vec<f32>,
    tail: Vec<f32>,
    /// With error feedback only.
    memories: Option<SharedMemories>,
}

/// Builds a worker's model and data anew.
pub type Rebuild = Box<dyn FnMut() -> Result<Box<dyn Learner>, String> + Send>;

/// What a task cost, in time and in precision.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Seconds of forward and backward passes.
    pub compute_seconds: f64,
    /// Seconds of quantizing and packing.
    pub encode_seconds: f64,
    /// [`crate::Header::quantization_error`]. Measuring it is in neither of the times.
    pub quantization_error: Option<f64>,
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
    /// The frame is not one that the master could read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The plan's width does not fit the compressor.
    #[error("failed to {0}")]
    Quantizer(#[from] QuantizerError),
    /// A memory of another model.
    #[error(
        "restore a memory of worker {worker} with {found} coordinates: the model has {expected}"
    )]
    Memory {
        /// Logical worker i.
        worker: u32,
        /// Its coordinates.
        found: usize,
        /// The model's.
        expected: usize,
    },
    /// The task does not fit the plan.
    #[error("worker {0} has no data in the current plan")]
    NoData(u32),
    /// The computation panicked: a bug, in this program or in a library.
    #[error("it panicked: {0}")]
    Panic(String),
    /// After a panic, model and data could not be built anew.
    #[error("failed to set the model up again after a panic: {0}")]
    Rebuild(String),
    /// There is no memory for the task.
    #[error("failed to allocate memory for the task: {0}")]
    OutOfMemory(String),
}

impl From<ResidentError> for TaskError {
    fn from(error: ResidentError) -> Self {
        match error {
            ResidentError::Encode(error) => Self::Encode(error),
            ResidentError::Learner(error) => Self::Learner(error),
        }
    }
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
            learner: Some(learner),
            rebuild: None,
            faults: Faults::default(),
            plan: None,
            preset,
            generator: Generator::default(),
            residence: Residence::default(),
            shrink: false,
            seed,
            gradient,
            message: Vec::new(),
            tail: Vec::new(),
            memories: None,
        }
    }

    /// Shrinks every message, so that compressing it is a contraction: [`crate::Settings::shrink`].
    #[must_use]
    pub fn with_shrink(mut self, shrink: bool) -> Self {
        self.shrink = shrink;
        self
    }

    /// Rounds messages with random bits from `generator`: [`crate::Settings::generator`].
    #[must_use]
    pub fn with_generator(mut self, generator: Generator) -> Self {
        self.generator = generator;
        self
    }

    /// Encodes gradients in the memory of the device that computes them where the learner can
    /// ([`learner::ResidentGradient`]) and nothing has to be done to them on the CPU first: error
    /// feedback, block codes and shrinking do. The frames are the same either way.
    #[must_use]
    pub fn with_resident_gradients(mut self) -> Self {
        self.residence = Residence::wanted();
        self
    }

    /// After a panic, model and data are built anew with `rebuild` before the next task, because
    /// nobody knows what a panic left behind in them. Without this they are used as they are.
    #[must_use]
    pub fn with_rebuild(mut self, rebuild: Rebuild) -> Self {
        self.rebuild = Some(rebuild);
        self
    }

    /// Lets things go wrong on purpose, here and in the transport.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// What is to go wrong.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Adds error feedback to every worker's messages, in a run of `iterations` iterations with
    /// this learning rate: the memory is kept in units of the parameters (see [`Memory`]).
    ///
    /// Master and workers must agree on it, as on the seed: [`crate::Settings::error_feedback`].
    #[must_use]
    pub fn with_error_feedback(
        mut self,
        feedback: ErrorFeedback,
        learning_rate: Schedule,
        iterations: u64,
    ) -> Self {
        self.memories = Some(SharedMemories::new(feedback, learning_rate, iterations));
        self
    }

    /// Switches to a new plan. Memories are rescaled where a worker's decoding weight changed, so
    /// that what they still have to deliver stays the same.
    pub fn set_plan(&mut self, plan: Arc<Plan>) {
        if let (Some(memories), Decoder::Fixed { weights, .. }) = (&self.memories, &plan.decoder) {
            memories.lock().set_weights(weights);
        }
        self.plan = Some(plan);
    }

    /// A handle on what the workers have still to deliver; `None` without error feedback. Whoever
    /// learns the master's verdict on a frame settles it there.
    pub fn memories(&self) -> Option<SharedMemories> {
        self.memories.clone()
    }

    /// What `worker` has still to deliver; `None` without error feedback and before its first
    /// verdict.
    pub fn memory(&self, worker: u32) -> Option<Memory> {
        self.memories.as_ref()?.get(worker)
    }

    /// Continues with a memory exported from [`Engine::memory`]; nothing happens without error
    /// feedback.
    ///
    /// # Errors
    /// [`TaskError::Memory`] for a memory of another model.
    pub fn restore_memory(&self, memory: Memory) -> Result<(), TaskError> {
        let (found, expected) = (memory.residual.len(), self.gradient.len());
        if found != expected {
            return Err(TaskError::Memory {
                worker: memory.worker,
                found,
                expected,
            });
        }
        if let Some(memories) = &self.memories {
            memories.restore(memory);
        }
        Ok(())
    }

    /// [`Engine::run`], where a panic is an error like any other: the next task is tried again, on a
    /// model that is built anew ([`Engine::with_rebuild`]).
    ///
    /// # Errors
    /// As [`Engine::run`]; [`TaskError::Panic`] and [`TaskError::Rebuild`].
    pub fn attempt(
        &mut self,
        task: &Task,
        parameters: &[f32],
        frame: &mut Vec<u8>,
    ) -> Result<Timing, TaskError> {
        let injected = self.faults.of(task);
        let outcome = guarded(|| {
            self.mend()?;
            injected.panic_in(Phase::Compute);
            let timing = self.run(task, parameters, frame)?;
            injected.panic_in(Phase::Header);
            Ok(timing)
        });
        outcome.unwrap_or_else(|text| {
            if self.rebuild.is_some() {
                let broken = self.learner.take();
                let _ = guarded(|| drop(broken)); // what panicked once may do so again
            }
            Err(TaskError::Panic(text))
        })
    }

    /// Builds the model anew if a panic has cost it.
    fn mend(&mut self) -> Result<(), TaskError> {
        if self.learner.is_none()
            && let Some(rebuild) = &mut self.rebuild
        {
            self.learner = Some(rebuild().map_err(TaskError::Rebuild)?);
        }
        Ok(())
    }

    /// Computes f_i at `parameters` and writes the frame of Q_i(f_i) into `frame`: the coded gradient
    /// sum_j a_ij g_j, or with a block code a block that mixes theirs.
    ///
    /// With error feedback what is quantized is f_i and the worker's memory; the memory changes when
    /// the verdict is known ([`SharedMemories::settle`]).
    ///
    /// The frame's unquantized tail holds the loss and the sample count of every assigned
    /// partition, in the assignment's order.
    pub fn run(
        &mut self,
        task: &Task,
        parameters: &[f32],
        frame: &mut Vec<u8>,
    ) -> Result<Timing, TaskError> {
        let plan = self.plan.as_ref().ok_or(TaskError::NoData(task.worker))?;
        let worker = plan
            .workers
            .get(task.worker as usize)
            .filter(|worker| !worker.is_idle())
            .ok_or(TaskError::NoData(task.worker))?;
        let injected = self.faults.of(task);
        if injected.has(FaultKind::Memory, Phase::Compute) {
            // More than any machine has, so that the refusal is the allocator's own.
            let refused = Vec::<u8>::new().try_reserve_exact(isize::MAX as usize);
            if let Err(error) = refused {
                return Err(TaskError::OutOfMemory(error.to_string()));
            }
        }
        let Some(learner) = &mut self.learner else {
            return Err(TaskError::Rebuild("there is none since a panic".to_owned()));
        };
        let started = Instant::now();
        let id = MessageId {
            seed: self.seed,
            iteration: task.iteration,
            worker: task.worker,
        };
        let compressor = self
            .preset
            .compressor(worker.bits, plan.message_len(self.gradient.len()))?
            .with_generator(self.generator)
            .with_shrink(self.shrink);
        let memories = self.memories.as_ref().filter(|_| !task.calibration);
        // What is measured or spoilt has to be here; the frames are the same either way.
        let inspected = injected.spoils_message() || (task.measured && !task.calibration);
        if !inspected
            && let Some(resident) =
                self.residence
                    .of(&mut **learner, plan, &compressor, memories.is_some())
        {
            let losses = resident.compute(parameters, task.iteration, &worker.assignment)?;
            let computed = Instant::now();
            write_tail(&losses, &mut self.tail);
            resident.encode(&compressor, &id, &self.tail, frame)?;
            return Ok(Timing {
                compute_seconds: (computed - started).as_secs_f64(),
                encode_seconds: computed.elapsed().as_secs_f64(),
                quantization_error: None,
            });
        }
        let (message, losses) = blocks::message(
            &mut **learner,
            plan,
            task,
            parameters,
            &mut self.gradient,
            &mut self.message,
        )?;
        self.faults.spoil_message(task, &injected, message);
        let computed = Instant::now();
        write_tail(&losses, &mut self.tail);
        if let Some(memories) = memories {
            memories.lock().add(task.worker, task.iteration, message);
        }
        compressor.encode(&id, message, &self.tail, frame)?;
        let expected = Expected::new(&id, compressor, self.tail.len());
        if let Some(memories) = memories {
            memories
                .lock()
                .sent(task.worker, task.iteration, message, |rest| {
                    Frame::parse(frame, &expected).map(|frame| frame.accumulate(-1.0, rest))
                })?;
        }
        let encode_seconds = computed.elapsed().as_secs_f64();
        let quantization_error = match task.measured && !task.calibration {
            true => distortion::of_message(frame, &expected, message)?,
            false => None,
        };
        Ok(Timing {
            compute_seconds: (computed - started).as_secs_f64(),
            encode_seconds,
            quantization_error,
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
