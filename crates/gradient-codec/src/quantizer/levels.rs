//! The numbers of a quantizer: steps from scales, levels in fixed point.

use super::{Coding, Quantizer, Scale};

impl Quantizer {
    /// The outermost level in steps: `s = 2^(bits-1) - 1`, `(2^bits - 1) / 2` for mid-rise levels, the
    /// largest Lloyd-Max level (of a standard normal law), 1 for signs. Meaningless (0) for f32.
    pub fn outermost(&self) -> f32 {
        match self.coding {
            Coding::F32 => 0.0,
            Coding::Uniform => ((1u32 << (self.bits - 1)) - 1) as f32,
            Coding::MidRise => ((1u32 << self.bits) - 1) as f32 / 2.0,
            Coding::LloydMax => self.codebook().outermost(),
            Coding::Sign | Coding::StochasticSign => 1.0,
        }
    }

    /// The step of what shares the scale `scale` (max, norm or mean; for Lloyd-Max levels the step
    /// itself); 0 sends zeros, infinite where the outermost level would overflow f32.
    pub fn step(&self, scale: f64) -> f32 {
        let narrow = scale as f32;
        let outermost = self.outermost();
        let step = match (self.coding, self.scale) {
            (Coding::F32, _) => return 0.0,
            (Coding::Sign, _) => return narrow,
            (Coding::Uniform, Scale::GlobalL2) if scale < SMALLEST_NORM => return 0.0,
            (Coding::Uniform, Scale::GlobalL2) => (scale / f64::from(outermost)) as f32,
            _ if narrow < SMALLEST_SCALE => return 0.0,
            (Coding::Uniform | Coding::MidRise, _) => narrow / outermost * HEADROOM,
            (Coding::LloydMax | Coding::StochasticSign, _) => narrow,
        };
        if (step * outermost).is_finite() {
            step
        } else {
            f32::INFINITY
        }
    }

    /// The levels in fixed point for a step; for stochastic signs mid-rise levels `+-step` of 1 bit.
    pub fn fixed_point(&self, step: f32) -> FixedPoint {
        let (bits, middle) = (u32::from(self.bits), 1u64 << (31 - self.bits % 32));
        // Half units, so that both kinds of levels are whole numbers of them.
        let (half_units, offset) = match self.coding {
            Coding::Uniform => (2.0 * self.outermost(), 0),
            Coding::MidRise => (2.0 * self.outermost(), middle),
            Coding::StochasticSign => (1.0, middle),
            Coding::F32 | Coding::LloydMax | Coding::Sign => (0.0, 0),
        };
        let limit = half_units * middle as f32;
        let unit = match self.coding {
            Coding::StochasticSign => middle,
            _ => 2 * middle,
        };
        FixedPoint {
            factor: if step == 0.0 { 0.0 } else { unit as f32 / step },
            limit,
            bits,
            offset: (offset as u32).wrapping_neg(),
        }
    }
}

/// Equidistant levels with `2^(32-bits)` units to a level, so that codes are the top bits of 32-bit
/// words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedPoint {
    /// A coordinate times this is its level in units, `2^(32-bits) / step`; 0 for step 0. Stochastic
    /// signs, whose levels are two steps apart, have `2^30 / step`.
    pub factor: f32,
    /// The outermost level in units, exact in f32.
    pub limit: f32,
    /// Bits of a code.
    pub bits: u32,
    /// What is added to a level in units, wrapping: 0, or minus half a level where there is no zero
    /// level.
    pub offset: u32,
}

/// What brings `n` coordinates with the squared norm `norm` to variance 1; 0 where they are to be sent
/// as zeros, `None` where the norm is not finite.
pub(crate) fn unit_variance(norm: f64, n: usize) -> Option<f32> {
    let deviation = (norm / n.max(1) as f64).sqrt();
    if !deviation.is_finite() {
        None
    } else if (deviation as f32) < SMALLEST_SCALE {
        Some(0.0)
    } else {
        Some((1.0 / deviation) as f32)
    }
}

/// Below this a global norm sends zeros (the convention of the authors' runs).
const SMALLEST_NORM: f64 = 1e-8;
/// Below this any other scale sends zeros: 2^(32-bits) / step stays finite above it.
pub(crate) const SMALLEST_SCALE: f32 = f32::from_bits((127 - 90) << 23);
/// Head-room of bucketed steps, 1 + 2^-21.
pub(crate) const HEADROOM: f32 = 1.0 + 1.0 / (1 << 21) as f32;
