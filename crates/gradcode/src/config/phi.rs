//! The phi(z) that plans are made with, and how what the workers measure corrects it.

use std::collections::BTreeMap;
use std::path::Path;

use gradient_codec::{Preset, Widths};

use super::error::ConfigError;
use super::settings::Config;
use super::values::{PhiFile, PhiSource};
use crate::phi::reference::normal_phi;
use crate::phi::table::PhiTable;
use crate::phi::widths;

/// phi(z) = E||Q(x) - x||^2 / ||x||^2 by width, as the planner takes it.
#[derive(Clone, Debug)]
pub struct Phi {
    /// Where it comes from.
    pub source: PhiSource,
    preset: Preset,
    /// Coordinates of a message.
    message_len: usize,
    /// Values that are not the closed form's.
    known: BTreeMap<u8, f64>,
    /// Whether messages are shrunk by 1 + phi.
    shrunk: bool,
}

/// Every width there is: codes of 1 to 31 bits.
const WIDTHS: std::ops::RangeInclusive<u8> = 1..=31;

impl Config {
    /// The phi that plans are made with: as set, or by the preset.
    pub fn phi_source(&self) -> PhiSource {
        self.codec
            .phi
            .clone()
            .unwrap_or_else(|| match crate::phi::rotates(&self.preset()) {
                true => PhiSource::Normal,
                false => PhiSource::Bound,
            })
    }
}

impl Phi {
    /// The phi of `config`'s messages, of `message_len` coordinates.
    ///
    /// # Errors
    /// [`ConfigError::Phi`] for a table that cannot be read or lacks something, and for "normal" with a
    /// preset that it says nothing about.
    pub fn new(config: &Config, message_len: usize) -> Result<Self, ConfigError> {
        let (preset, source) = (config.preset(), config.phi_source());
        let refused = |reason: String| ConfigError::Phi {
            value: toml::Value::try_from(&source)
                .map_or_else(|_| source.to_string(), |v| v.to_string()),
            origin: config.origins.of("codec.phi"),
            reason,
        };
        let most = config.budget.max_bits;
        let known = match &source {
            _ if !config.quantizes() => BTreeMap::new(),
            PhiSource::Bound => BTreeMap::new(),
            PhiSource::Normal => normal(&preset, message_len, most).map_err(refused)?,
            PhiSource::File(PhiFile { file, on }) => {
                let table = PhiTable::read(Path::new(file)).map_err(refused)?;
                let widths = widths(&preset, message_len, most);
                table
                    .phi(&preset, on.as_deref(), message_len, &widths)
                    .map_err(refused)?
            }
        };
        Ok(Self {
            source,
            preset,
            message_len,
            known,
            shrunk: config.codec.shrink && preset.unbiased(),
        })
    }

    /// phi(z) at `bits`.
    pub fn at(&self, bits: u8) -> f64 {
        let closed = || self.preset.phi(bits, self.message_len);
        match self.known.get(&bits).copied().unwrap_or_else(closed) {
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

/// phi of normal vectors at every width up to `most`.
fn normal(preset: &Preset, n: usize, most: u8) -> Result<BTreeMap<u8, f64>, String> {
    if !matches!(preset.widths(n), Widths::Adjustable { .. }) || sparse(preset) {
        return Err(format!(
            "{preset} has no levels, so that normal vectors say nothing about others; \"bound\", or a table that was \
             measured on your gradients"
        ));
    }
    (widths(preset, n, most).into_iter())
        .map(|bits| {
            let phi = normal_phi(preset, bits, n).map_err(|error| error.to_string())?;
            Ok((bits, phi))
        })
        .collect()
}

fn sparse(preset: &Preset) -> bool {
    matches!(preset, Preset::TopK { .. } | Preset::RandK { .. })
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
    use super::super::testing::three_workers as config;
    use super::*;
    use crate::config::planning::{PlanInputs, plan};

    fn phi(rest: &str) -> Phi {
        Phi::new(&config(rest), 1000).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_measured_width_scales_the_others() {
        let phi = phi("codec.preset = 'qsgd'");
        let one = phi.corrected(&BTreeMap::from([(4, phi.at(4) / 10.0)]));
        for bits in 2..=16 {
            assert!((one[&bits] / phi.at(bits) - 0.1).abs() < 1e-12, "{bits}");
        }
        assert_eq!(one[&1], f64::INFINITY);
        let measured = BTreeMap::from([(4, phi.at(4) / 16.0), (8, phi.at(8) / 4.0)]);
        let two = phi.corrected(&measured);
        let between = 16.0 / 2f64.sqrt();
        for (bits, factor) in [
            (2, 16.0),
            (4, 16.0),
            (5, between),
            (6, 8.0),
            (8, 4.0),
            (16, 4.0),
        ] {
            let ratio = two[&bits] * factor / phi.at(bits);
            assert!((ratio - 1.0).abs() < 1e-12, "{bits}");
        }
        let none = phi.corrected(&BTreeMap::new());
        assert!((2..=16).all(|bits| none[&bits] == phi.at(bits)));
    }

    #[test]
    fn wider_codes_are_not_taken_to_be_worse() {
        let phi = phi("codec.preset = 'qsgd'");
        let odd = phi.corrected(&BTreeMap::from([(4, 1.0), (6, 2.0)]));
        assert!((odd[&4] - 1.0).abs() < 1e-12 && (odd[&6] - 1.0).abs() < 1e-12);
        assert!(odd.values().is_sorted_by(|a, b| a >= b), "{odd:?}");
    }

    #[test]
    fn shrinking_keeps_phi_below_one() {
        for source in ["bound", "normal"] {
            let phi = |shrink| {
                phi(&format!(
                    "scheme.kind = 'coco'\ncodec = {{ preset = 'qsgd', shrink = {shrink}, phi = '{source}' }}"
                ))
            };
            let (shrunk, plain) = (phi(true), phi(false));
            assert!((2..=16).all(|bits| shrunk.at(bits) < 1.0));
            let expected = plain.at(4) / (1.0 + plain.at(4));
            assert!((shrunk.at(4) - expected).abs() < 1e-12);
        }
    }

    /// The closed form unless something else is asked for, so that published plans stay what they are.
    #[test]
    fn the_papers_presets_are_planned_by_the_closed_form() {
        for preset in ["qsgd", "qsgd-bucketed"] {
            let config = config(&format!("codec.preset = '{preset}'"));
            assert_eq!(config.phi_source(), PhiSource::Bound);
            let phi = Phi::new(&config, 1000).unwrap();
            assert!((2..=16).all(|bits| phi.at(bits) == config.preset().phi(bits, 1000)));
        }
    }

    #[test]
    fn normal_vectors_promise_less_error() {
        let (normal, bound) = (phi("codec.phi = 'normal'"), phi("codec.phi = 'bound'"));
        for bits in 2..=16 {
            assert!(normal.at(bits) < bound.at(bits), "{bits}");
        }
        let text = Phi::new(
            &config("codec = { preset = 'rand-k', phi = 'normal' }"),
            1000,
        )
        .unwrap_err()
        .to_string();
        assert!(text.contains("rand-k has no levels"), "{text}");
    }

    #[test]
    fn plans_take_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("phi.json");
        let widths: Vec<String> = (2..=16)
            .map(|bits| {
                format!(
                    r#""{bits}":{{"phi":{},"standard_error":0,"squared_bias":0,"squared_bias_standard_error":0}}"#,
                    0.5f64.powi(bits)
                )
            })
            .collect();
        let text = format!(
            r#"{{"format":"gradcode-phi","version":1,"program":"","measurements":[{{"preset":"qsgd-bucketed:max:512",
            "on":"gradient","source":"","dimension":70,"vectors":1,"messages":2,"seed":0,"widths":{{{}}}}}]}}"#,
            widths.join(",")
        );
        std::fs::write(&path, text).unwrap();
        let set = |rest: &str| {
            config(&format!(
                "codec.phi = {{ file = '{}'{rest} }}",
                path.display()
            ))
        };
        let plan = plan(&set(", on = 'gradient'"), 5000).unwrap();
        for (worker, phi) in plan.workers.iter().zip(&plan.prediction.phi) {
            assert_eq!(*phi, 0.5f64.powi(worker.bits.into()));
        }
        // It is part of the resolved configuration.
        let written = set("").to_toml();
        assert!(written.contains("phi = { file = "), "{written}");
        let text = PlanInputs::new(&set(", on = 'vector'"), 5000)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("only on \"gradient\"") && text.contains("phi.json"),
            "{text}"
        );
        std::fs::remove_file(&path).unwrap();
        let text = PlanInputs::new(&set(""), 5000).unwrap_err().to_string();
        assert!(text.contains("No such file"), "{text}");
    }
}
