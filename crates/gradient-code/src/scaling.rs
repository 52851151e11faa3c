//! `eta`, the weight of quantization against straggling in the joint design (eq 33 of Song & Choi
//! 2026, arXiv 2605.15890).

use serde::{Deserialize, Serialize};

use crate::setting::SettingError;

/// How the variance of the quantizer is weighed: the design uses `eta phi(z)` for `phi(z)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// `eta` itself. At 1 the design minimises the true bound; at any other value Lemma 1 is no longer a
    /// bound on the true error, and [`crate::Prediction::error_bound_unscaled`] is.
    Factor(f64),
    /// This many times the `eta` that balances the two sources of error: with it `eta phi` at the mean
    /// width equals the mean of `p_i` (eq 33). The paper's runs use 0.005.
    Balanced(f64),
}

impl Default for Scaling {
    fn default() -> Self {
        Self::Factor(1.0)
    }
}

impl Scaling {
    /// The number `eta`.
    ///
    /// `probabilities` are those of the workers that live, `mean_bits` is their share `Z_tot / k` of
    /// the budget, and `phi` the quantizer's variance by width, known for widths `min_bits` to
    /// `max_bits`. For a mean width between two integers `1 / sqrt(phi)` is interpolated linearly in
    /// `2^z`, which for the paper's `phi(z) = l / (4 (2^{z-1} - 1)^2)` is exact. A mean outside the
    /// widths counts as the nearest of them. A quantizer without variance has nothing to balance:
    /// `eta = 1`.
    ///
    /// # Errors
    /// [`SettingError::Scaling`] for a factor that is not positive and finite, or that makes `eta` so;
    /// [`SettingError::Variance`] where `phi` is negative or not a number.
    pub fn eta(
        self,
        probabilities: &[f64],
        mean_bits: f64,
        min_bits: u8,
        max_bits: u8,
        phi: &dyn Fn(u8) -> f64,
    ) -> Result<f64, SettingError> {
        let (Self::Factor(factor) | Self::Balanced(factor)) = self;
        let eta = match self {
            Self::Factor(_) => factor,
            Self::Balanced(_) => {
                let phi_mean = interpolate(mean_bits, min_bits, max_bits, phi)?;
                if phi_mean == 0.0 {
                    return Ok(1.0);
                }
                let mean = probabilities.iter().sum::<f64>() / probabilities.len() as f64;
                factor * mean / phi_mean
            }
        };
        if eta.is_finite() && eta > 0.0 {
            Ok(eta)
        } else {
            Err(SettingError::Scaling { value: factor })
        }
    }
}

fn interpolate(
    bits: f64,
    min_bits: u8,
    max_bits: u8,
    phi: &dyn Fn(u8) -> f64,
) -> Result<f64, SettingError> {
    let checked = |bits: u8| {
        let value = phi(bits);
        if value >= 0.0 {
            Ok(value)
        } else {
            Err(SettingError::Variance { bits, value })
        }
    };
    let bits = bits.clamp(f64::from(min_bits), f64::from(max_bits));
    let below = bits.floor() as u8;
    let lower = checked(below)?;
    if bits == f64::from(below) || lower == 0.0 {
        return Ok(lower);
    }
    let upper = checked(below + 1)?;
    if upper == 0.0 {
        return Ok(0.0);
    }
    let fraction = (bits - f64::from(below)).exp2() - 1.0; // (2^z - 2^below) / (2^(below+1) - 2^below)
    let inverse_root = (1.0 - fraction) / lower.sqrt() + fraction / upper.sqrt();
    Ok((inverse_root * inverse_root).recip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phi(dimension: f64) -> impl Fn(u8) -> f64 {
        move |z| dimension / (4.0 * (f64::from(z - 1).exp2() - 1.0).powi(2))
    }

    /// Eq 33 as printed, at whole and at fractional mean widths.
    #[test]
    fn balanced_is_equation_33() {
        let p = [0.9, 0.8, 0.95];
        let l = 3.44e6;
        for mean_bits in [3.0, 7.0, 2.1, 4.75, 15.999] {
            let eta = Scaling::Balanced(0.005)
                .eta(&p, mean_bits, 2, 16, &phi(l))
                .expect("valid");
            let mean = (0.9 + 0.8 + 0.95) / 3.0;
            let expected = 0.005 * mean * 4.0 * ((mean_bits - 1.0).exp2() - 1.0).powi(2) / l;
            assert!((eta / expected - 1.0).abs() < 1e-12, "{mean_bits}");
            let other = 0.005 * bit_allocation::utility::balanced_scaling(&p, mean_bits, l);
            assert!((eta / other - 1.0).abs() < 1e-12, "{mean_bits}");
        }
    }

    #[test]
    fn edges() {
        let eta = |scaling: Scaling, phi: &dyn Fn(u8) -> f64| scaling.eta(&[0.5], 40.0, 2, 16, phi);
        assert_eq!(eta(Scaling::Factor(0.25), &|_| 9.0), Ok(0.25));
        assert_eq!(
            eta(Scaling::Balanced(1.0), &|z| f64::from(z)),
            Ok(0.5 / 16.0)
        );
        assert_eq!(eta(Scaling::Balanced(7.0), &|_| 0.0), Ok(1.0));
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            for scaling in [Scaling::Factor(value), Scaling::Balanced(value)] {
                assert!(matches!(
                    eta(scaling, &|_| 1.0),
                    Err(SettingError::Scaling { .. })
                ));
            }
        }
        assert!(matches!(
            eta(Scaling::Balanced(1.0), &|_| f64::NAN),
            Err(SettingError::Variance { bits: 16, .. })
        ));
    }
}
