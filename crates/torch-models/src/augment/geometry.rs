//! What part of an image is seen: zooming out and cropping, after torchvision's `RandomZoomOut` and
//! `RandomIoUCrop` (Liu et al. 2016, SSD, section 2.2).
//!
//! The same numbers between 0 and 1 give the very rectangles that torchvision makes of them; like
//! torch, this computes in single precision.

/// A rectangle in pixels of an image, which may reach beyond the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Left edge.
    pub left: i64,
    /// Upper edge.
    pub top: i64,
    /// Width, at least 1.
    pub width: i64,
    /// Height, at least 1.
    pub height: i64,
}

/// Chance of zooming out, and the largest side of the canvas in sides of the image.
const ZOOM_OUT: f32 = 0.5;
const LARGEST_CANVAS: f32 = 4.0;
/// A crop overlaps some object by at least one of these; at 1 and beyond the image stays.
const OVERLAPS: [f32; 7] = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0];
/// Sides of a crop in sides of the image, its aspect ratio, and attempts per overlap.
const SMALLEST_CROP: f32 = 0.3;
const ASPECT_RATIOS: [f64; 2] = [0.5, 2.0];
const TRIALS: usize = 40;

impl View {
    /// All of an image of `width` x `height` pixels.
    pub fn whole(width: u32, height: u32) -> Self {
        Self {
            left: 0,
            top: 0,
            width: i64::from(width),
            height: i64::from(height),
        }
    }

    /// Half of the time a canvas up to four times as wide and high, the image anywhere on it.
    pub fn zoomed_out(self, mut uniform: impl FnMut() -> f32) -> Self {
        if uniform() >= ZOOM_OUT {
            return self;
        }
        let factor = 1.0 + uniform() * (LARGEST_CANVAS - 1.0);
        let width = (self.width as f32 * factor) as i64;
        let height = (self.height as f32 * factor) as i64;
        let (across, down) = (uniform(), uniform());
        Self {
            left: self.left - ((width - self.width) as f32 * across) as i64,
            top: self.top - ((height - self.height) as f32 * down) as i64,
            width,
            height,
        }
    }

    /// A part that overlaps an object by at least a drawn share, and has an object's centre inside; or
    /// all of it. `boxes` are `[x1, y1, x2, y2]` in pixels of the image.
    pub fn cropped(self, boxes: &[[f32; 4]], mut uniform: impl FnMut() -> f32) -> Self {
        loop {
            let option = (uniform() * OVERLAPS.len() as f32) as usize;
            let least = OVERLAPS[option.min(OVERLAPS.len() - 1)];
            if least >= 1.0 {
                return self;
            }
            for _ in 0..TRIALS {
                if let Some(part) = self.part(&mut uniform)
                    && part.best_overlap(boxes).is_some_and(|best| best >= least)
                {
                    return part;
                }
            }
        }
    }

    /// A random part of allowed size and shape, if the draw gave one.
    fn part(self, uniform: &mut impl FnMut() -> f32) -> Option<Self> {
        let mut scale = || SMALLEST_CROP + (1.0 - SMALLEST_CROP) * uniform();
        let (across, down) = (scale(), scale());
        let width = (self.width as f32 * across) as i64;
        let height = (self.height as f32 * down) as i64;
        let ratio = width as f64 / height as f64;
        if !(ASPECT_RATIOS[0]..=ASPECT_RATIOS[1]).contains(&ratio) {
            return None;
        }
        let (across, down) = (uniform(), uniform());
        let left = ((self.width - width) as f32 * across) as i64;
        let top = ((self.height - height) as f32 * down) as i64;
        (width > 0 && height > 0).then_some(Self {
            left: self.left + left,
            top: self.top + top,
            width,
            height,
        })
    }

    /// The largest intersection over union with a box whose centre is inside; none if no centre is.
    fn best_overlap(self, boxes: &[[f32; 4]]) -> Option<f32> {
        let [left, top, right, bottom] = self.corners();
        let inside = boxes.iter().filter(|b| self.has_centre(b));
        inside
            .map(|[x1, y1, x2, y2]| {
                let across = (right.min(*x2) - left.max(*x1)).max(0.0);
                let down = (bottom.min(*y2) - top.max(*y1)).max(0.0);
                let common = across * down;
                let union = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - common;
                common / union
            })
            .reduce(f32::max)
    }

    fn has_centre(self, [x1, y1, x2, y2]: &[f32; 4]) -> bool {
        let [left, top, right, bottom] = self.corners();
        let (x, y) = (0.5 * (x1 + x2), 0.5 * (y1 + y2));
        left < x && x < right && top < y && y < bottom
    }

    fn corners(self) -> [f32; 4] {
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        [self.left, self.top, right, bottom].map(|v| v as f32)
    }

    /// A box of the image in pixels of a square of `side` that the view is squeezed into, clipped;
    /// none where its centre is not seen.
    pub fn squeezed(self, object: &[f32; 4], side: usize) -> Option<[f32; 4]> {
        if !self.has_centre(object) {
            return None;
        }
        let (width, height, side) = (self.width as f32, self.height as f32, side as f32);
        let [x1, y1, x2, y2] = *object;
        let [left, top] = [self.left as f32, self.top as f32];
        Some([
            (x1 - left).clamp(0.0, width) * side / width,
            (y1 - top).clamp(0.0, height) * side / height,
            (x2 - left).clamp(0.0, width) * side / width,
            (y2 - top).clamp(0.0, height) * side / height,
        ])
    }
}

#[cfg(test)]
mod tests;
