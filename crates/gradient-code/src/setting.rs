//! What a plan is made from: the workers, the quantizer and the bits.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::plan::PASSTHROUGH_BITS;
use crate::scaling::Scaling;

/// The circumstances a scheme is planned for.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// `n`, the number of data partitions.
    pub partitions: usize,
    /// `p_i` of each of the `k` workers. 1 marks a dead worker: it gets neither data nor bits.
    pub straggle_probabilities: &'a [f64],
    /// `p_i(z)` where wider messages take longer: how often `worker` (first) is late with messages of so
    /// many bits per coordinate (second), not falling with the bits. `None` if the width does not
    /// matter. While bits are chosen it takes the place of `straggle_probabilities`, which then only say
    /// who is dead; [`crate::plan()`] gives code and decoder the `p_i(z_i)` of the bits that were chosen.
    pub by_width: Option<&'a dyn Fn(usize, u8) -> f64>,
    /// The quantizer's variance constant by width, `E||Q(x) - x||^2 <= phi(z) ||x||^2` (eq 5), closed
    /// or measured; not scaled by `eta`. Asked only for widths that the budget allows, and never for
    /// [`PASSTHROUGH_BITS`], where it is 0.
    pub phi: &'a dyn Fn(u8) -> f64,
    /// `eta`, the factor on `phi` that the joint design works with (eq 33).
    pub scaling: Scaling,
    /// Whether messages are unbiased: `E[Q(x)] = x` whatever `x`. False for biased compressors and
    /// under error feedback, whose messages carry what earlier ones left out.
    pub compressor_unbiased: bool,
    /// Seeds what a scheme draws at random (`counter_rng::Purpose::Code`): equal seeds give equal codes.
    pub seed: u64,
}

impl Setting<'_> {
    /// `phi(bits)`, with 0 for unquantized messages.
    pub fn variance(&self, bits: u8) -> f64 {
        if bits == PASSTHROUGH_BITS {
            0.0
        } else {
            (self.phi)(bits)
        }
    }

    /// [`Self::variance`], refused if it is negative or not a number. (It may be infinite: such
    /// messages say nothing, and the joint design gives their sender no data.)
    ///
    /// # Errors
    /// [`SettingError::Variance`].
    pub fn checked_variance(&self, bits: u8) -> Result<f64, SettingError> {
        let value = self.variance(bits);
        if value >= 0.0 {
            Ok(value)
        } else {
            Err(SettingError::Variance { bits, value })
        }
    }

    /// `p_i` of `worker` with messages of `bits` bits per coordinate.
    pub fn probability(&self, worker: usize, bits: u8) -> f64 {
        let p = self.straggle_probabilities[worker];
        match self.by_width {
            Some(by_width) if p < 1.0 => by_width(worker, bits),
            _ => p,
        }
    }

    /// `p_i` of these workers at the width of equal bits, by which they are compared before anybody has
    /// bits of its own.
    pub(crate) fn reference_probabilities(&self, workers: &[usize], total_bits: u64) -> Vec<f64> {
        let width = (total_bits / workers.len().max(1) as u64).clamp(1, 32) as u8;
        workers
            .iter()
            .map(|&worker| self.probability(worker, width))
            .collect()
    }

    /// The workers that are not dead, ascending.
    pub fn alive(&self) -> Vec<usize> {
        let p = self.straggle_probabilities;
        (0..p.len()).filter(|&worker| p[worker] < 1.0).collect()
    }

    /// Checks what every scheme needs.
    ///
    /// # Errors
    /// [`SettingError::Empty`], [`SettingError::Probability`], [`SettingError::NobodyAlive`].
    pub fn validate(&self) -> Result<(), SettingError> {
        let workers = self.straggle_probabilities.len();
        if workers == 0 || self.partitions == 0 {
            return Err(SettingError::Empty {
                workers,
                partitions: self.partitions,
            });
        }
        for (worker, &value) in self.straggle_probabilities.iter().enumerate() {
            if !(0.0..=1.0).contains(&value) {
                return Err(SettingError::Probability { worker, value });
            }
        }
        if self.alive().is_empty() {
            return Err(SettingError::NobodyAlive { workers });
        }
        Ok(())
    }
}

/// How many bits per coordinate all workers may use together, and how few or many each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// `Z_tot = sum_i z_i`. What exceeds `max_bits` at every worker that lives is left unused, so the
    /// budget of a run stays valid when workers die.
    pub total_bits: u64,
    /// Fewest bits of a worker that takes part; 2 in the paper.
    pub min_bits: u8,
    /// Most bits of a worker.
    pub max_bits: u8,
}

impl Budget {
    /// A budget of `Z_res = Z_tot - k min_bits` bits beyond everybody's minimum (`Z_tot - 2k` in the
    /// paper).
    pub fn residual(residual_bits: u64, workers: usize, min_bits: u8, max_bits: u8) -> Self {
        Self {
            total_bits: residual_bits + workers as u64 * u64::from(min_bits),
            min_bits,
            max_bits,
        }
    }

    /// A budget of `mean_bits = Z_tot / k` bits a worker, to the nearest bit in total.
    pub fn mean(mean_bits: f64, workers: usize, min_bits: u8, max_bits: u8) -> Self {
        Self {
            total_bits: (mean_bits * workers as f64).round() as u64,
            min_bits,
            max_bits,
        }
    }

    /// The bits that `workers` workers can use, at most `max_bits` each.
    ///
    /// # Errors
    /// [`SettingError::Widths`] if the widths are not within 1 to 32 or out of order;
    /// [`SettingError::BudgetTooSmall`] if `required` workers cannot have `min_bits` each.
    pub fn usable(&self, workers: usize, required: usize) -> Result<u64, SettingError> {
        let Self {
            total_bits,
            min_bits,
            max_bits,
        } = *self;
        if min_bits == 0 || min_bits > max_bits || max_bits > PASSTHROUGH_BITS {
            return Err(SettingError::Widths { min_bits, max_bits });
        }
        let least = required as u64 * u64::from(min_bits);
        if total_bits < least {
            return Err(SettingError::BudgetTooSmall {
                total_bits,
                workers: required,
                min_bits,
                least,
            });
        }
        Ok(total_bits.min(workers as u64 * u64::from(max_bits)))
    }
}

/// Circumstances that no scheme can be planned for. Messages read after "failed to".
#[derive(Clone, Debug, Error, PartialEq)]
#[allow(missing_docs)] // the fields are what the messages print
pub enum SettingError {
    #[error("plan for {workers} workers and {partitions} partitions: both must be at least 1")]
    Empty { workers: usize, partitions: usize },
    #[error("use straggle probability {value} of worker {worker}: it must lie in [0, 1]")]
    Probability { worker: usize, value: f64 },
    #[error(
        "plan scheme {scheme:?} with straggle probability 0 of worker {worker}: 1/c_i = (1 - p_i)/p_i would be infinite; give a small positive probability"
    )]
    NeverLate { worker: usize, scheme: String },
    #[error("find a worker to give data to: all {workers} have straggle probability 1")]
    NobodyAlive { workers: usize },
    #[error(
        "use widths of {min_bits} to {max_bits} bits: the minimum must be at least 1, the maximum at least the minimum and at most 32"
    )]
    Widths { min_bits: u8, max_bits: u8 },
    #[error(
        "give {workers} workers at least {min_bits} bits each from a budget of {total_bits} bits: at least {least} are needed"
    )]
    BudgetTooSmall {
        total_bits: u64,
        workers: usize,
        min_bits: u8,
        least: u64,
    },
    #[error("use variance constant phi({bits}) = {value}: it must not be negative")]
    Variance { bits: u8, value: f64 },
    #[error("use scaling {value}: eta must be finite and positive")]
    Scaling { value: f64 },
    #[error("use Lambda = {value} for two-track decoding: it must be finite and positive")]
    Lambda { value: f64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_to_name_a_budget() {
        let total = Budget {
            total_bits: 30,
            min_bits: 2,
            max_bits: 16,
        };
        assert_eq!(Budget::residual(10, 10, 2, 16), total);
        assert_eq!(Budget::mean(3.0, 10, 2, 16), total);
        assert_eq!(Budget::mean(2.96, 10, 2, 16), total);
    }

    #[test]
    fn budgets_are_capped_and_refused() {
        let budget = Budget {
            total_bits: 40,
            min_bits: 2,
            max_bits: 8,
        };
        assert_eq!(budget.usable(10, 10), Ok(40));
        assert_eq!(budget.usable(3, 3), Ok(24));
        assert_eq!(
            budget.usable(21, 21),
            Err(SettingError::BudgetTooSmall {
                total_bits: 40,
                workers: 21,
                min_bits: 2,
                least: 42
            })
        );
        for (min_bits, max_bits) in [(0, 8), (9, 8), (2, 33)] {
            let budget = Budget {
                total_bits: 40,
                min_bits,
                max_bits,
            };
            assert_eq!(
                budget.usable(1, 1),
                Err(SettingError::Widths { min_bits, max_bits })
            );
        }
    }

    #[test]
    fn probabilities_are_checked() {
        let setting = |p: &[f64]| {
            Setting {
                partitions: 2,
                straggle_probabilities: p,
                phi: &|_| 1.0,
                scaling: Scaling::Factor(1.0),
                by_width: None,
                compressor_unbiased: true,
                seed: 0,
            }
            .validate()
        };
        assert_eq!(setting(&[0.0, 1.0]), Ok(()));
        assert!(matches!(
            setting(&[]),
            Err(SettingError::Empty { workers: 0, .. })
        ));
        assert_eq!(
            setting(&[0.5, 1.5]),
            Err(SettingError::Probability {
                worker: 1,
                value: 1.5
            })
        );
        assert!(matches!(
            setting(&[f64::NAN]),
            Err(SettingError::Probability { worker: 0, .. })
        ));
        assert_eq!(
            setting(&[1.0, 1.0]),
            Err(SettingError::NobodyAlive { workers: 2 })
        );
    }
}
