//! Delay models of workers, the deadline's straggle probabilities, and estimators for both.
//!
//! A worker *straggles* in an iteration when its delay exceeds the deadline. Gradient codes are
//! designed from the probabilities `p_i = Pr(tau_i > tau)` alone; simulation and injection need the
//! delays themselves; a real cluster needs `p_i` estimated from what arrived. The modules, lower
//! ones first:
//!
//! * [`WorkerDelay`]: the distribution of one worker's delay, `p_i` at a deadline, one draw;
//! * [`DelayModel`]: one [`WorkerDelay`] per worker; the delay of a worker in an iteration is a
//!   pure function of (seed, iteration, worker), so a run can be resumed or moved without changing
//!   who straggles; its quantiles over all workers together;
//! * [`estimate`]: maximum likelihood from observed arrivals, and confidence intervals;
//! * [`drift`]: a sequential test of whether a worker is still late as often as was planned;
//! * [`Monitor`]: the latest arrivals of all workers, tested round by round, and new estimates when the
//!   plan no longer holds.
//!
//! The model of Song & Choi 2026 (arXiv 2605.15890, eqs 32 and 37) is the shifted exponential with
//! shift 1: `p_i = exp(-psi_i (tau - 1))`, with `psi_i ~ U(psi_min, psi_max)`. Delays are
//! independent over workers and iterations, which is what the codes assume; a replayed trace
//! ([`TraceOrder::Replay`]) is the exception, on purpose.
//!
//! # Example
//!
//! The default setting of that paper: ten workers, `psi ~ U(0.1, 2)`, deadline 1.1.
//!
//! ```
//! use straggler::DelayModel;
//!
//! let model = DelayModel::drawn_rates(42, 10, 1.0, 0.1, 2.0)?;
//! let p = model.straggle_probabilities(1.1);
//! assert!(p.iter().all(|p| (0.8..1.0).contains(p)));
//!
//! let responders: Vec<usize> = (0..model.len())
//!     .filter(|&worker| model.delay(42, 0, worker) <= 1.1)
//!     .collect();
//! println!("iteration 0 is answered by {responders:?}");
//! # Ok::<(), straggler::DelayError>(())
//! ```

mod arrivals;
pub mod drift;
mod error;
pub mod estimate;
pub mod fit;
mod model;
mod pooled;
#[cfg(test)]
mod statistics;
mod worker;

pub use arrivals::{
    Change, Drift, Estimate, Estimator, Monitor, Rules, Trial, estimate as estimate_trials,
};
pub use drift::DriftTest;
pub use error::{DelayError, EstimateError};
pub use model::{DelayModel, Slowdown, TraceOrder};
pub use worker::WorkerDelay;
