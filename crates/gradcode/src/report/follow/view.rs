//! What is shown of a run that goes on.

use ndarray::Array2;
use run_log::{exponential_average, quantile, smoothing_span};

use super::super::Run;
use super::super::format::{duration, percent, significant};
use super::super::story;
use crate::headline;

/// Iterations that count as recent.
const RECENT: usize = 50;
/// Workers with a line, at most.
const WORKERS: usize = 32;

/// The recent part of a run.
struct Recent {
    /// Iterations done, the last one's number plus one.
    done: u64,
    /// Iterations planned; 0 if unknown.
    planned: u64,
    /// Per second, over the recent ones; pauses between rounds count.
    rate: f64,
    /// Share of the rounds' time spent waiting.
    waiting: f64,
    /// Share of the gradients in time.
    in_time: f64,
    /// Smoothed loss over the whole run.
    loss: Vec<f64>,
    /// Recent iterations x workers, as the log has them.
    lateness: Array2<f64>,
    arrival: Array2<f64>,
}

impl Recent {
    fn of(run: &Run) -> Self {
        let series = |name: &str| run.reader.series(name).unwrap_or_default();
        let loss = series("loss");
        let from = loss.len().saturating_sub(RECENT);
        let sum = |name: &str| -> f64 {
            series(name)
                .iter()
                .skip(from)
                .filter(|v| v.is_finite())
                .sum()
        };
        let time = series("time");
        let span = match (time.get(from), time.last()) {
            (Some(first), Some(last)) => last - first,
            _ => f64::NAN,
        };
        let rows = |name: &str| {
            let all = run.reader.per_worker(name).unwrap_or_default();
            all.slice(ndarray::s![from.min(all.nrows()).., ..])
                .to_owned()
        };
        let (responders, late) = (sum("responders"), sum("late"));
        let status = run.explanation.events.status.as_ref();
        Self {
            done: series("iteration")
                .last()
                .map_or(0, |&last| last as u64 + 1),
            planned: status.map_or(0, |status| status.iterations),
            rate: (time.len().saturating_sub(from + 1)) as f64 / span,
            waiting: sum("seconds_wait") / sum("seconds_round"),
            in_time: responders / (responders + late),
            loss: exponential_average(&loss, smoothing_span(loss.len())),
            lateness: rows("late_iterations"),
            arrival: rows("arrival_time"),
        }
    }

    fn progress(&self) -> String {
        match self.planned {
            0 => format!("iteration {}", self.done),
            planned => format!(
                "iteration {} of {planned} ({:.0}%)",
                self.done,
                100.0 * self.done as f64 / planned as f64
            ),
        }
    }

    fn pace(&self) -> String {
        let left = self.planned.saturating_sub(self.done) as f64 / self.rate;
        let left = match left {
            left if left.is_finite() && self.planned > 0 => format!(", {} to go", duration(left)),
            _ => String::new(),
        };
        format!(
            "{} per second{left}; waiting {} of the rounds; {} of the gradients in time",
            significant(self.rate, 3),
            percent(self.waiting),
            percent(self.in_time)
        )
    }

    /// Late share of a worker's recent iterations; NaN if it was not asked.
    fn late(&self, worker: usize) -> f64 {
        let asked = self.lateness.column(worker);
        let asked = asked.iter().filter(|&&late| late >= 0.0);
        let (late, asked) = asked.fold((0, 0), |(late, n), &value| {
            (late + u32::from(value > 0.0), n + 1)
        });
        f64::from(late) / f64::from(asked)
    }
}

/// Heights of a line of text.
const BARS: [char; 8] = [
    '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}',
];

/// Values as bars in a line of at most `width` characters, each the mean of its neighbours.
fn sparkline(values: &[f64], width: usize) -> String {
    let cells = width.min(values.len());
    let means: Vec<f64> = (0..cells)
        .map(|cell| {
            let part = &values[cell * values.len() / cells..(cell + 1) * values.len() / cells];
            let measured = part.iter().filter(|value| value.is_finite());
            let (sum, n) = measured.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
            sum / n
        })
        .collect();
    let measured = || means.iter().copied().filter(|mean| mean.is_finite());
    let (low, high) = (
        measured().fold(f64::MAX, f64::min),
        measured().fold(f64::MIN, f64::max),
    );
    let bar = |mean: f64| match (mean - low) / (high - low) {
        _ if !mean.is_finite() => ' ',
        share if share.is_finite() => BARS[((share * 8.0) as usize).min(7)],
        _ => BARS[0],
    };
    means.into_iter().map(bar).collect()
}

/// One character per recent iteration: in time, late, not asked.
fn strip(lateness: impl Iterator<Item = f64>) -> String {
    let character = |late: f64| match late {
        late if late > 0.0 => '\u{2588}',
        0.0 => '\u{b7}',
        _ => ' ',
    };
    lateness.map(character).collect()
}

/// The run on a terminal of so many columns and rows; `age` is how old its last iteration is, s.
pub fn lines(run: &Run, age: f64, columns: usize, rows: usize) -> Vec<String> {
    let recent = Recent::of(run);
    let bar_width = 24;
    let share = recent.done as f64 / (recent.planned.max(1)) as f64;
    let full = (share.min(1.0) * bar_width as f64) as usize;
    let bar = match recent.planned {
        0 => String::new(),
        _ => format!(
            "  {}{}",
            "\u{2588}".repeat(full),
            "\u{2591}".repeat(bar_width - full)
        ),
    };
    let mut lines = vec![
        format!("{}  {}{bar}", run.label, recent.progress()),
        match age {
            age if age.is_finite() => {
                format!("{}; the log is {} old", recent.pace(), duration(age))
            }
            _ => "no iteration in the log yet".to_owned(),
        },
    ];
    let last = recent.loss.iter().rev().find(|loss| loss.is_finite());
    if let Some(&last) = last {
        let head = format!(
            "loss {} from {}  ",
            significant(last, 4),
            significant(run.summary.loss.first, 4)
        );
        let room = columns.saturating_sub(head.chars().count() + 1).min(60);
        lines.push(format!("{head}{}", sparkline(&recent.loss, room)));
    }
    let metrics: Vec<String> = run
        .summary
        .metrics
        .r#final
        .iter()
        .filter(|(name, _)| !headline::is_detail(name))
        .map(|(name, metric)| format!("{name} {}", significant(metric.value, 4)))
        .collect();
    if let Some(at) = run
        .summary
        .metrics
        .r#final
        .values()
        .map(|metric| metric.iteration)
        .max()
    {
        lines.push(format!("after {at}: {}", metrics.join("  ")));
    }
    lines.push(String::new());
    lines.push(format!(
        "{:>6}  {:>7}  {:>7}  {:>7}  {:>9}  the last {} iterations (\u{2588} late)",
        "worker",
        "planned",
        "late",
        "now",
        "arrival",
        recent.lateness.nrows()
    ));
    let room = rows.saturating_sub(lines.len() + 1).min(WORKERS);
    let all = &run.explanation.workers;
    let (order, partial) = story::shown(all, room);
    for &i in &order {
        let arrival = quantile(recent.arrival.column(i).iter().copied(), 0.5);
        lines.push(format!(
            "{i:>6}  {:>7}  {:>7}  {:>7}  {:>9}  {}",
            percent(all[i].planned),
            percent(all[i].late_share),
            percent(recent.late(i)),
            duration(arrival),
            strip(recent.lateness.column(i).iter().copied())
        ));
    }
    if partial {
        lines.push(format!(
            "        and {} workers that are late less often",
            all.len() - order.len()
        ));
    }
    // A line that wraps would not be drawn over.
    let cut = |line: String| {
        line.chars()
            .take(columns.saturating_sub(1))
            .collect::<String>()
    };
    lines
        .into_iter()
        .map(|line| cut(line).trim_end().to_owned())
        .collect()
}

/// The run in one line.
pub fn line(run: &Run, width: usize) -> String {
    let recent = Recent::of(run);
    let last = recent.loss.iter().rev().find(|loss| loss.is_finite());
    let loss = last.map_or(String::new(), |&last| {
        format!("  loss {}", significant(last, 4))
    });
    let text = format!("{}{loss}  {}", recent.progress(), recent.pace());
    text.chars().take(2 * width).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::opened;
    use super::*;

    #[test]
    fn the_view_fits_the_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let run = opened(
            dir.path(),
            "a run with a long name that does not matter at all",
            60,
        );
        for (columns, rows) in [(40, 8), (80, 24), (200, 60)] {
            let lines = lines(&run, 3.0, columns, rows);
            assert!(lines.len() <= rows, "{lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() < columns));
        }
        let text = lines(&run, 3.0, 120, 24).join("\n");
        assert!(
            text.contains("iteration 60") && text.contains("3 s old"),
            "{text}"
        );
        // Worker 1 is late every other time, worker 2 is never asked.
        let of_worker = |i: usize| text.lines().rev().nth(2 - i).unwrap().to_owned();
        assert!(
            of_worker(1).ends_with("\u{b7}\u{2588}\u{b7}\u{2588}"),
            "{text}"
        );
        assert!(!of_worker(2).contains('\u{b7}'));
        assert!(line(&run, 100).contains("iteration 60"));
    }

    #[test]
    fn a_run_without_iterations_has_a_view() {
        let dir = tempfile::tempdir().unwrap();
        let run = opened(dir.path(), "empty", 0);
        let text = lines(&run, f64::NAN, 80, 24).join("\n");
        assert!(
            text.contains("no iteration in the log yet") && !text.contains("NaN"),
            "{text}"
        );
        line(&run, 80);
    }

    #[test]
    fn bars_rise_with_the_values() {
        assert_eq!(sparkline(&[0.0, 1.0], 8), "\u{2581}\u{2588}");
        assert_eq!(sparkline(&[0.0, 0.0, 1.0, 1.0], 2), "\u{2581}\u{2588}");
        assert_eq!(sparkline(&[f64::NAN, 2.0], 2), " \u{2581}");
        assert_eq!(sparkline(&[], 8), "");
    }
}
