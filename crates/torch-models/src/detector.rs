//! Object detection as a learning task: a single-shot network, its loss, and COCO's metrics.

use std::sync::Arc;

use coco::{GroundTruth, Sample, SampleCache, average_precision};
use learner::{Evaluation, FoundObject, LearnerError, Metric};
use tch::{Kind, Tensor};

use crate::data::TrainingData;
use crate::detection::loss::{Targets, weighted_sum};
use crate::detection::matcher::match_anchors;
use crate::detection::postprocess::Detection;
use crate::engine::Task;
use crate::error::TorchError;
use crate::images::{Batch, ImageInput, Truth};
use crate::layers::Mode;
use crate::models::{DetectionModel, HeadOutputs};
use crate::single_shot::SingleShot;

/// Images over which positive anchors are counted for the normaliser.
const COUNTED_IMAGES: usize = 4096;

/// A detection network that learns.
pub struct Detector {
    input: ImageInput,
    network: SingleShot,
    positives_per_image: f64,
}

/// Detections by place of the image in the evaluated data set, in pixels of the network's input.
pub type Detections = Vec<(usize, Vec<Detection>)>;

impl Detector {
    /// A detector that takes images as `input` says.
    ///
    /// The normaliser, the mean number of positive anchors per image, is counted here from the
    /// boxes of up to 4096 images spread over the training set: the same number on every rank.
    ///
    /// # Errors
    /// [`LearnerError::Data`] when the data set is inconsistent.
    pub fn new(
        model: Box<dyn DetectionModel>,
        input: ImageInput,
        data: &TrainingData<SampleCache>,
    ) -> Result<Self, LearnerError> {
        let network = SingleShot::new(model, input.side);
        let (mut positives, mut images) = (0, 0);
        for image in data.spread(COUNTED_IMAGES) {
            let targets = data
                .source()
                .dataset()
                .targets(image as usize, input.side)?;
            positives += match_anchors(&targets.boxes, network.anchors())
                .iter()
                .flatten()
                .count();
            images += 1;
        }
        Ok(Self {
            input,
            network,
            positives_per_image: (positives as f64 / f64::from(images.max(1))).max(1.0),
        })
    }

    /// Runs the network; its outputs are f32 whatever it multiplies in.
    fn forward(&self, batch: &Batch, mode: Mode) -> Result<HeadOutputs, TorchError> {
        let ImageInput {
            precision, device, ..
        } = self.input;
        let outputs = precision.run(device, || self.network.forward(&batch.images, mode))?;
        Ok(HeadOutputs {
            logits: outputs.logits.f_to_kind(Kind::Float)?,
            codes: outputs.codes.f_to_kind(Kind::Float)?,
        })
    }

    /// What is in the images that were evaluated, and what was found, in pixels of the images.
    fn compare(
        &self,
        evaluation: &Detections,
        dataset: &coco::Dataset,
    ) -> Result<(Vec<GroundTruth>, Vec<coco::Detection>), LearnerError> {
        let (mut truth, mut all) = (Vec::new(), Vec::new());
        for (index, detections) in evaluation {
            truth.extend(dataset.ground_truth(*index)?);
            let Some(info) = dataset.images.get(*index) else {
                continue;
            };
            all.extend(detections.iter().map(|found| {
                coco::Detection {
                    image: info.id,
                    label: found.label,
                    bbox: self
                        .network
                        .in_image(found.corners, info.width, info.height),
                    score: f64::from(found.score),
                }
            }));
        }
        Ok((truth, all))
    }

    fn targets(&self, truths: &[Truth]) -> Targets {
        let mut targets = Targets::default();
        for truth in truths {
            targets.push(self.network.anchors(), &truth.boxes, &truth.labels);
        }
        targets
    }
}

impl Task for Detector {
    type Source = SampleCache;
    type Batch = Batch;
    type Evaluation = Detections;

    fn assemble(
        &self,
        samples: &[(u32, Arc<Sample>)],
        iteration: Option<u64>,
    ) -> Result<Batch, TorchError> {
        self.input.batch(samples, iteration)
    }

    fn weighted_loss(
        &self,
        batch: &Batch,
        weights: &[f64],
    ) -> Result<(Tensor, Vec<f64>), TorchError> {
        let outputs = self.forward(batch, Mode::Train)?;
        let (total, losses) = weighted_sum(&outputs, &self.targets(&batch.truths), weights)?;
        Ok((total, losses.iter().map(|loss| loss.total()).collect()))
    }

    fn calibrate(&self, batch: &Batch, momentum: f64) -> Result<(), TorchError> {
        self.forward(batch, Mode::Calibrate(momentum))?;
        Ok(())
    }

    fn is_per_sample(&self) -> bool {
        self.network.is_per_sample()
    }

    fn terms_per_sample(&self) -> f64 {
        self.positives_per_image
    }

    fn samples_per_pass(&self) -> usize {
        self.input.images_per_pass()
    }

    fn observe(
        &self,
        evaluation: &mut Detections,
        batch: &Batch,
        places: &[u32],
    ) -> Result<Vec<f64>, TorchError> {
        let outputs = self.forward(batch, Mode::Evaluate)?;
        let targets = self.targets(&batch.truths);
        let (_, losses) = weighted_sum(&outputs, &targets, &vec![1.0; targets.images()])?;
        let detections = self.network.detections(&outputs)?;
        evaluation.extend(places.iter().map(|&place| place as usize).zip(detections));
        Ok(losses.iter().map(|loss| loss.total()).collect())
    }

    fn metrics(
        &self,
        evaluation: Detections,
        source: &SampleCache,
    ) -> Result<Vec<Metric>, LearnerError> {
        let (truth, found) = self.compare(&evaluation, source.dataset())?;
        Ok(average_precision(&truth, &found).metrics())
    }

    fn details(
        &self,
        evaluation: Detections,
        source: &SampleCache,
    ) -> Result<Evaluation, LearnerError> {
        let dataset = source.dataset();
        let (truth, found) = self.compare(&evaluation, dataset)?;
        let numbers = coco::evaluate(&truth, &found);
        drop(truth);
        let objects = found.iter().filter_map(|detection| {
            // An output that no category has is never right, and has no id.
            let category = dataset.category(detection.label)?;
            Some(FoundObject {
                image_id: detection.image,
                category_id: category.id,
                bbox: detection.bbox,
                score: detection.score,
            })
        });
        Ok(Evaluation {
            metrics: numbers.overall.metrics(),
            categories: numbers.table(&dataset.categories, |category| dataset.label(category.id)),
            found: Some(objects.collect()),
        })
    }
}
