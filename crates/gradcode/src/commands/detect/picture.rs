//! One image with boxes, a panel per model.

mod layout;
mod png;
mod svg;
mod text;

use image::{ImageError, RgbImage};

pub use layout::Layout;
pub use text::Letters;

/// Red, green, blue.
pub type Colour = [u8; 3];

/// A box and its text.
pub struct Label {
    /// `[x, y, width, height]` in pixels of the image.
    pub bbox: [f64; 4],
    /// Class, which decides the colour.
    pub class: i64,
    /// What stands at the box.
    pub text: String,
}

/// One model's boxes on the image.
pub struct Panel {
    /// Above the image.
    pub title: String,
    /// The boxes, most certain first.
    pub labels: Vec<Label>,
}

/// Colours of classes, distinct also for colour-blind readers (Okabe and Ito).
const PALETTE: [Colour; 7] = [
    [0xd5, 0x5e, 0x00],
    [0x00, 0x72, 0xb2],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0xe6, 0x9f, 0x00],
    [0x56, 0xb4, 0xe9],
    [0xf0, 0xe4, 0x42],
];

/// Lays out `panels` of an image of `size` (width, height) pixels.
pub fn lay_out(size: (u32, u32), panels: &[Panel], letters: &Letters) -> Layout {
    layout::lay_out(size, panels, letters)
}

/// A PNG file of the picture.
///
/// # Errors
/// When the encoder fails.
pub fn png(layout: &Layout, image: &RgbImage, letters: &Letters) -> Result<Vec<u8>, ImageError> {
    png::png(layout, image, letters)
}

/// An SVG file of the picture; `file` is the image's own file, which is embedded.
pub fn svg(layout: &Layout, file: &[u8], letters: &Letters) -> String {
    svg::svg(layout, file, letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn picture() -> (RgbImage, Vec<Panel>, Letters) {
        let label = Label {
            bbox: [32.0, 32.0, 64.0, 64.0],
            class: 1,
            text: "a < b".to_owned(),
        };
        let panel = |title: &str, labels| Panel {
            title: title.to_owned(),
            labels,
        };
        let panels = vec![
            panel("annotated", vec![]),
            panel("joint & exact", vec![label]),
        ];
        let image = RgbImage::from_pixel(128, 128, Rgb([10, 200, 10]));
        (image, panels, Letters::new().unwrap())
    }

    #[test]
    fn boxes_and_letters_are_drawn_on_the_image() {
        let (image, panels, letters) = picture();
        let layout = lay_out(image.dimensions(), &panels, &letters);
        let bytes = png(&layout, &image, &letters).unwrap();
        let drawn = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(drawn.dimensions(), (2 * 384 + 36, layout.height));
        let count = |colour: Colour| drawn.pixels().filter(|pixel| pixel.0 == colour).count();
        // the frame of the second panel: 192 pixels a side, three wide, inside one of black
        assert!(count(PALETTE[1]) > 4 * 3 * 180, "{}", count(PALETTE[1]));
        assert!(count([10, 200, 10]) > 384 * 384);
        assert!(count([0, 0, 0]) > 700 && count([255; 3]) > 10_000);
    }

    #[test]
    fn a_vector_picture_carries_the_image_once() {
        let (image, panels, letters) = picture();
        let layout = lay_out(image.dimensions(), &panels, &letters);
        let svg = svg(&layout, b"\x89PNG", &letters);
        assert!(svg.contains("a &lt; b") && svg.contains("joint &amp; exact"));
        assert_eq!(svg.matches("data:image/png;base64,iVBORw==").count(), 1);
        assert_eq!(svg.matches("<use href=\"#image\"").count(), 2);
    }
}
