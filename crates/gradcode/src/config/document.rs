//! An experiment file, which is a layer or a study of many.
//!
//! Beside the keys of a [`Layer`] it may have a list of schemes (`[[scheme]]`), keys that take
//! several values in turn (`[sweep]`) and what to do with all that (`[study]`); any of the three makes
//! it a study. Keys are taken out of the parsed document one table at a time, so that mistakes in any
//! of them are reported with line and caret.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::layer::{Layer, SchemeLayer, StudyLayer};
use super::origin::Place;
use super::source::plain;
use super::values::SchemeKind;

/// What an experiment file says.
pub struct Document {
    /// The keys that hold for everything.
    pub base: Layer,
    /// `[study]`, if there is one.
    pub study: Option<StudyLayer>,
    /// `[[scheme]]`, in order.
    pub schemes: Vec<SchemeEntry>,
    /// `[sweep]`, in order.
    pub sweep: Vec<SweepKey>,
}

/// One of `[[scheme]]`.
#[derive(Clone, Debug)]
pub struct SchemeEntry {
    /// `label`; the scheme's name if there is none.
    pub label: Option<String>,
    /// The scheme's keys and what stands under `with`.
    pub layer: Layer,
    /// Where it stands.
    pub place: Place,
}

/// One key of `[sweep]`.
#[derive(Clone, Debug)]
pub struct SweepKey {
    /// The configuration's key, or `budget` for the budget key that is stated.
    pub key: String,
    /// What it takes in turn.
    pub values: Vec<toml::Value>,
    /// Where it stands.
    pub line: usize,
}

impl Document {
    /// Whether this is more than one experiment.
    pub fn is_study(&self) -> bool {
        self.study.is_some() || !self.schemes.is_empty() || !self.sweep.is_empty()
    }

    /// The listed schemes, or the file's only one.
    pub fn entries(&self, path: &Path) -> Vec<SchemeEntry> {
        if !self.schemes.is_empty() {
            return self.schemes.clone();
        }
        let kind = self.base.scheme.kind.map(|kind| kind.to_string());
        vec![SchemeEntry {
            label: Some(kind.unwrap_or_else(|| DEFAULT_SCHEME.to_owned())),
            layer: Layer::default(),
            place: Place::lines(path, vec![]),
        }]
    }

    /// Parses `text`, the content of the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError::Parse`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let reader = Reader { text, path };
        let document = DeTable::parse(text).map_err(|error| reader.error(error))?;
        let span = document.span();
        let mut table = document.into_inner();

        let study = reader.take(&mut table, "study")?;
        let schemes = match table.get("scheme").map(Spanned::get_ref) {
            Some(DeValue::Array(_)) => reader.schemes(table.remove("scheme"))?,
            _ => vec![],
        };
        let sweep = match table.remove("sweep") {
            Some(value) => reader.sweep(value)?,
            None => vec![],
        };
        Ok(Document {
            base: reader.read(Spanned::new(span, DeValue::Table(table)))?,
            study,
            schemes,
            sweep,
        })
    }
}

/// The scheme of a file that names none.
const DEFAULT_SCHEME: &str = SchemeKind::JOINT;

type Value<'a> = Spanned<DeValue<'a>>;

/// The file being read.
struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
}

impl<'a> Reader<'a> {
    fn error(&self, mut error: toml::de::Error) -> ConfigError {
        error.set_input(Some(self.text));
        ConfigError::Parse {
            path: self.path.to_owned(),
            message: plain(error.to_string().trim_end()),
        }
    }

    fn wrong(&self, line: usize, message: &str) -> ConfigError {
        ConfigError::Parse {
            path: self.path.to_owned(),
            message: format!("line {line}: {message}"),
        }
    }

    fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }

    fn read<T: Deserialize<'a>>(&self, value: Value<'a>) -> Result<T, ConfigError> {
        T::deserialize(toml::de::ValueDeserializer::from(value)).map_err(|error| self.error(error))
    }

    fn take<T: Deserialize<'a>>(
        &self,
        table: &mut DeTable<'a>,
        key: &str,
    ) -> Result<Option<T>, ConfigError> {
        table.remove(key).map(|value| self.read(value)).transpose()
    }

    fn schemes(&self, list: Option<Value<'a>>) -> Result<Vec<SchemeEntry>, ConfigError> {
        let Some(DeValue::Array(list)) = list.map(Spanned::into_inner) else {
            return Ok(vec![]);
        };
        list.into_iter().map(|entry| self.scheme(entry)).collect()
    }

    fn scheme(&self, entry: Value<'a>) -> Result<SchemeEntry, ConfigError> {
        let span = entry.span();
        let mut lines = vec![];
        let DeValue::Table(mut table) = entry.into_inner() else {
            let line = self.line(span.start);
            return Err(self.wrong(
                line,
                "`scheme` is a list, so each entry must be a table: [[scheme]]",
            ));
        };
        for key in table.keys() {
            lines.push((
                format!("scheme.{}", key.get_ref()),
                self.line(key.span().start),
            ));
        }
        let label = self.take(&mut table, "label")?;
        let mut layer = Layer::default();
        if let Some(with) = table.remove("with") {
            if let DeValue::Table(sections) = with.get_ref() {
                lines.extend(self.lines_of(sections));
            }
            layer = self.read(with)?;
        }
        let own: SchemeLayer = self.read(Spanned::new(span.clone(), DeValue::Table(table)))?;
        if layer.scheme != SchemeLayer::default() {
            let line = self.line(span.start);
            return Err(self.wrong(
                line,
                "the scheme's own keys stand in [[scheme]] itself, not under `with`",
            ));
        }
        layer.scheme = own;
        Ok(SchemeEntry {
            label,
            layer,
            place: Place::lines(self.path, lines),
        })
    }

    /// Keys of two levels with their lines.
    fn lines_of(&self, sections: &DeTable<'a>) -> Vec<(String, usize)> {
        let mut lines = vec![];
        for (key, value) in sections {
            lines.push((key.get_ref().to_string(), self.line(key.span().start)));
            if let DeValue::Table(section) = value.get_ref() {
                for inner in section.keys() {
                    let dotted = format!("{}.{}", key.get_ref(), inner.get_ref());
                    lines.push((dotted, self.line(inner.span().start)));
                }
            }
        }
        lines
    }

    fn sweep(&self, value: Value<'a>) -> Result<Vec<SweepKey>, ConfigError> {
        let mut leaves = vec![];
        self.leaves("", value, &mut leaves)?;
        // The order of the file, which tables do not keep.
        leaves.sort_by_key(|(offset, _)| *offset);
        Ok(leaves.into_iter().map(|(_, key)| key).collect())
    }

    fn leaves(
        &self,
        key: &str,
        value: Value<'a>,
        leaves: &mut Vec<(usize, SweepKey)>,
    ) -> Result<(), ConfigError> {
        let (offset, line) = (value.span().start, self.line(value.span().start));
        match value.get_ref() {
            DeValue::Table(_) => {
                let DeValue::Table(table) = value.into_inner() else {
                    return Ok(());
                };
                for (inner, value) in table {
                    self.leaves(&super::layer::dotted(key, inner.get_ref()), value, leaves)?;
                }
                Ok(())
            }
            DeValue::Array(values) if !values.is_empty() && !key.is_empty() => {
                let values = self.read(value)?;
                leaves.push((
                    offset,
                    SweepKey {
                        key: key.to_owned(),
                        values,
                        line,
                    },
                ));
                Ok(())
            }
            _ => Err(self.wrong(
                line,
                &format!("sweep.{key} must be a list of the values that `{key}` takes in turn"),
            )),
        }
    }
}

impl SchemeEntry {
    /// The label, or what stands for it.
    pub fn name(&self) -> String {
        match (&self.label, self.layer.scheme.kind) {
            (Some(label), _) => label.clone(),
            (None, Some(kind)) => kind.to_string(),
            (None, None) => String::new(),
        }
    }
}

impl SweepKey {
    /// Where it stands, for the key it sets.
    pub fn place(&self, path: &Path) -> Place {
        Place::lines(path, vec![(self.key.clone(), self.line)])
    }

    /// The layer that sets the key to `value`.
    ///
    /// # Errors
    /// [`ConfigError::Parse`] if there is no such key or it cannot have the value.
    pub fn layer(&self, value: &toml::Value, path: &Path) -> Result<Layer, ConfigError> {
        let nested = self.key.rsplit('.').fold(value.clone(), |inner, key| {
            toml::Value::Table([(key.to_owned(), inner)].into_iter().collect())
        });
        Layer::deserialize(nested).map_err(|error| ConfigError::Parse {
            path: PathBuf::from(path),
            message: format!(
                "line {}: sweep.{} = {value}: {}",
                self.line,
                self.key,
                plain(error.message())
            ),
        })
    }
}
