//! The quantization error: what plans reckoned with, what workers measured, and how it compares with what
//! straggling costs.

use std::collections::BTreeMap;

use gradient_code::{Decoder, Plan};
use run_log::PlanEntry;
use serde::Serialize;

use super::columns::Columns;

/// One width while one plan was in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WidthError {
    /// First iteration of the plan.
    pub from: u64,
    /// Bits per coordinate.
    pub bits: u8,
    /// phi that the plan was made with; NaN in logs that do not say it.
    pub planned: f64,
    /// Mean of what workers measured on their messages; NaN if nothing was measured.
    pub measured: f64,
    /// Its standard error, messages taken as independent.
    pub standard_error: f64,
    /// Messages.
    pub messages: usize,
}

impl WidthError {
    /// Whether it is off the plan's by a factor of 1.5 or more, beyond two standard errors.
    pub fn is_off(&self) -> bool {
        let margin = 2.0 * self.standard_error;
        self.messages >= cluster::LEAST_MESSAGES
            && (self.measured - margin > 1.5 * self.planned
                || self.measured + margin < self.planned / 1.5)
    }
}

/// Quantization over the run.
#[derive(Clone, Debug, Serialize)]
pub struct Quantization {
    /// By plan and width.
    pub widths: Vec<WidthError>,
    /// Under the last plan: what quantization adds to the squared error of the decoded gradient, over what straggling
    /// makes of it, for partitions with equal gradients:
    /// `sum_i phi_i Y_i^2 / (1 - p_i)` over `sum_i p_i Y_i^2 / (1 - p_i)` with `Y_i = (1 - p_i) w_i |sum_j a_ij|` (Lemma 1 of
    /// Song & Choi). phi_i is measured where it was. NaN where weights are found per round.
    pub noise_over_straggling: f64,
    /// Whether that is with measured errors alone.
    pub all_measured: bool,
}

/// Compares.
pub fn of(columns: &Columns, plans: &[PlanEntry]) -> Quantization {
    let ends = plans.iter().skip(1).map(|plan| plan.start_iteration as f64);
    let mut list = Vec::new();
    let mut last = None;
    for (entry, end) in plans.iter().zip(ends.chain([f64::INFINITY])) {
        let Ok(plan) = serde_json::from_str::<Plan>(&entry.plan.json) else {
            continue;
        };
        let start = entry.start_iteration as f64;
        let mut found: BTreeMap<u8, (f64, Vec<f64>)> = BTreeMap::new();
        for (i, worker) in plan.workers.iter().enumerate().take(columns.workers) {
            if worker.is_idle() || worker.bits == gradient_code::PASSTHROUGH_BITS {
                continue;
            }
            let planned = plan.prediction.phi.get(i).copied().unwrap_or(f64::NAN);
            let errors = &mut found.entry(worker.bits).or_insert((planned, vec![])).1;
            let rows = (0..columns.len()).filter(|&t| (start..end).contains(&columns.iteration[t]));
            errors.extend(
                rows.map(|t| columns.quantization[[t, i]])
                    .filter(|e| e.is_finite()),
            );
        }
        let measured = found.into_iter().map(|(bits, (planned, errors))| {
            let n = errors.len() as f64;
            let mean = errors.iter().sum::<f64>() / n;
            let squares: f64 = errors.iter().map(|e| (e - mean).powi(2)).sum();
            WidthError {
                from: entry.start_iteration,
                bits,
                planned,
                measured: mean,
                standard_error: (squares / (n * (n - 1.0).max(1.0))).sqrt(),
                messages: errors.len(),
            }
        });
        let measured: Vec<WidthError> = measured.collect();
        list.extend(measured.iter().cloned());
        last = Some((plan, measured));
    }
    let (noise_over_straggling, all_measured) =
        last.map_or((f64::NAN, false), |(plan, widths)| noise(&plan, &widths));
    Quantization {
        widths: list,
        noise_over_straggling,
        all_measured,
    }
}

fn noise(plan: &Plan, widths: &[WidthError]) -> (f64, bool) {
    let Decoder::Fixed { weights, .. } = &plan.decoder else {
        return (f64::NAN, false);
    };
    let (mut quantized, mut straggling, mut all) = (0.0, 0.0, true);
    for (worker, weight) in plan.workers.iter().zip(weights) {
        let p = worker.straggle_probability;
        let Some(width) = widths.iter().find(|width| width.bits == worker.bits) else {
            continue; // idle, or not quantized
        };
        let phi = match width.measured {
            measured if measured.is_finite() => measured,
            _ => width.planned,
        };
        all &= width.messages > 0;
        let share = ((1.0 - p) * weight * worker.row_sum()).powi(2) / (1.0 - p);
        quantized += phi * share;
        straggling += p * share;
    }
    (quantized / straggling, all)
}
