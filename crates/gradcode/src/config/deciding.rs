//! Which keys decide what a plan was refused for.
//!
//! A plan is made from many keys at once, so that no single line of a file is wrong when there is none.
//! What was refused still follows from a few of them, and an error names these, with their values and who set
//! them: what the user can change.

use std::fmt;

use gradient_code::designs::DesignError;
use gradient_code::{CodeError, DeadlineFault, PlanError, SettingError};
use straggler::DelayError;

use super::error::ConfigError;
use super::origin::Origin;
use super::settings::{Config, Deadline};
use super::values::{DeadlineSeconds, DelayKind, Inject};

/// Keys that decide something together. Shown as `` `workers = 4` (x.toml:1) and `scheme.load = 3` (default) ``.
#[derive(Clone, Debug, Default)]
pub struct Deciding(Vec<Decided>);

#[derive(Clone, Debug)]
struct Decided {
    key: &'static str,
    value: String,
    origin: Origin,
}

impl fmt::Display for Deciding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Decided { key, value, origin }) in self.0.iter().enumerate() {
            f.write_str(match at {
                0 => "",
                _ if at + 1 == self.0.len() => " and ",
                _ => ", ",
            })?;
            write!(f, "`{key} = {value}` ({origin})")?;
        }
        Ok(())
    }
}

/// Of the three, the one that is set has a value.
const BUDGET: [&str; 3] = [
    "budget.total_bits",
    "budget.residual_bits",
    "budget.mean_bits",
];

const SIZES: [&str; 2] = ["workers", "partitions"];

impl Config {
    /// `keys` as they are here, in their order, each once. Those without a value are left out.
    pub fn deciding(&self, keys: &[&'static str]) -> Deciding {
        let written = toml::Table::try_from(self).unwrap_or_default();
        let value = |key: &str| {
            let mut parts = key.split('.');
            let first = parts.next().and_then(|first| written.get(first));
            parts.fold(first, |table, part| table.and_then(|table| table.get(part)))
        };
        let mut list: Vec<Decided> = Vec::new();
        for &key in keys {
            if let Some(value) = value(key)
                && list.iter().all(|known| known.key != key)
            {
                list.push(Decided {
                    key,
                    value: value.to_string(),
                    origin: self.origins.of(key),
                });
            }
        }
        Deciding(list)
    }

    /// No plan can be made, because of `message`, which `keys` decide.
    pub(super) fn refused(&self, message: impl fmt::Display, keys: &[&'static str]) -> ConfigError {
        ConfigError::Plan {
            scheme: self.scheme.kind.to_string(),
            message: message.to_string(),
            keys: self.deciding(keys),
        }
    }

    /// What the planner could not do.
    pub(super) fn refused_plan(&self, error: &PlanError) -> ConfigError {
        self.refused(error, &self.keys_of_plan(error))
    }

    /// A deadline that could not be chosen.
    pub(super) fn refused_deadline(&self, fault: &DeadlineFault) -> ConfigError {
        let mut keys = vec!["straggler.deadline"];
        keys.extend(self.keys_of_delays());
        if matches!(fault, DeadlineFault::NoPlan { .. }) {
            keys.push("scheme.kind");
            keys.extend(SIZES);
            keys.extend(BUDGET);
        }
        self.refused(fault, &keys)
    }

    /// A delay model that cannot be.
    pub(super) fn refused_delays(&self, error: &DelayError) -> ConfigError {
        let keys: Vec<&'static str> = match error {
            DelayError::NoWorkers => vec!["workers"],
            DelayError::Parameter { field, .. } => vec![match *field {
                "shift" => "straggler.shift",
                _ => "straggler.rate",
            }],
            DelayError::RateInterval { .. } => vec!["straggler.rate"],
            DelayError::EmptyTrace { .. } | DelayError::TraceEntry { .. } => {
                vec!["straggler.trace"]
            }
            DelayError::Slowdown { .. } => vec!["inject"],
        };
        self.refused(error, &keys)
    }

    /// What says how often each worker is late.
    pub(super) fn keys_of_lateness(&self) -> Vec<&'static str> {
        let straggler = &self.straggler;
        if straggler.probabilities.is_some() {
            return vec!["straggler.probabilities"];
        }
        let deadline = match self.deadline {
            _ if straggler.inject != Inject::None => "straggler.deadline",
            Deadline::Seconds(DeadlineSeconds::Planned) => "straggler.deadline",
            Deadline::Seconds(DeadlineSeconds::Fixed(_)) => "deadline.seconds",
            Deadline::Quantile(_) => "deadline.quantile",
            Deadline::MedianPlusMad(_) => "deadline.median_plus_mad",
        };
        let mut keys = vec![deadline];
        if deadline == "deadline.seconds" {
            keys.push("straggler.unit_seconds");
        }
        keys.extend(self.keys_of_delays());
        keys
    }

    /// What says how long workers take.
    fn keys_of_delays(&self) -> Vec<&'static str> {
        let mut keys = match self.straggler.model {
            DelayKind::ShiftedExponential => vec!["straggler.shift", "straggler.rate"],
            DelayKind::Exponential => vec!["straggler.model", "straggler.rate"],
            DelayKind::Trace => vec!["straggler.trace"],
        };
        keys.push("straggler.bandwidth");
        keys
    }

    /// The scheme, and those of its options among `keys` that it reads.
    fn keys_of_scheme(&self, keys: &[&'static str]) -> Vec<&'static str> {
        let options = self.scheme.kind.scheme().options();
        let reads = |key: &str| {
            let option = key.strip_prefix("scheme.");
            option.is_some_and(|option| options.contains(&option))
        };
        let read = keys.iter().copied().filter(|key| reads(key));
        std::iter::once("scheme.kind").chain(read).collect()
    }

    fn keys_of_plan(&self, error: &PlanError) -> Vec<&'static str> {
        let lateness = || self.keys_of_lateness();
        match error {
            PlanError::UnknownScheme { .. } => vec!["scheme.kind"],
            PlanError::UnknownWorker { .. } => vec!["workers"],
            PlanError::Setting(error) => match error {
                SettingError::Empty { .. } => SIZES.to_vec(),
                SettingError::Probability { .. }
                | SettingError::NeverLate { .. }
                | SettingError::NobodyAlive { .. } => lateness(),
                SettingError::Widths { .. } => vec!["codec.preset", "budget.max_bits"],
                SettingError::BudgetTooSmall { .. } => {
                    [&BUDGET[..], &["workers", "codec.preset"]].concat()
                }
                SettingError::Variance { .. } => vec!["codec.phi", "codec.preset"],
                SettingError::Scaling { .. } => vec!["budget.scaling"],
                SettingError::Lambda { .. } => vec!["optimizer.lambda"],
            },
            PlanError::Code(error) => match error {
                CodeError::NoContribution => lateness(),
                _ => [
                    self.keys_of_scheme(&["scheme.construction"]),
                    SIZES.to_vec(),
                ]
                .concat(),
            },
            PlanError::Assignment(error) => keys_of_design(error).to_vec(),
            PlanError::Allocation(_) => {
                [&["scheme.method"], &BUDGET[..], &["budget.max_bits"]].concat()
            }
            PlanError::TwoTrackCertain { .. } => [
                vec!["optimizer.two_track"],
                lateness(),
                vec!["codec.preset"],
            ]
            .concat(),
            PlanError::TwoTrackPerRound { .. } => [
                vec!["optimizer.two_track"],
                self.keys_of_scheme(&["scheme.decoding"]),
            ]
            .concat(),
            PlanError::Decode(_) | PlanError::Decoding { .. } => {
                self.keys_of_scheme(&["scheme.decoding"])
            }
            PlanError::Parameters { .. } => [
                self.keys_of_scheme(&["scheme.load", "scheme.assignment", "scheme.graph"]),
                SIZES.to_vec(),
            ]
            .concat(),
            PlanError::NobodyHolds { .. } => vec!["scheme.load", "workers", "seed"],
            PlanError::Unsettled { .. } => {
                [vec!["straggler.bandwidth"], lateness(), BUDGET.to_vec()].concat()
            }
            PlanError::Invalid(_) => [self.keys_of_scheme(&[]), SIZES.to_vec()].concat(),
        }
    }
}

fn keys_of_design(error: &DesignError) -> &'static [&'static str] {
    match error {
        DesignError::NotThere { .. } => &["scheme.design", "scheme.degree", "workers"],
        DesignError::Sizes { .. } => &["scheme.design", "workers", "partitions"],
        DesignError::Degree { .. } => &["scheme.design", "scheme.degree", "workers", "partitions"],
        DesignError::Broken { .. } => &["scheme.design"],
        DesignError::Hadamard { .. } => &["scheme.code", "scheme.blocks", "workers", "partitions"],
        DesignError::NullSpace { .. } => &["scheme.design", "scheme.degree", "seed"],
        DesignError::Parameter { .. } => &["scheme.blocks", "scheme.epsilon"],
        DesignError::NoDraw { .. } => &["scheme.degree", "workers", "partitions", "seed"],
    }
}

#[cfg(test)]
mod tests;
