//! A sequential test of "this worker still misses as many rounds as the plan says".
//!
//! Every task of a worker is a trial that it passes or misses. The null hypothesis is that trials are
//! independent and missed with a probability inside a given interval; the alternative, that from some
//! unknown trial on the probability is outside. Per alternative probability q the test keeps the
//! Shiryaev-Roberts statistic
//!
//! ```text
//! R_n = (1 + R_(n-1)) L(x_n)       L(late) = q / p,   L(in time) = (1 - q) / (1 - p)
//! ```
//!
//! p being the end of the interval that is nearer to q. R_n is the sum, over every trial at which the
//! change may have happened, of the likelihood ratio of the trials since; its mean over the
//! alternatives is the [`evidence`](DriftTest::evidence). Under the null hypothesis `R_n - n` is a
//! supermartingale, so that
//!
//! ```text
//! Pr(R_n >= h for some n <= N) <= N / h
//! ```
//!
//! without any approximation: [`threshold`] turns a wanted error into h, shared over tests by
//! Bonferroni's inequality.
//!
//! The statistic is from Shiryaev (1963) and Roberts (1966), "A comparison of some control chart
//! procedures", Technometrics 8; among procedures with the same mean time between false alarms it
//! detects soonest in Shiryaev's sense (Pollak and Tartakovsky 2009). With mixtures over alternatives
//! and composite hypotheses it is an e-detector (Shin, Ramdas and Rinaldo, arXiv 2203.03532).
//!
//! # Rounds and tasks
//!
//! A plan is about rounds; but a worker that is late in one may be busy through the next ones, which
//! it misses without having been asked. Missed rounds then come in bursts, and to take each for a
//! trial would give false alarms all the time. So the test counts tasks. Where a late task costs b
//! rounds in the mean, the odds of missing a task are those of missing a round, divided by b:
//!
//! ```text
//! share of rounds missed = e b / (1 - e + e b)        e = Pr(a task is late)
//! ```
//!
//! The caller says with every trial what b is believed to be.

use crate::estimate::relative_entropy;
use serde::{Deserialize, Serialize};

/// How far alternatives lie from the interval, in log-odds, to either side.
const STEPS: [f64; 4] = [0.5, 1.0, 2.0, 4.0];
/// A hypothesis is widened to end at this distance from 0 and 1 at least, so that no single trial
/// proves anything.
const MARGIN: f64 = 1e-6;
/// Statistics saturate here, far beyond any threshold and far from infinity.
const SATURATION: f64 = 1e200;

/// A test of one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftTest {
    interval: [f64; 2],
    /// R_n of the alternatives above the interval.
    later: [f64; STEPS.len()],
    /// R_n of those below.
    sooner: [f64; STEPS.len()],
}

impl DriftTest {
    /// A test of "misses a round with a probability between `low` and `high`" that has seen nothing.
    ///
    /// # Panics
    /// Unless `0 <= low <= high <= 1`.
    pub fn new(low: f64, high: f64) -> Self {
        assert!(
            0.0 <= low && low <= high && high <= 1.0,
            "no interval of probabilities: {low} to {high}"
        );
        Self {
            interval: [low.min(1.0 - MARGIN), high.max(MARGIN)],
            later: [0.0; STEPS.len()],
            sooner: [0.0; STEPS.len()],
        }
    }

    /// Takes in one task. `burst` is the mean number of rounds that a late one costs, at least 1.
    pub fn observe(&mut self, late: bool, burst: f64) {
        let [low, high] = self.interval;
        // Nothing lies above an interval that ends at 1, nor below one that starts at 0.
        if high < 1.0 - MARGIN {
            for (statistic, step) in self.later.iter_mut().zip(STEPS) {
                let ratio = ratio(task_odds(high, burst), step, late);
                *statistic = ((1.0 + *statistic) * ratio).min(SATURATION);
            }
        }
        if low > MARGIN {
            for (statistic, step) in self.sooner.iter_mut().zip(STEPS) {
                let ratio = ratio(task_odds(low, burst), -step, late);
                *statistic = ((1.0 + *statistic) * ratio).min(SATURATION);
            }
        }
    }

    /// The mean of R_n over the alternatives; compare with [`threshold`].
    pub fn evidence(&self) -> f64 {
        let sum = self.later.iter().chain(&self.sooner).sum::<f64>();
        sum / (2 * STEPS.len()) as f64
    }

    /// How many of the latest tasks the change is about: the number that speaks most clearly against
    /// the interval. `latest` says of tasks from the newest back whether they were late; the result is
    /// at least 1 unless there are none.
    pub fn since(&self, latest: impl Iterator<Item = bool>, burst: f64) -> usize {
        let [low, high] = self.interval.map(|p| {
            let odds = task_odds(p, burst);
            odds / (1.0 + odds)
        });
        let (mut late, mut best) = (0u64, (f64::NEG_INFINITY, 0));
        for (at, missed) in latest.enumerate() {
            late += u64::from(missed);
            let trials = (at + 1) as f64;
            let share = late as f64 / trials;
            let nearest = share.clamp(low, high);
            let against = trials * relative_entropy(share, nearest);
            if against > best.0 {
                best = (against, at + 1);
            }
        }
        best.1
    }
}

/// What the evidence of each of `tests` tests must reach, so that with a probability of at least
/// `1 - error` none of them does within `trials` trials while its hypothesis holds.
///
/// ```
/// // Ten workers, 600 rounds, one run in a hundred with a false alarm.
/// assert_eq!(straggler::drift::threshold(600, 10, 0.01), 6e5);
/// ```
pub fn threshold(trials: u64, tests: usize, error: f64) -> f64 {
    trials.max(1) as f64 * tests as f64 / error
}

/// The odds of missing a task where p is the probability of missing a round; finite.
fn task_odds(p: f64, burst: f64) -> f64 {
    p / (1.0 - p).max(MARGIN) / burst
}

/// L of a task, for the alternative whose log-odds are `step` more than `odds` says.
fn ratio(odds: f64, step: f64, late: bool) -> f64 {
    let factor = step.exp();
    let in_time = (1.0 + odds) / (1.0 + odds * factor);
    if late { factor * in_time } else { in_time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistic_is_the_sum_over_all_moments_of_change() {
        let mut test = DriftTest::new(0.2, 0.3);
        let trials = [true, false, true, true];
        for late in trials {
            test.observe(late, 1.0);
        }
        // In plain words: for each alternative, the likelihood ratios of all suffixes.
        let mut sum = 0.0;
        for (p, sign) in [(0.3f64, 1.0), (0.2, -1.0)] {
            for step in STEPS {
                let odds = p / (1.0 - p) * (sign * step).exp();
                let q = odds / (1.0 + odds);
                for start in 0..trials.len() {
                    sum += trials[start..]
                        .iter()
                        .map(|&late| if late { q / p } else { (1.0 - q) / (1.0 - p) })
                        .product::<f64>();
                }
            }
        }
        assert!((test.evidence() - sum / 8.0).abs() < 1e-12 * sum);
    }

    /// Exactly: the mean over all sequences of 8 tasks, weighted with their probabilities, is the
    /// number of tasks where the interval is a point, and at most that inside an interval.
    #[test]
    fn the_mean_evidence_is_the_number_of_trials() {
        let mean = |interval: [f64; 2], burst: f64, p: f64| {
            let n = 8;
            (0..1u32 << n)
                .map(|word| {
                    let mut test = DriftTest::new(interval[0], interval[1]);
                    let mut probability = 1.0;
                    for at in 0..n {
                        let late = word >> at & 1 == 1;
                        test.observe(late, burst);
                        probability *= if late { p } else { 1.0 - p };
                    }
                    probability * test.evidence()
                })
                .sum::<f64>()
        };
        assert!((mean([0.3, 0.3], 1.0, 0.3) - 8.0).abs() < 1e-9);
        for p in [0.2, 0.3, 0.4] {
            assert!(mean([0.2, 0.4], 1.0, p) <= 8.0 + 1e-9, "{p}");
        }
        assert!(mean([0.3, 0.3], 1.0, 0.7) > 80.0);
        // A quarter of the tasks late, at 3 rounds each: .75 / (.75 + .75) of the rounds.
        assert!((mean([0.5, 0.5], 3.0, 0.25) - 8.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_proved_by_one_trial_and_nothing_overflows() {
        for (low, high) in [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.5, 0.5)] {
            for late in [true, false] {
                let mut test = DriftTest::new(low, high);
                test.observe(late, 1.0);
                assert!(test.evidence() < 600.0, "{low} {high} {late}");
                for _ in 0..100_000 {
                    test.observe(late, 1.0);
                }
                assert!(test.evidence().is_finite());
            }
        }
        let mut everything = DriftTest::new(0.0, 1.0);
        everything.observe(true, 1.0);
        assert_eq!(everything.evidence(), 0.0, "nothing lies outside");
    }

    #[test]
    fn the_change_is_dated() {
        let test = DriftTest::new(0.1, 0.1);
        let mut latest = vec![true; 9];
        latest.extend((0..50).map(|at| at % 10 == 5));
        assert_eq!(test.since(latest.into_iter(), 1.0), 9);
        let never = DriftTest::new(0.9, 0.9);
        let mut latest = vec![false; 7];
        latest.extend([true; 40]);
        assert_eq!(never.since(latest.into_iter(), 1.0), 7);
        assert_eq!(never.since(std::iter::empty(), 1.0), 0);
        assert_eq!(never.since(std::iter::once(true), 1.0), 1);
    }

    #[test]
    #[should_panic(expected = "no interval")]
    fn an_interval_ascends() {
        DriftTest::new(0.5, 0.4);
    }
}
