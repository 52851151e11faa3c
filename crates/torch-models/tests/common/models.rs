//! The smallest models that tests can learn something with.

use torch_models::models::resnet::{Depth, Stem};
use torch_models::{ImageConfig, ModelConfig, NormKind, TorchConfig};

/// A detector for images of 64 pixels.
pub const TINY_SSD: ModelConfig = ModelConfig::TinySsd { width: 8, side: 64 };

/// A ResNet-18 for images of 16 pixels.
pub fn resnet(norm: NormKind) -> ModelConfig {
    ModelConfig::ResNet {
        depth: Depth::Eighteen,
        stem: Stem::Small,
        side: 16,
        norm,
    }
}

/// `model` with `batch` images of each of `partitions` partitions, seed 0.
pub fn image_config(model: ModelConfig, partitions: usize, batch: usize) -> ImageConfig {
    ImageConfig {
        model,
        torch: TorchConfig {
            partitions,
            batch,
            ..TorchConfig::default()
        },
        ..ImageConfig::default()
    }
}
