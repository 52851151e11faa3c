//! The list of injected faults.

use super::super::error::ConfigError;
use super::super::resolve::Merged;
use super::super::settings::Config;
use super::super::values::{InjectedFault, InjectedPhase, Injection};
use super::{Checked, positive};

pub(super) fn inject(config: &Config, merged: &Merged) -> Checked {
    for (at, entry) in config.inject.iter().enumerate() {
        if let Err((key, value, valid)) = one(config, entry) {
            return Err(ConfigError::Invalid {
                key: format!("inject[{at}].{key}"),
                value,
                origin: merged.origins.of("inject"),
                valid,
            });
        }
    }
    Ok(())
}

/// The key that is wrong, its value, and what would be valid.
type Wrong = (&'static str, String, String);

fn one(config: &Config, entry: &Injection) -> Result<(), Wrong> {
    let fault = entry.fault;
    if let Some(workers) = &entry.workers {
        let known = |worker: &usize| *worker < config.workers;
        if workers.is_empty() || !workers.iter().all(known) {
            let last = config.workers - 1;
            let valid = format!("must be a list of workers from 0 to {last}; leave it out for all");
            return Err(("workers", format!("{workers:?}"), valid));
        }
    }
    let (from, to) = entry.iterations();
    if entry.at.is_some() && (entry.from.is_some() || entry.to.is_some()) {
        let valid = "is one iteration; give either it, or `from` and `to`".to_owned();
        return Err(("at", from.to_string(), valid));
    }
    if from >= config.iterations {
        let key = if entry.at.is_some() { "at" } else { "from" };
        let valid = format!("the run ends before: iterations = {}", config.iterations);
        return Err((key, from.to_string(), valid));
    }
    if to < from {
        return Err((
            "to",
            to.to_string(),
            format!("must be at least `from` = {from}"),
        ));
    }
    if let Some(p) = entry.probability.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
        return Err((
            "probability",
            p.to_string(),
            "must be above 0 and at most 1".into(),
        ));
    }
    match (entry.phase, fault) {
        (Some(InjectedPhase::Payload), InjectedFault::Drop) => {
            let valid =
                "MPI loses no message that was sent: \"drop\" is for \"compute\" or \"header\"";
            return Err(("phase", "\"payload\"".into(), valid.into()));
        }
        (Some(phase @ (InjectedPhase::Header | InjectedPhase::Payload)), InjectedFault::Memory) => {
            let valid = "\"memory\" is for \"compute\" only".to_owned();
            return Err(("phase", format!("\"{phase}\""), valid));
        }
        _ => {}
    }
    slow(entry)?;
    match entry.seconds {
        None if entry.lasts() => {
            let valid = format!("\"{fault}\" needs seconds above 0");
            Err(("seconds", "(not set)".into(), valid))
        }
        Some(seconds) if !entry.lasts() => {
            let valid = format!("\"{fault}\" does not last; leave it out");
            Err(("seconds", seconds.to_string(), valid))
        }
        Some(seconds) if !(positive(seconds) && seconds <= 86_400.0) => Err((
            "seconds",
            seconds.to_string(),
            "must be above 0, at most a day".into(),
        )),
        _ => Ok(()),
    }
}

/// What only a slow worker has, and what it has not.
fn slow(entry: &Injection) -> Result<(), Wrong> {
    let fault = entry.fault;
    if fault != InjectedFault::Slow {
        return match entry.factor {
            Some(factor) => {
                let valid = format!("\"{fault}\" has none: it is for \"slow\"");
                Err(("factor", factor.to_string(), valid))
            }
            None => Ok(()),
        };
    }
    let whole = |key, value| {
        let valid = "\"slow\" is about whole tasks, and all of them; leave it out";
        Err((key, value, valid.to_owned()))
    };
    if let Some(probability) = entry.probability {
        return whole("probability", probability.to_string());
    }
    if let Some(phase) = entry.phase {
        return whole("phase", format!("\"{phase}\""));
    }
    match entry.factor {
        Some(factor) if positive(factor) && factor <= 1e6 => Ok(()),
        factor => {
            let value = factor.map_or("(not set)".to_owned(), |factor| factor.to_string());
            let valid = "\"slow\" needs a factor above 0, at most a million (below 1 is faster)";
            Err(("factor", value, valid.to_owned()))
        }
    }
}
