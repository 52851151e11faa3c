//! From a run's columns to events: the master's round and each worker's task, one after another.

use std::io::{self, Write};
use std::ops::Range;

use serde_json::{Value, json};

use super::super::explain::Circumstances;
use super::super::explain::columns::{Columns, or_zero};
use super::super::explain::events::Events;
use super::super::explain::time::{self, Activity};
use super::format::{MASTER, Trace, WORKERS};

/// What is drawn.
pub struct Source<'a> {
    /// What the log says of every iteration and worker.
    pub columns: &'a Columns,
    /// How the run was run.
    pub circumstances: Circumstances,
    /// Plans that came on the way.
    pub events: &'a Events,
    /// Training loss by row.
    pub loss: &'a [f64],
    /// Rounds' lengths in virtual time; empty for runs in real time.
    pub lengths: Vec<f64>,
}

impl Source<'_> {
    /// Writes the events of `rows`, places in the columns, of a run that goes by `label`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(
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
