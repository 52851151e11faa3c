//! What the master had to refuse, by worker, and when that makes a worker a permanent straggler.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Reports of a worker over which its share of refusals is taken.
pub(crate) const WINDOW: usize = 100;

/// Warnings about one worker before they become rare.
const TOLD: u64 = 5;

/// Refusals so far. Part of what a run has to know when it goes on later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offences {
    workers: Vec<Record>,
    /// Messages of another round than the one their worker was asked in, in this round.
    foreign: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    /// Since the last accepted message.
    in_a_row: u64,
    /// Of the last reports on which there was a judgement: whether they were refused.
    recent: VecDeque<bool>,
    /// In the whole run.
    total: u64,
    /// Since the last judgement.
    now: u64,
    /// Why the last one was refused.
    reason: String,
}

/// When a worker is given up for what it sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// So many refusals in a row; 0 tolerates any number.
    pub in_a_row: u64,
    /// More than this share of its last 100 reports; 1 tolerates any share.
    pub share: f64,
}

impl Tolerance {
    /// No worker is ever given up.
    pub const ANYTHING: Self = Self {
        in_a_row: 0,
        share: 1.0,
    };
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            in_a_row: 5,
            share: 0.5,
        }
    }
}

impl Offences {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers: vec![Record::default(); workers],
            foreign: 0,
        }
    }

    /// Counts a refusal; whether it is worth a warning, with its number: the first few are, and then
    /// every power of two.
    pub(crate) fn refuse(&mut self, worker: usize, reason: String) -> Option<u64> {
        let record = &mut self.workers[worker];
        record.total += 1;
        record.now += 1;
        record.reason = reason;
        (record.total <= TOLD || record.total.is_power_of_two()).then_some(record.total)
    }

    /// Forgets what would give a worker up: it has a new process.
    pub(crate) fn forgive(&mut self, worker: usize) {
        if let Some(record) = self.workers.get_mut(worker) {
            record.in_a_row = 0;
            record.recent.clear();
        }
    }

    /// Counts a message of a round in which its worker was not asked.
    pub(crate) fn foreign(&mut self) {
        self.foreign += 1;
    }

    /// Foreign messages since the last call.
    pub(crate) fn take_foreign(&mut self) -> u64 {
        std::mem::take(&mut self.foreign)
    }

    /// Refusals of a worker since the last judgement.
    pub(crate) fn now(&self, worker: usize) -> u64 {
        self.workers[worker].now
    }

    /// Closes a round: names the workers beyond what is tolerated, with the reason. Where nobody
    /// was `accepted` the fault may lie in the model, and nobody is blamed.
    pub(crate) fn judge(
        &mut self,
        accepted: &[usize],
        tolerance: Tolerance,
    ) -> Vec<(usize, String)> {
        let mut beyond = Vec::new();
        for (worker, record) in self.workers.iter_mut().enumerate() {
            let refused = std::mem::take(&mut record.now);
            let delivered = accepted.contains(&worker);
            if accepted.is_empty() || (refused == 0 && !delivered) {
                continue;
            }
            if delivered {
                record.in_a_row = 0;
            } else {
                record.in_a_row += refused;
            }
            record.remember(!delivered);
            let (row, share) = (record.in_a_row, record.share());
            let last = &record.reason;
            if tolerance.in_a_row > 0 && row >= tolerance.in_a_row {
                beyond.push((
                    worker,
                    format!("refused {row} times in a row, last: {last}"),
                ));
            } else if share.is_some_and(|share| share > tolerance.share) {
                let percent = 100.0 * share.unwrap_or_default();
                beyond.push((
                    worker,
                    format!("refused in {percent:.0}% of its last {WINDOW} reports, last: {last}"),
                ));
            }
        }
        beyond
    }
}

impl Record {
    fn remember(&mut self, refused: bool) {
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(refused);
    }

    /// Share of refusals in the window, once it is full.
    fn share(&self) -> Option<f64> {
        let refused = self.recent.iter().filter(|refused| **refused).count();
        (self.recent.len() == WINDOW).then(|| refused as f64 / WINDOW as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Tolerance = Tolerance {
        in_a_row: 3,
        share: 0.4,
    };

    #[test]
    fn refusals_in_a_row_end_with_an_accepted_message() {
        let mut offences = Offences::new(2);
        for round in [true, true, false, true, true] {
            if round {
                offences.refuse(1, "no".to_owned());
            }
            let accepted: &[usize] = if round { &[0] } else { &[0, 1] };
            assert_eq!(offences.judge(accepted, STRICT), []);
        }
        offences.refuse(1, "NaN".to_owned());
        let beyond = offences.judge(&[0], STRICT);
        assert_eq!(beyond.len(), 1);
        assert_eq!(beyond[0].0, 1);
        assert!(beyond[0].1.contains("3 times in a row, last: NaN"));
    }

    #[test]
    fn nobody_is_blamed_for_a_round_in_which_all_failed() {
        let mut offences = Offences::new(2);
        for _ in 0..50 {
            offences.refuse(0, "NaN".to_owned());
            offences.refuse(1, "NaN".to_owned());
            assert_eq!((offences.now(0), offences.judge(&[], STRICT).len()), (1, 0));
        }
    }

    #[test]
    fn a_worker_that_is_back_begins_anew() {
        let mut offences = Offences::new(2);
        for _ in 0..WINDOW {
            offences.refuse(1, "NaN".to_owned());
            offences.judge(&[0], Tolerance::ANYTHING);
        }
        assert_eq!(offences.clone().judge(&[0, 1], STRICT).len(), 1);
        offences.forgive(1);
        assert_eq!(offences.judge(&[0, 1], STRICT), []);
        offences.refuse(1, "NaN".to_owned());
        assert_eq!(offences.judge(&[0], STRICT), []);
    }

    /// Every second report is refused: never three in a row, but too large a share once enough
    /// is known. A worker that is merely late is not judged.
    #[test]
    fn too_large_a_share_is_not_tolerated() {
        let mut offences = Offences::new(2);
        let mut given_up = None;
        for t in 0..300 {
            let accepted: &[usize] = match t % 3 {
                0 => &[0, 1],
                1 => {
                    offences.refuse(1, "damaged".to_owned());
                    &[0]
                }
                _ => &[0], // late
            };
            if let Some((worker, reason)) = offences.judge(accepted, STRICT).pop() {
                given_up = Some((t, worker, reason));
                break;
            }
        }
        let (t, worker, reason) = given_up.expect("it goes too far");
        assert_eq!((t, worker), (148, 1), "the hundredth report");
        assert!(reason.contains("50% of its last 100 reports"), "{reason}");
    }

    #[test]
    fn warnings_become_rare() {
        let mut offences = Offences::new(1);
        let told: Vec<u64> = (0..40)
            .filter_map(|_| offences.refuse(0, String::new()))
            .collect();
        assert_eq!(told, [1, 2, 3, 4, 5, 8, 16, 32]);
    }
}
