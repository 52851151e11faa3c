//! Bits: how they are stated, how many there must be.

use gradient_codec::Widths;

use super::super::error::ConfigError;
use super::super::resolve::Merged;
use super::super::settings::{BudgetBits, Config};
use super::super::values::{CodecPreset, Scaling, SchemeKind};
use super::{Checked, positive, require};

/// The width every quantizing worker has at least (eq 6: `z_i >= 2`).
pub const MIN_BITS: u64 = 2;

impl Config {
    /// Gradients are sent with fewer than 32 bits per coordinate.
    pub fn quantizes(&self) -> bool {
        !self.scheme.kind.is(SchemeKind::SGD) && self.codec.preset != CodecPreset::F32
    }

    /// Workers can have more bits or fewer, so that a budget is needed.
    pub fn spends_bits(&self) -> bool {
        self.quantizes() && matches!(self.preset().widths(1), Widths::Adjustable { .. })
    }

    /// Z_tot, whichever way it was stated; `None` where there is nothing to spend it on.
    ///
    /// `mean_bits` times the workers is rounded to whole bits.
    pub fn total_bits(&self) -> Option<u64> {
        let workers = self.workers as u64;
        if !self.spends_bits() {
            return None;
        }
        self.budget.bits.map(|bits| match bits {
            BudgetBits::Total(total) => total,
            BudgetBits::Residual(residual) => residual.saturating_add(MIN_BITS * workers),
            // The cast saturates; `check` has refused what is not a number.
            BudgetBits::Mean(mean) => (mean * workers as f64).round() as u64,
        })
    }
}

pub(super) fn budget(config: &Config, merged: &Merged) -> Checked {
    let budget = &config.budget;
    let least = match config.preset().widths(u32::MAX as usize) {
        Widths::Adjustable { min, .. } => min,
        Widths::Fixed(_) => 1,
    };
    require(
        merged,
        "budget.max_bits",
        (least..=16).contains(&budget.max_bits),
        &format!(
            "must be from {least} to 16 with codec.preset = \"{}\"",
            config.codec.preset
        ),
    )?;
    let eta = match budget.scaling {
        Scaling::Fixed(eta) | Scaling::Balanced(eta) => eta,
    };
    require(
        merged,
        "budget.scaling",
        positive(eta),
        "must be a number above 0",
    )?;
    if !config.spends_bits() {
        return Ok(());
    }
    let min_bits = match config.preset().widths(1) {
        Widths::Adjustable { min, .. } => u64::from(min),
        Widths::Fixed(_) => MIN_BITS,
    };
    let workers = config.workers as u64;
    let (key, stated) = match budget.bits {
        Some(BudgetBits::Total(_)) => ("budget.total_bits", 1.0),
        Some(BudgetBits::Residual(_)) => ("budget.residual_bits", 1.0),
        Some(BudgetBits::Mean(mean)) => ("budget.mean_bits", mean),
        None => {
            return Err(ConfigError::Missing {
                key: "budget.total_bits".into(),
                valid: format!(
                    "a quantizing scheme needs exactly one of budget.total_bits, residual_bits and mean_bits; \
                     at least 2 bits for each of {workers} workers, for instance budget.mean_bits=4"
                ),
            });
        }
    };
    require(merged, key, positive(stated), "must be a number above 0")?;
    let total = config.total_bits().unwrap_or(0);
    let idle = config.scheme.kind.is(SchemeKind::JOINT) && config.scheme.options.allow_idle;
    let least = if idle { min_bits } else { min_bits * workers };
    let most = u64::from(budget.max_bits) * workers;
    // The range in the terms of the key that was set.
    let state = |total: u64| match budget.bits {
        Some(BudgetBits::Residual(_)) => total.saturating_sub(MIN_BITS * workers).to_string(),
        Some(BudgetBits::Mean(_)) => (total as f64 / workers as f64).to_string(),
        _ => total.to_string(),
    };
    if total < least {
        let why = if idle {
            format!("{min_bits} bits for at least one worker")
        } else {
            format!(
                "{min_bits} bit{} for each of {workers} workers",
                if min_bits == 1 { "" } else { "s" }
            )
        };
        return Err(merged.invalid(key, format!("needs at least {} ({why})", state(least))));
    }
    if total > most {
        return Err(merged.invalid(
            key,
            format!(
                "can be at most {} ({} bits for each of {workers} workers)",
                state(most),
                budget.max_bits
            ),
        ));
    }
    Ok(())
}
