//! Image files to RGB pixels of the size a network takes.

use crate::CocoError;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images};
use image::{DynamicImage, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;
use std::path::Path;

/// Largest side and memory that a decoder may use: a hostile header must not exhaust the machine.
const LARGEST_SIDE: u32 = 32_768;
const LARGEST_BYTES: u64 = 1 << 30;

/// An image file at the size a network takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Width of the file's image.
    pub width: u32,
    /// Height of the file's image.
    pub height: u32,
    /// `side * side * 3` bytes: rows, then columns, then R, G, B.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Reads a JPEG or PNG file, squeezed into a square of `side` pixels as [`crate::Dataset::load`]
    /// does.
    ///
    /// # Errors
    /// [`CocoError::Io`], or [`CocoError::Image`] if the file is damaged or of another format.
    pub fn read(path: &Path, side: u32) -> Result<Self, CocoError> {
        Self::of(&read_image(path)?, side)
    }

    /// An image in memory at the size a network takes.
    ///
    /// # Errors
    /// [`CocoError::Setting`] for a side of 0.
    pub fn of(image: &RgbImage, side: u32) -> Result<Self, CocoError> {
        let (width, height) = image.dimensions();
        let pixels = resize(image.clone(), side).map_err(|what| CocoError::Setting {
            key: "side",
            value: format!("{side}, for {width}x{height} pixels: {what}"),
            valid: "at least 1 pixel",
        })?;
        Ok(Self {
            width,
            height,
            pixels,
        })
    }
}

/// Decodes a JPEG or PNG file to RGB. Grey images become three equal channels; CMYK and YCCK JPEGs
/// are converted. EXIF orientation is ignored, as COCO's boxes do.
///
/// # Errors
/// [`CocoError::Io`], or [`CocoError::Image`] if the file is damaged or of another format.
pub fn read_image(path: &Path) -> Result<RgbImage, CocoError> {
    let bytes = std::fs::read(path).map_err(CocoError::io(path))?;
    decode_bytes(&bytes).map_err(|what| CocoError::Image {
        path: path.to_owned(),
        what,
    })
}

fn decode_bytes(bytes: &[u8]) -> Result<RgbImage, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| error.to_string())?;
    match reader.format() {
        None if bytes.is_empty() => return Err("the file is empty".to_owned()),
        None => return Err("neither JPEG nor PNG".to_owned()),
        // The decoder fills what a truncated scan lacks with grey and reports success.
        Some(ImageFormat::Jpeg) if is_truncated_jpeg(bytes) => {
            return Err("truncated: no end-of-image marker after the last scan".to_owned());
        }
        Some(_) => {}
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    limits.max_alloc = Some(LARGEST_BYTES);
    reader.limits(limits);
    let image = reader.decode().map_err(|error| error.to_string())?;
    Ok(match image {
        DynamicImage::ImageRgb8(rgb) => rgb,
        other => other.to_rgb8(),
    })
}

/// Whether no end-of-image marker (FF D9) follows the last start of scan (FF DA). Inside a scan FF is
/// always followed by 00 or a restart marker, so neither pair can be picture data.
fn is_truncated_jpeg(bytes: &[u8]) -> bool {
    let last = |second: u8| bytes.windows(2).rposition(|pair| pair == [0xFF, second]);
    match (last(0xD9), last(0xDA)) {
        (Some(end), Some(scan)) => end < scan,
        (None, _) => true,
        (_, None) => false,
    }
}

/// Resizes to `side` x `side`, ignoring the aspect ratio: bilinear interpolation at the four nearest
/// pixels (half-pixel centres, no antialiasing), within one grey level of
/// `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`. Returns HWC bytes.
pub(crate) fn resize(image: RgbImage, side: u32) -> Result<Vec<u8>, String> {
    let (width, height) = image.dimensions();
    if (width, height) == (side, side) {
        return Ok(image.into_raw());
    }
    let source = images::Image::from_vec_u8(width, height, image.into_raw(), PixelType::U8x3)
        .map_err(|error| error.to_string())?;
    let mut target = images::Image::new(side, side, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Interpolation(FilterType::Bilinear));
    Resizer::new()
        .resize(&source, &mut target, &options)
        .map_err(|error| error.to_string())?;
    Ok(target.into_vec())
}

#[cfg(test)]
mod tests;
