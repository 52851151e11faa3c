//! What a study keeps of a run, in memory: the evaluations, and what had crossed the wire by then.

use std::collections::BTreeMap;

use cluster::Journal;
use learner::Metric;
use run_log::IterationRow;

/// The journal of one run.
pub struct Recorder {
    /// Iterations after which the model is evaluated, ascending; 0 first.
    positions: Vec<u64>,
    series: BTreeMap<String, Vec<f64>>,
    /// Positions recorded.
    reached: usize,
    /// Sums since the start.
    payload: u64,
    offered: u64,
    received: u64,
    late: u64,
    seconds: f64,
    /// Since the last position.
    relative_error: Mean,
    decoder_norm: Mean,
    warnings: Vec<String>,
}

/// A mean over the values that are numbers.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        if !value.is_nan() {
            self.sum += value;
            self.count += 1;
        }
    }

    fn take(&mut self) -> f64 {
        let mean = self.sum / self.count as f64;
        *self = Self::default();
        mean
    }
}

impl Recorder {
    /// A journal that keeps what is known after each of `positions` iterations.
    pub fn new(positions: Vec<u64>) -> Self {
        Self {
            positions,
            series: BTreeMap::new(),
            reached: 0,
            payload: 0,
            offered: 0,
            received: 0,
            late: 0,
            seconds: 0.0,
            relative_error: Mean::default(),
            decoder_norm: Mean::default(),
            warnings: vec![],
        }
    }

    /// What went wrong on the way, in order.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// First position without values.
    pub fn reached(&self) -> usize {
        self.reached
    }

    /// First position whose metrics are not all numbers, if there is one: a metric that is NaN from
    /// the start (no minimiser) does not count.
    pub fn first_not_finite(&self) -> Option<usize> {
        let loss = self.series.get("loss")?;
        (0..self.reached).find(|&position| !loss[position].is_finite())
    }

    /// One value per position and series.
    pub fn into_series(self) -> Vec<(String, Vec<f64>)> {
        let there = |values: &Vec<f64>| values.iter().any(|value| !value.is_nan());
        self.series
            .into_iter()
            .filter(|(_, values)| there(values))
            .collect()
    }

    fn set(&mut self, position: usize, name: &str, value: f64) {
        let empty = || vec![f64::NAN; self.positions.len()];
        if !self.series.contains_key(name) {
            self.series.insert(name.to_owned(), empty());
        }
        if let Some(values) = self.series.get_mut(name) {
            values[position] = value;
        }
    }
}

impl Journal for Recorder {
    fn iteration(&mut self, row: IterationRow) {
        self.payload += row.bits_up_payload;
        self.offered += row.bits_up_offered;
        self.received += row.bits_up;
        self.late += row.late;
        self.seconds += row.seconds_virtual;
        self.relative_error.add(row.relative_error);
    }

    fn evaluation(&mut self, iterations: u64, metrics: &[Metric]) {
        let Ok(position) = self.positions.binary_search(&iterations) else {
            return;
        };
        for metric in metrics {
            self.set(position, &metric.name, metric.value);
        }
        let (relative_error, decoder_norm) = (self.relative_error.take(), self.decoder_norm.take());
        for (name, value) in [
            ("bits_up_payload", self.payload as f64),
            ("bits_up_offered", self.offered as f64),
            ("bits_up", self.received as f64),
            ("late", self.late as f64),
            ("seconds_virtual", self.seconds),
            ("relative_error", relative_error),
            ("decoder_norm", decoder_norm),
        ] {
            self.set(position, name, value);
        }
        self.reached = position + 1;
    }

    fn warning(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_cumulative_and_samples_are_averaged_between_evaluations() {
        let mut recorder = Recorder::new(vec![0, 2, 4]);
        let loss = |value| [Metric::new("loss", value)];
        recorder.evaluation(0, &loss(8.0));
        for t in 0..3 {
            let mut row = IterationRow::new(t, 1);
            row.bits_up_payload = 10;
            row.late = 1;
            row.relative_error = if t < 2 { t as f64 } else { f64::NAN };
            recorder.iteration(row);
            if t == 1 {
                recorder.evaluation(2, &loss(4.0));
            }
        }
        assert_eq!((recorder.reached(), recorder.first_not_finite()), (2, None));
        let series: BTreeMap<_, _> = recorder.into_series().into_iter().collect();
        assert_eq!(series["bits_up_payload"][..2], [0.0, 20.0]);
        assert_eq!(series["relative_error"][1], 0.5);
        assert_eq!(series["loss"][..2], [8.0, 4.0]);
        assert!(series["loss"][2].is_nan());
        assert!(!series.contains_key("decoder_norm"), "nothing to say of it");
    }
}
