//! The rules of a short run in process, and a journal that keeps its rows.

use cluster::{Distortion, Journal, Settings, Straggling};
use gradient_codec::{Generator, Preset};
use run_log::IterationRow;
use straggler::{DelayModel, WorkerDelay};

/// Workers are late with these probabilities.
pub fn settings(
    preset: Preset,
    generator: Generator,
    seed: u64,
    iterations: u64,
    late: &[f64],
) -> Settings {
    let delay = |p: &f64| WorkerDelay::Exponential { rate: -p.ln() };
    let straggling = Straggling::Erase {
        model: DelayModel::new(late.iter().map(delay).collect()).unwrap(),
        deadline: 1.0,
        bandwidth: None,
        unit_seconds: 1.0,
    };
    Settings {
        seed,
        generator,
        // Measured messages are encoded on the CPU whatever is asked for.
        distortion: Distortion {
            every: 3,
            refresh: None,
        },
        ..Settings::plain(preset, straggling, iterations, 0.01)
    }
}

/// What was logged.
#[derive(Default)]
pub struct Rows {
    /// Round by round.
    pub rows: Vec<IterationRow>,
    /// Warnings.
    pub warnings: Vec<String>,
}

impl Journal for Rows {
    fn iteration(&mut self, row: IterationRow) {
        self.rows.push(row);
    }
    fn warning(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }
}
