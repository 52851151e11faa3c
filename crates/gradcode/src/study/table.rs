//! A study's points as a table on the terminal.

use std::collections::BTreeSet;

use run_log::AttributeValue;
use run_log::study::{Point, Study};
use serde_json::{Value, json};

use crate::config::{PointConfig, StudyConfig, planning};
use crate::exit::Outcome;

/// What the theory says of every point, before anything is run.
pub struct Planned {
    runs: usize,
    rows: Vec<Row>,
}

struct Row {
    label: String,
    sweep: Vec<(String, Value)>,
    scheme: String,
    load: f64,
    bits: f64,
    s: f64,
    /// With the quantizer's own variance, whatever the design took it for.
    bound: f64,
    unbiased: bool,
}

/// Plans every point with the study's own seed.
///
/// # Errors
/// What is wrong with a point.
pub fn planned(study: &StudyConfig) -> Outcome<Planned> {
    let row = |point: &PointConfig| -> Outcome<Row> {
        let config = &point.config;
        let plan = config
            .dimension()
            .and_then(|dimension| planning::plan(config, dimension))
            .map_err(|source| crate::config::ConfigError::Point {
                point: point.name(),
                source: Box::new(source),
            })?;
        if let Some(warning) = planning::shortfall(config, &plan) {
            eprintln!("gradcode: warning: {}: {warning}", point.name());
        }
        let prediction = &plan.prediction;
        Ok(Row {
            label: point.label.clone(),
            sweep: point.sweep.clone(),
            scheme: plan.scheme.clone(),
            load: prediction.computation_load,
            bits: prediction.bits_per_coordinate_offered,
            s: prediction.scaling_s,
            bound: prediction.error_bound_unscaled,
            unbiased: prediction.unbiased,
        })
    };
    Ok(Planned {
        runs: study.settings.runs,
        rows: study.points.iter().map(row).collect::<Outcome<_>>()?,
    })
}

impl Planned {
    /// The table.
    pub fn text(&self) -> String {
        let header = ["", "load", "bits", "S", "error bound", "unbiased"].map(str::to_owned);
        let mut lines = vec![header.to_vec()];
        for row in &self.rows {
            lines.push(vec![
                name(&row.label, &row.sweep),
                format!("{:.2}", row.load),
                format!("{:.0}", row.bits),
                short(row.s),
                short(row.bound),
                if row.unbiased { "yes" } else { "no" }.to_owned(),
            ]);
        }
        format!(
            "{}\n{}, {} each. Bits are per coordinate and iteration over all workers if nobody is late;\n\
             the bound is on E||ghat - g||^2 with partition gradients of norm at most 1.\n",
            align(&lines),
            counted(self.rows.len(), "point"),
            counted(self.runs, "run"),
        )
    }

    /// The table as one JSON object.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "label": row.label,
                    "scheme": row.scheme,
                    "sweep": object(&row.sweep),
                    "computation_load": row.load,
                    "bits_offered": row.bits,
                    "scaling_s": row.s,
                    "error_bound_unscaled": row.bound,
                    "unbiased": row.unbiased,
                })
            })
            .collect();
        json!({ "runs": self.runs, "points": rows })
    }
}

/// The results at the last position.
pub fn results(study: &Study) -> String {
    let names: BTreeSet<&String> = study.points.iter().flat_map(|p| p.series.keys()).collect();
    // What is minimised first; counters last, and only the papers' axis of them.
    let order = [
        "loss",
        "objective",
        "error",
        "accuracy",
        "AP50",
        "AP",
        "bits_up_payload",
    ];
    let shown: Vec<&str> = order
        .into_iter()
        .filter(|name| names.iter().any(|known| known.as_str() == *name))
        .collect();
    let mut header = vec![String::new(), "runs".to_owned(), "load".to_owned()];
    header.extend(shown.iter().map(|name| (*name).to_owned()));
    let mut lines = vec![header];
    for point in &study.points {
        let diverged = match point.diverged() {
            0 => String::new(),
            count => format!(" ({count} diverged)"),
        };
        let mut line = vec![
            name(&point.label, &point.sweep),
            format!("{}{diverged}", point.done()),
            match point.attributes.get("computation_load") {
                Some(AttributeValue::Real(load)) => format!("{load:.2}"),
                _ => "-".into(),
            },
        ];
        for name in &shown {
            let last = point.series.get(*name).and_then(|series| {
                let last = series.mean.len().checked_sub(1)?;
                Some((series.mean[last], series.standard_error[last]))
            });
            line.push(match last {
                Some((mean, _)) if mean.is_nan() => "-".to_owned(),
                Some((mean, error)) if error > 0.0 => {
                    format!("{} +- {}", short(mean), short(error))
                }
                Some((mean, _)) => short(mean),
                None => "-".to_owned(),
            });
        }
        lines.push(line);
    }
    align(&lines)
}

/// A point's results at the last position.
pub fn result_json(point: &Point) -> Value {
    let last: serde_json::Map<String, Value> = point
        .series
        .iter()
        .map(|(name, series)| {
            let mean = series.mean.last();
            let error = series.standard_error.last();
            (
                name.clone(),
                json!({ "mean": mean, "standard_error": error }),
            )
        })
        .collect();
    json!({
        "label": point.label,
        "scheme": point.scheme,
        "sweep": object(&point.sweep),
        "runs": point.done(),
        "diverged": point.diverged(),
        "attributes": point.attributes,
        "last": last,
    })
}

fn object(sweep: &[(String, Value)]) -> Value {
    sweep
        .iter()
        .cloned()
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn name(label: &str, sweep: &[(String, Value)]) -> String {
    let mut name = label.to_owned();
    for (key, value) in sweep {
        // The key's last word says enough in a table.
        let key = key.rsplit('.').next().unwrap_or(key);
        name.push_str(&format!(", {key} = {value}"));
    }
    name
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Four significant digits.
fn short(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value == 0.0 || (1e-3..1e5).contains(&value.abs()) {
        let digits = if value == 0.0 {
            0.0
        } else {
            value.abs().log10().floor()
        };
        return format!("{value:.*}", (3.0 - digits).clamp(0.0, 6.0) as usize);
    }
    format!("{value:.3e}")
}

/// Columns two blanks apart, the first to the left, the others to the right.
fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cell = |line: &Vec<String>| line.get(column).map_or(0, |cell| cell.chars().count());
            lines.iter().map(cell).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_columns_aligned() {
        assert_eq!(
            [0.0, 0.12345, 12.345, 12345.6, 1e7, 1e-9, f64::NAN].map(short),
            [
                "0.000", "0.1235", "12.35", "12346", "1.000e7", "1.000e-9", "-"
            ]
            .map(str::to_owned)
        );
        let line = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(
            align(&[line("a", "bb"), line("ccc", "d")]),
            "a    bb\nccc   d\n"
        );
    }
}
