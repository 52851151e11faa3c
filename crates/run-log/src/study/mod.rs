//! Studies: many runs of many settings in one file, `study.h5`, with their statistics.
//!
//! - [`Study`]: points (one setting each: a scheme, perhaps a budget) and what identifies them.
//! - [`Point`]: the runs of one setting, as series along a common axis, and scalar results.
//! - [`Series`]: one quantity of all runs with its mean and standard error.
//! - [`StudyLog`]: the writer; a study can be read, and resumed, at any moment and after any crash.
//!
//! ```
//! # fn main() -> Result<(), run_log::LogError> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("study.h5");
//! use run_log::study::{Outcome, Point, Study, StudyLog};
//!
//! let mut study = Study::new("training", "two runs of one scheme", "seed = 1\n", "example");
//! let mut point = Point::new("joint", "joint", "iteration", vec![0.0, 10.0], 2);
//! for run in 0..2 {
//!     point.record(run, Outcome::Finished, &[("loss", &[4.0, 1.0 + run as f64])])?;
//! }
//! study.points.push(point);
//! StudyLog::create(&path, &study)?;
//!
//! let study = Study::open(&path)?;
//! let loss = &study.points[0].series["loss"];
//! assert_eq!((loss.mean[1], loss.standard_error[1]), (1.5, 0.5));
//! # Ok(())
//! # }
//! ```

mod file;
mod log;

use std::collections::BTreeMap;

use ndarray::Array2;

use crate::clock::{iso_8601, seconds_since_1970};
use crate::{AttributeValue, LogError};

pub use log::StudyLog;

/// Value of a study's root attribute `format`.
pub const STUDY_FORMAT: &str = "gradcode-study";

/// Value of the root attribute `format_version` that this crate writes and reads.
pub const STUDY_VERSION: i64 = 1;

/// Many runs of many settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Study {
    /// What was studied: "training", "decoding-error", "allocation".
    pub kind: String,
    /// Name of the study.
    pub title: String,
    /// The study's configuration as run, TOML.
    pub config_toml: String,
    /// When it was started, UTC as in 2026-01-31T12:34:56Z.
    pub created_utc: String,
    /// Program and version.
    pub source: String,
    /// The settings, in the order of the configuration.
    pub points: Vec<Point>,
}

impl Study {
    /// A study without points, started now.
    pub fn new(kind: &str, title: &str, config_toml: &str, source: &str) -> Self {
        Self {
            kind: kind.into(),
            title: title.into(),
            config_toml: config_toml.into(),
            created_utc: iso_8601(seconds_since_1970()),
            source: source.into(),
            points: vec![],
        }
    }
}

/// How a run of a point ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It has not been run yet.
    #[default]
    Pending,
    /// It ran to its end.
    Finished,
    /// Loss or model were no longer finite; from the position `at[from]` on it has no values.
    Diverged {
        /// First position without values.
        from: usize,
    },
}

/// One setting of a study with all its runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// What a figure calls it.
    pub label: String,
    /// Name of the scheme.
    pub scheme: String,
    /// The swept keys and their values here, in the order of the configuration.
    pub sweep: Vec<(String, serde_json::Value)>,
    /// Scalar facts and results: loads, bits, bounds, measured errors, ...
    pub attributes: BTreeMap<String, AttributeValue>,
    /// Longer texts: the resolved configuration, the plan as JSON.
    pub documents: BTreeMap<String, String>,
    /// What [`at`](Self::at) counts: "iteration", "stragglers", "residual_bits", ...
    pub axis: String,
    /// Positions along the axis, E of them.
    pub at: Vec<f64>,
    /// Every quantity by name.
    pub series: BTreeMap<String, Series>,
    /// Numbers that every run has one of, by name, R values each (NaN: not done, or none). Their mean
    /// over the runs is the attribute of the same name, its standard error that of `<name>_se`.
    pub facts: BTreeMap<String, Vec<f64>>,
    /// Theoretical curves along the axis by name, E values each.
    pub bounds: BTreeMap<String, Vec<f64>>,
    /// How each of the R runs ended.
    pub outcomes: Vec<Outcome>,
}

/// One quantity along the axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Runs x positions; NaN where a run has no value.
    pub runs: Array2<f64>,
    /// Mean over the runs done; NaN from where a run diverged, and where none has a value.
    pub mean: Vec<f64>,
    /// Standard error of the mean (sample standard deviation over sqrt(R)); 0 for a single run.
    pub standard_error: Vec<f64>,
}

impl Series {
    /// Statistics of `runs` (runs x positions) over the values that are there. Positions from `end` on
    /// have no statistics: a run diverged there, and the mean of the others would flatter.
    pub fn new(runs: Array2<f64>, end: usize) -> Self {
        let (mean, standard_error) = runs
            .columns()
            .into_iter()
            .enumerate()
            .map(|(position, column)| {
                let there = column.iter().copied().filter(|value| !value.is_nan());
                mean_and_error(if position < end {
                    there.collect()
                } else {
                    vec![]
                })
            })
            .unzip();
        Self {
            runs,
            mean,
            standard_error,
        }
    }
}

/// Mean of `values` and its standard error; NaN and NaN without values, error 0 of a single one.
fn mean_and_error(values: Vec<f64>) -> (f64, f64) {
    let count = values.len() as f64;
    if values.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let mean = values.iter().sum::<f64>() / count;
    if values.len() == 1 {
        return (mean, 0.0);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

impl Point {
    /// A point with `runs` pending runs along `at`.
    pub fn new(label: &str, scheme: &str, axis: &str, at: Vec<f64>, runs: usize) -> Self {
        Self {
            label: label.into(),
            scheme: scheme.into(),
            axis: axis.into(),
            at,
            outcomes: vec![Outcome::Pending; runs],
            ..Self::default()
        }
    }

    /// Takes the results of run number `run` in, one value per position and series, and brings the
    /// statistics up to date. A run that diverged keeps no values from its end on.
    ///
    /// # Errors
    /// [`LogError::StudyShape`] if there is no such run or a series has not one value per position;
    /// the point is unchanged then.
    pub fn record(
        &mut self,
        run: usize,
        outcome: Outcome,
        values: &[(&str, &[f64])],
    ) -> Result<(), LogError> {
        let shape_error = |what: &str, found, expected| LogError::StudyShape {
            point: self.label.clone(),
            what: what.into(),
            found,
            expected,
        };
        if run >= self.outcomes.len() {
            return Err(shape_error("run", run, self.outcomes.len()));
        }
        if let Some((name, values)) = values.iter().find(|(_, v)| v.len() != self.at.len()) {
            return Err(shape_error(name, values.len(), self.at.len()));
        }
        self.outcomes[run] = outcome;
        let shape = (self.outcomes.len(), self.at.len());
        let own_end = match outcome {
            Outcome::Diverged { from } => from,
            Outcome::Pending | Outcome::Finished => usize::MAX,
        };
        for &(name, values) in values {
            let series = self.series.entry(name.to_owned()).or_default();
            if series.runs.dim() != shape {
                series.runs = Array2::from_elem(shape, f64::NAN);
            }
            for (position, (cell, &value)) in
                series.runs.row_mut(run).iter_mut().zip(values).enumerate()
            {
                *cell = if position < own_end { value } else { f64::NAN };
            }
        }
        let end = self.end();
        for series in self.series.values_mut() {
            *series = Series::new(std::mem::take(&mut series.runs), end);
        }
        Ok(())
    }

    /// Takes a number that run number `run` has in, and brings the attributes that summarise it up to
    /// date. (Infinite values stay infinite in the mean; the standard error is left out where it is 0,
    /// as for what follows from the configuration alone.)
    ///
    /// # Errors
    /// [`LogError::StudyShape`] if there is no such run.
    pub fn record_fact(&mut self, run: usize, name: &str, value: f64) -> Result<(), LogError> {
        let expected = self.outcomes.len();
        if run >= expected {
            return Err(LogError::StudyShape {
                point: self.label.clone(),
                what: name.into(),
                found: run,
                expected,
            });
        }
        let values = self.facts.entry(name.to_owned()).or_default();
        values.resize(expected, f64::NAN);
        values[run] = value;
        let there = values.iter().copied().filter(|value| !value.is_nan());
        let (mean, error) = mean_and_error(there.collect());
        self.attributes.insert(name.to_owned(), mean.into());
        let error_name = format!("{name}_se");
        if error > 0.0 {
            self.attributes.insert(error_name, error.into());
        } else {
            self.attributes.remove(&error_name);
        }
        Ok(())
    }

    /// Makes room for `runs` runs in all; there are never fewer than before.
    pub fn grow(&mut self, runs: usize) {
        let runs = runs.max(self.outcomes.len());
        self.outcomes.resize(runs, Outcome::Pending);
        for values in self.facts.values_mut() {
            values.resize(runs, f64::NAN);
        }
        for series in self.series.values_mut() {
            let mut grown = Array2::from_elem((runs, self.at.len()), f64::NAN);
            for (mut to, from) in grown.rows_mut().into_iter().zip(series.runs.rows()) {
                to.assign(&from);
            }
            series.runs = grown;
        }
    }

    /// Runs that are done, diverged ones included.
    pub fn done(&self) -> usize {
        self.count(|outcome| outcome != Outcome::Pending)
    }

    /// Runs that diverged.
    pub fn diverged(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Diverged { .. }))
    }

    fn count(&self, which: impl Fn(Outcome) -> bool) -> usize {
        self.outcomes
            .iter()
            .filter(|&&outcome| which(outcome))
            .count()
    }

    /// First position where a run has diverged; `usize::MAX` if none has.
    fn end(&self) -> usize {
        self.outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Diverged { from } => Some(*from),
                Outcome::Pending | Outcome::Finished => None,
            })
            .min()
            .unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_over_the_runs_that_are_done_and_end_where_one_diverges() {
        let mut point = Point::new("a", "sgc", "iteration", vec![0.0, 1.0, 2.0], 4);
        point
            .record(0, Outcome::Finished, &[("loss", &[1.0, 2.0, 3.0])])
            .unwrap();
        let loss = &point.series["loss"];
        assert_eq!(loss.mean, [1.0, 2.0, 3.0]);
        assert_eq!(loss.standard_error, [0.0; 3]);
        point
            .record(2, Outcome::Finished, &[("loss", &[3.0, 4.0, f64::NAN])])
            .unwrap();
        let loss = &point.series["loss"];
        assert_eq!(loss.mean, [2.0, 3.0, 3.0], "missing samples are left out");
        assert_eq!(loss.standard_error, [1.0, 1.0, 0.0]);
        let diverged = Outcome::Diverged { from: 1 };
        point
            .record(3, diverged, &[("loss", &[5.0, 1e300, 7.0])])
            .unwrap();
        let loss = &point.series["loss"];
        assert_eq!(loss.mean[0], 3.0);
        assert!(loss.mean[1].is_nan() && loss.mean[2].is_nan());
        assert_eq!(loss.runs[[2, 1]], 4.0, "the other runs are kept");
        assert!(loss.runs[[3, 1]].is_nan());
        assert!(loss.runs.row(1).iter().all(|value| value.is_nan()));
        assert_eq!((point.done(), point.diverged()), (3, 1));
    }

    #[test]
    fn facts_are_summarised_by_attributes() {
        let mut point = Point::new("a", "sgc", "iteration", vec![0.0], 3);
        point.record_fact(0, "load", 1.0).unwrap();
        point.record_fact(2, "load", 3.0).unwrap();
        assert_eq!(point.attributes["load"], 2.0.into());
        assert_eq!(point.attributes["load_se"], 1.0.into());
        point.record_fact(0, "bound", f64::INFINITY).unwrap();
        point.record_fact(1, "bound", f64::INFINITY).unwrap();
        assert_eq!(point.attributes["bound"], f64::INFINITY.into());
        assert!(!point.attributes.contains_key("bound_se"));
        assert!(point.record_fact(3, "load", 1.0).is_err());
    }

    #[test]
    fn a_grown_point_keeps_what_it_has() {
        let mut point = Point::new("a", "sgc", "iteration", vec![0.0, 1.0], 1);
        point
            .record(0, Outcome::Finished, &[("loss", &[1.0, 2.0])])
            .unwrap();
        point.record_fact(0, "load", 1.0).unwrap();
        point.grow(3);
        assert_eq!(point.outcomes.len(), 3);
        assert_eq!(point.series["loss"].mean, [1.0, 2.0]);
        point
            .record(2, Outcome::Finished, &[("loss", &[3.0, 2.0])])
            .unwrap();
        assert_eq!(point.series["loss"].mean, [2.0, 2.0]);
        assert_eq!(point.facts["load"].len(), 3);
    }

    #[test]
    fn results_of_another_shape_are_refused() {
        let mut point = Point::new("a", "sgc", "iteration", vec![0.0, 1.0], 1);
        let before = point.clone();
        for (run, values) in [(1, vec![1.0, 2.0]), (0, vec![1.0])] {
            let error = point
                .record(run, Outcome::Finished, &[("loss", &values)])
                .unwrap_err();
            assert!(matches!(error, LogError::StudyShape { .. }), "{error}");
        }
        assert_eq!(point, before);
    }
}
