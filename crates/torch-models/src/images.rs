//! Images and their ground truth as tensors.

use std::sync::Arc;

use coco::Sample;
use tch::{Device, Kind, Tensor};

use crate::augment::{Augmentation, Recipe};
use crate::config::ImageConfig;
use crate::error::TorchError;
use crate::layers::Mode;
use crate::models::ClassificationModel;
use crate::precision::Precision;

/// The ground truth of one image as the network sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// `[x1, y1, x2, y2]` in pixels of the network's input.
    pub boxes: Vec<[f32; 4]>,
    /// Class of each box, from 1.
    pub labels: Vec<i64>,
}

/// Images and their ground truth, ready for a pass.
pub struct Batch {
    /// `[N, 3, side, side]`, f32 in [-1, 1], on the computing device.
    pub images: Tensor,
    /// Ground truth of each image.
    pub truths: Vec<Truth>,
}

/// Turns samples into a [`Batch`] of squares of `side` pixels on `device`; samples of another size are
/// squeezed.
///
/// # Errors
/// When libtorch fails.
pub fn assemble<'a>(
    samples: impl ExactSizeIterator<Item = (&'a Sample, Augmentation)>,
    side: u32,
    device: Device,
) -> Result<Batch, TorchError> {
    let (count, side) = (samples.len(), side as usize);
    let image = 3 * side * side;
    let mut planes = vec![0u8; count * image];
    let mut truths = Vec::with_capacity(count);
    for ((sample, change), planes) in samples.zip(planes.chunks_exact_mut(image)) {
        change.pixels(sample, side, planes);
        let (boxes, labels) = change.targets(sample, side);
        truths.push(Truth { boxes, labels });
    }
    let images = to_device(&planes, side as i64, device)?;
    Ok(Batch { images, truths })
}

/// Images of three planes of `side * side` bytes each as `[N, 3, side, side]`, f32 in [-1, 1], on
/// `device`.
///
/// # Errors
/// When libtorch fails.
pub(crate) fn to_device(planes: &[u8], side: i64, device: Device) -> Result<Tensor, TorchError> {
    let count = planes.len() as i64 / (3 * side * side);
    // Bytes travel to the device, floats are made there.
    Ok(
        Tensor::f_from_data_size(planes, &[count, 3, side, side], Kind::Uint8)?
            .f_to_device(device)?
            .f_to_kind(Kind::Float)?
            .f_mul_scalar_(1.0 / 127.5)?
            .f_sub_scalar_(1.0)?,
    )
}

/// How a network takes images.
#[derive(Clone, Copy, Debug)]
pub struct ImageInput {
    /// Side of the square input in pixels.
    pub side: u32,
    /// Where the network computes.
    pub device: Device,
    /// Seeds the random changes.
    pub seed: u64,
    /// How training images are changed at random.
    pub augment: Recipe,
    /// What the network multiplies in.
    pub precision: Precision,
}

impl ImageInput {
    /// As `config` has it.
    pub fn new(config: &ImageConfig) -> Self {
        Self {
            side: config.model.side(),
            device: config.torch.device,
            seed: config.torch.seed,
            augment: config.augment,
            precision: config.torch.precision,
        }
    }

    /// Runs a classifier's network; its scores are f32 whatever it multiplies in.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn scores(
        &self,
        network: &dyn ClassificationModel,
        images: &Tensor,
        mode: Mode,
    ) -> Result<Tensor, TorchError> {
        let scores = self.precision.run(self.device, || {
            Ok::<_, TorchError>(network.forward(images, mode)?)
        })?;
        Ok(scores.f_to_kind(Kind::Float)?)
    }

    /// Samples as tensors, changed as `iteration` draws it; unchanged where there is none.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn batch(
        &self,
        samples: &[(u32, Arc<Sample>)],
        iteration: Option<u64>,
    ) -> Result<Batch, TorchError> {
        let changed = samples.iter().map(|(place, sample)| {
            let change = match iteration {
                Some(iteration) => {
                    let place = u64::from(*place);
                    Augmentation::draw(self.augment, self.seed, iteration, place, sample)
                }
                None => Augmentation::NONE,
            };
            (&**sample, change)
        });
        assemble(changed, self.side, self.device)
    }

    /// Images that go through the network together. More would only take memory: about 200 MB an
    /// image of 320 x 320 pixels during training.
    pub fn images_per_pass(&self) -> usize {
        let budget = if self.device.is_cuda() { 128 } else { 8 };
        (budget * 320 * 320 / (self.side as usize * self.side as usize)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_never_empty() {
        for (side, images) in [(128, 50), (320, 8), (4096, 1)] {
            let input = ImageInput {
                side,
                device: Device::Cpu,
                seed: 1,
                augment: Recipe::None,
                precision: Precision::F32,
            };
            assert_eq!(input.images_per_pass(), images);
        }
    }
}
