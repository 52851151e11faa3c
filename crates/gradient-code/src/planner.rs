//! From circumstances to a [`Plan`].

use thiserror::Error;

use crate::block_code::BlockCode;
use crate::code::{CodeError, CodeMatrix};
use crate::decoder::{DecodeError, Decoder, SecondTrack};
use crate::designs::DesignError;
use crate::plan::{Plan, PlanFault, WorkerPlan};
use crate::prediction::{self, Prediction};
use crate::schemes::{self, Decoding, Scheme, SchemeConfig, equal_bits::equal_bits};
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
    plan_with(planner, scheme, setting, budget, two_track)
}

/// [`plan()`] for a scheme that need not be in the registry; `config.kind` is ignored.
///
/// # Errors
/// As [`plan()`].
pub fn plan_with(
    scheme: &dyn Scheme,
    config: &SchemeConfig,
    setting: &Setting,
    budget: &Budget,
    two_track: Option<f64>,
) -> Result<Plan, PlanError> {
    setting.validate()?;
    if let Some(value) = two_track
        && !(value.is_finite() && value > 0.0)
    {
        return Err(SettingError::Lambda { value }.into());
    }
    let mut probabilities = setting.straggle_probabilities.to_vec();
    if setting.by_width.is_some() {
        settle(scheme, config, setting, budget, &mut probabilities)?;
    }
    let setting = &Setting {
        straggle_probabilities: &probabilities,
        ..*setting
    };
    let design = scheme.design(config, setting, budget)?;
    let unbiased_rounds = scheme.unbiased_rounds(config, setting, &design);
    assemble(scheme.name(), setting, design, unbiased_rounds, two_track)
}

/// Finds the `p_i(z_i)` of the bits that `scheme` chooses.
///
/// Bits are chosen by `p_i(z)` and do not depend on `probabilities`, except through who is dead: a
/// worker that is always late with the bits it would get is planned without. The dead only become
/// more, so this ends.
fn settle(
    scheme: &dyn Scheme,
    config: &SchemeConfig,
    setting: &Setting,
    budget: &Budget,
    probabilities: &mut [f64],
) -> Result<(), PlanError> {
    if let Ok(design) = scheme.design(config, setting, budget)
        && design.no_straggling
    {
        return Ok(()); // nobody is ever late
    }
    for (worker, p) in probabilities.iter_mut().enumerate() {
        if setting.probability(worker, budget.min_bits) >= 1.0 {
            *p = 1.0;
        }
    }
    for _ in 0..probabilities.len() + 2 {
        let now = Setting {
            straggle_probabilities: probabilities,
            ..*setting
        };
        now.validate()?;
        let bits = scheme.design(config, &now, budget)?.bits;
        let next: Vec<f64> = bits
            .iter()
            .enumerate()
            .map(|(worker, &bits)| match bits {
                0 => probabilities[worker],
                bits => now.probability(worker, bits),
            })
            .collect();
        if next == *probabilities {
            return Ok(());
        }
        probabilities.copy_from_slice(&next);
    }
    Err(PlanError::Unsettled {
        scheme: scheme.name().to_owned(),
    })
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
    /// How messages mix the blocks of the gradients; `None` for messages as long as the model.
    pub block_code: Option<BlockCode>,
    /// First track only: [`plan()`] adds the second.
    pub decoder: Decoder,
    /// `c_i`, with which the code was designed.
    pub weights: Vec<f64>,
    /// `eta`, the scaling inside these weights.
    pub eta: f64,
    /// See [`Plan::no_straggling`].
    pub no_straggling: bool,
    /// See [`Plan::incomplete`].
    pub incomplete: bool,
}

impl Design {
    /// The design that the baselines of the paper share: the given code with equal bits, the remainder
    /// going to the most reliable.
    ///
    /// Only workers whose row of `code` is not empty get bits; they share the whole budget, so all such
    /// designs offer the same total. `c_i = (p_i + phi(z_i)) / (1 - p_i)`, with `eta = 1`. One row per
    /// worker; rows of the dead (`p_i = 1`) must be empty.
    ///
    /// # Errors
    /// [`PlanError::NobodyHolds`] if all rows are empty; [`SettingError::BudgetTooSmall`] if the budget
    /// does not reach for everybody's minimum.
    pub fn with_equal_bits(
        code: CodeMatrix,
        decoder: Decoder,
        setting: &Setting,
        budget: &Budget,
    ) -> Result<Self, PlanError> {
        let k = setting.straggle_probabilities.len();
        let holders: Vec<usize> = (0..code.rows().len())
            .filter(|&worker| !code.rows()[worker].is_empty())
            .collect();
        if holders.is_empty() {
            return Err(PlanError::NobodyHolds { workers: k });
        }
        let p: Vec<f64> = holders
            .iter()
            .map(|&worker| setting.straggle_probabilities[worker])
            .collect();
        let total_bits = budget.usable(holders.len(), holders.len())?;
        let by_reliability = setting.reference_probabilities(&holders, total_bits);
        let equal = equal_bits(&by_reliability, total_bits);
        let mut bits = vec![0; k];
        let mut weights = vec![f64::INFINITY; k];
        for ((&worker, &p), z) in holders.iter().zip(&p).zip(equal) {
            bits[worker] = z;
            weights[worker] = (p + setting.variance(z)) / (1.0 - p);
        }
        Ok(Self {
            code,
            bits,
            block_code: None,
            decoder,
            weights,
            eta: 1.0,
            no_straggling: false,
            incomplete: false,
        })
    }
}

fn assemble(
    name: &str,
    setting: &Setting,
    design: Design,
    unbiased_rounds: bool,
    lambda: Option<f64>,
) -> Result<Plan, PlanError> {
    let Design {
        code,
        bits,
        block_code,
        mut decoder,
        mut weights,
        eta,
        no_straggling,
        incomplete,
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
    let code = prediction::Code {
        workers: &workers,
        partitions,
        block_code: block_code.as_ref(),
        decoder: &decoder,
        compressor_unbiased: setting.compressor_unbiased,
        unbiased_rounds,
        seed: setting.seed,
    };
    let prediction = Prediction::of(&code, weights, eta, |bits| setting.variance(bits))?;
    let plan = Plan {
        scheme: name.to_owned(),
        partitions,
        workers,
        block_code,
        decoder,
        no_straggling,
        incomplete,
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
    Assignment(#[from] DesignError),
    #[error("find out what a decoder does on average: failed to {0}")]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Allocation(#[from] bit_allocation::AllocationError),
    #[error(
        "decode two tracks with worker {worker}: it is never late and never rounds (p_i + phi(z_i) = 0)"
    )]
    TwoTrackCertain { worker: usize },
    #[error("decode two tracks with scheme {scheme:?}: its weights depend on who answered")]
    TwoTrackPerRound { scheme: String },
    #[error("decode scheme {scheme:?} by {given}: it can be decoded by {possible}")]
    Decoding {
        scheme: String,
        given: Decoding,
        possible: &'static str,
    },
    #[error(
        "place {partitions} partitions at {workers} workers with load {load} in scheme {scheme:?}: {requirement}; nearest possible: {nearest}"
    )]
    Parameters {
        scheme: String,
        load: f64,
        workers: usize,
        partitions: usize,
        requirement: String,
        nearest: String,
    },
    #[error(
        "find a worker that holds data: the draw gave none to any of {workers}; a larger load or another seed may"
    )]
    NobodyHolds { workers: usize },
    #[error(
        "settle the bits of scheme {scheme:?}: they depend on how late workers are, and that on their bits"
    )]
    Unsettled { scheme: String },
    #[error("make a plan that can be run: failed to {0}")]
    Invalid(#[from] PlanFault),
}
