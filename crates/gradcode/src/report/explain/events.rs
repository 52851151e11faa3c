//! What happened on the way: how the run ended, plans made anew, restarts, workers lost, refusals.

use std::path::Path;

use run_log::{PlanEntry, Segment};
use serde::{Deserialize, Serialize};

use super::columns::{Columns, sum};

/// `status.json` beside the log.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct StatusFile {
    /// `running`, `done`, `stopped` or `failed`.
    pub outcome: String,
    /// The program's exit code; none while it runs.
    pub exit_code: Option<u8>,
    /// Iterations done.
    #[serde(default)]
    pub iterations_done: u64,
    /// Iterations planned.
    #[serde(default)]
    pub iterations: u64,
    /// Workers given up.
    #[serde(default)]
    pub lost_workers: Vec<Lost>,
    /// Why it failed or stopped.
    #[serde(default)]
    pub message: Option<String>,
}

/// A worker that was given up.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct Lost {
    /// Which.
    pub worker: usize,
    /// When.
    #[serde(default)]
    pub iteration: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

impl StatusFile {
    /// The status beside a log; none if there is none that can be read.
    pub fn beside(log: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(log.with_file_name("status.json")).ok()?;
        serde_json::from_str(&text).ok()
    }
}

/// A plan that came into force.
#[derive(Clone, Debug, Serialize)]
pub struct PlanChange {
    /// First iteration under it.
    pub iteration: u64,
    /// Why it was made; empty if the log does not say.
    pub reason: String,
    /// The scheme.
    pub scheme: String,
    /// Straggle probability of each worker.
    pub straggle_probability: Vec<f64>,
    /// Bits per coordinate of each worker.
    pub bits: Vec<i64>,
    /// Partitions of each worker.
    pub load: Vec<i64>,
    /// S of the code.
    pub scaling_s: f64,
    /// Predicted error bound at C = 1.
    pub error_bound: f64,
}

/// What happened on the way.
#[derive(Clone, Debug, Serialize)]
pub struct Events {
    /// How the run ended; none without `status.json`.
    pub status: Option<StatusFile>,
    /// The plans, the first one included.
    pub plans: Vec<PlanChange>,
    /// Starts and restarts.
    pub segments: Vec<Segment>,
    /// Frames and gradients refused.
    pub refused: u64,
}

/// Collects them.
pub fn of(
    columns: &Columns,
    plans: &[PlanEntry],
    segments: Vec<Segment>,
    status: Option<StatusFile>,
) -> Events {
    let change = |entry: &PlanEntry| PlanChange {
        iteration: entry.start_iteration,
        reason: entry.plan.reason.clone(),
        scheme: entry.plan.scheme.clone(),
        straggle_probability: entry.plan.straggle_probability.clone(),
        bits: entry.plan.bits.clone(),
        load: entry.plan.load.clone(),
        scaling_s: entry.plan.scaling_s,
        error_bound: entry.plan.error_bound,
    };
    Events {
        status,
        plans: plans.iter().map(change).collect(),
        segments,
        refused: sum(&columns.refused) as u64,
    }
}
