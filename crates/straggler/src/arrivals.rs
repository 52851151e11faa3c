//! Who arrived lately, worker by worker, and whether the plan's probabilities still hold.
//!
//! A [`Monitor`] sees every round of every worker that takes part, keeps the latest ones, and runs a
//! [`DriftTest`] per worker. When one gives alarm, the worker's p is estimated from the rounds since
//! the change, as the test dates it, and a new plan can be made. That estimate rests on few rounds, so
//! it is looked at again whenever their number has doubled, until the window is full.
//!
//! # The false-alarm rate
//!
//! With k workers the error that is allowed per run is shared out evenly, and among the tests that
//! one worker sees in a run as `1 / (m (m + 1))` for the m-th, which sums to 1. The first tests that
//! the p of the first plan is exact, up to [`Rules::tolerance`]. Every later one follows an estimate:
//! half of its error pays for the confidence interval that it then tests. As long as tasks are
//! independent, and nothing changes, a run therefore has a drift at all with a probability of at most
//! [`Rules::false_alarms`]; once there was one, the bound on further ones is approximate, because the
//! test itself chose the rounds that the estimate is made from.

use crate::drift::{DriftTest, threshold};
use crate::estimate::{censored_at, confidence_interval};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;

/// How a [`Monitor`] watches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Largest probability, per run, of a drift where there is none; in (0, 1).
    pub false_alarms: f64,
    /// The odds p / (1 - p) may differ from the plan's by a factor of `1 + tolerance` before that
    /// counts as a change; at least 0.
    pub tolerance: f64,
    /// Latest rounds of each worker that are remembered and estimated from; at least 1.
    pub window: usize,
    /// Least number of rounds between two drifts.
    pub pause: u64,
    /// How p is estimated.
    pub estimator: Estimator,
}

/// How a probability is estimated from the rounds of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// `(missed + 1/2) / (rounds + 1)`: right whatever the delays are like, and never 0 or 1 (the
    /// posterior mean for Jeffreys' prior).
    #[default]
    Frequency,
    /// `exp(-rate (deadline - shift))` of a shifted exponential fitted to the arrivals, censored at
    /// their deadlines ([`censored_at`]). Where delays are such, it needs fewer rounds if p is small,
    /// and follows a change of deadline at once; where they are not it is wrong for ever. The
    /// frequency where nothing can be fitted, and never nearer to 0 or 1 than half a round.
    ShiftedExponential,
}

/// One worker in one round that wanted it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Trial {
    /// In time, after so long.
    Arrived(f64),
    /// Not within this deadline.
    Late(f64),
    /// Missed, since it was still busy with the task of an earlier round.
    Busy,
}

impl Trial {
    /// Whether the round was missed.
    pub fn is_missed(self) -> bool {
        !matches!(self, Self::Arrived(_))
    }
}

/// How many rounds of a list are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counts {
    arrived: usize,
    late: usize,
    busy: usize,
}

impl Counts {
    fn of<'a>(trials: impl Iterator<Item = &'a Trial>) -> Self {
        let mut counts = Self::default();
        trials.for_each(|&trial| *counts.of_kind(trial) += 1);
        counts
    }

    fn of_kind(&mut self, trial: Trial) -> &mut usize {
        match trial {
            Trial::Arrived(_) => &mut self.arrived,
            Trial::Late(_) => &mut self.late,
            Trial::Busy => &mut self.busy,
        }
    }

    fn rounds(self) -> usize {
        self.arrived + self.late + self.busy
    }

    /// Rounds that a late task costs in the mean, as if one more had cost `usual` rounds.
    fn burst(self, usual: f64) -> f64 {
        (usual + (self.late + self.busy) as f64) / (self.late + 1) as f64
    }

    /// The probabilities of missing a round that these counts leave possible: the interval of missing a
    /// task, with the odds times the burst, whose own error is that of a geometric duration.
    fn interval(self, error: f64) -> (f64, f64) {
        let tasks = (self.arrived + self.late) as u64;
        let Ok((low, high)) = confidence_interval(self.late as u64, tasks, error / 2.0) else {
            return (0.0, 1.0);
        };
        let (burst, bursts) = (self.burst(1.0), (self.late + 1) as f64);
        let deviation = ((burst - 1.0) / burst / bursts).sqrt();
        let widened = (deviation * (2.0 * (4.0 / error).ln()).sqrt()).exp();
        (
            with_odds(low, burst / widened),
            with_odds(high, burst * widened),
        )
    }
}

/// An estimated probability of missing a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// p, strictly between 0 and 1.
    pub probability: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Rounds it rests on.
    pub rounds: usize,
}

/// The probability of missing a round, from some rounds; `deadline` is the one that it is wanted for,
/// in their unit.
pub fn estimate(trials: &[Trial], deadline: f64, estimator: Estimator) -> Estimate {
    let counts = Counts::of(trials.iter());
    let (rounds, burst) = (counts.rounds() as f64, counts.burst(1.0));
    let missed = (counts.late + counts.busy) as f64;
    let least = 0.5 / (rounds + 1.0);
    let frequency = (missed + 0.5) / (rounds + 1.0);
    // As many independent rounds as there are tasks; a burst is one.
    let counted = Estimate {
        probability: frequency,
        standard_error: (burst * frequency * (1.0 - frequency) / (rounds + 1.0)).sqrt(),
        rounds: trials.len(),
    };
    if estimator == Estimator::Frequency {
        return counted;
    }
    let (mut on_time, mut censored) = (Vec::new(), Vec::new());
    for &trial in trials {
        match trial {
            Trial::Arrived(seconds) => on_time.push(seconds),
            Trial::Late(deadline) => censored.push(deadline),
            Trial::Busy => {}
        }
    }
    let Ok(fit) = censored_at(&on_time, &censored) else {
        return counted;
    };
    let of_a_task = fit.straggle_probability(deadline);
    let probability = with_odds(of_a_task, burst);
    // dp = -(deadline - shift) p d rate, and the standard error of the rate is rate / sqrt(on time);
    // the odds of a round are those of a task times the burst.
    let slope = (deadline - fit.shift).max(0.0) * fit.rate / (1.0 - of_a_task).max(least);
    Estimate {
        probability: probability.clamp(least, 1.0 - least),
        standard_error: slope * probability * (1.0 - probability) / (on_time.len() as f64).sqrt(),
        rounds: trials.len(),
    }
}

/// Who a drift is about, and what is believed now.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// Workers whose probability is another one now, ascending.
    pub changes: Vec<Change>,
    /// p of every worker: estimated, or as planned where nothing speaks against it.
    pub probabilities: Vec<f64>,
}

/// One worker's new probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The worker, from 0.
    pub worker: usize,
    /// What was believed.
    pub before: f64,
    /// What is believed now.
    pub now: Estimate,
    /// Whether a test gave alarm; otherwise an earlier estimate is made better.
    pub alarm: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "worker {} is late with {:.3} +- {:.3} instead of {:.3} ({} rounds)",
            self.worker,
            self.now.probability,
            self.now.standard_error,
            self.before,
            self.now.rounds
        )
    }
}

impl fmt::Display for Drift {
    /// The changes, of which there may be thousands: the first few, and how many more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (at, change) in self.changes.iter().take(SHOWN).enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{change}")?;
        }
        match self.changes.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more workers"),
        }
    }
}

/// Watches all workers of a run. Plain data, so that a run can be continued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    rules: Rules,
    /// Rounds of the run, and how many of them are over.
    rounds: u64,
    done: u64,
    /// When the last drift was told.
    last: Option<u64>,
    /// Of all rounds of all workers: what a late task usually costs, until a worker has shown it.
    all: Counts,
    workers: Vec<Watch>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Watch {
    /// Latest rounds, the newest last.
    trials: VecDeque<Trial>,
    /// Of all rounds since the test began, and of those that it began with.
    counts: Counts,
    /// p as the plan has it.
    believed: f64,
    /// How many of the latest rounds are of the present; grows up to the window.
    fresh: usize,
    /// Rounds behind `believed`; 0 when it is as planned.
    estimated_from: usize,
    test: DriftTest,
    /// Tests begun, this one included: its error's share is `1 / (m (m + 1))`.
    tests: u64,
    /// What the evidence must reach.
    threshold: f64,
}

impl Monitor {
    /// Watches for a run of `rounds` rounds whose first plan was made with `planned`.
    pub fn new(rules: Rules, planned: &[f64], rounds: u64) -> Self {
        let watch = |&believed: &f64| {
            let [low, high] = tolerated(believed, rules.tolerance);
            Watch {
                trials: VecDeque::new(),
                counts: Counts::default(),
                believed,
                fresh: 0,
                estimated_from: 0,
                test: DriftTest::new(low, high),
                tests: 1,
                threshold: threshold(rounds, planned.len(), rules.false_alarms / 2.0),
            }
        };
        Self {
            rules,
            rounds,
            done: 0,
            last: None,
            all: Counts::default(),
            workers: planned.iter().map(watch).collect(),
        }
    }

    /// The run is to last `rounds` rounds, not as many as it began with. Tests that are under way ask
    /// for as much more evidence as the run is longer.
    pub fn set_rounds(&mut self, rounds: u64) {
        let longer = rounds as f64 / self.rounds.max(1) as f64;
        for watch in &mut self.workers {
            watch.threshold *= longer.max(1.0);
        }
        self.rounds = rounds;
    }

    /// p of every worker, as planned or estimated since.
    pub fn probabilities(&self) -> Vec<f64> {
        self.workers.iter().map(|watch| watch.believed).collect()
    }

    /// Whether any p is estimated.
    pub fn has_learnt(&self) -> bool {
        self.workers.iter().any(|watch| watch.estimated_from > 0)
    }

    /// The latest rounds of a worker, the newest last.
    pub fn trials(&self, worker: usize) -> impl DoubleEndedIterator<Item = Trial> + '_ {
        self.workers[worker].trials.iter().copied()
    }

    /// Takes in one round of a worker; not for workers that the plan wanted nothing of.
    pub fn observe(&mut self, worker: usize, trial: Trial) {
        let (watch, window) = (&mut self.workers[worker], self.rules.window.max(1));
        while watch.trials.len() >= window {
            watch.trials.pop_front();
        }
        let usual = self.all.burst(1.0);
        if trial != Trial::Busy {
            let burst = watch.counts.burst(usual);
            watch.test.observe(trial.is_missed(), burst);
        }
        watch.trials.push_back(trial);
        *watch.counts.of_kind(trial) += 1;
        *self.all.of_kind(trial) += 1;
        watch.fresh = (watch.fresh + 1).min(window);
    }

    /// Ends a round, and says if the plan no longer holds: the beliefs have then changed, and the plan
    /// is to be made anew. `deadline` is the one that estimates are for, in the trials' unit.
    pub fn end_round(&mut self, deadline: f64) -> Option<Drift> {
        self.done += 1;
        let paused = |last: u64| self.done < last + self.rules.pause.max(1);
        if self.last.is_some_and(paused) || self.done >= self.rounds {
            return None;
        }
        let alarm = self
            .workers
            .iter()
            .any(|watch| watch.test.evidence() >= watch.threshold);
        let mut changes = Vec::new();
        for worker in 0..self.workers.len() {
            if let Some(change) = self.look_at(worker, alarm, deadline) {
                changes.push(change);
            }
        }
        if changes.is_empty() {
            return None;
        }
        self.last = Some(self.done);
        Some(Drift {
            changes,
            probabilities: self.probabilities(),
        })
    }

    /// Estimates a worker anew if its test gave alarm, if it is suspect at another's alarm, or if an
    /// earlier estimate has twice the rounds by now.
    fn look_at(&mut self, worker: usize, any_alarm: bool, deadline: f64) -> Option<Change> {
        let watch = &self.workers[worker];
        let evidence = watch.test.evidence();
        let alarm = evidence >= watch.threshold;
        // When there is a new plan anyway, one in ten is sure enough.
        let suspect = any_alarm && evidence >= threshold(self.rounds, 1, 0.1);
        let settled = watch.estimated_from > 0
            && (watch.fresh >= 2 * watch.estimated_from
                || (watch.fresh == self.rules.window && watch.estimated_from < watch.fresh));
        if !(alarm || suspect || settled) {
            return None;
        }
        let fresh = match alarm || suspect {
            true => watch.fresh_since_change(self.all.burst(1.0)),
            false => watch.fresh,
        };
        let trials: Vec<Trial> = watch.trials.iter().rev().take(fresh).copied().collect();
        let now = estimate(&trials, deadline, self.rules.estimator);
        let before = watch.believed;
        let moved = (log_odds(now.probability) - log_odds(before)).abs();
        let worth_it = moved > (1.0 + self.rules.tolerance).ln();
        self.restart(worker, &trials, worth_it.then_some(now.probability));
        worth_it.then_some(Change {
            worker,
            before,
            now,
            alarm: alarm || suspect,
        })
    }

    /// Tests a worker from here on against what its `fresh` rounds say.
    fn restart(&mut self, worker: usize, fresh: &[Trial], believed: Option<f64>) {
        let left = self.rounds.saturating_sub(self.done);
        let workers = self.workers.len();
        let watch = &mut self.workers[worker];
        watch.believed = believed.unwrap_or(watch.believed);
        watch.tests += 1;
        let share = (watch.tests * (watch.tests + 1)) as f64;
        let error = self.rules.false_alarms / share;
        let counts = Counts::of(fresh.iter());
        let (low, high) = counts.interval(error / 2.0 / workers as f64);
        let [tolerated_low, tolerated_high] = tolerated(watch.believed, self.rules.tolerance);
        watch.counts = counts;
        watch.test = DriftTest::new(low.min(tolerated_low), high.max(tolerated_high));
        watch.threshold = threshold(left, workers, error / 2.0);
        watch.fresh = fresh.len();
        watch.estimated_from = fresh.len();
    }
}

impl Watch {
    /// How many of the latest rounds are later than the change that the test dates.
    fn fresh_since_change(&self, usual: f64) -> usize {
        let newest_first = || self.trials.iter().rev().take(self.fresh);
        let tasks = newest_first().filter(|trial| **trial != Trial::Busy);
        let since = self.test.since(
            tasks.map(|trial| trial.is_missed()),
            self.counts.burst(usual),
        );
        let mut tasks = 0;
        let of_the_past = |trial: &Trial| {
            let over = tasks == since;
            tasks += usize::from(*trial != Trial::Busy);
            over
        };
        newest_first().position(of_the_past).unwrap_or(self.fresh)
    }
}

/// The probabilities whose odds differ from those of `p` by a factor of at most `1 + tolerance`.
fn tolerated(p: f64, tolerance: f64) -> [f64; 2] {
    let factor = 1.0 + tolerance;
    [
        with_odds(p, factor.recip()).min(p),
        with_odds(p, factor).max(p),
    ]
}

/// The probability whose odds are `factor` times those of `p`; 0 and 1 stay what they are.
fn with_odds(p: f64, factor: f64) -> f64 {
    (p * factor / (1.0 - p + p * factor)).clamp(0.0, 1.0)
}

fn log_odds(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests;
