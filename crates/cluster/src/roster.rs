//! What the master knows of every worker: idle, at work, or lost.

/// A worker's state between messages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WorkerState {
    /// Free for a task.
    Idle,
    /// Has a task, and has not reported on it or not delivered its frame.
    Busy {
        /// Round of the task.
        sequence: u64,
        /// When the task was sent, on the transport's clock.
        since: f64,
    },
    /// Gone for good: a permanent straggler.
    Lost,
}

/// All workers.
#[derive(Debug)]
pub(crate) struct Roster {
    states: Vec<WorkerState>,
    lost: Vec<LostWorker>,
}

/// A worker that was given up.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LostWorker {
    /// Logical worker i.
    pub worker: usize,
    /// The iteration in which it was given up.
    pub iteration: u64,
    /// Why.
    pub reason: String,
}

impl Roster {
    pub fn new(workers: usize) -> Self {
        Self {
            states: vec![WorkerState::Idle; workers],
            lost: Vec::new(),
        }
    }

    pub fn is_idle(&self, worker: usize) -> bool {
        self.states[worker] == WorkerState::Idle
    }

    pub fn is_lost(&self, worker: usize) -> bool {
        self.states[worker] == WorkerState::Lost
    }

    /// The round a busy worker is at work on.
    pub fn busy_with(&self, worker: usize) -> Option<u64> {
        match self.states[worker] {
            WorkerState::Busy { sequence, .. } => Some(sequence),
            WorkerState::Idle | WorkerState::Lost => None,
        }
    }

    /// When the task of a busy worker was sent.
    pub fn busy_since(&self, worker: usize) -> Option<f64> {
        match self.states[worker] {
            WorkerState::Busy { since, .. } => Some(since),
            WorkerState::Idle | WorkerState::Lost => None,
        }
    }

    pub fn begin(&mut self, worker: usize, sequence: u64, since: f64) {
        self.states[worker] = WorkerState::Busy { sequence, since };
    }

    pub fn release(&mut self, worker: usize) {
        if !self.is_lost(worker) {
            self.states[worker] = WorkerState::Idle;
        }
    }

    /// Gives a worker up; false when it was lost before.
    pub fn lose(&mut self, worker: usize, iteration: u64, reason: String) -> bool {
        if self.is_lost(worker) {
            return false;
        }
        self.states[worker] = WorkerState::Lost;
        self.lost.push(LostWorker {
            worker,
            iteration,
            reason,
        });
        true
    }

    pub fn alive(&self) -> usize {
        self.states.len() - self.lost.len()
    }

    pub fn lost(&self) -> &[LostWorker] {
        &self.lost
    }

    /// Per worker: whether it is lost.
    pub fn dead(&self) -> Vec<bool> {
        (0..self.states.len())
            .map(|worker| self.is_lost(worker))
            .collect()
    }

    /// Busy workers whose task is of a round before `sequence` and older than `seconds`.
    pub fn silent(&self, before: u64, now: f64, seconds: f64) -> Vec<(usize, f64)> {
        self.states
            .iter()
            .enumerate()
            .filter_map(|(worker, state)| match *state {
                WorkerState::Busy { sequence, since }
                    if sequence < before && now - since >= seconds =>
                {
                    Some((worker, now - since))
                }
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_worker_stays_lost_and_is_counted_once() {
        let mut roster = Roster::new(3);
        roster.begin(1, 7, 0.0);
        assert_eq!(roster.busy_with(1), Some(7));
        assert_eq!(
            (roster.busy_since(1), roster.busy_since(0)),
            (Some(0.0), None)
        );
        assert!(roster.lose(1, 3, "gone".to_owned()));
        assert!(!roster.lose(1, 4, "again".to_owned()));
        roster.release(1);
        assert!(roster.is_lost(1) && !roster.is_idle(1));
        assert_eq!(
            (roster.alive(), roster.dead()),
            (2, vec![false, true, false])
        );
    }

    #[test]
    fn silence_needs_both_rounds_and_seconds() {
        let mut roster = Roster::new(2);
        roster.begin(0, 1, 10.0);
        roster.begin(1, 5, 10.0);
        assert!(roster.silent(1, 100.0, 30.0).is_empty());
        assert!(roster.silent(2, 39.0, 30.0).is_empty());
        assert_eq!(roster.silent(2, 40.0, 30.0), [(0, 30.0)]);
    }
}
