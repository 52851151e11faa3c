//! Evaluations for people.

use std::fmt::Write;

use learner::Metric;

use super::Evaluated;

/// What COCO's numbers mean, beside their names.
const MEANINGS: [(&str, &str); 12] = [
    ("AP", "IoU 0.50:0.95"),
    ("AP50", "IoU 0.50"),
    ("AP75", "IoU 0.75"),
    ("APs", "objects to 32^2 pixels"),
    ("APm", "32^2 to 96^2"),
    ("APl", "from 96^2"),
    ("AR1", "1 detection per image"),
    ("AR10", "10 detections"),
    ("AR100", "100 detections"),
    ("ARs", "objects to 32^2 pixels"),
    ("ARm", "32^2 to 96^2"),
    ("ARl", "from 96^2"),
];

/// Columns of the table of categories; all of them are in the JSON.
const PER_CATEGORY: [&str; 4] = ["AP", "AP50", "AP75", "AR100"];

/// A row per metric, a column per model.
pub fn overall(evaluated: &[Evaluated]) -> String {
    let mut names: Vec<&str> = vec![];
    for metric in evaluated.iter().flat_map(|one| &one.evaluation.metrics) {
        if !names.contains(&metric.name.as_str()) {
            names.push(&metric.name);
        }
    }
    let widths: Vec<usize> = evaluated
        .iter()
        .map(|one| one.label.chars().count().max(6))
        .collect();
    let mut text = format!("{:<10}{:<24}", "", "");
    for (one, width) in evaluated.iter().zip(&widths) {
        let _ = write!(text, "  {:>width$}", one.label);
    }
    text.push('\n');
    for name in names {
        let meaning = MEANINGS.iter().find(|(metric, _)| *metric == name);
        let _ = write!(
            text,
            "{name:<10}{:<24}",
            meaning.map_or("", |(_, words)| words)
        );
        for (one, width) in evaluated.iter().zip(&widths) {
            let value = number(value(&one.evaluation.metrics, name));
            let _ = write!(text, "  {value:>width$}");
        }
        text.push('\n');
    }
    text
}

/// A row per category of one model.
pub fn per_category(one: &Evaluated) -> String {
    let categories = &one.evaluation.categories;
    if categories.is_empty() {
        return format!("{}: no numbers per category\n", one.label);
    }
    let shown: Vec<&str> = match &categories[0].metrics {
        metrics if metrics.iter().any(|m| m.name == "AP") => PER_CATEGORY.to_vec(),
        metrics => metrics.iter().map(|m| m.name.as_str()).collect(),
    };
    let width = categories
        .iter()
        .map(|category| category.name.chars().count())
        .max()
        .unwrap_or(0)
        .max(8);
    let mut text = format!(
        "{}\n{:>6}  {:<width$}  {:>8}",
        one.label, "id", "category", "objects"
    );
    for name in &shown {
        let _ = write!(text, "  {name:>9}");
    }
    text.push('\n');
    for category in categories {
        let _ = write!(
            text,
            "{:>6}  {:<width$}  {:>8}",
            category.id, category.name, category.objects
        );
        for name in &shown {
            let _ = write!(text, "  {:>9}", number(value(&category.metrics, name)));
        }
        text.push('\n');
    }
    text
}

fn value(metrics: &[Metric], name: &str) -> f64 {
    let found = metrics.iter().find(|metric| metric.name == name);
    found.map_or(f64::NAN, |metric| metric.value)
}

/// Four decimals; a dash for what is undefined.
fn number(value: f64) -> String {
    if value.is_nan() {
        return "-".to_owned();
    }
    format!("{value:.4}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use learner::{CategoryMetrics, Evaluation};

    #[test]
    fn models_stand_side_by_side_and_undefined_numbers_are_dashes() {
        let one = |label: &str, ap: f64| Evaluated {
            label: label.to_owned(),
            path: label.into(),
            evaluation: Evaluation {
                metrics: vec![Metric::new("AP", ap), Metric::new("APs", f64::NAN)],
                categories: vec![CategoryMetrics {
                    id: 3,
                    name: "cat".to_owned(),
                    objects: 7,
                    metrics: vec![Metric::new("AP", ap), Metric::new("AR100", 1.0)],
                }],
                found: None,
            },
            seconds: 0.0,
        };
        let both = [one("a", 0.25), one("longer-name", 0.5)];
        let text = overall(&both);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 3);
        assert!(rows[1].contains("0.2500") && rows[1].ends_with("0.5000"));
        assert!(rows[2].ends_with('-') && rows[0].ends_with("longer-name"));
        let text = per_category(&both[0]);
        let row: Vec<&str> = text.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(row, ["3", "cat", "7", "0.2500", "-", "-", "1.0000"]);
    }
}
