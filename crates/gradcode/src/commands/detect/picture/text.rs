//! Text: widths, and glyphs as coverage of pixels. The font is part of the program.

use ab_glyph::{Font, FontRef, InvalidFont, PxScale, ScaleFont, point};

/// DejaVu Sans' Latin, Greek and Cyrillic letters; `font/LICENSE.txt`.
const FONT: &[u8] = include_bytes!("../font/DejaVuSans-subset.ttf");

/// The font.
pub struct Letters(FontRef<'static>);

impl Letters {
    /// Reads the font.
    ///
    /// # Errors
    /// Never, unless the program was built with a broken font file.
    pub fn new() -> Result<Self, InvalidFont> {
        FontRef::try_from_slice(FONT).map(Self)
    }

    /// Width in pixels of `text` at `height` pixels from the lowest to the highest letter.
    pub fn width(&self, text: &str, height: f32) -> f32 {
        let font = self.0.as_scaled(PxScale::from(height));
        text.chars()
            .map(|letter| font.h_advance(font.glyph_id(letter)))
            .sum()
    }

    /// Pixels from the top of a line of `height` to its baseline.
    pub fn ascent(&self, height: f32) -> f32 {
        self.0.as_scaled(PxScale::from(height)).ascent()
    }

    /// `text`, with its end replaced by an ellipsis where it is wider than `room`.
    pub fn fitted(&self, text: &str, height: f32, room: f32) -> String {
        if self.width(text, height) <= room {
            return text.to_owned();
        }
        let mut kept: Vec<char> = text.chars().collect();
        loop {
            kept.pop();
            let shorter = kept.iter().collect::<String>() + "\u{2026}";
            if kept.is_empty() || self.width(&shorter, height) <= room {
                return shorter;
            }
        }
    }

    /// Calls `pixel(x, y, coverage)` for every pixel that `text` touches, its first letter beginning
    /// at `x` and the line's top at `y`.
    pub fn draw(
        &self,
        text: &str,
        height: f32,
        (x, y): (f32, f32),
        mut pixel: impl FnMut(i64, i64, f32),
    ) {
        let font = self.0.as_scaled(PxScale::from(height));
        let (mut caret, baseline) = (x, y + font.ascent());
        for letter in text.chars() {
            let id = font.glyph_id(letter);
            let glyph = id.with_scale_and_position(height, point(caret, baseline));
            if let Some(outline) = self.0.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|column, row, coverage| {
                    pixel(
                        corner.x as i64 + i64::from(column),
                        corner.y as i64 + i64::from(row),
                        coverage.clamp(0.0, 1.0),
                    );
                });
            }
            caret += font.h_advance(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_shortened_to_its_room() {
        let letters = Letters::new().unwrap();
        let whole = letters.width("triangle 0.97", 17.0);
        assert_eq!(
            letters.fitted("triangle 0.97", 17.0, whole),
            "triangle 0.97"
        );
        let cut = letters.fitted("triangle 0.97", 17.0, whole / 2.0);
        assert!(cut.starts_with("tri") && cut.ends_with('\u{2026}'), "{cut}");
        assert!(letters.width(&cut, 17.0) <= whole / 2.0);
    }

    #[test]
    fn letters_lie_in_their_line() {
        let letters = Letters::new().unwrap();
        let width = letters.width("gj\u{c4}\u{416}\u{3a9}", 20.0) as i64;
        let mut ink = 0.0;
        letters.draw(
            "gj\u{c4}\u{416}\u{3a9}",
            20.0,
            (5.0, 7.0),
            |x, y, coverage| {
                assert!(
                    (2..=6 + width).contains(&x) && (6..=28).contains(&y),
                    "{x}, {y}"
                );
                ink += coverage;
            },
        );
        assert!(ink > 100.0);
    }
}
