//! The configuration in the terms of the other crates.

use std::sync::Arc;

use cluster::{
    Distortion, ErrorFeedback, Fault, FaultKind, Faults, OnStraggling, Phase, RefreshRules,
};
use gradient_codec::{BucketNorm, Generator, OneBitScale, Preset, Sharing};
use learner::optimizer::{AdamConfig, DecayGroups, OptimizerError};
use learner::{Description, Optimizer, OptimizerConfig, ScheduleShape};
use straggler::{DelayModel, Slowdown, WorkerDelay};

use super::error::ConfigError;
use super::settings::{Config, Deadline};
use super::values::{
    CodecDevice, CodecNorm, CodecPreset, CodecSharing, DeadlineSeconds, Decay, DelayKind,
    Estimator, Feedback, Inject, InjectedFault, InjectedPhase, Injection, OnDrift, OptimizerKind,
    Rates, Schedule, TraceOrder,
};

/// Latest messages of a width that its measured phi is the mean of.
const PHI_WINDOW: usize = 32;

impl Config {
    /// The compressor family of all workers.
    pub fn preset(&self) -> Preset {
        let entries = Some(self.codec.entries).filter(|&entries| entries > 0);
        match self.codec.preset {
            CodecPreset::Qsgd => Preset::Qsgd,
            CodecPreset::QsgdBucketed => Preset::QsgdBucketed {
                norm: match self.codec.norm {
                    CodecNorm::Max => BucketNorm::Max,
                    CodecNorm::L2 => BucketNorm::L2,
                },
                bucket: self.codec.bucket,
            },
            CodecPreset::Rotated => Preset::Rotated {
                bucket: self.codec.bucket,
                sharing: self.sharing(),
            },
            CodecPreset::Eden => Preset::Eden {
                bucket: self.codec.bucket,
                sharing: self.sharing(),
            },
            CodecPreset::F32 => Preset::F32,
            CodecPreset::Sign => Preset::Sign {
                group: self.codec.group,
            },
            CodecPreset::OneBit => Preset::OneBit {
                scale: match self.codec.scale {
                    CodecNorm::Max => OneBitScale::Max,
                    CodecNorm::L2 => OneBitScale::L2,
                },
            },
            CodecPreset::TopK => Preset::TopK { entries },
            CodecPreset::RandK => Preset::RandK { entries },
        }
    }

    fn sharing(&self) -> Sharing {
        match self.codec.sharing {
            CodecSharing::Round => Sharing::Round,
            CodecSharing::Message => Sharing::Message,
        }
    }

    /// Whether gradients are encoded on the device that computes them.
    pub fn encodes_on_model(&self) -> bool {
        match self.codec.device {
            CodecDevice::Auto => self.compute.device.starts_with("cuda"),
            CodecDevice::Cpu => false,
            CodecDevice::Model => true,
        }
    }

    /// Where the random bits of rounding come from: the generator that is fast where messages are
    /// encoded. It follows from the configuration alone, so that master and workers agree.
    pub fn generator(&self) -> Generator {
        match self.encodes_on_model() {
            true => Generator::Philox,
            false => Generator::default(),
        }
    }

    /// Whether workers remember what was not delivered, and how.
    pub fn error_feedback(&self) -> Option<ErrorFeedback> {
        let on_straggling = match self.codec.error_feedback {
            Feedback::None => return None,
            Feedback::Keep => OnStraggling::Keep,
            Feedback::Lost => OnStraggling::Lost,
        };
        Some(ErrorFeedback { on_straggling })
    }

    /// What goes wrong on purpose, but for workers that are slow where delays are drawn: their draws are
    /// ([`Self::delay_model`]).
    pub fn faults(&self) -> Faults {
        let happens = |entry: &&Injection| {
            entry.fault != InjectedFault::Slow || self.straggler.inject == Inject::None
        };
        let fault = |entry: &Injection| Fault {
            kind: match entry.fault {
                InjectedFault::Delay => FaultKind::Delay,
                InjectedFault::Drop => FaultKind::Drop,
                InjectedFault::Kill => FaultKind::Kill,
                InjectedFault::Freeze => FaultKind::Freeze,
                InjectedFault::Corrupt => FaultKind::Corrupt,
                InjectedFault::Nan => FaultKind::Nan,
                InjectedFault::Panic => FaultKind::Panic,
                InjectedFault::Memory => FaultKind::Memory,
                InjectedFault::Slow => FaultKind::Slow,
            },
            phase: match entry.phase.unwrap_or(InjectedPhase::Compute) {
                InjectedPhase::Compute => Phase::Compute,
                InjectedPhase::Header => Phase::Header,
                InjectedPhase::Payload => Phase::Payload,
            },
            workers: entry
                .workers
                .as_ref()
                .map(|workers| workers.iter().map(|&worker| worker as u32).collect()),
            from: entry.iterations().0,
            to: entry.iterations().1,
            probability: entry.probability.unwrap_or(1.0),
            seconds: entry.seconds.unwrap_or(0.0),
            factor: entry.factor.unwrap_or(1.0),
        };
        let due = self.inject.iter().filter(happens).map(fault);
        Faults::new(self.seed, due.collect())
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

    /// The optimizer at the master.
    pub fn optimizer_config(&self) -> OptimizerConfig {
        let optimizer = &self.optimizer;
        let adam = AdamConfig {
            beta1: optimizer.beta1,
            beta2: optimizer.beta2,
            epsilon: optimizer.epsilon as f32,
            weight_decay: optimizer.weight_decay as f32,
        };
        match optimizer.kind {
            OptimizerKind::Sgd => OptimizerConfig::Sgd {
                momentum: optimizer.momentum as f32,
                nesterov: optimizer.nesterov,
                weight_decay: optimizer.weight_decay as f32,
            },
            OptimizerKind::Adam => OptimizerConfig::Adam(adam),
            OptimizerKind::AdamW => OptimizerConfig::AdamW(adam),
        }
    }

    /// The optimizer at the master for the model that `description` is of.
    ///
    /// # Errors
    /// [`OptimizerError`] for a setting out of range.
    pub fn build_optimizer(
        &self,
        description: &Description,
    ) -> Result<Box<dyn Optimizer>, OptimizerError> {
        let dimension = description.parameters;
        self.optimizer_config()
            .build_grouped(match self.optimizer.decay {
                Decay::All => DecayGroups::all(dimension),
                Decay::Matrices => DecayGroups::matrices(dimension, &description.slots),
            })
    }

    /// The learning rate by iteration.
    pub fn learning_rate_schedule(&self) -> learner::Schedule {
        learner::Schedule {
            base: self.optimizer.learning_rate,
            shape: match self.optimizer.schedule {
                Schedule::Constant => ScheduleShape::Constant,
                Schedule::Cosine => ScheduleShape::Cosine,
                Schedule::InverseTime => ScheduleShape::InverseTime,
                Schedule::InverseSqrt => ScheduleShape::InverseSqrt,
            },
            warmup: self.optimizer.warmup,
            end: self.optimizer.final_learning_rate,
        }
    }

    /// How arrivals are held against the plan; `None` where it is made anew for lost workers alone.
    /// `real` says that nothing makes stragglers but the machines.
    pub fn replan_rules(&self, real: bool) -> Option<straggler::Rules> {
        let replan = &self.replan;
        let watches = match replan.on_drift {
            OnDrift::Auto => real,
            OnDrift::Always => true,
            OnDrift::Never => false,
        };
        watches.then_some(straggler::Rules {
            false_alarms: replan.false_alarms,
            tolerance: replan.tolerance,
            window: replan.window,
            pause: replan.pause,
            estimator: match replan.estimator {
                Estimator::Frequency => straggler::Estimator::Frequency,
                Estimator::ShiftedExponential => straggler::Estimator::ShiftedExponential,
            },
        })
    }

    /// When workers measure their quantization error, and whether plans follow it.
    pub fn distortion(&self) -> Distortion {
        Distortion {
            every: match self.quantizes() {
                true => self.codec.phi_every,
                false => 0,
            },
            refresh: self.replan.on_phi.then_some(RefreshRules {
                tolerance: self.replan.phi_tolerance,
                window: PHI_WINDOW,
                pause: self.replan.pause,
            }),
        }
    }

    /// Whether real stragglers are held against a deadline of `[deadline]`, and not the planned one.
    pub fn has_real_deadline(&self) -> bool {
        self.straggler.inject == Inject::None
            && self.deadline != Deadline::Seconds(DeadlineSeconds::Planned)
    }

    /// The delays of all workers, in the model's unit.
    ///
    /// # Errors
    /// [`ConfigError::Read`] and [`ConfigError::Parse`] for a trace file.
    pub fn delay_model(&self) -> Result<DelayModel, ConfigError> {
        let straggler = &self.straggler;
        let refused = |error: straggler::DelayError| ConfigError::Plan {
            scheme: self.scheme.kind.to_string(),
            message: error.to_string(),
        };
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
    use std::path::Path;

    use super::*;
    use crate::config::from_text;

    fn config(text: &str) -> Config {
        let text = format!("workers = 3\nbudget.mean_bits = 4\n{text}");
        from_text(&text, Path::new("x.toml"))
            .unwrap_or_else(|error| panic!("{error}"))
            .config
    }

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

    #[test]
    fn codec_and_optimizer_are_translated() {
        let config = config(
            "codec.norm = 'l2'\ncodec.bucket = 1024\noptimizer.kind = 'adamw'\noptimizer.beta1 = 0.8",
        );
        assert_eq!(
            config.preset(),
            Preset::QsgdBucketed {
                norm: BucketNorm::L2,
                bucket: 1024
            }
        );
        assert!(
            matches!(config.optimizer_config(), OptimizerConfig::AdamW(adam) if adam.beta1 == 0.8)
        );
    }
}
