//! Who straggles: chronically, now and then, in bursts; as planned or not.

use run_log::{PlanEntry, quantile};
use serde::Serialize;

use super::columns::{Columns, mean, sum};

/// What kind of straggler a worker was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No data in the plan: never asked.
    Idle,
    /// Given up on the way.
    Lost,
    /// Never late.
    Punctual,
    /// Late in less than half of its iterations.
    NowAndThen,
    /// Late in half of its iterations or more.
    Chronic,
}

impl Kind {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Lost => "lost",
            Self::Punctual => "never late",
            Self::NowAndThen => "now and then",
            Self::Chronic => "chronic",
        }
    }
}

/// How often a worker was late, beside the plan's probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgainstPlan {
    /// What independent rounds with the planned probability explain.
    AsPlanned,
    /// More often.
    MoreOften,
    /// Less often.
    LessOften,
}

/// One worker.
#[derive(Clone, Debug, Serialize)]
pub struct Worker {
    /// Its number.
    pub worker: usize,
    /// What kind of straggler it was.
    pub kind: Kind,
    /// Iterations in which a gradient was expected of it.
    pub asked: u64,
    /// Of these, without one in time.
    pub late: u64,
    /// late / asked; NaN if it was never asked.
    pub late_share: f64,
    /// Mean over its iterations of the straggle probability planned for them.
    pub planned: f64,
    /// Whether the two agree. Tested for all workers together at 1%, with the Chernoff bound, so
    /// without approximation; it takes rounds to be independent.
    pub against_plan: AgainstPlan,
    /// Late iterations in a row, at most.
    pub longest_streak: u64,
    /// Share of late iterations right after a late one.
    pub late_after_late: f64,
    /// Whether lateness comes in bursts: more often after a late iteration than after one on time, by
    /// more than 4 standard deviations.
    pub bursts: bool,
    /// Share of late iterations in the first half of its iterations.
    pub late_first_half: f64,
    /// The same of the second half.
    pub late_second_half: f64,
    /// Whether the halves differ by more than 4 standard deviations.
    pub changed: bool,
    /// 10%, 50%, 90% and 99% quantiles and maximum of its on-time arrivals, seconds into the round.
    pub arrival: [f64; 5],
    /// Median arrival over the median of all workers' medians.
    pub slowness: f64,
    /// Mean seconds it computed.
    pub compute: f64,
    /// Mean seconds it encoded.
    pub encode: f64,
    /// Mean seconds its frame was under way.
    pub wire: f64,
    /// Frames and gradients refused; NaN if the log does not tell.
    pub refused: f64,
    /// Rounds in which it was the last one on time, so that the others waited for it.
    pub last: u64,
}

/// False alarms over all workers.
const ALARMS: f64 = 0.01;
/// Standard deviations that count.
const DEVIATIONS: f64 = 4.0;

/// Bound on the probability that the mean of `n` independent events of mean probability `p` is as far
/// from `p` as `share`, on that side (Chernoff; for unequal probabilities by Hoeffding 1956).
fn chernoff(share: f64, p: f64, n: f64) -> f64 {
    let term = |a: f64, b: f64| match (a, b) {
        (a, _) if a <= 0.0 => 0.0,
        (_, b) if b <= 0.0 => f64::INFINITY,
        (a, b) => a * (a / b).ln(),
    };
    (-n * (term(share, p) + term(1.0 - share, 1.0 - p))).exp()
}

/// Whether two shares of so many events each differ by more than [`DEVIATIONS`].
fn differ((a, n): (f64, f64), (b, m): (f64, f64)) -> bool {
    let pooled = (a * n + b * m) / (n + m);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    n >= 5.0 && m >= 5.0 && (a - b).abs() > DEVIATIONS * deviation && (a - b).abs() > 0.02
}

fn share(list: &[bool]) -> f64 {
    list.iter().filter(|&&late| late).count() as f64 / list.len() as f64
}

/// Describes every worker.
pub fn of(columns: &Columns, plans: &[PlanEntry], lost: &[usize]) -> Vec<Worker> {
    let last: Vec<Option<usize>> = (0..columns.len())
        .map(|t| columns.last_on_time(t).map(|(worker, _)| worker))
        .collect();
    let mut workers: Vec<Worker> = (0..columns.workers)
        .map(|i| {
            let mut worker = one(columns, plans, i);
            worker.last = last.iter().filter(|last| **last == Some(i)).count() as u64;
            if lost.contains(&i) {
                worker.kind = Kind::Lost;
            }
            worker
        })
        .collect();
    let typical = quantile(workers.iter().map(|worker| worker.arrival[1]), 0.5);
    for worker in &mut workers {
        worker.slowness = worker.arrival[1] / typical;
    }
    workers
}

fn one(columns: &Columns, plans: &[PlanEntry], i: usize) -> Worker {
    let planned_at = |t: usize| {
        let in_force = |entry: &&PlanEntry| entry.start_iteration as f64 <= columns.iteration[t];
        let plan = plans.iter().rfind(in_force);
        plan.and_then(|entry| entry.plan.straggle_probability.get(i))
    };
    let asked: Vec<usize> = (0..columns.len())
        .filter(|&t| columns.lateness[[t, i]] >= 0.0)
        .collect();
    let late: Vec<bool> = asked
        .iter()
        .map(|&t| columns.lateness[[t, i]] > 0.0)
        .collect();
    let n = asked.len() as f64;
    let late_count = late.iter().filter(|&&late| late).count();
    let late_share = share(&late);
    let planned: Vec<f64> = asked
        .iter()
        .filter_map(|&t| planned_at(t).copied())
        .collect();
    let planned = if planned.len() == asked.len() {
        mean(&planned)
    } else {
        f64::NAN
    };
    let surprising = planned.is_finite()
        && 2.0 * columns.workers as f64 * chernoff(late_share, planned, n) < ALARMS;
    let (after_late, after_on_time): (Vec<_>, Vec<_>) = late.windows(2).partition(|pair| pair[0]);
    let second = |pairs: &[&[bool]]| {
        let list: Vec<bool> = pairs.iter().map(|pair| pair[1]).collect();
        (share(&list), list.len() as f64)
    };
    let (after_late, after_on_time) = (second(&after_late), second(&after_on_time));
    let (first_half, second_half) = late.split_at(late.len() / 2);
    let halves = [first_half, second_half].map(|half| (share(half), half.len() as f64));
    let streak = late
        .chunk_by(|a, b| a == b)
        .filter(|run| run[0])
        .map(<[bool]>::len)
        .max();
    let arrival = columns.arrival.column(i);
    let at = |q| quantile(arrival.iter().copied(), q);
    let refused = columns.refused_per_worker.column(i);
    Worker {
        worker: i,
        kind: match late_share {
            _ if asked.is_empty() => Kind::Idle,
            0.0 => Kind::Punctual,
            late if late < 0.5 => Kind::NowAndThen,
            _ => Kind::Chronic,
        },
        asked: asked.len() as u64,
        late: late_count as u64,
        late_share,
        planned,
        against_plan: match surprising {
            true if late_share > planned => AgainstPlan::MoreOften,
            true => AgainstPlan::LessOften,
            false => AgainstPlan::AsPlanned,
        },
        longest_streak: streak.unwrap_or(0) as u64,
        late_after_late: after_late.0,
        bursts: after_late.0 > after_on_time.0 && differ(after_late, after_on_time),
        late_first_half: halves[0].0,
        late_second_half: halves[1].0,
        changed: differ(halves[0], halves[1]),
        arrival: [at(0.1), at(0.5), at(0.9), at(0.99), at(1.0)],
        slowness: f64::NAN,
        compute: mean(columns.compute.column(i)),
        encode: mean(columns.encode.column(i)),
        wire: mean(columns.wire.column(i)),
        refused: if refused.iter().any(|count| count.is_finite()) {
            sum(refused)
        } else {
            f64::NAN
        },
        last: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_chernoffs() {
        // 10 of 10 late at p = 1/2: the bound is exact, 2^-10.
        assert!((chernoff(1.0, 0.5, 10.0) - 0.5f64.powi(10)).abs() < 1e-15);
        assert_eq!(chernoff(0.5, 0.5, 10.0), 1.0);
        // What cannot happen did.
        assert_eq!(chernoff(0.1, 0.0, 10.0), 0.0);
        assert_eq!(chernoff(0.0, 0.0, 10.0), 1.0);
    }

    #[test]
    fn shares_differ_beyond_chance_only() {
        assert!(!differ((0.2, 100.0), (0.3, 100.0)));
        assert!(differ((0.2, 100.0), (0.6, 100.0)));
        assert!(!differ((0.0, 4.0), (1.0, 100.0)), "four events say little");
    }
}
