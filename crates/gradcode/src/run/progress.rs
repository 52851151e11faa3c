//! What a person sees while a run goes on: a bar on a terminal, a plain line every few seconds
//! elsewhere. Standard error only.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use learner::Metric;
use run_log::IterationRow;

use crate::headline;

/// Seconds between plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// The progress display of rank 0.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// Iterations done before this run began.
    first: u64,
    total: u64,
    started: Instant,
    last_line: Option<Instant>,
    /// Exponential average of the loss.
    loss: Option<f64>,
    responders: u64,
    asked: u64,
    seconds: f64,
    wait: f64,
}

impl Progress {
    /// A display for `total` iterations of which `first` are done; `quiet` shows nothing.
    pub fn new(first: u64, total: u64, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg} eta {eta}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total)
                .with_position(first)
                .with_style(style)
        });
        let now = Instant::now();
        Progress {
            bar,
            first,
            total,
            started: now,
            // Quiet means that the time for a line never comes.
            last_line: (!quiet).then_some(now),
            loss: None,
            responders: 0,
            asked: 0,
            seconds: 0.0,
            wait: 0.0,
        }
    }

    /// Takes an iteration in, and shows the state if it is time.
    pub fn iteration(&mut self, row: &IterationRow) {
        if row.loss.is_finite() {
            let before = self.loss.unwrap_or(row.loss);
            self.loss = Some(before + 0.1 * (row.loss - before));
        }
        self.responders += row.responders;
        self.asked += row.responders + row.late;
        self.seconds += row.seconds_round;
        self.wait += row.seconds_wait;
        let done = row.iteration + 1;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(self.text(done));
        } else if let Some(last) = self.last_line
            && (last.elapsed() >= LINE_INTERVAL || done == self.total)
        {
            self.last_line = Some(Instant::now());
            let left = (self.total - done) as f64 / self.rate(done);
            eprintln!(
                "step {done}/{}  {}  eta {left:.0} s",
                self.total,
                self.text(done)
            );
        }
    }

    /// Shows an evaluation's leading metrics.
    pub fn evaluation(&self, iterations: u64, metrics: &[Metric]) {
        let line = headline::line(metrics);
        self.line(&format!("evaluation after {iterations}: {line}"));
    }

    /// Shows that a checkpoint is complete.
    pub fn checkpoint(&self, iterations: u64, seconds: f64) {
        self.line(&format!(
            "checkpoint after {iterations} iterations ({seconds:.2} s)"
        ));
    }

    /// Iterations per second of this run.
    fn rate(&self, done: u64) -> f64 {
        (done - self.first) as f64 / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    /// Shows a line without disturbing the bar.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None if self.last_line.is_some() => eprintln!("{text}"),
            None => {}
        }
    }

    /// Shows a warning, quiet or not.
    pub fn warning(&self, text: &str) {
        self.always(&format!("gradcode: warning: {text}"));
    }

    /// Shows what happened, quiet or not.
    pub fn note(&self, text: &str) {
        self.always(&format!("gradcode: {text}"));
    }

    fn always(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Ends the display.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }

    fn text(&self, done: u64) -> String {
        let rate = self.rate(done);
        let loss = self
            .loss
            .map_or_else(|| "-".to_owned(), |loss| format!("{loss:.4}"));
        let share = |part: f64, whole: f64| {
            if whole > 0.0 {
                100.0 * part / whole
            } else {
                0.0
            }
        };
        format!(
            "loss {loss}  {rate:.1} steps/s  waiting {:.0} %  on time {:.0} %",
            share(self.wait, self.seconds),
            share(self.responders as f64, self.asked as f64),
        )
    }
}
