//! The rules of a short run in process, and a journal that keeps its rows.

use cluster::{
    Distortion, Downlink, EmptyRound, Every, Journal, Limits, Settings, Straggling, Tolerance,
};
use gradient_codec::{Generator, Preset};
use learner::{Schedule, ScheduleShape};
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
    Settings {
        seed,
        iterations,
        preset,
        generator,
        shrink: false,
        error_feedback: None,
        downlink: Downlink::F32,
        straggling: Straggling::Erase {
            model: DelayModel::new(late.iter().map(delay).collect()).unwrap(),
            deadline: 1.0,
            bandwidth: None,
            unit_seconds: 1.0,
        },
        learning_rate: Schedule {
            base: 0.01,
            shape: ScheduleShape::Constant,
            warmup: 0,
            end: 0.0,
        },
        clip_norm: 0.0,
        evaluate_every: Every::Never,
        evaluate_at_end: false,
        relative_error_every: 0,
        // Measured messages are encoded on the CPU whatever is asked for.
        distortion: Distortion {
            every: 3,
            refresh: None,
        },
        empty_round: EmptyRound::Step,
        max_empty_rounds: 50,
        replan: None,
        min_workers: 1,
        give_up_after: 5,
        give_up_seconds: 0.0,
        tolerance: Tolerance::ANYTHING,
        limits: Limits::default(),
        silence_timeout: 100.0,
        grants: 2,
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
