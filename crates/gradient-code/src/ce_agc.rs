//! Communication-efficient approximate gradient codes (Munim & Ramamoorthy 2026, arXiv 2603.22514).
//!
//! Workers send one block of `ceil(l / m)` coordinates instead of `l`, mixed from the `m` blocks of the
//! gradients they hold; the master combines what arrives by least squares. How near it comes is
//!
//! ```text
//! Err(S) = min_R ||B_S R - F||_F^2 = sum_u [ n - f_u^T B_S (B_S^T B_S)^{-1} B_S^T f_u ]      (3), (4)
//! ```
//!
//! for the columns `B_S` of the responders, `F = I_m (x) 1_n = [f_1 .. f_m]`. It depends on the
//! assignment ([`crate::designs`]) and on the code, which is a [`CeAgc`]:
//!
//! * random diagonal (Construction 1, eq 7): each worker multiplies each block by a random factor, drawn
//!   anew in every iteration;
//! * Hadamard ([`hadamard`], Construction 2, Algorithm 1): fixed, exact when nobody is late;
//! * stacked: all blocks added up, the baseline of eq 11.
//!
//! [`bounds`] has what the paper proves about them, [`decoding_error_study`] measures. (The paper calls
//! the workers `n` and the partitions `k`; here as everywhere `k` are workers and `n` partitions, except
//! in formulas that are cited by number.)
//!
//! # The mean estimate
//! Let workers be late independently with equal probability, and let a group of symmetries of the
//! assignment move any partition to any other. Then a random diagonal code has `E[B_S R] = alpha F`, for
//! any `eps` and any decoder with equal penalties: changing the sign of `D_u` shows that block `u` has
//! coefficient 0 in the estimate of every other block, exchanging `D_u` and `D_v` that all blocks are
//! alike, and the symmetries that all partitions are. (The paper proves it family by family, for `eps =
//! 0` with BIBDs and strongly regular graphs.) The factor follows without any enumeration: `B_S R = P F`
//! with the projection `P` on the columns of `B_S`, so `tr(F^T B_S R) = m n - Err(S)` and
//!
//! ```text
//! alpha = 1 - E[Err] / (m n);     with a ridge, alpha = E[tr(F^T B_S R)] / (m n).
//! ```
//!
//! Dividing by `alpha` makes the estimate unbiased. With unequal straggle probabilities it makes the
//! mean coefficient 1, no more.

pub mod bounds;
mod code;
pub mod hadamard;
mod study;

pub use code::{CeAgc, Construction};
pub use study::{ErrorStudy, StudyError, decoding_error_study};
