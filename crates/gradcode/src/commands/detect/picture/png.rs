//! A laid-out picture as pixels.

use std::io::Cursor;

use image::imageops::{FilterType, resize};
use image::{ImageError, ImageFormat, Rgb, RgbImage};

use super::Colour;
use super::layout::{Layout, Rectangle, Shape};
use super::text::Letters;

/// Draws `layout` around `photograph`; the PNG file's bytes.
///
/// # Errors
/// When the encoder fails.
pub fn png(
    layout: &Layout,
    photograph: &RgbImage,
    letters: &Letters,
) -> Result<Vec<u8>, ImageError> {
    let mut canvas = RgbImage::from_pixel(layout.width, layout.height, Rgb([255; 3]));
    let mut scaled: Option<RgbImage> = None;
    for shape in &layout.shapes {
        match shape {
            Shape::Image([x, y, width, height]) => {
                // All panels are of one size.
                let scaled = scaled.get_or_insert_with(|| {
                    let (width, height) = (*width as u32, *height as u32);
                    resize(photograph, width, height, FilterType::CatmullRom)
                });
                image::imageops::replace(&mut canvas, scaled, *x as i64, *y as i64);
            }
            Shape::Fill(rectangle, colour) => fill(&mut canvas, *rectangle, *colour),
            Shape::Frame {
                rectangle: [x, y, width, height],
                width: line,
                colour,
            } => {
                let across = line.min(*width);
                let down = line.min(*height);
                for side in [
                    [*x, *y, *width, down],
                    [*x, y + height - down, *width, down],
                    [*x, *y, across, *height],
                    [x + width - across, *y, across, *height],
                ] {
                    fill(&mut canvas, side, *colour);
                }
            }
            Shape::Text {
                text,
                at,
                height,
                colour,
            } => letters.draw(text, *height, *at, |x, y, coverage| {
                blend(&mut canvas, x, y, *colour, coverage);
            }),
        }
    }
    let mut bytes = Cursor::new(Vec::new());
    canvas.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// Fills whole pixels: edges are rounded, so that lines are sharp.
fn fill(canvas: &mut RgbImage, [x, y, width, height]: Rectangle, colour: Colour) {
    let range = |start: f32, length: f32, end: u32| {
        let edge = |v: f32| (v.round().max(0.0) as u32).min(end);
        edge(start)..edge(start + length)
    };
    for row in range(y, height, canvas.height()) {
        for column in range(x, width, canvas.width()) {
            canvas.put_pixel(column, row, Rgb(colour));
        }
    }
}

fn blend(canvas: &mut RgbImage, x: i64, y: i64, colour: Colour, coverage: f32) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
        return;
    };
    let Some(pixel) = canvas.get_pixel_mut_checked(x, y) else {
        return;
    };
    for (value, new) in pixel.0.iter_mut().zip(colour) {
        let mixed = f32::from(*value) * (1.0 - coverage) + f32::from(new) * coverage;
        *value = mixed.round() as u8;
    }
}
