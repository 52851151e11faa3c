//! The joint design of code and bits (Song & Choi 2026, arXiv 2605.15890, sections 3 and 4).
//!
//! By Prop. 1 the best code and the best bits can be found one after the other: whatever the bits, the
//! best code has error `n^2 C / S` with `S = sum_i h_i(z_i)`, so the bits maximise `S` (b-SP1, eqs
//! 23-24), which fixes `c_i = 1 / h_i` and with them the row sums (Theorem 1) and the code (eq 22). With
//! `wt_i = (1 - p_i) w_i = 1` the coefficients `a_ij` are the effective weights `alpha_i^j`; the paper
//! draws `wt_i` at random, which changes nothing in law and risks tiny divisors.
//!
//! Where wider messages arrive later, `h_i(z) = (1 - p_i(z)) / (p_i(z) + phi(z))` is still one table per
//! worker, and the same allocators find the best bits. More bits may then be worse, so the budget is
//! what may be spent at most.

use bit_allocation::{Problem, allocate, allocate_within, utility};

use super::allows::unbiased_or_feedback;
use super::{CompressorTraits, Scheme, SchemeConfig};
use crate::decoder::Decoder;
use crate::overlap;
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting};

pub(super) struct Joint;

impl Scheme for Joint {
    fn name(&self) -> &'static str {
        "joint"
    }

    fn summary(&self) -> &'static str {
        "code and bits designed together for the workers' reliability and the quantizer's variance"
    }

    fn options(&self) -> &'static [&'static str] {
        &["method", "allow_idle"]
    }

    fn allows(&self, _config: &SchemeConfig, compressor: &CompressorTraits) -> Result<(), String> {
        unbiased_or_feedback(compressor)
    }

    fn design(
        &self,
        config: &SchemeConfig,
        setting: &Setting,
        budget: &Budget,
    ) -> Result<Design, PlanError> {
        let k = setting.straggle_probabilities.len();
        let alive = setting.alive();
        super::probabilities_of(&alive, setting, self.name())?;
        let required = if config.allow_idle { 1 } else { alive.len() };
        let total_bits = budget.usable(alive.len(), required)?;

        let eta = setting.scaling.eta(
            &setting.reference_probabilities(&alive, total_bits),
            total_bits as f64 / alive.len() as f64,
            budget.min_bits,
            budget.max_bits,
            &|bits| setting.variance(bits),
        )?;
        let phi = |bits| eta * setting.variance(bits);
        let widths = budget.min_bits..=budget.max_bits;
        for bits in widths.clone() {
            setting.checked_variance(bits)?;
        }
        let late = |worker: usize, bits| setting.probability(alive[worker], bits);
        let tables = utility::tables_by_width(alive.len(), &late, &phi, widths, config.allow_idle)?;
        let problem = Problem { tables, total_bits };
        let allocation = match setting.by_width {
            None => allocate(&problem, config.method)?,
            Some(_) => allocate_within(&problem, config.method)?,
        };

        let utilities: Vec<f64> = alive
            .iter()
            .zip(&allocation.bits)
            .map(|(&worker, &bits)| {
                if bits == 0 {
                    0.0
                } else {
                    utility::joint(setting.probability(worker, bits), phi(bits))
                }
            })
            .collect();
        let row_sums = overlap::optimal_row_sums(&utilities, setting.partitions)?;
        let code = overlap::overlap(&row_sums, setting.partitions)?;

        let mut design = Design {
            code: code.scatter(&alive, k),
            bits: vec![0; k],
            block_code: None,
            decoder: Decoder::Fixed {
                weights: super::inverse_arrival(setting),
                second: None,
            },
            weights: vec![f64::INFINITY; k],
            eta,
            no_straggling: false,
            incomplete: false,
        };
        for ((&worker, &bits), &utility) in alive.iter().zip(&allocation.bits).zip(&utilities) {
            design.bits[worker] = bits;
            design.weights[worker] = utility.recip();
        }
        Ok(design)
    }
}
