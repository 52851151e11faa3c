//! A multilayer perceptron on images of digits, without libtorch.
//!
//! One hidden layer of ReLUs and a sigmoid per class, the network of Munim & Ramamoorthy 2026 (CE-AGC,
//! arXiv 2603.22514, Fig. 6: 784-128-10 on MNIST):
//! ```text
//! h = max(0, W1 x + b1),   u = W2 h + b2,   p = 1 / (1 + exp(-u))
//! ```
//! The paper states neither loss nor batch nor learning rate; [`MlpLoss`] offers the two usual ones.
//! The data are MNIST's IDX files, or synthetic digits of the same shape drawn in memory
//! ([`DigitSource`]).
//!
//! A partition gradient is a pure function of (parameters, partition, iteration), to the bit: each is
//! computed with matrix products of its own minibatch. All arithmetic is f32; losses are added in f64.

mod digits;
mod product;

pub use digits::{CLASSES, DigitSource, IdxPaths, PIXELS};

use crate::convex::check_length;
use crate::minibatch::partition;
use crate::normal::fill_normal;
use crate::{Description, Learner, LearnerError, Metric, MinibatchOrder, PartitionLoss, Slot};
use counter_rng::{Purpose, rng};
use digits::Digits;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, Zip};
use product::{add_product, product};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The loss of one sample, summed over the classes c with target y_c in {0, 1}.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MlpLoss {
    /// Binary cross entropy of every output: `-sum_c [y_c log p_c + (1 - y_c) log(1 - p_c)]`.
    #[default]
    CrossEntropy,
    /// `(1/2) sum_c (p_c - y_c)^2`.
    SquaredError,
}

impl MlpLoss {
    /// Loss and its derivative in the pre-activation `u`, for one output.
    fn at(self, u: f32, y: f32) -> (f32, f32) {
        let p = 1.0 / (1.0 + (-u).exp());
        match self {
            // softplus(u) - y u, without overflow for large |u|
            Self::CrossEntropy => (u.max(0.0) - y * u + (-u.abs()).exp().ln_1p(), p - y),
            Self::SquaredError => (0.5 * (p - y) * (p - y), (p - y) * p * (1.0 - p)),
        }
    }
}

impl fmt::Display for MlpLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CrossEntropy => "cross entropy",
            Self::SquaredError => "squared error",
        })
    }
}

/// Size, data and seed of the perceptron.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MlpConfig {
    /// Hidden units.
    pub hidden: usize,
    /// Which loss.
    pub loss: MlpLoss,
    /// Where the digits come from.
    pub digits: DigitSource,
    /// Partitions n.
    pub partitions: usize,
    /// Samples per partition in one iteration; 0 for the whole partition.
    pub batch: usize,
    /// Held-out samples that an evaluation looks at; 0 for all.
    pub evaluation: usize,
    /// Run seed: synthetic data, initial parameters, partitions and minibatches.
    pub seed: u64,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            hidden: 128,
            loss: MlpLoss::default(),
            digits: DigitSource::default(),
            partitions: 10,
            batch: 0,
            evaluation: 0,
            seed: 1,
        }
    }
}

/// Number of parameters with `hidden` hidden units: 101,770 with 128.
pub fn parameter_count(hidden: usize) -> usize {
    hidden * (PIXELS + 1) + CLASSES * (hidden + 1)
}

/// The perceptron as a [`Learner`].
#[derive(Debug)]
pub struct Mlp {
    config: MlpConfig,
    training: Digits,
    held_out: Option<Digits>,
    order: MinibatchOrder,
}

/// Views of a flat vector: W1 [hidden x pixels], b1, W2 [classes x hidden], b2.
struct Weights<'a> {
    first: ArrayView2<'a, f32>,
    first_bias: ArrayView1<'a, f32>,
    second: ArrayView2<'a, f32>,
    second_bias: ArrayView1<'a, f32>,
}

/// Activations of a batch.
struct Forward {
    /// ReLU outputs, batch x hidden.
    hidden: Array2<f32>,
    /// Pre-activations of the outputs, batch x classes.
    outputs: Array2<f32>,
}

impl Mlp {
    /// Reads or draws the data.
    ///
    /// # Errors
    /// [`LearnerError::Setting`] for no hidden units, no samples or more partitions than samples;
    /// [`LearnerError::Data`] for IDX files that are missing or damaged.
    pub fn new(config: &MlpConfig) -> Result<Self, LearnerError> {
        if config.hidden == 0 {
            return Err(LearnerError::setting("hidden", 0, "at least 1"));
        }
        let (training, held_out) = config.digits.load(config.seed)?;
        let samples = u32::try_from(training.len()).unwrap_or(u32::MAX);
        let partitions = partition(samples, config.partitions, config.seed);
        Ok(Self {
            order: MinibatchOrder::new(partitions, config.batch, config.seed)?,
            training,
            held_out,
            config: config.clone(),
        })
    }

    fn lengths(&self) -> [usize; 4] {
        let hidden = self.config.hidden;
        [hidden * PIXELS, hidden, CLASSES * hidden, CLASSES]
    }

    fn view<'a>(&self, flat: &'a [f32]) -> Result<Weights<'a>, LearnerError> {
        check_length("parameters", self.dimension(), flat.len())?;
        let [w1, b1, w2, _] = self.lengths();
        let (first, rest) = flat.split_at(w1);
        let (first_bias, rest) = rest.split_at(b1);
        let (second, second_bias) = rest.split_at(w2);
        Ok(Weights {
            first: matrix(first, self.config.hidden, PIXELS)?,
            first_bias: ArrayView1::from(first_bias),
            second: matrix(second, CLASSES, self.config.hidden)?,
            second_bias: ArrayView1::from(second_bias),
        })
    }

    /// Adds `weight` x (the gradient of the sum of the samples' losses) to `gradient` and returns
    /// that sum.
    fn add_gradient(
        &self,
        weights: &Weights<'_>,
        samples: &[u32],
        weight: f32,
        gradient: &mut [f32],
    ) -> Result<f64, LearnerError> {
        let (images, labels) = self.training.gather(samples);
        let Forward { hidden, outputs } = forward(weights, &images);
        let mut loss = 0.0;
        let mut slopes = outputs;
        for (mut row, &label) in slopes.outer_iter_mut().zip(&labels) {
            for (class, u) in row.iter_mut().enumerate() {
                let target = f32::from(class == usize::from(label));
                let (here, slope) = self.config.loss.at(*u, target);
                loss += f64::from(here);
                *u = slope;
            }
        }
        let mut back = product(&slopes.view(), &weights.second);
        Zip::from(&mut back).and(&hidden).for_each(|slope, h| {
            if *h <= 0.0 {
                *slope = 0.0;
            }
        });
        let [w1, b1, w2, _] = self.lengths();
        let (first, rest) = gradient.split_at_mut(w1);
        let (first_bias, rest) = rest.split_at_mut(b1);
        let (second, second_bias) = rest.split_at_mut(w2);
        let mut first = matrix_mut(first, self.config.hidden, PIXELS)?;
        let mut second = matrix_mut(second, CLASSES, self.config.hidden)?;
        add_product(weight, &back.t(), &images.view(), &mut first);
        add_product(weight, &slopes.t(), &hidden.view(), &mut second);
        ArrayViewMut1::from(first_bias).scaled_add(weight, &back.sum_axis(Axis(0)));
        ArrayViewMut1::from(second_bias).scaled_add(weight, &slopes.sum_axis(Axis(0)));
        Ok(loss)
    }

    /// Mean loss and share of samples whose largest output is their label's.
    fn measure(&self, weights: &Weights<'_>, digits: &Digits, limit: usize) -> (f64, f64) {
        let count = match limit {
            0 => digits.len(),
            limit => limit.min(digits.len()),
        };
        let all: Vec<u32> = (0..count as u32).collect();
        let (mut loss, mut right) = (0.0f64, 0usize);
        for chunk in all.chunks(512) {
            let (images, labels) = digits.gather(chunk);
            let outputs = forward(weights, &images).outputs;
            for (row, &label) in outputs.outer_iter().zip(&labels) {
                let target = |class| f32::from(class == usize::from(label));
                loss += row
                    .iter()
                    .enumerate()
                    .map(|(class, u)| f64::from(self.config.loss.at(*u, target(class)).0))
                    .sum::<f64>();
                let own = row[usize::from(label)];
                let beaten = |(class, u): (usize, &f32)| class == usize::from(label) || *u < own;
                right += usize::from(row.iter().enumerate().all(beaten));
            }
        }
        (loss / count as f64, right as f64 / count as f64)
    }
}

fn matrix(
    values: &[f32],
    rows: usize,
    columns: usize,
) -> Result<ArrayView2<'_, f32>, LearnerError> {
    ArrayView2::from_shape((rows, columns), values).map_err(shape_error)
}

fn matrix_mut(
    values: &mut [f32],
    rows: usize,
    columns: usize,
) -> Result<ArrayViewMut2<'_, f32>, LearnerError> {
    ArrayViewMut2::from_shape((rows, columns), values).map_err(shape_error)
}

fn shape_error(error: ndarray::ShapeError) -> LearnerError {
    LearnerError::Backend(error.to_string())
}

fn forward(weights: &Weights<'_>, images: &Array2<f32>) -> Forward {
    let mut hidden = product(&images.view(), &weights.first.t());
    hidden += &weights.first_bias;
    hidden.mapv_inplace(|h| h.max(0.0));
    let mut outputs = product(&hidden.view(), &weights.second.t());
    outputs += &weights.second_bias;
    Forward { hidden, outputs }
}

impl Learner for Mlp {
    fn dimension(&self) -> usize {
        parameter_count(self.config.hidden)
    }

    fn partitions(&self) -> usize {
        self.order.partitions()
    }

    /// Weights `N(0, 2/784)` and `N(0, 1/hidden)` (He and Glorot scales), biases 0.
    fn initial_parameters(&mut self) -> Vec<f32> {
        let [w1, b1, w2, b2] = self.lengths();
        let mut flat = Vec::with_capacity(self.dimension());
        let variances = [2.0 / PIXELS as f64, 1.0 / self.config.hidden as f64];
        for (tensor, (count, biases)) in [(w1, b1), (w2, b2)].into_iter().enumerate() {
            let mut draws = vec![0.0; count];
            let mut random = rng(self.config.seed, Purpose::Initialization, 0, tensor as u64);
            fill_normal(&mut draws, &mut random);
            let scale = variances[tensor].sqrt();
            flat.extend(draws.iter().map(|draw| (scale * draw) as f32));
            flat.extend(std::iter::repeat_n(0.0, biases));
        }
        flat
    }

    /// The normaliser is the batch, or N/n with whole partitions.
    fn coded_gradient(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
        gradient: &mut [f32],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        check_length("gradient", self.dimension(), gradient.len())?;
        let weights = self.view(parameters)?;
        gradient.fill(0.0);
        let mut losses = Vec::with_capacity(assignment.len());
        for &(partition, coefficient) in assignment {
            if partition >= self.partitions() {
                return Err(LearnerError::UnknownPartition {
                    partition,
                    partitions: self.partitions(),
                });
            }
            let samples = self.order.samples(partition, iteration);
            let normaliser = match self.config.batch {
                0 => self.training.len() as f64 / self.partitions() as f64,
                _ => samples.len() as f64,
            };
            let weight = (coefficient / normaliser) as f32;
            let sum = self.add_gradient(&weights, &samples, weight, gradient)?;
            if !sum.is_finite() {
                return Err(LearnerError::NotFinite {
                    what: format!("loss of partition {partition}"),
                });
            }
            losses.push(PartitionLoss {
                partition,
                loss: sum / normaliser,
                samples: samples.len() as f64,
            });
        }
        if gradient.iter().all(|g| g.is_finite()) {
            Ok(losses)
        } else {
            Err(LearnerError::NotFinite {
                what: "gradient".to_owned(),
            })
        }
    }

    /// `loss` (mean over the samples) and `accuracy` on held-out digits, or on the training set where
    /// there are none.
    fn evaluate(&mut self, parameters: &[f32]) -> Result<Vec<Metric>, LearnerError> {
        let weights = self.view(parameters)?;
        let digits = self.held_out.as_ref().unwrap_or(&self.training);
        let (loss, accuracy) = self.measure(&weights, digits, self.config.evaluation);
        Ok(vec![
            Metric::new("loss", loss),
            Metric::new("accuracy", accuracy),
        ])
    }

    fn describe(&self) -> Description {
        let hidden = self.config.hidden;
        let mut offset = 0;
        let slots = [
            ("hidden.weight", vec![hidden, PIXELS]),
            ("hidden.bias", vec![hidden]),
            ("output.weight", vec![CLASSES, hidden]),
            ("output.bias", vec![CLASSES]),
        ]
        .map(|(name, shape)| {
            let slot = Slot {
                name: name.to_owned(),
                offset,
                shape,
            };
            offset += slot.len();
            slot
        });
        Description {
            model: format!("mlp {PIXELS}-{hidden}-{CLASSES}, {}", self.config.loss),
            parameters: self.dimension(),
            training_samples: self.training.len(),
            validation_samples: self.held_out.as_ref().map_or(0, Digits::len),
            batch: match self.config.batch {
                0 => self.training.len() / self.partitions(),
                batch => batch,
            },
            device: "cpu".to_owned(),
            start: None,
            slots: slots.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests;
