//! Gradient codes: who computes which partition with what coefficient, how many bits its message has,
//! and how the master decodes what arrives in time.
//!
//! Workers are late with probabilities `p_i` and quantize with variance `phi(z_i)` at `z_i` bits per
//! coordinate. A *scheme* chooses encoding coefficients `a_ij`, bits `z_i` and decoding weights `w_i`
//! such that `ghat = sum_i I_i w_i Q_i(sum_j a_ij g_j)` is near the full gradient `g = sum_j g_j` (a sum,
//! not a mean). The centre of the crate is the joint design of Song & Choi 2026 (arXiv 2605.15890),
//! whose worst-case error bound is the least that any unbiased code of this form has; [`schemes`]
//! lists it beside what it is compared with.
//!
//! The modules, lower ones first:
//!
//! * [`code`]: the sparse matrix of coefficients; [`overlap`], [`osgc_construction`], [`assignment`] and
//!   [`graph`] fill it.
//! * [`block_code`]: messages shorter than the model; [`designs`] and [`ce_agc`]: codes that use them.
//! * [`mod@plan`]: the finished [`Plan`]; [`decoder`]: its decoding weights, fixed or per round;
//!   [`two_track`]: a second set of them for Adam.
//! * [`error`]: the exact error of a plan and its bound (Lemma 1); [`prediction`]: what a plan says
//!   about itself.
//! * [`setting`] and [`scaling`]: what a plan is made from; [`schemes`]: one file each;
//!   [`planner`]: [`plan()`](plan()) puts them together.
//! * [`deadline`]: the deadline whose plan promises most per second.
//!
//! ```
//! use gradient_code::{Budget, Decoder, Scaling, SchemeConfig, Setting};
//!
//! // Four workers, the last two much slower; the quantizer of the paper with buckets of 512.
//! let setting = Setting {
//!     partitions: 4,
//!     straggle_probabilities: &[0.1, 0.2, 0.7, 0.9],
//!     phi: &|z| 512.0 / (4.0 * (f64::from(z - 1).exp2() - 1.0).powi(2)),
//!     scaling: Scaling::Factor(1.0),
//!     by_width: None,
//!     compressor_unbiased: true,
//!     seed: 0,
//! };
//! let budget = Budget::mean(5.0, 4, 2, 16);
//! let plan = gradient_code::plan(&SchemeConfig::default(), &setting, &budget, None)?;
//!
//! assert!(plan.prediction.unbiased);
//! assert_eq!(plan.workers.iter().map(|w| u64::from(w.bits)).sum::<u64>(), 20);
//! // n^2 / S bounds the error for partition gradients of norm 1.
//! let bound = 16.0 / plan.prediction.scaling_s;
//! assert!((plan.prediction.error_bound / bound - 1.0).abs() < 1e-12);
//! // Decoding: each worker's message is weighed by 1 / (1 - p_i) as it arrives.
//! assert_eq!(plan.decoder.round(&[1], &plan, 0)?.weights, [1.25]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod assignment;
mod balanced;
pub mod block_code;
pub mod ce_agc;
pub mod code;
pub mod deadline;
pub mod decoder;
pub mod designs;
mod draw;
pub mod error;
mod extended;
pub mod graph;
pub mod osgc_construction;
pub mod overlap;
pub mod plan;
pub mod planner;
pub mod prediction;
pub mod scaling;
pub mod schemes;
pub mod setting;
mod sum;
mod table;
pub mod two_track;

pub use bit_allocation::Method;
pub use block_code::{BlockCode, Fold};
pub use code::{CodeError, CodeMatrix};
pub use deadline::{Criterion, DeadlineChoice, DeadlineFault, DeadlinePoint, optimal_deadline};
pub use decoder::{DecodeError, Decoder, PerRound, RoundWeights, Rule, SecondTrack};
pub use plan::{PASSTHROUGH_BITS, Plan, PlanFault, WorkerPlan};
pub use planner::{Design, PlanError, plan, plan_with, replan_without};
pub use prediction::Prediction;
pub use scaling::Scaling;
pub use schemes::{
    Assignment, BlockDesign, CodeKind, CompressorTraits, CompressorWidths, Construction, Decoding,
    Graph, Ridge, SchemeConfig,
};
pub use setting::{Budget, Setting, SettingError};
