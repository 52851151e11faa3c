//! Delay distributions fitted to measured arrivals, with confidence intervals and a verdict on the fit.
//!
//! [`crate::estimate`] finds the most likely parameters; here are how well they are known, and whether
//! delays of that family would look like the measured ones. All observations are of one worker; those
//! later than `limit` are only known to be later.

use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::estimate::censored_shifted_exponential;
use crate::{EstimateError, WorkerDelay};

/// A family of delay distributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `shift + Exp(rate)`.
    ShiftedExponential,
    /// `Exp(rate)`.
    Exponential,
}

/// An estimate with the interval that covers the true value with a given confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One worker's delays, fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct DelayFit {
    /// The family.
    pub family: Family,
    /// The least delay; 0 for [`Family::Exponential`].
    pub shift: Interval,
    /// The rate, one over the mean of the exponential part.
    pub rate: Interval,
    /// Arrivals within the limit.
    pub arrived: u64,
    /// All tasks.
    pub tasks: u64,
    /// Log-likelihood at the estimates.
    pub log_likelihood: f64,
    /// Kolmogorov-Smirnov distance between the measured and the fitted distribution, up to the limit.
    pub distance: f64,
    /// The distance that delays of the family exceed in 5 of 100 cases when shift and rate are fitted
    /// to them: a larger one says that delays are not of this family. Approximate for few
    /// observations, and where some were cut.
    pub critical: f64,
}

impl DelayFit {
    /// The fitted distribution.
    pub fn delay(&self) -> WorkerDelay {
        let rate = self.rate.value;
        match self.family {
            Family::ShiftedExponential => WorkerDelay::ShiftedExponential {
                shift: self.shift.value,
                rate,
            },
            Family::Exponential => WorkerDelay::Exponential { rate },
        }
    }

    /// Whether the measured delays look like the fitted ones, at the 5 % level.
    pub fn fits(&self) -> bool {
        self.distance <= self.critical
    }

    /// Bayesian information criterion: less is better; parameters cost `ln(tasks)` each.
    pub fn criterion(&self) -> f64 {
        let parameters = match self.family {
            Family::ShiftedExponential => 2.0,
            Family::Exponential => 1.0,
        };
        parameters * (self.tasks as f64).ln() - 2.0 * self.log_likelihood
    }
}

/// Fits `family` to the delays of `tasks` tasks, of which those in `arrived` came within `limit`
/// (infinite: nothing was cut, and all have arrived).
///
/// With `m` tasks, `r` arrivals and waited time `W` (for the shifted exponential beyond the earliest
/// arrival), `2 rate W` is chi-squared with `2r - 2` degrees of freedom, `2r` without a shift, and `m
/// (min - shift) (r - 1) / W` is F-distributed with 2 and `2r - 2`. Both are exact where nothing is cut,
/// and good where the number of arrivals hardly varies. The interval of the shift is one-sided: the
/// earliest arrival bounds it for certain.
///
/// # Errors
/// As [`censored_shifted_exponential`]; [`EstimateError::NothingOnTime`] with fewer than 3 arrivals,
/// from which no interval follows.
pub fn fit(
    family: Family,
    arrived: &[f64],
    tasks: u64,
    limit: f64,
    confidence: f64,
) -> Result<DelayFit, EstimateError> {
    let last = arrived.iter().copied().fold(0.0, f64::max);
    let limit = if limit.is_finite() { limit } else { last };
    let estimate = censored_shifted_exponential(arrived, tasks, limit)?;
    if arrived.len() < 3 {
        return Err(EstimateError::NothingOnTime { tasks });
    }
    let (m, r) = (tasks as f64, arrived.len() as f64);
    let cut = m - r;
    let tail = (1.0 - confidence) / 2.0;
    let (shift, rate, waited, freedom) = match family {
        Family::ShiftedExponential => {
            let waited = r / estimate.rate;
            // F(2, 2b) has the survival function (1 + f / b)^-b.
            let f = (r - 1.0) * ((1.0 - confidence).powf(-1.0 / (r - 1.0)) - 1.0);
            let shift = Interval {
                value: estimate.shift,
                low: (estimate.shift - f * waited / (m * (r - 1.0))).max(0.0),
                high: estimate.shift,
            };
            (shift, estimate.rate, waited, 2.0 * r - 2.0)
        }
        Family::Exponential => {
            let waited = arrived.iter().sum::<f64>() + cut * limit;
            let none = Interval {
                value: 0.0,
                low: 0.0,
                high: 0.0,
            };
            (none, r / waited, waited, 2.0 * r)
        }
    };
    let quantile = |q: f64| match ChiSquared::new(freedom) {
        Ok(chi_squared) => chi_squared.inverse_cdf(q) / (2.0 * waited),
        Err(_) => f64::NAN, // freedom is at least 4
    };
    let (distance, critical) = distance(arrived, m, shift.value, rate, family);
    Ok(DelayFit {
        family,
        shift,
        rate: Interval {
            value: rate,
            low: quantile(tail),
            high: quantile(1.0 - tail),
        },
        arrived: arrived.len() as u64,
        tasks,
        // At the most likely rate the exponent is -r.
        log_likelihood: r * rate.ln() - r,
        distance,
        critical,
    })
}

/// Kolmogorov-Smirnov distance up to the last arrival, and its 5 % point where parameters are fitted.
///
/// Beyond the earliest arrival the delays of a shifted exponential are those of an exponential of one
/// observation less. With a fitted rate the point is that of Stephens (1974, Table 1.4), `(D - 0.2/n)
/// (sqrt n + 0.26 + 0.5/sqrt n) = 1.094`.
fn distance(arrived: &[f64], tasks: f64, shift: f64, rate: f64, family: Family) -> (f64, f64) {
    let mut sorted = arrived.to_vec();
    sorted.sort_by(f64::total_cmp);
    let skipped = usize::from(family == Family::ShiftedExponential);
    let n = tasks - skipped as f64;
    let distance = sorted
        .iter()
        .skip(skipped)
        .enumerate()
        .map(|(i, time)| {
            let fitted = 1.0 - (-rate * (time - shift)).exp();
            (fitted - i as f64 / n).max((i as f64 + 1.0) / n - fitted)
        })
        .fold(0.0, f64::max);
    let root = n.sqrt();
    (distance, 1.094 / (root + 0.26 + 0.5 / root) + 0.2 / n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DelayModel;

    fn sample(delay: &WorkerDelay, seed: u64, n: u64) -> Vec<f64> {
        let model = DelayModel::new(vec![delay.clone()]).unwrap();
        (0..n).map(|t| model.delay(seed, t, 0)).collect()
    }

    fn cut(sample: &[f64], limit: f64) -> Vec<f64> {
        sample.iter().copied().filter(|&t| t <= limit).collect()
    }

    const TRUE_SHIFT: f64 = 0.7;
    const TRUE_RATE: f64 = 1.6;

    fn truth() -> WorkerDelay {
        WorkerDelay::ShiftedExponential {
            shift: TRUE_SHIFT,
            rate: TRUE_RATE,
        }
    }

    /// 95 of 100 intervals hold the truth, cut or not: of 600 at least 550 and at most 588, which is
    /// within four standard deviations.
    #[test]
    fn intervals_cover_the_truth_as_often_as_they_say() {
        for limit in [f64::INFINITY, 1.4] {
            let (mut rates, mut shifts, mut fits) = (0, 0, 0);
            for seed in 0..600 {
                let arrived = cut(&sample(&truth(), seed, 60), limit);
                let fit = fit(Family::ShiftedExponential, &arrived, 60, limit, 0.95).unwrap();
                let holds = |interval: &Interval, truth| {
                    u32::from((interval.low..=interval.high).contains(&truth))
                };
                rates += holds(&fit.rate, TRUE_RATE);
                shifts += holds(&fit.shift, TRUE_SHIFT);
                fits += u32::from(fit.fits());
            }
            for covered in [rates, shifts] {
                assert!((550..=590).contains(&covered), "limit {limit}: {covered}");
            }
            // The test of fit is exact without a limit and does not reject too often with one.
            assert!(fits >= 550, "limit {limit}: {fits}");
            assert!(limit.is_finite() || fits <= 590, "{fits}");
        }
    }

    #[test]
    fn the_exponential_is_told_from_the_shifted_one() {
        let families = [Family::ShiftedExponential, Family::Exponential];
        let best = |arrived: &[f64]| {
            let criterion = |&family: &Family| {
                fit(family, arrived, arrived.len() as u64, f64::INFINITY, 0.95)
                    .unwrap()
                    .criterion()
            };
            let [shifted, plain] = families.each_ref().map(criterion);
            families[usize::from(plain < shifted)]
        };
        let plain = WorkerDelay::Exponential { rate: 3.0 };
        let found =
            (0..200).filter(|&seed| best(&sample(&plain, seed, 100)) == Family::Exponential);
        assert!(found.count() > 160);
        let found = (0..200).filter(|&seed| best(&sample(&truth(), seed, 100)) == families[0]);
        assert_eq!(found.count(), 200);
    }

    #[test]
    fn another_distribution_does_not_fit() {
        // Uniform delays.
        let uniform: Vec<f64> = (0..200).map(|i| 1.0 + f64::from(i) / 200.0).collect();
        let fit = fit(
            Family::ShiftedExponential,
            &uniform,
            200,
            f64::INFINITY,
            0.95,
        )
        .unwrap();
        assert!(!fit.fits(), "{fit:?}");
    }

    #[test]
    fn an_exponential_by_hand() {
        let fit = fit(Family::Exponential, &[1.0, 2.0, 3.0], 5, 4.0, 0.95).unwrap();
        assert_eq!(fit.rate.value, 3.0 / 14.0);
        // The 2.5 % point of chi-squared with 6 degrees of freedom is 1.2373.
        assert!((fit.rate.low - 1.2373 / 28.0).abs() < 1e-5, "{fit:?}");
        let log_likelihood = 3.0 * (3.0f64 / 14.0).ln() - 14.0 * 3.0 / 14.0;
        assert!((fit.log_likelihood - log_likelihood).abs() < 1e-12);
        assert!(matches!(
            super::fit(Family::Exponential, &[1.0, 2.0], 5, 4.0, 0.95),
            Err(EstimateError::NothingOnTime { .. })
        ));
    }
}
