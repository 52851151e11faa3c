//! The part of a learner that does not depend on the task: flat vectors, minibatches, passes.
//!
//! A partition's gradient must be a function of (parameters, partition, iteration) alone. Where
//! every layer is per sample, all partitions of a worker go through the network together and
//! partition j's samples carry the weight a_ij / normaliser in the loss, so that one backward
//! pass yields the coded gradient `sum_j a_ij g_j`. Where batch norm trains, a batch's statistics
//! belong to its partition: one pass per partition, accumulated in the gradient buffer.
//!
//! The normaliser is constant during a run, so that a gradient does not depend on who answered.

use std::sync::Arc;

use coco::{Sample, SampleCache};
use learner::{Description, Learner, LearnerError, Metric, PartitionLoss, Slot};
use tch::{Device, Tensor};

use crate::augment::Augmentation;
use crate::config::TorchConfig;
use crate::data::{Batch, TrainingData, Truth, assemble};
use crate::device;
use crate::error::TorchError;
use crate::flat::Flat;
use crate::store::{Buffer, Store};
use crate::weights;

/// What is computed from images and their ground truth.
pub trait Task: Send {
    /// Runs the network and returns the scalar `sum_i weights[i] * loss_i`, ready for a backward
    /// pass, and every image's unweighted `loss_i`.
    ///
    /// # Errors
    /// When libtorch fails.
    fn weighted_loss(
        &self,
        images: &Tensor,
        truths: &[Truth],
        weights: &[f64],
    ) -> Result<(Tensor, Vec<f64>), TorchError>;

    /// Runs the network for its running statistics only.
    ///
    /// # Errors
    /// When libtorch fails.
    fn calibrate(&self, images: &Tensor, momentum: f64) -> Result<(), TorchError>;

    /// Whether a batch's gradient is the sum of its samples' gradients.
    fn is_per_sample(&self) -> bool;

    /// Expected loss terms per image: losses and gradients are divided by this, so that their
    /// scale does not depend on how many there are.
    fn terms_per_image(&self) -> f64;

    /// Runs the network on held-out images, adds what it finds to `evaluation`, and returns every
    /// image's loss. `indices` are the images' places in the evaluated data set.
    ///
    /// # Errors
    /// When libtorch fails.
    fn observe(
        &self,
        evaluation: &mut Self::Evaluation,
        batch: &Batch,
        indices: &[usize],
    ) -> Result<Vec<f64>, TorchError>;

    /// What [`Task::observe`] collects.
    type Evaluation: Default;

    /// The metrics of everything observed on `dataset`, the headline metric first, without the
    /// loss.
    ///
    /// # Errors
    /// When the data set lacks an image that was observed.
    fn metrics(
        &self,
        evaluation: Self::Evaluation,
        dataset: &coco::Dataset,
    ) -> Result<Vec<Metric>, LearnerError>;
}

/// Batches over which batch norm's statistics are re-estimated before an evaluation.
const CALIBRATION_BATCHES: usize = 20;
/// Images in such a batch, at least.
const CALIBRATION_BATCH: usize = 8;

/// A [`Task`] with its parameters and data: a [`Learner`].
pub struct TorchLearner<T> {
    task: T,
    name: String,
    flat: Flat,
    initial: Vec<f32>,
    data: TrainingData,
    /// Held-out images; `None` where evaluation runs on the training images.
    validation: Option<SampleCache>,
    evaluation_images: usize,
    side: u32,
    seed: u64,
    device: Device,
    threads: i32,
    augment: bool,
    pass_images: usize,
    buffers: Vec<Buffer>,
}

impl<T: Task> TorchLearner<T> {
    /// Joins a task, whose layers are registered in `store`, with its data.
    ///
    /// # Errors
    /// [`LearnerError::Data`] when the weights file does not fit, [`LearnerError::Backend`] when
    /// libtorch fails.
    pub fn new(
        task: T,
        name: String,
        store: Store,
        config: &TorchConfig,
        data: TrainingData,
        validation: Option<Arc<coco::Dataset>>,
    ) -> Result<Self, LearnerError> {
        let (parameters, mut buffers) = store.into_parts();
        let flat = Flat::new(parameters, config.device)?;
        let mut initial = flat.initial_parameters(config.seed);
        if let Some(path) = &config.weights {
            weights::load(path, flat.slots(), &mut initial, &mut buffers)?;
        }
        let side = config.model.side();
        let mut learner = Self {
            task,
            name,
            flat,
            initial,
            data,
            validation: validation.map(|set| SampleCache::new(set, side, config.cache_bytes)),
            evaluation_images: match config.evaluation_images {
                0 => usize::MAX,
                images => images,
            },
            side,
            seed: config.seed,
            device: config.device,
            threads: config.threads.max(1) as i32,
            augment: config.augment,
            pass_images: pass_images(side, config.device),
            buffers,
        };
        learner.flat.set_parameters(&learner.initial)?;
        Ok(learner)
    }

    /// Writes `parameters` as a safetensors file under PyTorch's names.
    ///
    /// # Errors
    /// When the file cannot be written or `parameters` has another length than the model.
    pub fn save(&self, parameters: &[f32], path: &std::path::Path) -> Result<(), LearnerError> {
        check_length(
            "the parameter vector",
            parameters.len(),
            self.flat.dimension(),
        )?;
        Ok(weights::save(
            path,
            self.flat.slots(),
            parameters,
            &self.buffers,
        )?)
    }

    /// The loss weight of a sample whose partition has coefficient 1.
    fn sample_weight(&self) -> f64 {
        1.0 / (self.data.batch() as f64 * self.task.terms_per_image())
    }

    /// One forward and backward pass; the gradient accumulates. Returns the samples' losses.
    fn pass(
        &self,
        samples: &[(u32, Arc<Sample>)],
        weights: &[f64],
        iteration: u64,
    ) -> Result<Vec<f64>, TorchError> {
        let changed = samples.iter().map(|(image, sample)| {
            let change = if self.augment {
                Augmentation::draw(self.seed, iteration, u64::from(*image))
            } else {
                Augmentation::NONE
            };
            (&**sample, change)
        });
        let batch = assemble(changed, self.side, self.device)?;
        let (total, losses) = self
            .task
            .weighted_loss(&batch.images, &batch.truths, weights)?;
        total.f_backward()?;
        self.flat.check()?;
        Ok(losses)
    }

    /// Re-estimates batch norm's running statistics at the current parameters as the average over
    /// training batches ("precise BN", Wu & Johnson 2021). The running averages of training would
    /// lag behind, and no worker sees all of them.
    fn calibrate(&mut self) -> Result<(), LearnerError> {
        let size = self.data.batch().max(CALIBRATION_BATCH);
        let images: Vec<u32> = self.data.spread(size * CALIBRATION_BATCHES).collect();
        for (number, images) in images.chunks(size).enumerate() {
            if images.len() < 2 {
                continue;
            }
            let batch = self.unchanged(images, |image| self.data.sample(image))?;
            let momentum = 1.0 / (number + 1) as f64;
            tch::no_grad(|| self.task.calibrate(&batch.images, momentum))?;
        }
        Ok(())
    }

    fn unchanged(
        &self,
        images: &[u32],
        sample: impl Fn(u32) -> Result<Arc<Sample>, LearnerError>,
    ) -> Result<Batch, LearnerError> {
        let samples = images
            .iter()
            .map(|&image| sample(image))
            .collect::<Result<Vec<_>, _>>()?;
        let samples = samples.iter().map(|s| (&**s, Augmentation::NONE));
        Ok(assemble(samples, self.side, self.device)?)
    }

    /// libtorch keeps its thread count per thread: set it on the one that computes.
    fn use_threads(&self) {
        if tch::get_num_threads() != self.threads {
            tch::set_num_threads(self.threads);
        }
    }
}

impl<T: Task> Learner for TorchLearner<T> {
    fn export(&self, parameters: &[f32], path: &std::path::Path) -> Result<(), LearnerError> {
        self.save(parameters, path)
    }

    fn dimension(&self) -> usize {
        self.flat.dimension()
    }

    fn partitions(&self) -> usize {
        self.data.partitions()
    }

    fn initial_parameters(&mut self) -> Vec<f32> {
        self.initial.clone()
    }

    fn coded_gradient(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
        gradient: &mut [f32],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        check_length(
            "the parameter vector",
            parameters.len(),
            self.flat.dimension(),
        )?;
        check_length("the gradient vector", gradient.len(), self.flat.dimension())?;
        self.use_threads();
        self.flat.set_parameters(parameters)?;
        self.flat.zero_gradients()?;

        let partitions: Vec<usize> = assignment.iter().map(|&(partition, _)| partition).collect();
        let minibatches = self.data.minibatches(&partitions, iteration)?;
        let unit = self.sample_weight();
        let weights: Vec<Vec<f64>> = minibatches
            .iter()
            .zip(assignment)
            .map(|(samples, &(_, coefficient))| vec![coefficient * unit; samples.len()])
            .collect();

        let mut losses = Vec::with_capacity(weights.iter().map(Vec::len).sum());
        if self.task.is_per_sample() {
            let (samples, weights) = (minibatches.concat(), weights.concat());
            for (samples, weights) in samples
                .chunks(self.pass_images)
                .zip(weights.chunks(self.pass_images))
            {
                losses.extend(self.pass(samples, weights, iteration)?);
            }
        } else {
            for (samples, weights) in minibatches.iter().zip(&weights) {
                losses.extend(self.pass(samples, weights, iteration)?);
            }
        }
        self.flat.read_gradients(gradient)?;

        let mut rest = losses.as_slice();
        let mut reported = Vec::with_capacity(assignment.len());
        for (&partition, samples) in partitions.iter().zip(&minibatches) {
            let (mine, others) = rest.split_at(samples.len());
            rest = others;
            let loss = mine.iter().sum::<f64>() * unit;
            if !loss.is_finite() {
                return Err(LearnerError::NotFinite {
                    what: format!("the loss of partition {partition}"),
                });
            }
            reported.push(PartitionLoss {
                partition,
                loss,
                samples: samples.len() as f64,
            });
        }
        if !all_finite(gradient) {
            return Err(LearnerError::NotFinite {
                what: "the coded gradient".into(),
            });
        }
        Ok(reported)
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Vec<Metric>, LearnerError> {
        check_length(
            "the parameter vector",
            parameters.len(),
            self.flat.dimension(),
        )?;
        self.use_threads();
        self.flat.set_parameters(parameters)?;
        if !self.task.is_per_sample() {
            self.calibrate()?;
        }
        let (dataset, images): (_, Vec<u32>) = match &self.validation {
            Some(held_out) => {
                let set = held_out.dataset();
                let wanted = self.evaluation_images.min(set.len());
                // Spread over the set, since files are often sorted by content.
                let images = (0..wanted).map(|i| (i * set.len() / wanted) as u32);
                (set, images.collect())
            }
            None => (
                self.data.dataset(),
                self.data.spread(self.evaluation_images).collect(),
            ),
        };
        let mut evaluation = T::Evaluation::default();
        let mut loss = 0.0;
        for images in images.chunks(self.pass_images) {
            let batch = self.unchanged(images, |image| match &self.validation {
                Some(held_out) => Ok(held_out.get(image as usize)?),
                None => self.data.sample(image),
            })?;
            let indices: Vec<usize> = images.iter().map(|&image| image as usize).collect();
            let losses = tch::no_grad(|| self.task.observe(&mut evaluation, &batch, &indices))?;
            loss += losses.iter().sum::<f64>();
        }
        let mut metrics = self.task.metrics(evaluation, dataset)?;
        let terms = images.len() as f64 * self.task.terms_per_image();
        metrics.push(Metric::new("loss", loss / terms));
        Ok(metrics)
    }

    fn describe(&self) -> Description {
        Description {
            model: self.name.clone(),
            parameters: self.flat.dimension(),
            training_samples: self.data.samples(),
            validation_samples: self
                .validation
                .as_ref()
                .map_or(0, |set| set.dataset().len().min(self.evaluation_images)),
            batch: self.data.batch(),
            device: device::name(self.device),
            slots: self
                .flat
                .slots()
                .iter()
                .map(|slot| Slot {
                    name: slot.name.clone(),
                    offset: slot.offset,
                    shape: slot.shape.iter().map(|&size| size as usize).collect(),
                })
                .collect(),
        }
    }
}

fn check_length(what: &'static str, found: usize, expected: usize) -> Result<(), LearnerError> {
    if found == expected {
        return Ok(());
    }
    Err(LearnerError::Length {
        what,
        expected,
        found,
    })
}

/// Whether no number is NaN or infinite; one pass without branches, at memory speed.
fn all_finite(values: &[f32]) -> bool {
    values
        .chunks(4096)
        .all(|chunk| chunk.iter().fold(true, |ok, v| ok & v.is_finite()))
}

/// Images that go through the network together. More would only take memory: about 200 MB an
/// image of 320 x 320 pixels during training.
fn pass_images(side: u32, device: Device) -> usize {
    let budget = if device.is_cuda() { 128 } else { 8 };
    (budget * 320 * 320 / (side as usize * side as usize)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_finite_numbers_are_found_anywhere() {
        let mut values = vec![1.0f32; 10_000];
        assert!(all_finite(&values));
        for (place, bad) in [
            (0, f32::NAN),
            (4095, f32::INFINITY),
            (9_999, f32::NEG_INFINITY),
        ] {
            values[place] = bad;
            assert!(!all_finite(&values));
            values[place] = f32::MAX;
        }
        assert!(all_finite(&values));
    }

    #[test]
    fn a_pass_is_never_empty() {
        assert_eq!(pass_images(128, Device::Cpu), 50);
        assert_eq!(pass_images(320, Device::Cpu), 8);
        assert_eq!(pass_images(4096, Device::Cpu), 1);
    }
}
