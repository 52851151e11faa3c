//! What the deadline cost, and what another one would have.

use run_log::quantile;
use serde::Serialize;

use super::Circumstances;
use super::columns::{Columns, or_zero};
use super::time::{Activity, Time};

/// A shorter deadline, replayed on the arrivals of the log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WhatIf {
    /// Seconds after the round's start.
    pub deadline: f64,
    /// Share of the rounds' time that it would have saved.
    pub time_saved: f64,
    /// Share of the gradients that would still have been in time.
    pub gradients_kept: f64,
    /// Share of the rounds without any gradient.
    pub empty: f64,
}

/// What the deadline did.
#[derive(Clone, Debug, Serialize)]
pub struct Deadline {
    /// Whether the master waited for it at all: it does not where arrivals are drawn or simulated.
    pub waited_for: bool,
    /// Least, median and greatest deadline; NaN where rounds wait for everybody.
    pub seconds: [f64; 3],
    /// Rounds that lasted until the deadline because somebody was missing.
    pub rounds_to_the_deadline: u64,
    /// Rounds that ended when everybody had reported.
    pub rounds_complete: u64,
    /// Rounds in which nobody was in time.
    pub rounds_empty: u64,
    /// Seconds waited after the last gradient in time.
    pub in_vain: f64,
    /// The same, of the wall time.
    pub in_vain_share: f64,
    /// Seconds that workers computed gradients which came too late, as far as the round heard of it.
    pub computed_in_vain: f64,
    /// Shorter deadlines; longer ones cannot be replayed. Empty where nobody waits for the deadline.
    pub what_if: Vec<WhatIf>,
}

impl Deadline {
    /// Why there are no shorter deadlines to look at, where somebody might look for them.
    pub fn why_none(&self, circumstances: &Circumstances) -> Option<&'static str> {
        if !self.what_if.is_empty() {
            None
        } else if circumstances.simulated {
            Some("nobody waited for it: time was virtual, and who is late is drawn")
        } else if circumstances.drawn {
            Some(
                "nobody waited for it: who is late was drawn (straggler.inject = \"erase\"), and the rest was waited for",
            )
        } else if !self.waited_for && self.rounds_complete > 0 {
            Some("there was none: every round waited for everybody")
        } else {
            None
        }
    }
}

/// Quantiles of all on-time arrivals that are tried as deadlines.
const TRIED: [f64; 6] = [0.5, 0.75, 0.9, 0.95, 0.99, 1.0];

/// Describes the deadline.
pub fn of(columns: &Columns, circumstances: &Circumstances, time: &Time) -> Deadline {
    let rounds = columns.len();
    let to_the_deadline = (0..rounds)
        .filter(|&t| columns.closed_by_deadline(circumstances, t))
        .count();
    let finite = || columns.deadline.iter().copied().filter(|d| d.is_finite());
    let waited_for = !circumstances.drawn && !circumstances.simulated && finite().next().is_some();
    let late_compute = columns
        .compute
        .indexed_iter()
        .filter(|((t, i), _)| columns.lateness[[*t, *i]] > 0.0);
    let in_vain = time.seconds(Activity::InVain);
    Deadline {
        waited_for,
        seconds: [0.0, 0.5, 1.0].map(|q| quantile(finite(), q)),
        rounds_to_the_deadline: to_the_deadline as u64,
        rounds_complete: (rounds - to_the_deadline) as u64,
        rounds_empty: columns.responders.iter().filter(|&&n| n == 0.0).count() as u64,
        in_vain,
        in_vain_share: if time.wall > 0.0 {
            in_vain / time.wall
        } else {
            0.0
        },
        computed_in_vain: late_compute.map(|(_, &seconds)| or_zero(seconds)).sum(),
        what_if: if waited_for {
            what_if(columns, circumstances, time)
        } else {
            vec![]
        },
    }
}

fn what_if(columns: &Columns, circumstances: &Circumstances, time: &Time) -> Vec<WhatIf> {
    let on_time = || columns.arrival.iter().copied().filter(|a| a.is_finite());
    let gradients = on_time().count() as f64;
    if gradients == 0.0 || time.rounds <= 0.0 {
        return vec![];
    }
    let mut list: Vec<WhatIf> = TRIED
        .into_iter()
        .map(|q| {
            replay(
                columns,
                circumstances,
                time,
                quantile(on_time(), q),
                gradients,
            )
        })
        .collect();
    list.dedup_by(|a, b| a.deadline == b.deadline);
    list
}

/// Rounds would have ended at the shorter deadline, or with the last gradient where that came before
/// it and nobody was missing.
fn replay(
    columns: &Columns,
    circumstances: &Circumstances,
    time: &Time,
    deadline: f64,
    gradients: f64,
) -> WhatIf {
    let (mut saved, mut kept, mut empty) = (0.0, 0, 0);
    for t in 0..columns.len() {
        let arrivals = || columns.arrival.row(t).into_iter().filter(|a| a.is_finite());
        let last = columns.last_on_time(t).map_or(0.0, |(_, arrival)| arrival);
        let end = if columns.closed_by_deadline(circumstances, t) {
            columns.deadline[t]
        } else {
            last
        };
        saved += (end - deadline).max(0.0);
        let in_time = arrivals().filter(|&&arrival| arrival <= deadline).count();
        kept += in_time;
        empty += usize::from(in_time == 0);
    }
    WhatIf {
        deadline,
        time_saved: saved / time.rounds,
        gradients_kept: kept as f64 / gradients,
        empty: empty as f64 / columns.len() as f64,
    }
}
