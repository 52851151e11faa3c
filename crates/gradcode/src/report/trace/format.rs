//! The Chrome trace event format, as far as it is used here.

use std::io::{self, Write};

use serde_json::{Value, json};

/// The process of the master.
pub const MASTER: usize = 0;
/// The process of all workers, a thread each.
pub const WORKERS: usize = 1;

/// Events as they are written; times in seconds become microseconds.
pub struct Trace<W> {
    out: W,
    first: bool,
}

impl<W: Write> Trace<W> {
    /// Events go to `out`.
    pub fn new(out: W) -> Self {
        Self { out, first: true }
    }

    /// Opens the list of events.
    pub fn begin(&mut self) -> io::Result<()> {
        self.out
            .write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")
    }

    /// Closes the list.
    pub fn finish(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()
    }

    fn event(&mut self, event: &Value) -> io::Result<()> {
        self.out
            .write_all(if self.first { b"\n" } else { b",\n" })?;
        self.first = false;
        serde_json::to_writer(&mut self.out, event).map_err(io::Error::from)
    }

    /// `what` is `process_name` or `thread_name`.
    pub fn name(
        &mut self,
        what: &str,
        process: usize,
        thread: usize,
        name: &str,
    ) -> io::Result<()> {
        self.event(&json!({
            "ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name},
        }))
    }

    /// Something that took a while.
    pub fn slice(
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

    /// Something that happened at a moment, to the thread (`scope` "t") or to all ("g").
    pub fn instant(
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

    /// A value of the run from a moment on.
    pub fn counter(&mut self, name: &str, at: f64, value: f64) -> io::Result<()> {
        self.event(&json!({
            "ph": "C", "name": name, "pid": MASTER, "tid": 0, "ts": micros(at), "args": {name: value},
        }))
    }
}

/// Microseconds, to a tenth.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e7).round() / 10.0
}
