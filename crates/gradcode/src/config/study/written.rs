//! A study as one experiment file that gives it again.

use super::super::document::{Document, SchemeEntry, SweepKey};
use super::super::error::ConfigError;
use super::super::layer::{Layer, SchemeLayer};
use super::super::origin::Place;
use super::super::source::{Merged, Sources};
use super::StudySettings;

impl Sources {
    /// The study as a file that gives it again.
    pub(super) fn study_toml(
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
