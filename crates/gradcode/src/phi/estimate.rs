//! The error energy and the bias of a compressor, from messages.

use gradient_codec::{Compressor, EncodeError, Expected, Frame, MessageId};
use serde::{Deserialize, Serialize};

/// How messages are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Seed of rounding and rotations.
    pub seed: u64,
    /// Messages of every vector, at least 2; an odd one is left out.
    pub messages: usize,
}

/// What messages say of a compressor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean `||Q(x) - x||^2 / ||x||^2`.
    pub phi: f64,
    /// Its standard error: over vectors where there are several, else over messages.
    pub standard_error: f64,
    /// Unbiased estimate of `||E[Q(x)] - x||^2 / ||x||^2`: the product of the mean errors of two halves of the
    /// messages, which is negative half of the time where there is no bias.
    pub squared_bias: f64,
    /// Its standard error, errors of coordinates taken as independent.
    pub squared_bias_standard_error: f64,
}

impl Estimate {
    /// Of a width that does not exist.
    pub const NONE: Self = Self {
        phi: f64::INFINITY,
        standard_error: 0.0,
        squared_bias: f64::NAN,
        squared_bias_standard_error: f64::NAN,
    };
}

/// Sends every vector several times, each in an iteration and from a worker of its own, so that roundings
/// and rotations are independent; averages are over vectors.
///
/// Vectors that are zero are left out: they have no relative error.
///
/// # Errors
/// As [`Compressor::encode`].
pub fn estimate(
    compressor: &Compressor,
    vectors: &[Vec<f32>],
    plan: Plan,
) -> Result<Estimate, EncodeError> {
    let mut all = Vec::with_capacity(vectors.len());
    for (number, x) in vectors.iter().enumerate() {
        if let Some(one) = of_vector(compressor, x, number, plan)? {
            all.push(one);
        }
    }
    let [only] = all[..] else {
        let (phi, standard_error) = mean(all.iter().map(|one| one.phi));
        let (squared_bias, _) = mean(all.iter().map(|one| one.squared_bias));
        let variances = all
            .iter()
            .map(|one| one.squared_bias_standard_error.powi(2));
        return Ok(Estimate {
            phi,
            standard_error,
            squared_bias,
            squared_bias_standard_error: variances.sum::<f64>().sqrt() / all.len() as f64,
        });
    };
    Ok(only)
}

fn of_vector(
    compressor: &Compressor,
    x: &[f32],
    number: usize,
    plan: Plan,
) -> Result<Option<Estimate>, EncodeError> {
    let norm = energy(x);
    if norm == 0.0 {
        return Ok(None);
    }
    let each = plan.messages.max(2) / 2;
    let (mut halves, mut errors) = ([vec![0f64; x.len()], vec![0f64; x.len()]], Vec::new());
    let (mut bytes, mut error) = (Vec::new(), x.to_vec());
    for message in 0..2 * each {
        let id = MessageId {
            seed: plan.seed,
            iteration: (number * 2 * each + message) as u64,
            worker: message as u32,
        };
        compressor.encode(&id, x, &[], &mut bytes)?;
        let expected = Expected::new(&id, *compressor, 0);
        let frame = Frame::parse(&bytes, &expected).expect("an encoder's frame is valid");
        error.copy_from_slice(x);
        frame.accumulate(-1.0, &mut error); // x - Q(x)
        errors.push(energy(&error) / norm);
        for (sum, &error) in halves[message % 2].iter_mut().zip(&error) {
            *sum += f64::from(error);
        }
    }
    let scale = norm * (each * each) as f64;
    let products = || halves[0].iter().zip(&halves[1]).map(|(a, b)| a * b);
    let (phi, standard_error) = mean(errors.into_iter());
    Ok(Some(Estimate {
        phi,
        standard_error,
        squared_bias: products().sum::<f64>() / scale,
        squared_bias_standard_error: products().map(|p| p * p).sum::<f64>().sqrt() / scale,
    }))
}

fn energy(x: &[f32]) -> f64 {
    x.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
}

/// The mean and its standard error; NaN of nothing, an error of 0 of one.
fn mean(values: impl ExactSizeIterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n * (n - 1.0).max(1.0))).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phi::reference::{Reference, vector};
    use gradient_codec::Preset;

    const PLAN: Plan = Plan {
        seed: 4,
        messages: 16,
    };

    /// Against the exact conditional expectation of the rounding.
    #[test]
    fn messages_agree_with_the_formula() {
        for law in [Reference::Normal, Reference::HeavyTailed] {
            let x = vector(law, 30_000, 1, 0);
            for (text, bits) in [
                ("qsgd", 4),
                ("qsgd-bucketed", 3),
                ("one-bit:max", 1),
                ("rand-k", 5),
            ] {
                let preset: Preset = text.parse().unwrap();
                let compressor = preset.compressor(bits, x.len()).unwrap();
                let exact = compressor.distortion(&x);
                let found = estimate(&compressor, std::slice::from_ref(&x), PLAN).unwrap();
                let off = (found.phi - exact) / found.standard_error;
                assert!(off.abs() < 5.0, "{text} {law:?}: {found:?} {exact}");
                let bias = found.squared_bias / found.squared_bias_standard_error;
                assert!(bias.abs() < 5.0, "{text} {law:?}: {found:?}");
            }
        }
    }

    #[test]
    fn bias_is_found() {
        let x = vector(Reference::Normal, 10_000, 1, 0);
        let sign: Preset = "sign".parse().unwrap();
        let compressor = sign.compressor(1, x.len()).unwrap();
        let found = estimate(&compressor, std::slice::from_ref(&x), PLAN).unwrap();
        // A deterministic operator is all bias: 1 - 2/pi of a normal vector.
        assert!((found.phi - (1.0 - 2.0 / std::f64::consts::PI)).abs() < 0.02);
        assert!((found.squared_bias / found.phi - 1.0).abs() < 1e-6);
        assert!(found.standard_error < 1e-12);
    }

    #[test]
    fn several_vectors_are_averaged_and_zeros_left_out() {
        let mut vectors: Vec<Vec<f32>> = (0..4)
            .map(|number| vector(Reference::Normal, 4096, 1, number))
            .collect();
        let compressor = Preset::default().compressor(4, 4096).unwrap();
        let four = estimate(&compressor, &vectors, PLAN).unwrap();
        vectors.push(vec![0.0; 4096]);
        assert_eq!(estimate(&compressor, &vectors, PLAN).unwrap(), four);
        assert!(four.standard_error > 0.0 && four.standard_error < 0.1 * four.phi);
        let none = estimate(&compressor, &vectors[4..], PLAN).unwrap();
        assert!(none.phi.is_nan());
    }
}
