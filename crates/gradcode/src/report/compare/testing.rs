//! Small studies for the tests of this module.

use std::path::{Path, PathBuf};

use run_log::study::{Outcome, Point, Study, StudyLog};
use serde_json::json;

use super::source::Comparison;

/// A scheme whose loss falls from 8 to `end` in 4 evaluations at `cost` bits per iteration, in two
/// runs that differ by 0.2 in the end.
pub fn trained(label: &str, end: f64, cost: f64) -> Point {
    let at = vec![0.0, 10.0, 20.0, 30.0];
    let mut point = Point::new(label, "scheme", "iteration", at.clone(), 2);
    for (run, sign) in [-1.0, 1.0].into_iter().enumerate() {
        let loss: Vec<f64> = at
            .iter()
            .map(|t| 8.0 + (end + 0.1 * sign - 8.0) * t / 30.0)
            .collect();
        let bits: Vec<f64> = at.iter().map(|t| cost * t).collect();
        let offered: Vec<f64> = at.iter().map(|t| 2.0 * cost * t).collect();
        let values: [(&str, &[f64]); 3] = [
            ("loss", &loss),
            ("bits_up_payload", &bits),
            ("bits_up_offered", &offered),
        ];
        point.record(run, Outcome::Finished, &values).unwrap();
    }
    let attributes = [
        ("computation_load", 1.9),
        ("probe_error", 3.0),
        ("probe_error_se", 0.25),
        ("probe_bound", 4.0),
    ];
    for (name, value) in attributes {
        point.attributes.insert(name.into(), value.into());
    }
    point
}

/// Two schemes at two budgets each.
pub fn swept() -> Study {
    let mut study = Study::new("training", "two budgets", "seed = 1\n", "test");
    for budget in [10.5, 50.0] {
        for (label, end) in [("joint", 2.0), ("SGC", 4.0)] {
            let mut point = trained(label, end + 1.0 / budget, 10.0 * budget);
            point.sweep = vec![("budget.residual_bits".into(), json!(budget))];
            study.points.push(point);
        }
    }
    study
}

/// Decoding errors with bounds.
pub fn decoding() -> Study {
    let mut study = Study::new("decoding-error", "errors", "", "test");
    for (label, height) in [("coset", 4.0), ("stacked", 8.0)] {
        let mut point = Point::new(label, "ce-agc", "stragglers", vec![0.0, 1.0, 2.0], 2);
        for (run, error) in [[0.0, 1.0, height], [0.0, 2.0, height]]
            .into_iter()
            .enumerate()
        {
            point
                .record(run, Outcome::Finished, &[("error", &error)])
                .unwrap();
        }
        let bounds = &mut point.bounds;
        bounds.insert("baseline".into(), vec![7.0, 8.0, 9.0]);
        if label == "coset" {
            bounds.insert("upper".into(), vec![1.0, 3.0, 6.0]);
            bounds.insert("lower".into(), vec![0.0, 0.0, 1.0]);
        }
        study.points.push(point);
    }
    study
}

/// Writes the study, and returns its path.
pub fn written(directory: &Path, study: &Study) -> PathBuf {
    let path = directory.join("study.h5");
    StudyLog::create(&path, study).unwrap();
    path
}

/// The study as a comparison, by way of a file.
pub fn compared(study: &Study) -> Comparison {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), study);
    Comparison::open(&[path]).ok().unwrap()
}
