//! Where layers come from: the embedded defaults, files, and `--set` arguments.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::document::{Document, SchemeEntry};
use super::error::{ConfigError, quoted};
use super::layer::Layer;
use super::origin::{Origins, Place};
use super::resolve::{self, Resolved};
use super::study::is_study_key;

/// The embedded default configuration, which is also the reference of all keys.
pub const DEFAULT: &str = include_str!("default.toml");

/// What to load, in the order of the layers.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The experiment file.
    pub experiment: PathBuf,
    /// The cluster file.
    pub cluster: Option<PathBuf>,
    /// `key=value`, later ones win.
    pub set: Vec<String>,
    /// The run directory from the command line.
    pub out: Option<PathBuf>,
    /// MPI ranks beside the master, if this runs under MPI: the default number of workers.
    pub worker_ranks: Option<usize>,
    /// Of a study, the one scheme to take, by its label; swept keys have their first value.
    pub scheme: Option<String>,
}

impl Sources {
    /// Reads, merges and checks all layers.
    ///
    /// # Errors
    /// Everything that [`ConfigError`] knows.
    pub fn load(&self) -> Result<Resolved, ConfigError> {
        let (document, place) = self.document()?;
        let mut merged = Merged::defaults()?;
        merged.add(document.base.clone(), &place);
        let about_study = self.set.iter().find(|argument| is_study_key(argument));
        if let Some(argument) = about_study.filter(|_| !document.is_study()) {
            return Err(ConfigError::Set {
                argument: argument.clone(),
                message: "the file is a single experiment, no study".into(),
            });
        }
        if let Some(entry) = self.pick(&document)? {
            one_alternative(&entry.layer, &entry.place)?;
            merged.add(entry.layer.clone(), &entry.place);
            for mut key in document.sweep.clone() {
                if key.key == "budget" {
                    key.key = self.budget_key(&document, &place)?;
                }
                let layer = key.layer(&key.values[0], &self.experiment)?;
                merged.add(layer, &key.place(&self.experiment));
            }
        }
        self.upper_layers(&mut merged)?;
        self.resolve(merged)
    }

    /// The experiment file.
    pub(super) fn document(&self) -> Result<(Document, Place), ConfigError> {
        let text = read(&self.experiment)?;
        let document = Document::parse(&text, &self.experiment)?;
        let place = Place::file(&self.experiment, &text);
        one_alternative(&document.base, &place)?;
        Ok((document, place))
    }

    /// The cluster file and the command line, laid over the experiment.
    pub(super) fn upper_layers(&self, merged: &mut Merged) -> Result<(), ConfigError> {
        if let Some(cluster) = &self.cluster {
            merged.add_text(&read(cluster)?, cluster)?;
        }
        for argument in self.set.iter().filter(|argument| !is_study_key(argument)) {
            let place = Place::argument("--set", argument);
            merged.add(parse_set(argument)?, &place);
        }
        if let Some(out) = &self.out {
            let out = path_text(out)?;
            let layer = Layer {
                out: Some(out.clone()),
                ..Layer::default()
            };
            merged.add(layer, &Place::argument("--out", &out));
        }
        Ok(())
    }

    pub(super) fn resolve(&self, merged: Merged) -> Result<Resolved, ConfigError> {
        let stem = self
            .experiment
            .file_stem()
            .map_or_else(|| "run".into(), |stem| stem.to_string_lossy());
        resolve::resolve(merged.layer, merged.origins, &stem, self.worker_ranks)
    }

    /// The entry of a study to load as a single experiment; `None` if the file is no study.
    fn pick(&self, document: &Document) -> Result<Option<SchemeEntry>, ConfigError> {
        if !document.is_study() && self.scheme.is_none() {
            return Ok(None);
        }
        let entries = document.entries(&self.experiment);
        let labels: Vec<String> = entries.iter().map(SchemeEntry::name).collect();
        let picked = match &self.scheme {
            Some(label) => entries.into_iter().find(|entry| entry.name() == *label),
            // [study] alone: nothing to pick.
            None if document.schemes.is_empty() && document.sweep.is_empty() => {
                entries.into_iter().next()
            }
            None => {
                return Err(ConfigError::IsStudy {
                    path: self.experiment.clone(),
                    labels,
                });
            }
        };
        match (picked, &self.scheme) {
            (Some(entry), _) => Ok(Some(entry)),
            (None, label) => Err(ConfigError::Study {
                path: self.experiment.clone(),
                message: format!(
                    "there is no scheme `{}`; its labels are {}",
                    label.as_deref().unwrap_or_default(),
                    quoted(&labels)
                ),
            }),
        }
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

fn path_text(path: &Path) -> Result<String, ConfigError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| ConfigError::Set {
            argument: path.display().to_string(),
            message: "a run directory's name must be UTF-8, because the log stores it".into(),
        })
}

/// Reads a complete configuration as a run stores it (`Resolved::to_toml`).
///
/// # Errors
/// As [`Sources::load`]; `label` stands for the file's name.
pub fn from_text(text: &str, label: &Path) -> Result<Resolved, ConfigError> {
    let mut merged = Merged::defaults()?;
    merged.add_text(text, label)?;
    resolve::resolve(merged.layer, merged.origins, "run", None)
}

/// The layers so far.
pub(super) struct Merged {
    pub(super) layer: Layer,
    pub(super) origins: Origins,
}

impl Merged {
    pub(super) fn defaults() -> Result<Self, ConfigError> {
        let mut merged = Merged {
            layer: Layer::default(),
            origins: Origins::default(),
        };
        merged.add(
            parse(DEFAULT, Path::new("default"))?,
            &Place::default_file(),
        );
        Ok(merged)
    }

    pub(super) fn add(&mut self, upper: Layer, place: &Place) {
        self.layer.overlay(upper, place, &mut self.origins);
    }

    fn add_text(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let layer = parse(text, path)?;
        let place = Place::file(path, text);
        one_alternative(&layer, &place)?;
        self.add(layer, &place);
        Ok(())
    }
}

fn parse(text: &str, path: &Path) -> Result<Layer, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Parse {
        path: path.to_owned(),
        message: plain(error.to_string().trim_end()),
    })
}

/// Within one layer, alternatives exclude each other (between layers the later one wins).
pub(super) fn one_alternative(layer: &Layer, place: &Place) -> Result<(), ConfigError> {
    let budget = &layer.budget;
    let groups: [(&str, Vec<(&str, bool)>); 2] = [
        (
            "exactly one of the budget keys can be set in a file",
            vec![
                ("budget.total_bits", budget.total_bits.is_some()),
                ("budget.residual_bits", budget.residual_bits.is_some()),
                ("budget.mean_bits", budget.mean_bits.is_some()),
            ],
        ),
        (
            "a deadline is either fixed or found by one rule",
            vec![
                ("deadline.seconds", layer.deadline.seconds.is_some()),
                ("deadline.quantile", layer.deadline.quantile.is_some()),
                (
                    "deadline.median_plus_mad",
                    layer.deadline.median_plus_mad.is_some(),
                ),
            ],
        ),
    ];
    let mut origins = Origins::default();
    for (valid, keys) in groups {
        let mut present = keys.iter().filter(|(_, set)| *set).map(|(key, _)| {
            origins.set((*key).to_owned(), place);
            ((*key).to_owned(), origins.of(key))
        });
        if let (Some(first), Some(second)) = (present.next(), present.next()) {
            return Err(ConfigError::Conflict {
                keys: Box::new([first, second]),
                valid: valid.into(),
            });
        }
    }
    Ok(())
}

/// `key=value`: the value is TOML, or a bare word that stands for a string.
pub(super) fn parse_set<T: DeserializeOwned>(argument: &str) -> Result<T, ConfigError> {
    let error = |message: String| ConfigError::Set {
        argument: argument.to_owned(),
        message,
    };
    let Some((key, value)) = argument.split_once('=') else {
        return Err(error(
            "expected key=value, for instance optimizer.learning_rate=0.01".into(),
        ));
    };
    let (key, value) = (key.trim(), value.trim());
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if key.is_empty() || !key.chars().all(is_key) {
        return Err(error(format!(
            "`{key}` is no key; `gradcode config default` lists all of them"
        )));
    }
    let first = match toml::from_str::<T>(&format!("{key} = {value}")) {
        Ok(layer) => return Ok(layer),
        Err(first) => first,
    };
    // A bare word, or a number where a string is wanted (a path that is a year).
    let bare =
        !value.is_empty() && !value.starts_with(['"', '\'', '[', '{']) && !value.contains('\n');
    if bare {
        let quoted = toml::Value::String(value.to_owned());
        match toml::from_str::<T>(&format!("{key} = {quoted}")) {
            Ok(layer) => return Ok(layer),
            // It was no TOML value, so what is wrong with the word is what counts.
            Err(second) if toml::from_str::<toml::Table>(&format!("{key} = {value}")).is_err() => {
                return Err(error(plain(second.message())));
            }
            Err(_) => {}
        }
    }
    Err(error(plain(first.message())))
}

/// What was expected, in the words of configurations instead of Rust's.
pub(super) fn plain(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let expected = match expected.split_once(|c: char| c.is_whitespace()) {
        None if matches!(expected, "u8" | "u32" | "u64" | "usize") => "a whole number from 0",
        None if matches!(expected, "f32" | "f64") => "a number",
        Some(("struct", name)) if !name.contains(char::is_whitespace) => "a table",
        _ => expected,
    };
    format!("{found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::{Every, OptimizerKind, Scaling};

    #[test]
    fn set_takes_toml_and_bare_words() {
        let set = |argument| parse_set::<Layer>(argument).unwrap();
        assert_eq!(
            set("optimizer.kind=adamw").optimizer.kind,
            Some(OptimizerKind::AdamW)
        );
        assert_eq!(
            set("optimizer.kind = \"adamw\"").optimizer.kind,
            Some(OptimizerKind::AdamW)
        );
        assert_eq!(
            set("optimizer.learning_rate=1e-3").optimizer.learning_rate,
            Some(1e-3)
        );
        assert_eq!(
            set("data.train_images=/coco/a b=c")
                .data
                .train_images
                .as_deref(),
            Some("/coco/a b=c")
        );
        assert_eq!(set("out=2026").out.as_deref(), Some("2026"));
        assert_eq!(
            set("compute.device=cuda:0").compute.device.as_deref(),
            Some("cuda:0")
        );
        assert_eq!(
            set("evaluation.every={ steps = 5 }").evaluation.every,
            Some(Every::Steps(5))
        );
        assert_eq!(
            set("evaluation.every=never").evaluation.every,
            Some(Every::Never)
        );
        assert_eq!(
            set("budget.scaling.balanced=1").budget.scaling,
            Some(Scaling::Balanced(1.0))
        );
        assert_eq!(set("scheme.allow_idle=true").scheme.allow_idle, Some(true));
    }

    #[test]
    fn a_wrong_set_says_what_is_wrong() {
        for (argument, wanted) in [
            ("seed", "expected key=value"),
            ("=3", "is no key"),
            ("se ed=3", "is no key"),
            ("sede=3", "unknown field `sede`"),
            ("model.knid=cnn", "unknown field `knid`"),
            ("model.kind=resnet", "unknown variant `resnet`"),
            ("seed=abc", "invalid type: string \"abc\""),
            (
                "scheme.allow_idle=1",
                "invalid type: integer `1`, expected a boolean",
            ),
            ("workers=-1", "integer `-1`"),
            ("budget.scaling={ balanced = ", ""),
        ] {
            let error = parse_set::<Layer>(argument).unwrap_err().to_string();
            assert!(error.contains(wanted), "{argument}: {error}");
            assert!(error.starts_with("parse --set"), "{error}");
        }
    }
}
