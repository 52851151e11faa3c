//! A comparison for programs: CSV in long format, and one JSON object.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::super::export::quoted;
use super::groups::{Terms, groups};
use super::measure::{Estimate, at_bits, at_end, bits_per_step, bits_until, ratio_at_bits};
use super::quantity::{OFFERED, RECEIVED, count};
use super::reach::{Reach, notes};
use super::source::{Comparison, value_at};

/// One line per point, series and position: `point,label,<swept keys>,axis,at,series,mean,se,n`.
/// Bounds are the series `bound/NAME` of n = 0 runs. What is not known is left empty. With `series`,
/// only these.
pub fn csv(comparison: &Comparison, series: &[String]) -> String {
    let keys = comparison.swept_keys();
    let mut text = String::from("point,label,");
    for key in &keys {
        text.push_str(&quoted(key));
        text.push(',');
    }
    text.push_str("axis,at,series,mean,se,n\n");
    for (number, entry) in comparison.points.iter().enumerate() {
        let point = &entry.point;
        let mut head = format!("{number},{},", quoted(&point.label));
        for key in &keys {
            let value = match value_at(point, key) {
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => String::new(),
            };
            head.push_str(&quoted(&value));
            head.push(',');
        }
        head.push_str(&quoted(&point.axis));
        let wanted = |name: &str| series.is_empty() || series.iter().any(|other| other == name);
        for (name, values) in &point.series {
            for i in (0..point.at.len()).filter(|_| wanted(name)) {
                let [at, mean, error] =
                    [point.at[i], values.mean[i], values.standard_error[i]].map(field);
                let n = count(values, i);
                let _ = writeln!(text, "{head},{at},{},{mean},{error},{n}", quoted(name));
            }
        }
        for (name, values) in &point.bounds {
            let name = format!("bound/{name}");
            for i in (0..point.at.len()).filter(|_| wanted(&name)) {
                let [at, value] = [point.at[i], values[i]].map(field);
                let _ = writeln!(text, "{head},{at},{},{value},,0", quoted(&name));
            }
        }
    }
    text
}

fn field(value: f64) -> String {
    if value.is_nan() {
        String::new()
    } else {
        value.to_string()
    }
}

/// The table's numbers unrounded, and the series; what is not known is null.
pub fn json(comparison: &Comparison, terms: &Terms, series: &[String]) -> Value {
    let groups = groups(comparison, terms);
    let mut points = vec![];
    for (number, entry) in comparison.points.iter().enumerate() {
        let point = &entry.point;
        let group = groups.iter().find(|group| {
            group
                .entries
                .iter()
                .any(|other| std::ptr::eq(*other, entry))
        });
        let amount = group.and_then(|group| group.equal_bits);
        let metric = terms.metric.as_str();
        let at_equal = amount.map(|amount| at_bits(point, metric, terms.bits, amount));
        let ratio = group.zip(amount).map(|(group, amount)| {
            ratio_at_bits(point, group.baseline, metric, terms.bits, amount)
        });
        let until = group
            .and_then(|group| group.target)
            .map(|target| bits_until(point, metric, terms.bits, target));
        let reach = Reach::of(point, metric, terms.bits);
        let wanted = |name: &String| series.is_empty() || series.contains(name);
        let series: BTreeMap<&String, Value> = point
            .series
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, series)| {
                (
                    name,
                    json!({"mean": series.mean, "se": series.standard_error}),
                )
            })
            .collect();
        let sweep: Map<String, Value> = point.sweep.iter().cloned().collect();
        points.push(json!({
            "point": number,
            "file": entry.path,
            "label": point.label,
            "scheme": point.scheme,
            "sweep": sweep,
            "runs": point.outcomes.len(),
            "runs_done": point.done(),
            "runs_diverged": point.diverged(),
            "bits_per_iteration": {
                "offered": bits_per_step(point, OFFERED),
                "received": bits_per_step(point, RECEIVED),
            },
            "final": estimate(Some(at_end(point, metric))),
            "best": reach.best,
            "last_bits": reach.last_bits,
            "equal_bits": amount,
            "at_equal_bits": estimate(at_equal),
            "baseline": group.map(|group| &group.baseline.label),
            "ratio_at_equal_bits": estimate(ratio),
            "target": group.and_then(|group| group.target),
            "bits_until_target": estimate(until),
            "attributes": point.attributes,
            "axis": point.axis,
            "at": point.at,
            "series": series,
            "bounds": point.bounds,
        }));
    }
    json!({
        "title": comparison.title,
        "kinds": comparison.kinds,
        "metric": terms.metric,
        "bits": terms.bits,
        "notes": groups.iter().flat_map(|group| notes(group, terms)).collect::<Vec<_>>(),
        "points": points,
    })
}

fn estimate(estimate: Option<Estimate>) -> Value {
    let Estimate {
        mean,
        standard_error,
        runs,
    } = estimate.unwrap_or(Estimate::NONE);
    json!({"mean": mean, "se": standard_error, "n": runs})
}

#[cfg(test)]
mod tests {
    use super::super::testing::{compared, decoding, swept};
    use super::*;

    fn terms() -> Terms {
        Terms {
            metric: "loss".into(),
            bits: RECEIVED,
            baseline: Some("SGC".into()),
            at_bits: None,
            target: None,
        }
    }

    #[test]
    fn csv_is_long() {
        let text = csv(&compared(&swept()), &["loss".into()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "point,label,budget.residual_bits,axis,at,series,mean,se,n"
        );
        assert_eq!(lines[1], "0,joint,10.5,iteration,0,loss,8,0,2");
        assert_eq!(lines.len(), 1 + 4 * 4);
        let text = csv(&compared(&decoding()), &[]);
        assert!(
            text.contains("\n0,coset,stragglers,2,error,4,0,2\n"),
            "{text}"
        );
        assert!(
            text.contains("\n0,coset,stragglers,2,bound/upper,6,,0\n"),
            "{text}"
        );
    }

    #[test]
    fn the_json_has_the_documented_keys() {
        let object = json(&compared(&swept()), &terms(), &["loss".into()]);
        assert_eq!(object["metric"], "loss");
        let joint = &object["points"][2];
        assert_eq!(joint["label"], "joint");
        assert_eq!(joint["sweep"]["budget.residual_bits"], 50.0);
        assert_eq!(joint["runs_done"], 2);
        assert_eq!(joint["bits_per_iteration"]["offered"], 1000.0);
        assert_eq!(joint["equal_bits"], 15_000.0);
        assert_eq!(joint["baseline"], "SGC");
        let near = |pointer: &str, expected: f64| {
            let value = joint.pointer(pointer).and_then(Value::as_f64).unwrap();
            assert!((value - expected).abs() < 1e-9, "{pointer}: {value}");
        };
        near("/final/mean", 2.02);
        near("/final/se", 0.1);
        near("/ratio_at_equal_bits/mean", 2.02 / 4.02);
        near("/target", 4.02);
        near(
            "/bits_until_target/mean",
            15_000.0 * (8.0 - 4.02) / (8.0 - 2.02),
        );
        assert_eq!(joint["bits_until_target"]["n"], 2);
        assert_eq!(joint["series"]["loss"]["mean"][0], 8.0);
        assert_eq!(joint["attributes"]["computation_load"], 1.9);
        // Not known is null.
        let mut wrong = terms();
        wrong.at_bits = Some(1e9);
        let object = json(&compared(&swept()), &wrong, &[]);
        assert_eq!(object["points"][0]["at_equal_bits"]["mean"], Value::Null);
        assert_eq!(object["points"][0]["last_bits"], 3150.0);
        near("/best", 2.02);
        let notes = object["notes"].as_array().unwrap();
        let note = notes[0].as_str().unwrap();
        assert!(
            note.contains("joint has no loss at 1 Gbit") && note.contains("3.15 kbit"),
            "{note}"
        );
    }
}
