//! The error that a quantizer makes on a given vector: an exact formula, no sampling.

use crate::compressor::{Compressor, Operator};
use crate::encode::{step_of_bucket, step_of_whole};
use crate::kernels::{Kernels, Nearest, total};
use crate::layout::{BLOCK, LANES, SEGMENT};
use crate::quantizer::{Coding, Quantizer, unit_variance};
use crate::rotation::{Rotation, Rotor};
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
    /// which matters at 16 bits only. Stochastic signs: `step^2 - x^2`. Rand-K:
    /// n/K - 1 whatever x. Lloyd-Max levels: nothing is drawn but the rotation.
    ///
    /// Rotated kinds: for one rotation (the one with key 0). Their error hardly depends on it.
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
        let rotation = match self.operator() {
            Operator::Quantizer(quantizer) => quantizer.rotation(0),
            _ => None,
        };
        let w = self.unshrunk_distortion(Kernels::best(), x, rotation);
        if self.is_shrunk() { w / (1.0 + w) } else { w }
    }

    fn unshrunk_distortion(
        &self,
        kernels: &'static Kernels,
        x: &[f32],
        rotation: Option<Rotation>,
    ) -> f64 {
        if x.len() != self.coordinates() {
            return f64::NAN;
        }
        let entries = match self.operator() {
            Operator::Quantizer(quantizer) => return quantizer.distortion(kernels, x, rotation),
            Operator::TopK { entries } | Operator::RandK { entries } => entries as usize,
        };
        let norm = kernels.sum_squares(x);
        if !norm.is_finite() {
            f64::NAN
        } else if norm == 0.0 {
            0.0
        } else if matches!(self.operator(), Operator::RandK { .. }) {
            self.coordinates() as f64 / entries as f64 - 1.0
        } else {
            // What is left behind, not a difference of norms: no cancellation.
            let mut left = x.to_vec();
            for i in sparse::largest(kernels, x, entries) {
                left[i] = 0.0;
            }
            kernels.sum_squares(&left) / norm
        }
    }

    /// What the steps of `x`'s message are multiplied by on the wire: 1, or `1/(1 + w)` if shrunk.
    pub(crate) fn shrinkage(
        &self,
        kernels: &'static Kernels,
        x: &[f32],
        rotation: Option<Rotation>,
    ) -> f32 {
        if self.is_shrunk() {
            (1.0 / (1.0 + self.unshrunk_distortion(kernels, x, rotation))) as f32
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
    fn distortion(&self, kernels: &'static Kernels, x: &[f32], rotation: Option<Rotation>) -> f64 {
        if self.is_f32() {
            return 0.0;
        }
        let global = match self.bucket() {
            Some(_) => None,
            None => match step_of_whole(kernels, self, x) {
                Ok(step) => Some(step),
                Err(_) => return f64::NAN,
            },
        };
        let sums: Vec<(f64, f64)> = x
            .par_chunks(SEGMENT)
            .enumerate()
            .map(|(i, x)| match global {
                Some(step) => (self.squared_error(kernels, step, x), kernels.sum_squares(x)),
                None => self.bucketed_squared_error(kernels, i * SEGMENT, x, rotation),
            })
            .collect();
        let (error, norm) = sums
            .iter()
            .fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        if norm == 0.0 { 0.0 } else { error / norm }
    }

    /// Expected squared error and squared norm of a whole number of buckets, from coordinate `start` on.
    fn bucketed_squared_error(
        &self,
        kernels: &'static Kernels,
        start: usize,
        x: &[f32],
        rotation: Option<Rotation>,
    ) -> (f64, f64) {
        let bucket = self.bucket().map_or(x.len(), |b| b as usize);
        let mut rotor = rotation.map(|rotation| Rotor::new(kernels, rotation));
        let (mut error, mut norm) = (0.0, 0.0);
        for (j, x) in x.chunks(bucket).enumerate() {
            norm += kernels.sum_squares(x);
            error += match &mut rotor {
                None => self.bucket_error(kernels, x),
                Some(rotor) => {
                    let mut z = x.to_vec();
                    rotor.apply(start + j * bucket, &mut z);
                    self.bucket_error(kernels, &z)
                }
            };
        }
        (error, norm)
    }

    /// Expected squared error of one bucket, rotated already where it is to be.
    fn bucket_error(&self, kernels: &'static Kernels, x: &[f32]) -> f64 {
        if self.coding() != Coding::LloydMax {
            let step = step_of_bucket(kernels, self, x).unwrap_or(f32::NAN);
            return self.squared_error(kernels, step, x);
        }
        // Nothing is drawn: ||step q - x||^2 of the step that makes step <q, x> = ||x||^2.
        let norm = kernels.sum_squares(x);
        let Some(factor) = unit_variance(norm, x.len()) else {
            return f64::NAN;
        };
        if factor == 0.0 {
            return norm;
        }
        let mut q = vec![0.0; x.len().next_multiple_of(BLOCK)];
        let mut found = Nearest::ZERO;
        let mut words = [0; 4 * LANES * 16];
        let words = &mut words[..4 * LANES * usize::from(self.bits())];
        for (x, q) in x.chunks(BLOCK).zip(q.as_chunks_mut::<BLOCK>().0) {
            // What is behind the last coordinate adds zeros.
            let mut padded = [0.0; BLOCK];
            padded[..x.len()].copy_from_slice(x);
            let near = x.as_ptr();
            kernels.nearest(&padded, factor, self.codebook(), words, &mut found, near);
            *q = found.levels;
        }
        let step = f64::from(self.step(norm / total(found.dot)));
        let difference = |(x, q): (&f32, &f32)| (step * f64::from(*q) - f64::from(*x)).powi(2);
        x.iter().zip(&q).map(difference).sum()
    }

    /// Expected squared error of coordinates that share a step.
    fn squared_error(&self, kernels: &'static Kernels, step: f32, x: &[f32]) -> f64 {
        let wide = f64::from(step);
        let sum = |f: fn(f64, f64) -> f64| x.iter().map(|x| f(f64::from(x.abs()), wide)).sum();
        match self.coding() {
            // NaN is a step that cannot be encoded; 0 sends zeros.
            _ if step.is_nan() => f64::NAN,
            _ if step == 0.0 => kernels.sum_squares(x),
            Coding::Sign => sum(|x, step| (x - step).powi(2)),
            Coding::StochasticSign => sum(|x, step| ((step - x) * (step + x)).max(0.0)),
            Coding::Uniform | Coding::MidRise | Coding::F32 | Coding::LloydMax => {
                kernels.squared_error(x, &self.fixed_point(step), step)
            }
        }
    }
}
