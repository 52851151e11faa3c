//! Deadlines: the one that is planned for, and the rules for real stragglers.

use gradient_code::Criterion;
use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::raw::{Raw, one_of};

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

/// `deadline.seconds`: a fixed deadline for real stragglers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DeadlineSeconds {
    /// This long.
    Fixed(f64),
    /// As long as the code is planned for.
    Planned,
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

impl Serialize for DeadlineSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            DeadlineSeconds::Fixed(seconds) => serializer.serialize_f64(*seconds),
            DeadlineSeconds::Planned => serializer.serialize_str("planned"),
        }
    }
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
