//! The objective of the bit allocation by the budget: Song & Choi (arXiv 2605.15890), Fig. 1.

use run_log::study::Outcome as RunOutcome;

use super::Findings;
use crate::config::planning;
use crate::config::settings::BudgetBits;
use crate::config::values::SchemeKind;
use crate::config::{Config, PointConfig};
use crate::exit::{Failure, Outcome};

/// Whether the point's scheme allocates bits.
///
/// # Errors
/// Exit code 2 if it does not.
pub fn check(point: &PointConfig) -> Outcome {
    let kind = point.config.scheme.kind;
    if kind.is(SchemeKind::JOINT) && point.config.quantizes() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "failed to study the allocation of {}: scheme {kind} with codec {} allocates no bits; take kind = \"joint\" \
         with a quantizer and compare its methods",
        point.name(),
        point.config.preset(),
    )))
}

/// F(r) = sum_i h_i(r_i) of the point's allocator, for every budget Z_res = `residual_bits`.
///
/// It is the S of the plan: for a code of Theorem 1, `h_i = 1 / c_i`.
///
/// # Errors
/// Exit code 2 if a budget cannot be allocated.
pub fn run(config: &Config, residual_bits: &[u64]) -> Outcome<Findings> {
    let dimension = config.dimension()?;
    let mut config = config.clone();
    let mut objective = Vec::with_capacity(residual_bits.len());
    for &bits in residual_bits {
        config.budget.bits = Some(BudgetBits::Residual(bits));
        objective.push(planning::plan(&config, dimension)?.prediction.scaling_s);
    }
    Ok(Findings {
        outcome: RunOutcome::Finished,
        series: vec![("objective".into(), objective)],
        facts: vec![("dimension".into(), dimension as f64)],
        bounds: vec![],
        plan: None,
    })
}
