//! The decoding error as a function of the number of stragglers (section VIII, Figs 3 to 5 of Munim &
//! Ramamoorthy 2026).

use counter_rng::{Purpose, rng};
use rayon::prelude::*;
use thiserror::Error;

use super::bounds::{self, Lemma1};
use super::{CeAgc, Construction};
use crate::decoder::{DecodeError, Normal};
use crate::designs::DesignError;

/// Streams of the straggler sets; those of the diagonals are the workers.
const SETS: u64 = 1 << 41;

/// Mean errors by code and number of stragglers, and what is proved about them.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorStudy {
    /// The numbers of stragglers `s`.
    pub stragglers: Vec<usize>,
    /// `Err`, the mean over straggler sets: one row per drawn code, one column per `s`.
    pub error: Vec<Vec<f64>>,
    /// The largest `Err` among these sets.
    pub worst: Vec<Vec<f64>>,
    /// `||R||_F^2`, the mean over these sets: what noise in the messages is multiplied by.
    pub amplification: Vec<Vec<f64>>,
    /// Bounds by name, one value per `s`:
    ///
    /// * `mean`: the closed bound on the mean error ([`bounds::closed`]), exact for the stacked code on a
    ///   BIBD;
    /// * `lemma-1`: Lemma 1, averaged over the sets of the first code;
    /// * `eq-20`, `eq-20-largest`: eq 20 for Hadamard codes, mean and maximum over all codes and sets;
    /// * `stacked`: eq 11 for the stacked code on the same BIBD;
    /// * `lower`: eq 21, which some set of every code exceeds; means may lie below.
    pub bounds: Vec<(&'static str, Vec<f64>)>,
}

/// Why a study failed. Messages read after "failed to".
#[derive(Clone, Debug, Error, PartialEq)]
#[allow(missing_docs)] // the fields are what the messages print
pub enum StudyError {
    #[error("study {stragglers} stragglers among {workers} workers")]
    Stragglers { stragglers: usize, workers: usize },
    #[error("study {codes} codes on {sets} straggler sets: both must be at least 1")]
    Empty { codes: usize, sets: usize },
    #[error(transparent)]
    Design(#[from] DesignError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// What one drawn code does, per `s`.
#[derive(Default)]
struct Row {
    error: Vec<f64>,
    worst: Vec<f64>,
    amplification: Vec<f64>,
    lemma: Vec<f64>,
    eq_20: Vec<f64>,
    eq_20_largest: Vec<f64>,
}

/// Draws `codes` codes and for each of them, and each number in `stragglers`, `sets` uniformly random
/// sets of so many stragglers; decodes all of them without a ridge.
///
/// The codes are the iterations of a random diagonal code, and independent draws of a Hadamard code. All
/// cores are used; the result depends on the arguments only. Costs one Cholesky decomposition of the
/// responders' inner products per set, about `k^3 / 6` multiplications.
///
/// # Errors
/// [`StudyError`].
pub fn decoding_error_study(
    code: &CeAgc,
    stragglers: &[usize],
    codes: usize,
    sets: usize,
    seed: u64,
) -> Result<ErrorStudy, StudyError> {
    let workers = code.assignment().workers();
    if codes == 0 || sets == 0 {
        return Err(StudyError::Empty { codes, sets });
    }
    if let Some(&stragglers) = stragglers.iter().find(|&&s| s > workers) {
        return Err(StudyError::Stragglers {
            stragglers,
            workers,
        });
    }
    let lemma = Lemma1::new(code);
    let rows = (0..codes)
        .into_par_iter()
        .map(|draw| row(code, lemma.as_ref(), stragglers, draw as u64, sets, seed))
        .collect::<Result<Vec<Row>, StudyError>>()?;

    let (m, assignment) = (code.blocks(), code.assignment());
    let (k, delta) = (assignment.partitions(), assignment.degree());
    let mut named = Vec::new();
    let mut bound = |name: &'static str, value: &dyn Fn(usize) -> Option<f64>| {
        let values: Option<Vec<f64>> = stragglers.iter().map(|&s| value(s)).collect();
        named.extend(values.map(|values| (name, values)));
    };
    bound("mean", &|s| bounds::closed(code, s));
    if let crate::designs::Family::Bibd { lambda } = assignment.family() {
        bound("stacked", &|s| {
            Some(bounds::bibd_stacked(workers, k, delta, lambda, m, s))
        });
    }
    bound("lower", &|s| Some(bounds::lower(workers, k, delta, m, s)));
    if lemma.is_some() {
        named.push(("lemma-1", rows[0].lemma.clone()));
    }
    if code.construction() == Construction::Hadamard {
        let column = |value: &dyn Fn(&Row) -> f64| rows.iter().map(value).collect::<Vec<_>>();
        let mean = |at: usize| column(&|row| row.eq_20[at]).iter().sum::<f64>() / codes as f64;
        let largest = |at: usize| {
            column(&|row| row.eq_20_largest[at])
                .into_iter()
                .fold(0.0, f64::max)
        };
        named.push(("eq-20", (0..stragglers.len()).map(mean).collect()));
        named.push((
            "eq-20-largest",
            (0..stragglers.len()).map(largest).collect(),
        ));
    }
    let mut study = ErrorStudy {
        stragglers: stragglers.to_vec(),
        error: Vec::new(),
        worst: Vec::new(),
        amplification: Vec::new(),
        bounds: named,
    };
    for row in rows {
        study.error.push(row.error);
        study.worst.push(row.worst);
        study.amplification.push(row.amplification);
    }
    Ok(study)
}

fn row(
    code: &CeAgc,
    lemma: Option<&Lemma1>,
    stragglers: &[usize],
    draw: u64,
    sets: usize,
    seed: u64,
) -> Result<Row, StudyError> {
    let (workers, m) = (code.assignment().workers(), code.blocks());
    let partitions = code.assignment().partitions();
    let (code_seed, iteration) = match code.construction() {
        Construction::Hadamard => (seed.wrapping_add(draw), 0),
        _ => (seed, draw),
    };
    let columns = code.columns(&code.block_code(code_seed)?, iteration);
    let normal = Normal::new(columns, partitions, m, vec![0.0; workers]);
    let mut row = Row::default();
    for &s in stragglers {
        let mut rng = rng(seed, Purpose::Code, draw, SETS + s as u64);
        let [mut error, mut worst, mut amplification] = [0.0f64; 3];
        let [mut on_lemma, mut eq_20, mut eq_20_largest] = [0.0f64; 3];
        for _ in 0..sets {
            let mut set = rand::seq::index::sample(&mut rng, workers, workers - s).into_vec();
            set.sort_unstable();
            let solution = normal.solve(&set)?;
            error += solution.residual;
            worst = worst.max(solution.residual);
            amplification += solution.amplification;
            if let (0, Some(lemma)) = (draw, lemma) {
                on_lemma += lemma.at(&set)?;
            }
            if code.construction() == Construction::Hadamard {
                let bound = bounds::hadamard(normal.columns(), partitions, m, &set);
                eq_20 += bound;
                eq_20_largest = eq_20_largest.max(bound);
            }
        }
        let sets = sets as f64;
        row.error.push(error / sets);
        row.worst.push(worst);
        row.amplification.push(amplification / sets);
        row.lemma.push(on_lemma / sets);
        row.eq_20.push(eq_20 / sets);
        row.eq_20_largest.push(eq_20_largest);
    }
    Ok(row)
}
