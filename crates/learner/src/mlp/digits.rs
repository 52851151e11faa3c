//! Images of digits: MNIST's IDX files, or a synthetic set of the same shape.

use crate::LearnerError;
use crate::normal::fill_normal;
use counter_rng::{Purpose, rng};
use ndarray::Array2;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Pixels of an image: 28 x 28.
pub const PIXELS: usize = SIDE * SIDE;
/// Classes: the digits 0 to 9.
pub const CLASSES: usize = 10;

const SIDE: usize = 28;
/// Means per class of the synthetic mixture.
const MODES: usize = 3;
/// Strokes (Gaussian blobs) in a synthetic mean.
const BLOBS: usize = 5;
/// Iteration coordinate of the synthetic draws; the convex problems use 0 to 4.
const MEANS: u64 = 16;
const TRAINING: u64 = 17;
const HELD_OUT: u64 = 18;

/// An IDX file of images and one of labels, as on MNIST's page after gunzip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdxPaths {
    /// `train-images-idx3-ubyte`
    pub images: PathBuf,
    /// `train-labels-idx1-ubyte`
    pub labels: PathBuf,
}

/// Where the digits come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DigitSource {
    /// IDX files; without `held_out` the evaluation is on the training set.
    Idx {
        /// Training set.
        training: IdxPaths,
        /// Held-out set.
        held_out: Option<IdxPaths>,
    },
    /// A Gaussian mixture: each class has three mean images of five soft strokes, intensities in
    /// [0, 1], and a sample is one of its class's means plus `noise` x N(0, I). Classes take turns.
    /// A fifth as many samples are drawn on top and held out.
    Synthetic {
        /// Training samples.
        samples: u32,
        /// Standard deviation of every pixel.
        noise: f64,
    },
}

impl Default for DigitSource {
    fn default() -> Self {
        Self::Synthetic {
            samples: 1000,
            noise: 0.5,
        }
    }
}

impl DigitSource {
    /// Training and held-out set.
    pub(super) fn load(&self, seed: u64) -> Result<(Digits, Option<Digits>), LearnerError> {
        match self {
            Self::Idx { training, held_out } => Ok((
                Digits::read(training)?,
                held_out.as_ref().map(Digits::read).transpose()?,
            )),
            Self::Synthetic { samples, noise } => {
                if !(*noise >= 0.0 && noise.is_finite()) {
                    return Err(LearnerError::setting(
                        "noise",
                        noise,
                        "finite and at least 0",
                    ));
                }
                if *samples < CLASSES as u32 {
                    let valid = format!("at least {CLASSES}, one per class");
                    return Err(LearnerError::setting("samples", samples, valid));
                }
                let means = means(seed);
                let draw = |count, what| Digits::draw(&means, count, *noise, seed, what);
                let held_out = draw((*samples / 5).max(CLASSES as u32), HELD_OUT);
                Ok((draw(*samples, TRAINING), Some(held_out)))
            }
        }
    }
}

/// Images, row by row, with their labels.
#[derive(Debug)]
pub(super) struct Digits {
    pixels: Pixels,
    labels: Vec<u8>,
}

#[derive(Debug)]
enum Pixels {
    /// 0 to 255, as in the file.
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Digits {
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The samples as a matrix, a row each, intensities 0 to 1; and their labels.
    pub(super) fn gather(&self, samples: &[u32]) -> (Array2<f32>, Vec<u8>) {
        let mut images = Array2::zeros((samples.len(), PIXELS));
        for (mut to, &sample) in images.outer_iter_mut().zip(samples) {
            let range = sample as usize * PIXELS..(sample as usize + 1) * PIXELS;
            match &self.pixels {
                Pixels::Bytes(bytes) => {
                    for (to, from) in to.iter_mut().zip(&bytes[range]) {
                        *to = f32::from(*from) / 255.0;
                    }
                }
                Pixels::Floats(floats) => {
                    for (to, from) in to.iter_mut().zip(&floats[range]) {
                        *to = *from;
                    }
                }
            }
        }
        let labels = samples.iter().map(|s| self.labels[*s as usize]).collect();
        (images, labels)
    }

    fn draw(means: &[Vec<f64>], count: u32, noise: f64, seed: u64, what: u64) -> Self {
        let mut pixels = Vec::with_capacity(count as usize * PIXELS);
        let mut labels = Vec::with_capacity(count as usize);
        let mut draws = vec![0.0; PIXELS];
        for sample in 0..count {
            let mut random = rng(seed, Purpose::Synthesis, what, u64::from(sample));
            let class = sample as usize % CLASSES;
            let mode = random.random_range(0..MODES as u32) as usize;
            fill_normal(&mut draws, &mut random);
            let mean = &means[class * MODES + mode];
            pixels.extend(mean.iter().zip(&draws).map(|(m, z)| (m + noise * z) as f32));
            labels.push(class as u8);
        }
        Self {
            pixels: Pixels::Floats(pixels),
            labels,
        }
    }

    fn read(paths: &IdxPaths) -> Result<Self, LearnerError> {
        let images = read_idx(&paths.images, &[None, Some(SIDE), Some(SIDE)])?;
        let labels = read_idx(&paths.labels, &[None])?;
        let wrong = |what: String| LearnerError::Data {
            path: paths.labels.clone(),
            what,
        };
        let count = images.len() / PIXELS;
        if labels.len() != count {
            return Err(wrong(format!("{} labels for {count} images", labels.len())));
        }
        if let Some(label) = labels.iter().find(|label| usize::from(**label) >= CLASSES) {
            return Err(wrong(format!("label {label} is no digit")));
        }
        Ok(Self {
            pixels: Pixels::Bytes(images),
            labels,
        })
    }
}

/// The payload of an IDX file of bytes: magic `0 0 8 rank`, the big-endian u32 sizes, the elements.
/// A size of `shape` that is `Some` must match.
fn read_idx(path: &Path, shape: &[Option<usize>]) -> Result<Vec<u8>, LearnerError> {
    let wrong = |what: String| LearnerError::Data {
        path: path.to_owned(),
        what,
    };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(wrong("is compressed: gunzip it first".into()));
    }
    let header = 4 + 4 * shape.len();
    if bytes.len() < header || bytes[..4] != [0, 0, 8, shape.len() as u8] {
        return Err(wrong(format!(
            "is no IDX file of unsigned bytes with {} dimensions",
            shape.len()
        )));
    }
    let sizes: Vec<usize> = bytes[4..header]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|size| u32::from_be_bytes(*size) as usize)
        .collect();
    let fits = sizes
        .iter()
        .zip(shape)
        .all(|(size, wanted)| wanted.is_none_or(|wanted| wanted == *size));
    let elements = sizes
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size));
    if !fits || elements != Some(bytes.len() - header) {
        return Err(wrong(format!(
            "holds {} bytes of data where its header says {sizes:?}; images must be {SIDE} x {SIDE}",
            bytes.len() - header
        )));
    }
    Ok(bytes[header..].to_vec())
}

/// The mixture's means, class by class: blobs with a width of 2 pixels, the largest intensity 1.
fn means(seed: u64) -> Vec<Vec<f64>> {
    (0..CLASSES * MODES)
        .map(|mean| {
            let mut random = rng(seed, Purpose::Synthesis, MEANS, mean as u64);
            let blobs: Vec<[f64; 2]> = (0..BLOBS)
                .map(|_| [(); 2].map(|()| 4.0 + 20.0 * random.random::<f64>()))
                .collect();
            let mut image: Vec<f64> = (0..PIXELS)
                .map(|pixel| {
                    let at = [(pixel / SIDE) as f64, (pixel % SIDE) as f64];
                    blobs
                        .iter()
                        .map(|[row, column]| {
                            let square = (at[0] - row).powi(2) + (at[1] - column).powi(2);
                            (-square / 8.0).exp()
                        })
                        .sum()
                })
                .collect();
            let largest = image.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            image.iter_mut().for_each(|value| *value /= largest);
            image
        })
        .collect()
}
