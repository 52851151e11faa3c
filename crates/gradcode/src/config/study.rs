//! A study: every combination of the listed schemes and the swept values, each a configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::document::{Document, SchemeEntry, SweepKey};
use super::error::ConfigError;
use super::layer::{Layer, SchemeLayer, Section, StudyLayer};
use super::origin::{Origins, Place};
use super::settings::Config;
use super::source::{Merged, Sources, one_alternative, parse_set};
use super::values::{Every, Method, StudyKind, StudyRates};

/// `[study]`
#[derive(Clone, Debug, PartialEq)]
pub struct StudySettings {
    /// What is studied.
    pub kind: StudyKind,
    /// Runs of every point; run r takes the seed `seed + r`.
    pub runs: usize,
    /// Runs at once; 0 = one per core.
    pub jobs: usize,
    /// Whether drawn rates differ from run to run.
    pub rates: StudyRates,
    /// Training: rounds of the error measurement before a run; 0 = none.
    pub probe: u64,
    /// Decoding error: numbers of stragglers; empty = some, evenly spaced.
    pub stragglers: Vec<usize>,
    /// Decoding error: straggler sets per code and number.
    pub sets: usize,
    /// Allocation: budgets Z_res.
    pub residual_bits: Vec<u64>,
}

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

    /// `[study]`, and warnings about keys in it that have no effect.
    fn study_settings(
        &self,
        document: &Document,
        place: &Place,
    ) -> Result<(StudySettings, Vec<String>), ConfigError> {
        let mut layer = StudyLayer::default();
        let mut origins = Origins::default();
        layer.overlay(
            document.study.clone().unwrap_or_default(),
            place,
            &mut origins,
        );
        for argument in self.set.iter().filter(|argument| is_study_key(argument)) {
            let upper = study_set(argument)?;
            layer.overlay(upper, &Place::argument("--set", argument), &mut origins);
        }
        let at_least_one = |key: &str, value: usize| {
            if value >= 1 {
                return Ok(value);
            }
            Err(ConfigError::Invalid {
                key: key.into(),
                value: value.to_string(),
                origin: origins.of(key),
                valid: "needs at least 1".into(),
            })
        };
        let settings = StudySettings {
            kind: layer.kind.unwrap_or(StudyKind::Training),
            runs: at_least_one("study.runs", layer.runs.unwrap_or(10))?,
            jobs: layer.jobs.unwrap_or(0),
            rates: layer.rates.unwrap_or(StudyRates::Shared),
            probe: layer.probe.unwrap_or(0),
            stragglers: layer.stragglers.unwrap_or_default(),
            sets: at_least_one("study.sets", layer.sets.unwrap_or(20))?,
            residual_bits: layer.residual_bits.unwrap_or_default(),
        };
        let positions = settings.stragglers.iter().map(|&count| count as u64);
        for (key, list) in [
            ("study.stragglers", positions.collect()),
            ("study.residual_bits", settings.residual_bits.clone()),
        ] {
            if !list.is_sorted_by(|a, b| a < b) {
                return Err(ConfigError::Invalid {
                    key: key.into(),
                    value: format!("{list:?}"),
                    origin: origins.of(key),
                    valid: "must rise from one to the next".into(),
                });
            }
        }
        if settings.kind == StudyKind::Allocation && settings.residual_bits.is_empty() {
            return Err(ConfigError::Missing {
                key: "study.residual_bits".into(),
                valid: "the budgets Z_res to allocate, for instance [50, 100, 150, 200]".into(),
            });
        }
        let (listed, budgets) = (&settings.stragglers, &settings.residual_bits);
        let wanted = [
            ("study.probe", settings.probe > 0, StudyKind::Training),
            (
                "study.stragglers",
                !listed.is_empty(),
                StudyKind::DecodingError,
            ),
            (
                "study.residual_bits",
                !budgets.is_empty(),
                StudyKind::Allocation,
            ),
        ];
        let idle = wanted
            .into_iter()
            .filter(|(_, wanted, kind)| *wanted && *kind != settings.kind)
            .map(|(key, ..)| {
                let (origin, kind) = (origins.of(key), settings.kind);
                format!("`{key}` ({origin}) has no effect with study.kind = \"{kind}\"")
            })
            .collect();
        Ok((settings, idle))
    }

    /// The swept keys by their full names; none may be set by `--set` as well.
    fn named_sweep(
        &self,
        document: &Document,
        place: &Place,
    ) -> Result<Vec<SweepKey>, ConfigError> {
        let mut sweep = document.sweep.clone();
        for key in &mut sweep {
            if key.key == "budget" {
                key.key = self.budget_key(document, place)?;
            }
        }
        let mut seen = BTreeSet::new();
        for key in &sweep {
            if !seen.insert(key.key.clone()) {
                return Err(self.study_error(format!("`{}` is swept twice", key.key)));
            }
            let instead = match key.key.as_str() {
                "scheme.kind" => "list schemes as [[scheme]]",
                "seed" => "run r takes seed + r; study.runs says how many",
                "title" | "out" => "a study has one",
                _ => "",
            };
            if !instead.is_empty() {
                return Err(self.study_error(format!(
                    "line {} sweeps `{}`, which is not possible: {instead}",
                    key.line, key.key
                )));
            }
            let set_too = |argument: &&String| {
                argument
                    .split_once('=')
                    .is_some_and(|(set, _)| set.trim() == key.key)
            };
            if let Some(argument) = self.set.iter().find(set_too) {
                return Err(self.study_error(format!(
                    "--set {argument} fixes what line {} sweeps; --scheme LABEL picks a single experiment, in which --set wins",
                    key.line
                )));
            }
        }
        Ok(sweep)
    }

    /// The budget key that the layers state.
    pub(super) fn budget_key(
        &self,
        document: &Document,
        place: &Place,
    ) -> Result<String, ConfigError> {
        let mut merged = Merged::defaults()?;
        merged.add(document.base.clone(), place);
        self.upper_layers(&mut merged)?;
        let budget = &merged.layer.budget;
        let stated = [
            ("total_bits", budget.total_bits.is_some()),
            ("residual_bits", budget.residual_bits.is_some()),
            ("mean_bits", budget.mean_bits.is_some()),
        ];
        match stated.iter().find(|(_, stated)| *stated) {
            Some((key, _)) => Ok(format!("budget.{key}")),
            None => Err(self.study_error(
                "sweep.budget needs to know in which terms: set budget.total_bits, residual_bits or mean_bits \
                 to any value, or sweep that key by its name (sweep.budget.mean_bits = [..])"
                    .into(),
            )),
        }
    }

    /// The study as a file that gives it again.
    fn study_toml(
        &self,
        document: &Document,
        place: &Place,
        entries: &[SchemeEntry],
        sweep: &[SweepKey],
        settings: &StudySettings,
    ) -> Result<String, ConfigError> {
        let mut merged = Merged::defaults()?;
        merged.add(document.base.clone(), place);
        self.upper_layers(&mut merged)?;
        let unwritable = |error: toml::ser::Error| self.study_error(error.to_string());
        let mut table = toml::Table::try_from(&merged.layer).map_err(unwritable)?;
        if !document.schemes.is_empty() {
            let list: Result<Vec<toml::Value>, _> =
                entries.iter().map(SchemeEntry::to_toml).collect();
            table.insert(
                "scheme".into(),
                toml::Value::Array(list.map_err(unwritable)?),
            );
        }
        let study = toml::Table::try_from(settings.to_layer()).map_err(unwritable)?;
        table.insert("study".into(), study.into());
        let mut text = toml::to_string(&table).map_err(unwritable)?;
        // By hand, because a table would not keep the order, in which the points are numbered.
        if !sweep.is_empty() {
            text.push_str("\n[sweep]\n");
        }
        for key in sweep {
            let values = toml::Value::Array(key.values.clone());
            text.push_str(&format!("{} = {values}\n", key.key));
        }
        Ok(text)
    }

    fn study_error(&self, message: String) -> ConfigError {
        ConfigError::Study {
            path: self.experiment.clone(),
            message,
        }
    }
}

impl StudySettings {
    fn to_layer(&self) -> StudyLayer {
        let listed = |list: &[u64]| (!list.is_empty()).then(|| list.to_vec());
        StudyLayer {
            kind: Some(self.kind),
            runs: Some(self.runs),
            jobs: Some(self.jobs),
            rates: Some(self.rates),
            probe: Some(self.probe),
            stragglers: (!self.stragglers.is_empty()).then(|| self.stragglers.clone()),
            sets: Some(self.sets),
            residual_bits: listed(&self.residual_bits),
        }
    }
}

impl SchemeEntry {
    fn to_toml(&self) -> Result<toml::Value, toml::ser::Error> {
        let mut table = toml::Table::try_from(&self.layer.scheme)?;
        if let Some(label) = &self.label {
            table.insert("label".into(), label.clone().into());
        }
        let with = Layer {
            scheme: SchemeLayer::default(),
            ..self.layer.clone()
        };
        let with = toml::Table::try_from(with)?;
        if !with.is_empty() {
            table.insert("with".into(), with.into());
        }
        Ok(table.into())
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

/// Indices of every combination of the swept values, the last key fastest; one empty combination
/// without keys.
fn combinations(sweep: &[SweepKey]) -> Vec<Vec<usize>> {
    sweep.iter().fold(vec![vec![]], |before, key| {
        before
            .iter()
            .flat_map(|chosen| {
                (0..key.values.len()).map(move |value| {
                    let mut chosen = chosen.clone();
                    chosen.push(value);
                    chosen
                })
            })
            .collect()
    })
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
                origin: Origins::default().of(key),
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

/// Whether a `--set` argument is about `[study]`.
pub(super) fn is_study_key(argument: &str) -> bool {
    argument.trim_start().starts_with("study.")
}

/// `study.key=value`.
fn study_set(argument: &str) -> Result<StudyLayer, ConfigError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Only {
        study: StudyLayer,
    }
    parse_set::<Only>(argument).map(|only| only.study)
}

#[cfg(test)]
mod tests;
