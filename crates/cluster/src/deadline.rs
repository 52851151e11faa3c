//! How long the master waits: fixed, or chosen from the times that workers reported.

use std::collections::VecDeque;

/// How the deadline of a round is found, in seconds from the round's start.
#[derive(Clone, Debug, PartialEq)]
pub enum DeadlinePolicy {
    /// Always the same.
    Fixed {
        /// Seconds.
        seconds: f64,
    },
    /// `factor` times the `q`-quantile of the last `window` times of all workers, from sending a
    /// task to the report on it, as the master sees them. Late reports count with the time they
    /// really took, so the deadline can grow again.
    Quantile {
        /// Which quantile, in (0, 1].
        q: f64,
        /// Head-room, at least 1 for a deadline that the quantile meets.
        factor: f64,
        /// Calibration rounds before training, in which everyone is waited for.
        warmup: u64,
        /// How many reports are remembered.
        window: usize,
    },
}

impl DeadlinePolicy {
    /// Calibration rounds that the policy needs before training.
    pub fn warmup(&self) -> u64 {
        match self {
            Self::Fixed { .. } => 0,
            Self::Quantile { warmup, .. } => (*warmup).max(1),
        }
    }
}

/// Reported times and the deadline they imply.
#[derive(Clone, Debug)]
pub struct DeadlineChooser {
    policy: DeadlinePolicy,
    times: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl DeadlineChooser {
    /// A chooser that has seen nothing yet.
    pub fn new(policy: DeadlinePolicy) -> Self {
        Self {
            policy,
            times: VecDeque::new(),
            sorted: Vec::new(),
        }
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        self.times.clear();
    }

    /// Records the seconds that a worker took for a task.
    pub fn observe(&mut self, seconds: f64) {
        if let DeadlinePolicy::Quantile { window, .. } = self.policy
            && seconds.is_finite()
        {
            if self.times.len() >= window.max(1) {
                self.times.pop_front();
            }
            self.times.push_back(seconds);
        }
    }

    /// The deadline of the next round, seconds; infinite while nothing is known.
    pub fn deadline(&mut self) -> f64 {
        match self.policy {
            DeadlinePolicy::Fixed { seconds } => seconds,
            DeadlinePolicy::Quantile { q, factor, .. } => {
                self.sorted.clear();
                self.sorted.extend(&self.times);
                self.sorted.sort_by(f64::total_cmp);
                let rank = (q * self.sorted.len() as f64).ceil() as usize;
                let at = rank.clamp(1, self.sorted.len().max(1)) - 1;
                self.sorted
                    .get(at)
                    .map_or(f64::INFINITY, |time| factor * time)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantile(q: f64) -> DeadlineChooser {
        DeadlineChooser::new(DeadlinePolicy::Quantile {
            q,
            factor: 2.0,
            warmup: 1,
            window: 10,
        })
    }

    #[test]
    fn the_quantile_is_the_smallest_time_that_covers_its_share() {
        for (q, expected) in [(0.1, 2.0), (0.5, 10.0), (0.51, 12.0), (1.0, 20.0)] {
            let mut chooser = quantile(q);
            for time in [3.0, 1.0, 2.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0] {
                chooser.observe(time);
            }
            assert_eq!(chooser.deadline(), expected, "q = {q}");
        }
    }

    #[test]
    fn nothing_known_means_waiting_for_everyone() {
        assert_eq!(quantile(0.9).deadline(), f64::INFINITY);
    }

    #[test]
    fn old_times_are_forgotten_and_late_ones_let_the_deadline_grow() {
        let mut chooser = quantile(0.5);
        for _ in 0..10 {
            chooser.observe(1.0);
        }
        assert_eq!(chooser.deadline(), 2.0);
        for _ in 0..10 {
            chooser.observe(5.0);
        }
        assert_eq!(chooser.deadline(), 10.0);
    }
}
