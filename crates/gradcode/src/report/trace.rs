//! A run as a Chrome trace (JSON), which Perfetto and chrome://tracing show: rounds and what the master
//! did in them, each worker's computing, encoding and sending, evaluations, plans, loss.
//!
//! [`range`] says which iterations, [`source`] which events they are made of, and [`mod@format`] how these are written.

mod format;
mod range;
mod source;

use std::fs::File;
use std::io::{self, BufWriter};
use std::ops::Range;
use std::path::Path;

use run_log::RunReader;

use super::explain::Circumstances;
use super::explain::columns::Columns;
use super::{Run, failure};
use crate::exit::{ENVIRONMENT, Failure, Outcome};
use format::Trace;
pub use range::parse_range;
use source::Source;

/// What is to be traced.
pub struct Choice<'a> {
    run: &'a Run,
    columns: Columns,
    /// Places in the columns.
    rows: Range<usize>,
}

impl<'a> Choice<'a> {
    /// `iterations` (numbers of the log), or as many of the last ones as a viewer likes to open.
    ///
    /// # Errors
    /// Exit code 2 if the log has none of the iterations.
    pub fn of(run: &'a Run, iterations: Option<Range<u64>>) -> Outcome<Self> {
        let columns = Columns::read(&run.reader).map_err(failure)?;
        let rows = range::rows(&columns, iterations)?;
        Ok(Self { run, columns, rows })
    }

    /// Writes the trace.
    ///
    /// # Errors
    /// Exit code 30 if the file cannot be written.
    pub fn write(&self, path: &Path) -> Outcome {
        write(self.run, &self.columns, &self.rows, path)
    }
}

fn write(run: &Run, columns: &Columns, rows: &Range<usize>, path: &Path) -> Outcome {
    let loss = run.reader.series("loss").map_err(failure)?;
    let lengths = lengths(&run.reader, columns, &run.explanation.circumstances)?;
    let unwritable = |error: io::Error| {
        let message = format!("failed to write {}: {error}", path.display());
        Failure::new(ENVIRONMENT, message)
    };
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    directory
        .map_or(Ok(()), std::fs::create_dir_all)
        .map_err(unwritable)?;
    let file = File::create(path).map_err(unwritable)?;
    let mut trace = Trace::new(BufWriter::new(file));
    let source = Source {
        columns,
        circumstances: run.explanation.circumstances,
        events: &run.explanation.events,
        loss: &loss,
        lengths,
    };
    source
        .write(&mut trace, &run.label, rows.clone())
        .and_then(|()| trace.finish())
        .map_err(unwritable)?;
    let left_out = columns.len() - rows.len();
    let partly = match left_out {
        0 => String::new(),
        _ => format!(
            " (iterations {} to {} of the log)",
            rows.start,
            rows.end - 1
        ),
    };
    eprintln!(
        "trace: {}{partly}; open it in https://ui.perfetto.dev or chrome://tracing",
        path.display()
    );
    Ok(())
}

/// Rounds' lengths in virtual time; empty for runs in real time.
fn lengths(run: &RunReader, columns: &Columns, circumstances: &Circumstances) -> Outcome<Vec<f64>> {
    if !circumstances.simulated {
        return Ok(vec![]);
    }
    let told = match run.series("seconds_virtual") {
        Err(run_log::LogError::NoSuchSeries { .. }) => vec![f64::NAN; columns.len()],
        other => other.map_err(failure)?,
    };
    let length = |t: usize| {
        let last = columns.last_on_time(t).map_or(0.0, |(_, arrival)| arrival);
        let until = if columns.late[t] > 0.0 && columns.deadline[t].is_finite() {
            columns.deadline[t].max(last)
        } else {
            last
        };
        if told[t].is_finite() {
            told[t].max(last)
        } else {
            until
        }
    };
    Ok((0..columns.len()).map(length).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::testing::opened;
    use super::*;

    fn traced(iterations: Option<Range<u64>>) -> Vec<Value> {
        let dir = tempfile::tempdir().unwrap();
        let run = opened(dir.path(), "a \"run\"", 10);
        let path = dir.path().join("new/trace.json");
        let choice = Choice::of(&run, iterations).ok().unwrap();
        choice.write(&path).ok().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let trace: Value = serde_json::from_str(&text).unwrap();
        trace["traceEvents"].as_array().unwrap().clone()
    }

    fn number(event: &Value, key: &str) -> f64 {
        event[key].as_f64().unwrap()
    }

    #[test]
    fn slices_of_a_thread_follow_or_hold_one_another() {
        let events = traced(None);
        let count = |kind: &str| events.iter().filter(|event| event["ph"] == kind).count();
        // Rounds, waits for a worker, in odd ones for frames too; a gradient of worker 0 in each, of
        // worker 1 in even ones.
        assert_eq!(count("M"), 6);
        assert_eq!(count("X"), 10 + 10 + 5 + 10 + 5);
        assert_eq!(count("i"), 5, "worker 1 is late in odd rounds");
        assert_eq!(count("C"), 20);
        for (process, thread) in [(0, 0), (1, 0), (1, 1)] {
            let mut open: Vec<f64> = vec![];
            for event in &events {
                if event["ph"] != "X" || event["pid"] != process || event["tid"] != thread {
                    continue;
                }
                let (start, length) = (number(event, "ts"), number(event, "dur"));
                open.retain(|&end| end > start + 0.2);
                let end = start + length;
                assert!(open.iter().all(|&outer| end <= outer + 0.2), "{event}");
                open.push(end);
            }
        }
        // Rounds of 0.5 s begin a second apart.
        let rounds = events.iter().filter(|event| {
            event["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("round"))
        });
        let starts: Vec<f64> = rounds.map(|event| number(event, "ts")).collect();
        assert_eq!(starts[..3], [0.0, 1e6, 2e6]);
    }

    #[test]
    fn iterations_can_be_chosen() {
        let rounds = |events: &[Value]| -> Vec<String> {
            let names = events.iter().filter_map(|event| event["name"].as_str());
            names
                .filter(|name| name.starts_with("round"))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(rounds(&traced(Some(8..20))), ["round 8", "round 9"]);
        let dir = tempfile::tempdir().unwrap();
        let run = opened(dir.path(), "t", 3);
        let refused = Choice::of(&run, Some(3..9)).err().unwrap();
        assert!(refused.message.contains("iterations 0 to 2"), "{refused}");
        assert_eq!(parse_range("5..7"), Ok(5..7));
        assert_eq!(parse_range("5.."), Ok(5..u64::MAX));
        assert_eq!(parse_range("..7"), Ok(0..7));
        for wrong in ["5", "7..7", "a..b", "-1..3"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_run_without_iterations_has_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let run = opened(dir.path(), "t", 0);
        let path = dir.path().join("trace.json");
        let choice = Choice::of(&run, None).ok().unwrap();
        choice.write(&path).ok().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    }
}
