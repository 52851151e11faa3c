//! Colour spaces, damage, and resizing. The three small JPEGs were written by Pillow: 16x8, left half
//! (200, 30, 40), right half (20, 60, 220), as CMYK, as grey, and as a progressive 4:2:0 file.

use super::*;
use proptest::prelude::*;

const CMYK: &[u8] = include_bytes!("cmyk.jpg");
const GREY: &[u8] = include_bytes!("grey.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("progressive.jpg");

fn assert_near(image: &RgbImage, x: u32, expected: [u8; 3]) {
    let found = image.get_pixel(x, 3).0;
    assert!(
        found.iter().zip(expected).all(|(f, e)| f.abs_diff(e) <= 4),
        "{found:?} against {expected:?}"
    );
}

#[test]
fn every_colour_space_becomes_rgb() {
    // Pillow's own values at the same pixels
    let cases: [(&[u8], [u8; 3], [u8; 3]); 3] = [
        (CMYK, [200, 30, 40], [20, 60, 220]),
        (GREY, [82, 82, 82], [66, 66, 66]),
        (PROGRESSIVE, [200, 30, 41], [20, 60, 218]),
    ];
    for (bytes, left, right) in cases {
        let image = decode_bytes(bytes).unwrap();
        assert_eq!(image.dimensions(), (16, 8));
        assert_near(&image, 2, left);
        assert_near(&image, 13, right);
    }
}

#[test]
fn png_is_read_too() {
    let mut bytes = vec![];
    RgbImage::from_pixel(3, 2, image::Rgb([1, 2, 3]))
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .unwrap();
    assert_eq!(decode_bytes(&bytes).unwrap().get_pixel(2, 1).0, [1, 2, 3]);
}

#[test]
fn damaged_files_say_what_is_wrong() {
    assert_eq!(decode_bytes(b"").unwrap_err(), "the file is empty");
    assert_eq!(
        decode_bytes(b"<html>404</html>").unwrap_err(),
        "neither JPEG nor PNG"
    );
    let cut = decode_bytes(&PROGRESSIVE[..PROGRESSIVE.len() - 20]).unwrap_err();
    assert!(cut.starts_with("truncated"), "{cut}");
    let error = read_image(Path::new("/nowhere/1.jpg"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("/nowhere/1.jpg: No such file"), "{error}");
}

#[test]
fn a_header_that_claims_a_huge_image_is_refused_before_memory_is_taken() {
    let mut bytes = GREY.to_vec();
    let frame = bytes.windows(2).position(|p| p == [0xFF, 0xC0]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF]);
    assert!(decode_bytes(&bytes).is_err());
}

proptest! {
    /// No truncation is taken for a whole image, and no flipped byte panics.
    #[test]
    fn truncation_is_an_error_and_noise_does_not_panic(
        cut in any::<prop::sample::Index>(), byte: u8,
    ) {
        for bytes in [CMYK, GREY, PROGRESSIVE] {
            let cut = cut.index(bytes.len() - 1);
            prop_assert!(decode_bytes(&bytes[..cut]).is_err());
            let mut noisy = bytes.to_vec();
            noisy[cut] = byte;
            let _ = decode_bytes(&noisy);
        }
    }
}

/// The definition: half-pixel centres, the four nearest pixels, edges repeated.
fn bilinear(image: &RgbImage, side: u32) -> Vec<f64> {
    let (width, height) = image.dimensions();
    let axis = |i: u32, length: u32| {
        let at = ((f64::from(i) + 0.5) * f64::from(length) / f64::from(side) - 0.5).max(0.0);
        let low = at as u32;
        (low, (low + 1).min(length - 1), at.fract())
    };
    let mut out = vec![];
    for y in 0..side {
        for x in 0..side {
            let ((x0, x1, fx), (y0, y1, fy)) = (axis(x, width), axis(y, height));
            for channel in 0..3 {
                let at = |x, y| f64::from(image.get_pixel(x, y).0[channel]);
                let upper = at(x0, y0) * (1.0 - fx) + at(x1, y0) * fx;
                let lower = at(x0, y1) * (1.0 - fx) + at(x1, y1) * fx;
                out.push(upper * (1.0 - fy) + lower * fy);
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn resizing_is_bilinear_interpolation(
        width in 1u32..40, height in 1u32..40, side in 1u32..40, seed: u32,
    ) {
        let image = RgbImage::from_fn(width, height, |x, y| {
            let hash = (x * 73 + y * 179).wrapping_mul(seed | 1).wrapping_mul(2_654_435_761);
            image::Rgb([hash as u8, (hash >> 8) as u8, (hash >> 16) as u8])
        });
        let expected = bilinear(&image, side);
        let found = resize(image, side).unwrap();
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            prop_assert!((f64::from(*found) - expected).abs() <= 1.0 + 1e-9, "{} {}", found, expected);
        }
    }
}
