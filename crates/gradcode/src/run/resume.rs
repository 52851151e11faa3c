//! Where a run begins: anew, or from a checkpoint of the same run.
//!
//! A checkpoint keeps the configuration it was written under. A run goes on from it only if every key
//! that has a say in the result is the same; the keys of [`FREE`] have none.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use checkpoint::{Checkpoint, CheckpointError, Store};
use cluster::Resume;

use super::directory::RunDirectory;
use crate::config::values::{Inject, Schedule};
use crate::config::{Config, DEFAULT};
use crate::exit::{ENVIRONMENT, Failure, Outcome, USAGE};

/// `--resume`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResumeFrom {
    /// Begin anew.
    #[default]
    Never,
    /// Go on from the newest checkpoint of the run directory, or begin if there is none.
    Auto,
    /// Go on from this checkpoint, or the newest one of this run directory.
    Path(PathBuf),
}

impl FromStr for ResumeFrom {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "never" => Self::Never,
            "auto" => Self::Auto,
            path => Self::Path(path.into()),
        })
    }
}

/// The beginning of a run.
#[derive(Debug)]
pub struct Start {
    /// Its directory.
    pub directory: RunDirectory,
    /// What it goes on from.
    pub checkpoint: Option<Checkpoint>,
    /// What becomes of the log.
    pub log: LogStart,
}

/// What becomes of a run's log when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// There must be none.
    Create,
    /// A log that may be there is replaced.
    Overwrite,
    /// The log is continued from the checkpoint's iteration.
    Continue,
}

/// Finds out how a run begins in `config.out`, of which nobody else may be writing then. What stands in
/// the way of `overwrite`, or of a run that left no checkpoint, is removed or renamed, but not `dry`, when
/// nobody is going to write.
/// `None` when `from` is [`ResumeFrom::Auto`] and the run has reached its end already.
///
/// # Errors
/// [`USAGE`] when there is a run already that is not to be resumed or replaced, when the checkpoint is
/// none, or of another configuration; [`ENVIRONMENT`] when it is damaged or cannot be read, or when
/// another job writes to the directory.
pub fn start(
    config: &Config,
    from: &ResumeFrom,
    overwrite: bool,
    dry: bool,
) -> Outcome<Option<Start>> {
    let out = &config.out;
    if overwrite || *from != ResumeFrom::Never {
        RunDirectory::check_unused(out)?;
    }
    let anew = |overwrite| -> Outcome<Option<Start>> {
        let directory = RunDirectory::claim(out, overwrite)?;
        if overwrite && !dry {
            RunDirectory::forget_checkpoints(out)?;
        }
        let log = match overwrite {
            true => LogStart::Overwrite,
            false => LogStart::Create,
        };
        Ok(Some(Start {
            directory,
            checkpoint: None,
            log,
        }))
    };
    let store = RunDirectory::checkpoints(out);
    let checkpoint = match from {
        ResumeFrom::Never => return anew(overwrite),
        ResumeFrom::Auto => match newest(&store)? {
            Some(checkpoint) => checkpoint,
            None if RunDirectory::is_done(out) => return Ok(None),
            // Begun, but gone before its first checkpoint: there is nothing to go on from.
            None => {
                if dry {
                    return anew(true);
                }
                RunDirectory::set_aside(out)?;
                return anew(false);
            }
        },
        ResumeFrom::Path(path) => {
            let root = path.join("checkpoints");
            if root.is_dir() {
                newest(&Store::new(root, 1))?.ok_or_else(|| {
                    Failure::usage(format!(
                        "failed to resume: {} has no checkpoint",
                        path.display()
                    ))
                })?
            } else {
                Checkpoint::open(path).map_err(|error| refused(&error, None))?
            }
        }
    };
    check_same(config, &checkpoint)?;
    let in_place = checkpoint
        .path()
        .parent()
        .is_some_and(|root| same_place(root, store.root()));
    let (directory, log) = if in_place {
        (RunDirectory::reopen(out)?, LogStart::Continue)
    } else {
        (RunDirectory::claim(out, false)?, LogStart::Create)
    };
    Ok(Some(Start {
        directory,
        checkpoint: Some(checkpoint),
        log,
    }))
}

/// Reads the checkpoint, and makes sure that it fits.
///
/// # Errors
/// As [`start`].
pub fn load(checkpoint: Checkpoint, dimension: usize, workers: usize) -> Outcome<Resume> {
    let path = checkpoint.path().to_owned();
    Resume::load(checkpoint, dimension, workers).map_err(|error| refused(&error, path.parent()))
}

fn newest(store: &Store) -> Outcome<Option<Checkpoint>> {
    store
        .newest()
        .map_err(|error| refused(&error, Some(store.root())))
}

fn same_place(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// A checkpoint that cannot be used, and the one before it, if that can.
fn refused(error: &CheckpointError, root: Option<&Path>) -> Failure {
    let code = match error {
        CheckpointError::Foreign { .. } => USAGE,
        CheckpointError::Damaged { .. } | CheckpointError::Io { .. } => ENVIRONMENT,
    };
    let failure = Failure::new(code, format!("failed to {error}"));
    let at_fault = match error {
        CheckpointError::Foreign { path, .. } | CheckpointError::Damaged { path, .. } => path,
        CheckpointError::Io { .. } => return failure,
    };
    let store = root.map(|root| Store::new(root, 1));
    let previous = store.and_then(|store| {
        let iterations = store.iterations().ok()?.into_iter();
        iterations
            .map(|iteration| store.path_of(iteration))
            .filter(|path| path != at_fault)
            .find(|path| Checkpoint::open(path).and_then(|one| one.verify()).is_ok())
    });
    match previous {
        Some(path) => failure.hint(format!(
            "go on from the previous one: --resume {}",
            path.display()
        )),
        None => failure.hint("there is no other; begin anew with --overwrite"),
    }
}

/// Keys without a say in what is computed: names, places, schedules of output, patience. A trailing
/// dot stands for the whole section.
const FREE: &[&str] = &[
    "title",
    "out",
    "evaluation.",
    "checkpoint.",
    "compute.",
    "mpi.",
    "data.train_annotations",
    "data.train_images",
    "data.validation_annotations",
    "data.validation_images",
    "data.train_folder",
    "data.validation_folder",
    "data.train_tokens",
    "data.validation_tokens",
    "data.train_arrays",
    "data.validation_arrays",
    "data.cache_mb",
    "data.loader_threads",
    "round.give_up_after",
    "round.give_up_seconds",
    "round.max_failures",
    "round.max_failure_share",
    "round.min_workers",
    "round.max_empty_rounds",
    "round.relative_error_every",
];

/// Keys that only decide when real workers count as late, which no two runs have in common anyway.
const FREE_IN_REAL_TIME: &[&str] = &["deadline.", "straggler.unit_seconds"];

/// Fails when a key that matters differs from what the checkpoint was written under.
fn check_same(config: &Config, checkpoint: &Checkpoint) -> Outcome {
    let text = Resume::config(checkpoint).map_err(|error| refused(&error, None))?;
    let differences = differences(config, &text).map_err(|what| {
        Failure::new(
            ENVIRONMENT,
            format!(
                "failed to read the configuration in {}: {what}",
                checkpoint.path().display()
            ),
        )
    })?;
    let Some(first) = differences.first() else {
        return Ok(());
    };
    let more = match differences.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Err(Failure::usage(format!(
        "failed to resume from {}: it is of a run with {first}{more}",
        checkpoint.path().display()
    ))
    .hint("a run is resumed as it was begun; another --out begins a new one"))
}

/// One key with its two values.
#[derive(Debug, PartialEq)]
struct Difference {
    key: String,
    before: Option<toml::Value>,
    now: Option<toml::Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<toml::Value>| match value {
            Some(value) => value.to_string(),
            None => "unset".to_owned(),
        };
        write!(
            f,
            "{} = {}, not {}",
            self.key,
            show(&self.before),
            show(&self.now)
        )
    }
}

fn differences(config: &Config, before: &str) -> Result<Vec<Difference>, String> {
    let before: toml::Table = before
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let now: toml::Table = config
        .to_toml()
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let default: toml::Table = DEFAULT
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let (mut before, now) = (flat(&before), flat(&now));
    // Keys that the checkpoint's version did not have yet.
    for (key, value) in flat(&default) {
        before.entry(key).or_insert(value);
    }
    let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    let real_time = config.straggler.inject != Inject::Erase;
    let aims = config.optimizer.schedule == Schedule::Cosine;
    let is_free = |key: &str| {
        let listed = |list: &[&str]| {
            list.iter()
                .any(|free| key == *free || (free.ends_with('.') && key.starts_with(free)))
        };
        listed(FREE)
            || (real_time && listed(FREE_IN_REAL_TIME))
            // Measured for the log alone.
            || (key == "codec.phi_every" && !config.replan.on_phi)
            // A run can be made longer unless its learning rate aims at the end.
            || (key == "iterations" && !aims)
    };
    Ok(keys
        .into_iter()
        .filter(|key| before.get(*key) != now.get(*key) && !is_free(key))
        .map(|key| Difference {
            key: key.clone(),
            before: before.get(key).cloned(),
            now: now.get(key).cloned(),
        })
        .collect())
}

/// Sections become prefixes of keys; inline tables and lists stay values.
fn flat(table: &toml::Table) -> std::collections::BTreeMap<String, toml::Value> {
    let mut keys = std::collections::BTreeMap::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(section) => {
                for (key, value) in section {
                    keys.insert(format!("{name}.{key}"), value.clone());
                }
            }
            value => {
                keys.insert(name.clone(), value.clone());
            }
        }
    }
    keys
}
