//! A COCO-format data set of textured shapes that a detector really learns.
//!
//! Every image has one to four shapes (disk, square, triangle, cross, ring) whose boxes do not
//! overlap, each 14-50 % of the side, with a 1/f texture in a colour at an L1 distance of more than
//! 150 from the background's, on a 1/f-textured background. Image i of a split is a pure function of
//! (seed, split, i): asking for more images keeps those there were, and threads change nothing.
//!
//! ```text
//! DIR/instances_train.json   DIR/train/000000000001.jpg ...
//! DIR/instances_val.json     DIR/val/000000000001.jpg ...
//! ```

mod folders;
mod scene;
mod texture;

pub use folders::{FolderSummary, generate_folders};
pub use scene::Shape;

use crate::{Annotation, Category, CocoError, ImageInfo};
use counter_rng::{Purpose, rng};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use scene::Scene;
use serde::{Deserialize, Serialize};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// JPEG quality of the images.
const QUALITY: u8 = 90;

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SynthConfig {
    /// Training images.
    pub images: u32,
    /// Validation images.
    pub validation: u32,
    /// Width and height in pixels, 32..=4096.
    pub side: u32,
    /// Seed.
    pub seed: u64,
    /// Threads; 0 for one per core. Does not change the result.
    pub threads: usize,
}

impl Default for SynthConfig {
    /// 2000 + 200 images of 128 pixels: about 10 MB.
    fn default() -> Self {
        Self {
            images: 2000,
            validation: 200,
            side: 128,
            seed: 1,
            threads: 0,
        }
    }
}

/// Where a generated data set is and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SynthSummary {
    /// `instances_train.json`.
    pub train_annotations: PathBuf,
    /// The directory of the training images.
    pub train_images: PathBuf,
    /// `instances_val.json`.
    pub validation_annotations: PathBuf,
    /// The directory of the validation images.
    pub validation_images: PathBuf,
    /// Objects in the training images.
    pub train_objects: usize,
    /// Objects in the validation images.
    pub validation_objects: usize,
    /// Bytes of all JPEG files.
    pub bytes: u64,
}

/// Generates a data set in `dir`, which must not exist or be empty; its parents are created.
///
/// Everything is written to a directory beside it, which takes its name when complete: `dir` never
/// holds half a data set.
///
/// # Errors
/// [`CocoError::Exists`], [`CocoError::Setting`] for no images or a side out of range, and
/// [`CocoError::Io`].
pub fn generate(dir: &Path, config: &SynthConfig) -> Result<SynthSummary, CocoError> {
    let [
        (train_objects, train_bytes),
        (validation_objects, validation_bytes),
    ] = all_or_nothing(dir, config, write_split)?;
    Ok(SynthSummary {
        train_annotations: dir.join(Split::Train.annotations()),
        train_images: dir.join(Split::Train.directory()),
        validation_annotations: dir.join(Split::Validation.annotations()),
        validation_images: dir.join(Split::Validation.directory()),
        train_objects,
        validation_objects,
        bytes: train_bytes + validation_bytes,
    })
}

/// Writes both splits into `dir`, or nothing.
fn all_or_nothing<T>(
    dir: &Path,
    config: &SynthConfig,
    write: impl Fn(&Path, Split, &SynthConfig) -> Result<T, CocoError>,
) -> Result<[T; 2], CocoError> {
    validate(config)?;
    let occupied = || CocoError::Exists {
        path: dir.to_owned(),
    };
    let in_use = match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() == std::io::ErrorKind::NotADirectory,
    };
    if in_use {
        return Err(occupied());
    }
    let partial = Partial::beside(dir)?;
    let written = [
        write(&partial.path, Split::Train, config)?,
        write(&partial.path, Split::Validation, config)?,
    ];
    match std::fs::rename(&partial.path, dir) {
        // another process was faster
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
            return Err(occupied());
        }
        renamed => renamed.map_err(CocoError::io(dir))?,
    }
    Ok(written)
}

fn validate(config: &SynthConfig) -> Result<(), CocoError> {
    for (key, value, valid, ok) in [
        ("images", config.images, "at least 1", config.images > 0),
        (
            "validation",
            config.validation,
            "at least 1",
            config.validation > 0,
        ),
        (
            "side",
            config.side,
            "between 32 and 4096 pixels",
            (32..=4096).contains(&config.side),
        ),
    ] {
        if !ok {
            return Err(CocoError::Setting {
                key,
                value: value.to_string(),
                valid,
            });
        }
    }
    Ok(())
}

/// A directory that is removed again unless it was renamed.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn beside(dir: &Path) -> Result<Self, CocoError> {
        let parent = match dir.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(parent).map_err(CocoError::io(parent))?;
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let path = parent.join(format!(".{name}.partial-{}", std::process::id()));
        // left by a killed process that had our id
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(CocoError::io(&path))?;
        }
        std::fs::create_dir(&path).map_err(CocoError::io(&path))?;
        Ok(Self { path })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // gone already when the rename succeeded; otherwise nothing more can be done about it here
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Split {
    Train,
    Validation,
}

impl Split {
    fn directory(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "val",
        }
    }

    fn annotations(self) -> String {
        format!("instances_{}.json", self.directory())
    }

    fn size(self, config: &SynthConfig) -> u32 {
        match self {
            Self::Train => config.images,
            Self::Validation => config.validation,
        }
    }
}

/// The annotation file as written.
#[derive(Serialize)]
struct AnnotationFile {
    info: Info,
    images: Vec<ImageInfo>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Serialize)]
struct Info {
    description: &'static str,
    seed: u64,
}

/// `make` of every index below `count`, on `threads` threads (0: one per core), in any order.
fn on_threads<T: Send>(
    threads: usize,
    count: usize,
    make: impl Fn(usize) -> Result<T, CocoError> + Sync,
) -> Result<Vec<T>, CocoError> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<T>, CocoError> {
        let mut made = vec![];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(made);
            }
            made.push(make(index)?);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = vec![];
        for worker in workers {
            match worker.join() {
                Ok(made) => all.extend(made?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}

/// Writes one split; returns its number of objects and the bytes of its images.
fn write_split(root: &Path, split: Split, config: &SynthConfig) -> Result<(usize, u64), CocoError> {
    let directory = root.join(split.directory());
    std::fs::create_dir(&directory).map_err(CocoError::io(&directory))?;
    let count = split.size(config) as usize;
    let mut images = on_threads(config.threads, count, |index| {
        draw_image(&directory, split, config, index)
    })?;
    images.sort_by_key(|drawn| drawn.info.id);

    let bytes = images.iter().map(|drawn| drawn.bytes).sum();
    let mut file = AnnotationFile {
        info: Info {
            description: "textured shapes, synthetic",
            seed: config.seed,
        },
        images: vec![],
        annotations: vec![],
        categories: Shape::ALL.iter().map(|shape| shape.category()).collect(),
    };
    for drawn in images {
        for (shape, bbox, area) in drawn.objects {
            file.annotations.push(Annotation {
                id: file.annotations.len() as u64 + 1,
                image_id: drawn.info.id,
                category_id: shape.category().id,
                bbox,
                area,
                crowd: false,
            });
        }
        file.images.push(drawn.info);
    }
    write_json(&root.join(split.annotations()), &file)?;
    Ok((file.annotations.len(), bytes))
}

fn write_json(path: &Path, file: &AnnotationFile) -> Result<(), CocoError> {
    let mut writer = BufWriter::new(std::fs::File::create(path).map_err(CocoError::io(path))?);
    serde_json::to_writer(&mut writer, file)
        .map_err(std::io::Error::from)
        .and_then(|()| writer.flush())
        .map_err(CocoError::io(path))
}

/// One image as it will be annotated.
struct Drawn {
    info: ImageInfo,
    objects: Vec<(Shape, [f64; 4], f64)>,
    bytes: u64,
}

fn draw_image(
    directory: &Path,
    split: Split,
    config: &SynthConfig,
    index: usize,
) -> Result<Drawn, CocoError> {
    let side = config.side;
    let mut random = rng(config.seed, Purpose::Synthesis, split as u64, index as u64);
    let scene = Scene::draw(side as usize, &mut random);
    let id = index as u64 + 1;
    let file_name = format!("{id:012}.jpg");
    let path = directory.join(&file_name);
    let bytes = write_jpeg(&path, &scene, side)?;
    Ok(Drawn {
        info: ImageInfo {
            id,
            file_name,
            width: side,
            height: side,
        },
        objects: scene.objects,
        bytes,
    })
}

/// Writes a scene's pixels; returns the bytes of the file.
fn write_jpeg(path: &Path, scene: &Scene, side: u32) -> Result<u64, CocoError> {
    let mut jpeg = vec![];
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(&scene.pixels, side, side, ExtendedColorType::Rgb8)
        .map_err(|error| CocoError::Image {
            path: path.to_owned(),
            what: error.to_string(),
        })?;
    std::fs::write(path, &jpeg).map_err(CocoError::io(path))?;
    Ok(jpeg.len() as u64)
}

#[cfg(test)]
mod tests;
