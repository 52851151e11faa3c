//! Initial parameters as a pure function of the run seed.
//!
//! Nothing here touches libtorch's generators, so the start of a run depends neither on the
//! device nor on the thread count: tensor number `i` of a model draws from the counter-based
//! stream `(seed, Initialization, 0, i)`.

use std::f64::consts::TAU;

use counter_rng::{Purpose, rng};
use rand::RngExt;

/// The distribution a parameter tensor starts from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every element has this value.
    Constant(f32),
    /// Independent normal draws with mean 0 and this standard deviation.
    Normal(f64),
    /// Independent uniform draws from (-bound, bound).
    Uniform(f64),
    /// The values that the tensor came with, whatever the seed.
    Kept,
}

impl Init {
    /// He's initialization for a layer followed by a rectifier: N(0, 2 / `fan_in`)
    /// (He et al. 2015, eq. 10).
    pub fn kaiming(fan_in: i64) -> Self {
        Init::Normal((2.0 / fan_in.max(1) as f64).sqrt())
    }

    /// Fills `values`, the `tensor`-th parameter of the model; leaves them where they are kept.
    pub fn fill(self, seed: u64, tensor: u64, values: &mut [f32]) {
        match self {
            Init::Kept => {}
            Init::Constant(value) => values.fill(value),
            Init::Normal(deviation) => {
                let mut rng = rng(seed, Purpose::Initialization, 0, tensor);
                // Box-Muller, two normals from two uniforms; the first uniform is in (0, 1].
                for pair in values.chunks_mut(2) {
                    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
                    let radius = deviation * (-2.0 * u.ln()).sqrt();
                    let (sin, cos) = (TAU * v).sin_cos();
                    for (value, direction) in pair.iter_mut().zip([cos, sin]) {
                        *value = (radius * direction) as f32;
                    }
                }
            }
            Init::Uniform(bound) => {
                let mut rng = rng(seed, Purpose::Initialization, 0, tensor);
                for value in values {
                    *value = (bound * (2.0 * rng.random::<f64>() - 1.0)) as f32;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_draws_have_the_stated_moments() {
        let mut values = vec![0f32; 100_001];
        Init::Normal(0.03).fill(7, 3, &mut values);
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| v as f64).sum::<f64>() / n;
        let variance = values
            .iter()
            .map(|&v| (v as f64 - mean).powi(2))
            .sum::<f64>()
            / n;
        let kurtosis = values
            .iter()
            .map(|&v| ((v as f64 - mean) / 0.03).powi(4))
            .sum::<f64>()
            / n;
        assert!(mean.abs() < 5.0 * 0.03 / n.sqrt(), "mean {mean}");
        assert!(
            (variance.sqrt() / 0.03 - 1.0).abs() < 0.01,
            "variance {variance}"
        );
        assert!((kurtosis - 3.0).abs() < 0.15, "kurtosis {kurtosis}");
    }

    #[test]
    fn uniform_draws_fill_their_interval() {
        let mut values = vec![0f32; 100_000];
        Init::Uniform(0.25).fill(7, 3, &mut values);
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| v as f64).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (v as f64).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.002, "mean {mean}");
        assert!((variance / (0.0625 / 3.0) - 1.0).abs() < 0.02, "{variance}");
        assert!(values.iter().all(|v| v.abs() <= 0.25));
    }

    #[test]
    fn a_tensor_depends_on_the_seed_and_its_index_alone() {
        let draw = |seed, tensor, len| {
            let mut values = vec![0f32; len];
            Init::Normal(1.0).fill(seed, tensor, &mut values);
            values
        };
        assert_eq!(draw(1, 2, 10), draw(1, 2, 10));
        assert_eq!(
            draw(1, 2, 10)[..7],
            draw(1, 2, 7)[..],
            "a prefix is a prefix"
        );
        assert_ne!(draw(1, 2, 10), draw(1, 3, 10));
        assert_ne!(draw(1, 2, 10), draw(2, 2, 10));
    }
}
