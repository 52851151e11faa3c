//! From merged layers to a checked, typed configuration.

use std::path::PathBuf;

use super::check;
use super::effect::without_effect;
use super::error::ConfigError;
use super::layer::{Layer, ModelLayer};
use super::origin::Origins;
use super::settings::{
    Architecture, Budget, BudgetBits, Checkpoint, CocoPaths, Codec, Compute, Config, Data,
    Deadline, Downlink, Evaluation, Gpt2, Model, Mpi, Optimizer, Replan, Round, Scheme, Straggler,
};
use super::values::{
    CodecPreset, CodecSharing, Feedback, Gpt2Size, Loss, ModelKind, Norm, OneOrMany, Rates, Stem,
};
use gradient_code::SchemeConfig;

/// A configuration with what was noticed on the way.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Complete and checked.
    pub config: Config,
    /// Keys that were set but have no effect here.
    pub warnings: Vec<String>,
}

/// The merged layers, for asking and for complaining about a key.
pub(super) struct Merged {
    pub(super) origins: Origins,
    written: toml::Table,
}

impl Merged {
    /// `key = value` cannot be; `valid` says what could.
    pub(super) fn invalid(&self, key: &str, valid: impl Into<String>) -> ConfigError {
        let mut parts = key.split('.');
        let value = parts.next().and_then(|first| self.written.get(first));
        let value = parts.fold(value, |table, part| table.and_then(|table| table.get(part)));
        ConfigError::Invalid {
            key: key.to_owned(),
            value: value.map_or_else(|| "?".into(), ToString::to_string),
            origin: self.origins.of(key),
            valid: valid.into(),
        }
    }

    /// Two keys do not fit.
    pub(super) fn conflict(
        &self,
        first: &str,
        second: &str,
        valid: impl Into<String>,
    ) -> ConfigError {
        let named = |key: &str| (key.to_owned(), self.origins.of(key));
        ConfigError::Conflict {
            keys: Box::new([named(first), named(second)]),
            valid: valid.into(),
        }
    }

    /// A value that the default file provides, or that the user has to.
    fn need<T>(&self, key: &str, value: Option<T>, valid: &str) -> Result<T, ConfigError> {
        value.ok_or_else(|| ConfigError::Missing {
            key: key.to_owned(),
            valid: valid.to_owned(),
        })
    }
}

/// Unwraps the keys of a section that have a default: `take!(merged, layer.codec, "codec", { preset, norm })`.
macro_rules! take {
    ($merged:ident, $section:expr, $header:literal => $target:ident { $($field:ident),+ $(,)? } $(, $($extra:tt)+)?) => {
        $target {
            $($field: $merged.need(concat!($header, ".", stringify!($field)), $section.$field.clone(), DEFAULTED)?,)+
            $($($extra)+)?
        }
    };
}

const DEFAULTED: &str = "the embedded defaults set it";

/// Checks the merged layers and fills in what follows from other keys.
///
/// `stem` names the run where no title is given; `worker_ranks` is the default number of workers.
///
/// # Errors
/// The first problem found, with key, value, origin and what would be valid.
pub fn resolve(
    layer: Layer,
    origins: Origins,
    stem: &str,
    worker_ranks: Option<usize>,
) -> Result<Resolved, ConfigError> {
    // A seed beyond 2^63 - 1 is no TOML integer; `check` refuses it.
    let merged = Merged {
        origins,
        written: toml::Table::try_from(&layer).unwrap_or_default(),
    };
    let workers = workers(&merged, &layer, worker_ranks)?;
    let kind = merged.need("scheme.kind", layer.scheme.kind, DEFAULTED)?;
    let config = Config {
        title: layer.title.clone().unwrap_or_else(|| stem.to_owned()),
        seed: merged.need("seed", layer.seed, DEFAULTED)?,
        iterations: merged.need("iterations", layer.iterations, DEFAULTED)?,
        workers,
        partitions: layer.partitions.unwrap_or(workers),
        out: PathBuf::from(layer.out.clone().unwrap_or_else(|| format!("runs/{stem}"))),
        inject: layer.inject.clone().unwrap_or_default(),
        model: model(&merged, &layer)?,
        data: data(&merged, &layer)?,
        scheme: Scheme {
            kind,
            options: take!(merged, layer.scheme, "scheme" => SchemeConfig {
                method, allow_idle, construction, load, assignment, decoding, graph,
                design, degree, blocks, epsilon, code, ridge, normalise,
            }, kind: kind.to_string()),
        },
        budget: budget(&merged, &layer)?,
        codec: codec(&merged, &layer)?,
        optimizer: take!(merged, layer.optimizer, "optimizer" => Optimizer {
            kind, learning_rate, momentum, nesterov, weight_decay, beta1, beta2, epsilon, two_track, lambda,
            decay, schedule, warmup, final_learning_rate, clip_norm,
        }),
        evaluation: take!(merged, layer.evaluation, "evaluation" => Evaluation { every, at_end, images }),
        downlink: take!(merged, layer.downlink, "downlink" => Downlink { form, bits }),
        checkpoint: take!(merged, layer.checkpoint, "checkpoint" => Checkpoint { every, keep }),
        round: take!(merged, layer.round, "round" => Round {
            empty_round, max_empty_rounds, min_workers, give_up_after, give_up_seconds, max_failures,
            max_failure_share, refuse_norm, clip_norm, relative_error_every,
        }),
        straggler: take!(merged, layer.straggler, "straggler" => Straggler {
            model, shift, rate, trace_order, deadline, unit_seconds, inject,
        }, trace: layer.straggler.trace.as_ref().map(PathBuf::from),
           bandwidth: layer.straggler.bandwidth.clone(), probabilities: layer.straggler.probabilities.clone()),
        deadline: match (layer.deadline.seconds, layer.deadline.median_plus_mad) {
            (Some(seconds), _) => Deadline::Seconds(seconds),
            (None, Some(rule)) => Deadline::MedianPlusMad(rule),
            (None, None) => {
                let quantile = layer.deadline.quantile;
                Deadline::Quantile(merged.need("deadline.quantile", quantile, DEFAULTED)?)
            }
        },
        compute: take!(merged, layer.compute, "compute" => Compute { device, threads }),
        replan: take!(merged, layer.replan, "replan" => Replan {
            on_drift, false_alarms, tolerance, window, pause, estimator, on_phi, phi_tolerance,
        }),
        mpi: take!(merged, layer.mpi, "mpi" => Mpi {
            grants, startup_timeout_seconds, silence_timeout_seconds, master_timeout_seconds, goodbye_timeout_seconds,
        }),
        origins: merged.origins.clone(),
    };
    check::check(&config, &merged)?;
    let warnings = without_effect(&config, &layer, &merged.origins);
    Ok(Resolved { config, warnings })
}

/// k: as set, as long as the lists, or one per worker rank.
fn workers(
    merged: &Merged,
    layer: &Layer,
    worker_ranks: Option<usize>,
) -> Result<usize, ConfigError> {
    let length = |values: &Option<OneOrMany>| match values {
        Some(OneOrMany::Many(values)) => Some(values.len()),
        _ => None,
    };
    let straggler = &layer.straggler;
    let listed = [
        (
            "straggler.rate",
            match &straggler.rate {
                Some(Rates::Many(rates)) => Some(rates.len()),
                _ => None,
            },
        ),
        ("straggler.probabilities", length(&straggler.probabilities)),
        ("straggler.shift", length(&straggler.shift)),
        ("straggler.bandwidth", length(&straggler.bandwidth)),
    ];
    let workers = layer
        .workers
        .or_else(|| listed.iter().find_map(|(_, length)| *length))
        .or(worker_ranks);
    let workers = merged.need(
        "workers",
        workers,
        "the number of logical workers is not set; set it (--set workers=4), list one rate per worker, \
         or run under mpirun, where each worker rank is one worker",
    )?;
    if workers == 0 {
        return Err(merged.invalid("workers", "needs at least 1"));
    }
    for (key, length) in listed {
        if let Some(length) = length.filter(|length| *length != workers) {
            return Err(merged.conflict(
                key,
                "workers",
                format!("{length} values are listed for {workers} workers; list one per worker, or give one number for all"),
            ));
        }
    }
    Ok(workers)
}

fn model(merged: &Merged, layer: &Layer) -> Result<Model, ConfigError> {
    let section = &layer.model;
    let kind = merged.need("model.kind", section.kind, DEFAULTED)?;
    let convex_dimension = || {
        merged.need(
            "model.dimension",
            section.dimension,
            "the convex models need their number of coordinates",
        )
    };
    let architecture = match kind {
        ModelKind::TinySsd => Architecture::TinySsd {
            width: section.width.unwrap_or(24),
            side: section.side.unwrap_or(128),
        },
        ModelKind::SsdLite => Architecture::SsdLite {
            side: section.side.unwrap_or(320),
            norm: section.norm.unwrap_or(Norm::Batch),
        },
        ModelKind::Cnn => Architecture::Cnn {
            width: section.width.unwrap_or(16),
            side: section.side.unwrap_or(32),
        },
        ModelKind::ResNet18 => Architecture::ResNet18 {
            side: section.side.unwrap_or(224),
            norm: section.norm.unwrap_or(Norm::Batch),
            stem: section.stem.unwrap_or(Stem::Standard),
        },
        ModelKind::ResNet50 => Architecture::ResNet50 {
            side: section.side.unwrap_or(224),
            norm: section.norm.unwrap_or(Norm::Batch),
            stem: section.stem.unwrap_or(Stem::Standard),
        },
        ModelKind::LeastSquares => Architecture::LeastSquares {
            dimension: convex_dimension()?,
        },
        ModelKind::LogisticRegression => Architecture::LogisticRegression {
            dimension: convex_dimension()?,
        },
        ModelKind::Mlp => Architecture::Mlp {
            hidden: section.hidden.unwrap_or(128),
            loss: section.loss.unwrap_or(Loss::CrossEntropy),
        },
        ModelKind::Gpt2 => Architecture::Gpt2(gpt2(section)),
        ModelKind::TorchScript => Architecture::TorchScript,
    };
    Ok(Model {
        architecture,
        classes: section.classes,
        labels: merged.need("model.labels", section.labels, DEFAULTED)?,
        precision: merged.need("model.precision", section.precision, DEFAULTED)?,
        file: section.file.as_ref().map(PathBuf::from),
        weights: section.weights.as_ref().map(PathBuf::from),
        ignore_head: merged.need("model.ignore_head", section.ignore_head, DEFAULTED)?,
        partial_weights: merged.need(
            "model.partial_weights",
            section.partial_weights,
            DEFAULTED,
        )?,
        l2: merged.need("model.l2", section.l2, DEFAULTED)?,
        planned_dimension: section.dimension.filter(|_| architecture.needs_files()),
    })
}

/// The sizes of a preset, but for those that are set.
fn gpt2(section: &ModelLayer) -> Gpt2 {
    let (layers, heads, width, context) = match section.size.unwrap_or(Gpt2Size::Nano) {
        Gpt2Size::Nano => (2, 4, 64, 64),
        Gpt2Size::Small => (12, 12, 768, 1024),
        Gpt2Size::Medium => (24, 16, 1024, 1024),
        Gpt2Size::Large => (36, 20, 1280, 1024),
        Gpt2Size::Xl => (48, 25, 1600, 1024),
    };
    Gpt2 {
        layers: section.layers.unwrap_or(layers),
        heads: section.heads.unwrap_or(heads),
        width: section.width.unwrap_or(width),
        context: section.context.unwrap_or(context),
        vocab: section.vocab,
    }
}

fn data(merged: &Merged, layer: &Layer) -> Result<Data, ConfigError> {
    let section = &layer.data;
    let paths = |set: &str, annotations: &Option<String>, images: &Option<String>| match (
        annotations,
        images,
    ) {
        (Some(annotations), Some(images)) => Ok(Some(CocoPaths {
            annotations: PathBuf::from(annotations),
            images: PathBuf::from(images),
        })),
        (None, None) => Ok(None),
        (annotations, _) => Err(ConfigError::Missing {
            key: format!(
                "data.{set}_{}",
                if annotations.is_some() {
                    "images"
                } else {
                    "annotations"
                }
            ),
            valid: format!("data.{set}_annotations and data.{set}_images come as a pair"),
        }),
    };
    Ok(
        take!(merged, section, "data" => Data { batch, augment, cache_mb, loader_threads, samples, noise, feature_sd, initial_sd },
        train: paths("train", &section.train_annotations, &section.train_images)?,
        validation: paths("validation", &section.validation_annotations, &section.validation_images)?,
        train_folder: section.train_folder.as_ref().map(PathBuf::from),
        validation_folder: section.validation_folder.as_ref().map(PathBuf::from),
        train_tokens: section.train_tokens.as_ref().map(PathBuf::from),
        validation_tokens: section.validation_tokens.as_ref().map(PathBuf::from),
        length: section.length,
        train_arrays: section.train_arrays.as_ref().map(PathBuf::from),
        validation_arrays: section.validation_arrays.as_ref().map(PathBuf::from),
        arrays: section.arrays.clone().unwrap_or_default()),
    )
}

/// Preset and error feedback are those that the scheme is defined with, unless they are set.
fn codec(merged: &Merged, layer: &Layer) -> Result<Codec, ConfigError> {
    let section = &layer.codec;
    let kind = merged.need("scheme.kind", layer.scheme.kind, DEFAULTED)?;
    let own = kind
        .scheme()
        .compressor()
        .and_then(|word| word.parse().ok());
    let preset = section.preset.or(own).unwrap_or(CodecPreset::QsgdBucketed);
    let (bucket, sharing) = match preset {
        CodecPreset::Eden => (4096, CodecSharing::Message),
        _ => (512, CodecSharing::Round),
    };
    let remembers = match kind.scheme().error_feedback() {
        true => Feedback::Keep,
        false => Feedback::None,
    };
    Ok(
        take!(merged, section, "codec" => Codec { norm, group, scale, entries, shrink, phi_every, device, decode_device },
        preset,
        bucket: section.bucket.unwrap_or(bucket),
        sharing: section.sharing.unwrap_or(sharing),
        error_feedback: section.error_feedback.unwrap_or(remembers),
        phi: section.phi.clone()),
    )
}

fn budget(merged: &Merged, layer: &Layer) -> Result<Budget, ConfigError> {
    let section = &layer.budget;
    // A later layer's budget replaces an earlier one and a file sets at most one: `--set` is alone.
    let bits = section
        .total_bits
        .map(BudgetBits::Total)
        .or(section.residual_bits.map(BudgetBits::Residual))
        .or(section.mean_bits.map(BudgetBits::Mean));
    Ok(take!(merged, section, "budget" => Budget { max_bits, scaling }, bits))
}

#[cfg(test)]
mod tests;
