//! Runs on several threads, results on one.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::store::Store;
use super::{Findings, Task};
use crate::config::StudyConfig;
use crate::exit::{Failure, Outcome};
use crate::run::StopFlag;

/// Seconds between plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// How often the collecting thread looks up when nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Does `tasks` in their order on as many threads as the study wants, and stores what they find.
/// After a signal no run is begun and those under way are dropped.
///
/// # Errors
/// The first run that could not be done; the results of others are stored all the same.
pub fn work(
    study: &StudyConfig,
    tasks: &[Task],
    store: &mut Store,
    stop: &StopFlag,
    quiet: bool,
) -> Outcome {
    let jobs = match study.settings.jobs {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        jobs => jobs,
    };
    let next = AtomicUsize::new(0);
    // Raised by the first failure: nothing new is begun.
    let failed = AtomicBool::new(false);
    let (sender, results) = mpsc::channel::<(Task, Outcome<Option<Findings>>)>();
    let mut display = Display::new(store, tasks.len(), quiet);
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(tasks.len()) {
            let (sender, next, failed) = (sender.clone(), &next, &failed);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && !failed.load(Ordering::Relaxed) {
                    let Some(&task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    if sender.send((task, super::work(study, task, stop))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut outcome = Ok(());
        loop {
            match results.recv_timeout(TICK) {
                Ok((task, Ok(Some(findings)))) => {
                    if let Err(failure) = store.record(task, findings) {
                        failed.store(true, Ordering::Relaxed);
                        outcome = outcome.and(Err(failure));
                    }
                    display.advance(store);
                }
                Ok((_, Ok(None))) | Err(RecvTimeoutError::Timeout) => {}
                Ok((_, Err(failure))) => {
                    failed.store(true, Ordering::Relaxed);
                    outcome = outcome.and(Err(failure));
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(warning) = store.maybe_commit() {
                display.warning(&warning);
            }
        }
        display.finish();
        outcome
    })
}

/// What a person sees while a study goes on; standard error only.
struct Display {
    bar: Option<ProgressBar>,
    total: usize,
    done: usize,
    started: Instant,
    last_line: Option<Instant>,
}

impl Display {
    fn new(store: &Store, total: usize, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} runs {msg} eta {eta}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total as u64)
                .with_style(style)
                .with_message(diverged(store))
        });
        let now = Instant::now();
        Display {
            bar,
            total,
            done: 0,
            started: now,
            last_line: (!quiet).then_some(now),
        }
    }

    fn advance(&mut self, store: &Store) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done as u64);
            bar.set_message(diverged(store));
        } else if let Some(last) = self.last_line
            && (last.elapsed() >= LINE_INTERVAL || self.done == self.total)
        {
            self.last_line = Some(Instant::now());
            let (done, total) = (self.done, self.total);
            let left = (total - done) as f64 * self.started.elapsed().as_secs_f64() / done as f64;
            eprintln!("{done}/{total} runs {}  eta {left:.0} s", diverged(store));
        }
    }

    fn warning(&self, text: &str) {
        let text = format!("gradcode: warning: {text}");
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

/// The points with runs that diverged, for the display.
fn diverged(store: &Store) -> String {
    let counts: BTreeMap<&str, usize> = store
        .study()
        .points
        .iter()
        .filter(|point| point.diverged() > 0)
        .map(|point| (point.label.as_str(), point.diverged()))
        .collect();
    let words: Vec<String> = counts
        .into_iter()
        .map(|(label, count)| format!("{label}: {count} diverged"))
        .collect();
    words.join(", ")
}

/// A run's result that does not fit its point is a bug of ours.
impl From<run_log::LogError> for Failure {
    fn from(error: run_log::LogError) -> Self {
        Failure::new(crate::exit::BUG, format!("failed to {error}"))
    }
}
