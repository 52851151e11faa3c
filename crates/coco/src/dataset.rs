//! Annotations joined with their images.

use crate::decode::{read_image, resize};
use crate::{Annotation, Annotations, Category, CocoError, GroundTruth, ImageInfo, Labels};
use image::RgbImage;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A validated data set. Images stay on disk until [`Dataset::load`]; it is `Sync`, so any number of
/// threads may load from one.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The images, in the file's order; an image index is a position here.
    pub images: Vec<ImageInfo>,
    /// The categories by ascending id.
    pub categories: Vec<Category>,
    /// All annotations, those of one image together, in the file's order within an image.
    annotations: Vec<Annotation>,
    /// `annotations[starts[i]..starts[i + 1]]` belong to image i.
    starts: Vec<usize>,
    labelling: Labels,
    /// Category id to label.
    labels: HashMap<u64, i64>,
    annotation_file: PathBuf,
    image_directory: PathBuf,
}

/// One training image with its targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// `height * width * 3` bytes: rows, then columns, then R, G, B.
    pub pixels: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `[x1, y1, x2, y2]` in these pixels, x1 < x2 and y1 < y2.
    pub boxes: Vec<[f32; 4]>,
    /// Label of each box, from 1.
    pub labels: Vec<i64>,
}

/// The training targets of one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// `[x1, y1, x2, y2]` in pixels of the resized image, x1 < x2 and y1 < y2.
    pub boxes: Vec<[f32; 4]>,
    /// Label of each box, from 1.
    pub labels: Vec<i64>,
}

impl Dataset {
    /// Reads and validates an annotation file. Image files are looked for when they are loaded;
    /// labels are dense.
    ///
    /// # Errors
    /// [`CocoError::Io`] when the file or the image directory is missing, [`CocoError::Json`], and
    /// the first of [`Annotations::problems`].
    pub fn open(annotations: &Path, images: &Path) -> Result<Self, CocoError> {
        std::fs::read_dir(images).map_err(CocoError::io(images))?;
        Self::new(Annotations::read(annotations)?, annotations, images)
    }

    /// A data set of annotations already in memory; `annotation_file` is for error messages.
    ///
    /// # Errors
    /// The first of [`Annotations::problems`].
    pub fn new(
        annotations: Annotations,
        annotation_file: &Path,
        image_directory: &Path,
    ) -> Result<Self, CocoError> {
        if let Some(problem) = annotations.problems(annotation_file).next() {
            return Err(problem);
        }
        let Annotations {
            mut images,
            mut annotations,
            mut categories,
        } = annotations;
        // Lists of unknown length grow by doubling.
        images.shrink_to_fit();
        annotations.shrink_to_fit();
        categories.sort_by_key(|category| category.id);
        let labelling = Labels::default();
        let labels = labelling.of(&categories, annotation_file)?;
        let index: HashMap<u64, usize> = images
            .iter()
            .enumerate()
            .map(|(index, image)| (image.id, index))
            .collect();
        annotations.sort_by_key(|annotation| index[&annotation.image_id]);
        let mut starts = vec![0; images.len() + 1];
        for annotation in &annotations {
            starts[index[&annotation.image_id] + 1] += 1;
        }
        for i in 0..images.len() {
            starts[i + 1] += starts[i];
        }
        Ok(Self {
            images,
            categories,
            annotations,
            starts,
            labelling,
            labels,
            annotation_file: annotation_file.to_owned(),
            image_directory: image_directory.to_owned(),
        })
    }

    /// The same data set with other labels.
    ///
    /// # Errors
    /// [`CocoError::Impossible`] for a category id that cannot be a raw label.
    pub fn with_labels(mut self, labels: Labels) -> Result<Self, CocoError> {
        self.labels = labels.of(&self.categories, &self.annotation_file)?;
        self.labelling = labels;
        Ok(self)
    }

    /// How category ids become labels.
    pub fn labels(&self) -> Labels {
        self.labelling
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Memory that the lists of images and annotations take, in bytes; decoded images not included.
    pub fn index_bytes(&self) -> usize {
        let names: usize = self.images.iter().map(|i| i.file_name.capacity()).sum();
        names
            + self.images.capacity() * size_of::<ImageInfo>()
            + self.annotations.capacity() * size_of::<Annotation>()
            + self.starts.capacity() * size_of::<usize>()
    }

    /// Whether there are no images; never true for a data set that was opened.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Number of classes with the background, the largest label + 1: what a detector calls
    /// `num_classes`. C + 1 for dense labels.
    pub fn classes(&self) -> usize {
        self.labelling.classes(&self.categories)
    }

    /// The label of a category id.
    pub fn label(&self, category_id: u64) -> Option<i64> {
        self.labels.get(&category_id).copied()
    }

    /// The category of a label; none for the background and for labels that no category has.
    pub fn category(&self, label: i64) -> Option<&Category> {
        let label = u64::try_from(label).ok()?;
        let index = match self.labelling {
            Labels::Dense => usize::try_from(label).ok()?.checked_sub(1)?,
            Labels::Raw => self
                .categories
                .binary_search_by_key(&label, |category| category.id)
                .ok()?,
        };
        self.categories.get(index)
    }

    /// Where an image's file should be.
    ///
    /// # Errors
    /// [`CocoError::NoSuchImage`].
    pub fn image_path(&self, index: usize) -> Result<PathBuf, CocoError> {
        Ok(self.image_directory.join(&self.image(index)?.file_name))
    }

    /// All annotations of an image, crowds and degenerate boxes included, in the file's order.
    ///
    /// # Errors
    /// [`CocoError::NoSuchImage`].
    pub fn annotations(&self, index: usize) -> Result<&[Annotation], CocoError> {
        self.image(index)?;
        Ok(&self.annotations[self.starts[index]..self.starts[index + 1]])
    }

    /// Decodes one image, resizes it to `side` x `side` pixels (bilinear, aspect ratio ignored) and
    /// scales its training targets alike.
    ///
    /// # Errors
    /// [`CocoError::Io`] when the file is missing, [`CocoError::Image`] when it cannot be decoded,
    /// [`CocoError::ImageSize`] when its size is not the annotations', [`CocoError::NoSuchImage`],
    /// and [`CocoError::Setting`] for a side of 0.
    pub fn load(&self, index: usize, side: u32) -> Result<Sample, CocoError> {
        let Targets { boxes, labels } = self.targets(index, side)?;
        Ok(Sample {
            pixels: self.pixels(index, side)?,
            width: side,
            height: side,
            boxes,
            labels,
        })
    }

    /// Decodes one image at its own size, with its training targets.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn load_unscaled(&self, index: usize) -> Result<Sample, CocoError> {
        let image = self.decoded(index)?;
        let (width, height) = image.dimensions();
        let Targets { boxes, labels } = self.scaled_targets(index, 1.0, 1.0)?;
        Ok(Sample {
            pixels: image.into_raw(),
            width,
            height,
            boxes,
            labels,
        })
    }

    /// The pixels of [`Dataset::load`] alone.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn pixels(&self, index: usize, side: u32) -> Result<Vec<u8>, CocoError> {
        if side == 0 {
            return Err(CocoError::Setting {
                key: "side",
                value: "0".to_owned(),
                valid: "at least 1 pixel",
            });
        }
        let image = self.decoded(index)?;
        resize(image, side).map_err(|what| CocoError::Image {
            path: self.image_directory.join(&self.images[index].file_name),
            what,
        })
    }

    /// The image's file, of the size that the annotations say.
    fn decoded(&self, index: usize) -> Result<RgbImage, CocoError> {
        let info = self.image(index)?;
        let path = self.image_path(index)?;
        let image = read_image(&path)?;
        let (expected, found) = ((info.width, info.height), image.dimensions());
        if expected != found {
            return Err(CocoError::ImageSize {
                path,
                expected,
                found,
            });
        }
        Ok(image)
    }

    /// The targets of [`Dataset::load`] alone; no file is read.
    ///
    /// As in torchvision's reference training: crowds are dropped, boxes are clipped to the image,
    /// and boxes without width or height after that are dropped.
    ///
    /// # Errors
    /// [`CocoError::NoSuchImage`].
    pub fn targets(&self, index: usize, side: u32) -> Result<Targets, CocoError> {
        let info = self.image(index)?;
        let (width, height) = (f64::from(info.width), f64::from(info.height));
        self.scaled_targets(index, f64::from(side) / width, f64::from(side) / height)
    }

    /// The training targets, in pixels of the image times `across` and `down`.
    fn scaled_targets(&self, index: usize, across: f64, down: f64) -> Result<Targets, CocoError> {
        let info = self.image(index)?;
        let (width, height) = (f64::from(info.width), f64::from(info.height));
        let mut targets = Targets::default();
        for annotation in self.annotations(index)?.iter().filter(|a| !a.crowd) {
            let [x, y, w, h] = annotation.bbox;
            let corners = [
                x.clamp(0.0, width) * across,
                y.clamp(0.0, height) * down,
                (x + w).clamp(0.0, width) * across,
                (y + h).clamp(0.0, height) * down,
            ]
            .map(|v| v as f32);
            if corners[2] > corners[0] && corners[3] > corners[1] {
                targets.boxes.push(corners);
                targets.labels.push(self.labels[&annotation.category_id]);
            }
        }
        Ok(targets)
    }

    /// Indices of the images that have something to learn, ascending.
    ///
    /// As in torchvision's reference training: an image is dropped when it has no target, or when
    /// every box of it is at most one pixel wide or high.
    pub fn trainable_images(&self) -> Vec<u32> {
        (0..self.len())
            .filter(|&index| {
                let visible = self.annotations(index).is_ok_and(|annotations| {
                    annotations
                        .iter()
                        .any(|a| !a.crowd && a.bbox[2] > 1.0 && a.bbox[3] > 1.0)
                });
                visible
                    && self
                        .targets(index, 1)
                        .is_ok_and(|targets| !targets.boxes.is_empty())
            })
            .map(|index| index as u32)
            .collect()
    }

    /// Mean number of target boxes per trainable image; NaN when there is none.
    ///
    /// A normaliser that does not depend on which workers answered. Detectors that match several
    /// anchors to a box want their own mean over [`Dataset::targets`].
    pub fn mean_boxes(&self) -> f64 {
        let trainable = self.trainable_images();
        let boxes: usize = trainable
            .iter()
            .filter_map(|&index| self.targets(index as usize, 1).ok())
            .map(|targets| targets.boxes.len())
            .sum();
        boxes as f64 / trainable.len() as f64
    }

    /// The ground truth of an image for [`crate::average_precision()`]: every annotation, crowds
    /// included, unclipped, in pixels of the original image. `image` is the image's id, whose order
    /// decides ties as in pycocotools.
    ///
    /// # Errors
    /// [`CocoError::NoSuchImage`].
    pub fn ground_truth(&self, index: usize) -> Result<Vec<GroundTruth>, CocoError> {
        let annotations = self.annotations(index)?;
        Ok(annotations
            .iter()
            .map(|annotation| annotation.ground_truth(self.labels[&annotation.category_id]))
            .collect())
    }

    fn image(&self, index: usize) -> Result<&ImageInfo, CocoError> {
        self.images
            .get(index)
            .ok_or_else(|| CocoError::NoSuchImage {
                path: self.annotation_file.clone(),
                index,
                images: self.images.len(),
            })
    }
}

#[cfg(test)]
mod tests;
