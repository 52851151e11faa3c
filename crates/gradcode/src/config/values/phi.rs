//! `codec.phi`: the quantization error that plans are made with.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

const BOUND: &str = "bound";
const NORMAL: &str = "normal";
const EXPECTED: &str = "\"bound\", \"normal\" or { file = \"phi.json\" }";

/// `codec.phi`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhiSource {
    /// The closed form of eq 5, which no vector exceeds.
    Bound,
    /// That of normal vectors, which is that of all vectors after a random rotation.
    Normal,
    /// A table of `gradcode codec phi --json`.
    File(PhiFile),
}

/// A phi table file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhiFile {
    /// Where it is.
    pub file: String,
    /// The kind of vectors, where the table has several: `normal`, `heavy-tailed`, `vector`, `gradient`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
}

impl Serialize for PhiSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bound => serializer.serialize_str(BOUND),
            Self::Normal => serializer.serialize_str(NORMAL),
            Self::File(file) => file.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for PhiSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Source;
        impl<'de> Visitor<'de> for Source {
            type Value = PhiSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<PhiSource, E> {
                match word {
                    BOUND => Ok(PhiSource::Bound),
                    NORMAL => Ok(PhiSource::Normal),
                    _ => Err(E::custom(format!("expected {EXPECTED}"))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PhiSource, A::Error> {
                PhiFile::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(PhiSource::File)
            }
        }
        deserializer.deserialize_any(Source)
    }
}

impl fmt::Display for PhiSource {
    /// For people, after "phi ".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound => f.write_str("by the closed form"),
            Self::Normal => f.write_str("of normal vectors"),
            Self::File(PhiFile { file, on: None }) => write!(f, "from {file}"),
            Self::File(PhiFile { file, on: Some(on) }) => write!(f, "from {file} ({on})"),
        }
    }
}
