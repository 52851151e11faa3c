//! Where the time went, in sentences.

use run_log::Summary;

use super::super::super::format::{duration, percent};
use super::super::Explanation;
use super::super::time::{Activity, Part};
use super::{Findings, Tone};

/// A share of the wall time that is worth mentioning.
const LARGE: f64 = 0.2;

/// What took most of the time, and what took more than it should.
pub fn time(list: &mut Findings, run: &Explanation) {
    let time = &run.time;
    let mut parts: Vec<&Part> = time.parts.iter().collect();
    parts.sort_by(|a, b| b.share.total_cmp(&a.share));
    let named: Vec<String> = parts
        .iter()
        .take(3)
        .filter(|part| part.share >= 0.05)
        .map(|part| {
            let label = part.activity.label(&run.circumstances);
            format!("{} {label}", percent(part.share))
        })
        .collect();
    if !named.is_empty() {
        let text = format!("{} in all: {}", duration(time.wall), named.join("; "));
        list.add(Tone::Note, "time", text);
    }
    for (activity, limit, advice) in [
        (
            Activity::Log,
            0.02,
            "the file system of the run directory is slow",
        ),
        (
            Activity::Check,
            LARGE,
            "round.relative_error_every can be larger",
        ),
        (Activity::Evaluate, LARGE, "evaluation.every can be larger"),
        (
            Activity::Decode,
            LARGE,
            "the master is the bottleneck: fewer bits, fewer workers in time, or a faster master",
        ),
        (
            Activity::Frames,
            LARGE,
            "the link to the master is the bottleneck: fewer bits, or a larger mpi.grants",
        ),
    ] {
        let part = parts.iter().find(|part| part.activity == activity);
        if let Some(part) = part.filter(|part| part.share > limit) {
            let label = activity.label(&run.circumstances);
            let text = format!(
                "{} of the time went into {label}: {advice}",
                percent(part.share)
            );
            list.add(Tone::Warning, "time", text);
        }
    }
}

/// What the deadline cost: rounds without an answer, and waiting in vain.
pub fn deadline(list: &mut Findings, run: &Explanation, summary: &Summary) {
    let deadline = &run.deadline;
    let rounds = summary.iterations as f64;
    if deadline.rounds_empty > 0 {
        let share = deadline.rounds_empty as f64 / rounds;
        let tone = if share > 0.1 {
            Tone::Warning
        } else {
            Tone::Note
        };
        let text = format!(
            "nobody made the deadline in {} of {} rounds ({})",
            deadline.rounds_empty,
            summary.iterations,
            percent(share)
        );
        list.add(tone, "deadline", text);
    }
    if !deadline.waited_for || deadline.rounds_to_the_deadline == 0 {
        return;
    }
    let mut text = format!(
        "{} of {} rounds ran to the deadline for workers that did not make it, {} after the last gradient in time ({} of the run)",
        deadline.rounds_to_the_deadline,
        summary.iterations,
        duration(deadline.in_vain),
        percent(deadline.in_vain_share)
    );
    // The shortest deadline that costs next to nothing.
    let cheap = deadline
        .what_if
        .iter()
        .find(|other| other.gradients_kept >= 0.985 && other.time_saved >= 0.05);
    if let Some(other) = cheap {
        text.push_str(&format!(
            "; a deadline of {} would have saved {} of the time and lost {} of the gradients",
            duration(other.deadline),
            percent(other.time_saved),
            percent(1.0 - other.gradients_kept)
        ));
    }
    let tone = if cheap.is_some() && deadline.in_vain_share > LARGE {
        Tone::Warning
    } else {
        Tone::Note
    };
    list.add(tone, "deadline", text);
}
