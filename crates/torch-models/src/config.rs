//! What to build.

use std::path::PathBuf;
use std::sync::Arc;

use coco::{Dataset, SampleCache};
use learner::{Learner, LearnerError};
use tch::Device;

use crate::augment::Recipe;
use crate::classifier::Classifier;
use crate::data::TrainingData;
use crate::data_clock::DataClock;
use crate::detector::Detector;
use crate::engine::TorchLearner;
use crate::error::TorchError;
use crate::images::ImageInput;
use crate::layers::NormKind;
use crate::models::cnn::Cnn;
use crate::models::resnet::{Depth, ResNet, Stem};
use crate::models::ssdlite::SsdLite;
use crate::models::tiny_ssd::TinySsd;
use crate::models::{ClassificationModel, DetectionModel};
use crate::precision::Precision;
use crate::store::Store;
use crate::weights::Tolerance;

/// A network and its size. `side` is the side of the square input in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelConfig {
    /// [`TinySsd`] of a base width; `side` must be a multiple of 32.
    TinySsd {
        /// Base width, even.
        width: u32,
        /// Input side.
        side: u32,
    },
    /// [`SsdLite`] on MobileNetV3-Large.
    SsdLite {
        /// Input side, at least 32.
        side: u32,
        /// Normalization; [`NormKind::Frozen`] needs a weights file.
        norm: NormKind,
    },
    /// [`Cnn`] of a base width, which says which categories are in the image.
    Cnn {
        /// Base width.
        width: u32,
        /// Input side, at least 16.
        side: u32,
    },
    /// [`ResNet`], which says which categories are in the image.
    ResNet {
        /// ResNet-18 or ResNet-50.
        depth: Depth,
        /// What comes before the first stage.
        stem: Stem,
        /// Input side, at least 32 (16 with the small stem).
        side: u32,
        /// Normalization; [`NormKind::Frozen`] needs a weights file.
        norm: NormKind,
    },
}

/// A network by what it is for.
pub(crate) enum Network {
    /// Finds objects.
    Detector(Box<dyn DetectionModel>),
    /// Says which categories are there.
    Classifier(Box<dyn ClassificationModel>),
}

impl ModelConfig {
    /// TinySSD as the quickstart uses it: width 24, 128 pixels.
    pub const QUICKSTART: Self = Self::TinySsd {
        width: 24,
        side: 128,
    };

    /// Side of the square input in pixels.
    pub fn side(&self) -> u32 {
        match *self {
            Self::TinySsd { side, .. }
            | Self::SsdLite { side, .. }
            | Self::Cnn { side, .. }
            | Self::ResNet { side, .. } => side,
        }
    }

    /// The normalization, where it is to be chosen.
    pub(crate) fn norm(&self) -> Option<NormKind> {
        match *self {
            Self::SsdLite { norm, .. } | Self::ResNet { norm, .. } => Some(norm),
            Self::TinySsd { .. } | Self::Cnn { .. } => None,
        }
    }

    /// Trainable parameters of the network that tells `classes` apart, the background included; it is
    /// built, not filled.
    ///
    /// # Errors
    /// When libtorch fails, or the network has no such size.
    pub fn parameters(&self, classes: usize) -> Result<usize, TorchError> {
        let store = Store::new(Device::Cpu);
        self.network(&store, classes)?;
        let (parameters, _) = store.into_parts();
        Ok(parameters.iter().map(|one| one.tensor.numel()).sum())
    }

    /// Registers the network's tensors in `store`; it tells `classes` apart, the background included.
    pub(crate) fn network(&self, store: &Store, classes: usize) -> Result<Network, TorchError> {
        let (root, outputs) = (store.root(), classes as i64);
        Ok(match *self {
            Self::TinySsd { width, .. } => {
                Network::Detector(Box::new(TinySsd::new(&root, i64::from(width), outputs)?))
            }
            Self::SsdLite { norm, .. } => {
                Network::Detector(Box::new(SsdLite::new(&root, outputs, norm)?))
            }
            // A classifier has no background.
            Self::Cnn { width, .. } => {
                let model = Cnn::new(&root, i64::from(width), outputs - 1)?;
                Network::Classifier(Box::new(model))
            }
            Self::ResNet {
                depth, stem, norm, ..
            } => {
                let model = ResNet::new(&root, depth, stem, norm, outputs - 1)?;
                Network::Classifier(Box::new(model))
            }
        })
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::TinySsd { width, side } => format!("tiny-ssd width {width}, {side} px"),
            Self::SsdLite { side, norm } => {
                let norm = format!("{norm:?}").to_lowercase();
                format!("ssdlite mobilenet-v3-large, {norm} norm, {side} px")
            }
            Self::Cnn { width, side } => format!("cnn width {width}, {side} px"),
            Self::ResNet {
                depth,
                stem,
                side,
                norm,
            } => {
                let stem = match stem {
                    Stem::Standard => "",
                    Stem::Small => "small stem, ",
                };
                let norm = format!("{norm:?}").to_lowercase();
                format!("resnet{}, {stem}{norm} norm, {side} px", depth.layers())
            }
        }
    }

    pub(crate) fn check_side(&self) -> Result<(), LearnerError> {
        let (valid, rule) = match *self {
            Self::TinySsd { side, .. } => (side > 0 && side % 32 == 0, "a positive multiple of 32"),
            Self::SsdLite { side, .. } => (side >= 32, "at least 32"),
            Self::ResNet {
                side,
                stem: Stem::Standard,
                ..
            } => (side >= 32, "at least 32"),
            Self::Cnn { side, .. } | Self::ResNet { side, .. } => (side >= 16, "at least 16"),
        };
        if valid && self.side() <= 4096 {
            return Ok(());
        }
        let rule = format!("{rule}, at most 4096");
        Err(LearnerError::setting("model.side", self.side(), rule))
    }
}

/// What every learner over libtorch is made from, besides its network and data.
#[derive(Clone, Debug)]
pub struct TorchConfig {
    /// Number of data partitions, `n`.
    pub partitions: usize,
    /// Samples per partition and iteration; 0 for whole partitions.
    pub batch: usize,
    /// Run seed: initial parameters, partitions, minibatches and random changes follow from it.
    pub seed: u64,
    /// Where to compute; see [`crate::device()`].
    pub device: Device,
    /// What networks multiply in.
    pub precision: Precision,
    /// libtorch's threads. Ranks that share cores must not have more threads than cores in total.
    pub threads: usize,
    /// Threads that read samples beside the compute; 1 is plenty for a CPU rank.
    pub loader_threads: usize,
    /// Held-out samples per evaluation; 0 for all.
    pub evaluation_samples: usize,
    /// A weights file to start from; see [`crate::weights::load`].
    pub weights: Option<PathBuf>,
    /// How it may differ from the model.
    pub tolerance: Tolerance,
    /// Counts the time that samples were waited for.
    pub clock: DataClock,
}

impl Default for TorchConfig {
    fn default() -> Self {
        Self {
            partitions: 1,
            batch: 8,
            seed: 1,
            device: Device::Cpu,
            precision: Precision::F32,
            threads: 1,
            loader_threads: 1,
            evaluation_samples: 0,
            weights: None,
            tolerance: Tolerance::default(),
            clock: DataClock::default(),
        }
    }
}

/// What a learner from images is made from, besides the images.
#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// The network.
    pub model: ModelConfig,
    /// Classes that the network tells apart, the background included; `None` for as many as the
    /// data set's labels need. More than these are outputs that nothing is learned for.
    pub classes: Option<usize>,
    /// How training images are changed at random.
    pub augment: Recipe,
    /// Decoded images kept in memory, training and held-out each, in bytes.
    pub cache_bytes: u64,
    /// What does not depend on images.
    pub torch: TorchConfig,
}

impl Default for ImageConfig {
    fn default() -> Self {
        Self {
            model: ModelConfig::QUICKSTART,
            classes: None,
            augment: Recipe::None,
            cache_bytes: 1 << 30,
            torch: TorchConfig::default(),
        }
    }
}

/// Builds a learner that trains on `train` and is evaluated on `validation` (on the training
/// images where there is none).
///
/// # Errors
/// [`LearnerError::Setting`] for a configuration that cannot work, naming its key;
/// [`LearnerError::Data`] for a weights file or data set that does not fit;
/// [`LearnerError::Backend`] when libtorch fails.
pub fn build(
    config: &ImageConfig,
    train: Arc<Dataset>,
    validation: Option<Arc<Dataset>>,
) -> Result<Box<dyn Learner>, LearnerError> {
    config.model.check_side()?;
    if let Some(held_out) = &validation {
        let names = |set: &Dataset| -> Vec<_> {
            let ids = set.categories.iter().map(|c| c.id);
            ids.map(|id| (id, set.label(id))).collect()
        };
        if names(held_out) != names(&train) {
            return Err(LearnerError::setting(
                "data.validation_annotations",
                format!("{} categories", held_out.categories.len()),
                format!(
                    "the category ids and labels of the training annotations ({})",
                    train.categories.len()
                ),
            ));
        }
    }
    let torch = &config.torch;
    tch::set_num_threads(torch.threads.max(1) as i32);
    let (input, classes) = (ImageInput::new(config), classes(config, &train)?);
    let cache = |set, side| Arc::new(SampleCache::new(set, side, config.cache_bytes));
    // Crops are cut from the image's own pixels.
    let train = cache(train, (!config.augment.crops()).then_some(input.side));
    let validation = validation.map(|set| cache(set, Some(input.side)));
    let data = TrainingData::new(
        train.clone(),
        torch.partitions,
        torch.batch,
        torch.seed,
        torch.loader_threads,
    )?;
    if let Some(norm) = config.model.norm() {
        check_norm(norm, torch, data.smallest_minibatch())?;
    }
    let store = Store::new(torch.device);
    let name = config.model.name();
    match config.model.network(&store, classes)? {
        Network::Detector(model) => {
            let task = Detector::new(model, input, &data)?;
            let learner = TorchLearner::new(task, name, store, torch, data, validation)?;
            Ok(Box::new(learner))
        }
        Network::Classifier(model) => {
            let occurs = (1..classes as i64).map(|label| train.dataset().category(label).is_some());
            let task = Classifier::new(input, model, occurs.collect());
            let learner = TorchLearner::new(task, name, store, torch, data, validation)?;
            Ok(Box::new(learner))
        }
    }
}

/// The classes of the network, the background included.
fn classes(config: &ImageConfig, train: &Dataset) -> Result<usize, LearnerError> {
    let needed = train.classes();
    match config.classes {
        Some(classes) if classes < needed => Err(LearnerError::setting(
            "model.classes",
            classes,
            format!(
                "at least {needed}, the background and labels up to {} of the training annotations",
                needed - 1
            ),
        )),
        classes => Ok(classes.unwrap_or(needed)),
    }
}

/// Whether `norm` can work with minibatches of no fewer than `smallest` samples.
pub(crate) fn check_norm(
    norm: NormKind,
    config: &TorchConfig,
    smallest: usize,
) -> Result<(), LearnerError> {
    match norm {
        NormKind::Batch if smallest < 2 => Err(LearnerError::setting(
            "data.batch",
            smallest,
            "at least 2 images per partition where batch norm trains, since its last maps have \
             one pixel; or model.norm = \"group\"",
        )),
        NormKind::Frozen if config.weights.is_none() => Err(LearnerError::setting(
            "model.norm",
            "frozen",
            "\"group\" or \"batch\" without a weights file, since frozen batch norm keeps the \
             statistics of one",
        )),
        _ => Ok(()),
    }
}
