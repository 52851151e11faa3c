//! `gradcode report`: what came of a run, on the terminal, for programs and as figures.
//!
//! [`table`] is what a person reads, [`export`] what a program reads (JSON, CSV), [`figures`] the
//! SVG files; [`mod@format`] writes numbers with units. All of it reads the log alone, so it works on
//! runs that still go on and on runs that crashed.

mod export;
mod figures;
mod format;
mod table;
#[cfg(test)]
mod testing;

use std::path::PathBuf;

use clap::Args;
use run_log::{LogError, RunReader, Summary, summarise};

use crate::exit::{Causes, ENVIRONMENT, Failure, Outcome};
use crate::output;

/// Arguments of `gradcode report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// Logs (run.h5) or run directories; several are shown side by side.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Print one JSON object: the run's for one RUN, {"runs": [..]} for several.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print one line per iteration; several runs are told apart by the column `run`.
    #[arg(long)]
    pub csv: bool,
    /// Write figures to this directory.
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// Series for --json and --csv, e.g. loss,bits_up,per_worker/arrival_time. Without it --json has
    /// none and --csv all that have one value per iteration.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub series: Vec<String>,
}

/// An opened run with its summary and the name it goes by beside others.
struct Run {
    label: String,
    reader: RunReader,
    summary: Summary,
}

/// Prints the report, and draws the figures if asked to.
///
/// # Errors
/// Exit code 2 if a RUN is missing, is not a run of gradcode or was written by another version of
/// the schema, or if it lacks a series; 30 if something cannot be read or written.
pub fn run(args: &ReportArgs) -> Outcome {
    let runs = open(&args.runs)?;
    if args.json {
        output::json(&export::json(&runs, &args.series)?)?;
    } else if args.csv {
        output::print(&export::csv(&runs, &args.series)?)?;
    } else {
        output::print(&table::render(&runs))?;
    }
    if let Some(directory) = &args.svg {
        let written = figures::write(&runs, directory)?;
        let names: Vec<String> = written
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        eprintln!("figures: {}", names.join(" "));
    }
    Ok(())
}

fn open(paths: &[PathBuf]) -> Outcome<Vec<Run>> {
    let mut runs = vec![];
    for path in paths {
        let reader = RunReader::open(path).map_err(failure)?;
        let summary = summarise(&reader).map_err(failure)?;
        runs.push(Run {
            label: summary.title.clone(),
            reader,
            summary,
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
            Failure::usage(message).hint("name a run directory, or the run.h5 in it")
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
