//! Whether the values of a complete configuration make sense, alone and together.

use super::error::ConfigError;
use super::resolve::Merged;
use super::settings::{Architecture, BudgetBits, Config, Deadline};
use super::values::{
    CodecPreset, DelayKind, Every, Inject, Norm, OneOrMany, OptimizerKind, Rates, Scaling, SchemeKind, UnitSeconds,
};

/// The width every quantizing worker has at least (eq 6: `z_i >= 2`).
pub const MIN_BITS: u64 = 2;

type Checked = Result<(), ConfigError>;

pub(super) fn check(config: &Config, merged: &Merged) -> Checked {
    general(config, merged)?;
    model_and_data(config, merged)?;
    budget(config, merged)?;
    optimizer(config, merged)?;
    rounds(config, merged)?;
    straggler(config, merged)?;
    places(config, merged)
}

impl Config {
    /// Gradients are sent with fewer than 32 bits per coordinate, so that a budget is needed.
    pub fn quantizes(&self) -> bool {
        self.scheme.kind != SchemeKind::Sgd && self.codec.preset != CodecPreset::F32
    }

    /// Z_tot, whichever way it was stated; `None` where nothing is quantized.
    ///
    /// `mean_bits` times the workers is rounded to whole bits.
    pub fn total_bits(&self) -> Option<u64> {
        let workers = self.workers as u64;
        if !self.quantizes() {
            return None;
        }
        self.budget.bits.map(|bits| match bits {
            BudgetBits::Total(total) => total,
            BudgetBits::Residual(residual) => residual.saturating_add(MIN_BITS * workers),
            // The cast saturates; `check` has refused what is not a number.
            BudgetBits::Mean(mean) => (mean * workers as f64).round() as u64,
        })
    }

    /// One master and at most one rank per worker.
    ///
    /// # Errors
    /// [`ConfigError::Ranks`] for fewer than 2 ranks or more than `workers + 1`.
    pub fn check_ranks(&self, ranks: usize) -> Checked {
        let most = self.workers + 1;
        if (2..=most).contains(&ranks) {
            return Ok(());
        }
        let workers = self.workers;
        Err(ConfigError::Ranks {
            ranks,
            valid: format!(
                "2 to {most} are valid for {workers} worker{}: one master, and no rank without a worker \
                 (`workers` may be set to {})",
                if workers == 1 { "" } else { "s" },
                ranks.saturating_sub(1).max(1),
            ),
        })
    }
}

/// `key` must hold `condition`, or the error says what is `valid`.
fn require(merged: &Merged, key: &str, condition: bool, valid: &str) -> Checked {
    if condition { Ok(()) } else { Err(merged.invalid(key, valid)) }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn non_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn general(config: &Config, merged: &Merged) -> Checked {
    require(merged, "seed", i64::try_from(config.seed).is_ok(), "must be below 2^63")?;
    require(merged, "iterations", config.iterations >= 1, "needs at least 1")?;
    require(merged, "partitions", config.partitions >= 1, "needs at least 1")?;
    require(merged, "out", !config.out.as_os_str().is_empty(), "must name a directory")?;
    let square = config.scheme.kind != SchemeKind::IsSgd || config.partitions == config.workers;
    if !square {
        return Err(merged.conflict(
            "partitions",
            "scheme.kind",
            format!("is-sgd gives every worker one partition: set partitions = {}", config.workers),
        ));
    }
    Ok(())
}

fn model_and_data(config: &Config, merged: &Merged) -> Checked {
    let data = &config.data;
    require(merged, "data.loader_threads", data.loader_threads >= 1, "needs at least 1")?;
    require(merged, "model.l2", non_negative(config.model.l2), "must be a number, at least 0")?;
    require(merged, "data.noise", non_negative(data.noise), "must be a number, at least 0")?;
    require(merged, "model.dimension", config.model.planned_dimension != Some(0), "needs at least 1")?;
    require(merged, "model.classes", config.model.classes.is_none_or(|c| c >= 2), "needs at least 2: the background and one more")?;
    match config.model.architecture {
        Architecture::TinySsd { width, side } => {
            let even = (4..=1024).contains(&width) && width % 2 == 0;
            require(merged, "model.width", even, "must be an even number from 4 to 1024")?;
            let multiple = (32..=4096).contains(&side) && side % 32 == 0;
            require(merged, "model.side", multiple, "must be a multiple of 32 from 32 to 4096 pixels")
        }
        Architecture::Cnn { width, side } => {
            require(merged, "model.width", (4..=1024).contains(&width), "must be from 4 to 1024")?;
            require(merged, "model.side", (16..=4096).contains(&side), "must be from 16 to 4096 pixels")
        }
        Architecture::SsdLite { side, norm } => {
            require(merged, "model.side", (32..=4096).contains(&side), "must be from 32 to 4096 pixels")?;
            if norm == Norm::Batch && data.batch == 1 {
                return Err(merged.conflict(
                    "data.batch",
                    "model.norm",
                    "batch norm needs at least 2 images per partition, better 8; or take norm = \"group\"",
                ));
            }
            if norm == Norm::Frozen && config.model.weights.is_none() {
                return Err(ConfigError::Missing {
                    key: "model.weights".into(),
                    valid: "frozen batch norm keeps the statistics of a weights file; without one take \
                            norm = \"group\" or \"batch\"".into(),
                });
            }
            Ok(())
        }
        Architecture::LeastSquares { dimension } | Architecture::LogisticRegression { dimension } => {
            require(merged, "model.dimension", dimension >= 1, "needs at least 1")?;
            let least = config.partitions.saturating_mul(data.batch.max(1) as usize);
            require(
                merged,
                "data.samples",
                data.samples as usize >= least,
                &format!("needs at least {least}: {} partitions with a batch of {}", config.partitions, data.batch.max(1)),
            )
        }
    }
}

fn budget(config: &Config, merged: &Merged) -> Checked {
    let budget = &config.budget;
    require(merged, "budget.max_bits", (2..=16).contains(&budget.max_bits), "must be from 2 to 16")?;
    let eta = match budget.scaling {
        Scaling::Fixed(eta) | Scaling::Balanced(eta) => eta,
    };
    require(merged, "budget.scaling", positive(eta), "must be a number above 0")?;
    let bucket = config.codec.bucket;
    require(
        merged,
        "codec.bucket",
        bucket.is_power_of_two() && (512..=8192).contains(&bucket),
        "must be 512, 1024, 2048, 4096 or 8192",
    )?;
    if !config.quantizes() {
        return Ok(());
    }
    let workers = config.workers as u64;
    let (key, stated) = match budget.bits {
        Some(BudgetBits::Total(_)) => ("budget.total_bits", 1.0),
        Some(BudgetBits::Residual(_)) => ("budget.residual_bits", 1.0),
        Some(BudgetBits::Mean(mean)) => ("budget.mean_bits", mean),
        None => {
            return Err(ConfigError::Missing {
                key: "budget.total_bits".into(),
                valid: format!(
                    "a quantizing scheme needs exactly one of budget.total_bits, residual_bits and mean_bits; \
                     at least 2 bits for each of {workers} workers, for instance budget.mean_bits=4"
                ),
            });
        }
    };
    require(merged, key, positive(stated), "must be a number above 0")?;
    let total = config.total_bits().unwrap_or(0);
    let idle = config.scheme.kind == SchemeKind::Joint && config.scheme.allow_idle;
    let least = if idle { MIN_BITS } else { MIN_BITS * workers };
    let most = u64::from(budget.max_bits) * workers;
    // The range in the terms of the key that was set.
    let state = |total: u64| match budget.bits {
        Some(BudgetBits::Residual(_)) => total.saturating_sub(MIN_BITS * workers).to_string(),
        Some(BudgetBits::Mean(_)) => (total as f64 / workers as f64).to_string(),
        _ => total.to_string(),
    };
    if total < least {
        let why = if idle { "2 bits for at least one worker".into() } else { format!("2 bits for each of {workers} workers") };
        return Err(merged.invalid(key, format!("needs at least {} ({why})", state(least))));
    }
    if total > most {
        return Err(merged.invalid(
            key,
            format!("can be at most {} ({} bits for each of {workers} workers)", state(most), budget.max_bits),
        ));
    }
    Ok(())
}

fn optimizer(config: &Config, merged: &Merged) -> Checked {
    let optimizer = &config.optimizer;
    let adaptive = optimizer.kind != OptimizerKind::Sgd;
    require(merged, "optimizer.learning_rate", positive(optimizer.learning_rate), "must be a number above 0")?;
    require(merged, "optimizer.weight_decay", non_negative(optimizer.weight_decay), "must be a number, at least 0")?;
    for (key, value) in [
        ("optimizer.momentum", optimizer.momentum),
        ("optimizer.beta1", optimizer.beta1),
        ("optimizer.beta2", optimizer.beta2),
    ] {
        require(merged, key, (0.0..1.0).contains(&value), "must be at least 0 and below 1")?;
    }
    require(merged, "optimizer.epsilon", positive(optimizer.epsilon), "must be a number above 0")?;
    require(merged, "optimizer.lambda", positive(optimizer.lambda), "must be a number above 0")?;
    require(merged, "optimizer.clip_norm", non_negative(optimizer.clip_norm), "must be a number, at least 0 (0 = off)")?;
    require(
        merged,
        "optimizer.warmup",
        optimizer.warmup <= config.iterations,
        &format!("can be at most the {} iterations", config.iterations),
    )?;
    if optimizer.two_track && !adaptive {
        return Err(merged.conflict(
            "optimizer.two_track",
            "optimizer.kind",
            "two-track decoding feeds Adam's second moment: take kind = \"adam\" or \"adamw\", or two_track = false",
        ));
    }
    Ok(())
}

fn rounds(config: &Config, merged: &Merged) -> Checked {
    let every = match config.evaluation.every {
        Every::Steps(steps) => steps >= 1,
        Every::Seconds(seconds) => positive(seconds),
        Every::Never => true,
    };
    require(merged, "evaluation.every", every, "must be above 0; \"never\" switches it off")?;
    let round = &config.round;
    require(merged, "round.max_empty_rounds", round.max_empty_rounds >= 1, "needs at least 1")?;
    require(merged, "round.give_up_after", round.give_up_after >= 1, "needs at least 1")?;
    require(merged, "round.give_up_seconds", non_negative(round.give_up_seconds), "must be a number, at least 0")?;
    require(
        merged,
        "round.min_workers",
        (1..=config.workers).contains(&round.min_workers),
        &format!("must be from 1 to the {} workers", config.workers),
    )
}

fn straggler(config: &Config, merged: &Merged) -> Checked {
    let straggler = &config.straggler;
    require(merged, "straggler.shift", non_negative(straggler.shift), "must be a number, at least 0")?;
    require(merged, "straggler.deadline", positive(straggler.deadline), "must be a number above 0")?;
    let rates = match &straggler.rate {
        Rates::One(rate) => positive(*rate),
        Rates::Many(rates) => !rates.is_empty() && rates.iter().all(|rate| positive(*rate)),
        Rates::Uniform([low, high]) | Rates::Linspace([low, high]) => positive(*low) && positive(*high) && low <= high,
    };
    require(merged, "straggler.rate", rates, "rates must be numbers above 0, and a range must ascend")?;
    if let UnitSeconds::Fixed(seconds) = straggler.unit_seconds {
        require(merged, "straggler.unit_seconds", positive(seconds), "must be a number above 0, or \"auto\"")?;
    }
    if straggler.model == DelayKind::Trace && straggler.trace.is_none() {
        return Err(ConfigError::Missing {
            key: "straggler.trace".into(),
            valid: "model = \"trace\" needs a file of delays, a line per iteration".into(),
        });
    }
    if let Some(probabilities) = &straggler.probabilities {
        let inside = |p: &f64| *p > 0.0 && *p < 1.0;
        let wrong = match probabilities {
            OneOrMany::One(p) => (!inside(p)).then(|| "must lie strictly between 0 and 1".to_owned()),
            OneOrMany::Many(all) => all.iter().enumerate().find(|(_, p)| !inside(p)).map(|(worker, p)| {
                format!("worker {worker} has {p}; every probability must lie strictly between 0 and 1")
            }),
        };
        if let Some(valid) = wrong {
            return Err(merged.invalid("straggler.probabilities", valid));
        }
    }
    let shifted = straggler.model == DelayKind::ShiftedExponential && straggler.inject != Inject::None;
    if shifted && straggler.deadline <= straggler.shift {
        return Err(merged.invalid(
            "straggler.deadline",
            format!("nobody would ever be in time (every p_i = 1); must be above straggler.shift = {}", straggler.shift),
        ));
    }
    match config.deadline {
        Deadline::Seconds(seconds) => {
            require(merged, "deadline.seconds", positive(seconds), "must be a number above 0")?;
            let unit_known = straggler.unit_seconds != UnitSeconds::Auto || straggler.probabilities.is_some();
            if straggler.inject == Inject::None && !unit_known {
                return Err(merged.conflict(
                    "deadline.seconds",
                    "straggler.unit_seconds",
                    "the design needs to know how often workers miss this deadline: give straggler.unit_seconds, \
                     so that the delay model applies, or straggler.probabilities",
                ));
            }
            Ok(())
        }
        Deadline::Quantile(quantile) => require(
            merged,
            "deadline.quantile",
            quantile.q > 0.0 && quantile.q < 1.0 && positive(quantile.factor) && quantile.window >= 1,
            "needs 0 < q < 1, a factor above 0 and a window of at least 1 round",
        ),
    }
}

fn places(config: &Config, merged: &Merged) -> Checked {
    let device = config.compute.device.as_str();
    let known = matches!(device, "auto" | "cpu" | "cuda")
        || device.strip_prefix("cuda:").is_some_and(|index| index.parse::<u32>().is_ok());
    require(merged, "compute.device", known, "must be \"auto\", \"cpu\", \"cuda\" or \"cuda:N\"")?;
    let mpi = &config.mpi;
    require(merged, "mpi.chunk_kb", (16..=1_048_576).contains(&mpi.chunk_kb), "must be from 16 to 1048576 KiB")?;
    require(merged, "mpi.grants", mpi.grants >= 1, "needs at least 1")?;
    for (key, seconds) in [
        ("mpi.startup_timeout_seconds", mpi.startup_timeout_seconds),
        ("mpi.silence_timeout_seconds", mpi.silence_timeout_seconds),
    ] {
        require(merged, key, positive(seconds), "must be a number above 0")?;
    }
    Ok(())
}
