//! The directory that holds a run's checkpoints.

use crate::{Checkpoint, CheckpointError, Draft};
use std::fs;
use std::path::{Path, PathBuf};

const PREFIX: &str = "iteration-";

/// A directory of checkpoints, of which the newest are kept.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    keep: usize,
}

impl Store {
    /// The store at `root`, which need not exist, keeping the `keep` newest checkpoints (at least 1).
    pub fn new(root: impl Into<PathBuf>, keep: usize) -> Self {
        Self {
            root: root.into(),
            keep: keep.max(1),
        }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the checkpoint of `iteration` is, or would be.
    pub fn path_of(&self, iteration: u64) -> PathBuf {
        self.root.join(format!("{PREFIX}{iteration:012}"))
    }

    pub(crate) fn draft_path(&self, iteration: u64) -> PathBuf {
        self.root.join(format!(".{PREFIX}{iteration:012}.tmp"))
    }

    fn retired_path(&self, iteration: u64) -> PathBuf {
        self.root.join(format!(".{PREFIX}{iteration:012}.old"))
    }

    /// Starts writing the checkpoint after `iteration` iterations.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn draft(&self, iteration: u64) -> Result<Draft<'_>, CheckpointError> {
        Draft::new(self, iteration)
    }

    /// The iterations of which there are checkpoints, newest first, damaged ones included. A store
    /// that does not exist has none.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn iterations(&self) -> Result<Vec<u64>, CheckpointError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(CheckpointError::io("read", &self.root)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry
                .map_err(CheckpointError::io("read", &self.root))?
                .file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            found.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// The newest checkpoint, if there is one.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`]: a damaged newest one is not passed over in silence. An older
    /// one is opened by its path ([`Store::iterations`], [`Store::path_of`]).
    pub fn newest(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        self.iterations()?
            .first()
            .map(|&iteration| Checkpoint::open(self.path_of(iteration)))
            .transpose()
    }

    /// Removes the checkpoints of later iterations, which a run that goes on from `iteration`
    /// will write anew.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn forget_after(&self, iteration: u64) -> Result<(), CheckpointError> {
        for later in self.iterations()? {
            if later > iteration {
                self.remove(later)?;
            }
        }
        Ok(())
    }

    /// Removes all of them.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn clear(&self) -> Result<(), CheckpointError> {
        for iteration in self.iterations()? {
            self.remove(iteration)?;
        }
        Ok(())
    }

    /// Removes all but the newest, and what earlier crashes left.
    pub(crate) fn prune(&self) -> Result<(), CheckpointError> {
        let iterations = self.iterations()?;
        for &old in iterations.iter().skip(self.keep) {
            self.remove(old)?;
        }
        for leftover in fs::read_dir(&self.root)
            .map_err(CheckpointError::io("read", &self.root))?
            .flatten()
        {
            let name = leftover.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(&format!(".{PREFIX}")) {
                let path = leftover.path();
                fs::remove_dir_all(&path).map_err(CheckpointError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Takes the name from the checkpoint of `iteration`, if there is one, and returns what it is
    /// called now: there never is half a checkpoint under a good name.
    pub(crate) fn retire(&self, iteration: u64) -> Result<PathBuf, CheckpointError> {
        let (path, retired) = (self.path_of(iteration), self.retired_path(iteration));
        if retired.exists() {
            fs::remove_dir_all(&retired).map_err(CheckpointError::io("remove", &retired))?;
        }
        if path.exists() {
            fs::rename(&path, &retired).map_err(CheckpointError::io("rename", &path))?;
        }
        Ok(retired)
    }

    fn remove(&self, iteration: u64) -> Result<(), CheckpointError> {
        let retired = self.retire(iteration)?;
        fs::remove_dir_all(&retired).map_err(CheckpointError::io("remove", &retired))
    }
}

#[cfg(test)]
mod tests;
