//! A study: every combination of the listed schemes and the swept values, each a configuration.
//!
//! [`settings`] has the keys of `[study]`, [`sweep`] what varies, and `written` the study as a file again.

mod settings;
mod sweep;
mod written;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::document::{Document, SchemeEntry, SweepKey};
use super::error::ConfigError;
use super::layer::{Layer, SchemeLayer};
use super::origin::Place;
use super::settings::Config;
use super::source::{Merged, Sources, one_alternative};
use super::values::{Every, Method, StudyKind};
pub use settings::StudySettings;
pub(super) use settings::is_study_key;
use sweep::combinations;

/// A study, expanded and checked.
#[derive(Clone, Debug)]
pub struct StudyConfig {
    /// `[study]`
    pub settings: StudySettings,
    /// Name of the study.
    pub title: String,
    /// The run directory.
    pub out: PathBuf,
    /// The combinations, schemes outermost.
    pub points: Vec<PointConfig>,
    /// The study as one experiment file, with all layers merged.
    pub toml: String,
    /// Keys that were set but have no effect, once each.
    pub warnings: Vec<String>,
}

/// One combination.
#[derive(Clone, Debug)]
pub struct PointConfig {
    /// The scheme's label.
    pub label: String,
    /// The swept keys and their values here.
    pub sweep: Vec<(String, serde_json::Value)>,
    /// What is run, but for the seed.
    pub config: Config,
}

impl PointConfig {
    /// Label and swept values, for messages.
    pub fn name(&self) -> String {
        named(&self.label, &self.sweep)
    }
}

impl Sources {
    /// The study in the experiment file; `None` if it is a single experiment, unless `force`.
    ///
    /// # Errors
    /// Everything that [`ConfigError`] knows; a message about one point names it.
    pub fn load_study(&self, force: bool) -> Result<Option<StudyConfig>, ConfigError> {
        let (document, place) = self.document()?;
        if !document.is_study() && !force {
            return Ok(None);
        }
        let (settings, idle) = self.study_settings(&document, &place)?;
        let sweep = self.named_sweep(&document, &place)?;
        let entries = match settings.kind {
            StudyKind::Allocation if document.schemes.is_empty() => {
                every_allocator(&self.experiment)
            }
            _ => document.entries(&self.experiment),
        };
        let mut points = vec![];
        let mut seen: Vec<Vec<String>> = vec![];
        for entry in &entries {
            for values in combinations(&sweep) {
                let point = self.point(&document, &place, entry, &sweep, &values)?;
                seen.push(point.1);
                points.push(point.0);
            }
        }
        check_labels(&points, &self.experiment)?;
        check_points(&points, settings.kind)?;
        let toml = self.study_toml(&document, &place, &entries, &sweep, &settings)?;
        Ok(points.first().map(|first| StudyConfig {
            title: first.config.title.clone(),
            out: first.config.out.clone(),
            settings,
            points: points.clone(),
            toml,
            warnings: [idle, common_warnings(&seen)].concat(),
        }))
    }

    fn point(
        &self,
        document: &Document,
        place: &Place,
        entry: &SchemeEntry,
        sweep: &[SweepKey],
        values: &[usize],
    ) -> Result<(PointConfig, Vec<String>), ConfigError> {
        let mut merged = Merged::defaults()?;
        merged.add(document.base.clone(), place);
        one_alternative(&entry.layer, &entry.place)?;
        merged.add(entry.layer.clone(), &entry.place);
        for (key, &value) in sweep.iter().zip(values) {
            let layer = key.layer(&key.values[value], &self.experiment)?;
            merged.add(layer, &key.place(&self.experiment));
        }
        self.upper_layers(&mut merged)?;
        let swept: Vec<(String, serde_json::Value)> = sweep
            .iter()
            .zip(values)
            .map(|(key, &value)| {
                let json = serde_json::to_value(&key.values[value]).unwrap_or_default();
                (key.key.clone(), json)
            })
            .collect();
        let resolved = self.resolve(merged).map_err(|source| ConfigError::Point {
            point: named(&entry.name(), &swept),
            source: Box::new(source),
        })?;
        let kind = resolved.config.scheme.kind;
        let label = entry.label.clone().unwrap_or_else(|| kind.to_string());
        let point = PointConfig {
            label,
            sweep: swept,
            config: resolved.config,
        };
        Ok((point, resolved.warnings))
    }
}

/// One entry per allocator that is worth comparing.
fn every_allocator(path: &Path) -> Vec<SchemeEntry> {
    use Method::{Algorithm1, Continuous, Dp, Equal, Exact, Greedy};
    [Exact, Dp, Algorithm1, Continuous, Greedy, Equal]
        .into_iter()
        .map(|method| SchemeEntry {
            label: Some(method.to_string()),
            layer: Layer {
                scheme: SchemeLayer {
                    kind: "joint".parse().ok(),
                    method: Some(method),
                    ..SchemeLayer::default()
                },
                ..Layer::default()
            },
            place: Place::lines(path, vec![]),
        })
        .collect()
}

fn named(label: &str, sweep: &[(String, serde_json::Value)]) -> String {
    let mut name = label.to_owned();
    for (key, value) in sweep {
        name.push_str(&format!(", {key} = {value}"));
    }
    name
}

fn check_labels(points: &[PointConfig], path: &Path) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for point in points {
        if point.label.trim().is_empty() {
            return Err(ConfigError::Study {
                path: path.to_owned(),
                message: "a label is empty; without one a [[scheme]] is called by its kind".into(),
            });
        }
        if !seen.insert(point.name()) {
            return Err(ConfigError::Study {
                path: path.to_owned(),
                message: format!(
                    "two points are called `{}`; give each [[scheme]] a label of its own",
                    point.name()
                ),
            });
        }
    }
    Ok(())
}

/// Each warning once. A key that has no effect on some of the points is as it should be: only what no
/// point reads is worth a word.
fn common_warnings(seen: &[Vec<String>]) -> Vec<String> {
    let mut warnings: Vec<String> = vec![];
    for warning in seen.iter().flatten() {
        let idle_key = warning.contains("has no effect");
        // The reason may differ from point to point, the key and its place do not.
        let head = warning.split("has no effect").next().unwrap_or(warning);
        let everywhere = seen
            .iter()
            .all(|of_point| of_point.iter().any(|other| other.starts_with(head)));
        let known = warnings.iter().any(|other| other.starts_with(head));
        if (everywhere || !idle_key) && !known {
            warnings.push(warning.clone());
        }
    }
    warnings
}

/// What only a study asks of a configuration.
fn check_points(points: &[PointConfig], kind: StudyKind) -> Result<(), ConfigError> {
    for point in points {
        let config = &point.config;
        let wrong = |key: &str, value: String, valid: &str| ConfigError::Point {
            point: point.name(),
            source: Box::new(ConfigError::Invalid {
                key: key.into(),
                value,
                origin: config.origins.of(key),
                valid: valid.into(),
            }),
        };
        if kind == StudyKind::Training {
            if let Every::Seconds(seconds) = config.evaluation.every {
                return Err(wrong(
                    "evaluation.every",
                    format!("{{ seconds = {seconds} }}"),
                    "the runs of a study are averaged by iteration: take { steps = n } or \"never\"",
                ));
            }
            if config.evaluation.every == Every::Never && !config.evaluation.at_end {
                return Err(wrong(
                    "evaluation.at_end",
                    "false".into(),
                    "a study records nothing but evaluations",
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
