//! The deadline at which a scheme is expected to learn most per second.
//!
//! By Theorem 2 of Song & Choi 2026 (arXiv 2605.15890) the error after `T` iterations is at most in
//! proportion to `(1 + 1/S) / T`, and a round lasts as long as its deadline `tau`: the error after a
//! given time is in proportion to
//!
//! ```text
//! tau (1 + 1/S(tau))
//! ```
//!
//! where `S(tau)` is that of the code and the bits planned for the lateness at `tau`, so that this is
//! minimised over deadline, bits and code together. Short rounds are cheap and hear few; long ones
//! wait for those who add little. For schemes other than the optimal code `1/S` is their own error
//! bound over `n^2` ([`crate::Prediction::error_bound`], in the weights that the scheme designs with),
//! which for the joint design is the same number.
//!
//! That is the worst case, in which all partition gradients point the same way. Late in training they
//! are mostly noise of their minibatches, independent of each other: then `||g||^2` is in the mean
//! `n sigma^2` and not `n^2 C`, and the error of the decoded gradient `sigma^2 sum_i c_i sum_j
//! (alpha_i^j)^2` (the sampling part of eq 35, with quantization in `c_i`), so that what is minimised is
//!
//! ```text
//! tau (1 + (1/n) sum_i c_i sum_j (alpha_i^j)^2)
//! ```
//!
//! [`Criterion`] names the two. What neither sees: Theorem 2 assumes a step size that falls as `1/t`. While
//! noise does not matter, shorter rounds are better, and with constant steps it depends on the time
//! there is.

use crate::decoder::Decoder;
use crate::plan::Plan;

/// Which gradients the best deadline is best for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Criterion {
    /// All partition gradients point the same way: `tau (1 + 1/S)`.
    #[default]
    WorstCase,
    /// They are independent noise of minibatches: `tau (1 + (1/n) sum_i c_i sum_j (alpha_i^j)^2)`. For
    /// fixed decoding weights only.
    Sampling,
}

/// Evaluations that narrow the best interval down: to a thousandth of its width.
const REFINEMENTS: u32 = 16;
/// How far beyond the best value deadlines are looked at, for the sight of the curve.
const BEYOND: f64 = 2.0;
/// The golden section.
const SECTION: f64 = 0.618_033_988_749_894_9;

/// What a plan for one deadline promises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeadlinePoint {
    /// `tau`, in the unit of the delays.
    pub deadline: f64,
    /// `tau (1 + 1/S)`, or what else the criterion says: less is better.
    pub objective: f64,
    /// `S`, or `n^2` over the error bound where the code is not the optimal one.
    pub scaling_s: f64,
    /// `sum_i (1 - p_i)` over the workers that hold data: messages in time, in the mean.
    pub answers: f64,
    /// `sum_i z_i` per coordinate of the model.
    pub bits: f64,
}

impl DeadlinePoint {
    /// What `plan`, made for the lateness at `deadline`, promises. The objective is NaN where the
    /// criterion does not know the plan's decoder.
    pub fn of(deadline: f64, plan: &Plan, criterion: Criterion) -> Self {
        let n = plan.partitions as f64;
        let inverse = plan.prediction.error_bound / (n * n);
        let noise = match criterion {
            Criterion::WorstCase => inverse,
            Criterion::Sampling => sampling_noise(plan) / n,
        };
        let in_time = |i: usize| 1.0 - plan.workers[i].straggle_probability;
        Self {
            deadline,
            objective: deadline * (1.0 + noise),
            scaling_s: inverse.recip(),
            answers: plan.active().map(in_time).sum(),
            bits: plan.prediction.bits_per_coordinate_offered,
        }
    }
}

/// The best deadline among many, and what the others promised.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadlineChoice {
    /// The best.
    pub best: DeadlinePoint,
    /// All deadlines that a plan could be made for, ascending; `best` is one of them.
    pub curve: Vec<DeadlinePoint>,
}

/// `sum_i c_i sum_j (alpha_i^j)^2` with `alpha_i^j = (1 - p_i) w_i a_ij`.
fn sampling_noise(plan: &Plan) -> f64 {
    let Decoder::Fixed { weights, .. } = &plan.decoder else {
        return f64::NAN;
    };
    plan.active()
        .map(|i| {
            let worker = &plan.workers[i];
            let expected = (1.0 - worker.straggle_probability) * weights[i];
            let squares: f64 = worker
                .assignment
                .iter()
                .map(|(_, a)| (expected * a).powi(2))
                .sum();
            plan.prediction.weights[i] * squares
        })
        .sum()
}

/// Why there is no best deadline. Messages read after "failed to".
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DeadlineFault {
    /// No candidate could be planned for; the reason for the last.
    #[error(
        "choose a deadline: there is no plan for any of {candidates}, the last because of: {reason}"
    )]
    NoPlan {
        /// How many were tried.
        candidates: usize,
        /// Why the last could not be planned.
        reason: String,
    },
    /// The shortest candidate is the best: where delays can be arbitrarily short, ever shorter rounds
    /// with ever fewer answers are predicted to be ever better.
    #[error(
        "choose a deadline: the shortest one looked at, {deadline}, at which {answers:.2} answers come in a round, is the \
         best, so there is no least one; delays need a shortest time above 0 (straggler.shift)"
    )]
    NoLeast {
        /// The shortest candidate.
        deadline: f64,
        /// Its answers.
        answers: f64,
    },
}

/// The deadline with the least objective of `criterion`, by trying `candidates` (ascending, above 0) and then
/// between the neighbours of the best.
///
/// `plan_at` plans for the lateness at a deadline; what it cannot plan is passed over. No deadline
/// promises less than itself, so none beyond the best value found could be better, and none beyond
/// twice that is looked at. With several
/// local minima the best is the least one up to the distance of the candidates.
///
/// # Errors
/// [`DeadlineFault`].
pub fn optimal_deadline<E: std::fmt::Display>(
    candidates: &[f64],
    criterion: Criterion,
    mut plan_at: impl FnMut(f64) -> Result<Plan, E>,
) -> Result<DeadlineChoice, DeadlineFault> {
    let mut curve: Vec<DeadlinePoint> = Vec::new();
    let mut best = f64::INFINITY;
    let mut reason = "there are no candidates".to_owned();
    for &deadline in candidates {
        if deadline > BEYOND * best {
            break;
        }
        match plan_at(deadline) {
            Ok(plan) => {
                let point = DeadlinePoint::of(deadline, &plan, criterion);
                if point.objective.is_finite() {
                    best = best.min(point.objective);
                    curve.push(point);
                } else {
                    reason = "the criterion has no finite value for this scheme".to_owned();
                }
            }
            Err(error) => reason = error.to_string(),
        }
    }
    let Some(at) = least(&curve) else {
        return Err(DeadlineFault::NoPlan {
            candidates: candidates.len(),
            reason,
        });
    };
    if at == 0 && curve.len() > 1 {
        return Err(DeadlineFault::NoLeast {
            deadline: curve[0].deadline,
            answers: curve[0].answers,
        });
    }
    let (mut low, mut high) = (
        curve[at.saturating_sub(1)].deadline,
        curve[(at + 1).min(curve.len() - 1)].deadline,
    );
    let mut probe = |deadline: f64| {
        let point = DeadlinePoint::of(deadline, &plan_at(deadline).ok()?, criterion);
        point.objective.is_finite().then_some(point)
    };
    let (mut left, mut right) = (
        probe(high - SECTION * (high - low)),
        probe(low + SECTION * (high - low)),
    );
    for _ in 0..REFINEMENTS {
        curve.extend(left.iter().chain(&right));
        let value = |point: &Option<DeadlinePoint>| point.map_or(f64::INFINITY, |p| p.objective);
        if value(&left) <= value(&right) {
            high = low + SECTION * (high - low);
            right = left;
            left = probe(high - SECTION * (high - low));
        } else {
            low = high - SECTION * (high - low);
            left = right;
            right = probe(low + SECTION * (high - low));
        }
    }
    curve.sort_by(|a, b| a.deadline.total_cmp(&b.deadline));
    curve.dedup_by(|a, b| a.deadline == b.deadline);
    let best = curve[least(&curve).unwrap_or(0)];
    Ok(DeadlineChoice { best, curve })
}

/// The point with the least objective, the shortest among equals.
fn least(curve: &[DeadlinePoint]) -> Option<usize> {
    (0..curve.len()).reduce(|best, at| {
        if curve[at].objective < curve[best].objective {
            at
        } else {
            best
        }
    })
}
