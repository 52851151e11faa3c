//! Numbers that may be one for all workers, one for each, drawn, or relative to another.

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::raw::{Raw, RawValue, one_of, table};

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

impl Serialize for OneOrMany {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            OneOrMany::One(value) => serializer.serialize_f64(*value),
            OneOrMany::Many(values) => values.serialize(serializer),
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

/// `budget.scaling`: eta, the weight of quantization noise in the design.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// Eta itself.
    Fixed(f64),
    /// This many times the baseline of eq 33.
    Balanced(f64),
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

impl Serialize for Scaling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Scaling::Fixed(value) => serializer.serialize_f64(*value),
            Scaling::Balanced(value) => table(serializer, "balanced", value),
        }
    }
}
