//! How long the master waits for whom, and what becomes of those it waits for in vain.
//!
//! Nothing here is about stragglers, which the deadline deals with: it is about frames that stop on
//! their way, workers that are never heard of again, and rounds that nobody could be asked for.

use crate::error::RunError;
use crate::gather::{Gathering, Round};
use crate::master::Master;
use crate::roster::LostWorker;
use run_log::IterationRow;

/// Seconds, at least, for which nothing may arrive of the frames that were asked for before they
/// count as late. Chunks are short, so a link that moves at all brings one sooner.
const FRAME_PATIENCE: f64 = 1.0;
/// Seconds after which the master looks, in mid-wait, whether it was told to stop.
const STOP_POLL: f64 = 0.25;
/// Seconds that a round may last before a stop ends it in the middle.
const STOP_PATIENCE: f64 = 5.0;

impl Master<'_> {
    /// Seconds for which nothing may happen. A frame that stops on its way holds nobody up for long,
    /// unless arrivals are drawn: then every one of them has to come.
    pub(crate) fn patience(&self, state: &Gathering, round: &Round) -> f64 {
        let deadline = round.timing.deadline;
        let silence = self.settings.silence_timeout;
        if state.closed && deadline.is_finite() && !self.clockwork.drawn() {
            deadline.max(FRAME_PATIENCE).min(silence)
        } else {
            silence
        }
    }

    /// Seconds for which nothing may come of a rank that was asked for something it has ready. Where
    /// arrivals are drawn nobody may be missing, so that a slow network must not cost a worker.
    pub(crate) fn patience_for_an_answer(&self) -> f64 {
        let silence = self.settings.silence_timeout;
        if self.clockwork.drawn() {
            silence
        } else {
            let tolerated = self.settings.give_up_seconds;
            tolerated.max(FRAME_PATIENCE).min(silence)
        }
    }

    /// Goes on without the frames that have stopped on their way. Their workers stay busy until the
    /// frames arrive, or until they are given up.
    pub(crate) fn leave_behind(&mut self, state: &mut Gathering, row: &mut IterationRow) {
        for worker in std::mem::take(&mut state.granted) {
            row.per_worker.arrival_time[worker] = f64::NAN;
            state.forget(worker);
        }
    }

    /// Gives up the workers that have been silent for too many rounds and too long.
    pub(crate) fn give_up_silent(&mut self, t: u64) -> Result<(), RunError> {
        let before = (self.sequence + 1).saturating_sub(self.settings.give_up_after);
        let now = self.transport.now();
        for (worker, seconds) in self
            .roster
            .silent(before, now, self.settings.give_up_seconds)
        {
            let reason = format!(
                "silent for {} rounds and {seconds:.1} s",
                self.settings.give_up_after
            );
            self.lose(worker, t, &reason);
        }
        self.check_alive(t)
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

    /// No round at all, for what arrives between rounds: no header is of it.
    pub(crate) fn no_round(&self, t: u64) -> Round {
        Round {
            sequence: 0,
            iteration: t,
            started: self.transport.now(),
            timing: self.clockwork.calibration(),
            asked: Vec::new(),
            behind: Vec::new(),
        }
    }

    /// `until`, or the moment of the next look at what is asked for from outside.
    pub(crate) fn until(&self, until: f64) -> f64 {
        if self.transport.real_time() {
            until.min(self.transport.now() + STOP_POLL)
        } else {
            until
        }
    }

    /// Whether the round in progress is given up because the run has been told to stop and the round
    /// has lasted for too long since it began. A round that ends by itself is finished.
    pub(crate) fn abandons(&mut self, round: &Round) -> bool {
        let lasts = self.transport.now() - round.started;
        let abandoned =
            self.transport.real_time() && lasts >= STOP_PATIENCE && self.must_stop_now();
        if abandoned {
            self.saving.abandon(self.settings.error_feedback.is_some());
        }
        abandoned
    }

    /// False when the run is told to stop meanwhile.
    pub(crate) fn wait_for_an_idle_worker(&mut self, t: u64) -> Result<bool, RunError> {
        let none = self.no_round(t);
        let until = none.started + self.settings.silence_timeout;
        let mut events = Vec::new();
        let workers = 0..self.plan.workers.len();
        let with_data = |master: &Self, i: usize| !master.plan.workers[i].is_idle();
        while workers
            .clone()
            .any(|i| with_data(self, i) && self.roster.busy_with(i).is_some())
            && !workers
                .clone()
                .any(|i| with_data(self, i) && self.roster.is_idle(i))
        {
            if self.must_stop() {
                return Ok(false);
            }
            self.transport.poll(self.until(until), &mut events)?;
            let quiet = events.is_empty();
            for event in events.drain(..) {
                self.receive(event, &none, None, &mut IterationRow::new(t, 0))?;
            }
            if quiet && self.transport.now() >= until {
                for worker in workers.clone() {
                    if self.roster.busy_with(worker).is_some() {
                        self.lose(worker, t, "silent while every worker was busy");
                    }
                }
            }
        }
        self.check_alive(t)?;
        Ok(true)
    }

    pub(crate) fn lose_unheard(&mut self, round: &Round, reason: &str) {
        for &worker in &round.asked {
            if self.roster.busy_with(worker).is_some() {
                self.lose(worker, round.iteration, reason);
            }
        }
    }

    pub(crate) fn lose_waited_for(&mut self, state: &mut Gathering, round: &Round) {
        let seconds = self.settings.silence_timeout;
        let silent: Vec<usize> = if state.closed {
            // A frame that is here waits for the one before it, not for its worker.
            let missing = |worker: &&usize| !state.arrived.contains_key(worker);
            state.granted.iter().filter(missing).copied().collect()
        } else {
            state.unreported.clone()
        };
        let phase = if state.closed {
            "while its frame was awaited"
        } else {
            "while its header was awaited"
        };
        for worker in silent {
            self.lose(
                worker,
                round.iteration,
                &format!("silent for {seconds:.0} s {phase}"),
            );
            state.forget(worker);
        }
    }
}
