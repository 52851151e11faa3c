//! What is trained, and on what, in the terms of the learning crates.

use std::path::Path;

use learner::convex::{ConvexConfig, Objective};
use learner::mlp::{DigitSource, IdxPaths, MlpConfig, MlpLoss};
use tokens::TokenFile;
use torch_models::ModelConfig;
use torch_models::augment::Recipe;
use torch_models::layers::NormKind;
use torch_models::models::gpt2::Gpt2Config;
use torch_models::models::resnet::{self, Depth};

use super::error::ConfigError;
use super::settings::{Architecture, CocoPaths, Config, Gpt2};
use super::values::{Augment, Labels, Loss, Norm, Stem};

/// Where images are learned from.
pub enum Images<'a> {
    /// Images with annotations.
    Coco(&'a CocoPaths),
    /// A directory per class.
    Folder(&'a Path),
}

impl Config {
    /// The training images, of whatever kind.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] when the configuration names none.
    pub fn training_images(&self) -> Result<Images<'_>, ConfigError> {
        match &self.data.train_folder {
            Some(folder) => Ok(Images::Folder(folder)),
            None => self.training_data().map(Images::Coco),
        }
    }

    /// The training set of a model that learns from files.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] when the configuration names none.
    pub fn training_data(&self) -> Result<&CocoPaths, ConfigError> {
        self.data
            .train
            .as_ref()
            .ok_or_else(|| ConfigError::Missing {
                key: "data.train_annotations".into(),
                valid: format!(
                    "{} learns from images: set data.train_annotations and data.train_images{} \
                     (`gradcode data synth` makes a small set)",
                    self.model.architecture.kind(),
                    match self.model.architecture.classifies_images() {
                        true => ", or data.train_folder",
                        false => "",
                    }
                ),
            })
    }

    /// The token file that a language model learns from.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] when the configuration names none.
    pub fn training_tokens(&self) -> Result<&Path, ConfigError> {
        let tokens = self.data.train_tokens.as_deref();
        tokens.ok_or_else(|| ConfigError::Missing {
            key: "data.train_tokens".into(),
            valid: format!(
                "{} learns from a file of tokens: set data.train_tokens (`gradcode data tokenize` makes one from text)",
                self.model.architecture.kind()
            ),
        })
    }

    /// Different tokens of a language model: `model.vocab`, else what the JSON beside the training
    /// tokens says.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] when neither says anything, [`ConfigError::Plan`] for a JSON file that
    /// cannot be read.
    pub fn vocabulary(&self) -> Result<u32, ConfigError> {
        if let Architecture::Gpt2(Gpt2 {
            vocab: Some(vocabulary),
            ..
        }) = self.model.architecture
        {
            return Ok(vocabulary);
        }
        let path = self.training_tokens()?;
        let sidecar = TokenFile::read_sidecar(path)
            .map_err(|error| self.refused(error, &["data.train_tokens"]))?;
        let missing = || ConfigError::Missing {
            key: "model.vocab".into(),
            valid: format!(
                "the number of different tokens; there is no {} that says it",
                path.with_extension("json").display()
            ),
        };
        sidecar
            .map(|sidecar| sidecar.vocabulary)
            .ok_or_else(missing)
    }

    /// Whether every file that the model cannot do without is named.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn names_its_files(&self) -> Result<(), ConfigError> {
        let architecture = &self.model.architecture;
        match architecture {
            Architecture::Gpt2(_) => self.training_tokens().map(drop),
            Architecture::TorchScript => self.script().and(self.training_arrays()).map(drop),
            _ if architecture.needs_files() => self.training_images().map(drop),
            _ => Ok(()),
        }
    }

    /// How the data sets' category ids become labels.
    pub fn labels(&self) -> coco::Labels {
        match self.model.labels {
            Labels::Dense => coco::Labels::Dense,
            Labels::Raw => coco::Labels::Raw,
        }
    }

    /// How training images are changed.
    pub fn recipe(&self) -> Recipe {
        match self.data.augment {
            Augment::None => Recipe::None,
            Augment::Default => Recipe::FlipAndTone,
            Augment::Flip => Recipe::Flip,
            Augment::Ssd => Recipe::Ssd,
            Augment::SsdLite => Recipe::SsdLite,
        }
    }

    /// The language model of a vocabulary.
    pub fn gpt2(&self, vocabulary: u32) -> Option<Gpt2Config> {
        let Architecture::Gpt2(sizes) = self.model.architecture else {
            return None;
        };
        Some(Gpt2Config {
            layers: sizes.layers,
            heads: sizes.heads,
            width: sizes.width,
            context: sizes.context,
            vocabulary,
        })
    }

    /// The network, for models that see images.
    pub fn torch_model(&self) -> Option<ModelConfig> {
        match self.model.architecture {
            Architecture::TinySsd { width, side } => Some(ModelConfig::TinySsd { width, side }),
            Architecture::SsdLite { side, norm } => Some(ModelConfig::SsdLite {
                side,
                norm: norm_kind(norm),
            }),
            Architecture::Cnn { width, side } => Some(ModelConfig::Cnn { width, side }),
            Architecture::ResNet18 { side, norm, stem } => {
                Some(resnet(Depth::Eighteen, side, norm, stem))
            }
            Architecture::ResNet50 { side, norm, stem } => {
                Some(resnet(Depth::Fifty, side, norm, stem))
            }
            Architecture::LeastSquares { .. }
            | Architecture::LogisticRegression { .. }
            | Architecture::Mlp { .. }
            | Architecture::Gpt2(_)
            | Architecture::TorchScript => None,
        }
    }

    /// The TorchScript file.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] when the configuration names none.
    pub fn script(&self) -> Result<&Path, ConfigError> {
        let file = self.model.file.as_deref();
        file.ok_or_else(|| ConfigError::Missing {
            key: "model.file".into(),
            valid: "the TorchScript file of model.kind = \"torchscript\"; torch.jit.script(model).save(...) \
                    writes one"
                .into(),
        })
    }

    /// The arrays that a TorchScript model learns from.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] when the configuration names none.
    pub fn training_arrays(&self) -> Result<&Path, ConfigError> {
        let arrays = self.data.train_arrays.as_deref();
        arrays.ok_or_else(|| ConfigError::Missing {
            key: "data.train_arrays".into(),
            valid: "a .safetensors, .npz or HDF5 file, or a directory of .npy files, with a row per sample in \
                    every array"
                .into(),
        })
    }

    /// The problem, for the convex models.
    pub fn convex_problem(&self) -> Option<ConvexConfig> {
        let (objective, dimension) = match self.model.architecture {
            Architecture::LeastSquares { dimension } => (Objective::LeastSquares, dimension),
            Architecture::LogisticRegression { dimension } => {
                (Objective::LogisticRegression, dimension)
            }
            _ => return None,
        };
        Some(ConvexConfig {
            objective,
            dimension,
            samples: self.data.samples,
            partitions: self.partitions,
            batch: self.data.batch as usize,
            noise: self.data.noise,
            feature_sd: self.data.feature_sd,
            initial_sd: self.data.initial_sd,
            l2: self.model.l2,
            seed: self.seed,
        })
    }

    /// The perceptron, for `model.kind = "mlp"`: on IDX files where `[data]` names them, on synthetic
    /// digits otherwise.
    pub fn mlp(&self) -> Option<MlpConfig> {
        let Architecture::Mlp { hidden, loss } = self.model.architecture else {
            return None;
        };
        let idx = |paths: &CocoPaths| IdxPaths {
            images: paths.images.clone(),
            labels: paths.annotations.clone(),
        };
        Some(MlpConfig {
            hidden,
            loss: match loss {
                Loss::CrossEntropy => MlpLoss::CrossEntropy,
                Loss::SquaredError => MlpLoss::SquaredError,
            },
            digits: match &self.data.train {
                Some(training) => DigitSource::Idx {
                    training: idx(training),
                    held_out: self.data.validation.as_ref().map(idx),
                },
                None => DigitSource::Synthetic {
                    samples: self.data.samples,
                    noise: self.data.noise,
                },
            },
            partitions: self.partitions,
            batch: self.data.batch as usize,
            evaluation: self.evaluation.images,
            seed: self.seed,
        })
    }
}

fn norm_kind(norm: Norm) -> NormKind {
    match norm {
        Norm::Group => NormKind::Group,
        Norm::Batch => NormKind::Batch,
        Norm::Frozen => NormKind::Frozen,
    }
}

fn resnet(depth: Depth, side: u32, norm: Norm, stem: Stem) -> ModelConfig {
    ModelConfig::ResNet {
        depth,
        stem: match stem {
            Stem::Standard => resnet::Stem::Standard,
            Stem::Small => resnet::Stem::Small,
        },
        side,
        norm: norm_kind(norm),
    }
}
