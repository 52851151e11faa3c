//! One image: a textured background and shapes that do not overlap.

use super::texture::noise;
use crate::Category;
use counter_rng::CounterRng;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Least and largest size of a shape as a fraction of the image's side.
const SIZES: (f64, f64) = (0.14, 0.50);
/// Attempts to place a shape before the image goes without it.
const ATTEMPTS: usize = 40;
/// Least L1 distance of a shape's colour from the background's.
const CONTRAST: i32 = 150;
/// Standard deviation of the texture, in grey levels.
const TEXTURE: f32 = 22.0;

/// The five categories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// A filled circle.
    Disk,
    /// A filled square.
    Square,
    /// An upright isosceles triangle.
    Triangle,
    /// Two crossing bars.
    Cross,
    /// A circle with a hole.
    Ring,
}

impl Shape {
    /// In the order of their category ids, 1 to 5.
    pub const ALL: [Self; 5] = [
        Self::Disk,
        Self::Square,
        Self::Triangle,
        Self::Cross,
        Self::Ring,
    ];

    /// Id and name.
    pub fn category(self) -> Category {
        let name = match self {
            Self::Disk => "disk",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Cross => "cross",
            Self::Ring => "ring",
        };
        Category {
            id: self as u64 + 1,
            name: name.to_owned(),
        }
    }

    /// Whether the shape covers (x, y), both in (-1, 1) with y downwards.
    fn covers(self, x: f64, y: f64) -> bool {
        let radius = (x * x + y * y).sqrt();
        match self {
            Self::Disk => radius <= 1.0,
            Self::Square => true,
            Self::Triangle => x.abs() <= (y + 1.0) / 2.0,
            Self::Cross => x.abs() <= 0.33 || y.abs() <= 0.33,
            Self::Ring => (0.55..=1.0).contains(&radius),
        }
    }
}

/// Pixels and annotations of one image.
pub(super) struct Scene {
    /// HWC RGB.
    pub(super) pixels: Vec<u8>,
    /// Shape, tight box `[x, y, width, height]`, and area in pixels.
    pub(super) objects: Vec<(Shape, [f64; 4], f64)>,
}

impl Scene {
    /// Draws a scene of `side` x `side` pixels.
    pub(super) fn draw(side: usize, random: &mut CounterRng) -> Self {
        let (mut scene, background) = Self::empty(side, random);
        let wanted = 1 + below(4, random);
        let mut squares: Vec<[usize; 3]> = vec![];
        for _ in 0..wanted {
            let shape = Shape::ALL[below(5, random)];
            if let Some(square) = place(side, &squares, random) {
                squares.push(square);
                let colour = contrasting(background, random);
                scene.add(shape, square, colour, random);
            }
        }
        scene
    }

    /// Draws a scene of `side` x `side` pixels with this shape alone.
    pub(super) fn with(shape: Shape, side: usize, random: &mut CounterRng) -> Self {
        let (mut scene, background) = Self::empty(side, random);
        if let Some(square) = place(side, &[], random) {
            let colour = contrasting(background, random);
            scene.add(shape, square, colour, random);
        }
        scene
    }

    /// A background, and its colour.
    fn empty(side: usize, random: &mut CounterRng) -> (Self, [i32; 3]) {
        let background = colour(random);
        let mut pixels = vec![0; side * side * 3];
        for (pixel, level) in pixels.chunks_exact_mut(3).zip(noise(side, random)) {
            paint(pixel, background, level);
        }
        let scene = Self {
            pixels,
            objects: vec![],
        };
        (scene, background)
    }

    /// Draws a shape into the square `[left, top, size]`.
    fn add(
        &mut self,
        shape: Shape,
        [left, top, size]: [usize; 3],
        colour: [i32; 3],
        random: &mut CounterRng,
    ) {
        let side = (self.pixels.len() / 3).isqrt();
        let texture = noise(size, random);
        let unit = |i: usize| 2.0 * (i as f64 + 0.5) / size as f64 - 1.0;
        let (mut low, mut high, mut area) = ([usize::MAX; 2], [0; 2], 0.0);
        for y in 0..size {
            for x in 0..size {
                if shape.covers(unit(x), unit(y)) {
                    let pixel = ((top + y) * side + left + x) * 3;
                    paint(
                        &mut self.pixels[pixel..pixel + 3],
                        colour,
                        texture[y * size + x],
                    );
                    low = [low[0].min(x), low[1].min(y)];
                    high = [high[0].max(x + 1), high[1].max(y + 1)];
                    area += 1.0;
                }
            }
        }
        let bbox = [
            left + low[0],
            top + low[1],
            high[0] - low[0],
            high[1] - low[1],
        ];
        self.objects.push((shape, bbox.map(|v| v as f64), area));
    }
}

/// A free square `[left, top, size]`, two pixels away from the others.
fn place(side: usize, others: &[[usize; 3]], random: &mut CounterRng) -> Option<[usize; 3]> {
    const GAP: usize = 2;
    (0..ATTEMPTS).find_map(|_| {
        let fraction = SIZES.0 + (SIZES.1 - SIZES.0) * random.random::<f64>();
        let size = (fraction * side as f64).round() as usize;
        let (left, top) = (
            below(side - size + 1, random),
            below(side - size + 1, random),
        );
        let free = others.iter().all(|&[x, y, other]| {
            left >= x + other + GAP
                || x >= left + size + GAP
                || top >= y + other + GAP
                || y >= top + size + GAP
        });
        free.then_some([left, top, size])
    })
}

/// A colour that leaves room for the texture.
fn colour(random: &mut CounterRng) -> [i32; 3] {
    std::array::from_fn(|_| 30 + below(196, random) as i32)
}

fn contrasting(background: [i32; 3], random: &mut CounterRng) -> [i32; 3] {
    loop {
        let colour = colour(random);
        let distance: i32 = colour
            .iter()
            .zip(background)
            .map(|(a, b)| (a - b).abs())
            .sum();
        if distance > CONTRAST {
            return colour;
        }
    }
}

fn paint(pixel: &mut [u8], colour: [i32; 3], level: f32) {
    for (channel, value) in pixel.iter_mut().zip(colour) {
        *channel = (value as f32 + TEXTURE * level).round().clamp(0.0, 255.0) as u8;
    }
}

/// Uniform on `0..bound`.
fn below(bound: usize, random: &mut CounterRng) -> usize {
    (random.random::<f64>() * bound as f64) as usize
}
