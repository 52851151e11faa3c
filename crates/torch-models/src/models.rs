//! The networks. They know tensors only: no data, no loss.

pub mod cnn;
pub mod gpt2;
pub mod mobilenet_v3;
pub mod resnet;
pub mod ssdlite;
pub mod tiny_ssd;

use tch::{TchError, Tensor};

use crate::detection::anchors::DefaultBoxes;
use crate::layers::Mode;

/// What a single-shot detector says about every anchor of every image.
pub struct HeadOutputs {
    /// Class scores before softmax, `[N, anchors, classes]`; class 0 is the background.
    pub logits: Tensor,
    /// Box codes relative to the anchors (see [`crate::detection::box_coder`]), `[N, anchors, 4]`.
    pub codes: Tensor,
}

/// A single-shot detector for square images.
pub trait DetectionModel: Send {
    /// Runs the network on images `[N, 3, side, side]` with values in [-1, 1].
    ///
    /// # Errors
    /// When libtorch fails.
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<HeadOutputs, TchError>;

    /// The sides of the feature maps that carry anchors, for images of `side` pixels, in the
    /// order of the anchors.
    fn map_sides(&self, side: u32) -> Vec<u32>;

    /// The default boxes per cell of each map.
    fn default_boxes(&self) -> DefaultBoxes;

    /// Whether a batch's gradient is the sum of its samples' gradients.
    fn is_per_sample(&self) -> bool;
}

/// What a network expects pixels to be shifted and divided by, per channel (red, green, blue), when
/// they are numbers from 0 to 1. It belongs to a network and its published weights, so it is no
/// setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelStatistics {
    /// Subtracted.
    pub mean: [f32; 3],
    /// Divided by.
    pub deviation: [f32; 3],
}

impl PixelStatistics {
    /// To [-1, 1].
    pub const SYMMETRIC: Self = Self {
        mean: [0.5; 3],
        deviation: [0.5; 3],
    };
    /// Mean and standard deviation of ImageNet's pixels, which torchvision's classifiers are trained with.
    pub const IMAGENET: Self = Self {
        mean: [0.485, 0.456, 0.406],
        deviation: [0.229, 0.224, 0.225],
    };

    /// Normalizes images `[N, 3, H, W]` with values in [-1, 1].
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn normalize(&self, images: &Tensor) -> Result<Tensor, TchError> {
        if *self == Self::SYMMETRIC {
            return Ok(images.shallow_clone());
        }
        let channel = |value: fn(f32, f32) -> f32| {
            let values: Vec<f32> = self
                .mean
                .iter()
                .zip(self.deviation)
                .map(|(&mean, deviation)| value(mean, deviation))
                .collect();
            Tensor::f_from_slice(&values)?
                .f_view([1, 3, 1, 1])?
                .f_to_device(images.device())
        };
        let shift = channel(|mean, deviation| (0.5 - mean) / deviation)?;
        let scale = channel(|_, deviation| 0.5 / deviation)?;
        images.f_mul(&scale)?.f_add(&shift)
    }
}

/// A classifier of images.
pub trait ClassificationModel: Send {
    /// Logits `[N, outputs]` of images `[N, 3, H, W]`, normalized by [`Self::pixel_statistics`].
    ///
    /// # Errors
    /// When libtorch fails.
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor, TchError>;

    /// Whether a batch's gradient is the sum of its samples' gradients.
    fn is_per_sample(&self) -> bool;

    /// How pixels are normalized.
    fn pixel_statistics(&self) -> PixelStatistics;
}

/// The side of a map after `halvings` convolutions of stride 2 with "same" padding.
fn halved(side: u32, halvings: u32) -> u32 {
    (0..halvings).fold(side, |side, _| side.div_ceil(2))
}

/// Rearranges a head's map `[N, boxes * columns, H, W]` into `[N, H * W * boxes, columns]`.
fn per_anchor(map: &Tensor, columns: i64) -> Result<Tensor, TchError> {
    let (n, _, height, width) = map.size4()?;
    map.f_view([n, -1, columns, height, width])?
        .f_permute([0, 3, 4, 1, 2])?
        .f_reshape([n, -1, columns])
}
