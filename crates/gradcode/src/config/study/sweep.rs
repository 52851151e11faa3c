//! `[sweep]`: the keys that vary, and every combination of their values.

use std::collections::BTreeSet;

use super::super::document::{Document, SweepKey};
use super::super::error::ConfigError;
use super::super::origin::Place;
use super::super::source::{Merged, Sources};

impl Sources {
    /// The swept keys by their full names; none may be set by `--set` as well.
    pub(super) fn named_sweep(
        &self,
        document: &Document,
        place: &Place,
    ) -> Result<Vec<SweepKey>, ConfigError> {
        let mut sweep = document.sweep.clone();
        for key in &mut sweep {
            if key.key == "budget" {
                key.key = self.budget_key(document, place)?;
            }
        }
        let mut seen = BTreeSet::new();
        for key in &sweep {
            if !seen.insert(key.key.clone()) {
                return Err(self.study_error(format!("`{}` is swept twice", key.key)));
            }
            let instead = match key.key.as_str() {
                "scheme.kind" => "list schemes as [[scheme]]",
                "seed" => "run r takes seed + r; study.runs says how many",
                "title" | "out" => "a study has one",
                _ => "",
            };
            if !instead.is_empty() {
                return Err(self.study_error(format!(
                    "line {} sweeps `{}`, which is not possible: {instead}",
                    key.line, key.key
                )));
            }
            let set_too = |argument: &&String| {
                argument
                    .split_once('=')
                    .is_some_and(|(set, _)| set.trim() == key.key)
            };
            if let Some(argument) = self.set.iter().find(set_too) {
                return Err(self.study_error(format!(
                    "--set {argument} fixes what line {} sweeps; --scheme LABEL picks a single experiment, in which --set wins",
                    key.line
                )));
            }
        }
        Ok(sweep)
    }

    /// The budget key that the layers state.
    pub(in crate::config) fn budget_key(
        &self,
        document: &Document,
        place: &Place,
    ) -> Result<String, ConfigError> {
        let mut merged = Merged::defaults()?;
        merged.add(document.base.clone(), place);
        self.upper_layers(&mut merged)?;
        let budget = &merged.layer.budget;
        let stated = [
            ("total_bits", budget.total_bits.is_some()),
            ("residual_bits", budget.residual_bits.is_some()),
            ("mean_bits", budget.mean_bits.is_some()),
        ];
        match stated.iter().find(|(_, stated)| *stated) {
            Some((key, _)) => Ok(format!("budget.{key}")),
            None => Err(self.study_error(
                "sweep.budget needs to know in which terms: set budget.total_bits, residual_bits or mean_bits \
                 to any value, or sweep that key by its name (sweep.budget.mean_bits = [..])"
                    .into(),
            )),
        }
    }

    pub(super) fn study_error(&self, message: String) -> ConfigError {
        ConfigError::Study {
            path: self.experiment.clone(),
            message,
        }
    }
}

/// Indices of every combination of the swept values, the last key fastest; one empty combination
/// without keys.
pub(super) fn combinations(sweep: &[SweepKey]) -> Vec<Vec<usize>> {
    sweep.iter().fold(vec![vec![]], |before, key| {
        before
            .iter()
            .flat_map(|chosen| {
                (0..key.values.len()).map(move |value| {
                    let mut chosen = chosen.clone();
                    chosen.push(value);
                    chosen
                })
            })
            .collect()
    })
}
