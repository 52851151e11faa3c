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
use std::time::Instant;

use learner::{
    Description, Evaluation, Learner, LearnerError, Metric, PartitionLoss, ResidentGradient, Slot,
    Sums,
};
use tch::{Device, Tensor};

use crate::config::TorchConfig;
use crate::data::TrainingData;
use crate::data_clock::DataClock;
use crate::device;
use crate::error::TorchError;
use crate::flat::Flat;
use crate::resident::Resident;
use crate::source::Source;
use crate::store::{Buffer, Store};
use crate::sums::DeviceSums;
use crate::weights::{self, Loaded};

/// What is computed from samples.
///
/// Its gradients are those of sums over samples, so that partitions add up.
pub trait Task: Send {
    /// Where samples come from.
    type Source: Source;
    /// Samples as tensors, ready for a pass.
    type Batch;
    /// What [`Task::observe`] collects.
    type Evaluation: Default;

    /// Turns samples (with their places in the set) into tensors on the computing device. In training
    /// they are changed at random, as a function of (seed, `iteration`, place) alone; without an
    /// iteration they are not.
    ///
    /// # Errors
    /// When libtorch fails.
    fn assemble(
        &self,
        samples: &[(u32, Arc<<Self::Source as Source>::Item>)],
        iteration: Option<u64>,
    ) -> Result<Self::Batch, TorchError>;

    /// Runs the network and returns the scalar `sum_i weights[i] * loss_i`, ready for a backward
    /// pass, and every sample's unweighted `loss_i`.
    ///
    /// # Errors
    /// When libtorch fails.
    fn weighted_loss(
        &self,
        batch: &Self::Batch,
        weights: &[f64],
    ) -> Result<(Tensor, Vec<f64>), TorchError>;

    /// Forgets the running statistics, before they are estimated again. Needed only where training
    /// passes move them.
    ///
    /// # Errors
    /// When libtorch fails.
    fn forget_statistics(&self) -> Result<(), TorchError> {
        Ok(())
    }

    /// Runs the network for its running statistics only. Never called where
    /// [`Task::is_per_sample`].
    ///
    /// # Errors
    /// When libtorch fails.
    fn calibrate(&self, batch: &Self::Batch, momentum: f64) -> Result<(), TorchError> {
        let _ = (batch, momentum);
        Ok(())
    }

    /// How many calls of [`Task::calibrate`] an estimate from `batches` different batches takes.
    fn calibration_passes(&self, batches: usize) -> usize {
        batches
    }

    /// Whether a batch's gradient is the sum of its samples' gradients.
    fn is_per_sample(&self) -> bool {
        true
    }

    /// Expected loss terms per sample: losses and gradients are divided by this, so that their
    /// scale does not depend on how many there are.
    fn terms_per_sample(&self) -> f64 {
        1.0
    }

    /// Samples that go through the network together, at most; at least 1.
    fn samples_per_pass(&self) -> usize;

    /// Runs the network on held-out samples, adds what it finds to `evaluation`, and returns every
    /// sample's loss. `places` are the samples' places in the evaluated set.
    ///
    /// # Errors
    /// When libtorch fails.
    fn observe(
        &self,
        evaluation: &mut Self::Evaluation,
        batch: &Self::Batch,
        places: &[u32],
    ) -> Result<Vec<f64>, TorchError>;

    /// The metrics of everything observed of `source`, the headline metric first, without the loss.
    ///
    /// # Errors
    /// When the set lacks a sample that was observed.
    fn metrics(
        &self,
        evaluation: Self::Evaluation,
        source: &Self::Source,
    ) -> Result<Vec<Metric>, LearnerError>;

    /// [`Task::metrics`] with what they are made of, as far as the task knows.
    ///
    /// # Errors
    /// As [`Task::metrics`].
    fn details(
        &self,
        evaluation: Self::Evaluation,
        source: &Self::Source,
    ) -> Result<Evaluation, LearnerError> {
        Ok(Evaluation {
            metrics: self.metrics(evaluation, source)?,
            ..Evaluation::default()
        })
    }
}

/// Batches over which batch norm's statistics are re-estimated before an evaluation.
const CALIBRATION_BATCHES: usize = 20;
/// Samples in such a batch, at least.
const CALIBRATION_BATCH: usize = 8;

type Item<T> = <<T as Task>::Source as Source>::Item;

/// A [`Task`] with its parameters and data: a [`Learner`].
pub struct TorchLearner<T: Task> {
    task: T,
    name: String,
    pub(crate) flat: Flat,
    /// Encodes gradients where they are.
    pub(crate) resident: Resident,
    /// The start from a weights file; `None` where it is drawn, which is done when it is asked for:
    /// only a master asks, and workers need not spend the time and hold the memory.
    initial: Option<Vec<f32>>,
    seed: u64,
    data: TrainingData<T::Source>,
    /// Held-out samples; `None` where evaluation runs on the training samples.
    validation: Option<Arc<T::Source>>,
    evaluation_samples: usize,
    device: Device,
    threads: i32,
    clock: DataClock,
    buffers: Vec<Buffer>,
    /// What the weights file gave.
    start: Option<Loaded>,
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
        data: TrainingData<T::Source>,
        validation: Option<Arc<T::Source>>,
    ) -> Result<Self, LearnerError> {
        let (parameters, mut buffers) = store.into_parts();
        let flat = Flat::new(parameters, config.device)?;
        let (mut initial, mut start) = (None, None);
        if let Some(path) = &config.weights {
            start = Some(weights::load(
                path,
                flat.slots(),
                initial.insert(flat.initial_parameters(config.seed)),
                &mut buffers,
                config.tolerance,
            )?);
        }
        Ok(Self {
            task,
            name,
            flat,
            resident: Resident::new(config.device),
            initial,
            seed: config.seed,
            data,
            validation,
            evaluation_samples: match config.evaluation_samples {
                0 => usize::MAX,
                samples => samples,
            },
            device: config.device,
            threads: config.threads.max(1) as i32,
            clock: config.clock.clone(),
            buffers,
            start,
        })
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
        1.0 / (self.data.batch() as f64 * self.task.terms_per_sample())
    }

    /// One forward and backward pass; the gradient accumulates. Returns the samples' losses.
    fn pass(
        &self,
        samples: &[(u32, Arc<Item<T>>)],
        weights: &[f64],
        iteration: u64,
    ) -> Result<Vec<f64>, TorchError> {
        let batch = self.task.assemble(samples, Some(iteration))?;
        let (total, losses) = self.task.weighted_loss(&batch, weights)?;
        total.f_backward()?;
        self.flat.check()?;
        Ok(losses)
    }

    /// [`Learner::coded_gradient`], left in the flat gradient vector on the device, unchecked.
    pub(crate) fn compute(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        check_length(
            "the parameter vector",
            parameters.len(),
            self.flat.dimension(),
        )?;
        let begin = Instant::now();
        self.use_threads();

        let partitions: Vec<usize> = assignment.iter().map(|&(partition, _)| partition).collect();
        let minibatches = self.data.minibatches(&partitions, iteration)?;
        let waiting = begin.elapsed();
        let unit = self.sample_weight();
        let weights: Vec<Vec<f64>> = minibatches
            .iter()
            .zip(assignment)
            .map(|(samples, &(_, coefficient))| vec![coefficient * unit; samples.len()])
            .collect();

        self.flat.set_parameters(parameters)?;
        self.flat.zero_gradients()?;
        let mut losses = Vec::with_capacity(weights.iter().map(Vec::len).sum());
        if self.task.is_per_sample() {
            let (samples, weights) = (minibatches.concat(), weights.concat());
            let together = self.task.samples_per_pass().max(1);
            for (samples, weights) in samples.chunks(together).zip(weights.chunks(together)) {
                losses.extend(self.pass(samples, weights, iteration)?);
            }
        } else {
            for (samples, weights) in minibatches.iter().zip(&weights) {
                losses.extend(self.pass(samples, weights, iteration)?);
            }
        }
        device::synchronize(self.device);

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
        self.clock.add(waiting, begin.elapsed());
        Ok(reported)
    }

    /// Re-estimates batch norm's running statistics at the current parameters as the average over
    /// training batches ("precise BN", Wu & Johnson 2021). The running averages of training would
    /// lag behind, and no worker sees all of them.
    fn calibrate(&mut self) -> Result<(), LearnerError> {
        self.task.forget_statistics()?;
        let size = self.data.batch().max(CALIBRATION_BATCH);
        let places: Vec<u32> = self.data.spread(size * CALIBRATION_BATCHES).collect();
        // Batch norm has no statistics of a single sample.
        let batches: Vec<&[u32]> = places.chunks(size).filter(|b| b.len() >= 2).collect();
        let passes = self.task.calibration_passes(batches.len());
        for (number, places) in batches.iter().cycle().take(passes).enumerate() {
            let batch = self.unchanged(self.data.source(), places)?;
            let momentum = 1.0 / (number + 1) as f64;
            tch::no_grad(|| self.task.calibrate(&batch, momentum))?;
        }
        Ok(())
    }

    /// The set that is evaluated, and which of its samples.
    fn evaluated(&self) -> (&T::Source, Vec<u32>) {
        match &self.validation {
            Some(held_out) => {
                let wanted = self.evaluation_samples.min(held_out.len());
                // Spread over the set, since files are often sorted by content.
                let places = (0..wanted).map(|i| (i * held_out.len() / wanted) as u32);
                (held_out, places.collect())
            }
            None => (
                self.data.source(),
                self.data.spread(self.evaluation_samples).collect(),
            ),
        }
    }

    /// Runs the network on what is evaluated; returns what that gave, and the mean loss.
    fn observe(&mut self, parameters: &[f32]) -> Result<(T::Evaluation, Metric), LearnerError> {
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
        let (source, places) = self.evaluated();
        let mut evaluation = T::Evaluation::default();
        let mut loss = 0.0;
        for places in places.chunks(self.task.samples_per_pass().max(1)) {
            let batch = self.unchanged(source, places)?;
            let losses = tch::no_grad(|| self.task.observe(&mut evaluation, &batch, places))?;
            loss += losses.iter().sum::<f64>();
        }
        let terms = places.len() as f64 * self.task.terms_per_sample();
        Ok((evaluation, Metric::new("loss", loss / terms)))
    }

    fn unchanged(&self, source: &T::Source, places: &[u32]) -> Result<T::Batch, LearnerError> {
        let samples = places
            .iter()
            .map(|&place| Ok((place, source.get(place)?)))
            .collect::<Result<Vec<_>, LearnerError>>()?;
        Ok(self.task.assemble(&samples, None)?)
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
        let drawn = || self.flat.initial_parameters(self.seed);
        self.initial.clone().unwrap_or_else(drawn)
    }

    fn coded_gradient(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
        gradient: &mut [f32],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        check_length("the gradient vector", gradient.len(), self.flat.dimension())?;
        let losses = self.compute(parameters, iteration, assignment)?;
        self.flat.read_gradients(gradient)?;
        if !all_finite(gradient) {
            return Err(LearnerError::NotFinite {
                what: "the coded gradient".into(),
            });
        }
        Ok(losses)
    }

    fn resident(&mut self) -> Option<&mut dyn ResidentGradient> {
        Some(self)
    }

    fn sums(&self) -> Option<Box<dyn Sums>> {
        Some(Box::new(DeviceSums::new(
            self.device,
            self.threads as usize,
        )))
    }

    fn evaluate(&mut self, parameters: &[f32]) -> Result<Vec<Metric>, LearnerError> {
        let (evaluation, loss) = self.observe(parameters)?;
        let mut metrics = self.task.metrics(evaluation, self.evaluated().0)?;
        metrics.push(loss);
        Ok(metrics)
    }

    fn evaluate_in_detail(&mut self, parameters: &[f32]) -> Result<Evaluation, LearnerError> {
        let (evaluation, loss) = self.observe(parameters)?;
        let mut details = self.task.details(evaluation, self.evaluated().0)?;
        details.metrics.push(loss);
        Ok(details)
    }

    fn describe(&self) -> Description {
        Description {
            model: self.name.clone(),
            parameters: self.flat.dimension(),
            training_samples: self.data.samples(),
            validation_samples: self
                .validation
                .as_ref()
                .map_or(0, |set| set.len().min(self.evaluation_samples)),
            batch: self.data.batch(),
            device: device::name(self.device),
            start: self.start.as_ref().map(ToString::to_string),
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
}
