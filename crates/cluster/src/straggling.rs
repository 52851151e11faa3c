//! Where stragglers come from: the machines themselves, or a seeded delay model.

use crate::deadline::{DeadlineChooser, DeadlinePolicy};
use straggler::DelayModel;

/// Who straggles, and when the master stops waiting.
#[derive(Clone, Debug)]
pub enum Straggling {
    /// Whoever really misses the deadline.
    Real(DeadlinePolicy),
    /// Real time with injected delays: a worker reports no earlier than its drawn delay, in units
    /// of nominal compute time.
    Delay {
        /// Delays in units.
        model: DelayModel,
        /// The deadline tau in units.
        deadline: f64,
        /// Bits per unit of every worker: its delay grows by what its message takes. `None`: no time.
        bandwidth: Option<Vec<f64>>,
        /// Seconds of a unit.
        unit: Unit,
    },
    /// Arrivals are decided by the seeded delays alone: the master asks exactly the workers whose
    /// delay is within the deadline, waits for all of them, and for nobody in an empty round. The
    /// run is then a pure function of its configuration.
    Erase {
        /// Delays in units.
        model: DelayModel,
        /// The deadline tau in units.
        deadline: f64,
        /// Bits per unit of every worker: its delay grows by what its message takes. `None`: no time.
        bandwidth: Option<Vec<f64>>,
        /// Seconds of a unit, for the log only.
        unit_seconds: f64,
    },
}

/// How long the unit of a delay model is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// So many seconds.
    Seconds(f64),
    /// The 0.9-quantile of the compute times that workers reported lately, measured first in a few
    /// calibration rounds: the model's shift of 1 is then what a task really costs here. At least
    /// 10 ms, since the latency of messages and polls must not count as straggling.
    Measured,
}

/// Least seconds of a measured unit.
const LEAST_UNIT: f64 = 0.01;
/// Reports remembered for a measured unit.
const UNIT_WINDOW: usize = 64;
/// Calibration rounds for a measured unit.
const UNIT_WARMUP: u64 = 6;
/// The first calibration rounds, in which libraries warm up, say nothing about later ones.
const COLD_ROUNDS: u64 = 2;

/// The straggling of one round.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundTiming {
    /// Deadline in seconds after the round's start.
    pub deadline: f64,
    /// Per worker: the injected delay in seconds, 0 when none is injected.
    pub delays: Vec<f64>,
    /// Per worker: whether the model erases this arrival, so that the worker is not even asked.
    pub erased: Vec<bool>,
}

/// Turns the straggling model and the reported times into each round's timing.
#[derive(Debug)]
pub(crate) struct Clockwork {
    straggling: Straggling,
    seed: u64,
    workers: usize,
    times: DeadlineChooser,
    /// Whether `times` come from a checkpoint.
    restored: bool,
    /// Per worker: units that its message takes to send.
    sending: Vec<f64>,
}

impl Clockwork {
    pub fn new(straggling: Straggling, seed: u64, workers: usize) -> Self {
        let policy = match &straggling {
            Straggling::Real(policy) => policy.clone(),
            Straggling::Delay { .. } | Straggling::Erase { .. } => DeadlinePolicy::Quantile {
                q: 0.9,
                factor: 1.0,
                warmup: UNIT_WARMUP,
                window: UNIT_WINDOW,
            },
        };
        Self {
            straggling,
            seed,
            workers,
            times: DeadlineChooser::new(policy),
            restored: false,
            sending: vec![0.0; workers],
        }
    }

    /// Learns how long messages are: `bits[i]` payload bits of worker i, 0 if it sends none.
    pub fn messages(&mut self, bits: &[u64]) {
        if let Straggling::Delay { bandwidth, .. } | Straggling::Erase { bandwidth, .. } =
            &self.straggling
            && let Some(bandwidth) = bandwidth
        {
            let units = |(&bits, bandwidth): (&u64, &f64)| bits as f64 / bandwidth;
            self.sending = bits.iter().zip(bandwidth).map(units).collect();
        }
    }

    /// How long `iteration` takes by the drawn delays if workers `active` take part, in seconds: until
    /// all have reported or until the deadline, which is not kept where `waits` for everybody. NaN
    /// where arrivals are not drawn.
    pub fn virtual_seconds(&self, iteration: u64, active: &[usize], waits: bool) -> f64 {
        let Straggling::Erase {
            model,
            deadline,
            unit_seconds,
            ..
        } = &self.straggling
        else {
            return f64::NAN;
        };
        let delay =
            |&worker: &usize| model.delay(self.seed, iteration, worker) + self.sending[worker];
        let last = active.iter().map(delay).fold(0.0, f64::max);
        let least = if waits { last } else { last.min(*deadline) };
        unit_seconds * least
    }

    /// Rounds to run before training, in which everyone is waited for and nothing is learnt.
    pub fn calibration_rounds(&self) -> u64 {
        match &self.straggling {
            _ if self.restored => 0,
            Straggling::Real(policy) => policy.warmup(),
            Straggling::Delay {
                unit: Unit::Measured,
                ..
            } => UNIT_WARMUP,
            Straggling::Delay { .. } | Straggling::Erase { .. } => 0,
        }
    }

    /// Whether arrivals are drawn, so that the master waits for exactly those it asked.
    pub fn drawn(&self) -> bool {
        matches!(self.straggling, Straggling::Erase { .. })
    }

    /// What deadlines or units are chosen from, for a checkpoint: seconds, oldest first.
    pub fn times(&self) -> Vec<f64> {
        self.times.times()
    }

    /// Continues with the times of a checkpoint; if there are any, nothing has to be measured first.
    pub fn restore(&mut self, times: &[f64]) {
        for &seconds in times {
            self.times.observe(seconds);
        }
        self.restored = !times.is_empty();
    }

    /// Ends calibration round `c`: what was observed in a cold one is forgotten, if others follow.
    pub fn calibrated(&mut self, c: u64) {
        if c < COLD_ROUNDS.min(self.calibration_rounds() - 1) {
            self.times.forget();
        }
    }

    /// Records a report: the time from sending the task to this report, which is what the deadline
    /// is held against, and the time of computing alone.
    pub fn observe(&mut self, seconds: f64, compute_seconds: f64) {
        match self.straggling {
            Straggling::Real(_) => self.times.observe(seconds),
            _ if compute_seconds > 0.0 => self.times.observe(compute_seconds),
            _ => {}
        }
    }

    /// The timing of a calibration round: no delays, no deadline.
    pub fn calibration(&self) -> RoundTiming {
        RoundTiming {
            deadline: f64::INFINITY,
            delays: vec![0.0; self.workers],
            erased: vec![false; self.workers],
        }
    }

    /// The timing of `iteration`.
    pub fn round(&mut self, iteration: u64) -> RoundTiming {
        let mut timing = self.calibration();
        match &self.straggling {
            Straggling::Real(_) => timing.deadline = self.times.deadline(),
            Straggling::Delay {
                model,
                deadline,
                unit,
                ..
            } => {
                let unit = match unit {
                    Unit::Seconds(seconds) => *seconds,
                    Unit::Measured => self.times.deadline().max(LEAST_UNIT),
                };
                timing.deadline = deadline * unit;
                for (worker, delay) in timing.delays.iter_mut().enumerate() {
                    let units = model.delay(self.seed, iteration, worker) + self.sending[worker];
                    *delay = unit * units;
                }
            }
            Straggling::Erase {
                model,
                deadline,
                unit_seconds,
                ..
            } => {
                timing.deadline = deadline * unit_seconds;
                for worker in 0..self.workers {
                    let delay = model.delay(self.seed, iteration, worker) + self.sending[worker];
                    timing.delays[worker] = delay * unit_seconds;
                    timing.erased[worker] = delay > *deadline;
                }
            }
        }
        timing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use straggler::WorkerDelay;

    fn clockwork(deadline: f64, bandwidth: Option<Vec<f64>>) -> Clockwork {
        let delay = |rate| WorkerDelay::ShiftedExponential { shift: 1.0, rate };
        let straggling = Straggling::Erase {
            model: DelayModel::new(vec![delay(1.0), delay(2.0), delay(4.0)]).unwrap(),
            deadline,
            bandwidth,
            unit_seconds: 0.5,
        };
        Clockwork::new(straggling, 7, 3)
    }

    /// A round lasts until the last drawn arrival of those that take part, at most until the deadline.
    #[test]
    fn virtual_rounds_last_until_all_are_there_or_the_deadline() {
        let mut clockwork = clockwork(2.0, None);
        let mut cut = 0;
        for t in 0..200 {
            let delays = clockwork.round(t).delays;
            for active in [&[0, 1, 2][..], &[1, 2], &[]] {
                let last = active
                    .iter()
                    .map(|&i: &usize| delays[i])
                    .fold(0.0, f64::max);
                let seconds = clockwork.virtual_seconds(t, active, false);
                assert_eq!(seconds, last.min(1.0), "units of half a second");
                assert_eq!(clockwork.virtual_seconds(t, active, true), last);
                cut += u32::from(seconds < last);
            }
        }
        assert!((50..350).contains(&cut), "{cut}");
        let real = Straggling::Real(DeadlinePolicy::Fixed { seconds: 1.0 });
        assert!(
            Clockwork::new(real, 7, 3)
                .virtual_seconds(0, &[0], false)
                .is_nan()
        );
    }

    /// Messages that take one unit shift every delay by it.
    #[test]
    fn sending_takes_its_time() {
        let mut without = clockwork(3.0, None);
        let mut with = clockwork(3.0, Some(vec![100.0, 1000.0, 1000.0]));
        with.messages(&[100, 0, 1000]);
        for t in 0..50 {
            let (before, after) = (without.round(t), with.round(t));
            for (i, later) in [0.5, 0.0, 0.5].into_iter().enumerate() {
                assert!((after.delays[i] - before.delays[i] - later).abs() < 1e-12);
                assert_eq!(after.erased[i], after.delays[i] > 1.5);
            }
            let active = [0, 1, 2];
            let longer = with.virtual_seconds(t, &active, true);
            assert_eq!(longer, after.delays.iter().copied().fold(0.0, f64::max));
        }
    }
}
