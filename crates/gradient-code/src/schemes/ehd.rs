//! EHD: ErasureHead, fractional repetition (Wang, Charles and Papailiopoulos 2019, arXiv 1901.09671).
//!
//! The workers form `k / d` groups of `d` neighbours; a group holds `d n / k` neighbouring partitions
//! (sizes differ by one where that is not whole), every member all of them, with `a = 1`. `d` must divide
//! `k`. After deaths there are still `k / d` groups (or as many as workers are left), among which the
//! living are shared out evenly.
//!
//! Decoding: `w = 1` for **all** responders, as Song & Choi 2026 compare it, which counts a group as often
//! as members answer (**biased**: `E[ghat]` has the sum of `1 - p_i` over the group); the original, where
//! the first arrival of each group counts and no other, also biased but by at most 1; or least squares,
//! the mean of the members that answered. ErasureHead also ends the round once every group has answered;
//! here the deadline does. Equal bits.

use super::allows::fixed_weights_under_feedback;
use super::{CompressorTraits, Decoding, Scheme, SchemeConfig, plain};
use crate::code::CodeMatrix;
use crate::decoder::{Decoder, PerRound, Rule};
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting};

pub(super) struct Ehd;

impl Scheme for Ehd {
    fn name(&self) -> &'static str {
        "ehd"
    }

    fn summary(&self) -> &'static str {
        "groups of d workers that repeat the same partitions, equal bits (biased)"
    }

    fn options(&self) -> &'static [&'static str] {
        &["load", "decoding"]
    }

    fn allows(&self, config: &SchemeConfig, compressor: &CompressorTraits) -> Result<(), String> {
        match config.decoding {
            Decoding::Default | Decoding::Plain => Ok(()),
            other => fixed_weights_under_feedback(compressor, other),
        }
    }

    fn design(
        &self,
        config: &SchemeConfig,
        setting: &Setting,
        budget: &Budget,
    ) -> Result<Design, PlanError> {
        let k = setting.straggle_probabilities.len();
        let n = setting.partitions;
        let size = self.group_size(config.load, k, n)?;
        let alive = setting.alive();
        let groups = (k / size).min(alive.len());
        let mut rows = vec![Vec::new(); k];
        let mut group = vec![0; k];
        for (m, &worker) in alive.iter().enumerate() {
            let g = m * groups / alive.len();
            group[worker] = g;
            rows[worker] = (g * n / groups..(g + 1) * n / groups)
                .map(|j| (j, 1.0))
                .collect();
        }
        let decoder = match config.decoding {
            Decoding::Default | Decoding::Plain => plain(k),
            Decoding::FirstArrival => {
                Decoder::PerRound(PerRound::rule(Rule::FirstOfGroup { group }))
            }
            Decoding::Optimal => Decoder::PerRound(PerRound::default()),
            given @ Decoding::OneStep => {
                return Err(PlanError::Decoding {
                    scheme: self.name().to_owned(),
                    given,
                    possible: "plain, first-arrival or optimal",
                });
            }
        };
        Design::with_equal_bits(CodeMatrix::new(n, rows)?, decoder, setting, budget)
    }
}

impl Ehd {
    /// `d` as a divisor of `workers`.
    fn group_size(&self, load: f64, workers: usize, partitions: usize) -> Result<usize, PlanError> {
        let divisors = || (1..=workers).filter(|d| workers.is_multiple_of(*d));
        if let Some(size) = divisors().find(|&d| d as f64 == load) {
            return Ok(size);
        }
        let below = divisors().rfind(|&d| (d as f64) < load);
        let above = divisors().find(|&d| d as f64 > load);
        let nearest: Vec<String> = below
            .into_iter()
            .chain(above)
            .map(|d| d.to_string())
            .collect();
        Err(PlanError::Parameters {
            scheme: self.name().to_owned(),
            load,
            workers,
            partitions,
            requirement: "the load must divide the number of workers into whole groups".to_owned(),
            nearest: format!("load {}", nearest.join(" or ")),
        })
    }
}
