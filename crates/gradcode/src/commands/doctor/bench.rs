//! How fast this node's codec is, in units of its own memory speed.

use std::fmt::Write;

use codec_speed::{Bench, Operation, Speed, SpeedError};
use gradient_codec::Preset;
use serde_json::{Value, json};

use crate::phi::widths;

/// Coordinates: 32 MB, more than caches hold.
const COORDINATES: usize = 8 << 20;
/// Measurements of each operation; medians are reported.
const ROUNDS: usize = 5;
/// Widths that are measured, of those that a preset has.
const WIDTHS: [u8; 4] = [2, 4, 8, 16];
/// Quantizers.
const PRESETS: [&str; 4] = ["qsgd", "qsgd-bucketed:max:512", "rotated", "eden"];
/// What is measured, in the order of the columns. A frame that was sent alone is added with the second.
const OPERATIONS: [Operation; 4] = [
    Operation::Encode,
    Operation::Parse,
    Operation::Add { messages: 1 },
    Operation::Add { messages: 4 },
];

/// One preset at one width.
struct Row {
    preset: Preset,
    bits: u8,
    speeds: Vec<Speed>,
}

/// With so many threads.
struct Table {
    threads: usize,
    coordinates: usize,
    copy: Speed,
    rows: Vec<Row>,
}

/// What was measured.
pub struct Figures(Vec<Table>);

/// Measures with one core and, if there are several, with all of them.
///
/// # Errors
/// If threads cannot be started.
pub fn measure() -> Result<Figures, SpeedError> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut tables = vec![with_threads(1, COORDINATES)?];
    if all > 1 {
        tables.push(with_threads(all, COORDINATES)?);
    }
    Ok(Figures(tables))
}

fn with_threads(threads: usize, n: usize) -> Result<Table, SpeedError> {
    let mut bench = Bench::new(n, threads)?;
    let copy = bench.measure(&[Operation::Copy], None, ROUNDS)?[0];
    let mut rows = Vec::new();
    for text in PRESETS {
        let preset: Preset = text.parse().expect("a preset");
        let there = widths(&preset, n, 16);
        for bits in WIDTHS.into_iter().filter(|bits| there.contains(bits)) {
            let Ok(compressor) = preset.compressor(bits, n) else {
                continue;
            };
            let speeds = bench.measure(&OPERATIONS, Some(compressor), ROUNDS)?;
            rows.push(Row {
                preset,
                bits,
                speeds,
            });
        }
    }
    Ok(Table {
        threads,
        coordinates: n,
        copy,
        rows,
    })
}

impl Figures {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for table in &self.0 {
            let _ = writeln!(
                text,
                "\ncodec with {} thread{}, {} kernels, {} coordinates: memcpy {:.1} GB/s; GB of f32 per second, and memcpy's \
                 time over its own",
                table.threads,
                if table.threads == 1 { "" } else { "s" },
                gradient_codec::instruction_set(),
                table.coordinates,
                table.copy.gigabytes_per_second
            );
            let heads = OPERATIONS.map(|operation| format!("{:>16}", operation.to_string()));
            let _ = writeln!(text, "{:<24}{:>4}{}", "", "bits", heads.concat());
            for row in &table.rows {
                let cells = row.speeds.iter().map(|speed| {
                    let gigabytes = speed.gigabytes_per_second;
                    format!("{gigabytes:>9.1} {:>5.2}x", speed.times_memcpy)
                });
                let cells: String = cells.collect();
                let preset = row.preset.to_string();
                let _ = writeln!(text, "{preset:<24}{:>4}{cells}", row.bits);
            }
        }
        if cfg!(debug_assertions) {
            text.push_str("this program was built without optimisation (cargo build --release has it): a fraction of the speed\n");
        }
        text
    }

    /// For programs: one object per number of threads.
    pub fn json(&self) -> Value {
        let speed = |speed: &Speed| {
            json!({
                "operation": speed.operation.to_string(),
                "gigabytes_per_second": speed.gigabytes_per_second,
                "times_memcpy": speed.times_memcpy,
            })
        };
        let row = |row: &Row| {
            let speeds: Vec<Value> = row.speeds.iter().map(speed).collect();
            json!({ "preset": row.preset.to_string(), "bits": row.bits, "speeds": speeds })
        };
        let table = |table: &Table| {
            json!({
                "threads": table.threads,
                "instruction_set": gradient_codec::instruction_set(),
                "coordinates": table.coordinates,
                "memcpy_gigabytes_per_second": table.copy.gigabytes_per_second,
                "optimised": !cfg!(debug_assertions),
                "codecs": table.rows.iter().map(row).collect::<Vec<Value>>(),
            })
        };
        self.0.iter().map(table).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantizer_has_its_figures() {
        let figures = Figures(vec![with_threads(1, 1 << 14).unwrap()]);
        let printed = figures.text();
        assert!(printed.contains("16384 coordinates: memcpy "), "{printed}");
        let json = figures.json();
        let codecs = json[0]["codecs"].as_array().unwrap();
        for (text, bits) in [("qsgd", 2), ("qsgd", 16), ("qsgd-bucketed", 4), ("eden", 2)] {
            let preset = text.parse::<Preset>().unwrap().to_string();
            let row = codecs
                .iter()
                .find(|c| c["preset"] == *preset && c["bits"] == bits);
            let speeds = row.unwrap()["speeds"].as_array().unwrap();
            assert_eq!(speeds.len(), OPERATIONS.len());
            assert!(
                speeds
                    .iter()
                    .all(|s| s["gigabytes_per_second"].as_f64() > Some(0.0))
            );
            assert!(
                printed.contains(&format!("{preset:<24}{bits:>4} ")),
                "{printed}"
            );
        }
    }
}
