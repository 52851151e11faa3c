//! Classification with one label per image, on image folders: cross-entropy, top-1 and top-5
//! accuracy.

use std::sync::Arc;

use coco::{ImageFolder, Photo, PhotoCache};
use learner::{Learner, LearnerError, Metric};
use tch::{Kind, Reduction, Tensor};

use crate::augment::Recipe;
use crate::config::{ImageConfig, Network, check_norm};
use crate::crop::Crop;
use crate::data::TrainingData;
use crate::engine::{Task, TorchLearner};
use crate::error::TorchError;
use crate::images::{ImageInput, to_device};
use crate::layers::Mode;
use crate::losses::{to_host, weigh};
use crate::models::ClassificationModel;
use crate::source::Source;
use crate::store::Store;

/// Decoded images of a folder.
impl Source for PhotoCache {
    type Item = Photo;

    fn len(&self) -> usize {
        self.folder().len()
    }

    fn get(&self, index: u32) -> Result<Arc<Photo>, LearnerError> {
        Ok(PhotoCache::get(self, index as usize)?)
    }
}

/// A classification network that learns one label per image.
pub struct SingleLabel {
    input: ImageInput,
    model: Box<dyn ClassificationModel>,
}

/// Images and their classes, ready for a pass.
pub struct LabelledBatch {
    /// `[N, 3, side, side]`, f32, normalized as the network wants it, on the computing device.
    pub images: Tensor,
    /// `[N]`, i64, from 0, on the computing device.
    pub classes: Tensor,
}

/// How often the right class was among the highest scores.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hits {
    images: u64,
    first: u64,
    in_five: u64,
}

impl SingleLabel {
    /// A classifier with as many outputs as there are classes, or more.
    pub fn new(input: ImageInput, model: Box<dyn ClassificationModel>) -> Self {
        Self { input, model }
    }

    /// Cross-entropy of every image, `[N]`.
    fn losses(logits: &Tensor, classes: &Tensor) -> Result<Tensor, TorchError> {
        let nothing = None::<&Tensor>;
        Ok(logits.f_cross_entropy_loss(classes, nothing, Reduction::None, -100, 0.0)?)
    }
}

impl Task for SingleLabel {
    type Source = PhotoCache;
    type Batch = LabelledBatch;
    type Evaluation = Hits;

    fn assemble(
        &self,
        samples: &[(u32, Arc<Photo>)],
        iteration: Option<u64>,
    ) -> Result<LabelledBatch, TorchError> {
        let ImageInput {
            side,
            device,
            seed,
            augment,
            ..
        } = self.input;
        let pixels = side as usize * side as usize;
        let mut planes = vec![0u8; samples.len() * 3 * pixels];
        for ((place, photo), planes) in samples.iter().zip(planes.chunks_exact_mut(3 * pixels)) {
            let (width, height) = (photo.width, photo.height);
            let crop = match iteration {
                Some(iteration) if augment != Recipe::None => {
                    Crop::draw(seed, iteration, u64::from(*place), width, height)
                }
                _ => Crop::central(width, height),
            };
            crop.pixels(photo, side, planes)?;
        }
        let classes: Vec<i64> = samples.iter().map(|(_, p)| i64::from(p.class)).collect();
        let images = to_device(&planes, i64::from(side), device)?;
        Ok(LabelledBatch {
            images: self.model.pixel_statistics().normalize(&images)?,
            classes: Tensor::f_from_slice(&classes)?.f_to_device(device)?,
        })
    }

    fn weighted_loss(
        &self,
        batch: &LabelledBatch,
        weights: &[f64],
    ) -> Result<(Tensor, Vec<f64>), TorchError> {
        let logits = self
            .input
            .scores(&*self.model, &batch.images, Mode::Train)?;
        let losses = Self::losses(&logits, &batch.classes)?;
        weigh(&losses, weights)
    }

    fn calibrate(&self, batch: &LabelledBatch, momentum: f64) -> Result<(), TorchError> {
        let _logits = self
            .input
            .scores(&*self.model, &batch.images, Mode::Calibrate(momentum))?;
        Ok(())
    }

    fn is_per_sample(&self) -> bool {
        self.model.is_per_sample()
    }

    fn samples_per_pass(&self) -> usize {
        self.input.images_per_pass()
    }

    fn observe(
        &self,
        evaluation: &mut Hits,
        batch: &LabelledBatch,
        places: &[u32],
    ) -> Result<Vec<f64>, TorchError> {
        let logits = self
            .input
            .scores(&*self.model, &batch.images, Mode::Evaluate)?;
        // How many scores are at least the right one's: itself, and equal ones count against it.
        let right = logits.f_gather(1, &batch.classes.f_unsqueeze(1)?, false)?;
        let ranks = logits
            .f_ge_tensor(&right)?
            .f_sum_dim_intlist(1i64, false, Kind::Int64)?;
        for rank in Vec::<i64>::try_from(ranks)? {
            evaluation.first += u64::from(rank == 1);
            evaluation.in_five += u64::from(rank <= 5);
        }
        evaluation.images += places.len() as u64;
        to_host(&Self::losses(&logits, &batch.classes)?)
    }

    fn metrics(&self, evaluation: Hits, _: &PhotoCache) -> Result<Vec<Metric>, LearnerError> {
        let share = |count: u64| count as f64 / evaluation.images as f64;
        Ok(vec![
            Metric::new("top1", share(evaluation.first)),
            Metric::new("top5", share(evaluation.in_five)),
        ])
    }
}

/// Builds a classifier that learns the images in `train` and is evaluated on `validation` (on the
/// training images where there is none). Its outputs are the folder's classes, or
/// `config.classes` of them: there is no background.
///
/// # Errors
/// [`LearnerError::Setting`] for a configuration that cannot work, naming its key;
/// [`LearnerError::Data`] for a weights file that does not fit; [`LearnerError::Backend`] when
/// libtorch fails.
pub fn build(
    config: &ImageConfig,
    train: Arc<ImageFolder>,
    validation: Option<Arc<ImageFolder>>,
) -> Result<Box<dyn Learner>, LearnerError> {
    config.model.check_side()?;
    if let Some(held_out) = &validation
        && held_out.classes() != train.classes()
    {
        let odd = |one: &ImageFolder, other: &ImageFolder| {
            let mut names = one.classes().iter();
            names.find(|name| !other.classes().contains(name)).cloned()
        };
        let odd = odd(held_out, &train).or_else(|| odd(&train, held_out));
        return Err(LearnerError::setting(
            "data.validation_folder",
            held_out.root().display(),
            format!(
                "the directories of {} ({}); only one of both has {}",
                train.root().display(),
                train.classes().len(),
                odd.unwrap_or_default()
            ),
        ));
    }
    let needed = train.classes().len();
    let outputs = config.classes.unwrap_or(needed);
    if outputs < needed {
        return Err(LearnerError::setting(
            "model.classes",
            outputs,
            format!(
                "at least {needed}, the directories of {}",
                train.root().display()
            ),
        ));
    }
    let torch = &config.torch;
    tch::set_num_threads(torch.threads.max(1) as i32);
    let cache = |folder| Arc::new(PhotoCache::new(folder, config.cache_bytes));
    let data = TrainingData::new(
        cache(train),
        torch.partitions,
        torch.batch,
        torch.seed,
        torch.loader_threads,
    )?;
    let store = Store::new(torch.device);
    let name = config.model.name();
    // The configuration counts a background, which no classifier has.
    let Network::Classifier(model) = config.model.network(&store, outputs + 1)? else {
        return Err(LearnerError::setting(
            "data.train_folder",
            data.source().folder().root().display(),
            format!(
                "annotations for {name}, which finds objects; resnet50, resnet18 and cnn classify images"
            ),
        ));
    };
    if let Some(norm) = config.model.norm() {
        check_norm(norm, torch, data.smallest_minibatch())?;
    }
    let task = SingleLabel::new(ImageInput::new(config), model);
    let validation = validation.map(cache);
    let learner = TorchLearner::new(task, name, store, torch, data, validation)?;
    Ok(Box::new(learner))
}
