//! The HDF5 log of a run: schema, crash-proof writer, reader and summaries.
//!
//! - [`columns`]: what is logged per iteration and per worker, one table.
//! - [`RunLog`]: the writer, used by the master alone.
//! - [`RunReader`]: the reader; any HDF5 reader will do as well, while the run goes on too.
//! - [`Summary`]: a run in numbers.
//! - [`study`]: many runs of many settings in one file.
//!
//! The writer never touches the file that readers see: it appends to a copy and renames it over
//! the original, so that whatever has the log's name is complete and closed, at any moment and
//! after any crash. The schema is described in `docs/run-log.md`.
//!
//! ```
//! # fn main() -> Result<(), run_log::LogError> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("run.h5");
//! use run_log::{IterationRow, RunInfo, RunLog, RunReader};
//!
//! let info = RunInfo { title: "example".into(), workers: 4, ..RunInfo::default() };
//! let mut log = RunLog::create(&path, &info)?;
//! for iteration in 0..10 {
//!     let mut row = IterationRow::new(iteration, 4);
//!     row.loss = 1.0 / (1 + iteration) as f64;
//!     log.push(row)?;
//!     if let Some(warning) = log.maybe_commit() {
//!         eprintln!("warning: {warning}");
//!     }
//! }
//! log.finish()?;
//!
//! assert_eq!(RunReader::open(&path)?.series("loss")?.len(), 10);
//! # Ok(())
//! # }
//! ```

mod breakdown;
mod clock;
pub mod columns;
mod error;
mod h5;
mod layout;
mod lock;
mod plan;
mod reader;
mod record;
mod statistics;
pub mod study;
mod summary;
mod writer;

pub use columns::{IterationRow, PerWorkerRow};
pub use error::LogError;
pub use lock::{JobId, LockFile, Writer};
pub use reader::{Evaluation, PlanEntry, RunReader};
pub use record::{AttributeValue, PlanRecord, RunInfo, Segment};
pub use statistics::{exponential_average, quantile, smaller_is_better, smoothing_span};
pub use summary::{
    LossSummary, MetricAt, Metrics, Seconds, Summary, Totals, WorkerSummary, summarise,
};
pub use writer::{CommitWarning, RunLog};

/// Value of the root attribute `schema`.
pub const SCHEMA: &str = "gradcode-run";

/// Value of the root attribute `schema_version` that this crate writes and reads.
pub const SCHEMA_VERSION: i64 = 1;
