//! What is compared: the points of studies, and runs as points of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use run_log::study::{Point, Study};
use run_log::{LogError, RunReader};

use super::super::failure;
use super::quantity::value_text;
use super::runs::{point_of_runs, replicate_key};
use crate::exit::{Failure, Outcome};

/// Points of one or more files.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Title of the only study, or all titles.
    pub title: String,
    /// Kinds of the studies, without repetition; "runs" for run logs.
    pub kinds: Vec<String>,
    /// The points in the files' order; labels tell those of one sweep value apart.
    pub points: Vec<Entry>,
}

/// A point and where it comes from.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// The file.
    pub path: String,
    /// Its title.
    pub title: String,
    /// The point.
    pub point: Point,
}

/// Values of the swept keys, in order.
pub type Sweep = Vec<(String, serde_json::Value)>;

impl Comparison {
    /// Reads the files.
    ///
    /// # Errors
    /// Exit code 2 if one is missing, is neither a study nor a run or is of another version; 30 if it
    /// cannot be read.
    pub fn open(paths: &[PathBuf]) -> Outcome<Self> {
        let mut entries = vec![];
        let mut kinds = vec![];
        let mut runs: Vec<(String, PathBuf, RunReader)> = vec![];
        for path in paths {
            let from_study = match Study::open(study_path(path)) {
                Ok(study) => Some(study),
                Err(LogError::NotAStudy { .. }) => None,
                Err(error) => return Err(failure(error)),
            };
            if let Some(study) = from_study {
                kinds.push(study.kind);
                entries.extend(study.points.into_iter().map(|point| Entry {
                    path: path.display().to_string(),
                    title: study.title.clone(),
                    point,
                }));
            } else {
                let run = RunReader::open(path).map_err(failure)?;
                let key = replicate_key(&run)?;
                runs.push((key, path.clone(), run));
            }
        }
        while let Some((key, path, first)) = (!runs.is_empty()).then(|| runs.remove(0)) {
            let (same, others) = runs.into_iter().partition(|(other, ..)| *other == key);
            runs = others;
            let replicates = same.into_iter().map(|(_, _, run)| run);
            let all: Vec<RunReader> = std::iter::once(first).chain(replicates).collect();
            entries.push(point_of_runs(&path, &all)?);
            kinds.push("runs".into());
        }
        let mut seen = BTreeSet::new();
        kinds.retain(|kind| seen.insert(kind.clone()));
        tell_apart(&mut entries);
        let titles: BTreeSet<&str> = entries
            .iter()
            .map(|entry| entry.title.as_str())
            .filter(|title| !title.is_empty())
            .collect();
        let comparison = Self {
            title: titles.into_iter().collect::<Vec<_>>().join(" / "),
            kinds,
            points: entries,
        };
        if comparison.points.iter().all(|e| e.point.series.is_empty()) {
            let names: Vec<String> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            return Err(Failure::usage(format!(
                "failed to compare {}: no results yet",
                names.join(", ")
            ))
            .hint("`gradcode simulate` with the same experiment goes on with a half-done study"));
        }
        Ok(comparison)
    }

    /// Different labels, in order.
    pub fn labels(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.points
            .iter()
            .map(|entry| entry.point.label.as_str())
            .filter(|label| seen.insert(*label))
            .collect()
    }

    /// Points by the values of the swept keys, both in order.
    pub fn combinations(&self) -> Vec<(Sweep, Vec<&Entry>)> {
        grouped(self.points.iter(), |entry| entry.point.sweep.clone())
    }

    /// The swept keys that take more than one value.
    pub fn swept_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = vec![];
        for (key, _) in self.points.iter().flat_map(|entry| &entry.point.sweep) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        let values = |key: &str| {
            let texts = self
                .points
                .iter()
                .filter_map(|entry| value_at(&entry.point, key));
            texts.map(value_text).collect::<BTreeSet<_>>().len()
        };
        keys.retain(|key| values(key) > 1);
        keys
    }

    /// Every series name, sorted.
    pub fn series_names(&self) -> Vec<&str> {
        let all = self
            .points
            .iter()
            .flat_map(|entry| entry.point.series.keys());
        let sorted: BTreeSet<&str> = all.map(String::as_str).collect();
        sorted.into_iter().collect()
    }
}

/// Value of a swept key at a point.
pub fn value_at<'a>(point: &'a Point, key: &str) -> Option<&'a serde_json::Value> {
    let found = point.sweep.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value)
}

/// Items by a key that is compared for equality, groups and items in order.
pub fn grouped<'a, T, K: PartialEq>(
    items: impl Iterator<Item = &'a T>,
    key: impl Fn(&T) -> K,
) -> Vec<(K, Vec<&'a T>)> {
    let mut groups: Vec<(K, Vec<&T>)> = vec![];
    for item in items {
        let key = key(item);
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, members)) => members.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

/// A directory stands for the study in it, if there is one, and for its run otherwise.
fn study_path(path: &Path) -> PathBuf {
    let inside = path.join("study.h5");
    match path.is_dir() {
        true if inside.exists() => inside,
        true => path.join("run.h5"),
        false => path.to_owned(),
    }
}

/// Labels of equal sweep values: single runs get that of their scheme instead of their title, then all
/// get their study's title, or a number if that does not help.
fn tell_apart(entries: &mut [Entry]) {
    let clashes = |entries: &[Entry], i: usize| {
        let point = |k: usize| (&entries[k].point.label, &entries[k].point.sweep);
        (0..entries.len()).any(|k| k != i && point(k) == point(i))
    };
    let clashing = |entries: &[Entry]| -> Vec<usize> {
        let all = 0..entries.len();
        all.filter(|&i| clashes(entries, i)).collect()
    };
    for i in clashing(entries) {
        let point = &mut entries[i].point;
        if entries[i].title == point.label && !point.scheme.is_empty() {
            point.label = point.scheme.clone();
        }
    }
    for i in clashing(entries) {
        if !entries[i].title.is_empty() {
            entries[i].point.label = format!("{} ({})", entries[i].point.label, entries[i].title);
        }
    }
    let still = clashing(entries);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for i in still {
        let count = counts.entry(format!("{:?}", entries[i].point.sweep) + &entries[i].point.label);
        let number = count.and_modify(|count| *count += 1).or_insert(1);
        entries[i].point.label = format!("{} #{number}", entries[i].point.label);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{decoding, swept, trained, written};
    use super::*;
    use crate::exit::USAGE;

    #[test]
    fn studies_are_read_from_files_and_directories() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path(), &swept());
        for path in [path, dir.path().to_owned()] {
            let comparison = Comparison::open(&[path]).ok().unwrap();
            assert_eq!(comparison.title, "two budgets");
            assert_eq!(comparison.labels(), ["joint", "SGC"]);
            assert_eq!(comparison.swept_keys(), ["budget.residual_bits"]);
            let sizes: Vec<usize> = comparison
                .combinations()
                .iter()
                .map(|(_, points)| points.len())
                .collect();
            assert_eq!(sizes, [2, 2]);
        }
    }

    #[test]
    fn equal_labels_of_two_studies_are_told_apart() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let paths = [(&a, "first"), (&b, "second")].map(|(dir, title)| {
            let mut study = swept();
            study.title = title.into();
            written(dir.path(), &study)
        });
        let comparison = Comparison::open(&paths).ok().unwrap();
        assert_eq!(
            comparison.labels(),
            [
                "joint (first)",
                "SGC (first)",
                "joint (second)",
                "SGC (second)"
            ]
        );
        let twice = Comparison::open(&[paths[0].clone(), paths[0].clone()])
            .ok()
            .unwrap();
        assert_eq!(twice.labels()[0], "joint (first) #1");
        assert_eq!(twice.labels()[2], "joint (first) #2");
    }

    #[test]
    fn runs_of_one_experiment_are_called_by_their_schemes() {
        let run = |scheme: &str| Entry {
            title: "quickstart".into(),
            point: Point::new("quickstart", scheme, "iteration", vec![0.0], 1),
            ..Entry::default()
        };
        let mut entries = ["joint", "sgc", "sgc"].map(run);
        tell_apart(&mut entries);
        let labels = entries.map(|entry| entry.point.label);
        assert_eq!(
            labels,
            ["joint", "sgc (quickstart) #1", "sgc (quickstart) #2"]
        );
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Comparison::open(&[dir.path().join("nowhere")])
            .err()
            .unwrap();
        assert_eq!(missing.code, USAGE);
        let foreign = dir.path().join("foreign.h5");
        std::fs::write(&foreign, "no HDF5").unwrap();
        assert_eq!(Comparison::open(&[foreign]).err().unwrap().code, USAGE);
        let mut pending = decoding();
        let point = trained("x", 1.0, 1.0);
        pending.points = vec![Point::new("x", "x", "iteration", point.at, 2)];
        let path = written(dir.path(), &pending);
        let error = Comparison::open(&[path]).err().unwrap();
        assert!(error.message.contains("no results yet"), "{error}");
    }
}
