//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

/// How the learning rate moves after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleShape {
    /// `base`.
    #[default]
    Constant,
    /// Half a cosine from `base` to `end` over the rest of the run.
    Cosine,
    /// `base / t`, t = 1, 2, ...: Theorem 2 of Song & Choi (2026) with `base = 1/lambda`.
    InverseTime,
    /// `base / sqrt(t)`, t = 1, 2, ...: the decaying rate of their Theorem 3.
    InverseSqrt,
}

/// A learning rate as a function of the iteration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The rate at the end of the warm-up; `1/lambda` for [`ScheduleShape::InverseTime`].
    pub base: f64,
    /// What follows the warm-up.
    pub shape: ScheduleShape,
    /// Iterations of linear warm-up; 0 for none. Iteration t < warmup has `base (t+1)/warmup`.
    pub warmup: u64,
    /// What [`ScheduleShape::Cosine`] ends at, at most `base`; the other shapes ignore it.
    #[serde(default)]
    pub end: f64,
}

impl Schedule {
    /// The same rate at every iteration.
    pub fn constant(rate: f64) -> Self {
        Self {
            base: rate,
            shape: ScheduleShape::Constant,
            warmup: 0,
            end: 0.0,
        }
    }
}

/// The learning rate of `iteration` (from 0) in a run of `total` iterations.
///
/// The shape starts anew after the warm-up: with `warmup = 10` inverse-time is `base / 1` at
/// iteration 10. Iterations at or past `total` get the cosine's end.
///
/// ```
/// use learner::{Schedule, ScheduleShape, learning_rate};
/// let s = Schedule { base: 0.5, shape: ScheduleShape::InverseTime, warmup: 2, end: 0.0 };
/// let rates: Vec<f32> = (0..4).map(|t| learning_rate(&s, t, 100)).collect();
/// assert_eq!(rates, [0.25, 0.5, 0.5, 0.25]);
/// ```
pub fn learning_rate(schedule: &Schedule, iteration: u64, total: u64) -> f32 {
    let Schedule {
        base,
        shape,
        warmup,
        end,
    } = *schedule;
    if iteration < warmup {
        return (base * (iteration + 1) as f64 / warmup as f64) as f32;
    }
    let since = iteration - warmup;
    let t = (since + 1) as f64;
    let rate = match shape {
        ScheduleShape::Constant => base,
        ScheduleShape::Cosine => {
            let span = total.saturating_sub(warmup).max(1);
            let progress = (since as f64 / span as f64).min(1.0);
            end + (base - end) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
        }
        ScheduleShape::InverseTime => base / t,
        ScheduleShape::InverseSqrt => base / t.sqrt(),
    };
    rate as f32
}
