//! The report on the terminal: the same rows for one run and for several side by side, then each
//! run's workers.

use crate::headline;
use std::fmt::Write;

use run_log::{AttributeValue, Summary, WorkerSummary};

use super::explain::compression::Verdict;
use super::explain::time::{ACTIVITIES, Activity};
use super::format::{duration, percent, si, significant};
use super::{Run, story};

/// Columns are cut to this width when runs stand side by side.
const COLUMN: usize = 34;

/// A heading and its rows: label, one value per run.
pub struct Section {
    /// What the rows are about.
    pub heading: &'static str,
    /// Label, indented by two blanks where it is part of the row above, and values.
    pub rows: Vec<(String, Vec<String>)>,
}

impl Section {
    fn new(heading: &'static str) -> Self {
        Self {
            heading,
            rows: vec![],
        }
    }

    fn row(&mut self, label: impl Into<String>, runs: &[Run], value: impl Fn(&Summary) -> String) {
        self.row_of_run(label, runs, |run| value(&run.summary));
    }

    fn row_of_run(
        &mut self,
        label: impl Into<String>,
        runs: &[Run],
        value: impl Fn(&Run) -> String,
    ) {
        let values: Vec<String> = runs.iter().map(value).collect();
        // A row that no run can fill says nothing.
        if values.iter().any(|value| !value.is_empty() && value != "-") {
            self.rows.push((label.into(), values));
        }
    }
}

/// What can stand side by side; sections without rows are left out.
pub fn sections(runs: &[Run]) -> Vec<Section> {
    let all = [
        facts(runs),
        quality(runs),
        time(runs),
        iteration(runs),
        traffic(runs),
        compression(runs),
    ];
    all.into_iter()
        .filter(|section| !section.rows.is_empty())
        .collect()
}

/// The whole report.
pub fn render(runs: &[Run]) -> String {
    let sections = sections(runs);
    let label_width = sections
        .iter()
        .flat_map(|section| &section.rows)
        .map(|(label, _)| label.chars().count())
        .max()
        .unwrap_or(0)
        + 2;
    let column_of = |i: usize| {
        let widest = sections
            .iter()
            .flat_map(|section| &section.rows)
            .map(|(_, values)| values[i].chars().count())
            .max();
        widest.unwrap_or(0).max(runs[i].label.chars().count())
    };
    let several = runs.len() > 1;
    let widths: Vec<usize> = (0..runs.len())
        .map(|i| {
            if several {
                column_of(i).min(COLUMN)
            } else {
                column_of(i)
            }
        })
        .collect();

    let mut text = String::new();
    if let [run] = runs {
        let _ = writeln!(text, "{}", run.label);
    } else {
        let labels: Vec<String> = runs.iter().map(|run| run.label.clone()).collect();
        line(&mut text, "", &labels, label_width, &widths);
    }
    if let [run] = runs {
        story::findings(&mut text, run);
    }
    for section in &sections {
        let _ = writeln!(text, "\n{}", section.heading);
        for (label, values) in &section.rows {
            line(&mut text, label, values, label_width, &widths);
        }
    }
    for run in runs {
        story::details(&mut text, run, several);
    }
    text
}

fn line(text: &mut String, label: &str, values: &[String], label_width: usize, widths: &[usize]) {
    let mut line = format!("  {label:<label_width$}");
    for (value, &width) in values.iter().zip(widths) {
        let value = if value.is_empty() { "-" } else { value };
        let _ = write!(line, "{:<width$}  ", shortened(value, width));
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

/// `text`, or its beginning with an ellipsis.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars()
        .take(width.saturating_sub(1))
        .chain(['\u{2026}'])
        .collect()
}

/// An attribute of the log's root; empty if it has none of this name.
pub fn attribute(summary: &Summary, name: &str) -> String {
    match summary.attributes.get(name) {
        Some(AttributeValue::Real(number)) => significant(*number, 4),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

fn facts(runs: &[Run]) -> Section {
    let mut section = Section::new("run");
    section.row("log", runs, |s| s.path.clone());
    section.row("started", runs, |s| {
        let restarts = s.segments.saturating_sub(1);
        let date = attribute(s, "date_created");
        match restarts {
            0 => date,
            1 => format!("{date}, resumed once"),
            _ => format!("{date}, resumed {restarts} times"),
        }
    });
    section.row("by", runs, |s| {
        let commit: String = attribute(s, "git_commit").chars().take(10).collect();
        let dirty = if attribute(s, "git_dirty") == "1" {
            " with local changes"
        } else {
            ""
        };
        let commit = if commit.is_empty() {
            String::new()
        } else {
            format!(", commit {commit}{dirty}")
        };
        format!("{}{commit}", attribute(s, "source"))
    });
    section.row("seed", runs, |s| attribute(s, "seed"));
    section.row("iterations", runs, |s| s.iterations.to_string());
    section.row("workers", runs, |s| {
        match attribute(s, "mpi_ranks").parse() {
            Ok(0 | 1u64) | Err(_) => s.workers.to_string(),
            Ok(ranks) => format!("{} on {ranks} ranks", s.workers),
        }
    });
    section.row("hosts", runs, |s| attribute(s, "hosts"));
    section.row("device", runs, |s| attribute(s, "device"));
    section.row("parameters", runs, |s| {
        match attribute(s, "dimension").as_str() {
            "0" => String::new(),
            text => text.to_owned(),
        }
    });
    section.row("scheme", runs, |s| match s.plans {
        0 | 1 => s.scheme.clone(),
        plans => format!("{}, planned {plans} times", s.scheme),
    });
    section.row("bits per coordinate", runs, |s| {
        bits_per_coordinate(&s.per_worker)
    });
    section
}

/// `6 6 7 7`, or the range and mean of more than 12 workers.
fn bits_per_coordinate(workers: &[WorkerSummary]) -> String {
    let bits: Vec<i64> = workers
        .iter()
        .filter_map(|worker| worker.bits_per_coordinate)
        .collect();
    let (Some(least), Some(most)) = (bits.iter().min(), bits.iter().max()) else {
        return String::new();
    };
    let sum: i64 = bits.iter().sum();
    if bits.len() <= 12 {
        let list: Vec<String> = bits.iter().map(ToString::to_string).collect();
        format!("{} (sum {sum})", list.join(" "))
    } else {
        format!(
            "{least} to {most}, mean {} (sum {sum})",
            significant(sum as f64 / bits.len() as f64, 3)
        )
    }
}

fn quality(runs: &[Run]) -> Section {
    let mut section = Section::new("quality");
    section.row("training loss, first", runs, |s| {
        significant(s.loss.first, 4)
    });
    section.row("training loss, last", runs, |s| significant(s.loss.last, 4));
    section.row("training loss, lowest (smoothed)", runs, |s| {
        significant(s.loss.minimum, 4)
    });
    let mut names: Vec<&String> = runs
        .iter()
        .flat_map(|run| run.summary.metrics.r#final.keys())
        .collect();
    names.sort();
    names.dedup();
    for name in names {
        section.row(format!("held-out {name}, final"), runs, |s| {
            s.metrics
                .r#final
                .get(name)
                .map(|m| significant(m.value, 4))
                .unwrap_or_default()
        });
        if headline::is_detail(name) {
            continue;
        }
        section.row(format!("held-out {name}, best"), runs, |s| {
            let best = s.metrics.best.get(name);
            best.map(|m| format!("{} after {}", significant(m.value, 4), m.iteration))
                .unwrap_or_default()
        });
    }
    section.row_of_run("gradient's relative error, root mean square", runs, |run| {
        let accuracy = &run.explanation.accuracy;
        match accuracy.samples {
            0 => String::new(),
            samples => format!("{} ({samples} samples)", significant(accuracy.measured, 3)),
        }
    });
    section.row_of_run("  the plan's bound, partitions alike", runs, |run| {
        let accuracy = &run.explanation.accuracy;
        match accuracy.samples {
            0 => String::new(),
            _ => significant(accuracy.predicted, 3),
        }
    });
    section
}

fn time(runs: &[Run]) -> Section {
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
fn iteration(runs: &[Run]) -> Section {
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

fn traffic(runs: &[Run]) -> Section {
    let mut section = Section::new("what was sent");
    let bits = |bits: u64| si(bits as f64, "bit");
    section.row("workers to master", runs, |s| bits(s.totals.bits_up));
    section.row("  of this, quantized gradients", runs, |s| {
        bits(s.totals.bits_up_payload)
    });
    section.row("  had nobody been late", runs, |s| {
        bits(s.totals.bits_up_offered)
    });
    section.row("  the same gradients as f32", runs, |s| {
        s.totals.bits_up_f32.map(bits).unwrap_or_default()
    });
    section.row("master to workers", runs, |s| bits(s.totals.bits_down));
    section.row("gradients on time", runs, |s| {
        let Summary {
            totals,
            responders_mean,
            ..
        } = s;
        format!(
            "{} ({} per iteration)",
            totals.responders,
            significant(*responders_mean, 3)
        )
    });
    section.row("gradients late", runs, |s| {
        let asked = s.totals.responders + s.totals.late + s.totals.refused;
        if asked == 0 {
            return String::new();
        }
        format!(
            "{} ({})",
            s.totals.late,
            percent(s.totals.late as f64 / asked as f64)
        )
    });
    section.row("frames refused", runs, |s| s.totals.refused.to_string());
    section
}

fn compression(runs: &[Run]) -> Section {
    let mut section = Section::new("what compression saved and cost");
    section.row("bits saved", runs, |s| match s.totals.compression_saved {
        saved if saved < 0.0 => format!("none (cost {})", percent(-saved)),
        saved => percent(saved),
    });
    let seconds = |value: f64| match value {
        value if value.is_finite() => duration(value),
        _ => String::new(),
    };
    section.row_of_run("measured bandwidth of a frame", runs, |run| {
        let balance = &run.explanation.compression;
        match balance.latency {
            latency if latency > 0.0 => {
                format!(
                    "{} after {}",
                    si(balance.bandwidth, "bit/s"),
                    duration(latency)
                )
            }
            _ => si(balance.bandwidth, "bit/s"),
        }
    });
    section.row_of_run("slowest frame of each round, under way", runs, |run| {
        seconds(run.explanation.compression.wire)
    });
    section.row_of_run("  the same as f32", runs, |run| {
        seconds(run.explanation.compression.wire_f32)
    });
    section.row_of_run("encoding and decoding", runs, |run| {
        let balance = &run.explanation.compression;
        seconds(balance.encode + balance.decode)
    });
    section.row_of_run("on balance", runs, |run| {
        let balance = &run.explanation.compression;
        match balance.verdict {
            Verdict::Uncompressed => "not compressed".to_owned(),
            Verdict::Unknown => String::new(),
            Verdict::Even => "neither saved nor cost time".to_owned(),
            Verdict::Paid => format!("saved {}", duration(balance.net)),
            Verdict::Cost => format!("cost {}", duration(-balance.net)),
        }
    });
    let each = |run: &Run, value: f64| value / run.summary.iterations as f64;
    section.row_of_run("an iteration: bytes saved", runs, |run| {
        let s = &run.summary;
        match s.totals.bits_up_f32 {
            Some(plain) if plain > s.totals.bits_up => {
                si(each(run, (plain - s.totals.bits_up) as f64 / 8.0), "B")
            }
            _ => String::new(),
        }
    });
    section.row_of_run("  seconds of transfer saved", runs, |run| {
        let balance = &run.explanation.compression;
        seconds(each(run, balance.wire_f32 - balance.wire))
    });
    section.row_of_run("  seconds of encoding", runs, |run| {
        seconds(each(run, run.explanation.compression.encode))
    });
    section.row_of_run("  seconds of decoding", runs, |run| {
        seconds(each(run, run.explanation.compression.decode))
    });
    section.row_of_run("noise it adds to that of stragglers", runs, |run| {
        let quantization = &run.explanation.quantization;
        match quantization.noise_over_straggling {
            noise if noise.is_finite() && quantization.all_measured => percent(noise),
            noise if noise.is_finite() => format!("{} (by the plan's phi)", percent(noise)),
            _ => String::new(),
        }
    });
    section.row("pays on links below", runs, |s| {
        match s.totals.compression_pays_below {
            speed if speed > 0.0 && s.totals.seconds.round > 0.0 => si(speed, "bit/s"),
            _ => String::new(),
        }
    });
    section
}

#[cfg(test)]
mod tests {
    use super::super::testing::opened;
    use super::*;

    #[test]
    fn one_run() {
        let dir = tempfile::tempdir().unwrap();
        let text = render(&[opened(dir.path(), "the title", 10)]);
        assert!(text.starts_with("the title\n"), "{text}");
        let value = |label: &str| {
            let line = text
                .lines()
                .find(|line| line.trim_start().starts_with(label));
            line.unwrap_or_else(|| panic!("no {label} in\n{text}"))
                .split_once(label)
                .unwrap()
                .1
                .trim()
                .to_owned()
        };
        assert_eq!(value("bits per coordinate"), "4 2 0 (sum 6)");
        assert_eq!(value("held-out AP50, best"), "0.75 after 10");
        // 10 rounds of 0.5 s, 0.5 s apart; half of each waiting, to the last arrival and then for frames.
        assert_eq!(
            value("from start to last iteration"),
            "9.5 s             2 rounds/s"
        );
        assert_eq!(
            value("waiting for model and header under way"),
            "1.88 s        19.7%"
        );
        assert_eq!(value("waiting for frames under way"), "625 ms         6.6%");
        assert_eq!(value("the same gradients as f32"), "480 kbit");
        assert_eq!(value("bits saved"), "88.0%");
        assert_eq!(value("gradients late"), "5 (25.0%)");
        assert!(
            !text.contains("relative error"),
            "rows without values are left out:\n{text}"
        );
        let of_worker = |i: usize| {
            text.lines()
                .rev()
                .nth(2 - i)
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            of_worker(1),
            "1 2 1 50.0% 5 (50.0%) 1 250 ms 250 ms - - - chronic"
        );
        assert_eq!(of_worker(2), "2 0 0 90.0% not asked 0 - - - - -");
        assert!(
            text.lines().all(|line| line.trim_end() == line),
            "no trailing blanks"
        );
    }

    #[test]
    fn runs_stand_side_by_side() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let text = render(&[opened(a.path(), "a", 10), opened(b.path(), "b", 20)]);
        let line = text
            .lines()
            .find(|line| line.contains("iterations"))
            .unwrap();
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>(),
            ["iterations", "10", "20"]
        );
        assert!(text.contains("workers of b"));
    }

    #[test]
    fn a_run_without_iterations_has_a_report() {
        let dir = tempfile::tempdir().unwrap();
        let text = render(&[opened(dir.path(), "empty", 0)]);
        assert!(
            text.contains("iterations") && !text.contains("NaN") && !text.contains("inf"),
            "{text}"
        );
    }

    #[test]
    fn long_values_are_cut_by_characters() {
        assert_eq!(
            shortened("\u{3b2}\u{3b2}\u{3b2}\u{3b2}", 3),
            "\u{3b2}\u{3b2}\u{2026}"
        );
        assert_eq!(shortened("abc", 3), "abc");
    }
}
