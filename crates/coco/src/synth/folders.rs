//! The same shapes, one to an image, in a directory per shape: an image folder.

use super::{Scene, Shape, Split, SynthConfig, all_or_nothing, on_threads, write_jpeg};
use crate::CocoError;
use counter_rng::{Purpose, rng};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a generated image folder is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderSummary {
    /// The training images, a directory per shape.
    pub train_folder: PathBuf,
    /// The validation images.
    pub validation_folder: PathBuf,
    /// Bytes of all JPEG files.
    pub bytes: u64,
}

/// Generates `DIR/train/SHAPE/*.jpg` and `DIR/val/SHAPE/*.jpg` as [`super::generate`] does its files,
/// with the shapes in turn. Both splits need an image of every shape, so at least 5.
///
/// # Errors
/// As [`super::generate`].
pub fn generate_folders(dir: &Path, config: &SynthConfig) -> Result<FolderSummary, CocoError> {
    let few = [("images", config.images), ("validation", config.validation)];
    if let Some((key, count)) = few
        .into_iter()
        .find(|(_, n)| (*n as usize) < Shape::ALL.len())
    {
        return Err(CocoError::Setting {
            key,
            value: count.to_string(),
            valid: "at least 5, one of every shape",
        });
    }
    let bytes = all_or_nothing(dir, config, write_split)?;
    Ok(FolderSummary {
        train_folder: dir.join(Split::Train.directory()),
        validation_folder: dir.join(Split::Validation.directory()),
        bytes: bytes.into_iter().sum(),
    })
}

/// Writes one split; returns the bytes of its images.
fn write_split(root: &Path, split: Split, config: &SynthConfig) -> Result<u64, CocoError> {
    let directory = |shape: Shape| root.join(split.directory()).join(shape.category().name);
    for shape in Shape::ALL {
        let path = directory(shape);
        std::fs::create_dir_all(&path).map_err(CocoError::io(&path))?;
    }
    // Other draws than those of the scenes with many shapes.
    let stream = 2 + split as u64;
    let bytes = on_threads(config.threads, split.size(config) as usize, |index| {
        let mut random = rng(config.seed, Purpose::Synthesis, stream, index as u64);
        let shape = Shape::ALL[index % Shape::ALL.len()];
        let scene = Scene::with(shape, config.side as usize, &mut random);
        let path = directory(shape).join(format!("{:08}.jpg", index + 1));
        write_jpeg(&path, &scene, config.side)
    })?;
    Ok(bytes.into_iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageFolder;

    #[test]
    fn a_generated_folder_is_an_image_folder_and_depends_on_the_seed_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let config = |images, threads| SynthConfig {
            images,
            validation: 5,
            side: 32,
            threads,
            ..SynthConfig::default()
        };
        let one = generate_folders(&scratch.path().join("one"), &config(12, 1)).unwrap();
        let two = generate_folders(&scratch.path().join("two"), &config(17, 2)).unwrap();
        let (one, two) = (
            ImageFolder::open(&one.train_folder).unwrap(),
            ImageFolder::open(&two.train_folder).unwrap(),
        );
        assert_eq!(
            one.classes(),
            ["cross", "disk", "ring", "square", "triangle"]
        );
        assert_eq!((one.len(), two.len()), (12, 17));
        let bytes =
            |folder: &ImageFolder, index| std::fs::read(folder.path(index).unwrap()).unwrap();
        assert_eq!(
            bytes(&one, 0),
            bytes(&two, 0),
            "more images keep those there were"
        );
        assert_ne!(bytes(&one, 0), bytes(&one, 1));
        assert!(generate_folders(&scratch.path().join("few"), &config(4, 1)).is_err());
    }
}
