//! Exact and approximate allocation of quantizer bits to workers.
//!
//! Problem b-SP1 of Song & Choi 2026 (arXiv 2605.15890, eqs 23-24): worker `i` quantized at `z`
//! bits per coordinate contributes `h_i(z)`, and a total of `Z` bits per coordinate is to be spent:
//!
//! ```text
//! maximise  F(z) = sum_i h_i(z_i)    subject to    sum_i z_i = Z,   z_i one of worker i's widths
//! ```
//!
//! In the paper `h_i(z) = (1 - p_i) / (p_i + phi(z))` with a closed-form `phi` and `z >= 2`. Here
//! `h_i` is any [`UtilityTable`]: measured distortions, S-shaped, flat or falling pieces, gaps
//! between widths, and the width 0 of a worker that is left idle. `n^2 C / F` bounds the error of
//! the decoded gradient, so a larger `F` is a better code.
//!
//! The modules, lower ones first: [`utility`] builds tables; `problem` holds and checks them; `hull`
//! relaxes them; `greedy`, `equal`, `algorithm1`, `dp`, `exact` and `brute_force` are the methods.
//!
//! # The budget
//!
//! All of it is spent: the widths sum to exactly `total_bits`, as in the paper. A budget below the
//! sum of the smallest widths or above the sum of the largest ones is an error that states the
//! range; so is one that gaps between the widths make unreachable. Where utilities may fall with the
//! width, [`allocate_within`] spends at most the budget.
//!
//! # Which method
//!
//! [`Method::Exact`] is the default and needs no tuning: it is optimal for any tables, for tens of
//! thousands of workers in milliseconds. The others are the paper's algorithm and what it is
//! compared with. Every method returns an upper bound beside its value, so each one's loss is known.
//!
//! # Example
//!
//! Ten workers, the paper's default setting, five spare bits a worker.
//!
//! ```
//! use bit_allocation::{Method, Problem, allocate, utility};
//!
//! let p: Vec<f64> = (0..10).map(|i| (-0.1 * (0.1 + 1.9 * i as f64 / 9.0)).exp()).collect();
//! let dimension = 5e6;
//! let eta = utility::balanced_scaling(&p, 7.0, dimension);
//! let phi = |z: u8| eta * utility::qsgd_phi(z, dimension);
//! let problem = Problem {
//!     tables: utility::tables(&p, &phi, 2..=16, false)?,
//!     total_bits: 70,
//! };
//! let best = allocate(&problem, Method::Exact)?;
//! assert_eq!(best.bits, [2, 2, 2, 9, 9, 9, 9, 9, 9, 10]);
//! assert!((best.utility - 0.980473978).abs() < 1e-9);
//! assert!(best.optimal && best.bound == best.utility);
//!
//! let equal = allocate(&problem, Method::Equal)?;
//! assert!(equal.utility < 0.6 * best.utility && !equal.optimal);
//! # Ok::<(), bit_allocation::AllocationError>(())
//! ```

mod algorithm1;
mod allocation;
mod brute_force;
mod dp;
mod equal;
mod error;
mod exact;
mod greedy;
mod hull;
mod method;
mod problem;
#[cfg(test)]
mod test_tables;
#[cfg(test)]
mod tests;
pub mod utility;

pub use allocation::{Allocation, Relaxation, TOLERANCE, allocate, allocate_within, relax};
pub use error::{AllocationError, TableError};
pub use method::{Method, UnknownMethod};
pub use problem::{Problem, UtilityTable};
