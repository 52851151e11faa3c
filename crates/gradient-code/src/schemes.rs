//! The schemes by name.
//!
//! A scheme is one file in this folder with a [`Scheme`] in it, and one line in the registry below;
//! `docs/adding-a-scheme.md` walks through one.
//!
//! No scheme is normalised: coefficients and weights are those of its paper, steps are not divided by
//! the computation load, and a biased scheme is not rescaled. What that bias is, per partition, says
//! [`crate::Plan::expected_coefficients`].

mod allows;
mod bgc;
mod ce_agc;
mod coco;
mod config;
mod ehd;
pub(crate) mod equal_bits;
mod is_sgd;
mod joint;
mod od;
mod one_bit_sgc;
mod osgc;
mod sgc;
mod sgd;

pub use allows::{CompressorTraits, CompressorWidths};
pub use config::{
    Assignment, BlockDesign, CodeKind, Construction, Decoding, Graph, Ridge, SchemeConfig,
};

use crate::decoder::Decoder;
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting, SettingError};

/// Every scheme there is.
static REGISTRY: &[&dyn Scheme] = &[
    &joint::Joint,
    &osgc::Osgc,
    &is_sgd::IsSgd,
    &sgd::Sgd,
    &bgc::Bgc,
    &ehd::Ehd,
    &sgc::Sgc,
    &od::Od,
    &one_bit_sgc::OneBitSgc,
    &coco::Coco,
    &coco::CocoEf,
    &ce_agc::CeAgc,
];

/// A way to assign data, coefficients and bits to workers, and to decode.
pub trait Scheme: Sync {
    /// What a configuration calls it.
    fn name(&self) -> &'static str;

    /// One line for a list of schemes.
    fn summary(&self) -> &'static str;

    /// The fields of [`SchemeConfig`] it reads besides `kind`; any other that a user sets has no effect.
    fn options(&self) -> &'static [&'static str];

    /// The codec preset that the scheme is defined with; `None` if it goes with any.
    fn compressor(&self) -> Option<&'static str> {
        None
    }

    /// Whether the scheme is defined with error feedback.
    fn error_feedback(&self) -> bool {
        false
    }

    /// Whether messages may be compressed like this.
    ///
    /// # Errors
    /// Why not, as a clause that follows "because".
    fn allows(&self, config: &SchemeConfig, compressor: &CompressorTraits) -> Result<(), String> {
        let _ = (config, compressor);
        Ok(())
    }

    /// Whether there is a proof that the weights per round of `design` give an unbiased estimate from
    /// unbiased messages. Not asked for fixed weights, for which it is computed.
    fn unbiased_rounds(&self, config: &SchemeConfig, setting: &Setting, design: &Design) -> bool {
        let _ = (config, setting, design);
        false
    }

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

/// `load` if it lies within `least` and the number of workers, dead or alive (so that a run can go on
/// without some of them); the smaller of it and the number of those that live.
fn checked_load(
    scheme: &'static str,
    load: f64,
    least: f64,
    setting: &Setting,
) -> Result<f64, PlanError> {
    let workers = setting.straggle_probabilities.len();
    let most = workers as f64;
    if load.is_finite() && load > 0.0 && load >= least && load <= most {
        return Ok(load.min(setting.alive().len() as f64));
    }
    let (from, nearest) = if least > 0.0 {
        (
            format!("{least} to"),
            if load < least { least } else { most },
        )
    } else {
        ("more than 0 and at most".to_owned(), most)
    };
    Err(PlanError::Parameters {
        scheme: scheme.to_owned(),
        load,
        workers,
        partitions: setting.partitions,
        requirement: format!("the load must be {from} the number of workers"),
        nearest: format!("load {nearest}"),
    })
}

/// Weight 1 for every message of `workers` workers.
fn plain(workers: usize) -> Decoder {
    Decoder::Fixed {
        weights: vec![1.0; workers],
        second: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bit_allocation::Method;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_found() {
        let names: Vec<_> = names().collect();
        assert_eq!(
            names,
            [
                "joint",
                "osgc",
                "is-sgd",
                "sgd",
                "bgc",
                "ehd",
                "sgc",
                "od",
                "one-bit-sgc",
                "coco",
                "coco-ef",
                "ce-agc"
            ]
        );
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
