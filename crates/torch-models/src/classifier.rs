//! Multi-label classification as a learning task: which categories are in the image?
//!
//! The loss is the binary cross-entropy summed over categories.

use std::sync::Arc;

use coco::{Sample, SampleCache};
use learner::{LearnerError, Metric};
use tch::{Kind, Reduction, Tensor};

use crate::engine::Task;
use crate::error::TorchError;
use crate::images::{Batch, ImageInput, Truth};
use crate::layers::Mode;
use crate::losses::{to_host, weigh};
use crate::models::ClassificationModel;

/// A classification network.
pub struct Classifier {
    input: ImageInput,
    model: Box<dyn ClassificationModel>,
    /// Of every output, whether the data set has a category with that label.
    occurs: Vec<bool>,
}

/// Decisions over all (image, category) pairs; a category is called present at probability 0.5.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decisions {
    /// Of every image, the scores of all categories that occur and whether they are present.
    scores: Vec<(f32, bool)>,
    present_found: u64,
    present_missed: u64,
    absent_called: u64,
    absent_rejected: u64,
}

impl Classifier {
    /// A classifier whose `i`-th output is about label `i + 1`, which `occurs[i]` says the data set
    /// has. Outputs without a category learn to say no and count in no metric.
    pub fn new(input: ImageInput, model: Box<dyn ClassificationModel>, occurs: Vec<bool>) -> Self {
        Self {
            input,
            model,
            occurs,
        }
    }

    /// `[N, outputs]`: 1 where a category is in the image, else 0.
    fn presence(&self, truths: &[Truth]) -> Vec<f32> {
        let mut presence = vec![0.0; truths.len() * self.occurs.len()];
        for (truth, row) in truths.iter().zip(presence.chunks_mut(self.occurs.len())) {
            for label in &truth.labels {
                let column = usize::try_from(label - 1).ok();
                if let Some(value) = column.and_then(|column| row.get_mut(column)) {
                    *value = 1.0;
                }
            }
        }
        presence
    }

    /// Cross-entropy of every image, `[N]`.
    fn losses(&self, logits: &Tensor, presence: &[f32]) -> Result<Tensor, TorchError> {
        let presence = Tensor::f_from_slice(presence)?
            .f_view([-1, self.occurs.len() as i64])?
            .f_to_device(logits.device())?;
        Ok(logits
            .f_binary_cross_entropy_with_logits::<Tensor>(&presence, None, None, Reduction::None)?
            .f_sum_dim_intlist(1i64, false, Kind::Float)?)
    }
}

impl Task for Classifier {
    type Source = SampleCache;
    type Batch = Batch;
    type Evaluation = Decisions;

    fn assemble(
        &self,
        samples: &[(u32, Arc<Sample>)],
        iteration: Option<u64>,
    ) -> Result<Batch, TorchError> {
        let mut batch = self.input.batch(samples, iteration)?;
        batch.images = self.model.pixel_statistics().normalize(&batch.images)?;
        Ok(batch)
    }

    fn weighted_loss(
        &self,
        batch: &Batch,
        weights: &[f64],
    ) -> Result<(Tensor, Vec<f64>), TorchError> {
        let logits = self
            .input
            .scores(&*self.model, &batch.images, Mode::Train)?;
        let losses = self.losses(&logits, &self.presence(&batch.truths))?;
        weigh(&losses, weights)
    }

    fn calibrate(&self, batch: &Batch, momentum: f64) -> Result<(), TorchError> {
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
        evaluation: &mut Decisions,
        batch: &Batch,
        _: &[u32],
    ) -> Result<Vec<f64>, TorchError> {
        let logits = self
            .input
            .scores(&*self.model, &batch.images, Mode::Evaluate)?;
        let presence = self.presence(&batch.truths);
        let calls = Vec::<f32>::try_from(logits.f_reshape(-1i64)?)?;
        let occurs = self.occurs.iter().cycle();
        for ((&present, logit), _) in presence
            .iter()
            .zip(calls)
            .zip(occurs)
            .filter(|(_, occurs)| **occurs)
        {
            let count = match (present > 0.5, logit > 0.0) {
                (true, true) => &mut evaluation.present_found,
                (true, false) => &mut evaluation.present_missed,
                (false, true) => &mut evaluation.absent_called,
                (false, false) => &mut evaluation.absent_rejected,
            };
            *count += 1;
            evaluation.scores.push((logit, present > 0.5));
        }
        to_host(&self.losses(&logits, &presence)?)
    }

    fn metrics(&self, evaluation: Decisions, _: &SampleCache) -> Result<Vec<Metric>, LearnerError> {
        let categories = self.occurs.iter().filter(|occurs| **occurs).count();
        Ok(vec![
            Metric::new("accuracy", evaluation.accuracy()),
            Metric::new("F1", evaluation.f1()),
            Metric::new("mAP", evaluation.mean_average_precision(categories)),
        ])
    }
}

impl Decisions {
    /// Share of pairs decided correctly.
    fn accuracy(&self) -> f64 {
        let right = self.present_found + self.absent_rejected;
        let all = right + self.present_missed + self.absent_called;
        right as f64 / all as f64
    }

    /// Harmonic mean of precision and recall over all pairs.
    fn f1(&self) -> f64 {
        let wrong = self.present_missed + self.absent_called;
        let found = 2 * self.present_found;
        found as f64 / (found + wrong) as f64
    }

    /// The mean over categories of average precision: of a category's present images, by falling
    /// score, the mean precision at their ranks. Categories in no image do not count; NaN if none
    /// counts. Among equal scores the absent images come first, so that ties gain nothing.
    fn mean_average_precision(&self, categories: usize) -> f64 {
        let of_category = |category: usize| {
            let scores = self.scores.iter().skip(category).step_by(categories.max(1));
            let mut ranked: Vec<(f32, bool)> = scores.copied().collect();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let present = ranked.iter().filter(|(_, present)| *present);
            let (mut found, mut sum) = (0.0, 0.0);
            let count = present.count();
            for (rank, _) in ranked.iter().enumerate().filter(|(_, (_, p))| *p) {
                found += 1.0;
                sum += found / (rank + 1) as f64;
            }
            (count > 0).then(|| sum / count as f64)
        };
        let found: Vec<f64> = (0..categories).filter_map(of_category).collect();
        found.iter().sum::<f64>() / found.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_follow_their_definitions() {
        let decisions = Decisions {
            present_found: 3,
            present_missed: 1,
            absent_called: 2,
            absent_rejected: 4,
            scores: vec![],
        };
        assert_eq!(decisions.accuracy(), 0.7);
        assert_eq!(decisions.f1(), 6.0 / 9.0);
        assert!(Decisions::default().f1().is_nan());
    }

    /// Two categories that occur and one without a present image.
    #[test]
    fn average_precision_is_the_mean_precision_at_the_present_ranks() {
        let images = [
            [(0.9, true), (0.1, false), (0.0, false)],
            [(0.8, false), (0.2, true), (0.0, false)],
            [(0.7, true), (0.2, false), (0.0, false)],
            [(0.1, false), (0.0, false), (0.0, false)],
        ];
        let decisions = Decisions {
            scores: images.concat(),
            ..Decisions::default()
        };
        // Ranks 1 and 3; rank 2, behind an absent image of the same score.
        let expected = ((1.0 + 2.0 / 3.0) / 2.0 + 0.5) / 2.0;
        assert!((decisions.mean_average_precision(3) - expected).abs() < 1e-12);
        assert!(Decisions::default().mean_average_precision(2).is_nan());
    }
}
