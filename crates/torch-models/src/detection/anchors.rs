//! Default boxes (Liu et al. 2016, section 2.2 "Choosing scales and aspect ratios").
//!
//! Every cell of feature map k carries a square of scale s_k, a square of scale
//! sqrt(s_k s_{k+1}), and for each further aspect ratio r the boxes (s_k sqrt r, s_k / sqrt r) and
//! (s_k / sqrt r, s_k sqrt r), all centred on the cell; widths and heights are clamped to the
//! image's, boxes may reach beyond its border.

use super::Corners;

/// The widths and heights of the default boxes of every feature map, relative to the image.
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultBoxes {
    sizes: Vec<Vec<[f32; 2]>>,
}

impl DefaultBoxes {
    /// Boxes of `scales.len() - 1` maps: map k uses `scales[k]` and `scales[k + 1]`.
    pub fn new(scales: &[f64], ratios: &[f64]) -> Self {
        let sizes = scales
            .windows(2)
            .map(|pair| {
                let (scale, between) = (pair[0], (pair[0] * pair[1]).sqrt());
                let mut sizes = vec![[scale, scale], [between, between]];
                for ratio in ratios {
                    let (wide, narrow) = (scale * ratio.sqrt(), scale / ratio.sqrt());
                    sizes.extend([[wide, narrow], [narrow, wide]]);
                }
                sizes
                    .into_iter()
                    .map(|size| size.map(|s| (s as f32).clamp(0.0, 1.0)))
                    .collect()
            })
            .collect();
        Self { sizes }
    }

    /// Boxes of `maps` maps with scales evenly spaced from `min` to `max`, and 1 beyond the last
    /// (eq. 4).
    pub fn from_range(min: f64, max: f64, maps: usize, ratios: &[f64]) -> Self {
        let steps = maps.saturating_sub(1).max(1) as f64;
        let mut scales: Vec<f64> = (0..maps)
            .map(|k| min + (max - min) * k as f64 / steps)
            .collect();
        scales.push(1.0);
        Self::new(&scales, ratios)
    }

    /// All boxes for an image of `side` pixels whose feature maps have the sides `maps`: by map,
    /// row, column, then size.
    pub fn boxes(&self, maps: &[u32], side: u32) -> Vec<Corners> {
        let side = side as f32;
        let mut boxes = Vec::new();
        for (sizes, &cells) in self.sizes.iter().zip(maps) {
            let centre = |cell: u32| (cell as f32 + 0.5) / cells as f32;
            for row in 0..cells {
                for column in 0..cells {
                    let (x, y) = (centre(column), centre(row));
                    boxes.extend(sizes.iter().map(|[width, height]| {
                        [
                            (x - 0.5 * width) * side,
                            (y - 0.5 * height) * side,
                            (x + 0.5 * width) * side,
                            (y + 0.5 * height) * side,
                        ]
                    }));
                }
            }
        }
        boxes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_map_row_column_size() {
        let boxes = DefaultBoxes::new(&[0.5, 0.5], &[4.0]).boxes(&[2], 100);
        assert_eq!(boxes.len(), 2 * 2 * 4);
        assert_eq!(boxes[0], [0.0, 0.0, 50.0, 50.0]);
        assert_eq!(
            boxes[2],
            [-25.0, 12.5, 75.0, 37.5],
            "wide, clamped to the image's width"
        );
        assert_eq!(boxes[3], [12.5, -25.0, 37.5, 75.0]);
        assert_eq!(boxes[4], [50.0, 0.0, 100.0, 50.0], "the next column");
        assert_eq!(boxes[8], [0.0, 50.0, 50.0, 100.0], "the next row");
    }
}
