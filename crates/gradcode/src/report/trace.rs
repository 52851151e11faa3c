//! A run as a Chrome trace (JSON), which Perfetto and chrome://tracing show: rounds and what the master
//! did in them, each worker's computing, encoding and sending, evaluations, plans, loss.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use run_log::RunReader;
use serde_json::{Value, json};

use super::explain::Circumstances;
use super::explain::columns::{Columns, or_zero};
use super::explain::events::Events;
use super::explain::time::{self, Activity};
use super::{Run, failure};
use crate::exit::{ENVIRONMENT, Failure, Outcome};

/// Events in a file unless iterations are asked for: viewers get slow beyond.
const MOST_EVENTS: usize = 400_000;

const MASTER: usize = 0;
const WORKERS: usize = 1;

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
        let rows = rows(&columns, iterations)?;
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
    let mut trace = Trace {
        out: BufWriter::new(File::create(path).map_err(unwritable)?),
        first: true,
    };
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

/// `100..200`, `100..` or `..200`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("expected FROM..TO, e.g. 100..200")?;
    let bound = |text: &str, open: u64| match text {
        "" => Ok(open),
        text => text
            .parse::<u64>()
            .map_err(|error| format!("{text:?} is no iteration: {error}")),
    };
    let range = bound(from, 0)?..bound(to, u64::MAX)?;
    if range.is_empty() {
        return Err(format!(
            "{text:?} holds no iteration; the end is not included"
        ));
    }
    Ok(range)
}

/// Places in the columns.
fn rows(columns: &Columns, iterations: Option<Range<u64>>) -> Outcome<Range<usize>> {
    let all = 0..columns.len();
    let Some(wanted) = iterations else {
        let most = MOST_EVENTS / (8 + 3 * columns.workers);
        return Ok(all.end.saturating_sub(most.max(1))..all.end);
    };
    let place = |iteration: u64| {
        columns
            .iteration
            .partition_point(|&logged| logged < iteration as f64)
    };
    let rows = place(wanted.start)..place(wanted.end);
    if rows.is_empty() {
        let range = match (columns.iteration.first(), columns.iteration.last()) {
            (Some(first), Some(last)) => format!("iterations {first} to {last}"),
            _ => "no iterations".to_owned(),
        };
        let message = format!("--iterations: the log has none of them, but {range}");
        return Err(Failure::usage(message));
    }
    Ok(rows)
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

/// What is drawn.
struct Source<'a> {
    columns: &'a Columns,
    circumstances: Circumstances,
    events: &'a Events,
    loss: &'a [f64],
    /// As [`lengths`] says.
    lengths: Vec<f64>,
}

impl Source<'_> {
    fn write(
        &self,
        trace: &mut Trace<impl Write>,
        label: &str,
        rows: Range<usize>,
    ) -> io::Result<()> {
        trace.begin()?;
        trace.name("process_name", MASTER, 0, &format!("{label}: master"))?;
        trace.name("process_name", WORKERS, 0, &format!("{label}: workers"))?;
        trace.name("thread_name", MASTER, 0, "master")?;
        for i in 0..self.columns.workers {
            trace.name("thread_name", WORKERS, i, &format!("worker {i}"))?;
        }
        let Some(begin) = rows.clone().next().map(|t| self.start(t)) else {
            return Ok(());
        };
        let mut virtual_now = 0.0;
        for t in rows {
            let iteration = self.columns.iteration[t] as u64;
            // Seconds since the beginning of the trace.
            let (start, length) = match self.lengths.get(t) {
                Some(&length) => (virtual_now, length),
                None => (self.start(t) - begin, or_zero(self.columns.round[t])),
            };
            virtual_now = start + length;
            let values = json!({
                "iteration": iteration,
                "responders": self.columns.responders[t],
                "late": self.columns.late[t],
                "deadline_s": finite(self.columns.deadline[t]),
            });
            trace.slice(
                MASTER,
                0,
                &format!("round {iteration}"),
                (start, length),
                values,
            )?;
            if self.lengths.is_empty() {
                self.master(trace, t, start)?;
            }
            for i in 0..self.columns.workers {
                self.worker(trace, t, i, start, length)?;
            }
            if self.loss[t].is_finite() {
                trace.counter("loss", start + length, self.loss[t])?;
            }
            trace.counter(
                "gradients in time",
                start + length,
                self.columns.responders[t],
            )?;
            for plan in self.events.plans.iter().skip(1) {
                if plan.iteration == iteration {
                    trace.instant(MASTER, 0, &format!("new plan: {}", plan.reason), start, "g")?;
                }
            }
        }
        Ok(())
    }

    /// When a round began, seconds since 1970.
    fn start(&self, t: usize) -> f64 {
        self.columns.time[t] - or_zero(self.columns.round[t])
    }

    /// The parts of the master's round one after another. Frames are folded in while others are
    /// awaited, so waiting and decoding really interleave.
    fn master(&self, trace: &mut Trace<impl Write>, t: usize, start: f64) -> io::Result<()> {
        use Activity::{Check, Compute, Decode, Encode, Frames, InVain, Open, Step, Travel};
        let split = time::round(self.columns, &self.circumstances, t);
        let seconds = |activity: Activity| split[activity as usize];
        let gathering = seconds(Compute) + seconds(Encode) + seconds(Travel);
        let last = self.columns.last_on_time(t).map(|(worker, _)| worker);
        let awaited = last.map_or("wait".to_owned(), |worker| {
            format!("wait for worker {worker}")
        });
        let mut at = start;
        for (name, length) in [
            ("send the model", seconds(Open)),
            (awaited.as_str(), gathering),
            ("wait in vain until the deadline", seconds(InVain)),
            ("wait for frames", seconds(Frames)),
            ("decode", seconds(Decode)),
            ("exact gradient", seconds(Check)),
            ("optimizer step", seconds(Step)),
        ] {
            if length > 0.0 {
                trace.slice(MASTER, 0, name, (at, length), Value::Null)?;
                at += length;
            }
        }
        // What the next row says of the time between.
        let mut at = start + or_zero(self.columns.round[t]);
        if t + 1 < self.columns.len() {
            for (name, length) in [
                ("log", self.columns.log[t + 1]),
                ("evaluation", self.columns.evaluate[t + 1]),
                ("checkpoint", self.columns.checkpoint[t + 1]),
            ] {
                if length > 0.0 {
                    trace.slice(MASTER, 0, name, (at, length), Value::Null)?;
                    at += length;
                }
            }
        }
        Ok(())
    }

    fn worker(
        &self,
        trace: &mut Trace<impl Write>,
        t: usize,
        i: usize,
        start: f64,
        length: f64,
    ) -> io::Result<()> {
        let columns = self.columns;
        let arrival = columns.arrival[[t, i]];
        if !arrival.is_finite() {
            if columns.lateness[[t, i]] > 0.0 {
                let behind = columns.lateness[[t, i]];
                let name = if self.circumstances.drawn {
                    "drawn late"
                } else {
                    "late"
                };
                let at = start + or_zero(columns.deadline[t]).min(length);
                let name = match behind {
                    behind if behind > 1.0 => format!("{name}, {behind} rounds behind"),
                    _ => name.to_owned(),
                };
                return trace.instant(WORKERS, i, &name, at, "t");
            }
            return Ok(());
        }
        let compute = or_zero(columns.compute[[t, i]]);
        let encode = or_zero(columns.encode[[t, i]]);
        if self.circumstances.simulated || compute + encode == 0.0 {
            // Real seconds of computing do not fit into virtual ones.
            return trace.slice(
                WORKERS,
                i,
                "task",
                (start, arrival),
                json!({"compute_s": compute, "encode_s": encode}),
            );
        }
        let encode = encode.min(arrival);
        let compute = compute.min(arrival - encode);
        let spare = arrival - encode - compute;
        // A result that came too early for its drawn delay was held back; otherwise the spare time is
        // mostly the model's way.
        let delayed = self.circumstances.delayed;
        let begin = start + if delayed { 0.0 } else { spare };
        let values = json!({"arrival_s": arrival, "bits": columns.bits[[t, i]]});
        trace.slice(WORKERS, i, "backward", (begin, compute), values)?;
        trace.slice(WORKERS, i, "encode", (begin + compute, encode), Value::Null)?;
        if delayed {
            let held = (begin + compute + encode, spare);
            trace.slice(WORKERS, i, "injected delay", held, Value::Null)?;
        }
        match columns.wire[[t, i]] {
            wire if wire > 0.0 => {
                trace.slice(WORKERS, i, "frame", (start + arrival, wire), Value::Null)
            }
            _ => Ok(()),
        }
    }
}

fn finite(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else {
        Value::Null
    }
}

/// Events as they are written; times in seconds become microseconds.
struct Trace<W> {
    out: W,
    first: bool,
}

impl<W: Write> Trace<W> {
    fn begin(&mut self) -> io::Result<()> {
        self.out
            .write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()
    }

    fn event(&mut self, event: &Value) -> io::Result<()> {
        self.out
            .write_all(if self.first { b"\n" } else { b",\n" })?;
        self.first = false;
        serde_json::to_writer(&mut self.out, event).map_err(io::Error::from)
    }

    fn name(&mut self, what: &str, process: usize, thread: usize, name: &str) -> io::Result<()> {
        self.event(&json!({
            "ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name},
        }))
    }

    fn slice(
        &mut self,
        process: usize,
        thread: usize,
        name: &str,
        (start, length): (f64, f64),
        values: Value,
    ) -> io::Result<()> {
        self.event(&json!({
            "ph": "X", "name": name, "pid": process, "tid": thread,
            "ts": micros(start), "dur": micros(length), "args": values,
        }))
    }

    fn instant(
        &mut self,
        process: usize,
        thread: usize,
        name: &str,
        at: f64,
        scope: &str,
    ) -> io::Result<()> {
        self.event(&json!({
            "ph": "i", "s": scope, "name": name, "pid": process, "tid": thread, "ts": micros(at),
        }))
    }

    fn counter(&mut self, name: &str, at: f64, value: f64) -> io::Result<()> {
        self.event(&json!({
            "ph": "C", "name": name, "pid": MASTER, "tid": 0, "ts": micros(at), "args": {name: value},
        }))
    }
}

/// Microseconds, to a tenth.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e7).round() / 10.0
}

#[cfg(test)]
mod tests {
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
