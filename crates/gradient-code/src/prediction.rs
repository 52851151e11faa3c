//! What the theory says about a plan before it runs.

use serde::{Deserialize, Serialize};

use crate::decoder::Decoder;
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
    /// mixed sign (OSGC Schemes I and II) it is what can really be reached, which is more. Infinite
    /// (null in JSON) for per-round decoders, which have no closed form.
    #[serde(with = "crate::extended")]
    pub error_bound: f64,
    /// The same with the quantizer's own `phi(z_i)` in place of `eta phi(z_i)` (or of OSGC's 0). For
    /// an `eta` other than 1 this one, not [`Self::error_bound`], bounds the true error.
    #[serde(with = "crate::extended")]
    pub error_bound_unscaled: f64,
    /// `d = nnz(a) / n`: how often the average partition is computed per iteration.
    pub computation_load: f64,
    /// `sum_i z_i`: bits per coordinate if nobody were late.
    pub bits_per_coordinate_offered: f64,
    /// `sum_i (1 - p_i) z_i`: expected bits per coordinate of the messages that are in time.
    pub bits_per_coordinate_expected: f64,
    /// Whether `E[ghat] = g` for all gradients: unbiased messages, and eq 12, checked on the code itself.
    pub unbiased: bool,
}

/// How far a coefficient of the expected estimate may be from 1 by rounding alone.
const UNBIASED: f64 = 1e-9;

impl Prediction {
    /// Predicts from the finished code. `weights` are the design's `c_i`, infinite for idle workers;
    /// `phi` is the quantizer's variance constant by width, not scaled by `eta`; `compressor_unbiased` as
    /// in [`crate::Setting`]. For a biased compressor the bounds are those of
    /// [`error::biased_bound`].
    pub fn of(
        workers: &[WorkerPlan],
        partitions: usize,
        decoder: &Decoder,
        weights: Vec<f64>,
        eta: f64,
        phi: impl Fn(u8) -> f64,
        compressor_unbiased: bool,
    ) -> Self {
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
            Decoder::PerRound(_) => (f64::INFINITY, f64::INFINITY, false),
        };
        let total = |bits: fn(&WorkerPlan) -> f64| workers.iter().map(bits).sum();
        Self {
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
        }
    }
}
