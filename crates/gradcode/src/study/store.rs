//! The study's file: begun, resumed, filled.

use std::path::Path;
use std::time::{Duration, Instant};

use run_log::LogError;
use run_log::study::{Outcome as RunOutcome, Point, Study, StudyLog};

use super::{Bound, Findings, Task};
use crate::config::StudyConfig;
use crate::config::layer::{Layer, dotted};
use crate::exit::{Failure, Outcome, USAGE};

/// Keys that decide where and how fast a study is run, not what comes out.
const INDIFFERENT: [&str; 8] = [
    "title",
    "out",
    "compute.",
    "mpi.",
    "data.cache_mb",
    "data.loader_threads",
    "study.runs",
    "study.jobs",
];

/// Warnings about failing commits are at least this far apart.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// A study being filled.
pub struct Store {
    study: Study,
    log: StudyLog,
    warned: Option<Instant>,
}

impl Store {
    /// The study in its directory, with the results that are there; `points` are the empty ones.
    ///
    /// # Errors
    /// [`USAGE`] if another study is in the directory, [`crate::exit::ENVIRONMENT`] if the file cannot
    /// be read or written.
    pub fn open(config: &StudyConfig, points: Vec<Point>, overwrite: bool) -> Outcome<Self> {
        let path = config.out.join("study.h5");
        let mut study = Study::new(
            &config.settings.kind.to_string(),
            &config.title,
            &config.toml,
            concat!("gradcode ", env!("CARGO_PKG_VERSION")),
        );
        study.points = points;
        let failed = |error: LogError| Failure::environment("open the study", &error);
        if !path.exists() && config.out.join("run.h5").exists() {
            let message = format!("{} holds a single run already", config.out.display());
            return Err(Failure::new(USAGE, message).hint("choose another --out"));
        }
        let log = if path.exists() && !overwrite {
            let (mut log, before) = StudyLog::resume(&path).map_err(failed)?;
            take_over(&mut study, before).map_err(|message| other_study(&path, &message))?;
            log.commit(&study).map_err(failed)?;
            log
        } else {
            StudyLog::create(&path, &study).map_err(failed)?
        };
        std::fs::write(config.out.join("study.toml"), &config.toml)
            .map_err(|error| Failure::environment("write study.toml", &error))?;
        Ok(Store {
            study,
            log,
            warned: None,
        })
    }

    /// The results so far.
    pub fn study(&self) -> &Study {
        &self.study
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.log.path()
    }

    /// Runs of all points, done or not.
    pub fn runs(&self) -> usize {
        self.study
            .points
            .iter()
            .map(|point| point.outcomes.len())
            .sum()
    }

    /// Runs that are not done.
    pub fn left(&self) -> usize {
        self.tasks().len()
    }

    /// What is left to do: first run 0 of every point, then run 1, ..., so that the points can be
    /// compared from early on.
    pub fn tasks(&self) -> Vec<Task> {
        let points = &self.study.points;
        let runs = points.iter().map(|point| point.outcomes.len()).max();
        (0..runs.unwrap_or(0))
            .flat_map(|run| (0..points.len()).map(move |point| Task { point, run }))
            .filter(|task| points[task.point].outcomes.get(task.run) == Some(&RunOutcome::Pending))
            .collect()
    }

    /// Takes the results of a run in.
    ///
    /// # Errors
    /// A bug: results that do not fit their point.
    pub fn record(&mut self, task: Task, findings: Findings) -> Outcome {
        let point = &mut self.study.points[task.point];
        let series: Vec<(&str, &[f64])> = findings
            .series
            .iter()
            .map(|(name, values)| (name.as_str(), values.as_slice()))
            .collect();
        point.record(task.run, findings.outcome, &series)?;
        for (name, value) in &findings.facts {
            point.record_fact(task.run, name, *value)?;
        }
        for (name, bound, values) in &findings.bounds {
            let before = point.bounds.get(name);
            let done = point.done() as f64;
            let merged = match (bound, before) {
                (Bound::Certain, _) | (_, None) => values.clone(),
                (Bound::Mean, Some(before)) => {
                    let pairs = before.iter().zip(values);
                    pairs
                        .map(|(mean, new)| mean + (new - mean) / done)
                        .collect()
                }
                (Bound::Largest, Some(before)) => {
                    let pairs = before.iter().zip(values);
                    pairs.map(|(largest, new)| largest.max(*new)).collect()
                }
            };
            point.bounds.insert(name.clone(), merged);
        }
        // Of a single run its own; of several the spread between them, which holds that as well.
        let of_rounds = point.attributes.get("probe_error_rounds_se").cloned();
        if let (false, Some(error)) = (point.attributes.contains_key("probe_error_se"), of_rounds) {
            point.attributes.insert("probe_error_se".into(), error);
        }
        if let Some(plan) = findings.plan.filter(|_| task.run == 0) {
            point.documents.insert("plan".into(), plan);
        }
        let (done, diverged) = (point.done(), point.diverged());
        point.attributes.insert("runs".into(), done.into());
        point.attributes.insert("diverged".into(), diverged.into());
        Ok(())
    }

    /// Writes the file if it is time; a warning if that fails, once a minute.
    pub fn maybe_commit(&mut self) -> Option<String> {
        let error = self.log.maybe_commit(&self.study).err()?;
        if self
            .warned
            .is_some_and(|warned| warned.elapsed() < WARNING_INTERVAL)
        {
            return None;
        }
        self.warned = Some(Instant::now());
        Some(format!(
            "failed to {error}; the study goes on, its results wait in memory"
        ))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`LogError`]: results since the last commit are then only in memory.
    pub fn finish(&mut self) -> Result<(), LogError> {
        self.log.commit(&self.study)
    }
}

fn other_study(path: &Path, message: &str) -> Failure {
    Failure::new(
        USAGE,
        format!("{} holds another study: {message}", path.display()),
    )
    .hint("choose another --out, or replace that study with --overwrite")
}

/// Moves the results of `before` into the empty points of `study`.
///
/// More runs and new points are fine; anything else that differs is an error that names it.
fn take_over(study: &mut Study, before: Study) -> Result<(), String> {
    if before.kind != study.kind {
        return Err(format!(
            "its kind is {}, this one's is {}",
            before.kind, study.kind
        ));
    }
    same_settings(&before.config_toml, &study.config_toml)?;
    for old in before.points {
        let same = |point: &&mut Point| point.label == old.label && point.sweep == old.sweep;
        let name = point_name(&old);
        let Some(point) = study.points.iter_mut().find(same) else {
            return Err(format!("it has a point {name}, which this one lacks"));
        };
        if let Some(difference) = difference(&document(&old), &document(point)) {
            return Err(format!("in point {name}, {difference}"));
        }
        let runs = point.outcomes.len();
        if old.outcomes.len() > runs {
            return Err(format!(
                "it has {0} runs of {name}, this one has {runs}; --runs {0} fits, and more go on with it",
                old.outcomes.len()
            ));
        }
        *point = old;
        point.grow(runs);
    }
    Ok(())
}

fn point_name(point: &Point) -> String {
    let mut name = format!("`{}`", point.label);
    for (key, value) in &point.sweep {
        name.push_str(&format!(", {key} = {value}"));
    }
    name
}

fn document(point: &Point) -> toml::Table {
    let text = point.documents.get("config").map(String::as_str);
    toml::from_str(text.unwrap_or_default()).unwrap_or_default()
}

/// The `[study]` keys that decide what the results are.
fn same_settings(before: &str, now: &str) -> Result<(), String> {
    let settings = |text: &str| -> toml::Table {
        let whole: toml::Table = toml::from_str(text).unwrap_or_default();
        let study = whole.get("study").cloned();
        [(
            "study".to_owned(),
            study.unwrap_or(toml::Table::new().into()),
        )]
        .into_iter()
        .collect()
    };
    let (before, now) = (settings(before), settings(now));
    match difference(&before, &now) {
        Some(difference) => Err(difference),
        None => Ok(()),
    }
}

/// The first key, in the schema's order, that differs and matters.
fn difference(before: &toml::Table, now: &toml::Table) -> Option<String> {
    let matters = |key: &String| {
        !INDIFFERENT
            .iter()
            .any(|other| key == other || (other.ends_with('.') && key.starts_with(other)))
    };
    let value = |table: &toml::Table, key: &str| {
        let mut parts = key.split('.');
        let first = parts.next().and_then(|part| table.get(part));
        parts
            .fold(first, |value, part| value.and_then(|value| value.get(part)))
            .map_or_else(|| "unset".to_owned(), ToString::to_string)
    };
    let mut keys: Vec<String> = Layer::SCHEMA
        .iter()
        .flat_map(|(header, keys)| keys.iter().map(|key| dotted(header, key)))
        .collect();
    for table in [before, now] {
        if let Some(study) = table.get("study").and_then(toml::Value::as_table) {
            keys.extend(study.keys().map(|key| dotted("study", key)));
        }
    }
    let differs = |key: &&String| value(before, key) != value(now, key);
    keys.iter()
        .filter(|key| matters(key))
        .find(differs)
        .map(|key| {
            format!(
                "`{key}` is {} there and {} here",
                value(before, key),
                value(now, key)
            )
        })
}
