//! From a configuration to the rules of the master's loop.

use cluster::{
    DeadlinePolicy, Downlink, EmptyRound, Every, Limits, Settings, Straggling, Tolerance, Unit,
};

use crate::config::planning::PlanInputs;
use crate::config::settings::Deadline;
use crate::config::values::{
    DeadlineSeconds, DownlinkForm, EmptyRound as EmptyRoundValue, Every as EveryValue, Inject,
    UnitSeconds,
};
use crate::config::{Config, ConfigError};

/// The rules of a run in real time, at the deadline that `inputs` were made for.
///
/// # Errors
/// What the delay model says.
pub fn rules(config: &Config, inputs: &PlanInputs) -> Result<Settings, ConfigError> {
    let straggling = match config.straggler.inject {
        Inject::None => Straggling::Real(match config.deadline {
            Deadline::Seconds(DeadlineSeconds::Fixed(seconds)) => DeadlinePolicy::Fixed { seconds },
            Deadline::Seconds(DeadlineSeconds::Planned) => DeadlinePolicy::Fixed {
                seconds: inputs.deadline * unit_seconds(config),
            },
            Deadline::Quantile(quantile) => DeadlinePolicy::Quantile {
                q: quantile.q,
                factor: quantile.factor,
                warmup: quantile.warmup,
                window: usize::try_from(quantile.window).unwrap_or(usize::MAX),
            },
            Deadline::MedianPlusMad(rule) => DeadlinePolicy::MedianPlusMad {
                k: rule.k,
                warmup: rule.warmup,
                window: usize::try_from(rule.window).unwrap_or(usize::MAX),
            },
        }),
        Inject::Delay => Straggling::Delay {
            model: config.delay_model()?,
            deadline: inputs.deadline,
            bandwidth: bandwidth(config),
            unit: match config.straggler.unit_seconds {
                UnitSeconds::Fixed(seconds) => Unit::Seconds(seconds),
                UnitSeconds::Auto => Unit::Measured,
            },
        },
        Inject::Erase => erase(config, inputs)?,
    };
    Ok(with(config, straggling))
}

/// The rules of the same run in virtual time: arrivals are always drawn from the delay model,
/// whatever the configuration injects.
///
/// # Errors
/// What the delay model says.
pub fn virtual_rules(config: &Config, inputs: &PlanInputs) -> Result<Settings, ConfigError> {
    Ok(with(config, erase(config, inputs)?))
}

fn erase(config: &Config, inputs: &PlanInputs) -> Result<Straggling, ConfigError> {
    Ok(Straggling::Erase {
        model: config.delay_model()?,
        deadline: inputs.deadline,
        bandwidth: bandwidth(config),
        unit_seconds: unit_seconds(config),
    })
}

/// In what form the model is sent.
pub fn downlink(config: &Config) -> Downlink {
    match config.downlink.form {
        DownlinkForm::F32 => Downlink::F32,
        DownlinkForm::Bf16 => Downlink::Bf16,
        DownlinkForm::Delta => Downlink::Delta {
            bits: config.downlink.bits,
        },
    }
}

/// A schedule as the configuration says it.
pub(super) fn every(value: EveryValue) -> Every {
    match value {
        EveryValue::Never => Every::Never,
        EveryValue::Steps(steps) => Every::Steps(steps),
        EveryValue::Seconds(seconds) => Every::Seconds(seconds),
    }
}

/// Seconds of the delay model's unit; 1 where only its name matters.
fn unit_seconds(config: &Config) -> f64 {
    match config.straggler.unit_seconds {
        UnitSeconds::Fixed(seconds) => seconds,
        UnitSeconds::Auto => 1.0,
    }
}

/// Bits per unit of every worker; none where sending takes no time.
fn bandwidth(config: &Config) -> Option<Vec<f64>> {
    let bandwidth = config.straggler.bandwidth.as_ref()?;
    Some(bandwidth.expand(config.workers))
}

fn with(config: &Config, straggling: Straggling) -> Settings {
    let round = &config.round;
    Settings {
        seed: config.seed,
        iterations: config.iterations,
        preset: config.preset(),
        generator: config.generator(),
        shrink: config.codec.shrink,
        error_feedback: config.error_feedback(),
        downlink: downlink(config),
        replan: config.replan_rules(matches!(straggling, Straggling::Real(_))),
        straggling,
        learning_rate: config.learning_rate_schedule(),
        clip_norm: config.optimizer.clip_norm,
        evaluate_every: every(config.evaluation.every),
        evaluate_at_end: config.evaluation.at_end,
        relative_error_every: round.relative_error_every,
        distortion: config.distortion(),
        empty_round: match round.empty_round {
            EmptyRoundValue::Step => EmptyRound::Step,
            EmptyRoundValue::Skip => EmptyRound::Skip,
        },
        max_empty_rounds: round.max_empty_rounds,
        min_workers: round.min_workers,
        give_up_after: round.give_up_after,
        give_up_seconds: round.give_up_seconds,
        tolerance: Tolerance {
            in_a_row: round.max_failures,
            share: round.max_failure_share,
        },
        limits: Limits {
            refuse: round.refuse_norm,
            clip: round.clip_norm,
        },
        silence_timeout: config.mpi.silence_timeout_seconds,
        grants: config.mpi.grants,
    }
}
