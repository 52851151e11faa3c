//! What cannot stand side by side: a run's findings in sentences, its deadline, plans and workers.

use std::fmt::Write;

use super::Run;
use super::explain::findings::Tone;
use super::explain::stragglers::{AgainstPlan, Kind, Worker};
use super::format::{duration, percent, significant};

/// Workers listed per run; of more, those late most often are shown.
const WORKERS_SHOWN: usize = 16;
/// Plans listed.
const PLANS_SHOWN: usize = 8;
/// Widths listed, of all plans.
const WIDTHS_SHOWN: usize = 24;
/// Characters in a line.
const WIDTH: usize = 110;

/// What stands out.
pub fn findings(text: &mut String, run: &Run) {
    let list = &run.explanation.findings;
    if list.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nwhat stands out");
    for finding in list {
        let mark = match finding.tone {
            Tone::Warning => '!',
            Tone::Note => '-',
            Tone::Good => '+',
        };
        for (i, line) in wrapped(&finding.text, WIDTH - 4).into_iter().enumerate() {
            let _ = writeln!(text, "  {} {line}", if i == 0 { mark } else { ' ' });
        }
    }
}

/// Everything about one run that has a table of its own.
pub fn details(text: &mut String, run: &Run, several: bool) {
    let of_run = if several {
        format!(" of {}", run.label)
    } else {
        String::new()
    };
    if several {
        let mut own = String::new();
        findings(&mut own, run);
        text.push_str(&own.replacen("what stands out", &format!("what stands out{of_run}"), 1));
    }
    deadlines(text, run, &of_run);
    plans(text, run, &of_run);
    quantization(text, run, &of_run);
    workers(text, run, &of_run);
}

/// `text` in lines of at most `width` characters, cut at blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn deadlines(text: &mut String, run: &Run, of_run: &str) {
    let deadline = &run.explanation.deadline;
    if let Some(why) = deadline.why_none(&run.explanation.circumstances) {
        let _ = writeln!(text, "\nthe deadline{of_run}: {why}");
    }
    if deadline.what_if.is_empty() {
        return;
    }
    let [least, median, most] = deadline.seconds.map(duration);
    let range = if least == most {
        median
    } else {
        format!("{median} (from {least} to {most})")
    };
    let _ = writeln!(
        text,
        "\nthe deadline{of_run}: {range}; shorter ones, replayed on these arrivals"
    );
    let _ = writeln!(
        text,
        "  {:>10}  {:>12}  {:>15}  {:>12}",
        "deadline", "time saved", "gradients kept", "empty rounds"
    );
    for other in &deadline.what_if {
        let _ = writeln!(
            text,
            "  {:>10}  {:>12}  {:>15}  {:>12}",
            duration(other.deadline),
            percent(other.time_saved),
            percent(other.gradients_kept),
            percent(other.empty)
        );
    }
}

fn plans(text: &mut String, run: &Run, of_run: &str) {
    let plans = &run.explanation.events.plans;
    if plans.len() < 2 {
        return;
    }
    let _ = writeln!(text, "\nplans{of_run}");
    let _ = writeln!(
        text,
        "  {:>10}  {:>10}  {:>12}  {:>8}  {:>4}  why",
        "from", "S", "error bound", "sum bits", "load"
    );
    for plan in plans.iter().take(PLANS_SHOWN) {
        let line = format!(
            "  {:>10}  {:>10}  {:>12}  {:>8}  {:>4}  {}",
            plan.iteration,
            significant(plan.scaling_s, 4),
            significant(plan.error_bound, 4),
            plan.bits.iter().sum::<i64>(),
            plan.load.iter().sum::<i64>(),
            plan.reason
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if plans.len() > PLANS_SHOWN {
        let _ = writeln!(
            text,
            "  and {} more (--json lists all)",
            plans.len() - PLANS_SHOWN
        );
    }
}

fn quantization(text: &mut String, run: &Run, of_run: &str) {
    let widths = &run.explanation.quantization.widths;
    if !widths.iter().any(|width| width.messages > 0) {
        return;
    }
    let _ = writeln!(
        text,
        "\nquantization errors phi{of_run}, planned and measured"
    );
    let _ = writeln!(
        text,
        "  {:>10}  {:>4}  {:>10}  {:>10}  {:>9}  {:>8}  {:>17}",
        "from", "bits", "planned", "measured", "+-", "messages", "measured/planned"
    );
    for width in widths.iter().take(WIDTHS_SHOWN) {
        let number = |value: f64| match value.is_finite() {
            true => format!("{value:.3e}"),
            false => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "  {:>10}  {:>4}  {:>10}  {:>10}  {:>9}  {:>8}  {:>17}",
            width.from,
            width.bits,
            number(width.planned),
            number(width.measured),
            number(width.standard_error),
            width.messages,
            significant(width.measured / width.planned, 3)
        );
    }
    if widths.len() > WIDTHS_SHOWN {
        let _ = writeln!(
            text,
            "  and {} more (--json lists all)",
            widths.len() - WIDTHS_SHOWN
        );
    }
}

/// Indices of the workers to show, and whether that is not all.
pub fn shown(all: &[Worker], most: usize) -> (Vec<usize>, bool) {
    let mut order: Vec<usize> = (0..all.len()).collect();
    if all.len() <= most {
        return (order, false);
    }
    let share = |i: usize| {
        if all[i].asked == 0 {
            -1.0
        } else {
            all[i].late_share
        }
    };
    order.sort_by(|&a, &b| share(b).total_cmp(&share(a)).then(a.cmp(&b)));
    order.truncate(most);
    (order, true)
}

/// What there is to say about a worker, in a few words.
pub fn remark(worker: &Worker) -> String {
    let mut words = vec![];
    if worker.kind != Kind::Idle {
        words.push(worker.kind.word().to_owned());
    }
    match worker.against_plan {
        AgainstPlan::AsPlanned => {}
        AgainstPlan::MoreOften => words.push("more than planned".into()),
        AgainstPlan::LessOften => words.push("less than planned".into()),
    }
    if worker.bursts {
        words.push("in bursts".into());
    }
    if worker.changed {
        words.push(format!(
            "{} then {}",
            percent(worker.late_first_half),
            percent(worker.late_second_half)
        ));
    }
    if worker.slowness > 1.5 {
        words.push(format!(
            "{}x the usual arrival",
            significant(worker.slowness, 2)
        ));
    }
    if worker.refused > 0.0 {
        words.push(format!("{} refused", worker.refused));
    }
    words.join(", ")
}

fn workers(text: &mut String, run: &Run, of_run: &str) {
    let (order, partial) = shown(&run.explanation.workers, WORKERS_SHOWN);
    let all = run.explanation.workers.len();
    if partial {
        let _ = writeln!(
            text,
            "\nworkers{of_run}, the {WORKERS_SHOWN} of {all} late most often (--json lists all)"
        );
    } else {
        let _ = writeln!(text, "\nworkers{of_run}");
    }
    let _ = writeln!(
        text,
        "  {:>6}  {:>4}  {:>5}  {:>7}  {:>13}  {:>6}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  remarks",
        "worker",
        "bits",
        "parts",
        "planned",
        "late",
        "in row",
        "arrival",
        "90%",
        "compute",
        "encode",
        "wire"
    );
    for i in order {
        let (planned, worker) = (&run.summary.per_worker[i], &run.explanation.workers[i]);
        let optional = |number: Option<i64>| {
            number.map_or_else(|| "-".to_owned(), |number| number.to_string())
        };
        let late = match worker.asked {
            0 => "not asked".to_owned(),
            _ => format!("{} ({})", worker.late, percent(worker.late_share)),
        };
        let line = format!(
            "  {i:>6}  {:>4}  {:>5}  {:>7}  {late:>13}  {:>6}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {}",
            optional(planned.bits_per_coordinate),
            optional(planned.load),
            percent(planned.straggle_probability),
            worker.longest_streak,
            duration(worker.arrival[1]),
            duration(worker.arrival[2]),
            duration(worker.compute),
            duration(worker.encode),
            duration(worker.wire),
            remark(worker),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_blanks() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("longer-than-that x", 4), ["longer-than-that", "x"]);
    }
}
