//! When something recurs, and what a unit of time is.

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::raw::{Raw, RawValue, count, one_of, table};

/// When something recurs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Every {
    /// After this many iterations.
    Steps(u64),
    /// After this many seconds.
    Seconds(f64),
    /// Not at all.
    Never,
}

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "{ steps = n } with a whole n, { seconds = x } or \"never\"";
        one_of(
            deserializer,
            EXPECTED,
            &["steps", "seconds"],
            |raw| match raw {
                Raw::Word(word) if word == "never" => Some(Every::Never),
                Raw::Table(key, RawValue::Number(value)) if key == "steps" => {
                    count(value).map(Every::Steps)
                }
                Raw::Table(_, RawValue::Number(value)) => Some(Every::Seconds(value)),
                _ => None,
            },
        )
    }
}

impl Serialize for Every {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Every::Steps(steps) => table(serializer, "steps", steps),
            Every::Seconds(seconds) => table(serializer, "seconds", seconds),
            Every::Never => serializer.serialize_str("never"),
        }
    }
}

/// `straggler.unit_seconds`: the delay model's unit in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UnitSeconds {
    /// This many.
    Fixed(f64),
    /// The time of one computation, measured at the start of the run.
    Auto,
}

impl<'de> Deserialize<'de> for UnitSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(
            deserializer,
            "a number of seconds or \"auto\"",
            &[],
            |raw| match raw {
                Raw::Number(value) => Some(UnitSeconds::Fixed(value)),
                Raw::Word(word) if word == "auto" => Some(UnitSeconds::Auto),
                _ => None,
            },
        )
    }
}

impl Serialize for UnitSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            UnitSeconds::Fixed(seconds) => serializer.serialize_f64(*seconds),
            UnitSeconds::Auto => serializer.serialize_str("auto"),
        }
    }
}
