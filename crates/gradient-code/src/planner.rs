//! From circumstances to a [`Plan`].

use thiserror::Error;

use crate::code::{CodeError, CodeMatrix};
use crate::decoder::{Decoder, SecondTrack};
use crate::plan::{Plan, PlanFault, WorkerPlan};
use crate::prediction::Prediction;
use crate::schemes::{self, SchemeConfig};
use crate::setting::{Budget, Setting, SettingError};
use crate::sum::sum;
use crate::two_track;

/// Plans `scheme` for `setting` within `budget`.
///
/// `two_track` is the `Lambda` of two-track decoding for Adam ([`crate::two_track`]), or `None` for one
/// track. A worker with `p_i = 1` is dead: it gets no data and no bits, and the budget is shared by the
/// others (capped at their `max_bits`). Deterministic: the same input gives the same plan.
///
/// # Errors
/// [`PlanError`], naming the worker or the value that is wrong.
pub fn plan(
    scheme: &SchemeConfig,
    setting: &Setting,
    budget: &Budget,
    two_track: Option<f64>,
) -> Result<Plan, PlanError> {
    let planner = schemes::find(&scheme.kind).ok_or_else(|| PlanError::UnknownScheme {
        name: scheme.kind.clone(),
        known: schemes::names().collect::<Vec<_>>().join(", "),
    })?;
    setting.validate()?;
    if let Some(value) = two_track
        && !(value.is_finite() && value > 0.0)
    {
        return Err(SettingError::Lambda { value }.into());
    }
    let design = planner.design(scheme, setting, budget)?;
    assemble(planner.name(), setting, design, two_track)
}

/// The plan that goes on after the workers in `dead` (and any with `p_i = 1`) are lost: [`plan()`] with
/// `p_i = 1` for them. The budget stays what it was, in total.
///
/// # Errors
/// As [`plan()`]; [`PlanError::UnknownWorker`] if one of `dead` does not exist.
pub fn replan_without(
    dead: &[usize],
    scheme: &SchemeConfig,
    setting: &Setting,
    budget: &Budget,
    two_track: Option<f64>,
) -> Result<Plan, PlanError> {
    let mut probabilities = setting.straggle_probabilities.to_vec();
    let workers = probabilities.len();
    for &worker in dead {
        *probabilities
            .get_mut(worker)
            .ok_or(PlanError::UnknownWorker { worker, workers })? = 1.0;
    }
    let setting = Setting {
        straggle_probabilities: &probabilities,
        ..*setting
    };
    plan(scheme, &setting, budget, two_track)
}

/// What a scheme decides; [`plan()`] turns it into a [`Plan`].
///
/// Vectors have one entry per worker. A worker whose row of `code` is empty becomes idle, whatever bits
/// and weights were given to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// The encoding coefficients `a_ij`.
    pub code: CodeMatrix,
    /// `z_i`.
    pub bits: Vec<u8>,
    /// First track only: [`plan()`] adds the second.
    pub decoder: Decoder,
    /// `c_i`, with which the code was designed.
    pub weights: Vec<f64>,
    /// `eta`, the scaling inside these weights.
    pub eta: f64,
    /// See [`Plan::no_straggling`].
    pub no_straggling: bool,
}

fn assemble(
    name: &str,
    setting: &Setting,
    design: Design,
    lambda: Option<f64>,
) -> Result<Plan, PlanError> {
    let Design {
        code,
        bits,
        mut decoder,
        mut weights,
        eta,
        no_straggling,
    } = design;
    let partitions = code.partitions();
    let workers: Vec<WorkerPlan> = code
        .into_rows()
        .into_iter()
        .zip(bits)
        .zip(setting.straggle_probabilities)
        .map(|((assignment, bits), &p)| WorkerPlan {
            // The dead stay dead in a plan without straggling.
            straggle_probability: if no_straggling && p < 1.0 { 0.0 } else { p },
            bits: if assignment.is_empty() { 0 } else { bits },
            assignment,
        })
        .collect();
    for (i, worker) in workers.iter().enumerate() {
        if worker.is_idle() {
            weights[i] = f64::INFINITY;
            if let Decoder::Fixed { weights, .. } = &mut decoder {
                weights[i] = 0.0;
            }
        } else {
            setting.checked_variance(worker.bits)?;
        }
    }
    if let Some(lambda) = lambda {
        match &mut decoder {
            Decoder::Fixed {
                weights: first,
                second,
            } => *second = Some(second_track(&workers, partitions, first, &weights, lambda)?),
            Decoder::PerRound(_) => {
                return Err(PlanError::TwoTrackPerRound {
                    scheme: name.to_owned(),
                });
            }
        }
    }
    let prediction = Prediction::of(&workers, partitions, &decoder, weights, eta, |bits| {
        setting.variance(bits)
    });
    let plan = Plan {
        scheme: name.to_owned(),
        partitions,
        workers,
        decoder,
        no_straggling,
        prediction,
    };
    plan.validate()?;
    Ok(plan)
}

/// The second track for a code with first-track weights `first` and design weights `c`.
fn second_track(
    workers: &[WorkerPlan],
    partitions: usize,
    first: &[f64],
    c: &[f64],
    lambda: f64,
) -> Result<SecondTrack, PlanError> {
    let s = sum(c.iter().map(|c| c.recip()));
    let kappa = two_track::kappa(lambda, s);
    // Nobody is late and nobody rounds: there is no variance to trade bias for.
    if c.iter().all(|&c| c == 0.0 || c.is_infinite()) {
        return Ok(SecondTrack::Scaled(kappa));
    }
    if let Some(worker) = c.iter().position(|&c| c == 0.0) {
        return Err(PlanError::TwoTrackCertain { worker });
    }
    let v = two_track::second_weights(workers, partitions, c, lambda);
    Ok(two_track::second_track(workers, first, v, kappa))
}

/// Why a scheme could not be planned. Messages read after "failed to".
#[derive(Clone, Debug, Error, PartialEq)]
#[allow(missing_docs)] // the fields are what the messages print
pub enum PlanError {
    #[error("find scheme {name:?}: known schemes are {known}")]
    UnknownScheme { name: String, known: String },
    #[error("plan without worker {worker}: there are {workers} workers, counted from 0")]
    UnknownWorker { worker: usize, workers: usize },
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Code(#[from] CodeError),
    #[error(transparent)]
    Allocation(#[from] bit_allocation::AllocationError),
    #[error(
        "decode two tracks with worker {worker}: it is never late and never rounds (p_i + phi(z_i) = 0)"
    )]
    TwoTrackCertain { worker: usize },
    #[error("decode two tracks with scheme {scheme:?}: its weights depend on who answered")]
    TwoTrackPerRound { scheme: String },
    #[error("make a plan that can be run: failed to {0}")]
    Invalid(#[from] PlanFault),
}
