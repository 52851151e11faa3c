//! What stands on an axis, with its name and unit.

use run_log::study::{Point, Series};
use serde_json::Value;

use super::super::format::{si_prefix, significant};
use super::source::{Comparison, value_at};
use crate::exit::{Failure, Outcome};
use crate::headline;

/// Bits up to an evaluation, in a study's series.
pub const RECEIVED: &str = "bits_up_payload";
/// The same had nobody been late.
pub const OFFERED: &str = "bits_up_offered";

/// Seconds up to an evaluation by the drawn delays, in a study's series.
pub const SECONDS: &str = "seconds_virtual";

/// The unit of a cumulative series that runs are compared at.
pub fn unit(cost: &str) -> &'static str {
    match cost {
        SECONDS => "s",
        _ => "bit",
    }
}

/// Series that tell what a run cost or met, and not how good it is.
const ACCOUNTS: [&str; 10] = [
    RECEIVED,
    OFFERED,
    SECONDS,
    "bits_up",
    "bits_down",
    "late",
    "responders",
    "relative_error",
    "amplification",
    "decoder_norm",
];

/// What runs to the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Abscissa {
    /// The study's own axis: iterations, stragglers, ...
    Axis,
    /// The cumulative bits, or seconds, of this series.
    Bits(&'static str),
    /// A swept key, at the end of the axis.
    Key(String),
}

impl Abscissa {
    /// Reads `--x`.
    ///
    /// # Errors
    /// Exit code 2 with what there is, for any other word.
    pub fn parse(text: &str, comparison: &Comparison) -> Outcome<Self> {
        let axes = || {
            comparison
                .points
                .iter()
                .map(|entry| entry.point.axis.as_str())
        };
        match text {
            "bits" => return Ok(Self::Bits(RECEIVED)),
            "bits-offered" => return Ok(Self::Bits(OFFERED)),
            "seconds" => return Ok(Self::Bits(SECONDS)),
            _ if axes().any(|axis| axis == text) => return Ok(Self::Axis),
            _ => {}
        }
        let keys = comparison.swept_keys();
        let found = keys.iter().find(|key| *key == text || short(key) == text);
        found.map(|key| Self::Key(key.clone())).ok_or_else(|| {
            let mut known: Vec<&str> = axes().collect();
            known.dedup();
            known.extend(["bits", "bits-offered", "seconds"]);
            known.extend(keys.iter().map(String::as_str));
            Failure::usage(format!("failed to draw --x {text}: there is no such axis"))
                .hint(format!("one of {}", known.join(", ")))
        })
    }

    /// For a file's name.
    pub fn slug(&self, axis: &str) -> String {
        match self {
            Self::Axis => axis.to_owned(),
            Self::Bits(OFFERED) => "bits-offered".into(),
            Self::Bits(SECONDS) => "seconds".into(),
            Self::Bits(_) => "bits".into(),
            Self::Key(key) => format!("by-{}", short(key)),
        }
    }

    /// Name and unit; `prefix` is the SI prefix of the bits.
    pub fn title(&self, axis: &str, prefix: &str) -> String {
        match self {
            Self::Axis => key_title(axis),
            Self::Bits(OFFERED) => {
                format!("bits of all workers' gradients, late ones included ({prefix}bit)")
            }
            Self::Bits(SECONDS) => format!("time by the delay model ({prefix}s)"),
            Self::Bits(_) => format!("bits of the gradients received ({prefix}bit)"),
            Self::Key(key) => key_title(key),
        }
    }
}

/// The last part of a dotted key.
pub fn short(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// Name of an axis or key with its unit.
fn key_title(key: &str) -> String {
    match short(key) {
        "iteration" => "iterations".into(),
        "residual_bits" => "residual budget (bit per coordinate)".into(),
        "total_bits" => "budget of all workers (bit per coordinate)".into(),
        "mean_bits" => "budget per worker (bit per coordinate)".into(),
        "stragglers" => "stragglers".into(),
        other => other.replace('_', " "),
    }
}

/// Name of a series for people.
pub fn series_title(name: &str) -> String {
    match name {
        "relative_error" => "relative error of the decoded gradient".into(),
        "objective" => "objective F".into(),
        "training_loss" => "training loss (smoothed)".into(),
        RECEIVED => "bits of the gradients received".into(),
        OFFERED => "bits of all workers' gradients, late ones included".into(),
        other => other.replace('_', " "),
    }
}

/// Name of a theoretical curve for people.
pub fn bound_title(name: &str) -> String {
    match name {
        "upper" => "upper bound".into(),
        "lower" => "lower bound".into(),
        other => other.replace('_', " "),
    }
}

/// A swept value: three or four digits, words without quotes.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Number(number) => number
            .as_f64()
            .map_or_else(|| number.to_string(), |number| significant(number, 4)),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `tau = 1.5, residual_bits = 50`.
pub fn sweep_text(sweep: &[(String, Value)]) -> String {
    let parts = sweep
        .iter()
        .map(|(key, value)| format!("{} = {}", short(key), value_text(value)));
    parts.collect::<Vec<_>>().join(", ")
}

/// Results among the series that lead: metrics first to last in importance.
pub fn metrics(comparison: &Comparison) -> Vec<String> {
    let rank = |name: &str| match name {
        "loss" => 0,
        "objective" => 1,
        name if name.contains("error") => 2,
        _ => 3,
    };
    let mut names: Vec<String> = comparison
        .series_names()
        .into_iter()
        .filter(|name| !ACCOUNTS.contains(name) && !headline::is_detail(name))
        .map(str::to_owned)
        .collect();
    names.sort_by_key(|name| rank(name));
    if names.is_empty() {
        names.extend(comparison.series_names().into_iter().map(str::to_owned));
    }
    names
}

/// Abscissae of a point's series; None where there are none of this kind.
pub fn abscissae(point: &Point, x: &Abscissa) -> Option<Vec<f64>> {
    match x {
        Abscissa::Axis => Some(point.at.clone()),
        Abscissa::Bits(name) => point.series.get(*name).map(|series| series.mean.clone()),
        Abscissa::Key(key) => value_at(point, key)?.as_f64().map(|value| vec![value]),
    }
}

/// Runs with a value at a position.
pub fn count(series: &Series, position: usize) -> usize {
    let column = series.runs.column(position);
    column.iter().filter(|value| !value.is_nan()).count()
}

/// Divides the abscissae of bits, so that their numbers are short, and returns the SI prefix.
pub fn scale_bits<'a>(lines: impl Iterator<Item = &'a mut Vec<f64>>) -> &'static str {
    let mut lines: Vec<&mut Vec<f64>> = lines.collect();
    let all = lines.iter().flat_map(|x| x.iter().copied());
    let most = all.filter(|x| x.is_finite()).fold(0.0, f64::max);
    let (factor, prefix) = si_prefix(most);
    for x in lines.iter_mut().flat_map(|x| x.iter_mut()) {
        *x /= factor;
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_a_cost_with_a_unit_of_its_own() {
        assert_eq!(
            (unit(SECONDS), unit(RECEIVED), unit(OFFERED)),
            ("s", "bit", "bit")
        );
        assert!(ACCOUNTS.contains(&SECONDS), "no metric");
        let x = Abscissa::Bits(SECONDS);
        assert_eq!(x.slug("iteration"), "seconds");
        assert_eq!(x.title("iteration", "k"), "time by the delay model (ks)");
    }
}
