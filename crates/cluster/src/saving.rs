//! The master's checkpoints: when they are written, what they collect, and how a run goes on.

use crate::error::RunError;
use crate::master::Master;
use crate::memory::{Memory, weight_in};
use crate::settings::Every;
use crate::snapshot::{
    BETA, CONFIG, MasterState, OPTIMIZER, PARAMETERS, RESIDUAL, Resume, SHADOW, STATE, memory_file,
};
use crate::transport::{Event, beside};
use checkpoint::{CheckpointError, Store};
use gradient_code::Decoder;
use run_log::IterationRow;
use std::time::{Duration, Instant};

/// Where and when a run writes checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// The directory.
    pub store: Store,
    /// When, beside those that are asked for and the last one. Seconds are of real time on every
    /// transport.
    pub every: Every,
    /// The configuration as run, kept with each.
    pub config: String,
}

/// The master's own account of them.
#[derive(Debug)]
pub(crate) struct Saving {
    checkpoints: Option<Checkpoints>,
    /// Iteration of the newest complete checkpoint that this run can go on from.
    newest: Option<u64>,
    started: Instant,
    /// When the last one was due, in seconds after `started`.
    at: f64,
    /// What the last one cost.
    cost: Duration,
    /// The longest iteration so far, evaluation included.
    longest: Duration,
    /// Whether a round was abandoned after workers had settled verdicts of it.
    torn: bool,
}

impl Saving {
    pub fn new(checkpoints: Option<Checkpoints>, resumed: Option<u64>) -> Self {
        Self {
            checkpoints,
            newest: resumed,
            started: Instant::now(),
            at: 0.0,
            cost: Duration::ZERO,
            longest: Duration::ZERO,
            torn: false,
        }
    }

    /// Iteration of the newest checkpoint.
    pub fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Time to keep before the job's end: for a checkpoint, and one more iteration if there is to be
    /// one, twice over.
    fn reserve(&self, iteration: bool) -> Duration {
        let iteration = if iteration {
            self.longest
        } else {
            Duration::ZERO
        };
        2 * (iteration + self.cost)
    }

    pub fn iteration_took(&mut self, duration: Duration) {
        self.longest = self.longest.max(duration);
    }

    /// The round in progress will not be finished. With error feedback its workers may have settled
    /// verdicts on it, and then no exact checkpoint can be written any more.
    pub fn abandon(&mut self, feedback: bool) {
        self.torn |= feedback;
    }
}

impl Master<'_> {
    /// Whether the run has been told to stop, or would not finish another iteration in time.
    pub(crate) fn must_stop(&self) -> bool {
        self.signals.stop(self.saving.reserve(true))
    }

    /// The same in the middle of an iteration, whose time is spent already.
    pub(crate) fn must_stop_now(&self) -> bool {
        self.signals.stop(self.saving.reserve(false))
    }

    /// Goes on from a checkpoint: what was read from it takes the place of the initial state.
    pub(crate) fn restore(&mut self, resume: &Resume) -> Result<(), RunError> {
        self.transport.publish(&resume.state.plan)?;
        if self.settings.error_feedback.is_some() {
            for memory in resume.memories() {
                self.transport.restore(memory?)?;
            }
        }
        self.journal.plan(self.first, &self.plan, &self.plan_reason);
        self.clockwork.restore(&resume.state.times);
        self.offences = resume.state.offences.clone();
        self.norms = resume.state.norms.clone();
        for lost in &resume.state.lost {
            self.offences.forgive(lost.worker);
        }
        if !resume.state.lost.is_empty() {
            let lost: Vec<String> = resume
                .state
                .lost
                .iter()
                .map(|lost| lost.worker.to_string())
                .collect();
            self.journal.warning(&format!(
                "before the checkpoint worker {} was lost; this job plans with everybody again",
                lost.join(", ")
            ));
            self.replan(self.first, None, None)?;
        }
        Ok(())
    }

    /// Writes a checkpoint after `done` iterations if one is due.
    pub(crate) fn save_if_due(&mut self, done: u64) -> Result<(), RunError> {
        let asked = self.signals.take_checkpoint();
        let Some(checkpoints) = &self.saving.checkpoints else {
            return Ok(());
        };
        let now = self.saving.started.elapsed().as_secs_f64();
        let every = checkpoints.every;
        let last = done == self.settings.iterations && every != Every::Never;
        if asked || last || every.is_due(done, now, self.saving.at) {
            self.save(done)?;
        }
        Ok(())
    }

    /// Writes a checkpoint after `done` iterations, unless there is one of them already. A failure
    /// is a warning: the run goes on, and the checkpoints before stay.
    pub(crate) fn save(&mut self, done: u64) -> Result<(), RunError> {
        if self.saving.checkpoints.is_none() || self.saving.newest == Some(done) || self.saving.torn
        {
            return Ok(());
        }
        let started = Instant::now();
        self.saving.at = self.saving.started.elapsed().as_secs_f64();
        // A log that ended before a checkpoint could not be continued from it.
        let written = match self.journal.commit() {
            Err(reason) => Err(reason),
            Ok(()) => self.write(done)?.map_err(|error| error.to_string()),
        };
        match written {
            Ok(()) => {
                self.saving.newest = Some(done);
                self.saving.cost = started.elapsed();
                self.between.checkpoint = self.saving.cost.as_secs_f64();
                self.journal
                    .checkpoint(done, self.saving.cost.as_secs_f64());
            }
            Err(reason) => self.journal.warning(&format!(
                "no checkpoint after iteration {done}: failed to {reason}"
            )),
        }
        Ok(())
    }

    /// Writes all of a checkpoint. The outer error ends the run, the inner one only the attempt.
    fn write(&mut self, done: u64) -> Result<Result<(), CheckpointError>, RunError> {
        let Some(checkpoints) = self.saving.checkpoints.clone() else {
            return Ok(Ok(()));
        };
        let mut draft = match checkpoints.store.draft(done) {
            Ok(draft) => draft,
            Err(error) => return Ok(Err(error)),
        };
        // Vectors are written on a thread of their own, so that the workers get their signs of life.
        macro_rules! write {
            ($work:expr) => {{
                let (written, moved) = beside(self.transport, $work);
                moved?;
                if let Err(error) = written {
                    return Ok(Err(error));
                }
            }};
        }
        let parameters = &self.parameters;
        write!(|| draft.vectors(PARAMETERS, &[(BETA, parameters)]));
        let shadow = self.publisher.shadow();
        if !shadow.is_empty() {
            write!(|| draft.vectors(SHADOW, &[(BETA, shadow)]));
        }
        let optimizer = self.optimizer.state();
        let vectors = optimizer.vectors.iter();
        let vectors: Vec<(&str, &[f32])> = vectors.map(|(name, v)| (&**name, &**v)).collect();
        write!(|| draft.vectors(OPTIMIZER, &vectors));
        let (mut memories, mut memory_weights) = (Vec::new(), Vec::new());
        if self.settings.error_feedback.is_some() {
            for worker in 0..self.plan.workers.len() {
                if let Some(mut memory) = self.recall(worker, done)? {
                    // The worker may not have taken in the plan in force yet.
                    if let Decoder::Fixed { weights, .. } = &self.plan.decoder {
                        memory.rescale(weight_in(weights, memory.worker));
                    }
                    let file = memory_file(memory.worker);
                    write!(|| draft.vectors(&file, &[(RESIDUAL, &memory.residual)]));
                    memories.push((memory.worker, memory.rate));
                    memory_weights.push(memory.weight);
                }
            }
        }
        let state = MasterState {
            iterations: done,
            empty_rounds: self.empty_rounds,
            evaluation_due: self.evaluation_due,
            plan: self.plan.clone(),
            plan_reason: self.plan_reason.clone(),
            lost: self.roster.lost().to_vec(),
            offences: self.offences.clone(),
            norms: self.norms.clone(),
            times: self.clockwork.times(),
            monitor: self.monitor.clone(),
            phi_monitor: self.phi_monitor.clone(),
            optimizer: optimizer.kind,
            optimizer_steps: optimizer.step,
            shadow_iteration: self.publisher.published(),
            memories,
            memory_weights,
        };
        write!(|| {
            draft.text(CONFIG, &checkpoints.config)?;
            draft.json(STATE, &state)?;
            draft.publish().map(drop)
        });
        Ok(Ok(()))
    }

    /// What a worker has still to deliver, wherever it lives. Its rank answers while it computes, so
    /// one of which nothing comes for as long as a silent worker is tolerated is lost.
    fn recall(&mut self, worker: usize, t: u64) -> Result<Option<Memory>, RunError> {
        if self.roster.is_lost(worker) {
            return Ok(None);
        }
        self.transport.recall(worker)?;
        let round = self.no_round(t);
        let patience = self.patience_for_an_answer();
        let mut until = round.started + patience;
        let mut moved = self.transport.traffic().up;
        let mut events = Vec::new();
        let mut found = None;
        loop {
            self.transport.poll(self.until(until), &mut events)?;
            let traffic = self.transport.traffic().up;
            let quiet = events.is_empty() && traffic == moved;
            if traffic != moved {
                (moved, until) = (traffic, self.transport.now() + patience);
            }
            for event in events.drain(..) {
                match event {
                    Event::Memory { worker: of, memory } if of == worker => found = Some(memory),
                    other => self.receive(other, &round, None, &mut IterationRow::new(t, 0))?,
                }
            }
            if let Some(memory) = found {
                return Ok(memory);
            }
            if quiet && self.transport.now() >= until {
                self.lose(worker, t, "silent while its memory was awaited");
            }
            if self.roster.is_lost(worker) {
                return Ok(None);
            }
        }
    }
}
