//! Writing a study: whole files, renamed into place.
//!
//! A study is small enough (runs x evaluations, not iterations) to be kept in memory and written
//! anew at each commit; at any moment, so also after a kill -9, the name holds a complete file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Study, file};
use crate::LogError;
use crate::h5::{self, at};
use crate::lock::{JobId, LockFile};

/// Commits that are not asked for are at least this far apart ...
const LEAST_INTERVAL: Duration = Duration::from_secs(2);
/// ... and at least this many times the last one's duration.
const COST_FACTOR: u32 = 50;

/// The file of a study, being written. One per directory: it holds a lock beside the file.
#[derive(Debug)]
pub struct StudyLog {
    path: PathBuf,
    attempted: Instant,
    cost: Duration,
    _lock: LockFile,
}

impl StudyLog {
    /// Writes `study` to `path` for the first time, making its directory too; a file that is there is
    /// replaced.
    ///
    /// # Errors
    /// [`LogError::Locked`] if another process writes there, [`LogError::Io`], [`LogError::Hdf5`].
    pub fn create(path: impl AsRef<Path>, study: &Study) -> Result<Self, LogError> {
        let mut log = Self::lock(path.as_ref())?;
        log.commit(study)?;
        Ok(log)
    }

    /// Takes over the half-done study at `path`.
    ///
    /// # Errors
    /// As [`Study::open`], and [`LogError::Locked`] if another process writes there.
    pub fn resume(path: impl AsRef<Path>) -> Result<(Self, Study), LogError> {
        let log = Self::lock(path.as_ref())?;
        let study = Study::open(&log.path)?;
        Ok((log, study))
    }

    fn lock(path: &Path) -> Result<Self, LogError> {
        std::fs::create_dir_all(h5::directory_of(path)).map_err(|source| LogError::Io {
            action: "create",
            path: h5::directory_of(path).to_owned(),
            source,
        })?;
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        Ok(Self {
            path: path.to_owned(),
            attempted: Instant::now(),
            cost: Duration::ZERO,
            _lock: LockFile::acquire(Path::new(&name), JobId::from_environment())?,
        })
    }

    /// Where the study is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts `study` in place of the file, durably and at once.
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::Hdf5`]; the file is then as before.
    pub fn commit(&mut self, study: &Study) -> Result<(), LogError> {
        let started = Instant::now();
        let result = file::image(study, &self.path)
            .map_err(at(&self.path))
            .and_then(|image| h5::publish(&self.path, &image));
        self.attempted = Instant::now();
        self.cost = started.elapsed();
        result
    }

    /// Commits if the last one is long enough ago: max(2 s, 50 x its duration).
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn maybe_commit(&mut self, study: &Study) -> Result<(), LogError> {
        if self.attempted.elapsed() >= LEAST_INTERVAL.max(self.cost * COST_FACTOR) {
            self.commit(study)
        } else {
            Ok(())
        }
    }
}
