//! From the messages that arrived to the gradient estimate, `ghat = sum_{i responded} w_i q_i`
//! (eq 2 of Song & Choi 2026, arXiv 2605.15890).
//!
//! Two kinds of decoders exist because they ask different things of the master:
//!
//! * [`Decoder::Fixed`]: the weights are known before the round, so each message is folded into the
//!   estimate as it arrives and decoding hides behind waiting.
//! * [`Decoder::PerRound`]: the weights depend on who answered, so messages are kept until the
//!   deadline, then [`Decoder::round`] finds them, as a rule from a small least-squares problem in f64.
//!
//! Where messages mix blocks of the gradients ([`crate::block_code`]), every message has a weight per
//! block, and only least squares in every round can decode.

mod expectation;
mod least_squares;
mod normal;
mod per_round;

pub(crate) use expectation::expectation;
pub(crate) use normal::Normal;
pub use per_round::{PerRound, RoundWeights, Rule};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::plan::Plan;

/// How a plan decodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoder {
    /// The same weights in every round.
    Fixed {
        /// `w_i`, one per worker; 0 for idle ones.
        weights: Vec<f64>,
        /// A second estimate from the same messages, for the second moment of Adam (section 5 of the
        /// paper); absent if one is enough.
        second: Option<SecondTrack>,
    },
    /// Weights chosen for the set of workers that answered.
    PerRound(PerRound),
}

/// The second track of two-track decoding: `ghat2 = sum_i I_i v_i q_i`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondTrack {
    /// `v = kappa w`, so `ghat2 = kappa ghat` needs no accumulator of its own. This is the case for
    /// every code with the row sums of Theorem 1.
    Scaled(f64),
    /// `v_i`, one per worker; 0 for idle ones.
    Weights(Vec<f64>),
}

impl Decoder {
    /// The decoding weights of the workers in `responders`, who are given in the order in which their
    /// messages arrived, in `iteration`.
    ///
    /// For [`Decoder::Fixed`] these are the `w_i` of the first track, whoever else answered. The
    /// iteration matters for codes that are redrawn.
    ///
    /// ```
    /// # use gradient_code::{Budget, PerRound, Decoder, Scaling, SchemeConfig, Setting};
    /// # let setting = Setting {
    /// #     partitions: 3,
    /// #     straggle_probabilities: &[0.2, 0.5, 0.25],
    /// #     phi: &|z| 100.0 / f64::from(1u32 << (2 * z)),
    /// #     scaling: Scaling::Factor(1.0),
    /// #     by_width: None,
    /// #     compressor_unbiased: true,
    /// #     seed: 0,
    /// # };
    /// # let budget = Budget { total_bits: 12, min_bits: 2, max_bits: 16 };
    /// let mut plan = gradient_code::plan(&SchemeConfig::new("is-sgd"), &setting, &budget, None)?;
    /// assert_eq!(plan.decoder.round(&[2, 0], &plan, 0)?.weights, [1.0, 1.0]);
    /// plan.decoder = Decoder::PerRound(PerRound::default());
    /// let round = plan.decoder.round(&[2, 0], &plan, 0)?;
    /// assert!(round.weights.iter().all(|w| (w - 1.0).abs() < 1e-12));
    /// // The partition of worker 1 is missing.
    /// assert!((round.residual - 1.0).abs() < 1e-12);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DecodeError::Responder`] for a worker that does not exist or is idle,
    /// [`DecodeError::Repeated`] for one that is named twice, [`DecodeError::Solve`] if LAPACK does not
    /// converge or the decoder has no weights for blocks.
    ///
    /// # Panics
    /// If the plan is not valid ([`Plan::validate`]).
    pub fn round(
        &self,
        responders: &[usize],
        plan: &Plan,
        iteration: u64,
    ) -> Result<RoundWeights, DecodeError> {
        let mut seen = vec![false; plan.k()];
        for &worker in responders {
            match plan.workers.get(worker) {
                Some(part) if !part.is_idle() => {}
                _ => {
                    return Err(DecodeError::Responder {
                        worker,
                        workers: plan.k(),
                    });
                }
            }
            if std::mem::replace(&mut seen[worker], true) {
                return Err(DecodeError::Repeated { worker });
            }
        }
        let columns: Vec<Vec<(usize, f64)>> = responders
            .iter()
            .map(|&worker| plan.column(worker, iteration))
            .collect();
        let (n, blocks) = (plan.partitions, plan.blocks());
        match self {
            Self::Fixed { .. } if blocks > 1 => Err(DecodeError::Solve {
                responders: responders.len(),
                partitions: n,
                reason: format!("fixed weights cannot decode {blocks} blocks"),
            }),
            Self::Fixed { weights, .. } => {
                let weights: Vec<f64> = responders.iter().map(|&worker| weights[worker]).collect();
                let rank = weights.iter().filter(|&&weight| weight != 0.0).count();
                Ok(RoundWeights::of(weights, rank, &columns, n, blocks))
            }
            Self::PerRound(per_round) => per_round.weigh(responders, &columns, n, blocks),
        }
    }

    /// The weights of the second track, one per worker; `None` if there is none.
    pub fn second_weights(&self) -> Option<Vec<f64>> {
        match self {
            Self::Fixed {
                weights,
                second: Some(second),
            } => Some(match second {
                SecondTrack::Scaled(kappa) => weights.iter().map(|w| kappa * w).collect(),
                SecondTrack::Weights(weights) => weights.clone(),
            }),
            _ => None,
        }
    }
}

/// Why a round could not be decoded. Messages read after "failed to".
#[derive(Clone, Debug, Error, PartialEq)]
#[allow(missing_docs)] // the fields are what the messages print
pub enum DecodeError {
    #[error("decode a message of worker {worker}: it is idle, or not one of the {workers} workers")]
    Responder { worker: usize, workers: usize },
    #[error("decode two messages of worker {worker} in one round")]
    Repeated { worker: usize },
    #[error(
        "solve for the decoding weights of {responders} responders and {partitions} partitions: {reason}"
    )]
    Solve {
        responders: usize,
        partitions: usize,
        reason: String,
    },
}
