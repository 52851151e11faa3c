//! Random changes to training images: mirroring, brightness and contrast.
//!
//! Drawn from (seed, iteration, sample) alone, so that all workers that hold a sample see it
//! changed in the same way.

use coco::Sample;
use counter_rng::{Purpose, rng};
use rand::RngExt;

/// The changes to one image in one iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct Augmentation {
    /// Left and right are swapped.
    pub mirrored: bool,
    /// New value of every 8-bit value, or `None` where colours stay.
    tone: Option<Box<[u8; 256]>>,
}

impl Augmentation {
    /// No change.
    pub const NONE: Self = Self {
        mirrored: false,
        tone: None,
    };

    /// The changes to `sample` in `iteration`: mirrored half of the time; brightness times
    /// 0.875 to 1.125 and contrast (about mid-grey) times 0.5 to 1.5, each half of the time
    /// (the ranges of SSD's photometric distortion).
    pub fn draw(seed: u64, iteration: u64, sample: u64) -> Self {
        let mut rng = rng(seed, Purpose::Augmentation, iteration, sample);
        let mut uniform = || rng.random::<f64>();
        let mirrored = uniform() < 0.5;
        let mut factor = |low: f64, high: f64| {
            let (wanted, position) = (uniform() < 0.5, uniform());
            if wanted {
                low + (high - low) * position
            } else {
                1.0
            }
        };
        let (brightness, contrast) = (factor(0.875, 1.125), factor(0.5, 1.5));
        let changes = brightness != 1.0 || contrast != 1.0;
        let tone = changes.then(|| {
            let mut tone = Box::new([0; 256]);
            for (value, new) in tone.iter_mut().enumerate() {
                let bright = value as f64 * brightness;
                *new = (127.5 + (bright - 127.5) * contrast)
                    .round()
                    .clamp(0.0, 255.0) as u8;
            }
            tone
        });
        Self { mirrored, tone }
    }

    /// Writes the changed image to `planes`: three planes of `side * side` bytes (R, G, B).
    ///
    /// `planes` and the sample's pixels must hold `3 * side * side` bytes.
    pub fn pixels(&self, sample: &Sample, side: usize, planes: &mut [u8]) {
        let tone = |value: u8| match &self.tone {
            Some(tone) => tone[usize::from(value)],
            None => value,
        };
        let (red, rest) = planes.split_at_mut(side * side);
        let (green, blue) = rest.split_at_mut(side * side);
        let rows = sample.pixels.chunks_exact(3 * side);
        let planes = red
            .chunks_exact_mut(side)
            .zip(green.chunks_exact_mut(side))
            .zip(blue.chunks_exact_mut(side));
        for (row, ((red, green), blue)) in rows.zip(planes) {
            for (x, pixel) in row.as_chunks::<3>().0.iter().enumerate() {
                red[x] = tone(pixel[0]);
                green[x] = tone(pixel[1]);
                blue[x] = tone(pixel[2]);
            }
            if self.mirrored {
                red.reverse();
                green.reverse();
                blue.reverse();
            }
        }
    }

    /// The boxes of the changed image.
    pub fn boxes(&self, boxes: &[[f32; 4]], side: usize) -> Vec<[f32; 4]> {
        let side = side as f32;
        boxes
            .iter()
            .map(|&[x1, y1, x2, y2]| {
                if self.mirrored {
                    [side - x2, y1, side - x1, y2]
                } else {
                    [x1, y1, x2, y2]
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        Sample {
            pixels: (0..12).map(|v| v * 20).collect(),
            boxes: vec![[0.0, 0.0, 0.5, 1.0]],
            labels: vec![1],
        }
    }

    #[test]
    fn planes_and_boxes_are_mirrored_together() {
        let mut planes = [0; 12];
        Augmentation::NONE.pixels(&sample(), 2, &mut planes);
        assert_eq!(
            planes,
            [0, 60, 120, 180, 20, 80, 140, 200, 40, 100, 160, 220]
        );
        let mirror = Augmentation {
            mirrored: true,
            tone: None,
        };
        mirror.pixels(&sample(), 2, &mut planes);
        assert_eq!(planes[..4], [60, 0, 180, 120]);
        assert_eq!(mirror.boxes(&sample().boxes, 2), [[1.5, 0.0, 2.0, 1.0]]);
    }

    #[test]
    fn draws_depend_on_seed_iteration_and_sample_and_cover_the_choices() {
        let draw = Augmentation::draw(1, 2, 3);
        assert_eq!(draw, Augmentation::draw(1, 2, 3));
        let all: Vec<_> = (0..200).map(|i| Augmentation::draw(1, i, 3)).collect();
        let mirrored = all.iter().filter(|a| a.mirrored).count();
        let toned = all.iter().filter(|a| a.tone.is_some()).count();
        assert!((60..140).contains(&mirrored), "{mirrored}");
        assert!((110..190).contains(&toned), "{toned}");
        for tone in all.iter().filter_map(|a| a.tone.as_ref()) {
            assert!(tone.is_sorted(), "a tone curve never inverts");
        }
    }
}
