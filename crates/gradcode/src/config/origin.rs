//! Which layer set a key, down to the line.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

/// Where a layer came from, with the lines of its keys if it is a file.
#[derive(Clone, Debug)]
pub struct Place {
    label: Arc<str>,
    lines: Arc<BTreeMap<String, usize>>,
}

impl Place {
    /// The embedded defaults.
    pub fn default_file() -> Self {
        Place {
            label: "default".into(),
            lines: Arc::default(),
        }
    }

    /// A file with this text.
    pub fn file(path: &std::path::Path, text: &str) -> Self {
        Place {
            label: path.display().to_string().into(),
            lines: Arc::new(lines_of_keys(text)),
        }
    }

    /// Part of a file: these keys on these lines.
    pub fn lines(path: &std::path::Path, lines: Vec<(String, usize)>) -> Self {
        Place {
            label: path.display().to_string().into(),
            lines: Arc::new(lines.into_iter().collect()),
        }
    }

    /// A command line flag with its value.
    pub fn argument(flag: &str, value: &str) -> Self {
        Place {
            label: format!("{flag} {value}").into(),
            lines: Arc::default(),
        }
    }
}

/// Where one value came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    label: Arc<str>,
    line: Option<usize>,
}

impl Origin {
    fn derived() -> Self {
        Origin {
            label: "derived".into(),
            line: None,
        }
    }

    /// Set by the embedded defaults.
    pub fn is_default(&self) -> bool {
        self.line.is_none() && &*self.label == "default"
    }
}

/// `file:line`, `default`, `--set key=value`, or `derived` for what was inferred from other keys.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.label),
            None => f.write_str(&self.label),
        }
    }
}

/// The origin of every key that is set, by its dotted name. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<BTreeMap<String, Origin>>);

/// Any two are equal, so that configurations are compared by their values, wherever these came from.
impl PartialEq for Origins {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Origins {
    /// `key` has its value from `place`.
    pub fn set(&mut self, key: String, place: &Place) {
        let line = place.lines.get(&key).copied();
        Arc::make_mut(&mut self.0).insert(
            key,
            Origin {
                label: place.label.clone(),
                line,
            },
        );
    }

    /// Whether a layer set `key`.
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Where `key` was set; `derived` if no layer did.
    pub fn of(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or_else(Origin::derived)
    }
}

/// The line of each key of at most two levels in a TOML document; empty if it does not parse.
fn lines_of_keys(text: &str) -> BTreeMap<String, usize> {
    let Ok(document) = DeTable::parse(text) else {
        return BTreeMap::new();
    };
    let line = |at: usize| {
        1 + text.as_bytes()[..at.min(text.len())]
            .iter()
            .filter(|&&b| b == b'\n')
            .count()
    };
    let mut lines = BTreeMap::new();
    for (key, value) in document.get_ref() {
        lines.insert(key.get_ref().to_string(), line(key.span().start));
        if let DeValue::Table(section) = value.get_ref() {
            for inner in section.keys() {
                let dotted = format!("{}.{}", key.get_ref(), inner.get_ref());
                lines.insert(dotted, line(inner.span().start));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_however_they_are_written() {
        let lines =
            lines_of_keys("seed = 1\n\n[budget]\n# c\ntotal_bits = 8\n[codec]\npreset = 'f32'\n");
        assert_eq!(lines["seed"], 1);
        assert_eq!(lines["budget.total_bits"], 5);
        assert_eq!(lines["codec.preset"], 7);
        let lines = lines_of_keys("seed = 1\nbudget.total_bits = 8\ncodec = { preset = 'f32' }\n");
        assert_eq!(lines["budget.total_bits"], 2);
        assert_eq!(lines["codec.preset"], 3);
    }
}
