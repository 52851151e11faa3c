//! The log's columns, read once; what an older log lacks is NaN.

use ndarray::Array2;
use run_log::{LogError, RunReader};

/// One entry per iteration, or per iteration and worker.
pub struct Columns {
    pub workers: usize,
    pub iteration: Vec<f64>,
    pub time: Vec<f64>,
    pub round: Vec<f64>,
    pub open: Vec<f64>,
    pub wait: Vec<f64>,
    pub decode: Vec<f64>,
    pub check: Vec<f64>,
    pub step: Vec<f64>,
    pub evaluate: Vec<f64>,
    pub checkpoint: Vec<f64>,
    pub log: Vec<f64>,
    pub deadline: Vec<f64>,
    pub responders: Vec<f64>,
    pub late: Vec<f64>,
    pub refused: Vec<f64>,
    pub relative_error: Vec<f64>,
    pub arrival: Array2<f64>,
    /// 0 on time, more for late, -1 not asked.
    pub lateness: Array2<f64>,
    pub compute: Array2<f64>,
    pub encode: Array2<f64>,
    pub wire: Array2<f64>,
    pub bits: Array2<f64>,
    pub quantization: Array2<f64>,
    pub refused_per_worker: Array2<f64>,
}

impl Columns {
    /// Reads what a log has.
    ///
    /// # Errors
    /// [`LogError::Hdf5`] for a damaged file.
    pub fn read(run: &RunReader) -> Result<Self, LogError> {
        let (length, workers) = (run.len(), run.workers());
        let series = |name| match run.series(name) {
            Err(LogError::NoSuchSeries { .. }) => Ok(vec![f64::NAN; length]),
            other => other,
        };
        let per_worker = |name| match run.per_worker(name) {
            Err(LogError::NoSuchSeries { .. }) => {
                Ok(Array2::from_elem((length, workers), f64::NAN))
            }
            other => other,
        };
        Ok(Self {
            workers,
            iteration: series("iteration")?,
            time: series("time")?,
            round: series("seconds_round")?,
            open: series("seconds_open")?,
            wait: series("seconds_wait")?,
            decode: series("seconds_decode")?,
            check: series("seconds_check")?,
            step: series("seconds_step")?,
            evaluate: series("seconds_evaluate")?,
            checkpoint: series("seconds_checkpoint")?,
            log: series("seconds_log")?,
            deadline: series("deadline")?,
            responders: series("responders")?,
            late: series("late")?,
            refused: series("refused")?,
            relative_error: series("relative_error")?,
            arrival: per_worker("arrival_time")?,
            lateness: per_worker("late_iterations")?,
            compute: per_worker("seconds_compute")?,
            encode: per_worker("seconds_encode")?,
            wire: per_worker("seconds_wire")?,
            bits: per_worker("bits")?,
            quantization: per_worker("quantization_error")?,
            refused_per_worker: per_worker("refused")?,
        })
    }

    /// Iterations logged.
    pub fn len(&self) -> usize {
        self.iteration.len()
    }

    /// The last on-time worker of iteration `t`, on whom the round hung, and its arrival.
    pub fn last_on_time(&self, t: usize) -> Option<(usize, f64)> {
        let arrivals = self.arrival.row(t);
        let on_time = arrivals
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, arrival)| arrival.is_finite());
        on_time.max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// The value, or 0 where nothing was measured.
pub fn or_zero(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// Sum of what was measured.
pub fn sum<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().copied().map(or_zero).sum()
}

/// Mean of what was measured; NaN if nothing was.
pub fn mean<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    let measured = values.into_iter().filter(|value| value.is_finite());
    let (total, count) = measured.fold((0.0, 0u64), |(sum, n), value| (sum + value, n + 1));
    if count == 0 {
        f64::NAN
    } else {
        total / count as f64
    }
}
