//! A small synthetic data set for tests.

use std::sync::Arc;

use coco::Dataset;
use coco::synth::{SynthConfig, generate};

/// Training and validation images of textured shapes, and the directory that holds them.
pub struct Shapes {
    /// Training images.
    pub train: Arc<Dataset>,
    /// Held-out images.
    pub validation: Arc<Dataset>,
    _directory: tempfile::TempDir,
}

/// Generates `images` training images and a quarter as many held-out ones of `side` pixels.
pub fn shapes(images: u32, side: u32) -> Shapes {
    let directory = tempfile::tempdir().unwrap();
    let config = SynthConfig {
        images,
        validation: images / 4,
        side,
        threads: 1,
        ..SynthConfig::default()
    };
    let summary = generate(&directory.path().join("shapes"), &config).unwrap();
    let open = |annotations, images| Arc::new(Dataset::open(annotations, images).unwrap());
    Shapes {
        train: open(&summary.train_annotations, &summary.train_images),
        validation: open(&summary.validation_annotations, &summary.validation_images),
        _directory: directory,
    }
}
