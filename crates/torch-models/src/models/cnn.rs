//! A small convolutional classifier with one logit per category.
//!
//! Four 3x3 convolutions of stride 2 with group norm and ReLU, the mean over the remaining pixels,
//! a linear layer. Every layer is per sample.

use tch::{TchError, Tensor};

use super::{ClassificationModel, PixelStatistics};
use crate::error::TorchError;
use crate::init::Init;
use crate::layers::{Activation, ConvNorm, ConvShape, Linear, Mode, NormKind};
use crate::store::Scope;

/// The network. See the module documentation.
pub struct Cnn {
    features: Vec<ConvNorm>,
    classifier: Linear,
}

impl Cnn {
    /// A network of base width `width` for `categories` categories.
    ///
    /// # Errors
    /// When `width` is 0, or libtorch cannot allocate.
    pub fn new(scope: &Scope<'_>, width: i64, categories: i64) -> Result<Self, TorchError> {
        if width < 1 {
            return Err(TorchError::Setting {
                key: "model.width",
                value: width.to_string(),
                expected: "at least 1".into(),
            });
        }
        let channels = [3, width, 2 * width, 4 * width, 4 * width];
        let features = channels
            .windows(2)
            .enumerate()
            .map(|(i, pair)| {
                let shape = ConvShape::dense(pair[0], pair[1], 3, 2);
                ConvNorm::new(
                    &scope.sub(format_args!("features.{i}")),
                    shape,
                    Init::kaiming(shape.fan_in()),
                    NormKind::Group,
                    Activation::Relu,
                )
            })
            .collect::<Result<_, _>>()?;
        let classifier = Linear::new(
            &scope.sub("classifier"),
            4 * width,
            categories,
            Init::Normal(0.01),
        )?;
        Ok(Self {
            features,
            classifier,
        })
    }
}

impl ClassificationModel for Cnn {
    /// Logits `[N, categories]` of images `[N, 3, H, W]` with values in [-1, 1].
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let mut x = images.shallow_clone();
        for layer in &self.features {
            x = layer.forward(&x, mode)?;
        }
        let means = x.f_adaptive_avg_pool2d([1, 1])?.f_flatten(1, -1)?;
        self.classifier.forward(&means)
    }

    fn is_per_sample(&self) -> bool {
        true
    }

    fn pixel_statistics(&self) -> PixelStatistics {
        PixelStatistics::SYMMETRIC
    }
}
