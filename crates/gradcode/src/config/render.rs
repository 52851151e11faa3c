//! A configuration as canonical TOML: the schema's order, one line per key.

use serde::Serialize;

use super::layer::{Layer, dotted};
use super::settings::Config;

impl Config {
    /// The TOML that a run stores; reading it gives this configuration again.
    pub fn to_toml(&self) -> String {
        render(&self.to_layer(), |_| None)
    }

    /// The same with a comment on every line that says which layer set the value.
    pub fn to_toml_with_origins(&self) -> String {
        let origin = |key: &str| self.origins.of(key).to_string();
        render(&self.to_layer(), |key| Some(origin(key)))
    }
}

/// Writes every key that is set; `comment` gives what stands behind a dotted key's value.
fn render(layer: &Layer, comment: impl Fn(&str) -> Option<String>) -> String {
    let table = table_of(layer);
    let mut lines: Vec<(String, Option<String>)> = Vec::new();
    for (header, keys) in Layer::SCHEMA {
        let section = if header.is_empty() {
            Some(&table)
        } else {
            table.get(*header).and_then(toml::Value::as_table)
        };
        let Some(section) = section else { continue };
        if !header.is_empty() {
            lines.push((String::new(), None));
            lines.push((format!("[{header}]"), None));
        }
        for key in *keys {
            if let Some(value) = section.get(*key) {
                lines.push((format!("{key} = {value}"), comment(&dotted(header, key))));
            }
        }
    }
    let width = lines
        .iter()
        .filter(|(_, c)| c.is_some())
        .map(|(line, _)| line.len())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for (line, comment) in lines {
        match comment {
            Some(comment) => out.push_str(&format!(
                "{line:<width$}  # {comment}\n",
                width = width.min(48)
            )),
            None => {
                out.push_str(&line);
                out.push('\n');
            }
        }
    }
    out
}

/// Every value of a layer is a TOML value by construction: the layer was read from TOML, except for
/// numbers beyond 2^63 - 1, which `resolve` refuses. Should one slip through, it is left out.
fn table_of<T: Serialize>(layer: &T) -> toml::Table {
    toml::Table::try_from(layer).unwrap_or_default()
}
