//! The phi(z) that plans are made with, and how what the workers measure corrects it.

use std::collections::BTreeMap;

use gradient_codec::Preset;

/// phi(z) = E||Q(x) - x||^2 / ||x||^2 by width, as the planner takes it.
#[derive(Clone, Debug)]
pub struct Phi {
    preset: Preset,
    /// Coordinates of a message.
    message_len: usize,
    /// Whether messages are shrunk by 1 + phi.
    shrunk: bool,
}

/// Every width there is: codes of 1 to 31 bits.
const WIDTHS: std::ops::RangeInclusive<u8> = 1..=31;

impl Phi {
    /// The phi of messages of `message_len` coordinates; `shrunk` says that they are divided by 1 + phi.
    pub fn new(preset: Preset, message_len: usize, shrunk: bool) -> Self {
        Self {
            preset,
            message_len,
            shrunk,
        }
    }

    /// phi(z) at `bits`.
    pub fn at(&self, bits: u8) -> f64 {
        match self.preset.phi(bits, self.message_len) {
            // Shrinking by 1 + phi leaves phi / (1 + phi).
            phi if self.shrunk && phi > 0.0 => (1.0 + phi.recip()).recip(),
            phi => phi,
        }
    }

    /// phi(z) at every width, corrected by what was measured at some (`measured`, all above 0).
    ///
    /// A measured width takes the measured value. At the others the logarithm of measured over assumed is
    /// interpolated linearly in the width, and is that of the nearest measured width beyond them: one
    /// measured width multiplies the whole curve. No width is then taken to be worse than a narrower one.
    pub fn corrected(&self, measured: &BTreeMap<u8, f64>) -> BTreeMap<u8, f64> {
        let usable = |(bits, phi): (&u8, &f64)| {
            let assumed = self.at(*bits);
            let ratio = (phi / assumed).ln();
            ratio.is_finite().then_some((*bits, ratio))
        };
        let ratios: Vec<(u8, f64)> = measured.iter().filter_map(usable).collect();
        let mut least = f64::INFINITY;
        WIDTHS
            .map(|bits| {
                let phi = self.at(bits) * interpolated(&ratios, bits).exp();
                least = least.min(phi);
                (bits, least)
            })
            .collect()
    }
}

/// The value at `bits` of a piecewise linear function through `points`, ascending in their widths and
/// constant beyond them; 0 without points.
fn interpolated(points: &[(u8, f64)], bits: u8) -> f64 {
    let after = points.partition_point(|point| point.0 < bits);
    match (after.checked_sub(1).map(|i| points[i]), points.get(after)) {
        (None, None) => 0.0,
        (Some((_, value)), None) | (None, Some(&(_, value))) => value,
        (Some((from, low)), Some(&(to, high))) => {
            low + (high - low) * f64::from(bits - from) / f64::from(to - from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_width_scales_the_others() {
        let phi = Phi::new(Preset::Qsgd, 1000, false);
        let one = phi.corrected(&BTreeMap::from([(4, phi.at(4) / 10.0)]));
        for bits in 2..=16 {
            assert!((one[&bits] / phi.at(bits) - 0.1).abs() < 1e-12, "{bits}");
        }
        assert_eq!(one[&1], f64::INFINITY);
        let two = phi.corrected(&BTreeMap::from([
            (4, phi.at(4) / 16.0),
            (8, phi.at(8) / 4.0),
        ]));
        for (bits, factor) in [
            (2, 16.0),
            (4, 16.0),
            (5, 16.0 / 2f64.sqrt()),
            (6, 8.0),
            (8, 4.0),
            (16, 4.0),
        ] {
            assert!(
                (two[&bits] * factor / phi.at(bits) - 1.0).abs() < 1e-12,
                "{bits}"
            );
        }
        let none = phi.corrected(&BTreeMap::new());
        assert!((2..=16).all(|bits| none[&bits] == phi.at(bits)));
    }

    #[test]
    fn wider_codes_are_not_taken_to_be_worse() {
        let phi = Phi::new(Preset::Qsgd, 1000, false);
        let odd = phi.corrected(&BTreeMap::from([(4, 1.0), (6, 2.0)]));
        assert!((odd[&4] - 1.0).abs() < 1e-12 && (odd[&6] - 1.0).abs() < 1e-12);
        assert!(odd.values().is_sorted_by(|a, b| a >= b), "{odd:?}");
    }

    #[test]
    fn shrinking_keeps_phi_below_one() {
        let phi = Phi::new(Preset::Qsgd, 1000, true);
        assert!((2..=16).all(|bits| phi.at(bits) < 1.0));
        let plain = Preset::Qsgd.phi(4, 1000);
        assert!((phi.at(4) - plain / (1.0 + plain)).abs() < 1e-12);
    }
}
