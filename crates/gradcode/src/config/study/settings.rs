//! `[study]`: what is studied, and how often.

use super::super::document::Document;
use super::super::error::ConfigError;
use super::super::layer::{Section, StudyLayer};
use super::super::origin::{Origins, Place};
use super::super::source::{Sources, parse_set};
use super::super::values::{StudyKind, StudyRates};

/// `[study]`
#[derive(Clone, Debug, PartialEq)]
pub struct StudySettings {
    /// What is studied.
    pub kind: StudyKind,
    /// Runs of every point; run r takes the seed `seed + r`.
    pub runs: usize,
    /// Runs at once; 0 = one per core.
    pub jobs: usize,
    /// Whether drawn rates differ from run to run.
    pub rates: StudyRates,
    /// Training: rounds of the error measurement before a run; 0 = none.
    pub probe: u64,
    /// Decoding error: numbers of stragglers; empty = some, evenly spaced.
    pub stragglers: Vec<usize>,
    /// Decoding error: straggler sets per code and number.
    pub sets: usize,
    /// Allocation: budgets Z_res.
    pub residual_bits: Vec<u64>,
}

impl StudySettings {
    /// Every key, as it is written.
    pub(super) fn to_layer(&self) -> StudyLayer {
        let listed = |list: &[u64]| (!list.is_empty()).then(|| list.to_vec());
        StudyLayer {
            kind: Some(self.kind),
            runs: Some(self.runs),
            jobs: Some(self.jobs),
            rates: Some(self.rates),
            probe: Some(self.probe),
            stragglers: (!self.stragglers.is_empty()).then(|| self.stragglers.clone()),
            sets: Some(self.sets),
            residual_bits: listed(&self.residual_bits),
        }
    }
}

impl Sources {
    /// `[study]`, and warnings about keys in it that have no effect.
    pub(super) fn study_settings(
        &self,
        document: &Document,
        place: &Place,
    ) -> Result<(StudySettings, Vec<String>), ConfigError> {
        let mut layer = StudyLayer::default();
        let mut origins = Origins::default();
        layer.overlay(
            document.study.clone().unwrap_or_default(),
            place,
            &mut origins,
        );
        for argument in self.set.iter().filter(|argument| is_study_key(argument)) {
            let upper = study_set(argument)?;
            layer.overlay(upper, &Place::argument("--set", argument), &mut origins);
        }
        let at_least_one = |key: &str, value: usize| {
            if value >= 1 {
                return Ok(value);
            }
            Err(ConfigError::Invalid {
                key: key.into(),
                value: value.to_string(),
                origin: origins.of(key),
                valid: "needs at least 1".into(),
            })
        };
        let settings = StudySettings {
            kind: layer.kind.unwrap_or(StudyKind::Training),
            runs: at_least_one("study.runs", layer.runs.unwrap_or(10))?,
            jobs: layer.jobs.unwrap_or(0),
            rates: layer.rates.unwrap_or(StudyRates::Shared),
            probe: layer.probe.unwrap_or(0),
            stragglers: layer.stragglers.unwrap_or_default(),
            sets: at_least_one("study.sets", layer.sets.unwrap_or(20))?,
            residual_bits: layer.residual_bits.unwrap_or_default(),
        };
        let positions = settings.stragglers.iter().map(|&count| count as u64);
        for (key, list) in [
            ("study.stragglers", positions.collect()),
            ("study.residual_bits", settings.residual_bits.clone()),
        ] {
            if !list.is_sorted_by(|a, b| a < b) {
                return Err(ConfigError::Invalid {
                    key: key.into(),
                    value: format!("{list:?}"),
                    origin: origins.of(key),
                    valid: "must rise from one to the next".into(),
                });
            }
        }
        if settings.kind == StudyKind::Allocation && settings.residual_bits.is_empty() {
            return Err(ConfigError::Missing {
                key: "study.residual_bits".into(),
                valid: "the budgets Z_res to allocate, for instance [50, 100, 150, 200]".into(),
            });
        }
        let (listed, budgets) = (&settings.stragglers, &settings.residual_bits);
        let wanted = [
            ("study.probe", settings.probe > 0, StudyKind::Training),
            (
                "study.stragglers",
                !listed.is_empty(),
                StudyKind::DecodingError,
            ),
            (
                "study.residual_bits",
                !budgets.is_empty(),
                StudyKind::Allocation,
            ),
        ];
        let idle = wanted
            .into_iter()
            .filter(|(_, wanted, kind)| *wanted && *kind != settings.kind)
            .map(|(key, ..)| {
                let (origin, kind) = (origins.of(key), settings.kind);
                format!("`{key}` ({origin}) has no effect with study.kind = \"{kind}\"")
            })
            .collect();
        Ok((settings, idle))
    }
}

/// Whether a `--set` argument is about `[study]`.
pub(in crate::config) fn is_study_key(argument: &str) -> bool {
    argument.trim_start().starts_with("study.")
}

/// `study.key=value`.
fn study_set(argument: &str) -> Result<StudyLayer, ConfigError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Only {
        study: StudyLayer,
    }
    parse_set::<Only>(argument).map(|only| only.study)
}
