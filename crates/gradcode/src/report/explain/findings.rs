//! What stands out in a run, in sentences.

use run_log::Summary;
use serde::Serialize;

use super::super::format::{duration, percent, si, significant};
use super::Explanation;
use super::compression::Verdict;
use super::stragglers::{AgainstPlan, Kind, Worker};
use super::time::{Activity, Part};

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// Something to act on.
    Warning,
    /// Something to know.
    Note,
    /// Something that went well.
    Good,
}

/// One sentence or two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// How it is meant.
    pub tone: Tone,
    /// What it is about: `ending`, `time`, `deadline`, `stragglers`, `compression`, `accuracy`, `quantization`, `plan`,
    /// `refused`.
    pub about: &'static str,
    /// The words.
    pub text: String,
}

/// A share of the wall time that is worth mentioning.
const LARGE: f64 = 0.2;

/// What stands out, warnings first and otherwise in the order of the questions.
pub fn of(run: &Explanation, summary: &Summary) -> Vec<Finding> {
    let mut list = Findings(vec![]);
    if summary.iterations == 0 {
        ending(&mut list, run, summary);
        list.add(
            Tone::Note,
            "ending",
            "no iteration has been logged yet".into(),
        );
        return list.0;
    }
    ending(&mut list, run, summary);
    time(&mut list, run);
    deadline(&mut list, run, summary);
    stragglers(&mut list, run);
    compression(&mut list, run, summary);
    accuracy(&mut list, run);
    quantization(&mut list, run);
    plans(&mut list, run);
    list.0.sort_by_key(|finding| finding.tone != Tone::Warning);
    list.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, tone: Tone, about: &'static str, text: String) {
        self.0.push(Finding { tone, about, text });
    }
}

/// `3`, `3 and 4`, `3, 4 and 5`, or `3, 4, 5, 6, 7, 8 and 12 more`.
fn listed(workers: &[usize]) -> String {
    let words: Vec<String> = workers.iter().map(ToString::to_string).collect();
    match words.len() {
        0 | 1 => words.concat(),
        n if n > 8 => format!("{} and {} more", words[..6].join(", "), n - 6),
        n => format!("{} and {}", words[..n - 1].join(", "), words[n - 1]),
    }
}

/// `worker 3` or `workers 3 and 4`.
fn workers(numbers: &[usize]) -> String {
    let plural = if numbers.len() == 1 { "" } else { "s" };
    format!("worker{plural} {}", listed(numbers))
}

fn numbers<'a>(list: impl IntoIterator<Item = &'a Worker>) -> Vec<usize> {
    list.into_iter().map(|worker| worker.worker).collect()
}

fn ending(list: &mut Findings, run: &Explanation, summary: &Summary) {
    let Some(status) = &run.events.status else {
        return;
    };
    let message = status.message.as_deref().unwrap_or("it does not say why");
    match status.outcome.as_str() {
        "failed" => list.add(
            Tone::Warning,
            "ending",
            format!("the run failed: {message}"),
        ),
        "stopped" => list.add(Tone::Note, "ending", format!("the run was {message}")),
        "running" => list.add(
            Tone::Note,
            "ending",
            format!(
                "the run goes on, or was killed without a word: {} of {} iterations are in the log",
                summary.iterations, status.iterations
            ),
        ),
        _ => {}
    }
    for lost in &status.lost_workers {
        let text = format!(
            "worker {} was lost at iteration {} ({}); the run went on without it",
            lost.worker, lost.iteration, lost.reason
        );
        list.add(Tone::Warning, "ending", text);
    }
}

fn time(list: &mut Findings, run: &Explanation) {
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

fn deadline(list: &mut Findings, run: &Explanation, summary: &Summary) {
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

fn stragglers(list: &mut Findings, run: &Explanation) {
    let all = || run.workers.iter();
    let describe = |worker: &Worker| format!("{} ({})", worker.worker, percent(worker.late_share));
    let described = |chosen: &[&Worker]| -> String {
        let words: Vec<String> = chosen.iter().take(6).map(|w| describe(w)).collect();
        let more = chosen.len().saturating_sub(6);
        if more > 0 {
            format!("{} and {more} more", words.join(", "))
        } else {
            words.join(", ")
        }
    };
    let mut chronic: Vec<&Worker> = all().filter(|w| w.kind == Kind::Chronic).collect();
    chronic.sort_by(|a, b| b.late_share.total_cmp(&a.late_share));
    if !chronic.is_empty() {
        let planned = chronic
            .iter()
            .all(|w| w.against_plan != AgainstPlan::MoreOften);
        let (tone, as_planned) = if planned {
            (Tone::Note, ", as planned")
        } else {
            (Tone::Warning, "")
        };
        let noun = if chronic.len() == 1 {
            "a chronic straggler"
        } else {
            "chronic stragglers"
        };
        let text = format!(
            "{noun}, late half of the time or more: {}{as_planned}",
            described(&chronic)
        );
        list.add(tone, "stragglers", text);
    }
    for (against, how_often, it_counts) in [
        (AgainstPlan::MoreOften, "more", "counts for too little"),
        (AgainstPlan::LessOften, "less", "counts for too much"),
    ] {
        let chosen: Vec<&Worker> = all().filter(|w| w.against_plan == against).collect();
        if chosen.is_empty() {
            continue;
        }
        // Weights found per round do not rest on the probabilities.
        let it_counts = if run.accuracy.counted.is_empty() {
            "the plan would be another one".to_owned()
        } else {
            format!("what they send {it_counts}")
        };
        let compared = |w: &&Worker| {
            format!(
                "{} ({}, planned {})",
                w.worker,
                percent(w.late_share),
                percent(w.planned)
            )
        };
        let mut words: Vec<String> = chosen.iter().take(6).map(compared).collect();
        if chosen.len() > 6 {
            words.push(format!("and {} more", chosen.len() - 6));
        }
        let plural = if chosen.len() == 1 { "" } else { "s" };
        let text = format!(
            "late {how_often} often than planned: worker{plural} {}; {it_counts} (straggler.probabilities takes measured values)",
            words.join(", ")
        );
        list.add(Tone::Warning, "stragglers", text);
    }
    let bursts = numbers(all().filter(|worker| worker.bursts));
    if !bursts.is_empty() {
        let text = format!(
            "lateness of {} comes in bursts, while the plan takes rounds to be independent",
            workers(&bursts)
        );
        list.add(Tone::Note, "stragglers", text);
    }
    for worker in all().filter(|worker| worker.changed).take(6) {
        let text = format!(
            "worker {} changed on the way: late in {} of the first half of its iterations, in {} of the second",
            worker.worker,
            percent(worker.late_first_half),
            percent(worker.late_second_half)
        );
        list.add(Tone::Note, "stragglers", text);
    }
    let slow: Vec<&Worker> = all().filter(|worker| worker.slowness > 1.5).collect();
    for worker in slow.iter().take(6) {
        let text = format!(
            "worker {} is slow also when in time: its median arrival, {}, is {} times the usual one",
            worker.worker,
            duration(worker.arrival[1]),
            significant(worker.slowness, 2)
        );
        list.add(Tone::Note, "stragglers", text);
    }
    let refused = numbers(all().filter(|worker| worker.refused > 0.0));
    if run.events.refused > 0 {
        let whose = if refused.is_empty() {
            String::new()
        } else {
            format!(" of {}", workers(&refused))
        };
        let text = format!(
            "{} frames or gradients{whose} {} refused as damaged or not finite",
            run.events.refused,
            if run.events.refused == 1 {
                "was"
            } else {
                "were"
            }
        );
        list.add(Tone::Warning, "refused", text);
    }
}

/// What quantization does to the decoded gradient, beside stragglers.
fn added_noise(run: &Explanation) -> String {
    let quantization = &run.quantization;
    match quantization.noise_over_straggling {
        noise if noise.is_finite() => format!(
            "; quantization adds {} to the squared error that stragglers make ({})",
            percent(noise),
            match quantization.all_measured {
                true => "measured",
                false => "by the plan's phi",
            }
        ),
        _ => String::new(),
    }
}

fn compression(list: &mut Findings, run: &Explanation, summary: &Summary) {
    let balance = &run.compression;
    let saved = summary.totals.compression_saved;
    let bits = if saved.is_finite() && saved > 0.0 {
        format!(
            "compression saved {} of the bits of plain f32",
            percent(saved)
        )
    } else {
        "compression saved no bits".to_owned()
    };
    let cost = balance.encode + balance.decode;
    let wire = balance.wire_f32 - balance.wire;
    let speed = si(balance.bandwidth, "bit/s");
    let pays_below = summary.totals.compression_pays_below;
    let each = |seconds: f64| duration(seconds / summary.iterations as f64);
    let an_iteration = format!(
        "; an iteration: {} less on the wire, {} saved, {} of encoding and {} of decoding{}",
        si(
            summary.totals.bits_up_f32.map_or(f64::NAN, |plain| {
                (plain as f64 - summary.totals.bits_up as f64) / 8.0 / summary.iterations as f64
            }),
            "B"
        ),
        each(wire.max(0.0)),
        each(balance.encode),
        each(balance.decode),
        added_noise(run)
    );
    match balance.verdict {
        Verdict::Uncompressed => {}
        Verdict::Unknown if pays_below > 0.0 => list.add(
            Tone::Note,
            "compression",
            format!(
                "{bits}; encoding and decoding it pays on links below {}{}",
                si(pays_below, "bit/s"),
                added_noise(run)
            ),
        ),
        Verdict::Unknown => {
            let noise = added_noise(run);
            list.add(Tone::Note, "compression", format!("{bits}{noise}"));
        }
        Verdict::Paid | Verdict::Even => list.add(
            Tone::Good,
            "compression",
            format!(
                "{bits}; at the measured {speed} that is {} of transfer saved for {} of encoding and decoding{an_iteration}",
                duration(wire),
                duration(cost)
            ),
        ),
        Verdict::Cost => {
            let hosts = summary.attributes.get("hosts").map(ToString::to_string);
            let one_host = hosts.is_some_and(|hosts| !hosts.contains(','));
            let (tone, advice) = if one_host {
                let speed = si(pays_below, "bit/s");
                (Tone::Note, format!("all ranks shared one host; compression pays on links below {speed}"))
            } else {
                (Tone::Warning, "on this link plain f32 would be faster".to_owned())
            };
            let text = format!(
                "{bits}, but cost time: {} of encoding and decoding for {} of transfer saved at the measured {speed}; {advice}{an_iteration}",
                duration(cost),
                duration(wire)
            );
            list.add(tone, "compression", text);
        }
    }
}

fn quantization(list: &mut Findings, run: &Explanation) {
    let measured = run.quantization.widths.iter();
    // Of the last plan, whose numbers can still be changed.
    let last = measured.clone().map(|width| width.from).max();
    let off: Vec<String> = measured
        .filter(|width| Some(width.from) == last && width.is_off())
        .map(|width| {
            format!(
                "{} times the planned {} at {} bits",
                significant(width.measured / width.planned, 2),
                significant(width.planned, 3),
                width.bits
            )
        })
        .collect();
    if !off.is_empty() {
        let text = format!(
            "quantization errors were {}: bits and data would be spread otherwise (codec.phi, replan.on_phi)",
            off.join(", ")
        );
        list.add(Tone::Note, "quantization", text);
    }
}

fn accuracy(list: &mut Findings, run: &Explanation) {
    let accuracy = &run.accuracy;
    if accuracy.samples > 0 {
        let mut text = format!(
            "the decoded gradient was off by {} (root mean square of {} comparisons)",
            percent(accuracy.measured),
            accuracy.samples
        );
        if accuracy.predicted.is_finite() {
            text.push_str(&format!(
                "; the plan's bound is {} for partitions with equal gradients",
                percent(accuracy.predicted)
            ));
        }
        list.add(Tone::Note, "accuracy", text);
    }
    let off: Vec<f64> = accuracy
        .counted
        .iter()
        .filter(|counted| counted.is_off())
        .map(|counted| counted.weight)
        .collect();
    if let (Some(least), Some(most)) = (
        off.iter().copied().reduce(f64::min),
        off.iter().copied().reduce(f64::max),
    ) {
        let text = format!(
            "the gradient was biased: {} of {} partitions counted {} instead of 1, because workers were not late as often as planned",
            off.len(),
            accuracy.counted.len(),
            if off.len() == 1 {
                significant(least, 3)
            } else {
                format!("{} to {}", significant(least, 3), significant(most, 3))
            }
        );
        list.add(Tone::Warning, "accuracy", text);
    }
}

fn plans(list: &mut Findings, run: &Explanation) {
    for plan in run.events.plans.iter().skip(1).take(4) {
        let why = if plan.reason.is_empty() {
            String::new()
        } else {
            format!(" ({})", plan.reason)
        };
        let text = format!(
            "a new plan came into force at iteration {}{why}",
            plan.iteration
        );
        list.add(Tone::Note, "plan", text);
    }
    let more = run.events.plans.len().saturating_sub(5);
    if more > 0 {
        list.add(Tone::Note, "plan", format!("{more} more plans followed"));
    }
    let restarts = run.events.segments.len().saturating_sub(1);
    if restarts > 0 {
        let times = if restarts == 1 {
            "once".into()
        } else {
            format!("{restarts} times")
        };
        list.add(Tone::Note, "ending", format!("the run was resumed {times}"));
    }
}
