//! Rows about where the time went.

use super::super::Run;
use super::super::explain::time::{ACTIVITIES, Activity};
use super::super::format::{duration, percent, significant};
use super::Section;

/// The run's time by activity.
pub fn time(runs: &[Run]) -> Section {
    let mut section = Section::new("where the time went");
    section.row_of_run("from start to last iteration", runs, |run| {
        let (time, iterations) = (&run.explanation.time, run.summary.iterations);
        match time.rounds {
            rounds if rounds > 0.0 => {
                let rate = significant(iterations as f64 / rounds, 3);
                format!("{:<13}{rate:>6} rounds/s", duration(time.wall))
            }
            _ => String::new(),
        }
    });
    section.row("the rounds in the delay model's time", runs, |s| {
        match s.totals.seconds.r#virtual {
            seconds if seconds > 0.0 => duration(seconds),
            _ => String::new(),
        }
    });
    for activity in ACTIVITIES {
        // A simulated run beside a real one has labels of its own; the first run's serve both.
        let Some(first) = runs.first() else { break };
        let label = activity.label(&first.explanation.circumstances);
        section.row_of_run(format!("  {label}"), runs, |run| {
            let part = run.explanation.time.parts[activity as usize];
            match part.seconds {
                seconds if seconds > 0.0 => {
                    format!("{:<13}{:>6}", duration(seconds), percent(part.share))
                }
                _ => String::new(),
            }
        });
    }
    section
}

/// The parts of an iteration that compression moves time between, in the mean over the run.
pub fn iteration(runs: &[Run]) -> Section {
    let mut section = Section::new("one iteration, in the mean");
    let parts: [(&str, &[Activity]); 7] = [
        ("backward", &[Activity::Compute]),
        ("encode", &[Activity::Encode]),
        ("wire", &[Activity::Frames]),
        ("decode", &[Activity::Decode]),
        ("step", &[Activity::Step]),
        (
            "waiting",
            &[Activity::Open, Activity::Travel, Activity::InVain],
        ),
        ("rest", &[Activity::Check, Activity::Round]),
    ];
    let mean = |run: &Run, seconds: f64| match seconds / run.summary.iterations as f64 {
        each if each > 0.0 => {
            let share = seconds / run.explanation.time.rounds;
            format!("{:<13}{:>6}", duration(each), percent(share))
        }
        _ => String::new(),
    };
    for (label, activities) in parts {
        section.row_of_run(label, runs, |run| {
            let seconds = activities
                .iter()
                .map(|&of| run.explanation.time.seconds(of));
            mean(run, seconds.sum())
        });
    }
    section.row_of_run("all of it", runs, |run| {
        mean(run, run.explanation.time.rounds)
    });
    section
}
