//! The delay of one worker: its distribution, its straggle probability, one draw.

use crate::DelayError;
use rand::Rng;
use std::sync::Arc;

/// The distribution of one worker's delay, in the model's own unit of time.
///
/// Validity is checked where a [`crate::DelayModel`] is built: rates are finite and positive, the
/// shift and every trace entry finite and not negative, and a trace not empty.
#[derive(Clone, Debug, PartialEq)]
pub enum WorkerDelay {
    /// `tau = shift + Exp(rate)`: the work takes at least `shift`. With shift 1 this is Song & Choi
    /// 2026, eq 37.
    ShiftedExponential {
        /// Least possible delay.
        shift: f64,
        /// Rate of the exponential part, one over its mean.
        rate: f64,
    },
    /// `tau = Exp(rate)`.
    Exponential {
        /// One over the mean delay.
        rate: f64,
    },
    /// The empirical distribution of recorded delays, one entry per recorded iteration.
    Trace(Arc<[f64]>),
}

impl WorkerDelay {
    /// `p = Pr(tau > deadline)`, in `[0, 1]`; for a trace the share of its entries above the
    /// deadline. A NaN deadline gives NaN.
    ///
    /// ```
    /// use straggler::WorkerDelay;
    /// let worker = WorkerDelay::ShiftedExponential { shift: 1.0, rate: 2.0 };
    /// assert_eq!(worker.straggle_probability(1.1), (-2.0_f64 * (1.1 - 1.0)).exp());
    /// assert_eq!(worker.straggle_probability(0.9), 1.0);
    /// ```
    pub fn straggle_probability(&self, deadline: f64) -> f64 {
        if deadline.is_nan() {
            return f64::NAN;
        }
        match self {
            Self::ShiftedExponential { shift, rate } => survival(deadline - shift, *rate),
            Self::Exponential { rate } => survival(deadline, *rate),
            Self::Trace(delays) => {
                let late = delays.iter().filter(|&&delay| delay > deadline).count();
                late as f64 / delays.len() as f64
            }
        }
    }

    /// One delay, by inverse CDF from one 64-bit word of `rng`; a trace gives one of its entries,
    /// all equally likely.
    ///
    /// The word's high 53 bits make the uniform, here and not in a sampling library, so that no
    /// seeded result changes with a dependency.
    ///
    /// # Panics
    /// If a trace is empty, which no [`crate::DelayModel`] holds.
    pub fn delay(&self, rng: &mut impl Rng) -> f64 {
        let u = unit(rng.next_u64());
        match self {
            Self::ShiftedExponential { shift, rate } => shift + exponential(u) / rate,
            Self::Exponential { rate } => exponential(u) / rate,
            Self::Trace(delays) => {
                // u < 1 and len < 2^53 give floor(u len) < len except by rounding up at len itself.
                let position = (u * delays.len() as f64) as usize;
                delays[position.min(delays.len() - 1)]
            }
        }
    }

    /// Checks the parameters, naming `worker` in the error.
    pub(crate) fn check(&self, worker: usize) -> Result<(), DelayError> {
        let rate_is_positive = |rate: f64| {
            let valid = rate.is_finite() && rate > 0.0;
            valid.then_some(()).ok_or(DelayError::Parameter {
                worker,
                field: "rate",
                value: rate,
                valid: "finite and > 0",
            })
        };
        match self {
            Self::ShiftedExponential { shift, rate } => {
                if !(shift.is_finite() && *shift >= 0.0) {
                    return Err(DelayError::Parameter {
                        worker,
                        field: "shift",
                        value: *shift,
                        valid: "finite and >= 0",
                    });
                }
                rate_is_positive(*rate)
            }
            Self::Exponential { rate } => rate_is_positive(*rate),
            Self::Trace(delays) => {
                if delays.is_empty() {
                    return Err(DelayError::EmptyTrace { worker });
                }
                match delays.iter().position(|d| !(d.is_finite() && *d >= 0.0)) {
                    None => Ok(()),
                    Some(position) => Err(DelayError::TraceEntry {
                        worker,
                        position,
                        value: delays[position],
                    }),
                }
            }
        }
    }
}

/// `Pr(Exp(rate) > time)`.
fn survival(time: f64, rate: f64) -> f64 {
    if time <= 0.0 {
        1.0
    } else {
        (-rate * time).exp()
    }
}

/// A uniform on the multiples of `2^-53` in `[0, 1)`.
pub(crate) fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// The inverse CDF of `Exp(1)` at `u` in `[0, 1)`. `1 - u` is exact and at least `2^-53`, so the
/// result is finite (at most 36.8) and never negative.
fn exponential(u: f64) -> f64 {
    // `0 -` rather than negation: ln 1 = 0 must not become -0.
    0.0 - (1.0 - u).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A generator that returns one word for ever.
    struct Constant(u64);

    impl rand::rand_core::TryRng for Constant {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(self.0 as u32)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(self.0)
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill(self.0 as u8);
            Ok(())
        }
    }

    #[test]
    fn the_ends_of_the_uniform_give_finite_delays() {
        let worker = WorkerDelay::ShiftedExponential {
            shift: 1.0,
            rate: 2.0,
        };
        assert_eq!(worker.delay(&mut Constant(0)), 1.0);
        let latest = worker.delay(&mut Constant(u64::MAX));
        assert!((latest - (1.0 + 53.0 * std::f64::consts::LN_2 / 2.0)).abs() < 1e-12);
        assert!(
            WorkerDelay::Exponential { rate: 1.0 }
                .delay(&mut Constant(0))
                .is_sign_positive()
        );
    }

    #[test]
    fn a_trace_yields_its_first_entry_at_the_lowest_word_and_its_last_at_the_highest() {
        let worker = WorkerDelay::Trace(vec![3.0, 1.0, 2.0].into());
        assert_eq!(worker.delay(&mut Constant(0)), 3.0);
        assert_eq!(worker.delay(&mut Constant(u64::MAX / 2)), 1.0);
        assert_eq!(worker.delay(&mut Constant(u64::MAX)), 2.0);
    }

    #[test]
    fn straggling_means_strictly_later_than_the_deadline() {
        let trace = WorkerDelay::Trace(vec![1.0, 2.0, 2.0, 4.0].into());
        assert_eq!(trace.straggle_probability(0.5), 1.0);
        assert_eq!(trace.straggle_probability(2.0), 0.25);
        assert_eq!(trace.straggle_probability(4.0), 0.0);
        let exponential = WorkerDelay::Exponential { rate: 3.0 };
        assert_eq!(exponential.straggle_probability(0.0), 1.0);
        assert_eq!(exponential.straggle_probability(f64::INFINITY), 0.0);
    }

    #[test]
    fn a_nan_deadline_is_not_taken_for_an_answer() {
        for worker in [
            WorkerDelay::Exponential { rate: 1.0 },
            WorkerDelay::Trace(vec![1.0].into()),
        ] {
            assert!(worker.straggle_probability(f64::NAN).is_nan());
        }
    }

    proptest! {
        /// The inverse CDF undone by the survival function gives the uniform back.
        #[test]
        fn the_draw_inverts_the_survival_function(
            word: u64, shift in 0.0..5.0, rate in 0.01..100.0,
        ) {
            let worker = WorkerDelay::ShiftedExponential { shift, rate };
            let delay = worker.delay(&mut Constant(word));
            let late = worker.straggle_probability(delay);
            prop_assert!(delay >= shift);
            // d late = rate late d tau: the rounding of shift + x costs rate eps tau.
            let tolerance = 1e-14 * (1.0 + rate * delay);
            prop_assert!((late - (1.0 - unit(word))).abs() <= tolerance);
        }

        #[test]
        fn probabilities_fall_with_the_deadline(
            shift in 0.0..5.0, rate in 0.01..100.0, early in 0.0..10.0, wait in 0.0..10.0,
        ) {
            let worker = WorkerDelay::ShiftedExponential { shift, rate };
            let (p, q) = (
                worker.straggle_probability(early),
                worker.straggle_probability(early + wait),
            );
            prop_assert!((0.0..=1.0).contains(&p) && (0.0..=1.0).contains(&q) && q <= p);
        }
    }
}
