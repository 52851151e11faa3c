//! `scheme.kind`: the name of a registered scheme.

use std::fmt;

use gradient_code::schemes::{self, Scheme};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A scheme of `gradient_code::schemes`, whose registry is the list of valid words.
#[derive(Clone, Copy)]
pub struct SchemeKind(&'static dyn Scheme);

impl SchemeKind {
    /// Joint design of code and bits.
    pub const JOINT: &'static str = "joint";
    /// No stragglers and no quantization.
    pub const SGD: &'static str = "sgd";
    /// One partition per worker.
    pub const IS_SGD: &'static str = "is-sgd";

    /// The scheme.
    pub fn scheme(self) -> &'static dyn Scheme {
        self.0
    }

    /// Its word.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether it is the scheme of that name.
    pub fn is(self, name: &str) -> bool {
        self.name() == name
    }
}

impl std::str::FromStr for SchemeKind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        schemes::find(word).map(SchemeKind).ok_or_else(|| {
            let names: Vec<String> = schemes::names().map(|name| format!("`{name}`")).collect();
            format!(
                "unknown scheme `{word}`, expected one of {}",
                names.join(", ")
            )
        })
    }
}

impl<'de> Deserialize<'de> for SchemeKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Serialize for SchemeKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl PartialEq for SchemeKind {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.name())
    }
}

impl Eq for SchemeKind {}

impl fmt::Debug for SchemeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for SchemeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_registered_scheme_is_a_valid_word_and_nothing_else_is() {
        for name in schemes::names() {
            assert_eq!(name.parse::<SchemeKind>().unwrap().name(), name);
        }
        let error = "joind".parse::<SchemeKind>().unwrap_err();
        assert!(
            error.contains("unknown scheme `joind`, expected one of `joint`"),
            "{error}"
        );
    }
}
