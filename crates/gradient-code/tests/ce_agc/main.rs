//! Communication-efficient approximate gradient codes: what Munim & Ramamoorthy 2026 (arXiv 2603.22514)
//! prove, and numbers that were computed independently of this code.

mod errors;
mod plans;

use gradient_code::ce_agc::{CeAgc, Construction, ErrorStudy, decoding_error_study};
use gradient_code::designs::{RegularAssignment, bibd};
use gradient_code::{BlockDesign, Budget, CodeKind, Plan, Scaling, SchemeConfig, Setting, plan};

const SIGNS: Construction = Construction::RandomDiagonal { epsilon: 0.0 };

fn code(assignment: RegularAssignment, blocks: usize, construction: Construction) -> CeAgc {
    CeAgc::new(assignment, blocks, construction).expect("it fits")
}

fn fano() -> RegularAssignment {
    bibd(7, Some(3)).expect("the Fano plane")
}

/// Mean over codes and its standard error, at position `at`.
fn mean(rows: &[Vec<f64>], at: usize) -> (f64, f64) {
    let count = rows.len() as f64;
    let mean = rows.iter().map(|row| row[at]).sum::<f64>() / count;
    let spread: f64 = rows.iter().map(|row| (row[at] - mean).powi(2)).sum();
    (mean, (spread / (count - 1.0) / count).sqrt())
}

fn bound(study: &ErrorStudy, name: &str, at: usize) -> f64 {
    let found = study.bounds.iter().find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("no bound {name}")).1[at]
}

fn study(code: &CeAgc, stragglers: &[usize], codes: usize, sets: usize) -> ErrorStudy {
    decoding_error_study(code, stragglers, codes, sets, 1).expect("it decodes")
}

/// A plan that decodes `code` exactly as it is, with equal straggle probabilities.
fn planned(config: &SchemeConfig, workers: usize, partitions: usize, q: f64) -> Plan {
    let setting = Setting {
        partitions,
        straggle_probabilities: &vec![q; workers],
        phi: &|z| 64.0 / (4.0 * (f64::from(z - 1).exp2() - 1.0).powi(2)),
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 11,
    };
    plan(config, &setting, &Budget::mean(4.0, workers, 2, 16), None).expect("a plan")
}

fn config(design: BlockDesign, code: CodeKind) -> SchemeConfig {
    SchemeConfig {
        design,
        code,
        ..SchemeConfig::new("ce-agc")
    }
}

/// The set of workers whose bits are set.
fn members(bits: u32, workers: usize) -> Vec<usize> {
    (0..workers).filter(|i| bits >> i & 1 == 1).collect()
}
