//! BGC: Bernoulli gradient codes (Charles, Papailiopoulos and Ellenberg 2017, arXiv 1711.06771).
//!
//! Every worker holds every partition with probability `d / k`, independently, with `a = 1`. What is
//! drawn is drawn: **a partition that nobody got is left out** ([`crate::Plan::incomplete`]), which happens
//! with probability `(1 - d/k)^k`, about `e^-d`; its coefficient in `E[ghat]` is 0, and the predicted
//! bound counts it as bias. Drawing again until nothing is missing would be another code.
//!
//! Decoding: `w = 1` for every responder, as Song & Choi 2026 compare it (**biased**:
//! `E[ghat]` has `sum_i (1 - p_i) a_ij`); the original one-step decoder, `n / (r s)` for each of `r`
//! responders with `s = d n / k` the mean number of partitions of a worker; or least squares. Equal bits.

use rand::RngExt;

use super::allows::fixed_weights_under_feedback;
use super::{CompressorTraits, Decoding, Scheme, SchemeConfig, checked_load, plain};
use crate::code::CodeMatrix;
use crate::decoder::{Decoder, PerRound, Rule};
use crate::draw;
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting};

pub(super) struct Bgc;

impl Scheme for Bgc {
    fn name(&self) -> &'static str {
        "bgc"
    }

    fn summary(&self) -> &'static str {
        "each partition at each worker with probability d/k, equal bits (biased)"
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
        let load = checked_load(self.name(), config.load, 0.0, setting)?;
        let alive = setting.alive();
        let probability = load / alive.len() as f64;
        let holders: Vec<Vec<usize>> = (0..n)
            .map(|j| {
                let mut stream = draw::plan_time(setting.seed, j as u64);
                let drawn: Vec<f64> = (0..k).map(|_| stream.random()).collect();
                let held = |worker: &usize| drawn[*worker] < probability;
                alive.iter().copied().filter(held).collect()
            })
            .collect();
        let code = CodeMatrix::from_holders(k, &holders, |_, _| 1.0)?;
        let decoder = match config.decoding {
            Decoding::Default | Decoding::Plain => plain(k),
            Decoding::OneStep => Decoder::PerRound(PerRound::rule(Rule::OneStep {
                load: load * n as f64 / alive.len() as f64,
            })),
            Decoding::Optimal => Decoder::PerRound(PerRound::default()),
            given @ Decoding::FirstArrival => {
                return Err(PlanError::Decoding {
                    scheme: self.name().to_owned(),
                    given,
                    possible: "plain, one-step or optimal",
                });
            }
        };
        Ok(Design {
            incomplete: true,
            ..Design::with_equal_bits(code, decoder, setting, budget)?
        })
    }
}
