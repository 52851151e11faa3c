//! The [`Learner`] trait and the values that cross it.

use crate::{LearnerError, ResidentGradient, Sums};
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A model together with its data: what a rank computes with.
///
/// A learner lives on one thread at a time (`Send`, not `Sync`). Everything it returns is a function
/// of the run seed it was built with and of the arguments alone, so two ranks that hold the same
/// partition compute the same partition gradient, which is what makes a gradient code decodable.
pub trait Learner: Send {
    /// Number of trainable parameters, `l` in Song & Choi: the length of every flat vector.
    fn dimension(&self) -> usize;

    /// Number of data partitions, `n`.
    fn partitions(&self) -> usize;

    /// The parameters at iteration 0, `dimension()` long; a pure function of the run seed.
    fn initial_parameters(&mut self) -> Vec<f32>;

    /// Writes `sum_j a_ij g_j` at `parameters` for `iteration` to `gradient` (overwritten) and
    /// returns one [`PartitionLoss`] per entry of `assignment`, in its order.
    ///
    /// `g_j` is the gradient of (sum of partition j's minibatch losses) / (fixed normaliser), scaled
    /// so that `(1/n) sum_j g_j` is the mean gradient: a function of (parameters, partition,
    /// iteration) alone. `assignment` lists `(partition, coefficient)`, partitions ascending; an
    /// empty one yields a zero gradient. Callers keep `gradient` between calls; nothing of size
    /// `dimension()` is allocated.
    ///
    /// # Errors
    /// [`LearnerError::Length`] when a slice is not `dimension()` long,
    /// [`LearnerError::UnknownPartition`], [`LearnerError::NotFinite`] when a loss or the gradient
    /// is NaN or infinite, [`LearnerError::Data`] when a sample cannot be read.
    fn coded_gradient(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
        gradient: &mut [f32],
    ) -> Result<Vec<PartitionLoss>, LearnerError>;

    /// The way to leave gradients in the memory of the device that computes them and encode them
    /// there, where the learner has one.
    fn resident(&mut self) -> Option<&mut dyn ResidentGradient> {
        None
    }

    /// A way to sum gradient frames on the device that this learner computes with, where it has one.
    fn sums(&self) -> Option<Box<dyn Sums>> {
        None
    }

    /// Metrics at `parameters` on held-out data (on all data for problems that have none), always
    /// the same names in the same order, the headline metric first.
    ///
    /// # Errors
    /// As [`Learner::coded_gradient`].
    fn evaluate(&mut self, parameters: &[f32]) -> Result<Vec<Metric>, LearnerError>;

    /// [`Learner::evaluate`] with what its metrics are made of, as far as the learner knows more than
    /// its metrics.
    ///
    /// # Errors
    /// As [`Learner::evaluate`].
    fn evaluate_in_detail(&mut self, parameters: &[f32]) -> Result<Evaluation, LearnerError> {
        Ok(Evaluation {
            metrics: self.evaluate(parameters)?,
            ..Evaluation::default()
        })
    }

    /// Names and sizes, for the log and for the table printed before a run.
    fn describe(&self) -> Description;

    /// Writes `parameters` to `path` as safetensors, one tensor per [`Slot`]; models add what else
    /// they need to be used (buffers).
    ///
    /// # Errors
    /// [`LearnerError::Length`], or [`LearnerError::Data`] when the file cannot be written.
    fn export(&self, parameters: &[f32], path: &Path) -> Result<(), LearnerError> {
        let description = self.describe();
        if parameters.len() != description.parameters {
            return Err(LearnerError::Length {
                what: "the parameter vector",
                expected: description.parameters,
                found: parameters.len(),
            });
        }
        let failed = |error: safetensors::SafeTensorError| LearnerError::Data {
            path: path.to_owned(),
            what: error.to_string(),
        };
        let mut tensors = Vec::new();
        for slot in &description.slots {
            let values = &parameters[slot.offset..slot.offset + slot.len()];
            let bytes = bytemuck::cast_slice(values);
            let view = TensorView::new(Dtype::F32, slot.shape.clone(), bytes).map_err(failed)?;
            tensors.push((slot.name.clone(), view));
        }
        safetensors::serialize_to_file(tensors, None, path).map_err(failed)
    }
}

/// What one partition's minibatch contributed to a coded gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionLoss {
    /// The partition, from 0.
    pub partition: usize,
    /// Loss sum over the fixed normaliser, i.e. the mean loss of the minibatch; without `a_ij`.
    pub loss: f64,
    /// Number of samples in the minibatch.
    pub samples: f64,
}

/// One named number of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name as logged: `AP50`, `loss`, `accuracy`.
    pub name: String,
    /// Value; NaN when it is undefined, e.g. the AP of large objects where there are none.
    pub value: f64,
}

impl Metric {
    /// A metric.
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }
}

/// An evaluation with what its metrics are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// As [`Learner::evaluate`] returns them.
    pub metrics: Vec<Metric>,
    /// Of each category, where the model tells categories apart; ascending by id.
    pub categories: Vec<CategoryMetrics>,
    /// What a detector found, by sample and then best first; `None` for other models.
    pub found: Option<Vec<FoundObject>>,
}

/// The metrics of one category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryMetrics {
    /// Id in the data set's files.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Held-out objects of it (images, where it is images that are classified).
    pub objects: usize,
    /// Its metrics, the same names in the same order for all categories; NaN where one is undefined.
    pub metrics: Vec<Metric>,
}

/// An object found in an image: one entry of COCO's results format.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoundObject {
    /// Id of the image in the data set's files.
    pub image_id: u64,
    /// Id of the category in the data set's files.
    pub category_id: u64,
    /// `[x, y, width, height]` in pixels of the image.
    pub bbox: [f64; 4],
    /// Confidence.
    pub score: f64,
}

/// Names and sizes of a learner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Model name with its main size, e.g. `tiny-ssd width 24, 128 px`.
    pub model: String,
    /// Trainable parameters, `dimension()`.
    pub parameters: usize,
    /// Samples used for training, over all partitions.
    pub training_samples: usize,
    /// Held-out samples; 0 when evaluation runs on the training data.
    pub validation_samples: usize,
    /// Samples per partition in one iteration.
    pub batch: usize,
    /// Where it computes: `cpu`, `cuda:0`.
    pub device: String,
    /// What was taken from which file, where the initial parameters do not all come from the seed.
    #[serde(default)]
    pub start: Option<String>,
    /// What lies where in the flat vectors, ascending and without gaps.
    pub slots: Vec<Slot>,
}

/// One parameter tensor inside the flat vectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Dotted name, as in a torchvision state_dict.
    pub name: String,
    /// First element in the flat vector.
    pub offset: usize,
    /// Shape; its product is the number of elements.
    pub shape: Vec<usize>,
}

impl Slot {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
