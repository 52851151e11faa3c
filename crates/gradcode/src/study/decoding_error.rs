//! The decoding error of CE-AGC by the number of stragglers: Munim & Ramamoorthy (arXiv 2603.22514),
//! Figs 3 to 5.

use gradient_code::ce_agc::{CeAgc, decoding_error_study};
use run_log::study::Outcome as RunOutcome;

use super::{Bound, Findings};
use crate::config::{Config, PointConfig, StudySettings};
use crate::exit::{Failure, Outcome};

/// Numbers of stragglers where the study lists none.
const POSITIONS: usize = 11;

/// The numbers of stragglers of a point.
///
/// # Errors
/// Exit code 2 if the scheme has no such codes, or fewer workers than that.
pub fn stragglers(point: &PointConfig, settings: &StudySettings) -> Outcome<Vec<usize>> {
    let workers = point.config.workers;
    let failed = |why: String| {
        Failure::usage(format!(
            "failed to study the decoding error of {}: {why}",
            point.name()
        ))
    };
    if !point.config.scheme.kind.is("ce-agc") {
        return Err(failed(format!(
            "it is that of scheme ce-agc, not {}",
            point.config.scheme.kind
        )));
    }
    if let Some(&many) = settings.stragglers.iter().find(|&&s| s >= workers) {
        return Err(failed(format!(
            "study.stragglers lists {many}, and at least one of {workers} workers must answer"
        )));
    }
    if !settings.stragglers.is_empty() {
        return Ok(settings.stragglers.clone());
    }
    let mut spread: Vec<usize> = (0..POSITIONS)
        .map(|i| i * (workers - 1) / (POSITIONS - 1))
        .collect();
    spread.dedup();
    Ok(spread)
}

/// One drawn code, its mean error over `sets` straggler sets of every size.
///
/// # Errors
/// Exit code 2 if there is no such code.
pub fn run(config: &Config, stragglers: &[usize], sets: usize) -> Outcome<Findings> {
    let failed = |error: &dyn std::fmt::Display| Failure::usage(format!("failed to {error}"));
    let code = CeAgc::from_config(
        &config.scheme.options,
        config.workers,
        config.partitions,
        config.seed,
    )
    .map_err(|error| failed(&error))?;
    let study = decoding_error_study(&code, stragglers, 1, sets, config.seed)
        .map_err(|error| failed(&error))?;
    let first = |rows: &[Vec<f64>]| rows.first().cloned().unwrap_or_default();
    let mut findings = Findings {
        outcome: RunOutcome::Finished,
        series: vec![
            ("error".into(), first(&study.error)),
            ("worst_error".into(), first(&study.worst)),
            ("amplification".into(), first(&study.amplification)),
        ],
        facts: vec![],
        bounds: vec![],
        plan: None,
    };
    for (name, values) in study.bounds {
        let (name, bound) = match name {
            "mean" => ("upper", Bound::Certain),
            "lower" => ("lower", Bound::Certain),
            "stacked" => ("baseline", Bound::Certain),
            // These depend on the drawn code or the drawn sets.
            "lemma-1" => ("lemma_1", Bound::Mean),
            "eq-20" => ("eq_20", Bound::Mean),
            "eq-20-largest" => ("eq_20_largest", Bound::Largest),
            other => (other, Bound::Mean),
        };
        findings.bounds.push((name.into(), bound, values));
    }
    Ok(findings)
}
