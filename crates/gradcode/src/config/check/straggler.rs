//! Delays, probabilities, deadlines.

use super::super::error::ConfigError;
use super::super::resolve::Merged;
use super::super::settings::{Config, Deadline};
use super::super::values::{
    DeadlineSeconds, DelayKind, Inject, OneOrMany, PlannedDeadline, Rates, UnitSeconds,
};
use super::{Checked, non_negative, positive, require};

pub(super) fn straggler(config: &Config, merged: &Merged) -> Checked {
    let straggler = &config.straggler;
    require(
        merged,
        "straggler.shift",
        all(&straggler.shift, non_negative),
        "must be a number, at least 0, or one for every worker",
    )?;
    require(
        merged,
        "straggler.bandwidth",
        straggler
            .bandwidth
            .as_ref()
            .is_none_or(|values| all(values, positive)),
        "must be a number above 0, or one for every worker, in bits per unit of the delay model",
    )?;
    planned_deadline(config, merged)?;
    let rates = match &straggler.rate {
        Rates::One(rate) => positive(*rate),
        Rates::Many(rates) => !rates.is_empty() && rates.iter().all(|rate| positive(*rate)),
        Rates::Uniform([low, high]) | Rates::Linspace([low, high]) => {
            positive(*low) && positive(*high) && low <= high
        }
    };
    require(
        merged,
        "straggler.rate",
        rates,
        "rates must be numbers above 0, and a range must ascend",
    )?;
    if let UnitSeconds::Fixed(seconds) = straggler.unit_seconds {
        require(
            merged,
            "straggler.unit_seconds",
            positive(seconds),
            "must be a number above 0, or \"auto\"",
        )?;
    }
    if straggler.model == DelayKind::Trace && straggler.trace.is_none() {
        return Err(ConfigError::Missing {
            key: "straggler.trace".into(),
            valid: "model = \"trace\" needs a file of delays, a line per iteration".into(),
        });
    }
    if let Some(probabilities) = &straggler.probabilities {
        let inside = |p: &f64| *p > 0.0 && *p < 1.0;
        let wrong = match probabilities {
            OneOrMany::One(p) => (!inside(p)).then(|| "must lie strictly between 0 and 1".to_owned()),
            OneOrMany::Many(all) => all.iter().enumerate().find(|(_, p)| !inside(p)).map(|(worker, p)| {
                format!("worker {worker} has {p}; every probability must lie strictly between 0 and 1")
            }),
        };
        if let Some(valid) = wrong {
            return Err(merged.invalid("straggler.probabilities", valid));
        }
    }
    match config.deadline {
        Deadline::Seconds(DeadlineSeconds::Planned) => {
            if straggler.inject == Inject::None && straggler.unit_seconds == UnitSeconds::Auto {
                return Err(merged.conflict(
                    "deadline.seconds",
                    "straggler.unit_seconds",
                    "straggler.deadline counts in units of the delay model: give straggler.unit_seconds, as \
                     `gradcode calibrate` does",
                ));
            }
            Ok(())
        }
        Deadline::Seconds(DeadlineSeconds::Fixed(seconds)) => {
            require(
                merged,
                "deadline.seconds",
                positive(seconds),
                "must be a number above 0, or \"planned\"",
            )?;
            let unit_known =
                straggler.unit_seconds != UnitSeconds::Auto || straggler.probabilities.is_some();
            if straggler.inject == Inject::None && !unit_known {
                return Err(merged.conflict(
                    "deadline.seconds",
                    "straggler.unit_seconds",
                    "the design needs to know how often workers miss this deadline: give straggler.unit_seconds, \
                     so that the delay model applies, or straggler.probabilities",
                ));
            }
            Ok(())
        }
        Deadline::Quantile(quantile) => require(
            merged,
            "deadline.quantile",
            quantile.q > 0.0
                && quantile.q < 1.0
                && positive(quantile.factor)
                && quantile.window >= 1,
            "needs 0 < q < 1, a factor above 0 and a window of at least 1 report",
        ),
        Deadline::MedianPlusMad(rule) => require(
            merged,
            "deadline.median_plus_mad",
            non_negative(rule.k) && rule.window >= 1,
            "needs k of at least 0 and a window of at least 1 report",
        ),
    }
}

fn all(values: &OneOrMany, valid: fn(f64) -> bool) -> bool {
    match values {
        OneOrMany::One(value) => valid(*value),
        OneOrMany::Many(values) => values.iter().all(|value| valid(*value)),
    }
}

/// `straggler.deadline`, and whether it can be chosen.
fn planned_deadline(config: &Config, merged: &Merged) -> Checked {
    const KEY: &str = "straggler.deadline";
    let straggler = &config.straggler;
    let PlannedDeadline::Units(deadline) = straggler.deadline else {
        if straggler.probabilities.is_some() {
            return Err(merged.conflict(
                KEY,
                "straggler.probabilities",
                "a deadline can only be chosen by a delay model, which says how often workers miss it; leave the \
                 probabilities out, or set a number",
            ));
        }
        return Ok(());
    };
    require(
        merged,
        KEY,
        positive(deadline),
        "must be a number above 0, or \"optimal\"",
    )?;
    let shifted =
        straggler.model == DelayKind::ShiftedExponential && straggler.inject != Inject::None;
    let shifts = straggler.shift.expand(config.workers);
    let least = shifts.into_iter().fold(f64::INFINITY, f64::min);
    if shifted && deadline <= least {
        return Err(merged.invalid(
            KEY,
            format!(
                "nobody would ever be in time (every p_i = 1); must be above straggler.shift = {least}"
            ),
        ));
    }
    Ok(())
}
