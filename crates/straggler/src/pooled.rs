//! The delays of all workers taken together, as one who looks at reports alone sees them.

use crate::DelayModel;

/// Halvings of an interval: enough for the last bit of a double.
const HALVINGS: u32 = 200;

impl DelayModel {
    /// `Pr(tau > time)` of the delay of a worker chosen at random: the mean of all `p_i`.
    pub fn pooled_survival(&self, time: f64) -> f64 {
        let p: f64 = self
            .workers()
            .iter()
            .map(|w| w.straggle_probability(time))
            .sum();
        p / self.len() as f64
    }

    /// The `q`-quantile of the delay of a worker chosen at random, `0 < q < 1`: the least time at
    /// which at most `1 - q` of all delays are still out.
    pub fn pooled_quantile(&self, q: f64) -> f64 {
        least(|time| self.pooled_survival(time) <= 1.0 - q + 1e-12)
    }

    /// Deadlines worth looking at, ascending: from where a round has a twentieth of an answer to where one
    /// answer in ten thousand is late, evenly in the log-odds of being late. For traces those are
    /// times at which the share of the late changes.
    pub fn candidate_deadlines(&self, count: usize) -> Vec<f64> {
        let odds = |late: f64| (late / (1.0 - late)).ln();
        let first = odds(1.0 - 0.05 / self.len() as f64);
        let last = odds(1e-4);
        let mut deadlines: Vec<f64> = (0..count)
            .map(|i| first + (last - first) * i as f64 / (count - 1).max(1) as f64)
            .map(|odds| self.pooled_quantile((1.0 + odds.exp()).recip()))
            .filter(|&deadline| deadline > 0.0)
            .collect();
        deadlines.dedup();
        deadlines
    }

    /// The median absolute deviation (MAD) of the same delay from its median: the least `m` such that half
    /// of all delays are within `m` of it.
    pub fn pooled_deviation(&self) -> f64 {
        let median = self.pooled_quantile(0.5);
        // Survival is right-continuous, and delays equal to median - m are within m.
        let inside = |m: f64| {
            let below = (median - m).next_down();
            self.pooled_survival(below) - self.pooled_survival(median + m)
        };
        // Shares of a trace are sums of fractions: half may come out a rounding below.
        least(|m| inside(m) >= 0.5 - 1e-12)
    }
}

/// The least time at or above 0 at which `reached` holds, which it does from there on.
fn least(reached: impl Fn(f64) -> bool) -> f64 {
    if reached(0.0) {
        return 0.0;
    }
    let mut high = 1.0;
    while !reached(high) && high < f64::MAX / 2.0 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if reached(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkerDelay;

    fn shifted(shift: f64, rate: f64) -> WorkerDelay {
        WorkerDelay::ShiftedExponential { shift, rate }
    }

    /// Median `a + ln 2 / psi`, and deviation `asinh(1/2) / psi`, the logarithm of the golden ratio.
    #[test]
    fn equal_workers_have_the_closed_forms_of_one() {
        let model = DelayModel::new(vec![shifted(0.5, 4.0); 3]).unwrap();
        let median = 0.5 + 2f64.ln() / 4.0;
        assert!((model.pooled_quantile(0.5) - median).abs() < 1e-9);
        assert!((model.pooled_quantile(0.9) - (0.5 + 10f64.ln() / 4.0)).abs() < 1e-9);
        assert!((model.pooled_deviation() - 0.5f64.asinh() / 4.0).abs() < 1e-9);
    }

    #[test]
    fn candidate_deadlines_cover_all_that_matters() {
        let model = DelayModel::new(vec![shifted(1.0, 0.5), shifted(1.0, 3.0)]).unwrap();
        let deadlines = model.candidate_deadlines(40);
        assert_eq!(deadlines.len(), 40);
        assert!(deadlines.windows(2).all(|pair| pair[0] < pair[1]));
        let late = |deadline: f64| model.pooled_survival(deadline);
        assert!((late(deadlines[0]) - 0.975).abs() < 1e-9);
        assert!((late(deadlines[39]) - 1e-4).abs() < 1e-9);
        let trace = WorkerDelay::Trace(vec![1.0, 2.0, 5.0].into());
        let model = DelayModel::new(vec![trace]).unwrap();
        let deadlines = model.candidate_deadlines(40);
        assert_eq!(deadlines.len(), 3, "{deadlines:?}");
    }

    #[test]
    fn traces_are_counted() {
        let trace = WorkerDelay::Trace(vec![1.0, 2.0, 3.0, 4.0, 6.0, 100.0].into());
        let model = DelayModel::new(vec![trace]).unwrap();
        // The lower of the two in the middle; deviations from 3 are 0 1 1 2 3 97.
        assert!((model.pooled_quantile(0.5) - 3.0).abs() < 1e-9);
        assert!((model.pooled_deviation() - 1.0).abs() < 1e-9);
        assert_eq!(model.pooled_survival(4.0), 2.0 / 6.0);
    }

    #[test]
    fn different_workers_are_mixed() {
        let model = DelayModel::new(vec![shifted(0.0, 1.0), shifted(10.0, 1.0)]).unwrap();
        let median = model.pooled_quantile(0.5);
        assert!(
            (model.pooled_survival(median) - 0.5).abs() < 1e-9,
            "{median}"
        );
        let m = model.pooled_deviation();
        let inside = model.pooled_survival(median - m) - model.pooled_survival(median + m);
        assert!((inside - 0.5).abs() < 1e-9);
    }
}
