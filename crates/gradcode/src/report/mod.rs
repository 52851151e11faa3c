//! `gradcode report`: what came of a run, on the terminal, for programs and as figures.
//!
//! [`explain`] finds out where the time went, who straggled, and what stands out; [`table`] and
//! [`story`] are what a person reads, [`html`] the same as a page, [`export`] what a program reads (JSON,
//! CSV), [`figures`] the SVG files, [`follow`] a run that goes on, [`trace`] a time line; [`compare`] sets schemes side by side; [`mod@format`] writes numbers
//! with units. All of it reads the run directory alone, so it works on runs that still go on and on
//! runs that crashed.

mod compare;
mod explain;
mod export;
mod figures;
mod follow;
mod format;
mod html;
mod story;
mod table;
#[cfg(test)]
mod testing;
mod trace;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use run_log::{LogError, RunReader, Summary, summarise};

use explain::Explanation;

use crate::exit::{Causes, ENVIRONMENT, Failure, Outcome};
use crate::output;

/// Arguments of `gradcode report`.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  gradcode report runs/quickstart                       one run: quality, time, traffic, workers
  gradcode report runs/a runs/b --svg figures           two runs side by side, and their figures
  gradcode report runs/a --html a.html                  all of it with figures, as one page
  gradcode report runs/a --trace a.json                 rounds and workers on a time line, for Perfetto
  gradcode report runs/a --follow                       while it goes on
  gradcode report runs/a --csv --series loss,bits_up    for other programs
  gradcode report --compare study.h5                    schemes of a study, at equal bits
  gradcode report --compare study.h5 --svg figures      loss against iterations, bits, swept keys
  gradcode report --compare study.h5 --baseline SGC --target 0.38
  gradcode report --compare study.h5 --x bits --y accuracy --svg figures --csv=points.csv

A study (study.h5) holds many runs of many schemes, as `gradcode simulate` writes it from
[[scheme]] lists and [sweep]. The table gives the mean and its standard error over the runs. The
result at equal bits and the bits until a result are interpolated between the evaluations of each
run; their currency is the quantized gradients that the master received, or with --x bits-offered
what all workers would have sent. A mean over runs of which some diverged is left out, for it would
flatter.")]
pub struct ReportArgs {
    /// Logs (run.h5), studies (study.h5) or the directories they are in; several are shown side by
    /// side.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Print one JSON object: the run's for one RUN, {"runs": [..]} for several, {"points": [..]} of
    /// a comparison.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print one line per iteration; several runs are told apart by the column `run`. Of a comparison
    /// one line per point, position and series. With a file (--csv=FILE), write it there.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "-"
    )]
    pub csv: Option<String>,
    /// Write figures to this directory.
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// Write the report with its figures as one HTML page, which needs neither network nor scripts.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    pub html: Option<PathBuf>,
    /// Write a Chrome trace (JSON) for Perfetto: the master's rounds, and what each worker did in them.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    pub trace: Option<PathBuf>,
    /// Iterations of the trace, the end not included, e.g. 100..200 or 100..; without it as many of the
    /// last ones as viewers like.
    #[arg(long, value_name = "FROM..TO", requires = "trace", value_parser = trace::parse_range)]
    pub iterations: Option<std::ops::Range<u64>>,
    /// Show a run that goes on: progress, loss, who is late just now; then, when it ends, its report.
    #[arg(long, conflicts_with_all = ["json", "csv", "svg", "html", "trace", "compare"])]
    pub follow: bool,
    /// Seconds from one look at the run to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, requires = "follow", value_parser = seconds)]
    pub every: f64,
    /// Stop following when nothing has changed for so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 600.0, requires = "follow", value_parser = seconds)]
    pub patience: f64,
    /// Series for --json and --csv, e.g. loss,bits_up,per_worker/arrival_time. Without it --json has
    /// none and --csv all that have one value per iteration.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub series: Vec<String>,
    #[command(flatten)]
    pub comparing: compare::CompareArgs,
}

/// Seconds that a person may wait for: more than nothing, and no more than a month.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 31.0 * 86_400.0 => Ok(seconds),
        _ => Err("expected seconds, more than 0 and at most 2678400".to_owned()),
    }
}

/// An opened run with its summary and the name it goes by beside others.
struct Run {
    label: String,
    reader: RunReader,
    summary: Summary,
    explanation: Explanation,
}

/// Prints the report, and draws the figures if asked to.
///
/// # Errors
/// Exit code 2 if a RUN is missing, is not a run of gradcode or was written by another version of
/// the schema, or if it lacks a series; 30 if something cannot be read or written.
pub fn run(args: &ReportArgs) -> Outcome {
    if args.comparing.compare || compare::any_study(&args.runs) {
        return compare::run(args);
    }
    if args.follow {
        let [path] = args.runs.as_slice() else {
            return Err(Failure::usage("--follow takes one RUN"));
        };
        let pace = follow::Pace {
            every: Duration::from_secs_f64(args.every),
            patience: Duration::from_secs_f64(args.patience),
        };
        return follow::follow(path, pace);
    }
    let runs = open(&args.runs)?;
    // Before anything is printed.
    let traced = match (&args.trace, runs.as_slice()) {
        (None, _) => None,
        (Some(file), [run]) => Some((file, trace::Choice::of(run, args.iterations.clone())?)),
        (Some(_), _) => return Err(Failure::usage("--trace takes one RUN")),
    };
    let csv = || export::csv(&runs, &args.series);
    match args.csv.as_deref() {
        Some("-") => output::print(&csv()?)?,
        _ if args.json => output::json(&export::json(&runs, &args.series)?)?,
        _ => output::print(&table::render(&runs))?,
    }
    if let Some(file) = args.csv.as_deref().filter(|file| *file != "-") {
        write_csv(file, &csv()?)?;
    }
    if let Some(directory) = &args.svg {
        figures::announce(&figures::write(&runs, directory)?);
    }
    if let Some(file) = &args.html {
        html::write(&runs, file)?;
    }
    if let Some((file, choice)) = traced {
        choice.write(file)?;
    }
    Ok(())
}

fn write_csv(file: &str, text: &str) -> Outcome {
    std::fs::write(file, text)
        .map_err(|error| Failure::new(ENVIRONMENT, format!("failed to write {file}: {error}")))?;
    eprintln!("csv: {file}");
    Ok(())
}

fn open(paths: &[PathBuf]) -> Outcome<Vec<Run>> {
    let mut runs = vec![];
    for path in paths {
        let reader = RunReader::open(path).map_err(failure)?;
        let summary = summarise(&reader).map_err(failure)?;
        let explanation = explain::explain(&reader, &summary).map_err(failure)?;
        runs.push(Run {
            label: summary.title.clone(),
            reader,
            summary,
            explanation,
        });
    }
    label(&mut runs);
    Ok(runs)
}

/// Runs go by their titles where these tell them apart, and by their directories otherwise.
fn label(runs: &mut [Run]) {
    let titles: Vec<String> = runs.iter().map(|run| run.summary.title.clone()).collect();
    let distinct = titles
        .iter()
        .enumerate()
        .all(|(i, title)| !title.is_empty() && !titles[..i].contains(title));
    if !distinct {
        for run in runs {
            let path = run.reader.path();
            let name = path
                .parent()
                .and_then(|parent| parent.file_name())
                .or(path.file_name());
            run.label = name.map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            );
        }
    }
}

/// Who has to act on it: the user on a wrong path, the machine's owner on a failing disk.
fn failure(error: LogError) -> Failure {
    let message = format!("failed to {}", Causes(&error));
    match error {
        LogError::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::usage(message).hint("name a run directory, or the run.h5 or study.h5 in it")
        }
        LogError::Io { .. } => Failure::new(ENVIRONMENT, message),
        LogError::SchemaVersion { .. } => {
            Failure::usage(message).hint("use the gradcode that wrote the run")
        }
        _ => Failure::usage(message),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::written;
    use super::*;
    use crate::exit::USAGE;

    #[test]
    fn wrong_paths_are_the_users_to_mend() {
        let dir = tempfile::tempdir().unwrap();
        let missing = open(&[dir.path().join("nowhere")]).err().unwrap();
        assert_eq!(missing.code, USAGE);
        assert!(
            missing.message.contains("nowhere") && missing.message.contains("No such file"),
            "{missing}"
        );
        let foreign = dir.path().join("foreign.h5");
        std::fs::write(&foreign, "no HDF5").unwrap();
        let foreign = open(&[foreign]).err().unwrap();
        assert_eq!(foreign.code, USAGE);
        assert!(foreign.message.contains("foreign.h5"), "{foreign}");
    }

    #[test]
    fn runs_of_one_title_go_by_their_directories() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        for path in &paths {
            written(path, "same", 3);
        }
        let labels: Vec<_> = open(&paths)
            .ok()
            .unwrap()
            .into_iter()
            .map(|run| run.label)
            .collect();
        assert_eq!(labels, ["a", "b"]);
        assert_eq!(open(&paths[..1]).ok().unwrap()[0].label, "same");
    }
}
