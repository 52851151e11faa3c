//! The phi table file: what was measured, on what, and how surely.

use std::collections::BTreeMap;
use std::path::Path;

use gradient_codec::Preset;
use serde::{Deserialize, Serialize};

use super::depends_on_dimension;
use super::estimate::Estimate;

/// What such a file says it is.
pub const FORMAT: &str = "gradcode-phi";
/// The version that is written and read.
pub const VERSION: u32 = 1;

/// A phi table file (JSON).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhiTable {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The program that measured.
    pub program: String,
    /// One per preset and kind of vector.
    pub measurements: Vec<Measurement>,
}

/// phi of one preset on one kind of vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The preset with its settings, as text.
    pub preset: String,
    /// What the vectors are: `normal`, `heavy-tailed`, `vector` or `gradient`.
    pub on: String,
    /// Where they come from, for people.
    pub source: String,
    /// Their coordinates.
    pub dimension: usize,
    /// Vectors.
    pub vectors: usize,
    /// Messages of each.
    pub messages: usize,
    /// Seed of everything drawn.
    pub seed: u64,
    /// By bits per coordinate.
    pub widths: BTreeMap<u8, Estimate>,
}

impl PhiTable {
    /// A table of this program's.
    pub fn new(measurements: Vec<Measurement>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            program: concat!("gradcode ", env!("CARGO_PKG_VERSION")).to_owned(),
            measurements,
        }
    }

    /// Reads a table.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let table: Self = serde_json::from_str(&text)
            .map_err(|error| format!("it is no table of `gradcode codec phi --json`: {error}"))?;
        if table.format != FORMAT || table.version != VERSION {
            return Err(format!(
                "it is of format {:?} version {}; this program reads {FORMAT:?} version {VERSION}",
                table.format, table.version
            ));
        }
        Ok(table)
    }

    /// phi by width of `preset` for messages of `dimension` coordinates, measured on vectors of the kind
    /// `on` if that is given; all of `widths` are there.
    ///
    /// # Errors
    /// What the table lacks, and what there is.
    pub fn phi(
        &self,
        preset: &Preset,
        on: Option<&str>,
        dimension: usize,
        widths: &[u8],
    ) -> Result<BTreeMap<u8, f64>, String> {
        let name = preset.to_string();
        let kinds = |list: &[&Measurement]| -> String {
            let words: Vec<String> = list.iter().map(|one| format!("\"{}\"", one.on)).collect();
            words.join(", ")
        };
        let of_preset: Vec<&Measurement> = (self.measurements.iter())
            .filter(|one| one.preset == name)
            .collect();
        if of_preset.is_empty() {
            let mut there: Vec<&str> = self.measurements.iter().map(|m| &*m.preset).collect();
            there.sort_unstable();
            there.dedup();
            return Err(format!(
                "it has no phi of {name}, only of {}; `gradcode codec phi --preset {name}` measures it",
                there.join(", ")
            ));
        }
        let chosen: Vec<&Measurement> = (of_preset.iter().copied())
            .filter(|one| on.is_none_or(|on| one.on == on))
            .collect();
        let one = match chosen[..] {
            [one] => one,
            [] => {
                return Err(format!(
                    "it has no phi of {name} on {:?} vectors, only on {}",
                    on.unwrap_or_default(),
                    kinds(&of_preset)
                ));
            }
            _ => {
                return Err(format!(
                    "it has phi of {name} on {}: add `on` to choose one",
                    kinds(&chosen)
                ));
            }
        };
        if depends_on_dimension(preset) && one.dimension != dimension {
            return Err(format!(
                "phi of {name} depends on the number of coordinates: it was measured with {}, messages have {dimension}; \
                 `gradcode codec phi --preset {name} --dimension {dimension}` measures it",
                one.dimension
            ));
        }
        let missing: Vec<String> = (widths.iter())
            .filter(|bits| !one.widths.contains_key(bits))
            .map(ToString::to_string)
            .collect();
        if !missing.is_empty() {
            return Err(format!(
                "phi of {name} is missing at {} bits, which the budget allows",
                missing.join(", ")
            ));
        }
        for (bits, estimate) in &one.widths {
            if !(estimate.phi.is_finite() && estimate.phi >= 0.0) {
                return Err(format!(
                    "phi of {name} at {bits} bits is {}: it must be a number, at least 0",
                    estimate.phi
                ));
            }
        }
        Ok(one.widths.iter().map(|(&bits, e)| (bits, e.phi)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(preset: &str, on: &str) -> Measurement {
        let one = |bits: u8| {
            let estimate = Estimate {
                phi: 1.0 / f64::from(bits),
                standard_error: 0.01,
                squared_bias: -1e-9,
                squared_bias_standard_error: 1e-9,
            };
            (bits, estimate)
        };
        Measurement {
            preset: preset.to_owned(),
            on: on.to_owned(),
            source: "a test".to_owned(),
            dimension: 1000,
            vectors: 1,
            messages: 8,
            seed: 0,
            widths: (2..=8).map(one).collect(),
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let table = PhiTable::new(vec![
            measurement("qsgd", "normal"),
            measurement("qsgd-bucketed:max:512", "normal"),
            measurement("qsgd-bucketed:max:512", "gradient"),
        ]);
        let bucketed = Preset::default();
        let phi = table.phi(&bucketed, Some("gradient"), 99, &[2, 8]).unwrap();
        assert_eq!(phi[&4], 0.25);
        let said = |preset: &Preset, on, dimension, widths: &[u8]| {
            table.phi(preset, on, dimension, widths).unwrap_err()
        };
        let text = said(&bucketed, None, 99, &[2]);
        assert!(
            text.contains("\"normal\", \"gradient\": add `on`"),
            "{text}"
        );
        let text = said(&bucketed, Some("vector"), 99, &[2]);
        assert!(text.contains("only on \"normal\", \"gradient\""), "{text}");
        let text = said(&bucketed, Some("normal"), 99, &[8, 9, 10]);
        assert!(text.contains("missing at 9, 10 bits"), "{text}");
        assert!(table.phi(&Preset::Qsgd, None, 1000, &[2]).is_ok());
        let text = said(&Preset::Qsgd, None, 999, &[2]);
        assert!(
            text.contains("measured with 1000, messages have 999"),
            "{text}"
        );
        let sign: Preset = "sign:512".parse().unwrap();
        let text = said(&sign, None, 999, &[1]);
        assert!(
            text.contains("only of qsgd, qsgd-bucketed:max:512"),
            "{text}"
        );
    }

    #[test]
    fn files_are_read_back_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("phi.json");
        let table = PhiTable::new(vec![measurement("qsgd", "normal")]);
        std::fs::write(&path, serde_json::to_string(&table).unwrap()).unwrap();
        assert_eq!(PhiTable::read(&path).unwrap(), table);
        for (text, said) in [
            ("{}", "it is no table of"),
            ("not json", "it is no table of"),
            (
                r#"{"format":"gradcode-phi","version":7,"program":"","measurements":[]}"#,
                "version 7; this program reads",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = PhiTable::read(&path).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(PhiTable::read(&dir.path().join("none")).is_err());
    }
}
