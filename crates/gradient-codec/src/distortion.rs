//! The error that a quantizer makes on a given vector: an exact formula, no sampling.

use crate::compressor::{Compressor, Operator};
use crate::layout::SEGMENT;
use crate::quantizer::{Coding, Quantizer};
use crate::reference;
use crate::sparse;
use rayon::prelude::*;

impl Compressor {
    /// `E||C(x) - x||^2 / ||x||^2` for this `x`, the expectation over the random bits alone: the
    /// phi that a worker with this gradient really sees, to be planned with instead of a bound.
    /// It is a plain squared error for the deterministic operators, and w/(1+w) for a shrunk one
    /// whose unbiased operator has w.
    ///
    /// Uniform levels: coordinate m contributes `step^2 f (1 - f)` with f the fraction of its level (the variance
    /// of a Bernoulli(f) step; scheme of eq 4), plus the square of what fixed point rounds away,
    /// which matters at 16 bits only. Stochastic signs: `step^2 - x^2` (and that rounding). Rand-K:
    /// n/K - 1 whatever x.
    ///
    /// 0 for a zero vector and for f32; NaN for a vector of another length or that cannot be
    /// encoded. Work is split over rayon's current pool; the value does not depend on it.
    ///
    /// # Example
    /// ```
    /// use gradient_codec::{Generator, Quantizer, Scale};
    /// let qsgd = Quantizer::new(Scale::GlobalL2, 0, 4, Generator::Philox)?.compressor(4);
    /// let variance = 169.0 * qsgd.distortion(&[3.0, -4.0, 0.0, 12.0]);
    /// assert!((variance - 2.122_448_979_6).abs() < 1e-6);
    /// # Ok::<(), gradient_codec::QuantizerError>(())
    /// ```
    pub fn distortion(&self, x: &[f32]) -> f64 {
        let w = self.unshrunk_distortion(x);
        if self.is_shrunk() { w / (1.0 + w) } else { w }
    }

    fn unshrunk_distortion(&self, x: &[f32]) -> f64 {
        if x.len() != self.coordinates() {
            return f64::NAN;
        }
        let entries = match self.operator() {
            Operator::Quantizer(quantizer) => return quantizer.distortion(x),
            Operator::TopK { entries } | Operator::RandK { entries } => entries as usize,
        };
        let squares = |x: &[f32]| x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        let norm = squares(x);
        if !norm.is_finite() {
            f64::NAN
        } else if norm == 0.0 {
            0.0
        } else if matches!(self.operator(), Operator::RandK { .. }) {
            self.coordinates() as f64 / entries as f64 - 1.0
        } else {
            // What is left behind, not a difference of norms: no cancellation.
            let mut left = x.to_vec();
            for i in sparse::largest(x, entries) {
                left[i] = 0.0;
            }
            squares(&left) / norm
        }
    }

    /// What the steps of `x`'s message are multiplied by on the wire: 1, or `1/(1 + w)` if shrunk.
    pub(crate) fn shrinkage(&self, x: &[f32]) -> f32 {
        if self.is_shrunk() {
            (1.0 / (1.0 + self.unshrunk_distortion(x))) as f32
        } else {
            1.0
        }
    }

    /// What rand-K's values are multiplied by: n/K, or 1 if shrunk, because w = n/K - 1.
    pub(crate) fn gain(&self) -> f64 {
        match self.operator() {
            Operator::RandK { entries } if !self.is_shrunk() => {
                self.coordinates() as f64 / f64::from(entries.max(1))
            }
            _ => 1.0,
        }
    }
}

impl Quantizer {
    /// [`Compressor::distortion`] for any number of coordinates.
    fn distortion(&self, x: &[f32]) -> f64 {
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
        let (factor, limit) = (self.fixed_point_factor(step), self.fixed_point_limit());
        let grid = f64::from(self.levels()) / f64::from(limit);
        let step = f64::from(step);
        let level = |x: f32| f64::from((x * factor).clamp(-limit, limit).round_ties_even()) * grid;
        x.iter()
            .map(|&x| {
                let (mean, variance) = match self.coding() {
                    Coding::Sign => (if x < 0.0 { -1.0 } else { 1.0 }, 0.0),
                    Coding::StochasticSign => (level(x), 1.0 - level(x).powi(2)),
                    _ => {
                        let fraction = level(x) - level(x).floor();
                        (level(x), fraction * (1.0 - fraction))
                    }
                };
                let bias = mean * step - f64::from(x);
                step * step * variance + bias * bias
            })
            .sum()
    }
}
