//! The writer: rows are buffered and appear in the file by whole commits.
//!
//! A commit reads the file, appends what is pending, writes the result beside it, syncs, and renames
//! it into place. At any moment, so also after a kill -9 or a power failure, the name holds a closed
//! file in which all columns have equal length.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::{iso_8601, seconds_since_1970};
use crate::columns::{IterationRow, PER_WORKER_COLUMNS, Read};
use crate::h5::{self, at};
use crate::layout::{self, Pending};
use crate::lock::{self, JobId, LockFile};
use crate::{LogError, PlanRecord, RunInfo, RunReader, Segment};

/// Commits are at least this far apart ...
const LEAST_INTERVAL: Duration = Duration::from_secs(10);
/// ... and at least this many times the last one's duration, so that they cost at most 1% of the run.
const COST_FACTOR: u32 = 100;
/// Warnings about failing commits are at least this far apart.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// A commit failed; nothing is lost yet.
#[derive(Debug)]
pub struct CommitWarning {
    /// Why.
    pub error: LogError,
    /// Iterations that wait in memory.
    pub rows_waiting: usize,
    /// Commits failed in a row.
    pub failures: u32,
}

impl std::fmt::Display for CommitWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            error,
            rows_waiting,
            failures,
        } = self;
        write!(
            f,
            "failed to {error}; the run goes on, {rows_waiting} iterations wait in memory for the log"
        )?;
        if *failures > 1 {
            write!(f, " ({failures} attempts failed)")
        } else {
            Ok(())
        }
    }
}

/// The log of a run, being written. One per run directory: it holds a lock beside the file.
///
/// Dropping it commits what is pending, ignoring errors; call [`finish`](Self::finish) to learn of them.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    workers: usize,
    pending: Pending,
    last_iteration: Option<u64>,
    last_plan: Option<PlanRecord>,
    attempted: Instant,
    cost: Duration,
    failures: u32,
    warned: Option<Instant>,
    _lock: LockFile,
}

impl RunLog {
    /// Creates the log at `path`, its directory as well, and commits it empty.
    ///
    /// # Errors
    /// [`LogError::Exists`] if there is a file at `path`, [`LogError::Locked`] if another process
    /// writes there, [`LogError::Io`] and [`LogError::Hdf5`] if it cannot be written.
    pub fn create(path: impl AsRef<Path>, info: &RunInfo) -> Result<Self, LogError> {
        Self::start(path.as_ref(), info, false)
    }

    /// [`create`](Self::create), in place of the log that may be at `path`; that one stands until the
    /// new one is complete.
    ///
    /// # Errors
    /// As `create`, without `Exists`.
    pub fn overwrite(path: impl AsRef<Path>, info: &RunInfo) -> Result<Self, LogError> {
        Self::start(path.as_ref(), info, true)
    }

    fn start(path: &Path, info: &RunInfo, overwrite: bool) -> Result<Self, LogError> {
        std::fs::create_dir_all(h5::directory_of(path)).map_err(|source| LogError::Io {
            action: "create",
            path: h5::directory_of(path).to_owned(),
            source,
        })?;
        let lock = Self::lock(path)?;
        if !overwrite && path.exists() {
            return Err(LogError::Exists {
                path: path.to_owned(),
            });
        }
        let started = Instant::now();
        let now = seconds_since_1970();
        let segment = Segment {
            start_time: now,
            ..info.segment.clone()
        };
        let pending = Pending {
            segments: vec![segment],
            ..Pending::default()
        };
        let file = h5::create_image(path).map_err(at(path))?;
        let image = layout::create(&file, info, &iso_8601(now))
            .and_then(|()| layout::append(&file, &pending))
            .and_then(|()| h5::image(&file))
            .map_err(at(path))?;
        drop(file);
        h5::publish(path, &image)?;
        Ok(Self::new(path, info.workers, lock, started.elapsed()))
    }

    /// Continues the log at `path` from iteration `keep_before` on: what was logged for it and later
    /// is dropped (rows, evaluations of later models, later plans), and a segment is added.
    ///
    /// # Errors
    /// [`LogError::EndsBefore`] if the log does not reach iteration `keep_before - 1`;
    /// [`LogError::Workers`] if it is of a run with another number of workers; [`LogError::NotARun`],
    /// [`LogError::SchemaVersion`]; [`LogError::Locked`], [`LogError::Io`], [`LogError::Hdf5`].
    pub fn resume(
        path: impl AsRef<Path>,
        keep_before: u64,
        workers: usize,
        segment: &Segment,
    ) -> Result<Self, LogError> {
        let path = path.as_ref();
        let lock = Self::lock(path)?;
        let started = Instant::now();
        let reader = RunReader::open(path)?;
        if reader.workers() != workers {
            return Err(LogError::Workers {
                path: path.to_owned(),
                found: reader.workers(),
                expected: workers,
            });
        }
        let plans = reader.plans()?;
        drop(reader);
        let file = h5::open_image(path).map_err(at(path))?;
        let last = layout::last_iteration(&file).map_err(at(path))?;
        if last.map_or(0, |last| last + 1) < keep_before {
            return Err(LogError::EndsBefore {
                path: path.to_owned(),
                wanted: keep_before,
                last,
            });
        }
        let segment = Segment {
            start_iteration: keep_before,
            start_time: seconds_since_1970(),
            ..segment.clone()
        };
        let pending = Pending {
            segments: vec![segment],
            ..Pending::default()
        };
        let image = layout::truncate(&file, keep_before)
            .and_then(|()| layout::append(&file, &pending))
            .and_then(|()| h5::image(&file))
            .map_err(at(path))?;
        let kept = layout::last_iteration(&file).map_err(at(path))?;
        drop(file);
        h5::publish(path, &image)?;
        let mut log = Self::new(path, workers, lock, started.elapsed());
        log.last_iteration = kept;
        log.last_plan = plans
            .into_iter()
            .rev()
            .find(|plan| plan.start_iteration < keep_before)
            .map(|plan| plan.plan);
        Ok(log)
    }

    fn new(path: &Path, workers: usize, lock: LockFile, cost: Duration) -> Self {
        Self {
            path: path.to_owned(),
            workers,
            pending: Pending::default(),
            last_iteration: None,
            last_plan: None,
            attempted: Instant::now(),
            cost,
            failures: 0,
            warned: None,
            _lock: lock,
        }
    }

    fn lock(path: &Path) -> Result<LockFile, LogError> {
        LockFile::acquire(&lock::beside(path), JobId::from_environment())
    }

    /// Where the log is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last iteration logged, committed or not.
    pub fn last_iteration(&self) -> Option<u64> {
        self.last_iteration
    }

    /// Iterations that wait for the next commit.
    pub fn rows_waiting(&self) -> usize {
        self.pending.rows.len()
    }

    /// Buffers one iteration; it reaches the file with the next commit.
    ///
    /// # Errors
    /// [`LogError::RowShape`] if a per-worker vector has not one entry per worker, and
    /// [`LogError::OutOfOrder`] if the iteration does not come after the last one. The row is dropped.
    pub fn push(&mut self, row: IterationRow) -> Result<(), LogError> {
        if let Some(last) = self.last_iteration.filter(|&last| row.iteration <= last) {
            return Err(LogError::OutOfOrder {
                iteration: row.iteration,
                last,
            });
        }
        for column in PER_WORKER_COLUMNS {
            let found = match column.read {
                Read::IntegerPerWorker(get) => get(&row.per_worker).len(),
                Read::RealPerWorker(get) => get(&row.per_worker).len(),
                Read::Integer(_) | Read::Real(_) => continue,
            };
            if found != self.workers {
                return Err(LogError::RowShape {
                    iteration: row.iteration,
                    column: column.name,
                    found,
                    workers: self.workers,
                });
            }
        }
        self.last_iteration = Some(row.iteration);
        self.pending.rows.push(row);
        Ok(())
    }

    /// Buffers the metrics of the model as it is after `completed` iterations (0: the initial model).
    /// A metric that is missing in some evaluation is NaN there.
    pub fn push_evaluation(&mut self, completed: u64, metrics: &[(String, f64)]) {
        self.pending.evaluations.push((completed, metrics.to_vec()));
    }

    /// Buffers the plan in force from `start_iteration` on. A plan equal to the one in force already
    /// is not recorded again.
    ///
    /// # Errors
    /// [`LogError::PlanShape`] if a per-worker vector has not one entry per worker or the code names
    /// a worker that does not exist. The plan is dropped.
    pub fn push_plan(&mut self, start_iteration: u64, plan: &PlanRecord) -> Result<(), LogError> {
        let workers = self.workers;
        let optional = |length: usize| if length == 0 { workers } else { length };
        let beyond = plan
            .encoding
            .iter()
            .map(|&(worker, _, _)| worker as usize + 1)
            .max()
            .unwrap_or(0);
        for (what, found) in [
            ("straggle_probability", plan.straggle_probability.len()),
            ("bits", plan.bits.len()),
            ("load", plan.load.len()),
            ("decode_weight", optional(plan.decode_weight.len())),
            (
                "decode_weight_second",
                optional(plan.decode_weight_second.len()),
            ),
            ("encoding", beyond.max(workers)),
        ] {
            if found != workers {
                return Err(LogError::PlanShape {
                    start_iteration,
                    what,
                    found,
                    workers,
                });
            }
        }
        if self.last_plan.as_ref() != Some(plan) {
            self.last_plan = Some(plan.clone());
            self.pending.plans.push((start_iteration, plan.clone()));
        }
        Ok(())
    }

    /// Brings everything pending into the file, durably. Call before a checkpoint is published, so
    /// that the log never ends before a checkpoint.
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::Hdf5`]. Then the file is as before and everything stays
    /// pending: later commits try again.
    pub fn commit(&mut self) -> Result<(), LogError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let result = self.append_and_publish();
        self.attempted = Instant::now();
        self.cost = started.elapsed();
        match &result {
            Ok(()) => {
                self.pending = Pending::default();
                self.failures = 0;
                self.warned = None;
            }
            Err(_) => self.failures += 1,
        }
        result
    }

    fn append_and_publish(&self) -> Result<(), LogError> {
        let path = &self.path;
        // A plain error for a plain reason, before the library is asked.
        std::fs::metadata(path).map_err(|source| LogError::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        let file = h5::open_image(path).map_err(at(path))?;
        let image = layout::append(&file, &self.pending)
            .and_then(|()| h5::image(&file))
            .map_err(at(path))?;
        drop(file);
        h5::publish(path, &image)
    }

    /// Whether the last attempt is long enough ago: max(10 s, 100 x its duration).
    pub fn commit_due(&self) -> bool {
        !self.pending.is_empty()
            && self.attempted.elapsed() >= LEAST_INTERVAL.max(self.cost * COST_FACTOR)
    }

    /// Commits if it is due. A failure does not stop the run: rows stay in memory and the next due
    /// commit tries again. It is reported at once when the trouble starts and then once a minute.
    pub fn maybe_commit(&mut self) -> Option<CommitWarning> {
        if self.commit_due() {
            self.commit_or_warn()
        } else {
            None
        }
    }

    fn commit_or_warn(&mut self) -> Option<CommitWarning> {
        let error = self.commit().err()?;
        if self
            .warned
            .is_some_and(|warned| warned.elapsed() < WARNING_INTERVAL)
        {
            return None;
        }
        self.warned = Some(Instant::now());
        Some(CommitWarning {
            error,
            rows_waiting: self.pending.rows.len(),
            failures: self.failures,
        })
    }

    /// Commits what is pending and releases the lock.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); what is pending is then lost, and the file holds everything up to
    /// the last commit that succeeded.
    pub fn finish(mut self) -> Result<(), LogError> {
        let result = self.commit();
        self.pending = Pending::default();
        result
    }
}

impl Drop for RunLog {
    fn drop(&mut self) {
        let _ = self.commit();
    }
}
