//! The error that a quantizer makes on a given vector: an exact formula, no sampling.

use crate::layout::SEGMENT;
use crate::quantizer::Quantizer;
use crate::quantizer::{fixed_point_factor, fixed_point_limit};
use crate::reference;
use rayon::prelude::*;

impl Quantizer {
    /// `E||Q(x) - x||^2 / ||x||^2` for this `x`, the expectation over the random bits alone: the
    /// phi that a worker with this gradient really sees, to be planned with instead of a bound.
    ///
    /// Coordinate m contributes `step^2 f (1 - f)` with f the fraction of its level (the variance
    /// of a Bernoulli(f) step; scheme of eq 4), plus the square of what fixed point rounds away,
    /// which matters at 16 bits only. 0 for a zero vector and for f32; NaN for a vector that cannot
    /// be encoded. Work is split over rayon's current pool; the value does not depend on it.
    ///
    /// # Example
    /// ```
    /// use gradient_codec::{Generator, Quantizer, Scale};
    /// let qsgd = Quantizer::new(Scale::GlobalL2, 0, 4, Generator::Philox)?;
    /// let variance = 169.0 * qsgd.distortion(&[3.0, -4.0, 0.0, 12.0]);
    /// assert!((variance - 2.122_448_979_6).abs() < 1e-6);
    /// # Ok::<(), gradient_codec::QuantizerError>(())
    /// ```
    pub fn distortion(&self, x: &[f32]) -> f64 {
        if self.is_f32() {
            return 0.0;
        }
        let global = match self.bucket() {
            Some(_) => None,
            None => match reference::steps(self, x) {
                Ok(steps) => Some(steps.first().copied().unwrap_or(0.0)),
                Err(_) => return f64::NAN,
            },
        };
        let sums: Vec<(f64, f64)> = x
            .par_chunks(SEGMENT)
            .map(|x| match global {
                Some(step) => (self.squared_error(step, x), reference::sum_squares(x)),
                None => self.bucketed_squared_error(x),
            })
            .collect();
        let (error, norm) = sums
            .iter()
            .fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        if norm == 0.0 { 0.0 } else { error / norm }
    }

    /// Expected squared error and squared norm of a whole number of buckets.
    fn bucketed_squared_error(&self, x: &[f32]) -> (f64, f64) {
        let bucket = self.bucket().map_or(x.len(), |b| b as usize);
        x.chunks(bucket).fold((0.0, 0.0), |(error, norm), x| {
            let step = reference::steps(self, x).map_or(f32::NAN, |steps| steps[0]);
            (
                error + self.squared_error(step, x),
                norm + reference::sum_squares(x),
            )
        })
    }

    /// Expected squared error of coordinates that share a step.
    fn squared_error(&self, step: f32, x: &[f32]) -> f64 {
        let (factor, limit) = (
            fixed_point_factor(step, self.bits()),
            fixed_point_limit(self.levels(), self.bits()),
        );
        let step = f64::from(step);
        let grid = 1.0 / (1u64 << (32 - self.bits())) as f64;
        x.iter()
            .map(|x| {
                let level = f64::from((x * factor).clamp(-limit, limit).round_ties_even()) * grid;
                let fraction = level - level.floor();
                let bias = level * step - f64::from(*x);
                step * step * fraction * (1.0 - fraction) + bias * bias
            })
            .sum()
    }
}
