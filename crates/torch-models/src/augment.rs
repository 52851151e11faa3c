//! Random changes to training images: mirroring and colours, and torchvision's recipes for SSD.
//!
//! Drawn from (seed, iteration, sample) alone, so that all workers that hold a sample see it
//! changed in the same way.

mod distortion;
mod geometry;
mod resample;

use coco::Sample;
use counter_rng::{Purpose, rng};
use rand::RngExt;

use distortion::Distortion;
use geometry::View;

/// What is done to training images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recipe {
    /// Nothing.
    #[default]
    None,
    /// Left and right are swapped half of the time.
    Flip,
    /// The same, and brightness and contrast change: brightness times 0.875 to 1.125 and contrast
    /// (about mid-grey) times 0.5 to 1.5, each half of the time.
    FlipAndTone,
    /// torchvision's reference recipe for SSD: photometric distortion, zooming out, a crop by overlap,
    /// flip.
    Ssd,
    /// torchvision's reference recipe for SSDLite: a crop by overlap, flip.
    SsdLite,
}

impl Recipe {
    /// Whether it cuts out parts, so that it wants images at their own resolution.
    pub fn crops(self) -> bool {
        matches!(self, Recipe::Ssd | Recipe::SsdLite)
    }
}

/// The changes to one image in one iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct Augmentation {
    /// Left and right are swapped.
    pub mirrored: bool,
    /// New value of every 8-bit value, or `None` where colours stay.
    tone: Option<Box<[u8; 256]>>,
    /// What part is seen; `None` for the whole image.
    view: Option<View>,
    distortion: Option<Distortion>,
}

impl Augmentation {
    /// No change.
    pub const NONE: Self = Self {
        mirrored: false,
        tone: None,
        view: None,
        distortion: None,
    };

    /// The changes to `sample`, the `place`-th of its set, in `iteration`.
    pub fn draw(recipe: Recipe, seed: u64, iteration: u64, place: u64, sample: &Sample) -> Self {
        let mut rng = rng(seed, Purpose::Augmentation, iteration, place);
        match recipe {
            Recipe::None => Self::NONE,
            Recipe::Flip => Self {
                mirrored: rng.random::<f64>() < 0.5,
                ..Self::NONE
            },
            Recipe::FlipAndTone => Self::flip_and_tone(|| rng.random()),
            Recipe::Ssd | Recipe::SsdLite => {
                let distortion = (recipe == Recipe::Ssd).then(|| Distortion::draw(&mut rng));
                let mut view = View::whole(sample.width, sample.height);
                if recipe == Recipe::Ssd {
                    view = view.zoomed_out(|| rng.random());
                }
                view = view.cropped(&sample.boxes, || rng.random());
                Self {
                    mirrored: rng.random::<f32>() < 0.5,
                    tone: None,
                    view: Some(view),
                    distortion,
                }
            }
        }
    }

    fn flip_and_tone(mut uniform: impl FnMut() -> f64) -> Self {
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
        Self {
            mirrored,
            tone,
            ..Self::NONE
        }
    }

    /// Writes the changed image to `planes`: three planes of `side * side` bytes (R, G, B), which must
    /// hold `3 * side * side`.
    pub fn pixels(&self, sample: &Sample, side: usize, planes: &mut [u8]) {
        let size = (sample.width as usize, sample.height as usize);
        if size == (side, side) && self.view.is_none() {
            return self.squared(sample, side, planes);
        }
        let view = self.seen(sample);
        let (red, rest) = planes.split_at_mut(side * side);
        let (green, blue) = rest.split_at_mut(side * side);
        let write = |place: usize, [r, g, b]: [u8; 3]| {
            let place = if self.mirrored {
                place - place % side + (side - 1 - place % side)
            } else {
                place
            };
            red[place] = r;
            green[place] = g;
            blue[place] = b;
        };
        match (&self.distortion, &self.tone) {
            (Some(distortion), _) => {
                let change = distortion.of(&sample.pixels);
                resample::resample(&sample.pixels, size, view, side, change, write);
            }
            (None, Some(tone)) => {
                let change = |colour: [u8; 3]| colour.map(|value| tone[usize::from(value)]);
                resample::resample(&sample.pixels, size, view, side, change, write);
            }
            (None, None) => {
                resample::resample(&sample.pixels, size, view, side, |colour| colour, write);
            }
        }
    }

    fn seen(&self, sample: &Sample) -> View {
        self.view
            .unwrap_or(View::whole(sample.width, sample.height))
    }

    /// [`Self::pixels`] of a sample that has the size already.
    fn squared(&self, sample: &Sample, side: usize, planes: &mut [u8]) {
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

    /// The boxes and labels that the changed image shows, in its pixels.
    pub fn targets(&self, sample: &Sample, side: usize) -> (Vec<[f32; 4]>, Vec<i64>) {
        let whole = (sample.width as usize, sample.height as usize) == (side, side);
        let view = self.seen(sample);
        let width = side as f32;
        let mut targets = (vec![], vec![]);
        for (object, label) in sample.boxes.iter().zip(&sample.labels) {
            let seen = if whole && self.view.is_none() {
                Some(*object)
            } else {
                view.squeezed(object, side)
            };
            let Some([x1, y1, x2, y2]) = seen else {
                continue;
            };
            targets.0.push(if self.mirrored {
                [width - x2, y1, width - x1, y2]
            } else {
                [x1, y1, x2, y2]
            });
            targets.1.push(*label);
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        Sample {
            pixels: (0..12).map(|v| v * 20).collect(),
            width: 2,
            height: 2,
            boxes: vec![[0.0, 0.0, 0.5, 1.0]],
            labels: vec![1],
        }
    }

    /// 60 x 40 pixels with three objects.
    fn photograph() -> Sample {
        Sample {
            pixels: (0..60 * 40 * 3).map(|v| (v * 37 % 251) as u8).collect(),
            width: 60,
            height: 40,
            boxes: vec![
                [5., 5., 25., 30.],
                [30., 2., 58., 20.],
                [40., 25., 50., 38.],
            ],
            labels: vec![1, 2, 3],
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
            ..Augmentation::NONE
        };
        mirror.pixels(&sample(), 2, &mut planes);
        assert_eq!(planes[..4], [60, 0, 180, 120]);
        assert_eq!(mirror.targets(&sample(), 2).0, [[1.5, 0.0, 2.0, 1.0]]);
    }

    #[test]
    fn draws_depend_on_seed_iteration_and_sample_and_cover_the_choices() {
        let draw = |i| Augmentation::draw(Recipe::FlipAndTone, 1, i, 3, &sample());
        assert_eq!(draw(2), draw(2));
        let all: Vec<_> = (0..200).map(draw).collect();
        let mirrored = all.iter().filter(|a| a.mirrored).count();
        let toned = all.iter().filter(|a| a.tone.is_some()).count();
        assert!((60..140).contains(&mirrored), "{mirrored}");
        assert!((110..190).contains(&toned), "{toned}");
        for tone in all.iter().filter_map(|a| a.tone.as_ref()) {
            assert!(tone.is_sorted(), "a tone curve never inverts");
        }
    }

    #[test]
    fn a_whole_photograph_is_only_squeezed() {
        let (photograph, side) = (photograph(), 20);
        let mut planes = vec![0; 3 * side * side];
        Augmentation::NONE.pixels(&photograph, side, &mut planes);
        // three by two pixels become one: columns are hit in their middle, rows between two
        let at = |x: usize, y: usize| f32::from(photograph.pixels[3 * (y * 60 + x)]);
        let expected = (at(1, 0) + at(1, 1)) / 2.0;
        assert!((f32::from(planes[0]) - expected).abs() <= 0.5);
        let (boxes, labels) = Augmentation::NONE.targets(&photograph, side);
        assert_eq!(labels, [1, 2, 3]);
        assert_eq!(boxes[0], [5.0 / 3.0, 2.5, 25.0 / 3.0, 15.0]);
    }

    #[test]
    fn recipes_keep_an_object_in_sight_and_boxes_in_the_square() {
        let (photograph, side) = (photograph(), 32);
        let mut planes = vec![0; 3 * side * side];
        let (mut cropped, mut beyond) = (0, 0);
        for recipe in [Recipe::Ssd, Recipe::SsdLite] {
            for iteration in 0..300 {
                let change = Augmentation::draw(recipe, 7, iteration, 5, &photograph);
                assert_eq!(
                    change,
                    Augmentation::draw(recipe, 7, iteration, 5, &photograph)
                );
                let (boxes, labels) = change.targets(&photograph, side);
                assert!(!boxes.is_empty() && boxes.len() == labels.len());
                for [x1, y1, x2, y2] in boxes {
                    assert!(0.0 <= x1 && x1 < x2 && x2 <= side as f32, "{x1} {x2}");
                    assert!(0.0 <= y1 && y1 < y2 && y2 <= side as f32, "{y1} {y2}");
                }
                change.pixels(&photograph, side, &mut planes);
                let view = change.seen(&photograph);
                cropped += usize::from(view.width < 60 || view.height < 40);
                beyond += usize::from(view.left < 0 || view.top < 0);
                assert!(recipe == Recipe::Ssd || view.left >= 0 && view.top >= 0);
            }
        }
        assert!(cropped > 200 && beyond > 60, "{cropped} {beyond}");
    }
}
