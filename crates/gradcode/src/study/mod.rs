//! Running a study: every run of every point, spread over threads, into one file.
//!
//! [`run`] is the whole: it opens or resumes `study.h5`, hands the runs that are left to a pool of
//! threads ([`pool`]) and takes their results in as they come. What a run does depends on the kind of
//! study: [`training`], [`allocation`], [`decoding_error`].
//!
//! Run r of every point takes the seed `seed + r`, which decides everything that is random: data set
//! and initial point of the convex problems, minibatches, delays, codes, rounding. So the points are
//! compared on the same data and the same stragglers, run by run. Drawn rates are those of `seed` in
//! every run, unless `study.rates = "per-run"`.

mod allocation;
mod decoding_error;
mod journal;
mod pool;
mod store;
mod table;
mod training;

use std::path::Path;
use std::sync::atomic::Ordering;

use run_log::study::{Outcome as RunOutcome, Point};
use serde_json::{Value, json};

use crate::config::values::{Rates, StudyKind, StudyRates};
use crate::config::{Config, PointConfig, StudyConfig};
use crate::exit::{Failure, LOG_LOST, Outcome, STOPPED};
use crate::output;
use crate::run::{StopFlag, signals};

use store::Store;

/// How a study is run, beside what it says itself.
pub struct Options {
    /// Replace a study that is there instead of resuming it.
    pub overwrite: bool,
    /// Print the points and stop.
    pub dry_run: bool,
    /// One JSON object on standard output, no progress.
    pub json: bool,
}

/// What a run found.
pub struct Findings {
    /// How it ended.
    pub outcome: RunOutcome,
    /// One value per position.
    pub series: Vec<(String, Vec<f64>)>,
    /// Theoretical curves, one value per position.
    pub bounds: Vec<(String, Bound, Vec<f64>)>,
    /// Numbers without a position: loads, bits, bounds, measured errors.
    pub facts: Vec<(String, f64)>,
    /// The plan as JSON, where there is one; kept for the first run.
    pub plan: Option<String>,
}

/// How a theoretical curve follows from those of the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It is the same for all.
    Certain,
    /// Their mean.
    Mean,
    /// The largest value.
    Largest,
}

/// One run of one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Which point.
    pub point: usize,
    /// Which run.
    pub run: usize,
}

/// Runs what is left of `study`.
///
/// # Errors
/// Exit code 2 for a study that cannot be run or does not fit the one in its directory, 30 for the
/// environment, 31 if the results could not be written, 85 if a signal stopped it.
pub fn run(study: &StudyConfig, options: &Options) -> Outcome {
    let points = empty_points(study)?;
    if options.dry_run {
        let planned = table::planned(study)?;
        return if options.json {
            output::json(&planned.json())
        } else {
            output::print(&planned.text())
        };
    }
    let stop = signals(None)?.stop;
    let mut store = Store::open(study, points, options.overwrite)?;
    let tasks = store.tasks();
    let skipped = store.runs() - tasks.len();
    if skipped > 0 && !options.json {
        eprintln!(
            "{}: {skipped} of {} runs are done already",
            store.path().display(),
            store.runs()
        );
    }
    let worked = pool::work(study, &tasks, &mut store, &stop, options.json);
    let written = store.finish();
    worked?;
    if let Err(error) = written {
        return Err(Failure::new(
            LOG_LOST,
            format!("failed to write the end of the study: {error}"),
        ));
    }
    if stop.load(Ordering::Relaxed) && store.left() > 0 {
        return Err(Failure::new(
            STOPPED,
            format!(
                "stopped by a signal with {} of {} runs left",
                store.left(),
                store.runs()
            ),
        )
        .hint("the same command goes on from here"));
    }
    report(&store, options)
}

fn report(store: &Store, options: &Options) -> Outcome {
    let table = table::results(store.study());
    if options.json {
        let points: Vec<Value> = store
            .study()
            .points
            .iter()
            .map(table::result_json)
            .collect();
        return output::json(&json!({ "study": store.path(), "points": points }));
    }
    output::print(&table)?;
    eprintln!("study: {}", store.path().display());
    let directory = store.path().parent().unwrap_or(Path::new("."));
    let directory = directory.display();
    eprintln!("next:  gradcode report --compare {directory} --svg {directory}/figures");
    Ok(())
}

/// The points without results.
fn empty_points(study: &StudyConfig) -> Outcome<Vec<Point>> {
    study
        .points
        .iter()
        .map(|point| {
            let (axis, at) = match study.settings.kind {
                StudyKind::Training => ("iteration", training::positions(&point.config)),
                StudyKind::Allocation => {
                    allocation::check(point)?;
                    let bits = &study.settings.residual_bits;
                    (
                        "residual_bits",
                        bits.iter().map(|&bits| bits as f64).collect(),
                    )
                }
                StudyKind::DecodingError => {
                    let stragglers = decoding_error::stragglers(point, &study.settings)?;
                    let at = stragglers.iter().map(|&s| s as f64).collect();
                    ("stragglers", at)
                }
            };
            let scheme = point.config.scheme.kind.name();
            let mut empty = Point::new(&point.label, scheme, axis, at, study.settings.runs);
            empty.sweep = point.sweep.clone();
            empty
                .documents
                .insert("config".into(), point.config.to_toml());
            let config = &point.config;
            for (name, value) in [
                ("workers", config.workers.into()),
                ("partitions", config.partitions.into()),
                ("seed", config.seed.into()),
                ("iterations", config.iterations.into()),
                ("codec", config.codec_text().into()),
                (
                    "error_feedback",
                    config.codec.error_feedback.to_string().into(),
                ),
                ("optimizer", config.optimizer.kind.to_string().into()),
            ] {
                empty.attributes.insert(name.into(), value);
            }
            Ok(empty)
        })
        .collect()
}

/// Does one run; `None` if it was stopped.
fn work(study: &StudyConfig, task: Task, stop: &StopFlag) -> Outcome<Option<Findings>> {
    let point = &study.points[task.point];
    let config = config_of(point, study.settings.rates, task.run)?;
    let findings = match study.settings.kind {
        StudyKind::Training => training::run(&config, study.settings.probe, stop),
        StudyKind::Allocation => allocation::run(&config, &study.settings.residual_bits).map(Some),
        StudyKind::DecodingError => {
            let stragglers = decoding_error::stragglers(point, &study.settings)?;
            decoding_error::run(&config, &stragglers, study.settings.sets).map(Some)
        }
    };
    findings.map_err(|failure| Failure {
        message: format!("{} (run {} of {})", failure.message, task.run, point.name()),
        ..failure
    })
}

/// The configuration of run number `run`.
fn config_of(point: &PointConfig, rates: StudyRates, run: usize) -> Outcome<Config> {
    let mut config = point.config.clone();
    if rates == StudyRates::Shared && matches!(config.straggler.rate, Rates::Uniform(_)) {
        config.straggler.rate = Rates::Many(config.drawn_rates()?);
    }
    config.seed = config
        .seed
        .checked_add(run as u64)
        .filter(|&seed| i64::try_from(seed).is_ok())
        .ok_or_else(|| {
            Failure::usage("failed to number the runs: seed + runs must stay below 2^63")
        })?;
    Ok(config)
}
