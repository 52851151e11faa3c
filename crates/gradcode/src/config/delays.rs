//! How long workers take: the delay model of a configuration, from its rates or from a trace file.

use std::sync::Arc;

use straggler::{DelayModel, Slowdown, WorkerDelay};

use super::error::ConfigError;
use super::settings::Config;
use super::values::{DelayKind, InjectedFault, Rates, TraceOrder};

impl Config {
    /// The delays of all workers, in the model's unit.
    ///
    /// # Errors
    /// [`ConfigError::Read`] and [`ConfigError::Parse`] for a trace file, [`ConfigError::Plan`] for delays that
    /// cannot be.
    pub fn delay_model(&self) -> Result<DelayModel, ConfigError> {
        let straggler = &self.straggler;
        let refused = |error: straggler::DelayError| self.refused_delays(&error);
        let slowed = |model: DelayModel| model.with_slowdowns(self.slowdowns());
        let shifts = match straggler.model {
            DelayKind::ShiftedExponential => straggler.shift.expand(self.workers),
            // Exp(psi) is the shifted exponential with shift 0.
            DelayKind::Exponential => vec![0.0; self.workers],
            DelayKind::Trace => {
                let order = match straggler.trace_order {
                    TraceOrder::Replay => straggler::TraceOrder::Replay,
                    TraceOrder::Resample => straggler::TraceOrder::Resample,
                };
                return DelayModel::new(self.traces()?)
                    .map(|model| model.with_trace_order(order))
                    .and_then(slowed)
                    .map_err(refused);
            }
        };
        let workers = self.workers;
        let rates = match &straggler.rate {
            Rates::Uniform([low, high]) => {
                let drawn = DelayModel::drawn_rates(self.seed, workers, 0.0, *low, *high);
                rates_of(&drawn.map_err(refused)?)
            }
            Rates::One(rate) => vec![*rate; workers],
            Rates::Many(rates) => rates.clone(),
            Rates::Linspace([low, high]) => {
                let last = (workers - 1).max(1) as f64;
                let rate = |worker: usize| low + (high - low) * worker as f64 / last;
                (0..workers).map(rate).collect()
            }
        };
        let shifted = |(shift, rate)| WorkerDelay::ShiftedExponential { shift, rate };
        DelayModel::new(shifts.into_iter().zip(rates).map(shifted).collect())
            .and_then(slowed)
            .map_err(refused)
    }

    /// The rates psi of all workers, as `straggler.rate` draws or lists them.
    ///
    /// # Errors
    /// As [`Self::delay_model`], whose rates they are.
    pub fn drawn_rates(&self) -> Result<Vec<f64>, ConfigError> {
        self.delay_model().map(|model| rates_of(&model))
    }

    /// A trace file: a line per iteration; a column per worker, or one for all. Columns stand between
    /// commas or white space; empty lines and lines that start with `#` are skipped.
    fn traces(&self) -> Result<Vec<WorkerDelay>, ConfigError> {
        let Some(path) = &self.straggler.trace else {
            return Err(ConfigError::Missing {
                key: "straggler.trace".into(),
                valid: "model = \"trace\" needs a file of delays".into(),
            });
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.clone(),
            source,
        })?;
        let wrong = |line: usize, message: String| ConfigError::Parse {
            path: path.clone(),
            message: format!("line {line}: {message}"),
        };
        let mut columns: Vec<Vec<f64>> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut delays = Vec::new();
            for word in line
                .split(|c: char| c == ',' || c.is_whitespace())
                .filter(|w| !w.is_empty())
            {
                match word.parse::<f64>() {
                    Ok(delay) if delay >= 0.0 && delay.is_finite() => delays.push(delay),
                    _ => {
                        return Err(wrong(
                            index + 1,
                            format!("`{word}` is no delay: a number, at least 0"),
                        ));
                    }
                }
            }
            if delays.len() != 1 && delays.len() != self.workers {
                let workers = self.workers;
                return Err(wrong(
                    index + 1,
                    format!(
                        "{} columns; there must be 1, or one for each of {workers} workers",
                        delays.len()
                    ),
                ));
            }
            if columns.is_empty() {
                columns = vec![Vec::new(); delays.len()];
            }
            if columns.len() != delays.len() {
                let before = columns.len();
                return Err(wrong(
                    index + 1,
                    format!("{} columns after lines with {before}", delays.len()),
                ));
            }
            for (column, delay) in columns.iter_mut().zip(delays) {
                column.push(delay);
            }
        }
        if columns.is_empty() {
            return Err(wrong(1, "the file holds no delays".into()));
        }
        let columns: Vec<Arc<[f64]>> = columns.into_iter().map(Arc::from).collect();
        Ok((0..self.workers)
            .map(|worker| WorkerDelay::Trace(columns[worker % columns.len()].clone()))
            .collect())
    }

    /// The workers that `[[inject]]` makes slow, as changes of the delay model.
    fn slowdowns(&self) -> Vec<Slowdown> {
        let slow = self.inject.iter();
        slow.filter(|entry| entry.fault == InjectedFault::Slow)
            .flat_map(|entry| {
                let (from, to) = entry.iterations();
                let everybody = || (0..self.workers).collect();
                let workers = entry.workers.clone().unwrap_or_else(everybody);
                workers.into_iter().map(move |worker| Slowdown {
                    worker,
                    factor: entry.factor.unwrap_or(1.0),
                    from,
                    to: to.saturating_add(1),
                })
            })
            .collect()
    }
}

/// The rates of the workers that have one.
fn rates_of(model: &DelayModel) -> Vec<f64> {
    let rate = |delay: &WorkerDelay| match delay {
        WorkerDelay::ShiftedExponential { rate, .. } => Some(*rate),
        _ => None,
    };
    model.workers().iter().filter_map(rate).collect()
}

#[cfg(test)]
mod tests {
    use cluster::Faults;

    use super::super::testing::three_workers as config;
    use super::*;

    fn rates(config: &Config) -> Vec<f64> {
        config.drawn_rates().unwrap()
    }

    #[test]
    fn rates_are_spread_over_the_workers() {
        assert_eq!(rates(&config("straggler.rate = 2")), [2.0; 3]);
        assert_eq!(
            rates(&config("straggler.rate = [1, 2, 3]")),
            [1.0, 2.0, 3.0]
        );
        assert_eq!(
            rates(&config("straggler.rate = { linspace = [1, 2] }")),
            [1.0, 1.5, 2.0]
        );
        let drawn = rates(&config("straggler.rate = { uniform = [1, 2] }"));
        assert!(drawn.iter().all(|rate| (1.0..=2.0).contains(rate)) && drawn[0] != drawn[1]);
        assert_ne!(
            drawn,
            rates(&config("straggler.rate = { uniform = [1, 2] }\nseed = 2"))
        );
    }

    #[test]
    fn shifts_may_differ_from_worker_to_worker() {
        let config = config("straggler = { rate = 2, shift = [0.5, 1, 0], deadline = 2 }");
        let p = config.delay_model().unwrap().straggle_probabilities(2.0);
        assert_eq!(p, [1.5, 1.0, 2.0].map(|left: f64| (-2.0 * left).exp()));
    }

    #[test]
    fn traces_have_a_column_per_worker_or_one_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("delays.csv");
        let model = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let trace = path.display();
            config(&format!(
                "straggler.model = 'trace'\nstraggler.trace = '{trace}'"
            ))
            .delay_model()
        };
        let three = model("# w0, w1, w2\n1, 2, 3\n4 5 6\n").unwrap();
        assert_eq!(
            (
                three.delay(0, 0, 1),
                three.delay(0, 1, 1),
                three.delay(0, 2, 1)
            ),
            (2.0, 5.0, 2.0)
        );
        let shared = model("1\n4\n").unwrap();
        assert_eq!((shared.delay(0, 1, 0), shared.delay(0, 1, 2)), (4.0, 4.0));
        for (text, wanted) in [
            ("1, 2, 3\n1, x, 3", "line 2: `x` is no delay"),
            ("1, 2, 3\n1, -2, 3", "line 2: `-2`"),
            (
                "1, 2",
                "line 1: 2 columns; there must be 1, or one for each of 3 workers",
            ),
            ("1, 2, 3\n1", "line 2: 1 columns after lines with 3"),
            ("# nothing\n", "no delays"),
        ] {
            let error = model(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn slow_workers_are_slow_where_delays_come_from() {
        let slow = "inject = [{ fault = 'slow', workers = [0, 2], factor = 5.0, from = 10, to = 19 }]\n\
                    straggler.rate = 1\n";
        let drawn = config(slow);
        let model = drawn.delay_model().unwrap();
        let factors = |t| [0, 1, 2].map(|worker| model.slowdown(t, worker));
        assert_eq!((factors(9), factors(20)), ([1.0; 3], [1.0; 3]));
        assert_eq!(
            (factors(10), factors(19)),
            ([5.0, 1.0, 5.0], [5.0, 1.0, 5.0])
        );
        assert_eq!(
            model.delay(1, 12, 2),
            5.0 * config("straggler.rate = 1")
                .delay_model()
                .unwrap()
                .delay(1, 12, 2)
        );
        // The plan does not know: that is what the fault is about.
        assert_eq!(
            model.straggle_probabilities(1.5),
            config("straggler.rate = 1")
                .delay_model()
                .unwrap()
                .straggle_probabilities(1.5)
        );
        let text = |faults: &Faults| format!("{faults:?}");
        assert_eq!(text(&drawn.faults()), text(&config("").faults()));
        let real = config(&format!("{slow}straggler.inject = 'none'"));
        assert!(text(&real.faults()).contains("factor: 5.0"));
    }
}
