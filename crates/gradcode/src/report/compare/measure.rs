//! Numbers of a comparison: at the end, at equal bits, and bits until a value is reached.

use run_log::smaller_is_better;
use run_log::study::{Outcome, Point};

/// A mean over runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// NaN if some run has no value.
    pub mean: f64,
    /// Its standard error; NaN for a single run.
    pub standard_error: f64,
    /// Runs it is over.
    pub runs: usize,
}

impl Estimate {
    /// Nothing is known.
    pub const NONE: Self = Self {
        mean: f64::NAN,
        standard_error: f64::NAN,
        runs: 0,
    };

    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        if values.is_empty() {
            return Self::NONE;
        }
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self {
            mean,
            // 0 / 0 for a single run.
            standard_error: (squares / (n - 1.0) / n).sqrt(),
            runs: values.len(),
        }
    }
}

/// Numbers of the runs that are done.
fn done(point: &Point) -> impl Iterator<Item = usize> + '_ {
    let all = point.outcomes.iter().enumerate();
    all.filter(|(_, outcome)| **outcome != Outcome::Pending)
        .map(|(run, _)| run)
}

/// The metric at the last position; NaN if a run diverged, for the mean of the others would flatter.
pub fn at_end(point: &Point, metric: &str) -> Estimate {
    let Some(last) = point.at.len().checked_sub(1) else {
        return Estimate::NONE;
    };
    at_position(point, metric, last)
}

/// The metric at a position.
pub fn at_position(point: &Point, metric: &str, position: usize) -> Estimate {
    let Some(series) = point.series.get(metric) else {
        return Estimate::NONE;
    };
    Estimate::of(
        &done(point)
            .map(|run| series.runs[[run, position]])
            .collect::<Vec<_>>(),
    )
}

/// Total bits of the run that had fewest; None without such a series, or if a run diverged.
pub fn least_total(point: &Point, bits: &str) -> Option<f64> {
    let series = point.series.get(bits)?;
    let last = point.at.len().checked_sub(1)?;
    let totals = done(point).map(|run| series.runs[[run, last]]);
    let least = totals.reduce(|a, b| {
        if a.is_nan() || b.is_nan() {
            f64::NAN
        } else {
            a.min(b)
        }
    });
    least.filter(|total| total.is_finite() && *total > 0.0)
}

/// The metric of each run done once it had cost `amount` bits, linearly between evaluations; NaN for
/// a run that did not get so far.
fn of_runs_at_bits(point: &Point, metric: &str, bits: &str, amount: f64) -> Vec<f64> {
    let (Some(metric), Some(bits)) = (point.series.get(metric), point.series.get(bits)) else {
        return vec![];
    };
    let one = |run: usize| {
        let pairs: Vec<(f64, f64)> = bits
            .runs
            .row(run)
            .iter()
            .copied()
            .zip(metric.runs.row(run).iter().copied())
            .collect();
        let crossing = pairs
            .windows(2)
            .find(|pair| pair[0].0 <= amount && amount <= pair[1].0 && pair[0].0 < pair[1].0)?;
        let share = (amount - crossing[0].0) / (crossing[1].0 - crossing[0].0);
        Some(crossing[0].1 + share * (crossing[1].1 - crossing[0].1))
    };
    done(point)
        .map(|run| one(run).unwrap_or(f64::NAN))
        .collect()
}

/// The metric at equal bits.
pub fn at_bits(point: &Point, metric: &str, bits: &str, amount: f64) -> Estimate {
    Estimate::of(&of_runs_at_bits(point, metric, bits, amount))
}

/// Ratio of two means at equal bits, with its standard error to first order; runs of equal number
/// share their seed, so that what they have in common cancels.
pub fn ratio_at_bits(
    point: &Point,
    baseline: &Point,
    metric: &str,
    bits: &str,
    amount: f64,
) -> Estimate {
    let own = of_runs_at_bits(point, metric, bits, amount);
    let other = of_runs_at_bits(baseline, metric, bits, amount);
    let (a, b) = (Estimate::of(&own), Estimate::of(&other));
    let ratio = a.mean / b.mean;
    if !ratio.is_finite() || b.mean <= 0.0 {
        return Estimate::NONE;
    }
    let relative = if own.len() == other.len() {
        let deviations = own
            .iter()
            .zip(&other)
            .map(|(x, y)| x / a.mean - y / b.mean)
            .collect::<Vec<_>>();
        Estimate::of(&deviations).standard_error
    } else {
        (a.standard_error / a.mean).hypot(b.standard_error / b.mean)
    };
    Estimate {
        mean: ratio,
        standard_error: ratio.abs() * relative,
        runs: a.runs.min(b.runs),
    }
}

/// Bits until the mean first is as good as `target`, both linear between evaluations; the standard
/// error is that of the metric there over the slope. Nothing if it never is.
pub fn bits_until(point: &Point, metric: &str, bits: &str, target: f64) -> Estimate {
    let (Some(values), Some(costs)) = (point.series.get(metric), point.series.get(bits)) else {
        return Estimate::NONE;
    };
    let (values, costs) = (&values.mean, &costs.mean);
    let better = |value: f64| {
        if smaller_is_better(metric) {
            value <= target
        } else {
            value >= target
        }
    };
    let Some(first) = values.iter().position(|&value| better(value)) else {
        return Estimate::NONE;
    };
    let runs = at_position(point, metric, first).runs;
    let Some(before) = first.checked_sub(1).filter(|&i| values[i].is_finite()) else {
        return Estimate {
            mean: costs[first],
            standard_error: f64::NAN,
            runs,
        };
    };
    let slope = (values[first] - values[before]) / (costs[first] - costs[before]);
    let mean = costs[before] + (target - values[before]) / slope;
    // The runs' own errors at both ends, for not every run has spent exactly this many bits there.
    let share = (mean - costs[before]) / (costs[first] - costs[before]);
    let [a, b] = [before, first].map(|i| at_position(point, metric, i).standard_error);
    Estimate {
        mean,
        standard_error: ((1.0 - share) * a + share * b) / slope.abs(),
        runs,
    }
}

/// Mean bits per iteration, up to where the mean is known: the axis may begin after some iterations.
pub fn bits_per_step(point: &Point, bits: &str) -> f64 {
    let Some(costs) = point.series.get(bits).map(|series| &series.mean) else {
        return f64::NAN;
    };
    let Some(last) = costs.iter().rposition(|cost| cost.is_finite()) else {
        return f64::NAN;
    };
    let start = if costs[0] == 0.0 { point.at[0] } else { 0.0 };
    costs[last] / (point.at[last] - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two runs whose loss falls linearly from 4 and 5 while bits rise by 100 and 120 a step.
    fn falling(slope: f64) -> Point {
        let mut point = Point::new("a", "a", "iteration", vec![0.0, 10.0, 20.0], 3);
        for (run, (start, cost)) in [(4.0, 100.0), (5.0, 120.0)].into_iter().enumerate() {
            let loss = [start, start - slope, start - 2.0 * slope];
            let bits = [0.0, cost, 2.0 * cost];
            point
                .record(
                    run,
                    Outcome::Finished,
                    &[("loss", &loss), ("bits_up_payload", &bits)],
                )
                .unwrap();
        }
        point
    }

    fn near(estimate: Estimate, mean: f64, standard_error: f64, runs: usize) {
        assert!((estimate.mean - mean).abs() < 1e-12, "{estimate:?}");
        assert!(
            (estimate.standard_error - standard_error).abs() < 1e-12,
            "{estimate:?}"
        );
        assert_eq!(estimate.runs, runs);
    }

    #[test]
    fn values_lie_between_evaluations() {
        let point = falling(1.0);
        near(at_end(&point, "loss"), 2.5, 0.5, 2);
        assert_eq!(least_total(&point, "bits_up_payload"), Some(200.0));
        // 4 - 1.5 and 5 - 1.25.
        near(
            at_bits(&point, "loss", "bits_up_payload", 150.0),
            3.125,
            0.625,
            2,
        );
        assert!(
            at_bits(&point, "loss", "bits_up_payload", 210.0)
                .mean
                .is_nan()
        );
        // The mean falls from 4.5 by 1 in 110 bits, and has a standard error of 0.5.
        near(
            bits_until(&point, "loss", "bits_up_payload", 4.0),
            55.0,
            55.0,
            2,
        );
        let at_once = bits_until(&point, "loss", "bits_up_payload", 4.5);
        assert!(at_once.mean == 0.0 && at_once.standard_error.is_nan());
        assert_eq!(bits_until(&point, "loss", "bits_up_payload", 1.0).runs, 0);
        assert_eq!(bits_per_step(&point, "bits_up_payload"), 11.0);
    }

    #[test]
    fn ratios_use_that_seeds_are_shared() {
        let (point, baseline) = (falling(1.0), falling(1.0));
        near(
            ratio_at_bits(&point, &baseline, "loss", "bits_up_payload", 150.0),
            1.0,
            0.0,
            2,
        );
        let mut half = falling(1.0);
        for (run, loss) in [[2.0, 1.5, 1.0], [2.5, 2.0, 1.5]].into_iter().enumerate() {
            half.record(run, Outcome::Finished, &[("loss", &loss)])
                .unwrap();
        }
        near(
            ratio_at_bits(&half, &baseline, "loss", "bits_up_payload", 150.0),
            0.5,
            0.0,
            2,
        );
    }

    #[test]
    fn divergence_is_not_averaged_away() {
        let mut point = falling(1.0);
        let diverged = Outcome::Diverged { from: 1 };
        point
            .record(
                2,
                diverged,
                &[
                    ("loss", &[4.0, 9.0, 9.0]),
                    ("bits_up_payload", &[0.0, 1.0, 2.0]),
                ],
            )
            .unwrap();
        assert!(at_end(&point, "loss").mean.is_nan());
        assert_eq!(least_total(&point, "bits_up_payload"), None);
        assert!(
            at_bits(&point, "loss", "bits_up_payload", 50.0)
                .mean
                .is_nan()
        );
        assert!(
            bits_until(&point, "loss", "bits_up_payload", 3.5)
                .mean
                .is_nan()
        );
    }

    #[test]
    fn larger_is_better_for_other_metrics() {
        let mut point = Point::new("a", "a", "iteration", vec![0.0, 1.0], 1);
        let values: [(&str, &[f64]); 2] =
            [("accuracy", &[0.0, 0.5]), ("bits_up_payload", &[0.0, 8.0])];
        point.record(0, Outcome::Finished, &values).unwrap();
        assert_eq!(
            bits_until(&point, "accuracy", "bits_up_payload", 0.25).mean,
            4.0
        );
    }
}
