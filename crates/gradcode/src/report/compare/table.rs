//! The comparison on the terminal: one table per combination of swept values.

use std::fmt::Write;

use run_log::AttributeValue;
use run_log::study::Point;

use super::super::format::{si, si_prefix, significant};
use super::columns::{Column, aligned, column, plus_minus};
use super::groups::{Group, Terms, groups};
use super::measure::{
    Estimate, at_bits, at_end, at_position, bits_per_step, bits_until, ratio_at_bits,
};
use super::quantity::{
    OFFERED, RECEIVED, bound_title, series_title, short, sweep_text, unit, value_text,
};
use super::reach::notes;
use super::source::Comparison;

/// Columns of an axis that is not iterations; of more positions, as many are chosen evenly.
const POSITIONS: usize = 6;
/// Labels are cut to this width.
const LABEL: usize = 40;

/// The whole text.
pub fn render(comparison: &Comparison, terms: &Terms) -> String {
    let mut text = String::new();
    let title = match comparison.title.as_str() {
        "" => "comparison",
        title => title,
    };
    let _ = writeln!(text, "{title}");
    for group in groups(comparison, terms) {
        text.push('\n');
        if !group.sweep.is_empty() {
            let _ = writeln!(text, "{}", sweep_text(&group.sweep));
        }
        let trains = group
            .entries
            .iter()
            .all(|entry| entry.point.axis == "iteration");
        if trains {
            text.push_str(&aligned(&training(comparison, &group, terms)));
            let named = names(comparison, &group).len();
            let gradients = gradients(comparison, &group);
            if gradients[named..].iter().any(Column::says_something) {
                text.push('\n');
                text.push_str(&aligned(&gradients));
            }
        } else {
            text.push_str(&aligned(&along_axis(comparison, &group, terms)));
        }
        for note in notes(&group, terms) {
            let _ = writeln!(text, "  note: {note}");
        }
    }
    text
}

/// Label and, where the group is not one combination, the swept values.
fn names(comparison: &Comparison, group: &Group<'_>) -> Vec<Column> {
    let cut = |point: &Point| match point.label.chars().count() {
        count if count > LABEL => point
            .label
            .chars()
            .take(LABEL - 1)
            .chain(['\u{2026}'])
            .collect(),
        _ => point.label.clone(),
    };
    let mut columns = vec![column(["", "scheme"], group, cut)];
    if group.sweep.is_empty() {
        for key in comparison.swept_keys() {
            let value = |point: &Point| {
                let found = point.sweep.iter().find(|(name, _)| *name == key);
                found
                    .map(|(_, value)| value_text(value))
                    .unwrap_or_default()
            };
            columns.push(column(["", short(&key)], group, value));
        }
    }
    columns
}

fn runs(group: &Group<'_>) -> Vec<Column> {
    let count = |point: &Point| match (point.done(), point.outcomes.len()) {
        (done, all) if done < all => format!("{done} of {all}"),
        (done, _) => done.to_string(),
    };
    let diverged = |point: &Point| match point.diverged() {
        0 => String::new(),
        count => count.to_string(),
    };
    vec![
        column(["", "runs"], group, count),
        column(["", "diverged"], group, diverged),
    ]
}

fn training(comparison: &Comparison, group: &Group<'_>, terms: &Terms) -> Vec<Column> {
    let metric = terms.metric.as_str();
    let name = series_title(metric);
    let mut columns = names(comparison, group);
    let end = group
        .entries
        .iter()
        .filter_map(|entry| entry.point.at.last().copied());
    let end = end.fold(0.0, f64::max);
    columns.push(column([&name, &format!("after {end}")], group, |point| {
        plus_minus(at_end(point, metric))
    }));
    if let Some(amount) = group.equal_bits {
        let at = format!("at {}", si(amount, unit(terms.bits)));
        columns.push(column([&name, &at], group, |point| {
            plus_minus(at_bits(point, metric, terms.bits, amount))
        }));
        let to = format!("to {}", group.baseline.label);
        columns.push(column(["ratio", &to], group, |point| {
            let own = at_bits(point, metric, terms.bits, amount).mean;
            if std::ptr::eq(point, group.baseline) && !own.is_nan() {
                return "1".into();
            }
            plus_minus(ratio_at_bits(
                point,
                group.baseline,
                metric,
                terms.bits,
                amount,
            ))
        }));
    }
    if let (Some(target), Some(amount)) = (group.target, group.equal_bits) {
        let (factor, prefix) = si_prefix(amount);
        let price = format!("{prefix}{} until", unit(terms.bits));
        let until = format!("{name} {}", significant(target, 4));
        columns.push(column([&price, &until], group, |point| {
            let price = bits_until(point, metric, terms.bits, target);
            plus_minus(Estimate {
                mean: price.mean / factor,
                standard_error: price.standard_error / factor,
                ..price
            })
        }));
    }
    columns.extend(runs(group));
    columns
}

/// What a step costs, and how far its gradient is from the true one.
fn gradients(comparison: &Comparison, group: &Group<'_>) -> Vec<Column> {
    let mut columns = names(comparison, group);
    columns.push(column(["", "load"], group, |point| {
        real(point, "computation_load", 3)
    }));
    for (head, bits) in [("offered", OFFERED), ("received", RECEIVED)] {
        columns.push(column(["bit/iteration", head], group, |point| {
            si(bits_per_step(point, bits), "")
        }));
    }
    for (head, attribute) in [("bias", "probe_bias"), ("its noise", "probe_bias_noise")] {
        columns.push(column(["gradient's", head], group, |point| {
            real(point, attribute, 3)
        }));
    }
    columns.push(column(["gradient's", "error"], group, |point| {
        plus_minus(Estimate {
            mean: number(point, "probe_error"),
            standard_error: number(point, "probe_error_se"),
            runs: 1,
        })
    }));
    columns.push(column(["bound of", "the error"], group, |point| {
        real(point, "probe_bound", 3)
    }));
    columns
}

fn along_axis(comparison: &Comparison, group: &Group<'_>, terms: &Terms) -> Vec<Column> {
    let mut columns = names(comparison, group);
    let longest = group
        .entries
        .iter()
        .max_by_key(|entry| entry.point.at.len());
    let (axis, at) = longest.map_or(("", &[][..]), |entry| {
        (entry.point.axis.as_str(), entry.point.at.as_slice())
    });
    let chosen: Vec<f64> = match at.len() {
        0..=POSITIONS => at.to_vec(),
        count => (0..POSITIONS)
            .map(|i| at[i * (count - 1) / (POSITIONS - 1)])
            .collect(),
    };
    let axis = axis.replace('_', " ");
    let position = |point: &Point, value: f64| point.at.iter().position(|&at| at == value);
    for (i, &value) in chosen.iter().enumerate() {
        let head = if i == 0 {
            format!("{} at {axis}", series_title(&terms.metric))
        } else {
            String::new()
        };
        columns.push(column([&head, &significant(value, 4)], group, |point| {
            position(point, value).map_or_else(String::new, |i| {
                plus_minus(at_position(point, &terms.metric, i))
            })
        }));
    }
    let mut bounds: Vec<&String> = group
        .entries
        .iter()
        .flat_map(|entry| entry.point.bounds.keys())
        .collect();
    bounds.sort();
    bounds.dedup();
    if let Some(&last) = chosen.last() {
        for name in bounds {
            let head = format!("at {}", significant(last, 4));
            columns.push(column([&bound_title(name), &head], group, |point| {
                let values = point.bounds.get(name);
                let value = values
                    .zip(position(point, last))
                    .map(|(values, i)| values[i]);
                value.map_or_else(String::new, |value| significant(value, 4))
            }));
        }
    }
    columns.extend(runs(group));
    columns
}

fn number(point: &Point, attribute: &str) -> f64 {
    match point.attributes.get(attribute) {
        Some(AttributeValue::Real(value)) => *value,
        Some(AttributeValue::Integer(value)) => *value as f64,
        _ => f64::NAN,
    }
}

fn real(point: &Point, attribute: &str, digits: usize) -> String {
    match number(point, attribute) {
        value if value.is_nan() => String::new(),
        value => significant(value, digits),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{compared, decoding, swept};
    use super::*;

    fn terms(metric: &str) -> Terms {
        Terms {
            metric: metric.into(),
            bits: super::super::quantity::RECEIVED,
            baseline: None,
            at_bits: None,
            target: Some(6.0),
        }
    }

    fn row(text: &str, beginning: &str) -> String {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(beginning));
        let words = line
            .unwrap_or_else(|| panic!("no {beginning} in\n{text}"))
            .split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_study_of_training() {
        let mut study = swept();
        study.points.truncate(2);
        let text = render(&compared(&study), &terms("loss"));
        assert!(
            text.starts_with("two budgets\n\nresidual_bits = 10.5\n"),
            "{text}"
        );
        assert_eq!(
            row(&text, "scheme"),
            "scheme after 30 at 3.15 kbit to joint loss 6 runs"
        );
        // 8 - 6 of 8 - 4.095 in 3.15 kbit.
        assert_eq!(
            row(&text, "SGC"),
            "SGC 4.10 \u{b1} 0.10 4.10 \u{b1} 0.10 1.955 \u{b1} 0.046 1.613 \u{b1} 0.041 2"
        );
        let gradients = text.rsplit_once("\n\n").unwrap().1;
        assert_eq!(
            row(gradients, "scheme"),
            "scheme load offered received error the error"
        );
        assert_eq!(row(gradients, "SGC"), "SGC 1.9 210 105 3.00 \u{b1} 0.25 4");
        assert!(text.lines().all(|line| line.trim_end() == line));
    }

    #[test]
    fn a_lone_scheme_has_its_values_as_rows() {
        let mut study = swept();
        study.points.retain(|point| point.label == "joint");
        let text = render(&compared(&study), &terms("loss"));
        assert!(text.contains("\n  joint               50   2.02"), "{text}");
    }

    #[test]
    fn divergence_leaves_gaps() {
        let mut study = swept();
        study.points.truncate(2);
        let (loss, bits) = ([8.0, 9.0, 10.0, 11.0], [0.0, 1.0, 2.0, 3.0]);
        let values: [(&str, &[f64]); 3] = [
            ("loss", &loss),
            ("bits_up_payload", &bits),
            ("bits_up_offered", &bits),
        ];
        let diverged = run_log::study::Outcome::Diverged { from: 2 };
        study.points[1].record(1, diverged, &values).unwrap();
        let text = render(&compared(&study), &terms("loss"));
        let row = row(&text, "SGC");
        assert_eq!(row, "SGC - - - - 2 1", "{text}");
        assert!(!text.contains("NaN"), "{text}");
    }

    #[test]
    fn what_was_asked_for_and_is_not_there_is_said_under_its_table() {
        let mut study = swept();
        study.points.truncate(2);
        let mut beyond = terms("loss");
        (beyond.at_bits, beyond.target) = (Some(1e6), Some(0.5));
        let text = render(&compared(&study), &beyond);
        assert_eq!(row(&text, "scheme"), "scheme after 30 runs", "{text}");
        let notes: Vec<&str> = text.lines().filter(|line| line.contains("note:")).collect();
        assert_eq!(notes.len(), 5, "{text}");
        assert!(
            notes[0].contains("joint has no loss at 1 Mbit") && notes[0].contains("3.15 kbit"),
            "{text}"
        );
        assert!(
            notes[4].contains("SGC never gets to loss 0.5: its best mean is 4.095"),
            "{text}"
        );
        assert!(!render(&compared(&study), &terms("loss")).contains("note:"));
    }

    #[test]
    fn a_study_of_decoding_errors() {
        let text = render(&compared(&decoding()), &terms("error"));
        assert!(text.contains("error at stragglers"), "{text}");
        assert_eq!(row(&text, "scheme"), "scheme 0 1 2 at 2 at 2 at 2 runs");
        assert_eq!(row(&text, "coset"), "coset 0 1.50 \u{b1} 0.50 4 9 1 6 2");
        assert_eq!(
            row(&text, "stacked"),
            "stacked 0 1.50 \u{b1} 0.50 8 9 - - 2"
        );
    }
}
