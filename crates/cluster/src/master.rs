//! The master's loop: eq (2) of Song & Choi (arXiv 2605.15890), once per iteration.
//!
//! ```text
//! ghat     = sum_i I_i w_i Q_i(f_i)              accumulated as frames arrive
//! beta_t+1 = beta_t - gamma_t ghat / n
//! ```
//!
//! The division by n makes the step one on the average gradient, as in the authors' runs. The loop
//! is the same over MPI and in process; only the [`Transport`] differs.

use crate::arrivals;
use crate::downlink::{Model, Publisher};
use crate::error::RunError;
use crate::estimate::Estimate;
use crate::expected::Messages;
use crate::norms::Norms;
use crate::offences::Offences;
use crate::roster::{LostWorker, Roster};
use crate::saving::{Checkpoints, Saving};
use crate::settings::{EmptyRound, Settings};
use crate::signals::Signals;
use crate::snapshot::Resume;
use crate::straggling::Clockwork;
use crate::transport::{Transport, beside, beside_if_large};
use gradient_code::{Decoder, Plan};
use learner::optimizer::{clip_scale, gradient_norm};
use learner::{Learner, LearnerError, Metric, Optimizer, learning_rate};
use run_log::IterationRow;
use std::time::Instant;
use straggler::Monitor;

/// Receives what a run produces, as it happens.
pub trait Journal {
    /// One iteration is complete.
    fn iteration(&mut self, row: IterationRow);
    /// The model after `iterations` iterations was evaluated.
    fn evaluation(&mut self, iterations: u64, metrics: &[Metric]);
    /// `plan` holds from `start_iteration` on; `reason` says for people why it was made.
    fn plan(&mut self, start_iteration: u64, plan: &Plan, reason: &str);
    /// Something a person should know.
    fn warning(&mut self, text: &str);
    /// Brings everything so far onto disk, before a checkpoint that goes on from there.
    ///
    /// # Errors
    /// Why it cannot, reading after "failed to"; nothing is lost by that.
    fn commit(&mut self) -> Result<(), String>;
    /// A checkpoint after `iterations` iterations is complete; it took `seconds`.
    fn checkpoint(&mut self, iterations: u64, seconds: f64);
}

/// What is known of the workers when a plan is made on the way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Belief {
    /// Per worker: whether it is lost.
    pub dead: Vec<bool>,
    /// p_i as estimated from who answered, strictly between 0 and 1; of the dead it means nothing.
    /// `None` while nothing speaks against what the first plan was made with.
    pub probabilities: Option<Vec<f64>>,
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

/// Rank 0 of a run.
pub struct Master<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) transport: &'a mut dyn Transport,
    pub(crate) journal: &'a mut dyn Journal,
    replanner: &'a mut Replanner<'a>,
    pub(crate) signals: Signals,
    learner: &'a mut dyn Learner,
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
    resume: Option<Resume>,
    pub(crate) replan_due: bool,
    /// How many lost workers the plan in force knows of.
    pub(crate) planned_with_lost: usize,
    /// Holds arrivals against the plan.
    pub(crate) monitor: Option<Monitor>,
    /// Whether a worker reported a gradient that is not finite in this round.
    pub(crate) not_finite: bool,
    exact: Vec<f32>,
}

/// Everything a [`Master`] is made of.
pub struct Parts<'a> {
    /// The rules.
    pub settings: &'a Settings,
    /// The workers.
    pub transport: &'a mut dyn Transport,
    /// Where results go.
    pub journal: &'a mut dyn Journal,
    /// Plans without the lost.
    pub replanner: &'a mut Replanner<'a>,
    /// What is asked for from outside.
    pub signals: Signals,
    /// The master's own model and data, for evaluation.
    pub learner: &'a mut dyn Learner,
    /// The update rule.
    pub optimizer: Box<dyn Optimizer>,
    /// The plan to begin with; a resumed run takes the checkpoint's.
    pub plan: Plan,
    /// Where and when to write checkpoints, if at all.
    pub checkpoints: Option<Checkpoints>,
    /// What to go on from, instead of the learner's initial parameters.
    pub resume: Option<Resume>,
}

impl<'a> Master<'a> {
    /// A master at iteration 0 with the learner's initial parameters, or where a checkpoint left off.
    ///
    /// # Errors
    /// If the plan's widths do not fit the compressor, or its decoder not the error feedback, or if
    /// the checkpoint is of another optimizer.
    pub fn new(mut parts: Parts<'a>) -> Result<Self, RunError> {
        let dimension = parts.learner.dimension();
        let mut parameters = parts.learner.initial_parameters();
        let (mut first, mut empty_rounds) = (0, 0);
        let (mut monitor, mut plan_reason) = (None, "start".to_owned());
        if let Some(resume) = &mut parts.resume {
            parameters = std::mem::take(&mut resume.parameters);
            let state = std::mem::take(&mut resume.optimizer);
            parts.optimizer.restore(state)?;
            parts.plan = resume.state.plan.clone();
            (first, empty_rounds) = (resume.state.iterations, resume.state.empty_rounds);
            plan_reason.clone_from(&resume.state.plan_reason);
            monitor = resume.state.monitor.take();
            if let Some(monitor) = &mut monitor {
                Monitor::set_rounds(monitor, parts.settings.iterations);
            }
        }
        if parts.settings.error_feedback.is_some()
            && matches!(parts.plan.decoder, Decoder::PerRound(_))
        {
            let scheme = parts.plan.scheme.clone();
            return Err(RunError::FeedbackPerRound { scheme });
        }
        let messages = Messages::new(&parts.plan, parts.settings, dimension)
            .map_err(|error| RunError::Replan(error.to_string()))?;
        let workers = parts.plan.workers.len();
        let mut clockwork = Clockwork::new(
            parts.settings.straggling.clone(),
            parts.settings.seed,
            workers,
        );
        clockwork.messages(messages.all_payload_bits());
        let settings = parts.settings;
        let mut publisher = Publisher::new(settings.downlink, dimension, settings.seed)
            .map_err(|error| RunError::Replan(error.to_string()))?;
        if let Some(resume) = &mut parts.resume {
            publisher.restore(std::mem::take(&mut resume.shadow));
        }
        Ok(Self {
            settings: parts.settings,
            transport: parts.transport,
            journal: parts.journal,
            replanner: parts.replanner,
            signals: parts.signals,
            parameters,
            learner: parts.learner,
            optimizer: parts.optimizer,
            estimate: Estimate::new(&parts.plan, dimension),
            messages,
            clockwork,
            roster: Roster::new(workers),
            offences: Offences::new(workers),
            norms: Norms::default(),
            monitor: monitor.or_else(|| arrivals::monitor(parts.settings, &parts.plan)),
            plan: parts.plan,
            publisher,
            sequence: 0,
            first,
            empty_rounds,
            evaluation_due: (parts.resume.as_ref())
                .is_some_and(|resume| resume.state.evaluation_due),
            plan_reason,
            saving: Saving::new(parts.checkpoints, parts.resume.is_some().then_some(first)),
            resume: parts.resume,
            replan_due: false,
            planned_with_lost: 0,
            not_finite: false,
            exact: Vec::new(),
        })
    }

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
        let mut metrics = Vec::new();
        let (mut seconds_evaluate, mut seconds_checkpoint) = (f64::NAN, f64::NAN);
        let total = self.settings.iterations;
        if self.evaluation_due {
            metrics = self.evaluate(self.first)?; // a stop came first
        }
        let mut evaluated_at = self.transport.now();
        for t in self.first..total {
            if self.must_stop() {
                return self.stop(t, metrics);
            }
            let started = Instant::now();
            let traffic = self.transport.traffic();
            let mut row = IterationRow::new(t, self.plan.workers.len());

            let beta = self.publish_model(t)?;
            let Some(round) = self.open_round(t, &beta)? else {
                return self.stop(t, metrics);
            }; // beta_t to every idle worker
            row.seconds_open = started.elapsed().as_secs_f64();
            let Some(waited) = self.gather(&round, &mut row)? else {
                return self.stop(t, metrics);
            }; // ghat, from whoever meets the deadline
            row.seconds_virtual = self.virtual_seconds(t);
            self.step(t, &mut row)?; // beta_t+1

            self.count_empty(t, row.deadline)?;
            let drift = self.watch(&round, &row); // whether p_i are still those of the plan
            if self.replan_due || drift.is_some() {
                self.replan(t + 1, drift.as_ref())?;
            }
            let moved = self.transport.traffic();
            row.bits_up = 8 * (moved.up - traffic.up);
            row.bits_down = 8 * (moved.down - traffic.down);
            row.seconds_wait = waited;
            row.seconds_evaluate = std::mem::replace(&mut seconds_evaluate, f64::NAN);
            row.seconds_checkpoint = std::mem::replace(&mut seconds_checkpoint, f64::NAN);
            row.seconds_round = started.elapsed().as_secs_f64();
            self.journal.iteration(row);

            let (done, now) = (t + 1, self.transport.now());
            let at_end = done == total && self.settings.evaluate_at_end;
            let due = self.settings.evaluate_every.is_due(done, now, evaluated_at);
            self.evaluation_due = at_end || due;
            if at_end || (due && !self.must_stop()) {
                let evaluating = Instant::now();
                metrics = self.evaluate(done)?;
                seconds_evaluate = evaluating.elapsed().as_secs_f64();
                evaluated_at = self.transport.now();
            }
            self.saving.iteration_took(started.elapsed());
            let (before, saving) = (self.saving.newest(), Instant::now());
            self.save_if_due(done)?;
            if self.saving.newest() != before {
                seconds_checkpoint = saving.elapsed().as_secs_f64();
            }
        }
        Ok(self.outcome(total, false, metrics))
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
        self.calibrate()
    }

    /// Ends the run before iteration `t`.
    fn stop(&mut self, t: u64, metrics: Vec<Metric>) -> Result<Outcome, RunError> {
        self.save(t)?;
        Ok(self.outcome(t, true, metrics))
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

    /// Fails when the gradient is not finite here either, so that it is the model's fault and not
    /// one worker's.
    fn check_gradient(&mut self, t: u64) -> Result<(), RunError> {
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

    /// Evaluates the model as it is after `iterations` iterations.
    fn evaluate(&mut self, iterations: u64) -> Result<Vec<Metric>, RunError> {
        let (learner, parameters) = (&mut *self.learner, &self.parameters);
        let (metrics, moved) = beside(self.transport, || learner.evaluate(parameters));
        moved?;
        let metrics = metrics.map_err(|source| failed("evaluate", source))?;
        self.journal.evaluation(iterations, &metrics);
        self.evaluation_due = false;
        Ok(metrics)
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

    /// Gives a worker up.
    pub(crate) fn lose(&mut self, worker: usize, t: u64, reason: &str) {
        let silent = self.roster.busy_with(worker).is_some();
        if self.roster.lose(worker, t, reason.to_owned()) {
            self.replan_due = true;
            if silent {
                self.transport.give_up(worker);
            }
            self.journal.warning(&format!(
                "worker {worker} is lost at iteration {t} ({reason}); going on without it"
            ));
        }
    }

    /// Fails when too few workers are left.
    pub(crate) fn check_alive(&self, t: u64) -> Result<(), RunError> {
        let alive = self.roster.alive();
        if alive >= self.settings.min_workers.max(1) {
            return Ok(());
        }
        let describe = |lost: &LostWorker| format!("{} ({})", lost.worker, lost.reason);
        let lost: Vec<String> = self.roster.lost().iter().map(describe).collect();
        Err(RunError::TooFewWorkers {
            alive,
            workers: self.plan.workers.len(),
            needed: self.settings.min_workers.max(1),
            iteration: t,
            lost: lost.join(", "),
        })
    }

    pub(crate) fn ask_for_a_plan(&mut self, belief: &Belief) -> Result<Plan, String> {
        (self.replanner)(belief)
    }

    fn outcome(&self, iterations: u64, stopped: bool, metrics: Vec<Metric>) -> Outcome {
        Outcome {
            iterations,
            stopped,
            checkpoint: self.saving.newest(),
            lost: self.roster.lost().to_vec(),
            metrics,
        }
    }
}

fn diverged(iteration: u64, what: &'static str) -> RunError {
    RunError::Diverged { iteration, what }
}

fn failed(what: &'static str, source: LearnerError) -> RunError {
    RunError::Learner { what, source }
}
