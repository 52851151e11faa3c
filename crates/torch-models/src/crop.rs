//! Random resized crops and mirroring, torchvision's training transform of classifiers, and its
//! central crop for evaluation.
//!
//! Draws are a function of (seed, iteration, sample) alone, so that all workers that hold a sample
//! see it changed in the same way.

use coco::{Photo, Region};
use counter_rng::{Purpose, rng};
use rand::RngExt;

use crate::error::TorchError;

/// Share of an image's area that a crop covers, and its width over its height: `RandomResizedCrop`'s
/// defaults (Szegedy et al. 2015, section 6).
const SCALE: (f64, f64) = (0.08, 1.0);
const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
const ATTEMPTS: usize = 10;
/// Images are resized to this much more than the central crop's side (256 pixels for 224).
const MARGIN: f64 = 256.0 / 224.0;

/// The part of an image that the network sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    /// The part.
    pub region: Region,
    /// Left and right are swapped.
    pub mirrored: bool,
}

impl Crop {
    /// The crop of `sample`, of `width` x `height` pixels, in `iteration`. As torchvision's
    /// `RandomResizedCrop` and `RandomHorizontalFlip`: sides are whole pixels, and after ten draws
    /// that do not fit the largest central part of an allowed shape is taken.
    pub fn draw(seed: u64, iteration: u64, sample: u64, width: u32, height: u32) -> Self {
        let mut rng = rng(seed, Purpose::Augmentation, iteration, sample);
        let mut uniform = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
        let mirrored = uniform(0.0, 1.0) < 0.5;
        let (w, h) = (f64::from(width), f64::from(height));
        for _ in 0..ATTEMPTS {
            let area = w * h * uniform(SCALE.0, SCALE.1);
            let ratio = uniform(RATIO.0.ln(), RATIO.1.ln()).exp();
            let (across, down) = ((area * ratio).sqrt().round(), (area / ratio).sqrt().round());
            if (1.0..=w).contains(&across) && (1.0..=h).contains(&down) {
                // Each of the places with equal chances; `uniform` stays below 1.
                let left = (uniform(0.0, 1.0) * (w - across + 1.0)).floor();
                let top = (uniform(0.0, 1.0) * (h - down + 1.0)).floor();
                return Self {
                    region: Region {
                        left,
                        top,
                        width: across,
                        height: down,
                    },
                    mirrored,
                };
            }
        }
        let (across, down) = match w / h {
            ratio if ratio < RATIO.0 => (w, (w / RATIO.0).round()),
            ratio if ratio > RATIO.1 => ((h * RATIO.1).round(), h),
            _ => (w, h),
        };
        Self {
            region: Region {
                left: ((w - across) / 2.0).floor(),
                top: ((h - down) / 2.0).floor(),
                width: across,
                height: down,
            },
            mirrored,
        }
    }

    /// The square in the middle of an image of `width` x `height` pixels, of 7/8 of its shorter side: what
    /// torchvision's resizing to 256 and cropping to 224 pixels leaves, but for rounding in between.
    pub fn central(width: u32, height: u32) -> Self {
        let (w, h) = (f64::from(width), f64::from(height));
        let side = w.min(h) / MARGIN;
        Self {
            region: Region {
                left: (w - side) / 2.0,
                top: (h - side) / 2.0,
                width: side,
                height: side,
            },
            mirrored: false,
        }
    }

    /// Writes the crop, resized to `side` pixels, to `planes`: three planes of `side * side` bytes (R, G,
    /// B).
    ///
    /// # Errors
    /// When the region is no part of the photo.
    pub fn pixels(&self, photo: &Photo, side: u32, planes: &mut [u8]) -> Result<(), TorchError> {
        let square = photo
            .square(self.region, side)
            .map_err(TorchError::Resize)?;
        let area = planes.len() / 3;
        let side = side as usize;
        for (place, pixel) in square.as_chunks::<3>().0.iter().enumerate() {
            let (row, column) = (place / side, place % side);
            let column = match self.mirrored {
                true => side - 1 - column,
                false => column,
            };
            for (channel, value) in pixel.iter().enumerate() {
                planes[channel * area + row * side + column] = *value;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(width: u32, height: u32) -> Photo {
        Photo {
            pixels: (0..width * height)
                .flat_map(|i| [(i % width) as u8, (i / width) as u8, 9])
                .collect(),
            width,
            height,
            class: 0,
        }
    }

    #[test]
    fn crops_have_the_stated_areas_and_shapes_and_lie_inside() {
        let (width, height) = (200, 120);
        let all: Vec<Crop> = (0..2000)
            .map(|i| Crop::draw(1, i, 3, width, height))
            .collect();
        assert_eq!(all[7], Crop::draw(1, 7, 3, width, height));
        let mut areas = 0.0;
        for crop in &all {
            let Region {
                left,
                top,
                width: w,
                height: h,
            } = crop.region;
            assert!(left >= 0.0 && top >= 0.0 && left + w <= 200.0 && top + h <= 120.0);
            let share = w * h / f64::from(width * height);
            assert!((0.07..=1.0).contains(&share), "{crop:?}");
            assert!((0.72..1.39).contains(&(w / h)), "{crop:?}");
            areas += share / all.len() as f64;
        }
        // Large ones do not fit an oblong image in every shape, so less than 0.54, the mean drawn: 20,000 draws of
        // torchvision's get_params have mean 0.3575 and standard deviation 0.170.
        let error = 0.170 / (all.len() as f64).sqrt();
        assert!((areas - 0.3575).abs() < 4.0 * error, "{areas}");
        let mirrored = all.iter().filter(|crop| crop.mirrored).count();
        assert!((900..1100).contains(&mirrored), "{mirrored}");
        // No shape of an allowed area fits: the middle, at the allowed ratio.
        let narrow = Crop::draw(1, 0, 0, 4, 400);
        assert_eq!((narrow.region.width, narrow.region.height), (4.0, 5.0));
    }

    #[test]
    fn planes_hold_the_region_mirrored_where_asked() {
        let mut planes = [0; 12];
        let mut crop = Crop {
            region: Region {
                left: 4.0,
                top: 2.0,
                width: 2.0,
                height: 2.0,
            },
            mirrored: false,
        };
        crop.pixels(&photo(8, 6), 2, &mut planes).unwrap();
        assert_eq!(planes, [4, 5, 4, 5, 2, 2, 3, 3, 9, 9, 9, 9]);
        crop.mirrored = true;
        crop.pixels(&photo(8, 6), 2, &mut planes).unwrap();
        assert_eq!(planes[..4], [5, 4, 5, 4]);
        let central = Crop::central(256, 512).region;
        assert_eq!(
            (central.left, central.top, central.width),
            (16.0, 144.0, 224.0)
        );
    }
}
