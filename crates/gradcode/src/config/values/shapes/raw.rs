//! Reading and writing a value that is a number, a word, a list or a table of one key.
//!
//! Every type has a hand-written `Deserialize` by way of [`one_of`], because serde's `untagged` would answer
//! every mistake with "data did not match any variant".

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

/// What a value can be.
pub enum Raw {
    /// A number.
    Number(f64),
    /// A string.
    Word(String),
    /// A list of numbers.
    List(Vec<f64>),
    /// A table with one key.
    Table(String, RawValue),
}

/// What stands in a table of one key.
pub enum RawValue {
    /// A number.
    Number(f64),
    /// A list of numbers.
    List(Vec<f64>),
}

struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Number)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(RawVisitor {
            expected: "a number or a list of numbers",
            keys: &[],
        })? {
            Raw::Number(value) => Ok(RawValue::Number(value)),
            Raw::List(values) => Ok(RawValue::List(values)),
            Raw::Word(_) | Raw::Table(..) => {
                Err(de::Error::custom("expected a number or a list of numbers"))
            }
        }
    }
}

/// Accepts numbers, words, lists of numbers and tables of one key out of `keys`.
struct RawVisitor {
    expected: &'static str,
    keys: &'static [&'static str],
}

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Word(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut values = Vec::new();
        while let Some(Number(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Raw::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let expected = format!("expected {}", self.expected);
        let Some(key) = map.next_key::<String>()? else {
            return Err(de::Error::custom(expected));
        };
        if !self.keys.contains(&key.as_str()) {
            return Err(de::Error::custom(format!(
                "unknown key `{key}`, {expected}"
            )));
        }
        let value = map.next_value()?;
        if let Some(second) = map.next_key::<String>()? {
            return Err(de::Error::custom(format!(
                "both `{key}` and `{second}`, {expected}"
            )));
        }
        Ok(Raw::Table(key, value))
    }
}

/// Reads a value that is one of several shapes; `convert` returns `None` for a shape that is none of them.
pub fn one_of<'de, D, T>(
    deserializer: D,
    expected: &'static str,
    keys: &'static [&'static str],
    convert: impl Fn(Raw) -> Option<T>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let raw = deserializer.deserialize_any(RawVisitor { expected, keys })?;
    convert(raw).ok_or_else(|| de::Error::custom(format!("expected {expected}")))
}

/// A TOML integer arrives here as a float; only whole, exactly represented ones are counts.
pub fn count(value: f64) -> Option<u64> {
    (value >= 0.0 && value.fract() == 0.0 && value <= 9_007_199_254_740_992.0)
        .then_some(value as u64)
}

/// Writes a table of one key.
pub fn table<S: Serializer, T: Serialize>(
    serializer: S,
    key: &str,
    value: &T,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}
