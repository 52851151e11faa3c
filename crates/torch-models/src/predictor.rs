//! A trained detector on images of any kind, without a training set.

use std::path::Path;

use coco::{Picture, Sample};
use tch::Device;

use crate::augment::Augmentation;
use crate::config::{ModelConfig, Network};
use crate::error::TorchError;
use crate::flat::Flat;
use crate::images::assemble;
use crate::layers::Mode;
use crate::single_shot::SingleShot;
use crate::store::Store;
use crate::weights::{self, Tolerance};

/// One object found in an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// `[x, y, width, height]` in pixels of the image.
    pub bbox: [f64; 4],
    /// Class, from 1.
    pub label: i64,
    /// Softmax probability of the class.
    pub score: f64,
}

/// A detection network with trained weights.
pub struct Predictor {
    network: SingleShot,
    device: Device,
    /// Owns the storage that the network's tensors are views of.
    _parameters: Flat,
}

impl Predictor {
    /// The network of `model` that tells `classes` apart (the background included), with every tensor
    /// from the safetensors file at `weights`; libtorch computes with `threads` threads.
    ///
    /// # Errors
    /// [`TorchError::Setting`] if `model` finds no objects, [`TorchError::Weights`] if the file cannot
    /// be read or lacks a tensor of the model, [`TorchError::Torch`] when libtorch fails.
    pub fn load(
        model: &ModelConfig,
        classes: usize,
        weights: &Path,
        device: Device,
        threads: usize,
    ) -> Result<Self, TorchError> {
        tch::set_num_threads(threads.max(1) as i32);
        let store = Store::new(device);
        let network = match model.network(&store, classes)? {
            Network::Detector(network) => SingleShot::new(network, model.side()),
            Network::Classifier(_) => {
                return Err(TorchError::Setting {
                    key: "model.kind",
                    value: model.name(),
                    expected: "a detector, tiny-ssd or ssdlite".to_owned(),
                });
            }
        };
        let (parameters, mut buffers) = store.into_parts();
        let mut flat = Flat::new(parameters, device)?;
        let mut values = flat.initial_parameters(0);
        let tolerance = Tolerance::default();
        weights::load(weights, flat.slots(), &mut values, &mut buffers, tolerance)?;
        flat.set_parameters(&values)?;
        Ok(Self {
            network,
            device,
            _parameters: flat,
        })
    }

    /// Side of the square that [`Self::detect`] takes pictures at.
    pub fn side(&self) -> u32 {
        self.network.side()
    }

    /// What is in the picture, best first.
    ///
    /// # Errors
    /// When libtorch fails, or the picture was not read at [`Self::side`].
    pub fn detect(&self, picture: &Picture) -> Result<Vec<Found>, TorchError> {
        let side = self.side();
        let expected = 3 * side as usize * side as usize;
        if picture.pixels.len() != expected {
            return Err(TorchError::Length {
                found: picture.pixels.len(),
                expected,
            });
        }
        let sample = Sample {
            pixels: picture.pixels.clone(),
            width: side,
            height: side,
            boxes: Vec::new(),
            labels: Vec::new(),
        };
        let only = std::iter::once((&sample, Augmentation::NONE));
        let batch = assemble(only, side, self.device)?;
        let outputs = tch::no_grad(|| self.network.forward(&batch.images, Mode::Evaluate))?;
        let mut images = self.network.detections(&outputs)?;
        Ok(images
            .swap_remove(0)
            .into_iter()
            .map(|detection| Found {
                bbox: self
                    .network
                    .in_image(detection.corners, picture.width, picture.height),
                label: detection.label,
                score: f64::from(detection.score),
            })
            .collect())
    }
}
