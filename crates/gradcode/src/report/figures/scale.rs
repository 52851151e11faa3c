//! One axis: its range, whether it is logarithmic, its ticks.

use super::canvas::tick;
use crate::report::format::significant;

/// Who decides whether an axis is logarithmic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// The range: logarithmic where positive values span more than a factor of 30.
    #[default]
    Auto,
    /// Linear.
    Linear,
    /// Logarithmic; values that are not positive fall on the edge.
    Log,
}

/// Ratio of the extremes from which on an axis is logarithmic by itself.
const WIDE: f64 = 30.0;

/// Decades that a logarithmic axis spans at most; smaller values fall on the edge.
const DECADES: f64 = 12.0;

/// Range of an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// At the left or the bottom.
    pub least: f64,
    /// At the right or the top.
    pub most: f64,
    /// Equal ratios, and not equal differences, take equal lengths.
    pub logarithmic: bool,
}

impl Scale {
    /// An axis that ends where the values end, for abscissae. None without values.
    pub fn tight(values: impl Iterator<Item = f64>, choice: Choice) -> Option<Self> {
        Self::spanning(values, choice, |least, most, logarithmic| {
            if least < most {
                (least, most)
            } else if logarithmic {
                (least / 2.0, most * 2.0)
            } else {
                let room = 0.5 * least.abs().max(1.0);
                (least - room, most + room)
            }
        })
    }

    /// An axis with room around the values, for ordinates; from zero unless the values are far from
    /// it. None without values.
    pub fn roomy(values: impl Iterator<Item = f64>, choice: Choice) -> Option<Self> {
        Self::spanning(values, choice, |least, most, logarithmic| {
            if logarithmic {
                return (least / 1.15, most * 1.15);
            }
            let room = 0.05 * (most - least).max(1e-3 * most.abs()).max(1e-9);
            let from_zero = least >= 0.0 && least < 0.3 * most;
            (if from_zero { 0.0 } else { least - room }, most + room)
        })
    }

    fn spanning(
        values: impl Iterator<Item = f64>,
        choice: Choice,
        widen: impl Fn(f64, f64, bool) -> (f64, f64),
    ) -> Option<Self> {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let mut low = values.iter().copied().reduce(f64::min)?;
        let high = values.iter().copied().reduce(f64::max)?;
        let logarithmic = match choice {
            Choice::Auto => low > 0.0 && high / low > WIDE,
            Choice::Linear => false,
            Choice::Log => high > 0.0,
        };
        if logarithmic {
            let positive = values.iter().copied().filter(|&value| value > 0.0);
            let floor = high / 10f64.powf(DECADES);
            low = positive.fold(high, f64::min).max(floor);
        }
        let (least, most) = widen(low, high, logarithmic);
        Some(Self {
            least,
            most,
            logarithmic,
        })
    }

    /// Where `value` lies between the beginning (0) and the end (1) of the axis; outside of that
    /// beyond them.
    pub fn position(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.least).ln() / (self.most / self.least).ln()
        } else {
            (value - self.least) / (self.most - self.least)
        }
    }

    /// About `wanted` round values on the axis, rising.
    pub fn ticks(&self, wanted: usize) -> Vec<f64> {
        let wanted = wanted.max(2) as f64;
        if !self.logarithmic {
            return self.multiples(wanted);
        }
        let decades = (self.most / self.least).log10();
        if decades < 0.8 {
            return self.multiples(wanted);
        }
        let (from, to) = (self.least.log10().floor(), self.most.log10().ceil());
        let factors: &[f64] = if 3.0 * decades <= wanted + 1.0 {
            &[1.0, 2.0, 5.0]
        } else if 2.0 * decades <= wanted {
            &[1.0, 3.0]
        } else {
            &[1.0]
        };
        let stride = (decades / wanted).ceil().max(1.0) as i32;
        (from as i32..=to as i32)
            .filter(|exponent| exponent.rem_euclid(stride) == 0)
            .flat_map(|exponent| {
                factors
                    .iter()
                    .map(move |factor| factor * 10f64.powi(exponent))
            })
            .filter(|&value| self.holds(value))
            .collect()
    }

    /// Multiples of 1, 2, 2.5 or 5 times a power of ten.
    fn multiples(&self, wanted: f64) -> Vec<f64> {
        let rough = (self.most - self.least) / wanted;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|&step| step >= rough * (1.0 - 1e-9))
            .unwrap_or(10.0 * power);
        let (first, last) = ((self.least / step).ceil(), (self.most / step).floor());
        (first as i64..=last as i64)
            .map(|i| i as f64 * step)
            .filter(|&value| self.holds(value))
            .collect()
    }

    fn holds(&self, value: f64) -> bool {
        (-1e-9..=1.0 + 1e-9).contains(&self.position(value))
    }

    /// A tick's number.
    pub fn label(&self, value: f64) -> String {
        if self.logarithmic && !(1e-3..1e4).contains(&value) {
            let exponent = (value.log10() + 1e-9).floor();
            return format!(
                "{}e{exponent}",
                significant(value / 10f64.powf(exponent), 3)
            );
        }
        tick(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roomy(values: &[f64], choice: Choice) -> Scale {
        Scale::roomy(values.iter().copied(), choice).unwrap()
    }

    #[test]
    fn the_range_chooses_the_kind_unless_told() {
        assert!(!roomy(&[0.2, 0.9], Choice::Auto).logarithmic);
        assert!(roomy(&[100.0, 9e5], Choice::Auto).logarithmic);
        assert!(!roomy(&[100.0, 9e5], Choice::Linear).logarithmic);
        assert!(roomy(&[0.2, 0.9], Choice::Log).logarithmic);
        // Errors that are exactly zero have no logarithm.
        assert!(!roomy(&[0.0, 20.0], Choice::Auto).logarithmic);
        let forced = roomy(&[0.0, 1e-30, 20.0], Choice::Log);
        assert!(forced.logarithmic && forced.least > 1e-12 && forced.position(0.0) < 0.0);
        assert!(!roomy(&[-1.0, 0.0], Choice::Log).logarithmic);
        assert!(Scale::roomy([f64::NAN].into_iter(), Choice::Auto).is_none());
    }

    #[test]
    fn ordinates_start_at_zero_unless_far_from_it() {
        assert_eq!(roomy(&[0.2, 0.9], Choice::Auto).least, 0.0);
        assert!(roomy(&[0.3, 0.9], Choice::Auto).least > 0.25);
        assert!(roomy(&[99.0, 100.0], Choice::Auto).least > 90.0);
        assert!(roomy(&[-5.0, 5.0], Choice::Auto).least < -5.0);
        let constant = roomy(&[0.0, 0.0], Choice::Auto);
        assert!(constant.most > constant.least);
        let single = Scale::tight([7.0].into_iter(), Choice::Auto).unwrap();
        assert!(single.least < 7.0 && 7.0 < single.most);
    }

    #[test]
    fn ticks_are_round_few_and_on_the_axis() {
        let scale = |least, most, logarithmic| Scale {
            least,
            most,
            logarithmic,
        };
        let close = |ticks: &[f64], expected: &[f64]| {
            assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
            for (tick, expected) in ticks.iter().zip(expected) {
                assert!(
                    (tick - expected).abs() <= 1e-9 * expected.abs(),
                    "{ticks:?}"
                );
            }
        };
        close(
            &scale(0.0, 1.0, false).ticks(5),
            &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
        );
        close(
            &scale(0.0, 22.0, false).ticks(5),
            &[0.0, 5.0, 10.0, 15.0, 20.0],
        );
        close(&scale(90.0, 9.0e5, true).ticks(5), &[1e2, 1e3, 1e4, 1e5]);
        close(
            &scale(0.9, 60.0, true).ticks(6),
            &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0],
        );
        for (least, most) in [(0.3, 0.7), (1e-9, 1e3), (2.0, 11.0), (1e-3, 0.05)] {
            for logarithmic in [false, true] {
                let ticks = scale(least, most, logarithmic).ticks(6);
                assert!(
                    (2..=13).contains(&ticks.len()),
                    "{least}..{most}: {ticks:?}"
                );
                assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]));
            }
        }
    }

    #[test]
    fn labels_of_many_decades_have_exponents() {
        let scale = Scale {
            least: 1e-6,
            most: 1e6,
            logarithmic: true,
        };
        for (value, text) in [(1e-6, "1e-6"), (0.01, "0.01"), (1e3, "1000"), (1e6, "1e6")] {
            assert_eq!(scale.label(value), text);
        }
    }
}
