//! Keys that take a number, a word, a list or a small table.
//!
//! Each has a hand-written `Deserialize`, because serde's `untagged` would answer every mistake with
//! "data did not match any variant".

use std::fmt;

use gradient_code::Criterion;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

/// `straggler.probabilities`: one number for all workers, or one per worker.
#[derive(Clone, Debug, PartialEq)]
pub enum OneOrMany {
    /// The same for every worker.
    One(f64),
    /// In the order of the workers.
    Many(Vec<f64>),
}

impl OneOrMany {
    /// One value per worker; a list is returned as it is.
    pub fn expand(&self, workers: usize) -> Vec<f64> {
        match self {
            OneOrMany::One(value) => vec![*value; workers],
            OneOrMany::Many(values) => values.clone(),
        }
    }
}

/// `straggler.rate`: the rates psi_i of the delay model.
#[derive(Clone, Debug, PartialEq)]
pub enum Rates {
    /// The same for every worker.
    One(f64),
    /// In the order of the workers.
    Many(Vec<f64>),
    /// Drawn from U(a, b) with the run's seed.
    Uniform([f64; 2]),
    /// Evenly spaced from a (worker 0) to b (the last worker).
    Linspace([f64; 2]),
}

/// `budget.scaling`: eta, the weight of quantization noise in the design.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// Eta itself.
    Fixed(f64),
    /// This many times the baseline of eq 33.
    Balanced(f64),
}

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

/// `straggler.unit_seconds`: the delay model's unit in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UnitSeconds {
    /// This many.
    Fixed(f64),
    /// The time of one computation, measured at the start of the run.
    Auto,
}

const OPTIMAL: &str = "optimal";
const OPTIMAL_SAMPLING: &str = "optimal-sampling";

/// `straggler.deadline`: the deadline that the code is planned for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PlannedDeadline {
    /// In the delay model's unit.
    Units(f64),
    /// The one whose plan promises most per second.
    Optimal(Criterion),
}

impl PlannedDeadline {
    /// The number, if it is one.
    pub fn units(self) -> Option<f64> {
        match self {
            PlannedDeadline::Units(units) => Some(units),
            PlannedDeadline::Optimal(_) => None,
        }
    }
}

/// `deadline.seconds`: a fixed deadline for real stragglers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DeadlineSeconds {
    /// This long.
    Fixed(f64),
    /// As long as the code is planned for.
    Planned,
}

/// `deadline.quantile`: a deadline from the history of arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quantile {
    /// Fraction of the arrivals that is in time, 0 < q < 1.
    pub q: f64,
    /// The quantile is multiplied by this.
    pub factor: f64,
    /// First rounds, which wait for everybody.
    pub warmup: u64,
    /// Reports of history.
    pub window: u64,
}

impl Default for Quantile {
    fn default() -> Self {
        Quantile {
            q: 0.9,
            factor: 1.2,
            warmup: 20,
            window: 200,
        }
    }
}

/// `deadline.median_plus_mad`: a deadline from the history of arrivals that outliers do not move.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MedianPlusMad {
    /// Median absolute deviations beyond the median.
    pub k: f64,
    /// First rounds, which wait for everybody.
    pub warmup: u64,
    /// Reports of history.
    pub window: u64,
}

impl Default for MedianPlusMad {
    fn default() -> Self {
        MedianPlusMad {
            k: 3.0,
            warmup: 20,
            window: 200,
        }
    }
}

/// What a TOML value can be, for the visitors below.
enum Raw {
    Number(f64),
    Word(String),
    List(Vec<f64>),
    /// A table with one key.
    Table(String, RawValue),
}

enum RawValue {
    Number(f64),
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
fn one_of<'de, D, T>(
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
fn count(value: f64) -> Option<u64> {
    (value >= 0.0 && value.fract() == 0.0 && value <= 9_007_199_254_740_992.0)
        .then_some(value as u64)
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(
            deserializer,
            "a number or a list of numbers",
            &[],
            |raw| match raw {
                Raw::Number(value) => Some(OneOrMany::One(value)),
                Raw::List(values) => Some(OneOrMany::Many(values)),
                _ => None,
            },
        )
    }
}

impl<'de> Deserialize<'de> for Rates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str =
            "a number, a list of numbers, { uniform = [a, b] } or { linspace = [a, b] }";
        one_of(
            deserializer,
            EXPECTED,
            &["uniform", "linspace"],
            |raw| match raw {
                Raw::Number(value) => Some(Rates::One(value)),
                Raw::List(values) => Some(Rates::Many(values)),
                Raw::Table(key, RawValue::List(ends)) => {
                    let ends: [f64; 2] = ends.try_into().ok()?;
                    Some(if key == "uniform" {
                        Rates::Uniform(ends)
                    } else {
                        Rates::Linspace(ends)
                    })
                }
                _ => None,
            },
        )
    }
}

impl<'de> Deserialize<'de> for Scaling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(
            deserializer,
            "a number or { balanced = x }",
            &["balanced"],
            |raw| match raw {
                Raw::Number(value) => Some(Scaling::Fixed(value)),
                Raw::Table(_, RawValue::Number(value)) => Some(Scaling::Balanced(value)),
                _ => None,
            },
        )
    }
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

impl<'de> Deserialize<'de> for PlannedDeadline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(
            deserializer,
            "a number, \"optimal\" or \"optimal-sampling\"",
            &[],
            |raw| match raw {
                Raw::Number(value) => Some(PlannedDeadline::Units(value)),
                Raw::Word(word) if word == OPTIMAL => {
                    Some(PlannedDeadline::Optimal(Criterion::WorstCase))
                }
                Raw::Word(word) if word == OPTIMAL_SAMPLING => {
                    Some(PlannedDeadline::Optimal(Criterion::Sampling))
                }
                _ => None,
            },
        )
    }
}

impl<'de> Deserialize<'de> for DeadlineSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(
            deserializer,
            "a number of seconds or \"planned\"",
            &[],
            |raw| match raw {
                Raw::Number(value) => Some(DeadlineSeconds::Fixed(value)),
                Raw::Word(word) if word == "planned" => Some(DeadlineSeconds::Planned),
                _ => None,
            },
        )
    }
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

fn table<S: Serializer, T: Serialize>(
    serializer: S,
    key: &str,
    value: &T,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

impl Serialize for OneOrMany {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            OneOrMany::One(value) => serializer.serialize_f64(*value),
            OneOrMany::Many(values) => values.serialize(serializer),
        }
    }
}

impl Serialize for Rates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Rates::One(value) => serializer.serialize_f64(*value),
            Rates::Many(values) => values.serialize(serializer),
            Rates::Uniform(ends) => table(serializer, "uniform", ends),
            Rates::Linspace(ends) => table(serializer, "linspace", ends),
        }
    }
}

impl Serialize for Scaling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Scaling::Fixed(value) => serializer.serialize_f64(*value),
            Scaling::Balanced(value) => table(serializer, "balanced", value),
        }
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

impl Serialize for PlannedDeadline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            PlannedDeadline::Units(units) => serializer.serialize_f64(*units),
            PlannedDeadline::Optimal(Criterion::WorstCase) => serializer.serialize_str(OPTIMAL),
            PlannedDeadline::Optimal(Criterion::Sampling) => {
                serializer.serialize_str(OPTIMAL_SAMPLING)
            }
        }
    }
}

impl Serialize for DeadlineSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            DeadlineSeconds::Fixed(seconds) => serializer.serialize_f64(*seconds),
            DeadlineSeconds::Planned => serializer.serialize_str("planned"),
        }
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

#[cfg(test)]
mod tests {
    use super::super::Ridge;
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Doc<T> {
        x: T,
    }

    fn read<T: for<'de> Deserialize<'de>>(value: &str) -> Result<T, String> {
        toml::from_str::<Doc<T>>(&format!("x = {value}"))
            .map(|doc| doc.x)
            .map_err(|error| error.to_string())
    }

    fn round_trip<T>(text: &str, value: T)
    where
        T: Serialize + for<'de> Deserialize<'de> + PartialEq + fmt::Debug,
    {
        assert_eq!(read::<T>(text).unwrap(), value);
        let written = toml::to_string(&Doc { x: value }).unwrap();
        assert_eq!(
            toml::from_str::<Doc<T>>(&written).unwrap().x,
            read::<T>(text).unwrap()
        );
    }

    #[test]
    fn every_shape_is_read_and_written() {
        round_trip("0.5", OneOrMany::One(0.5));
        round_trip("[0.5, 1]", OneOrMany::Many(vec![0.5, 1.0]));
        round_trip("2", Rates::One(2.0));
        round_trip("[1, 2]", Rates::Many(vec![1.0, 2.0]));
        round_trip("{ uniform = [0.1, 2] }", Rates::Uniform([0.1, 2.0]));
        round_trip("{ linspace = [0.1, 2] }", Rates::Linspace([0.1, 2.0]));
        round_trip("1", Scaling::Fixed(1.0));
        round_trip("{ balanced = 0.005 }", Scaling::Balanced(0.005));
        round_trip("{ steps = 100 }", Every::Steps(100));
        round_trip("{ seconds = 1.5 }", Every::Seconds(1.5));
        round_trip("\"never\"", Every::Never);
        round_trip("\"auto\"", UnitSeconds::Auto);
        round_trip("0.25", UnitSeconds::Fixed(0.25));
        round_trip(
            "\"optimal\"",
            PlannedDeadline::Optimal(Criterion::WorstCase),
        );
        round_trip(
            "\"optimal-sampling\"",
            PlannedDeadline::Optimal(Criterion::Sampling),
        );
        round_trip("1.5", PlannedDeadline::Units(1.5));
        round_trip("\"planned\"", DeadlineSeconds::Planned);
        round_trip("0.5", DeadlineSeconds::Fixed(0.5));
        round_trip("0.5", Ridge::Value(0.5));
        round_trip("\"noise\"", Ridge::Noise);
    }

    #[test]
    fn a_wrong_shape_names_the_right_ones() {
        for (error, wanted) in [
            (
                read::<Rates>("{ uniform = [0.1] }").unwrap_err(),
                "{ linspace = [a, b] }",
            ),
            (
                read::<Rates>("{ unifrom = [1, 2] }").unwrap_err(),
                "unknown key `unifrom`",
            ),
            (
                read::<Rates>("true").unwrap_err(),
                "expected a number, a list of numbers",
            ),
            (
                read::<Scaling>("\"balanced\"").unwrap_err(),
                "{ balanced = x }",
            ),
            (read::<Every>("{ steps = 1.5 }").unwrap_err(), "whole n"),
            (
                read::<Every>("{ steps = 1, seconds = 2 }").unwrap_err(),
                "both `",
            ),
            (read::<UnitSeconds>("\"fast\"").unwrap_err(), "\"auto\""),
            (
                read::<PlannedDeadline>("\"best\"").unwrap_err(),
                "\"optimal\"",
            ),
            (
                read::<DeadlineSeconds>("\"plan\"").unwrap_err(),
                "\"planned\"",
            ),
            (read::<Ridge>("\"loud\"").unwrap_err(), "\"noise\""),
            (
                read::<OneOrMany>("[0.1, \"x\"]").unwrap_err(),
                "invalid type: string",
            ),
        ] {
            assert!(error.contains(wanted), "{error}");
            assert!(error.contains("line 1"), "{error}");
        }
    }
}
