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
//! What the criterion does not see: Theorem 2 assumes a step size that falls as `1/t` and gradients
//! of bounded norm. Where noise does not matter yet, shorter rounds than this are better; where the
//! mean gradient has become small against its noise, longer ones.

use crate::plan::Plan;

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
    /// `tau (1 + 1/S)`: less is better.
    pub objective: f64,
    /// `S`, or `n^2` over the error bound where the code is not the optimal one.
    pub scaling_s: f64,
    /// `sum_i (1 - p_i)` over the workers that hold data: messages in time, in the mean.
    pub answers: f64,
    /// `sum_i z_i` per coordinate of the model.
    pub bits: f64,
}

impl DeadlinePoint {
    /// What `plan`, made for the lateness at `deadline`, promises.
    pub fn of(deadline: f64, plan: &Plan) -> Self {
        let n = plan.partitions as f64;
        let inverse = plan.prediction.error_bound / (n * n);
        let in_time = |i: usize| 1.0 - plan.workers[i].straggle_probability;
        Self {
            deadline,
            objective: deadline * (1.0 + inverse),
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
         best, so there is no least tau (1 + 1/S); delays need a shortest time above 0 (straggler.shift)"
    )]
    NoLeast {
        /// The shortest candidate.
        deadline: f64,
        /// Its answers.
        answers: f64,
    },
}

/// The deadline with the least `tau (1 + 1/S)`, by trying `candidates` (ascending, above 0) and then
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
                let point = DeadlinePoint::of(deadline, &plan);
                if point.objective.is_finite() {
                    best = best.min(point.objective);
                    curve.push(point);
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
        let point = DeadlinePoint::of(deadline, &plan_at(deadline).ok()?);
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
