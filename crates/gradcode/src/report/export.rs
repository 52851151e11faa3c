//! Runs for programs: one JSON object, or a table of comma-separated values.

use std::fmt::Write;

use run_log::RunReader;
use serde_json::{Map, Value, json};

use super::{Run, failure};
use crate::exit::{Failure, Outcome};

/// Series of one value per worker are asked for under this name.
const PER_WORKER: &str = "per_worker/";

/// The summary of one run with its evaluations and the series asked for, or `{"runs": [..]}`.
///
/// # Errors
/// Exit code 2 if a run lacks a series.
pub fn json(runs: &[Run], series: &[String]) -> Outcome<Value> {
    let mut objects = runs
        .iter()
        .map(|run| object(run, series))
        .collect::<Outcome<Vec<Value>>>()?;
    Ok(if objects.len() == 1 {
        objects.remove(0)
    } else {
        json!({ "runs": objects })
    })
}

fn object(run: &Run, names: &[String]) -> Outcome<Value> {
    let unwritable = |error: serde_json::Error| {
        let message = format!("failed to write the report as JSON: {error}");
        Failure::new(crate::exit::BUG, message)
    };
    let mut object = match serde_json::to_value(&run.summary).map_err(unwritable)? {
        Value::Object(object) => object,
        other => Map::from_iter([("summary".to_owned(), other)]),
    };
    let explanation = serde_json::to_value(&run.explanation);
    object.insert("explanation".into(), explanation.map_err(unwritable)?);
    let evaluation = run.reader.evaluation().map_err(failure)?;
    object.insert(
        "evaluation".into(),
        json!({
            "iteration": evaluation.iteration,
            "metrics": evaluation.metrics.into_iter().map(|(name, values)| (name, json!(values))).collect::<Map<_, _>>(),
        }),
    );
    let mut series = Map::new();
    for name in names {
        series.insert(name.clone(), values(&run.reader, name)?);
    }
    object.insert("series".into(), series.into());
    Ok(object.into())
}

/// Numbers that are whole are written as such: counts of bits are integers in the log too.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

fn values(run: &RunReader, name: &str) -> Outcome<Value> {
    Ok(match name.strip_prefix(PER_WORKER) {
        Some(name) => {
            let matrix = run.per_worker(name).map_err(failure)?;
            matrix
                .rows()
                .into_iter()
                .map(|row| row.iter().map(|&value| number(value)).collect::<Value>())
                .collect()
        }
        None => run
            .series(name)
            .map_err(failure)?
            .into_iter()
            .map(number)
            .collect(),
    })
}

/// A header line and one line per iteration; what was not measured is left empty. A per-worker
/// series takes one column per worker, `name_0`, `name_1`, ...
///
/// # Errors
/// Exit code 2 if a run lacks a series.
pub fn csv(runs: &[Run], series: &[String]) -> Outcome<String> {
    let mut names = series.to_vec();
    if names.is_empty() {
        let first = runs
            .first()
            .map_or(Ok(vec![]), |run| run.reader.series_names())
            .map_err(failure)?;
        names = first
            .into_iter()
            .filter(|name| name != "iteration")
            .collect();
    }
    names.retain(|name| name != "iteration");
    names.insert(0, "iteration".into());

    // Runs may differ in workers; the widest decides, and the others leave the rest empty.
    let workers = runs
        .iter()
        .map(|run| run.reader.workers())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    if runs.len() > 1 {
        text.push_str("run,");
    }
    for (i, name) in names.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        match name.strip_prefix(PER_WORKER) {
            Some(name) => (0..workers).for_each(|worker| {
                let _ = write!(text, "{comma}{name}_{worker}");
            }),
            None => {
                let _ = write!(text, "{comma}{name}");
            }
        }
    }
    text.push('\n');
    for run in runs {
        let mut columns = vec![];
        for name in &names {
            match name.strip_prefix(PER_WORKER) {
                Some(name) => {
                    let matrix = run.reader.per_worker(name).map_err(failure)?;
                    columns.extend(matrix.columns().into_iter().map(|column| column.to_vec()));
                    let missing = workers - run.reader.workers();
                    columns.extend(std::iter::repeat_n(
                        vec![f64::NAN; run.reader.len()],
                        missing,
                    ));
                }
                None => columns.push(run.reader.series(name).map_err(failure)?),
            }
        }
        for t in 0..run.reader.len() {
            if runs.len() > 1 {
                let _ = write!(text, "{},", quoted(&run.label));
            }
            for (i, column) in columns.iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                let _ = match column[t] {
                    value if value.is_nan() => write!(text, "{comma}"),
                    value => write!(text, "{comma}{value}"),
                };
            }
            text.push('\n');
        }
    }
    Ok(text)
}

/// RFC 4180: fields with commas, quotes or line ends are quoted, quotes inside doubled.
pub fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::opened;
    use super::*;

    #[test]
    fn the_json_of_one_run_has_the_documented_keys() {
        let dir = tempfile::tempdir().unwrap();
        let run = opened(dir.path(), "one", 4);
        let object = json(
            &[run],
            &["loss".into(), "per_worker/late_iterations".into()],
        )
        .ok()
        .unwrap();
        for pointer in [
            "/attributes/schema",
            "/iterations",
            "/metrics/final/AP50/value",
            "/metrics/best/AP50/iteration",
            "/totals/bits_up",
            "/totals/bits_up_payload",
            "/totals/bits_up_offered",
            "/totals/bits_down",
            "/totals/seconds/wait",
            "/totals/late_per_worker/2",
            "/loss/ema",
            "/evaluation/metrics/AP50/0",
            "/explanation/findings/0/text",
            "/explanation/time/parts/0/seconds",
            "/explanation/workers/1/longest_streak",
            "/explanation/deadline/in_vain",
            "/explanation/compression/verdict",
            "/explanation/accuracy/samples",
            "/explanation/events/plans/0/bits",
        ] {
            assert!(object.pointer(pointer).is_some(), "{pointer} in {object}");
        }
        assert_eq!(object["totals"]["bits_up"], 23_000);
        assert_eq!(object["totals"]["late_per_worker"], json!([0, 2, 0]));
        assert_eq!(object["series"]["loss"][1], 1);
        assert_eq!(
            object["series"]["per_worker/late_iterations"][1],
            json!([0, 1, -1])
        );
        // Not measured is null, not a number and not missing.
        assert_eq!(object["relative_error_median"], Value::Null);
    }

    #[test]
    fn several_runs_are_a_list() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let runs = [opened(a.path(), "a", 2), opened(b.path(), "b", 3)];
        let object = json(&runs, &[]).ok().unwrap();
        assert_eq!(object["runs"][1]["iterations"], 3);
        let text = csv(&runs, &["loss".into()]).ok().unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>()[..4],
            ["run,iteration,loss", "a,0,2", "a,1,1", "b,0,2"]
        );
    }

    #[test]
    fn csv_has_a_line_per_iteration_and_leaves_gaps_empty() {
        let dir = tempfile::tempdir().unwrap();
        let runs = [opened(dir.path(), "one", 2)];
        let text = csv(&runs, &["per_worker/arrival_time".into(), "bits_up".into()])
            .ok()
            .unwrap();
        assert_eq!(
            text,
            "iteration,arrival_time_0,arrival_time_1,arrival_time_2,bits_up\n0,0.125,0.25,,7000\n1,0.125,,,4500\n"
        );
        let all = csv(&runs, &[]).ok().unwrap();
        assert_eq!(all.lines().count(), 3);
        assert!(
            all.starts_with("iteration,") && all.lines().next().unwrap().contains("seconds_wait")
        );
    }

    #[test]
    fn an_unknown_series_is_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        let runs = [opened(dir.path(), "one", 2)];
        for name in ["lost", "per_worker/lost"] {
            assert_eq!(
                json(&runs, &[name.into()]).err().unwrap().code,
                crate::exit::USAGE
            );
            assert_eq!(
                csv(&runs, &[name.into()]).err().unwrap().code,
                crate::exit::USAGE
            );
        }
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("joint, \"6 bits\""), "\"joint, \"\"6 bits\"\"\"");
    }
}
