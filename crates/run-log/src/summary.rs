//! A run in numbers: what `report` prints and compares.

mod condense;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::AttributeValue;
pub use condense::summarise;

/// A run in numbers. Reals that the log does not hold are NaN (JSON `null`).
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The file.
    pub path: String,
    /// Name of the run.
    pub title: String,
    /// The file's root attributes.
    pub attributes: BTreeMap<String, AttributeValue>,
    /// Iterations in the log.
    pub iterations: u64,
    /// Logical workers.
    pub workers: usize,
    /// Starts and restarts.
    pub segments: usize,
    /// Scheme of the last plan; empty without a plan.
    pub scheme: String,
    /// Plans, so one more than replannings.
    pub plans: usize,
    /// Training loss.
    pub loss: LossSummary,
    /// Held-out metrics.
    pub metrics: Metrics,
    /// Sums over the run.
    pub totals: Totals,
    /// Workers in a step, on average.
    pub responders_mean: f64,
    /// Median of the sampled relative errors of the decoded gradient.
    pub relative_error_median: f64,
    /// Each worker.
    pub per_worker: Vec<WorkerSummary>,
}

/// Training loss (the mean over the partitions heard of).
#[derive(Clone, Debug, Serialize)]
pub struct LossSummary {
    /// Mean of the first tenth of the run, at most 20 iterations.
    pub first: f64,
    /// Mean of the last tenth of the run, at most 20 iterations.
    pub last: f64,
    /// Exponential average at the end, over [`crate::smoothing_span`] iterations.
    pub ema: f64,
    /// Smallest value of the exponential average once it is warm.
    pub minimum: f64,
}

/// Held-out metrics by name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Metrics {
    /// Value of the last evaluation that has the metric.
    pub r#final: BTreeMap<String, MetricAt>,
    /// The best value: the smallest of losses and errors, the largest of everything else.
    pub best: BTreeMap<String, MetricAt>,
}

/// A metric's value and where it was reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MetricAt {
    /// The value.
    pub value: f64,
    /// Iterations completed.
    pub iteration: u64,
}

/// Sums over the run.
#[derive(Clone, Debug, Serialize)]
pub struct Totals {
    /// Bits received from the workers, everything included.
    pub bits_up: u64,
    /// Quantized payload of the accepted frames.
    pub bits_up_payload: u64,
    /// What all workers would have sent had nobody been late.
    pub bits_up_offered: u64,
    /// Bits sent to the workers.
    pub bits_down: u64,
    /// What the accepted gradients would have taken as plain f32; `None` if the log does not tell the
    /// gradient's dimension.
    pub bits_up_f32: Option<u64>,
    /// 1 - bits_up / bits_up_f32.
    pub compression_saved: f64,
    /// Link speed (bits per second) below which compressing pays: bits saved over the seconds that
    /// encoding (slowest worker of each round) and decoding took. Conservative, as adding up plain f32
    /// gradients would take time too.
    pub compression_pays_below: f64,
    /// Gradients that entered a step.
    pub responders: u64,
    /// Gradients that missed their deadline.
    pub late: u64,
    /// Frames refused.
    pub refused: u64,
    /// Late iterations of each worker.
    pub late_per_worker: Vec<u64>,
    /// Where the time went.
    pub seconds: Seconds,
}

/// Seconds over the run.
#[derive(Clone, Debug, Serialize)]
pub struct Seconds {
    /// All rounds.
    pub round: f64,
    /// All rounds by the drawn delays; 0 where none are drawn, or the log does not tell.
    pub r#virtual: f64,
    /// Master waiting for workers.
    pub wait: f64,
    /// Master decoding.
    pub decode: f64,
    /// Optimizer.
    pub step: f64,
    /// Log and progress.
    pub log: f64,
    /// Rest of the rounds: sending the model, evaluation, ...
    pub other: f64,
    /// Slowest on-time worker's gradient, summed over rounds (inside `wait`).
    pub compute: f64,
    /// Slowest on-time worker's quantizing and packing, summed over rounds (inside `wait`).
    pub encode: f64,
}

/// One worker over the run.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerSummary {
    /// Iterations it was asked for.
    pub asked: u64,
    /// Of these, late.
    pub late: u64,
    /// Straggle probability in the last plan.
    pub straggle_probability: f64,
    /// Bits per coordinate in the last plan.
    pub bits_per_coordinate: Option<i64>,
    /// Partitions it computes in the last plan.
    pub load: Option<i64>,
    /// Bits received from it.
    pub bits: u64,
    /// Median arrival of its on-time gradients, seconds into the round.
    pub arrival_median: f64,
    /// 90% quantile of the same.
    pub arrival_p90: f64,
    /// Mean seconds it computed.
    pub seconds_compute: f64,
    /// Mean seconds it encoded.
    pub seconds_encode: f64,
}
