//! The delays of all workers, as pure functions of (seed, iteration, worker).

use crate::worker::unit;
use crate::{DelayError, WorkerDelay};
use counter_rng::{Purpose, rng};
use rand::Rng;

/// In which order [`DelayModel::delay`] walks recorded traces. Other delays are not affected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceOrder {
    /// Iteration `t` takes entry `t mod length` of the worker's trace, whatever the seed: bursts,
    /// drifts and correlations between workers happen as they were recorded. Give each worker its
    /// own trace; workers that share one straggle together.
    #[default]
    Replay,
    /// Every iteration takes an entry at random, independently over workers and iterations, as the
    /// gradient codes assume.
    Resample,
}

/// A worker takes `factor` times as long as its distribution says, in some iterations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowdown {
    /// The worker, from 0.
    pub worker: usize,
    /// By what its delays are multiplied; above 0, and below 1 for a worker that becomes faster.
    pub factor: f64,
    /// First iteration that it holds for.
    pub from: u64,
    /// First one that it holds for no longer; `u64::MAX` for never.
    pub to: u64,
}

/// One delay distribution per worker.
#[derive(Clone, Debug, PartialEq)]
pub struct DelayModel {
    workers: Vec<WorkerDelay>,
    trace_order: TraceOrder,
    slowdowns: Vec<Slowdown>,
}

impl DelayModel {
    /// A model of the workers given, in their order; traces are replayed.
    ///
    /// # Errors
    /// Without workers, or when a worker's parameter or trace is not valid; the error names the
    /// first such worker, the field, the value and what would be accepted.
    pub fn new(workers: Vec<WorkerDelay>) -> Result<Self, DelayError> {
        if workers.is_empty() {
            return Err(DelayError::NoWorkers);
        }
        for (worker, delay) in workers.iter().enumerate() {
            delay.check(worker)?;
        }
        Ok(Self {
            workers,
            trace_order: TraceOrder::default(),
            slowdowns: Vec::new(),
        })
    }

    /// Shifted exponentials with a common `shift` and rates `psi_i ~ U(low, high)`, drawn
    /// independently (Song & Choi 2026, eq 37: shift 1).
    ///
    /// The rate of worker `i` depends on `seed`, `i` and the interval only, not on `workers`.
    ///
    /// # Errors
    /// Without workers, when `shift` is negative or not finite, or unless
    /// `0 < low <= high < infinity`.
    pub fn drawn_rates(
        seed: u64,
        workers: usize,
        shift: f64,
        low: f64,
        high: f64,
    ) -> Result<Self, DelayError> {
        if !(low > 0.0 && low <= high && high.is_finite()) {
            return Err(DelayError::RateInterval { low, high });
        }
        let rate = |worker: usize| {
            let word = rng(seed, Purpose::DelayProfile, 0, worker as u64).next_u64();
            // Rounding may reach past the upper end; the clamp keeps U(x, x) at x.
            (low + (high - low) * unit(word)).min(high)
        };
        Self::new(
            (0..workers)
                .map(|worker| WorkerDelay::ShiftedExponential {
                    shift,
                    rate: rate(worker),
                })
                .collect(),
        )
    }

    /// The same model with traces walked in another order.
    #[must_use]
    pub fn with_trace_order(self, trace_order: TraceOrder) -> Self {
        Self {
            trace_order,
            ..self
        }
    }

    /// The same model with workers that change on the way. Several at once multiply.
    ///
    /// # Errors
    /// [`DelayError::Slowdown`] for a worker that there is not, a factor that is not finite and above
    /// 0, or an empty range of iterations.
    pub fn with_slowdowns(self, slowdowns: Vec<Slowdown>) -> Result<Self, DelayError> {
        for slowdown in &slowdowns {
            let Slowdown {
                worker,
                factor,
                from,
                to,
            } = *slowdown;
            let wrong = if worker >= self.len() {
                Some(format!("there are workers 0 to {}", self.len() - 1))
            } else if !(factor.is_finite() && factor > 0.0) {
                Some("the factor must be finite and > 0".to_owned())
            } else {
                (from >= to).then(|| "it must hold for some iteration".to_owned())
            };
            if let Some(valid) = wrong {
                return Err(DelayError::Slowdown {
                    worker,
                    factor,
                    from,
                    to,
                    valid,
                });
            }
        }
        Ok(Self { slowdowns, ..self })
    }

    /// By what the delays of `worker` are multiplied in `iteration`; 1 if by nothing.
    pub fn slowdown(&self, iteration: u64, worker: usize) -> f64 {
        let holds = |slowdown: &&Slowdown| {
            slowdown.worker == worker && (slowdown.from..slowdown.to).contains(&iteration)
        };
        let factors = self.slowdowns.iter().filter(holds);
        factors.map(|slowdown| slowdown.factor).product()
    }

    /// The distribution of each worker, slowdowns left out.
    pub fn workers(&self) -> &[WorkerDelay] {
        &self.workers
    }

    /// How many workers there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a model is never empty")]
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// `p_i = Pr(tau_i > deadline)` for every worker, in their order, while nobody is slowed down.
    pub fn straggle_probabilities(&self, deadline: f64) -> Vec<f64> {
        let p = |worker: &WorkerDelay| worker.straggle_probability(deadline);
        self.workers.iter().map(p).collect()
    }

    /// [`Self::straggle_probabilities`] as they are in `iteration`.
    pub fn straggle_probabilities_in(&self, iteration: u64, deadline: f64) -> Vec<f64> {
        let p = |worker: usize| {
            let within = deadline / self.slowdown(iteration, worker);
            self.workers[worker].straggle_probability(within)
        };
        (0..self.len()).map(p).collect()
    }

    /// The delay of `worker` in `iteration`, in the model's unit; the worker is on time when it is
    /// at most the deadline. The same arguments always give the same delay.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn delay(&self, seed: u64, iteration: u64, worker: usize) -> f64 {
        let delay = match (&self.workers[worker], self.trace_order) {
            (WorkerDelay::Trace(delays), TraceOrder::Replay) => {
                delays[(iteration % delays.len() as u64) as usize]
            }
            (delay, _) => delay.delay(&mut rng(seed, Purpose::Delay, iteration, worker as u64)),
        };
        delay * self.slowdown(iteration, worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shifted(shift: f64, rate: f64) -> WorkerDelay {
        WorkerDelay::ShiftedExponential { shift, rate }
    }

    #[test]
    fn bad_parameters_name_worker_field_value_and_what_is_valid() {
        let ok = shifted(1.0, 1.0);
        let cases = [
            (shifted(-1.0, 1.0), "shift = -1 of worker 1", ">= 0"),
            (shifted(f64::NAN, 1.0), "shift = NaN of worker 1", "finite"),
            (shifted(1.0, 0.0), "rate = 0 of worker 1", "> 0"),
            (
                WorkerDelay::Exponential {
                    rate: f64::INFINITY,
                },
                "rate = inf of worker 1",
                "finite",
            ),
            (
                WorkerDelay::Trace(vec![].into()),
                "trace of worker 1",
                "at least one",
            ),
            (
                WorkerDelay::Trace(vec![1.0, 2.0, -3.0].into()),
                "entry 2 = -3 of the trace of worker 1",
                ">= 0",
            ),
            (
                WorkerDelay::Trace(vec![f64::NAN].into()),
                "entry 0 = NaN of the trace of worker 1",
                "finite",
            ),
        ];
        for (bad, culprit, valid) in cases {
            let message = DelayModel::new(vec![ok.clone(), bad])
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(culprit) && message.contains(valid),
                "{message}"
            );
        }
        assert_eq!(DelayModel::new(vec![]), Err(DelayError::NoWorkers));
    }

    #[test]
    fn rates_are_drawn_from_valid_intervals_only() {
        for (low, high) in [
            (0.0, 1.0),
            (-1.0, 1.0),
            (2.0, 1.0),
            (f64::NAN, 1.0),
            (1.0, f64::NAN),
            (1.0, f64::INFINITY),
        ] {
            let message = DelayModel::drawn_rates(1, 4, 1.0, low, high)
                .unwrap_err()
                .to_string();
            assert!(message.contains(&format!("U({low}, {high})")), "{message}");
        }
        assert_eq!(
            DelayModel::drawn_rates(1, 0, 1.0, 0.1, 2.0),
            Err(DelayError::NoWorkers)
        );
        assert!(DelayModel::drawn_rates(1, 4, -1.0, 0.1, 2.0).is_err());
        // A point interval is the homogeneous model.
        let equal = DelayModel::drawn_rates(1, 3, 1.0, 0.1, 0.1).unwrap();
        assert_eq!(equal.workers(), vec![shifted(1.0, 0.1); 3]);
    }

    #[test]
    fn a_worker_keeps_its_rate_when_others_join() {
        let few = DelayModel::drawn_rates(7, 3, 1.0, 0.1, 2.0).unwrap();
        let many = DelayModel::drawn_rates(7, 30, 1.0, 0.1, 2.0).unwrap();
        assert_eq!(few.workers(), &many.workers()[..3]);
        let other_seed = DelayModel::drawn_rates(8, 3, 1.0, 0.1, 2.0).unwrap();
        assert_ne!(few.workers(), other_seed.workers());
    }

    #[test]
    fn a_delay_depends_on_seed_iteration_and_worker_and_on_nothing_else() {
        let model = DelayModel::new(vec![shifted(1.0, 1.0); 2]).unwrap();
        let delay = model.delay(1, 2, 0);
        assert_eq!(delay, model.clone().delay(1, 2, 0));
        assert_ne!(delay, model.delay(2, 2, 0));
        assert_ne!(delay, model.delay(1, 3, 0));
        assert_ne!(delay, model.delay(1, 2, 1));
    }

    /// Golden values: a change here changes every seeded run that users have published.
    #[test]
    fn golden_draws() {
        let model = DelayModel::drawn_rates(42, 2, 1.0, 0.1, 2.0).unwrap();
        let rates: Vec<f64> = model
            .workers()
            .iter()
            .map(|worker| match worker {
                WorkerDelay::ShiftedExponential { rate, .. } => *rate,
                other => panic!("{other:?}"),
            })
            .collect();
        // The uniforms are exact; ln may differ in its last bit between math libraries.
        assert_eq!(rates, GOLDEN_RATES);
        for (worker, golden) in GOLDEN_DELAYS.into_iter().enumerate() {
            let delay = model.delay(42, 7, worker);
            assert!(
                (delay - golden).abs() <= 4.0 * f64::EPSILON * golden,
                "{delay:?}"
            );
        }
    }
    const GOLDEN_RATES: [f64; 2] = [1.096277812138568, 0.8290934271735728];
    const GOLDEN_DELAYS: [f64; 2] = [2.5143314414257354, 2.5344293857654607];

    #[test]
    fn slowdowns_multiply_the_same_draws_while_they_hold() {
        let slow = |worker, factor, from, to| Slowdown {
            worker,
            factor,
            from,
            to,
        };
        let model = DelayModel::new(vec![shifted(1.0, 1.0); 3]).unwrap();
        let changed = model
            .clone()
            .with_slowdowns(vec![slow(1, 5.0, 10, u64::MAX), slow(1, 0.5, 20, 30)])
            .unwrap();
        for t in 0..40 {
            for worker in 0..3 {
                let factor = match (worker, t) {
                    (1, 20..30) => 2.5,
                    (1, 10..) => 5.0,
                    _ => 1.0,
                };
                assert_eq!(
                    changed.delay(9, t, worker),
                    factor * model.delay(9, t, worker)
                );
            }
        }
        // Pr(5 (1 + Exp(1)) > 6) = Pr(Exp(1) > 0.2).
        let p = changed.straggle_probabilities_in(15, 6.0);
        assert!((p[1] - (-0.2f64).exp()).abs() < 1e-12);
        assert_eq!([p[0], p[2]], [(-5.0f64).exp(); 2]);
        assert_eq!(
            changed.straggle_probabilities_in(9, 6.0),
            model.straggle_probabilities(6.0)
        );
        for (bad, valid) in [
            (slow(3, 5.0, 0, 1), "workers 0 to 2"),
            (slow(0, 0.0, 0, 1), "> 0"),
            (slow(0, f64::NAN, 0, 1), "finite"),
            (slow(0, 5.0, 4, 4), "some iteration"),
        ] {
            let error = model.clone().with_slowdowns(vec![bad]).unwrap_err();
            assert!(error.to_string().contains(valid), "{error}");
        }
    }

    #[test]
    fn replay_walks_each_trace_cyclically() {
        let model = DelayModel::new(vec![
            WorkerDelay::Trace(vec![1.0, 2.0, 3.0].into()),
            WorkerDelay::Trace(vec![5.0, 6.0].into()),
        ])
        .unwrap();
        let walk = |worker| {
            (0..7)
                .map(|t| model.delay(9, t, worker))
                .collect::<Vec<_>>()
        };
        assert_eq!(walk(0), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
        assert_eq!(walk(1), [5.0, 6.0, 5.0, 6.0, 5.0, 6.0, 5.0]);
        assert_eq!(model.delay(1, u64::MAX, 1), 6.0);
    }

    #[test]
    fn resampling_draws_every_entry_equally_often_and_workers_apart() {
        let trace = WorkerDelay::Trace(vec![1.0, 2.0, 3.0, 4.0].into());
        let model = DelayModel::new(vec![trace.clone(), trace])
            .unwrap()
            .with_trace_order(TraceOrder::Resample);
        let mut counts = [0u32; 4];
        let mut together = 0;
        for t in 0..4000 {
            let (first, second) = (model.delay(3, t, 0), model.delay(3, t, 1));
            counts[first as usize - 1] += 1;
            together += u32::from(first == second);
        }
        // Binomial(4000, 1/4): mean 1000, standard deviation 27.4.
        for count in counts.into_iter().chain([together]) {
            assert!((count as f64 - 1000.0).abs() < 4.0 * 27.4, "{counts:?}");
        }
    }
}
