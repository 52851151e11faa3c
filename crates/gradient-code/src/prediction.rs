//! What the theory says about a plan before it runs.

use serde::{Deserialize, Serialize};

use crate::block_code::BlockCode;
use crate::decoder::{DecodeError, Decoder, PerRound, expectation};
use crate::error;
use crate::plan::{PASSTHROUGH_BITS, WorkerPlan};
use crate::sum::sum;

/// Predictions for one plan. Errors are `E||g - ghat||^2` with `g` the SUM of the partition
/// gradients and every `||g_j||^2 <= C = 1`: multiply by your `C`, and divide by `n^2` if you step
/// on the mean gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// `c_i`, the weights the scheme designed the code with: `(p_i + eta phi(z_i)) / (1 - p_i)`, and
    /// `p_i / (1 - p_i)` for OSGC, whose design ignores quantization. Infinite (null in JSON) for idle
    /// workers.
    #[serde(with = "crate::extended::list")]
    pub weights: Vec<f64>,
    /// `S = sum_i 1/c_i` over the weights above. Infinite (null in JSON) if some `c_i` is 0, as
    /// without straggling and quantization.
    #[serde(with = "crate::extended")]
    pub scaling_s: f64,
    /// `eta`, the factor on the quantizer's variance in the weights above (eq 33).
    pub eta: f64,
    /// Lemma 1 (eq 10) in the design's own weights: `sum_i c_i (sum_j |alpha_i^j|)^2`, plus the worst
    /// squared bias. For the overlap construction this is `n^2 / S` (eq 21). With coefficients of
    /// mixed sign (OSGC Schemes I and II) it is what can really be reached, which is more. For weights
    /// chosen per round, which have no closed form, the means over who is late are Monte Carlo, seeded.
    /// Infinite (null in JSON) if the quantizer's variance is.
    #[serde(with = "crate::extended")]
    pub error_bound: f64,
    /// The same with the quantizer's own `phi(z_i)` in place of `eta phi(z_i)` (or of OSGC's 0). For
    /// an `eta` other than 1 this one, not [`Self::error_bound`], bounds the true error.
    #[serde(with = "crate::extended")]
    pub error_bound_unscaled: f64,
    /// `d = nnz(a) / n`: how often the average partition is computed per iteration.
    pub computation_load: f64,
    /// `sum_i z_i / m`: bits per coordinate of the model if nobody were late (`m = 1` without blocks).
    pub bits_per_coordinate_offered: f64,
    /// `sum_i (1 - p_i) z_i / m`: the same, of the messages that are expected in time.
    pub bits_per_coordinate_expected: f64,
    /// Whether `E[ghat] = g` for all gradients: unbiased messages, and eq 12, checked on the code itself.
    /// For weights chosen per round, whether the scheme has a proof.
    pub unbiased: bool,
    /// `phi(z_i)` as the plan was made with it, not scaled by `eta`; 0 for idle workers. Empty in plans of
    /// versions that did not record it.
    #[serde(default, with = "crate::extended::list")]
    pub phi: Vec<f64>,
}

/// How far a coefficient of the expected estimate may be from 1 by rounding alone.
const UNBIASED: f64 = 1e-9;

/// Rounds that a mean over responder sets is estimated from, at most.
const MOST_ROUNDS: u32 = 1024;

/// What a prediction is about.
#[derive(Clone, Copy)]
pub struct Code<'a> {
    /// Who holds what, how often everybody is late, and the widths.
    pub workers: &'a [WorkerPlan],
    /// `n`.
    pub partitions: usize,
    /// How messages mix blocks, if they do.
    pub block_code: Option<&'a BlockCode>,
    /// How messages become a gradient.
    pub decoder: &'a Decoder,
    /// As in [`crate::Setting`].
    pub compressor_unbiased: bool,
    /// Whether weights per round are proved to be unbiased, given unbiased messages.
    pub unbiased_rounds: bool,
    /// Seed of the Monte Carlo for decoders with weights per round.
    pub seed: u64,
}

impl Prediction {
    /// Predicts from the finished code. `weights` are the design's `c_i`, infinite for idle workers;
    /// `phi` is the quantizer's variance constant by width, not scaled by `eta`. For a biased compressor
    /// the bounds are those of [`error::biased_bound`].
    ///
    /// # Errors
    /// [`DecodeError`], if a decoder with weights per round fails.
    pub fn of(
        code: &Code,
        weights: Vec<f64>,
        eta: f64,
        phi: impl Fn(u8) -> f64,
    ) -> Result<Self, DecodeError> {
        let &Code {
            workers,
            partitions,
            decoder,
            compressor_unbiased,
            ..
        } = code;
        let exact_messages = workers
            .iter()
            .all(|worker| worker.is_idle() || worker.bits == PASSTHROUGH_BITS);
        let unbiased_messages = compressor_unbiased || exact_messages;
        let unscaled: Vec<f64> = workers
            .iter()
            .map(|worker| {
                let p = worker.straggle_probability;
                if worker.is_idle() {
                    f64::INFINITY
                } else {
                    (p + phi(worker.bits)) / (1.0 - p)
                }
            })
            .collect();
        let (error_bound, error_bound_unscaled, unbiased) = match decoder {
            Decoder::Fixed {
                weights: decoding, ..
            } => {
                let bound = |c: &[f64]| {
                    if unbiased_messages {
                        error::lemma_1_bound(workers, partitions, decoding, c)
                    } else {
                        error::biased_bound(workers, partitions, decoding, c)
                    }
                };
                let coefficients = error::expected_coefficients(workers, partitions, decoding);
                let unbiased =
                    unbiased_messages && coefficients.iter().all(|c| (c - 1.0).abs() <= UNBIASED);
                (bound(&weights), bound(&unscaled), unbiased)
            }
            Decoder::PerRound(per_round) => {
                let bound = per_round_bound(code, per_round, &phi, unbiased_messages)?;
                (bound, bound, unbiased_messages && code.unbiased_rounds)
            }
        };
        let blocks = code.block_code.map_or(1, BlockCode::blocks) as f64;
        let total = |bits: fn(&WorkerPlan) -> f64| workers.iter().map(bits).sum::<f64>() / blocks;
        Ok(Self {
            scaling_s: sum(weights.iter().map(|c| c.recip())),
            weights,
            eta,
            error_bound,
            error_bound_unscaled,
            computation_load: workers.iter().map(WorkerPlan::load).sum::<usize>() as f64
                / partitions as f64,
            bits_per_coordinate_offered: total(|w| f64::from(w.bits)),
            bits_per_coordinate_expected: total(|w| {
                (1.0 - w.straggle_probability) * f64::from(w.bits)
            }),
            unbiased,
            phi: workers
                .iter()
                .map(|worker| {
                    if worker.is_idle() {
                        0.0
                    } else {
                        phi(worker.bits)
                    }
                })
                .collect(),
        })
    }
}

/// The worst mean error of weights chosen per round, for partition gradients of norm 1.
///
/// Without rounding `E||Z (B R - F)||_F^2 <= ||Z||_2^2 E||B R - F||_F^2`, and `||Z||_2^2 <= sum_j
/// ||g_j||^2 <= n`. Rounding adds `sum_i phi_i E[||f_i||^2 ||R(i,:)||^2]` if it is unbiased, with
/// `||f_i||^2 <= ||B(:,i)||^2 load_i`; if it is not, the roots of all terms add up (Minkowski). The
/// expectations are Monte Carlo over who is late; three standard errors are added to the first. The noise of
/// coset codes without a ridge has such heavy tails that no number of rounds would do
/// ([`crate::designs::coset()`]): for them this is an order of magnitude at best.
fn per_round_bound(
    code: &Code,
    decoder: &PerRound,
    phi: impl Fn(u8) -> f64,
    unbiased_messages: bool,
) -> Result<f64, DecodeError> {
    let mean = expectation(
        code.workers,
        code.partitions,
        code.block_code,
        decoder,
        MOST_ROUNDS,
        code.seed,
    )?;
    let lost = code.partitions as f64 * (mean.residual + 3.0 * mean.residual_error);
    let rounding = code
        .workers
        .iter()
        .zip(&mean.noise)
        .filter(|(worker, _)| !worker.is_idle() && worker.bits != PASSTHROUGH_BITS)
        .map(|(worker, noise)| phi(worker.bits) * worker.load() as f64 * noise);
    Ok(if unbiased_messages {
        lost + sum(rounding)
    } else {
        sum(rounding.map(f64::sqrt).chain([lost.sqrt()])).powi(2)
    })
}
