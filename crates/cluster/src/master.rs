//! The master's loop: eq (2) of Song & Choi (arXiv 2605.15890), once per iteration.
//!
//! ```text
//! ghat     = sum_i I_i w_i Q_i(f_i)              accumulated as frames arrive
//! beta_t+1 = beta_t - gamma_t ghat / n
//! ```
//!
//! The division by n makes the step one on the average gradient, as in the authors' runs. The loop
//! is the same over MPI and in process; only the [`Transport`] differs.

use crate::distortion::PhiMonitor;
use crate::downlink::{Model, Publisher};
use crate::error::RunError;
use crate::estimate::Estimate;
use crate::expected::Messages;
use crate::norms::Norms;
use crate::offences::Offences;
use crate::roster::{LostWorker, Roster};
use crate::saving::Saving;
use crate::settings::{EmptyRound, Settings};
use crate::signals::Signals;
use crate::snapshot::Resume;
use crate::straggling::Clockwork;
use crate::transport::{Transport, beside, beside_if_large};
use gradient_code::Plan;
use learner::optimizer::{clip_scale, gradient_norm};
use learner::{Learner, LearnerError, Metric, Optimizer, learning_rate};
use run_log::IterationRow;
use std::collections::BTreeMap;
use std::time::Instant;
use straggler::Monitor;

/// Receives what a run produces, as it happens. What an implementation leaves out is dropped.
pub trait Journal {
    /// One iteration is complete.
    fn iteration(&mut self, row: IterationRow);
    /// The model after `iterations` iterations was evaluated.
    fn evaluation(&mut self, _iterations: u64, _metrics: &[Metric]) {}
    /// `plan` holds from `start_iteration` on; `reason` says for people why it was made.
    fn plan(&mut self, _start_iteration: u64, _plan: &Plan, _reason: &str) {}
    /// Something that happened as it should; where many runs are watched together, nobody needs it.
    fn note(&mut self, _text: &str) {}
    /// Something a person should know.
    fn warning(&mut self, text: &str);
    /// Brings everything so far onto disk, before a checkpoint that goes on from there.
    ///
    /// # Errors
    /// Why it cannot, reading after "failed to"; nothing is lost by that.
    fn commit(&mut self) -> Result<(), String> {
        Ok(())
    }
    /// A checkpoint after `iterations` iterations is complete; it took `seconds`.
    fn checkpoint(&mut self, _iterations: u64, _seconds: f64) {}
}

/// What is known of the workers when a plan is made on the way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Belief {
    /// Per worker: whether it is lost.
    pub dead: Vec<bool>,
    /// p_i as estimated from who answered, strictly between 0 and 1; of the dead it means nothing.
    /// `None` while nothing speaks against what the first plan was made with.
    pub probabilities: Option<Vec<f64>>,
    /// phi(z) by width as the workers measured it on their messages, all above 0; empty while nothing
    /// speaks against what the first plan was made with.
    pub phi: BTreeMap<u8, f64>,
}

impl Belief {
    /// The lost workers, ascending.
    pub fn lost(&self) -> Vec<usize> {
        let lost = |&worker: &usize| self.dead[worker];
        (0..self.dead.len()).filter(lost).collect()
    }
}

/// Makes a plan for the workers that are left.
pub type Replanner<'a> = dyn FnMut(&Belief) -> Result<Plan, String> + 'a;

/// How a run ended that did not fail.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Iterations done.
    pub iterations: u64,
    /// Whether a stop was asked for before the last iteration.
    pub stopped: bool,
    /// After how many iterations the newest checkpoint was written, if there is one.
    pub checkpoint: Option<u64>,
    /// Workers given up on the way.
    pub lost: Vec<LostWorker>,
    /// Metrics of the last evaluation.
    pub metrics: Vec<Metric>,
}

/// Seconds spent between an iteration and the next; NaN for what was not done.
pub(crate) struct Between {
    pub(crate) evaluate: f64,
    pub(crate) checkpoint: f64,
}

impl Default for Between {
    fn default() -> Self {
        Self {
            evaluate: f64::NAN,
            checkpoint: f64::NAN,
        }
    }
}

/// Rank 0 of a run.
pub struct Master<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) transport: &'a mut dyn Transport,
    pub(crate) journal: &'a mut dyn Journal,
    pub(crate) replanner: &'a mut Replanner<'a>,
    pub(crate) signals: Signals,
    pub(crate) learner: &'a mut dyn Learner,
    pub(crate) optimizer: Box<dyn Optimizer>,
    pub(crate) plan: Plan,
    pub(crate) messages: Messages,
    pub(crate) clockwork: Clockwork,
    pub(crate) roster: Roster,
    pub(crate) estimate: Estimate,
    pub(crate) offences: Offences,
    pub(crate) norms: Norms,
    /// beta_t.
    pub(crate) parameters: Vec<f32>,
    pub(crate) publisher: Publisher,
    /// Rounds opened so far, calibration included.
    pub(crate) sequence: u64,
    /// The first iteration of this run: 0, or where it was resumed.
    pub(crate) first: u64,
    /// Rounds in a row that nobody answered.
    pub(crate) empty_rounds: u64,
    /// Whether the model as it is has still to be evaluated.
    pub(crate) evaluation_due: bool,
    /// Why the plan in force was made.
    pub(crate) plan_reason: String,
    pub(crate) saving: Saving,
    pub(crate) resume: Option<Resume>,
    pub(crate) replan_due: bool,
    /// How many lost workers the plan in force knows of.
    pub(crate) planned_with_lost: usize,
    /// Holds arrivals against the plan.
    pub(crate) monitor: Option<Monitor>,
    /// Holds the workers' quantization error against the plan.
    pub(crate) phi_monitor: Option<PhiMonitor>,
    /// Whether a worker reported a gradient that is not finite in this round.
    pub(crate) not_finite: bool,
    pub(crate) exact: Vec<f32>,
    /// Metrics of the last evaluation.
    pub(crate) metrics: Vec<Metric>,
    pub(crate) between: Between,
}

impl Master<'_> {
    /// The current parameters beta_t.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// Workers lost so far.
    pub fn lost(&self) -> &[LostWorker] {
        self.roster.lost()
    }

    /// Trains to the last iteration, or until a stop is asked for.
    ///
    /// # Errors
    /// See [`RunError`]. Everything up to the failing iteration is in the journal.
    pub fn run(&mut self) -> Result<Outcome, RunError> {
        self.begin()?;
        let total = self.settings.iterations;
        let mut evaluated_at = self.transport.now();
        for t in self.first..total {
            let started = Instant::now();
            let row = if self.must_stop() {
                None
            } else {
                self.iterate(t)?
            };
            let Some(row) = row else {
                self.save(t)?;
                return Ok(self.outcome(t, true));
            };
            self.journal.iteration(row);
            self.between = Between::default();

            let (done, now) = (t + 1, self.transport.now());
            let at_end = done == total && self.settings.evaluate_at_end;
            let due = self.settings.evaluate_every.is_due(done, now, evaluated_at);
            self.evaluation_due = at_end || due;
            if at_end || (due && !self.must_stop()) {
                self.evaluate(done)?;
                evaluated_at = self.transport.now();
            }
            self.saving.iteration_took(started.elapsed());
            self.save_if_due(done)?;
        }
        Ok(self.outcome(total, false))
    }

    /// Iteration t; `None` when the run was told to stop in the middle of it.
    fn iterate(&mut self, t: u64) -> Result<Option<IterationRow>, RunError> {
        let started = Instant::now();
        let traffic = self.transport.traffic();
        let mut row = IterationRow::new(t, self.plan.workers.len());
        // A round that is broken off leaves no trace: it is begun again later.
        let before =
            (self.transport.real_time()).then(|| (self.norms.clone(), self.offences.clone()));

        let beta = self.publish_model(t)?;
        let Some(round) = self.open_round(t, &beta)? else {
            return Ok(None);
        }; // beta_t to every idle worker
        row.seconds_open = started.elapsed().as_secs_f64();
        let Some(waited) = self.gather(&round, &mut row)? else {
            if let Some(before) = before {
                (self.norms, self.offences) = before;
            }
            return Ok(None);
        }; // ghat, from whoever meets the deadline
        let seconds_virtual = self.virtual_seconds(t);
        self.step(t, &mut row)?; // beta_t+1

        self.count_empty(t, row.deadline)?;
        let drift = self.watch(&round, &row); // whether p_i are still those of the plan
        let phi = self.watch_phi(t, &row); // and their quantization error
        if self.replan_due || drift.is_some() || phi.is_some() {
            self.replan(t + 1, drift.as_ref(), phi.as_ref())?;
        }
        let moved = self.transport.traffic();
        row.bits_up = 8 * (moved.up - traffic.up);
        row.bits_down = 8 * (moved.down - traffic.down);
        row.seconds_wait = waited;
        row.take_wait_apart(!self.transport.real_time(), self.clockwork.drawn());
        row.seconds_virtual = seconds_virtual;
        row.seconds_evaluate = self.between.evaluate;
        row.seconds_checkpoint = self.between.checkpoint;
        row.seconds_round = started.elapsed().as_secs_f64();
        Ok(Some(row))
    }

    /// What iteration t would last with the drawn delays; NaN where they are not drawn.
    fn virtual_seconds(&self, t: u64) -> f64 {
        let alive = |&i: &usize| !self.roster.is_lost(i);
        let active: Vec<usize> = self.plan.active().filter(alive).collect();
        self.clockwork
            .virtual_seconds(t, &active, self.plan.no_straggling)
    }

    /// Announces the plan, and learns how long tasks take where that is needed.
    pub(crate) fn begin(&mut self) -> Result<(), RunError> {
        if let Some(resume) = self.resume.take() {
            self.restore(&resume)?;
        } else {
            self.transport.publish(&self.plan)?;
            self.journal.plan(0, &self.plan, &self.plan_reason);
        }
        if self.evaluation_due {
            self.evaluate(self.first)?; // a stop came before it
        }
        self.calibrate()
    }

    /// beta_t -> beta_t+1 with the decoded gradient, and what the log says of it.
    fn step(&mut self, t: u64, row: &mut IterationRow) -> Result<(), RunError> {
        let started = Instant::now();
        let rate = learning_rate(&self.settings.learning_rate, t, self.settings.iterations);
        let empty = self.estimate.responders.is_empty();
        let norm = gradient_norm(self.estimate.gradient());
        if !norm.is_finite() {
            return Err(diverged(t, "the decoded gradient"));
        }
        if empty && self.not_finite {
            self.check_gradient(t)?;
        }
        let estimate = &self.estimate;
        if !(empty && self.settings.empty_round == EmptyRound::Skip) {
            let scale = clip_scale(norm, self.settings.clip_norm) as f32;
            let second = estimate.second(&self.plan);
            let (optimizer, parameters) = (&mut self.optimizer, &mut self.parameters);
            let gradient = estimate.gradient();
            let dimension = parameters.len();
            let (finite, moved) = beside_if_large(dimension, self.transport, || {
                optimizer.step_scaled(parameters, gradient, scale, second, rate);
                parameters.iter().all(|x| x.is_finite())
            });
            moved?;
            if !finite {
                return Err(diverged(t, "a parameter"));
            }
        }
        row.seconds_step = started.elapsed().as_secs_f64();
        row.learning_rate = f64::from(rate);
        row.gradient_norm = norm;
        row.loss = self.estimate.loss();
        row.loss_decoded = self.estimate.loss_decoded();
        row.decoder_norm = self.estimate.decoder_norm();
        row.responders = self.estimate.responders.len() as u64;
        row.bits_up_payload = self.estimate.payload_bits;
        row.bits_up_offered = self.messages.offered_bits();
        Ok(())
    }

    /// Evaluates the model as it is after `iterations` iterations.
    fn evaluate(&mut self, iterations: u64) -> Result<(), RunError> {
        let started = Instant::now();
        let (learner, parameters) = (&mut *self.learner, &self.parameters);
        let (metrics, moved) = beside(self.transport, || learner.evaluate(parameters));
        moved?;
        self.metrics = metrics.map_err(|source| failed("evaluate", source))?;
        self.journal.evaluation(iterations, &self.metrics);
        self.evaluation_due = false;
        self.between.evaluate = started.elapsed().as_secs_f64();
        Ok(())
    }

    /// The model of iteration `t` as the workers are sent it.
    pub(crate) fn publish_model(&mut self, t: u64) -> Result<Model, RunError> {
        let (publisher, parameters) = (&mut self.publisher, &self.parameters);
        let work = || publisher.publish(parameters, t);
        let (model, moved) = beside_if_large(parameters.len(), self.transport, work);
        moved?;
        model.map_err(|source| RunError::Publish {
            iteration: t,
            source,
        })
    }

    fn count_empty(&mut self, t: u64, deadline: f64) -> Result<(), RunError> {
        if !self.estimate.responders.is_empty() {
            self.empty_rounds = 0;
            return Ok(());
        }
        self.empty_rounds += 1;
        if self.empty_rounds < self.settings.max_empty_rounds {
            return Ok(());
        }
        // A finite gradient behind a memory that has grown out of f32: nothing can be sent any more.
        if self.not_finite {
            return Err(diverged(t, "what the workers would send"));
        }
        Err(RunError::EmptyRounds {
            count: self.empty_rounds,
            iteration: t,
            deadline,
        })
    }

    pub(crate) fn ask_for_a_plan(&mut self, belief: &Belief) -> Result<Plan, String> {
        (self.replanner)(belief)
    }

    fn outcome(&self, iterations: u64, stopped: bool) -> Outcome {
        Outcome {
            iterations,
            stopped,
            checkpoint: self.saving.newest(),
            lost: self.roster.lost().to_vec(),
            metrics: self.metrics.clone(),
        }
    }
}

pub(crate) fn diverged(iteration: u64, what: &'static str) -> RunError {
    RunError::Diverged { iteration, what }
}

pub(crate) fn failed(what: &'static str, source: LearnerError) -> RunError {
    RunError::Learner { what, source }
}
