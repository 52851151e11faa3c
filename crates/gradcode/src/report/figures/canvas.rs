//! Colours, text and axes that all figures share.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A drawing area of an SVG file.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Why a figure could not be drawn; drawing into memory does not fail, so this tells of a bug.
pub type DrawError = DrawingAreaErrorKind<std::io::Error>;

/// Text.
pub const INK: RGBColor = RGBColor(38, 38, 38);
/// Text beside the point.
pub const MUTED: RGBColor = RGBColor(110, 110, 110);
/// Lines behind the data.
pub const GRID: RGBColor = RGBColor(232, 232, 232);
/// Axes.
pub const AXIS: RGBColor = RGBColor(150, 150, 150);

/// Colours of runs, distinct also for colour-blind readers (Okabe and Ito), in the order of use.
const PALETTE: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(170, 80, 140),
    RGBColor(205, 140, 0),
    RGBColor(60, 60, 60),
    RGBColor(70, 160, 220),
    RGBColor(130, 75, 40),
];

/// Number of different colours.
pub const COLOURS: usize = PALETTE.len();

/// Colour of the `i`-th run.
pub fn colour(i: usize) -> RGBColor {
    PALETTE[i % PALETTE.len()]
}

/// How large text is.
#[derive(Clone, Copy)]
pub enum Size {
    Title,
    Label,
}

impl Size {
    /// Size as plotters counts it; its SVG text comes out at 1/1.24 of this in pixels.
    pub fn points(self) -> u32 {
        match self {
            Self::Title => 22,
            Self::Label => 16,
        }
    }

    /// Width of `text` in pixels, roughly: the viewer's font is not known here.
    pub fn width(self, text: &str) -> i32 {
        (text.chars().count() as f64 * f64::from(self.points()) * 0.48).ceil() as i32
    }
}

/// A style for text of one size and colour, anchored by `horizontal` and its middle.
pub fn style(size: Size, colour: RGBColor, horizontal: HPos) -> TextStyle<'static> {
    let font = match size {
        Size::Title => FontDesc::new(
            FontFamily::SansSerif,
            f64::from(size.points()),
            FontStyle::Bold,
        ),
        Size::Label => FontDesc::new(
            FontFamily::SansSerif,
            f64::from(size.points()),
            FontStyle::Normal,
        ),
    };
    TextStyle {
        font,
        color: colour.to_backend_color(),
        pos: Pos::new(horizontal, VPos::Center),
    }
}

/// Writes `text` with its left end, or its right end, at the point.
pub fn write(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: Size,
    colour: RGBColor,
    end: HPos,
) -> Result<(), DrawError> {
    area.draw_text(text, &style(size, colour, end), at)
}

/// `text`, cut to the width in pixels.
pub fn fitted(text: &str, size: Size, width: i32) -> String {
    if size.width(text) <= width {
        return text.to_owned();
    }
    let mut cut: String = text.to_owned();
    while !cut.is_empty() && size.width(&cut) + 8 > width {
        cut.pop();
    }
    cut.push('\u{2026}');
    cut
}

/// Draws into a white SVG of this size and returns its text.
pub fn svg(
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), DrawError>,
) -> Result<String, DrawError> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        area.present()?;
    }
    // What SVG takes for granted; files are a third smaller without it.
    Ok(text
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", ""))
}

/// A tick's number: no exponent up to a million, then with k, M, ...; rounded to what ticks need.
pub fn tick(value: f64) -> String {
    // Ticks are multiples of a round step, so what is left of zero is rounding.
    if value.abs() < 1e-12 {
        return "0".to_owned();
    }
    if value.abs() >= 1e4 {
        let (factor, prefix) = super::super::format::si_prefix(value * (1.0 + 1e-12));
        return format!(
            "{}{prefix}",
            super::super::format::significant(value / factor, 4)
        );
    }
    let text = super::super::format::significant(value, 4);
    match text.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => {
            let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
            format!("{mantissa}e{exponent}")
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.30000000000000004, "0.3"),
            (1250.0, "1250"),
            (20_000.0, "20k"),
            (1_500_000.0, "1.5M"),
            (1e-5, "1e-5"),
            (2.5e-7, "2.5e-7"),
        ] {
            assert_eq!(tick(value), text);
        }
    }
}
