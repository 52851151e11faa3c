//! From merged layers to a checked, typed configuration.

use std::path::PathBuf;

use super::error::ConfigError;
use super::layer::Layer;
use super::origin::{Origin, Origins};
use super::settings::{
    Architecture, Budget, BudgetBits, CocoPaths, Codec, Compute, Config, Data, Deadline,
    Evaluation, Model, Mpi, Optimizer, Round, Scheme, Straggler,
};
use super::values::{CodecPreset, DelayKind, Inject, ModelKind, Norm, OneOrMany, OptimizerKind, Rates, SchemeKind};
use super::check;

/// A configuration with what was noticed on the way.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Complete and checked.
    pub config: Config,
    /// Who set what.
    pub origins: Origins,
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
    pub(super) fn conflict(&self, first: &str, second: &str, valid: impl Into<String>) -> ConfigError {
        let named = |key: &str| (key.to_owned(), self.origins.of(key));
        ConfigError::Conflict { first: named(first), second: named(second), valid: valid.into() }
    }

    /// A value that the default file provides, or that the user has to.
    fn need<T>(&self, key: &str, value: Option<T>, valid: &str) -> Result<T, ConfigError> {
        value.ok_or_else(|| ConfigError::Missing { key: key.to_owned(), valid: valid.to_owned() })
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
    let merged = Merged { origins, written: toml::Table::try_from(&layer).unwrap_or_default() };
    let workers = workers(&merged, &layer, worker_ranks)?;
    let config = Config {
        title: layer.title.clone().unwrap_or_else(|| stem.to_owned()),
        seed: merged.need("seed", layer.seed, DEFAULTED)?,
        iterations: merged.need("iterations", layer.iterations, DEFAULTED)?,
        workers,
        partitions: layer.partitions.unwrap_or(workers),
        out: PathBuf::from(layer.out.clone().unwrap_or_else(|| format!("runs/{stem}"))),
        model: model(&merged, &layer)?,
        data: data(&merged, &layer)?,
        scheme: take!(merged, layer.scheme, "scheme" => Scheme { kind, method, allow_idle, construction }),
        budget: budget(&merged, &layer)?,
        codec: take!(merged, layer.codec, "codec" => Codec { preset, norm, bucket }),
        optimizer: take!(merged, layer.optimizer, "optimizer" => Optimizer {
            kind, learning_rate, momentum, nesterov, weight_decay, beta1, beta2, epsilon, two_track, lambda,
            schedule, warmup, clip_norm,
        }),
        evaluation: take!(merged, layer.evaluation, "evaluation" => Evaluation { every, at_end, images }),
        round: take!(merged, layer.round, "round" => Round {
            empty_round, max_empty_rounds, min_workers, give_up_after, give_up_seconds, relative_error_every,
        }),
        straggler: take!(merged, layer.straggler, "straggler" => Straggler {
            model, shift, rate, trace_order, deadline, unit_seconds, inject,
        }, trace: layer.straggler.trace.as_ref().map(PathBuf::from),
           probabilities: layer.straggler.probabilities.clone()),
        deadline: match (layer.deadline.seconds, layer.deadline.quantile) {
            (Some(seconds), _) => Deadline::Seconds(seconds),
            (None, quantile) => Deadline::Quantile(merged.need("deadline.quantile", quantile, DEFAULTED)?),
        },
        compute: take!(merged, layer.compute, "compute" => Compute { device, threads }),
        mpi: take!(merged, layer.mpi, "mpi" => Mpi {
            chunk_kb, grants, startup_timeout_seconds, silence_timeout_seconds,
        }),
    };
    check::check(&config, &merged)?;
    let warnings = without_effect(&config, &layer, &merged.origins);
    Ok(Resolved { config, origins: merged.origins, warnings })
}

/// k: as set, as long as the lists, or one per worker rank.
fn workers(merged: &Merged, layer: &Layer, worker_ranks: Option<usize>) -> Result<usize, ConfigError> {
    let listed = [
        ("straggler.rate", match &layer.straggler.rate {
            Some(Rates::Many(rates)) => Some(rates.len()),
            _ => None,
        }),
        ("straggler.probabilities", match &layer.straggler.probabilities {
            Some(OneOrMany::Many(probabilities)) => Some(probabilities.len()),
            _ => None,
        }),
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
        merged.need("model.dimension", section.dimension, "the convex models need their number of coordinates")
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
        ModelKind::LeastSquares => Architecture::LeastSquares { dimension: convex_dimension()? },
        ModelKind::LogisticRegression => Architecture::LogisticRegression { dimension: convex_dimension()? },
    };
    Ok(Model {
        architecture,
        classes: section.classes,
        weights: section.weights.as_ref().map(PathBuf::from),
        l2: merged.need("model.l2", section.l2, DEFAULTED)?,
        planned_dimension: section.dimension.filter(|_| architecture.needs_files()),
    })
}

fn data(merged: &Merged, layer: &Layer) -> Result<Data, ConfigError> {
    let section = &layer.data;
    let paths = |set: &str, annotations: &Option<String>, images: &Option<String>| match (annotations, images) {
        (Some(annotations), Some(images)) => Ok(Some(CocoPaths {
            annotations: PathBuf::from(annotations),
            images: PathBuf::from(images),
        })),
        (None, None) => Ok(None),
        (annotations, _) => Err(ConfigError::Missing {
            key: format!("data.{set}_{}", if annotations.is_some() { "images" } else { "annotations" }),
            valid: format!("data.{set}_annotations and data.{set}_images come as a pair"),
        }),
    };
    Ok(take!(merged, section, "data" => Data { batch, augment, cache_mb, loader_threads, samples, noise },
        train: paths("train", &section.train_annotations, &section.train_images)?,
        validation: paths("validation", &section.validation_annotations, &section.validation_images)?))
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

/// What the user set although this configuration does not look at it.
fn without_effect(config: &Config, layer: &Layer, origins: &Origins) -> Vec<String> {
    let kind = config.model.architecture.kind();
    let quantizes = config.quantizes();
    let scheme = config.scheme.kind;
    let preset = config.codec.preset;
    let inject = config.straggler.inject;
    let because = [
        ("model.width", !matches!(kind, ModelKind::TinySsd | ModelKind::Cnn), format!("model.kind = \"{kind}\"")),
        ("model.side", !config.model.architecture.needs_files(), format!("model.kind = \"{kind}\"")),
        ("model.norm", kind != ModelKind::SsdLite, format!("model.kind = \"{kind}\"")),
        ("data.train_images", !config.model.architecture.needs_files(), format!("model.kind = \"{kind}\"")),
        ("data.samples", config.model.architecture.needs_files(), format!("model.kind = \"{kind}\"")),
        ("scheme.method", scheme != SchemeKind::Joint, format!("scheme.kind = \"{scheme}\"")),
        ("scheme.allow_idle", scheme != SchemeKind::Joint, format!("scheme.kind = \"{scheme}\"")),
        ("scheme.construction", scheme != SchemeKind::Osgc, format!("scheme.kind = \"{scheme}\"")),
        ("budget.total_bits", !quantizes, "nothing to quantize".into()),
        ("budget.residual_bits", !quantizes, "nothing to quantize".into()),
        ("budget.mean_bits", !quantizes, "nothing to quantize".into()),
        ("codec.norm", preset != CodecPreset::QsgdBucketed, format!("codec.preset = \"{preset}\"")),
        ("codec.bucket", preset != CodecPreset::QsgdBucketed, format!("codec.preset = \"{preset}\"")),
        ("optimizer.momentum", config.optimizer.kind != OptimizerKind::Sgd, format!("optimizer.kind = \"{}\"", config.optimizer.kind)),
        ("straggler.trace", config.straggler.model != DelayKind::Trace, format!("straggler.model = \"{}\"", config.straggler.model)),
        ("deadline.seconds", inject != Inject::None, format!("straggler.inject = \"{inject}\"")),
        ("deadline.quantile", inject != Inject::None, format!("straggler.inject = \"{inject}\"")),
    ];
    let written = toml::Table::try_from(layer).unwrap_or_default();
    let is_set = |key: &str| {
        let origin: Origin = origins.of(key);
        let (header, name) = key.split_once('.').unwrap_or(("", key));
        !origin.is_default() && written.get(header).and_then(|section| section.get(name)).is_some()
    };
    because
        .into_iter()
        .filter(|(key, idle, _)| *idle && is_set(key))
        .map(|(key, _, reason)| format!("`{key}` ({}) has no effect with {reason}", origins.of(key)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::from_text;

    fn error(text: &str) -> String {
        match from_text(text, Path::new("x.toml")) {
            Ok(_) => panic!("accepted: {text}"),
            Err(error) => error.to_string(),
        }
    }

    fn config(text: &str) -> Config {
        from_text(text, Path::new("x.toml")).unwrap_or_else(|error| panic!("{error}")).config
    }

    #[test]
    fn the_defaults_lack_only_workers_and_a_budget() {
        let resolved = from_text("workers = 4\nbudget.total_bits = 20", Path::new("x")).unwrap();
        assert_eq!(resolved.config.partitions, 4);
        assert_eq!(resolved.warnings, Vec::<String>::new());
        assert!(error("budget.total_bits = 20").contains("find `workers`"));
        assert!(error("workers = 4").contains("find `budget.total_bits`"));
    }

    #[test]
    fn workers_follow_lists() {
        let base = "budget.mean_bits = 4\n";
        assert_eq!(config(&format!("{base}straggler.rate = [1, 2, 3]")).workers, 3);
        assert_eq!(config(&format!("{base}straggler.probabilities = [0.1, 0.2]")).workers, 2);
        let text = error(&format!("{base}workers = 4\nstraggler.rate = [1, 2, 3]"));
        assert!(text.contains("`straggler.rate` (x.toml:3) and `workers` (x.toml:2): 3 values are listed for 4"), "{text}");
    }

    #[test]
    fn budgets_are_the_same_bits_however_stated() {
        for stated in ["total_bits = 22", "residual_bits = 14", "mean_bits = 5.5"] {
            assert_eq!(config(&format!("workers = 4\nbudget.{stated}")).total_bits(), Some(22));
        }
        assert_eq!(config("workers = 4\ncodec.preset = 'f32'").total_bits(), None);
        assert_eq!(config("workers = 4\nscheme.kind = 'sgd'").total_bits(), None);
    }

    /// Each pair: what is written, and what the message must say.
    #[test]
    fn nonsense_is_refused_with_what_would_be_valid() {
        let base = "workers = 4\nbudget.total_bits = 20\n";
        for (text, wanted) in [
            ("workers = 4\nbudget.total_bits = 7".into(), "`budget.total_bits = 7` (x.toml:2): needs at least 8 (2 bits for each of 4 workers)"),
            ("workers = 4\nbudget.mean_bits = 1.8".into(), "needs at least 2 (2 bits"),
            ("workers = 4\nbudget.total_bits = 65".into(), "at most 64 (16 bits"),
            ("workers = 4\nbudget.residual_bits = 57".into(), "at most 56"),
            ("workers = 4\nbudget.mean_bits = nan".into(), "must be a number above 0"),
            ("workers = 4\n[budget]\ntotal_bits = 8\nmean_bits = 2.0".into(), "`budget.total_bits` (x.toml:3) and `budget.mean_bits` (x.toml:4): exactly one"),
            ("workers = 0\nbudget.total_bits = 20".into(), "`workers = 0` (x.toml:1): needs at least 1"),
            (format!("{base}straggler.probabilities = [0.5, 1.0, 0.1, 0.2]"), "worker 1 has 1; every probability must lie strictly between 0 and 1"),
            (format!("{base}straggler.probabilities = 0"), "must lie strictly between 0 and 1"),
            (format!("{base}straggler.deadline = 1.0"), "every p_i = 1"),
            (format!("{base}straggler.rate = [1, 2, 0, 1]"), "rates must be numbers above 0"),
            (format!("{base}straggler.model = 'trace'"), "find `straggler.trace`"),
            (format!("{base}optimizer.two_track = true"), "`optimizer.two_track` (x.toml:3) and `optimizer.kind` (default)"),
            (format!("{base}scheme.kind = 'is-sgd'\npartitions = 3"), "set partitions = 4"),
            (format!("{base}codec.bucket = 1000"), "must be 512, 1024, 2048, 4096 or 8192"),
            (format!("{base}model.kind = 'least-squares'"), "find `model.dimension`"),
            (format!("{base}model.kind = 'ssdlite'\ndata.batch = 1"), "at least 2 images per partition"),
            (format!("{base}data.train_images = 'a'"), "find `data.train_annotations`"),
            (format!("{base}compute.device = 'gpu'"), "\"cuda:N\""),
            (format!("{base}evaluation.every = {{ steps = 0 }}"), "above 0"),
            (format!("{base}straggler.inject = 'none'\ndeadline.seconds = 1"), "straggler.unit_seconds"),
            (format!("{base}sede = 3"), "line 3, column 1"),
        ] {
            let message = error(&text);
            assert!(message.contains(wanted), "{text}\n -> {message}\n wanted {wanted}");
        }
    }

    #[test]
    fn keys_without_effect_are_named() {
        let text = "workers = 4\ncodec.preset = 'f32'\nbudget.total_bits = 20";
        let resolved = from_text(text, Path::new("x.toml")).unwrap();
        assert_eq!(resolved.warnings, ["`budget.total_bits` (x.toml:3) has no effect with nothing to quantize"]);
    }

    #[test]
    fn ranks_are_between_two_and_one_more_than_the_workers() {
        let config = config("workers = 4\nbudget.total_bits = 20");
        assert!((2..=5).all(|ranks| config.check_ranks(ranks).is_ok()));
        assert!(config.check_ranks(1).is_err());
        let message = config.check_ranks(6).unwrap_err().to_string();
        assert!(message.contains("start 6 MPI ranks: 2 to 5 are valid for 4 workers"), "{message}");
        assert!(message.contains("`workers` may be set to 5"), "{message}");
    }

    /// What a run stores must give the same configuration again, for every shape a value can have.
    #[test]
    fn stored_configurations_are_read_back_unchanged() {
        let base = "workers = 4\n";
        for text in [
            "budget.total_bits = 20",
            "budget.residual_bits = 3\nmodel.kind = 'ssdlite'\nmodel.side = 160\nmodel.norm = 'group'",
            "budget.mean_bits = 4.3\nbudget.scaling = { balanced = 0.005 }\nmodel.kind = 'cnn'\nmodel.classes = 11",
            "scheme.kind = 'sgd'\nmodel.kind = 'least-squares'\nmodel.dimension = 7\ntitle = 'a \"b\" \\\\ c'",
            "codec.preset = 'f32'\nmodel.dimension = 12\nstraggler.rate = [1, 2, 3, 4.25e-7]\nevaluation.every = 'never'",
            "budget.total_bits = 20\nstraggler.probabilities = [0.1, 0.2, 0.3, 0.4]\nstraggler.unit_seconds = 0.1\n\
             straggler.inject = 'none'\ndeadline.seconds = 0.5\nevaluation.every = { seconds = 60 }",
            "budget.total_bits = 20\nstraggler.model = 'trace'\nstraggler.trace = 'd.csv'\nstraggler.rate = { linspace = [1, 2] }\n\
             data.train_annotations = 'a.json'\ndata.train_images = 'b'\ndeadline.quantile = { q = 0.5 }",
        ] {
            let first = config(&format!("{base}{text}"));
            let stored = first.to_toml();
            assert_eq!(config(&stored), first, "{stored}");
            assert_eq!(config(&stored).to_toml(), stored);
        }
    }
}
