//! Whether the values of a complete configuration make sense, alone and together.

mod budget;
mod codec;
mod inject;
mod learning;
mod straggler;

use super::error::ConfigError;
use super::resolve::Merged;
use super::settings::Config;
use super::values::{Every, OptimizerKind, SchemeKind};

type Checked = Result<(), ConfigError>;

pub(super) fn check(config: &Config, merged: &Merged) -> Checked {
    general(config, merged)?;
    learning::model_and_data(config, merged)?;
    budget::budget(config, merged)?;
    codec::scheme(config, merged)?;
    codec::codec(config, merged)?;
    optimizer(config, merged)?;
    rounds(config, merged)?;
    replan(config, merged)?;
    straggler::straggler(config, merged)?;
    inject::inject(config, merged)?;
    places(config, merged)
}

impl Config {
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
    if condition {
        Ok(())
    } else {
        Err(merged.invalid(key, valid))
    }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn non_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn general(config: &Config, merged: &Merged) -> Checked {
    require(
        merged,
        "seed",
        i64::try_from(config.seed).is_ok(),
        "must be below 2^63",
    )?;
    require(
        merged,
        "iterations",
        config.iterations >= 1,
        "needs at least 1",
    )?;
    require(
        merged,
        "partitions",
        config.partitions >= 1,
        "needs at least 1",
    )?;
    require(
        merged,
        "out",
        !config.out.as_os_str().is_empty(),
        "must name a directory",
    )?;
    let square = !config.scheme.kind.is(SchemeKind::IS_SGD) || config.partitions == config.workers;
    if !square {
        return Err(merged.conflict(
            "partitions",
            "scheme.kind",
            format!(
                "is-sgd gives every worker one partition: set partitions = {}",
                config.workers
            ),
        ));
    }
    Ok(())
}

fn optimizer(config: &Config, merged: &Merged) -> Checked {
    let optimizer = &config.optimizer;
    let adaptive = optimizer.kind != OptimizerKind::Sgd;
    require(
        merged,
        "optimizer.learning_rate",
        positive(optimizer.learning_rate),
        "must be a number above 0",
    )?;
    require(
        merged,
        "optimizer.weight_decay",
        non_negative(optimizer.weight_decay),
        "must be a number, at least 0",
    )?;
    for (key, value) in [
        ("optimizer.momentum", optimizer.momentum),
        ("optimizer.beta1", optimizer.beta1),
        ("optimizer.beta2", optimizer.beta2),
    ] {
        require(
            merged,
            key,
            (0.0..1.0).contains(&value),
            "must be at least 0 and below 1",
        )?;
    }
    require(
        merged,
        "optimizer.epsilon",
        positive(optimizer.epsilon),
        "must be a number above 0",
    )?;
    require(
        merged,
        "optimizer.lambda",
        positive(optimizer.lambda),
        "must be a number above 0",
    )?;
    require(
        merged,
        "optimizer.clip_norm",
        non_negative(optimizer.clip_norm),
        "must be a number, at least 0 (0 = off)",
    )?;
    let end = optimizer.final_learning_rate;
    require(
        merged,
        "optimizer.final_learning_rate",
        non_negative(end) && end <= optimizer.learning_rate,
        "must be a number from 0 to optimizer.learning_rate",
    )?;
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
    require(
        merged,
        "evaluation.every",
        every,
        "must be above 0; \"never\" switches it off",
    )?;
    require(
        merged,
        "downlink.bits",
        (2..=16).contains(&config.downlink.bits),
        "must be from 2 to 16",
    )?;
    let every = match config.checkpoint.every {
        Every::Steps(steps) => steps >= 1,
        Every::Seconds(seconds) => positive(seconds),
        Every::Never => true,
    };
    require(
        merged,
        "checkpoint.every",
        every,
        "must be above 0; \"never\" switches it off",
    )?;
    require(
        merged,
        "checkpoint.keep",
        config.checkpoint.keep >= 1,
        "must be at least 1: the newest is kept",
    )?;
    let round = &config.round;
    require(
        merged,
        "round.max_empty_rounds",
        round.max_empty_rounds >= 1,
        "needs at least 1",
    )?;
    require(
        merged,
        "round.give_up_after",
        round.give_up_after >= 1,
        "needs at least 1",
    )?;
    require(
        merged,
        "round.give_up_seconds",
        non_negative(round.give_up_seconds),
        "must be a number, at least 0",
    )?;
    require(
        merged,
        "round.max_failure_share",
        (0.0..=1.0).contains(&round.max_failure_share),
        "must be from 0 to 1 (1 tolerates any share)",
    )?;
    for (key, multiple) in [
        ("round.refuse_norm", round.refuse_norm),
        ("round.clip_norm", round.clip_norm),
    ] {
        require(
            merged,
            key,
            multiple == 0.0 || (multiple.is_finite() && multiple > 1.0),
            "is a multiple of the median: above 1, or 0 (off)",
        )?;
    }
    if round.clip_norm > 0.0 && round.refuse_norm > 0.0 && round.refuse_norm <= round.clip_norm {
        return Err(merged.conflict(
            "round.clip_norm",
            "round.refuse_norm",
            "what is refused is never clipped: refuse_norm must be above clip_norm, or 0",
        ));
    }
    require(
        merged,
        "round.min_workers",
        (1..=config.workers).contains(&round.min_workers),
        &format!("must be from 1 to the {} workers", config.workers),
    )
}

fn replan(config: &Config, merged: &Merged) -> Checked {
    let replan = &config.replan;
    require(
        merged,
        "replan.false_alarms",
        replan.false_alarms > 0.0 && replan.false_alarms < 1.0,
        "is a probability per run: must lie strictly between 0 and 1",
    )?;
    require(
        merged,
        "replan.tolerance",
        non_negative(replan.tolerance),
        "must be a number, at least 0",
    )?;
    require(
        merged,
        "replan.window",
        replan.window >= 1,
        "needs at least 1 round",
    )?;
    require(
        merged,
        "replan.phi_tolerance",
        non_negative(replan.phi_tolerance),
        "must be a number, at least 0",
    )?;
    if replan.on_phi && config.quantizes() && config.codec.phi_every == 0 {
        return Err(merged.conflict(
            "replan.on_phi",
            "codec.phi_every",
            "plans can follow the quantization error only if it is measured, every codec.phi_every > 0 iterations",
        ));
    }
    Ok(())
}

fn places(config: &Config, merged: &Merged) -> Checked {
    let device = config.compute.device.as_str();
    let known = matches!(device, "auto" | "cpu" | "cuda")
        || device
            .strip_prefix("cuda:")
            .is_some_and(|index| index.parse::<u32>().is_ok());
    require(
        merged,
        "compute.device",
        known,
        "must be \"auto\", \"cpu\", \"cuda\" or \"cuda:N\"",
    )?;
    let mpi = &config.mpi;
    require(merged, "mpi.grants", mpi.grants >= 1, "needs at least 1")?;
    require(
        merged,
        "mpi.master_timeout_seconds",
        mpi.master_timeout_seconds >= 6.0 && mpi.master_timeout_seconds.is_finite(),
        "must be at least 6: signs of life come every 5 s",
    )?;
    for (key, seconds) in [
        ("mpi.startup_timeout_seconds", mpi.startup_timeout_seconds),
        ("mpi.silence_timeout_seconds", mpi.silence_timeout_seconds),
        ("mpi.goodbye_timeout_seconds", mpi.goodbye_timeout_seconds),
    ] {
        require(merged, key, positive(seconds), "must be a number above 0")?;
    }
    Ok(())
}
