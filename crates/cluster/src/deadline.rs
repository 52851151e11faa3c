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
    /// The median of the same times plus `k` times their median absolute deviation from it, which a
    /// minority of very late reports does not move.
    MedianPlusMad {
        /// How many deviations, at least 0. For times that are normally distributed one standard
        /// deviation is 1.4826 of them.
        k: f64,
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
            Self::Quantile { warmup, .. } | Self::MedianPlusMad { warmup, .. } => (*warmup).max(1),
        }
    }

    /// How many reports the deadline depends on.
    fn window(&self) -> usize {
        match self {
            Self::Fixed { .. } => 0,
            Self::Quantile { window, .. } | Self::MedianPlusMad { window, .. } => (*window).max(1),
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

    /// What is remembered, oldest first.
    pub fn times(&self) -> Vec<f64> {
        self.times.iter().copied().collect()
    }

    /// Records the seconds that a worker took for a task.
    pub fn observe(&mut self, seconds: f64) {
        let window = self.policy.window();
        if window > 0 && seconds.is_finite() {
            if self.times.len() >= window {
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
                self.sort();
                quantile(&self.sorted, q).map_or(f64::INFINITY, |time| factor * time)
            }
            DeadlinePolicy::MedianPlusMad { k, .. } => {
                self.sort();
                let Some(median) = median(&self.sorted) else {
                    return f64::INFINITY;
                };
                for time in &mut self.sorted {
                    *time = (*time - median).abs();
                }
                self.sorted.sort_by(f64::total_cmp);
                median + k * median_or_zero(&self.sorted)
            }
        }
    }

    fn sort(&mut self) {
        self.sorted.clear();
        self.sorted.extend(&self.times);
        self.sorted.sort_by(f64::total_cmp);
    }
}

/// The smallest of the ascending `times` that covers the share `q` of them.
fn quantile(times: &[f64], q: f64) -> Option<f64> {
    let rank = (q * times.len() as f64).ceil() as usize;
    times.get(rank.clamp(1, times.len().max(1)) - 1).copied()
}

/// The middle of the ascending `times`; the mean of the two in the middle of an even number.
fn median(times: &[f64]) -> Option<f64> {
    let upper = *times.get(times.len() / 2)?;
    let lower = times[(times.len() - 1) / 2];
    Some(lower + (upper - lower) / 2.0)
}

fn median_or_zero(times: &[f64]) -> f64 {
    median(times).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_quantile(q: f64) -> DeadlineChooser {
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
            let mut chooser = by_quantile(q);
            for time in [3.0, 1.0, 2.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0] {
                chooser.observe(time);
            }
            assert_eq!(chooser.deadline(), expected, "q = {q}");
        }
    }

    fn by_deviation(k: f64) -> DeadlineChooser {
        DeadlineChooser::new(DeadlinePolicy::MedianPlusMad {
            k,
            warmup: 1,
            window: 6,
        })
    }

    /// Times 1 2 3 4 6 100: median 3.5, deviations 0.5 0.5 1.5 2.5 2.5 96.5, of which the median is 2.
    #[test]
    fn the_median_and_its_deviations_by_hand() {
        for (k, expected) in [(0.0, 3.5), (3.0, 9.5)] {
            let mut chooser = by_deviation(k);
            for time in [100.0, 2.0, 6.0, 1.0, 4.0, f64::INFINITY, 3.0] {
                chooser.observe(time);
            }
            assert_eq!(chooser.deadline(), expected, "k = {k}");
            assert_eq!(chooser.deadline(), expected, "asking changes nothing");
        }
        assert_eq!(by_deviation(3.0).deadline(), f64::INFINITY);
    }

    /// However late a minority is, the deadline stays; once it is the majority, the deadline follows.
    #[test]
    fn a_minority_of_late_reports_does_not_move_the_deadline() {
        let mut chooser = by_deviation(3.0);
        let deadline = |chooser: &mut DeadlineChooser, times: [f64; 6]| {
            times.into_iter().for_each(|time| chooser.observe(time));
            chooser.deadline()
        };
        let near = deadline(&mut chooser, [1.0, 1.1, 1.2, 1.3, 9.0, 9.0]);
        assert_eq!(near, deadline(&mut chooser, [1.0, 1.1, 1.2, 1.3, 9e9, 9e9]));
        assert!(deadline(&mut chooser, [1.0, 1.1, 9.0, 9.0, 9.0, 9.0]) >= 9.0);
    }

    #[test]
    fn nothing_known_means_waiting_for_everyone() {
        assert_eq!(by_quantile(0.9).deadline(), f64::INFINITY);
    }

    #[test]
    fn old_times_are_forgotten_and_late_ones_let_the_deadline_grow() {
        let mut chooser = by_quantile(0.5);
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
