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

/// Probabilities between which that of being late lies with a probability of at least `1 - error`,
/// when `late` of `tasks` independent tasks were late.
///
/// The p with `tasks KL(late/tasks || p) <= ln(2 / error)`, by Chernoff's bound: valid for any number
/// of tasks, a little wider than the exact interval of Clopper and Pearson.
///
/// # Errors
/// As [`empirical`].
///
/// ```
/// let (low, high) = straggler::estimate::confidence_interval(30, 100, 0.05)?;
/// assert!(0.18 < low && low < 0.20 && 0.42 < high && high < 0.44);
/// # Ok::<(), straggler::EstimateError>(())
/// ```
pub fn confidence_interval(late: u64, tasks: u64, error: f64) -> Result<(f64, f64), EstimateError> {
    let share = empirical(late, tasks)?;
    let allowed = (2.0 / error).ln() / tasks as f64;
    // The entropy grows from 0 at the share to infinity at the end, which lies outside unless it is
    // the share itself.
    let end_towards = |end: f64| {
        let (mut inside, mut outside) = (share, end);
        for _ in 0..60 {
            let middle = f64::midpoint(inside, outside);
            match relative_entropy(share, middle) <= allowed {
                true => inside = middle,
                false => outside = middle,
            }
        }
        outside
    };
    Ok((end_towards(0.0), end_towards(1.0)))
}

/// `KL(q || p) = q ln(q/p) + (1 - q) ln((1 - q)/(1 - p))`, the relative entropy of two coins in nats.
pub(crate) fn relative_entropy(q: f64, p: f64) -> f64 {
    let term = |q: f64, p: f64| if q == 0.0 { 0.0 } else { q * (q / p).ln() };
    term(q, p) + term(1.0 - q, 1.0 - p)
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

/// [`censored_shifted_exponential`] where deadlines differ: `late[j]` is the deadline that late task j
/// missed, and each on-time delay was within its own.
///
/// A task censored before the earliest arrival says nothing: whatever it took, it was longer than
/// that anyway.
///
/// # Errors
/// As [`censored_shifted_exponential`]; [`EstimateError::Delay`] for any time that is negative or not
/// finite, those of late tasks counted after those on time.
pub fn censored_at(on_time: &[f64], late: &[f64]) -> Result<ShiftedExponentialFit, EstimateError> {
    let tasks = (on_time.len() + late.len()) as u64;
    if tasks == 0 {
        return Err(EstimateError::NoTasks);
    }
    let mut times = on_time.iter().chain(late);
    if let Some(position) = times.position(|time| !(time.is_finite() && *time >= 0.0)) {
        return Err(EstimateError::Delay {
            position,
            value: *on_time
                .iter()
                .chain(late)
                .nth(position)
                .unwrap_or(&f64::NAN),
            deadline: f64::INFINITY,
        });
    }
    let Some(shift) = on_time.iter().copied().reduce(f64::min) else {
        return Err(EstimateError::NothingOnTime { tasks });
    };
    let beyond = |time: &f64| (time - shift).max(0.0);
    let waited = on_time.iter().chain(late).map(beyond).sum::<f64>();
    let rate = on_time.len() as f64 / waited;
    if !rate.is_finite() {
        return Err(EstimateError::Degenerate {
            tasks,
            value: shift,
        });
    }
    Ok(ShiftedExponentialFit {
        shift,
        rate,
        on_time: on_time.len() as u64,
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

    #[test]
    fn deadlines_may_differ() {
        // By hand: waited 0 + .5 + 1 on time, 1 and 2 late; the one censored at .8 says nothing.
        let fit = censored_at(&[1.5, 1.0, 2.0], &[2.0, 0.8, 3.0]).unwrap();
        assert_eq!((fit.shift, fit.rate), (1.0, 3.0 / 4.5));
        assert_eq!((fit.on_time, fit.tasks), (3, 6));
        let same = censored_shifted_exponential(&[1.5, 1.0, 2.0], 5, 3.0).unwrap();
        assert_eq!(censored_at(&[1.5, 1.0, 2.0], &[3.0, 3.0]).unwrap(), same);
        assert_eq!(censored_at(&[], &[]), Err(EstimateError::NoTasks));
        assert_eq!(
            censored_at(&[], &[1.0]),
            Err(EstimateError::NothingOnTime { tasks: 1 })
        );
        assert!(matches!(
            censored_at(&[1.0], &[2.0, f64::INFINITY]),
            Err(EstimateError::Delay { position: 2, .. })
        ));
        assert!(matches!(
            censored_at(&[1.0, 1.0], &[0.5]),
            Err(EstimateError::Degenerate { .. })
        ));
    }

    /// Against the exact binomial distribution: for every p and n the interval misses p no more often
    /// than it promises.
    #[test]
    fn confidence_intervals_cover() {
        for tasks in [1u64, 5, 40] {
            for p in [0.001, 0.02, 0.3, 0.5, 0.9, 0.999] {
                for error in [0.2, 0.01] {
                    let mut missed = 0.0;
                    let mut mass = (1.0f64 - p).powi(tasks as i32); // of 0 late
                    for late in 0..=tasks {
                        let (low, high) = confidence_interval(late, tasks, error).unwrap();
                        assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0);
                        if !(low..=high).contains(&p) {
                            missed += mass;
                        }
                        mass *= (tasks - late) as f64 / (late + 1) as f64 * p / (1.0 - p);
                    }
                    assert!(missed <= error, "{tasks} {p} {error}: {missed}");
                }
            }
        }
        assert_eq!(confidence_interval(0, 3, 0.1).unwrap().0, 0.0);
        assert_eq!(confidence_interval(3, 3, 0.1).unwrap().1, 1.0);
        assert!(confidence_interval(0, 0, 0.1).is_err());
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
