//! A trained model on disk, by whatever path a person has at hand.

use std::path::{Path, PathBuf};

use checkpoint::{Checkpoint, Store};
use cluster::Resume;
use learner::Learner;
use safetensors::{Dtype, SafeTensors};

use super::directory::RunDirectory;
use crate::config::{Config, from_text};
use crate::exit::{Causes, Failure, Outcome};

/// A trained model and the configuration that it was trained with.
#[derive(Debug)]
pub struct Trained {
    /// What tells it from others: the run directory's name, with `@N` for a checkpoint.
    pub label: String,
    /// The run directory.
    pub directory: PathBuf,
    /// As run.
    pub config: Config,
    /// Where the parameters are.
    pub weights: Weights,
}

/// Where a model's parameters are.
#[derive(Debug)]
pub enum Weights {
    /// A safetensors file, as a run leaves it at its end.
    File(PathBuf),
    /// A checkpoint.
    Checkpoint(Checkpoint),
}

impl Trained {
    /// Finds the model that `path` means: a run directory or its `run.h5` (the trained model, or the
    /// newest checkpoint where the run has not ended), a checkpoint directory (`RUN/checkpoints/300` will
    /// do), or `model.safetensors` in a run directory.
    ///
    /// # Errors
    /// [`crate::exit::USAGE`] when there is no model at `path`, [`crate::exit::ENVIRONMENT`] when its
    /// files cannot be read.
    pub fn open(path: &Path) -> Outcome<Self> {
        if path.join("DONE").is_file() {
            return Self::checkpoint(path);
        }
        if let Some(numbered) = numbered(path) {
            return Self::checkpoint(&numbered);
        }
        let has_extension = |wanted: &str| path.extension().is_some_and(|found| found == wanted);
        if path.is_file() && has_extension("safetensors") {
            return Self::run(parent(path), Some(path.to_owned()));
        }
        if path.is_file() && has_extension("h5") {
            return Self::run(parent(path), None);
        }
        Self::run(path, None)
    }

    fn checkpoint(path: &Path) -> Outcome<Self> {
        let refused = |error: checkpoint::CheckpointError| {
            Failure::usage(format!("failed to {}", Causes(&error)))
        };
        let checkpoint = Checkpoint::open(path).map_err(refused)?;
        let text = Resume::config(&checkpoint).map_err(refused)?;
        // RUN/checkpoints/N
        let absolute = absolute(path);
        let directory = absolute.ancestors().nth(2).unwrap_or(&absolute).to_owned();
        Ok(Self {
            label: format!("{}@{}", name(&directory), checkpoint.iteration()),
            config: from_text(&text, &path.join("config.toml"))?.config,
            directory,
            weights: Weights::Checkpoint(checkpoint),
        })
    }

    fn run(directory: &Path, file: Option<PathBuf>) -> Outcome<Self> {
        let configuration = directory.join("config.toml");
        if !configuration.is_file() {
            let failure = Failure::usage(format!("{} does not exist", configuration.display()));
            return Err(if directory.join("study.h5").is_file() {
                failure.hint("this is a study, which keeps no models: run one of its schemes alone with --scheme LABEL")
            } else {
                failure.hint(
                    "name a run directory (train and simulate leave config.toml and model.safetensors \
                     there when they end), its run.h5, or a checkpoint in it",
                )
            });
        }
        let file = file.unwrap_or_else(|| directory.join("model.safetensors"));
        let weights = if file.is_file() {
            Weights::File(file)
        } else {
            let newest = RunDirectory::checkpoints(directory)
                .newest()
                .map_err(|error| Failure::environment("read a checkpoint", &error))?;
            Weights::Checkpoint(newest.ok_or_else(|| {
                Failure::usage(format!(
                    "{} does not exist, and the run has no checkpoint",
                    file.display()
                ))
                .hint("train and simulate write it when they end")
            })?)
        };
        let toml = std::fs::read_to_string(&configuration).map_err(|error| {
            Failure::environment(format!("read {}", configuration.display()), &error)
        })?;
        let at = match &weights {
            Weights::File(_) => String::new(),
            Weights::Checkpoint(checkpoint) => format!("@{}", checkpoint.iteration()),
        };
        Ok(Self {
            label: format!("{}{at}", name(&absolute(directory))),
            config: from_text(&toml, &configuration)?.config,
            directory: directory.to_owned(),
            weights,
        })
    }

    /// The parameters in the learner's order.
    ///
    /// # Errors
    /// [`crate::exit::USAGE`] when they are not of the learner's model.
    pub fn parameters(&self, learner: &dyn Learner) -> Outcome<Vec<f32>> {
        match &self.weights {
            Weights::File(path) => from_file(path, learner),
            Weights::Checkpoint(checkpoint) => Resume::model(checkpoint, learner.dimension())
                .map_err(|error| Failure::usage(format!("failed to {}", Causes(&error)))),
        }
    }
}

/// `RUN/checkpoints/300` is short for the directory of the checkpoint after 300 iterations.
fn numbered(path: &Path) -> Option<PathBuf> {
    let iteration: u64 = path.file_name()?.to_str()?.parse().ok()?;
    let store = Store::new(path.parent()?, 1);
    let directory = store.path_of(iteration);
    (!path.exists() && directory.is_dir()).then_some(directory)
}

/// Every tensor of the model, by name and shape.
fn from_file(path: &Path, learner: &dyn Learner) -> Outcome<Vec<f32>> {
    let unfit = |what: String| Failure::usage(format!("{}: {what}", path.display()));
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::environment(format!("read {}", path.display()), &error))?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| unfit(format!("not a safetensors file: {error}")))?;
    let mut parameters = vec![0.0; learner.dimension()];
    for slot in learner.describe().slots {
        let tensor = tensors
            .tensor(&slot.name)
            .map_err(|_| unfit(format!("it lacks the model's tensor {}", slot.name)))?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != slot.shape {
            return Err(unfit(format!(
                "{} is {:?} {:?}, the model's is F32 {:?}",
                slot.name,
                tensor.dtype(),
                tensor.shape(),
                slot.shape
            )));
        }
        let target = &mut parameters[slot.offset..slot.offset + slot.len()];
        for (value, bytes) in target.iter_mut().zip(tensor.data().as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*bytes);
        }
    }
    Ok(parameters)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn name(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or(directory.as_os_str());
    name.to_string_lossy().into_owned()
}
