//! What a run left behind, in a form that can be compared bit by bit.

use std::collections::BTreeMap;
use std::path::Path;

use run_log::RunReader;

/// The part of a run that must not depend on the transport or on the number of ranks.
#[derive(Debug, PartialEq)]
pub struct Results {
    /// Bits of every value, by series.
    series: BTreeMap<&'static str, Vec<u64>>,
    per_worker: BTreeMap<&'static str, Vec<u64>>,
    evaluation: Vec<(String, Vec<u64>)>,
    evaluated_at: Vec<u64>,
    model: Vec<u8>,
}

const SERIES: &[&str] = &[
    "iteration",
    "loss",
    "loss_decoded",
    "learning_rate",
    "gradient_norm",
    "relative_error",
    "bits_up",
    "bits_up_payload",
    "bits_up_offered",
    "responders",
    "late",
    "refused",
    "deadline",
];

const PER_WORKER: &[&str] = &["late_iterations", "bits", "loss", "quantization_error"];

impl Results {
    pub fn read(directory: &Path) -> Self {
        let log = RunReader::open(directory).expect("a readable log");
        let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect();
        let evaluation = log.evaluation().expect("evaluations");
        Results {
            series: SERIES
                .iter()
                .map(|&name| (name, bits(log.series(name).expect("a series"))))
                .collect(),
            per_worker: PER_WORKER
                .iter()
                .map(|&name| {
                    let values = log.per_worker(name).expect("a series");
                    (name, bits(values.into_iter().collect()))
                })
                .collect(),
            evaluated_at: evaluation.iteration,
            evaluation: evaluation
                .metrics
                .into_iter()
                .map(|(name, values)| (name, bits(values)))
                .collect(),
            model: std::fs::read(directory.join("model.safetensors")).expect("a model"),
        }
    }

    /// Fails at the first thing in which `self` and `other` differ, and says which.
    #[track_caller]
    pub fn expect_equal(&self, other: &Self, context: &str) {
        for (name, values) in &self.series {
            assert_eq!(values, &other.series[name], "{context}: {name}");
        }
        for (name, values) in &self.per_worker {
            assert_eq!(
                values, &other.per_worker[name],
                "{context}: {name} per worker"
            );
        }
        assert_eq!(self.evaluated_at, other.evaluated_at, "{context}");
        assert_eq!(self.evaluation, other.evaluation, "{context}: evaluation");
        assert!(self.model == other.model, "{context}: the final models");
    }

    /// Somebody was late and somebody was not, else nothing is shown about stragglers.
    pub fn straggled(&self) -> bool {
        let late = &self.series["late"];
        let none = 0.0f64.to_bits();
        late.iter().any(|count| *count != none)
            && self.series["responders"].iter().any(|count| *count != none)
    }

    /// Rounds logged, and evaluations made.
    pub fn counts(&self) -> (usize, usize) {
        (self.series["loss"].len(), self.evaluated_at.len())
    }
}

/// Iterations x workers: how late each worker was, 0 when it was in time.
pub fn lateness(directory: &Path) -> Vec<Vec<f64>> {
    let log = RunReader::open(directory).expect("a readable log");
    let late = log.per_worker("late_iterations").expect("a series");
    late.outer_iter().map(|row| row.to_vec()).collect()
}

/// One per-iteration series.
pub fn series(directory: &Path, name: &str) -> Vec<f64> {
    let log = RunReader::open(directory).expect("a readable log");
    log.series(name).expect("a series")
}
