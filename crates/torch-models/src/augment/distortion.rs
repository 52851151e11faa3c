//! Photometric distortion, after torchvision's `RandomPhotometricDistort` (Liu et al. 2016, SSD; Howard
//! 2013).
//!
//! Brightness, contrast, saturation and hue change with probability one half each, contrast before or
//! after the other two, and the channels are permuted half of the time. Two deviations: values are
//! clipped between the steps but rounded only at the end, and contrast is always about the mean grey of
//! the whole unchanged image (brightened, if it is), where torchvision takes the mean at that step.

use counter_rng::CounterRng;
use rand::RngExt;

/// The changes to one image's colours.
#[derive(Clone, Debug, PartialEq)]
pub struct Distortion {
    brightness: f32,
    contrast: f32,
    contrast_first: bool,
    saturation: f32,
    /// In turns of the colour circle.
    hue: f32,
    channels: [usize; 3],
}

/// Orders of three channels.
const PERMUTATIONS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

impl Distortion {
    /// Draws the changes.
    pub fn draw(rng: &mut CounterRng) -> Self {
        let mut uniform = || rng.random::<f32>();
        let mut factor = |low: f32, high: f32, neutral: f32| {
            let (wanted, position) = (uniform() < 0.5, uniform());
            if wanted {
                low + (high - low) * position
            } else {
                neutral
            }
        };
        let brightness = factor(0.875, 1.125, 1.0);
        let contrast = factor(0.5, 1.5, 1.0);
        let saturation = factor(0.5, 1.5, 1.0);
        let hue = factor(-0.05, 0.05, 0.0);
        let contrast_first = uniform() < 0.5;
        let (permuted, order) = (uniform() < 0.5, (uniform() * 6.0) as usize);
        Self {
            brightness,
            contrast,
            contrast_first,
            saturation,
            hue,
            channels: PERMUTATIONS[if permuted { order.min(5) } else { 0 }],
        }
    }

    /// The change as a function of one pixel of an image whose pixels are `all` (R, G, B in turn).
    pub fn of(&self, all: &[u8]) -> impl Fn([u8; 3]) -> [u8; 3] + '_ {
        let mean = if self.contrast == 1.0 {
            0.0
        } else {
            let pixels = all.as_chunks::<3>().0;
            let sum: f64 = pixels
                .iter()
                .map(|pixel| f64::from(grey(self.brightened(*pixel))))
                .sum();
            (sum / pixels.len().max(1) as f64) as f32
        };
        move |pixel| {
            let mut colour = self.brightened(pixel);
            let contrast =
                |colour: [f32; 3]| colour.map(|v| clip(mean + (v - mean) * self.contrast));
            if self.contrast_first && self.contrast != 1.0 {
                colour = contrast(colour);
            }
            if self.saturation != 1.0 {
                let grey = grey(colour);
                colour = colour.map(|v| clip(grey + (v - grey) * self.saturation));
            }
            if self.hue != 0.0 {
                colour = turned(colour, self.hue);
            }
            if !self.contrast_first && self.contrast != 1.0 {
                colour = contrast(colour);
            }
            self.channels.map(|channel| colour[channel].round() as u8)
        }
    }

    fn brightened(&self, pixel: [u8; 3]) -> [f32; 3] {
        pixel.map(|v| clip(f32::from(v) * self.brightness))
    }
}

fn clip(value: f32) -> f32 {
    value.clamp(0.0, 255.0)
}

/// Luma of ITU-R BT.601.
fn grey([red, green, blue]: [f32; 3]) -> f32 {
    0.2989 * red + 0.587 * green + 0.114 * blue
}

/// The colour with its hue moved by `turn` turns of the circle, at the same value and saturation (HSV).
fn turned([red, green, blue]: [f32; 3], turn: f32) -> [f32; 3] {
    let most = red.max(green).max(blue);
    let chroma = most - red.min(green).min(blue);
    if chroma <= 0.0 {
        return [red, green, blue];
    }
    let sixth = if most == red {
        (green - blue) / chroma
    } else if most == green {
        (blue - red) / chroma + 2.0
    } else {
        (red - green) / chroma + 4.0
    };
    let sixth = (sixth + 6.0 * turn).rem_euclid(6.0);
    // Smith 1978, written without cases: each channel's distance to its own place on the circle.
    let channel = |place: f32| {
        let distance = (place + sixth).rem_euclid(6.0);
        most - chroma * distance.min(4.0 - distance).clamp(0.0, 1.0)
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use counter_rng::{Purpose, rng};

    const NONE: Distortion = Distortion {
        brightness: 1.0,
        contrast: 1.0,
        contrast_first: false,
        saturation: 1.0,
        hue: 0.0,
        channels: [0, 1, 2],
    };

    #[test]
    fn each_change_does_what_it_says() {
        let image = [200u8, 100, 0, 40, 40, 40];
        let of = |change: Distortion| change.of(&image)([200, 100, 0]);
        assert_eq!(of(NONE), [200, 100, 0]);
        assert_eq!(
            of(Distortion {
                brightness: 1.5,
                ..NONE
            }),
            [255, 150, 0]
        );
        // grey 118.48: half way there
        assert_eq!(
            of(Distortion {
                saturation: 0.5,
                ..NONE
            }),
            [159, 109, 59]
        );
        // the image's mean grey is 79.2
        assert_eq!(
            of(Distortion {
                contrast: 0.5,
                ..NONE
            }),
            [140, 90, 40]
        );
        // a third of the circle: red to green to blue
        assert_eq!(
            of(Distortion {
                hue: 1.0 / 3.0,
                ..NONE
            }),
            [0, 200, 100]
        );
        assert_eq!(
            of(Distortion {
                channels: [2, 0, 1],
                ..NONE
            }),
            [0, 200, 100]
        );
    }

    #[test]
    fn hues_return_after_a_turn_and_greys_have_none() {
        for colour in [[200.0, 100.0, 0.0], [3.0, 99.0, 250.0], [7.0, 7.0, 1.0]] {
            let back = turned(turned(colour, 0.37), 0.63);
            for (a, b) in back.iter().zip(colour) {
                assert!((a - b).abs() < 1e-3, "{back:?} {colour:?}");
            }
        }
        assert_eq!(turned([9.0; 3], 0.2), [9.0; 3]);
    }

    #[test]
    fn every_kind_is_drawn_half_of_the_time() {
        let draws: Vec<_> = (0..1000)
            .map(|i| Distortion::draw(&mut rng(1, Purpose::Augmentation, i, 0)))
            .collect();
        for count in [
            draws.iter().filter(|d| d.brightness != 1.0).count(),
            draws.iter().filter(|d| d.contrast != 1.0).count(),
            draws.iter().filter(|d| d.saturation != 1.0).count(),
            draws.iter().filter(|d| d.hue != 0.0).count(),
            draws.iter().filter(|d| d.contrast_first).count(),
        ] {
            assert!((430..570).contains(&count), "{count}");
        }
        let moved = draws.iter().filter(|d| d.channels != [0, 1, 2]).count();
        // five of six permutations change something
        assert!((350..490).contains(&moved), "{moved}");
    }
}
