//! `gradcode report --follow`: a run, watched while it goes on.
//!
//! The log is replaced as a whole every few seconds, so it is opened anew whenever it changed. What is
//! shown is [`view`]'s; here is when to look, and when to stop looking: at the run's end, when the
//! process that writes is gone, or when nothing has changed for too long.

mod view;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use console::Term;
use run_log::Writer;

use super::explain::events::StatusFile;
use super::{Run, table};
use crate::exit::{ENVIRONMENT, Failure, Outcome};
use crate::output;

/// When to look, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one look to the next.
    pub every: Duration,
    /// Without any change for so long, following ends.
    pub patience: Duration,
}

/// Columns where the width is not known.
const WIDTH: usize = 100;

/// Shows the run in `path` (a directory or its `run.h5`) until it ends, and then its report.
///
/// # Errors
/// Exit code 2 if the log is no run, 30 if the run ends without a word: its process is gone,
/// or nothing changes for longer than the patience.
pub fn follow(path: &Path, pace: Pace) -> Outcome {
    let term = Term::stdout();
    let mut screen = Screen {
        term: term.is_term().then_some(term),
        lines: 0,
        said: String::new(),
    };
    watch(path, pace, &mut |shown| screen.show(shown))
}

/// What there is to show.
enum Shown<'a> {
    /// Nothing yet: the log that is waited for, and for how long at most.
    Waiting(&'a Path, Duration),
    /// A run that goes on; the seconds since its last iteration in the log.
    Live(&'a Run, f64),
    /// A run that has ended.
    Ended(&'a Run),
}

/// What a change of the run directory would change.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stamp {
    log: Option<(SystemTime, u64)>,
    status: Option<StatusFile>,
}

impl Stamp {
    fn of(log: &Path) -> Self {
        let metadata = fs::metadata(log).ok();
        let stamp = |data: &fs::Metadata| Some((data.modified().ok()?, data.len()));
        Self {
            log: metadata.as_ref().and_then(stamp),
            status: StatusFile::beside(log),
        }
    }

    /// The run says that it has ended.
    fn has_ended(&self) -> bool {
        let status = self.status.as_ref();
        status.is_some_and(|status| status.outcome != "running")
    }
}

fn log_of(path: &Path) -> PathBuf {
    let named = path.extension().is_some_and(|extension| extension == "h5");
    if path.is_file() || named {
        path.to_owned()
    } else {
        path.join("run.h5")
    }
}

fn watch(path: &Path, pace: Pace, show: &mut dyn FnMut(&Shown<'_>) -> Outcome) -> Outcome {
    let log = log_of(path);
    let mut seen: Option<Stamp> = None;
    let mut run: Option<Run> = None;
    let mut changed = Instant::now();
    loop {
        // The order matters: a writer that is gone by now has written all it will.
        let writer = Writer::of(&log);
        let stamp = Stamp::of(&log);
        if seen.as_ref() != Some(&stamp) {
            changed = Instant::now();
            if stamp.log.is_some() {
                let paths = [log.clone()];
                run = super::open(&paths)?.pop();
            }
        }
        match &run {
            Some(run) if stamp.has_ended() => return show(&Shown::Ended(run)),
            Some(run) => show(&Shown::Live(run, age(run)))?,
            None => show(&Shown::Waiting(&log, pace.patience))?,
        }
        if let (Writer::Gone(who), Some(run)) = (&writer, &run) {
            show(&Shown::Ended(run))?;
            let message = format!("{who}, which wrote the run, is gone without a last word");
            return Err(Failure::new(ENVIRONMENT, message)
                .hint("what is in the log is complete up to its last iteration"));
        }
        if changed.elapsed() >= pace.patience {
            let whose = match writer {
                Writer::Alive(who) => format!("{who} holds its lock"),
                Writer::Nobody | Writer::Gone(_) => "nobody writes to it".to_owned(),
            };
            let message = format!(
                "nothing new in {} for {} s; {whose}",
                log.display(),
                pace.patience.as_secs()
            );
            return Err(Failure::new(ENVIRONMENT, message)
                .hint("--patience SECONDS waits longer; long iterations take their time"));
        }
        seen = Some(stamp);
        std::thread::sleep(pace.every);
    }
}

/// What is waited for, and what of it is not there.
fn waiting(log: &Path, patience: Duration) -> String {
    let seconds = patience.as_secs_f64();
    let missing = match log.parent() {
        Some(directory) if !directory.as_os_str().is_empty() && !directory.is_dir() => {
            format!("there is no directory {} yet; ", directory.display())
        }
        _ => String::new(),
    };
    format!(
        "{missing}waiting for {}, up to {seconds} s (--patience)",
        log.display()
    )
}

/// Seconds since the last iteration in the log.
fn age(run: &Run) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(f64::NAN, |since| since.as_secs_f64());
    let times = run.reader.series("time").unwrap_or_default();
    times.last().map_or(f64::NAN, |last| (now - last).max(0.0))
}

/// A terminal that is drawn over, or lines one after the other.
struct Screen {
    term: Option<Term>,
    /// Lines on the terminal that the next view replaces.
    lines: usize,
    /// The last line, where nothing can be drawn over.
    said: String,
}

impl Screen {
    fn show(&mut self, shown: &Shown<'_>) -> Outcome {
        match shown {
            Shown::Ended(run) => {
                self.replace("")?;
                output::print(&table::render(std::slice::from_ref(*run)))
            }
            Shown::Waiting(log, patience) => {
                let text = waiting(log, *patience);
                match self.term {
                    Some(_) => self.replace(&format!("{text}\n")),
                    None => self.say(text),
                }
            }
            Shown::Live(run, age) => match &self.term {
                Some(term) => {
                    let (rows, columns) = term.size();
                    let (rows, columns) = (usize::from(rows), usize::from(columns));
                    let lines = view::lines(run, *age, columns.max(40), rows.max(8) - 1);
                    self.replace(
                        &lines
                            .iter()
                            .map(|line| format!("{line}\n"))
                            .collect::<String>(),
                    )
                }
                None => self.say(view::line(run, WIDTH)),
            },
        }
    }

    fn replace(&mut self, text: &str) -> Outcome {
        let Some(term) = &mut self.term else {
            return Ok(());
        };
        let drawn = term
            .clear_last_lines(self.lines)
            .and_then(|()| term.write_all(text.as_bytes()))
            .and_then(|()| term.flush());
        self.lines = text.lines().count();
        drawn.map_err(|error| {
            let message = format!("failed to write to the terminal: {error}");
            Failure::new(ENVIRONMENT, message)
        })
    }

    /// Says a line unless it is the same as the last one.
    fn say(&mut self, line: String) -> Outcome {
        if self.said != line {
            output::print(&format!("{line}\n"))?;
            self.said = line;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::written;
    use super::*;

    const QUICK: Pace = Pace {
        every: Duration::from_millis(5),
        patience: Duration::from_millis(200),
    };

    fn status(directory: &Path, outcome: &str) {
        let text =
            format!("{{\"outcome\": \"{outcome}\", \"iterations\": 20, \"exit_code\": null}}");
        fs::write(directory.join("status.json"), text).unwrap();
    }

    /// What was shown, in words.
    fn watched(path: &Path, pace: Pace) -> (Vec<String>, Outcome) {
        let mut list = vec![];
        let outcome = watch(path, pace, &mut |shown| {
            let word = match shown {
                Shown::Waiting(..) => "waiting".to_owned(),
                Shown::Live(run, _) => format!("live {}", run.summary.iterations),
                Shown::Ended(run) => format!("ended {}", run.summary.iterations),
            };
            if list.last() != Some(&word) {
                list.push(word);
            }
            Ok(())
        });
        (list, outcome)
    }

    #[test]
    fn a_run_is_followed_from_before_its_log_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let writer = std::thread::spawn(move || {
            let pause = || std::thread::sleep(Duration::from_millis(150));
            pause();
            status(&path, "running");
            written(&path, "t", 5);
            pause();
            fs::remove_file(path.join("run.h5")).unwrap();
            written(&path, "t", 9);
            pause();
            status(&path, "done");
        });
        let patient = Pace {
            patience: Duration::from_secs(20),
            ..QUICK
        };
        let (mut shown, outcome) = watched(dir.path(), patient);
        writer.join().unwrap();
        assert!(outcome.is_ok());
        // A log is there before its first iteration.
        shown.retain(|word| word != "live 0");
        assert_eq!(shown, ["waiting", "live 5", "live 9", "ended 9"]);
    }

    #[test]
    fn nobody_waits_for_a_run_that_will_not_go_on() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), "t", 5);
        status(dir.path(), "running");
        let (shown, outcome) = watched(dir.path(), QUICK);
        let silent = outcome.err().unwrap();
        assert!(silent.message.contains("nobody writes to it"), "{silent}");
        assert_eq!(shown, ["live 5"]);
        // A process that was killed leaves its lock behind.
        let lock = "pid = 2147483000\nstart = 1\nhost = HOST\njob = \nrestarts = 0\n";
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        fs::write(
            dir.path().join("run.h5.lock"),
            lock.replace("HOST", host.trim()),
        )
        .unwrap();
        let patient = Pace {
            patience: Duration::from_secs(20),
            ..QUICK
        };
        let (shown, outcome) = watched(dir.path(), patient);
        let gone = outcome.err().unwrap();
        assert!(gone.message.contains("process 2147483000"), "{gone}");
        assert_eq!(shown, ["live 5", "ended 5"]);
        let nowhere = dir.path().join("nowhere");
        assert_eq!(watched(&nowhere, QUICK).0, ["waiting"]);
        let text = waiting(&log_of(&nowhere), Duration::from_secs(600));
        assert!(text.starts_with("there is no directory "), "{text}");
        assert!(text.contains("nowhere/run.h5, up to 600 s"), "{text}");
        let text = waiting(&log_of(dir.path()), Duration::from_secs(1));
        assert!(text.starts_with("waiting for "), "{text}");
    }
}
