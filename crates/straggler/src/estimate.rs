//! Straggle probabilities and delay distributions estimated from what arrived.
//!
//! Both estimators are maximum likelihood. They see `tasks` recent tasks of one worker, each either
//! *on time* (its delay was observed and is at most the deadline) or *late* (only that is known).

use crate::{EstimateError, WorkerDelay};

/// The empirical estimate `p = late / tasks` (Song & Choi 2026).
///
/// It can be exactly 0 or 1, which no gradient code is designed for: a worker that never was late
/// has shown no more than that `p` is probably below `3 / tasks`.
///
/// # Errors
/// When there were no tasks or more late ones than tasks.
///
/// ```
/// assert_eq!(straggler::estimate::empirical(3, 12)?, 0.25);
/// # Ok::<(), straggler::EstimateError>(())
/// ```
pub fn empirical(late: u64, tasks: u64) -> Result<f64, EstimateError> {
    if tasks == 0 {
        return Err(EstimateError::NoTasks);
    }
    if late > tasks {
        return Err(EstimateError::MoreThanTasks {
            what: "late",
            counted: late,
            tasks,
        });
    }
    Ok(late as f64 / tasks as f64)
}

/// A shifted exponential fitted to right-censored delays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShiftedExponentialFit {
    /// Estimated least delay, in the unit of the observations.
    pub shift: f64,
    /// Estimated rate of the exponential part, per unit of time.
    pub rate: f64,
    /// How many tasks were on time.
    pub on_time: u64,
    /// How many tasks there were.
    pub tasks: u64,
}

impl ShiftedExponentialFit {
    /// `p = exp(-rate (deadline - shift))`, 1 up to the shift; any deadline, not only the one the
    /// observations were censored at.
    pub fn straggle_probability(&self, deadline: f64) -> f64 {
        self.delay().straggle_probability(deadline)
    }

    /// The fitted distribution, to simulate with.
    pub fn delay(&self) -> WorkerDelay {
        WorkerDelay::ShiftedExponential {
            shift: self.shift,
            rate: self.rate,
        }
    }
}

/// Fits `tau = shift + Exp(rate)` to tasks of which those later than `deadline` are only known to
/// be late.
///
/// With `m` tasks, `r` of them on time, the log-likelihood
/// `r ln rate - rate (sum over on time of (t - shift) + (m - r)(deadline - shift))` grows with the
/// shift up to the earliest arrival and is then maximal at
///
/// ```text
/// shift = min t        rate = r / ( sum over on time of (t - shift) + (m - r)(deadline - shift) )
/// ```
///
/// The shift is biased late by about `1 / (m rate)` and the rate high by a factor of about
/// `1 + 1 / r`; both vanish as observations accumulate.
///
/// # Errors
/// When there were no tasks, more arrivals than tasks, no arrival at all, a delay that is not in
/// `0..=deadline`, a deadline that is not finite and positive, or when nobody was seen to
/// take longer than the earliest arrival, so that no finite rate is most likely.
pub fn censored_shifted_exponential(
    on_time: &[f64],
    tasks: u64,
    deadline: f64,
) -> Result<ShiftedExponentialFit, EstimateError> {
    let arrived = on_time.len() as u64;
    if tasks == 0 {
        return Err(EstimateError::NoTasks);
    }
    if arrived > tasks {
        return Err(EstimateError::MoreThanTasks {
            what: "on-time",
            counted: arrived,
            tasks,
        });
    }
    if !(deadline.is_finite() && deadline > 0.0) {
        return Err(EstimateError::Deadline { value: deadline });
    }
    if let Some(position) = on_time
        .iter()
        .position(|delay| !(0.0..=deadline).contains(delay))
    {
        return Err(EstimateError::Delay {
            position,
            value: on_time[position],
            deadline,
        });
    }
    let Some(shift) = on_time.iter().copied().reduce(f64::min) else {
        return Err(EstimateError::NothingOnTime { tasks });
    };
    let waited = on_time.iter().map(|delay| delay - shift).sum::<f64>()
        + (tasks - arrived) as f64 * (deadline - shift);
    let rate = arrived as f64 / waited;
    if !rate.is_finite() {
        return Err(EstimateError::Degenerate {
            tasks,
            value: shift,
        });
    }
    Ok(ShiftedExponentialFit {
        shift,
        rate,
        on_time: arrived,
        tasks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empirical_estimates_count() {
        assert_eq!(empirical(0, 5), Ok(0.0));
        assert_eq!(empirical(5, 5), Ok(1.0));
        assert_eq!(empirical(0, 0), Err(EstimateError::NoTasks));
        assert!(matches!(
            empirical(6, 5),
            Err(EstimateError::MoreThanTasks {
                counted: 6,
                tasks: 5,
                ..
            })
        ));
    }

    /// By hand: arrivals 1, 1.5, 2 of 5 tasks at deadline 3: waited 0 + .5 + 1 + 2 * 2 = 5.5.
    #[test]
    fn a_fit_by_hand() {
        let fit = censored_shifted_exponential(&[1.5, 1.0, 2.0], 5, 3.0).unwrap();
        assert_eq!((fit.shift, fit.rate), (1.0, 3.0 / 5.5));
        assert_eq!((fit.on_time, fit.tasks), (3, 5));
        assert_eq!(fit.straggle_probability(3.0), (-(3.0 / 5.5) * 2.0f64).exp());
        assert_eq!(fit.straggle_probability(1.0), 1.0);
    }

    #[test]
    fn observations_that_determine_nothing_are_refused() {
        let fit = censored_shifted_exponential;
        assert_eq!(fit(&[], 0, 1.0), Err(EstimateError::NoTasks));
        assert_eq!(
            fit(&[], 4, 1.0),
            Err(EstimateError::NothingOnTime { tasks: 4 })
        );
        assert!(matches!(
            fit(&[0.5, 0.6], 1, 1.0),
            Err(EstimateError::MoreThanTasks {
                what: "on-time",
                ..
            })
        ));
        for deadline in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(
                fit(&[0.5], 2, deadline),
                Err(EstimateError::Deadline { .. })
            ));
        }
        for bad in [1.5, -0.1, f64::NAN] {
            assert!(matches!(
                fit(&[0.5, bad], 2, 1.0),
                Err(EstimateError::Delay { position: 1, .. })
            ));
        }
        // Everyone on time at one instant; or the only arrival exactly at the deadline.
        for (on_time, tasks) in [(&[0.5, 0.5][..], 2), (&[1.0][..], 3)] {
            assert!(matches!(
                fit(on_time, tasks, 1.0),
                Err(EstimateError::Degenerate { .. })
            ));
        }
        // One censored task besides is enough for a rate.
        assert_eq!(fit(&[0.5, 0.5], 3, 1.0).unwrap().rate, 4.0);
    }

    fn log_likelihood(on_time: &[f64], tasks: u64, deadline: f64, shift: f64, rate: f64) -> f64 {
        let censored = (tasks - on_time.len() as u64) as f64;
        on_time
            .iter()
            .map(|t| {
                if *t < shift {
                    f64::NEG_INFINITY
                } else {
                    rate.ln() - rate * (t - shift)
                }
            })
            .sum::<f64>()
            - censored * rate * (deadline - shift)
    }

    proptest! {
        #[test]
        fn no_other_parameters_are_more_likely(
            on_time in proptest::collection::vec(0.01..1.0, 2..20),
            late in 0u64..20,
            shift_factor in 0.0..1.5, rate_factor in 0.1..5.0,
        ) {
            let tasks = on_time.len() as u64 + late;
            let fit = censored_shifted_exponential(&on_time, tasks, 1.0);
            prop_assume!(fit.is_ok());
            let fit = fit.unwrap();
            let best = log_likelihood(&on_time, tasks, 1.0, fit.shift, fit.rate);
            let (shift, rate) = (fit.shift * shift_factor, fit.rate * rate_factor);
            let other = log_likelihood(&on_time, tasks, 1.0, shift, rate);
            prop_assert!(other <= best + 1e-9 * (1.0 + best.abs()));
        }
    }
}
