//! COCO-format detection data, and images by class, without libtorch.
//!
//! From the bottom up:
//!
//! 1. [`Annotations`]: an `instances_*.json` file as typed values.
//! 2. [`Dataset`]: annotations joined with an image directory and validated; images decoded and
//!    resized on demand, with boxes and labels for training, and full ground truth for
//!    evaluation. [`SampleCache`] keeps decoded images in memory up to a limit.
//! 3. [`mod@average_precision`]: the twelve COCO numbers, overall and per category, equal to
//!    pycocotools'; [`evaluate_results`] takes them from a file of detections in COCO's format.
//! 4. [`synth`]: a seeded data set of textured shapes that a small detector learns in a minute.
//! 5. [`folder`]: images in a directory per class, for classifiers.
//! 6. [`mod@check`]: everything that is wrong with a data set, as a report.
//!
//! Boxes in files are `[x, y, width, height]` in pixels of the original image, as COCO has them;
//! boxes of a [`Sample`] are `[x1, y1, x2, y2]` in pixels of the resized one. [`Labels`] are dense,
//! 1..=C in ascending order of category id, unless category ids are asked for; 0 is background.
//!
//! # One complete program
//! ```
//! use coco::{Dataset, synth::{SynthConfig, generate}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let scratch = tempfile::tempdir()?;
//! let shapes = scratch.path().join("shapes");
//! generate(&shapes, &SynthConfig { images: 4, validation: 2, side: 64, ..SynthConfig::default() })?;
//!
//! let train = Dataset::open(&shapes.join("instances_train.json"), &shapes.join("train"))?;
//! let sample = train.load(0, 32)?;
//! assert_eq!(sample.pixels.len(), 32 * 32 * 3);
//! assert_eq!(sample.boxes.len(), sample.labels.len());
//! # Ok(())
//! # }
//! ```

mod annotations;
pub mod average_precision;
mod cache;
pub mod check;
mod dataset;
mod decode;
mod error;
pub mod folder;
mod labels;
mod results;
pub mod synth;

pub use annotations::{Annotation, Annotations, Category, ImageInfo};
pub use average_precision::{
    AveragePrecision, CategoryPrecision, Detection, Evaluation, GroundTruth, average_precision,
    evaluate,
};
pub use cache::{Cache, SampleCache};
pub use check::{CheckReport, check};
pub use dataset::{Dataset, Sample, Targets};
pub use decode::{Picture, read_image};
pub use error::CocoError;
pub use folder::{ImageFolder, Photo, PhotoCache, Region};
pub use labels::Labels;
pub use results::{ResultsEvaluation, evaluate_results, read_results, write_results};
