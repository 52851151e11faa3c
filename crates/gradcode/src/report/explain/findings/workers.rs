//! What stands out of the workers, in sentences.

use super::super::super::format::{duration, percent, significant};
use super::super::Explanation;
use super::super::stragglers::{AgainstPlan, Kind, Worker};
use super::{Findings, Tone};

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

/// Who was late, how often beside the plan, and whose gradients were refused.
pub fn stragglers(list: &mut Findings, run: &Explanation) {
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
