//! The report on the terminal: the same rows for one run and for several side by side, then each
//! run's workers.
//!
//! [`facts`], [`quality`], [`times`] and [`traffic`] have the rows, which the HTML page takes too.

mod facts;
mod quality;
mod times;
mod traffic;

use std::fmt::Write;

use run_log::Summary;

use super::{Run, story};
pub use facts::attribute;

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
        facts::facts(runs),
        quality::quality(runs),
        times::time(runs),
        times::iteration(runs),
        traffic::traffic(runs),
        traffic::compression(runs),
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
