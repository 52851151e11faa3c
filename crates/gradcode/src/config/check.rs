//! Whether the values of a complete configuration make sense, alone and together.

mod budget;
mod codec;
mod inject;
mod straggler;

use super::error::ConfigError;
use super::resolve::Merged;
use super::settings::{Architecture, Config, Gpt2};
use super::values::{Every, Norm, OptimizerKind, SchemeKind, Stem};

type Checked = Result<(), ConfigError>;

pub(super) fn check(config: &Config, merged: &Merged) -> Checked {
    general(config, merged)?;
    model_and_data(config, merged)?;
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

fn model_and_data(config: &Config, merged: &Merged) -> Checked {
    let data = &config.data;
    require(
        merged,
        "data.loader_threads",
        data.loader_threads >= 1,
        "needs at least 1",
    )?;
    require(
        merged,
        "model.l2",
        non_negative(config.model.l2),
        "must be a number, at least 0",
    )?;
    require(
        merged,
        "data.noise",
        non_negative(data.noise),
        "must be a number, at least 0",
    )?;
    require(
        merged,
        "data.feature_sd",
        positive(data.feature_sd),
        "must be a number above 0",
    )?;
    require(
        merged,
        "data.initial_sd",
        non_negative(data.initial_sd),
        "must be a number, at least 0 (0 starts at the origin)",
    )?;
    require(
        merged,
        "model.dimension",
        config.model.planned_dimension != Some(0),
        "needs at least 1",
    )?;
    require(
        merged,
        "model.classes",
        config.model.classes.is_none_or(|c| c >= 2),
        "needs at least 2: the background and one more",
    )?;
    image_source(config, merged)?;
    match config.model.architecture {
        Architecture::TinySsd { width, side } => {
            let even = (4..=1024).contains(&width) && width % 2 == 0;
            require(
                merged,
                "model.width",
                even,
                "must be an even number from 4 to 1024",
            )?;
            let multiple = (32..=4096).contains(&side) && side % 32 == 0;
            require(
                merged,
                "model.side",
                multiple,
                "must be a multiple of 32 from 32 to 4096 pixels",
            )
        }
        Architecture::Cnn { width, side } => {
            require(
                merged,
                "model.width",
                (4..=1024).contains(&width),
                "must be from 4 to 1024",
            )?;
            require(
                merged,
                "model.side",
                (16..=4096).contains(&side),
                "must be from 16 to 4096 pixels",
            )
        }
        Architecture::SsdLite { side, norm } => {
            require(
                merged,
                "model.side",
                (32..=4096).contains(&side),
                "must be from 32 to 4096 pixels",
            )?;
            norm_fits(norm, config, merged)
        }
        Architecture::ResNet18 { side, norm, stem }
        | Architecture::ResNet50 { side, norm, stem } => {
            let least = if stem == Stem::Small { 16 } else { 32 };
            require(
                merged,
                "model.side",
                (least..=4096).contains(&side),
                &format!("must be from {least} to 4096 pixels"),
            )?;
            norm_fits(norm, config, merged)
        }
        Architecture::LeastSquares { dimension }
        | Architecture::LogisticRegression { dimension } => {
            require(
                merged,
                "model.dimension",
                dimension >= 1,
                "needs at least 1",
            )?;
            enough_samples(config, merged)
        }
        Architecture::Gpt2(sizes) => {
            let length = data.length.unwrap_or(sizes.context);
            require(
                merged,
                "data.length",
                (1..=sizes.context).contains(&length),
                &format!("must be from 1 to the context, {}", sizes.context),
            )?;
            gpt2(sizes, merged)
        }
        Architecture::TorchScript => Ok(()),
        Architecture::Mlp { hidden, .. } => {
            require(merged, "model.hidden", hidden >= 1, "needs at least 1")?;
            if data.train.is_some() {
                return Ok(());
            }
            enough_samples(config, merged)
        }
    }
}

fn gpt2(sizes: Gpt2, merged: &Merged) -> Checked {
    for (key, value, most) in [
        ("model.layers", sizes.layers, 1000),
        ("model.heads", sizes.heads, 1000),
        ("model.width", sizes.width, 1 << 16),
        ("model.context", sizes.context, 1 << 20),
        (
            "model.vocab",
            sizes.vocab.unwrap_or(1),
            tokens::LARGEST_VOCABULARY,
        ),
    ] {
        let valid = format!("must be from 1 to {most}");
        require(merged, key, (1..=most).contains(&value), &valid)?;
    }
    if !sizes.width.is_multiple_of(sizes.heads) {
        return Err(merged.conflict(
            "model.width",
            "model.heads",
            format!(
                "{} heads do not divide a width of {}",
                sizes.heads, sizes.width
            ),
        ));
    }
    Ok(())
}

/// Whether batch norm has samples to normalize over, and frozen batch norm statistics.
fn norm_fits(norm: Norm, config: &Config, merged: &Merged) -> Checked {
    if norm == Norm::Batch && config.data.batch == 1 {
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
                        norm = \"group\" or \"batch\""
                .into(),
        });
    }
    Ok(())
}

/// Images come from annotations or from folders, and folders are for classifiers.
fn image_source(config: &Config, merged: &Merged) -> Checked {
    let data = &config.data;
    let pairs = [
        (
            "data.train_folder",
            "data.train_annotations",
            &data.train_folder,
            &data.train,
        ),
        (
            "data.validation_folder",
            "data.validation_annotations",
            &data.validation_folder,
            &data.validation,
        ),
    ];
    for (folder, annotations, in_folder, annotated) in pairs {
        if in_folder.is_some() && annotated.is_some() {
            return Err(merged.conflict(
                folder,
                annotations,
                "images come from a directory per class or from annotations, not from both",
            ));
        }
    }
    let architecture = &config.model.architecture;
    let detector = architecture.sees_images() && !architecture.classifies_images();
    if detector && data.train_folder.is_some() {
        return Err(merged.conflict(
            "data.train_folder",
            "model.kind",
            "folders say what is in an image, not where: take resnet50, resnet18 or cnn, or set \
             data.train_annotations and data.train_images",
        ));
    }
    require(
        merged,
        "data.validation_folder",
        data.validation_folder.is_none()
            || data.train_folder.is_some()
            || !architecture.classifies_images(),
        "needs data.train_folder: both sets are of one kind",
    )?;
    require(
        merged,
        "data.validation_annotations",
        data.validation.is_none()
            || data.train_folder.is_none()
            || !architecture.classifies_images(),
        "cannot go with data.train_folder: both sets are of one kind; set data.validation_folder",
    )
}

fn enough_samples(config: &Config, merged: &Merged) -> Checked {
    let (data, batch) = (&config.data, config.data.batch.max(1));
    let least = config.partitions.saturating_mul(batch as usize);
    require(
        merged,
        "data.samples",
        data.samples as usize >= least,
        &format!(
            "needs at least {least}: {} partitions with a batch of {batch}",
            config.partitions
        ),
    )
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
    )
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
