//! The schemes by name.
//!
//! A scheme is one file in this folder with a [`Scheme`] in it, and one line in the registry below.

mod equal_bits;
mod is_sgd;
mod joint;
mod osgc;
mod sgd;

use bit_allocation::Method;
use serde::{Deserialize, Serialize};

use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting, SettingError};

/// Every scheme there is.
static REGISTRY: &[&dyn Scheme] = &[&joint::Joint, &osgc::Osgc, &is_sgd::IsSgd, &sgd::Sgd];

/// A way to assign data, coefficients and bits to workers, and to decode.
pub trait Scheme: Sync {
    /// What a configuration calls it.
    fn name(&self) -> &'static str;

    /// One line for a list of schemes.
    fn summary(&self) -> &'static str;

    /// The fields of [`SchemeConfig`] it reads besides `kind`; any other that a user sets has no effect.
    fn options(&self) -> &'static [&'static str];

    /// Designs the code for a validated `setting`.
    ///
    /// # Errors
    /// [`PlanError`], naming the worker or the value that is wrong.
    fn design(
        &self,
        config: &SchemeConfig,
        setting: &Setting,
        budget: &Budget,
    ) -> Result<Design, PlanError>;
}

/// All schemes, the joint design first.
pub fn all() -> impl Iterator<Item = &'static dyn Scheme> {
    REGISTRY.iter().copied()
}

/// Names of all schemes.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(Scheme::name)
}

/// The scheme of that name.
pub fn find(name: &str) -> Option<&'static dyn Scheme> {
    all().find(|scheme| scheme.name() == name)
}

/// Which scheme, and its options. Options that a scheme does not list in [`Scheme::options`] are
/// ignored by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchemeConfig {
    /// Name of the scheme.
    pub kind: String,
    /// How bits are allocated (`joint`).
    pub method: Method,
    /// Whether a worker may get no bits and no data (`joint`), which is never worse in the predicted
    /// error.
    pub allow_idle: bool,
    /// How the code is laid out (`osgc`).
    pub construction: Construction,
}

impl Default for SchemeConfig {
    /// The joint design with exactly optimal bits.
    fn default() -> Self {
        Self::new("joint")
    }
}

impl SchemeConfig {
    /// The scheme called `kind` with default options.
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            method: Method::Exact,
            allow_idle: false,
            construction: Construction::Overlap,
        }
    }
}

/// How a code with the row sums of Theorem 1 is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Construction {
    /// Eq 22 of Song & Choi 2026: non-negative coefficients ([`crate::overlap`]).
    #[default]
    #[serde(rename = "overlap")]
    Overlap,
    /// OSGC's Scheme I: one partition shared by all ([`crate::osgc_construction`]).
    #[serde(rename = "scheme-1")]
    SchemeOne,
    /// OSGC's Scheme II: a chain ([`crate::osgc_construction`]).
    #[serde(rename = "scheme-2")]
    SchemeTwo,
}

/// `p_i` of these workers, for a design that divides by it.
fn probabilities_of(
    workers: &[usize],
    setting: &Setting,
    scheme: &str,
) -> Result<Vec<f64>, SettingError> {
    workers
        .iter()
        .map(|&worker| match setting.straggle_probabilities[worker] {
            0.0 => Err(SettingError::NeverLate {
                worker,
                scheme: scheme.to_owned(),
            }),
            p => Ok(p),
        })
        .collect()
}

/// `w_i = wt_i / (1 - p_i)` with `wt_i = 1`, for every worker; 0 for the dead.
fn inverse_arrival(setting: &Setting) -> Vec<f64> {
    setting
        .straggle_probabilities
        .iter()
        .map(|&p| if p < 1.0 { (1.0 - p).recip() } else { 0.0 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_found() {
        let names: Vec<_> = names().collect();
        assert_eq!(names, ["joint", "osgc", "is-sgd", "sgd"]);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        for name in names {
            let scheme = find(name).expect("it is in the registry");
            assert_eq!(scheme.name(), name);
            assert!(!scheme.summary().is_empty());
        }
        assert!(find("Joint").is_none());
    }

    #[test]
    fn configurations_reject_unknown_keys() {
        let config: SchemeConfig =
            serde_json::from_str(r#"{"kind":"osgc","construction":"scheme-2"}"#).expect("valid");
        assert_eq!(config.construction, Construction::SchemeTwo);
        assert_eq!(config.method, Method::Exact);
        assert!(serde_json::from_str::<SchemeConfig>(r#"{"kid":"osgc"}"#).is_err());
    }
}
