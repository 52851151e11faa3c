//! From a configuration to the model and data that a rank computes with.

use std::path::Path;
use std::sync::Arc;

use coco::Dataset;
use learner::convex::ConvexProblem;
use learner::{Learner, LearnerError};
use torch_models::TorchConfig;

use crate::config::Config;
use crate::config::settings::CocoPaths;
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
    if let Some(problem) = config.convex_problem() {
        let problem = ConvexProblem::new(&problem).map_err(|error| failure(&error))?;
        return Ok(Box::new(problem));
    }
    let Some(model) = config.torch_model() else {
        return Err(Failure::new(
            crate::exit::BUG,
            "a model that is neither convex nor a network",
        ));
    };
    let device = torch_models::device(&config.compute.device, local_rank)
        .map_err(|error| Failure::environment("choose a device", &error))?;
    let train = open(config.training_data()?)?;
    let validation = config.data.validation.as_ref().map(open).transpose()?;
    let torch = TorchConfig {
        model,
        partitions: config.partitions,
        batch: config.data.batch as usize,
        seed: config.seed,
        device,
        threads,
        augment: config.data.augment,
        cache_bytes: config.data.cache_mb << 20,
        loader_threads: config.data.loader_threads,
        evaluation_images: config.evaluation.images,
        weights: config.model.weights.clone(),
    };
    torch_models::build(&torch, train, validation).map_err(|error| failure(&error))
}

/// Computing threads of a rank: as configured, or its share of the CPUs that this process may use.
pub fn threads(config: &Config, ranks_on_node: usize) -> usize {
    if config.compute.threads > 0 {
        return config.compute.threads;
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    (cpus / ranks_on_node.max(1)).max(1)
}

fn open(paths: &CocoPaths) -> Outcome<Arc<Dataset>> {
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
