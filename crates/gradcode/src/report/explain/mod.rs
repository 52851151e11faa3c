//! What a run's log says, in numbers and then in sentences: where the time went, who straggled, what
//! the deadline and the compression cost, how good the gradients were, what happened on the way.
//!
//! [`columns`] reads the log; [`time`], [`stragglers`], [`deadline`], [`compression`], [`accuracy`] and
//! [`events`] each answer one question; [`findings`] says what stands out. Everything is computed from
//! the log and the `status.json` beside it, so it works on runs that go on and on runs that crashed.

pub mod accuracy;
pub mod columns;
pub mod compression;
pub mod deadline;
pub mod events;
pub mod findings;
pub mod quantization;
pub mod stragglers;
pub mod time;

#[cfg(test)]
mod tests;

use run_log::{LogError, PlanEntry, RunReader, Summary};
use serde::Serialize;

use accuracy::{Accuracy, Design};
use columns::Columns;
use compression::Compression;
use deadline::Deadline;
use events::{Events, StatusFile};
use findings::Finding;
use quantization::Quantization;
use stragglers::Worker;
use time::{Activity, Time};

/// What the configuration and the transport say about how to read times.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Circumstances {
    /// Run in one process, with workers in virtual time.
    pub simulated: bool,
    /// Who is late is drawn, and the master waits for nobody else.
    pub drawn: bool,
    /// Workers sleep for drawn delays.
    pub delayed: bool,
    /// Workers remember what was not delivered.
    pub error_feedback: bool,
}

impl Circumstances {
    /// From a run's configuration and attributes.
    pub fn of(run: &RunReader) -> Self {
        let config = run.config().ok();
        let table: Option<toml::Table> = config.and_then(|text| text.parse().ok());
        let word = |section: &str, key: &str| {
            let value = table.as_ref()?.get(section)?.get(key)?;
            value.as_str().map(str::to_owned)
        };
        let inject = word("straggler", "inject").unwrap_or_default();
        let feedback = word("codec", "error_feedback");
        let library = run.attributes().get("mpi_library").map(ToString::to_string);
        Self {
            simulated: library.is_some_and(|name| name.starts_with("none")),
            drawn: inject == "erase",
            delayed: inject == "delay",
            error_feedback: feedback.is_some_and(|word| word != "none"),
        }
    }
}

/// A run, explained.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// How to read times.
    pub circumstances: Circumstances,
    /// What stands out, the most important first.
    pub findings: Vec<Finding>,
    /// Where the time went.
    pub time: Time,
    /// Each worker.
    pub workers: Vec<Worker>,
    /// What the deadline did.
    pub deadline: Deadline,
    /// What compression saved and cost.
    pub compression: Compression,
    /// Measured against predicted error.
    pub accuracy: Accuracy,
    /// Planned against measured quantization errors.
    pub quantization: Quantization,
    /// What happened on the way.
    pub events: Events,
}

/// Explains a run.
///
/// # Errors
/// [`LogError::Hdf5`] for a damaged file.
pub fn explain(run: &RunReader, summary: &Summary) -> Result<Explanation, LogError> {
    let mut columns = Columns::read(run)?;
    let circumstances = Circumstances::of(run);
    if circumstances.simulated {
        columns.wire.fill(f64::NAN); // nothing crossed a link
    }
    let plans = run.plans()?;
    let segments = run.segments()?;
    let status = StatusFile::beside(run.path());
    let lost: Vec<usize> = status
        .iter()
        .flat_map(|status| &status.lost_workers)
        .map(|lost| lost.worker)
        .collect();

    let time = time::of(&columns, &circumstances, &segments);
    let workers = stragglers::of(&columns, &plans, &lost);
    let deadline = deadline::of(&columns, &circumstances, &time);
    let blocks = plans.last().map_or(1, |entry| design(entry).blocks);
    let encode = time.seconds(Activity::Encode);
    let compression = compression::of(&columns, &circumstances, summary, blocks, encode);
    let accuracy = accuracy::of(&columns, &plans, design, circumstances.error_feedback);
    let quantization = quantization::of(&columns, &plans);
    let events = events::of(&columns, &plans, segments, status);
    let mut explanation = Explanation {
        circumstances,
        findings: vec![],
        time,
        workers,
        deadline,
        compression,
        accuracy,
        quantization,
        events,
    };
    explanation.findings = findings::of(&explanation, summary);
    Ok(explanation)
}

/// What only the plan in full tells; the record alone does for logs whose plan cannot be read.
fn design(entry: &PlanEntry) -> Design {
    match serde_json::from_str::<gradient_code::Plan>(&entry.plan.json) {
        Ok(plan) => Design {
            error_bound: plan.prediction.error_bound_unscaled,
            blocks: plan.blocks(),
        },
        Err(_) => Design {
            error_bound: entry.plan.error_bound,
            blocks: 1,
        },
    }
}
