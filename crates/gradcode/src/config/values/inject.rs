//! `[[inject]]`: faults on purpose.

use serde::{Deserialize, Serialize};

use super::{InjectedFault, InjectedPhase};

/// One entry of `[[inject]]`: what goes wrong, with whom, when. `default.toml` explains the keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// What.
    pub fault: InjectedFault,
    /// Whose tasks; everybody's if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Vec<usize>>,
    /// The one iteration; excludes `from` and `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// First iteration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Last iteration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Of every task that the rest of the entry names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Where in the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<InjectedPhase>,
    /// How long a delay or a freeze lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// How many times as long a slow worker takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
}

impl Injection {
    /// First and last iteration.
    pub fn iterations(&self) -> (u64, u64) {
        match self.at {
            Some(at) => (at, at),
            None => (self.from.unwrap_or(0), self.to.unwrap_or(u64::MAX)),
        }
    }

    /// Whether the fault is one that lasts.
    pub fn lasts(&self) -> bool {
        matches!(self.fault, InjectedFault::Delay | InjectedFault::Freeze)
    }
}
