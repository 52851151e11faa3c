//! A view of an image, squeezed into a square.

use super::geometry::View;

/// What a canvas beyond the image has: ImageNet's mean colour, as in torchvision's recipe.
const FILL: [u8; 3] = [123, 117, 104];

/// One output row or column: two neighbours in the view, the weight of the second.
struct Tap {
    /// Place in the image, if it is in the image.
    near: Option<usize>,
    far: Option<usize>,
    weight: f32,
}

/// Calls `pixel(place, colour)` for every pixel of a square of `side` pixels, rows first, that shows
/// `view` of an image of `width` x `height` pixels (R, G, B in turn), whose own pixels are changed by
/// `change` first.
///
/// Bilinear interpolation at the four nearest pixels, half-pixel centres, no antialiasing, as
/// `torch.nn.functional.interpolate` has it for the cropped image.
pub fn resample(
    pixels: &[u8],
    (width, height): (usize, usize),
    view: View,
    side: usize,
    change: impl Fn([u8; 3]) -> [u8; 3],
    mut pixel: impl FnMut(usize, [u8; 3]),
) {
    let columns = taps(view.left, view.width, width, side);
    let rows = taps(view.top, view.height, height, side);
    let colour = |x: Option<usize>, y: Option<usize>| -> [u8; 3] {
        let (Some(x), Some(y)) = (x, y) else {
            return FILL;
        };
        let at = 3 * (y * width + x);
        [pixels[at], pixels[at + 1], pixels[at + 2]]
    };
    for (v, row) in rows.iter().enumerate() {
        for (u, column) in columns.iter().enumerate() {
            let corners = [
                colour(column.near, row.near),
                colour(column.far, row.near),
                colour(column.near, row.far),
                colour(column.far, row.far),
            ];
            let mixed: [u8; 3] = std::array::from_fn(|channel| {
                let [a, b, c, d] = corners.map(|corner| f32::from(corner[channel]));
                let upper = a + (b - a) * column.weight;
                let lower = c + (d - c) * column.weight;
                (upper + (lower - upper) * row.weight).round() as u8
            });
            // The canvas is laid around an image whose colours have changed already.
            let on_image = |tap: &Tap| {
                let nearest = if tap.weight < 0.5 { tap.near } else { tap.far };
                nearest.is_some()
            };
            let shown = if on_image(row) && on_image(column) {
                change(mixed)
            } else {
                mixed
            };
            pixel(v * side + u, shown);
        }
    }
}

/// For each of `side` places along a view that begins at `start` and is `length` long, of an image that
/// is `size` long.
fn taps(start: i64, length: i64, size: usize, side: usize) -> Vec<Tap> {
    let scale = length as f32 / side as f32;
    let inside = |place: i64| {
        let place = usize::try_from(start + place).ok()?;
        (place < size).then_some(place)
    };
    (0..side)
        .map(|i| {
            let position = ((i as f32 + 0.5) * scale - 0.5).max(0.0);
            let near = (position as i64).min(length - 1);
            Tap {
                near: inside(near),
                far: inside((near + 1).min(length - 1)),
                weight: (position - near as f32).clamp(0.0, 1.0),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(view: View, side: usize) -> Vec<u8> {
        // 4 x 2 pixels, red counts up
        let pixels: Vec<u8> = (0..8).flat_map(|i| [i * 10, 0, 0]).collect();
        let mut red = vec![0; side * side];
        resample(
            &pixels,
            (4, 2),
            view,
            side,
            |colour| colour,
            |place, colour| {
                red[place] = colour[0];
            },
        );
        red
    }

    #[test]
    fn views_are_interpolated_and_filled() {
        let part = View {
            left: 1,
            top: 0,
            width: 2,
            height: 2,
        };
        assert_eq!(shown(part, 2), [10, 20, 50, 60], "pixels as they are");
        // F.interpolate of [[10, 20], [50, 60]] to 4 x 4, align_corners=False
        let bilinear = [
            10, 13, 18, 20, 20, 23, 28, 30, 40, 43, 48, 50, 50, 53, 58, 60,
        ];
        let ours = shown(part, 4);
        assert!(
            ours.iter().zip(bilinear).all(|(a, b)| a.abs_diff(b) <= 1),
            "{ours:?}"
        );
        let beyond = View {
            left: 2,
            top: 0,
            width: 4,
            height: 4,
        };
        let zoomed = shown(beyond, 4);
        assert_eq!(zoomed[..4], [20, 30, FILL[0], FILL[0]]);
        assert_eq!(zoomed[8..], [FILL[0]; 8]);
    }
}
