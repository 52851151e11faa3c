//! The run directory: `run.h5`, `status.json`, `config.toml`, `model.safetensors`, `checkpoints/`.

use std::path::{Path, PathBuf};

use checkpoint::Store;
use run_log::Writer;
use serde::Serialize;

use crate::exit::{ENVIRONMENT, Failure, Outcome, USAGE};

/// A run directory.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    path: PathBuf,
}

/// What `status.json` says: the word on how the run ended, for scripts. mpirun's exit code is not
/// reliable for that once a rank was lost.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    /// `running`, `done`, `stopped` or `failed`.
    pub outcome: &'a str,
    /// The program's exit code; null while it runs.
    pub exit_code: Option<u8>,
    /// Iterations done.
    pub iterations_done: u64,
    /// Iterations planned.
    pub iterations: u64,
    /// After how many iterations the newest checkpoint was written; null if there is none.
    pub checkpoint: Option<u64>,
    /// Workers lost on the way.
    pub lost_workers: &'a [cluster::LostWorker],
    /// Why it failed; null if it did not.
    pub message: Option<&'a str>,
}

impl RunDirectory {
    /// The directory at `path`, which must hold no run unless `overwrite`.
    ///
    /// # Errors
    /// [`USAGE`] when there is a run already, [`crate::exit::ENVIRONMENT`] when it cannot be created.
    pub fn claim(path: &Path, overwrite: bool) -> Outcome<Self> {
        let directory = Self::reopen(path)?;
        if !overwrite && directory.log().exists() {
            return Err(
                Failure::new(USAGE, format!("{} holds a run already", path.display()))
                    .hint("choose another --out, go on with --resume auto, or replace that run with --overwrite"),
            );
        }
        Ok(directory)
    }

    /// Removes the checkpoints of a run that is replaced.
    ///
    /// # Errors
    /// [`crate::exit::ENVIRONMENT`] when one cannot be removed.
    pub fn forget_checkpoints(path: &Path) -> Outcome {
        Self::checkpoints(path)
            .clear()
            .map_err(|error| Failure::environment("replace the run", &error))
    }

    /// The directory at `path` as it is.
    ///
    /// # Errors
    /// [`USAGE`] when there is a study, [`crate::exit::ENVIRONMENT`] when it cannot be created.
    pub fn reopen(path: &Path) -> Outcome<Self> {
        let directory = RunDirectory {
            path: path.to_owned(),
        };
        if path.join("study.h5").exists() {
            return Err(
                Failure::new(USAGE, format!("{} holds a study already", path.display()))
                    .hint("choose another --out"),
            );
        }
        std::fs::create_dir_all(path)
            .map_err(|error| Failure::environment(format!("create {}", path.display()), &error))?;
        Ok(directory)
    }

    /// Fails when a job that lives, or might on another host, writes the run in `path`: nothing of it
    /// may be touched then.
    ///
    /// # Errors
    /// [`crate::exit::ENVIRONMENT`], naming the job.
    pub fn check_unused(path: &Path) -> Outcome {
        let log = path.join("run.h5");
        match Writer::of(&log) {
            Writer::Nobody | Writer::Gone(_) => Ok(()),
            Writer::Alive(who) => Err(Failure::new(
                ENVIRONMENT,
                format!("{} is being written by {who}", log.display()),
            )
            .hint(format!(
                "wait for it; if it is certainly gone, remove {}.lock",
                log.display()
            ))),
        }
    }

    /// Where a run in `path` keeps its checkpoints.
    pub fn checkpoints(path: &Path) -> Store {
        Store::new(path.join("checkpoints"), 1)
    }

    /// Whether `status.json` in `path` says that the run reached its end.
    pub fn is_done(path: &Path) -> bool {
        std::fs::read(path.join("status.json"))
            .ok()
            .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
            .is_some_and(|status| status["outcome"] == "done")
    }

    /// Renames the log that may be in `path`, of a run that left no checkpoint.
    ///
    /// # Errors
    /// [`crate::exit::ENVIRONMENT`] when it cannot be renamed.
    pub fn set_aside(path: &Path) -> Outcome {
        let log = path.join("run.h5");
        if !log.exists() {
            return Ok(());
        }
        let aside = path.join("run.abandoned.h5");
        std::fs::rename(&log, &aside)
            .map_err(|error| Failure::environment(format!("rename {}", log.display()), &error))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The HDF5 log.
    pub fn log(&self) -> PathBuf {
        self.path.join("run.h5")
    }

    /// The trained parameters.
    pub fn model(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    /// Keeps the resolved configuration beside the log, for eyes and editors.
    ///
    /// # Errors
    /// [`crate::exit::ENVIRONMENT`] when it cannot be written.
    pub fn write_config(&self, toml: &str) -> Outcome {
        self.replace("config.toml", toml)
    }

    /// Replaces the status, atomically.
    ///
    /// # Errors
    /// [`crate::exit::ENVIRONMENT`] when it cannot be written.
    pub fn write_status(&self, status: &Status<'_>) -> Outcome {
        let text = serde_json::to_string_pretty(status)
            .map_err(|error| Failure::environment("write the status", &error))?;
        self.replace("status.json", &(text + "\n"))
    }

    fn replace(&self, name: &str, text: &str) -> Outcome {
        let path = self.path.join(name);
        let temporary = self.path.join(format!(".{name}.tmp"));
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(|error| Failure::environment(format!("write {}", path.display()), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_not_overwritten_by_accident() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let run = RunDirectory::claim(&path, false).unwrap();
        std::fs::write(run.log(), "x").unwrap();
        let refused = RunDirectory::claim(&path, false).unwrap_err();
        assert_eq!(refused.code, USAGE);
        assert!(refused.message.contains("holds a run already"));
        RunDirectory::claim(&path, true).unwrap();
    }

    #[test]
    fn studies_and_runs_do_not_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("study.h5"), "x").unwrap();
        let refused = RunDirectory::claim(dir.path(), true).unwrap_err();
        assert_eq!(refused.code, USAGE);
        assert!(refused.message.contains("holds a study already"));
    }
}
