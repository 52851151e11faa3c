//! A scheme, planned: who computes what, with how many bits, and how the master decodes.
//!
//! A [`Plan`] is plain data. It is made once by [`crate::plan()`], is the same on every transport, is
//! printed by its `Display`, and survives serialization bit for bit (with `serde_json`, enable its
//! `float_roundtrip` feature).

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::block_code::BlockCode;
use crate::decoder::{Decoder, SecondTrack};
use crate::error;
use crate::prediction::Prediction;

/// The width that stands for unquantized 32-bit floats; its variance is 0.
pub const PASSTHROUGH_BITS: u8 = 32;

/// Everything the master and the workers need to know about the code of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the scheme, as in [`crate::schemes::names`].
    pub scheme: String,
    /// `n`, the number of data partitions.
    pub partitions: usize,
    /// One entry per logical worker, `k` in all.
    pub workers: Vec<WorkerPlan>,
    /// How gradients are cut into blocks that messages mix; `None` for messages as long as the model.
    #[serde(default)]
    pub block_code: Option<BlockCode>,
    /// How messages become a gradient.
    pub decoder: Decoder,
    /// If set, nobody is ever late: the round waits for every worker that holds data, and injected
    /// delays must not drop anybody. Only the uncoded reference `sgd` asks for it.
    pub no_straggling: bool,
    /// If set, the scheme accepts that some partitions are held by nobody, so that their gradients never
    /// enter the estimate ([`Self::unassigned`]). Only Bernoulli codes, which are drawn without looking,
    /// ask for it; for every other scheme such a plan is refused.
    #[serde(default)]
    pub incomplete: bool,
    /// What the theory says about this plan.
    pub prediction: Prediction,
}

/// One worker's part of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerPlan {
    /// `p_i`, the probability that the worker misses the deadline of an iteration; 1 for a dead one.
    pub straggle_probability: f64,
    /// `z_i`, bits per coordinate of its messages; 0 if the worker is idle,
    /// [`PASSTHROUGH_BITS`] for unquantized messages.
    pub bits: u8,
    /// `(j, a_ij)`: the partitions it holds, ascending from 0, with their encoding coefficients.
    pub assignment: Vec<(usize, f64)>,
}

impl WorkerPlan {
    /// How many partition gradients the worker computes in an iteration.
    pub fn load(&self) -> usize {
        self.assignment.len()
    }

    /// Whether the worker takes no part: it holds nothing, sends nothing and must not be sent models.
    pub fn is_idle(&self) -> bool {
        self.assignment.is_empty()
    }

    /// `sum_j a_ij`.
    pub fn row_sum(&self) -> f64 {
        self.assignment.iter().map(|&(_, a)| a).sum()
    }

    /// `sum_j |a_ij|`; with partition gradients of norm at most `sqrt(C)`, the norm of the coded
    /// gradient is at most `sqrt(C)` times this.
    pub fn absolute_row_sum(&self) -> f64 {
        self.assignment.iter().map(|&(_, a)| a.abs()).sum()
    }

    /// The coded gradient `f_i = sum_j a_ij g_j` from the gradients of all `n` partitions.
    ///
    /// The specification of what a worker computes, for tests and oracles; workers themselves
    /// differentiate the weighted sum of their losses instead.
    ///
    /// # Panics
    /// If `gradients` has fewer vectors than the assignment names, or they differ in length.
    pub fn encode<G: AsRef<[f64]>>(&self, gradients: &[G]) -> Vec<f64> {
        let dimension = gradients.first().map_or(0, |g| g.as_ref().len());
        let mut coded = vec![0.0; dimension];
        for &(partition, coefficient) in &self.assignment {
            let gradient = gradients[partition].as_ref();
            assert_eq!(
                gradient.len(),
                dimension,
                "partition gradients of unequal length"
            );
            for (sum, &value) in coded.iter_mut().zip(gradient) {
                *sum += coefficient * value;
            }
        }
        coded
    }
}

impl Plan {
    /// Number of logical workers, `k`.
    pub fn k(&self) -> usize {
        self.workers.len()
    }

    /// The workers that take part, ascending.
    pub fn active(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.k()).filter(|&worker| !self.workers[worker].is_idle())
    }

    /// The partitions that nobody holds, ascending; none unless the plan is [`Self::incomplete`].
    pub fn unassigned(&self) -> Vec<usize> {
        let mut held = vec![false; self.partitions];
        for &(partition, _) in self.workers.iter().flat_map(|worker| &worker.assignment) {
            if let Some(held) = held.get_mut(partition) {
                *held = true;
            }
        }
        (0..self.partitions).filter(|&j| !held[j]).collect()
    }

    /// The coefficient of each partition gradient in `E[ghat]` (eq 11 of Song & Choi 2026), for unbiased
    /// messages: 1 where the partition is represented without bias, 0 where nobody holds it. `None` if
    /// the weights are chosen per round, or messages mix blocks.
    pub fn expected_coefficients(&self) -> Option<Vec<f64>> {
        match &self.decoder {
            Decoder::Fixed { weights, .. } => Some(error::expected_coefficients(
                &self.workers,
                self.partitions,
                weights,
            )),
            Decoder::PerRound(_) => None,
        }
    }

    /// Checks that the plan is one that a master can run. [`crate::plan()`] returns only such plans;
    /// call it on one that was read from elsewhere.
    ///
    /// # Errors
    /// The first rule that is broken, as a [`PlanFault`].
    pub fn validate(&self) -> Result<(), PlanFault> {
        if self.partitions == 0 || self.workers.is_empty() {
            return Err(PlanFault::Empty {
                workers: self.k(),
                partitions: self.partitions,
            });
        }
        for (worker, part) in self.workers.iter().enumerate() {
            part.validate(worker, self.partitions)?;
            if self.no_straggling && !part.is_idle() && part.straggle_probability != 0.0 {
                return Err(PlanFault::StraggleProbability {
                    worker,
                    value: part.straggle_probability,
                    rule: "must be 0 in a plan without straggling",
                });
            }
        }
        match self.unassigned().first() {
            Some(&partition) if !self.incomplete => {
                return Err(PlanFault::Unassigned { partition });
            }
            _ => {}
        }
        if let Some(code) = &self.block_code {
            code.validate(&self.workers)?;
        }
        self.validate_decoder()?;
        let given = self.prediction.weights.len();
        if given != self.k() {
            return Err(PlanFault::Length {
                what: "predicted weights c_i",
                given,
                workers: self.k(),
            });
        }
        Ok(())
    }

    fn validate_decoder(&self) -> Result<(), PlanFault> {
        match &self.decoder {
            Decoder::Fixed { weights, second } => {
                self.validate_weights("decoding weights", weights)?;
                match second {
                    Some(SecondTrack::Weights(weights)) => {
                        self.validate_weights("second decoding weights", weights)?;
                    }
                    Some(SecondTrack::Scaled(kappa)) if !kappa.is_finite() => {
                        return Err(PlanFault::Parameter {
                            what: "factor of the second track",
                            value: *kappa,
                        });
                    }
                    Some(SecondTrack::Scaled(_)) | None => {}
                }
            }
            Decoder::PerRound(per_round) => {
                return per_round.validate(&self.workers, self.blocks());
            }
        }
        match self.blocks() {
            1 => Ok(()),
            blocks => Err(PlanFault::Blocks {
                blocks,
                rule: "fixed weights can decode only 1; blocks need least squares in every round",
            }),
        }
    }

    fn validate_weights(&self, what: &'static str, weights: &[f64]) -> Result<(), PlanFault> {
        if weights.len() != self.k() {
            return Err(PlanFault::Length {
                what,
                given: weights.len(),
                workers: self.k(),
            });
        }
        for (worker, (&value, part)) in weights.iter().zip(&self.workers).enumerate() {
            if !value.is_finite() || (part.is_idle() && value != 0.0) {
                return Err(PlanFault::Weight {
                    what,
                    worker,
                    value,
                });
            }
        }
        Ok(())
    }
}

impl WorkerPlan {
    fn validate(&self, worker: usize, partitions: usize) -> Result<(), PlanFault> {
        let p = self.straggle_probability;
        let fault = |rule| PlanFault::StraggleProbability {
            worker,
            value: p,
            rule,
        };
        if !(0.0..=1.0).contains(&p) {
            return Err(fault("must lie in [0, 1]"));
        }
        if p == 1.0 && !self.is_idle() {
            return Err(fault("must be below 1 for a worker that holds data"));
        }
        if self.bits > PASSTHROUGH_BITS || (self.bits == 0) != self.is_idle() {
            return Err(PlanFault::Bits {
                worker,
                bits: self.bits,
                load: self.load(),
            });
        }
        let mut next = 0;
        for &(partition, coefficient) in &self.assignment {
            if partition < next
                || partition >= partitions
                || !coefficient.is_finite()
                || coefficient == 0.0
            {
                return Err(PlanFault::Assignment {
                    worker,
                    partition,
                    coefficient,
                    partitions,
                });
            }
            next = partition + 1;
        }
        Ok(())
    }
}

/// A rule of plans that one of them breaks. Messages read after "failed to".
#[derive(Clone, Debug, Error, PartialEq)]
#[allow(missing_docs)] // the fields are what the messages print
pub enum PlanFault {
    #[error("use a plan of {workers} workers and {partitions} partitions: both must be at least 1")]
    Empty { workers: usize, partitions: usize },
    #[error("use straggle probability {value} of worker {worker}: it {rule}")]
    StraggleProbability {
        worker: usize,
        value: f64,
        rule: &'static str,
    },
    #[error(
        "use {bits} bits per coordinate at worker {worker}, which holds {load} partitions: idle workers have 0 bits, all others 1 to 32"
    )]
    Bits {
        worker: usize,
        bits: u8,
        load: usize,
    },
    #[error(
        "use coefficient {coefficient} of partition {partition} at worker {worker}: an assignment needs finite coefficients other than 0 at strictly ascending partitions below {partitions}"
    )]
    Assignment {
        worker: usize,
        partition: usize,
        coefficient: f64,
        partitions: usize,
    },
    #[error(
        "decode worker {worker} as an edge of a graph: it must hold two partitions with coefficient 1"
    )]
    NotAnEdge { worker: usize },
    #[error("find a worker that holds partition {partition}")]
    Unassigned { partition: usize },
    #[error("use {given} {what}: there are {workers} workers")]
    Length {
        what: &'static str,
        given: usize,
        workers: usize,
    },
    #[error(
        "use {value} among the {what}, at worker {worker}: they are finite, and 0 for idle workers"
    )]
    Weight {
        what: &'static str,
        worker: usize,
        value: f64,
    },
    #[error("cut gradients into {blocks} blocks: {rule}")]
    Blocks { blocks: usize, rule: &'static str },
    #[error(
        "use {given} block coefficients at worker {worker}, which holds {load} partitions: with {blocks} blocks it needs {} of them",
        load * blocks
    )]
    BlockCoefficients {
        worker: usize,
        given: usize,
        load: usize,
        blocks: usize,
    },
    #[error("use {value} as {what}: it must be finite, and not negative where it is a penalty")]
    Parameter { what: &'static str, value: f64 },
}
