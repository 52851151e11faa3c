//! What can go wrong with a log.

use std::io;
use std::path::PathBuf;

/// Why a log could not be written or read. Messages read after "failed to".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused (no space left, quota, permission, missing file, ...).
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was attempted: "write", "read", ...
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The HDF5 library refused: a damaged file, or not an HDF5 file at all.
    #[error("handle {} as HDF5: {message}", path.display())]
    Hdf5 {
        /// On which file.
        path: PathBuf,
        /// The library's innermost reason.
        message: String,
    },
    /// An HDF5 file that this program did not write.
    #[error("read {}: an HDF5 file, but not a gradcode run (no schema = \"gradcode-run\" attribute)", path.display())]
    NotARun {
        /// The file.
        path: PathBuf,
    },
    /// A run written by another version of the schema.
    #[error("read {}: schema version {found}, this program reads version {supported}", path.display())]
    SchemaVersion {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: i64,
        /// Version of this program.
        supported: i64,
    },
    /// An HDF5 file that is no study.
    #[error("read {}: an HDF5 file, but not a study (no format = \"gradcode-study\" attribute)", path.display())]
    NotAStudy {
        /// The file.
        path: PathBuf,
    },
    /// A study written by another version of the format.
    #[error("read {}: study format version {found}, this program reads version {supported}", path.display())]
    StudyVersion {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: i64,
        /// Version of this program.
        supported: i64,
    },
    /// Results that do not fit their point.
    #[error("record a run of {point:?}: {what} is {found} where {expected} are expected")]
    StudyShape {
        /// Label of the point.
        point: String,
        /// The series, or "run".
        what: String,
        /// Values given, or the number of the run.
        found: usize,
        /// Positions of the point, or its runs.
        expected: usize,
    },
    /// A run without this column or metric.
    #[error("read {}: no series named {name:?}; it has {}", path.display(), available.join(", "))]
    NoSuchSeries {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// What there is.
        available: Vec<String>,
    },
    /// [`RunLog::create`](crate::RunLog::create) found a file in its place.
    #[error("create {}: it exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another live process writes here.
    #[error("lock {}: {holder} is writing to this run directory; if that process is gone, remove the lock file", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Process, host and job that hold it.
        holder: String,
    },
    /// The log does not reach the iteration to resume from.
    #[error("resume {} at iteration {wanted}: the log ends {}, so the checkpoint is not of this log",
        path.display(), match last { Some(i) => format!("with iteration {i}"), None => "before its first iteration".into() })]
    EndsBefore {
        /// The log.
        path: PathBuf,
        /// First iteration the resumed run will compute.
        wanted: u64,
        /// Last iteration in the log.
        last: Option<u64>,
    },
    /// The log was made for another number of workers.
    #[error("resume {}: it has {found} workers, this run has {expected}", path.display())]
    Workers {
        /// The log.
        path: PathBuf,
        /// Workers in the log.
        found: usize,
        /// Workers of the resuming run.
        expected: usize,
    },
    /// A row whose vector has not one entry per worker.
    #[error("log iteration {iteration}: column {column} has {found} entries for {workers} workers")]
    RowShape {
        /// The row.
        iteration: u64,
        /// The column.
        column: &'static str,
        /// Entries given.
        found: usize,
        /// Workers of the run.
        workers: usize,
    },
    /// Iterations must increase strictly.
    #[error("log iteration {iteration}: it does not come after {last}, the last one logged")]
    OutOfOrder {
        /// The row.
        iteration: u64,
        /// The row before.
        last: u64,
    },
    /// A plan whose vectors disagree in length, or that names a worker the run has not.
    #[error(
        "log the plan of iteration {start_iteration}: {what} has {found} entries for {workers} workers"
    )]
    PlanShape {
        /// First iteration of the plan.
        start_iteration: u64,
        /// The field.
        what: &'static str,
        /// Entries given.
        found: usize,
        /// Workers of the run.
        workers: usize,
    },
}
