//! `data.augment`: a switch, or a recipe's name.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// `data.augment`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Augment {
    /// `false` or `"none"`.
    None,
    /// `true`: mirror and change brightness and contrast; text may begin anywhere.
    Default,
    /// `"flip"`: mirror.
    Flip,
    /// `"ssd"`: torchvision's recipe for SSD.
    Ssd,
    /// `"ssdlite"`: torchvision's recipe for SSDLite.
    SsdLite,
}

const EXPECTED: &str = "true, false, \"none\", \"flip\", \"ssd\" or \"ssdlite\"";

impl<'de> Deserialize<'de> for Augment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Augment;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Augment, E> {
                Ok(if value {
                    Augment::Default
                } else {
                    Augment::None
                })
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Augment, E> {
                match word {
                    "none" => Ok(Augment::None),
                    "flip" => Ok(Augment::Flip),
                    "ssd" => Ok(Augment::Ssd),
                    "ssdlite" => Ok(Augment::SsdLite),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Serialize for Augment {
    /// The switch as a switch: so were the configurations of earlier runs.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Augment::None => serializer.serialize_bool(false),
            Augment::Default => serializer.serialize_bool(true),
            Augment::Flip => serializer.serialize_str("flip"),
            Augment::Ssd => serializer.serialize_str("ssd"),
            Augment::SsdLite => serializer.serialize_str("ssdlite"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    struct Section {
        augment: Augment,
    }

    #[test]
    fn switches_and_recipes_are_read_and_written() {
        for (text, value) in [
            ("true", Augment::Default),
            ("false", Augment::None),
            ("\"flip\"", Augment::Flip),
            ("\"ssd\"", Augment::Ssd),
            ("\"ssdlite\"", Augment::SsdLite),
        ] {
            let line = format!("augment = {text}\n");
            let section: Section = toml::from_str(&line).unwrap();
            assert_eq!(section.augment, value);
            assert_eq!(toml::to_string(&section).unwrap(), line);
        }
        let none: Section = toml::from_str("augment = \"none\"").unwrap();
        assert_eq!(none.augment, Augment::None);
        for wrong in ["\"mixup\"", "1"] {
            let error = toml::from_str::<Section>(&format!("augment = {wrong}")).unwrap_err();
            assert!(error.to_string().contains("\"ssdlite\""), "{error}");
        }
    }
}
