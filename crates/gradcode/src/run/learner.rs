//! From a configuration to the model and data that a rank computes with.

use std::path::Path;
use std::sync::Arc;

use cluster::Engine;
use coco::{Dataset, ImageFolder, Labels};
use learner::convex::ConvexProblem;
use learner::mlp::Mlp;
use learner::{Learner, LearnerError, Sums};
use tokens::TokenFile;
use torch_models::language_model::{self, LanguageConfig};
use torch_models::single_label;
use torch_models::weights::Tolerance;
use torch_models::{DataClock, ImageConfig, ModelConfig, Precision, TorchConfig};

use crate::config::Config;
use crate::config::Images;
use crate::config::settings::CocoPaths;
use crate::config::values::Augment;
use crate::config::values::{self, CodecDevice, ModelKind};
use crate::exit::{ENVIRONMENT, Failure, Outcome, USAGE};

/// Builds the learner of the `local_rank`-th process of this node, with `threads` threads.
///
/// # Errors
/// [`USAGE`] for a setting that the model or data cannot work with, [`ENVIRONMENT`] for files and
/// devices.
pub fn build_learner(
    config: &Config,
    local_rank: usize,
    threads: usize,
) -> Outcome<Box<dyn Learner>> {
    build_timed_learner(config, local_rank, threads, &DataClock::default())
}

/// [`build_learner`] whose waiting for samples `clock` counts.
///
/// # Errors
/// As [`build_learner`].
pub fn build_timed_learner(
    config: &Config,
    local_rank: usize,
    threads: usize,
    clock: &DataClock,
) -> Outcome<Box<dyn Learner>> {
    if let Some(problem) = config.convex_problem() {
        let problem = ConvexProblem::new(&problem).map_err(|error| failure(&error))?;
        return Ok(Box::new(problem));
    }
    if let Some(problem) = config.mlp() {
        let problem = Mlp::new(&problem).map_err(|error| failure(&error))?;
        return Ok(Box::new(problem));
    }
    let torch = TorchConfig {
        clock: clock.clone(),
        ..torch_config(config, local_rank, threads)?
    };
    match (config.model.architecture.kind(), config.torch_model()) {
        (ModelKind::Gpt2, _) => from_tokens(config, torch),
        (ModelKind::TorchScript, _) => from_arrays(config, &torch),
        (_, Some(model)) => from_images(config, model, torch),
        _ => Err(Failure::new(
            crate::exit::BUG,
            "a model that is neither convex nor a network",
        )),
    }
}

/// What every learner over libtorch is made from.
fn torch_config(config: &Config, local_rank: usize, threads: usize) -> Outcome<TorchConfig> {
    let device = torch_models::device(&config.compute.device, local_rank)
        .map_err(|error| Failure::environment("choose a device", &error))?;
    Ok(TorchConfig {
        partitions: config.partitions,
        batch: config.data.batch as usize,
        seed: config.seed,
        device,
        precision: match config.model.precision {
            values::Precision::F32 => Precision::F32,
            values::Precision::Bf16 => Precision::Bf16,
        },
        threads,
        loader_threads: config.data.loader_threads,
        evaluation_samples: config.evaluation.images,
        weights: config.model.weights.clone(),
        tolerance: Tolerance {
            ignore_head: config.model.ignore_head,
            partial: config.model.partial_weights,
        },
        clock: DataClock::default(),
    })
}

fn from_tokens(config: &Config, torch: TorchConfig) -> Outcome<Box<dyn Learner>> {
    let vocabulary = config.vocabulary()?;
    let Some(model) = config.gpt2(vocabulary) else {
        return Err(Failure::new(
            crate::exit::BUG,
            "a language model that is none",
        ));
    };
    let open = |path: &Path| {
        TokenFile::open(path).map_err(|error| {
            Failure::environment("open the tokens", &error).hint(
                "paths are relative to the working directory; `gradcode data tokenize` makes token files",
            )
        })
    };
    let train = open(config.training_tokens()?)?;
    let validation = config.data.validation_tokens.as_deref();
    let validation = validation.map(open).transpose()?;
    let language = LanguageConfig {
        model,
        length: config.data.length.unwrap_or(model.context),
        phases: config.data.augment != Augment::None,
        torch,
    };
    language_model::build(&language, train, validation).map_err(|error| failure(&error))
}

fn from_arrays(config: &Config, torch: &TorchConfig) -> Outcome<Box<dyn Learner>> {
    let data = &config.data;
    torch_models::build_scripted(
        torch,
        config.script()?,
        config.training_arrays()?,
        data.validation_arrays.as_deref(),
        &data.arrays,
    )
    .map_err(|error| failure(&error))
}

fn from_images(
    config: &Config,
    model: ModelConfig,
    torch: TorchConfig,
) -> Outcome<Box<dyn Learner>> {
    let images = ImageConfig {
        model,
        classes: config.model.classes.map(|classes| classes as usize),
        augment: config.recipe(),
        cache_bytes: config.data.cache_mb << 20,
        torch,
    };
    let learner = match config.training_images()? {
        Images::Folder(train) => {
            let open = |path: &Path| {
                let folder = ImageFolder::open(path).map(Arc::new);
                folder.map_err(|error| {
                    Failure::environment("open the image folder", &error).hint(
                        "paths are relative to the working directory; `gradcode data synth --folders` \
                         makes a small set",
                    )
                })
            };
            let validation = config.data.validation_folder.as_deref();
            single_label::build(&images, open(train)?, validation.map(open).transpose()?)
        }
        Images::Coco(train) => {
            let open = |paths| open(paths, config.labels());
            let validation = config.data.validation.as_ref();
            torch_models::build(&images, open(train)?, validation.map(open).transpose()?)
        }
    };
    learner.map_err(|error| failure(&error))
}

/// What turns the learner's gradients into messages, as `config` compresses them. `rebuild` makes
/// the learner anew after a panic.
pub fn build_engine(
    config: &Config,
    learner: Box<dyn Learner>,
    rebuild: impl Fn(&Config) -> Outcome<Box<dyn Learner>> + Send + 'static,
) -> Engine {
    let again = config.clone();
    let mut engine = Engine::new(learner, config.preset(), config.seed)
        .with_generator(config.generator())
        .with_shrink(config.codec.shrink)
        .with_faults(config.faults())
        .with_rebuild(Box::new(move || {
            rebuild(&again).map_err(|failure| failure.to_string())
        }));
    if config.encodes_on_model() {
        engine = engine.with_resident_gradients();
    }
    match config.error_feedback() {
        Some(feedback) => {
            engine.with_error_feedback(feedback, config.learning_rate_schedule(), config.iterations)
        }
        None => engine,
    }
}

/// The device on which the master adds up what it receives, that of its own model; `None` for the CPU's
/// loops.
pub fn device_sums(config: &Config, learner: &dyn Learner) -> Option<Box<dyn Sums>> {
    learner
        .sums()
        .filter(|sums| match config.codec.decode_device {
            CodecDevice::Auto => sums.device() != "cpu",
            CodecDevice::Cpu => false,
            CodecDevice::Model => true,
        })
}

/// The set that models are evaluated on: the held-out one, or the training set where there is none.
///
/// # Errors
/// [`USAGE`] when no data set is configured, [`ENVIRONMENT`] when it cannot be read.
pub fn held_out(config: &Config) -> Outcome<Arc<Dataset>> {
    let paths = match &config.data.validation {
        Some(paths) => paths,
        None => config.training_data()?,
    };
    open(paths, config.labels())
}

/// Computing threads of a rank: as configured, or its share of the CPUs that this process may use.
pub fn threads(config: &Config, ranks_on_node: usize) -> usize {
    if config.compute.threads > 0 {
        return config.compute.threads;
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    (cpus / ranks_on_node.max(1)).max(1)
}

fn open(paths: &CocoPaths, labels: Labels) -> Outcome<Arc<Dataset>> {
    let missing = |path: &Path| !path.exists();
    if missing(&paths.annotations) || missing(&paths.images) {
        let path = if missing(&paths.annotations) {
            &paths.annotations
        } else {
            &paths.images
        };
        return Err(Failure::new(
            ENVIRONMENT,
            format!("{} does not exist", path.display()),
        )
        .hint("paths are relative to the working directory; `gradcode data synth` makes a small set"));
    }
    Dataset::open(&paths.annotations, &paths.images)
        .and_then(|data| data.with_labels(labels))
        .map(Arc::new)
        .map_err(|error| Failure::environment("open the data set", &error))
}

fn failure(error: &LearnerError) -> Failure {
    let code = match error {
        LearnerError::Setting { .. } => USAGE,
        _ => ENVIRONMENT,
    };
    Failure::new(code, format!("failed to set up the model: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use coco::synth::{SynthConfig, generate};

    /// Plans need no images, and training must then have the very size that was planned for.
    #[test]
    fn a_model_is_trained_at_the_size_it_is_planned_at() {
        let scratch = tempfile::tempdir().unwrap();
        let synth = SynthConfig {
            images: 24,
            validation: 2,
            side: 64,
            threads: 1,
            ..SynthConfig::default()
        };
        let made = generate(&scratch.path().join("shapes"), &synth).unwrap();
        let load = |set: &[&str]| {
            let mut sources = Sources {
                experiment: concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/../../configs/coco-mobilenetv3.toml"
                )
                .into(),
                ..Sources::default()
            };
            sources.set = [
                ("train_annotations", &made.train_annotations),
                ("train_images", &made.train_images),
                ("validation_annotations", &made.validation_annotations),
                ("validation_images", &made.validation_images),
            ]
            .map(|(key, path)| format!("data.{key}={}", path.display()))
            .to_vec();
            sources.set.extend(set.iter().map(|s| (*s).to_owned()));
            sources.load().unwrap().config
        };
        let coco = load(&[]);
        assert_eq!(coco.dimension().unwrap(), 3_440_060);
        assert_eq!(
            build_learner(&coco, 0, 1).unwrap().dimension(),
            3_440_060,
            "as in torchvision"
        );
        for set in [
            &["model.kind=tiny-ssd", "model.width=8", "model.side=64"][..],
            &["model.kind=tiny-ssd", "model.width=8", "model.labels=dense"],
            &["model.kind=cnn", "model.width=8", "model.side=32"],
        ] {
            let config = load(set);
            let planned = config.dimension().unwrap();
            let trained = build_learner(&config, 0, 1).unwrap().dimension();
            assert_eq!(trained, planned, "{set:?}");
        }
        let refused = build_learner(&load(&["model.classes=4"]), 0, 1)
            .err()
            .unwrap();
        assert_eq!(refused.code, USAGE);
        assert!(
            refused.message.contains("model.classes = 4") && refused.message.contains("at least 6"),
            "{}",
            refused.message
        );
    }
}
