//! Object detection as a learning task: a single-shot network, its loss, and COCO's metrics.

use coco::average_precision;
use learner::{LearnerError, Metric};
use tch::{Kind, Tensor};

use crate::data::{Batch, TrainingData, Truth};
use crate::detection::Corners;
use crate::detection::loss::{Targets, weighted_sum};
use crate::detection::matcher::match_anchors;
use crate::detection::postprocess::{Detection, PostProcess};
use crate::engine::Task;
use crate::error::TorchError;
use crate::layers::Mode;
use crate::models::{DetectionModel, HeadOutputs};

/// Images over which positive anchors are counted for the normaliser.
const COUNTED_IMAGES: usize = 4096;

/// A detection network with its anchors.
pub struct Detector {
    model: Box<dyn DetectionModel>,
    anchors: Vec<Corners>,
    side: u32,
    positives_per_image: f64,
    post_process: PostProcess,
}

/// Detections by place of the image in the evaluated data set, in pixels of the network's input.
pub type Detections = Vec<(usize, Vec<Detection>)>;

impl Detector {
    /// A detector for images of `side` pixels.
    ///
    /// The normaliser, the mean number of positive anchors per image, is counted here from the
    /// boxes of up to 4096 images spread over the training set: the same number on every rank.
    ///
    /// # Errors
    /// [`LearnerError::Data`] when the data set is inconsistent.
    pub fn new(
        model: Box<dyn DetectionModel>,
        side: u32,
        data: &TrainingData,
    ) -> Result<Self, LearnerError> {
        let anchors = model.default_boxes().boxes(&model.map_sides(side), side);
        let (mut positives, mut images) = (0, 0);
        for image in data.spread(COUNTED_IMAGES) {
            let targets = data.dataset().targets(image as usize, side)?;
            positives += match_anchors(&targets.boxes, &anchors)
                .iter()
                .flatten()
                .count();
            images += 1;
        }
        Ok(Self {
            model,
            anchors,
            side,
            positives_per_image: (positives as f64 / f64::from(images.max(1))).max(1.0),
            post_process: PostProcess::default(),
        })
    }

    fn targets(&self, truths: &[Truth]) -> Targets {
        let mut targets = Targets::default();
        for truth in truths {
            targets.push(&self.anchors, &truth.boxes, &truth.labels);
        }
        targets
    }

    /// The detections in every image of a batch of outputs.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn detections(&self, outputs: &HeadOutputs) -> Result<Vec<Vec<Detection>>, TorchError> {
        let (images, anchors, classes) = outputs.logits.size3()?;
        let scores = outputs.logits.f_softmax(-1, Kind::Float)?.f_view(-1i64)?;
        let scores = Vec::<f32>::try_from(scores)?;
        let codes = Vec::<f32>::try_from(outputs.codes.f_reshape(-1i64)?)?;
        Ok(scores
            .chunks((anchors * classes) as usize)
            .zip(codes.chunks((anchors * 4) as usize))
            .take(images as usize)
            .map(|(scores, codes)| {
                self.post_process
                    .detections(scores, codes, &self.anchors, self.side)
            })
            .collect())
    }
}

impl Task for Detector {
    type Evaluation = Detections;

    fn weighted_loss(
        &self,
        images: &Tensor,
        truths: &[Truth],
        weights: &[f64],
    ) -> Result<(Tensor, Vec<f64>), TorchError> {
        let outputs = self.model.forward(images, Mode::Train)?;
        let (total, losses) = weighted_sum(&outputs, &self.targets(truths), weights)?;
        Ok((total, losses.iter().map(|loss| loss.total()).collect()))
    }

    fn calibrate(&self, images: &Tensor, momentum: f64) -> Result<(), TorchError> {
        self.model.forward(images, Mode::Calibrate(momentum))?;
        Ok(())
    }

    fn is_per_sample(&self) -> bool {
        self.model.is_per_sample()
    }

    fn terms_per_image(&self) -> f64 {
        self.positives_per_image
    }

    fn observe(
        &self,
        evaluation: &mut Detections,
        batch: &Batch,
        indices: &[usize],
    ) -> Result<Vec<f64>, TorchError> {
        let outputs = self.model.forward(&batch.images, Mode::Evaluate)?;
        let targets = self.targets(&batch.truths);
        let (_, losses) = weighted_sum(&outputs, &targets, &vec![1.0; targets.images()])?;
        let detections = self.detections(&outputs)?;
        evaluation.extend(indices.iter().copied().zip(detections));
        Ok(losses.iter().map(|loss| loss.total()).collect())
    }

    fn metrics(
        &self,
        evaluation: Detections,
        dataset: &coco::Dataset,
    ) -> Result<Vec<Metric>, LearnerError> {
        let (mut truth, mut found) = (Vec::new(), Vec::new());
        for (index, detections) in evaluation {
            truth.extend(dataset.ground_truth(index)?);
            let Some(info) = dataset.images.get(index) else {
                continue;
            };
            // Back from the network's square to the image's own pixels.
            let across = f64::from(info.width) / f64::from(self.side);
            let down = f64::from(info.height) / f64::from(self.side);
            found.extend(detections.into_iter().map(|detection| {
                let [x1, y1, x2, y2] = detection.corners.map(f64::from);
                average_precision::Detection {
                    image: index as u64,
                    label: detection.label,
                    bbox: [x1 * across, y1 * down, (x2 - x1) * across, (y2 - y1) * down],
                    score: f64::from(detection.score),
                }
            }));
        }
        let all = average_precision::average_precision(&truth, &found);
        Ok(vec![
            Metric::new("AP", all.ap),
            Metric::new("AP50", all.ap50),
            Metric::new("AP75", all.ap75),
        ])
    }
}
